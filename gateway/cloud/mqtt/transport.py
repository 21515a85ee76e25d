"""The connection below MQTT: name resolution, TCP and TLS, and a send buffer.

`connect` blocks and must run in a worker thread. Afterwards the socket is non-blocking.
"""

import errno
import os
import selectors
import socket
import ssl
import sys
import time
from typing import Any, cast

from gateway.cloud.mqtt.types import TlsFiles
from gateway.errors import UplinkDown

_CHUNK_BYTES = 1 << 16
_ADDRESSES = 8
_ATTEMPTS = 16
_STAGGER_S = 0.7
_HTTPS = 443
_MIN_RTT_AT = 148
"""Offset of `tcpi_min_rtt` in `struct tcp_info`."""
_NEVER_MEASURED = 0xFFFFFFFF
_NOT_YET_VALID = 9
"""X509_V_ERR_CERT_NOT_YET_VALID of OpenSSL."""
_STRICT = frozenset(range(80, 95))
"""Errors that only OpenSSL's strict check of RFC 5280 reports: X509_V_ERR_PATHLEN_INVALID_FOR_NON_CA to
X509_V_ERR_EC_KEY_EXPLICIT_PARAMS of its x509_vfy.h; 92 is an authority without keyUsage."""


class Wire:
    """A connected, non-blocking socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._waiting = bytearray()
        self.ended: str | None = None
        """Why the connection has ended; None: it has not."""

    @property
    def decrypted(self) -> bool:
        """True if TLS holds decrypted bytes, which the kernel would not announce."""
        return isinstance(self._sock, ssl.SSLSocket) and self.ended is None and self._sock.pending() > 0

    def read(self) -> bytes:
        """The bytes that have arrived, at most 64 KiB; empty: nothing now, or the connection has `ended`."""
        try:
            chunk = self._sock.recv(_CHUNK_BYTES)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return b""
        except OSError as error:
            self.ended = _explain(error)
            return b""
        if not chunk:
            self.ended = "closed by the broker"
        return chunk

    @property
    def waiting(self) -> int:
        """Bytes that wait for `flush`."""
        return len(self._waiting)

    def send(self, data: bytes | bytearray) -> None:
        """Add `data` to the send buffer; `flush` sends it."""
        self._waiting += data

    def flush(self) -> bool:
        """Give the kernel as much as it takes; True if nothing is left."""
        while self._waiting:
            try:
                sent = self._sock.send(self._waiting)
            except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
                return False
            except OSError as error:
                self.ended = _explain(error)
                return True
            del self._waiting[:sent]
        return True

    def round_trip(self) -> float:
        """`tcpi_min_rtt` of the kernel (linux/tcp.h), seconds; 0 if it is not available."""
        if self._sock.fileno() < 0 or not hasattr(socket, "TCP_INFO"):
            return 0.0
        info = self._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _MIN_RTT_AT + 4)
        if len(info) < _MIN_RTT_AT + 4:
            return 0.0
        microseconds = int.from_bytes(info[_MIN_RTT_AT:], sys.byteorder)
        return 0.0 if microseconds == _NEVER_MEASURED else microseconds / 1e6

    def fileno(self) -> int:
        """The descriptor to watch."""
        return self._sock.fileno()

    def half_close(self) -> None:
        """Shut down sending; what the broker still sends can be read."""
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError as error:
            self.ended = self.ended or _explain(error)

    def shut(self) -> None:
        """End the connection."""
        self._sock.close()


def connect(host: str, port: int, *, timeout: float, silence: float, tls: TlsFiles | None) -> Wire:
    """Resolve, connect and shake hands within `timeout` seconds (the resolver has limits of its own); blocks.

    `silence`: seconds after which the kernel gives up if sent bytes are not acknowledged. The TLS files are read
    anew. Raises UplinkDown; `not_yet_valid` tells from its cause whether our clock is the reason.
    """
    deadline = time.monotonic() + timeout
    try:
        context = None if tls is None else _context(tls, port)
        sock = _tcp(host, port, deadline)
        try:
            _tune(sock, silence)
            if context is not None:
                sock = _shake_hands(sock, context, host, deadline)
            sock.setblocking(False)
        except BaseException:  # whatever happens, no socket stays open
            sock.close()
            raise
    except (OSError, ValueError) as error:  # ValueError: an invalid host name, or a file that is not PEM
        raise UplinkDown(f"{host}:{port}: {_explain(error, tls)}") from error
    return Wire(sock)


def not_yet_valid(error: UplinkDown) -> bool:
    """True if the broker's certificate begins in the future by our clock."""
    cause = error.__cause__
    return isinstance(cause, ssl.SSLCertVerificationError) and cause.verify_code == _NOT_YET_VALID


def _context(tls: TlsFiles, port: int) -> ssl.SSLContext:
    for path in (tls.ca, tls.cert, tls.key):
        if path is not None:
            path.open("rb").close()  # OpenSSL does not say which file is missing
    context = ssl.create_default_context(cafile=None if tls.ca is None else str(tls.ca))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if tls.strict is True:
        context.verify_flags |= ssl.VERIFY_X509_STRICT
    elif tls.strict is False:
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if tls.cert is not None:
        # An encrypted key must fail here instead of asking for a password on a terminal that nobody watches.
        context.load_cert_chain(tls.cert, tls.key, password=lambda: "")
    if port == _HTTPS:
        # A broker that shares its port with HTTPS is selected by ALPN; the first name is AWS IoT's, for client
        # certificates.
        context.set_alpn_protocols(["x-amzn-mqtt-ca", "mqtt"] if tls.cert is not None else ["mqtt"])
    return context


def _tcp(host: str, port: int, deadline: float) -> socket.socket:
    """Connect to all addresses in the manner of RFC 8305; the first attempt that is answered wins.

    A new attempt begins every 0.7 s, because the kernel repeats a lost SYN only after 1, 3 and 7 s, and a link that
    came back must be used within a second.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[:_ADDRESSES]
    failure: OSError = TimeoutError("no time left to connect")
    begun = failed = 0
    next_at = time.monotonic()
    with selectors.DefaultSelector() as watch:
        try:
            while (now := time.monotonic()) < deadline and failed < len(found):
                if now >= next_at and begun < _ATTEMPTS:
                    begun, next_at = begun + 1, now + _STAGGER_S
                    try:
                        watch.register(_begin(found[(begun - 1) % len(found)]), selectors.EVENT_WRITE)
                    except OSError as error:
                        failure, failed, next_at = error, failed + 1, now
                        continue
                ready = watch.select(max(0.0, min(next_at if begun < _ATTEMPTS else deadline, deadline) - now))
                for sock in [cast("socket.socket", key.fileobj) for key, _ in ready]:
                    watch.unregister(sock)
                    code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                    if code == 0:
                        return sock
                    sock.close()
                    failure, failed, next_at = OSError(code, os.strerror(code)), failed + 1, now
        finally:
            for key in [*watch.get_map().values()]:
                cast("socket.socket", key.fileobj).close()
    raise failure


def _begin(info: tuple[int, int, int, str, Any]) -> socket.socket:
    """Begin an attempt; its result is known when the socket is writable. Raises OSError."""
    family, kind, proto, _name, address = info
    sock = socket.socket(family, kind, proto)
    sock.setblocking(False)
    code = sock.connect_ex(address)
    if code not in (0, errno.EINPROGRESS):
        sock.close()
        raise OSError(code, os.strerror(code))
    return sock


def _tune(sock: socket.socket, silence: float) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(silence * 1000))


def _shake_hands(sock: socket.socket, context: ssl.SSLContext, host: str, deadline: float) -> ssl.SSLSocket:
    wrapped = context.wrap_socket(sock, server_hostname=host, do_handshake_on_connect=False)
    try:
        wrapped.settimeout(max(0.01, deadline - time.monotonic()))
        wrapped.do_handshake()
    except BaseException:  # wrapping has taken over the socket: the caller's object is empty
        wrapped.close()
        raise
    return wrapped


def _explain(error: OSError | ValueError, tls: TlsFiles | None = None) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        text = f"TLS: certificate refused: {error.verify_message}"
        if error.verify_code in _STRICT:
            ca = "the system's authorities" if tls is None or tls.ca is None else f"the authority in {tls.ca}"
            text += (
                f": {ca}, or what it signed, is made in the old way; make it anew (an authority needs keyUsage"
                " keyCertSign and a critical basicConstraints), or set `strict: false` below `uplink.tls`"
            )
        return text
    if isinstance(error, ssl.SSLError):
        return f"TLS: {(error.reason or str(error)).lower().replace('_', ' ')}"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError) and error.strerror:
        name = f"{error.filename}: " if error.filename else ""
        return name + error.strerror.lower()
    return str(error)

"""HTTP for people and machines on site: routes in, bounded connections out. The only importer of aiohttp's server.

    Listener(host, port, {"/state": Route(get=state)}, tls, names=frozenset({"box.lan"}))

Bounded: 48 connections and 16 of one address, beside those that are streams; 10 s for a request to arrive and as long
for its answer to be taken; 8 KiB of a line and of a header, 32 headers, a body as large as its route says. Where all
are taken, the one that has waited longest of the address that has most makes room. A port that is taken is tried again:
it must not keep the gateway from its work. A `Host` that names somebody else is refused (DNS rebinding).
"""

import asyncio
import contextlib
import ipaddress
import logging
import socket
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

# Not `aiohttp.web`: routing and applications are not needed, and 1.5 MiB.
from aiohttp import web_response
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import RequestHandler
from aiohttp.web_request import BaseRequest
from aiohttp.web_response import Response, StreamResponse
from aiohttp.web_server import Server

from gateway.errors import GatewayError
from gateway.log import logger

_log = logger(__name__)

_CONNECTIONS = 48
_OF_ONE = 16
_LIFETIME_S = 10.0
"""Seconds for a request to arrive, and for an answer to be taken."""
_TAKES_NOTHING_S = 5.0
"""So long a reader of a stream may take no byte while one waits for it."""
_LOOK_S, _LOOK_MOST_S = 0.005, 0.1
_RETRY_S = 10.0
_RENEW_S = 60.0
_LINE_BYTES = 8 << 10
_HEADERS = 32
_PIECE_BYTES = 32 << 10
_SEND_BUFFER_BYTES = 64 << 10
"""Bytes that the kernel keeps for a reader of a stream."""
_BACKLOG = 64
_NAME = "site-gateway"
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; require-trusted-types-for 'script'; trusted-types lit-html"
)
_HEADERS_OF_ALL = {
    "Server": _NAME,  # who listens here is nobody's business
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
setattr(web_response, "SERVER_SOFTWARE", _NAME)  # noqa: B010 - also in the library's own answer to what is no HTTP


class Gone(GatewayError):
    """The reader of a stream has left, or takes nothing."""


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """What somebody asks."""

    method: str
    path: str
    """Decoded."""
    query: Mapping[str, str]
    headers: Mapping[str, str]
    """Names in any case."""
    cookies: Mapping[str, str]
    address: str
    is_secure: bool
    host: str
    """As the request names it, with the port."""
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a path says."""

    status: int
    content_type: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


Send = Callable[[bytes], Awaitable[None]]
"""Gives a reader so many bytes. Raises Gone."""


@dataclass(frozen=True, slots=True)
class Streaming:
    """An answer that goes on: `run` sends until it returns, or until its reader is gone."""

    content_type: str
    run: Callable[[Send], Awaitable[None]]
    left: Callable[[], None] = lambda: None
    """Is called once at its end, also if `run` never was."""
    headers: Mapping[str, str] = field(default_factory=dict)


Respond = Callable[[HttpRequest], Awaitable[Answer | Streaming]]


class Route(NamedTuple):
    """What a path does. A path that ends with `/` stands for all that begin with it."""

    get: Respond | None = None
    post: Respond | None = None
    body: int = 4 << 10
    """Bytes of a body that are taken."""
    any_host: bool = False
    """For machines: it tells nothing that a page of somebody else could want."""


@dataclass(eq=False, slots=True)
class _HttpConnection:
    address: str
    protocol: RequestHandler | None = None
    since: float = 0.0
    """Since when it waits for its next request (monotonic seconds)."""
    busy: bool = False
    streams: bool = False
    timer: asyncio.TimerHandle | None = None

    def abort(self) -> None:
        """Close it, whatever it has not taken."""
        if self.timer is not None:
            self.timer.cancel()
        if self.protocol is not None and self.protocol.transport is not None:
            transport = self.protocol.transport
            self.protocol.force_close()
            transport.abort()


class _Server(Server):
    """The library's, with word of connections that are gone."""

    def __init__(self, respond: Callable[[BaseRequest], Awaitable[StreamResponse]], library: logging.Logger) -> None:
        super().__init__(
            respond, handler_cancellation=True, access_log=None, logger=library, lingering_time=0.0,
            keepalive_timeout=_LIFETIME_S, max_line_size=_LINE_BYTES, max_field_size=_LINE_BYTES, max_headers=_HEADERS,
            auto_decompress=False,
        )  # fmt: skip
        self.lost: Callable[[RequestHandler], None] = lambda _: None

    def connection_lost(self, handler: RequestHandler, exc: BaseException | None = None) -> None:
        """It is gone."""
        super().connection_lost(handler, exc)
        self.lost(handler)


class Listener:
    """Answers `routes` at `host:port` (0: any free port, see `port`) until cancelled.

    `tls`: certificate and key, read again when they change. `names`: what this box is called beside its address.
    """

    def __init__(
        self,
        host: str,
        port: int,
        routes: Mapping[str, Route],
        tls: tuple[Path, Path] | None = None,
        *,
        names: frozenset[str] = frozenset(),
    ) -> None:
        self.port = port
        self.listening = asyncio.Event()
        self._host = host
        self._routes = routes
        self._tls = tls
        self._names = {name.lower() for name in names}
        self._connections: list[_HttpConnection] = []
        self._by_protocol: dict[RequestHandler, _HttpConnection] = {}

    async def run(self) -> None:
        """Listen until cancelled."""
        library = logging.getLogger("aiohttp.server")
        library.addFilter(_is_ours)
        server = _Server(self._respond, library)
        server.lost = self._lost
        place, context = await self._listen()
        try:
            async with asyncio.TaskGroup() as group:
                if context is not None:
                    group.create_task(self._renew(context), name="http certificate")
                self.port = place.getsockname()[1]
                self.listening.set()
                await self._accept(place, server, context, group)
        finally:
            self.listening.clear()
            place.close()
            for connection in [*self._connections]:
                connection.abort()
            await server.shutdown(0.1)

    async def _listen(self) -> tuple[socket.socket, ssl.SSLContext | None]:
        told = False
        while True:
            try:
                context = None if self._tls is None else await asyncio.to_thread(_context, *self._tls)
                return await self._bound(), context
            except OSError as error:
                if not told:
                    _log.error("cannot listen", address=f"{self._host}:{self.port}", error=str(error))
                told = True
                await asyncio.sleep(_RETRY_S)

    async def _bound(self) -> socket.socket:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(self._host, self.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = found[0]
        place = socket.create_server(address[:2], family=family, backlog=_BACKLOG)
        place.setblocking(False)
        return place

    async def _renew(self, context: ssl.SSLContext) -> None:
        """A certificate that was renewed is taken for new connections; one that is gone or broken is not."""
        if self._tls is None:
            return
        seen = await asyncio.to_thread(_stamp, *self._tls)
        while True:
            await asyncio.sleep(_RENEW_S)
            now = await asyncio.to_thread(_stamp, *self._tls)
            if now == seen:
                continue
            seen = now
            try:
                await asyncio.to_thread(_context, *self._tls)  # first whether it can be used at all
                context.load_cert_chain(*self._tls)
            except OSError as error:
                _log.error("the page keeps its old certificate", file=str(self._tls[0]), error=str(error))
            else:
                _log.info("the page has a new certificate", file=str(self._tls[0]))

    # ---- connections --------------------------------------------------------------------------------

    async def _accept(
        self, place: socket.socket, server: _Server, context: ssl.SSLContext | None, group: asyncio.TaskGroup
    ) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                client, peer = await loop.sock_accept(place)
            except OSError:  # no file descriptor is left, or it is gone already
                await asyncio.sleep(0.1)
                continue
            connection = self._admit(str(peer[0]))
            if connection is None:
                client.close()
            else:
                group.create_task(self._open(client, connection, server, context), name="http connection")
            await asyncio.sleep(0)  # a crowd at the door takes no turn from what is inside

    def _admit(self, address: str) -> _HttpConnection | None:
        """Room for a connection; None: there is none."""
        taken = [one for one in self._connections if not one.streams]
        if sum(one.address == address for one in taken) >= _OF_ONE:
            return None
        if len(taken) >= _CONNECTIONS:
            yields = _yielding(taken)
            if yields is None:
                return None
            self._connections.remove(yields)  # now: more may come before it is closed
            yields.abort()
        connection = _HttpConnection(address, since=asyncio.get_running_loop().time())
        self._connections.append(connection)
        return connection

    async def _open(
        self, client: socket.socket, connection: _HttpConnection, server: _Server, context: ssl.SSLContext | None
    ) -> None:
        loop = asyncio.get_running_loop()
        protocol = connection.protocol = server()
        self._by_protocol[protocol] = connection
        self._waits(connection)
        try:
            await loop.connect_accepted_socket(
                lambda: protocol, client, ssl=context, ssl_handshake_timeout=_LIFETIME_S if context else None
            )
        except OSError:
            client.close()
            self._lost(protocol)

    def _lost(self, protocol: RequestHandler) -> None:
        connection = self._by_protocol.pop(protocol, None)
        if connection in self._connections:
            self._connections.remove(connection)
        if connection is not None and connection.timer is not None:
            connection.timer.cancel()

    def _waits(self, connection: _HttpConnection) -> None:
        """Its next request has to arrive in time; the library would wait without end."""
        if connection not in self._connections:
            return  # it is gone: a timer would keep its buffers
        loop = asyncio.get_running_loop()
        connection.busy, connection.since = False, loop.time()
        if connection.timer is not None:
            connection.timer.cancel()
        connection.timer = loop.call_later(_LIFETIME_S, connection.abort)

    # ---- requests -----------------------------------------------------------------------------------

    async def _respond(self, request: BaseRequest) -> StreamResponse:
        connection = self._by_protocol.get(request.protocol)
        if connection is None:
            raise ConnectionResetError
        if connection.timer is not None:
            connection.timer.cancel()
        connection.busy = True
        try:
            answer = await self._answer(request, connection)
            if isinstance(answer, Streaming):
                return await self._stream(request, connection, answer)
            return Response(status=answer.status, body=answer.body, headers=_headers(answer))
        finally:
            self._waits(connection)

    async def _answer(self, request: BaseRequest, connection: _HttpConnection) -> Answer | Streaming:
        path = request.path
        route = self._routes.get(path) or self._routes.get(path[: path.find("/", 1) + 1])
        if route is None:
            return _refusal(404, "unknown", "there is no such path")
        respond = {"GET": route.get, "POST": route.post}.get(request.method)
        if respond is None:
            return _refusal(405, "method", "not with this method")
        if not route.any_host and not self._is_ours(request):
            return _refusal(421, "misdirected", "this box is not called so")
        body = b""
        if request.method == "POST":
            try:
                async with asyncio.timeout(_LIFETIME_S):
                    body = await _body(request, route.body)
            except TimeoutError:
                return _refusal(408, "slow", "the body did not come in time", {"Connection": "close"})
            except _TooLargeError:
                return _refusal(413, "size", f"more than {route.body} bytes", {"Connection": "close"})
        return await respond(
            HttpRequest(
                request.method,
                path,
                request.query,
                request.headers,
                request.cookies,
                connection.address,
                request.secure,
                request.headers.get("Host", ""),
                body,
            )
        )

    def _is_ours(self, request: BaseRequest) -> bool:
        """The host that it names is the address that it came to, or a name of this box."""
        name = _host_of(request.headers.get("Host", ""))
        transport = request.transport
        if transport is None:
            return False
        own = ipaddress.ip_address(str(transport.get_extra_info("sockname")[0]).partition("%")[0])
        with contextlib.suppress(ValueError):
            if ipaddress.ip_address(name) == own:
                return True
        return name in self._names or (name == "localhost" and own.is_loopback)

    async def _stream(self, request: BaseRequest, connection: _HttpConnection, answer: Streaming) -> StreamResponse:
        try:
            return await self._streamed(request, connection, answer)
        finally:
            answer.left()

    async def _streamed(self, request: BaseRequest, connection: _HttpConnection, answer: Streaming) -> StreamResponse:
        response = StreamResponse(headers=_headers(answer))
        response.force_close()  # its end is the connection's
        try:
            await response.prepare(request)
        except ConnectionError:  # who asked has left already
            return response
        transport = request.transport
        if not isinstance(transport, asyncio.Transport):
            return response
        if (plain := transport.get_extra_info("socket")) is not None:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)

        async def send(data: bytes) -> None:
            try:
                for start in range(0, len(data), _PIECE_BYTES):
                    await response.write(data[start : start + _PIECE_BYTES])
                    await _taken(transport)
            except ConnectionError as error:
                raise Gone("the reader has left") from error

        connection.streams = True
        try:
            await answer.run(send)
        except Gone:
            transport.abort()  # what it has not taken is nobody's
        finally:
            connection.streams = False
        return response


def _headers(answer: Answer | Streaming) -> dict[str, str]:
    own = {"Content-Type": answer.content_type, "Cache-Control": "no-store"}
    return {**own, **_HEADERS_OF_ALL, **answer.headers}


def _yielding(taken: list[_HttpConnection]) -> _HttpConnection | None:
    """The one that has waited longest of the address that has most; None: all are busy, or hardly there."""
    counts = Counter(one.address for one in taken)
    waiting = [one for one in taken if not one.busy and one.protocol is not None and one.protocol.transport is not None]
    return max(waiting, key=lambda one: (counts[one.address], -one.since), default=None)


class _TooLargeError(Exception):
    """A body over what its route takes."""


async def _body(request: BaseRequest, most: int) -> bytes:
    if (request.content_length or 0) > most:
        raise _TooLargeError
    body = bytearray()
    async for piece in request.content.iter_any():
        body += piece
        if len(body) > most:
            raise _TooLargeError
    return bytes(body)


async def _taken(transport: asyncio.Transport) -> None:
    """Wait until the kernel has all of it. Raises Gone.

    Looked at again and again: the library's own wait does not survive a time-out.
    """
    loop = asyncio.get_running_loop()
    left, until, pause = transport.get_write_buffer_size(), loop.time() + _TAKES_NOTHING_S, _LOOK_S
    while (size := transport.get_write_buffer_size()) > 0:
        if transport.is_closing():
            raise Gone("the reader has left")
        if size < left:
            left, until = size, loop.time() + _TAKES_NOTHING_S
        elif loop.time() >= until:
            raise Gone("the reader takes nothing")
        await asyncio.sleep(pause)
        pause = min(2 * pause, _LOOK_MOST_S)


def _host_of(text: str) -> str:
    """Without the port and brackets."""
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.rpartition(":")[0].lower() if ":" in text else text.lower()


def _refusal(status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> Answer:
    body = b'{"ok":false,"error":{"code":"%s","message":"%s"}}' % (code.encode(), message.encode())
    return Answer(status, "application/json", body, headers or {})


def _context(certificate: Path, key: Path) -> ssl.SSLContext:
    """Raises OSError (ssl.SSLError is one)."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    return context


def _stamp(*files: Path) -> list[tuple[int, int] | None]:
    """What changes when one of them does."""
    stamps: list[tuple[int, int] | None] = []
    for path in files:
        try:
            found = path.stat()
        except OSError:
            stamps.append(None)
        else:
            stamps.append((found.st_mtime_ns, found.st_ino))
    return stamps


def _is_ours(record: logging.LogRecord) -> bool:
    """False for the traceback that the library logs of each malformed request."""
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))

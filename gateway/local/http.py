"""The HTTP server for people and machines on site. The only importer of aiohttp's server.

    HttpServer(host, port, {"/state": Route(get=state)}, tls, names=frozenset({"box.lan"}))

Limits: 48 connections and 16 of one address, in addition to streams (`places` decides who makes room); 32 new
connections and 40 requests a second of an address or a session; 10 s for a request to arrive and as long for its answer
to be taken; 8 KiB for a line and for a header, 32 headers, a body as large as its route allows. A port in use is tried
again, because it must not stop the gateway. A `Host` with a foreign name is refused (DNS rebinding).
"""

import asyncio
import contextlib
import ipaddress
import logging
import socket
import ssl
from asyncio.sslproto import SSLProtocol
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple, Protocol

# Not `aiohttp.web`: its routing and applications are not needed and take 1.5 MiB.
from aiohttp import web_response
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import RequestHandler
from aiohttp.web_request import BaseRequest
from aiohttp.web_response import Response, StreamResponse
from aiohttp.web_server import Server

from gateway.backoff import BackOff
from gateway.errors import GatewayError
from gateway.local.places import Budget, ConnectionPlace, KnownAddresses, Places, caller
from gateway.log import logger

_log = logger(__name__)

_NEW_AT_ONCE, _NEW_PER_S = 128, 32.0
"""New connections of one address, because each costs a handshake."""
_KNOWN_FACTOR = 0.125
"""The cost of a new connection from an address where somebody is logged in."""
_COST_AT_ONCE, _COST_PER_S = 240, 40.0
"""The budget of an address or a logged-in person, in costs of routes."""
_REFUSED_S = 1.0
"""Delay of an answer that refuses because of the budget, which slows the caller down."""
_LIFETIME_S = 10.0
"""Time for a request to arrive, and for an answer to be taken."""
_TAKES_NOTHING_S = 5.0
"""A stream's reader that takes no byte for this time, while bytes wait, is closed."""
_LOOK_S, _LOOK_MOST_S = 0.005, 0.1
_RETRY_S = 10.0
_RENEW_S = 60.0
_LINE_BYTES = 8 << 10
_HEADERS = 32
_PIECE_BYTES = 32 << 10
_SEND_BUFFER_BYTES = 64 << 10
"""The kernel's send buffer for a stream."""
_BACKLOG = 64
_TLS_RECORD_BYTES = 16 << 10
"""RFC 8446, 5.1."""
_NAME = "site-gateway"
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; require-trusted-types-for 'script'; trusted-types lit-html"
)
_HEADERS_OF_ALL = {
    "Server": _NAME,  # does not reveal the software
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
SSLProtocol.max_size = _TLS_RECORD_BYTES  # per connection, even a half-open one; asyncio's default is 256 KiB
setattr(web_response, "SERVER_SOFTWARE", _NAME)  # noqa: B010 - also for the library's answer to invalid HTTP


class Gone(GatewayError):
    """The reader of a stream has left or takes nothing."""


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request."""

    method: str
    path: str
    """Decoded."""
    query: Mapping[str, str]
    headers: Mapping[str, str]
    """Names are case-insensitive."""
    cookies: Mapping[str, str]
    address: str
    is_secure: bool
    host: str
    """As in the request, with the port."""
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """The answer of a route."""

    status: int
    content_type: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


class StreamOut:
    """The output of a stream."""

    def __init__(self, response: StreamResponse, transport: asyncio.Transport) -> None:
        self._response = response
        self._transport = transport

    async def send(self, data: bytes) -> None:
        """Send all of it after everything before was taken; returns when it is sent. Raises Gone."""
        await _taken(self._transport)
        try:
            for start in range(0, len(data), _PIECE_BYTES):
                await self._response.write(data[start : start + _PIECE_BYTES])
                await _taken(self._transport)
        except ConnectionError as error:
            raise Gone("the reader has left") from error

    def offer(self, piece: bytes) -> bool:
        """Send one `framed` piece if the reader has taken all before; else False. Never call while `send` waits."""
        if self._transport.is_closing() or self._transport.get_write_buffer_size():
            return False
        self._transport.write(piece)
        return True


def framed(data: bytes) -> bytes:
    """The bytes on the wire, the same for every reader of a stream: a chunk (RFC 9112, 7.1)."""
    return b"%x\r\n%b\r\n" % (len(data), data)


@dataclass(frozen=True, slots=True)
class Streaming:
    """A streaming answer: `run` sends until it returns or its reader is gone.

    Functions, as a route's `Respond` is: what is streamed differs from request to request.
    """

    content_type: str
    run: Callable[[StreamOut], Awaitable[None]]
    left: Callable[[], None] = lambda: None
    """Called once at its end, even if `run` was never called."""
    headers: Mapping[str, str] = field(default_factory=dict)


Respond = Callable[[HttpRequest], Awaitable[HttpAnswer | Streaming]]


class Route(NamedTuple):
    """The handlers of a path. A path that ends with `/` includes all paths below it."""

    get: Respond | None = None
    post: Respond | None = None
    body: int = 4 << 10
    """The largest body in bytes."""
    any_host: bool = False
    """Allow any `Host`: for machines, and of no use to a foreign web page."""
    cost: float = 1.0
    """Its cost in the caller's budget."""


class Visitors(KnownAddresses, Protocol):
    """Tells known callers from strangers."""

    def person(self, request: HttpRequest) -> str | None:
        """The logged-in person; None: nobody."""
        ...


class Strangers:
    """Knows nobody."""

    def is_known(self, _address: str) -> bool:
        """No."""
        return False

    def person(self, _request: HttpRequest) -> str | None:
        """Nobody."""
        return None


class _HttpConnection(ConnectionPlace):
    def __init__(self, client: socket.socket, address: str) -> None:
        super().__init__(address, asyncio.get_running_loop().time())
        self.client = client
        self.protocol: RequestHandler | None = None
        self.timer: asyncio.TimerHandle | None = None

    def close(self) -> None:
        """Close it, dropping what it has not taken, even during a handshake."""
        if self.timer is not None:
            self.timer.cancel()
        if self.protocol is not None and self.protocol.transport is not None:
            transport = self.protocol.transport
            self.protocol.force_close()
            transport.abort()
        else:
            with contextlib.suppress(OSError):
                self.client.shutdown(socket.SHUT_RDWR)  # this ends the handshake, which then closes it


class _Connections:
    """The open connections, by the library's object and by place."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._by_protocol: dict[RequestHandler, _HttpConnection] = {}

    def opened(self, protocol: RequestHandler, connection: _HttpConnection) -> None:
        """The library serves it from now on."""
        self._by_protocol[protocol] = connection

    def of(self, protocol: RequestHandler) -> _HttpConnection | None:
        """The transport; None: it is closed."""
        return self._by_protocol.get(protocol)

    def lost(self, protocol: RequestHandler) -> None:
        """Remove a closed connection and free its place."""
        connection = self._by_protocol.pop(protocol, None)
        if connection is not None:
            self._places.leave(connection)
            if connection.timer is not None:
                connection.timer.cancel()


class _Server(Server):
    """The library's server, which also frees the places of closed connections."""

    def __init__(
        self,
        respond: Callable[[BaseRequest], Awaitable[StreamResponse]],  # as the library takes it
        connections: _Connections,
        library: logging.Logger,
    ) -> None:
        super().__init__(
            respond, handler_cancellation=True, access_log=None, logger=library, lingering_time=0.0,
            keepalive_timeout=_LIFETIME_S, max_line_size=_LINE_BYTES, max_field_size=_LINE_BYTES, max_headers=_HEADERS,
            auto_decompress=False,
        )  # fmt: skip
        self._open = connections

    def connection_lost(self, handler: RequestHandler, exc: BaseException | None = None) -> None:
        """Report a closed connection."""
        super().connection_lost(handler, exc)
        self._open.lost(handler)


class HttpServer:
    """Answers `routes` at `host:port` (0: any free port, see `port`) until cancelled.

    `tls`: certificate and key, read again when they change. `names`: names of this box beside its address.
    `visitors`: tells known callers from strangers.
    """

    def __init__(
        self,
        host: str,
        port: int,
        routes: Mapping[str, Route],
        tls: tuple[Path, Path] | None = None,
        *,
        names: frozenset[str] = frozenset(),
        visitors: Visitors = Strangers(),  # noqa: B008 - it is stateless
    ) -> None:
        self.port = port
        self.listening = asyncio.Event()
        self._host = host
        self._routes = routes
        self._tls = tls
        self._names = {name.lower() for name in names}
        self._visitors = visitors
        self._places = Places(visitors)
        self._connections = _Connections(self._places)
        self._new = Budget(_NEW_AT_ONCE, _NEW_PER_S)
        self._costs = Budget(_COST_AT_ONCE, _COST_PER_S)
        self._seen: list[tuple[int, int] | None] = []
        """Stamps of the certificate's files, taken before reading, so that no change is missed."""

    async def run(self) -> None:
        """Listen until cancelled."""
        library = logging.getLogger("aiohttp.server")
        library.addFilter(_is_ours)
        server = _Server(self._respond, self._connections, library)
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
            self._places.close()
            await server.shutdown(0.1)

    async def _listen(self) -> tuple[socket.socket, ssl.SSLContext | None]:
        told = False
        while True:
            try:
                context = None
                if self._tls is not None:
                    self._seen = await asyncio.to_thread(_stamp, *self._tls)
                    context = await asyncio.to_thread(_context, *self._tls)
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
        """Use a renewed certificate for new connections; ignore one that is missing or broken."""
        if self._tls is None:
            return
        while True:
            await asyncio.sleep(_RENEW_S)
            now = await asyncio.to_thread(_stamp, *self._tls)
            if now == self._seen:
                continue
            self._seen = now
            try:
                await asyncio.to_thread(_context, *self._tls)  # first check that it is usable
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
            except OSError:  # no file descriptor is left, or the connection is gone already
                await asyncio.sleep(0.1)
                continue
            connection = _HttpConnection(client, caller(str(peer[0])))
            if self._admit(connection):
                group.create_task(self._open(connection, server, context), name="http connection")
            else:
                client.close()
            await asyncio.sleep(0)  # many new connections must not delay the ones being served

    def _admit(self, connection: _HttpConnection) -> bool:
        """True if there is room for it."""
        address = connection.address
        cost = _KNOWN_FACTOR if self._visitors.is_known(address) else 1.0
        return not self._new.take(address, connection.since, cost) and self._places.take(connection)

    async def _open(self, connection: _HttpConnection, server: _Server, context: ssl.SSLContext | None) -> None:
        loop = asyncio.get_running_loop()
        protocol = connection.protocol = server()
        self._connections.opened(protocol, connection)
        self._waits(connection)
        try:
            await loop.connect_accepted_socket(
                lambda: protocol, connection.client, ssl=context, ssl_handshake_timeout=_LIFETIME_S if context else None
            )
        except OSError as error:  # it left, or does not speak TLS
            error.__traceback__ = None  # or the error and asyncio's frames keep each other and the connection alive
            connection.client.close()
            self._connections.lost(protocol)

    def _waits(self, connection: _HttpConnection) -> None:
        """Limit the time for its next request; the library would wait forever."""
        if connection not in self._places:
            return  # it is gone, and a timer would keep its buffers
        loop = asyncio.get_running_loop()
        connection.is_served, connection.since = False, loop.time()
        if connection.timer is not None:
            connection.timer.cancel()
        connection.timer = loop.call_later(_LIFETIME_S, connection.close)

    # ---- requests -----------------------------------------------------------------------------------

    async def _respond(self, request: BaseRequest) -> StreamResponse:
        connection = self._connections.of(request.protocol)
        if connection is None:
            raise ConnectionResetError
        if connection.timer is not None:
            connection.timer.cancel()
        try:
            answer = await self._answer(request, connection)
            if isinstance(answer, Streaming):
                return await self._stream(request, connection, answer)
            response = Response(status=answer.status, body=answer.body, headers=_headers(answer))
            if answer.headers.get("Connection") == "close":
                response.force_close()
            return response
        finally:
            self._waits(connection)

    async def _answer(self, request: BaseRequest, place: ConnectionPlace) -> HttpAnswer | Streaming:
        path = request.path
        route = self._routes.get(path) or self._routes.get(path[: path.find("/", 1) + 1])
        asked = HttpRequest(
            request.method,
            path,
            request.query,
            request.headers,
            request.cookies,
            place.address,
            request.secure,
            request.headers.get("Host", ""),
        )
        if (wait := self._too_much(asked, route)) > 0.0:
            await asyncio.sleep(_REFUSED_S)
            headers = {"Retry-After": str(int(wait) + 1), "Connection": "close"}
            return _refusal(429, "wait", "too many requests", headers)
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
        place.has_asked = place.is_served = True  # the request is complete: until here it could be closed to make room
        return await respond(replace(asked, body=body))

    def _too_much(self, asked: HttpRequest, route: Route | None) -> float:
        """Seconds until its caller may ask for that; 0.0: now."""
        person = self._visitors.person(asked)
        key = asked.address if person is None else f"person {person}"
        return self._costs.take(key, asyncio.get_running_loop().time(), 1.0 if route is None else route.cost)

    def _is_ours(self, request: BaseRequest) -> bool:
        """True if its `Host` is the address that it came to or a name of this box."""
        name = _host_of(request.headers.get("Host", ""))
        transport = request.transport
        place = None if transport is None else transport.get_extra_info("sockname")
        if place is None:
            return False  # the caller has left already
        own = ipaddress.ip_address(str(place[0]).partition("%")[0])
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
        response.force_close()  # its end is the end of the connection
        try:
            await response.prepare(request)
        except ConnectionError:  # the caller has left already
            return response
        transport = request.transport
        if not isinstance(transport, asyncio.Transport):
            return response
        if (plain := transport.get_extra_info("socket")) is not None:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)

        connection.streams = True
        try:
            await answer.run(StreamOut(response, transport))
        except Gone:
            transport.abort()  # drop what it has not taken
        finally:
            connection.streams = False
        return response


def _headers(answer: HttpAnswer | Streaming) -> dict[str, str]:
    own = {"Content-Type": answer.content_type, "Cache-Control": "no-store"}
    return {**own, **_HEADERS_OF_ALL, **answer.headers}


class _TooLargeError(Exception):
    """The body is larger than its route allows."""


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

    Polls, because the library's own wait does not survive a time-out.
    """
    loop = asyncio.get_running_loop()
    left, until, pause = (
        transport.get_write_buffer_size(),
        loop.time() + _TAKES_NOTHING_S,
        BackOff(_LOOK_S, _LOOK_MOST_S),
    )
    while (size := transport.get_write_buffer_size()) > 0:
        if transport.is_closing():
            raise Gone("the reader has left")
        if size < left:
            left, until = size, loop.time() + _TAKES_NOTHING_S
        elif loop.time() >= until:
            raise Gone("the reader takes nothing")
        await asyncio.sleep(pause.next())


def _host_of(text: str) -> str:
    """The host without port and brackets."""
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.rpartition(":")[0].lower() if ":" in text else text.lower()


def _refusal(status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> HttpAnswer:
    body = b'{"ok":false,"error":{"code":"%s","message":"%s"}}' % (code.encode(), message.encode())
    return HttpAnswer(status, "application/json", body, headers or {})


def _context(certificate: Path, key: Path) -> ssl.SSLContext:
    """Make the TLS context. Raises OSError (also as ssl.SSLError)."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    return context


def _stamp(*files: Path) -> list[tuple[int, int] | None]:
    """A value that changes when one of the files does."""
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
    """False for the traceback that the library logs for each malformed request."""
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))

"""The port that cameras push to. The only importer of aiohttp here.

Whoever is no camera gets 403, a wrong path 404, a wrong token 401, a body too large or too slow 413 or 408. A camera
gets its maker's answer when its push is accepted, and 150 ms after the last byte at the latest, whatever is wrong
with the push or with us: makers differ in whether they ever send again.
"""

import asyncio
import hmac
import logging
import socket
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import RequestHandler, RequestPayloadError

from drivers.anpr import vzenith
from drivers.anpr.capture import Reply, Report, Unreadable
from drivers.anpr.doors import Camera, Doors, checked, push_of
from drivers.anpr.makers import accepted, parse
from drivers.anpr.room import Room
from drivers.anpr.tally import Tally, Tell
from gateway.clock import Clock
from gateway.driver import Push, Take
from gateway.errors import ConfigError
from gateway.model import Instant

_log = logging.getLogger(__name__)

ANSWER_WITHIN = 0.15
"""Seconds from the last byte of a push to its answer."""
BODY_WITHIN = 10.0
"""Seconds for the whole body, and for waiting until there is room for it."""
MAX_BODY = 4 << 20
_ALL_BODIES = 64 << 20
CONNECTIONS = 256
_IDLE = 75.0
_LINGER = 0.5
_AGAIN = 10.0
_RESOLVE_EVERY = 60.0
_RESOLVE_SOON = 5.0
_LINE = 8 << 10
_HEADERS = 64
_SERVER = {"Server": "site-gateway"}

Verdict = Callable[[Push], Awaitable[bool]]
"""True: the answer to this push opens the camera's own relay. Asked once the push is accepted, within its 150 ms."""

_Answer = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Listener:
    """Listens at `host:port` (0: any free port, see `port`) until cancelled. Raises ConfigError: no such maker.

    `take` is given every passage; a `verdict`, if there is one, is asked for cameras with an `opening`.
    """

    def __init__(
        self,
        host: str,
        port: int,
        cameras: Sequence[Camera],
        take: Take,
        clock: Clock,
        *,
        max_body: int = MAX_BODY,
        tell: Tell | None = None,
        verdict: Verdict | None = None,
    ) -> None:
        self.port = port
        self.listening = asyncio.Event()
        self.strangers: Counter[str] = Counter()
        """Refused requests that belong to no camera, by reason."""
        self._host = host
        self._cameras = checked(cameras)
        self._doors = Doors(self._cameras)
        self._take = take
        self._clock = clock
        self._max_body = max_body
        self._tell = tell or _untold
        self._verdict = verdict
        self._room = Room(max(max_body, min(4 * max_body, _ALL_BODIES)))
        self._turn = asyncio.Lock()
        self._tallies = {one.id: Tally() for one in self._cameras}
        self._server: _Server | None = None
        self._unread_tokens: set[str] = set()
        self._bugs: set[type[BaseException]] = set()

    def snapshot(self) -> Mapping[str, Mapping[str, int | float | str | bool | None]]:
        """For health, by camera."""
        wall = self._clock.now().wall
        return {id_: tally.told(wall) for id_, tally in self._tallies.items()}

    @property
    def connections(self) -> int:
        """Open now."""
        return self._server.count if self._server is not None else 0

    @property
    def reading(self) -> int:
        """Bytes of bodies that have been promised room."""
        return self._room.used

    async def run(self) -> None:
        """Listen until cancelled. A port that is taken is tried again."""
        library = logging.getLogger("aiohttp.cameras")
        library.addFilter(_is_ours)
        server = _Server(
            self._answer, logger=library, access_log=None, auto_decompress=False, keepalive_timeout=_IDLE,
            lingering_time=_LINGER, max_line_size=_LINE, max_field_size=_LINE, max_headers=_HEADERS,
        )  # fmt: skip
        self._server = server
        try:
            async with asyncio.TaskGroup() as group:
                if self._doors.names:
                    group.create_task(self._resolve(), name="camera names")
                port = await self._listen(server)
                try:
                    self.port = port.sockets[0].getsockname()[1]
                    self.listening.set()
                    await asyncio.Event().wait()
                finally:
                    self.listening.clear()
                    port.close()
        finally:
            server.pre_shutdown()
            await server.shutdown(0.1)

    async def _listen(self, server: "_Server") -> asyncio.Server:
        told = False
        while True:
            try:
                port = await asyncio.get_running_loop().create_server(server, self._host, self.port, backlog=128)
            except OSError as error:
                if not told:
                    self._tell("http.cameras", False, f"cannot listen at {self._host}:{self.port}: {error.strerror}")
                told = True
                await asyncio.sleep(_AGAIN)
            else:
                if told:
                    self._tell("http.cameras", True, "")
                return port

    async def _resolve(self) -> None:
        """Ask for the addresses of cameras that have names; the last answer stands while there is no new one."""
        loop = asyncio.get_running_loop()
        known: set[str] = set()
        while True:
            for name in self._doors.names:
                try:
                    found = await loop.getaddrinfo(name, None, type=socket.SOCK_STREAM)
                except OSError:
                    continue
                known.add(name)
                self._doors.resolved(name, [str(one[4][0]) for one in found])
            await asyncio.sleep(_RESOLVE_EVERY if known == self._doors.names else _RESOLVE_SOON)

    # ---- one request ------------------------------------------------------------------------------

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        found = self._doors.find(request.path, request.remote or "")
        if isinstance(found, str):
            self.strangers[found] += 1
            return _refusal(403 if found in ("stranger", "other-camera") else 404)
        camera, path = found
        try:
            refused = self._refused(camera, request)
            if refused is None:
                return await self._push(camera, path, request)
            status, why = refused
        except TimeoutError:
            status, why = 408, "slow"
        except (RequestPayloadError, ConnectionError):
            status, why = 400, "broken"
        self._tallies[camera.id].counts[f"!{why}"] += 1
        return _refusal(status)

    def _refused(self, camera: Camera, request: web.BaseRequest) -> tuple[int, str] | None:
        """Why this request is not read at all."""
        if not self._may(camera, request.query.get("token", "")):
            return 401, "token"
        if request.method not in ("POST", "PUT", "GET"):
            return 405, "method"
        if (request.content_length or 0) > self._max_body:
            return 413, "size"
        return None

    def _may(self, camera: Camera, token: str) -> bool:
        if camera.token is None:
            return True
        try:
            wanted = camera.token()
        except ConfigError as error:
            if camera.id not in self._unread_tokens:
                self._unread_tokens.add(camera.id)
                self._tell(camera.id, False, str(error))
            return False
        if camera.id in self._unread_tokens:
            self._unread_tokens.discard(camera.id)
            self._tell(camera.id, True, "")
        return hmac.compare_digest(token.encode("utf-8", "surrogatepass"), wanted.encode())

    async def _push(self, camera: Camera, path: str, request: web.BaseRequest) -> web.StreamResponse:
        """Read it, hand it over, answer. Raises TimeoutError, RequestPayloadError, ConnectionError."""
        length = request.content_length
        async with asyncio.timeout(BODY_WITHIN) as patience:
            async with self._room.reserved(camera.id, self._max_body if length is None else length):
                if request.headers.get("Expect", "").lower() == "100-continue":
                    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                payload = await self._read(request)
                patience.reschedule(None)
                if payload is None:
                    self._tallies[camera.id].counts["!size"] += 1
                    return _refusal(413)
                reply = await self._said(camera, path, payload, request.headers.get("Content-Type", ""))
        headers = {**_SERVER, "Content-Type": reply.content_type}
        return web.Response(status=reply.status, body=reply.body, headers=headers)

    async def _read(self, request: web.BaseRequest) -> bytes | None:
        """The body; None if it is too large. As it came: what is compressed stays so, and is not understood."""
        pieces: list[bytes] = []
        size = 0
        while piece := await request.content.readany():
            size += len(piece)
            if size > self._max_body:
                return None
            pieces.append(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def _said(self, camera: Camera, path: str, payload: bytes, content_type: str) -> Reply:
        """What the camera hears. Raises nothing: our own trouble is not the camera's."""
        loop = asyncio.get_running_loop()
        until = loop.time() + ANSWER_WITHIN
        at = self._clock.now()
        # One push is understood, then everybody else of this process has a turn: a flood delays no fire.
        await self._turn.acquire()
        loop.call_soon(self._turn.release)
        try:
            report = self._parsed(camera, path, payload, content_type, at)
            if report is None:
                return accepted(camera.driver, path)
            return await self._handed_over(camera, report, at, until)
        except Exception as bug:  # noqa: BLE001 - a camera must not learn of it by silence, nor others suffer
            self._tallies[camera.id].counts["bugs"] += 1
            if type(bug) not in self._bugs:
                self._bugs.add(type(bug))
                _log.exception("error of our own in a push of %s", camera.id)
            return accepted(camera.driver, path)

    def _parsed(self, camera: Camera, path: str, payload: bytes, content_type: str, at: Instant) -> Report | None:
        """What the push says; None: that cannot be understood. At once: even the largest takes some milliseconds."""
        tally = self._tallies[camera.id]
        try:
            report = parse(camera.driver, payload, content_type, path, camera.settings)
        except Unreadable:
            tally.last = at.wall
            tally.counts["unreadable"] += 1
            return None
        tally.heard(report, at.wall)
        return report

    async def _handed_over(self, camera: Camera, report: Report, at: Instant, until: float) -> Reply:
        opens = False
        for capture in report.captures:
            push = push_of(camera, capture, at)
            try:
                async with asyncio.timeout_at(until):
                    await self._take(push)
                    if camera.opening is not None and self._verdict is not None and not capture.history:
                        opens = await self._verdict(push)
            except TimeoutError:
                self._tallies[camera.id].counts["late"] += 1
        if opens and len(report.captures) == 1:
            return vzenith.reply(report.record, camera.opening)
        return report.reply


class _Server(web.Server):
    """Keeps the number of connections down: who never knocked as a camera goes first, then who is idle longest."""

    def __init__(self, answer: _Answer, **options: Any) -> None:
        super().__init__(self._one, **options)
        self._answering = answer
        self._unknown: dict[RequestHandler, None] = {}
        """Connected, and silent so far."""
        self._leaving: dict[RequestHandler, None] = {}
        """Refused."""
        self._idle: dict[RequestHandler, None] = {}
        """Cameras between two pushes, the longest idle first."""
        self._busy: dict[RequestHandler, None] = {}

    @property
    def count(self) -> int:
        """Connections that are open."""
        return len(self._unknown) + len(self._leaving) + len(self._idle) + len(self._busy)

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        """One more."""
        super().connection_made(handler, transport)
        self._unknown[handler] = None
        if self.count > CONNECTIONS:
            group = next(group for group in (self._unknown, self._leaving, self._idle) if group)
            victim = next(iter(group))
            del group[victim]
            victim.force_close()

    def connection_lost(self, handler: RequestHandler, exc: BaseException | None = None) -> None:
        """One less."""
        super().connection_lost(handler, exc)
        for group in (self._unknown, self._leaving, self._idle, self._busy):
            group.pop(handler, None)

    async def _one(self, request: web.BaseRequest) -> web.StreamResponse:
        handler = request.protocol
        for group in (self._unknown, self._idle, self._leaving):
            group.pop(handler, None)
        self._busy[handler] = None
        response: web.StreamResponse | None = None
        try:
            response = await self._answering(request)
            return response
        finally:
            if handler in self._busy:
                del self._busy[handler]
                (self._idle if response is not None and response.status < 400 else self._leaving)[handler] = None


def _refusal(status: int) -> web.Response:
    """Says no more than the number, and ends the connection."""
    response = web.Response(status=status, headers=_SERVER)
    response.force_close()
    return response


def _untold(_who: str, _well: bool, _why: str) -> None:
    """Nobody wants to know."""


def _is_ours(record: logging.LogRecord) -> bool:
    """False for the traceback that the library logs of each malformed request."""
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))

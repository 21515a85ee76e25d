"""A small HTTP listener for machines that look on: GET of a few paths, nothing else. The only importer of aiohttp.

Bounded: 16 connections (32 in a burst), each for 10 s at most, 8 KiB of a line and of a header, 32 headers, no
body is read. A port that is taken is tried again: it must not keep the gateway from its work.
"""

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web, web_response
from aiohttp.http_exceptions import HttpProcessingError

from gateway.local.metrics import CONTENT_TYPE, Metrics
from gateway.log import logger

_log = logger(__name__)

_CONNECTIONS = 16
_LIFETIME = 10.0
_AGAIN = 10.0
_LINE = 8 << 10
_HEADERS = 32
_TEXT = "text/plain; charset=utf-8"
_NAME = "site-gateway"
setattr(web_response, "SERVER_SOFTWARE", _NAME)  # noqa: B010 - also in the library's own answer to what is no HTTP


@dataclass(frozen=True, slots=True)
class Answer:
    """What a path says."""

    status: int
    content_type: str
    body: bytes


class _Refusal(asyncio.Protocol):
    """One connection too many: closed as it comes."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Hang up."""
        transport.close()


class Listener:
    """Answers GET of `paths` at `host:port` (0: any free port, see `port`) until cancelled."""

    def __init__(
        self,
        host: str,
        port: int,
        paths: Mapping[str, Callable[[], Answer]],
        tls: tuple[Path, Path] | None = None,
    ) -> None:
        self.port = port
        self.listening = asyncio.Event()
        self._host = host
        self._paths = paths
        self._tls = tls
        """Certificate and key."""

    async def run(self) -> None:
        """Listen until cancelled."""
        library = logging.getLogger("aiohttp.server")
        library.addFilter(_is_ours)
        application = web.Application(logger=library, client_max_size=1)
        for path, say in self._paths.items():
            application.router.add_get(path, self._answering(say), allow_head=False)
        application.on_response_prepare.append(_unnamed)
        runner = web.AppRunner(
            application, access_log=None, handle_signals=False, shutdown_timeout=0.1, lingering_time=0.0,
            keepalive_timeout=_LIFETIME, max_line_size=_LINE, max_field_size=_LINE, max_headers=_HEADERS,
        )  # fmt: skip
        await runner.setup()
        try:
            server = await self._listen(runner)
            try:
                self.port = server.sockets[0].getsockname()[1]
                self.listening.set()
                await asyncio.Event().wait()
            finally:
                server.close()
        finally:
            await runner.cleanup()

    async def _listen(self, runner: web.AppRunner) -> asyncio.Server:
        loop = asyncio.get_running_loop()
        told = False
        while True:
            try:
                context = self._context()
                return await loop.create_server(
                    lambda: self._connection(runner), self._host, self.port, backlog=_CONNECTIONS,
                    ssl=context, ssl_handshake_timeout=_LIFETIME if context else None,
                )  # fmt: skip
            except OSError as error:
                if not told:
                    _log.error("cannot listen", address=f"{self._host}:{self.port}", error=str(error))
                told = True
                await asyncio.sleep(_AGAIN)

    def _context(self) -> ssl.SSLContext | None:
        if self._tls is None:
            return None
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*self._tls)
        return context

    def _connection(self, runner: web.AppRunner) -> asyncio.Protocol:
        server = runner.server
        if server is None or len(server.connections) >= _CONNECTIONS:
            return _Refusal()
        connection = server()
        # The library waits for a request line without end.
        asyncio.get_running_loop().call_later(_LIFETIME, connection.force_close)
        return connection

    def _answering(self, say: Callable[[], Answer]) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def answer(_request: web.Request) -> web.Response:
            said = say()
            headers = {"Content-Type": said.content_type, "Cache-Control": "no-store"}
            return web.Response(status=said.status, body=said.body, headers=headers)

        return answer


def looking_on(
    host: str, port: int, metrics: Metrics, is_alive: Callable[[], bool], tls: tuple[Path, Path] | None = None
) -> Listener:
    """The listener with `/metrics`, and `/healthz`: 200 while `is_alive()`, which also feeds the watchdog, else 503."""

    def healthz() -> Answer:
        return Answer(200, _TEXT, b"alive\n") if is_alive() else Answer(503, _TEXT, b"stuck\n")

    return Listener(
        host, port, {"/metrics": lambda: Answer(200, CONTENT_TYPE, metrics.text()), "/healthz": healthz}, tls
    )


async def _unnamed(_request: web.BaseRequest, response: web.StreamResponse) -> None:
    """Who listens here is nobody's business."""
    response.headers["Server"] = _NAME


def _is_ours(record: logging.LogRecord) -> bool:
    """False for the traceback that the library logs of each malformed request."""
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))

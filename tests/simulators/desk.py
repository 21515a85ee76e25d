"""A tiny gateway for simulated cameras: hears everything, answers as it is told."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal, NamedTuple, Self

from aiohttp import web

from drivers.anpr.capture import CameraSettings, Capture, Report
from drivers.anpr.makers import parse
from simulators.cameras.camera import VirtualCamera
from simulators.cameras.logins import Logins
from simulators.cameras.model import CameraSetup

How = Literal["right", "wrong", "error", "slow", "cut"]
EAST = 28_800.0
NORTH = "127.0.0.12"
SOUTH = "127.0.0.13"


class Heard(NamedTuple):
    """One request."""

    remote: str
    path: str
    """With the query."""
    report: Report

    @property
    def capture(self) -> Capture:
        return self.report.captures[0]


@dataclass
class Desk:
    """What it answers is `how`.

    `right`: as the maker wants it; `wrong`: 200 and no text, or 400 for makers that take any 200; `error`: 500; `slow`:
    nothing until `how` is another; `cut`: the connection ends without an answer.
    """

    driver: str
    how: How = "right"
    heard: list[Heard] = field(default_factory=list)
    logins: Logins | None = None
    port: int = 0
    by_address: dict[str, str] = field(default_factory=dict)
    """Cameras of another maker."""
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _listener: asyncio.Server | None = None
    _server: web.Server | None = None

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def open(self) -> None:
        self._server = web.Server(self._answer, access_log=None)
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(self._server, "127.0.0.1", self.port)
        self.port = self._listener.sockets[0].getsockname()[1]

    async def close(self) -> None:
        if self._listener is not None and self._server is not None:
            self._listener.close()
            await self._server.shutdown(0.01)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def now(self, how: How) -> None:
        """Answer so from here on."""
        self.how = how
        self._news.set()

    def of(self, camera: VirtualCamera) -> list[Heard]:
        """Plates of this camera."""
        return [one for one in self.heard if one.remote == camera.setup.address and one.report.captures]

    def plates(self, camera: VirtualCamera) -> list[str | None]:
        return [one.capture.plate_raw for one in self.of(camera)]

    async def until(self, reached: Callable[["Desk"], bool], timeout: float = 10.0) -> None:
        """Wait until `reached(self)`. Raises TimeoutError."""
        async with asyncio.timeout(timeout):
            while not reached(self):
                self._news.clear()
                await self._news.wait()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        remote, loop = request.remote or "", asyncio.get_running_loop()
        if self.logins is not None:
            header = request.headers.get("Authorization", "")
            if self.logins.judge(remote, request.method, request.path_qs, header, loop.time()) != "in":
                return web.Response(status=401, headers={"WWW-Authenticate": self.logins.challenge()})
        body = await request.read()
        driver = self.by_address.get(remote, self.driver)
        report = parse(driver, body, request.headers["Content-Type"], request.path, CameraSettings(EAST))
        self.heard.append(Heard(remote, request.path_qs, report))
        self._news.set()
        while self.how == "slow":
            self._news.clear()
            await self._news.wait()
        if self.how == "cut":
            assert request.transport is not None
            request.transport.abort()
        if self.how != "right":
            takes_all = driver in ("hikvision", "platerecognizer")
            return web.Response(status=500 if self.how == "error" else 400 if takes_all else 200)
        reply = report.reply
        return web.Response(body=reply.body, status=reply.status, content_type=reply.content_type)


def quick(driver: str, address: str = NORTH, **more: Any) -> CameraSetup:
    """A camera in a hurry, with small pictures."""
    told: dict[str, Any] = {"timeout": 2.0, "retry": 0.01, "picture_bytes": 3000, **more}
    if driver != "platerecognizer":
        told.setdefault("heartbeat", 0.05)
    return CameraSetup("lpr" if address == NORTH else "other", driver, address, **told)

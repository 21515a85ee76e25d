"""A camera's side of the wire: raw bytes to a real listener."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from drivers.anpr.camera_lookup import Camera
from drivers.anpr.capture import CameraSettings
from drivers.anpr.listener import PushListener
from gateway.clock import Clock
from gateway.driver import Push

HERE = "127.0.0.1"
ELSEWHERE = "127.0.0.9"


@dataclass
class Taker:
    """Takes pushes; `wait` is awaited before each is accepted, `verdict` for each that may open."""

    pushes: list[Push] = field(default_factory=list)
    wait: Callable[[], Any] | None = None
    verdict: Callable[[Push], Awaitable[bool]] | None = None
    told: list[tuple[str, bool, str]] = field(default_factory=list)
    alarms: list[tuple[str, bool, str]] = field(default_factory=list)

    async def take(self, push: Push) -> None:
        self.pushes.append(push)
        if self.wait is not None:
            await self.wait()

    async def opens(self, push: Push) -> bool:
        return self.verdict is not None and await self.verdict(push)

    def tell(self, who: str, well: bool, why: str) -> None:
        self.told.append((who, well, why))

    def alarm(self, name: str, well: bool, why: str) -> None:
        self.alarms.append((name, well, why))

    @property
    def plates(self) -> list[str | None]:
        return [one.passage.plate_raw for one in self.pushes]


def camera(driver: str, id_: str = "c1", address: str = HERE, **more: Any) -> Camera:
    return Camera(id_, driver, address, CameraSettings(28800.0, "in"), **more)


@asynccontextmanager
async def listening(cameras: Sequence[Camera], take: Taker, **more: Any) -> AsyncIterator[PushListener]:
    listener = PushListener(HERE, 0, cameras, take, Clock(), **more)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(listener.run(), name="cameras")
        async with asyncio.timeout(5):
            await listener.listening.wait()
        yield listener
        task.cancel()


@dataclass
class Said:
    """One answer."""

    status: int
    headers: dict[str, str]
    body: bytes


class Line:
    """One connection of a camera."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def answer(self, timeout: float = 5.0) -> Said:
        """The next answer. Raises EOFError: the connection was closed."""
        async with asyncio.timeout(timeout):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode().splitlines()
            headers = dict(line.lower().split(": ", 1) for line in head[1:] if ": " in line)
            body = await self.reader.readexactly(int(headers.get("content-length", 0)))
        return Said(int(head[0].split()[1]), headers, body)


@asynccontextmanager
async def connected(port: int, source: str = HERE) -> AsyncIterator[Line]:
    reader, writer = await asyncio.open_connection(HERE, port, local_addr=(source, 0))
    try:
        yield Line(reader, writer)
    finally:
        writer.close()


def request(path: str, body: bytes = b"", content_type: str = "", *, method: str = "POST", extra: str = "") -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nHost: gateway\r\nContent-Length: {len(body)}\r\n{extra}"
    if content_type:
        head += f"Content-Type: {content_type}\r\n"
    return head.encode() + b"\r\n" + body


async def push(
    port: int, path: str, body: bytes = b"", content_type: str = "", *, source: str = HERE, extra: str = "",
    method: str = "POST",
) -> Said:  # fmt: skip
    """One push on a connection of its own."""
    async with connected(port, source) as line:
        line.writer.write(request(path, body, content_type, extra=extra, method=method))
        return await line.answer()


async def until(condition: Callable[[], object], timeout: float = 5.0) -> None:
    """Wait for a condition of the other side."""
    async with asyncio.timeout(timeout):
        while not condition():
            await asyncio.sleep(0.005)

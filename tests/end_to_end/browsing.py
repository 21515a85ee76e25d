"""A browser of the local page, as far as HTTP goes: cookies, the marks of its requests, a stream that is read."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Self

import aiohttp
import orjson

from gateway.local.feed import merged


class Stream:
    """What a page makes of `/events`."""

    def __init__(self) -> None:
        self.state: Any = {}
        self.n = ""
        self.seen = ""
        self.events: list[str] = []
        self.ended = False
        self._news = asyncio.Event()

    async def read(self, response: aiohttp.ClientResponse) -> None:
        """Take events until the other side ends it."""
        buffer = b""
        async for piece in response.content.iter_any():
            buffer += piece
            *whole, buffer = buffer.split(b"\n\n")
            for event in whole:
                self.take(event)
        self.ended = True

    def take(self, text: bytes) -> None:
        """One event."""
        lines = dict(line.split(b": ", 1) for line in text.split(b"\n"))
        if b"event" not in lines:
            return
        kind, data = lines[b"event"].decode(), orjson.loads(lines[b"data"])
        self.events.append(kind)
        if kind == "state":
            self.state = data["state"]
        elif kind == "patch":
            self.state = merged(self.state, data["patch"])
        else:
            self.seen = data["seen"]
        self.n = data["n"]
        self._news.set()

    async def until(self, reached: Callable[[Any], object], within: float = 15.0) -> Any:
        """Wait until the state is so: what `reached` gives then. Raises TimeoutError."""
        async with asyncio.timeout(within):
            while True:
                try:
                    if found := reached(self.state):
                        return found
                except (KeyError, IndexError):
                    pass
                self._news.clear()
                await self._news.wait()


class Browser:
    """One browser with its cookies. `ssl`: False for a certificate that is clicked through; `source`: its address."""

    def __init__(self, base: str, ssl: bool = True, source: str = "127.0.0.1") -> None:
        self.base = base
        self._ssl = ssl
        self._source = source

    async def __aenter__(self) -> Self:
        self.session = aiohttp.ClientSession(
            self.base,
            cookie_jar=aiohttp.CookieJar(unsafe=True),
            connector=aiohttp.TCPConnector(local_addr=(self._source, 0)),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.session.close()

    async def get(self, path: str, **headers: str) -> tuple[int, Any]:
        """Status, and the JSON or bytes."""
        async with self.session.get(path, headers=headers, ssl=self._ssl) as response:
            body = await response.read()
            is_json = response.content_type == "application/json"
            return response.status, orjson.loads(body) if is_json else body

    async def post(self, path: str, told: object, **headers: str) -> tuple[int, Any]:
        """Status and JSON."""
        marks = {"X-Site-Gateway": "1", "Origin": self.base, "Content-Type": "application/json", **headers}
        async with self.session.post(path, data=orjson.dumps(told), headers=marks, ssl=self._ssl) as response:
            return response.status, orjson.loads(await response.read())

    async def log_in(self, name: str, password: str) -> Mapping[str, Any]:
        """Who one is then."""
        status, told = await self.post("/login", {"name": name, "password": password})
        assert status == 200, told
        return dict(told)

    async def do(self, stream: Stream, cmd: str, **args: Any) -> tuple[int, Any]:
        """Something is done because of what the stream shows."""
        return await self.post("/do", {"cmd": cmd, "args": args, "seen": stream.seen})

    @asynccontextmanager
    async def looking(self, **headers: str) -> AsyncIterator[Stream]:
        """The stream, read while it lasts."""
        stream = Stream()
        timeout = aiohttp.ClientTimeout(total=None)
        async with (
            self.session.get("/events", headers=headers, ssl=self._ssl, timeout=timeout) as response,
            asyncio.TaskGroup() as group,
        ):
            assert response.status == 200, await response.read()
            task = group.create_task(stream.read(response), name="stream")
            await stream.until(lambda _: stream.n and stream.seen)
            yield stream
            task.cancel()


async def listening(base: str, within: float = 15.0) -> None:
    """Wait until the page is there. Raises TimeoutError."""
    async with asyncio.timeout(within), Browser(base, ssl=False) as browser:
        while True:
            try:
                await browser.get("/me")
            except aiohttp.ClientConnectionError:
                await asyncio.sleep(0.02)
            else:
                return

"""The floor of the page: aiohttp that gives its readers what it is told, and knows nothing.

    async with bare_page(events) as (pid, base): ...

As a program, `python -m tests.benchmarks.bare_page FILE`: prints its port and serves until its standard input ends.
FILE has what a stream of ours brought, a line of JSON for each event: `[seconds since the one before, event, data]`;
the first is a whole state, which is kept for who comes. The others come again and again in that rhythm, readings one by
one: the floor puts them into its state and into a patch, serialises and deflates that once, and writes it to every
reader, so they get the same bytes as from us. `POST /tell` writes its body as one more event, at once. `GET /` is the
least page: it shows the last event of its stream.
"""

import asyncio
import json
import sys
import time
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import cycle
from pathlib import Path
from typing import Any

import aiohttp
import orjson
from aiohttp import web

from tests.benchmarks.measure import program

Replayed = tuple[float, str, Any]
"""Seconds since the one before, event, data."""
Reading = tuple[str, str, Any, str]
"""Device, point, value, since when."""
_GZIP_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
_PAGE = b"""<!doctype html><meta charset="utf-8"><title>floor</title><body></body><script>
const stream = new EventSource('/events');
stream.addEventListener('state', ({data}) => {
    document.body.textContent = Object.keys(JSON.parse(data).state.devices).length; });
stream.addEventListener('told', ({data}) => { document.body.textContent = JSON.parse(data); });
</script>"""


async def recorded(base: str, seconds: float) -> list[Replayed]:
    """What a stream of this page brings."""
    events: list[Replayed] = []
    before, buffer = time.monotonic(), b""
    async with aiohttp.ClientSession() as session, session.get(f"{base}/events") as response:
        until = before + seconds
        async for piece in response.content.iter_any():
            now = time.monotonic()
            if now >= until:
                break
            *whole, buffer = (buffer + piece).split(b"\n\n")
            for event in whole:
                lines = dict(line.split(b": ", 1) for line in event.split(b"\n"))
                if b"event" in lines:
                    events.append((now - before, lines[b"event"].decode(), orjson.loads(lines[b"data"])))
                    before = now
    state = next(one for one in events if one[1] == "state")
    return [state, *(one for one in events if one[1] != "state")]


@asynccontextmanager
async def bare_page(folder: Path, events: list[Replayed]) -> AsyncIterator[tuple[int, str]]:
    """The floor as a process: its pid, and where it is."""
    path = folder / "events"
    path.write_text("\n".join(json.dumps(event) for event in events))
    async with program("tests.benchmarks.bare_page", path, reads=True) as (pid, port):
        yield pid, f"http://127.0.0.1:{port}"


def _event(kind: str, data: object) -> bytes:
    number = data["n"] if isinstance(data, dict) else ""
    return f"event: {kind}\nid: {number}\ndata: ".encode() + orjson.dumps(data) + b"\n\n"


def _deflated(text: bytes) -> bytes:
    packer = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
    return packer.compress(text) + packer.flush(zlib.Z_FULL_FLUSH)


def _apart(data: Any) -> tuple[Any, list[Reading]]:
    """What an event tells beside readings, and these: where each has nothing but another value and time."""
    devices = data.get("patch", {}).get("devices", {})
    readings = [
        (device, point, one["value"], one["since"])
        for device, told in devices.items()
        for point, one in told.get("points", {}).items()
        if told.keys() == {"points"} and one.keys() == {"value", "since"}
    ]
    if len(readings) != sum(len(told.get("points", {})) for told in devices.values()):
        return data, []
    return data, readings


class _Floor:
    def __init__(self, events: list[Replayed]) -> None:
        self._state = events[0][2]
        self._rest = cycle([(pause, kind, *_apart(data)) for pause, kind, data in events[1:]])
        self._readers: set[web.StreamResponse] = set()

    async def events(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Content-Encoding": "gzip"})
        await response.prepare(request)
        await response.write(_GZIP_HEADER + _deflated(_event("state", self._state)))
        self._readers.add(response)
        try:
            await asyncio.Event().wait()
        finally:
            self._readers.discard(response)
        return response

    async def page(self, _request: web.Request) -> web.Response:
        return web.Response(body=_PAGE, content_type="text/html")

    async def tell(self, request: web.Request) -> web.Response:
        await self._write("told", await request.json())
        return web.Response()

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        for pause, kind, data, readings in self._rest:
            due += pause
            await asyncio.sleep(due - loop.time())
            if self._readers:
                await self._write(kind, self._taken(data, readings) if readings else data)

    def _taken(self, data: Any, readings: list[Reading]) -> Any:
        """These readings are kept, and told."""
        kept, devices = self._state["state"]["devices"], dict[str, Any]()
        for device, point, value, since in readings:
            news = {"value": value, "since": since}
            kept[device]["points"][point].update(news)
            if (told := devices.get(device)) is None:
                told = devices[device] = {"points": {}}
            told["points"][point] = news
        return {**data, "patch": {**data["patch"], "devices": devices}}

    async def _write(self, kind: str, data: object) -> None:
        packed = _deflated(_event(kind, data))
        for reader in [*self._readers]:
            try:
                await reader.write(packed)
            except ConnectionError:
                self._readers.discard(reader)


async def _serve(path: Path) -> None:
    floor = _Floor([tuple(json.loads(line)) for line in path.read_text().splitlines()])
    application = web.Application()
    application.add_routes([web.get("/", floor.page), web.get("/events", floor.events), web.post("/tell", floor.tell)])
    runner = web.AppRunner(application, access_log=None, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)  # noqa: T201
    async with asyncio.TaskGroup() as group:
        telling = group.create_task(floor.run(), name="telling")
        await asyncio.to_thread(sys.stdin.read)
        telling.cancel()


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1])))

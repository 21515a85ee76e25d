"""Passages a second through the camera port, for each maker, beside aiohttp's own server with the same parser.

Pushes of 200 kB on four connections that stay open, client and server in one loop of one process: the figures are for
comparison with each other.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
from aiohttp import web

from drivers.anpr.camera_lookup import push_of
from drivers.anpr.makers import parse
from gateway.clock import Clock
from simulators.cameras.jpeg import jpeg
from simulators.cameras.makers import MAKERS
from simulators.cameras.model import CameraSetup, CarSight
from tests.drivers.anpr.pushing import HERE, Taker, camera, connected, listening, request

SCENE = 135_000
LINES, EACH = 4, 40
PLATE = "沪A12345"

Port = Callable[[str, Taker], AbstractAsyncContextManager[int]]


@asynccontextmanager
async def ours(driver: str, take: Taker) -> AsyncIterator[int]:
    """The camera port."""
    async with listening([camera(driver)], take) as listener:
        yield listener.port


@asynccontextmanager
async def theirs(driver: str, take: Taker) -> AsyncIterator[int]:
    """The library's server: reads the body, has it parsed in the loop, hands it over and answers."""
    mine, clock = camera(driver), Clock()

    async def handle(asked: web.BaseRequest) -> web.StreamResponse:
        payload = await asked.read()
        report = parse(driver, payload, asked.headers.get("Content-Type", ""), asked.path, mine.settings)
        for capture in report.captures:
            await take.take(push_of(mine, capture, clock.now()))
        return web.Response(body=report.reply.body)

    server = web.Server(handle, access_log=None)
    port = await asyncio.get_running_loop().create_server(server, HERE, 0)
    try:
        yield port.sockets[0].getsockname()[1]
    finally:
        port.close()
        await server.shutdown(0.1)


async def rate(port: Port, driver: str) -> float:
    """Passages a second."""
    sight = CarSight(1, PLATE, 97.0, "forward", "blue", time.time(), jpeg(SCENE // 10, seed=2), jpeg(SCENE, seed=1))
    sent = MAKERS[driver](CameraSetup("c1", driver)).push(sight, history=False, opened=False)
    raw = request("/cameras/c1", sent.body, sent.content_type)
    take = Taker()

    async def line(number: int) -> None:
        async with connected(number) as one:
            for _ in range(EACH):
                one.writer.write(raw)
                await one.writer.drain()
                assert (await one.answer()).status == 200

    async with port(driver, take) as number:
        begun = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for place in range(LINES):
                group.create_task(line(number), name=f"line {place}")
        took = time.perf_counter() - begun
    assert len(take.pushes) == LINES * EACH
    return LINES * EACH / took


@pytest.mark.parametrize("driver", sorted(set(MAKERS) - {"onvif"}))
async def test_passages_a_second(driver: str) -> None:
    mine, bare = [], []
    for _ in range(3):
        mine.append(await rate(ours, driver))
        bare.append(await rate(theirs, driver))
    print(f"\n{driver}: {max(mine):.0f} passages/s, aiohttp's own server {max(bare):.0f}")  # noqa: T201
    assert max(mine) >= max(bare) / 3

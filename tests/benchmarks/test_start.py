"""From the start of the process to its first value at the broker, and what `check` takes, beside a floor.

Byte code is written once beforehand, as an installation has it. `BENCH_STARTS` (default 10) of each.
"""

import asyncio
import os
import resource
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import aiomqtt

from tests.benchmarks.measure import median, program
from tests.benchmarks.test_site_of_forty import site
from tests.mosquitto import mosquitto

STARTS = int(os.environ.get("BENCH_STARTS", "10"))
PROMISED = 0.5
"""Seconds to the first value, where the floor takes no longer than on the development machine."""
FLOOR = 0.16
WITHIN = 30.0


class Start(NamedTuple):
    """Seconds of the clock, and of processors (children included), until a first value was seen."""

    wall: float
    cpu: float


def environment(folder: Path) -> dict[str, str]:
    """As installed: modules are compiled once, not at every start."""
    return {
        **{key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"},
        "PYTHONPYCACHEPREFIX": str(folder / "compiled"),
    }


@asynccontextmanager
async def process(*command: str, folder: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """A module of ours; asked to end at the end."""
    with (folder / "starts.log").open("ab") as log:
        running = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", *command), env=environment(folder), stdout=log, stderr=log
        )
    try:
        yield running
    finally:
        if running.returncode is None:
            running.send_signal(signal.SIGTERM)
        await running.wait()


async def first(client: aiomqtt.Client, topic: str, *command: str, folder: Path) -> Start:
    """Start it and wait for its first message of that topic."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.monotonic()
    async with process(*command, folder=folder):
        async with asyncio.timeout(WITHIN):
            async for message in client.messages:
                if topic in str(message.topic) and not message.retain:
                    break
        wall = time.monotonic() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Start(wall, after.ru_utime + after.ru_stime - children.ru_utime - children.ru_stime)


def said(what: str, starts: list[Start]) -> str:
    """A line of figures."""
    walls, cpus = [one.wall for one in starts], [one.cpu for one in starts]
    return f"{what}: best {min(walls):.2f} s, median {median(walls):.2f} s; processors {min(cpus):.2f} s"


async def test_first_value(tmp_path: Path) -> None:
    """40 devices with 25 points, each start with a store that is not there yet."""
    async with (
        mosquitto(tmp_path) as broker,
        program("tests.benchmarks.registers", "still", 40, reads=True) as (_, line),
    ):
        ports = line.split()
        ours, floor = [], []
        async with aiomqtt.Client("127.0.0.1", broker.port) as client:
            await client.subscribe("#", qos=1)
            for number in range(STARTS + 1):
                path = tmp_path / f"{number}.yaml"
                path.write_text(site(broker.port, ports, tmp_path / f"store{number}"))
                ours.append(await first(client, "/telemetry", "gateway", "run", str(path), folder=tmp_path))
                bare = ("tests.benchmarks.first", ports[0], str(broker.port))
                floor.append(await first(client, "first/value", *bare, folder=tmp_path))
    ours, floor = ours[1:], floor[1:]  # the first of each has compiled
    best, least = min(one.wall for one in ours), min(one.wall for one in floor)
    print(f"\n{said('start to first value', ours)}; {said('floor', floor)}; ratio {best / least:.2f}")  # noqa: T201
    assert best <= PROMISED * max(1.0, least / FLOOR)


async def test_check_of_100_devices(tmp_path: Path) -> None:
    """Interpreter and all."""
    points = "".join(f"p{at}: {{at: holding {at}, every: 1s}}, " for at in range(25))
    lines = "".join(f"  l{at}: {{driver: modbus, tcp: '127.0.0.1:{1000 + at}'}}\n" for at in range(100))
    devices = "".join(f"  d{at}: {{line: l{at}, points: {{{points}}}}}\n" for at in range(100))
    head = "version: 1\nsite: {id: s}\ngateway: g\nuplink: {url: 'mqtt://127.0.0.1'}\n"
    path = tmp_path / "site.yaml"
    path.write_text(f"{head}lines:\n{lines}devices:\n{devices}")
    took = []
    for _ in range(STARTS + 1):
        began = time.monotonic()
        async with process("gateway", "check", str(path), folder=tmp_path) as check:
            assert await check.wait() == 0
        took.append(time.monotonic() - began)
    print(f"\ncheck of 100 devices x 25 points: best {min(took):.2f} s, median {median(took[1:]):.2f} s")  # noqa: T201
    assert min(took) < 1.0

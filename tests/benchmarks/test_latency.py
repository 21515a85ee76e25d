"""From the bus answer that shows an alarm to the broker's PUBACK: stored first, then sent."""

import asyncio
import random
import time
from pathlib import Path

import orjson

from simulators.broker import LocalBroker
from simulators.packets import PublishPacket
from tests.benchmarks.bare import store_and_publish
from tests.benchmarks.measure import quantile
from tests.benchmarks.registers import listen
from tests.end_to_end.process import running

POINTS = 50
FLIPS = 8
"""Of each point: one that changes more than ten times a minute would be summed."""
SITE = """\
version: 1
site: {{id: s}}
gateway: g
uplink: {{url: "mqtt://127.0.0.1:{broker}"}}
lines: {{l: {{driver: modbus, tcp: "127.0.0.1:{modbus}"}}}}
devices:
  d:
    line: l
    points:
{points}
store: {{path: {store}}}
"""
POINT = "      p{n}: {{at: holding {n}, every: 20ms, alarms: {{a: {{kind: {kind}, equals: 1, latch: false}}}}}}"


class Registers:
    """One register a point; when the gateway was first shown them after a flip."""

    def __init__(self) -> None:
        self.values = [0] * POINTS
        self.shown: float | None = None

    def words(self, address: int, count: int) -> bytes:
        if self.shown is None:
            self.shown = time.monotonic()
        return b"".join(value.to_bytes(2, "big") for value in self.values[address : address + count])

    def flip(self, point: int) -> None:
        self.values[point] ^= 1
        self.shown = None


async def latencies(folder: Path, kind: str) -> list[float]:
    """Seconds from the first answer that shows a flip to the PUBACK of its event."""
    registers, times, told, flipped = Registers(), [], asyncio.Event(), ""

    def judge(message: PublishPacket) -> int:
        if message.topic.endswith("/alarm") and registers.shown is not None:
            times.append(time.monotonic() - registers.shown)
            assert orjson.loads(message.payload)["subject"] == flipped
            told.set()
        return 0

    chance = random.Random(1)  # noqa: S311 - a repeatable pattern
    server = await listen(registers.words)
    async with server, LocalBroker() as broker:
        broker.faults.verdict = judge
        path = folder / f"{kind}.yaml"
        port = server.sockets[0].getsockname()[1]
        points = "\n".join(POINT.format(n=n, kind=kind) for n in range(POINTS))
        path.write_text(SITE.format(broker=broker.port, modbus=port, points=points, store=folder / kind))
        async with running(path) as gateway:
            while not any(message.topic.endswith("/telemetry") for message in broker.received):
                await asyncio.sleep(0.01)
            for number in range(POINTS * FLIPS):
                await asyncio.sleep(chance.uniform(0.02, 0.06))
                told.clear()
                flipped = f"d/p{number % POINTS}/a"
                registers.flip(number % POINTS)
                async with asyncio.timeout(5):
                    await told.wait()
            await gateway.stop()
    return times


async def floor(folder: Path) -> list[float]:
    """Seconds of one durable commit and one acknowledged message to the same broker, with the libraries alone."""
    async with LocalBroker() as broker:
        return await asyncio.to_thread(store_and_publish, folder, broker.port, POINTS * FLIPS)


async def test_answer_to_puback(tmp_path: Path) -> None:
    bare = await floor(tmp_path / "bare")
    least50, least99 = quantile(bare, 0.5) * 1e3, quantile(bare, 0.99) * 1e3
    print(f"\none commit and one PUBACK, bare: p50 {least50:.1f} ms, p99 {least99:.1f} ms")  # noqa: T201
    for kind, words in (("water", "one read"), ("fire", "with its confirming read")):
        seconds = await latencies(tmp_path, kind)
        p50, p99 = quantile(seconds, 0.5) * 1e3, quantile(seconds, 0.99) * 1e3
        print(  # noqa: T201
            f"\nanswer that shows it -> PUBACK, {words}: p50 {p50:.1f} ms, p99 {p99:.1f} ms, "
            f"max {max(seconds) * 1e3:.1f} ms of {len(seconds)}; "
            f"{p50 / least50:.1f}x and {p99 / least99:.1f}x the bare one"
        )
        assert p99 <= 20.0

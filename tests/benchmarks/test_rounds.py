"""A round of 200 points on 4 buses beside the wires' own time, and what a fire waits meanwhile."""

import asyncio
import time
from pathlib import Path
from typing import Any

from tests.benchmarks.measure import median, resident_mib
from tests.end_to_end.compound import HEAD, Compound, compound
from tests.end_to_end.process import running

LINES, DEVICES, POINTS, RUNS = 4, 10, 5, 3
FIRES = 6


def site() -> str:
    """40 devices that nobody polls in the meantime, and a detector on each bus."""
    points = ", ".join(f"p{n}: {{at: input {n}, every: 10m}}" for n in range(POINTS))
    smoke = "kind: smoke-detector, points: {smoke: {at: holding 0, every: 1s, alarms: {fire: {kind: fire, equals: 1}}}}"
    lines = "\n".join(
        f"  l{n}: {{driver: modbus, tcp: '127.0.0.1:{n + 1}', framing: rtu, baudrate: 9600}}" for n in range(LINES)
    )
    devices = "\n".join(
        f"  d{line}-{n}: {{line: l{line}, unit: {n + 1}, points: {{{points}}}}}"
        for line in range(LINES)
        for n in range(DEVICES)
    )
    detectors = "\n".join(f"  smoke-{line}: {{line: l{line}, unit: 99, {smoke}}}" for line in range(LINES))
    items = "\n".join(
        f"      - {{point: d{line}-{n}.p{point}, between: [0, 65535], trend: 0s}}"
        for line in range(LINES)
        for n in range(DEVICES)
        for point in range(POINTS)
    )
    return f"{HEAD}\nlines:\n{lines}\ndevices:\n{devices}\n{detectors}\ninspection:\n  all:\n    items:\n{items}\n"


async def ended(it: Compound, run: str) -> dict[str, Any]:
    found: list[Any] = []

    def there(seen: Any) -> bool:
        found[:] = [one for one in seen.of("inspection.finished") if one["data"]["run"] == run]
        return bool(found)

    await it.cloud.until(there)
    return dict(found[0]["data"])


async def round_s(it: Compound) -> float:
    began = time.monotonic()
    reply = await it.person("inspection.run", role="technician", round="all")
    data = await ended(it, reply["result"]["run"])
    assert {one["outcome"] for one in data["items"]} == {"normal"}
    return time.monotonic() - began


async def wires_s(it: Compound) -> float:
    """Every device once, a line after another at its own pace, as by `site-gateway read`."""

    async def line(number: int) -> None:
        for n in range(DEVICES):
            request = {"ask": "read", "device": f"d{number}-{n}"}
            await asyncio.to_thread(it_ask, it, request)

    began = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for number in range(LINES):
            group.create_task(line(number), name=f"line {number}")
    return time.monotonic() - began


def it_ask(it: Compound, request: dict[str, Any]) -> Any:
    from gateway.local.control import NAME, ask  # noqa: PLC0415 - beside its only use

    return ask(it.folder / "store" / NAME, request)


async def fire_s(it: Compound, detector: str) -> float:
    began = time.monotonic()
    it.virtual.set(f"{detector}.smoke", 1)
    await it.until_standing(f"{detector}/smoke/fire")
    took = time.monotonic() - began
    it.virtual.set(f"{detector}.smoke", 0)
    await asyncio.sleep(3)
    await it.person("alarm.reset", alarm=f"{detector}/smoke/fire", note="over")
    await asyncio.sleep(3)
    return took


async def test_a_round_beside_the_wires_and_a_fire(tmp_path: Path) -> None:
    async with compound(tmp_path, site()) as it, running(it.site) as gateway:
        for line in range(LINES):
            await it.until_well(f"smoke-{line}", within=60)
        before = resident_mib(gateway.pid)
        own = [await wires_s(it) for _ in range(RUNS)]
        ours = [await round_s(it) for _ in range(RUNS)]
        memory = resident_mib(gateway.pid) - before
        still = [await fire_s(it, f"smoke-{n % LINES}") for n in range(FIRES)]
        during = []
        for n in range(FIRES):
            reply = await it.person("inspection.run", role="technician", round="all")
            during.append(await fire_s(it, f"smoke-{n % LINES}"))
            await ended(it, reply["result"]["run"])
    print(  # noqa: T201
        f"\n200 points on 4 buses: a round {median(ours):.2f} s, the wires' own {median(own):.2f} s,"
        f" {median(ours) / median(own):.2f}; a fire {median(still):.2f} s, beside a round {median(during):.2f} s;"
        f" memory +{memory:.1f} MiB"
    )
    assert median(ours) <= 1.3 * median(own)
    assert median(during) <= 2 * median(still)
    assert memory <= 25

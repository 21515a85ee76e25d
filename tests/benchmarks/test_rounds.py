"""A round of 200 points on 4 buses and 20 cameras beside the wires' and the cameras' own time.

And what alarms wait meanwhile, what the loop does, and what it all takes of the memory.
"""

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest

from gateway.cloud.events import wall_of
from gateway.config.load import load
from gateway.local.control import NAME, ask
from tests.benchmarks import lagging
from tests.benchmarks.measure import median, quantile, resident_mib
from tests.end_to_end.compound import HEAD, Compound, compound
from tests.end_to_end.process import running
from tests.end_to_end.rounds import ended
from tests.technician.command import site_gateway

LINES, DEVICES, POINTS, CAMERAS, RUNS = 4, 10, 5, 20, 3
FIRES = 6
AT_ONCE, APART_S = 2, 5.0
"""Cameras that are asked at once, and seconds between the two pictures that show that one is not frozen."""
PICTURE = "/ISAPI/Streaming/channels/101/picture"


def site() -> str:
    """40 devices that nobody polls in the meantime, a detector on each bus, and cameras."""
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
    cameras = "\n".join(f"  c{n}: {{driver: hikvision, address: 192.0.2.{n + 1}}}" for n in range(CAMERAS))
    read = "\n".join(
        f"      - {{point: d{line}-{n}.p{point}, between: [0, 65535], trend: 0s}}"
        for line in range(LINES)
        for n in range(DEVICES)
        for point in range(POINTS)
    )
    seen = "\n".join(f"      - {{camera: c{n}}}" for n in range(CAMERAS))
    return (
        f"{HEAD}\nlines:\n{lines}\ndevices:\n{devices}\n{detectors}\ncameras:\n{cameras}\n"
        f"inspection:\n  points:\n    items:\n{read}\n  all:\n    items:\n{read}\n{seen}\n"
    )


async def round_s(it: Compound, name: str) -> float:
    began = time.monotonic()
    reply = await it.person("inspection.run", role="technician", round=name)
    data = await ended(it, reply["result"]["run"], within=180.0)
    assert {one["outcome"] for one in data["items"]} == {"normal"}
    return time.monotonic() - began


async def wires_s(it: Compound) -> float:
    """Every device once, a line after another at its own pace, as by `site-gateway read`."""

    async def line(number: int) -> None:
        for n in range(DEVICES):
            request = {"ask": "read", "device": f"d{number}-{n}"}
            await asyncio.to_thread(ask, it.folder / "store" / NAME, request)

    began = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for number in range(LINES):
            group.create_task(line(number), name=f"line {number}")
    return time.monotonic() - began


async def cameras_s(it: Compound) -> float:
    """Two pictures of every camera, so many cameras at once, by a bare client."""
    file = load(it.site).site
    assert file is not None

    async def picture(address: str) -> None:
        host, _, port = address.partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(f"GET {PICTURE} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n".encode())
        assert b"\xff\xd8\xff" in await reader.read()
        writer.close()

    async def two(address: str) -> None:
        await picture(address)
        await asyncio.sleep(APART_S)
        await picture(address)

    began = time.monotonic()
    known = list(file.cameras.values())
    for first in range(0, len(known), AT_ONCE):
        async with asyncio.TaskGroup() as group:
            for camera in known[first : first + AT_ONCE]:
                group.create_task(two(str(camera.address)), name=str(camera.address))
    return time.monotonic() - began


async def fire_ms(it: Compound, detector: str) -> float:
    """From the contact to the alarm, by the clock of the machine."""
    subject = f"{detector}/smoke/fire"
    before = {event["id"] for event in it.cloud.of("alarm.raised", subject)}
    closed = time.time()
    it.virtual.set(f"{detector}.smoke", 1)
    await it.cloud.until(lambda seen: any(one["id"] not in before for one in seen.of("alarm.raised", subject)), 30)
    raised = next(one for one in it.cloud.of("alarm.raised", subject) if one["id"] not in before)
    it.virtual.set(f"{detector}.smoke", 0)
    cleared = len(it.cloud.of("alarm.cleared", subject))
    await it.cloud.until(lambda seen: len(seen.of("alarm.cleared", subject)) > cleared or _clear(seen, raised), 30)
    await it.person("alarm.reset", alarm=subject, note="over")
    return (wall_of(raised["time"]) - closed) * 1000


def _clear(seen: Any, raised: Any) -> bool:
    return any(one["data"]["alarm"] == raised["data"]["alarm"] for one in seen.of("alarm.cleared"))


async def bounds(it: Compound) -> dict[str, float]:
    """What `plan` promises of each alarm point, ms."""
    told = await site_gateway("plan", it.site, "--json")
    return {one["point"]: float(one["worst_ms"]) for one in json.loads(told.out)["alarms"]}


@pytest.mark.timeout(900)
async def test_a_round_beside_the_wires_the_cameras_and_a_fire(tmp_path: Path) -> None:
    lag = tmp_path / "lag"
    async with (
        compound(tmp_path, site()) as it,
        running(it.site, ("-m", "tests.benchmarks.lagging", str(lag), "run")) as gateway,
    ):
        for line in range(LINES):
            await it.until_well(f"smoke-{line}", within=60)
        promised = await bounds(it)
        wires = [await wires_s(it) for _ in range(RUNS)]
        cameras = await cameras_s(it)
        points = [await round_s(it, "points") for _ in range(RUNS)]
        since = lagging.lines(lag)
        still = [(f"smoke-{n % LINES}.smoke", await fire_ms(it, f"smoke-{n % LINES}")) for n in range(FIRES)]
        idle = lagging.read(lag, since)
        before, since = resident_mib(gateway.pid), lagging.lines(lag)
        whole, peak = await watched(round_s(it, "all"), gateway.pid)
        late = lagging.read(lag, since)
        during = []
        for n in range(FIRES):
            reply = await it.person("inspection.run", role="technician", round="all")
            during.append((f"smoke-{n % LINES}.smoke", await fire_ms(it, f"smoke-{n % LINES}")))
            await ended(it, reply["result"]["run"])
    own = max(median(wires), cameras)
    quiet, busy = (median([took for _, took in fires]) for fires in (still, during))
    closest = max(took / promised[point] for point, took in [*still, *during])
    print(  # noqa: T201
        f"\n200 points on 4 buses: a round {median(points):.2f} s, the wires' own {median(wires):.2f} s"
        f" ({median(points) / median(wires):.2f});"
        f"\nwith 20 cameras: a round {whole:.1f} s, the cameras' own {cameras:.1f} s ({whole / own:.2f});"
        f"\na fire {quiet:.0f} ms, beside a round {busy:.0f} ms ({busy / quiet:.2f}), the slowest at"
        f" {closest:.0%} of what plan says; loop lag p99 {quantile(late, 0.99) * 1000:.1f} ms of {len(late)}"
        f" ({quantile(idle, 0.99) * 1000:.1f} ms without a round), longest {max(late) * 1000:.0f} ms;"
        f" memory +{peak - before:.1f} MiB"
    )
    assert median(points) <= 1.3 * median(wires)
    assert whole <= 1.3 * own
    assert busy <= 2 * quiet
    assert closest <= 1
    assert quantile(late, 0.99) <= 0.010
    assert peak - before <= 25


async def watched(work: Any, pid: int) -> tuple[float, float]:
    """What the work gives, and the peak of a process's memory meanwhile, MiB."""
    peak = resident_mib(pid)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(work, name="work")
        while not task.done():
            await asyncio.sleep(0.1)
            peak = max(peak, resident_mib(pid))
    return task.result(), peak

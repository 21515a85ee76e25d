"""From the last byte of a push to the order on the wire, and to the camera's answer; what cameras cost a fire.

Bodies of 200 kB; the floor is aiohttp and pymodbus alone, in a process of their own, on the same machine.
"""

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from drivers.anpr.capture import CameraSettings
from drivers.anpr.makers import parse
from simulators.cameras.jpeg import jpeg
from simulators.cameras.makers import MAKERS
from simulators.cameras.model import CameraSetup, CarSight
from tests.benchmarks.measure import median, program, quantile, resident_mib
from tests.benchmarks.pushes import PLACE, post
from tests.benchmarks.test_site_orders import FRAME, Lag, asked_at
from tests.end_to_end.camera_site import LISTED, CameraSite, camera_site
from tests.end_to_end.compound import HEAD
from tests.end_to_end.process import running

GATES = 16
LOADING = 20
ROUNDS = 8
SCENE = 135_000
RTU_WITHIN, TCP_WITHIN, ANSWERED_WITHIN = 0.4, 0.05, 0.16
FULL_BUS = (
    "  relay-bus: {line: loop, unit: 9, kind: relay, points: {%s}}\n"
    "  other: {line: io, unit: 1, points: {v: {at: holding 0}}}\n"
    + "".join(
        f"  meter-{unit}: {{line: loop, unit: {unit}, limits: {{timeout: 300ms}}, points: "
        '{energy: {at: input 0, type: "text:40", every: 200ms}}}\n'
        for unit in range(1, 9)
    )
)


def site_text(*, bus: bool = False, fires: int = 0) -> str:
    """Cameras before gates on one relay; cameras that only load; with a full bus; with zones that burn."""
    relay = "relay-bus" if bus else "relay"
    coils = ", ".join(f"do{number}: {{at: coil {number}, write: true}}" for number in range(GATES + fires))
    lines = "  io: {driver: modbus, tcp: '127.0.0.1:1'}\n"
    lines += "  loop: {driver: modbus, serial: /dev/nowhere, baudrate: 9600}\n" if bus else ""
    devices = FULL_BUS % coils if bus else f"  relay: {{line: io, unit: 1, kind: relay, points: {{{coils}}}}}\n"
    gates = "".join(f"  g{n}: {{open: {relay}.do{n}, pulse: 100ms, on_loss: keep}}\n" for n in range(GATES + fires))
    cameras = "".join(
        f"  c{n}: {{driver: generic, gate: g{n}, direction: in, address: 192.0.2.1}}\n" for n in range(GATES)
    ) + "".join(f"  l{n}: {{driver: generic, mode: push, address: 192.0.2.1}}\n" for n in range(LOADING))
    smoke = "points: {smoke: {at: holding 0, every: 100ms, alarms: {fire: {kind: fire, equals: 1}}}}"
    devices += "".join(
        f"  s{n}: {{line: io, unit: {n + 20}, kind: smoke-detector, zone: z{n}, {smoke}}}\n" for n in range(fires)
    )
    zones = "".join(f"  z{n}: {{}}\n" for n in range(fires))
    linkage = "".join(f"  f{n}: {{zones: [z{n}], trigger: any, hold: [g{GATES + n}]}}\n" for n in range(fires))
    return (
        f"{HEAD}lines:\n{lines}devices:\n{devices}gates:\n{gates}cameras:\n{cameras}"
        + (f"zones:\n{zones}linkage:\n{linkage}" if fires else "")
        + "http: {cameras: {listen: '127.0.0.1:1'}}\naccess: {lists: [residents.csv], dedup: 1ms}\n"
    )


def body(plate: str) -> bytes:
    """A push of 200 kB."""
    scene, small = base64.b64encode(jpeg(SCENE, seed=1)), base64.b64encode(jpeg(SCENE // 10, seed=2))
    said = {"plate": plate, "confidence": 99, "id": PLACE.decode(), "scene_picture": scene.decode(),
            "plate_picture": small.decode()}  # fmt: skip
    return json.dumps(said, ensure_ascii=False).encode()


async def pushed(port: int, path: str, source: str, payload: bytes) -> tuple[float, float]:
    """One push on a connection of its own: when its last byte went, and when its answer was there."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
    request = post(path, payload)
    writer.write(request[:-1])
    await writer.drain()
    await asyncio.sleep(0.02)
    last = time.monotonic()
    writer.write(request[-1:])
    head = await reader.readuntil(b"\r\n\r\n")
    answered = time.monotonic()
    assert head.startswith(b"HTTP/1.1 200"), head
    writer.close()
    return last, answered


@dataclass
class Times:
    """Seconds to the order on the wire and to the answer; apart from those during which this loop was late."""

    wire: list[float] = field(default_factory=list)
    answer: list[float] = field(default_factory=list)
    spoilt: int = 0

    def told(self, what: str, bare: "Times | None" = None) -> str:
        """For people; as a ratio to the floor of the same run."""
        said = []
        floors = (None, None) if bare is None else (bare.wire, bare.answer)
        for name, mine, floor in zip(("wire", "answer"), (self.wire, self.answer), floors, strict=True):
            p50, p99 = (quantile(mine, share) * 1e3 for share in (0.5, 0.99))
            ratio = f", {p50 / quantile(floor, 0.5) / 1e3:.1f}x bare" if floor else ""
            said.append(f"last byte -> {name}: p50 {p50:.1f}, p99 {p99:.1f}, max {max(mine) * 1e3:.1f} ms{ratio}")
        return f"{what}: {'; '.join(said)} ({len(self.wire)}, and {self.spoilt} while the bench was late)"


async def measured(
    site: CameraSite,
    relay: str,
    payload: bytes,
    numbers: range,
    *,
    gates: int = GATES,
    every: float = 0.12,
    all_count: bool = False,
) -> Times:
    """Each push is another car; each gate has rest enough. `all_count`: also when the bench was late."""
    found, lag = Times(), Lag()
    async with asyncio.TaskGroup() as group:
        watching = group.create_task(lag.watch(), name="lag")
        for number in numbers:
            gate, begun = number % gates, time.monotonic()
            this = payload.replace(PLACE, b"%06d" % number)
            source = site.camera(f"c{gate}").setup.address
            last, answered = await pushed(site.port, f"/cameras/c{gate}", source, this)

            def written(since: float = last, gate: int = gate) -> list[float]:
                return [one.mono for one in site.it.written(relay, f"do{gate}", since) if one.value is True]

            await site.it.until(lambda: bool(written()))
            if not all_count and lag.spoilt(last, max(answered, written()[0])):
                found.spoilt += 1
            else:
                found.wire.append(written()[0] - last)
                found.answer.append(answered - last)
            await asyncio.sleep(max(0.0, every - (time.monotonic() - begun)))
        watching.cancel()
    assert len(found.wire) >= len(numbers) / 2, "too busy a machine"
    return found


@asynccontextmanager
async def load(site: CameraSite, folder: Path, per_second: float = 5.0) -> AsyncIterator[None]:
    """Twenty cameras that post 200 kB each, so often."""
    file = folder / "push.json"
    file.write_bytes(body("沪D12345"))
    cameras = [f"/cameras/l{n}={site.camera(f'l{n}').setup.address}" for n in range(LOADING)]
    async with program("tests.benchmarks.pushes", site.port, per_second, file, *cameras):
        before = await received(site)
        while await received(site) < before + LOADING:
            await asyncio.sleep(0.1)
        begun, first = time.monotonic(), await received(site)
        yield
        rate = (await received(site) - first) / (time.monotonic() - begun)
        print(f"  under {rate:.0f} pushes of 200 kB a second")  # noqa: T201 - a measurement


async def received(site: CameraSite) -> int:
    """Passages of the cameras that only load."""
    cameras = (await site.it.asked("status"))["cameras"]
    return sum(one["passages"] for name, one in cameras.items() if name.startswith("l"))


async def floor(site: CameraSite, payload: bytes) -> Times:
    """The same pushes into the libraries alone."""
    port = site.it.virtual.addresses["io"].rpartition(":")[2]
    found, lag = Times(), Lag()
    async with program("tests.benchmarks.bare_camera", port, reads=True) as (_, its), asyncio.TaskGroup() as group:
        watching = group.create_task(lag.watch(), name="lag")
        for number in range(GATES * ROUNDS):
            last, answered = await pushed(int(its), f"/{number % GATES}", "127.0.0.1", payload)
            if lag.spoilt(last, answered):
                found.spoilt += 1
                continue
            found.wire.append(next(one.mono for one in site.it.virtual.writes if one.mono >= last) - last)
            found.answer.append(answered - last)
        watching.cancel()
    return found


async def test_push_to_order_and_answer(tmp_path: Path) -> None:
    payload, count = body(LISTED), GATES * ROUNDS
    async with camera_site(tmp_path, site_text()) as site:
        bare = await floor(site, payload)
        print(f"\n{bare.told('bare')}")  # noqa: T201
        async with running(site.it.site) as gateway:
            await site.until_listening()
            print(f"resident with cameras: {resident_mib(gateway.pid):.1f} MiB")  # noqa: T201
            idle = await measured(site, "relay", payload, range(count))
            print(idle.told("idle", bare))  # noqa: T201
            async with load(site, tmp_path):
                busy = await measured(site, "relay", payload, range(count, 2 * count))
            print(busy.told("loaded", bare))  # noqa: T201
            print(f"resident after the load: {resident_mib(gateway.pid):.1f} MiB")  # noqa: T201
    assert quantile(idle.wire, 0.99) <= TCP_WITHIN
    assert quantile(busy.wire, 0.99) <= TCP_WITHIN
    assert max(quantile(idle.answer, 0.99), quantile(busy.answer, 0.99)) <= ANSWERED_WITHIN


async def test_push_to_order_on_a_full_bus_with_a_dead_unit(tmp_path: Path) -> None:
    async with camera_site(tmp_path, site_text(bus=True)) as site, running(site.it.site):
        await site.until_listening()
        await site.it.until_well("relay-bus")
        site.it.virtual.silence("meter-3")
        await site.it.until_standing("meter-3/silent", within=30.0)
        found = await measured(site, "relay-bus", body(LISTED), range(40), gates=5, every=0.7, all_count=True)
    print(f"\n{found.told('full 9600 bus, one dead')}; one write takes {FRAME * 1e3:.1f} ms of wire")  # noqa: T201
    assert quantile(found.wire, 0.99) <= RTU_WITHIN


async def test_a_fire_during_a_flood_of_pushes(tmp_path: Path) -> None:
    fires = 24
    async with camera_site(tmp_path, site_text(fires=fires)) as site, running(site.it.site):
        await site.until_listening()
        await site.it.until_well("s0")
        idle = [await fire(site, number) for number in range(fires // 2)]
        async with load(site, tmp_path):
            flooded = [await fire(site, number) for number in range(fires // 2, fires)]
    for what, times in (("idle", idle), ("during pushes", flooded)):
        told = f"p50 {median(times) * 1e3:.1f}, max {max(times) * 1e3:.1f} ms of {len(times)}"
        print(f"\nconfirming answer of a fire -> hold, {what}: {told}")  # noqa: T201
    print(f"{median(flooded) / median(idle):.2f}x")  # noqa: T201
    assert median(flooded) <= 2 * median(idle)


async def fire(site: CameraSite, number: int) -> float:
    """Seconds from the answer that confirms a detector's word to the hold of its gate."""
    asked = asked_at(site.it, f"s{number}")
    begun = site.it.virtual.set(f"s{number}.smoke", 1)
    point = f"do{GATES + number}"
    await site.it.until(lambda: bool(site.it.written("relay", point)))
    confirmed = [at for at in asked if at >= begun][1]
    return site.it.written("relay", point)[0].mono - confirmed


async def resident(folder: Path, count: int) -> float:
    """MiB of the process with cameras and a list of so many plates, after a car."""
    lines = [f"沪{'ABCDEFGHJK'[n // 100_000 % 10]}{n % 100_000:05d},resident,,,,\n" for n in range(count)]
    plates = "plate,kind,from,until,gates,note\n" + "".join(lines)
    async with camera_site(folder, site_text(), plates) as site, running(site.it.site) as gateway:
        await site.until_listening()
        log = site.it.site.with_suffix(".log")
        await site.it.until(lambda: "list of plates" in log.read_text(), 30)
        await pushed(site.port, "/cameras/c0", site.camera("c0").setup.address, body("沪A00000"))
        await site.it.until(lambda: bool(site.it.written("relay", "do0")))
        return resident_mib(gateway.pid)


async def test_memory_with_a_hundred_thousand_plates(tmp_path: Path) -> None:
    for name in ("one", "many"):
        (tmp_path / name).mkdir()
    one, many = await resident(tmp_path / "one", 1), await resident(tmp_path / "many", 100_000)
    print(f"\nresident with cameras {one:.1f} MiB, with 100,000 plates {many:.1f} MiB")  # noqa: T201
    assert one <= 80
    assert many - one <= 25


@pytest.mark.parametrize("driver", sorted(set(MAKERS) - {"onvif"}))
def test_parsing(driver: str) -> None:
    """How many pushes of 200 kB a core understands in a second; the floor is to have looked at each byte once."""
    sight = CarSight(1, LISTED, 97.0, "forward", "blue", time.time(), jpeg(SCENE // 10, seed=2), jpeg(SCENE, seed=1))
    sent = MAKERS[driver](CameraSetup("c", driver)).push(sight, history=False, opened=False)
    settings = CameraSettings(28_800.0)
    times, least = [], []
    for _ in range(60):
        begun = time.perf_counter()
        report = parse(driver, sent.body, sent.content_type, sent.path, settings)
        times.append(time.perf_counter() - begun)
        begun = time.perf_counter()
        sent.body.count(b"\xff\xd8")
        least.append(time.perf_counter() - begun)
    assert (report.captures[0].plate_raw or "").upper() == LISTED
    each, size = median(times), len(sent.body)
    ratio = each / median(least)
    print(f"{driver}: {1 / each:.0f} pushes/s of {size // 1000} kB, {ratio:.0f}x one look at its bytes")  # noqa: T201
    assert each < 0.02

"""A virtual site with the real field at it: drivers, schedule and all, over pseudo terminals and loopback TCP."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from itertools import pairwise

from drivers.modbus.line import ModbusPoller, lines
from gateway.clock import Clock
from gateway.config.site import SiteFile
from gateway.field.lines import SERIAL_BACK_OFF_S, TCP_BACK_OFF_S, Line
from gateway.field.telemetry import TelemetrySender
from gateway.model import Answer, DeviceHealth, Input, Instant, LineHealth, Quality, Reading
from gateway.settings import build
from simulators.site import VirtualSite
from tests.inboxes import Inbox

_STEP = 0.005


class Yard:
    """What is seen of the lines at work."""

    def __init__(self, virtual: VirtualSite, clock: Clock) -> None:
        self.virtual = virtual
        self.clock = clock
        self.lines: dict[str, Line] = {}
        self.drivers: dict[str, ModbusPoller] = {}
        self.inputs: list[Input] = []
        self.held_up: list[tuple[float, float]] = []
        """When this machine did something else, and for how long."""
        self.watch: Callable[[Input], None] | None = None
        """Is shown each input as it comes."""

    @property
    def health(self) -> list[tuple[str, bool]]:
        """Of lines and devices, in the order in which it was told."""
        told = []
        for item in self.inputs:
            if isinstance(item, LineHealth):
                told.append((item.line, item.up))
            elif isinstance(item, DeviceHealth):
                told.append((item.device, item.answering))
        return told

    def answers(self, device: str) -> list[Answer]:
        """What the site got of a device."""
        return [item for item in self.inputs if isinstance(item, Answer) and item.device == device]

    def good(self, device: str, point: str, since: float = 0.0) -> bool:
        """Whether the point has a value that is newer than that."""
        line = self.lines[self.virtual.site.devices[device].line]
        reading = line.readings().get(device, {}).get(point)
        return reading is not None and reading.quality is Quality.GOOD and reading.at.mono > since

    def intervals(self, device: str, since: float) -> list[float]:
        """Between the requests to a device, without the time in which this machine did something else."""
        line = self.virtual.site.devices[device].line
        unit = self.virtual.site.devices[device].unit
        place = 0 if self.virtual.site.lines[line].is_bus else 6  # type: ignore[union-attr]
        frames = self.drivers[line].frames
        times = [at for sign, at, data in frames if sign == ">" and data[place] == unit and at > since]
        return [b - a - self.lag(a, b) for a, b in pairwise(times)]

    def lag(self, begin: float, end: float) -> float:
        """Seconds between these times in which this machine did something else."""
        return sum(lag for at, lag in self.held_up if begin <= at <= end + lag)

    async def tick(self) -> None:
        """Notice when the loop is late."""
        loop = asyncio.get_running_loop()
        last = loop.time()
        while True:
            await asyncio.sleep(_STEP)
            now = loop.time()
            if now - last > 2 * _STEP:
                self.held_up.append((now, now - last - _STEP))
            last = now

    async def until(self, what: Callable[[], object], within: float) -> float:
        """Wait for a condition; the seconds it took."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        async with asyncio.timeout(within):
            while not what():
                await asyncio.sleep(0.005)
        return loop.time() - began


def at_addresses(site: SiteFile, addresses: Mapping[str, str]) -> SiteFile:
    """The same site, its lines where the virtual ones are."""
    media = ("serial", "tcp", "listen")
    lines = {
        name: line.model_copy(update={"allow": (), **{k: addresses[name] for k in media if getattr(line, k, None)}})
        for name, line in site.lines.items()
    }
    return site.model_copy(update={"lines": lines})


@asynccontextmanager
async def at_work(virtual: VirtualSite, *, tcp_back_off: float = TCP_BACK_OFF_S) -> AsyncIterator[Yard]:
    """Every Modbus line of a virtual site that is open. `tcp_back_off`: as `Line.back_off`, for those on TCP."""
    clock = Clock()
    yard = Yard(virtual, clock)

    async def put(item: Input) -> None:
        yard.inputs.append(item)
        if yard.watch is not None:
            yard.watch(item)

    def publish(_device: str, _full: bool, _readings: Mapping[str, Reading], _at: Instant) -> None:
        return

    site = at_addresses(virtual.site, virtual.addresses)
    watched = {name: frozenset(device.points) for name, device in site.devices.items()}
    async with TelemetrySender(publish, clock, every=300.0) as telemetry, asyncio.TaskGroup() as group:
        tasks = [group.create_task(yard.tick(), name="tick")]
        drivers, ports = lines(build.modbus_line(site, name) for name in build.modbus_lines(site))
        yard.drivers.update(drivers)
        tasks += [group.create_task(port.run(), name=f"port {port.port}") for port in ports]
        for name, driver in drivers.items():
            is_serial = getattr(site.lines[name], "serial", None) is not None
            line = yard.lines[name] = Line(
                name,
                driver,
                watched=watched,
                inbox=Inbox(put),
                telemetry=telemetry,
                clock=clock,
                rng=random.Random(7),  # noqa: S311 - jitter
                back_off=SERIAL_BACK_OFF_S if is_serial else 1.0 if ports else tcp_back_off,
                may_hang=not is_serial,
            )
            tasks.append(group.create_task(line.run(), name=f"line {name}"))
        try:
            yield yard
        finally:
            for task in tasks:
                task.cancel()

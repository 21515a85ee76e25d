"""A bus on a pseudo terminal with slaves of ours, a second master and noise; and the real field that asks it.

Each value says whose it is: point number and version make it up, so that no value of one point can pass for another's.
"""

import asyncio
import os
import random
import tty
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager

from drivers.modbus.line import ModbusPoller
from drivers.modbus.settings import LineSettings, ModbusDevice, ModbusPoint, ModbusWrite
from gateway.clock import Clock
from gateway.config.device import Device as DeviceFile
from gateway.config.points import At
from gateway.field.lines import Line
from gateway.field.telemetry import TelemetrySender
from gateway.model import Answer, Input, Instant, Lane, Quality, Reading
from simulators.bus import Bus, Unit
from simulators.device import VirtualDevice
from simulators.frames import Framing, rtu
from simulators.timer import Agenda
from tests.inboxes import Inbox

BAUDRATE = 115200
CEILING = 0.08
PLACES = (("holding", 0), ("holding", 100), ("input", 0))
"""Three reads of one shape for each unit: the second differs by its address alone, the third by its function."""
OUTPUT = "set"
"""A register of each unit that can be written."""
UNITS = (1, 3, 30)
"""The first two have numbers that look like function codes."""


class Rig:
    """One line at work. `wrong` collects every reading that its point never had.

    `ceiling`: longest answer time of each unit. `OUTPUT` of each can be written.
    """

    def __init__(self, seed: int, every: float, *, baudrate: int = BAUDRATE, ceiling: float = CEILING) -> None:
        self.rng = random.Random(seed)  # noqa: S311 - repeatable faults
        self.every = every
        self.baudrate = baudrate
        self.ceiling = ceiling
        self.version = 0
        self.wrong: list[tuple[str, Reading]] = []
        self.fresh: dict[str, int] = {}
        """The version that was last read, by `device.point`."""
        self._numbers: dict[str, int] = {}
        self._agenda = Agenda()
        self.units = {unit: Unit(self._device(unit), latency=0.001) for unit in UNITS}
        self.bus = Bus(Framing(baudrate), self.units, self._agenda, seed=seed)
        self._master, self._slave = os.openpty()
        self.path = os.ttyname(self._slave)

    def poller(self) -> ModbusPoller:
        """The driver of this line."""
        devices = tuple(
            ModbusDevice(
                id=f"u{unit}",
                unit=unit,
                timeout=self.ceiling,
                points=(
                    ModbusPoint(name=OUTPUT, table="holding", address=200, every=60.0, write=ModbusWrite()),
                    *self._points(),
                ),
            )
            for unit in UNITS
        )
        return ModbusPoller(LineSettings(name="rig", serial=self.path, baudrate=self.baudrate, devices=devices))

    def _points(self) -> Iterator[ModbusPoint]:
        for (table, address), lane in zip(PLACES, (Lane.ALARM, Lane.NORMAL, Lane.NORMAL), strict=True):
            for at in range(address, address + 2):
                yield ModbusPoint(name=f"{table}{at}", table=table, address=at, every=self.every, lane=lane)  # type: ignore[arg-type]

    def _device(self, unit: int) -> VirtualDevice:
        points: dict[str, dict[str, object]] = {
            f"{t}{a + at}": {"at": f"{t} {a + at}"} for t, a in PLACES for at in range(2)
        }
        for name in points:
            self._numbers[f"u{unit}.{name}"] = len(self._numbers) + 1
        points[OUTPUT] = {"at": "holding 200", "write": True}
        return VirtualDevice(f"u{unit}", DeviceFile.model_validate({"line": "rig", "unit": unit, "points": points}))

    def open(self) -> None:
        """Begin to answer."""
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self._agenda.open()
        asyncio.get_running_loop().add_reader(self._master, self._readable)
        self.change()

    def close(self) -> None:
        """The end."""
        asyncio.get_running_loop().remove_reader(self._master)
        self._agenda.close()
        os.close(self._master)
        os.close(self._slave)

    def change(self) -> None:
        """Every point has another value from now on."""
        self.version = (self.version + 1) % 1000
        for name, number in self._numbers.items():
            device, _, point = name.partition(".")
            at = At("holding", int(point[7:])) if point.startswith("holding") else At("input", int(point[5:]))
            self.units[int(device[1:])].device.poke(at, number * 1000 + self.version)

    def everything_is_fresh(self) -> bool:
        """Whether each point was read since the last change."""
        return all(self.fresh.get(name) == self.version for name in self._numbers)

    def hear(self, data: bytes) -> None:
        """Bytes that come to the master from the wire."""
        os.write(self._master, data)

    def foreign(self, frame: bytes) -> None:
        """Another master speaks: all on the wire hear it, the answer too."""
        self.hear(frame)
        self.bus.feed(frame, self.hear)

    def foreign_read(self, unit: int) -> bytes:
        """A question that is like one of ours but for the address."""
        function = self.rng.choice((3, 4))
        return rtu(unit, bytes((function, 0, self.rng.choice((0, 100)) if function == 3 else 0, 0, 2)))

    def _readable(self) -> None:
        self.bus.feed(os.read(self._master, 4096), self.hear)

    def judge(self, device: str, readings: Mapping[str, Reading]) -> None:
        """Look at what the field tells: a value has its point's number, and is no older than one change."""
        for point, reading in readings.items():
            name = f"{device}.{point}"
            if reading.quality is not Quality.GOOD or point == OUTPUT:
                continue
            assert isinstance(reading.value, int)
            number, version = divmod(reading.value, 1000)
            if number != self._numbers[name] or (self.version - version) % 1000 > 1:
                self.wrong.append((name, reading))
            self.fresh[name] = version


@asynccontextmanager
async def at_work(rig: Rig) -> AsyncIterator[Line]:
    """The rig with the real field at it, once everything has been read."""
    clock = Clock()

    async def put(item: Input) -> None:
        if isinstance(item, Answer):
            rig.judge(item.device, item.readings)

    def publish(device: str, _full: bool, readings: Mapping[str, Reading], _at: Instant) -> None:
        rig.judge(device, readings)

    poller = rig.poller()
    watched = {block.device: frozenset(p.name for p in block.request.device.points) for block in poller.blocks()}  # type: ignore[attr-defined]
    rig.open()
    try:
        async with TelemetrySender(publish, clock, every=300.0) as telemetry, asyncio.TaskGroup() as group:
            line = Line("rig", poller, watched=watched, inbox=Inbox(put), telemetry=telemetry, clock=clock, rng=rig.rng)
            task = group.create_task(line.run(), name="line rig")
            try:
                async with asyncio.timeout(10):
                    while not rig.everything_is_fresh():
                        await asyncio.sleep(0.005)
                yield line
            finally:
                task.cancel()
    finally:
        rig.close()

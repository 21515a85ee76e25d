"""The field alone, or a bare loop, as a process: it reads what it is told to, and says what that cost.

`python -m tests.benchmarks.asker field|bare|raw SPEC`: SPEC is the JSON of a `Spec`, the answer that of a `Cost`.
*field*: our lines, drivers and schedules. *bare*: pymodbus' client with its defaults, one loop for each line.
*raw* (one bus): request, answer, the legal silence, and nothing else.
"""

import asyncio
import json
import os
import random
import select
import sys
import time
import tty
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path

from drivers.modbus.line import ModbusPoller
from drivers.modbus.settings import LineSettings, ModbusDevice, ModbusPoint
from drivers.modbus.wiretime import WireTime
from gateway.clock import Clock
from gateway.driver import Block
from gateway.field.lines import Line
from gateway.field.telemetry import TelemetrySender
from gateway.model import Input, Instant, Reading
from simulators.frames import rtu
from tests.benchmarks.measure import resident_mib
from tests.inboxes import Inbox


@dataclass(frozen=True)
class Spec:
    """What to read: `lines` lines with these units each; on TCP all of them at one port."""

    serial: str = ""
    port: int = 0
    baudrate: int = 9600
    lines: int = 1
    units: tuple[int, ...] = (1,)
    registers: int = 25
    every: float = 1.0
    timeout: float = 1.0
    seconds: float = 10.0
    warm: float = 2.0
    intervals: bool = False

    def settings(self, number: int) -> LineSettings:
        """One line."""
        points = tuple(
            ModbusPoint(name=f"p{at}", table="holding", address=at, every=self.every) for at in range(self.registers)
        )
        devices = tuple(
            ModbusDevice(id=f"{number}-{unit}", unit=unit, points=points, timeout=self.timeout) for unit in self.units
        )
        if self.serial:
            return LineSettings(name=f"l{number}", serial=self.serial, baudrate=self.baudrate, devices=devices)
        return LineSettings(name=f"l{number}", host="127.0.0.1", port=self.port, devices=devices)


@dataclass
class Cost:
    """What came of it."""

    points_per_s: float = 0.0
    cpu_share: float = 0.0
    cpu_per_100k: float = 0.0
    resident_mib: float = 0.0
    gaps: dict[int, list[float]] = field(default_factory=dict)
    """Seconds between the answers of each unit, if asked for."""


class Timed(ModbusPoller):
    """Notes when each unit answered."""

    answered: dict[int, list[float]]

    async def read(self, block: Block, timeout: float) -> bytes:
        raw = await super().read(block, timeout)
        unit = int(block.device.partition("-")[2])
        self.answered.setdefault(unit, []).append(time.monotonic())
        return raw


class Meter:
    """Counts from the end of the warming up."""

    def __init__(self, spec: Spec) -> None:
        self._spec = spec
        self._began = time.monotonic()
        self._cpu = time.process_time()

    def cost(self, reads: int, answered: Mapping[int, list[float]]) -> Cost:
        """So many reads were answered since."""
        wall, cpu = time.monotonic() - self._began, time.process_time() - self._cpu
        points = max(1, reads * self._spec.registers)
        gaps = {
            unit: [b - a for a, b in pairwise(at for at in times if at >= self._began)]
            for unit, times in answered.items()
        }
        return Cost(points / wall, cpu / wall, cpu / points * 1e5, resident_mib(os.getpid()), gaps)


async def ask(spec: Spec) -> Cost:
    """The field."""
    clock = Clock()

    async def put(_item: Input) -> None:
        return

    def publish(_device: str, _full: bool, _readings: Mapping[str, Reading], _at: Instant) -> None:
        return

    answered: dict[int, list[float]] = {}
    rng = random.Random(1)  # noqa: S311 - jitter
    lines = []
    async with TelemetrySender(publish, clock, every=300.0) as telemetry, asyncio.TaskGroup() as group:
        tasks = []
        for number in range(spec.lines):
            driver = (Timed if spec.intervals else ModbusPoller)(spec.settings(number))
            if isinstance(driver, Timed):
                driver.answered = answered
            line = Line(f"l{number}", driver, watched={}, inbox=Inbox(put), telemetry=telemetry, clock=clock, rng=rng)
            lines.append(line)
            tasks.append(group.create_task(line.run(), name=line.name))
        await asyncio.sleep(spec.warm)
        before, meter = _answers(lines), Meter(spec)
        await asyncio.sleep(spec.seconds)
        cost = meter.cost(_answers(lines) - before, answered)
        for task in tasks:
            task.cancel()
    return cost


def _answers(lines: list[Line]) -> int:
    return sum(each.requests - each.timeouts for line in lines for each in line.snapshot().devices.values())


async def ask_bare(spec: Spec) -> Cost:
    """Pymodbus as it comes: time-out 3 s, three retries."""
    from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient  # noqa: PLC0415 - the others do not pay

    answered: dict[int, list[float]] = {}
    reads = [0]
    stopped = asyncio.Event()
    """Of a cancellation pymodbus may make an error of its own."""

    async def poll(number: int) -> None:
        client: AsyncModbusSerialClient | AsyncModbusTcpClient
        client = (
            AsyncModbusSerialClient(spec.serial, baudrate=spec.baudrate)
            if spec.serial
            else AsyncModbusTcpClient("127.0.0.1", port=spec.port)
        )
        await client.connect()
        loop = asyncio.get_running_loop()
        due = loop.time() + spec.every * number / spec.lines
        while not stopped.is_set():
            await asyncio.sleep(max(0.0, due - loop.time()))
            due = max(due + spec.every, loop.time())
            for unit in spec.units:
                with suppress(Exception):  # a dead unit; a connection that pymodbus has closed for it
                    await client.read_holding_registers(0, count=spec.registers, device_id=unit)
                    reads[0] += 1
                    if spec.intervals:
                        answered.setdefault(unit, []).append(time.monotonic())
                if not client.connected:
                    await client.connect()

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(poll(number), name=f"bare {number}") for number in range(spec.lines)]
        await asyncio.sleep(spec.warm)
        before, meter = reads[0], Meter(spec)
        await asyncio.sleep(spec.seconds)
        cost = meter.cost(reads[0] - before, answered)
        stopped.set()
        for task in tasks:
            task.cancel()
    return cost


def ask_raw(spec: Spec) -> Cost:
    """One bus, blocking: nothing between an answer and the next request but the silence."""
    times = WireTime.of(spec.settings(0))
    port = os.open(spec.serial, os.O_RDWR | os.O_NOCTTY)
    tty.setraw(port)
    frames = [rtu(unit, bytes((3, 0, 0, 0, spec.registers))) for unit in spec.units]
    size, reads, meter = 5 + 2 * spec.registers, 0, Meter(spec)
    answered: dict[int, list[float]] = {unit: [] for unit in spec.units}
    end = time.monotonic() + spec.seconds
    while time.monotonic() < end:
        os.write(port, frames[reads % len(frames)])
        got = 0
        while got < size:
            got += len(os.read(port, size - got))
        heard = time.monotonic()
        answered[spec.units[reads % len(frames)]].append(heard)
        silent = heard + times.silence
        while (left := silent - time.monotonic()) > 0:
            select.select([], [], [], left)
        reads += 1
    os.close(port)
    return meter.cost(reads, answered)


def main(how: str, text: str) -> None:
    """Run and print."""
    given = json.loads(text)
    spec = Spec(**{**given, "units": tuple(given.get("units", (1,)))})
    cost = ask_raw(spec) if how == "raw" else asyncio.run({"field": ask, "bare": ask_bare}[how](spec))
    sys.stdout.write(json.dumps(asdict(cost)) + "\n")


async def cost_of(how: str, spec: Spec) -> Cost:
    """The same in a process of its own."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.benchmarks.asker", how, json.dumps(asdict(spec))),
        cwd=Path(__file__).parents[2],
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    out, _ = await process.communicate()
    found = json.loads(out.splitlines()[-1])  # the lines before are logs
    found["gaps"] = {int(unit): gaps for unit, gaps in found["gaps"].items()}
    return Cost(**found)


if __name__ == "__main__":
    main(*sys.argv[1:3])

"""One line with its inbox and its telemetry, in virtual or real time."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

from gateway.clock import Clock
from gateway.field.lines import Line
from gateway.field.telemetry import TelemetrySender
from gateway.model import Answer, DeviceHealth, Input, Instant, LineHealth, Reading
from tests.field.wire import Wire
from tests.inboxes import Inbox

_I = TypeVar("_I", bound=Input)


@dataclass
class Message:
    """One message of telemetry."""

    device: str
    full: bool
    readings: dict[str, Reading]
    at: Instant


class Bench:
    """What came out of a line."""

    def __init__(self, wire: Wire, line: Line, clock: Clock) -> None:
        self.wire = wire
        self.line = line
        self.clock = clock
        self.inputs: list[Input] = []
        self.messages: list[Message] = []
        self.room = asyncio.Event()
        """Unset: the inbox is full."""
        self.room.set()
        self.fault: Exception | None = None
        """What the inbox raises."""

    def of(self, kind: type[_I]) -> list[_I]:
        """Inputs of one kind."""
        return [item for item in self.inputs if isinstance(item, kind)]

    @property
    def answers(self) -> list[Answer]:
        return self.of(Answer)

    @property
    def device_health(self) -> list[tuple[str, bool]]:
        return [(item.device, item.answering) for item in self.of(DeviceHealth)]

    @property
    def line_health(self) -> list[bool]:
        return [item.up for item in self.of(LineHealth)]

    def told(self) -> dict[str, dict[str, Reading]]:
        """What a subscriber of the telemetry knows by now."""
        known: dict[str, dict[str, Reading]] = {}
        for message in self.messages:
            known.setdefault(message.device, {}).update(message.readings)
        return known

    async def until(self, what: Callable[[], object], within: float = 600.0) -> None:
        """Wait for a condition."""
        loop = asyncio.get_running_loop()
        end = loop.time() + within
        while not what():
            assert loop.time() < end, "it did not happen in time"
            await asyncio.sleep(0.01)


@asynccontextmanager
async def running(
    wire: Wire,
    clock: Clock,
    *,
    watched: Mapping[str, frozenset[str]] | None = None,
    back_off: float = 30.0,
    may_hang: bool = False,
    every: float = 300.0,
    name: str = "bus",
) -> AsyncIterator[Bench]:
    """A line at work; by default the site watches every point."""
    bench: Bench

    async def put(item: Input) -> None:
        await bench.room.wait()
        if bench.fault is not None:
            raise bench.fault
        bench.inputs.append(item)

    def publish(device: str, full: bool, readings: Mapping[str, Reading], at: Instant) -> None:
        bench.messages.append(Message(device, full, dict(readings), at))

    telemetry = TelemetrySender(publish, clock, every=every)
    line = Line(
        name,
        wire,
        watched={d: frozenset(t.values) for d, t in wire.things.items()} if watched is None else watched,
        inbox=Inbox(put),
        telemetry=telemetry,
        clock=clock,
        rng=random.Random(7),  # noqa: S311 - jitter
        back_off=back_off,
        may_hang=may_hang,
    )
    bench = Bench(wire, line, clock)
    async with telemetry, asyncio.TaskGroup() as group:
        task = group.create_task(line.run(), name=f"line {name}")
        try:
            yield bench
        finally:
            task.cancel()

"""The running code in virtual time: `Polling` and `Schedule` on a line that takes as long as the analysis allows.

Nothing of ours is replaced; the driver is a model of a bus, and the site only counts what it has asked to see again.
"""

import random
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from math import inf
from types import TracebackType
from typing import Any, Self

from gateway.clock import Clock
from gateway.driver import Block, Decoded, Timing
from gateway.errors import DeviceSilent
from gateway.field.driver_guard import GuardedPoller
from gateway.field.polling import Polling
from gateway.field.response_time import LineLoad, PointLoad
from gateway.field.telemetry import TelemetrySender
from gateway.model import Answer, DeviceHealth, Input, Instant, Lane, Quality, Value


@dataclass
class Contact:
    """A contact that closes, and what was seen of it."""

    point: PointLoad
    closed: float
    reads: int = 0
    told: float = inf


@dataclass
class Bus:
    """A line as the analysis sees it: each read takes its wire time and a random latency.

    After a miss it is quiet until the latest answer would have passed (`bus`), and questions aside go before the next
    read if the device was answering before; so they do when it comes back, and the first of them may have been refused,
    with the same quiet after it. A confirm read may be preceded by one.
    """

    load: LineLoad
    rng: random.Random
    bus: bool = True
    sharp: bool = True
    """A device looks at its contacts when a read of it begins, which is the worst; else at any time of the read."""
    in_flight: int = 1
    latency: float = 0.0
    now: float = 0.0
    dead: str = ""
    contacts: dict[str, float] = field(default_factory=dict)
    last_read: dict[str, float] = field(default_factory=dict)
    """When the last read of each point began."""
    last_miss: float = 0.0
    """When a read stayed without an answer."""
    _quiet_until: float = 0.0
    _doubts: set[str] = field(default_factory=set)
    _doubtful: bool = False
    """Whose answers come has to be proved."""

    def blocks(self) -> Sequence[Block]:
        return [
            Block(b.device, tuple(p.name.partition(".")[2] for p in b.points), b.lane, b.every, b.wire, None)
            for b in self.load.blocks
        ]

    def timing(self, device: str) -> Timing:
        return Timing(self.load.devices[device].floor, self.load.devices[device].ceiling)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return

    async def read(self, block: Block, timeout: float) -> bytes:
        device = self.load.devices[block.device]
        begin = max(self.now, self._quiet_until) if self.bus else self.now
        took = block.wire + self.rng.random() * device.latency
        if block.device == self.dead:
            sent = begin + self.rng.random() * block.wire
            self.now = self.last_miss = sent + timeout
            self._quiet_until = sent + max(timeout, device.ceiling) + block.wire
            self._doubtful |= block.device not in self._doubts
            self._doubts.add(block.device)
            raise DeviceSilent("dead")
        if self.bus and block.device in self._doubts:
            self._doubts.discard(block.device)
            self._doubtful = False
            begin += self.rng.choice((self._aside(2), self._aside(4) + device.ceiling))
        elif self.bus and self._doubtful:
            self._doubtful = False
            begin += self._aside(self.rng.choice((2, 3, 4)))
        if self.bus and block.lane is Lane.ORDER:
            begin += self._aside(self.rng.choice((0, 1)))
        self.latency = took - block.wire
        sampled = begin if self.sharp else begin + self.rng.random() * took
        for point in block.points:
            self.last_read[f"{block.device}.{point}"] = begin
        self.now = begin + took + self.rng.random() * self.load.turn
        return bytes(self.contacts.get(f"{block.device}.{point}", inf) <= sampled for point in block.points)

    def _aside(self, count: int) -> float:
        """So many questions that prove whose answers come."""
        longest = max(device.latency for device in self.load.devices.values())
        return sum(self.load.aside + self.rng.random() * longest for _ in range(count)) if self.load.aside else 0.0

    def decode(self, block: Block, raw: bytes) -> Mapping[str, Decoded]:
        return {
            point: Decoded(bool(bit), None, None, Quality.GOOD, None)
            for point, bit in zip(block.points, raw, strict=True)
        }

    def narrow(self, block: Block) -> Sequence[Block]:
        del block
        return ()

    def block_for(self, device: str, points: Sequence[str], lane: Lane) -> Sequence[Block]:
        wires = {p.name: p.wire for b in self.load.blocks for p in b.points}
        return [Block(device, (point,), lane, 1.0, wires[f"{device}.{point}"], None) for point in points]

    async def write(self, device: str, point: str, value: Value, timeout: float) -> None:
        raise AssertionError(f"nothing is written in this world: {device}.{point} {value} {timeout}")


class World:
    """One line that is asked in virtual time; `host`: the longest that this machine takes from an answer to its own."""

    def __init__(self, load: LineLoad, seed: int, *, bus: bool = True, sharp: bool = True, host: float = 0.0) -> None:
        self.rng = random.Random(seed)  # noqa: S311 - chance, not secrets
        self.bus = Bus(load, self.rng, bus, sharp)
        self.host = host
        self.open: dict[str, Contact] = {}
        self.silent: dict[str, float] = {}
        self.clock = clock = Clock(mono=lambda: self.bus.now, wall=lambda: self.bus.now, synced=lambda: True)
        points = [p.name.partition(".") for b in load.blocks for p in b.points]
        watched = {d: frozenset(p for device, _, p in points if device == d) for d, _, _ in points}
        self.polling = Polling(
            load.line,
            GuardedPoller(self.bus),
            watched=watched,
            inbox=self,
            owner=self,
            telemetry=TelemetrySender(lambda *_: None, clock, every=300.0),
            clock=clock,
            may_hang=False,
        )
        self._points = {p.name: p for b in load.blocks for p in b.points}
        self._hops: list[tuple[float, str]] = []
        self.polling.learn(clock.now())
        self.polling.begin(clock.now())

    def close(self, name: str, at: float) -> Contact:
        """The contact of a point closes; it has been open long enough to be read as such."""
        self.bus.contacts[name] = at
        contact = self.open[name] = Contact(self._points[name], at)
        return contact

    def reopen(self, rest: float) -> None:
        """All contacts are open again, and have been read as such, `rest` seconds from now at the earliest."""
        closed, opened = list(self.bus.contacts), self.bus.now
        self.bus.contacts.clear()
        self.open.clear()
        self._hops.clear()
        self.run(opened + rest)
        while any(self.bus.last_read.get(name, opened) < opened for name in closed):
            self.turn(inf)

    def turn(self, until: float) -> None:
        """One job, or waiting until something is due, `until` at the latest."""
        bus, schedule = self.bus, self.polling.schedule
        while self._hops and self._hops[0][0] <= bus.now:
            at, name = heappop(self._hops)
            device, _, point = name.partition(".")
            self.polling.confirm(device, (point,), at)
        job = schedule.next(bus.now)
        if isinstance(job, float):
            bus.now = max(bus.now, min(job, until, self._hops[0][0] if self._hops else inf))
            return
        done(self.polling.do(job, bus.now))

    def run(self, until: float) -> None:
        while self.bus.now < until:
            self.turn(until)

    def wait_for(self, contact: Contact, at_most: float) -> float:
        """Seconds from the closing of a contact to its confirmed answer."""
        until = contact.closed + at_most
        while contact.told == inf and self.bus.now < until:
            self.turn(until)
        return contact.told - contact.closed

    async def came_up(self, at: Instant) -> None:
        """Of no interest here."""

    async def put(self, item: Input) -> None:
        if isinstance(item, DeviceHealth) and not item.answering:
            self.silent[item.device] = item.at.mono
        if not isinstance(item, Answer):
            return
        for point, reading in item.readings.items():
            contact = self.open.get(f"{item.device}.{point}")
            if contact is None or reading.value is not True or contact.told < inf:
                continue
            contact.reads += 1
            if contact.reads >= contact.point.confirm:
                contact.told = item.at.mono
            else:
                heappush(self._hops, (item.at.mono + self.rng.random() * self.host, contact.point.name))


def done(coroutine: Coroutine[Any, Any, float]) -> None:
    """Run what never waits."""
    try:
        coroutine.send(None)
    except StopIteration:
        return
    raise AssertionError("it waits for something")

"""A small real poller: devices that live in a dict, on a wire that can be cut."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import NamedTuple, Self

from gateway.driver import Block, Decoded, Timing
from gateway.errors import DeviceRefused, DeviceSilent, GaveWay, LineDown
from gateway.model import Lane, Quality, Value


class Request(NamedTuple):
    """What the wire saw: when, for how long, whom, which points, read or written."""

    at: float
    took: float
    device: str
    points: tuple[str, ...]
    kind: str
    answered: bool


@dataclass
class Thing:
    """One device on the wire."""

    values: dict[str, int]
    delay: float = 0.0
    silent: bool = False
    deaf_to: frozenset[str] = frozenset()
    """Points that it ignores: a read with one of them stays without an answer."""
    refuses: dict[str, int] = field(default_factory=dict)
    """Exception code by point."""
    hangs: bool = False


class Wire:
    """A line with its devices; obeys the Poller contract. `latency` is added to each answer, in seconds."""

    def __init__(
        self, things: Mapping[str, Thing], blocks: Sequence[Block], *, timing: Timing, in_flight: int = 1
    ) -> None:
        self.things = dict(things)
        self.in_flight = in_flight
        self.latency = 0.0
        self.log: list[Request] = []
        self.cut = False
        self.bug: Exception | None = None
        self.opened = 0
        self.closed = 0
        self.open = False
        self.most_in_flight = 0
        self.planned = list(blocks)
        self.asking: str | None = None
        """Whose answer is being waited for."""
        self.quiet = 0.0
        """Seconds after a request without an answer in which no read is sent."""
        self._quiet_until = 0.0
        self._sent: float | None = None
        self._haste = asyncio.Event()
        self._yields = False
        self._until = 0.0
        self._timing = timing
        self._under_way = 0

    def blocks(self) -> Sequence[Block]:
        return self.planned

    def timing(self, device: str) -> Timing:
        del device
        return self._timing

    async def __aenter__(self) -> Self:
        if self.cut:
            raise LineDown("connection refused")
        self.opened += 1
        self.open = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.open = False
        self.closed += 1

    async def read(self, block: Block, timeout: float) -> bytes:
        await self._turn()
        await self._ask(block.device, block.points, "read", block.wire, timeout)
        thing = self.things[block.device]
        return b"".join(thing.values[point].to_bytes(4, "big", signed=True) for point in block.points)

    def decode(self, block: Block, raw: bytes) -> dict[str, Decoded]:
        return {
            point: Decoded(int.from_bytes(raw[4 * n : 4 * n + 4], "big", signed=True), None, "bar", Quality.GOOD, None)
            for n, point in enumerate(block.points)
        }

    def narrow(self, block: Block) -> Sequence[Block]:
        if len(block.points) == 1:
            return ()
        half = len(block.points) // 2
        return [
            Block(block.device, part, block.lane, block.every, block.wire, None)
            for part in (block.points[:half], block.points[half:])
        ]

    def block_for(self, device: str, points: Sequence[str], lane: Lane) -> Sequence[Block]:
        return [Block(device, tuple(points), lane, 1.0, 0.001, None)]

    async def write(self, device: str, point: str, value: Value, timeout: float) -> None:
        await self._ask(device, (point,), "write", 0.001, timeout)
        self.things[device].values[point] = int(value)

    async def _ask(self, device: str, points: tuple[str, ...], kind: str, wire: float, timeout: float) -> None:
        if self.bug is not None:
            raise self.bug
        thing = self.things[device]
        self._under_way += 1
        self.most_in_flight = max(self.most_in_flight, self._under_way)
        began = self._sent = asyncio.get_running_loop().time()
        answered = False
        self.asking = device
        try:
            answered = await self._answer(thing, points, wire, timeout)
        finally:
            self._under_way -= 1
            self.asking = None
            took = asyncio.get_running_loop().time() - began
            self.log.append(Request(began, took, device, points, kind, answered))
        if not answered:
            raise DeviceSilent(f"{device} does not answer")
        for point in points:
            if point in thing.refuses:
                raise DeviceRefused(thing.refuses[point])

    async def _answer(self, thing: Thing, points: tuple[str, ...], wire: float, timeout: float) -> bool:
        if self.cut:
            raise LineDown("connection lost")
        if thing.hangs:
            await asyncio.get_running_loop().create_future()
        needs = wire + thing.delay
        deaf = thing.silent or not thing.deaf_to.isdisjoint(points)
        await self._wait(timeout if deaf or needs > timeout else needs, answered=not deaf and needs <= timeout)
        if self.cut:
            raise LineDown("connection lost")
        self.latency = thing.delay
        return not deaf and needs <= timeout

    def give_way(self, haste: float | None) -> None:
        if self._sent is None:
            self._yields = True
        elif haste is not None:
            self._until = max(asyncio.get_running_loop().time(), self._sent + haste)
        self._haste.set()

    async def _wait(self, seconds: float, *, answered: bool) -> None:
        """Until the answer, or the end of the time; or of the patience of an order that came meanwhile."""
        loop = asyncio.get_running_loop()
        if self.in_flight > 1:
            await asyncio.sleep(seconds)
            return
        end = self._until = (self._sent or loop.time()) + seconds
        while (now := loop.time()) < min(end, self._until):
            await self._sleep(min(end, self._until) - now)
        if loop.time() < end:
            raise GaveWay(sent=True)
        if not answered:
            self._quiet_until = loop.time() + self.quiet

    async def _turn(self) -> None:
        """Nothing is read until the answer of who had none cannot come any more."""
        self._sent, self._yields = None, False
        loop = asyncio.get_running_loop()
        while (now := loop.time()) < self._quiet_until:
            await self._sleep(self._quiet_until - now)
            if self._yields:
                raise GaveWay(sent=False)

    async def _sleep(self, seconds: float) -> None:
        self._haste.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._haste.wait()

    def asked(self, device: str, *, since: float = 0.0, kind: str = "read") -> list[Request]:
        """What this device was asked since then."""
        return [r for r in self.log if r.device == device and r.at >= since and r.kind == kind]

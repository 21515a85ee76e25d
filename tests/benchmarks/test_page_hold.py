"""The answer that confirms a fire -> the hold on the wire: with 32 streams, one of them slow, and logins without end.

Beside the same gateway while nobody looks, in turns: 1,000 other points change each second all the while.
"""

import asyncio
import os
import random
import sys
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict

from tests.benchmarks.crowd import crowd
from tests.benchmarks.measure import median, quantile
from tests.benchmarks.thousand import a_thousand_points
from tests.end_to_end.browsing import Browser
from tests.reliability.served import Registers, registers

ZONES = 16
TURNS = int(os.environ.get("BENCH_TURNS", "5"))
"""With and without, one after the other."""
ROUNDS = 5
"""Of a fire in each zone, in a turn."""
_FIRST = 100
_WITHIN_S = 20.0
_DETECTOR = (
    "  smoke-{zone}: {{line: loop, unit: {unit}, kind: smoke-detector, zone: z{zone}, points: {{smoke: {{at: holding"
    " {address}, every: 100ms, alarms: {{fire: {{kind: fire, equals: 1, latch: false}}}}}}}}}}\n"
)


class SiteParts(TypedDict):
    """What the site file has beside the 40 devices."""

    lines: str
    devices: str
    more: str


def parts(port: int) -> SiteParts:
    """Detectors, each in a zone of its own with a gate."""
    zones = range(ZONES)
    detectors = "".join(_DETECTOR.format(zone=zone, unit=10 + zone, address=_FIRST + zone) for zone in zones)
    coils = ", ".join(f"do{n}: {{at: coil {n}, write: true}}" for n in range(2 * ZONES))
    gates = (
        f"  g{zone}: {{open: relay.do{2 * zone}, hold: relay.do{2 * zone + 1}, on_loss: keep}}\n" for zone in zones
    )
    rules = (f"  l{zone}: {{zones: [z{zone}], trigger: any, hold: [g{zone}]}}\n" for zone in zones)
    named = "".join(f"  z{zone}: {{}}\n" for zone in zones)
    return {
        "lines": f"  loop: {{driver: modbus, tcp: '127.0.0.1:{port}'}}\n",
        "devices": f"{detectors}  relay: {{line: loop, unit: 9, kind: relay, points: {{{coils}}}}}\n",
        "more": f"zones:\n{named}gates:\n{''.join(gates)}linkage:\n{''.join(rules)}",
    }


@dataclass
class FiresInTurn:
    """FiresInTurn one after the other, each put out and its gate released."""

    wire: Registers
    guard: Browser
    chance: random.Random = field(default_factory=lambda: random.Random(1))  # noqa: S311 - a repeatable pattern

    async def rounds(self, count: int) -> list[float]:
        """Seconds from each confirming answer to its hold."""
        late = []
        for _ in range(count):
            late += [await self._burn(zone) for zone in range(ZONES)]
            await self._end()
        return late

    async def _burn(self, zone: int) -> float:
        await asyncio.sleep(self.chance.uniform(0.02, 0.12))
        address, coil = _FIRST + zone, 2 * zone + 1
        writes = len(self.wire.coils.get(coil, []))
        self.wire.set(address, 1)
        async with asyncio.timeout(_WITHIN_S):
            while len(self.wire.coils.get(coil, [])) == writes:
                await asyncio.sleep(0.005)
        at, is_on = self.wire.coils[coil][writes]
        assert is_on, "a hold, and no release"
        return at - self.wire.shown[address][1]

    async def _end(self) -> None:
        for zone in range(ZONES):
            self.wire.set(_FIRST + zone, 0)
        told = await self._until(lambda gate: gate["causes"] == ["after"])
        for zone in range(ZONES):
            asked = {"cmd": "gate.release", "args": {"gate": f"g{zone}"}, "seen": told["seen"]}
            _, reply = await self.guard.post("/do", asked)
            assert reply["ok"], reply
        await self._until(lambda gate: gate["commanded"] == "idle")

    async def _until(self, reached: Any) -> Any:
        async with asyncio.timeout(_WITHIN_S):
            while True:
                status, told = await self.guard.get("/state")
                if status == 200 and all(reached(gate) for gate in told["state"]["gates"].values()):
                    return told
                await asyncio.sleep(0.3)


async def test_a_hold_is_as_fast_with_a_crowd_at_the_page(tmp_path: Path) -> None:
    began = time.monotonic()
    alone: list[list[float]] = []
    beside: list[list[float]] = []
    async with AsyncExitStack() as stack:
        wire = await stack.enter_async_context(registers())
        site = await stack.enter_async_context(a_thousand_points(tmp_path))
        _, base = await stack.enter_async_context(site.gateway("one", **parts(wire.port)))
        guard = await stack.enter_async_context(Browser(base))
        await guard.log_in("zhang", "password of zhang")
        fires = FiresInTurn(wire, guard)
        await fires.rounds(1)
        for _ in range(TURNS):
            alone.append(await fires.rounds(ROUNDS))
            async with crowd(base, 31, slow=1, logins=True):
                beside.append(await fires.rounds(ROUNDS))
    p99 = [median([quantile(turn, 0.99) for turn in turns]) for turns in (alone, beside)]
    sys.stdout.write(
        f"\nconfirming answer -> hold written: {_told(alone)}; with 32 streams, one slow, and logins: {_told(beside)};"
        f" median of the p99 of each turn {p99[0] * 1000:.1f} and {p99[1] * 1000:.1f} ms: {p99[1] / p99[0]:.2f}x"
        f" ({time.monotonic() - began:.0f} s)\n"
    )
    assert p99[1] / p99[0] <= 1.2


def _told(turns: list[list[float]]) -> str:
    late = [one for turn in turns for one in turn]
    return f"p50 {quantile(late, 0.5) * 1000:.1f} ms, p99 {quantile(late, 0.99) * 1000:.1f} ms of {len(late)}"

"""The bound that `plan` prints, against contacts that close at any time on real lines at the speed of their wires.

`BENCH_FLIPS` (default 2000) that count for each configuration, on eight lines at once. A flip during which this machine
was late by more than the allowance that the bound makes for it, all in all, is reported apart: the requests of a bus
follow one another, so what each of them loses adds up.
"""

import asyncio
import os
import random
from collections.abc import Mapping
from typing import Any

import pytest

from gateway.config.site import SiteFile
from gateway.field.response_time import HOST_S, AlarmBound, analyse, load_of
from gateway.model import Answer, Input
from gateway.settings import build
from simulators.site import VirtualSite
from tests.benchmarks.measure import quantile
from tests.field.yard import Yard, at_work
from tests.simulators.sites import site_of

FLIPS = int(os.environ.get("BENCH_FLIPS", "2000"))
LINES = 8
LATENCY = 0.005
STEP = 0.005
ROUNDING = 0.002
"""What the event loop's timers round up, and a turn of it takes."""
SMOKE = {"at": "holding 3", "every": "1s", "alarms": {"fire": {"kind": "fire", "equals": 1}}}


def site(line: dict[str, Any], count: int, timeout: str) -> SiteFile:
    """The same line eight times, with so many detectors each."""
    devices = {
        f"{at}-{unit}": {"line": f"l{at}", "unit": unit, "limits": {"timeout": timeout}, "points": {"smoke": SMOKE}}
        for at in range(LINES)
        for unit in range(1, count + 1)
    }
    own = {at: {"serial": f"/dev/rs485-{at}"} if "serial" in line else {} for at in range(LINES)}
    return site_of({f"l{at}": {**line, **own[at]} for at in range(LINES)}, devices)


class Flipper:
    """Closes contacts of one line, one after another, and waits for the second read that shows each."""

    def __init__(self, yard: Yard, line: str, rng: random.Random) -> None:
        self.yard = yard
        self.line = line
        self.rng = rng
        self.names = [name for name, device in yard.virtual.site.devices.items() if device.line == line]
        self.took: list[tuple[str, float, float]] = []
        """Device, seconds, and how late this machine was meanwhile, all in all."""
        self._seen: dict[str, int] = {}

    def see(self, answer: Answer) -> None:
        """What the site does with a reading: a first one is read again at once."""
        reading = answer.readings.get("smoke")
        if reading is None or reading.value != 1 or answer.device not in self._seen:
            return
        self._seen[answer.device] += 1
        if self._seen[answer.device] == 1:
            self.yard.lines[self.line].read_now(answer.device, ("smoke",))

    async def flip(self, count: int, dead: str | None) -> None:
        """At random times, until so many count; before every other one the contact of another device closes too."""
        living = [name for name in self.names if name != dead]
        for number in range(2 * count):
            if sum(late <= HOST_S for _, _, late in self.took) >= count:
                return
            name, other = living[number % len(living)], living[(number + len(living) // 2) % len(living)]
            closed = [name, other][: 1 + number % 2]
            self._seen |= dict.fromkeys(closed, 0)
            if other in closed:
                self.yard.virtual.set(f"{other}.smoke", 1)
            await asyncio.sleep(self.rng.random())
            await self._measure(name)
            for each in closed:
                self.yard.virtual.set(f"{each}.smoke", 0)
                del self._seen[each]

    async def _measure(self, name: str) -> None:
        """From its closing to the second read that shows it."""
        loop = asyncio.get_running_loop()
        closed, late, last = self.yard.virtual.set(f"{name}.smoke", 1), 0.0, loop.time()
        while self._seen[name] < 2:
            await asyncio.sleep(STEP)
            late, last = late + max(0.0, loop.time() - last - STEP - ROUNDING), loop.time()
        self.took.append((name, last - closed, late))


def bounds(file: SiteFile, measured: Mapping[str, float]) -> dict[str, AlarmBound]:
    """What `plan` reckons for the first line. `measured`: the longest answer of each device, as it is known."""
    load = load_of(
        "l0",
        build.requests(file, "l0"),
        {f"{name}.smoke": 2 for name in file.devices},
        dict.fromkeys(file.devices, LATENCY) | dict(measured),
    )
    return {alarm.point: alarm for alarm in analyse(load).alarms}


def longest(found: Mapping[str, AlarmBound], dead: int) -> float:
    """The longest time of any point."""
    return max(alarm.worst_one_dead if dead else alarm.worst for alarm in found.values())


BUS, TCP = {"serial": "/dev/rs485", "baudrate": 9600}, {"tcp": "192.168.1.20:502"}


@pytest.mark.parametrize(
    ("name", "line", "count", "dead"),
    [("8 at 9600", BUS, 8, 0), ("32 at 9600", BUS, 32, 0), ("8 at 9600", BUS, 8, 1), ("20 on TCP", TCP, 20, 1)],
    ids=["8", "32", "8-one-dead", "tcp-one-dead"],
)
async def test_no_alarm_is_later_than_its_bound(name: str, line: dict[str, Any], count: int, dead: int) -> None:
    file = site(line, count, "300ms")
    worst = longest(bounds(file, {}), dead)
    async with VirtualSite(file, latency=LATENCY) as virtual, at_work(virtual) as yard:
        flippers = {at: Flipper(yard, at, random.Random(int(at[1:]))) for at in file.lines}  # noqa: S311 - phases

        def see(item: Input) -> None:
            if isinstance(item, Answer):
                flippers[virtual.site.devices[item.device].line].see(item)

        yard.watch = see
        await yard.until(lambda: all(yard.good(n, "smoke") for n in file.devices), within=30)
        async with asyncio.TaskGroup() as group:
            for at, flipper in flippers.items():
                victim = f"{at[1:]}-1" if dead else None
                if victim is not None:
                    virtual.silence(victim)
                group.create_task(flipper.flip(max(1, FLIPS // LINES), victim), name=f"flips of {at}")
        measured = longest(bounds(file, yard.lines["l0"].longest_answers()), dead)
    took = [seconds for flipper in flippers.values() for _, seconds, late in flipper.took if late <= HOST_S]
    apart = [seconds for flipper in flippers.values() for _, seconds, late in flipper.took if late > HOST_S]
    print(  # noqa: T201
        f"\n{name}, {dead} dead: bound {worst:.3f} s ({measured:.3f} with the measured answer times); "
        f"{len(took)} flips: p50 {quantile(took, 0.5):.3f}, p99 "
        f"{quantile(took, 0.99):.3f}, worst {max(took):.3f} s; bound / worst {worst / max(took):.2f}; "
        f"{len(apart)} apart for a late machine (worst {max(apart, default=0.0):.3f} s)"
    )
    assert len(took) >= FLIPS // 2, "a machine that can measure"
    assert max(took) <= worst
    assert (
        max((seconds - late for flipper in flippers.values() for _, seconds, late in flipper.took), default=0) <= worst
    )
    assert FLIPS < 2000 or worst <= 2 * max(took)

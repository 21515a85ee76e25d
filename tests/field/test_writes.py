"""An order does not wait for who is hardly there: in virtual time, with a device that may take a second to answer."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.driver import Block, Timing
from gateway.errors import DeviceSilent
from gateway.model import Lane
from tests import virtual_time
from tests.field.bench import Bench, running
from tests.field.wire import Thing, Wire

SLOW = Timing(floor=0.05, ceiling=1.0)
WIRE = 0.06
PROMISE = 0.4


def bus(count: int = 4, every: float = 0.5) -> Wire:
    """Read about half the time; each time-out is followed by the quiet until the worst answer time has passed."""
    names = [f"d{n}" for n in range(count)]
    things = {name: Thing({"p": 1, "out": 0}, delay=0.02) for name in names}
    wire = Wire(things, [Block(n, ("p",), Lane.NORMAL, every, WIRE, None) for n in names], timing=SLOW)
    wire.quiet = 0.9
    return wire


@asynccontextmanager
async def one_falls_silent(wire: Wire) -> AsyncIterator[Bench]:
    """A bus at work, of which d3 answers no more."""
    async with running(wire, virtual_time.clock()) as bench:
        await asyncio.sleep(2.0)
        wire.things["d3"].silent = True
        yield bench


async def ordered(bench: Bench, device: str, value: int) -> float:
    """Give an order; seconds until it was on the wire."""
    began = asyncio.get_running_loop().time()
    await bench.line.order(device, "out", value, began + 5.0)
    return bench.wire.asked(device, since=began, kind="write")[-1].at - began


async def dying(seed: int, pause: float, *, heard: bool) -> list[float]:
    """Orders to a living device while another dies, is dead and probed."""
    rng = random.Random(seed)  # noqa: S311 - repeatable
    wire = bus()
    wire.things["d3"].silent = not heard
    took: list[float] = []
    async with running(wire, virtual_time.clock()) as bench:
        await asyncio.sleep(2.0 if heard else 0.0)
        await bench.until(lambda: bench.line.up)
        wire.things["d3"].silent = True
        loop = asyncio.get_running_loop()
        end = loop.time() + 120.0
        while loop.time() < end:
            await asyncio.sleep(rng.uniform(0.0, pause))
            took.append(await ordered(bench, "d0", len(took)))
        assert ("d3", False) in bench.device_health, "it was found all the same"
        assert bench.device_health.count(("d0", True)) == 1
        assert ("d0", False) not in bench.device_health
    return sorted(took)


@pytest.mark.parametrize("heard", [True, False])
@pytest.mark.parametrize("pause", [0.5, 3.0])
def test_an_order_does_not_wait_for_a_device_that_dies_is_dead_or_never_was(pause: float, heard: bool) -> None:
    took = virtual_time.run(dying(1, pause, heard=heard))
    assert took[int(0.99 * len(took)) - 1] <= PROMISE
    late = [seconds for seconds in took if seconds > PROMISE]
    assert len(late) <= 120 / 30, "now and then a probe is waited for to its end"


@pytest.mark.parametrize("delay", [0.02, 0.7])
@pytest.mark.parametrize("pause", [0.1, 0.5])
def test_who_comes_back_is_found_however_many_orders_there_are(delay: float, pause: float) -> None:
    """One as quick as ever with the next probe; one that has become slow too, when nobody cuts it short."""

    async def main() -> None:
        wire = bus()
        async with one_falls_silent(wire) as bench, asyncio.TaskGroup() as group:

            async def orders() -> None:
                while True:
                    await asyncio.sleep(pause)
                    await ordered(bench, "d0", 1)

            task = group.create_task(orders(), name="orders")
            await bench.until(lambda: ("d3", False) in bench.device_health, within=100)
            await asyncio.sleep(60)
            wire.things["d3"].silent = False
            wire.things["d3"].delay = delay
            await bench.until(lambda: bench.device_health[-1] == ("d3", True), within=60 if delay < 0.1 else 600)
            task.cancel()

    virtual_time.run(main())


def test_an_order_goes_before_a_confirm_read_that_waits_for_a_late_answer() -> None:
    """The read came first, and while the line is left alone it is not sent."""

    async def main() -> None:
        wire = bus()
        async with one_falls_silent(wire) as bench:
            await bench.until(lambda: wire.asked("d3") and not wire.asked("d3")[-1].answered, within=5)
            bench.line.read_now("d1", ("p",))
            bench.line.read_now("d0", ("out",))
            assert await ordered(bench, "d0", 1) <= 0.1
            since = asyncio.get_running_loop().time()
            await bench.until(lambda: [r for r in wire.asked("d0", since=since) if r.points == ("out",)], within=3)

    virtual_time.run(main())


def test_a_probe_that_gave_way_is_no_miss_and_the_probes_stay_as_rare() -> None:
    async def main() -> None:
        wire = bus()
        async with one_falls_silent(wire) as bench:
            await bench.until(lambda: ("d3", False) in bench.device_health, within=20)
            silent = asyncio.get_running_loop().time()
            timeouts = bench.line.snapshot().devices["d3"].timeouts
            for _ in range(3):
                await bench.until(lambda: wire.asking == "d3", within=60)
                assert await ordered(bench, "d0", 1) <= 0.2
            assert bench.line.snapshot().devices["d3"].timeouts == timeouts
            assert bench.device_health[-1] == ("d3", False)
            probes = [request.at for request in wire.asked("d3", since=silent)]
            assert len(probes) == 3
            assert all(b - a >= 2.0 for a, b in pairwise(probes))

    virtual_time.run(main())


def test_an_order_for_the_device_that_is_probed_waits_for_the_probe() -> None:
    async def main() -> None:
        wire = bus()
        async with one_falls_silent(wire) as bench:
            await bench.until(lambda: ("d3", False) in bench.device_health, within=20)
            await bench.until(lambda: wire.asking == "d3", within=60)
            wire.things["d3"].silent = False
            await ordered(bench, "d3", 7)
            probe = [request for request in wire.asked("d3") if not request.answered][-1]
            write = wire.asked("d3", kind="write")[0]
            assert write.at >= probe.at + probe.took
            assert probe.took > 0.25
            assert wire.things["d3"].values["out"] == 7

    virtual_time.run(main())


def test_an_order_to_a_dead_device_does_not_hold_up_one_to_a_living() -> None:
    async def main() -> None:
        wire = bus()
        async with one_falls_silent(wire) as bench, asyncio.TaskGroup() as group:
            await bench.until(lambda: ("d3", False) in bench.device_health, within=20)
            loop = asyncio.get_running_loop()
            first = group.create_task(bench.line.order("d3", "out", 5, loop.time() + 60.0), name="to the dead")
            await bench.until(lambda: wire.asking == "d3", within=5)
            assert await ordered(bench, "d0", 1) <= 0.2
            assert not first.done()
            wire.things["d3"].silent = False
            await first
            assert wire.things["d3"].values["out"] == 5

    virtual_time.run(main())


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    delays=st.lists(st.sampled_from([0.01, 0.1, 0.4, 0.95, 1.5]), min_size=4, max_size=4),
    dead=st.sets(st.integers(0, 3), max_size=3),
)
def test_whoever_is_slow_or_dead_an_order_that_is_done_was_done(seed: int, delays: list[float], dead: set[int]) -> None:
    async def main() -> None:
        rng = random.Random(seed)  # noqa: S311 - repeatable
        wire = bus()
        for number, delay in enumerate(delays):
            wire.things[f"d{number}"].delay = delay
            wire.things[f"d{number}"].silent = number in dead
        async with running(wire, virtual_time.clock()) as bench, asyncio.TaskGroup() as group:
            await bench.until(lambda: wire.open)
            loop = asyncio.get_running_loop()

            async def order(value: int) -> None:
                await asyncio.sleep(rng.uniform(0.0, 20.0))
                name, began = f"d{rng.randrange(4)}", loop.time()
                done = await given_up_or_done(bench, name, value, began + rng.choice([0.5, 5.0]))
                mine = [r for r in wire.asked(name, since=began, kind="write") if r.answered]
                assert not done or mine

            for value in range(30):
                group.create_task(order(value), name=f"order {value}")

    virtual_time.run(main())


async def given_up_or_done(bench: Bench, device: str, value: int, expires: float) -> bool:
    """Give an order; whether it is said to be done."""
    try:
        await bench.line.order(device, "out", value, expires)
    except DeviceSilent:
        return False
    return True

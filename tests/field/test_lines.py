import asyncio
import gc
import math
from contextlib import suppress
from itertools import pairwise

import pytest
from structlog.testing import capture_logs

from gateway.clock import Clock
from gateway.driver import Block, Timing
from gateway.errors import DeviceError, DeviceRefused, DeviceSilent, LineDown
from gateway.model import DeviceHealth, Lane, LineHealth, Quality, Reason
from tests import virtual_time
from tests.field.bench import Bench, running
from tests.field.wire import Request, Thing, Wire

BUS = Timing(floor=0.05, ceiling=0.3)


def block(device: str, *points: str, every: float = 1.0, lane: Lane = Lane.NORMAL, wire: float = 0.05) -> Block:
    return Block(device, points or ("p",), lane, every, wire, None)


def bus(count: int, *, in_flight: int = 1, every: float = 1.0, wire: float = 0.05) -> Wire:
    names = [f"d{n}" for n in range(count)]
    return Wire(
        {name: Thing({"p": 1}, delay=0.01) for name in names},
        [block(name, every=every, wire=wire) for name in names],
        timing=BUS,
        in_flight=in_flight,
    )


def p95(values: list[float]) -> float:
    return sorted(values)[math.ceil(0.95 * len(values)) - 1]


def intervals(requests: list[Request]) -> list[float]:
    return [b.at - a.at for a, b in pairwise(requests)]


def last(bench: Bench, device: str, point: str = "p") -> tuple[object, Quality, Reason | None]:
    reading = bench.told()[device][point]
    return reading.value, reading.quality, reading.reason


# ---- silent devices -------------------------------------------------------------------------------------


def test_a_dead_slave_costs_the_living_little_and_is_back_at_full_rate() -> None:
    """8 slaves at 9600 baud, one read each per second, a time-out of 300 ms; slave 3 dies for ten minutes."""

    async def main() -> None:
        wire = bus(8, wire=0.055)
        async with running(wire, virtual_time.clock()) as bench:
            loop = asyncio.get_running_loop()
            await asyncio.sleep(30)
            wire.things["d3"].silent = True
            died = loop.time()
            await bench.until(lambda: ("d3", False) in bench.device_health, within=5)
            found = loop.time()
            await asyncio.sleep(600)
            back = loop.time()
            wire.things["d3"].silent = False
            await bench.until(lambda: bench.device_health[-1] == ("d3", True), within=60)
            restored = loop.time()
            await asyncio.sleep(30)

            for name in ("d0", "d1", "d2", "d4", "d5", "d6", "d7"):
                gaps = intervals(wire.asked(name, since=died))
                assert p95(gaps) <= 1.5
                assert max(gaps) <= 2.5
            cost = sum(r.took for r in wire.asked("d3", since=found) if r.at < back)
            assert cost <= 0.05 * (back - found)
            assert 28 <= len(wire.asked("d3", since=restored)) <= 32
            assert wire.opened == 1
            assert [up for name, up in bench.device_health if name == "d3"] == [True, False, True]
            assert last(bench, "d3") == (1, Quality.GOOD, None)

    virtual_time.run(main())


def test_silence_makes_every_point_bad_at_once_and_is_told_once() -> None:
    async def main() -> None:
        things = {"d": Thing({"a": 5, "b": 6, "c": 7})}
        wire = Wire(things, [block("d", "a", "b"), block("d", "c", every=5.0)], timing=BUS)
        async with running(wire, virtual_time.clock()) as bench:
            await asyncio.sleep(20)
            things["d"].silent = True
            await bench.until(lambda: ("d", False) in bench.device_health, within=10)
            await asyncio.sleep(300)

            assert bench.device_health == [("d", True), ("d", False)]
            lost = bench.answers[-1]
            assert set(lost.readings) == {"a", "b", "c"}
            for reading in lost.readings.values():
                assert reading[:5] == (None, None, "bar", Quality.BAD, Reason.SILENT)
                assert reading.at == lost.at
            assert {reading.at for reading in bench.told()["d"].values()} == {lost.at}

    virtual_time.run(main())


@pytest.mark.parametrize("every", [10.0, 60.0, 600.0])
def test_silence_is_told_within_30_seconds_however_long_the_period(every: float) -> None:
    async def main() -> None:
        wire = bus(1, every=every)
        async with running(wire, virtual_time.clock()) as bench:
            await asyncio.sleep(1000)
            wire.things["d0"].silent = True
            await bench.until(lambda: ("d0", False) in bench.device_health, within=30)

    virtual_time.run(main())


def test_a_device_that_ignores_one_block_is_not_silent_and_that_block_becomes_bad() -> None:
    async def main() -> None:
        things = {"d": Thing({"a": 1, "b": 2})}
        wire = Wire(things, [block("d", "a", every=1.0), block("d", "b", every=10.0)], timing=BUS)
        async with running(wire, virtual_time.clock()) as bench:
            await asyncio.sleep(30)
            things["d"].deaf_to = frozenset({"a"})
            await asyncio.sleep(300)

            assert bench.device_health == [("d", True)]
            assert last(bench, "d", "a") == (None, Quality.BAD, Reason.SILENT)
            assert last(bench, "d", "b") == (2, Quality.GOOD, None)

    virtual_time.run(main())


def test_a_device_that_became_slow_is_not_lost() -> None:
    async def main() -> None:
        wire = bus(1)
        async with running(wire, virtual_time.clock()) as bench:
            await asyncio.sleep(60)
            wire.things["d0"].delay = 0.15
            await asyncio.sleep(60)

            assert bench.device_health == [("d0", True)]
            assert 0 < bench.line.snapshot().devices["d0"].timeouts <= 2

    virtual_time.run(main())


def test_dead_devices_at_start_do_not_hold_up_the_first_reads_of_the_living() -> None:
    async def main() -> None:
        names = [f"d{n}" for n in range(8)]
        points = ("a", "b", "c", "d")
        things = {name: Thing(dict.fromkeys(points, 1), silent=name < "d2") for name in names}
        wire = Wire(things, [block(n, p, wire=0.005) for n in names for p in points], timing=BUS)
        async with running(wire, virtual_time.clock()) as bench:
            await bench.until(lambda: len({m.device for m in bench.messages if m.full}) >= 6, within=1.2)
            firsts = {m.device: m for m in reversed(bench.messages)}
            assert all(firsts[name].full for name in names[2:])

    virtual_time.run(main())


def test_a_connection_that_died_quietly_is_opened_anew() -> None:
    async def main() -> None:
        wire = bus(2)
        async with running(wire, virtual_time.clock(), may_hang=True) as bench:
            await asyncio.sleep(30)
            for thing in wire.things.values():
                thing.silent = True
            await bench.until(lambda: wire.opened == 2, within=30)
            for thing in wire.things.values():
                thing.silent = False
            await bench.until(lambda: bench.device_health.count(("d1", True)) == 2, within=10)
            assert bench.line_health == [True]
            assert bench.device_health.count(("d0", False)) == 1

    virtual_time.run(main())


def test_the_line_is_not_opened_anew_for_one_device() -> None:
    async def main() -> None:
        wire = bus(2)
        wire.things["d1"].silent = True
        async with running(wire, virtual_time.clock(), may_hang=True):
            await asyncio.sleep(600)
            assert wire.opened == 1

    virtual_time.run(main())


# ---- lines that are lost --------------------------------------------------------------------------------


@pytest.mark.parametrize("in_flight", [1, 3])
def test_a_lost_line_is_told_once_and_comes_back(in_flight: int) -> None:
    async def main() -> None:
        wire = bus(3, in_flight=in_flight)
        with capture_logs() as logs:
            async with running(wire, virtual_time.clock()) as bench:
                loop = asyncio.get_running_loop()
                await asyncio.sleep(20)
                wire.cut = True
                await asyncio.sleep(600)
                lost_at = bench.of(LineHealth)[-1].at.mono
                after = [r for m in bench.messages for r in m.readings.values() if m.at.mono >= lost_at]
                assert after
                assert all(r.quality is Quality.BAD and r.value is None for r in after)
                assert all(r.at.mono >= lost_at for r in after)
                assert {r.reason for r in after} == {Reason.LINE_DOWN}
                assert not bench.line.snapshot().up
                wire.cut = False
                back = loop.time()
                await bench.until(lambda: bench.line_health[-1], within=31)
                await asyncio.sleep(2)

                assert bench.line_health == [True, False, True]
                assert bench.device_health == [("d0", True), ("d1", True), ("d2", True)]
                fresh = [r for d in bench.told().values() for r in d.values()]
                assert all(r.quality is Quality.GOOD and r.at.mono > back for r in fresh)
        events = [entry["event"] for entry in logs]
        assert events == ["line up", "line down", "line up"]
        assert logs[-1]["down_for"] >= 595

    virtual_time.run(main())


def test_a_line_that_cannot_be_opened_at_start_says_so_and_is_used_when_it_can() -> None:
    async def main() -> None:
        wire = bus(2)
        wire.cut = True
        async with running(wire, virtual_time.clock(), back_off=4.0) as bench:
            await asyncio.sleep(100)
            assert bench.line_health == [False]
            assert {m.device for m in bench.messages if m.full} == {"d0", "d1"}
            assert last(bench, "d0") == (None, Quality.BAD, Reason.LINE_DOWN)
            wire.cut = False
            await bench.until(lambda: last(bench, "d1")[1] is Quality.GOOD, within=5)

    virtual_time.run(main())


def test_two_lines_do_not_touch_one_another() -> None:
    async def main() -> None:
        clock = virtual_time.clock()
        one, two = bus(4), bus(4)
        async with running(one, clock, name="one"), running(two, clock, name="two") as living:
            await asyncio.sleep(20)
            one.cut = True
            await asyncio.sleep(60)
            one.cut = False
            await asyncio.sleep(60)
            one.bug = RuntimeError("a bug")
            await asyncio.sleep(60)

            for name in two.things:
                assert max(intervals(two.asked(name))[1:]) <= 1.1
            assert living.line_health == [True]
            assert all(up for _, up in living.device_health)

    virtual_time.run(main())


@pytest.mark.parametrize("in_flight", [1, 3])
def test_a_bug_of_the_driver_takes_down_its_line_and_nothing_else(in_flight: int) -> None:
    async def main() -> None:
        wire = bus(2, in_flight=in_flight)
        with capture_logs() as logs:
            async with running(wire, virtual_time.clock()) as bench:
                await asyncio.sleep(10)
                wire.bug = ZeroDivisionError("division by zero")
                await asyncio.sleep(300)
                down = bench.of(LineHealth)[1]
                assert not down.up
                assert "ZeroDivisionError" in down.detail
                assert bench.line.snapshot().driver_bugs > 3
                wire.bug = None
                await bench.until(lambda: bench.line_health[-1], within=31)
                await asyncio.sleep(2)
                assert last(bench, "d0") == (1, Quality.GOOD, None)
        traces = [entry for entry in logs if entry["event"] == "error in the driver"]
        assert len(traces) == 1
        assert isinstance(traces[0]["exc_info"], ZeroDivisionError)

    virtual_time.run(main())


async def test_an_error_of_our_own_is_not_taken_for_a_bug_of_the_driver() -> None:
    wire = bus(1)

    async def main() -> None:
        async with running(wire, Clock()) as bench:
            bench.fault = KeyError("a bug of the gateway")
            await asyncio.sleep(5)

    with pytest.raises(ExceptionGroup) as raised:
        await main()
    assert raised.group_contains(KeyError)


# ---- refusals -------------------------------------------------------------------------------------------


def test_a_refused_block_is_split_until_only_the_refused_point_is_bad_and_that_is_remembered() -> None:
    async def main() -> None:
        points = tuple(f"p{n}" for n in range(8))
        things = {"d": Thing(dict.fromkeys(points, 3), refuses={"p5": 2})}
        wire = Wire(things, [block("d", *points)], timing=BUS)
        async with running(wire, virtual_time.clock(), watched={"d": frozenset({"p0"})}) as bench:
            await bench.until(lambda: bench.told().get("d", {}).keys() == set(points), within=2)
            assert last(bench, "d", "p5") == (None, Quality.BAD, Reason.REFUSED)
            assert all(last(bench, "d", p) == (3, Quality.GOOD, None) for p in points if p != "p5")
            wire.cut = True
            await asyncio.sleep(60)
            wire.cut = False
            await bench.until(lambda: bench.line_health[-1], within=31)
            again = len(wire.log)
            await asyncio.sleep(120)

            assert not [r for r in wire.log[again:] if "p5" in r.points and len(r.points) > 1]
            asked = [r.at for r in wire.log[again:] if r.points == ("p5",)]
            assert len(asked) > 50, "each second while it may only be starting"
            assert len(asked) < 62, "and then each minute"
            assert bench.device_health == [("d", True)]
            things["d"].refuses = {}
            await bench.until(lambda: last(bench, "d", "p5")[1] is Quality.GOOD, within=61)

    virtual_time.run(main())


def test_a_device_that_refused_only_while_it_started_is_read_as_a_whole_again() -> None:
    """Modules refuse every address for some seconds after power came: their blocks fall apart to single points."""

    async def main() -> None:
        points = tuple(f"p{n}" for n in range(8))
        things = {"d": Thing(dict.fromkeys(points, 3))}
        wire = Wire(things, [block("d", *points)], timing=BUS)
        async with running(wire, virtual_time.clock()) as bench:
            await bench.until(lambda: bench.told().get("d", {}).keys() == set(points), within=2)
            things["d"].refuses = dict.fromkeys(points, 2)
            await bench.until(lambda: {len(r.points) for r in wire.log[-8:]} == {1}, within=10)
            await bench.until(lambda: last(bench, "d", "p5") == (None, Quality.BAD, Reason.REFUSED), within=2)
            things["d"].refuses = {}
            await asyncio.sleep(70)
            again = len(wire.log)
            await asyncio.sleep(60)

            assert {r.points for r in wire.log[again:]} == {points}
            assert 59 <= len(wire.log) - again <= 61
            assert all(last(bench, "d", p) == (3, Quality.GOOD, None) for p in points)

    virtual_time.run(main())


def test_a_busy_device_is_asked_at_its_period_and_lives() -> None:
    async def main() -> None:
        wire = bus(1)
        wire.things["d0"].refuses = {"p": 6}
        async with running(wire, virtual_time.clock()) as bench:
            await asyncio.sleep(60)
            assert last(bench, "d0") == (None, Quality.BAD, Reason.REFUSED)
            assert bench.device_health == [("d0", True)]
            assert len(wire.asked("d0")) >= 55, "each second from its answer on"
            wire.things["d0"].refuses = {}
            await asyncio.sleep(1.5)
            assert last(bench, "d0") == (1, Quality.GOOD, None)

    virtual_time.run(main())


def test_a_converter_that_says_that_the_device_does_not_answer_is_no_answer_of_the_device() -> None:
    async def main() -> None:
        wire = bus(1)
        wire.things["d0"].refuses = {"p": 11}
        async with running(wire, virtual_time.clock()) as bench:
            await bench.until(lambda: ("d0", False) in bench.device_health, within=5)

    virtual_time.run(main())


# ---- readings -------------------------------------------------------------------------------------------


def test_only_changes_reach_the_site_and_only_what_it_watches() -> None:
    async def main() -> None:
        things = {"d": Thing({"a": 1, "b": 1})}
        wire = Wire(things, [block("d", "a", "b")], timing=BUS)
        async with running(wire, virtual_time.clock(), watched={"d": frozenset({"a"})}) as bench:
            await asyncio.sleep(30)
            assert [dict(a.readings).keys() for a in bench.answers] == [{"a"}]
            things["d"].values["b"] = 2
            await asyncio.sleep(2)
            assert len(bench.answers) == 1
            assert last(bench, "d", "b")[0] == 2
            things["d"].values["a"] = 9
            await asyncio.sleep(2)
            assert bench.answers[-1].readings["a"].value == 9
            assert bench.answers[-1].readings["a"].at == bench.answers[-1].at

    virtual_time.run(main())


def test_what_is_not_refreshed_within_three_periods_is_bad() -> None:
    """An alarm lane that fills the line leaves the normal block a turn each five seconds."""

    async def main() -> None:
        things = {"d": Thing({"a": 1, "b": 1})}
        blocks = [block("d", "a", lane=Lane.ALARM, every=0.2, wire=0.01), block("d", "b", every=1.0, wire=0.01)]
        wire = Wire(things, blocks, timing=Timing(floor=0.5, ceiling=1.0))
        async with running(wire, virtual_time.clock()) as bench:
            await asyncio.sleep(20)
            things["d"].delay = 0.25
            await bench.until(lambda: last(bench, "d", "b")[1] is Quality.BAD, within=9)
            at = bench.told()["d"]["b"].at.mono
            previous = max(r.at + r.took for r in wire.log if "b" in r.points)
            assert 3.0 <= at - previous <= 3.3
            await bench.until(lambda: last(bench, "d", "b")[1] is Quality.GOOD, within=3)
            assert bench.device_health == [("d", True)]

    virtual_time.run(main())


@pytest.mark.parametrize("dead", ["d7", "m1"])
def test_on_an_overfull_line_silence_is_told_and_the_return_is_seen(dead: str) -> None:
    """32 detectors want 1.5 s of each second; of the meters behind them one is read each second."""

    async def main() -> None:
        things = {name: Thing({"p": 1}) for name in (*(f"d{n}" for n in range(32)), "m0", "m1", "m2")}
        blocks = [block(name, every=1.0, lane=Lane.ALARM if name < "m" else Lane.NORMAL, wire=0.046) for name in things]
        wire = Wire(things, blocks, timing=BUS)
        async with running(wire, virtual_time.clock()) as bench:
            await asyncio.sleep(60)
            things[dead].silent = True
            await bench.until(lambda: (dead, False) in bench.device_health, within=100)
            await asyncio.sleep(300)
            things[dead].silent = False
            await bench.until(lambda: bench.device_health[-1] == (dead, True), within=60)
            back = asyncio.get_running_loop().time()
            await asyncio.sleep(60)
            rate = {name: len(wire.asked(name, since=back)) for name in things}
            alike = [count for name, count in rate.items() if name[0] == dead[0]]
            assert max(alike) - min(alike) <= 2, "at full rate again"

    virtual_time.run(main())


def test_a_line_that_is_too_slow_says_so_once() -> None:
    async def main() -> None:
        wire = bus(5, every=0.1)
        with capture_logs() as logs:
            async with running(wire, virtual_time.clock()) as bench:
                await asyncio.sleep(300)
                status = bench.line.snapshot()
                assert status.overruns > 1000
                assert sum(d.overruns for d in status.devices.values()) == status.overruns
                assert status.busy > 0.99
                counts = [len(wire.asked(name)) for name in wire.things]
                assert max(counts) - min(counts) <= 2
        assert [e["event"] for e in logs if "slow" in e["event"]] == ["line too slow"]

    virtual_time.run(main())


# ---- what is asked for once -----------------------------------------------------------------------------


def test_a_confirm_read_goes_first_and_is_told_once_even_if_unchanged() -> None:
    async def main() -> None:
        wire = bus(8, every=0.5)
        async with running(wire, virtual_time.clock()) as bench:
            await asyncio.sleep(5)
            before, asked = len(bench.answers), len(wire.log)
            for _ in range(3):
                bench.line.read_now("d4", ("p",))
            await asyncio.sleep(1)
            mine = [r for r in wire.log[asked:] if r.device == "d4"]
            assert "d4" in {r.device for r in wire.log[asked : asked + 2]}
            assert len(mine) <= 4
            assert [(a.device, a.readings["p"].value) for a in bench.answers[before:]] == [("d4", 1)]
            wire.things["d4"].values["p"] = 2
            bench.line.read_now("d4", ("p",))
            await asyncio.sleep(1)
            assert [a.readings["p"].value for a in bench.answers[before:]] == [1, 2]
            wire.things["d4"].values["p"] = 1
            await asyncio.sleep(1)
            assert [a.readings["p"].value for a in bench.answers[before:]] == [1, 2, 1]

    virtual_time.run(main())


def test_a_failed_confirm_read_is_made_again_until_it_is_answered() -> None:
    async def main() -> None:
        wire = bus(1, every=5.0)
        async with running(wire, virtual_time.clock()) as bench:
            await bench.until(lambda: len(bench.answers) == 1, within=10)
            wire.things["d0"].silent = True
            bench.line.read_now("d0", ("p",))
            await asyncio.sleep(2)
            assert len(bench.answers) == 1, "a failed one counts for nothing"
            wire.things["d0"].silent = False
            await bench.until(lambda: len(bench.answers) == 2, within=3)
            await asyncio.sleep(20)
            assert [answer.readings["p"].value for answer in bench.answers] == [1, 1]
            assert bench.device_health == [("d0", True)]

    virtual_time.run(main())


def test_a_confirm_read_of_a_device_that_falls_silent_is_told_by_its_return() -> None:
    async def main() -> None:
        wire = bus(2, every=0.5)
        async with running(wire, virtual_time.clock()) as bench:
            await bench.until(lambda: len(bench.answers) == 2, within=10)
            wire.things["d0"].silent = True
            bench.line.read_now("d0", ("p",))
            await bench.until(lambda: ("d0", False) in bench.device_health, within=30)
            wire.things["d0"].silent = False
            await bench.until(lambda: bench.device_health[-1] == ("d0", True), within=100)
            await asyncio.sleep(5)
            mine = [answer.readings["p"].value for answer in bench.answers if answer.device == "d0"]
            assert mine == [1, None, 1]

    virtual_time.run(main())


def test_a_device_that_dies_while_it_is_confirmed_costs_three_time_outs_and_no_more() -> None:
    async def main() -> None:
        wire = bus(6, wire=0.02)
        async with running(wire, virtual_time.clock()) as bench:
            await asyncio.sleep(20.5)
            wire.things["d3"].silent = True
            died = asyncio.get_running_loop().time()
            bench.line.read_now("d3", ("p",))
            await bench.until(lambda: ("d3", False) in bench.device_health, within=10)
            told = asyncio.get_running_loop().time()
            assert len(wire.asked("d3", since=died)) == 3
            await asyncio.sleep(2)
            assert len(wire.asked("d3", since=told)) <= 1, "no confirm read of the dead"
            for name in ("d0", "d1", "d2", "d4", "d5"):
                assert max(intervals(wire.asked(name, since=died - 2))) <= 1.5

    virtual_time.run(main())


def test_a_confirm_read_that_failed_by_chance_is_made_up_for_within_half_a_second() -> None:
    """One answer is lost; the next one of the same point reaches the site, changed or not, and only once."""

    async def main() -> None:
        wire = bus(3, every=2.0)
        async with running(wire, virtual_time.clock()) as bench:
            loop = asyncio.get_running_loop()
            await asyncio.sleep(10.3)
            before = len(bench.answers)
            wire.things["d1"].silent = True
            bench.line.read_now("d1", ("p",))
            loop.call_later(0.2, setattr, wire.things["d1"], "silent", False)
            await bench.until(lambda: len(bench.answers) > before, within=1.0)
            await asyncio.sleep(10)
            assert [(a.device, a.readings["p"].value) for a in bench.answers[before:]] == [("d1", 1)]
            assert bench.device_health.count(("d1", True)) == 1

    virtual_time.run(main())


def test_the_time_out_follows_the_device_and_not_the_line() -> None:
    """What a read had to wait for others before it was sent is not the device's answer time."""

    async def main() -> None:
        wire = bus(2)
        wire.things["d1"].silent = True
        async with running(wire, virtual_time.clock()) as bench:
            await asyncio.sleep(30)
            assert bench.line.snapshot().devices["d0"].answer_p50 == pytest.approx(0.01, abs=0.001)

    virtual_time.run(main())


def test_a_read_by_hand_asks_for_parts_of_the_periodic_reads() -> None:
    """So it is never longer than these, and a split that was learnt holds for it too."""

    async def main() -> None:
        points = tuple(f"p{n}" for n in range(8))
        things = {"d": Thing(dict.fromkeys(points, 3), refuses={"p5": 2})}
        wire = Wire(things, [block("d", *points)], timing=BUS)
        async with running(wire, virtual_time.clock()) as bench:
            await asyncio.sleep(5)
            asked = len(wire.log)
            found = await bench.line.fetch("d", ("p0", "p3", "p4", "p6"))
            assert all(reading.value == 3 for reading in found.values())
            assert not any({"p3", "p6"} <= set(request.points) for request in wire.log[asked:])

    virtual_time.run(main())


def test_an_order_goes_ahead_of_everything() -> None:
    async def main() -> None:
        things = {f"d{n}": Thing({"p": 1, "do": 0}, delay=0.01) for n in range(6)}
        blocks = [block(name, "p", every=0.2, lane=Lane.ALARM) for name in things]
        wire = Wire(things, blocks, timing=BUS)
        async with running(wire, virtual_time.clock()) as bench:
            loop = asyncio.get_running_loop()
            await asyncio.sleep(5)
            things["d3"].silent = True
            for number in range(40):
                await asyncio.sleep(0.37)
                asked = loop.time()
                await bench.line.order("d1", "do", number)
                assert things["d1"].values["do"] == number
                assert wire.asked("d1", kind="write")[-1].at - asked <= 0.4

    virtual_time.run(main())


def test_an_order_is_tried_again_until_it_expires() -> None:
    async def main() -> None:
        things = {"d": Thing({"p": 1, "do": 0})}
        wire = Wire(things, [block("d", "p")], timing=BUS)
        async with running(wire, virtual_time.clock()) as bench:
            loop = asyncio.get_running_loop()
            await asyncio.sleep(5)
            things["d"].silent = True
            with pytest.raises(DeviceSilent):
                await bench.line.order("d", "do", 1)
            assert len(wire.asked("d", kind="write")) == 1
            began = loop.time()
            with pytest.raises(DeviceSilent):
                await bench.line.order("d", "do", 1, loop.time() + 5.0)
            assert loop.time() - began <= 5.0
            loop.call_later(2.0, things["d"].__setattr__, "silent", False)
            await bench.line.order("d", "do", 1, loop.time() + 5.0)
            assert things["d"].values["do"] == 1
            things["d"].refuses = {"do": 4}
            with pytest.raises(DeviceRefused):
                await bench.line.order("d", "do", 0, loop.time() + 5.0)

    virtual_time.run(main())


def test_orders_to_the_dead_leave_the_line_to_the_living() -> None:
    """Four held gates on a relay that died are read and written every second, for minutes."""

    async def main() -> None:
        wire = bus(6)
        outputs = {f"do{n}": 0 for n in range(4)}
        wire.things["relay"] = Thing({"p": 1, **outputs}, silent=True)
        wire.planned.append(block("relay"))
        async with running(wire, virtual_time.clock()) as bench:
            loop = asyncio.get_running_loop()
            await bench.until(lambda: ("relay", False) in bench.device_health, within=10)
            start = loop.time()

            async def hold(point: str) -> None:
                while loop.time() < start + 120:
                    bench.line.read_now("relay", (point,))
                    with suppress(DeviceSilent):
                        await bench.line.order("relay", point, 1)
                    await asyncio.sleep(1)

            async with asyncio.TaskGroup() as group:
                for point in outputs:
                    group.create_task(hold(point), name=f"hold {point}")
            for n in range(6):
                living = wire.asked(f"d{n}", since=start)
                assert len(living) >= 115
                assert p95(intervals(living)) <= 1.5
            assert len([r for r in wire.log if r.device == "relay" and r.at > start]) >= 100
            wire.things["relay"].silent = False
            await bench.line.order("relay", "do0", 1)
            assert bench.device_health[-1] == ("relay", True)

    virtual_time.run(main())


def test_an_order_for_a_device_without_readable_points_is_carried_out() -> None:
    async def main() -> None:
        wire = bus(1)
        wire.things["siren"] = Thing({"do": 0})
        async with running(wire, virtual_time.clock()) as bench:
            await asyncio.sleep(2)
            await bench.line.order("siren", "do", 1)
            assert wire.things["siren"].values["do"] == 1

    virtual_time.run(main())


def test_fetch_is_fresh_and_raises_what_the_wire_said() -> None:
    async def main() -> None:
        things = {"d": Thing({"a": 1, "b": 2})}
        wire = Wire(things, [block("d", "a", every=60.0), block("d", "b", every=60.0)], timing=BUS)
        async with running(wire, virtual_time.clock()) as bench:
            loop = asyncio.get_running_loop()
            await asyncio.sleep(5)
            things["d"].values["a"] = 7
            now = loop.time()
            readings = await bench.line.fetch("d")
            assert {p: r.value for p, r in readings.items()} == {"a": 7, "b": 2}
            assert all(r.at.mono > now for r in readings.values())
            assert last(bench, "d", "a")[0] == 7
            things["d"].refuses = {"b": 2}
            mixed = await bench.line.fetch("d")
            assert mixed["a"].value == 7
            assert mixed["b"][:5] == (None, None, "bar", Quality.BAD, Reason.REFUSED)
            with pytest.raises(DeviceRefused):
                await bench.line.fetch("d", ("b",))
            things["d"].silent = True
            with pytest.raises(DeviceSilent):
                await bench.line.fetch("d")
            wire.cut = True
            with pytest.raises(LineDown):
                await bench.line.fetch("d", ("a",))
            await asyncio.sleep(1)
            with pytest.raises(LineDown):
                await bench.line.order("d", "a", 1)

    virtual_time.run(main())


@pytest.mark.parametrize("cut", [False, True])
def test_a_read_that_is_asked_for_before_the_line_was_opened_waits_for_it(*, cut: bool) -> None:
    """A round goes on in the first moment of a process; what it asks is not called lost."""

    async def main() -> None:
        wire = bus(1)
        wire.cut = cut
        async with running(wire, virtual_time.clock()) as bench:
            assert not wire.log
            if cut:
                with pytest.raises(LineDown):
                    await bench.line.fetch("d0", ("p",))
            else:
                assert (await bench.line.fetch("d0", ("p",)))["p"].quality is Quality.GOOD

    virtual_time.run(main())


def test_who_waits_for_an_answer_is_told_when_the_line_is_lost() -> None:
    async def main() -> None:
        wire = bus(1)
        async with running(wire, virtual_time.clock()) as bench:
            await asyncio.sleep(5.2)
            wire.things["d0"].delay = 0.2
            loop = asyncio.get_running_loop()
            loop.call_later(0.1, setattr, wire, "cut", True)
            with pytest.raises(LineDown):
                await bench.line.order("d0", "p", 1, loop.time() + 60.0)

    virtual_time.run(main())


def test_a_fetch_of_several_blocks_that_fails_leaves_no_error_behind() -> None:
    async def main() -> None:
        things = {"d": Thing({"a": 1, "b": 2, "c": 3})}
        wire = Wire(things, [block("d", p, every=60.0) for p in "abc"], timing=BUS)
        left: list[dict[str, object]] = []
        async with running(wire, virtual_time.clock()) as bench:
            loop = asyncio.get_running_loop()
            loop.set_exception_handler(lambda _, context: left.append(context))
            await asyncio.sleep(5)
            loop.call_later(0.01, setattr, wire, "cut", True)
            with pytest.raises(LineDown):
                await bench.line.fetch("d")
            asked = len(wire.log)
            await bench.until(lambda: not bench.line_health[-1])
            assert len(wire.log) == asked
        gc.collect()
        assert left == []

    virtual_time.run(main())


def test_readers_are_bounded() -> None:
    async def main() -> None:
        wire = bus(1)
        errors: list[str] = []
        async with running(wire, virtual_time.clock()) as bench:
            await asyncio.sleep(5)

            async def read() -> None:
                try:
                    await bench.line.fetch("d0")
                except DeviceError as error:
                    errors.append(str(error))

            async with asyncio.TaskGroup() as group:
                for number in range(100):
                    group.create_task(read(), name=f"reader {number}")
        assert errors == ["too many reads wait for this line"] * 36

    virtual_time.run(main())


# ---- several in flight, waiting, ending -----------------------------------------------------------------


@pytest.mark.parametrize("in_flight", [1, 4])
def test_never_more_in_flight_than_the_line_allows(in_flight: int) -> None:
    async def main() -> None:
        wire = bus(12, in_flight=in_flight, every=0.2)
        async with running(wire, virtual_time.clock()) as bench:
            await asyncio.sleep(30)
            assert wire.most_in_flight == in_flight
            if in_flight > 1:
                assert all(last(bench, name)[1] is Quality.GOOD for name in wire.things)
            per_second = len(wire.log) / 30
            assert per_second == pytest.approx(min(60, in_flight / 0.06), rel=0.1)

    virtual_time.run(main())


def test_a_full_inbox_makes_the_line_wait_and_loses_nothing() -> None:
    async def main() -> None:
        wire = bus(1)
        async with running(wire, virtual_time.clock()) as bench:
            await asyncio.sleep(5)
            bench.room.clear()
            wire.things["d0"].values["p"] = 2
            await asyncio.sleep(10)
            asked = len(wire.log)
            await asyncio.sleep(10)
            assert len(wire.log) == asked
            bench.room.set()
            await asyncio.sleep(2)
            assert bench.answers[-1].readings["p"].value == 2
            assert len(wire.log) > asked

    virtual_time.run(main())


def test_a_line_with_nothing_to_do_still_beats() -> None:
    async def main() -> None:
        wire = bus(1, every=3600.0)
        async with running(wire, virtual_time.clock()) as bench:
            loop = asyncio.get_running_loop()
            for _ in range(100):
                await asyncio.sleep(1.7)
                assert loop.time() - bench.line.beat <= 5.1
            wire.cut = True
            for _ in range(100):
                await asyncio.sleep(1.7)
                assert loop.time() - bench.line.beat <= 5.1

    virtual_time.run(main())


@pytest.mark.parametrize("in_flight", [1, 3])
async def test_cancelling_ends_a_line_within_a_second_even_in_a_silent_read(in_flight: int) -> None:
    wire = bus(2, in_flight=in_flight)
    wire.things["d0"].hangs = wire.things["d1"].hangs = True
    loop = asyncio.get_running_loop()
    async with running(wire, Clock()) as bench:
        await bench.until(lambda: wire.most_in_flight == min(in_flight, 2), within=5)
        began = loop.time()
    assert loop.time() - began < 1.0
    assert wire.closed == 1
    with pytest.raises(LineDown):
        await bench.line.order("d0", "p", 1)


async def test_the_first_value_is_published_at_once_in_real_time() -> None:
    wire = bus(10, wire=0.002)
    async with running(wire, Clock()) as bench:
        began = bench.clock.now().mono
        await bench.until(lambda: len(bench.messages) == 10, within=5)
        assert bench.messages[0].at.mono - began <= 0.5
        assert all(message.full for message in bench.messages)
        assert [type(item) for item in bench.inputs[:2]] == [LineHealth, DeviceHealth]


def test_nothing_old_stays_good_while_the_line_waits_for_long() -> None:
    """A neighbour that may take 10 s to answer takes as long to be missed; what is older than three periods is BAD."""

    async def main() -> None:
        blocks = [block("quick", "p", every=0.5), block("slow", "p", every=30.0)]
        wire = Wire({name: Thing({"p": 1}) for name in ("quick", "slow")}, blocks, timing=Timing(10.0, 10.0))
        async with running(wire, virtual_time.clock()) as bench:
            await bench.until(lambda: bench.told().keys() == {"quick", "slow"}, within=5)
            wire.things["slow"].silent = True
            loop = asyncio.get_running_loop()
            await bench.until(lambda: last(bench, "quick") == (None, Quality.BAD, Reason.SILENT), within=60)
            asked = wire.asked("quick")[-1]
            assert asked.at + 1.5 <= loop.time() <= asked.at + asked.took + 1.5 + 0.3
            await bench.until(lambda: last(bench, "quick") == (1, Quality.GOOD, None), within=15)

    virtual_time.run(main())


@pytest.mark.parametrize("turns", range(8))
async def test_a_stop_in_the_moment_of_a_loss_is_a_stop(turns: int) -> None:
    """The group of the requests under way must not take it for its own: the line would be opened anew, for ever."""
    wire = bus(3, in_flight=3)
    async with running(wire, Clock()) as bench:
        pass  # a bench that is over; its line is run by hand
    for thing in wire.things.values():
        thing.hangs = True
    loop = asyncio.get_running_loop()
    failing: asyncio.Future[bytes] = loop.create_future()
    asked: list[str] = []

    async def read(block: Block, timeout: float) -> bytes:
        del timeout
        asked.append(block.device)
        return await failing if block.device == "d0" else await loop.create_future()

    wire.read = read  # type: ignore[method-assign]
    opened = wire.opened
    ended = asyncio.Event()

    async def run() -> None:
        try:
            await bench.line.run()
        finally:
            ended.set()

    async with asyncio.TaskGroup() as group:
        task = group.create_task(run(), name="line")
        await bench.until(lambda: len(asked) == 3, within=5)
        failing.set_exception(LineDown("connection lost"))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with suppress(TimeoutError):
            async with asyncio.timeout(0.4):
                await ended.wait()
        stopped = ended.is_set()
        task.cancel()  # so that the test ends, whatever happened
    assert stopped
    assert wire.opened == opened + 1

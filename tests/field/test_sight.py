"""A refusal is not life: who refuses an alarm point is told blind, and asked again as often as it may help."""

import asyncio

import pytest

from gateway.field.sight import BLIND_AFTER_S
from gateway.model import DeviceBlind, Lane, Quality, Reason
from tests import virtual_time
from tests.field.bench import Bench, running
from tests.field.test_lines import BUS, block, last
from tests.field.wire import Thing, Wire

WITHIN = 100.0
"""Any cause of a fault is told within so many seconds."""


def blindness(bench: Bench) -> list[bool]:
    return [item.blind for item in bench.of(DeviceBlind)]


def detector(**refuses: int) -> Wire:
    """One device with a point that carries its fire and another one, each a read of its own."""
    thing = Thing({"smoke": 0, "heat": 20}, delay=0.01, refuses=dict(refuses))
    blocks = [block("d", "smoke", lane=Lane.ALARM), block("d", "heat", every=10.0)]
    return Wire({"d": thing}, blocks, timing=BUS)


@pytest.mark.parametrize("code", [1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 99])
def test_an_alarm_point_that_is_refused_is_told_within_100_seconds(code: int) -> None:
    async def main() -> None:
        wire = detector(smoke=code)
        async with running(wire, virtual_time.clock(), watched={"d": frozenset({"smoke"})}) as bench:
            await asyncio.sleep(BLIND_AFTER_S - 2.0)
            assert blindness(bench) == [], "it may still be starting"
            await bench.until(lambda: blindness(bench) == [True], within=WITHIN - BLIND_AFTER_S + 2.5)
            told = bench.of(DeviceBlind)[0]
            assert "smoke" in told.detail
            assert str(code) in told.detail
            wire.things["d"].refuses = {}
            await bench.until(lambda: blindness(bench) == [True, False], within=6.0)
            assert last(bench, "d", "smoke") == (0, Quality.GOOD, None)

    virtual_time.run(main())


@pytest.mark.parametrize("code", [10, 11])
def test_a_converter_that_refuses_everything_leaves_the_device_silent_and_blind(code: int) -> None:
    async def main() -> None:
        wire = detector(smoke=code, heat=code)
        async with running(wire, virtual_time.clock(), watched={"d": frozenset({"smoke"})}) as bench:
            await bench.until(lambda: bench.device_health == [("d", False)], within=20.0)
            await bench.until(lambda: blindness(bench) == [True], within=WITHIN)

    virtual_time.run(main())


def test_who_is_just_silent_is_told_silent_and_not_blind_besides() -> None:
    async def main() -> None:
        wire = detector()
        async with running(wire, virtual_time.clock(), watched={"d": frozenset({"smoke"})}) as bench:
            await bench.until(lambda: blindness(bench) == [False], within=5.0)
            wire.things["d"].silent = True
            await asyncio.sleep(300.0)
            assert bench.device_health[-1] == ("d", False)
            assert blindness(bench) == [False]

    virtual_time.run(main())


def test_an_alarm_point_that_is_left_without_an_answer_while_the_device_lives_is_blind() -> None:
    async def main() -> None:
        wire = detector()
        async with running(wire, virtual_time.clock(), watched={"d": frozenset({"smoke"})}) as bench:
            await bench.until(lambda: blindness(bench) == [False], within=5.0)
            wire.things["d"].deaf_to = frozenset({"smoke"})
            await bench.until(lambda: blindness(bench) == [False, True], within=WITHIN + 5.0)
            assert bench.device_health == [("d", True)]

    virtual_time.run(main())


def test_what_no_alarm_hangs_on_blinds_nobody() -> None:
    async def main() -> None:
        wire = detector(heat=2)
        async with running(wire, virtual_time.clock(), watched={"d": frozenset({"smoke"})}) as bench:
            await asyncio.sleep(300.0)
            assert blindness(bench) == [False]

    virtual_time.run(main())


@pytest.mark.parametrize("code", [2, 4, 5, 6])
@pytest.mark.parametrize("away", [0.0, 20.0], ids=["unseen", "seen"])
def test_a_fire_after_a_restart_of_the_unit_is_seen_within_5_seconds(code: int, away: float) -> None:
    """The unit is away, then refuses for 40 s while it starts; `unseen`: too short for a read to be missed."""

    async def main() -> None:
        wire = detector()
        thing = wire.things["d"]
        async with running(wire, virtual_time.clock(), watched={"d": frozenset({"smoke"})}) as bench:
            await bench.until(lambda: bench.told().get("d", {}).keys() == {"smoke", "heat"}, within=5.0)
            thing.silent = away > 0
            await asyncio.sleep(away)
            thing.refuses = dict.fromkeys(thing.values, code)
            thing.silent = False
            await bench.until(lambda: last(bench, "d", "smoke")[2] is Reason.REFUSED, within=46.0)
            began = bench.clock.now().mono
            await asyncio.sleep(40.0)
            asked = wire.asked("d", since=began)
            assert 35 <= len([one for one in asked if "smoke" in one.points]) <= 45, "each second"
            thing.refuses, thing.values["smoke"] = {}, 1
            await bench.until(lambda: last(bench, "d", "smoke") == (1, Quality.GOOD, None), within=5.0)
            assert bench.device_health[-1] == ("d", True)
            assert blindness(bench) == [False]

    virtual_time.run(main())


def test_a_device_that_comes_back_with_refusals_alone_is_not_said_to_answer() -> None:
    async def main() -> None:
        wire = detector()
        thing = wire.things["d"]
        async with running(wire, virtual_time.clock(), watched={"d": frozenset({"smoke"})}) as bench:
            await bench.until(lambda: bench.device_health == [("d", True)], within=5.0)
            thing.silent = True
            await bench.until(lambda: bench.device_health[-1] == ("d", False), within=20.0)
            thing.silent, thing.refuses = False, {"smoke": 6, "heat": 6}
            await asyncio.sleep(90.0)
            assert bench.device_health[-1] == ("d", False)

    virtual_time.run(main())


def test_many_refused_points_cost_one_request_a_second() -> None:
    async def main() -> None:
        points = tuple(f"p{n}" for n in range(40))
        thing = Thing(dict.fromkeys(points, 1), refuses=dict.fromkeys(points, 2))
        wire = Wire({"d": thing}, [block("d", *points, lane=Lane.ALARM)], timing=BUS)
        async with running(wire, virtual_time.clock()) as bench:
            await asyncio.sleep(10.0)
            since = bench.clock.now().mono
            await asyncio.sleep(40.0)
            assert len(wire.asked("d", since=since)) <= 42
            thing.refuses = {}
            await bench.until(lambda: last(bench, "d", "p39")[1] is Quality.GOOD, within=2.5)

    virtual_time.run(main())


def test_an_alarm_that_stood_before_a_start_ends_with_the_first_sight() -> None:
    """What stands from before is ended by a word, not by the absence of one."""

    async def main() -> None:
        async with running(detector(), virtual_time.clock(), watched={"d": frozenset({"smoke"})}) as bench:
            await bench.until(lambda: blindness(bench) == [False], within=2.0)

    virtual_time.run(main())

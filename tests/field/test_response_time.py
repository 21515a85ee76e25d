from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.modbus.line import ModbusPoller
from drivers.modbus.settings import LineSettings, ModbusDevice, ModbusPoint
from gateway.field.response_time import BlockLoad, DeviceLoad, LineLoad, PointLoad, analyse, load_of
from gateway.model import Lane

CLEAN = DeviceLoad(latency=0.0, ceiling=1.0)


def detector(number: int, *, every: float = 1.0, wire: float = 0.02, confirm: int = 2) -> BlockLoad:
    name = f"d{number}"
    return BlockLoad(name, Lane.ALARM, every, wire, (PointLoad(f"{name}.smoke", confirm, wire),))


def line(*blocks: BlockLoad, device: DeviceLoad = CLEAN, turn: float = 0.0, host: float = 0.05) -> LineLoad:
    return LineLoad("fire-loop", blocks, {b.device: device for b in blocks}, turn=turn, host=host)


# ---- figures that can be worked out by hand ---------------------------------------------------------------


def test_one_detector_alone() -> None:
    """A period, a read, the allowance; a request under way, the confirm read, the allowance again."""
    bound = analyse(line(detector(1)))

    (alarm,) = bound.alarms
    assert alarm.point == "d1.smoke"
    assert alarm.worst == pytest.approx(1.0 + 0.02 + 0.05 + 0.02 + 0.02 + 0.05)
    assert alarm.worst_one_dead == alarm.worst, "there is no other device that could die"
    assert bound.utilisation == bound.wire == pytest.approx(0.02)
    assert bound.requests_per_s == 1.0
    assert bound.late == ()


def test_neighbours_in_file_are_ahead_of_it_each_time_and_one_confirms() -> None:
    (first, *_) = analyse(line(*(detector(n) for n in range(8)))).alarms

    refused_before = 0.02
    assert first.worst == pytest.approx(1.0 + 0.02 + refused_before + 0.02 + (0.05 + 0.02 + 0.02) + 0.05)


def test_neighbours_of_other_periods_are_read_once_before_it() -> None:
    (first, *_) = analyse(line(detector(0), *(detector(n, every=2.0) for n in range(1, 8)))).alarms

    assert first.worst == pytest.approx(0.02 + 1.0 + 8 * 0.02 + 0.02 + (0.05 + 0.02 + 0.02) + 0.05)


def test_who_does_not_fit_into_one_period_is_not_in_file() -> None:
    (first, *_) = analyse(line(*(detector(n, confirm=1) for n in range(51)))).alarms

    assert first.worst == pytest.approx(0.02 + 1.0 + 51 * 0.02 + 0.05)


def test_a_long_read_of_the_normal_lane_blocks_once_for_each_read() -> None:
    meter = BlockLoad("m", Lane.NORMAL, 10.0, 0.2)
    (alarm,) = analyse(line(detector(1), meter)).alarms

    assert alarm.worst == pytest.approx(1.0 + 0.2 + 0.02 + (0.05 + 0.2 + 0.02) + 0.05)


def test_an_alarm_that_needs_no_confirmation_waits_for_none() -> None:
    (alarm,) = analyse(line(detector(1, confirm=1))).alarms

    assert alarm.worst == pytest.approx(1.0 + 0.02 + 0.05)


def test_latency_and_turns_are_part_of_each_request() -> None:
    (alarm,) = analyse(line(detector(1, confirm=1), device=DeviceLoad(0.03), turn=0.001)).alarms

    assert alarm.worst == pytest.approx(1.0 + (0.02 + 0.03 + 0.001) + 0.05)


def test_those_ahead_in_file_may_have_answered_at_once_the_last_time() -> None:
    file = line(*(detector(n, confirm=1) for n in range(8)), device=DeviceLoad(0.03), turn=0.001)
    cost, varies = 0.051, 0.031

    assert analyse(file).alarms[0].worst == pytest.approx(1.0 + 7 * varies + cost + cost + 0.05)


def test_a_dead_neighbour_costs_its_time_out_before_the_read_and_before_the_confirm_read() -> None:
    alarm, dead = analyse(line(detector(1), detector(2))).alarms[0], 1.0 + 3 * 0.02
    otherwise = 0.02 + 1.0 + 2 * 0.02 + 0.02 + (0.05 + 0.02 + 0.02) + 0.05

    assert alarm.worst_one_dead == pytest.approx(otherwise + 2 * dead)


def test_a_dead_neighbour_with_two_blocks_costs_no_more_than_its_three_misses() -> None:
    twice = BlockLoad("d2", Lane.ALARM, 1.0, 0.02)
    alarm = analyse(line(detector(1), twice, twice)).alarms[0]

    otherwise = 0.02 + 1.0 + 3 * 0.02 + (0.05 + 0.02 + 0.02) + 0.05
    assert alarm.worst_one_dead == pytest.approx(otherwise + 3 * (1.0 + 3 * 0.02))


def test_too_much_for_the_line_is_late_but_bounded_in_the_alarm_lane() -> None:
    """Earliest deadline first, and skipped turns: no detector starves."""
    load = line(*(detector(n, wire=0.046) for n in range(32)), BlockLoad("m", Lane.NORMAL, 1.0, 0.02))
    bound = analyse(load)

    assert bound.shares[Lane.ALARM] == pytest.approx(32 * 0.046)
    assert bound.late == load.blocks
    assert all(alarm.worst < 1.0 + 33 * 0.046 + 0.3 for alarm in bound.alarms)


def test_behind_a_full_alarm_lane_the_normal_lane_lives_on_its_share() -> None:
    """A turn a second, after the request under way, and the period that was just missed."""
    tank = BlockLoad("t", Lane.NORMAL, 10.0, 0.02, (PointLoad("t.level", 1, 0.02),))
    bound = analyse(line(*(detector(n, wire=0.046) for n in range(32)), tank))

    assert bound.alarms[-1].worst == pytest.approx(10.0 + 1.0 + 0.046 + 0.02 + 0.05, abs=0.1)
    assert bound.silent_told["t"] < 100
    assert max(told for device, told in bound.silent_told.items() if device != "t") < 20


def test_the_share_of_the_normal_lane_is_one_part_in_twenty() -> None:
    """A full alarm lane, with and without meters behind it."""
    detectors = tuple(detector(n, wire=0.1, confirm=1) for n in range(20))
    meters = tuple(BlockLoad(f"m{n}", Lane.NORMAL, 10.0, 0.2) for n in range(10))
    alone, behind = analyse(line(*detectors)).alarms[0], analyse(line(*detectors, *meters)).alarms[0]

    assert 0.2 <= behind.worst - alone.worst <= 0.2 + alone.worst / 19 + 0.2


def test_a_dead_device_of_the_normal_lane_is_waited_for_once() -> None:
    meter = BlockLoad("m", Lane.NORMAL, 10.0, 0.02)
    alarm = analyse(line(detector(1, confirm=1), meter)).alarms[0]

    assert alarm.worst_one_dead == pytest.approx(0.02 + alarm.worst + 1.0 + 3 * 0.02, abs=0.03)


def test_a_device_with_a_long_period_is_asked_for_its_life() -> None:
    bound = analyse(line(BlockLoad("t", Lane.NORMAL, 3600.0, 0.02)))

    assert bound.requests_per_s == 1 / 20
    assert bound.silent_told["t"] < 20 + 3 + 3 + 3 * 1.2


def test_nothing_on_a_line() -> None:
    bound = analyse(line())

    assert (bound.utilisation, bound.requests_per_s, bound.alarms, bound.late) == (0.0, 0.0, (), ())


blocks = st.builds(
    lambda device, lane, every, wire: BlockLoad(
        f"d{device}", lane, every, wire, (PointLoad(f"d{device}.{every}.{wire}", 2, wire),)
    ),
    st.integers(0, 9),
    st.sampled_from((Lane.ALARM, Lane.NORMAL)),
    st.floats(0.05, 60.0),
    st.floats(0.0005, 0.5),
)


@given(st.lists(blocks, max_size=30))
def test_it_always_ends_and_one_dead_device_never_helps(found: list[BlockLoad]) -> None:
    bound = analyse(line(*found))

    assert len(bound.alarms) == len(found)
    for block, alarm in zip(found, bound.alarms, strict=True):
        assert min(block.every, 20.0) <= alarm.worst <= alarm.worst_one_dead


@given(st.lists(blocks, min_size=1, max_size=20), st.integers(0, 19))
def test_a_slower_line_promises_no_more(found: list[BlockLoad], which: int) -> None:
    """Longer frames anywhere never make a bound shorter."""
    slow = list(found)
    block = slow[which % len(slow)]
    slow[which % len(slow)] = replace(block, wire=block.wire * 1.5)
    before, after = analyse(line(*found)), analyse(line(*slow))

    assert all(b.worst <= a.worst + 1e-9 for b, a in zip(before.alarms, after.alarms, strict=True))


# ---- from a driver ----------------------------------------------------------------------------------------


def bus(baudrate: int, count: int, *, timeout: float = 1.0) -> LineLoad:
    smoke = ModbusPoint(name="smoke", table="holding", address=3, every=1.0, lane=Lane.ALARM)
    level = ModbusPoint(name="level", table="holding", address=90, every=10.0)
    devices = tuple(
        ModbusDevice(id=f"d{n}", unit=n, points=(smoke, level), timeout=timeout) for n in range(1, count + 1)
    )
    poller = ModbusPoller(LineSettings(name="fire-loop", serial="/dev/rs485", baudrate=baudrate, devices=devices))
    confirm = {f"d{n}.smoke": 2 for n in range(1, count + 1)}
    return load_of("fire-loop", poller, confirm, {f"d{n}": 0.005 for n in range(1, count + 1)})


def test_the_load_of_a_modbus_bus() -> None:
    load = bus(9600, 2)

    assert {block.lane for block in load.blocks} == {Lane.ALARM, Lane.NORMAL}
    alarm = next(block for block in load.blocks if block.lane is Lane.ALARM)
    assert alarm.wire == pytest.approx((8 + 7) * 10 / 9600 + 2 * 35 / 9600)
    again = alarm.wire + 2 * 2 * 10 / 9600  # a confirming read has another shape: two registers more
    assert alarm.points == (PointLoad("d1.smoke", 2, pytest.approx(again)),)  # type: ignore[arg-type]
    assert load.devices["d2"] == DeviceLoad(0.005, 1.0, 0.05)
    assert [found.point for found in analyse(load).alarms] == ["d1.smoke", "d2.smoke"]

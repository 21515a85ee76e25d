from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.modbus.blocks import Span, narrow, plan
from drivers.modbus.settings import LineSettings, ModbusDevice, ModbusPoint, ModbusTable
from drivers.modbus.wiretime import WireTime
from gateway.model import Lane

TCP = WireTime.of(LineSettings(name="l", host="h"))
BUS = WireTime.of(LineSettings(name="l", serial="/dev/ttyS0", baudrate=9600))
DEVICE = ModbusDevice(id="d")
TYPES = ("uint16", "int32", "float64", "text:9")


def register(address: int, kind: str = "uint16", **keys: object) -> ModbusPoint:
    return ModbusPoint(name=f"r{address}-{kind}", table="holding", address=address, type=kind, **keys)  # type: ignore[arg-type]


@st.composite
def points(draw: st.DrawFn) -> tuple[ModbusPoint, ...]:
    tables: list[ModbusTable] = ["coil", "discrete", "input", "holding"]
    table = st.sampled_from(tables)
    wanted = draw(st.lists(st.tuples(table, st.integers(0, 400) | st.integers(65000, 65526)), max_size=30))
    return tuple(
        ModbusPoint(
            name=f"p{number}",
            table=where,
            address=address,
            type=None if where in ("coil", "discrete") else draw(st.sampled_from(TYPES)),
            every=draw(st.sampled_from([1.0, 10.0])),
            lane=draw(st.sampled_from([Lane.ALARM, Lane.NORMAL])),
        )
        for number, (where, address) in enumerate(wanted)
    )


limits = st.builds(
    lambda registers, bits, gap: ModbusDevice(id="d", max_registers=registers, max_bits=bits, max_gap=gap),
    st.sampled_from([5, 10, 32, 125]),
    st.sampled_from([1, 16, 2000]),
    st.sampled_from([None, 0, 3, 125]),
)
times = st.sampled_from([TCP, BUS, WireTime.of(LineSettings(name="l", serial="/dev/x", baudrate=115200))])


def cost(spans: list[Span], time: WireTime) -> float:
    return sum(time.cost(span.length, bits=span.points[0].is_bit) / span.every for span in spans)


@given(points(), limits, times)
def test_every_point_once_within_all_limits(
    wanted: tuple[ModbusPoint, ...], device: ModbusDevice, time: WireTime
) -> None:
    spans = plan(device, wanted, time, longest=0.1)
    assert sorted(point.name for span in spans for point in span.points) == sorted(point.name for point in wanted)
    for span in spans:
        first = min(span.points, key=lambda point: (point.address, -point.count))
        last = max(point.address + point.count for point in span.points)
        assert span.start == first.address
        assert span.start + span.length == last <= 0x10000
        assert span.length <= (device.max_bits if first.is_bit else device.max_registers)
        assert all(point.table == span.table for point in span.points)
        assert all(point.every >= span.every and point.lane >= span.lane for point in span.points)
        if device.max_gap is not None:
            reach = span.start
            for point in sorted(span.points, key=lambda point: point.address):
                assert point.address - reach <= device.max_gap
                reach = max(reach, point.address + point.count)
        if time.bus and span.lane == Lane.NORMAL and len({(point.address, point.count) for point in span.points}) > 1:
            alone = max(time.read(point.count, bits=point.is_bit) for point in span.points)
            assert time.read(span.length, bits=first.is_bit) <= max(0.1, alone)


@given(points(), limits, times)
def test_never_dearer_than_one_request_per_point(
    wanted: tuple[ModbusPoint, ...], device: ModbusDevice, time: WireTime
) -> None:
    singly = sum(time.cost(point.count, bits=point.is_bit) / point.every for point in wanted)
    assert cost(plan(device, wanted, time), time) <= singly * (1 + 1e-9)


@given(points(), limits, times, st.randoms(use_true_random=False))
def test_the_order_of_the_points_does_not_matter(
    wanted: tuple[ModbusPoint, ...], device: ModbusDevice, time: WireTime, random: Random
) -> None:
    shuffled = random.sample(wanted, len(wanted))
    once, again = plan(device, wanted, time), plan(device, shuffled, time)
    assert [span[:3] for span in once] == [span[:3] for span in again]
    assert plan(device, wanted, time) == once


@given(points(), limits, times)
def test_planning_the_plan_again_changes_nothing(
    wanted: tuple[ModbusPoint, ...], device: ModbusDevice, time: WireTime
) -> None:
    once = plan(device, wanted, time)
    again = plan(device, [point for span in once for point in span.points], time)
    assert {span[:3] for span in again} == {span[:3] for span in once}


@given(points(), times)
def test_narrowing_ends_at_single_addresses_and_loses_nothing(wanted: tuple[ModbusPoint, ...], time: WireTime) -> None:
    for span in plan(ModbusDevice(id="d"), wanted, time):
        left, singles = [span], []
        while left:
            one = left.pop()
            smaller = narrow(DEVICE, one)
            assert not smaller or all(len(part.points) < len(one.points) for part in smaller)
            left += smaller
            singles += [] if smaller else [one]
        assert sorted(point.name for one in singles for point in one.points) == sorted(p.name for p in span.points)
        assert all(len({(point.address, point.count) for point in one.points}) == 1 for one in singles)


@settings(max_examples=25)
@given(st.integers(0, 2**32))
def test_500_points_over_1800_registers_take_15_requests_on_tcp(seed: int) -> None:
    random = Random(seed)  # noqa: S311
    base = random.randrange(60000)
    kinds = random.choice([["uint16"], ["uint16", "float32"], ["int32"]])
    chosen = [random.choice(kinds) for _ in range(500)]
    free = 1800 - sum(2 if kind != "uint16" else 1 for kind in chosen)
    gaps = sorted(random.randrange(free + 1) for _ in chosen)
    wanted, used = [], 0
    for kind, gap in zip(chosen, gaps, strict=True):
        wanted.append(register(base + gap + used, kind, every=random.choice([1.0, 10.0])))
        used += wanted[-1].count
    assert len(plan(ModbusDevice(id="d"), wanted, TCP)) <= 15


def test_a_gap_is_read_through_while_that_is_cheaper_than_a_request() -> None:
    # 13 bytes and two silences of 3.5 characters are 20 characters: ten registers.
    assert len(plan(ModbusDevice(id="d"), [register(0), register(11)], BUS)) == 1
    assert len(plan(ModbusDevice(id="d"), [register(0), register(12)], BUS)) == 2


def test_a_device_with_long_silences_is_read_through_wider_gaps() -> None:
    assert len(plan(ModbusDevice(id="d", silence=0.02), [register(0), register(18)], BUS)) == 1


def test_a_slow_point_inside_a_fast_read_rides_along() -> None:
    wanted = [register(0, every=1.0), register(4, every=1.0), register(2, every=60.0)]
    (span,) = plan(ModbusDevice(id="d"), wanted, BUS)
    assert (span.start, span.length, span.every) == (0, 5, 1.0)


def test_a_slow_point_far_off_is_read_at_its_own_pace() -> None:
    spans = plan(ModbusDevice(id="d"), [register(0, every=1.0), register(8, every=60.0)], BUS)
    assert [(span.start, span.every) for span in spans] == [(0, 1.0), (8, 60.0)]


def test_on_a_bus_an_alarm_read_grows_for_nobody_but_carries_what_lies_inside() -> None:
    wanted = [register(0, lane=Lane.ALARM), register(2, lane=Lane.ALARM), register(1), register(3)]
    spans = plan(ModbusDevice(id="d"), wanted, BUS)
    assert [(span.start, span.length, span.lane) for span in spans] == [(0, 3, Lane.ALARM), (3, 1, Lane.NORMAL)]


def test_long_normal_reads_are_cut_where_something_is_urgent() -> None:
    wanted = [register(address) for address in range(125)]
    assert len(plan(ModbusDevice(id="d"), wanted, BUS)) == 1
    cut = plan(ModbusDevice(id="d"), wanted, BUS, longest=0.2)
    assert len(cut) == 2
    assert all(BUS.read(span.length, bits=False) <= 0.2 for span in cut)


def test_narrowing_halves() -> None:
    (span,) = plan(ModbusDevice(id="d"), [register(address) for address in range(8)], TCP)
    assert [(part.start, part.length) for part in narrow(DEVICE, span)] == [(0, 4), (4, 4)]


def test_bits_of_one_register_cannot_be_narrowed() -> None:
    bits = [ModbusPoint(name=f"b{bit}", table="holding", address=7, bit=bit) for bit in range(16)]
    (span,) = plan(ModbusDevice(id="d"), bits, TCP)
    assert narrow(DEVICE, span) == []


def inputs(*addresses: int, fixed: int = 8) -> ModbusDevice:
    found = tuple(ModbusPoint(name=f"di{at}", table="discrete", address=at) for at in addresses)
    return ModbusDevice(id="d", points=found, fixed_bits=fixed)


@pytest.mark.parametrize("time", [TCP, BUS])
def test_a_device_that_answers_only_eight_inputs_is_always_asked_for_eight(time: WireTime) -> None:
    device = inputs(*range(1, 9))
    for wanted in (device.points, device.points[4:5], device.points[6:]):
        (span,) = plan(device, wanted, time)
        assert (span.start, span.length, span.points) == (1, 8, wanted)
        assert narrow(device, span) == []


def test_a_second_group_of_eight_is_a_request_of_its_own() -> None:
    device = inputs(0, 3, 8, 12)
    assert [(span.start, span.length, len(span.points)) for span in plan(device, device.points, TCP)] == [
        (0, 8, 2),
        (8, 8, 2),
    ]


def test_both_halves_of_a_wide_value_are_in_one_read() -> None:
    device = ModbusDevice(id="d", max_registers=3)
    spans = plan(device, [register(0, "int32"), register(2, "float32"), register(4, "int32")], BUS)
    assert [(span.start, span.length) for span in spans] == [(0, 2), (2, 2), (4, 2)]


@pytest.mark.parametrize("time", [TCP, BUS])
def test_points_without_gaps_are_one_read(time: WireTime) -> None:
    spans = plan(ModbusDevice(id="d"), [register(address) for address in range(25)], time)
    assert [(span.start, span.length) for span in spans] == [(0, 25)]
    assert all(a.start < b.start for a, b in pairwise(spans))

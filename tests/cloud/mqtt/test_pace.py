"""How much may be under way: what a link of some speed teaches."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cloud.mqtt.pace import UNKNOWN_BYTES_PER_S, Pace


def carry(pace: Pace, speed: float, delay: float, sizes: list[int], now: float = 0.0) -> float:
    """Send one after the other over a link of this speed; the time afterwards."""
    for size in sizes:
        stamp = pace.sent(now)
        now += size / speed + delay
        pace.answered(stamp, size, now)
    return now


@given(st.floats(300, 1e6), st.floats(0, 0.5), st.lists(st.integers(500, 100_000), min_size=1, max_size=20))
def test_the_speed_is_found_whatever_the_round_trip(speed: float, delay: float, sizes: list[int]) -> None:
    pace = Pace()
    pace.connected(48, 0.0)
    pace.measured(delay)
    carry(pace, speed, delay, sizes)
    assert pace.speed == pytest.approx(speed, rel=0.05)
    assert pace.cost(1000) == pytest.approx(1000 / speed, rel=0.05)


@given(st.floats(300, 1e5), st.integers(500, 200_000))
def test_what_the_link_carries_at_its_speed_is_not_taken_for_dead(speed: float, size: int) -> None:
    pace = Pace()
    pace.connected(48, 0.0)
    now = carry(pace, speed, 0.0, [700] * 5)
    stamp = pace.sent(now)
    assert pace.dead_at(stamp, size, 9.0) > now + size / speed


def test_a_link_that_became_slower_is_found_after_few_deaths_and_remembered() -> None:
    pace = Pace()
    pace.connected(48, 0.0)
    now = carry(pace, 100_000, 0.0, [700] * 20)
    deaths = 0
    while pace.dead_at(pace.sent(now), 50_000, 9.0) < now + 50_000 / 1000:
        deaths += 1
        pace.died(now, 10.0)
        pace.connected(48, now)
    assert deaths <= 3


def test_slow_answers_halve_the_window_and_quick_ones_open_it() -> None:
    pace = Pace()
    pace.connected(48, 0.0)
    assert pace.window == 16
    now = carry(pace, 1e6, 0.01, [700] * 100)
    assert pace.window == 48
    carry(pace, 1e6, 3.0, [700] * 3, now)
    assert pace.window == 6


def test_nothing_known() -> None:
    pace = Pace()
    pace.connected(48, 0.0)
    assert pace.speed is None
    assert pace.within(1.0) == UNKNOWN_BYTES_PER_S


@given(st.floats(0.5, 500), st.integers(2, 50))
def test_the_rate_is_never_exceeded(rate: float, count: int) -> None:
    pace = Pace(rate)
    pace.connected(48, 0.0)
    now, sent = 0.0, list[float]()
    for _ in range(count):
        now = max(now, pace.next_at(alarm=True))
        pace.sent(now)
        sent.append(now)
    assert sent[-1] - sent[0] >= (count - 1) / rate * 0.999

"""Trends: hand-made series, and simulated years of points that are well and of points that are not.

Ten years of a hundred points: `tests/benchmarks/test_trends.py`.
"""

import math
import random
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.site.trends import KEPT, Sample, Way, trend, z_of

DAY = 86400.0
START = 1_790_000_000.0
AHEAD = 30 * DAY


def daily(values: Sequence[float]) -> list[Sample]:
    return [(START + day * DAY, value) for day, value in enumerate(values)]


def pressure(rng: random.Random, days: int, fall: float = 0.0) -> Iterator[float]:
    """A hydrant at 0.35 MPa: seasons, weather of some days, the hour's use, a sensor of 1 kPa, a pump set anew."""
    weather, level = 0.0, 0.35 + rng.uniform(-0.03, 0.03)
    phase = rng.uniform(0, 2 * math.pi)
    for day in range(days):
        weather = 0.8 * weather + rng.gauss(0, 0.004)
        if not fall and rng.random() < 1 / 180:
            level = 0.35 + rng.uniform(-0.05, 0.05)
        season = 0.02 * math.sin(2 * math.pi * day / 365 + phase)
        use = -rng.expovariate(1 / 0.01) if rng.random() < 0.3 else 0.0
        yield round(level + season + weather + use + rng.gauss(0, 0.003) - fall * day, 3)


def leak(rng: random.Random, days: int, swing: float = 25.0) -> Iterator[float]:
    """A residual current of 80 mA: wet and dry days (`swing` mA each time it rains), seasons, a rare spike."""
    wet, phase = 0.0, rng.uniform(0, 2 * math.pi)
    for day in range(days):
        wet = max(0.0, 0.85 * wet + rng.gauss(0, 4) + (swing if rng.random() < 0.04 else 0))
        spike = rng.uniform(30, 120) if rng.random() < 0.01 else 0.0
        yield round(80 + 25 * math.sin(2 * math.pi * day / 365 + phase) + wet + spike + rng.gauss(0, 3))


def findings(values: Sequence[float], way: Way, limit: float) -> int:
    """How often a trend is told anew over a series, one run a day."""
    samples = daily(values)
    told, count = False, 0
    for end in range(14, len(samples) + 1):
        value = samples[end - 1][1]
        inside = value >= limit if way == "sinking" else value <= limit
        now = inside and trend(samples[max(0, end - KEPT) : end], way, limit, AHEAD) is not None
        count += now and not told
        told = now
    return count


@pytest.mark.parametrize("seed", range(3))
def test_ten_years_of_points_that_are_well_raise_nothing(seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311 - the same years each time
    assert findings([*pressure(rng, 3650)], "sinking", 0.10) == 0
    assert findings([*leak(rng, 3650)], "rising", 300) == 0


def test_a_wet_fortnight_is_no_trend_and_four_weeks_of_it_are_one() -> None:
    """A run of wet days raises 14 values in order; the 28 with them say that it was as wet before."""
    rng = random.Random(3)  # noqa: S311 - the same days each time
    dry = [170.0 - 5 * day + rng.gauss(0, 2) for day in range(14)]
    wet = [100.0 + 9 * day + rng.gauss(0, 2) for day in range(14)]
    assert trend(daily(wet), "rising", 300, AHEAD) is not None  # nothing else is known of a new point
    assert trend(daily(dry + wet), "rising", 300, AHEAD) is None
    on = [100.0 + 6 * day + rng.gauss(0, 2) for day in range(28)]
    assert trend(daily(on), "rising", 300, AHEAD) is not None


@pytest.mark.parametrize("seed", range(20))
def test_a_slow_fall_is_told_ten_days_ahead(seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311 - the same years each time
    values = [*pressure(rng, 60), *pressure(rng, 80, fall=0.005)]
    samples = daily(values)
    beyond = next(day for day, value in enumerate(values) if value < 0.10)
    told = next(
        day
        for day in range(14, len(samples))
        if trend(samples[max(0, day + 1 - KEPT) : day + 1], "sinking", 0.10, AHEAD) is not None
    )
    assert beyond - told >= 10
    assert told >= 60  # not before it began


def test_what_it_says_of_a_clean_fall() -> None:
    rng = random.Random(1)  # noqa: S311 - the same years each time
    samples = daily([0.30 - 0.005 * day + rng.gauss(0, 0.0005) for day in range(30)])
    found = trend(samples, "sinking", 0.10, AHEAD)
    assert found is not None
    assert found.reason == "sinking"
    assert found.slope == pytest.approx(-0.005, abs=1e-4)
    assert found.fast < found.slope < found.slow < 0
    earliest, latest = (found.first - samples[-1][0]) / DAY, (found.last - samples[-1][0]) / DAY
    assert earliest < (0.155 - 0.10) / 0.005 + 0.5
    assert latest > (0.155 - 0.10) / 0.005 - 0.5
    assert latest - earliest < 2


def test_a_rise_goes_to_the_upper_limit() -> None:
    found = trend(daily([100.0 + 5 * day + day % 3 for day in range(20)]), "rising", 300, AHEAD)
    assert found is not None
    assert (found.reason, found.n) == ("rising", 14)


@pytest.mark.parametrize(
    "values",
    [
        [0.3] * 56,
        [0.4] * 28 + [0.2] * 28,  # a step
        [0.35 - 0.02 * (day % 7) for day in range(56)],  # a week, again and again
        [0.3 - 0.005 * day for day in range(13)],  # too few
        [0.30 - 0.0001 * day for day in range(56)],  # far away
    ],
)
def test_no_trend(values: list[float]) -> None:
    assert trend(daily(values), "sinking", 0.10, AHEAD) is None


def test_z_is_that_of_the_definition() -> None:
    rng = random.Random(7)  # noqa: S311 - the same years each time
    for _ in range(50):
        values = [rng.choice([1.0, 2.0, 3.0, 4.5]) + rng.random() * rng.choice([0, 1]) for _ in range(14)]
        n = len(values)
        score = sum((values[j] > values[i]) - (values[j] < values[i]) for i in range(n) for j in range(i + 1, n))
        ties = [values.count(value) for value in set(values)]
        variance = (n * (n - 1) * (2 * n + 5) - sum(t * (t - 1) * (2 * t + 5) for t in ties)) / 18
        expected = (score - (score > 0) + (score < 0)) / math.sqrt(variance)
        assert z_of(values) == pytest.approx(expected)


@given(st.lists(st.tuples(st.floats(0, 1e9), st.floats(-1e6, 1e6)), max_size=KEPT))
def test_any_series_is_judged(samples: list[Sample]) -> None:
    found = trend(sorted(samples), "rising", 100, AHEAD)
    assert found is None or found.first <= found.last

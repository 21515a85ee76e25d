"""Trends: predicts when a value will reach its limit. Pure.

For the last 14, 28 and 56 values: Theil-Sen slope (median of the slopes of all pairs) with Sen's 90 % interval. It is
accepted if the Mann-Kendall test gives |Z| > 3.3, and reported only if even the slow end of the interval reaches the
limit in time. A step, a wet week or one outlier is not a trend; least squares, tried on the same series, reported
10-56 false trends per 100 points and year.

The test assumes independent values, but days are not independent: a wet spell lasts a week, so 14 days hold only three
or four independent values, which are sometimes in order by chance. So the next longer window, with more spells, has
to confirm a window: same direction, limit reached within twice the time. Corrections of Z for autocorrelation (Hamed
and Rao; effective sample size from lag 1) were tried on the same series: from 14 values they find too little of it,
and from earlier values they hide the fall itself.
"""

import math
from bisect import bisect_left, insort
from collections.abc import Sequence
from statistics import median
from typing import Literal, NamedTuple

from gateway.model import DAY_S

KEPT = 56
"""Values that are kept per point."""
_WINDOWS = (14, 28, 56)
_Z = 3.3
_Z_OF_INTERVAL = 1.6449
"""Quantile of the normal distribution for the middle 90 %."""
_BORNE_OUT_FACTOR = 2.0
"""The next longer window must reach the limit within this factor of the time."""

Sample = tuple[float, float]
"""Seconds since 1970, value."""


Way = Literal["sinking", "rising"]


class Trend(NamedTuple):
    """A value that is going to reach its limit."""

    reason: Way
    slope: float
    """Change per day."""
    slow: float
    fast: float
    """Ends of the slope's 90 % interval, the one nearer to zero first."""
    n: int
    first: float
    """The earliest time at which it reaches the limit, seconds since 1970."""
    last: float
    """The latest."""


def trend(samples: Sequence[Sample], way: Way, limit: float, ahead_s: float) -> Trend | None:
    """The trend of the values towards `limit`, if they reach it within `ahead_s` seconds; None: no trend found.

    `samples` are in reading order. Of several windows the one with the earliest end counts.
    """
    sizes = [size for size in _WINDOWS if len(samples) >= size]
    told = [_of_window(samples[-size:], way, limit) for size in sizes]
    end = samples[-1][0] if samples else 0.0

    def is_within(one: Trend | None, seconds: float) -> bool:
        return one is not None and one.last - end <= seconds

    found = [
        one
        for at, one in enumerate(told)
        if one is not None
        and is_within(one, ahead_s)
        and (at + 1 == len(told) or is_within(told[at + 1], _BORNE_OUT_FACTOR * ahead_s))
    ]
    return min(found, key=lambda one: one.last, default=None)


def z_of(values: Sequence[float]) -> float:
    """Z of the Mann-Kendall test, corrected for ties: how unlikely the order in time is by chance."""
    n = len(values)
    score = 0
    before: list[float] = []
    for value in values:
        below = bisect_left(before, value)
        above = len(before) - _after(before, value, below)
        score += below - above
        insort(before, value)
    variance = _variance(before)
    if variance <= 0 or n < 2:
        return 0.0
    return (score - math.copysign(1, score)) / math.sqrt(variance) if score else 0.0


def _of_window(samples: Sequence[Sample], way: Way, limit: float) -> Trend | None:
    """The trend of one window, however far away the limit is; None: the values do not move towards it."""
    sign = -1 if way == "sinking" else 1
    if sign * z_of([value for _, value in samples]) <= _Z:
        return None
    slope, lower, upper = _slopes(samples)
    slow, fast = (upper, lower) if way == "sinking" else (lower, upper)
    if sign * slow <= 0:
        return None
    end = samples[-1][0]
    level = median(value + slope * (end - at) / DAY_S for at, value in samples)
    left = max(0.0, sign * (limit - level))
    latest = left / abs(slow) * DAY_S
    return Trend(way, slope, slow, fast, len(samples), end + left / abs(fast) * DAY_S, end + latest)


def _slopes(samples: Sequence[Sample]) -> tuple[float, float, float]:
    """The median slope per day, and the ends of its 90 % interval (Sen 1968)."""
    slopes = sorted(
        (value - earlier) / (at - before) * DAY_S
        for number, (at, value) in enumerate(samples)
        for before, earlier in samples[:number]
        if at > before
    )
    if not slopes:
        return 0.0, 0.0, 0.0
    values = sorted(value for _, value in samples)
    width = _Z_OF_INTERVAL * math.sqrt(max(0.0, _variance(values)))
    first = max(0, math.floor((len(slopes) - width) / 2))
    last = min(len(slopes) - 1, math.ceil((len(slopes) + width) / 2))
    return median(slopes), slopes[first], slopes[last]


def _variance(ordered: Sequence[float]) -> float:
    """Variance of the Mann-Kendall score without a trend; `ordered` by size, so that ties are adjacent."""
    n = len(ordered)
    total = n * (n - 1) * (2 * n + 5)
    start = 0
    for place in range(1, n + 1):
        if place == n or ordered[place] != ordered[start]:
            tied = place - start
            total -= tied * (tied - 1) * (2 * tied + 5)
            start = place
    return total / 18


def _after(ordered: Sequence[float], value: float, place: int) -> int:
    while place < len(ordered) and ordered[place] == value:
        place += 1
    return place

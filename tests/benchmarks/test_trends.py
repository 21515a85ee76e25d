"""How often a trend is told of a point that is well, over ten simulated years, and how long before a fall ends."""

import random
from statistics import median

from gateway.site.trends import KEPT, trend
from tests.site.test_trends import AHEAD, daily, findings, leak, pressure

YEARS, POINTS, FALLS = 10, 25, 100


def test_false_findings_and_warning() -> None:
    rng = random.Random(2026)  # noqa: S311 - the same years each time
    sinking = sum(findings([*pressure(rng, 365 * YEARS)], "sinking", 0.10) for _ in range(POINTS))
    rising = sum(findings([*leak(rng, 365 * YEARS)], "rising", 300) for _ in range(POINTS))
    ahead = []
    for _ in range(FALLS):
        values = [*pressure(rng, 60), *pressure(rng, 80, fall=0.005)]
        samples = daily(values)
        told = next(d for d in range(14, 140) if trend(samples[max(0, d + 1 - KEPT) : d + 1], "sinking", 0.10, AHEAD))
        ahead.append(next(day for day, value in enumerate(values) if value < 0.10) - told)
    per_100 = 100 / (POINTS * YEARS)
    print(  # noqa: T201
        f"\nfalse findings per 100 points and year: pressures {sinking * per_100:.2f}, residual currents"
        f" {rising * per_100:.2f}; a fall of 0.005 MPa a day told {min(ahead)}-{max(ahead)} days ahead,"
        f" median {median(ahead):.0f}"
    )
    assert (sinking + rising) * per_100 / 2 <= 1
    assert min(ahead) >= 10

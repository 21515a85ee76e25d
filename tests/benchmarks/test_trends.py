"""How often a trend is told of a point that is well, over ten simulated years, and how long before a fall ends."""

import random
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from statistics import median

import pytest

from gateway.site.trends import KEPT, Way, trend
from tests.site.test_trends import AHEAD, daily, findings, leak, pressure

YEARS, POINTS, FALLS = 10, 25, 100
MOST = 1.0
"""False findings per 100 points and year."""
AHEAD_DAYS = 10
KINDS: dict[str, tuple[Way, float]] = {
    "pressures": ("sinking", 0.10), "residual currents": ("rising", 300), "those where rain adds 40 mA": ("rising", 300)
}  # fmt: skip


def well(kind: str, rng: random.Random) -> Iterator[float]:
    days = 365 * YEARS
    if kind == "pressures":
        return pressure(rng, days)
    return leak(rng, days) if kind == "residual currents" else leak(rng, days, swing=40.0)


def of_point(asked: tuple[str, int]) -> int:
    """Findings of one point in all of its years."""
    kind, number = asked
    return findings([*well(kind, random.Random(f"{kind}/{number}"))], *KINDS[kind])  # noqa: S311 - the same years


@pytest.mark.timeout(1200)
def test_false_findings_of_each_kind() -> None:
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        found = {kind: sum(pool.map(of_point, [(kind, number) for number in range(POINTS)])) for kind in KINDS}
    rates = {kind: count * 100 / (POINTS * YEARS) for kind, count in found.items()}
    print("\nfalse findings per 100 points and year:", rates)  # noqa: T201
    assert {kind: rate for kind, rate in rates.items() if rate > MOST} == {}


def test_a_fall_is_told_in_time() -> None:
    rng = random.Random(2026)  # noqa: S311 - the same falls each time
    ahead = []
    for _ in range(FALLS):
        values = [*pressure(rng, 60), *pressure(rng, 80, fall=0.005)]
        samples = daily(values)
        told = next(d for d in range(14, 140) if trend(samples[max(0, d + 1 - KEPT) : d + 1], "sinking", 0.10, AHEAD))
        ahead.append(next(day for day, value in enumerate(values) if value < 0.10) - told)
    print(f"\na fall of 0.005 MPa a day told {min(ahead)}-{max(ahead)} days ahead, median {median(ahead):.0f}")  # noqa: T201
    assert min(ahead) >= AHEAD_DAYS

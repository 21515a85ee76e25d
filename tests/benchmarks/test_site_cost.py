"""What a command costs to verify, and a step of the site with 1,000 points: beside the bare thing, medians of five."""

import time
from collections.abc import Callable

from gateway.model import Answer, Input, Instant, Quality, Reading, Started
from gateway.site.settings import Condition, DeviceSettings
from gateway.site.site import Site
from tests.benchmarks.measure import median
from tests.cloud.signing import CLOUD, STRANGER, claims, sign, verifier
from tests.site.compound import yard
from tests.site.world import EPOCH, SEED, rule

RUNS = 5
TOKENS = 300
DEVICES, POINTS, ROUNDS = 40, 25, 25


def seconds(what: Callable[[], object]) -> float:
    """CPU seconds of one call."""
    begun = time.process_time()
    what()
    return time.process_time() - begun


def test_a_command_costs_little_more_than_its_signature() -> None:
    ratios: dict[str, list[float]] = {"good": [], "forged": []}
    costs: list[float] = []
    for _ in range(RUNS):
        one = verifier()
        tokens = {
            "good": [sign(claims(jti=f"j{number}")) for number in range(TOKENS)],
            "forged": [sign(claims(), STRANGER)] * TOKENS,
        }
        first, _, signature = tokens["good"][0].rpartition(b".")
        raw, public = CLOUD.sign(first), CLOUD.public_key()
        assert signature
        bare = seconds(lambda: [public.verify(raw, first) for _ in range(TOKENS)])  # noqa: B023
        for name, many in tokens.items():
            took = seconds(lambda: [one.verify(token) for token in many])  # noqa: B023
            ratios[name].append(took / bare)
            costs.append(took / TOKENS)
    print(  # noqa: T201
        f"\na command verified: {median(costs) * 1e6:.0f} us; of the bare signature: "
        + ", ".join(f"{name} {median(many):.2f}x" for name, many in ratios.items())
    )
    assert median(ratios["good"]) <= 3.0
    assert median(ratios["forged"]) <= 3.0


def test_steps_beside_a_bare_comparison() -> None:
    hot = Condition(above=70.0, clear=60.0)
    devices = {
        f"d{n}": DeviceSettings(
            f"d{n}",
            "loop",
            "b3",
            rules=tuple(rule(f"d{n}", f"p{p}", "hot", "overtemperature", hot, delay=5.0) for p in range(POINTS)),
        )
        for n in range(DEVICES)
    }
    inputs: list[Answer] = []
    for turn in range(ROUNDS):
        at = Instant(1.0 + turn, EPOCH + turn, synced=True)
        reading = Reading(20.0 + turn, None, None, Quality.GOOD, None, at)
        inputs += [Answer(name, {f"p{p}": reading for p in range(POINTS)}, at) for name in devices]
    rates, ratios = [], []
    for _ in range(RUNS):
        site = Site(yard(devices={**yard().devices, **devices}), SEED)
        start = Instant(0.0, EPOCH, synced=True)
        site.restore({})
        site.step(Started(start, "test", None), start)
        took = seconds(lambda: [decide(site, item) for item in inputs])  # noqa: B023
        bare = seconds(lambda: [compare(item) for item in inputs])
        rates.append(len(inputs) / took)
        ratios.append(took / bare)
    print(  # noqa: T201
        f"\n{median(rates):.0f} steps/s of {POINTS} points each, {DEVICES * POINTS} points under a rule; "
        f"{median(ratios):.1f}x a bare comparison of each value"
    )
    assert median(rates) >= 3000


def decide(site: Site, item: Input) -> float | None:
    site.step(item, item.at)
    return site.deadline()


def compare(item: Answer) -> int:
    hot = 0
    for reading in item.readings.values():
        if reading.quality is Quality.GOOD and isinstance(reading.value, float) and reading.value > 70.0:
            hot += 1
    return hot

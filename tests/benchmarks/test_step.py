"""How many inputs a second the brain decides, with 1,000 points under a rule."""

import time

from gateway.model import Answer, Input, Instant, Quality, Reading, Started
from gateway.site.settings import Condition, DeviceSettings
from gateway.site.site import Site
from tests.site.compound import yard
from tests.site.world import EPOCH, SEED, rule

DEVICES, POINTS, ROUNDS = 40, 25, 50
LEAST = 3000


def test_steps_per_second() -> None:
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
    site = Site(yard(devices={**yard().devices, **devices}), SEED)
    start = Instant(0.0, EPOCH, synced=True)
    site.restore({})
    site.step(Started(start, "test", None), start)

    inputs: list[Input] = []
    for turn in range(ROUNDS):
        at = Instant(1.0 + turn, EPOCH + turn, synced=True)
        reading = Reading(20.0 + turn, None, None, Quality.GOOD, None, at)
        inputs += [Answer(name, {f"p{p}": reading for p in range(POINTS)}, at) for name in devices]
    began = time.perf_counter()
    for item in inputs:
        site.step(item, item.at)
        site.deadline()
    rate = len(inputs) / (time.perf_counter() - began)

    print(f"\n{rate:.0f} steps/s, {rate * POINTS:.0f} points/s, of {DEVICES * POINTS} points")  # noqa: T201
    assert rate >= LEAST

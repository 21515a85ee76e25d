"""Judging pictures: the confusion table of a large generated set, and how long one picture takes."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from statistics import median
from typing import Final

import pytest

from drivers.pictures.judge import FROZEN_SHARE, PictureLimits, judge
from drivers.pictures.measure import Sight, alike, compare
from simulators.cameras.scene import FAULTS, Scene, SceneView, Weather
from tests.drivers.pictures.places import Case, cases, judged

HD = (1920, 1080)
PAIR_MS, FROZEN_MS = 40.0, 40.0
FEWEST = 500
WEATHERS: Final[tuple[Weather, ...]] = (
    "rain", "snowfall", "snow", "bare", "autumn", "haze", "fog", "headlights", "glare",
)  # fmt: skip
DOUBTS = ("changed", "poor-sight", "glare")


def reason_of(case: Case) -> str:
    return judged(case).reason or "good"


def test_no_faulty_picture_is_called_good_and_no_good_one_faulty() -> None:
    """Other seeds than those that the limits were set with."""
    all_of_them = list(cases(52, (1, 2)))
    assert len(all_of_them) >= FEWEST
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        found = list(pool.map(reason_of, all_of_them, chunksize=16))
    kinds = ((case.what, case.how.split()[0] if case.how else "plain") for case in all_of_them)
    table = Counter(zip(kinds, found, strict=True))
    for ((what, how), reason), count in sorted(table.items()):
        print(f"{what:9} {how:12} {reason:14} {count:4}")  # noqa: T201
    good = [reason for case, reason in zip(all_of_them, found, strict=True) if case.what == "good"]
    faulty = [reason for case, reason in zip(all_of_them, found, strict=True) if case.what == "faulty"]
    doubted = sum(reason in DOUBTS for reason in good)
    called_faulty = sum(reason not in DOUBTS and reason != "good" for reason in good)
    called_good = faulty.count("good")
    print(  # noqa: T201
        f"{len(found)} pictures, {len(good)} of them good, {doubted} of these doubted; "
        f"good called faulty: {called_faulty}; faulty called good: {called_good}"
    )
    assert called_good == 0
    assert called_faulty == 0
    assert doubted <= 0.02 * len(good)


def views() -> Iterator[SceneView]:
    """Every kind of picture, by day and by infrared night."""
    for night, noise in ((False, 2.0), (True, 5.0)):
        usual = SceneView(seed=2, night=night, noise=noise, size=HD)
        yield from (replace(usual, fault=fault) for fault in ("", *FAULTS))
        yield from (replace(usual, weather=weather) for weather in WEATHERS)


def test_every_kind_of_picture_of_1080_lines_against_its_reference() -> None:
    scene = Scene("yard", 1)
    references = {
        night: Sight.of(scene.picture(SceneView(seed=1, night=night, noise=4.0 if night else 2.0, size=HD)))
        for night in (False, True)
    }
    for reference in references.values():
        assert reference.figures.structured

    def pair(jpeg: bytes, reference: Sight) -> None:
        mine = Sight.of(jpeg)
        judge(mine.figures, PictureLimits(), reference.figures, compare(mine, reference))

    took: dict[str, float] = {}
    for view in views():
        jpeg = scene.picture(view)
        if not view.fault.startswith("cut"):
            what = " ".join(filter(None, ("night" if view.night else "day", view.fault, view.weather)))
            took[what] = _best_ms(lambda jpeg=jpeg, view=view: pair(jpeg, references[view.night]))  # type: ignore[misc]
    slow = dict(sorted(took.items(), key=lambda one: -one[1])[:5])
    print(  # noqa: T201
        f"1080p against its reference, {len(took)} kinds: median {median(took.values()):.1f} ms, the slowest "
        + ", ".join(f"{what} {ms:.1f}" for what, ms in slow.items())
    )
    assert {what: ms for what, ms in took.items() if ms > PAIR_MS} == {}


@pytest.mark.parametrize("night", [False, True])
def test_the_frozen_check_of_1080_lines(*, night: bool) -> None:
    scene = Scene("yard", 1)
    view = SceneView(seed=1, night=night, noise=6.0 if night else 2.0, size=HD, quality=80)
    first, again = scene.picture(view), scene.picture(replace(view, clock="2026-12-02 02:00:07"))
    other = scene.picture(replace(view, seed=2))
    assert alike(first, again) > FROZEN_SHARE > alike(first, other)
    took = max(_best_ms(lambda: alike(first, again)), _best_ms(lambda: alike(first, other)))
    print(f"frozen: {took:.1f} ms")  # noqa: T201
    assert took <= FROZEN_MS


def _best_ms(run: Callable[[], object], times: int = 5) -> float:
    """Of the processor: one thread that waits for nothing."""
    found = []
    for _ in range(times):
        begun = time.process_time()
        run()
        found.append(time.process_time() - begun)
    return min(found) * 1000

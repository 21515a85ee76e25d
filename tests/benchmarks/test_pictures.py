"""Judging pictures: the confusion table of a large generated set, and how long one picture takes."""

import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from drivers.pictures.judge import PictureLimits, judge
from drivers.pictures.measure import Sight, alike, compare
from simulators.cameras.scene import Scene, SceneView
from tests.drivers.pictures.places import Case, cases, judged

HD = (1920, 1080)
PAIR_MS, FROZEN_MS = 40.0, 40.0
FEWEST = 500
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


def test_a_picture_of_1080_lines_against_its_reference() -> None:
    scene = Scene("yard", 1)
    reference = Sight.of(scene.picture(SceneView(seed=1, size=HD)))
    assert reference.structured
    good, moved = (scene.picture(SceneView(seed=2, fault=fault, size=HD)) for fault in ("", "moved 10"))
    later = scene.picture(SceneView(seed=1, size=HD, clock="2026-12-02 02:00:07"))

    def pair(jpeg: bytes) -> None:
        mine = Sight.of(jpeg)
        judge(mine.figures, PictureLimits(), reference.figures, compare(mine, reference))

    pair_ms, moved_ms = _best_ms(lambda: pair(good)), _best_ms(lambda: pair(moved))
    frozen_ms = _best_ms(lambda: alike(good, later))
    print(  # noqa: T201
        f"1080p against its reference: {pair_ms:.1f} ms; "
        f"one that is moved: {moved_ms:.1f} ms; frozen: {frozen_ms:.1f} ms"
    )
    assert pair_ms <= PAIR_MS
    assert frozen_ms <= FROZEN_MS


def _best_ms(run: Callable[[], object], times: int = 12) -> float:
    found = []
    for _ in range(times):
        begun = time.perf_counter()
        run()
        found.append(time.perf_counter() - begun)
    return min(found) * 1000

"""Pictures by the recipe: places by day and by infrared night; good, awkward, doubtful and faulty ones."""

from collections.abc import Iterator
from dataclasses import replace
from random import Random
from typing import NamedTuple

from drivers.pictures.jpeg import Unusable
from drivers.pictures.judge import PictureLimits, PictureVerdict, judge
from drivers.pictures.measure import Sight, compare
from simulators.cameras.scene import FAULTS, KINDS, Scene, SceneView, usual

OUTDOORS = ("yard", "gate")


class Case(NamedTuple):
    """A picture, and what it is: `good`, `doubtful` or `faulty`, and how."""

    scene: Scene
    reference: SceneView
    view: SceneView
    what: str
    how: str


def cases(base: int, seeds: tuple[int, ...], *, kinds: tuple[str, ...] = KINDS) -> Iterator[Case]:
    """Every fault and weather at each of these places, by day and by night; all chance out of `base`."""
    chance = Random(base)  # noqa: S311 - repeatable on purpose
    for scene in (Scene(kind, base * 10 + seed) for kind in KINDS if kind in kinds for seed in seeds):
        outdoors = scene.kind in OUTDOORS
        for night in (False, True):
            empty = replace(usual(chance, night=night), cars=0, people=0, exposure=1.0, shake=(0, 0))
            good = ["", "", "", "", *(["rain", "snowfall", "headlights", "haze"] if outdoors else [])]
            good += ["snow", "bare", "autumn"] if outdoors and not night else []
            for weather in good:
                yield Case(scene, empty, replace(usual(chance, night=night), weather=weather), "good", weather)  # type: ignore[arg-type]
            if not night:
                dusk = replace(usual(chance, night=False), exposure=0.45, noise=4.0)
                yield Case(scene, empty, dusk, "good", "dusk")
            for fault in FAULTS:
                yield Case(scene, empty, replace(usual(chance, night=night), fault=fault), "faulty", fault)
            if night or outdoors:
                doubt = replace(usual(chance, night=night), weather="glare" if night else "fog")
                yield Case(scene, empty, doubt, "doubtful", doubt.weather)


def judged(case: Case, limits: PictureLimits = PictureLimits()) -> PictureVerdict:  # noqa: B008 - it cannot be changed
    """As the gateway judges it."""
    try:
        mine = Sight.of(case.scene.picture(case.view))
    except Unusable as error:
        return PictureVerdict("abnormal", "damaged", str(error))
    reference = Sight.of(case.scene.picture(case.reference))
    return judge(mine.figures, limits, reference.figures, compare(mine, reference))

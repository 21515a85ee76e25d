"""Pictures by the recipe of other seeds than those that the limits were set with."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from drivers.pictures.jpeg import Unusable
from drivers.pictures.judge import Figures, PictureLimits, judge, lies_on, may_be_reference
from drivers.pictures.measure import Sight, alike, compare
from simulators.cameras.scene import KINDS, Kind, Scene, SceneView, encoded
from tests.drivers.pictures.places import Case, cases, judged

YARD = Scene("yard", 41)
USUAL = PictureLimits()
DAY = SceneView(seed=1)
NIGHT = SceneView(seed=1, night=True, noise=4.0)


def told(view: SceneView, reference: SceneView | None = DAY, limits: PictureLimits = USUAL) -> str | None:
    mine = Sight.of(YARD.picture(view))
    if reference is None:
        return judge(mine.figures, limits).reason
    other = Sight.of(YARD.picture(reference))
    return judge(mine.figures, limits, other.figures, compare(mine, other)).reason


@pytest.mark.parametrize(
    ("reason", "view", "reference"),
    [
        (None, SceneView(seed=5, cars=3, people=2, exposure=0.8, shake=(4, -3)), DAY),
        (None, SceneView(seed=5, night=True, noise=6.0, cars=2), NIGHT),
        ("dark", SceneView(fault="dark"), DAY),
        ("bright", SceneView(fault="bright"), DAY),
        ("flat", SceneView(fault="flat"), DAY),
        ("flat", SceneView(fault="covered 1", noise=1.0), DAY),
        ("small", SceneView(size=(160, 90)), DAY),
        ("damaged", SceneView(fault="grey 0.6"), DAY),
        ("damaged", SceneView(fault="smeared 0.6"), DAY),
        ("covered", SceneView(fault="covered 0.7"), DAY),
        ("covered", SceneView(seed=3, fault="spray 0.8"), DAY),
        ("blurred", SceneView(fault="blurred 3"), DAY),
        ("blurred", replace(NIGHT, fault="blurred 8"), NIGHT),
        ("moved", SceneView(fault="moved 3"), DAY),
        ("moved", SceneView(fault="turned 6"), DAY),
        ("moved", SceneView(fault="static"), DAY),
        ("moved", replace(NIGHT, fault="static"), NIGHT),
        ("glare", replace(NIGHT, weather="glare"), NIGHT),
        ("poor-sight", SceneView(weather="fog"), DAY),
    ],
)
def test_every_reason_has_a_picture_that_gives_it(reason: str | None, view: SceneView, reference: SceneView) -> None:
    assert told(view, reference) == reason


def test_a_place_that_looks_another_way_is_changed() -> None:
    """A third of its structure gone, at the same place, without a hole: above a limit that is written."""
    assert told(SceneView(seed=5, weather="snow"), limits=PictureLimits(max_drift=0.02)) == "changed"


def test_half_a_file_is_damaged_and_so_is_half_a_file_with_a_proper_end() -> None:
    whole = YARD.picture(DAY)
    with pytest.raises(Unusable):
        Sight.of(YARD.picture(SceneView(fault="cut 0.6")))
    half = whole[: len(whole) // 2] + b"\xff\xd9"
    assert judge(Sight.of(half).figures, PictureLimits()).reason == "damaged"


@pytest.mark.parametrize("limit", ["blur_below", "max_drift"])
def test_what_needs_a_reference_is_judged_without_one_only_if_the_file_writes_it(limit: str) -> None:
    assert told(SceneView(fault="blurred 8"), None) is None
    assert told(SceneView(fault="blurred 8"), None, limits=PictureLimits(written=frozenset({limit}))) == "no-reference"
    assert told(SceneView(fault="dark"), None, limits=PictureLimits(written=frozenset({limit}))) == "dark"


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_moment_again_is_frozen_whatever_its_clock_says(kind: Kind) -> None:
    for night in (False, True):
        scene, view = Scene(kind, 3), SceneView(seed=9, night=night, noise=4.0 if night else 1.5)
        later = replace(view, clock="2026-12-02 02:00:09")
        assert alike(scene.picture(view), scene.picture(later)) >= 0.9
        assert alike(scene.picture(view), scene.picture(replace(later, seed=10))) <= 0.3
        found = Sight.of(scene.picture(later))
        assert judge(found.figures, PictureLimits(), alike=0.95).reason == "frozen"
        assert judge(found.figures, PictureLimits(), alike=0.3).reason is None


@pytest.mark.parametrize("size", [(1, 1), (4, 4), (400, 4), (7, 300), (8, 8)])
def test_tiny_pictures_are_compared_too(size: tuple[int, int]) -> None:
    one, other = (encoded(Image.new("L", size, grey), replace(DAY, size=size)) for grey in (10, 200))
    assert alike(one, other) == 0.0


def test_pictures_of_two_sizes_are_not_the_same_moment() -> None:
    assert alike(YARD.picture(DAY), YARD.picture(replace(DAY, size=(640, 360)))) == 0.0


@pytest.mark.parametrize(
    ("view", "why"),
    [
        (DAY, None),
        (NIGHT, None),
        (SceneView(fault="dark"), "dark"),
        (SceneView(fault="flat"), "flat"),
        (SceneView(fault="grey 0.5"), "damaged"),
    ],
)
def test_a_poor_picture_is_no_reference_and_it_says_why(view: SceneView, why: str | None) -> None:
    found = may_be_reference(Sight.of(YARD.picture(view)).figures, PictureLimits())
    assert (found is None) if why is None else (found is not None and found.startswith(why))


def test_a_plain_wall_and_a_pattern_are_no_references() -> None:
    pattern = Image.new("RGB", (960, 540), (150, 84, 66))
    draw = ImageDraw.Draw(pattern)
    for x in range(0, 960, 48):
        draw.rectangle((x, 0, x + 5, 540), fill=(220, 210, 200))
    for y in range(0, 540, 48):
        draw.rectangle((0, y, 960, y + 5), fill=(220, 210, 200))
    slope = Image.linear_gradient("L").resize((960, 540)).convert("RGB")
    for image in (pattern, slope):
        mine = Sight.of(encoded(image, SceneView()))
        assert mine.structured < 0.08
        assert "structure" in (may_be_reference(mine.figures, PictureLimits()) or "")
        again = judge(mine.figures, PictureLimits(), mine.figures, compare(mine, mine))
        assert again.reason == "weak-reference"


@pytest.mark.parametrize("kind", KINDS)
def test_the_other_light_may_take_its_own_reference_only_from_a_whole_and_sharp_picture(kind: Kind) -> None:
    scene = Scene(kind, 6)
    approved = Sight.of(scene.picture(DAY))

    def own(fault: str = "") -> bool:
        mine = Sight.of(scene.picture(SceneView(seed=8, night=True, noise=5.0, cars=1, fault=fault)))
        assert mine.light == "infrared"
        return lies_on(mine.figures, approved.figures, compare(mine, approved))

    assert own()
    for fault in ("covered 0.45", "leaf 0.35", "spray 0.8", "blurred 3", "blurred 8", "moved 5", "turned 6", "another"):
        assert not own(fault), fault


def test_places_by_the_recipe() -> None:
    """A small set; the large one is in the benchmarks."""
    table: Counter[tuple[str, str | None]] = Counter()
    wrong: list[tuple[Case, str | None]] = []
    for case in cases(31, (1,), kinds=("yard", "pump-room")):
        found = judged(case).reason
        table[case.what, found] += 1
        if case.what != "doubtful" and (found is None) != (case.what == "good"):
            wrong.append((case, found))
    assert wrong == []
    assert table["good", None] > 20


FINITE = st.floats(0, 255)


@given(st.builds(Figures, st.integers(1, 4000), st.integers(1, 3000), st.sampled_from(["colour", "infrared"]), FINITE,
                 FINITE, st.floats(0, 1), st.floats(0, 1), st.none() | st.floats(0, 1), st.floats(0, 1)))  # fmt: skip
def test_what_is_wrong_always_says_why(mine: Figures) -> None:
    found = judge(mine, PictureLimits())
    assert (found.outcome == "normal") == (found.reason is None) == (found.detail is None)

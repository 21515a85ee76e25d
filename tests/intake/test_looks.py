"""A look at a camera: pictures of drawn places in, what the round is told out. Real files, a real thread."""

import asyncio
import hashlib
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from drivers.pictures.judge import PictureLimits
from drivers.pictures.snapshot import NoPicture
from gateway.clock import Clock
from gateway.errors import ConfigError, DeviceRefused, DeviceSilent, NotDone
from gateway.intake import looks as subject
from gateway.intake.looks import Looks
from gateway.intake.references import KEPT, References
from gateway.model import Instant, Perform
from gateway.site.looks import ABNORMAL, LOOK, NOT_CHECKABLE, Look, asked, verdict
from gateway.site.round_settings import PictureRule
from simulators.cameras.scene import Scene, SceneView

YARD = Scene("yard", 77)
DAY = SceneView(seed=1)
NIGHT = SceneView(seed=1, night=True, noise=4.0)
NOON = Instant(100.0, 1_790_000_000.0, synced=True)
RULE = PictureRule("yard")


class StillClock(Clock):
    at = NOON

    def now(self) -> Instant:
        return self.at


@dataclass
class Camera:
    """What it gives, one after the other; the last for ever."""

    gives: list[bytes | Exception]
    off: float | None = None
    asked: int = 0

    async def look(self, camera: str) -> bytes:
        assert camera == "yard"
        self.asked += 1
        found = self.gives.pop(0) if len(self.gives) > 1 else self.gives[0]
        if isinstance(found, Exception):
            raise found
        return found

    async def clock_off(self, camera: str) -> float | None:
        assert camera == "yard"
        return self.off


@dataclass
class Site:
    """Looks at one camera, and what was kept."""

    folder: Path
    clock: StillClock = field(default_factory=StillClock)
    kept: dict[str, bytes] = field(default_factory=dict)

    @property
    def references(self) -> References:
        return References(self.folder)

    def reference(self, view: SceneView = DAY, by: str = "wang", wall: float = NOON.wall) -> str:
        return self.references.take("yard", YARD.picture(view), by, wall, PictureLimits()).name

    def picture(self, camera: str, passage: str | None, kind: str, at: Instant, jpeg: bytes, id_: str) -> None:
        assert (camera, passage, kind, at) == ("yard", None, "scene", self.clock.at)
        self.kept[id_] = jpeg

    async def look(self, *gives: bytes | Exception, rule: PictureRule = RULE, off: float | None = None) -> Look:
        """As a round asks for it, through the arguments and the result of its errand."""
        self.camera = Camera(list(gives), off)

        looks = Looks(self.camera, self.references, asyncio.to_thread, self, self.clock)
        act = Perform("order", LOOK, asked(rule, "nightly", "camera:yard", None), "cron")
        return verdict(await looks.errands()[LOOK](act))


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.setattr(subject, "APART_S", 0.001)
    return Site(tmp_path / "references")


def shots(*views: SceneView) -> list[bytes | Exception]:
    return [YARD.picture(view) for view in views]


def thrice(fault: str) -> list[bytes | Exception]:
    return shots(*(SceneView(seed=seed, fault=fault) for seed in (1, 2, 3)))


LIVE = [YARD.picture(SceneView(seed=5, cars=2)), YARD.picture(SceneView(seed=6, cars=1))]


async def test_a_good_picture_and_what_proves_it(site: Site) -> None:
    name = site.reference()
    found = await site.look(*LIVE)
    assert (found.outcome, found.reason) == ("normal", None)
    assert found.compared_with == name == "yard.colour.20260921T141320Z.wang"
    assert found.sha256 == hashlib.sha256(LIVE[1]).hexdigest()
    assert found.picture is not None
    assert found.kept_sha256 == hashlib.sha256(site.kept[found.picture]).hexdigest()
    assert (found.at, found.clock) == (NOON.rfc3339(), "synced")
    assert found.figures is not None
    assert found.figures["alike"] < 0.3  # type: ignore[operator]
    assert found.figures["sharpness"] > 80  # type: ignore[operator]
    assert site.camera.asked == 2


@pytest.mark.parametrize(
    ("gives", "outcome", "reason", "keeps"),
    [
        ([DeviceSilent("no answer")], "not-checkable", "unreachable", False),
        ([DeviceRefused(401, "refused the login")], "not-checkable", "refused", False),
        ([ConfigError("write snapshot")], "not-checkable", "refused", False),
        ([NoPicture("no-picture", "sent no JPEG")], "abnormal", "no-picture", False),
        ([NoPicture("damaged", "without its end")], "abnormal", "damaged", False),
        ([b"\xff\xd8\xff" + bytes(500) + b"\xff\xd9"], "abnormal", "damaged", False),
        (shots(SceneView(fault="grey 0.5")), "abnormal", "damaged", True),
        (shots(SceneView(fault="dark")), "abnormal", "dark", True),
        (shots(SceneView(fault="bright")), "abnormal", "bright", True),
        (shots(SceneView(fault="flat")), "abnormal", "flat", True),
        (shots(SceneView(size=(160, 90))), "abnormal", "small", True),
        (thrice("covered 0.7"), "abnormal", "covered", True),
        (thrice("blurred 5"), "abnormal", "blurred", True),
        (shots(SceneView(fault="moved 10")), "abnormal", "moved", True),
        (shots(DAY), "abnormal", "frozen", True),
        (shots(SceneView(weather="fog")), "not-checkable", "poor-sight", True),
    ],
)
async def test_every_reason(
    site: Site, gives: list[bytes | Exception], outcome: str, reason: str, *, keeps: bool
) -> None:
    site.reference(SceneView(seed=4))
    found = await site.look(*gives)
    assert (found.outcome, found.reason) == (outcome, reason), found
    assert found.detail
    assert (found.reason in ABNORMAL, found.reason in NOT_CHECKABLE) == (outcome == "abnormal", outcome != "abnormal")
    assert (found.picture is not None) == keeps == bool(site.kept)


async def test_a_lorry_drives_away(site: Site) -> None:
    site.reference()
    cover, other = shots(SceneView(seed=8, fault="covered 0.7"), SceneView(seed=9, fault="covered 0.45"))
    assert (await site.look(cover, other, LIVE[0])).outcome == "normal"
    assert site.camera.asked == 3
    more = shots(*(SceneView(seed=seed, fault="covered 0.7") for seed in (10, 11, 12)))
    assert (await site.look(*more, LIVE[0])).reason == "covered"
    assert site.camera.asked == 3


async def test_glare_is_looked_at_again(site: Site) -> None:
    site.reference(NIGHT)
    glares = shots(*(replace(NIGHT, seed=seed, weather="glare") for seed in (2, 3, 4)))
    assert (await site.look(*glares)).reason == "glare"
    assert site.camera.asked == 3
    assert (
        await site.look(*shots(replace(NIGHT, seed=5, weather="glare"), replace(NIGHT, seed=9)))
    ).outcome == "normal"


async def test_the_same_picture_as_in_the_run_before_is_frozen_whatever_its_clock_says(site: Site) -> None:
    site.reference()
    assert (await site.look(*LIVE)).outcome == "normal"
    again = YARD.picture(SceneView(seed=5, cars=2, clock="2026-12-02 02:00:09"))
    found = await site.look(again)
    assert (found.outcome, found.reason) == ("abnormal", "frozen")


async def test_a_camera_that_falls_silent_after_its_first_picture_is_not_normal(site: Site) -> None:
    site.reference()
    assert (await site.look(LIVE[0], DeviceSilent("gone"))).reason == "unreachable"


async def test_without_a_reference_only_what_needs_none_is_judged(site: Site) -> None:
    blurred = shots(SceneView(fault="blurred 8"), SceneView(seed=2, fault="blurred 8"))
    found = await site.look(*blurred)
    assert (found.outcome, found.compared_with) == ("normal", None)
    assert found.detail == "no reference in colour: only what needs none was judged"
    written = replace(RULE, written=frozenset({"blur_below"}))
    assert (await site.look(*shots(SceneView(seed=20), SceneView(seed=21)), rule=written)).reason == "no-reference"


async def test_a_light_without_a_reference_takes_its_own_and_says_so(site: Site) -> None:
    approved = site.reference()
    nights = shots(replace(NIGHT, seed=5), replace(NIGHT, seed=6))
    found = await site.look(nights[0], nights[1])
    assert found.outcome == "normal"
    own = [one for one in site.references.of("yard") if one.light == "infrared"]
    assert [one.by for one in own] == ["own"]
    found = await site.look(*shots(replace(NIGHT, seed=7), replace(NIGHT, seed=8)))
    assert (found.outcome, found.compared_with) == ("normal", own[0].name)
    blurred = shots(*(replace(NIGHT, seed=seed, fault="blurred 8") for seed in (9, 10, 11)))
    assert (await site.look(*blurred)).reason == "blurred"
    assert approved != own[0].name


@pytest.mark.parametrize("fault", ["covered 0.7", "moved 10", "another", "blurred 8"])
async def test_a_faulty_night_does_not_become_a_reference(site: Site, fault: str) -> None:
    site.reference()
    found = await site.look(*shots(*(replace(NIGHT, seed=seed, fault=fault) for seed in (5, 6))))
    assert (found.outcome, found.reason) == ("not-checkable", "no-reference")
    assert [one.light for one in site.references.of("yard")] == ["colour"]


async def test_an_own_reference_is_not_taken_from_an_own_one(site: Site) -> None:
    site.references.save("yard", "colour", YARD.picture(DAY), "own", NOON.wall)
    assert (await site.look(*shots(NIGHT, replace(NIGHT, seed=3)))).compared_with is None
    assert len(site.references.of("yard")) == 1


async def test_another_look_of_the_same_place_is_changed(site: Site) -> None:
    site.reference()
    snow = shots(*(SceneView(seed=seed, weather="snow") for seed in (30, 31)))
    found = await site.look(*snow, rule=replace(RULE, max_drift=0.02))
    assert (found.outcome, found.reason) == ("not-checkable", "changed")


@pytest.mark.parametrize(
    ("off", "synced", "reason"), [(None, True, None), (29.0, True, None), (-31.0, True, "clock"), (3600.0, False, None)]
)
async def test_its_clock_is_judged_only_by_a_clock_that_is_right(
    site: Site, off: float | None, reason: str | None, *, synced: bool
) -> None:
    site.reference()
    site.clock.at = replace_synced(site.clock.at, synced=synced)
    found = await site.look(*LIVE, off=off)
    assert (found.reason, found.clock) == (reason, "synced" if synced else "unsynced")


def replace_synced(at: Instant, *, synced: bool) -> Instant:
    return Instant(at.mono, at.wall, synced=synced)


# ---- references -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "words"),
    [("dark", "mean grey"), ("flat", "spreads by"), ("grey 0.5", "not there"), ("cut 0.6", "cut short")],
)
def test_a_poor_reference_is_refused_with_figures(site: Site, fault: str, words: str) -> None:
    with pytest.raises(NotDone, match=words):
        site.reference(SceneView(fault=fault))
    assert site.references.of("yard") == []


def test_four_references_of_a_light_and_four_of_the_other(site: Site) -> None:
    for number in range(KEPT + 2):
        site.reference(SceneView(seed=number), wall=NOON.wall + number)
        site.reference(replace(NIGHT, seed=number), wall=NOON.wall + number)
    found = site.references.of("yard")
    assert [one.light for one in found].count("colour") == [one.light for one in found].count("infrared") == KEPT
    assert max(one.time for one in found) == "20260921T141325Z"


def test_a_new_place_puts_the_old_references_away(site: Site) -> None:
    site.reference(wall=NOON.wall)
    site.references.save("yard", "infrared", YARD.picture(NIGHT), "own", NOON.wall)
    site.reference(SceneView(seed=3, fault="moved 12"), wall=NOON.wall + 60)
    assert [(one.light, one.time) for one in site.references.of("yard")] == [("colour", "20260921T141420Z")]


@pytest.mark.parametrize(
    "name", ["yard.colour.txt", "yard.colour.20260921T141320Z.x.jpg.tmp", "yard-2.colour.20260921T141320Z.wang.jpg"]
)
async def test_other_files_are_no_references(site: Site, name: str) -> None:
    site.folder.mkdir()
    (site.folder / name).write_bytes(b"no picture")
    assert (await site.look(*LIVE)).compared_with is None


async def test_a_reference_that_cannot_be_read_is_not_passed_over(site: Site) -> None:
    name = site.reference()
    (site.folder / f"{name}.jpg").write_bytes(b"\xff\xd8\xffgone")
    found = await site.look(*LIVE)
    assert (found.outcome, found.reason) == ("not-checkable", "no-reference")


def test_names_of_people_lead_nowhere(site: Site, tmp_path: Path) -> None:
    site.reference(by="../../王 wu")
    assert [path.parent for path in tmp_path.rglob("*.jpg")] == [site.folder]

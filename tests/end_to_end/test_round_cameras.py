"""Cameras in a round of the running gateway: every reason that an item can end with, in one round."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pytest
from PIL import Image

from drivers.pictures.judge import PictureLimits
from gateway.intake.references import References
from gateway.site.looks import ABNORMAL, NOT_CHECKABLE
from simulators.cameras.scene import SceneView, encoded
from simulators.cameras.shows import Shows
from tests.end_to_end.at_a_time import SYNCED
from tests.end_to_end.compound import HEAD, SMOKE, compound
from tests.end_to_end.process import running
from tests.end_to_end.rounds import ended
from tests.technician.command import site_gateway

WALL = Image.linear_gradient("L").resize((960, 540)).convert("RGB")
"""Nothing in it stands out: no place can be told by it."""


class Seen(NamedTuple):
    """A camera of the round: how it behaves, and what the round has to say of it."""

    look: str
    reason: str | None
    driver: str = "hikvision"
    rule: str = ""
    """Of the picture, as the site file writes it."""
    reference: bool = True


CAMERAS: Mapping[str, Seen] = {
    "yard": Seen("", None),
    "html": Seen("html", "no-picture", "uniview"),
    "half": Seen("half-ended", "damaged"),
    "bomb": Seen("bomb", "damaged", "dahua"),
    "thumbnail": Seen("small", "small"),
    "cellar": Seen("dark", "dark"),
    "roof": Seen("bright", "bright"),
    "wall": Seen("flat", "flat"),
    "leaf": Seen("covered", "covered", "dahua"),
    "lens": Seen("blurred", "blurred"),
    "mast": Seen("moved", "moved", "onvif"),
    "stuck": Seen("repeat", "frozen"),
    "late": Seen("wrong-clock", "clock"),
    "lamp": Seen("night glare", "glare"),
    "fog-2": Seen("fog", "poor-sight"),
    "snow-1": Seen("snow", "changed", rule="max_drift: 0.02"),
    "plain": Seen("", "weak-reference", reference=False),
    "new": Seen("", "no-reference", rule="blur_below: 65", reference=False),
    "hanging": Seen("hang", "unreachable"),
    "locked": Seen("", "refused"),
}
_LINES = "\n".join(
    f'  {name}: {{driver: {seen.driver}, address: 192.0.2.{number}, utc_offset: "+08:00"'
    + (", username: admin, password: {file: camera.pass}" if name in ("yard", "locked") else "")
    + "}"
    for number, (name, seen) in enumerate(CAMERAS.items(), 1)
)
SITE = f"""\
{HEAD}
lines:
  loop: {{driver: modbus, tcp: "127.0.0.1:1"}}
zones: {{b3: {{}}}}
devices:
  smoke: {{line: loop, unit: 1, {SMOKE}}}
cameras:
{_LINES}
inspection:
  cameras:
    items: [{", ".join(f"{{camera: {name}, picture: {{{seen.rule}}}}}" for name, seen in CAMERAS.items())}]
"""


def hung(folder: Path) -> None:
    """What who hung the cameras said about how they have to look; one of them looked at a bare wall."""
    references = References(folder)
    for name, seen in CAMERAS.items():
        if seen.reference and name != "yard":
            jpeg = Shows(name).reference(night="night" in seen.look)
            references.take(name, jpeg, "wang", 1_790_000_000.0, PictureLimits())
    references.save("plain", "colour", encoded(WALL, SceneView(quality=80)), "wang", 1_790_000_000.0)


@pytest.mark.timeout(420)
async def test_every_reason_of_a_camera_in_one_round(tmp_path: Path) -> None:
    (tmp_path / "camera.pass").write_text("pw")
    (tmp_path / "camera.pass").chmod(0o600)
    async with compound(tmp_path, SITE) as it:
        done = await site_gateway("picture", it.site, "yard", "--reference", "--out", tmp_path / "yard.jpg")
        assert done.status == 0, done.err
        assert (tmp_path / "yard.jpg").read_bytes().startswith(b"\xff\xd8\xff")
        hung(tmp_path / "store" / "references")
        (tmp_path / "site.locked.password").write_text("another")
        for name, seen in CAMERAS.items():
            it.virtual.camera(name).look(seen.look)
        async with running(it.site, SYNCED):
            await it.until_well("smoke")
            begun = await it.command("inspection.run", round="cameras")
            assert begun["ok"], begun
            data = await ended(it, begun["result"]["run"], within=240)
        found = {one["item"].removeprefix("camera:"): one for one in data["items"]}
        assert {name: one.get("reason") for name, one in found.items()} == {
            name: seen.reason for name, seen in CAMERAS.items()
        }
        for one in found.values():
            reason = one.get("reason")
            expected = "normal" if reason is None else "abnormal" if reason in ABNORMAL else "not-checkable"
            assert one["outcome"] == expected
        assert {seen.reason for seen in CAMERAS.values()} == {None, *ABNORMAL, *NOT_CHECKABLE}
        assert found["yard"]["evidence"]["compared_with"].startswith("yard.colour.")
        assert len(found["yard"]["evidence"]["sha256"]) == 64
        assert found["late"]["evidence"]["figures"]["clock_off_s"] == pytest.approx(3600, abs=30)
        assert found["stuck"]["evidence"]["figures"]["alike"] > 0.9
        assert "too large" in found["bomb"]["evidence"]["text"]
        pictures = {name: one["pictures"][0] for name, one in found.items() if one.get("pictures")}
        assert pictures.keys() == CAMERAS.keys() - {"html", "bomb", "hanging", "locked"}
        await it.cloud.until(lambda seen: {one["id"] for one in seen.events} >= set(pictures.values()))
        opened = {one["subject"] for one in it.cloud.events if one["type"].endswith("finding.opened.v1")}
        assert opened == {f"cameras/camera:{name}" for name, seen in CAMERAS.items() if seen.reason in ABNORMAL}

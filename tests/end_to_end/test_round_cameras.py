"""Cameras in a round of the running gateway: each way that an item can end, and what a person does about references."""

from pathlib import Path

import pytest

from tests.end_to_end.compound import HEAD, SMOKE, compound
from tests.end_to_end.process import running
from tests.end_to_end.rounds import ended
from tests.technician.command import site_gateway

CAMERAS = {"yard": "", "gate": "covered", "garage": "html", "pump-room": "hang", "lobby": "another"}
SITE = f"""\
{HEAD}
lines:
  loop: {{driver: modbus, tcp: "127.0.0.1:1"}}
zones: {{b3: {{}}}}
devices:
  smoke: {{line: loop, unit: 1, {SMOKE}}}
cameras:
  yard: {{driver: hikvision, address: 192.0.2.1, username: admin, password: {{file: camera.pass}}}}
  gate: {{driver: dahua, address: 192.0.2.2, utc_offset: "+08:00"}}
  garage: {{driver: uniview, address: 192.0.2.3}}
  pump-room: {{driver: hikvision, address: 192.0.2.4}}
  lobby: {{driver: onvif, address: 192.0.2.5}}
inspection:
  cameras:
    items: [{", ".join(f"{{camera: {name}, picture: {{}}}}" for name in CAMERAS)}]
"""


@pytest.mark.timeout(300)
async def test_cameras_that_are_well_covered_lying_hanging_and_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "camera.pass").write_text("pw")
    (tmp_path / "camera.pass").chmod(0o600)
    async with compound(tmp_path, SITE) as it:
        for name in ("yard", "gate", "lobby"):
            done = await site_gateway("picture", it.site, name, "--reference", "--out", tmp_path / f"{name}.jpg")
            assert done.status == 0, done.err
            assert (tmp_path / f"{name}.jpg").read_bytes().startswith(b"\xff\xd8\xff")
        it.virtual.camera("yard").look("dark")
        refused = await site_gateway("picture", it.site, "yard", "--reference")
        assert (refused.status, "mean grey" in refused.err) == (2, True)
        for name, look in CAMERAS.items():
            it.virtual.camera(name).look(look)
        checked = await site_gateway("picture", it.site, "lobby", "--check")
        assert (checked.status, "lobby: abnormal, moved" in checked.out) == (2, True), checked.out
        async with running(it.site):
            await it.until_well("smoke")
            begun = await it.command("inspection.run", round="cameras")
            assert begun["ok"], begun
            data = await ended(it, begun["result"]["run"])
        found = {one["item"].removeprefix("camera:"): one for one in data["items"]}
        assert {name: (one["outcome"], one.get("reason")) for name, one in found.items()} == {
            "yard": ("normal", None),
            "gate": ("abnormal", "covered"),
            "garage": ("abnormal", "no-picture"),
            "pump-room": ("not-checkable", "unreachable"),
            "lobby": ("abnormal", "moved"),
        }
        assert found["yard"]["evidence"]["compared_with"].startswith("yard.colour.")
        assert len(found["yard"]["evidence"]["sha256"]) == 64
        pictures = [one["pictures"][0] for one in found.values() if one.get("pictures")]
        await it.cloud.until(lambda seen: {one["id"] for one in seen.events} >= set(pictures))
        assert len(pictures) == 3

"""`doctor` and `picture` before virtual cameras: what a technician reads, and how it ends."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import orjson
import pytest

from gateway.clock import Clock
from gateway.config.load import load
from gateway.technician.cameras import cameras
from simulators.cameras.model import Asked
from simulators.site import VirtualSite
from tests.technician.command import site_gateway
from tests.technician.yard import HEAD, virtual

SITE = f"""\
{HEAD}
lines: {{io: {{driver: modbus, tcp: "127.0.0.1:1"}}}}
devices: {{climate: {{profile: xy-md02, line: io, unit: 2}}}}
cameras:
  yard: {{driver: hikvision, address: 192.0.2.1, username: admin, password: {{file: camera.pass}}}}
  lobby: {{driver: dahua, address: 192.0.2.2, utc_offset: "+08:00"}}
  spare: {{driver: uniview, address: 192.0.2.3}}
inspection:
  nightly: {{items: [{{camera: yard, picture: {{}}}}, {{camera: lobby, picture: {{}}}}]}}
"""
GOOD = "gives its picture"


@asynccontextmanager
async def hung(folder: Path) -> AsyncIterator[tuple[Path, VirtualSite]]:
    (folder / "camera.pass").write_text("pw")
    (folder / "camera.pass").chmod(0o600)
    async with virtual(folder, SITE) as (path, site):
        yield path, site


async def signs(path: Path) -> dict[str, list[tuple[str, str, str]]]:
    """(level, what, todo) by camera."""
    told = orjson.loads((await site_gateway("doctor", path, "--json")).out)
    found: dict[str, list[tuple[str, str, str]]] = {}
    for sign in told:
        kind, _, name = sign["about"].partition(" ")
        if kind == "camera":
            found.setdefault(name, []).append((sign["level"], sign["what"], sign["todo"]))
    return found


def logins(asked: Iterable[Asked]) -> int:
    return sum(one.status == 401 for one in asked)


async def test_cameras_that_are_well_and_one_without_a_reference(tmp_path: Path) -> None:
    async with hung(tmp_path) as (path, _):
        done = await site_gateway("picture", path, "yard", "--reference")
        assert done.status == 0, done.err
        found = await signs(path)
    assert [(level, GOOD in what) for level, what, _ in found["yard"]] == [("good", True), ("good", False)]
    assert found["yard"][1][1] == "has a reference in colour"
    assert [level for level, _, _ in found["lobby"]] == ["good", "doubt"]
    assert found["lobby"][1][2].endswith("picture SITE.yaml lobby --reference")
    assert [(level, GOOD in what) for level, what, _ in found["spare"]] == [("good", True)]  # no round looks at it


@pytest.mark.parametrize(
    ("look", "what", "todo"),
    [
        ("hang", "no picture in time", "check its supply and cable, and that 127.0.0"),
        ("html", "sent no JPEG", "write `snapshot`"),
        ("half", "without its end", "write `snapshot`"),
    ],
)
async def test_a_camera_that_gives_none(tmp_path: Path, look: str, what: str, todo: str) -> None:
    async with hung(tmp_path) as (path, site):
        for name in ("lobby", "spare"):
            site.camera(name).look(look)
        found = await signs(path)
    for name, level in (("lobby", "wrong"), ("spare", "doubt")):
        ((told, why, then),) = found[name]
        assert (told, what in why, todo in then) == (level, True, True), found


async def test_a_wrong_password_is_tried_once(tmp_path: Path) -> None:
    async with hung(tmp_path) as (path, site):
        (tmp_path / "site.yard.password").write_text("another")
        found = await signs(path)
        asked = list(site.camera("yard").asked)
    ((level, what, todo),) = found["yard"]
    assert (level, what) == ("wrong", "camera yard: refused the login")
    assert "five wrong logins" in todo
    assert logins(asked) == len(asked) == 2  # who asks is asked who it is, and is then refused


async def test_a_clock_that_is_off_is_told_only_by_one_that_is_right(tmp_path: Path) -> None:
    async with hung(tmp_path) as (path, site):
        site.camera("lobby").look("wrong-clock")
        file = load(path).site
        assert file is not None
        for synced in (True, False):
            clock = Clock(synced=lambda synced=synced: synced)  # type: ignore[misc]
            told = await asyncio.to_thread(lambda clock=clock: [*cameras(file, clock)])  # type: ignore[misc]
            wrong = [sign.what for sign in told if sign.about == "camera lobby" and sign.level == "wrong"]
            assert [bool(re.fullmatch(r"its clock is off by \+3(599|60\d) s", one)) for one in wrong] == [True] * synced


# ---- picture ------------------------------------------------------------------------------------------


async def test_picture_says_what_it_did_and_ends_so(tmp_path: Path) -> None:
    async with hung(tmp_path) as (path, site):
        plain = await site_gateway("picture", path, "yard", "--out", tmp_path / "yard.jpg")
        size = (tmp_path / "yard.jpg").stat().st_size
        assert (plain.status, plain.out.splitlines()) == (
            0,
            [f"yard: {size} bytes", f"{tmp_path}/yard.jpg: {size} bytes"],
        )

        without = await site_gateway("picture", path, "yard", "--check")
        assert (without.status, without.out.splitlines()[:2]) == (
            0,
            ["yard: normal", "no reference in colour: only what needs none was judged"],
        )
        assert "compared with" not in without.out

        kept = await site_gateway("picture", path, "yard", "--reference")
        assert kept.status == 0
        assert kept.out.startswith("yard.colour.")
        assert "from now on pictures of this light are compared with it" in kept.out

        checked = await site_gateway("picture", path, "yard", "--check", "--out", tmp_path / "checked.jpg")
        assert checked.status == 0, checked.out
        words = checked.out.split()
        for figure in ("mean", "sharpness", "lost", "zero", "alike"):
            float(words[words.index(figure) + 1])
        assert f"compared with {kept.out.split(':')[0]}" in checked.out
        assert (tmp_path / "checked.jpg").read_bytes().startswith(b"\xff\xd8\xff")

        site.camera("yard").look("dark")
        refused = await site_gateway("picture", path, "yard", "--reference")
        assert refused.status == 2
        assert re.fullmatch(r"no reference: dark: mean grey \d+, below 30\n", refused.err)
        site.camera("yard").look("html")
        none = await site_gateway("picture", path, "yard", "--check")
        assert (none.status, none.out.splitlines()[0]) == (2, "yard: abnormal, no-picture")
        assert (await site_gateway("picture", path, "garden")).err == "there is no camera garden; lobby, spare, yard\n"
        both = await site_gateway("picture", path, "yard", "--check", "--reference")
        assert (both.status, "--check or --reference" in both.err) == (64, True)
        unwritable = await site_gateway("picture", path, "lobby", "--out", tmp_path / "none" / "a.jpg")
        assert (unwritable.status, "No such file or directory" in unwritable.err) == (2, True)

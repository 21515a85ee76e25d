"""Upgrades that are cut off at any step, or find no room: the version before runs, or the new one, never neither.

Real dpkg, scripts and launcher, with a small program, in a layer over this machine's Debian.
"""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.accounts import as_root
from tests.packaging import layer, small
from tests.packaging.building import PACKAGING, script

pytestmark = [as_root, pytest.mark.timeout(170)]
HERE = subprocess.run(["dpkg", "--print-architecture"], check=True, capture_output=True, text=True).stdout.strip()
POINTS = [5, pytest.param(20, marks=pytest.mark.soak)]
SCRIPTS = ("preinst", "postinst", "prerm", "postrm")


def package(folder: Path, version: str, machine: str = HERE) -> Path:
    launcher = (PACKAGING / "launcher").read_text()
    return small.small_package(folder, version, {name: script(name) for name in SCRIPTS}, launcher, machine)


def tried(tmp_path: Path, how: str, points: int = 1, size: str = "50%") -> list[dict[str, Any]]:
    folder, mount = tmp_path / "it", tmp_path / "mount"
    folder.mkdir(exist_ok=True)
    mount.mkdir()
    for version in ("0", small.BEFORE, small.NEXT):
        package(tmp_path, version).rename(folder / f"{version}.deb")
    shutil.copy(small.__file__, folder)
    done = layer.run(f"python3 -IS /srv/it/small.py {how} {points}", folder, mount, timeout=160, size=size)
    assert done.returncode == 0, done.stdout + done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("points", POINTS)
def test_the_power_goes_at_a_step_of_an_upgrade(tmp_path: Path, points: int) -> None:
    whole, *tries = tried(tmp_path, "cut", points)
    assert whole["runs"] == small.NEXT
    assert whole["steps"] > 200
    for one in tries:
        assert set(one["runs"]) <= {small.BEFORE, small.NEXT}, one
        assert one["again"] == [0, "", small.NEXT], one
    assert {run for one in tries for run in one["runs"]} == {small.BEFORE, small.NEXT}


@pytest.mark.parametrize("points", POINTS)
def test_there_is_no_room_at_a_step_of_an_upgrade(tmp_path: Path, points: int) -> None:
    tries = tried(tmp_path, "full", points, size="64m")
    for one in tries:
        assert {one["full"], *one["runs"]} <= {small.BEFORE, small.NEXT}, one
        assert one["again"] == [0, "", small.NEXT], one
        assert one["returned"] == 0 or "room" in one["said"] or "No space left" in one["said"], one
    assert tries[0]["full"] == small.BEFORE
    assert tries[-1]["full"] == small.NEXT


def test_a_file_that_is_no_good_leaves_the_version_before(tmp_path: Path) -> None:
    """By dpkg itself, which proves no signature."""
    folder = tmp_path / "it"
    folder.mkdir()
    content = package(tmp_path, "9").read_bytes()
    altered = bytearray(content)
    altered[len(content) * 3 // 4] ^= 1
    (folder / "wrong-altered.deb").write_bytes(altered)
    (folder / "wrong-truncated.deb").write_bytes(content[: len(content) * 3 // 4])
    package(tmp_path, "9", "arm64" if HERE != "arm64" else "amd64").rename(folder / "wrong-machine.deb")
    why = {
        "wrong-altered": "compressed data is corrupt",
        "wrong-machine": "does not match system",
        "wrong-truncated": "unexpected end of file",
    }
    tries = tried(tmp_path, "wrong")
    assert [one["how"] for one in tries] == sorted(why)
    for one in tries:
        assert one["returned"] != 0, one
        assert why[one["how"]] in one["said"], one
        assert set(one["runs"]) == {small.BEFORE}, one
        assert one["status"] == "install ok installed", one
        assert one["again"] == [0, "", small.NEXT], one

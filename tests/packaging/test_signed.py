"""`site-gateway upgrade FILE.deb` refuses, before anything is changed, what it can know to be wrong."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gateway.errors import GatewayError
from gateway.package import PREVIOUS, STATE, TREE, Package, package
from gateway.technician.upgrade import undo, upgrade

KEY = Ed25519PrivateKey.generate()
HERE = subprocess.run(["dpkg", "--print-architecture"], check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def place(tmp_path: Path) -> Package:
    """A package that is installed below a folder, and the version before it."""
    for name, version in ((TREE, "2"), (f"{PREVIOUS}/1", "1")):
        (tmp_path / name / "gateway").mkdir(parents=True)
        (tmp_path / name / "VERSION").write_text(f"{version}\n")
        (tmp_path / name / "SCHEMA").write_text("4\n")
    public = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / TREE / "release.pem").write_bytes(public)
    (tmp_path / PREVIOUS / "note.json").write_text(json.dumps({"kept": "1"}))
    (tmp_path / STATE).parent.mkdir(parents=True)
    found = package(tmp_path / TREE)
    assert found is not None
    return found


def deb(
    folder: Path, *, name: str = "site-gateway", machine: str = HERE, schema: int = 4, check: str = "echo ok"
) -> Path:
    """A package with a program whose `check` is that script; signed."""
    work = folder / "work"
    (work / "DEBIAN").mkdir(parents=True)
    (work / "DEBIAN/control").write_text(
        f"Package: {name}\nVersion: 3\nArchitecture: {machine}\nMaintainer: x <x@localhost>\nDescription: x\n"
    )
    launcher = work / "usr/bin/site-gateway"
    launcher.parent.mkdir(parents=True)
    launcher.write_text(f"#!/bin/sh\n{check}\n")
    launcher.chmod(0o755)
    (work / TREE).mkdir(parents=True)
    (work / TREE / "SCHEMA").write_text(f"{schema}\n")
    made = folder / "next.deb"
    subprocess.run(["dpkg-deb", "-Znone", "--build", work, made], check=True, capture_output=True)
    signature(made).write_bytes(KEY.sign(made.read_bytes()))
    return made


def signature(file: Path) -> Path:
    return file.with_name(f"{file.name}.sig")


def unsigned(file: Path) -> None:
    signature(file).unlink()


def signed_by_another(file: Path) -> None:
    signature(file).write_bytes(Ed25519PrivateKey.generate().sign(file.read_bytes()))


def altered(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def truncated(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


def empty_signature(file: Path) -> None:
    signature(file).write_bytes(b"")


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (unsigned, "is not signed"),
        (signed_by_another, "not that of the release key"),
        (altered, "not that of the release key"),
        (truncated, "not that of the release key"),
        (empty_signature, "not that of the release key"),
    ],
)
def test_what_the_release_key_did_not_sign(
    place: Package, tmp_path: Path, spoil: Callable[[Path], None], why: str
) -> None:
    file = deb(tmp_path)
    spoil(file)
    with pytest.raises(GatewayError, match=why):
        list(upgrade(place, file, tmp_path / "site.yaml"))


UPGRADE = """
import sys, time
from pathlib import Path
from gateway.errors import GatewayError
from gateway.package import package
from gateway.technician.upgrade import upgrade
assert time.gmtime().tm_year == 1970
try:
    for step in upgrade(package(Path(sys.argv[1])), Path(sys.argv[2]), Path("/nowhere")):
        print(step, flush=True)
except GatewayError as error:
    print(error)
"""


def test_the_clock_has_no_say_in_a_signature(place: Package, tmp_path: Path) -> None:
    """A box that was never told the time, and a key and a package that are dated later."""
    command = ["faketime", "1970-01-02 00:00:00", sys.executable, "-c", UPGRADE, str(place.running)]
    good = deb(tmp_path, schema=3)
    told = subprocess.run([*command, str(good)], capture_output=True, text=True, check=False, timeout=60)
    signed, refused = told.stdout.splitlines()
    assert signed == "the signature is that of the release key", told.stderr
    assert "it is too old" in refused
    altered(good)
    told = subprocess.run([*command, str(good)], capture_output=True, text=True, check=False, timeout=60)
    assert "the signature is not that of the release key" in told.stdout, told.stderr


def test_without_a_release_key_nothing_can_be_proved(place: Package, tmp_path: Path) -> None:
    (place.running / "release.pem").unlink()
    with pytest.raises(GatewayError, match="no release key"):
        list(upgrade(place, deb(tmp_path), tmp_path / "site.yaml"))


OTHER = "arm64" if HERE != "arm64" else "amd64"


def test_another_machines_package(place: Package, tmp_path: Path) -> None:
    with pytest.raises(GatewayError, match=f"site-gateway for {OTHER}; needed is site-gateway for {HERE}"):
        list(upgrade(place, deb(tmp_path, machine=OTHER), tmp_path / "site.yaml"))


def test_another_package(place: Package, tmp_path: Path) -> None:
    with pytest.raises(GatewayError, match="the file is other"):
        list(upgrade(place, deb(tmp_path, name="other"), tmp_path / "site.yaml"))


def test_a_version_that_is_too_old_for_the_store(place: Package, tmp_path: Path) -> None:
    with pytest.raises(GatewayError, match="schema 4, and that version reads 3"):
        list(upgrade(place, deb(tmp_path, schema=3), tmp_path / "site.yaml"))


def test_a_version_that_refuses_the_site_file(place: Package, tmp_path: Path) -> None:
    site = tmp_path / "site.yaml"
    site.touch()
    with pytest.raises(GatewayError, match=r"site\.yaml:1:1: version: found 1"):
        list(upgrade(place, deb(tmp_path, check='echo "site.yaml:1:1: version: found 1"; exit 1'), site))


# ---- the way back ------------------------------------------------------------------------------------


def test_there_is_no_way_back_over_a_newer_schema(place: Package) -> None:
    place.state_file.write_text(json.dumps({"version": "2", "phase": "kept", "starts": 1, "id": "a", "schema": 5}))
    with pytest.raises(GatewayError, match="that 1 cannot read"):
        undo(place)
    assert json.loads(place.state_file.read_text())["phase"] == "kept"


def test_a_way_back_is_of_the_upgrade_that_brought_this_version(
    place: Package, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The launcher begins a trial where the state is of another upgrade."""
    systemctl = tmp_path / "bin/systemctl"
    systemctl.parent.mkdir()
    systemctl.write_text("#!/bin/sh\n")
    systemctl.chmod(0o755)
    monkeypatch.setenv("PATH", f"{systemctl.parent}:{os.environ['PATH']}")
    (place.root / PREVIOUS / "upgrade").write_text('{"id": "b"}')
    place.state_file.write_text(json.dumps({"version": "2", "upgrade": "a", "phase": "kept", "starts": 1, "id": "a"}))
    assert undo(place) == "1"
    told = json.loads(place.state_file.read_text())
    assert (told["upgrade"], told["version"], told["phase"]) == ("b", "2", "back")


def test_without_a_version_before_there_is_no_way_back(place: Package) -> None:
    shutil.rmtree(place.root / PREVIOUS / "1")
    with pytest.raises(GatewayError, match="no version before was kept"):
        undo(place)


def test_the_version_before_does_not_go_back_further(place: Package) -> None:
    with pytest.raises(GatewayError, match="runs already"):
        undo(Package(place.root, place.root / PREVIOUS / "1"))

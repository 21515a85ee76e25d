"""The repository: apt takes it, by its key alone, and follows the suite that it is told."""

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.packaging.building import PACKAGING, ROOT
from tests.packaging.test_signed import HERE, deb


@pytest.fixture
def keys(tmp_path: Path) -> dict[str, str]:
    """An account's gpg keys: one, without a password."""
    home = tmp_path / "gpg"
    home.mkdir(mode=0o700)
    environment = {**os.environ, "GNUPGHOME": str(home)}
    make = ["gpg", "--batch", "--passphrase", "", "--quick-generate-key", "test@localhost", "ed25519", "sign"]
    subprocess.run(make, check=True, capture_output=True, env=environment, timeout=60)
    told = subprocess.run(
        ["gpg", "--list-keys", "--with-colons"], check=True, capture_output=True, text=True, env=environment
    )
    found = re.search(r"^fpr:+(\w+):", told.stdout, re.MULTILINE)
    assert found
    return {**environment, "REPOSITORY_KEY": found[1]}


def repository(out: Path, keys: dict[str, str], *words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(PACKAGING / "repository.py"), "--out", str(out), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=keys, timeout=60)


def apt(folder: Path, source: str, *words: str) -> subprocess.CompletedProcess[str]:
    """An apt with this source alone."""
    for name in ("state/lists/partial", "cache/archives/partial", "etc/preferences.d", "etc/apt.conf.d"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "etc/sources.list").write_text(source)
    (folder / "state/status").touch()
    options = [
        f"Dir::State={folder}/state", f"Dir::State::status={folder}/state/status", f"Dir::Cache={folder}/cache",
        f"Dir::Etc={folder}/etc", "APT::Sandbox::User=", f"APT::Architecture={HERE}",
    ]  # fmt: skip
    command = [words[0], *(word for option in options for word in ("-o", option)), *words[1:]]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_apt_follows_the_suite_that_it_is_told(keys: dict[str, str], tmp_path: Path) -> None:
    out = tmp_path / "repository"
    made = deb(tmp_path).rename(tmp_path / f"site-gateway_3_{HERE}.deb")
    assert repository(out, keys, "--suite", "canary", made).returncode == 0
    source = f"deb [signed-by={out}/site-gateway.asc] file:{out} %s main\n"
    told = apt(tmp_path / "apt", source % "canary", "apt-get", "update")
    assert (told.returncode, "W:" in told.stderr) == (0, False), told.stdout + told.stderr
    assert "Candidate: 3" in apt(tmp_path / "apt", source % "canary", "apt-cache", "policy", "site-gateway").stdout
    assert apt(tmp_path / "apt2", source % "stable", "apt-get", "update").returncode != 0
    assert repository(out, keys, "--suite", "stable", made).returncode == 0
    assert apt(tmp_path / "apt2", source % "stable", "apt-get", "update").returncode == 0


def test_what_another_key_signed_or_nobody_is_refused(keys: dict[str, str], tmp_path: Path) -> None:
    out = tmp_path / "repository"
    made = deb(tmp_path).rename(tmp_path / f"site-gateway_3_{HERE}.deb")
    assert repository(out, keys, "--suite", "stable", made).returncode == 0
    release = out / "dists/stable/InRelease"
    release.write_text(release.read_text().replace("Suite: stable", "Suite: stab1e"))
    (out / "dists/stable/Release").unlink()
    source = f"deb [signed-by={out}/site-gateway.asc] file:{out} stable main\n"
    assert apt(tmp_path / "apt", source, "apt-get", "update").returncode != 0


def test_each_list_lies_under_its_hash(keys: dict[str, str], tmp_path: Path) -> None:
    out = tmp_path / "repository"
    made = deb(tmp_path).rename(tmp_path / f"site-gateway_3_{HERE}.deb")
    assert repository(out, keys, made).returncode == 0
    for lists in sorted(out.glob("dists/*/main/binary-*/Packages*")):
        digest = hashlib.sha256(lists.read_bytes()).hexdigest()
        assert (lists.parent / "by-hash/SHA256" / digest).read_bytes() == lists.read_bytes()
        assert digest in (out / "dists" / lists.relative_to(out / "dists").parts[0] / "InRelease").read_text()


def test_without_a_key_there_is_none(keys: dict[str, str], tmp_path: Path) -> None:
    told = repository(tmp_path / "repository", {**keys, "REPOSITORY_KEY": ""}, deb(tmp_path))
    assert (told.returncode, "REPOSITORY_KEY" in told.stderr) == (1, True)


def test_the_timer_waits_for_the_night_and_is_off() -> None:
    for name in ("site-gateway-upgrade.timer", "site-gateway-upgrade.service"):
        verify = ["systemd-analyze", "verify", "--man=no", str(ROOT / "systemd" / name)]
        assert subprocess.run(verify, capture_output=True, text=True, check=False, timeout=30).stderr == ""
    timer = (ROOT / "systemd" / "site-gateway-upgrade.timer").read_text()
    assert "RandomizedDelaySec=3h" in timer
    assert "site-gateway-upgrade" not in "".join(
        path.read_text() for path in (PACKAGING / "debian").glob("site-gateway.*inst")
    )

"""The package on a Debian of its own, booted, without a network."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.accounts import as_root
from tests.packaging.box import SITE, Box, mirror, root_archive, until
from tests.packaging.building import ROOT, built_once, repacked

pytestmark = [pytest.mark.soak, as_root, pytest.mark.timeout(900)]

FIRE = """title: A fire in building 3
steps:
  - {at: 20s, set: {smoke-3-2f.smoke: alarm}}
  - {at: 24s, set: {smoke-3-3f.smoke: alarm}}
"""
FIRST = "/etc/site-gateway/first.yaml"
ANSWERS = (
    "--site", "xima-xincun", "--name", "西马新村", "--timezone", "Asia/Shanghai", "--gateway", "xmxc-01",
    "--broker", "mqtt://127.0.0.1:1883",
)  # fmt: skip


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built_once(tmp_path_factory.getbasetemp() / "package", "--machine", "amd64")


BOOTS = """
import sys, threading
from pathlib import Path
from tests.packaging.box import Box
with Box(Path(sys.argv[1])) as box:
    print(box.leader, flush=True)
    threading.Event().wait()
"""


def test_a_machine_ends_with_the_test_that_booted_it(tmp_path: Path) -> None:
    command = [sys.executable, "-c", BOOTS, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as test:
        assert test.stdout is not None
        first = Path(f"/proc/{int(test.stdout.readline())}")
        assert first.exists()
        test.kill()
    until(lambda: not first.exists(), 20, "the machine is off")


@pytest.mark.parametrize("suite", ["bookworm", "trixie"])
def test_a_fire_opens_the_gates_on_a_fresh_machine(package: Path, tmp_path: Path, suite: str) -> None:
    with Box(tmp_path, suite) as box:
        told = box.install(package)
        assert told.returncode == 0, told.stdout + told.stderr
        assert "write /etc/site-gateway/site.yaml" in told.stdout
        assert box.run("systemctl", "is-enabled", "site-gateway").strip() == "enabled"
        assert box.run("systemctl", "show", "-P", "ConditionResult", "site-gateway").strip() == "no"
        box.simulate(FIRE)
        (serial,) = re.findall(r'fire-loop: .*serial: "([^"]+)"', box.inside(SITE).read_text())
        box.run("site-gateway", "init", FIRST, *ANSWERS, "--serial", serial, "--units", "12-13", "--page")
        assert "profile: jdrk-rs-yg-n01, line: bus, unit: 13" in box.inside(FIRST).read_text()
        assert box.run("site-gateway", "check", FIRST).splitlines()[-1].startswith("0 errors, ")
        assert box.run("stat", "--format=%U:%G %a", FIRST).strip() == "root:site-gateway 640"
        box.start()
        until(box.is_watching, 30, "all lines answer")
        until(lambda: box.status()["gates"]["north-in"]["commanded"] == "held", 60, "the gate is held")
        refused = box.install(repacked(package, tmp_path, "99.0"))
        assert refused.returncode != 0
        assert "no upgrade now" in refused.stdout + refused.stderr
        assert box.status()["gates"]["north-in"]["commanded"] == "held"
        box.run("systemctl", "stop", "mosquitto")
        box.run("apt-get", "remove", "-y", "site-gateway")
        assert box.inside("/var/lib/site-gateway/journal.db").exists()
        assert box.inside("/etc/site-gateway/site.yaml").exists()
        assert not box.inside("/usr/lib/site-gateway").exists()
        purged = box.run("apt-get", "purge", "-y", "site-gateway")
        assert "events that no broker has, at least:" in purged
        for gone in ("/var/lib/site-gateway", "/etc/site-gateway", "/usr/lib/site-gateway-previous"):
            assert not box.inside(gone).exists()


LINTIAN_FAST = "uses-no-compression-for-control-tarball,uses-no-compression-for-data-tarball"
"""Of a package that is built for tests."""


def test_lintian_has_nothing_to_say(package: Path) -> None:
    told = subprocess.run(
        ["lintian", "--allow-root", "--fail-on", "error,warning", "--suppress-tags", LINTIAN_FAST, package],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert (told.returncode, told.stdout) == (0, "")


@pytest.mark.parametrize("suite", ["bookworm", "trixie"])
def test_piuparts_finds_nothing_left_behind(package: Path, tmp_path: Path, suite: str) -> None:
    """Installed, removed and purged, what is on the disk is what was there before."""
    base = tmp_path / "base.tgz"
    with base.open("wb") as packed:
        subprocess.run(["gzip", "-1", "--stdout", root_archive(suite)], stdout=packed, check=True, timeout=120)
    words = ["--no-upgrade-test", "--tmpdir", str(tmp_path), "--mirror", f"{mirror()} main", "--distribution", suite]
    told = subprocess.run(
        ["piuparts", "--basetgz", base, *words, package], capture_output=True, text=True, check=False, timeout=850
    )
    assert told.returncode == 0, told.stdout[-5000:]
    assert "PASS: Installation and purging test." in told.stdout

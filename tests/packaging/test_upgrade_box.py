"""Upgrades on a Debian of its own: a good version is kept, a broken one is gone back from, none costs an event."""

import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from gateway import __version__
from gateway.cloud.journal.schema import VERSION
from tests.accounts import as_root
from tests.packaging.box import SITE, Box, until
from tests.packaging.building import build, built_once, repacked

pytestmark = [pytest.mark.soak, as_root, pytest.mark.timeout(900)]

TRIAL_S = 20
NEXT = "99.0"
UNREACHABLE = """
import socket
connect = socket.socket.connect
def refused(self, address):
    if {condition}:
        raise ConnectionRefusedError(111, "broken on purpose")
    return connect(self, address)
socket.socket.connect = socket.socket.connect_ex = refused
"""
GATE_LINE = """address[1:2] == ({port},)"""

BROKEN = {
    "crashes at start": "raise RuntimeError('broken on purpose')",
    "never ready": "import signal\nsignal.pause()",
    "loses a line": "",
    "loses the broker": UNREACHABLE.format(condition="address[1:2] == (1883,)"),
    "refuses the site file": "print('site.yaml:1:1: version: found 1; 2 is allowed')\nsys.exit(1)",
}


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built_once(tmp_path_factory.getbasetemp() / "package", "--machine", "amd64")


@pytest.fixture
def box(package: Path, tmp_path: Path) -> Iterator[Box]:
    """A machine with the package, watching the example site."""
    with Box(tmp_path) as machine:
        told = machine.install(package)
        assert told.returncode == 0, told.stdout + told.stderr
        machine.simulate()
        machine.start()
        until(machine.is_watching, 60, "all lines answer")
        yield machine


def state(box: Box) -> dict[str, Any]:
    path = box.inside("/var/lib/site-gateway/upgrade.json")
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return found


def gate_port(box: Box) -> str:
    found = re.search(r'gate-io: .*tcp: "127\.0\.0\.1:(\d+)"', box.inside("/etc/site-gateway/site.yaml").read_text())
    assert found
    return found[1]


def ids(box: Box) -> list[str]:
    return [str(event["id"]) for stream in ("alarm", "access", "audit") for event in box.events(stream)]


def test_a_good_version_is_kept_and_the_one_before_can_be_had_again(box: Box, package: Path, tmp_path: Path) -> None:
    before = ids(box)
    told = box.install(repacked(package, tmp_path, NEXT, trial_s=TRIAL_S))
    assert told.returncode == 0, told.stdout + told.stderr
    until(lambda: box.version() == NEXT, 30, "the new version runs")
    until(lambda: state(box).get("phase") == "kept", TRIAL_S + 20, "it is kept")
    assert set(before) <= set(ids(box))
    assert box.run("site-gateway", "--version").strip().endswith(f"version {NEXT}")
    assert [path.name for path in box.inside("/usr/lib/site-gateway-previous").glob("[0-9]*")] == [__version__]


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_version_ends_with_the_one_before(box: Box, package: Path, tmp_path: Path, how: str) -> None:
    then = BROKEN[how] or UNREACHABLE.format(condition=GATE_LINE.format(port=gate_port(box)))
    drop_in = box.inside("/etc/systemd/system/site-gateway.service.d")
    drop_in.mkdir(parents=True)
    (drop_in / "quick.conf").write_text("[Service]\nTimeoutStartSec=8s\n")
    before = ids(box)
    box.install(repacked(package, tmp_path, NEXT, then=then, trial_s=TRIAL_S))
    begun = time.monotonic()
    words = f"{__version__}, after {NEXT} was rolled back"
    until(lambda: box.version() == words, 3 * 12 + TRIAL_S + 30, f"the old version runs\n{box.journal()[-3000:]}")
    took = time.monotonic() - begun
    print(f"\n{how}: the version before runs {took:.0f} s after the installation, of a trial of {TRIAL_S} s")  # noqa: T201
    assert took <= TRIAL_S + 30
    until(box.is_watching, 60, "all lines answer again")
    assert box.run("site-gateway", "--version").strip() == f"site-gateway, version {words}"
    assert set(before) <= set(ids(box))
    told = [event for event in box.events("audit") if str(event["type"]).endswith("config.rolled-back.v1")]
    assert [(event["data"]["version"], event["data"]["rolled_back"]) for event in told] == [(__version__, NEXT)]
    box.run("systemctl", "restart", "site-gateway")
    until(lambda: box.version() == words, 30, "it stays so over a restart")
    again = [event for event in box.events("audit") if str(event["type"]).endswith("config.rolled-back.v1")]
    assert len(again) == 1
    # Another version is another trial.
    assert box.install(repacked(package, tmp_path, "99.1", trial_s=TRIAL_S)).returncode == 0
    until(lambda: box.version() == "99.1", 30, "the next version runs")
    assert [path.name for path in box.inside("/usr/lib/site-gateway-previous").glob("[0-9]*")] == [__version__]


def test_a_service_that_was_stopped_or_masked_stays_so(box: Box, package: Path, tmp_path: Path) -> None:
    box.run("systemctl", "stop", "site-gateway")
    assert box.install(repacked(package, tmp_path, NEXT)).returncode == 0
    assert box.try_run("systemctl", "is-active", "site-gateway").stdout.strip() == "inactive"
    box.run("systemctl", "mask", "site-gateway")
    assert box.install(repacked(package, tmp_path, "99.1")).returncode == 0
    assert box.try_run("systemctl", "is-enabled", "site-gateway").stdout.strip() == "masked"
    assert box.try_run("systemctl", "is-active", "site-gateway").stdout.strip() == "inactive"


def test_a_broker_that_was_away_before_is_no_reason_to_go_back(box: Box, package: Path, tmp_path: Path) -> None:
    box.run("systemctl", "stop", "mosquitto")
    until(lambda: not box.status()["uplink"]["connected"], 30, "the broker is gone")
    assert box.install(repacked(package, tmp_path, NEXT, trial_s=TRIAL_S)).returncode == 0
    until(lambda: state(box).get("phase") == "kept", TRIAL_S + 40, "it is kept")


def test_a_signed_file_and_the_way_back_on_request(tmp_path: Path) -> None:
    key = tmp_path / "release-key.pem"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", key], check=True, capture_output=True)
    signed = build(tmp_path, "--machine", "amd64", RELEASE_KEY=str(key))
    following = repacked(signed, tmp_path, NEXT, trial_s=TRIAL_S)
    with Box(tmp_path) as box:
        assert box.install(signed).returncode == 0
        box.simulate()
        box.start()
        until(box.is_watching, 60, "all lines answer")
        path = box.take(following)
        refused = box.try_run("site-gateway", "upgrade", path)
        assert (refused.returncode, "is not signed" in refused.stderr) == (2, True)
        names = ["-inkey", str(key), "-in", str(following), "-out", f"{following}.sig"]
        subprocess.run(["openssl", "pkeyutl", "-sign", "-rawin", *names], check=True)
        shutil.copy(f"{following}.sig", box.inside(f"{path}.sig"))
        told = box.run("site-gateway", "upgrade", path)
        assert "the signature is that of the release key" in told
        until(lambda: state(box).get("phase") == "kept", TRIAL_S + 40, "it is kept")
        assert box.version() == NEXT
        assert "runs again" in box.run("site-gateway", "upgrade", "--undo")
        words = f"{__version__}, after {NEXT} was rolled back"
        until(lambda: box.version() == words, 30, "the version before runs again")


# ---- what an upgrade must not meet --------------------------------------------------------------------

FIRE = """title: A fire while a package is unpacked
steps:
  - {at: 100s, set: {smoke-3-2f.smoke: alarm, smoke-3-3f.smoke: alarm}}
  - {at: 150s, set: {smoke-3-2f.smoke: normal, smoke-3-3f.smoke: normal}}
"""
LATER_STEP = 'STEPS = (*STEPS, ("CREATE TABLE later (x)",))\nVERSION = '


def waits(work: Path) -> None:
    """The last script of the package waits, with all unpacked, until it may go on."""
    script = work / "DEBIAN/postinst"
    wait = "touch /srv/unpacked; until [ -e /srv/go ]; do sleep 0.1; done\n"
    script.write_text(script.read_text().replace("set -e\n", f"set -e\n{wait}", 1))


def later_unit(work: Path) -> None:
    """A version whose unit says something else."""
    unit = work / "usr/lib/systemd/system/site-gateway.service"
    unit.write_text(unit.read_text().replace("[Service]\n", "[Service]\nEnvironment=LATER=1\n"))


def runs_under_the_later_unit(box: Box) -> bool:
    process = box.run("systemctl", "show", "-P", "MainPID", "site-gateway").strip()
    return "LATER=1" in box.run("cat", f"/proc/{process}/environ").split("\0")


def later_schema(work: Path) -> None:
    """A version whose store has one more step; its unit and its launcher are others, too."""
    tree = work / "usr/lib/site-gateway"
    steps = tree / "gateway/cloud/journal/schema.py"
    steps.write_text(steps.read_text().replace("\nVERSION = ", f"\n{LATER_STEP}"))
    (tree / "SCHEMA").write_text(f"{VERSION + 1}\n")
    later_unit(work)
    with (work / "usr/bin/site-gateway").open("a") as launcher:
        launcher.write("# LATER\n")


def release(box: Box) -> None:
    """Who is on site resets the fires and releases the gates."""

    def quiet() -> bool:
        fires = [one for one in json.loads(box.run("site-gateway", "alarms", SITE, "--json")) if one["kind"] == "fire"]
        for one in fires:
            box.try_run(
                "site-gateway", "do", SITE, "alarm.reset", f"alarm={one['alarm']}", "note=over", "--by", "zhang"
            )
        return not fires

    until(quiet, 120, "the fires are reset")
    for gate, one in box.status()["gates"].items():
        if one["commanded"].startswith("held"):
            box.run("site-gateway", "do", SITE, "gate.release", f"gate={gate}", "reason=over", "--by", "zhang")


def test_a_fire_that_begins_while_a_package_is_unpacked(package: Path, tmp_path: Path) -> None:
    """It is the trial of all that the package brought: its unit too."""

    def edit(work: Path) -> None:
        waits(work)
        later_unit(work)

    with Box(tmp_path) as box, ThreadPoolExecutor() as beside:
        assert box.install(package).returncode == 0
        box.simulate(FIRE)
        box.start()
        until(box.is_watching, 60, "all lines answer")
        installing = beside.submit(box.install, repacked(package, tmp_path, NEXT, trial_s=TRIAL_S, edit=edit))
        until(box.inside("/srv/unpacked").exists, 90, "it is unpacked")
        assert box.status()["gates"]["north-in"]["commanded"] != "held"
        until(lambda: box.status()["gates"]["north-in"]["commanded"] == "held", 120, "the gate is held")
        box.inside("/srv/go").touch()
        told = installing.result()
        assert told.returncode == 0, told.stdout + told.stderr
        assert "a fire stands: the version before watches on" in told.stdout
        assert box.version() == __version__
        assert box.status()["gates"]["north-in"]["commanded"] == "held"
        assert not runs_under_the_later_unit(box)
        release(box)
        until(lambda: box.version() == NEXT, 60, "the new version runs")
        assert runs_under_the_later_unit(box)
        until(lambda: state(box).get("phase") == "kept", TRIAL_S + 40, "it is kept")


def test_a_store_that_is_made_during_a_trial_is_read_by_the_version_before(
    box: Box, package: Path, tmp_path: Path
) -> None:
    """Under the unit and the launcher of the version that was gone back from."""
    then = BROKEN["loses the broker"]
    assert box.install(repacked(package, tmp_path, NEXT, then=then, trial_s=60, edit=later_schema)).returncode == 0
    until(lambda: box.version() == NEXT, 30, "the new version runs")
    box.run("sh", "-c", "systemctl stop site-gateway; rm -f /var/lib/site-gateway/journal.db*")
    box.start()
    until(lambda: box.version() == NEXT, 30, "the new version runs again")
    words = f"{__version__}, after {NEXT} was rolled back"
    until(lambda: box.version() == words, 150, f"the old version runs\n{box.journal()[-3000:]}")
    until(box.is_watching, 60, "all lines answer again")
    assert runs_under_the_later_unit(box)
    assert box.run("tail", "-1", "/usr/bin/site-gateway") == "# LATER\n"


def test_an_older_version_over_a_newer_store(box: Box, package: Path, tmp_path: Path) -> None:
    assert box.install(repacked(package, tmp_path, NEXT, trial_s=TRIAL_S, edit=later_schema)).returncode == 0
    until(lambda: state(box).get("phase") == "kept", TRIAL_S + 60, "it is kept")
    box.run("systemctl", "restart", "site-gateway")
    until(lambda: state(box).get("schema") == VERSION + 1, 30, "the store has its schema")
    refused = box.try_run("site-gateway", "upgrade", "--undo")
    assert (refused.returncode, "there is no way back" in refused.stderr) == (2, True)
    before = ids(box)
    box.install(package)
    words = f"{NEXT}, after {__version__} was rolled back"
    until(lambda: box.version() == words, 90, f"the newer version runs again\n{box.journal()[-3000:]}")
    assert "made by a newer version" in box.journal()
    assert set(before) <= set(ids(box))


def test_the_power_goes_while_a_package_is_configured(box: Box, package: Path, tmp_path: Path) -> None:
    before = ids(box)
    with ThreadPoolExecutor() as beside:
        installing = beside.submit(box.install, repacked(package, tmp_path, NEXT, edit=waits))
        until(box.inside("/srv/unpacked").exists, 90, "it is unpacked")
        box.power_off()
        assert installing.result().returncode != 0
    box.boot()
    words = f"{__version__}, while another version is not wholly unpacked"
    until(lambda: box.version() == words, 60, f"the old version runs\n{box.journal()[-3000:]}")
    assert set(before) <= set(ids(box))
    box.inside("/srv/go").touch()
    box.run("dpkg", "--configure", "-a")
    until(lambda: box.version() == NEXT, 60, "the new version runs")
    assert set(before) <= set(ids(box))


def test_a_site_file_on_another_file_system(box: Box, package: Path, tmp_path: Path) -> None:
    move = "cp -a {0} /srv/etc; mount -t tmpfs none {0}; cp -a /srv/etc/. {0}; systemctl restart site-gateway"
    box.run("sh", "-e", "-c", move.format("/etc/site-gateway"))
    until(box.is_watching, 60, "all lines answer")
    assert box.install(repacked(package, tmp_path, NEXT, trial_s=TRIAL_S)).returncode == 0
    until(lambda: box.version() == NEXT, 30, "the new version runs")
    until(lambda: state(box).get("phase") == "kept", TRIAL_S + 40, "it is kept")
    box.run("mountpoint", "/etc/site-gateway")

"""Upgrades on a Debian of its own: a good version is kept, a broken one is gone back from, none costs an event."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway import __version__
from tests.packaging.box import Box, needs_box, until
from tests.packaging.building import build, built_once, repacked

pytestmark = [pytest.mark.soak, needs_box, pytest.mark.timeout(900)]

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
    words = f"{__version__}, after {NEXT} was rolled back"
    until(lambda: box.version() == words, 3 * 12 + TRIAL_S + 30, f"the old version runs\n{box.journal()[-3000:]}")
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


def test_the_running_daemon_needs_nothing_of_its_tree(box: Box) -> None:
    before = {one.get("version") for one in [box.status()["process"]]}
    box.run("sh", "-c", "rm -rf /usr/lib/site-gateway/*")
    until(lambda: "1" in box.run("sh", "-c", "systemctl is-active site-gateway | grep -c ^active"), 5, "active")
    assert before == {__version__}
    assert box.try_run("systemctl", "stop", "site-gateway", timeout=30).returncode == 0
    assert (
        "stopping" in box.journal() or box.run("systemctl", "show", "-P", "Result", "site-gateway").strip() == "success"
    )


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

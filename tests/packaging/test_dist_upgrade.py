"""Debian 12 becomes Debian 13 beneath the running gateway, and nobody touches it."""

import subprocess
from pathlib import Path

import pytest

from tests.accounts import as_root
from tests.packaging.box import Box, mirror, until
from tests.packaging.building import built_once

pytestmark = [pytest.mark.soak, as_root, pytest.mark.timeout(3600)]

APT = ("-y", "--no-download", "-o", "Dpkg::Options::=--force-confold", "-o", "Acquire::Check-Valid-Until=false")


def fetch_the_next_debian(box: Box) -> None:
    """Name Debian 13 as the source and lay its packages into the box; the box itself has no network."""
    box.inside("/etc/apt/sources.list").write_text(f"deb {mirror()} trixie main\n")
    root = box.root
    of_the_box = (
        f"Dir={root}", f"Dir::State::status={root}/var/lib/dpkg/status", "APT::Sandbox::User=root",
        f"Dir::Etc::TrustedParts={root}/etc/apt/trusted.gpg.d", "Acquire::Check-Valid-Until=false",
    )  # fmt: skip
    options = [word for option in of_the_box for word in ("-o", option)]
    for command in (("update",), ("dist-upgrade", "-y", "--download-only")):
        done = subprocess.run(
            ["apt-get", "--quiet", *options, *command],
            capture_output=True, text=True, check=False, timeout=1200, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr


def test_debian_12_becomes_13_beneath_the_gateway(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    package = built_once(tmp_path_factory.getbasetemp() / "package", "--machine", "amd64")
    with Box(tmp_path) as box:
        assert box.install(package).returncode == 0
        box.simulate()
        box.start()
        until(box.is_watching, 60, "all lines answer")
        before = {str(event["id"]) for event in box.events("audit")}
        began = box.run("systemctl", "show", "-P", "MainPID", "site-gateway")
        assert box.run("python3", "--version").startswith("Python 3.11")
        fetch_the_next_debian(box)
        told = box.run("apt-get", "dist-upgrade", *APT, timeout=1800)
        assert "site-gateway" not in told.partition("The following packages will be upgraded:")[2]
        assert box.inside("/etc/debian_version").read_text().startswith("13")
        assert box.run("python3", "--version").startswith("Python 3.13")
        until(box.is_watching, 60, f"it still watches\n{box.journal()[-3000:]}")
        ran_on = box.run("systemctl", "show", "-P", "MainPID", "site-gateway") == began
        compiled = list(box.inside("/usr/lib/site-gateway/gateway/__pycache__").glob("*.cpython-313.pyc"))
        assert compiled, "Debian's hook has it compiled for the new Python"
        assert ran_on, "nothing has restarted it"

        box.power_off()
        box.boot()
        box.simulate()
        box.run("systemctl", "restart", "site-gateway")
        until(box.is_watching, 60, f"it watches on the new Debian\n{box.journal()[-3000:]}")
        assert before <= {str(event["id"]) for event in box.events("audit")}
        running = box.run("sh", "-c", "readlink /proc/$(systemctl show -P MainPID site-gateway)/exe")
        assert running.strip() == "/usr/bin/python3.13"

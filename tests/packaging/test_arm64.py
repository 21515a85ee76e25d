"""The package for a Pi on a Debian for a Pi, whose programs qemu translates on this machine."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.accounts import as_root
from tests.packaging import layer
from tests.packaging.box import root_archive
from tests.packaging.building import build

pytestmark = [pytest.mark.soak, as_root, pytest.mark.timeout(3600)]

KNOWN = Path("/proc/sys/fs/binfmt_misc")
QEMU = Path("/usr/lib/binfmt.d/qemu-aarch64.conf")
"""Of Debian's qemu-user-static: how the kernel knows programs for ARM, and what runs them."""

SCRIPT = """
dpkg --install /srv/it/site-gateway_*_arm64.deb
dpkg --print-architecture
cd /usr/share/doc/site-gateway/examples
site-gateway check example.yaml
site-gateway plan example.yaml
site-gateway demo --for {seconds}s
"""
SECONDS = 30


@pytest.fixture(scope="module")
def translated() -> Iterator[None]:
    """The kernel starts programs for ARM; where Debian did not see to it before, not afterwards."""
    was_mounted = (KNOWN / "register").exists()
    if not was_mounted:
        subprocess.run(["mount", "-t", "binfmt_misc", "none", KNOWN], check=True)
    ours = KNOWN / "qemu-aarch64"
    was_there = ours.exists()
    if not was_there:
        (KNOWN / "register").write_text(QEMU.read_text().strip())
    yield
    if not was_there:
        ours.write_text("-1")
    if not was_mounted:
        subprocess.run(["umount", KNOWN], check=True)


@pytest.mark.usefixtures("translated")
def test_the_package_for_a_pi_checks_plans_and_demonstrates(tmp_path: Path) -> None:
    folder, mount, root = (tmp_path / name for name in ("it", "mount", "root"))
    for path in (folder, mount, root):
        path.mkdir()
    build(folder, "--machine", "arm64")
    archive = root_archive("bookworm", "arm64", "python3,tzdata,systemd-standalone-sysusers")
    subprocess.run(["tar", "-C", root, "-xf", archive], check=True, timeout=120)
    done = layer.run(SCRIPT.format(seconds=SECONDS), folder, mount, root=root, timeout=3000)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
    installed, check, rest = done.stdout.partition("\n0 errors, ")
    assert (installed.count("\narm64\n"), check != "") == (1, True)
    plan, arrived, _ = rest.partition(" events arrived, 0 repeats, gaps: none.")
    assert "Alarm points: worst case to the confirmed answer" in plan
    assert arrived, done.stdout[-6000:]
    assert "火警 FIRE" in plan

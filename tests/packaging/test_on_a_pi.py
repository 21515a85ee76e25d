"""README's section for a Pi is a script: who has that and the two files that it names reaches a running service."""

import os
import re
import shutil
import stat
from pathlib import Path

import pytest

from tests.accounts import as_root
from tests.packaging import layer
from tests.packaging.box import Box
from tests.packaging.building import ROOT, built_once, unpacked

USER = "pi"


def script(page: str, heading: str) -> str:
    """The first block of commands of a section, as it is printed."""
    text = (ROOT / page).read_text(encoding="utf-8")
    section = text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return str(re.findall(r"```sh\n(.*?)```", section, re.DOTALL)[0])


PI = script("README.md", "On a Raspberry Pi")


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    own = tmp_path_factory.getbasetemp()
    of_the_run = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    return built_once(of_the_run / "package", "--machine", "amd64")


@pytest.mark.parametrize(
    ("page", "heading"), [("README.zh-CN.md", "在树莓派上安装"), ("docs/installation.md", "On the box")]
)
def test_the_other_pages_print_the_same_commands(page: str, heading: str) -> None:
    assert script(page, heading) == PI


SIMULATED = """
PYTHONPATH=/srv/it/usr/lib/site-gateway python3 -m gateway simulate \
    /srv/it/usr/lib/site-gateway/gateway/examples/minimal.yaml --out /srv/it/site.yaml >/srv/it/simulated 2>&1 &
until [ -s /srv/it/site.yaml ]; do sleep 0.1; done
chmod 666 /dev/pts/[0-9]*; chmod 755 /tmp/virtual-site-*
sed -i 's,/srv/it/site.store,/var/lib/site-gateway,' /srv/it/site.yaml
chmod 600 /srv/it/site.yaml
cd /srv/it
"""


WATCHES = """
timeout 30 sh -c 'until sudo site-gateway status /etc/site-gateway/site.yaml | grep "line bus: up"; do sleep 0.2; done'
"""
"""It is ready before it has asked its line."""


@as_root
@pytest.mark.timeout(240)
def test_the_section_is_a_script_and_ends_with_a_running_service(package: Path, tmp_path: Path) -> None:
    """On this machine's Debian, without its systemd; `test_on_a_fresh_debian` has that too."""
    folder, mount = tmp_path / "it", tmp_path / "mount"
    mount.mkdir()
    unpacked(package, folder)  # the hardware: whoever has the two files has it too
    shutil.copy(package, folder)
    done = layer.run(SIMULATED + PI + WATCHES, folder, mount, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "\n0 errors, " in done.stdout
    assert "uplink: NOT connected" in done.stdout
    assert done.stdout.endswith("\nline bus: up\n")
    assert not any(mount.iterdir()), "the layer is gone with its processes"


@pytest.mark.soak
@as_root
@pytest.mark.timeout(900)
@pytest.mark.parametrize("suite", ["bookworm", "trixie"])
def test_on_a_fresh_debian(package: Path, tmp_path: Path, suite: str) -> None:
    """As an ordinary user who may use sudo; the site file is closed to others, as `init` writes it."""
    with Box(tmp_path, suite) as box:
        box.equip(unpacked(package, tmp_path / "tools") / "usr/lib/site-gateway")
        site = box.serve("minimal.yaml")
        box.run("useradd", "--create-home", USER)
        box.inside("/etc/sudoers.d/pi").write_text(f"{USER} ALL=(ALL) NOPASSWD: ALL\n")
        home = box.inside(f"/home/{USER}")
        (home / "site.yaml").write_text(site)
        (home / "site.yaml").chmod(0o600)
        shutil.copy(package, home)
        (home / "script").write_text(f"cd\nset -e\n{PI}{WATCHES}")
        box.run("chown", "--recursive", f"{USER}:", f"/home/{USER}")
        told = box.run("runuser", "--login", USER, "--command", "sh ./script", timeout=180)
        assert "\n0 errors, " in told
        assert told.endswith("\nline bus: up\n")
        assert box.run("systemctl", "is-active", "site-gateway").strip() == "active"
        installed = box.inside("/etc/site-gateway/site.yaml").stat()
        assert stat.S_IMODE(installed.st_mode) & 0o7 == 0
        assert box.run("stat", "--format=%U:%G", "/etc/site-gateway/site.yaml").strip() == "root:site-gateway"

"""The Debian package beside what it is made of: its size, its making, its installation, its start and its memory.

`BENCH_STARTS` (default 10) starts of each. The floors: `tar` and `xz` of the same files; the same wheels in an
environment (venv) of the same Python; `dpkg-deb --extract` and `compileall` in the same box.
"""

import asyncio
import os
import runpy
import signal
import subprocess
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.accounts import as_root
from tests.benchmarks.measure import median, resident_mib
from tests.packaging.box import SITE, Box
from tests.packaging.building import PACKAGING, build, unpacked

STARTS = int(os.environ.get("BENCH_STARTS", "10"))
DEB_MB, INSTALLED_MB = 30.0, 115.0
INSTALL_S, FIRST_VALUE_S = 20.0, 25.0
LIKE_A_VENV = 1.05
DEBIANS_PYTHON = "/usr/bin/python3"
LEFT_OUT = "pygments/lexers"
"""What the package does not compile: it is never loaded."""
SETTLED_S = 3.0
SITE_FILE = """\
version: 1
site: {{id: s}}
gateway: g
uplink: {{url: "mqtt://127.0.0.1:1"}}
lines: {{bus: {{driver: modbus, tcp: "127.0.0.1:{port}"}}}}
devices: {{one: {{line: bus, unit: 1, points: {{level: {{at: holding 0}}}}}}}}
store: {{path: {store}, max_size: 64MiB, alarm_reserve: 1MiB}}
"""
FIRST_MESSAGE = """
import sys
sys.path.insert(0, "/srv/tools")
from paho.mqtt import subscribe
print(subscribe.simple("site-gateway/v1/+/+/telemetry", hostname="127.0.0.1", keepalive=600).topic)
"""


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As it is given away: compressed. Built twice, to see what it takes and that both are equal."""
    began = time.monotonic()
    made = [build(tmp_path_factory.mktemp(name), "--machine", "amd64", fast=False) for name in ("first", "second")]
    each = (time.monotonic() - began) / 2
    tree = unpacked(made[0], tmp_path_factory.mktemp("tree"))
    began = time.monotonic()
    command = "tar --create . | xz --threads=0 -9 --extreme | wc --bytes"
    floor = subprocess.run(["sh", "-c", command], cwd=tree, check=True, capture_output=True, text=True).stdout
    least = time.monotonic() - began
    print(  # noqa: T201
        f"\nthe package: {made[0].stat().st_size / 1e6:.1f} MB (floor {int(floor) / 1e6:.1f} MB), made in {each:.0f} s "
        f"(floor {least:.0f} s), two of them {'equal' if len({one.read_bytes() for one in made}) == 1 else 'NOT equal'}"
    )
    assert made[0].read_bytes() == made[1].read_bytes()
    return made[0]


@pytest.fixture(scope="module")
def tree(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its files, compiled as its installation does it."""
    root = unpacked(package, tmp_path_factory.mktemp("installed"))
    library = root / "usr/lib/site-gateway"
    compiling = [DEBIANS_PYTHON, "-m", "compileall", "-q", "-x", LEFT_OUT, str(library)]
    subprocess.run(compiling, check=True, capture_output=True, timeout=300)
    return root


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same wheels in an environment of Debian's Python."""
    folder = tmp_path_factory.mktemp("environment")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(PACKAGING))
        building = runpy.run_path(str(PACKAGING / "build.py"))
        cache = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "site-gateway"
        libraries = building["library_wheels"]("amd64", cache)
        own = building["program"](folder / "wheel")
    wheels = [str(one) for several in libraries.values() for one in several if "cp313-cp313" not in one.name]
    subprocess.run([DEBIANS_PYTHON, "-m", "venv", folder / "venv"], check=True)
    pip = [str(folder / "venv/bin/pip"), "install", "--quiet", "--no-index", "--no-deps", *wheels, str(own)]
    subprocess.run(pip, check=True, timeout=300)
    return folder / "venv"


def megabytes(folder: Path) -> float:
    """The bytes of its files; hard links once. In blocks of 4 KiB it is 6 % more."""
    command = ["du", "--summarize", "--apparent-size", "--block-size=1000", str(folder)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[0]) / 1000


def test_size(package: Path, tree: Path, environment: Path) -> None:
    deb, installed, floor = package.stat().st_size / 1e6, megabytes(tree), megabytes(environment)
    print(f"\ninstalled and compiled: {installed:.1f} MB, for two Pythons (floor, of one: {floor:.1f} MB)")  # noqa: T201
    assert deb <= DEB_MB
    assert installed <= INSTALLED_MB


class Begun(NamedTuple):
    """Seconds to the first request on the wire, and resident MiB some seconds later."""

    first_poll: float
    resident: float


async def begin(command: Sequence[str], folder: Path) -> Begun:
    """Start the daemon on a line whose device only listens."""
    asked = asyncio.Event()

    async def device(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await reader.read(64):
            asked.set()
        writer.close()

    folder.mkdir()
    async with await asyncio.start_server(device, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        site = folder / "site.yaml"
        site.write_text(SITE_FILE.format(port=port, store=folder / "store"))
        began = time.monotonic()
        running = await asyncio.create_subprocess_exec(
            *command, "run", str(site), stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
        )
        try:
            async with asyncio.timeout(30):
                await asked.wait()
            took = time.monotonic() - began
            await asyncio.sleep(SETTLED_S)
            return Begun(took, resident_mib(running.pid))
        finally:
            running.send_signal(signal.SIGTERM)
            await running.wait()


async def test_start_and_memory(tree: Path, environment: Path, tmp_path: Path) -> None:
    commands = {
        "package": [DEBIANS_PYTHON, "-IS", str(tree / "usr/bin/site-gateway")],
        "venv": [str(environment / "bin/site-gateway")],
    }
    begun: dict[str, list[Begun]] = {name: [] for name in commands}
    for number in range(STARTS):
        for name, command in commands.items():
            begun[name].append(await begin(command, tmp_path / f"{name}{number}"))
    first = {name: min(one.first_poll for one in those) for name, those in begun.items()}
    resident = {name: median([one.resident for one in those]) for name, those in begun.items()}
    print(  # noqa: T201
        f"\nstart to first poll: package {first['package']:.3f} s, venv {first['venv']:.3f} s, "
        f"ratio {first['package'] / first['venv']:.3f}; resident: {resident['package']:.1f} and {resident['venv']:.1f} "
        f"MiB, ratio {resident['package'] / resident['venv']:.3f}"
    )
    assert first["package"] <= LIKE_A_VENV * first["venv"]
    assert resident["package"] <= LIKE_A_VENV * resident["venv"]


@as_root
@pytest.mark.parametrize("suite", ["bookworm", "trixie"])
def test_installation_without_a_network(package: Path, tree: Path, tmp_path: Path, suite: str) -> None:
    """From the file to the first value at the broker, on a fresh Debian."""
    with Box(tmp_path, suite) as box, ThreadPoolExecutor(1) as aside:
        box.equip(tree / "usr/lib/site-gateway")
        site = box.serve("minimal.yaml")
        first = aside.submit(box.run, DEBIANS_PYTHON, "-IS", "-c", FIRST_MESSAGE, timeout=120)
        began = time.monotonic()
        told = box.install(package)
        installed = time.monotonic() - began
        assert told.returncode == 0, told.stderr
        box.inside(SITE).write_text(site)
        box.start()
        assert "/telemetry" in first.result()
        value = time.monotonic() - began
        began = time.monotonic()
        box.run("dpkg-deb", "--extract", f"/srv/{package.name}", "/srv/floor")
        box.run(DEBIANS_PYTHON, "-m", "compileall", "-q", "-x", LEFT_OUT, "/srv/floor/usr/lib/site-gateway")
        floor = time.monotonic() - began
    print(f"\n{suite}: installed in {installed:.1f} s (floor {floor:.1f} s), first value after {value:.1f} s")  # noqa: T201
    assert installed <= INSTALL_S
    assert value <= FIRST_VALUE_S

"""Builds dist/site-gateway_VERSION_MACHINE.deb: wheels of the lock, the program, its papers, debhelper.

    python packaging/build.py [--machine amd64] [--machine arm64] [--out dist] [--fast]

Two builds of one commit are equal to the byte: every time is that of the commit (SOURCE_DATE_EPOCH). With RELEASE_KEY,
the path of an Ed25519 private key (PEM), the package carries the public one and gets a signature beside it: `.deb.sig`.
"""

import argparse
import datetime as dt
import importlib
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from paperwork import bill_of_materials, changelog, completion, copyright_text, manual
from scripts import whole
from wheels import ABIS, MACHINES, fetch, lay, needed

HERE = Path(__file__).parent
ROOT = HERE.parent
MAINTAINER = "site-gateway <site-gateway@localhost.localdomain>"


def main() -> None:
    """Build what is asked for; prints the path of each package."""
    parser = argparse.ArgumentParser(description="Build the Debian packages.")
    parser.add_argument("--machine", action="append", choices=sorted(MACHINES), help="default: all")
    parser.add_argument("--out", type=Path, default=ROOT / "dist")
    parser.add_argument("--cache", type=Path, default=Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser())
    parser.add_argument("--fast", action="store_true", help="do not compress: for tests")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    for machine in asked.machine or sorted(MACHINES):
        with tempfile.TemporaryDirectory(prefix="site-gateway-deb-") as scratch:
            package = build(Path(scratch), machine, asked.cache / "site-gateway", fast=asked.fast)
            made = Path(shutil.move(package, asked.out / package.name))
        if key := os.environ.get("RELEASE_KEY"):
            sign(made, Path(key))
        print(made)


def build(scratch: Path, machine: str, cache: Path, *, fast: bool) -> Path:
    """Build one package below `scratch`."""
    made = epoch()
    os.environ["SOURCE_DATE_EPOCH"] = str(made)
    os.umask(0o022)
    wheel = program(scratch / "wheel")
    version = wheel.name.split("-")[1]
    work = scratch / f"site-gateway-{version}"
    shutil.copytree(HERE / "debian", work / "debian")
    libraries = library_wheels(machine, cache)
    tree = work / "tree"
    for wheels in libraries.values():
        for one in wheels:
            lay(one, tree)
    lay(wheel, tree)
    (tree / "VERSION").write_text(f"{version}\n")
    (tree / "SCHEMA").write_text(f"{schema()}\n")
    papers(work, version, made, machine, libraries)
    debian(work, version, made)
    environment = {**os.environ, "DEB_BUILD_OPTIONS": "nocheck", "COMPRESSION": "none" if fast else "xz"}
    command = ["dpkg-buildpackage", "--build=binary", "--no-sign", "--no-check-builddeps", f"--host-arch={machine}"]
    done = subprocess.run(command, cwd=work, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout[-4000:]}{done.stderr[-4000:]}")
    return scratch / f"site-gateway_{version}_{machine}.deb"


def epoch() -> int:
    """The time that everything carries: SOURCE_DATE_EPOCH, else that of the commit."""
    told = os.environ.get("SOURCE_DATE_EPOCH")
    if told:
        return int(told)
    command = ["git", "log", "-1", "--format=%ct"]
    return int(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout)


def schema() -> int:
    """The newest schema of a store that the program can read."""
    sys.path.insert(0, str(ROOT))
    found: int = importlib.import_module("gateway.cloud.journal.schema").VERSION
    return found


def program(folder: Path) -> Path:
    """The program's own wheel."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


def library_wheels(machine: str, cache: Path) -> dict[str, list[Path]]:
    """The wheels of every library that the program needs, by name: one, or one for each Python."""
    cache.mkdir(parents=True, exist_ok=True)
    roots = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    found: dict[str, list[Path]] = {}
    for abi in ABIS:
        wheels = needed(fetch(ROOT / "requirements.lock", machine, abi, cache), roots, abi)
        for name, wheel in wheels.items():
            if all(wheel.name != other.name for other in found.setdefault(name, [])):
                found[name].append(wheel)
    return dict(sorted(found.items()))


def papers(work: Path, version: str, made: int, machine: str, libraries: dict[str, list[Path]]) -> None:
    """Man page, completion, licences, SBOM, documentation."""
    for path in sorted((ROOT / "gateway" / "cli").glob("*.py")):  # each brings its commands
        importlib.import_module(f"gateway.cli.{path.stem}")
    commands = importlib.import_module("gateway.cli.group").commands
    day = dt.datetime.fromtimestamp(made, dt.UTC).date()
    (work / "site-gateway.1").write_text(manual(commands, version, day))
    (work / "completion").write_text(completion(commands))
    text = copyright_text((ROOT / "LICENSE").read_text(), {name: wheels[0] for name, wheels in libraries.items()})
    (work / "debian" / "copyright").write_text(text)
    (work / "sbom.cdx.json").write_text(bill_of_materials(version, made, libraries, machine))
    shutil.copytree(ROOT / "docs", work / "doc")
    for name in ("README.md", "CHANGELOG.md"):
        shutil.copy(ROOT / name, work / "doc" / name)
    shutil.copytree(ROOT / "config", work / "examples", ignore=shutil.ignore_patterns("profiles"))
    shutil.copy(ROOT / "systemd" / "clock-from-kernel.conf", work / "examples")


def debian(work: Path, version: str, made: int) -> None:
    """The folder `debian`: units and scripts from where they live, the release key."""
    folder = work / "debian"
    (folder / "changelog").write_text(changelog(version, made, MAINTAINER))
    control = (folder / "control").read_text()
    (folder / "control").write_text(control.replace("#MAINTAINER#", MAINTAINER))
    for script in folder.glob("site-gateway.p*"):
        script.write_text(whole(script))
    systemd = work / "systemd"
    shutil.copytree(ROOT / "systemd", systemd)
    shutil.copy(HERE / "launcher", work / "launcher")
    for name in ("site-gateway.service", "site-gateway.sysusers", "site-gateway.tmpfiles"):
        shutil.copy(systemd / name, folder / name)
    if key := os.environ.get("RELEASE_KEY"):
        command = ["openssl", "pkey", "-in", key, "-pubout", "-out", str(work / "tree" / "release.pem")]
        subprocess.run(command, check=True)


def sign(package: Path, key: Path) -> None:
    """Write the signature of a package beside it: Ed25519 over its bytes."""
    command = [
        "openssl",
        "pkeyutl",
        "-sign",
        "-rawin",
        "-inkey",
        str(key),
        "-in",
        str(package),
        "-out",
        f"{package}.sig",
    ]
    subprocess.run(command, check=True)


if __name__ == "__main__":
    main()

"""A package of this tree, built once for all tests of a run, and what is done with packages."""

import fcntl
import os
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGING = ROOT / "packaging"


def build(out: Path, *options: str, fast: bool = True, **environment: str) -> Path:
    """Build one package, without compression unless it may take its time; gives its path."""
    command = [sys.executable, str(PACKAGING / "build.py"), *(["--fast"] if fast else []), "--out", str(out), *options]
    done = subprocess.run(
        command, cwd=out, env={**os.environ, **environment}, capture_output=True, text=True, check=False,
        timeout=170 if fast else 3000,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return Path(done.stdout.split()[-1])


def script(name: str) -> str:
    """A script of the package, as it is built but for what debhelper adds."""
    whole = runpy.run_path(str(PACKAGING / "scripts.py"))["whole"]
    return str(whole(PACKAGING / "debian" / f"site-gateway.{name}")).replace("#DEBHELPER#", "")


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """One process at a time: the workers of a run share a package."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def built_once(folder: Path, *options: str) -> Path:
    """The package in `folder`, built by whoever of this run comes first."""
    folder.mkdir(exist_ok=True)
    with locked(folder / "lock"):
        there = sorted(folder.glob("*.deb"))
        return there[0] if there else build(folder, *options)


def repacked(
    package: Path,
    out: Path,
    version: str,
    *,
    then: str = "",
    trial_s: int | None = None,
    edit: Callable[[Path], None] | None = None,
) -> Path:
    """The same package as another version, without compression.

    `then`: Python that the program runs before anything else when it is started as the daemon; `trial_s`: how long an
    upgrade to it is tried; `edit`: changes its files, with those of control in `DEBIAN`.
    """
    work = out / f"work-{version}"
    subprocess.run(["dpkg-deb", "--raw-extract", package, work], check=True, timeout=60)
    control = work / "DEBIAN" / "control"
    control.write_text(re.sub(r"^Version: .*$", f"Version: {version}", control.read_text(), flags=re.MULTILINE))
    tree = work / "usr/lib/site-gateway"
    (tree / "VERSION").write_text(f"{version}\n")
    init = tree / "gateway" / "__init__.py"
    init.write_text(re.sub(r'__version__ = ".*"', f'__version__ = "{version}"', init.read_text()))
    if then:
        cli = tree / "gateway" / "cli" / "__init__.py"
        indented = "".join(f"    {line}\n" for line in then.strip().splitlines())
        cli.write_text(f"{cli.read_text()}\n\nif sys.argv[1:2] == ['run']:\n{indented}")
    if trial_s is not None:
        preinst = work / "DEBIAN" / "preinst"
        preinst.write_text(preinst.read_text().replace("TRIAL_S = 300", f"TRIAL_S = {trial_s}"))
    if edit is not None:
        edit(work)
    made = out / f"site-gateway_{version}_amd64.deb"
    build = ["dpkg-deb", "--root-owner-group", "-Znone", "--build", str(work), str(made)]
    subprocess.run(build, check=True, capture_output=True, timeout=60)
    shutil.rmtree(work)
    return made


def python(version: str) -> Path | None:
    """A Python of this machine, where `.ci/pythons` looks for it too."""
    at_home = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for candidate in (f"python{version}", *map(str, sorted(at_home.glob(f"{version}.*/bin/python")))):
        try:
            told = subprocess.run(
                [candidate, "-IS", "-c", "import sys, sqlite3, ssl; print('%d.%d' % sys.version_info[:2])"],
                capture_output=True, text=True, check=False, timeout=20,
            )  # fmt: skip
        except OSError:
            continue
        if told.stdout.strip() == version:
            return Path(candidate)
    return None


def unpacked(package: Path, folder: Path) -> Path:
    """The files of a package, laid below `folder`; gives the folder."""
    subprocess.run(["dpkg-deb", "--extract", package, folder], check=True, timeout=60)
    return folder

"""A package of this tree, built once for all tests of a run, and what is done with packages."""

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGING = ROOT / "packaging"


def build(out: Path, *options: str, **environment: str) -> Path:
    """Build one package, without compression; gives its path."""
    command = [sys.executable, str(PACKAGING / "build.py"), "--fast", "--out", str(out), *options]
    done = subprocess.run(
        command, cwd=out, env={**os.environ, **environment}, capture_output=True, text=True, check=False, timeout=170
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return Path(done.stdout.split()[-1])


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

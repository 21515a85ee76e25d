"""The libraries of the lock, for every Python that the package serves, laid over one another in one tree.

Extension modules carry their ABI in their names, so the wheels of several Pythons share a tree: what collides must be
identical. Adding a Python is one entry in `ABIS`, and its limit in `debian/control`.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterable
from email.parser import HeaderParser
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ABIS = ("311", "313")
"""CPython of Debian 12 and of Debian 13."""
MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
_OF_ONE_WHEEL = re.compile(r"^[^/]+\.dist-info/(?:RECORD|WHEEL|INSTALLER|REQUESTED|sboms/.*)$")
"""Files that speak of one wheel and are never read: each wheel of a library has its own."""
_LAID = re.compile(r"^[^/]+\.data/(?:purelib|platlib)/")
_NOT_LAID = re.compile(r"^[^/]+\.data/")


class CollisionError(Exception):
    """Two wheels bring a file of one name and different content."""


def fetch(lock: Path, machine: str, abi: str, cache: Path) -> list[Path]:
    """The wheels of a lock for one machine and Python, from the index or from an earlier time. Exits if pip fails."""
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()[:16]
    folder = cache / f"{digest}-{machine}-cp{abi}"
    if not folder.is_dir():
        part = cache / f"{folder.name}.part{os.getpid()}"
        platforms = [f"manylinux_2_28_{MACHINES[machine]}", f"manylinux2014_{MACHINES[machine]}"]
        command = [
            sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input",
            "--require-hashes", "--no-deps", "--only-binary", ":all:",
            *(word for platform in platforms for word in ("--platform", platform)),
            "--implementation", "cp", "--python-version", abi, "--abi", f"cp{abi}", "--abi", "abi3", "--abi", "none",
            "--dest", str(part), "--requirement", str(lock),
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(done.stdout + done.stderr)
        try:
            part.rename(folder)
        except OSError:  # another build was faster
            shutil.rmtree(part)
    return sorted(folder.glob("*.whl"))


def about(wheel: Path) -> dict[str, list[str]]:
    """The metadata of a wheel: values by lower-case key."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", name)]
        message = HeaderParser().parsestr(archive.read(name).decode())
    return {key.lower(): [str(value) for value in message.get_all(key, [])] for key in message}


def needed(wheels: Iterable[Path], roots: Iterable[str], abi: str) -> dict[str, Path]:
    """Those of the wheels that the requirements `roots` lead to, by name. Raises KeyError for one that is missing."""
    python = f"{abi[0]}.{abi[1:]}"
    environment = {
        "python_version": python, "python_full_version": f"{python}.0", "implementation_name": "cpython",
        "platform_python_implementation": "CPython", "sys_platform": "linux", "platform_system": "Linux",
        "os_name": "posix", "extra": "",
    }  # fmt: skip
    there = {str(canonicalize_name(wheel.name.partition("-")[0])): wheel for wheel in wheels}
    found: dict[str, Path] = {}
    waiting = [Requirement(text) for text in roots]
    while waiting:
        requirement = waiting.pop()
        extras = {"", *requirement.extras}
        if requirement.marker and not any(requirement.marker.evaluate({**environment, "extra": one}) for one in extras):
            continue
        name = str(canonicalize_name(requirement.name))
        if name in found:
            continue
        found[name] = there[name]
        waiting += [Requirement(text) for text in about(there[name]).get("requires-dist", [])]
    return dict(sorted(found.items()))


def lay(wheel: Path, tree: Path) -> None:
    """Lay the files of a wheel into a tree. Raises CollisionError for one that is there and differs."""
    with zipfile.ZipFile(wheel) as archive:
        for entry in archive.infolist():
            name = _LAID.sub("", entry.filename)
            if entry.is_dir() or _NOT_LAID.match(name) or _OF_ONE_WHEEL.match(name):
                continue
            target = (tree / name).resolve()
            if not target.is_relative_to(tree.resolve()):
                raise CollisionError(f"{wheel.name}: {entry.filename} leads out of the tree")
            content = archive.read(entry)
            if target.exists():
                if target.read_bytes() != content:
                    raise CollisionError(f"{wheel.name}: {name} is there with another content")
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)

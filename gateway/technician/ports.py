"""Serial ports of this machine: who may open one, which program uses it, its stable name."""

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_LONGEST_COMMAND = 200
SLOW_TIMER_MS = 4
"""The longest acceptable latency of an adapter, milliseconds."""


class Trouble(NamedTuple):
    """A problem, and what to do about it."""

    what: str
    todo: str


def trouble(path: str) -> Trouble | None:
    """Why this port cannot be used now; None: it can. Opens it for a moment."""
    try:
        number = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        there = ", ".join(ports()) or "none"
        return Trouble(f"{path}: no such port", f"plug the adapter in, or use its name; ports there are: {there}")
    except PermissionError:
        todo = "add the user to the port's group (usermod -aG dialout USER), then log in again"
        return Trouble(f"{path}: this user may not open it ({_rights(path)})", todo)
    except OSError as error:
        busy = _owner(path)
        return Trouble(f"{path}: {error.strerror}{busy}", "use the path of a serial port that is plugged in")
    try:
        if not os.isatty(number):
            return Trouble(f"{path}: is no serial port", "use the path of a serial port, such as /dev/ttyUSB0")
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        todo = "stop that program first (systemctl stop site-gateway)"
        return Trouble(f"{path}: is in use{_owner(path)}", todo)
    finally:
        os.close(number)
    return None


def holder(path: str, proc: Path = Path("/proc")) -> str | None:
    """The other program that uses the port, as far as this user may see: `process 812 (site-gateway run …)`."""
    for pid in (*_locked_by(path, proc), *_opened_by(path, proc)):
        try:
            words = (proc / pid / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:  # it ended meanwhile
            continue
        return f"process {pid} ({words[:_LONGEST_COMMAND]})"
    return None


def _locked_by(path: str, proc: Path) -> list[str]:
    """Who holds the lock on the port, by /proc/locks (proc(5)): `1: FLOCK ADVISORY WRITE PID MAJOR:MINOR:INODE …`."""
    try:
        about = Path(path).stat()
        lines = (proc / "locks").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return []
    place = f"{os.major(about.st_dev):02x}:{os.minor(about.st_dev):02x}:{about.st_ino}"
    return [words[4] for words in map(str.split, lines) if len(words) > 5 and words[5] == place]


def _opened_by(path: str, proc: Path) -> Iterator[str]:
    """The program of this user that has the port open."""
    port = os.path.realpath(path)
    for folder in proc.glob("[0-9]*"):
        try:
            found = any(os.path.realpath(each) == port for each in (folder / "fd").iterdir())
        except OSError:  # it has ended, or belongs to another user
            continue
        if found and folder.name != str(os.getpid()):
            yield folder.name


def ports(dev: Path = Path("/dev")) -> list[str]:
    """The serial ports of this machine, by stable names if they have one."""
    links = sorted(str(link) for link in (*dev.glob("serial/by-id/*"), *dev.glob("rs485*")))
    named = {os.path.realpath(link) for link in links}
    plain = sorted(str(port) for kind in ("ttyUSB*", "ttyACM*", "ttyAMA*") for port in dev.glob(kind))
    return links + [port for port in plain if port not in named]


def steady_name(path: str, dev: Path = Path("/dev")) -> str:
    """A name of the port that does not depend on the order of plugging in; the path itself if there is none."""
    if Path(path).is_symlink():
        return path
    port = os.path.realpath(path)
    for pattern in ("rs485*", "serial/by-id/*", "serial/by-path/*"):
        for link in sorted(dev.glob(pattern)):
            if os.path.realpath(link) == port:
                return str(link)
    return path


def latency_timer(path: str, sys: Path = Path("/sys")) -> int | None:
    """Milliseconds that the USB adapter collects bytes before passing them on; None: it has no such timer."""
    name = Path(os.path.realpath(path)).name
    try:
        return int((sys / "bus/usb-serial/devices" / name / "latency_timer").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def _owner(path: str) -> str:
    who = holder(path)
    return f" by {who}" if who else " by another program"


def _rights(path: str) -> str:
    about = Path(path).stat()
    try:
        group = Path(path).group()
    except KeyError:
        group = str(about.st_gid)
    return f"group {group}, mode {about.st_mode & 0o777:04o}"

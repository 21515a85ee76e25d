"""How often the process ended without being asked to, and what stays off because of that.

Three ends within 60 s and the next start is *reduced*: what is not fire stays off. It is so until no process has
ended for 10 min, twice as long after each relapse; then the process begins anew with everything on. Only ends within
one boot of the machine count: a power cut is none of ours.
"""

import traceback
from pathlib import Path
from types import TracebackType
from typing import Any

import orjson

from gateway.backoff import doubled
from gateway.errors import GatewayError
from gateway.log import logger
from gateway.model import Instant
from gateway.safe_write import replace_file

_log = logger(__name__)

WITHIN_S = 60.0
"""Seconds."""
MANY = 3
REDUCED_FOR_S = 600.0
LONGEST_S = 24 * 3600.0
"""No reduction lasts longer; and after so long without one the next is the first again."""
_KEPT = 16
_OURS = f"{Path(__file__).parents[1]}/"


class Crashes:
    """The file `path`; where it cannot be read or written nothing is counted, and all runs as ever."""

    def __init__(self, path: Path, boot: str) -> None:
        self._path = path
        self._boot = boot
        self._crashes: list[float] = []
        """Monotonic times of ends that nobody asked for, each timed by the start after it."""
        self._begun = 0.0
        self._steady = False
        self._relapses = 0
        self.recent = 0
        """Ends that nobody asked for, within the 60 s before this start."""
        self.reduced = False
        """What is not fire stays off in this life."""

    def begin(self, now: Instant) -> None:
        """Count what ended before, note that we run."""
        self._begun = now.mono
        self._read(now)
        self.recent = len(self._crashes)
        if self.recent >= MANY and not self.reduced:
            self.reduced = True
            self._relapses += 1
        self._write()

    @property
    def reduced_for_s(self) -> float:
        """How long a reduced life has to last."""
        return doubled(REDUCED_FOR_S, max(0, self._relapses - 1), LONGEST_S)

    def look(self, now: Instant) -> None:
        """To be called once a second: a life of 60 s is no link of a chain, one of a day forgets all reductions."""
        lived = now.mono - self._begun
        if not self._steady and lived >= WITHIN_S:
            self._steady = True
            self._crashes = []
            self._write()
        if self._relapses and not self.reduced and lived >= LONGEST_S:
            self._relapses = 0
            self._write()

    def is_served(self, now: Instant) -> bool:
        """The reduced life has lasted long enough: all may be tried again."""
        return self.reduced and now.mono - self._begun >= self.reduced_for_s

    def end(self) -> None:
        """We were asked to end."""
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            _log.warning("the mark of the running process stays", why=str(error))

    def end_to_begin_anew(self) -> None:
        """We end to be executed anew at once, with everything on; how often that came to nothing is remembered."""
        self._crashes = []
        self.reduced = False
        if self._relapses:
            self._write(running=False)
        else:
            self.end()

    def _read(self, now: Instant) -> None:
        try:
            note: dict[str, Any] = orjson.loads(self._path.read_bytes())
            boot, running = str(note["boot"]), bool(note["running"])
            crashes = [float(mono) for mono in note["crashes"]][-_KEPT:]
            self._relapses, reduced = max(0, int(note["relapses"])), bool(note["reduced"])
        except FileNotFoundError:
            return
        except (OSError, ValueError, TypeError, KeyError) as error:
            _log.warning("crashes before this start are unknown", why=str(error))
            self._crashes = [now.mono]
            return
        if boot != self._boot:
            self._relapses = 0
            return
        self.reduced = reduced
        self._crashes = [mono for mono in crashes if 0.0 <= now.mono - mono <= WITHIN_S]
        if running:
            self._crashes.append(now.mono)

    def _write(self, *, running: bool = True) -> None:
        note = {
            "boot": self._boot,
            "running": running,
            "crashes": self._crashes,
            "reduced": self.reduced,
            "relapses": self._relapses,
        }
        try:
            replace_file(self._path, orjson.dumps(note))
        except OSError as error:
            _log.warning("crashes are not counted", why=str(error))


def is_ours(error: BaseException | None) -> bool:
    """True for a bug that passed through `gateway/`, false for what a library or a driver raised by itself."""
    if error is None or isinstance(error, GatewayError) or not isinstance(error, Exception):
        return False
    return any(frame.filename.startswith(_OURS) for frame in _frames(error.__traceback__))


def _frames(trace: TracebackType | None) -> traceback.StackSummary:
    return traceback.extract_tb(trace)

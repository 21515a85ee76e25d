"""Counts crashes of the process, and decides when it must run reduced.

After three crashes within 60 s the next start is *reduced*: only what fire needs is on. After 10 min without a crash,
doubled after each relapse, the process begins anew with everything on. Only crashes within one boot of the machine
count, because a power cut is not a crash.
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
"""The longest reduction; after this time without one, the next counts as the first again."""
_KEPT = 16
_OURS = f"{Path(__file__).parents[1]}/"


class Crashes:
    """The counts, kept in the file `path`. If it cannot be read or written, nothing is counted."""

    def __init__(self, path: Path, boot: str) -> None:
        self._path = path
        self._boot = boot
        self._crashes: list[float] = []
        """Monotonic times of crashes, each taken at the next start."""
        self._begun = 0.0
        self._steady = False
        self._relapses = 0
        self.recent = 0
        """Crashes within the 60 s before this start."""
        self.reduced = False
        """True if this process runs only what fire needs."""

    def begin(self, now: Instant) -> None:
        """Count a crash of the previous process, and note that this one runs."""
        self._begun = now.mono
        self._read(now)
        self.recent = len(self._crashes)
        if self.recent >= MANY and not self.reduced:
            self.reduced = True
            self._relapses += 1
        self._write()

    @property
    def reduced_for_s(self) -> float:
        """How long a reduced process has to run."""
        return doubled(REDUCED_FOR_S, max(0, self._relapses - 1), LONGEST_S)

    def look(self, now: Instant) -> None:
        """Call once a second: after 60 s a series of crashes has ended; after a day reductions are forgotten."""
        lived = now.mono - self._begun
        if not self._steady and lived >= WITHIN_S:
            self._steady = True
            self._crashes = []
            self._write()
        if self._relapses and not self.reduced and lived >= LONGEST_S:
            self._relapses = 0
            self._write()

    def is_served(self, now: Instant) -> bool:
        """True if the reduced process has run long enough to try everything again."""
        return self.reduced and now.mono - self._begun >= self.reduced_for_s

    def end(self) -> None:
        """Note that the process was asked to end."""
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            _log.warning("the mark of the running process stays", why=str(error))

    def end_to_begin_anew(self) -> None:
        """Note that the process ends to begin anew with everything on; how often that failed is remembered."""
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
    """True for a bug that passed through `gateway/`, false for an error raised by a library or driver alone."""
    if error is None or isinstance(error, GatewayError) or not isinstance(error, Exception):
        return False
    return any(frame.filename.startswith(_OURS) for frame in _frames(error.__traceback__))


def _frames(trace: TracebackType | None) -> traceback.StackSummary:
    return traceback.extract_tb(trace)

"""How often the process ended without being asked to: a file that is there exactly while it runs.

Three ends within 60 s and the next start is *reduced*: what is not fire stays off. A life of 60 s clears the
account, so power cuts, however many, never add up.
"""

import traceback
from pathlib import Path
from types import TracebackType

import orjson

from gateway.errors import GatewayError
from gateway.log import logger
from gateway.model import Instant

_log = logger(__name__)

WITHIN = 60.0
"""Seconds."""
MANY = 3
_KEPT = 16
_OURS = f"{Path(__file__).parent}/"


class Crashes:
    """The file `path`; where it cannot be read or written nothing is counted, and all runs as ever."""

    def __init__(self, path: Path, boot: str) -> None:
        self._path = path
        self._boot = boot
        self._crashes: list[tuple[str, float, float]] = []
        self.recent = 0
        """Ends that nobody asked for, within the 60 s before this start."""

    @property
    def reduced(self) -> bool:
        """What is not fire stays off in this life."""
        return self.recent >= MANY

    def begin(self, now: Instant) -> None:
        """Count what ended before, note that we run."""
        self._crashes = self._read(now)
        self.recent = len(self._crashes)
        self._write()

    def steady(self) -> None:
        """This life has lasted 60 s: it is no link of a chain."""
        self._crashes = []
        self._write()

    def end(self) -> None:
        """We were asked to end."""
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            _log.warning("the mark of the running process stays", why=str(error))

    def _read(self, now: Instant) -> list[tuple[str, float, float]]:
        """An end is timed by the start after it: within one boot monotonically, else by the wall clock."""
        try:
            before = [
                (str(boot), float(mono), float(wall)) for boot, mono, wall in orjson.loads(self._path.read_bytes())
            ]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, TypeError) as error:
            _log.warning("crashes before this start are unknown", why=str(error))
            before = []
        recent = [
            (boot, mono, wall)
            for boot, mono, wall in before[-_KEPT:]
            if 0.0 <= (now.mono - mono if boot == self._boot else now.wall - wall) <= WITHIN
        ]
        return [*recent, (self._boot, now.mono, now.wall)]

    def _write(self) -> None:
        part = self._path.with_name(self._path.name + ".part")
        try:
            part.write_bytes(orjson.dumps(self._crashes))
            part.replace(self._path)
        except OSError as error:
            _log.warning("crashes are not counted", why=str(error))


def is_ours(error: BaseException | None) -> bool:
    """True for a bug that passed through `gateway/`, false for what a library or a driver raised by itself."""
    if error is None or isinstance(error, GatewayError) or not isinstance(error, Exception):
        return False
    return any(frame.filename.startswith(_OURS) for frame in _frames(error.__traceback__))


def _frames(trace: TracebackType | None) -> traceback.StackSummary:
    return traceback.extract_tb(trace)

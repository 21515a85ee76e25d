"""Inputs that crashed the process: recorded while it dies, refused after the restart.

An input is recognised by type and content, without times. An answer is judged point by point, because after a restart a
device answers with other combinations of points. After the first crash with an input its parts are *suspect*: each is
decided alone from then on, so that the next crash identifies the part. A part is *refused* when it has crashed the
process twice, the last time alone; the other points of its device, and its other values, are decided as before. When
three values of a point are refused (eight in the alarm lane), all its values are: a bug about a changing number must
not crash the process with each change, and stop all other alarms with it.

Ticks, starts and stops have no content and are never refused: when three in a row crashed the process, the memory of
the site is the cause (`hollow`). Another version of the program begins with nothing refused.
"""

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import NamedTuple

import orjson

from gateway.log import logger
from gateway.model import Answer, Input, Instant, Started, StoodStill, Stopping, Tick
from gateway.safe_write import replace_file

_log = logger(__name__)

_DEATHS = 2
_VALUES = 3
_URGENT_VALUES = 8
"""For a point of the alarm lane: many more values than a contact has."""
_HOLLOW = 3
_BYTES = 256 << 10
_NOT_CONTENT = frozenset({"detail"})
"""Texts for people, with counts and error numbers that differ each time."""


class Part(NamedTuple):
    """Identifies an input: a digest, and a description without values for people."""

    digest: str
    what: str


@dataclass(slots=True)
class _Suspect:
    what: str
    deaths: int = 0
    alone: bool = False
    """It was decided alone at its last crash."""

    @property
    def refused(self) -> bool:
        return self.alone and self.deaths >= _DEATHS


class Poison:
    """The file of crashes (one line of JSON each, 256 KiB at most) and what is refused because of them.

    `urgent`: the points of the alarm lane by device. Without a usable file everything is admitted.
    """

    def __init__(self, path: Path, version: str, urgent: Mapping[str, Collection[str]] | None = None) -> None:
        self._path = path
        self._version = version
        self._urgent = urgent or {}
        self._deaths: list[bytes] = []
        self._suspects: dict[str, _Suspect] = {}
        self._shut: set[str] = set()
        self._told: set[str] = set()
        self.hollow = False
        """The last three crashes were with inputs without content."""
        self.refusals = 0
        """Inputs, or points of answers, refused since the start."""

    @property
    def refused(self) -> list[str]:
        """What is refused, described without values."""
        exact = {suspect.what for suspect in self._suspects.values() if suspect.refused}
        return sorted(exact | self._shut)

    def load(self) -> None:
        """Read the file, if it exists and is readable."""
        try:
            lines = self._path.read_bytes()[-_BYTES:].splitlines()
        except FileNotFoundError:
            return
        except OSError as error:
            _log.error("the list of refused inputs cannot be read", why=str(error))
            return
        self._deaths = [line for line in lines if self._is_ours(line)]
        self._judge()

    def admit(self, item: Input) -> Iterable[Input]:
        """The parts of this input that may be decided, in order."""
        if not self._suspects:
            return (item,)
        if isinstance(item, Answer):
            return self._admit_points(item)
        for part in _parts(item):
            suspect = self._suspects.get(part.digest)
            if suspect is not None and suspect.refused:
                self._refuse(part)
                return ()
        return (item,)

    def blame(self, item: Input) -> None:
        """Record the input that is crashing the process; fsynced when this returns. Never raises."""
        parts = _parts(item)
        death = {
            "version": self._version,
            "alone": len(parts) == 1,
            "input": type(item).__name__,
            "parts": {part.digest: part.what for part in parts},
        }
        self._deaths.append(orjson.dumps(death))
        self._write()
        _log.critical("an input ended the process", input=type(item).__name__, parts=[part.what for part in parts])

    def forgive(self) -> None:
        """Clear everything, because the memory of the site was set aside and earlier causes may be gone."""
        self._deaths.clear()
        self._write()
        self._judge()

    # ---- inside -----------------------------------------------------------------------------------

    def _admit_points(self, item: Answer) -> list[Input]:
        """First all points that are not suspect, together; then suspect ones, one by one."""
        together = {}
        alone = []
        for point, reading in item.readings.items():
            part = _point(item.device, point, reading)
            suspect = self._suspects.get(part.digest)
            if part.what in self._shut or (suspect is not None and suspect.refused):
                self._refuse(part)
            elif suspect is not None:
                alone.append(Answer(item.device, {point: reading}, item.at))
            else:
                together[point] = reading
        return [Answer(item.device, together, item.at), *alone] if together else [*alone]

    def _refuse(self, part: Part) -> None:
        self.refusals += 1
        if part.digest not in self._told:
            self._told.add(part.digest)
            _log.error("input refused: it ended the process before", what=part.what, digest=part.digest)

    def _judge(self) -> None:
        self._suspects.clear()
        inputs = []
        for line in self._deaths:
            death = orjson.loads(line)
            inputs.append(bool(death["parts"]))
            for digest, what in death["parts"].items():
                suspect = self._suspects.setdefault(digest, _Suspect(what))
                suspect.deaths += 1
                suspect.alone = death["alone"]
        self.hollow = len(inputs) >= _HOLLOW and not any(inputs[-_HOLLOW:])
        refused = [suspect.what for suspect in self._suspects.values() if suspect.refused]
        self._shut = {what for what in refused if "." in what and refused.count(what) >= self._most(what)}

    def _most(self, what: str) -> int:
        device, _, point = what.partition(".")
        return _URGENT_VALUES if point in self._urgent.get(device, ()) else _VALUES

    def _is_ours(self, line: bytes) -> bool:
        """True for a complete line of this version; a power cut may have torn the last one."""
        try:
            death = orjson.loads(line)
            return death["version"] == self._version and isinstance(death["parts"], dict) and "alone" in death
        except (orjson.JSONDecodeError, KeyError, TypeError):
            return False

    def _write(self) -> None:
        """Replace the file atomically, dropping the oldest crashes if it is too long."""
        kept = self._deaths
        while len(kept) > 1 and sum(map(len, kept)) + len(kept) > _BYTES:
            kept.pop(0)
        try:
            replace_file(self._path, b"".join(line + b"\n" for line in kept))
        except OSError as error:
            _log.error("the list of refused inputs cannot be written", why=str(error))


def _parts(item: Input) -> list[Part]:
    """The parts that identify an input; empty for one without content."""
    match item:
        case Tick() | Started() | StoodStill() | Stopping():
            return []
        case Answer(device, readings):
            return [_point(device, point, reading) for point, reading in readings.items()]
        case _:
            values = {field.name: getattr(item, field.name) for field in fields(item)}
            content = [
                sorted(value) if isinstance(value, frozenset) else value  # the order of sets differs in each process
                for name, value in values.items()
                if name not in _NOT_CONTENT and not isinstance(value, Instant)
            ]
            name = type(item).__name__
            return [Part(_digest([name, *content]), " ".join([name, *map(str, content[:1])]))]


def _point(device: str, point: str, reading: tuple[object, ...]) -> Part:
    """The part of a point's reading: everything but its time."""
    return Part(_digest(["Answer", device, point, *reading[:5]]), f"{device}.{point}")


def _digest(content: object) -> str:
    return hashlib.blake2b(repr(content).encode(), digest_size=16).hexdigest()

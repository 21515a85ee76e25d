"""Inputs that ended the process: written down while it dies, refused at the door after the restart.

An input is known again by its type and content, without times. An answer is judged point by point, because
after a restart a device answers with another choice of points than before. The first death that an input is part of
makes its parts *suspect*: from then on each is decided alone, so that the next death names the one. A part is *refused*
when it has ended the process twice, the last time alone; the other points of its device, and its other values, are
decided as ever. Of a point every value is refused after three of its values were, of one in the alarm lane after eight:
a bug about a number that moves must not end the process with each step of it, and all other alarms with it.

A tick, a start, a stop have no content and are never refused: when three in a row ended the process, what the
site remembers is to blame (`hollow`). Another version of the program begins with nothing refused.
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
"""Of a point of the alarm lane: many more than a contact has."""
_HOLLOW = 3
_BYTES = 256 << 10
_NOT_CONTENT = frozenset({"detail"})
"""Words for people; they carry counts and error numbers, which differ each time."""


class Part(NamedTuple):
    """What an input is known by: a digest, and words without values for people."""

    digest: str
    what: str


@dataclass(slots=True)
class _Suspect:
    what: str
    deaths: int = 0
    alone: bool = False
    """It was decided alone when it ended the process last."""

    @property
    def refused(self) -> bool:
        return self.alone and self.deaths >= _DEATHS


class Poison:
    """The file of deaths (one line of JSON each, 256 KiB at most) and what follows from it.

    `urgent`: the points of the alarm lane by device. Without a usable file everything is let in, as ever.
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
        """The last three deaths were of inputs without content."""
        self.refusals = 0
        """Inputs, or points of answers, refused since the start."""

    @property
    def refused(self) -> list[str]:
        """What is refused, in words without values."""
        exact = {suspect.what for suspect in self._suspects.values() if suspect.refused}
        return sorted(exact | self._shut)

    def load(self) -> None:
        """Read the file, if there is one that can be read."""
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
        """What may be decided of this input, in turn."""
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
        """This input is ending the process: written and fsynced when this returns. Never raises."""
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
        """What the site remembered was set aside: what ended the process before may work now."""
        self._deaths.clear()
        self._write()
        self._judge()

    # ---- inside -----------------------------------------------------------------------------------

    def _admit_points(self, item: Answer) -> list[Input]:
        """Points above suspicion together and first, suspects one by one."""
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
        """A whole line of this version; a power cut may have torn the last one."""
        try:
            death = orjson.loads(line)
            return death["version"] == self._version and isinstance(death["parts"], dict) and "alone" in death
        except (orjson.JSONDecodeError, KeyError, TypeError):
            return False

    def _write(self) -> None:
        """The whole file anew, oldest deaths first to go; there is one in its place at any instant."""
        kept = self._deaths
        while len(kept) > 1 and sum(map(len, kept)) + len(kept) > _BYTES:
            kept.pop(0)
        try:
            replace_file(self._path, b"".join(line + b"\n" for line in kept))
        except OSError as error:
            _log.error("the list of refused inputs cannot be written", why=str(error))


def _parts(item: Input) -> list[Part]:
    """By what an input is known again; nothing for one without content."""
    match item:
        case Tick() | Started() | StoodStill() | Stopping():
            return []
        case Answer(device, readings):
            return [_point(device, point, reading) for point, reading in readings.items()]
        case _:
            values = {field.name: getattr(item, field.name) for field in fields(item)}
            content = [
                sorted(value) if isinstance(value, frozenset) else value  # sets have another order in each process
                for name, value in values.items()
                if name not in _NOT_CONTENT and not isinstance(value, Instant)
            ]
            name = type(item).__name__
            return [Part(_digest([name, *content]), " ".join([name, *map(str, content[:1])]))]


def _point(device: str, point: str, reading: tuple[object, ...]) -> Part:
    """Everything of the reading but its time."""
    return Part(_digest(["Answer", device, point, *reading[:5]]), f"{device}.{point}")


def _digest(content: object) -> str:
    return hashlib.blake2b(repr(content).encode(), digest_size=16).hexdigest()

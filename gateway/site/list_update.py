"""`access.update`: the parts of a change, taken whole or not at all. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from gateway.model import Json
from gateway.site.list_csv import BadEntry
from gateway.site.lists import Entry, PlateList, Version, changed, make
from gateway.site.plates import normalise

ENTRIES = 2_000
"""Of one command, `put` and `drop` together."""
PARTS = 500
UNDER_WAY = 4
"""Lists whose changes may be under way at once; the oldest is given up."""
_NAME = 63


class Change(NamedTuple):
    """A complete change, to be carried out where time may be taken."""

    list: str
    version: Version
    full: bool
    put: tuple[Entry, ...]
    drop: tuple[str, ...]

    def apply(self, old: PlateList | None) -> PlateList:
        """The list in its new version."""
        if self.full or old is None:
            return make(self.list, self.version, self.put)
        return changed(old, self.version, self.put, self.drop)


class Waiting(NamedTuple):
    """Parts are missing; nothing has changed."""

    missing: int


class Refusal(NamedTuple):
    """Not taken, and why; the list is as it was."""

    message: str
    held: Version | None = None
    """The version that the list has, where the base was another."""


@dataclass(slots=True)
class _UnderWay:
    """What has come of one change."""

    version: Version
    base: Version | None
    full: bool
    parts: int
    put: dict[int, tuple[Entry, ...]] = field(default_factory=dict)
    drop: dict[int, tuple[str, ...]] = field(default_factory=dict)


class Updates:
    """Collects parts. What was under way when the process ended has to be sent again."""

    def __init__(self, entry: Callable[[Mapping[str, Json]], Entry]) -> None:
        self._entry = entry
        self._under_way: dict[str, _UnderWay] = {}

    def take(self, args: Mapping[str, Json], held: Version | None) -> Change | Waiting | Refusal:
        """One command. `held`: the version of its list, None if there is none. A part may come twice."""
        try:
            name, part, one = self._read(args)
        except BadEntry as error:
            return Refusal(f"{error.key}: {error}")
        if not one.full and one.base != held:
            self._under_way.pop(name, None)
            return Refusal("base: is not the version held", held)
        known = self._under_way.get(name)
        if known is None or _names(known) != _names(one):
            self._under_way.pop(name, None)
            while len(self._under_way) >= UNDER_WAY:
                del self._under_way[next(iter(self._under_way))]
            known = self._under_way[name] = one
        known.put[part], known.drop[part] = one.put[part], one.drop[part]
        if len(known.put) < known.parts:
            return Waiting(known.parts - len(known.put))
        del self._under_way[name]
        order = sorted(known.put)
        return Change(
            name,
            known.version,
            known.full,
            tuple(entry for place in order for entry in known.put[place]),
            tuple(plate for place in order for plate in known.drop[place]),
        )

    def _read(self, args: Mapping[str, Json]) -> tuple[str, int, _UnderWay]:
        """Name of the list, number of the part, and the part. Raises BadEntry."""
        name = args.get("list")
        if not isinstance(name, str) or not 0 < len(name) <= _NAME:
            raise BadEntry("list", "found no name of a list")
        version = _version("version", args.get("version"))
        if version is None:
            raise BadEntry("version", "found none")
        part, parts = _count("part", args.get("part", 1)), _count("parts", args.get("parts", 1))
        if part > parts:
            raise BadEntry("part", f"found {part} of {parts}")
        full = args.get("full")
        if full not in (None, True, False):
            raise BadEntry("full", "true or false")
        put, drop = _many("put", args.get("put")), _many("drop", args.get("drop"))
        if len(put) + len(drop) > ENTRIES:
            raise BadEntry("put", f"found {len(put) + len(drop)} entries; at most {ENTRIES}")
        one = _UnderWay(version, _version("base", args.get("base")), full is True, parts)
        one.put[part] = tuple(self._put(place, said) for place, said in enumerate(put))
        one.drop[part] = tuple(_plate(place, said) for place, said in enumerate(drop))
        return name, part, one

    def _put(self, place: int, said: Json) -> Entry:
        if not isinstance(said, Mapping):
            raise BadEntry(f"put[{place}]", "found no object")
        try:
            return self._entry(said)
        except BadEntry as error:
            raise BadEntry(f"put[{place}].{error.key}", str(error)) from error


def _names(one: _UnderWay) -> tuple[object, ...]:
    return one.version, one.base, one.full, one.parts


def _version(key: str, said: Json) -> Version | None:
    if said is None:
        return None
    if isinstance(said, bool) or not isinstance(said, str | int) or len(str(said)[:65]) > 64:
        raise BadEntry(key, "a text or a whole number")
    return said


def _count(key: str, said: Json) -> int:
    if isinstance(said, bool) or not isinstance(said, int) or not 1 <= said <= PARTS:
        raise BadEntry(key, f"1-{PARTS}")
    return said


def _many(key: str, said: Json) -> list[Json]:
    if said is None:
        return []
    if not isinstance(said, list):
        raise BadEntry(key, "found no list")
    return said


def _plate(place: int, said: Json) -> str:
    plate = normalise(said) if isinstance(said, str) else ""
    if not plate:
        raise BadEntry(f"drop[{place}]", "found no plate")
    return plate

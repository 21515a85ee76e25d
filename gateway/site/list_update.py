"""`access.update`: collects the parts of a change, which is applied completely or not at all. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from gateway.model import Json
from gateway.site.list_csv import BadEntry, EntryReader
from gateway.site.lists import ListEntry, PlateList, Version, changed, make
from gateway.site.plates import UNREAD, normalise

ENTRIES = 2_000
"""The most entries of one command, `put` and `drop` together."""
PARTS = 10_000
UNDER_WAY = 4
"""The most lists whose changes may be under way at once; beyond it the oldest change is dropped."""
HELD = 200_000
"""The most entries under way, `put` and `drop` of all lists together."""
PATIENCE_S = 600.0
"""A change that gets no part for this time is dropped."""
_NAME = 63


class Rows:
    """Entries in the order of their parts, as compact as a list, because a change may have 100,000 of them."""

    def __init__(self, parts: Iterable[PlateList]) -> None:
        self._parts = tuple(parts)

    def __iter__(self) -> Iterator[ListEntry]:
        for part in self._parts:
            yield from part


class ListChange(NamedTuple):
    """A complete change, to be applied outside the step because it takes time."""

    list: str
    version: Version
    full: bool
    put: Iterable[ListEntry]
    drop: tuple[str, ...]

    def apply(self, old: PlateList | None) -> PlateList:
        """The changed list."""
        if self.full or old is None:
            return make(self.list, self.version, self.put)
        return changed(old, self.version, self.put, self.drop)


class Waiting(NamedTuple):
    """Parts are missing; nothing has changed."""

    missing: int


class Refusal(NamedTuple):
    """The change was refused, with the reason; the list is unchanged."""

    message: str
    held: Version | None = None
    """The list's version, if `base` did not match it."""


@dataclass(slots=True)
class _UnderWay:
    """The parts of one change so far."""

    version: Version
    base: Version | None
    full: bool
    parts: int
    heard: float
    """When its last part came."""
    put: dict[int, PlateList] = field(default_factory=dict)
    drop: dict[int, tuple[str, ...]] = field(default_factory=dict)

    def __len__(self) -> int:
        return sum(map(len, self.put.values())) + sum(map(len, self.drop.values()))


class Updates:
    """Collects parts. After a restart, changes that were under way have to be sent again."""

    def __init__(self, entries: EntryReader) -> None:
        self._entries = entries
        self._under_way: dict[str, _UnderWay] = {}

    def take(self, args: Mapping[str, Json], held: Version | None, at: float = 0.0) -> ListChange | Waiting | Refusal:
        """Take one command. `held`: the version of its list, None if there is none. A part may come twice.

        `at`: monotonic seconds; a change that gets no part for `PATIENCE_S` is dropped.
        """
        for stale in [name for name, one in self._under_way.items() if at - one.heard > PATIENCE_S]:
            del self._under_way[stale]
        try:
            name, part, one = self._read(args, at)
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
        known.heard = at
        if sum(map(len, self._under_way.values())) > HELD:
            del self._under_way[name]
            return Refusal(f"put: at most {HELD} entries may be under way, of all lists together")
        if len(known.put) < known.parts:
            return Waiting(known.parts - len(known.put))
        del self._under_way[name]
        order = sorted(known.put)
        return ListChange(
            name,
            known.version,
            known.full,
            Rows(known.put[place] for place in order),
            tuple(plate for place in order for plate in known.drop[place]),
        )

    def _read(self, args: Mapping[str, Json], at: float) -> tuple[str, int, _UnderWay]:
        """Read the list's name, the part's number and the part. Raises BadEntry."""
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
        if full and drop:
            raise BadEntry("drop", "a full list has none")
        if len(put) + len(drop) > ENTRIES:
            raise BadEntry("put", f"found {len(put) + len(drop)} entries; at most {ENTRIES}")
        one = _UnderWay(version, _version("base", args.get("base")), full is True, parts, at)
        one.put[part] = make(name, version, (self._put(place, said) for place, said in enumerate(put)))
        one.drop[part] = tuple(_plate(place, said) for place, said in enumerate(drop))
        return name, part, one

    def _put(self, place: int, said: Json) -> ListEntry:
        if not isinstance(said, Mapping):
            raise BadEntry(f"put[{place}]", "found no object")
        try:
            return self._entries.named(said)
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
    if UNREAD in plate:
        raise BadEntry(f"drop[{place}]", "found a sign or a gap where a letter or digit stands")
    return plate

"""Plate lists: compact and immutable, with look-up of a plate or of one that differs by one confusable character. Pure.

A list is stored as columns (22 bytes a row plus its note), sorted by plate. A change makes a new list.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import NamedTuple

from gateway.site.plates import PROVINCES, kind_of, spellings

KINDS = ("resident", "visitor", "staff", "service", "blocked")
Version = str | int
ALWAYS = (1 << 32) - 1
"""`until` of a row without an end (`since` of a row without a beginning is 0). Wall seconds, up to the year 2106."""
MOST = 1_000_000
MOST_EXTRA = 10_000
"""The most plates that do not fit the columns; they need far more memory."""
_ALPHABET = PROVINCES + "警学挂港澳领使民航应急" + "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_PACK = {ord(one): place for place, one in enumerate(_ALPHABET, 1)}
_UNPACK = dict(enumerate(_ALPHABET, 1))


class ListEntry(NamedTuple):
    """One line of a list."""

    plate: str
    """Normalised."""
    kind: str
    since: int = 0
    until: int = ALWAYS
    """The first second after the window."""
    gates: frozenset[str] = frozenset()
    """Empty: all."""
    note: str = ""

    @property
    def ends(self) -> bool:
        """True if the window has an end."""
        return self.until != ALWAYS

    def holds(self, wall: float) -> bool:
        """True if the window contains this time."""
        return self.since <= wall and (wall < self.until or not self.ends)

    def opens(self, gate: str | None) -> bool:
        """True if it is valid at this gate (without a gate: at any)."""
        return not self.gates or gate is None or gate in self.gates


class Columns(NamedTuple):
    """A list's rows, sorted by plate. `shape` is an index of (kind, gates); `offsets` delimit the notes."""

    keys: "array[int]"
    since: "array[int]"
    until: "array[int]"
    shape: "array[int]"
    offsets: "array[int]"
    notes: bytes


class PlateList:
    """A list in one version. Made by `Builder`."""

    __slots__ = ("_keys", "_notes", "_offsets", "_shape_of", "_since", "_until", "columns", "extra", "name", "shapes",
                 "version")  # fmt: skip

    def __init__(
        self,
        name: str,
        version: Version,
        columns: Columns,
        shapes: Sequence[tuple[str, frozenset[str]]],
        extra: Mapping[str, tuple[ListEntry, ...]],
    ) -> None:
        self.name = name
        self.version = version
        self.columns = columns
        self._keys, self._since, self._until, self._shape_of, self._offsets, self._notes = columns
        self.shapes = tuple(shapes)
        self.extra = extra
        """Lines of plates that do not fit the columns."""

    def __repr__(self) -> str:
        return f"PlateList({self.name!r}, {self.version!r}, {len(self)} lines)"

    def __len__(self) -> int:
        return len(self._keys) + sum(map(len, self.extra.values()))

    def __iter__(self) -> Iterator[ListEntry]:
        for row in range(len(self._keys)):
            yield self._entry(row)
        for entries in self.extra.values():
            yield from entries

    def __contains__(self, plate: str) -> bool:
        key = pack(plate)
        if key is None:
            return plate in self.extra
        row = bisect_left(self._keys, key)
        return row < len(self._keys) and self._keys[row] == key

    def find(self, plate: str) -> tuple[ListEntry, ...]:
        """Every line of this plate."""
        key = pack(plate)
        if key is None:
            return self.extra.get(plate, ())
        row = bisect_left(self._keys, key)
        if row == len(self._keys) or self._keys[row] != key:
            return ()
        return tuple(map(self._entry, range(row, bisect_right(self._keys, key, row))))

    def _entry(self, row: int) -> ListEntry:
        kind, gates = self.shapes[self._shape_of[row]]
        note = self._notes[self._offsets[row] : self._offsets[row + 1]].decode()
        return ListEntry(unpack(self._keys[row]), kind, self._since[row], self._until[row], gates, note)


class Builder:
    """Collects lines, in any order, and makes a list of them. Raises OverflowError beyond `MOST` lines."""

    def __init__(self) -> None:
        self._keys = array("Q")
        self._since = array("I")
        self._until = array("I")
        self._shape = array("H")
        self._ends = array("I")
        self._notes = bytearray()
        self._shapes: dict[tuple[str, frozenset[str]], int] = {}
        self._extra: dict[str, tuple[ListEntry, ...]] = {}

    def add(self, entry: ListEntry) -> None:
        """Add a line."""
        key = pack(entry.plate)
        if key is None:
            if len(self._extra) >= MOST_EXTRA:
                raise OverflowError(f"a list has at most {MOST_EXTRA} plates that are longer than any Chinese one")
            self._extra[entry.plate] = (*self._extra.get(entry.plate, ()), entry)
            return
        if len(self._keys) >= MOST:
            raise OverflowError(f"a list has at most {MOST} lines")
        shape = self._shapes.setdefault((entry.kind, entry.gates), len(self._shapes))
        self._shape.append(shape)
        self._keys.append(key)
        self._since.append(entry.since)
        self._until.append(entry.until)
        if entry.note:
            self._notes += entry.note.encode("utf-8", "replace")
        self._ends.append(len(self._notes))

    def build(self, name: str, version: Version) -> PlateList:
        """The list."""
        keys, ends, notes = self._keys, self._ends, self._notes
        order = sorted(range(len(keys)), key=keys.__getitem__)
        offsets = array("I", [0])
        kept = bytearray()
        for row in order:
            kept += notes[ends[row - 1] if row else 0 : ends[row]]
            offsets.append(len(kept))
        columns = Columns(
            array("Q", map(keys.__getitem__, order)),
            array("I", map(self._since.__getitem__, order)),
            array("I", map(self._until.__getitem__, order)),
            array("H", map(self._shape.__getitem__, order)),
            offsets,
            bytes(kept),
        )
        return PlateList(name, version, columns, tuple(self._shapes), self._extra)


def make(name: str, version: Version, entries: Iterable[ListEntry]) -> PlateList:
    """Make a list of these lines."""
    builder = Builder()
    for entry in entries:
        builder.add(entry)
    return builder.build(name, version)


def changed(old: PlateList, version: Version, put: Iterable[ListEntry], drop: Iterable[str]) -> PlateList:
    """The list without all lines of the plates in `put` and `drop`, plus the lines of `put`."""
    added = make(old.name, version, put)
    gone = frozenset(drop)
    kept = (entry for entry in old if entry.plate not in added and entry.plate not in gone)
    return make(old.name, version, chain(kept, added))


class Lists:
    """All current lists of the site. Immutable: a new list makes a new `Lists`."""

    __slots__ = ("lists",)

    def __init__(self, lists: Iterable[PlateList] = ()) -> None:
        self.lists = tuple(lists)

    def __len__(self) -> int:
        return sum(map(len, self.lists))

    def named(self, name: str) -> PlateList | None:
        """The list of that name."""
        return next((one for one in self.lists if one.name == name), None)

    def replaced(self, new: PlateList) -> "Lists":
        """A copy with this list in the place of the one with its name, or else at the end."""
        if self.named(new.name) is None:
            return Lists((*self.lists, new))
        return Lists(new if one.name == new.name else one for one in self.lists)

    def find(self, plate: str) -> list[tuple[str, ListEntry]]:
        """Every line of this plate, as (list name, line)."""
        return [(one.name, entry) for one in self.lists for entry in one.find(plate)]

    def near(self, plate: str) -> list[str]:
        """The listed plates of the same kind that differ in exactly one confusable character."""
        found = {spelt for spelt in spellings(plate) for one in self.lists if spelt in one}
        kind = kind_of(plate)
        return sorted(spelt for spelt in found if kind_of(spelt) == kind)


def pack(plate: str) -> int | None:
    """Pack up to eight characters into a number; None: they do not fit."""
    if len(plate) > 8:
        return None
    try:
        return int.from_bytes(plate.translate(_PACK).encode("latin-1"), "big")
    except UnicodeEncodeError:
        return None


def unpack(key: int) -> str:
    """The plate of a packed number."""
    return key.to_bytes((key.bit_length() + 7) // 8, "big").decode("latin-1").translate(_UNPACK)

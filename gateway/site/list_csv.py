"""Reads lists written by people: CSV with `plate,kind,from,until,gates,note`, and the entries of commands. Pure.

UTF-8, comma. `from` and `until` are a local date (`until`: its end) or RFC 3339; `gates` are separated by blanks, and
an empty cell means all gates. Every mistake is named with its line.
"""

import csv
import hashlib
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta, tzinfo
from difflib import get_close_matches
from typing import Final, NamedTuple

from gateway.model import Json
from gateway.site.lists import ALWAYS, KINDS, Builder, ListEntry, PlateList
from gateway.site.plates import LONGEST, UNREAD, kind_of, normalise

COLUMNS: Final = ("plate", "kind", "from", "until", "gates", "note")
PROBLEMS = 200
"""Reading stops after this many mistakes."""
MOST_COLUMNS = 64
"""A header with more columns is rejected without looking at its names."""
_NOTE = 200
_BLOCK_BYTES = 64 << 10
_REMEMBERED = 65_536
_USUAL = range(len(COLUMNS))
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:[Zz]|[+-]\d\d:\d\d)")


class RowProblem(NamedTuple):
    """A mistake in a file, in words for a technician."""

    line: int
    key: str
    text: str
    warning: bool = False


class ListReading(NamedTuple):
    """The result of reading a file."""

    list: PlateList | None
    """None: there is an error."""
    problems: tuple[RowProblem, ...]


class BadEntry(ValueError):
    """One value is wrong; `key` names its column."""

    def __init__(self, key: str, text: str) -> None:
        super().__init__(text)
        self.key = key


def read(
    name: str, data: bytes, zone: tzinfo, gates: Iterable[str] | None = None, *, doubts: bool = False
) -> ListReading:
    """Read a file as a list. Its version is the hash of its bytes.

    `gates`: the gates of the site; None: not checked. `doubts`: warn of plates that occur twice.
    """
    problems: list[RowProblem] = []
    builder = Builder()
    entries = EntryReader(zone, gates)
    first: dict[str, int] = {}
    """The line in which each plate first occurred."""
    try:
        for line, row in _rows(data, problems):
            try:
                one = entries.of(row)
                builder.add(one)
                if doubts and first.setdefault(one.plate, line) != line:
                    text = f"stands in line {first[one.plate]} already; both count"
                    problems.append(RowProblem(line, "plate", text, warning=True))
                if one.plate.isascii() and kind_of(one.plate) == "other":
                    problems.append(RowProblem(line, "plate", "fits no kind of plate", warning=True))
            except BadEntry as error:
                problems.append(RowProblem(line, error.key, str(error)))
            if len(problems) >= PROBLEMS:
                problems.append(RowProblem(line, "", f"{PROBLEMS} mistakes; the rest was not read"))
                break
    except OverflowError as error:
        problems.append(RowProblem(0, "", str(error)))
    if any(not one.warning for one in problems):
        return ListReading(None, tuple(problems))
    return ListReading(builder.build(name, fingerprint(data)), tuple(problems))


def fingerprint(data: bytes) -> str:
    """The version of a list that comes from a file."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


class EntryReader:
    """Turns rows of six texts, and entries of `access.update`, into entries. Shared values are parsed once."""

    def __init__(self, zone: tzinfo, gates: Iterable[str] | None = None) -> None:
        self._zone = zone
        self._gates = None if gates is None else frozenset(gates)
        self._windows: dict[tuple[str, str], tuple[int, int]] = {}
        self._kinds: dict[tuple[str, str], tuple[str, frozenset[str]]] = {}

    def named(self, said: Mapping[str, Json]) -> ListEntry:
        """The entry from texts by column. Raises BadEntry."""
        row = [""] * len(COLUMNS)
        for key, value in said.items():
            if key not in COLUMNS:
                raise BadEntry(key[:40], f"is not known{_like(key, COLUMNS)}")
            if key == "gates" and isinstance(value, list):
                value = " ".join(str(one)[:64] for one in value[:64])  # noqa: PLW2901 - the same as one text
            if value is not None and not isinstance(value, str):
                raise BadEntry(key, "found no text")
            row[COLUMNS.index(key)] = value or ""
        return self.of(row)

    def of(self, row: Sequence[str]) -> ListEntry:
        """The entry of a row. Raises BadEntry."""
        said, kind, since, until, gates, note = row
        plate = normalise(said)
        if not plate:
            raise BadEntry("plate", "found no plate")
        if len(plate) > LONGEST:
            raise BadEntry("plate", f"found {len(plate)} characters; at most {LONGEST}")
        if UNREAD in plate:
            raise BadEntry("plate", "found a sign or a gap where a letter or digit stands; write the plate without it")
        who = self._kinds.get((kind, gates)) or self._kind(kind, gates)
        window = self._windows.get((since, until)) or self._window(since, until)
        return ListEntry(plate, who[0], window[0], window[1], who[1], " ".join(note.split())[:_NOTE] if note else "")

    def _kind(self, said: str, gates: str) -> tuple[str, frozenset[str]]:
        kind = said.strip().lower()
        if kind not in KINDS:
            raise BadEntry("kind", f"found {kind[:40]!r}; {' | '.join(KINDS)}{_like(kind, KINDS)}")
        named = gates.split()
        for one in named:
            if self._gates is not None and one not in self._gates:
                raise BadEntry("gates", f"found {one[:63]!r}; a gate of the site{_like(one, self._gates)}")
        found = kind, frozenset(named)
        if len(self._kinds) < _REMEMBERED:
            self._kinds[said, gates] = found
        return found

    def _window(self, since: str, until: str) -> tuple[int, int]:
        begins = self._instant("from", since.strip(), 0)
        ends = self._instant("until", until.strip(), ALWAYS)
        if ends <= begins:
            raise BadEntry("until", "found an end that is not after `from`")
        if len(self._windows) < _REMEMBERED:
            self._windows[since, until] = begins, ends
        return begins, ends

    def _instant(self, key: str, said: str, absent: int) -> int:
        if not said:
            return absent
        try:
            if _DATE.fullmatch(said):
                day = date.fromisoformat(said) + timedelta(days=1 if key == "until" else 0)
                wall = datetime(day.year, day.month, day.day, tzinfo=self._zone).timestamp()
            else:
                wall = datetime.fromisoformat(said.upper()).timestamp() if _MOMENT.fullmatch(said) else -1.0
        except (ValueError, OverflowError):
            wall = -1.0
        if not 0 <= wall < ALWAYS:
            raise BadEntry(key, f"found {said[:40]!r}; 2026-12-31 or 2026-12-31T08:00:00+08:00")
        return int(wall)


def _rows(data: bytes, problems: list[RowProblem]) -> Iterator[tuple[int, Sequence[str]]]:
    """Yields (line, its six texts). Files without a header have the columns in the usual order."""
    reader = csv.reader(_lines(data), strict=True)
    places: Sequence[int] | None = None
    for line, row in _read(reader, problems):
        if not row or row[0][:1] == "#" or not (row[0] or any(map(str.strip, row))):
            continue
        if places is None:
            header = [cell.strip().lower() for cell in row]
            if len(row) == 1 and (found := next((sign for sign in ";\t，；" if sign in row[0]), None)):
                problems.append(RowProblem(line, "", f"found values separated by {found!r}; commas"))
                return
            if "plate" in header:
                places = _places(line, header, problems)
                if not places:
                    return
                continue
            places = range(len(COLUMNS))
        if len(row) > len(places):
            text = f"found {len(row)} values; at most {len(places)} (a comma within a note needs quotes)"
            problems.append(RowProblem(line, "", text))
            continue
        if places == _USUAL and len(row) == len(COLUMNS):
            yield line, row
            continue
        told = [""] * len(COLUMNS)
        for place, cell in zip(places, row, strict=False):
            told[place] = cell
        yield line, told


def _read(reader: "Iterator[list[str]]", problems: list[RowProblem]) -> Iterator[tuple[int, list[str]]]:
    """Yields (first line, cells); ends at the first line that is not CSV or not UTF-8."""
    while True:
        line = reader.line_num + 1  # type: ignore[attr-defined]
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            problems.append(RowProblem(line, "", f"no CSV from here on: {error}"))
            return
        except _NotUtf8 as error:
            problems.append(RowProblem(error.line, "", "is not UTF-8; save it as “CSV UTF-8”"))
            return
        yield line, row


class _NotUtf8(ValueError):
    """This line is not UTF-8."""

    def __init__(self, line: int) -> None:
        super().__init__(line)
        self.line = line


def _lines(data: bytes) -> Iterator[str]:
    """The lines with their line ends, without a byte order mark; decoded in blocks."""
    start = 3 if data.startswith(b"\xef\xbb\xbf") else 0
    while start < len(data):
        end = data.find(b"\n", start + _BLOCK_BYTES) + 1 or len(data)
        try:
            block = data[start:end].decode()
        except UnicodeDecodeError as error:
            raise _NotUtf8(data.count(b"\n", 0, start + error.start) + 1) from error
        yield from io.StringIO(block, newline="")
        start = end


def _places(line: int, header: Sequence[str], problems: list[RowProblem]) -> Sequence[int]:
    """For each column of the file, its index in our order; empty if there is a mistake."""
    before = len(problems)
    if len(header) > MOST_COLUMNS:
        problems.append(RowProblem(line, "", f"found {len(header)} columns; {', '.join(COLUMNS)}"))
        return ()
    for name in dict.fromkeys(header):
        if name not in COLUMNS:
            problems.append(RowProblem(line, name[:40], f"is no column{_like(name, COLUMNS)}"))
        elif header.count(name) > 1:
            problems.append(RowProblem(line, name, "stands twice"))
    if "kind" not in header:
        problems.append(RowProblem(line, "kind", "the column is missing"))
    if len(problems) > before:
        return ()
    places = tuple(COLUMNS.index(name) for name in header)
    return _USUAL if places == tuple(_USUAL) else places


def _like(word: str, allowed: Iterable[str]) -> str:
    close = get_close_matches(word.lower()[:63], list(allowed), 1)
    return f"; did you mean {close[0]!r}?" if close else ""

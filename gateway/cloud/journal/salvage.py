"""Saves what can be read of a damaged journal: the site's memory and the waiting events.

Delivered history stays in the copy that was set aside. Rows keep their numbers and bytes, so their ids do not change.
What cannot be read is reported. Nothing here raises because of the copy's content.
"""

import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson

from gateway.cloud.journal import redo_log
from gateway.cloud.journal.batch import Batch, Shed
from gateway.cloud.journal.sqlite import Database
from gateway.cloud.journal.witness import REASON, Loss, Mark
from gateway.errors import StoreError
from gateway.model import Stream

_READ_S = 5.0
_STREAMS = tuple(Stream)
_SHED = (Stream.TELEMETRY, Stream.PICTURE)

_OUTBOX = "SELECT n, state, stream FROM outbox ORDER BY destination, state, stream, n"
_OUTBOX_BACKWARDS = "SELECT n, state, stream FROM outbox ORDER BY destination DESC, state DESC, stream DESC, n DESC"

Found = tuple[int, int, str, int, float, bytes, int, bytes | None]
"""n, stream, journal, sequence, at, payload, state, bytes of a picture."""


@dataclass(slots=True)
class SalvagedNumbers:
    """The numbers of each journal and stream that could be read, as ranges; and what the copy says about itself."""

    runs: dict[tuple[str, Stream], list[tuple[int, int]]] = field(default_factory=dict)
    journal: str | None = None
    lasts: dict[Stream, int] = field(default_factory=dict)
    lost: set[Stream] = field(default_factory=set)
    """Streams of which not every waiting event could be read."""

    def add(self, journal: str, stream: Stream, sequence: int) -> None:
        """Add a number that could be read; they come in order."""
        runs = self.runs.setdefault((journal, stream), [])
        if runs and runs[-1][1] == sequence - 1:
            runs[-1] = (runs[-1][0], sequence)
        elif not runs or runs[-1][1] < sequence:
            runs.append((sequence, sequence))

    def loss(self, water: Mark | None) -> Loss | None:
        """What is missing of the latest journal: gaps between readable events, and all after them up to its mark."""
        journal = water.journal if water is not None else self.journal
        if journal is None:
            return None
        own = self.lasts if journal == self.journal else {}
        stood, stands, missing = {}, {}, []
        for stream in Stream:
            runs = self.runs.get((journal, stream), [])
            high = max(water.streams.get(stream, (0, 0))) if water is not None else 0
            end = max(own.get(stream, 0), runs[-1][1] if runs else 0)
            stood[stream], stands[stream] = max(high, end), end
            if stream in self.lost:
                edges = [(0, 0), *runs, (end + 1, end + 1)]
                gaps = [(before[1] + 1, after[0] - 1) for before, after in pairwise(edges) if before[1] + 1 < after[0]]
                count = sum(last - first + 1 for first, last in gaps)
                missing += [Shed(stream, gaps[0][0], gaps[-1][1], count, REASON)] if gaps else []
            if end < high:
                missing.append(Shed(stream, end + 1, high, high - end, REASON))
        return Loss(journal, stood, stands, tuple(missing), "salvage") if missing else None


def into(database: Database, aside: Path, water: Mark | None, tail: Batch | None) -> Loss | None:
    """Read the copy at `aside`, write what is valid into the open transaction of `database`; returns what is missing.

    `water`: the copy's mark. `tail`: what was committed and is not in the copy; None: read it from its redo log. Raises
    StoreError only for `database`.
    """
    numbers = SalvagedNumbers()
    memory, found, round_ = _read(aside, numbers)
    if tail is None:
        tail = redo_log.tail(Path(f"{aside}-log"), round_, "", frozenset()).batch
    return write(database, Saved(memory, found, numbers), water, tail)


def still_open(database: Database) -> "Saved":
    """Read the files that `database` still has open although they were deleted or replaced."""
    memory: dict[str, bytes] = {}
    numbers = SalvagedNumbers()
    for key, value in _memory(database):
        memory.setdefault(key, value)
    _numbers(database, numbers)
    found = {row[0]: row for row in _waiting(database, numbers)}
    return Saved(memory, [found[n] for n in sorted(found)], numbers)


@dataclass(frozen=True, slots=True)
class Saved:
    """What could be read."""

    memory: dict[str, bytes]
    events: list[Found]
    numbers: SalvagedNumbers


def write(database: Database, saved: Saved, water: Mark | None, tail: Batch | None) -> Loss | None:
    """Write what was saved, then `tail`, into the open transaction of `database`. Returns what is missing.

    Raises StoreError.
    """
    if tail is not None:
        saved = _followed(saved, tail)
    memory, found = saved.memory, saved.events
    journals = {row[2] for row in found}
    database.many(
        "INSERT OR IGNORE INTO journal (id, born) VALUES (?, 0)", ((journal,) for journal in sorted(journals))
    )
    epochs = {journal: epoch for epoch, journal in database.execute("SELECT epoch, id FROM journal")}
    database.many("INSERT OR IGNORE INTO memory (key, value) VALUES (?, ?)", memory.items())
    database.many(
        "INSERT OR IGNORE INTO event (n, stream, epoch, sequence, at, payload) VALUES (?, ?, ?, ?, ?, ?)",
        ((row[0], row[1], epochs[row[2]], *row[3:6]) for row in found),
    )
    database.many(
        """INSERT OR IGNORE INTO outbox (destination, state, stream, n, reason)
           SELECT 0, ?, stream, n, 'salvaged' FROM event WHERE n = ?""",
        ((row[6], row[0]) for row in found),
    )
    pictures = ((row[0], row[7]) for row in found if row[7] is not None)
    database.many("INSERT OR IGNORE INTO picture (n, jpeg) VALUES (?, ?)", pictures)
    return saved.numbers.loss(water)


def _followed(saved: Saved, tail: Batch) -> Saved:
    """What was saved, with the later commits applied."""
    memory = {**saved.memory, **tail.memory}
    found = {row[0]: row for row in saved.events}
    for _, _, n in tail.acks:
        found.pop(n, None)
    for n, entry in tail.entries.items():
        row = entry.row
        saved.numbers.add(entry.journal, row.stream, row.sequence)
        if entry.acked:
            found.pop(n, None)
        else:
            stream = _STREAMS.index(row.stream)
            found[n] = n, stream, entry.journal, row.sequence, entry.at, row.payload, entry.state, row.jpeg
    if tail.marks is not None and saved.numbers.journal in (None, tail.marks.journal):
        saved.numbers.journal = tail.marks.journal
        saved.numbers.lasts.update({stream: last for stream, (last, _) in tail.marks.streams.items()})
    known = {key: value for key, value in memory.items() if value is not None}
    return Saved(known, [found[n] for n in sorted(found)], saved.numbers)


def _read(aside: Path, numbers: SalvagedNumbers) -> tuple[dict[str, bytes], list[Found], int | None]:
    """The copy's memory, its waiting events, and the round of its redo log.

    It is opened with its -wal, or without it if the -wal is broken.
    """
    memory: dict[str, bytes] = {}
    found: dict[int, Found] = {}
    round_: int | None = None
    if not aside.exists() or aside.stat().st_size == 0:
        return memory, [], None  # if it were opened, SQLite would delete the -wal
    for mode in ("ro", "ro&immutable=1"):
        copy = Database(aside.parent, 0, aside.name)
        try:
            copy.connect(mode)
            for key, value in _memory(copy):
                memory.setdefault(key, value)
            _numbers(copy, numbers)
            with suppress(StoreError):
                round_ = copy.number("SELECT round FROM round") or round_
            for row in _waiting(copy, numbers):
                found.setdefault(row[0], row)
        except StoreError:
            continue
        finally:
            copy.close()
        if found or memory:
            break
    return memory, [found[n] for n in sorted(found)], round_


def _memory(copy: Database) -> Iterator[tuple[str, bytes]]:
    """The memory, read from both ends, each up to the first unreadable page."""
    for sql in ("SELECT key, value FROM memory ORDER BY key", "SELECT key, value FROM memory ORDER BY key DESC"):
        with suppress(StoreError):
            for key, value in copy.each(sql):
                if isinstance(key, str) and isinstance(value, bytes) and _json(value) is not None:
                    yield key, value


def _numbers(copy: Database, numbers: SalvagedNumbers) -> None:
    """The copy's present journal, and how far its numbers had come."""
    with suppress(StoreError):
        for (journal,) in copy.execute("SELECT id FROM journal ORDER BY epoch DESC LIMIT 1"):
            numbers.journal = journal if isinstance(journal, str) else None
    with suppress(StoreError):
        for number, last in copy.each("SELECT stream, last FROM stream"):
            if isinstance(number, int) and isinstance(last, int) and 0 <= number < len(_STREAMS):
                numbers.lasts[_STREAMS[number]] = last


def _waiting(copy: Database, numbers: SalvagedNumbers) -> Iterator[Found]:
    """The waiting events; if the outbox cannot be read, every event that must not be lost."""
    states: dict[int, int] = {}
    streams: dict[int, int] = {}
    sound = True
    for sql in (_OUTBOX, _OUTBOX_BACKWARDS):
        try:
            for n, state, stream in copy.each(sql):
                if state in (0, 1) and stream in range(len(_STREAMS)):
                    states[n], streams[n] = state, stream
        except StoreError:
            sound = False
    for row in _events(copy):
        kept = _sound(row)
        if kept is not None:
            numbers.add(kept[2], _STREAMS[kept[1]], kept[3])
        if kept is not None and (kept[0] in states or (not sound and _STREAMS[kept[1]] not in _SHED)):
            jpeg = _jpeg(copy, kept[0]) if _STREAMS[kept[1]] is Stream.PICTURE else None
            if jpeg is not None or _STREAMS[kept[1]] is not Stream.PICTURE:
                yield (*kept, states.get(kept[0], 0), jpeg)
                streams.pop(kept[0], None)
    numbers.lost |= {_STREAMS[number] for number in streams.values()} if sound else set(Stream)


def _jpeg(copy: Database, n: int) -> bytes | None:
    """The bytes of a picture; None unless complete."""
    with suppress(StoreError):
        for (jpeg,) in copy.execute("SELECT jpeg FROM picture WHERE n = ?", (n,)):
            return jpeg if isinstance(jpeg, bytes) else None
    return None


def _events(copy: Database) -> Iterator[tuple[Any, ...]]:
    """Every readable row of the event table. Ranges that fail are halved until only the bad rows are left out."""
    deadline = time.monotonic() + _READ_S
    bounds = _bounds(copy)
    ranges = [bounds] if bounds else []
    while ranges and time.monotonic() < deadline:
        low, high = ranges.pop()
        if high - low > 4096:
            middle = (low + high) // 2
            # Most numbers between two journals do not exist; count() shows that without reading payloads.
            ranges += [part for part in ((middle + 1, high), (low, middle)) if _any(copy, *part)]
            continue
        try:
            yield from copy.execute(
                "SELECT n, stream, sequence, at, unpacked(payload) FROM event WHERE n BETWEEN ? AND ?", (low, high)
            )
        except StoreError:
            if low < high:
                middle = (low + high) // 2
                ranges += [(middle + 1, high), (low, middle)]


def _bounds(copy: Database) -> tuple[int, int] | None:
    """The lowest and the highest `n`, estimated if one end cannot be read; None if neither can."""
    ends: list[object] = []
    for sql in ("SELECT min(n) FROM event", "SELECT max(n) FROM event"):
        with suppress(StoreError):
            ends.append(copy.execute(sql)[0][0])
    low, high = (ends[0], ends[-1]) if ends else (None, None)
    if not isinstance(low, int) or not isinstance(high, int):
        return None
    return (low, high) if len(ends) > 1 else (min(1, low), max(high, _highest(copy)))


def _highest(copy: Database) -> int:
    """An upper bound for `n` if the end of the table cannot be read."""
    highest = 1
    for sql in ("SELECT max(n) FROM outbox", "SELECT max(sequence) FROM event", "SELECT sum(last) FROM stream"):
        with suppress(StoreError):
            highest = max(highest, 2 * copy.number(sql))
    return max(highest, 1 << 20)


def _any(copy: Database, low: int, high: int) -> bool:
    try:
        return bool(copy.execute("SELECT 1 FROM event WHERE n BETWEEN ? AND ? LIMIT 1", (low, high)))
    except StoreError:
        return True


def _sound(row: tuple[Any, ...]) -> tuple[int, int, str, int, float, bytes] | None:
    """The row, if its content is what we once wrote."""
    n, stream, sequence, at, payload = row
    numbers = all(isinstance(number, int) for number in (n, stream, sequence))
    if not numbers or not isinstance(at, int | float) or not isinstance(payload, bytes):
        return None
    event = _json(payload)
    if n < 1 or not 0 <= stream < len(_STREAMS) or sequence < 1 or not isinstance(event, dict):
        return None
    journal = event.get("journal")
    if not isinstance(journal, str) or "id" not in event or event.get("sequence") != f"{sequence:020d}":
        return None
    return n, stream, journal, sequence, float(at), payload


def _json(text: bytes) -> object:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None

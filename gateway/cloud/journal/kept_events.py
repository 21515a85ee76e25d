"""The kept events in the tables: read in pieces, and a plate erased from them. Runs on the writer's thread."""

from collections.abc import Collection, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import NamedTuple

from gateway.cloud.events import with_picture
from gateway.cloud.journal.batch import Shed, State
from gateway.cloud.journal.redaction import Redaction, passage_of
from gateway.cloud.journal.sqlite import Database
from gateway.cloud.journal.tables import BROKER, NUMBER, jpeg
from gateway.model import Stream

_PIECE_ROWS = 64
_PIECE_BYTES = 256 << 10

_DELIVERED = """FROM event AS e WHERE e.stream = ? AND e.epoch = ? AND e.sequence BETWEEN ? AND ? AND e.mono IS NULL
    AND NOT EXISTS (SELECT 1 FROM outbox AS o
        WHERE o.destination = ? AND o.state = ? AND o.stream = e.stream AND o.n = e.n)
    ORDER BY e.sequence"""
_FIRST = f"SELECT e.sequence {_DELIVERED} LIMIT 1"
_LAST = f"SELECT e.sequence {_DELIVERED} DESC LIMIT 1"
_PIECE = f"SELECT e.n, e.sequence, unpacked(e.payload) {_DELIVERED} LIMIT ?"
_WAITING = """SELECT e.epoch, e.sequence FROM outbox AS o JOIN event AS e ON e.n = o.n
    WHERE o.destination = ? AND o.state = ? AND o.stream = ? ORDER BY o.n LIMIT 1"""

_NAMING_ROWS = 500
_NAMING = """SELECT n, CASE WHEN instr(payload, ?) THEN payload END FROM event
    WHERE n > ? AND stream = ? ORDER BY n LIMIT ?"""

_LATEST = "SELECT n, unpacked(payload) FROM event WHERE stream = ? ORDER BY epoch DESC, sequence DESC LIMIT ?"
_SINCE = "SELECT n, unpacked(payload) FROM event WHERE n > ? AND stream = ? ORDER BY n LIMIT ?"
_BACK = """SELECT epoch, sequence, n, CASE WHEN instr(unpacked(payload), ?) THEN unpacked(payload) END FROM event
    WHERE stream = ? AND (epoch, sequence) < (?, ?) ORDER BY epoch DESC, sequence DESC LIMIT ?"""


class Kept(NamedTuple):
    """The kept part of a range; both 0 if nothing is kept."""

    first: int
    last: int


class Past(NamedTuple):
    """A kept event, read backwards from the newest one."""

    epoch: int
    sequence: int
    n: int
    payload: bytes | None
    """None: what was looked for is not in it."""


class KeptEvents:
    """Reads the tables.

    Only events that the broker has acknowledged are history; waiting ones will be sent anyway, in order.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def edges(self, stream: Stream, journal: str, first: int, last: int) -> Kept:
        """The first and last kept event of a range. Raises StoreError."""
        what = self._what(stream, journal, first, last)
        found = self._database.number(_FIRST, what)
        return Kept(found, self._database.number(_LAST, what) if found else 0)

    def piece(self, stream: Stream, journal: str, first: int, last: int) -> list[tuple[int, bytes]]:
        """Sequence and bytes of some events of a range, in order; empty at its end. Raises StoreError."""
        piece: list[tuple[int, bytes]] = []
        size = 0
        with closing(self._database.each(_PIECE, (*self._what(stream, journal, first, last), _PIECE_ROWS))) as rows:
            for n, sequence, event in rows:
                payload = with_picture(event, jpeg(self._database, n)) if stream is Stream.PICTURE else event
                piece.append((sequence, payload))
                size += len(payload)
                if size >= _PIECE_BYTES:
                    break
        return piece

    def latest(self, stream: Stream, after: int | None, count: int) -> list[tuple[int, bytes]]:
        """The last kept events of a stream, or the first of those after `n`, delivered or not. Raises StoreError."""
        if after is not None:
            return self._database.execute(_SINCE, (after, NUMBER[stream], count))
        return self._database.execute(_LATEST, (NUMBER[stream], count))[::-1]

    def back(self, stream: Stream, before: tuple[int, int], count: int, needle: bytes) -> list[Past]:
        """Some events before (epoch, sequence), newest first, delivered or not. Raises StoreError."""
        return [Past(*row) for row in self._database.execute(_BACK, (needle, NUMBER[stream], *before, count))]

    def jpeg(self, n: int) -> bytes:
        """The bytes of a picture's event. Raises StoreError."""
        return jpeg(self._database, n)

    def naming(self, plate: Redaction, after: int) -> tuple[list[bytes], int | None]:
        """Those of some access events after `n` that name the plate, delivered or not, and where to continue.

        Raises StoreError.
        """
        rows = self._database.execute(_NAMING, (plate.needle, after, NUMBER[Stream.ACCESS], _NAMING_ROWS))
        found = [row[1] for row in rows if row[1] is not None and plate.names(row[1])]
        return found, rows[-1][0] if len(rows) == _NAMING_ROWS else None

    def _what(self, stream: Stream, journal: str, first: int, last: int) -> tuple[int, ...]:
        database, number = self._database, NUMBER[stream]
        epoch = database.number("SELECT epoch FROM journal WHERE id = ?", (journal,))
        waiting = database.execute(_WAITING, (BROKER, State.WAITING, number))
        if waiting:
            # In order: the oldest that waits is the end of what was delivered; it may wait since the journal before.
            last = min(last, waiting[0][1] - 1) if waiting[0][0] == epoch else 0
        return (number, epoch, first, last, BROKER, State.ASIDE)


STREAMS = (Stream.ACCESS, Stream.AUDIT)
_SLICE_ROWS = 500

_NAMED = """SELECT n, payload, instr(payload, ?) FROM event WHERE n > ? AND stream IN (?, ?) ORDER BY n LIMIT ?"""
_PICTURES = "SELECT n, sequence, payload FROM event WHERE n > ? AND stream = ? ORDER BY n LIMIT ?"
_STATE = "SELECT state FROM outbox WHERE destination = ? AND stream = ? AND n = ?"


@dataclass(slots=True)
class Slice:
    """The result of one slice. `after`: where the next begins; None: it was the last."""

    after: int | None
    changed: int = 0
    passages: set[str] = field(default_factory=set)
    sheds: list[tuple[Shed, State, int]] = field(default_factory=list)


class Eraser:
    """Erases in the tables of one store. Runs on the writer's thread."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def events(self, redaction: Redaction, after: int) -> Slice:
        """Erase in some access and audit events after `n`. Raises StoreError."""
        database = self._database
        numbers = (NUMBER[stream] for stream in STREAMS)
        rows = database.execute(_NAMED, (redaction.needle, after, *numbers, _SLICE_ROWS))
        done = Slice(rows[-1][0] if len(rows) == _SLICE_ROWS else None)
        changed = []
        for n, payload, found in rows:
            redacted = redaction.of(payload) if found else None
            if redacted is not None:
                changed.append((redacted[0], n))
                if redacted[1] is not None:
                    done.passages.add(redacted[1])
        if changed:
            self._wipe("UPDATE event SET payload = ? WHERE n = ?", changed)
        done.changed = len(changed)
        return done

    def pictures(self, passages: Collection[str], after: int) -> Slice:
        """Delete some pictures after `n`. Raises StoreError."""
        database, number = self._database, NUMBER[Stream.PICTURE]
        rows = database.execute(_PICTURES, (after, number, _SLICE_ROWS))
        done = Slice(rows[-1][0] if len(rows) == _SLICE_ROWS else None)
        gone = []
        for n, sequence, payload in rows:
            if passage_of(payload) not in passages:
                continue
            gone.append((n,))
            for (state,) in database.execute(_STATE, (BROKER, number, n)):
                done.sheds.append((Shed(Stream.PICTURE, sequence, sequence, 1, "erased"), State(state), n))
        if gone:
            sheds = [shed for shed, _, _ in done.sheds]
            self._wipe("DELETE FROM event WHERE n = ?", gone, sheds)
        done.changed = len(gone)
        return done

    def wash(self) -> None:
        """Leave nothing of it in the -wal and the redo log. Raises StoreError."""
        self._database.fold()
        self._database.log.wipe()

    def _wipe(self, sql: str, rows: Sequence[tuple[object, ...]], sheds: Collection[Shed] = ()) -> None:
        """Change rows so that the old bytes are overwritten in the file too."""
        database, number = self._database, NUMBER[Stream.PICTURE]
        before = database.number("PRAGMA secure_delete")
        database.execute("PRAGMA secure_delete=1")
        try:
            with database.transaction(new_round=True):
                if sheds:
                    database.many("DELETE FROM outbox WHERE destination = ? AND stream = ? AND n = ?",
                               ((BROKER, number, n) for (n,) in rows))  # fmt: skip
                    database.many(
                        "INSERT INTO shed (stream, first, last, count, reason) VALUES (?, ?, ?, ?, ?)",
                        ((number, shed.first, shed.last, shed.count, shed.reason) for shed in sheds),
                    )
                database.many(sql, rows)
        finally:
            database.execute(f"PRAGMA secure_delete={before}")

"""Disk space: the reserve for alarms, what is deleted when space runs short, and what has expired.

Delivered history is deleted first, whatever `keep` says: pictures, telemetry, what is older than `keep`, then passages,
audit and inspection, then all but the last thousand alarms. Next come undelivered pictures and telemetry, first those
that the broker refused, oldest first; their numbers are noted for `stream.shed` in the same transaction. Next come the
last thousand delivered alarms. Undelivered events of the other streams are never deleted.

Age is the time that the box has run since then (`age` of the schema), so a wrong wall clock does not age history.
"""

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from gateway.cloud.journal.batch import Shed, State
from gateway.cloud.journal.sqlite import Database
from gateway.cloud.journal.tables import BROKER, NUMBER
from gateway.model import Stream

_SLICE_ROWS = 200
_SLICE_PICTURES = 16
"""Pictures per slice: as many bytes as some hundred other events."""
_CROWDED_SHARE = 0.90
_ROOMY_SHARE = 0.85
_VACUUM_PAGES = 256
_SHEDDABLE = (Stream.PICTURE, Stream.TELEMETRY)
_RECORDS = (Stream.ACCESS, Stream.AUDIT, Stream.INSPECTION)
_LAST_ALARMS = 1000
"""The newest alarms, which stay while anything else can be deleted."""
_ALL = (1 << 63) - 1

_OLDEST = """SELECT n FROM event WHERE stream = ? AND n < ?
    AND NOT EXISTS (SELECT 1 FROM outbox AS o
        WHERE o.destination = ? AND o.state = ? AND o.stream = event.stream AND o.n = event.n)
    ORDER BY epoch, sequence LIMIT ?"""


@dataclass(slots=True)
class Tidied:
    """The result of one slice of work."""

    removed: int = 0
    sheds: list[tuple[Shed, State, int]] = field(default_factory=list)
    """Deleted undelivered ranges, each with its state and highest `n`."""
    more: bool = False

    def add(self, other: "Tidied") -> None:
        """Add another result."""
        self.removed += other.removed
        self.sheds += other.sheds


class Space:
    """Keeps one store within its size and age. Each call is a short slice of work."""

    def __init__(self, database: Database, keep: Mapping[Stream, float]) -> None:
        self._database = database
        self._keep = keep

    def crowded(self) -> bool:
        """True if over 90 % of `max_size` is used."""
        return self._share() > _CROWDED_SHARE

    def make_room(self, lived: float) -> Tidied:
        """Delete up to 200 rows by the order above, until 85 % of `max_size` is used.

        `lived`: seconds that the box has run.
        """
        if self._share() <= _ROOMY_SHARE:
            return Tidied()
        for done in self._stages(lived):
            if done.removed:
                done.more = True
                return done
        return Tidied()

    def relieve(self, lived: float) -> Tidied:
        """Delete up to 200 rows by the order above, however much is used."""
        for done in self._stages(lived):
            if done.removed:
                return done
        return Tidied()

    def expire(self, lived: float) -> Tidied:
        """Delete up to 200 delivered events of each stream that are older than `keep`."""
        done = Tidied()
        for stream in Stream:
            part = self._history(stream, self._old(lived - self._keep[stream]))
            done.add(part)
            done.more = done.more or part.more
        longest = self._old(lived - max(self._keep.values()))
        self._database.execute("DELETE FROM age WHERE n < ?", (longest,))
        return done

    def vacuum(self) -> bool:
        """Return some free pages to the disk; False if that is not worth it."""
        pages, free = self._database.used()
        if free < 2 * _VACUUM_PAGES or free * 4 < pages:
            return False
        self._database.execute(f"PRAGMA incremental_vacuum({_VACUUM_PAGES})")
        return True

    def _share(self) -> float:
        pages, free = self._database.used()
        return (pages - free) / self._database.max_pages

    def _stages(self, lived: float) -> Iterator[Tidied]:
        for stream in _SHEDDABLE:
            yield self._history(stream, _ALL)
        yield self.expire(lived)
        # Oldest first: choose the stream that has the oldest event.
        oldest = {stream: self._next(stream, _ALL, 1) for stream in _RECORDS}
        for stream in sorted(_RECORDS, key=lambda stream: oldest[stream][:1] or [_ALL]):
            yield self._history(stream, _ALL)
        floor = self._database.number(
            "SELECT n FROM event WHERE stream = ? ORDER BY epoch DESC, sequence DESC LIMIT 1 OFFSET ?",
            (NUMBER[Stream.ALARM], _LAST_ALARMS),
        )
        yield self._history(Stream.ALARM, floor)
        for stream in _SHEDDABLE:
            for state in (State.ASIDE, State.WAITING):
                yield self._undelivered(stream, state)
        yield self._history(Stream.ALARM, _ALL)

    def _old(self, lived: float) -> int:
        """The highest `n` at the time when the box had run for `lived` seconds."""
        return self._database.number("SELECT max(n) FROM age WHERE lived <= ?", (lived,))

    def _history(self, stream: Stream, upto: int) -> Tidied:
        """Delivered events of the stream up to this `n`, oldest first."""
        most = _most(stream)
        old = self._next(stream, upto, most)
        if old:
            with self._database.transaction():
                self._database.many("DELETE FROM event WHERE n = ?", ((n,) for n in old))
        return Tidied(removed=len(old), more=len(old) == most)

    def _next(self, stream: Stream, upto: int, most: int) -> list[int]:
        """The oldest delivered events of the stream."""
        waiting = self._database.execute(
            "SELECT min(n) FROM outbox WHERE destination = ? AND state = ? AND stream = ?",
            (BROKER, State.WAITING, NUMBER[stream]),
        )[0][0]
        limit = _ALL if waiting is None else waiting
        rows = self._database.execute(_OLDEST, (NUMBER[stream], limit, BROKER, State.ASIDE, most))
        return [n for (n,) in rows if n <= upto]

    def _undelivered(self, stream: Stream, state: State) -> Tidied:
        database = self._database
        number = NUMBER[stream]
        rows = database.execute(
            """SELECT o.n, e.sequence FROM outbox AS o JOIN event AS e ON e.n = o.n
               WHERE o.destination = ? AND o.state = ? AND o.stream = ? ORDER BY o.n LIMIT ?""",
            (BROKER, state, number, _most(stream)),
        )
        if not rows:
            return Tidied()
        shed = Shed(stream, min(row[1] for row in rows), max(row[1] for row in rows), len(rows), "full")
        with database.transaction():
            database.many("DELETE FROM outbox WHERE destination = ? AND state = ? AND stream = ? AND n = ?",
                       ((BROKER, state, number, n) for n, _ in rows))  # fmt: skip
            database.many("DELETE FROM event WHERE n = ?", ((n,) for n, _ in rows))
            database.execute("INSERT INTO shed (stream, first, last, count, reason) VALUES (?, ?, ?, ?, ?)",
                          (number, shed.first, shed.last, shed.count, shed.reason))  # fmt: skip
        return Tidied(removed=len(rows), sheds=[(shed, state, rows[-1][0])])


def _most(stream: Stream) -> int:
    return _SLICE_PICTURES if stream is Stream.PICTURE else _SLICE_ROWS


_MARGIN_FACTOR = 1.25


class Ballast:
    """The reserve file: `alarm_reserve` bytes beside the journal. Making it may take long; deleting it is instant."""

    def __init__(self, path: Path, size: int) -> None:
        self._path = path
        self._size = size
        self._lock = threading.Lock()
        self._making: threading.Thread | None = None
        self._wanted = False

    @property
    def present(self) -> bool:
        """True if the whole reserve exists."""
        try:
            found = self._path.stat()
        except OSError:
            return False
        return found.st_size == self._size and found.st_blocks * 512 >= self._size

    def make(self) -> None:
        """Make the file in a thread of its own, if it is missing and there is enough space. Never blocks."""
        if not self._lock.acquire(blocking=False):
            return
        try:
            if self._size == 0 or (self._making is not None and self._making.is_alive()):
                return
            self._wanted = True
            self._making = threading.Thread(target=self._fill, name="ballast", daemon=True)
            self._making.start()
        finally:
            self._lock.release()

    def give_up(self) -> bool:
        """Delete the file; True if that freed any space."""
        with self._lock:
            self._wanted = False
            try:
                self._path.unlink()
            except OSError:
                return False
            return True

    def _fill(self) -> None:
        part = self._path.with_name(self._path.name + ".part")
        try:
            if self.present:
                return
            room = os.statvfs(self._path.parent)
            if room.f_bavail * room.f_frsize < self._size * _MARGIN_FACTOR:
                return
            handle = os.open(part, os.O_CREAT | os.O_RDWR, 0o600)
            try:
                os.posix_fallocate(handle, 0, self._size)
            finally:
                os.close(handle)
            with self._lock:
                if self._wanted:
                    part.rename(self._path)
        except OSError:
            return  # no space for a reserve: `present` stays false
        finally:
            with suppress(OSError):
                part.unlink()

"""Who gives way when room runs short, and what has been kept long enough. Runs on the writer's thread.

Delivered history goes first: pictures, telemetry, the rest by age beyond `keep`. Then undelivered pictures
and telemetry, those that the broker would not take before those that wait, oldest first; their numbers are written
down for `stream.shed` in the same transaction.
Undelivered events of the other streams never go.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from gateway.cloud.batch import Shed, State
from gateway.cloud.ledger import BROKER, NUMBER
from gateway.cloud.store import Store
from gateway.model import Stream

_SLICE = 200
_PICTURES = 16
"""Of a slice: as many bytes as some hundred other events."""
_HIGH = 0.90
_LOW = 0.85
_VACUUM_PAGES = 256
_SHEDDABLE = (Stream.PICTURE, Stream.TELEMETRY)

_OLDEST = """SELECT n, at, epoch, sequence FROM event WHERE stream = ? AND (epoch, sequence) > (?, ?) AND n < ?
    AND NOT EXISTS (SELECT 1 FROM outbox AS o
        WHERE o.destination = ? AND o.state = ? AND o.stream = event.stream AND o.n = event.n)
    ORDER BY epoch, sequence LIMIT ?"""


@dataclass(slots=True)
class Tidied:
    """What one slice of work did."""

    removed: int = 0
    sheds: list[tuple[Shed, State, int]] = field(default_factory=list)
    """Undelivered ranges that are gone, each with where they stood and the highest `n` in it."""
    more: bool = False

    def add(self, other: "Tidied") -> None:
        """Sum up."""
        self.removed += other.removed
        self.sheds += other.sheds


class Space:
    """The policy of size and age over one store. Each call is a short slice of work."""

    def __init__(self, store: Store, keep: Mapping[Stream, float]) -> None:
        self._store = store
        self._keep = keep

    def crowded(self) -> bool:
        """Over 90 % of `max_size` is used."""
        return self._share() > _HIGH

    def make_room(self, wall: float | None) -> Tidied:
        """Remove up to 200 rows of those that go first, until 85 % of `max_size` is used.

        `wall`: the trusted time, or None: then nothing goes because of its age.
        """
        if self._share() <= _LOW:
            return Tidied()
        for done in self._stages(wall):
            if done.removed:
                done.more = True
                return done
        return Tidied()

    def relieve(self, wall: float | None) -> Tidied:
        """Remove up to 200 rows of those that go first, whatever the share."""
        for done in self._stages(wall):
            if done.removed:
                return done
        return Tidied()

    def expire(self, wall: float) -> Tidied:
        """Remove up to 200 delivered events of each stream that are older than `keep`."""
        done = Tidied()
        for stream in Stream:
            part = self._history(stream, wall - self._keep[stream])
            done.add(part)
            done.more = done.more or part.more
        return done

    def vacuum(self) -> bool:
        """Give some free pages back to the disk; False when that is not worth it."""
        pages, free = self._store.used()
        if free < 2 * _VACUUM_PAGES or free * 4 < pages:
            return False
        self._store.execute(f"PRAGMA incremental_vacuum({_VACUUM_PAGES})")
        return True

    def _share(self) -> float:
        pages, free = self._store.used()
        return (pages - free) / self._store.max_pages

    def _stages(self, wall: float | None) -> Iterator[Tidied]:
        for stream in _SHEDDABLE:
            yield self._history(stream, float("inf"))
        if wall is not None:
            yield self.expire(wall)
        for stream in _SHEDDABLE:
            for state in (State.ASIDE, State.WAITING):
                yield self._undelivered(stream, state)

    def _history(self, stream: Stream, before: float) -> Tidied:
        """Delivered events of the stream, oldest first, up to the first that is not older than `before`."""
        store = self._store
        number = NUMBER[stream]
        waiting = store.execute(
            "SELECT min(n) FROM outbox WHERE destination = ? AND state = ? AND stream = ?",
            (BROKER, State.WAITING, number),
        )[0][0]
        limit = (1 << 63) - 1 if waiting is None else waiting
        most = _most(stream)
        rows = store.execute(_OLDEST, (number, 0, 0, limit, BROKER, State.ASIDE, most))
        old = []
        for n, at, _, _ in rows:
            if at >= before:
                break
            old.append((n,))
        if old:
            with store.transaction():
                store.many("DELETE FROM event WHERE n = ?", old)
        return Tidied(removed=len(old), more=len(old) == most)

    def _undelivered(self, stream: Stream, state: State) -> Tidied:
        store = self._store
        number = NUMBER[stream]
        rows = store.execute(
            """SELECT o.n, e.sequence FROM outbox AS o JOIN event AS e ON e.n = o.n
               WHERE o.destination = ? AND o.state = ? AND o.stream = ? ORDER BY o.n LIMIT ?""",
            (BROKER, state, number, _most(stream)),
        )
        if not rows:
            return Tidied()
        shed = Shed(stream, min(row[1] for row in rows), max(row[1] for row in rows), len(rows), "full")
        with store.transaction():
            store.many("DELETE FROM outbox WHERE destination = ? AND state = ? AND stream = ? AND n = ?",
                       ((BROKER, state, number, n) for n, _ in rows))  # fmt: skip
            store.many("DELETE FROM event WHERE n = ?", ((n,) for n, _ in rows))
            store.execute("INSERT INTO shed (stream, first, last, count, reason) VALUES (?, ?, ?, ?, ?)",
                          (number, shed.first, shed.last, shed.count, shed.reason))  # fmt: skip
        return Tidied(removed=len(rows), sheds=[(shed, state, rows[-1][0])])


def _most(stream: Stream) -> int:
    return _PICTURES if stream is Stream.PICTURE else _SLICE

"""The kept events, read again in pieces: on the writer's thread, between what is written there."""

from collections.abc import Awaitable, Callable
from contextlib import closing
from functools import partial
from typing import NamedTuple, cast

from gateway.cloud.events import with_picture
from gateway.cloud.journal.batch import State
from gateway.cloud.journal.ledger import BROKER, NUMBER, jpeg
from gateway.cloud.journal.redaction import Redaction
from gateway.cloud.journal.store import Store
from gateway.errors import StoreError
from gateway.model import Stream

_PIECE_ROWS = 64
_PIECE_BYTES = 256 << 10
_SECONDS = 5.0

_DELIVERED = """FROM event AS e WHERE e.stream = ? AND e.epoch = ? AND e.sequence BETWEEN ? AND ? AND e.mono IS NULL
    AND NOT EXISTS (SELECT 1 FROM outbox AS o
        WHERE o.destination = ? AND o.state = ? AND o.stream = e.stream AND o.n = e.n)
    ORDER BY e.sequence"""
_FIRST = f"SELECT e.sequence {_DELIVERED} LIMIT 1"
_LAST = f"SELECT e.sequence {_DELIVERED} DESC LIMIT 1"
_PIECE = f"SELECT e.n, e.sequence, e.payload {_DELIVERED} LIMIT ?"
_WAITING = """SELECT e.epoch, e.sequence FROM outbox AS o JOIN event AS e ON e.n = o.n
    WHERE o.destination = ? AND o.state = ? AND o.stream = ? ORDER BY o.n LIMIT 1"""

_NAMING_ROWS = 500
_NAMING = """SELECT n, CASE WHEN instr(payload, ?) THEN payload END FROM event
    WHERE n > ? AND stream = ? ORDER BY n LIMIT ?"""

_LATEST = "SELECT n, payload FROM event WHERE stream = ? ORDER BY epoch DESC, sequence DESC LIMIT ?"
_SINCE = "SELECT n, payload FROM event WHERE n > ? AND stream = ? ORDER BY n LIMIT ?"


class Kept(NamedTuple):
    """What there is of a range; both 0 if nothing."""

    first: int
    last: int


class Shelf:
    """The tables. Runs on the writer's thread.

    Only what the broker has acknowledged is history: what waits will be sent anyway, in its order.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def edges(self, stream: Stream, journal: str, first: int, last: int) -> Kept:
        """The first and last kept event of a range. Raises StoreError."""
        what = self._what(stream, journal, first, last)
        found = self._store.number(_FIRST, what)
        return Kept(found, self._store.number(_LAST, what) if found else 0)

    def piece(self, stream: Stream, journal: str, first: int, last: int) -> list[tuple[int, bytes]]:
        """Sequence and bytes of some events of a range, in order; none: it is at its end. Raises StoreError."""
        piece: list[tuple[int, bytes]] = []
        size = 0
        with closing(self._store.each(_PIECE, (*self._what(stream, journal, first, last), _PIECE_ROWS))) as rows:
            for n, sequence, event in rows:
                payload = with_picture(event, jpeg(self._store, n)) if stream is Stream.PICTURE else event
                piece.append((sequence, payload))
                size += len(payload)
                if size >= _PIECE_BYTES:
                    break
        return piece

    def latest(self, stream: Stream, after: int | None, count: int) -> list[tuple[int, bytes]]:
        """The last kept events of a stream, or the first of those after `n`, delivered or not. Raises StoreError."""
        if after is not None:
            return self._store.execute(_SINCE, (after, NUMBER[stream], count))
        return self._store.execute(_LATEST, (NUMBER[stream], count))[::-1]

    def naming(self, plate: Redaction, after: int) -> tuple[list[bytes], int | None]:
        """Of some access events after `n` those that name the plate, delivered or not, and where the next begin.

        Raises StoreError.
        """
        rows = self._store.execute(_NAMING, (plate.needle, after, NUMBER[Stream.ACCESS], _NAMING_ROWS))
        found = [row[1] for row in rows if row[1] is not None and plate.names(row[1])]
        return found, rows[-1][0] if len(rows) == _NAMING_ROWS else None

    def _what(self, stream: Stream, journal: str, first: int, last: int) -> tuple[int, ...]:
        store, number = self._store, NUMBER[stream]
        epoch = store.number("SELECT epoch FROM journal WHERE id = ?", (journal,))
        waiting = store.execute(_WAITING, (BROKER, State.WAITING, number))
        if waiting:
            # In order: the oldest that waits is the end of what was delivered; it may wait since the journal before.
            last = min(last, waiting[0][1] - 1) if waiting[0][0] == epoch else 0
        return (number, epoch, first, last, BROKER, State.ASIDE)


class History:
    """The kept events of the present journal, for the loop's thread. `ask`: have something done by the writer."""

    def __init__(
        self, shelf: Shelf, journal: Callable[[], str], ask: Callable[[Callable[[], object], float], Awaitable[object]]
    ) -> None:
        self._shelf = shelf
        self._journal = journal
        self._ask = ask

    async def edges(self, stream: Stream, first: int, last: int) -> Kept:
        """The first and last kept event of a range, both 0 if there is none. Raises StoreError."""
        return cast("Kept", await self._read(partial(self._shelf.edges, stream, self._journal(), first, last)))

    async def piece(self, stream: Stream, first: int, last: int) -> list[tuple[int, bytes]]:
        """Sequence and bytes of some events of a range, in order; none: there are no more. Raises StoreError."""
        work = partial(self._shelf.piece, stream, self._journal(), first, last)
        return cast("list[tuple[int, bytes]]", await self._read(work))

    async def latest(self, stream: Stream, after: int | None, count: int) -> list[tuple[int, bytes]]:
        """`n` and bytes of the last events of a stream, or of the first after `n`, in order. Raises StoreError."""
        work = partial(self._shelf.latest, stream, after, count)
        return cast("list[tuple[int, bytes]]", await self._read(work))

    async def naming(self, plate: str) -> list[bytes]:
        """The access events of all journals that name this whole plate, in the order of arrival. Raises StoreError."""
        redaction = Redaction(plate)
        found: list[bytes] = []
        after: int | None = 0
        while after is not None:
            work = partial(self._shelf.naming, redaction, after)
            piece, after = cast("tuple[list[bytes], int | None]", await self._read(work))
            found += piece
        return found

    async def _read(self, work: Callable[[], object]) -> object:
        try:
            return await self._ask(work, _SECONDS)
        except TimeoutError as error:
            raise StoreError("the store does not answer") from error

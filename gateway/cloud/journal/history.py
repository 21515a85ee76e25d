"""The kept events, for the loop's thread: read again in pieces, and a plate erased from them.

Both are done by the writer's thread, between commits. Access and audit events that name an erased plate stay, without
the plate, whether the broker has them or not, so their numbers have no gap. Pictures of that car's passages are
deleted, and the gap in their stream is reported as `erased`. Alarms are never changed.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple, TypeVar

from gateway.cloud.journal.cycle import Cycle
from gateway.cloud.journal.kept_events import STREAMS, Kept, Past, Slice
from gateway.cloud.journal.numbering import Numbering
from gateway.cloud.journal.outbox_window import Delivery
from gateway.cloud.journal.redaction import Redaction
from gateway.cloud.journal.store import Store
from gateway.cloud.outbox import Row
from gateway.errors import StoreError
from gateway.model import Stream

Result = TypeVar("Result")

_READ_S = 5.0
_ERASE_S = 10.0
_END = (2**62, 2**62)
"""A place after the last event."""


class History:
    """Reads the kept events; ranges of numbers are of the present journal."""

    def __init__(self, store: Store, numbering: Numbering, cycle: Cycle) -> None:
        self._store = store
        self._numbering = numbering
        self._cycle = cycle

    async def edges(self, stream: Stream, first: int, last: int) -> Kept:
        """The first and last kept event of a range, both 0 if there is none. Raises StoreError."""
        journal = self._numbering.journal
        return await self._read(lambda: self._store.kept().edges(stream, journal, first, last))

    async def piece(self, stream: Stream, first: int, last: int) -> list[tuple[int, bytes]]:
        """Sequence and bytes of some events of a range, in order; empty at its end. Raises StoreError."""
        journal = self._numbering.journal
        return await self._read(lambda: self._store.kept().piece(stream, journal, first, last))

    async def latest(self, stream: Stream, after: int | None, count: int) -> list[tuple[int, bytes]]:
        """`n` and bytes of the last events of a stream, or of the first after `n`, in order. Raises StoreError."""
        return await self._read(lambda: self._store.latest(stream, after, count))

    async def back(self, stream: Stream, before: tuple[int, int] | None, count: int, needle: bytes = b"") -> list[Past]:
        """Some events of all journals before (epoch, sequence), newest first; None: the newest. Raises StoreError.

        Only events that contain `needle` come with their payload.
        """
        return await self._read(lambda: self._store.kept().back(stream, before or _END, count, needle))

    async def jpeg(self, n: int) -> bytes:
        """The bytes of a picture. Raises StoreError."""
        return await self._read(lambda: self._store.kept().jpeg(n))

    async def naming(self, plate: str) -> list[bytes]:
        """The access events of all journals that name this whole plate, in the order of arrival. Raises StoreError."""
        redaction = Redaction(plate)
        found: list[bytes] = []
        after: int | None = 0
        while after is not None:
            piece, after = await self._read(partial(self._naming, redaction, after))
            found += piece
        return found

    def _naming(self, plate: Redaction, after: int) -> tuple[list[bytes], int | None]:
        return self._store.kept().naming(plate, after)

    async def _read(self, work: Callable[[], Result]) -> Result:
        return await _done_by(self._cycle, work, _READ_S)


class Erased(NamedTuple):
    """How much was erased."""

    events: int
    pictures: int


class Erasure:
    """Erases a plate from the kept events and from the rows in memory."""

    def __init__(self, store: Store, delivery: Delivery, cycle: Cycle) -> None:
        self._store = store
        self._delivery = delivery
        self._cycle = cycle

    async def of(self, plate: str) -> Erased:
        """Erase a plate from everything that is kept. Raises StoreError."""
        redaction = Redaction(plate)
        passages: set[str] = set()
        events = await self._through(lambda after: self._store.eraser().events(redaction, after), passages)
        for stream in STREAMS:
            self._delivery.rewrite(stream, partial(_without, redaction))
        pictures = 0
        if passages:
            pictures = await self._through(lambda after: self._store.eraser().pictures(passages, after), set())
        await self._work(lambda: self._store.eraser().wash())
        return Erased(events, pictures)

    async def _through(self, part: Callable[[int], Slice], passages: set[str]) -> int:
        """Erase one slice after the other. `part`: one slice of the events, or of the pictures."""
        changed = 0
        after: int | None = 0
        while after is not None:
            done = await self._work(partial(part, after))
            after = done.after
            changed += done.changed
            passages |= done.passages
            for shed, state, n in done.sheds:
                self._delivery.window(shed.stream, state).gone(n)
            self._cycle.name([shed for shed, _, _ in done.sheds])
        return changed

    async def _work(self, work: Callable[[], Result]) -> Result:
        return await _done_by(self._cycle, work, _ERASE_S)


async def _done_by(cycle: Cycle, work: Callable[[], Result], seconds: float) -> Result:
    try:
        return await cycle.ask(work, seconds)
    except TimeoutError as error:
        raise StoreError("the store does not answer") from error


def _without(redaction: Redaction, row: Row) -> Row:
    redacted = redaction.of(row.payload)
    return row if redacted is None else row._replace(payload=redacted[0])

"""The commit queue: what waits for the writer, and what is with it. Loop thread only."""

import asyncio
from collections.abc import Callable, Iterable

from gateway.cloud import events
from gateway.cloud.batch import Batch, Entry, Marks, Shed
from gateway.cloud.delivery import Delivery
from gateway.cloud.outbox import Row
from gateway.model import Instant, Stream

QUEUE_BYTES = 16 << 20

_SHEDDABLE = (Stream.PICTURE, Stream.TELEMETRY)
"""What may be lost, in this order."""


class CommitQueue:
    """16 MiB of events and memory. `waiting` is the next transaction."""

    def __init__(self, delivery: Delivery, tell: Callable[[list[Shed]], None]) -> None:
        self._delivery = delivery
        self._tell = tell
        self._flying: Batch | None = None
        self._room = asyncio.Event()
        self.waiting = Batch()
        self.lost = False
        """The store cannot be written: everything is accepted in memory."""
        self.ahead_of_commit = 0
        self.shed = 0

    @property
    def size(self) -> int:
        """Bytes that are not committed."""
        return self.waiting.size + (self._flying.size if self._flying else 0)

    # ---- to the writer and back -------------------------------------------------------------------

    def launch(self, marks: Marks) -> Batch:
        """What waits, for the writer; it stays in the queue until `landed`."""
        batch, self.waiting = self.waiting, Batch()
        batch.marks = marks
        self._flying = batch
        return batch

    def landed(self, *, written: bool) -> Batch:
        """The writer is done with it. Not written: nothing of it is in the file, it waits again, first of all."""
        batch, self._flying = self._flying, None
        if batch is None:
            raise RuntimeError("a batch came back that was never sent")
        if not written:
            batch.absorb(self.waiting)
            self.waiting = batch
        return batch

    # ---- accepting in memory ----------------------------------------------------------------------

    def accept_all(self) -> None:
        """The store has just been lost."""
        self.lost = True
        for batch in (self._flying, self.waiting):
            if batch is not None:
                self.accept(batch, batch.entries.values())

    def accept(self, batch: Batch, entries: Iterable[Entry]) -> None:
        """Hand out rows that are in memory only, and say so to who waits for them."""
        count = self._delivery.offer(entries, written=False)
        self.ahead_of_commit += count
        run_thens(batch)
        self.shrink()

    # ---- bounds -----------------------------------------------------------------------------------

    async def room(self) -> None:
        """Wait while 16 MiB or more are not committed."""
        while not self.shrink():
            self._room.clear()
            await self._room.wait()

    def roomier(self) -> None:
        """Something left the queue."""
        if self.size < QUEUE_BYTES or (self.lost and not self._room.is_set() and self.shrink()):
            self._room.set()

    def shrink(self) -> bool:
        """Let go of what may go if there is too much: what the broker has, then pictures, then telemetry.

        True if it fits.
        """
        if self.size < QUEUE_BYTES:
            return True
        if self.lost:
            for stream in (*_SHEDDABLE, *Stream):
                self._drop(stream, acked=True)
        for stream in _SHEDDABLE:
            self._drop(stream, acked=False)
        return self.size < QUEUE_BYTES

    def _drop(self, stream: Stream, *, acked: bool) -> None:
        """Drop such entries, oldest first, until a quarter of the queue is free."""
        if self.size < QUEUE_BYTES * 3 // 4:
            return
        gone: list[int] = []
        for n, entry in list(self.waiting.entries.items()):
            if self.size < QUEUE_BYTES * 3 // 4:
                break
            row = entry.row
            if row.stream is not stream or entry.acked is not acked:
                continue
            if not entry.acked:
                if not self._delivery.window(stream).drop(n):
                    continue  # it is with the broker at this moment
                gone.append(row.sequence)
            self.waiting.remove(n)
        if gone:
            shed = Shed(stream, gone[0], gone[-1], len(gone), "memory")
            self.shed += shed.count
            self.waiting.sheds.append(shed)
            self._tell([shed])

    # ---- times of events born unsynced ------------------------------------------------------------

    def harden(self, row: Row) -> bool:
        """Make a row's content final before it is sent. False: that takes a commit, ask again after it.

        A row that is on disk with a time that may be corrected must be marked as final there before its
        first sending, or a later process could send it with another content. All such rows of the stream
        that are at hand are marked in that one commit.
        """
        stream, n = row.stream, row.n
        window = self._delivery.window(stream)
        entry = self.waiting.entries.get(n)
        if entry is not None or self.lost:
            if entry is None:
                self.waiting.frozen.append((stream, n))
            else:
                entry.mono = None
            window.soft.discard(n)
            return True
        asked = {m for batch in (self._flying, self.waiting) if batch is not None for _, m in batch.frozen}
        if n not in asked:
            waiting = self.waiting
            waiting.frozen += [(stream, m) for m in sorted(window.soft) if m not in waiting.entries and m not in asked]
        return False

    def correct(self, sync: Instant) -> None:
        """Give what waits for its commit its true time."""
        for entry in self.waiting.entries.values():
            if entry.mono is None:
                continue
            wall = sync.wall - (sync.mono - entry.mono)
            row = entry.row._replace(payload=events.corrected(entry.row.payload, wall))
            self.waiting.size += len(row.payload) - len(entry.row.payload)
            entry.row, entry.at, entry.mono = row, wall, None
            self._delivery.window(row.stream).replace(row)


def run_thens(batch: Batch) -> None:
    """Tell those who wait that the batch is accepted; each in a turn of the loop of its own."""
    loop = asyncio.get_running_loop()
    for then in batch.thens:
        loop.call_soon(then)
    batch.thens = []

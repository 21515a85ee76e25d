"""The commit queue: batches that wait for the writer or are being written. Loop thread only."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from gateway.cloud import events
from gateway.cloud.journal.batch import Batch, Entry, Marks, Shed, Worth
from gateway.cloud.journal.outbox_window import Delivery
from gateway.cloud.outbox import Row
from gateway.model import Instant, Stream

QUEUE_BYTES = 16 << 20
"""Of memory, with all objects."""

_BULK = (Stream.PICTURE, Stream.TELEMETRY)


class CommitQueue:
    """Holds up to `most` bytes of uncommitted events and memory. `waiting` is the next transaction.

    `add`, `accept_all` and `shrink` return the gaps of what was dropped for lack of room.
    """

    def __init__(self, delivery: Delivery, most: int = QUEUE_BYTES) -> None:
        self._delivery = delivery
        self._most = most
        self._look_at = 0
        self._flying: Batch | None = None
        self.waiting = Batch()
        self.lost = False
        """True while the store cannot be written: everything is accepted in memory."""
        self.ahead_of_commit = 0
        self.shed = 0

    @property
    def size(self) -> int:
        """Bytes of memory that are not committed."""
        return self.waiting.size + (self._flying.size if self._flying else 0)

    # ---- to the writer and back -------------------------------------------------------------------

    def launch(self, marks: Marks) -> Batch:
        """Take the waiting batch for the writer; it counts as queued until `landed`."""
        batch, self.waiting = self.waiting, Batch()
        batch.marks = marks
        batch.steps = 1 if batch.entries or batch.memory else 0
        self._flying = batch
        return batch

    def landed(self, *, written: bool) -> Batch:
        """The writer has finished. Not `written`: nothing of the batch is in the file, and it waits again first."""
        batch, self._flying = self._flying, None
        self._look_at = 0
        if batch is None:
            raise RuntimeError("a batch came back that was never sent")
        if not written:
            batch.absorb(self.waiting)
            self.waiting = batch
        return batch

    def add(
        self, entries: Sequence[Entry], *, then: Callable[[], None] | None, named: Iterable[tuple[Stream, int]]
    ) -> list[Shed]:
        """Add the events of one step; they are accepted at once while the store is lost."""
        for entry in entries:
            self.waiting.add(entry)
        self.waiting.named += named
        if then is not None:
            self.waiting.thens.append(then)
        if self.lost:
            self._accept(self.waiting, entries)
        return self.shrink()

    # ---- accepting in memory ----------------------------------------------------------------------

    def answered(self, *, lost: bool) -> None:
        """The writer has finished a job. `lost`: the store still cannot be written."""
        self.lost = lost

    def accept_all(self) -> list[Shed]:
        """Accept everything, because the store has just been lost."""
        self.lost = True
        for batch in (self._flying, self.waiting):
            if batch is not None:
                self._accept(batch, batch.entries.values())
        return self.shrink()

    def _accept(self, batch: Batch, entries: Iterable[Entry]) -> None:
        """Give out rows that are only in memory, and notify those who wait for them."""
        count = self._delivery.offer(entries, written=False)
        self.ahead_of_commit += count
        run_thens(batch)

    # ---- bounds -----------------------------------------------------------------------------------

    @property
    def roomy(self) -> bool:
        """True if there is room for requests that may wait: events never dropped may fill half of the queue."""
        firm = self.waiting.firm + (self._flying.firm if self._flying else 0)
        return self.size < self._most and firm < self._most // 2

    def shrink(self) -> list[Shed]:
        """If there is too much, drop what is worth least, down to three quarters of the limit; never waits."""
        if self.size < max(self._most, self._look_at):
            return []
        gone: dict[Stream, list[int]] = {}
        for n in self._least():
            if self.size < self._most * 3 // 4:
                break
            entry = self.waiting.entries[n]
            stream = entry.row.stream
            if not entry.acked:
                if not self._delivery.window(stream, entry.state).drop(n):
                    continue  # it is being sent right now
                gone.setdefault(stream, []).append(entry.row.sequence)
            self.waiting.remove(n)
        # Searching costs time, so the next search waits until the queue has grown considerably.
        self._look_at = self.size + max(self._most // 16, self.size // 8)
        sheds = [Shed(stream, min(of), max(of), len(of), "memory") for stream, of in gone.items()]
        for shed in sheds:
            self.shed += shed.count
            self.waiting.shed(shed)
        return sheds

    def _least(self) -> list[int]:
        """The `n` of what may be dropped, in that order.

        The last transition of each point stays, and the point with the most transitions loses first, so a chattering
        point costs only itself.
        """
        places: list[tuple[Worth, int, int]] = []
        newer: Counter[tuple[Worth, Stream, str]] = Counter()
        for n, entry in reversed(self.waiting.entries.items()):
            worth, stream = entry.worth, entry.row.stream
            if entry.acked:
                places.append((Worth.DELIVERED_BULK if stream in _BULK else Worth.DELIVERED, 0, n))
            elif stream in _BULK:
                places.append((worth, 0, n))
            elif worth is not Worth.FIRM:
                key = worth, stream, entry.about
                if newer[key]:
                    places.append((worth, -newer[key], n))
                newer[key] += 1
        return [n for _, _, n in sorted(places)]

    # ---- times of events born unsynced ------------------------------------------------------------

    def harden(self, row: Row) -> bool:
        """Make a row's content final before it is sent. False: that needs a commit; call again after it.

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
            self._delivery.hardened(row)
            return True
        asked = {m for batch in (self._flying, self.waiting) if batch is not None for _, m in batch.frozen}
        if n not in asked:
            waiting = self.waiting
            waiting.frozen += [(stream, m) for m in sorted(window.soft) if m not in waiting.entries and m not in asked]
        return False

    def correct(self, sync: Instant) -> None:
        """Correct the time of events that wait for their commit."""
        for entry in self.waiting.entries.values():
            if entry.mono is None:
                continue
            wall = sync.wall - (sync.mono - entry.mono)
            row = entry.row._replace(payload=events.corrected(entry.row.payload, wall))
            self.waiting.size += len(row.payload) - len(entry.row.payload)
            entry.row, entry.at, entry.mono = row, wall, None
            self._delivery.window(row.stream).replace(row)


def run_thens(batch: Batch) -> None:
    """Notify those who wait that the batch is accepted, each in its own turn of the loop."""
    loop = asyncio.get_running_loop()
    for then in batch.thens:
        loop.call_soon(then)
    batch.thens = []

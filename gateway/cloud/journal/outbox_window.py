"""The part of the outbox that is in memory. Loop thread only; nothing here touches the disk.

Each stream has two windows, one for waiting rows and one for rows set aside. In the order of `n` a window has: rows
*given* and not acknowledged, rows *ahead* in memory, then (if `more`) rows that are only on disk. Rows that are not on
disk yet are `unwritten`; they come after all rows on disk, because the store is written in order.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping

from gateway.cloud import events
from gateway.cloud.journal.batch import Batch, Entry, Shed, State
from gateway.cloud.journal.tables import Chunk
from gateway.cloud.outbox import Row
from gateway.model import Stream

_MOST_ROWS = 512
_MOST_BYTES = 4 << 20


class Window:
    """Bounded by rows and bytes; what does not fit stays on disk and is fetched later."""

    __slots__ = (
        "_ahead", "_rows", "_size", "_sizes", "cursor", "fetching", "generation", "given", "hungry", "leaving", "more",
        "skipped", "soft", "unwritten", "waiting",
        "youngest",
    )  # fmt: skip

    def __init__(self, rows: int = _MOST_ROWS, sizes: int = _MOST_BYTES) -> None:
        self._rows = rows
        self._sizes = sizes
        self._ahead: OrderedDict[int, Row] = OrderedDict()
        self._size = 0
        self.given: OrderedDict[int, Row] = OrderedDict()
        self.unwritten: dict[int, Row] = {}
        self.soft: set[int] = set()
        """Rows in memory whose time may still be corrected."""
        self.leaving: set[int] = set()
        """Acknowledged rows that are still in the outbox on disk; a fetch must skip them."""
        self.cursor = 0
        """`n` of the last row that came into the window."""
        self.more = False
        self.skipped = False
        """Rows on disk were passed over because the disk could not be read."""
        self.fetching = False
        self.generation = 0
        """Changes when the result of a fetch under way must be ignored."""
        self.waiting = 0
        self.youngest: Row | None = None
        """The last row that was offered."""
        self.hungry = False
        """The last `take` found nothing, and nothing has come since."""

    def __len__(self) -> int:
        return len(self._ahead)

    def __iter__(self) -> Iterator[Row]:
        """Every row in memory, oldest first."""
        yield from self.given.values()
        yield from self._ahead.values()

    @property
    def size(self) -> int:
        """Bytes of the rows ahead."""
        return self._size

    @property
    def wants(self) -> bool:
        """True if rows should be fetched from disk."""
        return (
            self.more
            and not self.fetching
            and len(self._ahead) <= self._rows // 2
            and self._size <= self._sizes // 2
        )  # fmt: skip

    def peek(self) -> Row | None:
        """The row that `take` would return."""
        for row in self._ahead.values():
            return row
        return None

    def take(self) -> Row | None:
        """The next row; it counts as given until acknowledged or rewound."""
        if not self._ahead:
            return None
        n, row = self._ahead.popitem(last=False)
        self._size -= row.size
        self.given[n] = row
        return row

    def offer(self, row: Row, *, written: bool, soft: bool) -> None:
        """Add a new row, the youngest of its stream."""
        self.youngest = row
        self.waiting += 1
        self.hungry = False
        if not written:
            self.unwritten[row.n] = row
            if soft:
                self.soft.add(row.n)
        if self.more or len(self._ahead) >= self._rows or self._size >= self._sizes:
            self.more = True
        else:
            self._append(row, soft=soft)

    def written(self, n: int) -> None:
        """Note that the row is on disk now."""
        if self.unwritten.pop(n, None) is not None and n not in self._ahead:
            self.soft.discard(n)

    def acknowledge(self, n: int) -> bool:
        """Remove an acknowledged row; False if it is not known here."""
        self.unwritten.pop(n, None)
        if self.given.pop(n, None) is None:
            row = self._ahead.pop(n, None)
            if row is None:
                return False
            self._size -= row.size
        self.soft.discard(n)
        self.waiting -= 1
        return True

    def rewind(self) -> None:
        """Begin again at the oldest row that was not acknowledged."""
        self._size += sum(row.size for row in self.given.values())
        self.given.update(self._ahead)
        self._ahead, self.given = self.given, OrderedDict()
        self.hungry = False
        if self.more and any(n > self.cursor for n in self._ahead):
            # These were given before the disk was read again: rows on disk between them go first.
            self._cut(self.cursor + 1)

    def fetched(self, generation: int, rows: Iterable[tuple[Row, bool]], *, complete: bool) -> None:
        """Add rows from disk after `cursor`. `complete`: there are no more."""
        self.fetching = False
        if generation != self.generation:
            return
        for row, soft in rows:
            if row.n in self.given or row.n in self.leaving:
                self.cursor = row.n
            else:
                self._append(row, soft=soft)
        if complete:
            self._catch_up()

    def skip(self) -> None:
        """The disk cannot be read: continue with the rows in memory; `reload` gets the rest later."""
        self.generation += 1
        self.fetching = False
        self.skipped = True
        self._catch_up()

    def reload(self) -> None:
        """Read from disk again, except for the rows given. All rows must be on disk or unwritten."""
        self._cut(0)
        self.skipped = False

    def cut_soft(self) -> bool:
        """Fetch again, beginning with the first row whose content may have changed; False if there is none."""
        first = next((n for n in self._ahead if n in self.soft), None)
        if first is None:
            return False
        self._cut(first)
        return True

    def replace(self, row: Row) -> None:
        """Replace a row whose content was corrected before it was first sent."""
        if row.n in self.unwritten:
            self.unwritten[row.n] = row
        if row.n in self._ahead:
            self._size += row.size - self._ahead[row.n].size
            self._ahead[row.n] = row
        self.soft.discard(row.n)

    def rewrite(self, change: Callable[[Row], Row]) -> None:
        """Change the content of rows in memory; `change` returns a row as it is to leave it alone."""
        for rows in (self._ahead, self.given, self.unwritten):
            for n, row in rows.items():
                other = change(row)
                if other is not row:
                    self._size += other.size - row.size if rows is self._ahead else 0
                    rows[n] = other
        self.youngest = self.youngest and change(self.youngest)

    def gone(self, n: int) -> None:
        """A row on disk has been deleted."""
        if n not in self.leaving and not self.acknowledge(n):
            self.waiting -= 1

    def shed(self, upto: int, count: int) -> None:
        """`count` rows up to `n` = `upto` have been deleted."""
        for n in [n for n in self._ahead if n <= upto]:
            self._size -= self._ahead.pop(n).size
            self.soft.discard(n)
            self.unwritten.pop(n, None)
        for n in [n for n in self.given if n <= upto]:
            del self.given[n]
        self.waiting -= count - sum(1 for n in self.leaving if n <= upto)

    def drop(self, n: int) -> bool:
        """Remove a row that is only in memory; False if it was given already."""
        if n in self.given:
            return False
        row = self._ahead.pop(n, None)
        if row is not None:
            self._size -= row.size
        if row is not None or n in self.unwritten:
            self.waiting -= 1
        self.unwritten.pop(n, None)
        self.soft.discard(n)
        return True

    def strip(self, n: int) -> None:
        """Drop a picture's bytes; the row is on disk and is fetched when it is needed again."""
        if n in self.given and n not in self.unwritten:
            self.given[n] = self.given[n]._replace(jpeg=None)

    def _append(self, row: Row, *, soft: bool) -> None:
        self._ahead[row.n] = row
        self._size += row.size
        self.cursor = row.n
        if soft:
            self.soft.add(row.n)

    def _catch_up(self) -> None:
        self.more = False
        for n, row in self.unwritten.items():
            if n > self.cursor and n not in self.given:
                self._append(row, soft=n in self.soft)

    def _cut(self, first: int) -> None:
        """Drop the rows ahead from `n` = `first` on; they are fetched again."""
        for n in [n for n in self._ahead if n >= first]:
            self._size -= self._ahead.pop(n).size
            if n not in self.unwritten:
                self.soft.discard(n)
        self.generation += 1
        self.fetching = False
        self.more = True
        self.cursor = first - 1 if first else 0


_STATES = tuple(State)
_MOST_PICTURES = 4, 512 << 10
"""The most rows and bytes of pictures in memory; one is sent at a time."""


class Delivery:
    """The windows of all streams. Loop thread only; it learns about the disk only through calls."""

    def __init__(self) -> None:
        self._windows = {
            (stream, state): Window(*_MOST_PICTURES) if stream is Stream.PICTURE else Window()
            for stream in Stream
            for state in State
        }
        self._pairs = {
            stream: (self._windows[stream, State.WAITING], self._windows[stream, State.ASIDE]) for stream in Stream
        }
        self.ready = asyncio.Event()
        """Set when there may be a row that was not there before, or the store was lost or is back."""

    def window(self, stream: Stream, state: State = State.WAITING) -> Window:
        """One stream's rows of one state."""
        return self._pairs[stream][state]

    # ---- the uplink's side ------------------------------------------------------------------------

    def front(self, stream: Stream) -> Window | None:
        """The window that has the next row; rows set aside come when no other waits. None: there is none in memory."""
        pair = self._pairs[stream]
        for window in pair:
            if len(window):
                return window
            if window.more:
                return None
        pair[0].hungry = True
        return None

    def rewind(self, stream: Stream | None) -> None:
        """Begin again at the oldest row; without `stream` (a new connection) also with the rows set aside."""
        if stream is not None:
            self._windows[stream, State.WAITING].rewind()
            return
        for (_, state), window in self._windows.items():
            if state is State.WAITING:
                window.rewind()
            elif window.waiting:
                window.given.clear()
                window.reload()

    def acknowledge(self, row: Row, waiting: Batch, *, keep: bool) -> bool:
        """Remove an acknowledged row; the batch `waiting` tells the disk. False if the row is not known."""
        for state, window in zip(_STATES, self._pairs[row.stream], strict=True):
            if not window.acknowledge(row.n):
                continue
            entry = waiting.entries.get(row.n)
            if entry is None:
                window.leaving.add(row.n)
                waiting.acks.append((row.stream, state, row.n))
            elif keep:
                entry.acked = True
            else:
                waiting.remove(row.n)
            return True
        return False

    def quarantine(self, row: Row, reason: str, waiting: Batch) -> None:
        """Set the row aside until the next connection."""
        window, aside = self._pairs[row.stream]
        if not window.acknowledge(row.n):
            aside.strip(row.n)
            return  # set aside before, or gone
        aside.waiting += 1
        aside.unwritten[row.n] = row
        entry = waiting.entries.get(row.n)
        if entry is None:
            window.leaving.add(row.n)
            waiting.aside.append((row.stream, row.n, reason))
        else:
            entry.state = State.ASIDE
            entry.reason = reason

    def oldest(self, stream: Stream) -> float | None:
        """The time of the oldest waiting row in memory, in seconds since 1970."""
        for row in self._windows[stream, State.WAITING]:
            return events.time_of(row.payload)
        return None

    # ---- the journal's side -----------------------------------------------------------------------

    def opened(self, counts: Mapping[tuple[Stream, State], int]) -> None:
        """Take the counts of rows that wait on disk at start."""
        for key, count in counts.items():
            self._windows[key].waiting = count
            self._windows[key].more = count > 0

    def revived(self, counts: Mapping[tuple[Stream, State], int], waiting: Batch) -> None:
        """Read from disk again, after it was written with everything that is not in `waiting`."""
        for key, window in self._windows.items():
            window.waiting = counts.get(key, 0) - len(window.leaving)
            window.reload()
        for entry in waiting.entries.values():
            if entry.offered and not entry.acked:
                self._windows[entry.row.stream, entry.state].waiting += 1
        for stream, _, _ in waiting.aside:
            self._pairs[stream][State.ASIDE].waiting += 1

    def resumed(self) -> None:
        """The disk answers again: fetch what was passed over."""
        for window in self._windows.values():
            if window.skipped:
                window.reload()

    def offer(self, entries: Iterable[Entry], *, written: bool) -> int:
        """Add new rows, and note which of the earlier ones are on disk now. Returns how many are new."""
        count = 0
        for entry in entries:
            row = entry.row
            if not entry.offered:
                entry.offered = True
                count += 1
                self._pairs[row.stream][0].offer(row, written=written, soft=entry.mono is not None)
            elif written:
                self._windows[row.stream, entry.state].written(row.n)
        return count

    def hardened(self, row: Row) -> None:
        """Replace a row whose time has become final."""
        self._pairs[row.stream][0].soft.discard(row.n)

    def settle(self, batch: Batch) -> None:
        """Take a batch that is on disk now."""
        self.offer(batch.entries.values(), written=True)
        for stream, state, n in batch.acks:
            self._windows[stream, state].leaving.discard(n)
        for stream, n, _ in batch.aside:
            self._windows[stream, State.WAITING].leaving.discard(n)
            self._windows[stream, State.ASIDE].unwritten.pop(n, None)
        for stream, n in batch.frozen:
            self._windows[stream, State.WAITING].soft.discard(n)

    def wants(self, stream: Stream) -> bool:
        """True if the stream needs rows from disk."""
        waiting, aside = self._pairs[stream]
        return waiting.wants or aside.wants

    def next_fetch(self) -> tuple[Stream, State, Window] | None:
        """The window to fill from disk now, by priority of its stream; call `fetched` or `skip` next."""
        for (stream, state), window in self._windows.items():
            if window.wants:
                window.fetching = True
                return stream, state, window
        return None

    def fetched(self, window: Window, generation: int, chunk: Chunk) -> None:
        """Take rows that came from disk."""
        window.fetched(generation, chunk.rows, complete=chunk.complete)

    def skip(self) -> None:
        """The disk cannot be read: rows in memory must not wait for it."""
        for window in self._windows.values():
            if window.more:
                window.skip()

    def cut_soft(self) -> None:
        """Rows on disk were corrected: fetch them again."""
        for window in self._windows.values():
            window.cut_soft()

    def shed(self, shed: Shed, state: State, upto: int) -> None:
        """Rows of this state up to `n` = `upto` have been deleted."""
        self._windows[shed.stream, state].shed(upto, shed.count)
        if state is State.WAITING:  # their state on disk until the batch that sets them aside is written
            aside = self._pairs[shed.stream][State.ASIDE]
            for n in [n for n in aside.unwritten if n <= upto]:
                aside.gone(n)

    def rewrite(self, stream: Stream, change: Callable[[Row], Row]) -> None:
        """Change the content of the stream's rows in memory, as was done on disk.

        `change`: of a move to another journal, or of an erasure.
        """
        for window in self._pairs[stream]:
            window.rewrite(change)

    def rows(self) -> list[tuple[Row, State]]:
        """Every row in memory, with its payload."""
        return [
            (row, state)
            for (stream, state), window in self._windows.items()
            for row in window
            if stream is not Stream.PICTURE or row.jpeg is not None
        ]

"""The outbox of all streams as it is at hand in memory: two windows each, for rows that wait and rows set aside."""

from collections.abc import Callable, Iterable, Mapping

from gateway.cloud import events
from gateway.cloud.journal.batch import Batch, Entry, Shed, State
from gateway.cloud.journal.ledger import Chunk
from gateway.cloud.journal.outbox_window import Window
from gateway.cloud.outbox import Row
from gateway.model import Stream

_STATES = tuple(State)
_PICTURES = 4, 512 << 10
"""Rows and bytes of pictures that are at hand: one at a time is sent."""

Harden = Callable[[Row], bool]
"""Make a row's content final before its first sending; False if that has to be committed first."""


class Delivery:
    """What waits for the broker. Loop thread only; knows nothing of the disk but what it is told."""

    def __init__(self) -> None:
        self._windows = {
            (stream, state): Window(*_PICTURES) if stream is Stream.PICTURE else Window()
            for stream in Stream
            for state in State
        }
        self._pairs = {
            stream: (self._windows[stream, State.WAITING], self._windows[stream, State.ASIDE]) for stream in Stream
        }

    def window(self, stream: Stream, state: State = State.WAITING) -> Window:
        """One stream's rows of one state."""
        return self._pairs[stream][state]

    # ---- the uplink's side ------------------------------------------------------------------------

    def take(self, stream: Stream, harden: Harden) -> Row | None:
        """The next row; rows set aside come when no other waits."""
        pair = self._pairs[stream]
        for window in pair:
            row = window.peek()
            if row is None:
                if window.more:
                    return None
                continue
            if row.n in window.soft and not harden(row):
                return None
            return window.take()
        pair[0].hungry = True
        return None

    def rewind(self, stream: Stream | None) -> None:
        """Begin again; with no stream named (a new connection) also with the rows set aside."""
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
        """The row has left; the disk learns it with the batch `waiting`. False if the row is not known."""
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
        """When the oldest waiting row at hand happened, in seconds since 1970."""
        for row in self._windows[stream, State.WAITING]:
            return events.time_of(row.payload)
        return None

    # ---- the journal's side -----------------------------------------------------------------------

    def opened(self, counts: Mapping[tuple[Stream, State], int]) -> None:
        """What waits on disk at start."""
        for key, count in counts.items():
            self._windows[key].waiting = count
            self._windows[key].more = count > 0

    def revived(self, counts: Mapping[tuple[Stream, State], int], waiting: Batch) -> None:
        """The disk was just written and holds everything that is not in `waiting`: begin again with it."""
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
        """Hand out new rows, and note which of those handed out before are on disk now. How many are new."""
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

    def settle(self, batch: Batch) -> None:
        """The batch is on disk."""
        self.offer(batch.entries.values(), written=True)
        for stream, state, n in batch.acks:
            self._windows[stream, state].leaving.discard(n)
        for stream, n, _ in batch.aside:
            self._windows[stream, State.WAITING].leaving.discard(n)
            self._windows[stream, State.ASIDE].unwritten.pop(n, None)
        for stream, n in batch.frozen:
            self._windows[stream, State.WAITING].soft.discard(n)

    def wants(self, stream: Stream) -> bool:
        """The stream is to be filled from disk."""
        waiting, aside = self._pairs[stream]
        return waiting.wants or aside.wants

    def wanted(self) -> tuple[Stream, State, Window] | None:
        """The window that should be filled from disk next, by priority of its stream."""
        for (stream, state), window in self._windows.items():
            if window.wants:
                return stream, state, window
        return None

    def fetched(self, window: Window, generation: int, chunk: Chunk) -> None:
        """Rows came from disk."""
        window.fetched(generation, chunk.rows, complete=chunk.complete)

    def skip(self) -> None:
        """The disk cannot be read: what is in memory must not wait for it."""
        for window in self._windows.values():
            if window.more:
                window.skip()

    def cut_soft(self) -> None:
        """Rows on disk were corrected: fetch them again."""
        for window in self._windows.values():
            window.cut_soft()

    def shed(self, shed: Shed, state: State, upto: int) -> None:
        """Rows of this state up to `n` = `upto` are no more."""
        self._windows[shed.stream, state].shed(upto, shed.count)
        if state is State.WAITING:  # so they stand on disk until the batch that sets them aside is written
            aside = self._pairs[shed.stream][State.ASIDE]
            for n in [n for n in aside.unwritten if n <= upto]:
                aside.gone(n)

    def rewrite(self, stream: Stream, change: Callable[[Row], Row]) -> None:
        """Put another content in place of that of the stream's rows at hand, as was done on disk."""
        for window in self._pairs[stream]:
            window.rewrite(change)

    def rows(self) -> list[tuple[Row, State]]:
        """Every row at hand, whole."""
        return [
            (row, state)
            for (stream, state), window in self._windows.items()
            for row in window
            if stream is not Stream.PICTURE or row.jpeg is not None
        ]

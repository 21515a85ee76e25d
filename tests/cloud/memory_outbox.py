"""An outbox in memory that keeps the promises of `gateway.cloud.outbox`, and notes what became of each row."""

import asyncio
from collections import deque

from gateway.cloud.events import encode
from gateway.cloud.outbox import Row
from gateway.model import Stream


class MemoryOutbox:
    """Rows of each stream in order, those set aside last; it is `ready` only when there was nothing to take."""

    def __init__(self) -> None:
        self.ready = asyncio.Event()
        self.acknowledged: list[Row] = []
        self.quarantined: dict[int, str] = {}
        self._n = 0
        self._sequences = dict.fromkeys(Stream, 0)
        self._rows: dict[Stream, dict[int, Row]] = {stream: {} for stream in Stream}
        self._aside: dict[int, Row] = {}
        self._offered: dict[Stream, deque[Row]] = {stream: deque() for stream in Stream}
        self._next: dict[Stream, deque[Row]] = {stream: deque() for stream in Stream}

    def add(self, stream: Stream, text: str = "", size: int = 0) -> Row:
        """Append an event; its payload is JSON with the stream, the sequence and the text."""
        self._n += 1
        self._sequences[stream] += 1
        sequence = self._sequences[stream]
        payload = encode({"id": f"{stream}-{sequence}", "stream": stream, "sequence": sequence, "text": text})
        row = Row(self._n, stream, sequence, payload.ljust(size))
        self._rows[stream][row.n] = row
        hungry = not self._next[stream]
        self._next[stream].append(row)
        if hungry:
            self.ready.set()
        return row

    @property
    def numbers(self) -> None:
        """It does not count."""

    def take(self, stream: Stream) -> Row | None:
        for waiting in (self._next[stream], self._offered[stream]):
            if waiting:
                return waiting.popleft()
        return None

    def rewind(self, stream: Stream | None = None) -> None:
        for one in Stream if stream is None else (stream,):
            self._next[one] = deque(self._rows[one].values())
            if stream is None:
                self._offered[one] = deque(row for row in self._aside.values() if row.stream is one)

    def acknowledge(self, row: Row) -> None:
        known = self._rows[row.stream].pop(row.n, None) or self._aside.pop(row.n, None)
        if known is not None:
            self.acknowledged.append(row)

    def quarantine(self, row: Row, reason: str) -> None:
        known = self._rows[row.stream].pop(row.n, None)
        if known is not None:
            self._aside[row.n] = row
            self.quarantined[row.n] = reason

    def waiting(self, stream: Stream) -> int:
        return len(self._rows[stream])

    @property
    def left(self) -> int:
        """Rows of all streams that nobody acknowledged and that were not set aside."""
        return sum(len(rows) for rows in self._rows.values())

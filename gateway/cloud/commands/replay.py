"""`events.replay`: sends kept events once more, with their original ids and bytes.

    replay = Replay(journal.history)
    uplink = Uplink(…, replayed=replay)
    result = await replay.begin("alarm", 10, 20)        # what is kept of that range; `run` sends it

One piece at a time is in memory; the next is read when the uplink has taken this one, and the uplink asks only when it
has nothing else to send. A restart ends a replay; the requester sees from the sequence how far it came.
"""

import asyncio
from collections import deque
from typing import NamedTuple

from gateway.cloud.journal.history import History
from gateway.cloud.mqtt.types import Again
from gateway.errors import NotDone, StoreError
from gateway.log import logger
from gateway.model import Json, Stream

_log = logger(__name__)
_WAITING = 16


class _Range(NamedTuple):
    stream: Stream
    first: int
    last: int


class Replay:
    """Replays requested ranges, one after the other."""

    def __init__(self, history: History) -> None:
        self._history = history
        self.ready = asyncio.Event()
        """Set when `take` may have something new; the one who waits for it clears it."""
        self._ranges: deque[_Range] = deque()
        self._piece: deque[Again] = deque()
        self._changed = asyncio.Event()
        self.sent = 0
        """Events given to the uplink."""

    @property
    def waiting(self) -> int:
        """Ranges that are not finished."""
        return len(self._ranges)

    async def begin(self, stream: str, first: int, last: int) -> Json:
        """Queue the kept part of a range; returns which part that is. Raises NotDone."""
        if len(self._ranges) >= _WAITING:
            raise NotDone("interlocked", f"{_WAITING} replays are under way; later")
        try:
            kept = await self._history.edges(Stream(stream), first, last)
        except StoreError as error:
            raise NotDone("interlocked", f"the store cannot be read: {error}") from error
        if not kept.first:
            raise NotDone("bad-args", f"first, last: nothing of {stream} {first}-{last} was delivered and is kept")
        self._ranges.append(_Range(Stream(stream), kept.first, kept.last))
        self._changed.set()
        return {"stream": stream, "first": kept.first, "last": kept.last}

    def take(self) -> Again | None:
        """The next event, if one is ready; for the uplink."""
        if not self._piece:
            return None
        event = self._piece.popleft()
        self.sent += 1
        if not self._piece:
            self._changed.set()
        return event

    async def run(self) -> None:
        """Read pieces as they are taken, until cancelled."""
        while True:
            while self._piece or not self._ranges:
                self._changed.clear()
                await self._changed.wait()
            stream, first, last = self._ranges[0]
            try:
                rows = await self._history.piece(stream, first, last)
            except StoreError as error:
                _log.warning("a replay ends", stream=stream.value, at=first, why=str(error))
                rows = []
            self._piece.extend(Again(stream, payload) for _, payload in rows)
            if rows and rows[-1][0] < last:
                self._ranges[0] = _Range(stream, rows[-1][0] + 1, last)
            else:
                self._ranges.popleft()
            self.ready.set()

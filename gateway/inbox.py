"""The one way into the site: a bounded queue, served by class.

When the room of a class is used up, `put` of that class waits, so a line waits before its next request; the
other classes go on, and nothing is dropped. Within a class: first come, first served.
"""

import asyncio
from collections import deque
from collections.abc import Collection, Mapping
from enum import IntEnum

from gateway.model import Answer, Command, Input, Passage, Person, Refused

_ROOM = 1024
_NOTHING: Collection[str] = frozenset()


class Rank(IntEnum):
    """The classes in the order in which they are served."""

    AT_ONCE = 0
    """Outcomes, ticks, health, answers of alarm points, reports of panels."""
    COMMAND = 1
    """From the cloud and from people on site."""
    PASSAGE = 2
    REST = 3
    """Answers of all other points."""


_RANKS: Mapping[type, Rank] = {
    Command: Rank.COMMAND,
    Refused: Rank.COMMAND,
    Person: Rank.COMMAND,
    Passage: Rank.PASSAGE,
}
"""Everything else is served at once; answers find their class by their points."""


class Inbox:
    """Bounded, one reader, many writers. `urgent`: the points of the alarm lane, by device."""

    def __init__(self, urgent: Mapping[str, Collection[str]] | None = None, *, room: int = _ROOM) -> None:
        self._urgent = urgent or {}
        self._room = room
        self._queues: tuple[deque[Input], ...] = tuple(deque() for _ in Rank)
        self._drained = tuple(asyncio.Event() for _ in Rank)
        self._filled = asyncio.Event()

    def __len__(self) -> int:
        return sum(map(len, self._queues))

    async def put(self, item: Input) -> None:
        """Hand in one input; waits while its class is full.

        An answer that carries points of two classes is parted, so that the answers of one point keep their order.
        """
        if not isinstance(item, Answer):
            await self._put(item, _RANKS.get(type(item), Rank.AT_ONCE))
            return
        urgent = self._urgent.get(item.device, _NOTHING)
        first = {point: reading for point, reading in item.readings.items() if point in urgent}
        if not first:
            await self._put(item, Rank.REST)
        elif len(first) == len(item.readings):
            await self._put(item, Rank.AT_ONCE)
        else:
            rest = {point: reading for point, reading in item.readings.items() if point not in urgent}
            await self._put(Answer(item.device, first, item.at), Rank.AT_ONCE)
            await self._put(Answer(item.device, rest, item.at), Rank.REST)

    def remind(self, item: Input) -> None:
        """Hand in what must not wait for room: a tick or the gateway's own health, of which there are few."""
        self._queues[Rank.AT_ONCE].append(item)
        self._filled.set()

    async def get(self) -> Input:
        """The next input; waits while there is none."""
        while (item := self.take()) is None:
            self._filled.clear()
            await self._filled.wait()
        return item

    def take(self) -> Input | None:
        """The next input, if there is one."""
        for queue, drained in zip(self._queues, self._drained, strict=True):
            if queue:
                item = queue.popleft()
                if len(queue) < self._room:
                    drained.set()
                return item
        return None

    async def _put(self, item: Input, rank: Rank) -> None:
        queue, drained = self._queues[rank], self._drained[rank]
        while len(queue) >= self._room:
            drained.clear()
            await drained.wait()
        queue.append(item)
        self._filled.set()

"""The only way into the site: a queue with priority classes.

Inputs of class `AT_ONCE` never wait for room: `put` gives the site a turn and returns. When another class is full,
`put` waits for that class; nothing is dropped. Within a class the order is first come, first served.
"""

import asyncio
from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from gateway.model import Answer, Command, Input, Passage, Person, Refused

_ROOM = 1024
_NOTHING: Collection[str] = frozenset()


class Rank(IntEnum):
    """The classes in serving order."""

    AT_ONCE = 0
    """Outcomes, ticks, health, answers of alarm points, reports."""
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
"""All other types are `AT_ONCE`; the class of an answer follows from its points."""


FROM_THE_FIELD: Collection[Rank] = (Rank.AT_ONCE, Rank.REST)
"""Classes that are decided even when the store is full: a line that waited for the store would not read alarm
points."""


@dataclass(eq=False, slots=True)
class HandedIn:
    """A passage whose camera waits for the acceptance."""

    passage: Passage
    accepted: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when its step is committed."""


Entry = Input | HandedIn


class Inbox:
    """One reader, many writers. `urgent`: points of the alarm lane, by device; `room`: the most inputs of a class."""

    def __init__(self, urgent: Mapping[str, Collection[str]] | None = None, *, room: int = _ROOM) -> None:
        self._urgent = urgent or {}
        self._room = room
        self._queues: tuple[deque[Entry], ...] = tuple(deque() for _ in Rank)
        self._drained = tuple(asyncio.Event() for _ in Rank)
        self._filled = asyncio.Event()

    def __len__(self) -> int:
        return sum(map(len, self._queues))

    async def put(self, item: Input) -> None:
        """Add an input; waits while its class is full, unless that is `AT_ONCE`.

        An answer with points of two classes is split, so that the answers of one point keep their order.
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

    async def hand_in(self, passage: Passage) -> None:
        """Add a passage; returns once its step is committed and its effects were begun."""
        handed = HandedIn(passage)
        await self._put(handed, _RANKS[Passage])
        await handed.accepted.wait()

    def remind(self, item: Input) -> None:
        """Add an input of class `AT_ONCE` without giving up the turn of the loop: a tick, an outcome, the health."""
        self._queues[Rank.AT_ONCE].append(item)
        self._filled.set()

    async def get(self) -> Entry:
        """The next input; waits while there is none."""
        while (item := self.take()) is None:
            await self.news()
        return item

    async def news(self) -> None:
        """Wait until an input is added."""
        self._filled.clear()
        await self._filled.wait()

    def take(self, ranks: Collection[Rank] = tuple(Rank)) -> Entry | None:
        """The next input of these classes, if there is one."""
        for rank in ranks:
            queue, drained = self._queues[rank], self._drained[rank]
            if queue:
                item = queue.popleft()
                if len(queue) < self._room:
                    drained.set()
                return item
        return None

    async def _put(self, item: Entry, rank: Rank) -> None:
        queue, drained = self._queues[rank], self._drained[rank]
        if rank is Rank.AT_ONCE:
            queue.append(item)
            self._filled.set()
            if len(queue) > self._room:
                await asyncio.sleep(0)  # the site decides many inputs in its turn, a writer adds one in its turn
            return
        while len(queue) >= self._room:
            drained.clear()
            await drained.wait()
        queue.append(item)
        self._filled.set()

"""What the tests of the journal share: a clock that is set by hand, steps, and a broker's appetite."""

import asyncio
import itertools
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import orjson

from gateway.cloud.journal.journal import Journal
from gateway.cloud.outbox import Row
from gateway.model import Emit, Forget, Instant, Json, Remember, Stream

SOURCE = "/sites/s/gateways/g"
WALL = 1_795_000_000.0
_ids = itertools.count(1)


class Hands:
    """A clock whose hands the test moves."""

    def __init__(self, mono: float = 1000.0, wall: float = WALL, *, synced: bool = True) -> None:
        self.mono = mono
        self.wall = wall
        self.synced = synced

    def now(self) -> Instant:
        return Instant(self.mono, self.wall, self.synced)

    def run(self, seconds: float) -> Instant:
        self.mono += seconds
        self.wall += seconds
        return self.now()


def journal(folder: Path, hands: Hands | None = None, **settings: Any) -> Journal:
    settings = {"alarm_reserve": 0, "boot": "boot-1", **settings}
    return Journal(folder, source=SOURCE, now=(hands or Hands()).now, **settings)


def emit(stream: Stream = Stream.ALARM, at: Instant | None = None, **data: Json) -> Emit:
    return Emit(stream, f"{stream.value}.test", "d/p/a", data, f"id-{next(_ids)}", at or Hands().now())


async def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.002)


async def accepted(journal: Journal, effects: Sequence[Emit | Remember | Forget], seconds: float = 10.0) -> None:
    done = asyncio.Event()
    journal.append(effects, then=done.set)
    async with asyncio.timeout(seconds):
        await done.wait()


async def taken(journal: Journal, stream: Stream, count: int, seconds: float = 20.0) -> list[Row]:
    """Take so many rows, waiting to be notified in between."""
    ready = asyncio.Event()
    journal.notify(ready.set)
    rows: list[Row] = []
    async with asyncio.timeout(seconds):
        while len(rows) < count:
            ready.clear()
            row = journal.take(stream)
            if row is None:
                await ready.wait()
            else:
                rows.append(row)
    return rows


async def all_of(journal: Journal, stream: Stream) -> list[Row]:
    """Take all that waits."""
    return await taken(journal, stream, journal.waiting(stream))


def event(row: Row) -> dict[str, Any]:
    read: dict[str, Any] = orjson.loads(row.payload)
    return read


def sequences(rows: Sequence[Row]) -> list[int]:
    return [row.sequence for row in rows]


def look(folder: Path, sql: str) -> list[tuple[Any, ...]]:
    """Look into the file beside the journal, reading only."""
    connection = sqlite3.connect(f"file:{folder / 'journal.db'}?mode=ro", uri=True)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()

"""What the tests of the journal share: a clock that is set by hand, steps, and a broker's appetite."""

import asyncio
import base64
import itertools
import random
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson

from gateway.cloud.journal.journal import Journal
from gateway.cloud.journal.schema import OLDEST_IN_USE
from gateway.cloud.journal.sqlite import Database, unpacked
from gateway.cloud.journal.tables import QUARANTINED, ROLLED_BACK, Tables
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


def noise(size: int) -> str:
    """Text that takes up so many bytes however it is compressed; each time another."""
    return base64.b64encode(random.Random(next(_ids)).randbytes(size)).decode()  # noqa: S311 - repeatable


async def told(journal: Journal) -> None:
    """Events say what befell the store, as at the start of the gateway; the next life need not."""
    now = Hands().now()
    await accepted(journal, [Emit(Stream.AUDIT, type_, None, {}, type_, now) for type_ in (QUARANTINED, ROLLED_BACK)])


async def taken(journal: Journal, stream: Stream, count: int, seconds: float = 20.0) -> list[Row]:
    """Take so many rows, waiting until there are more in between."""
    rows: list[Row] = []
    async with asyncio.timeout(seconds):
        while len(rows) < count:
            journal.ready.clear()
            row = journal.take(stream)
            if row is None:
                await journal.ready.wait()
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


def look(folder: Path, sql: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
    """Look into the store beside the journal: a copy of its files, with what is in the redo log taken in."""
    with tempfile.TemporaryDirectory() as copy:
        copied(folder, Path(copy))
        database = Database(Path(copy), 64 << 20, schema=OLDEST_IN_USE)
        try:
            database.open(check=False)
            Tables(database, "no boot", frozenset()).replay()
        finally:
            database.close()
            database.release()
        with closing(sqlite3.connect(Path(copy) / "journal.db")) as connection:
            connection.create_function("unpacked", 1, unpacked)
            return connection.execute(sql, tuple(values)).fetchall()


def copied(folder: Path, copy: Path) -> None:
    """Copy the files of a journal that may be at work, as they were between two of its commits."""
    for _ in range(50):
        before = states(folder)
        for path in folder.glob("journal.db*"):
            if path.suffix != ".db-shm" and ".damaged-" not in path.name:
                shutil.copy(path, copy / path.name)
        if states(folder) == before:
            return
    raise AssertionError("the journal never rests")


def states(folder: Path) -> list[tuple[str, int, int]]:
    """Names, sizes and times of its files."""
    return sorted((path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in folder.glob("journal.db*"))

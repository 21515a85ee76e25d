"""Looking into a store beside the gateway, reading only."""

import sqlite3
from pathlib import Path
from typing import Any

import orjson

from gateway.model import Stream

NUMBER = {stream: number for number, stream in enumerate(Stream)}


def events(store: Path, stream: Stream) -> list[dict[str, Any]]:
    """All events of the stream that are kept, in their order."""
    rows = _look(store, "SELECT payload FROM event WHERE stream = ? ORDER BY n", NUMBER[stream])
    return [orjson.loads(row[0]) for row in rows]


def waiting(store: Path) -> int:
    """Rows that the broker has not acknowledged."""
    count: int = _look(store, "SELECT count(*) FROM outbox")[0][0]
    return count


def check(store: Path) -> str:
    """What SQLite says of the whole file."""
    verdict: str = _look(store, "PRAGMA integrity_check")[0][0]
    return verdict


def _look(store: Path, sql: str, *values: int) -> list[tuple[Any, ...]]:
    connection = sqlite3.connect(f"file:{store / 'journal.db'}?mode=ro", uri=True)
    try:
        return connection.execute(sql, values).fetchall()
    finally:
        connection.close()

"""Looking into a store beside the gateway, reading only."""

from pathlib import Path
from typing import Any

import orjson

from gateway.model import Stream
from tests.cloud.journaling import look

NUMBER = {stream: number for number, stream in enumerate(Stream)}


def events(store: Path, stream: Stream) -> list[dict[str, Any]]:
    """All events of the stream that are kept, in their order."""
    rows = look(store, "SELECT unpacked(payload) FROM event WHERE stream = ? ORDER BY n", (NUMBER[stream],))
    return [orjson.loads(row[0]) for row in rows]


def waiting(store: Path) -> int:
    """Rows that the broker has not acknowledged."""
    count: int = look(store, "SELECT count(*) FROM outbox")[0][0]
    return count


def check(store: Path) -> str:
    """What SQLite says of the whole file."""
    verdict: str = look(store, "PRAGMA integrity_check")[0][0]
    return verdict

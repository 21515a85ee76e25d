"""What the store holds, for who looks on: opened read-only, with the daemon running or not.

What stands in the redo log only is read as well.

with JournalReader(folder) as reader: reader.events(Stream.INSPECTION, since, until); reader.picture(id_)
"""

from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Self

import orjson

from gateway.cloud.journal import redo_log
from gateway.cloud.journal.batch import Batch
from gateway.cloud.journal.sqlite import Database
from gateway.cloud.journal.tables import NUMBER, jpeg, round_of
from gateway.model import Json, Stream

_EVENTS = """SELECT n, unpacked(payload) FROM event WHERE stream = ? AND at BETWEEN ? AND ? ORDER BY epoch, sequence"""
_PICTURE = "SELECT n FROM event WHERE stream = ? AND instr(payload, ?) LIMIT 1"
_MEMORY = "SELECT key, value FROM memory WHERE key >= ? AND key < ?"
_ID_LENGTH = 36
_TRIES = 2
"""While the daemon takes its redo log into the database, what was read of both does not fit together."""


class JournalReader:
    """Raises StoreError, StoreNewer when it is entered: there is no store here that can be read."""

    def __init__(self, folder: Path) -> None:
        self._database = Database(folder, 0)

    def __enter__(self) -> Self:
        self._database.open_readonly()
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def events(self, stream: Stream, since: float, until: float) -> Iterator[Mapping[str, Any]]:
        """The kept events of a time (wall seconds), in their order, delivered or not. Raises StoreError."""
        late = self._late()  # first: what is taken in meanwhile is seen in the database
        with closing(self._database.each(_EVENTS, (NUMBER[stream], since, until))) as rows:
            for n, payload in rows:
                late.entries.pop(n, None)
                yield orjson.loads(payload)
        for entry in late.entries.values():
            if entry.row.stream is stream and since <= entry.at <= until:
                yield orjson.loads(entry.row.payload)

    def picture(self, id_: str) -> bytes | None:
        """The JPEG of a `picture.taken`; None: it is not kept any more. Raises StoreError."""
        if len(id_) != _ID_LENGTH:
            return None
        found = self._database.number(_PICTURE, (NUMBER[Stream.PICTURE], id_.encode()))
        return (jpeg(self._database, found) or None) if found else None

    def memory(self, prefix: str) -> dict[str, Json]:
        """What the site remembers under keys that begin so, without it. Raises StoreError."""
        rows: dict[str, bytes | None] = {}
        for _ in range(_TRIES):
            before = round_of(self._database)
            late = self._late()
            rows = dict(self._database.execute(_MEMORY, (prefix, prefix + "\U0010ffff")))
            rows |= {key: value for key, value in late.memory.items() if key.startswith(prefix)}
            if round_of(self._database) == before:
                break
        return {
            key.removeprefix(prefix): orjson.loads(value) for key, value in sorted(rows.items()) if value is not None
        }

    def _late(self) -> Batch:
        """What is in the redo log and not in the database."""
        late = Batch()
        for _ in range(_TRIES):
            round_ = round_of(self._database)
            late = redo_log.tail(self._database.log_path, round_, "", frozenset()).batch
            if round_of(self._database) == round_:
                break
        return late

"""Reads the store for observers: opened read-only, whether the daemon runs or not.

What is only in the redo log is read as well.

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
"""Reading is repeated when the daemon moved its redo log into the database meanwhile, so that the two did not match."""


class JournalReader:
    """Entering raises StoreError or StoreNewer if there is no readable store here."""

    def __init__(self, folder: Path) -> None:
        self._database = Database(folder, 0)

    def __enter__(self) -> Self:
        self._database.open_readonly()
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def events(self, stream: Stream, since: float, until: float) -> Iterator[Mapping[str, Any]]:
        """The kept events of a period (wall seconds), in order, delivered or not. Raises StoreError."""
        late = self._late()  # before the database, so that what moves meanwhile is seen there
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
        """The site's memory under keys with this prefix, without the prefix. Raises StoreError."""
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

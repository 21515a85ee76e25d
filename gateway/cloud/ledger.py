"""What stands in the tables of the journal. Runs on the writer's thread."""

from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import orjson

from gateway.cloud import events, salvage
from gateway.cloud.batch import Batch, Entry, Marks, Shed, State
from gateway.cloud.outbox import Row
from gateway.cloud.store import Store
from gateway.errors import StoreDamaged, StoreError
from gateway.model import Instant, Stream

BLOCK = 1024
"""How many numbers of telemetry are reserved beyond the last one committed."""
NUMBER = {stream: number for number, stream in enumerate(Stream)}
"""How streams are written in the tables. Never reorder `Stream`."""
BROKER = 0
"""The outbox's destination of this ledger."""

_CHUNK_ROWS = 256
_CHUNK_BYTES = 1 << 20
_CHUNK_PICTURES = 256 << 10
_SLICE = 200
_STREAMS = tuple(Stream)

_EVENT = "INTO event (n, stream, epoch, sequence, at, mono, boot, payload) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_OUTBOX = "INTO outbox (destination, state, stream, n, reason) VALUES (?, ?, ?, ?, ?)"
_STREAM = """INSERT INTO stream (stream, last, reserved) VALUES (?, ?, ?)
    ON CONFLICT (stream) DO UPDATE SET last = excluded.last, reserved = excluded.reserved"""
_MEMORY = "INSERT INTO memory (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value"
_PICTURE = "INTO picture (n, jpeg) VALUES (?, ?)"
_PAGE = """SELECT o.n, e.sequence, e.payload, e.mono IS NOT NULL FROM outbox AS o JOIN event AS e ON e.n = o.n
    WHERE o.destination = ? AND o.state = ? AND o.stream = ? AND o.n > ? ORDER BY o.n LIMIT ?"""


class Chunk(NamedTuple):
    """A page of the outbox: rows and whether their time may still be corrected; `complete`: there are no more."""

    rows: list[tuple[Row, bool]]
    complete: bool


@dataclass(frozen=True, slots=True)
class Opened:
    """What the file says when it is opened."""

    journal: str
    born: float
    newest: float | None
    memory: dict[str, bytes]
    last: dict[Stream, int]
    reserved: int
    """Up to where numbers of telemetry may be sent before their commit."""
    counts: dict[tuple[Stream, State], int]
    top: int
    """The highest `n`."""
    sheds: list[Shed]
    """Gaps that are not named yet."""
    quarantined: Path | None
    writable: bool


class Ledger:
    """Reads and writes the tables of one store."""

    def __init__(self, store: Store, boot: str, forgotten: frozenset[Stream]) -> None:
        self._store = store
        self._boot = boot
        self._forgotten = forgotten
        """Streams that leave no history."""
        self._epochs: dict[str, int] = {}

    # ---- opening ----------------------------------------------------------------------------------

    def begin(self, fresh: str, wall: float, *, check: bool, ours: str | None = None, damaged: bool = False) -> Opened:
        """Open the file, or begin a new one under the name `fresh`; a damaged one is set aside and salvaged.

        `check`: look for damage first. `ours`: the journal that this process has written so far, whose
        numbering goes on. Raises StoreNewer, StoreError.
        """
        store = self._store
        try:
            aside = store.set_aside(wall) if damaged else None
            if aside is None:
                store.close()
                try:
                    store.open(check=check)
                    if ours is not None:
                        store.fold()
                    return self._found(fresh, wall, ours, None)
                except StoreDamaged:
                    aside = store.set_aside(wall)
            store.open(check=False)
            return self._found(fresh, wall, None, aside)
        except StoreError:
            store.close()
            raise

    def begin_readonly(self, fresh: str) -> Opened:
        """What a store that cannot be written still says. Numbering begins anew. Raises StoreNewer, StoreError."""
        self._store.open_readonly()
        return self._read(fresh, None)

    def _found(self, fresh: str, wall: float, ours: str | None, aside: Path | None) -> Opened:
        store = self._store
        self._epochs.clear()
        with store.transaction():
            if aside is not None:
                salvage.into(store, aside)
            present = store.execute("SELECT id FROM journal ORDER BY epoch DESC LIMIT 1")
            if not present or aside is not None:
                store.execute("INSERT INTO journal (id, born) VALUES (?, ?)", (fresh, wall))
            if not present or present[0][0] != ours:
                self._settle_gap()
                store.execute("UPDATE event SET mono = NULL, boot = NULL WHERE mono IS NOT NULL AND boot IS NOT ?",
                              (self._boot,))  # fmt: skip
        found = self._read(None, aside)
        if aside is None and len(found.memory) < store.number("SELECT count(*) FROM memory"):
            raise StoreDamaged(f"{store.path}: what is remembered is garbled")
        return found

    def _settle_gap(self) -> None:
        """Name the numbers that an unclean end swallowed; reserve the next ones."""
        telemetry = NUMBER[Stream.TELEMETRY]
        rows = self._store.execute("SELECT last, reserved FROM stream WHERE stream = ?", (telemetry,))
        last, reserved = rows[0] if rows else (0, 0)
        if reserved > last:
            self._shed([Shed(Stream.TELEMETRY, last + 1, reserved, reserved - last, "crash")])
        last = max(last, reserved)
        self._store.execute(_STREAM, (telemetry, last, last + BLOCK))

    def _read(self, fresh: str | None, aside: Path | None) -> Opened:
        store = self._store
        journals = store.execute("SELECT id, born FROM journal ORDER BY epoch DESC LIMIT 1")
        if not journals:
            raise StoreError(f"{store.path}: nothing is in it yet")
        present, born = journals[0]
        newest = store.execute("SELECT newest FROM journal WHERE newest IS NOT NULL ORDER BY epoch DESC LIMIT 1")
        last: dict[Stream, int] = {}
        reserved = 0
        sheds: list[Shed] = []
        if fresh is None:
            for number, given, upto in store.execute("SELECT stream, last, reserved FROM stream"):
                last[_STREAMS[number]] = given
                if _STREAMS[number] is Stream.TELEMETRY:
                    reserved = upto
            sheds = [
                Shed(_STREAMS[number], *rest)
                for number, *rest in store.execute(
                    "SELECT stream, min(first), max(last), sum(count), reason FROM shed GROUP BY stream, reason"
                )
            ]
        return Opened(
            journal=fresh or present,
            born=born,
            newest=newest[0][0] if newest else None,
            memory={key: value for key, value in store.execute("SELECT key, value FROM memory") if _is_json(value)},
            last=last,
            reserved=reserved,
            counts=self.counts(),
            top=store.number("SELECT max(n) FROM event"),
            sheds=sheds,
            quarantined=aside,
            writable=store.writable,
        )

    def adopt(self, journal: str, memory: Mapping[str, bytes], rows: Iterable[tuple[Row, State]], *, also: str) -> None:
        """Make `journal` the present one of a file that does not know what this process knows: memory and rows.

        `also`: the journal under which events of this process may still come.
        """
        store = self._store
        found = [(row, state, orjson.loads(row.payload)) for row, state in rows]
        born = "INSERT OR IGNORE INTO journal (id, born) VALUES (?, ?)"
        with store.transaction():
            store.many(born, ((event["journal"], 0.0) for _, _, event in found))
            store.many(born, ((name, 0.0) for name in (also, journal)))
            epoch = store.number("SELECT max(epoch) FROM journal")
            # A journal begun a moment ago has no rows yet, so its number may still change.
            store.execute("UPDATE journal SET epoch = ? WHERE id = ? AND epoch < ?", (epoch + 1, journal, epoch))
            self._epochs.clear()
            store.execute("DELETE FROM stream")
            store.execute(_STREAM, (NUMBER[Stream.TELEMETRY], 0, BLOCK))
            store.execute("DELETE FROM memory")
            store.many(_MEMORY, memory.items())
            self._insert(
                (
                    Entry(row, event["journal"], events.wall_of(event["time"]), None, state)
                    for row, state, event in found
                ),
                "OR IGNORE ",
            )

    def counts(self) -> dict[tuple[Stream, State], int]:
        """How many rows wait, by stream and state."""
        rows = self._store.execute(
            "SELECT stream, state, count(*) FROM outbox WHERE destination = ? GROUP BY state, stream", (BROKER,)
        )
        return {(_STREAMS[stream], State(state)): count for stream, state, count in rows}

    # ---- writing ----------------------------------------------------------------------------------

    def write(self, batch: Batch, *, again: bool = False) -> None:
        """One transaction. `again`: part of it may stand there already, from a commit that seemed to fail."""
        store = self._store
        with store.transaction():
            self._insert(batch.entries.values(), "OR IGNORE " if again else "")
            if batch.memory:
                store.many(_MEMORY, ((key, value) for key, value in batch.memory.items() if value is not None))
                store.many("DELETE FROM memory WHERE key = ?",
                           ((key,) for key, value in batch.memory.items() if value is None))  # fmt: skip
            self._leave(batch)
            if batch.sheds:
                self._shed(batch.sheds)
            if batch.named:
                store.many("DELETE FROM shed WHERE stream = ? AND last <= ?",
                           ((NUMBER[stream], last) for stream, last in batch.named))  # fmt: skip
            if batch.marks is not None:
                self._mark(batch.marks)

    def _insert(self, entries: Iterable[Entry], how: str) -> None:
        rows = []
        waiting = []
        pictures = []
        for entry in entries:
            n, stream, sequence, payload, jpeg = entry.row
            number = NUMBER[stream]
            boot = None if entry.mono is None else self._boot
            rows.append((n, number, self._epoch(entry.journal), sequence, entry.at, entry.mono, boot, payload))
            if not entry.acked:
                waiting.append((BROKER, entry.state, number, n, entry.reason))
            if jpeg is not None:
                pictures.append((n, jpeg))
        if rows:
            self._store.many(f"INSERT {how}{_EVENT}", rows)
            self._store.many(f"INSERT {how}{_OUTBOX}", waiting)
        if pictures:
            self._store.many(f"INSERT {how}{_PICTURE}", pictures)

    def _leave(self, batch: Batch) -> None:
        store = self._store
        if batch.acks:
            store.many("DELETE FROM outbox WHERE destination = ? AND state = ? AND stream = ? AND n = ?",
                       ((BROKER, state, NUMBER[stream], n) for stream, state, n in batch.acks))  # fmt: skip
            store.many("DELETE FROM event WHERE n = ?",
                       ((n,) for stream, _, n in batch.acks if stream in self._forgotten))  # fmt: skip
        if batch.aside:
            store.many("""UPDATE OR IGNORE outbox SET state = ?, reason = ?
                          WHERE destination = ? AND state = ? AND stream = ? AND n = ?""",
                       ((State.ASIDE, reason, BROKER, State.WAITING, NUMBER[stream], n)
                        for stream, n, reason in batch.aside))  # fmt: skip
        if batch.frozen:
            store.many("UPDATE event SET mono = NULL, boot = NULL WHERE n = ?", ((n,) for _, n in batch.frozen))

    def _mark(self, marks: Marks) -> None:
        epoch = self._epoch(marks.journal)
        if epoch != self._store.number("SELECT max(epoch) FROM journal"):
            return  # the numbering of a journal that has ended
        self._store.execute("UPDATE journal SET newest = ? WHERE epoch = ?", (marks.newest, epoch))
        self._store.many(_STREAM, ((NUMBER[stream], *rest) for stream, rest in marks.streams.items()))

    def _shed(self, sheds: Iterable[Shed]) -> None:
        self._store.many(
            "INSERT INTO shed (stream, first, last, count, reason) VALUES (?, ?, ?, ?, ?)",
            ((NUMBER[shed.stream], shed.first, shed.last, shed.count, shed.reason) for shed in sheds),
        )

    def _epoch(self, journal: str) -> int:
        epoch = self._epochs.get(journal)
        if epoch is None:
            epoch = self._store.number("SELECT epoch FROM journal WHERE id = ?", (journal,))
            if not epoch:
                raise StoreError(f"journal {journal} is not in {self._store.path}")
            self._epochs[journal] = epoch
        return epoch

    # ---- reading ----------------------------------------------------------------------------------

    def fetch(self, stream: Stream, state: State, after: int) -> Chunk:
        """The next rows of the outbox after `n` = `after`, 256 rows and about 1 MiB (pictures: a quarter) at most."""
        rows: list[tuple[Row, bool]] = []
        size = 0
        pictures = stream is Stream.PICTURE
        most = _CHUNK_PICTURES if pictures else _CHUNK_BYTES
        with closing(self._store.each(_PAGE, (BROKER, state, NUMBER[stream], after, _CHUNK_ROWS))) as page:
            for n, sequence, payload, soft in page:
                # SQLite does not notice a bit that is flipped within a row: it must not come further than this.
                if not _is_json(payload):
                    raise StoreDamaged(f"event {n} is garbled")
                row = Row(n, stream, sequence, payload, jpeg(self._store, n) if pictures else None)
                rows.append((row, bool(soft)))
                size += row.size
                if size >= most:
                    return Chunk(rows, complete=False)
        return Chunk(rows, complete=len(rows) < _CHUNK_ROWS)

    # ---- time -------------------------------------------------------------------------------------

    def correct(self, sync: Instant) -> bool:
        """Give some events of this boot that were never sent their true time; False when all have it."""
        store = self._store
        rows = store.execute("SELECT n, mono, payload FROM event WHERE mono IS NOT NULL LIMIT ?", (_SLICE,))
        if not rows:
            return False
        changed = []
        for n, mono, payload in rows:
            wall = sync.wall - (sync.mono - mono)
            if not _is_json(payload):
                raise StoreDamaged(f"event {n} is garbled")
            changed.append((events.corrected(payload, wall), wall, n))
        with store.transaction():
            store.many("UPDATE event SET payload = ?, at = ?, mono = NULL, boot = NULL WHERE n = ?", changed)
        return True


def _is_json(text: object) -> bool:
    try:
        orjson.loads(text)  # type: ignore[arg-type]
    except orjson.JSONDecodeError:
        return False
    return True


def jpeg(store: Store, n: int) -> bytes:
    """The bytes of a picture's event. Raises StoreError."""
    for (found,) in store.execute("SELECT jpeg FROM picture WHERE n = ?", (n,)):
        return bytes(found)
    raise StoreDamaged(f"event {n} has lost its picture")

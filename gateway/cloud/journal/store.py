"""The journal's jobs on the disk. Everything but the constructor runs on the writer's thread."""

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from gateway.cloud.journal import redo_log
from gateway.cloud.journal.batch import Batch, Marks, Shed, State
from gateway.cloud.journal.kept_events import Eraser, KeptEvents
from gateway.cloud.journal.numbering import Move
from gateway.cloud.journal.schema import VERSION
from gateway.cloud.journal.space import Ballast, Space, Tidied
from gateway.cloud.journal.sqlite import PAGE_BYTES, Database
from gateway.cloud.journal.tables import Chunk, Opened, Tables
from gateway.cloud.journal.witness import HighWater, Loss, SentAhead
from gateway.cloud.outbox import Row
from gateway.errors import StoreError, StoreFull
from gateway.model import Instant, Stream

_DAY_S = 86400.0
_AGE_EVERY_S = 3600.0
"""Between two marks of age, at most."""
_RELIEF_SLICES = 100
_PAGES_PER_COMMIT = 8
_CHECKPOINT_PAGES = 700
_SETTLE_SHARE = 0.75
_SETTLE_BYTES = 1 << 20
_SETTLE_OF_SIZE = 16
"""When the redo log, or its content in memory, reaches this (or this part of `max_size`), it is moved into the
database."""
_MOST_ACKS = 4096


@dataclass(slots=True)
class Committed:
    """The result of writing a batch. With an `error` nothing of the batch is in the file."""

    error: StoreError | None = None
    seconds: float = 0.0
    tidied: Tidied = field(default_factory=Tidied)
    durable: Marks | None = None
    """How much of the numbering now survives a power cut, if that has changed."""
    settle: bool = False
    """The redo log should be moved into the database."""
    crowded: bool = False
    checkpoint: bool = False
    """The -wal should be moved into the file."""
    file_bytes: int = 0
    reserve: bool = False
    """The reserve file exists."""


@dataclass(frozen=True, slots=True)
class Known:
    """What the process knows and a file may lack: its journal, memory and the rows in memory."""

    journal: str
    memory: Mapping[str, bytes]
    rows: Sequence[tuple[Row, State]]
    move: Move | None = None
    """A change that the file still needs: events of this process have new numbers."""


@dataclass(slots=True)
class Revived:
    """A store that can be written again."""

    committed: Committed
    journal: str
    reserved: int
    """0: the reservation is unchanged."""
    counts: dict[tuple[Stream, State], int]
    sheds: list[Shed]
    quarantined: Path | None
    loss: Loss | None = None


class Store:
    """Writes batches to the file, reads pages of the outbox, and keeps the file within its size."""

    def __init__(
        self,
        folder: Path,
        boot: str,
        keep: Mapping[Stream, float],
        max_size: int,
        alarm_reserve: int,
        ahead: SentAhead,
        *,
        schema: int = VERSION,
    ) -> None:
        """`keep`: seconds to keep delivered events; `max_size`, `alarm_reserve`: bytes; `ahead` is only read here.

        `schema`: the version in which a new file is made, and to which an older one is migrated.
        """
        forgotten = frozenset(stream for stream, age in keep.items() if age <= 0)
        shortest = min((age for age in keep.values() if age > 0), default=_DAY_S)
        self._database = Database(folder, max_size, schema=schema)
        self._tables = Tables(self._database, boot, forgotten, min(shortest / 24, _AGE_EVERY_S), ahead)
        self._space = Space(self._database, keep)
        self._ballast = Ballast(folder / "reserve", alarm_reserve)
        self._water = HighWater(folder / "high-water")
        self._kept = KeptEvents(self._database)
        self._eraser = Eraser(self._database)
        self._boot = boot
        self._forgotten = forgotten
        self._pending = Batch()
        """What is in the redo log and not in the database."""
        self._settle_bytes = min(_SETTLE_BYTES, max_size // _SETTLE_OF_SIZE)
        self._loose: Marks | None = None
        """The marks of commits that are not synced yet."""
        self._replayed = False
        self._written = 0
        self._checked = False

    def begin(self, fresh: str, wall: float) -> Opened:
        """Open for the first time. Raises StoreNewer, StoreBusy, StoreError."""
        water = self._water.read()
        try:
            opened = self._tables.begin(fresh, wall, water, check=True)
        except StoreFull:
            if not self._ballast.give_up():
                raise
            opened = self._tables.begin(fresh, wall, water, check=True)
        self._checked = self._replayed = True
        self._rise()
        return opened

    def begin_readonly(self, fresh: str) -> Opened:
        """Read what cannot be written. Raises StoreNewer, StoreError."""
        return self._tables.begin_readonly(fresh)

    def commit(self, batch: Batch, *, again: bool = False) -> Committed:
        """Write a record of the redo log, or one transaction with everything in the log.

        If there is no space, the reserve file is deleted, then what the policy allows. `again`: part of the batch may
        be in the database already; it is then written there.
        """
        done = Committed()
        begun = time.monotonic()
        try:
            record = None if again or not redo_log.loggable(batch) else redo_log.encoded(batch, self._boot)
            if record is not None and self._has_room(record):
                self._append(record, batch, done)
            else:
                self._write_through(batch, done, again=again)
        except StoreError as error:
            done.error = error
            return done
        done.seconds = time.monotonic() - begun
        done.settle = self._database.log.used > _SETTLE_SHARE or self._pending.size > self._settle_bytes
        done.checkpoint = self._written >= _CHECKPOINT_PAGES
        done.crowded = self._space.crowded()
        done.file_bytes = self._database.used()[0] * PAGE_BYTES
        done.reserve = self._ballast.present
        if done.reserve and self._database.limited:
            self._database.limit(None)
        return done

    def revive(self, batch: Batch, known: Known, fresh: str, now: Instant, trouble: StoreError | None) -> Revived:
        """Try to write again after `trouble`, with everything that is held in memory. Raises StoreError."""
        database = self._database
        revived = Revived(Committed(), known.journal, 0, {}, [], None)
        if not (database.writable and isinstance(trouble, StoreFull)):
            opened = self._tables.begin(
                fresh,
                now.wall,
                self._water.read(),
                check=not self._checked,
                ours=known.journal,
                trouble=trouble,
                tail=self._pending if self._replayed else None,
            )
            self._checked = self._replayed = True
            self._pending = Batch()
            if opened.quarantined is not None or opened.loss is not None:
                revived.journal = opened.journal
                revived.reserved = opened.reserved
                revived.quarantined = opened.quarantined
                revived.loss = opened.loss
            if known.move is not None and known.move.old == opened.journal:
                self._tables.move(known.move)
            elif opened.journal != known.journal:
                self._tables.adopt(revived.journal, known.memory, known.rows, also=known.journal)
            revived.sheds = opened.sheds
        revived.committed = self.commit(batch, again=True)
        if revived.committed.error is None:
            revived.counts = self._tables.counts()
        return revived

    def move(self, move: Move) -> dict[tuple[Stream, State], int]:
        """Give the events of this process their new numbers; returns how many rows wait. Raises StoreError."""
        self._settled()
        self._tables.move(move)
        self._rise()
        return self._tables.counts()

    def fetch(self, stream: Stream, state: State, after: int) -> Chunk:
        """A page of the outbox. Raises StoreError."""
        pending = self._pending
        left = {n for one, _, n in pending.acks if one is stream}
        final = {n for one, n in pending.frozen if one is stream}
        rows: list[tuple[Row, bool]] = []
        complete = False
        while not (rows or complete):
            chunk = self._tables.fetch(stream, state, after)
            complete = chunk.complete
            rows = [(row, soft and row.n not in final) for row, soft in chunk.rows if row.n not in left]
            after = chunk.rows[-1][0].n if chunk.rows else after
        if complete:
            rows += [
                (entry.row, entry.mono is not None)
                for n, entry in pending.entries.items()
                if entry.row.stream is stream and entry.state is state and not entry.acked and n > after
            ]
        return Chunk(rows, complete)

    def latest(self, stream: Stream, after: int | None, count: int) -> list[tuple[int, bytes]]:
        """The last kept events of a stream, or the first of those after `n`, delivered or not. Raises StoreError."""
        rows = self._kept.latest(stream, after, count)
        rows += [
            (n, entry.row.payload)
            for n, entry in self._pending.entries.items()
            if entry.row.stream is stream and (after is None or n > after)
        ]
        return rows[-count:] if after is None else rows[:count]

    def kept(self) -> KeptEvents:
        """The kept events, all of them."""
        with suppress(StoreError):  # what is in the database can be read though nothing can be written
            self._settled()
        return self._kept

    def eraser(self) -> Eraser:
        """Who takes something out of what is kept, all of it. Raises StoreError."""
        self._settled()
        return self._eraser

    def settle(self) -> Committed:
        """Move the content of the redo log into the database."""
        done = self.commit(Batch(), again=True)
        done.checkpoint = done.error is None  # it writes hardly more, and a lost -wal then costs less
        return done

    def correct(self, sync: Instant) -> bool:
        """Correct some events born unsynced; False when there is nothing left to do. Raises StoreError."""
        self._settled()
        return self._tables.correct(sync)

    def checkpoint(self) -> None:
        """Move the -wal into the file, if there is room for it. Raises StoreError."""
        self._written = 0
        try:
            self._database.checkpoint()
        except StoreFull:
            self._give_way()

    def make_room(self, lived: float) -> Tidied:
        """One slice of shedding. Raises StoreError."""
        with suppress(StoreFull):
            self._settled()
        try:
            done = self._space.make_room(lived)
            self._written += done.removed
            return done
        except StoreFull:
            self._give_way()
            return Tidied()

    def expire(self, lived: float) -> Tidied:
        """Delete one slice of what is too old. Raises StoreError."""
        with suppress(StoreFull):
            self._settled()
        done = self._space.expire(lived)
        self._written += done.removed
        return done

    def vacuum(self) -> bool:
        """Check that the files are still there, and return one slice of free space; False when done.

        Raises StoreError.
        """
        self._database.check_files()
        return self._space.vacuum()

    def restore_reserve(self) -> None:
        """Make the reserve file again if there is space for it. May be called on any thread; never blocks."""
        self._ballast.make()

    def close(self) -> None:
        """Close the files, which moves the redo log and the -wal into the database, and unlock the folder."""
        with suppress(StoreError):
            self._settled()
        self._database.close()
        self._database.release()
        self._water.close()

    def _rise(self) -> None:
        """Move the high-water mark to what is committed and synced."""
        mark = self._tables.standing(self._pending)
        if mark is not None:
            self._water.write(mark)

    def _has_room(self, record: bytes) -> bool:
        pending = self._pending
        return (
            self._database.log.fits(record)
            and pending.size < 2 * self._settle_bytes
            and len(pending.acks) < _MOST_ACKS
        )  # fmt: skip

    def _append(self, record: bytes, batch: Batch, done: Committed) -> None:
        """Append a record. It is synced, with all before it, only if a power cut must not undo it."""
        self._database.log.append(record, sync=batch.urgent)
        self._database.check_files()
        self._pending.follow(batch, self._forgotten)
        marks = batch.marks and batch.marks.after(self._loose)
        if batch.urgent:
            done.durable, self._loose = marks or self._loose, None
            self._rise()
        else:
            self._loose = marks or self._loose

    def _write_through(self, batch: Batch, done: Committed, *, again: bool) -> None:
        """Write everything in the redo log plus this batch to the database."""
        whole = Batch()
        for part in (self._pending, batch):
            whole.follow(part, self._forgotten)
        self._write(whole, done, again=again)
        self._database.check_files()
        self._written += _PAGES_PER_COMMIT + whole.size * 3 // (2 * PAGE_BYTES)
        self._pending = Batch()
        done.durable = batch.marks.after(self._loose) if batch.marks else self._loose
        self._loose = None
        self._rise()

    def _settled(self) -> None:
        """Write the redo log's content to the database. Raises StoreError."""
        if self._pending or self._pending.marks:
            self._tables.write(self._pending)
            self._pending = Batch()

    def _write(self, batch: Batch, done: Committed, *, again: bool) -> None:
        try:
            self._tables.write(batch, again=again)
            return
        except StoreFull:
            self._give_way()
        with suppress(StoreFull):
            self._tables.leave(batch)  # delivered events may be deleted
        lived = batch.marks.lived if batch.marks else 0.0
        for _ in range(_RELIEF_SLICES):
            try:
                self._tables.write(batch, again=again)
                return
            except StoreFull:
                part = self._space.relieve(lived)
                done.tidied.add(part)
                self._written += part.removed
                if part.removed:
                    continue
                if not self._database.limited:
                    raise
                self._database.limit(None)  # nothing more can be deleted: this is what the reserve was kept for
        self._tables.write(batch, again=again)

    def _give_way(self) -> None:
        """There is no space: delete the reserve file.

        If the disk is full, the file must not grow until the reserve is back; its content is shed instead. The -wal is
        moved into the file and begun anew, which needs no more space.
        """
        pages, _ = self._database.used()
        if pages < self._database.max_pages:
            self._database.limit(pages)
        self._ballast.give_up()
        with suppress(StoreFull):
            self._database.checkpoint()
            self._written = 0

"""The journal's jobs on the disk. Everything but the constructor runs on the writer's thread."""

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from gateway.cloud.journal.batch import Batch, Shed, State
from gateway.cloud.journal.history import Eraser, Shelf
from gateway.cloud.journal.numbering import Move
from gateway.cloud.journal.space import Ballast, Space, Tidied
from gateway.cloud.journal.sqlite import PAGE, Database
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


@dataclass(slots=True)
class Committed:
    """What became of a batch. With an `error` nothing of the batch is in the file."""

    error: StoreError | None = None
    seconds: float = 0.0
    tidied: Tidied = field(default_factory=Tidied)
    crowded: bool = False
    checkpoint: bool = False
    """The -wal has grown enough to be moved into the file."""
    file_bytes: int = 0
    reserve: bool = False
    """The ballast is there."""


@dataclass(frozen=True, slots=True)
class Known:
    """What the process knows and a file may not: its journal, memory and the rows at hand."""

    journal: str
    memory: Mapping[str, bytes]
    rows: Sequence[tuple[Row, State]]
    move: Move | None = None
    """What the file must still be told: events of this life have other numbers."""


@dataclass(slots=True)
class Revived:
    """A store that can be written again."""

    committed: Committed
    journal: str
    reserved: int
    """0: what was reserved stays so."""
    counts: dict[tuple[Stream, State], int]
    sheds: list[Shed]
    quarantined: Path | None
    loss: Loss | None = None


class Store:
    """Puts batches into the file, pages out of it, and keeps it within its size."""

    def __init__(
        self, folder: Path, boot: str, keep: Mapping[Stream, float], max_size: int, alarm_reserve: int, ahead: SentAhead
    ) -> None:
        """`keep`: seconds that delivered events stay; `max_size`, `alarm_reserve`: bytes; `ahead` is only read here."""
        forgotten = frozenset(stream for stream, age in keep.items() if age <= 0)
        shortest = min((age for age in keep.values() if age > 0), default=_DAY_S)
        self._database = Database(folder, max_size)
        self._tables = Tables(self._database, boot, forgotten, min(shortest / 24, _AGE_EVERY_S), ahead)
        self._space = Space(self._database, keep)
        self._ballast = Ballast(folder / "reserve", alarm_reserve)
        self._water = HighWater(folder / "high-water")
        self.shelf = Shelf(self._database)
        """The kept events, to be read."""
        self.eraser = Eraser(self._database)
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
        self._checked = True
        self._rise()
        return opened

    def begin_readonly(self, fresh: str) -> Opened:
        """Read what cannot be written. Raises StoreNewer, StoreError."""
        return self._tables.begin_readonly(fresh)

    def commit(self, batch: Batch, *, again: bool = False) -> Committed:
        """One transaction; if there is no room, the ballast goes, then what the policy lets go."""
        done = Committed()
        begun = time.monotonic()
        try:
            self._write(batch, done, again=again)
            self._database.check_files()
        except StoreError as error:
            done.error = error
            return done
        self._rise()
        done.seconds = time.monotonic() - begun
        self._written += _PAGES_PER_COMMIT + batch.size * 3 // (2 * PAGE)
        done.checkpoint = self._written >= _CHECKPOINT_PAGES
        done.crowded = self._space.crowded()
        done.file_bytes = self._database.used()[0] * PAGE
        done.reserve = self._ballast.present
        if done.reserve and self._database.limited:
            self._database.limit(None)
        return done

    def revive(self, batch: Batch, known: Known, fresh: str, now: Instant, trouble: StoreError | None) -> Revived:
        """Try to write again after `trouble`, with everything that was held in memory. Raises StoreError."""
        database = self._database
        revived = Revived(Committed(), known.journal, 0, {}, [], None)
        if not (database.writable and isinstance(trouble, StoreFull)):
            opened = self._tables.begin(
                fresh, now.wall, self._water.read(), check=not self._checked, ours=known.journal, trouble=trouble
            )
            self._checked = True
            if opened.quarantined is not None or opened.loss is not None:
                revived.journal = opened.journal
                revived.reserved = opened.reserved
                revived.quarantined = opened.quarantined
                revived.loss = opened.loss
            if known.move is not None and known.move.old == opened.journal:
                self._move(known.move)
            elif opened.journal != known.journal:
                self._tables.adopt(revived.journal, known.memory, known.rows, also=known.journal)
            revived.sheds = opened.sheds
        revived.committed = self.commit(batch, again=True)
        if revived.committed.error is None:
            revived.counts = self._tables.counts()
        return revived

    def move(self, move: Move) -> dict[tuple[Stream, State], int]:
        """Give the events of this life their new numbers; how many rows wait. Raises StoreError."""
        self._move(move)
        self._rise()
        return self._tables.counts()

    def _move(self, move: Move) -> None:
        self._tables.move(move.old, move.fresh, move.born, move.after, move.row)

    def fetch(self, stream: Stream, state: State, after: int) -> Chunk:
        """A page of the outbox. Raises StoreError."""
        return self._tables.fetch(stream, state, after)

    def correct(self, sync: Instant) -> bool:
        """Correct some events born unsynced; False when there is nothing left to do. Raises StoreError."""
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
        try:
            done = self._space.make_room(lived)
            self._written += done.removed
            return done
        except StoreFull:
            self._give_way()
            return Tidied()

    def expire(self, lived: float) -> Tidied:
        """One slice of what is too old. Raises StoreError."""
        done = self._space.expire(lived)
        self._written += done.removed
        return done

    def vacuum(self) -> bool:
        """A look whether the files are still there, and one slice of giving room back; False when done.

        Raises StoreError.
        """
        self._database.check_files()
        return self._space.vacuum()

    def restore_reserve(self) -> None:
        """Make the ballast again if there is room for it. May be called on any thread; never blocks."""
        self._ballast.make()

    def close(self) -> None:
        """Close the file (which moves the -wal into it) and let go of the folder."""
        self._database.close()
        self._database.release()
        self._water.close()

    def _rise(self) -> None:
        """The mark follows what is committed."""
        if self._tables.mark is not None:
            self._water.write(self._tables.mark)

    def _write(self, batch: Batch, done: Committed, *, again: bool) -> None:
        try:
            self._tables.write(batch, again=again)
            return
        except StoreFull:
            self._give_way()
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
                self._database.limit(None)  # nothing more may give way: this is what the ballast's room was kept for
        self._tables.write(batch, again=again)

    def _give_way(self) -> None:
        """There is no room: the ballast goes.

        If the disk is what is full, the file must not grow any more until the ballast is back: what is in
        it is shed instead. The -wal goes into the file and begins anew, which takes no more room.
        """
        pages, _ = self._database.used()
        if pages < self._database.max_pages:
            self._database.limit(pages)
        self._ballast.give_up()
        with suppress(StoreFull):
            self._database.checkpoint()
            self._written = 0

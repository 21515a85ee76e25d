"""The content of the journal's tables. Runs on the writer's thread."""

from collections.abc import Iterable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import orjson

from gateway.cloud import events
from gateway.cloud.journal import redo_log, salvage
from gateway.cloud.journal.batch import Batch, Entry, Marks, Shed, State
from gateway.cloud.journal.numbering import BLOCK, Move
from gateway.cloud.journal.schema import AGED, LOGGED
from gateway.cloud.journal.sqlite import Database, packed
from gateway.cloud.journal.witness import REASON, Loss, Mark, SentAhead, behind
from gateway.cloud.outbox import Row
from gateway.errors import StoreDamaged, StoreError, StoreGone
from gateway.model import Instant, Json, Stream

NUMBER = {stream: number for number, stream in enumerate(Stream)}
"""The number of each stream in the tables. Never reorder `Stream`."""
BROKER = 0
"""The outbox's only destination."""
UNTOLD = "journal/untold/"
"""Prefix of memory keys for damage that no event has reported yet, followed by the type of that event."""
QUARANTINED, ROLLED_BACK = "store.quarantined", "store.rolled-back"
"""Types of those events."""

_CHECK_S = 5.0
_CHUNK_ROWS = 256
_CHUNK_BYTES = 1 << 20
_CHUNK_PICTURE_BYTES = 256 << 10
_SLICE_ROWS = 200
_STREAMS = tuple(Stream)

_EVENT = "INTO event (n, stream, epoch, sequence, at, mono, boot, payload) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_OUTBOX = "INTO outbox (destination, state, stream, n, reason) VALUES (?, ?, ?, ?, ?)"
_STREAM = """INSERT INTO stream (stream, last, reserved) VALUES (?, ?, ?)
    ON CONFLICT (stream) DO UPDATE SET last = excluded.last, reserved = excluded.reserved"""
_MEMORY = "INSERT INTO memory (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value"
_PICTURE = "INTO picture (n, jpeg) VALUES (?, ?)"
_PAGE = """SELECT o.n, e.sequence, unpacked(e.payload), e.mono IS NOT NULL FROM outbox AS o JOIN event AS e ON e.n = o.n
    WHERE o.destination = ? AND o.state = ? AND o.stream = ? AND o.n > ? ORDER BY o.n LIMIT ?"""
_MOVING = "SELECT n, stream, sequence, unpacked(payload) FROM event WHERE n > ? AND epoch = ? ORDER BY n LIMIT ?"


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
    """The newest wall time that was trusted."""
    told: float | None
    """Wall time of the last event."""
    lived: float
    """Seconds that the box had run, over all processes."""
    memory: dict[str, bytes]
    last: dict[Stream, int]
    reserved: int
    """Up to where numbers of telemetry may be sent before their commit."""
    counts: dict[tuple[Stream, State], int]
    top: int
    """The highest `n`."""
    sheds: list[Shed]
    """Gaps that are not reported yet."""
    quarantined: Path | None
    writable: bool
    loss: Loss | None = None
    """What the store has lost, if that is known."""
    journals: frozenset[str] = frozenset()
    """All journals that the file knows."""
    tail: tuple[Entry, ...] = ()
    """Waiting events that are only in the redo log, because the database cannot be written."""


class Tables:
    """Reads and writes the tables of one store."""

    def __init__(
        self,
        database: Database,
        boot: str,
        forgotten: frozenset[Stream],
        age_every: float = 3600.0,
        ahead: SentAhead | None = None,
    ) -> None:
        self._database = database
        self._boot = boot
        self._forgotten = forgotten
        """Streams of which no history is kept."""
        self._epochs: dict[str, int] = {}
        self.mark: Mark | None = None
        """How far the present journal has come in the file; None: not known."""
        self._gone = False
        """The files were deleted or replaced, and no new one has been made yet."""
        self._saved: salvage.Saved | None = None
        self._other: bytes | None = None
        """A redo log of another round, which holds what is missing if the database is an older copy."""
        self._ahead = ahead
        self._age_every = age_every
        """Seconds between two marks of age."""
        self._lived = 0.0
        self._aged: float | None = None
        """The `lived` seconds at the last mark of age."""

    # ---- opening ----------------------------------------------------------------------------------

    def begin(
        self,
        fresh: str,
        wall: float,
        water: Mark | None,
        *,
        check: bool,
        ours: str | None = None,
        trouble: StoreError | None = None,
        tail: Batch | None = None,
    ) -> Opened:
        """Open the file, or begin a new one under the name `fresh`; a damaged one is set aside and salvaged.

        A file that is behind its mark `water` continues under the name `fresh`. `check`: look for damage first. `ours`:
        the journal that this process has written so far, whose numbering continues; `trouble`: what happened to it.
        `tail`: what was committed and is not in the database; None: read it from the redo log.
        Raises StoreNewer, StoreError.
        """
        database = self._database
        self._other = None
        replaced = None
        try:
            aside = self._cut_salvage(wall)
            if database.writable and isinstance(trouble, StoreDamaged):
                aside = database.set_aside(wall)
            elif database.writable and isinstance(trouble, StoreGone):
                replaced = self._rescue(wall)
            if aside is None:
                database.close()
                try:
                    database.open(check=check)
                    if ours is not None:
                        database.fold()
                    if not self._gone or self._saved is None:
                        self.replay(tail, wall)
                    opened = self._found(fresh, wall, water, ours, None, tail)
                except StoreDamaged:
                    aside = database.set_aside(wall)
            if aside is not None:
                with database.salvaging():
                    database.open(check=False)
                    opened = self._found(fresh, wall, water, None, aside, tail)
        except StoreError:
            database.close()
            raise
        database.drop_copies()
        opened = replace(opened, quarantined=aside or replaced)
        return opened if ours is not None else _with_untold(opened, database.folder)

    def _cut_salvage(self, wall: float) -> Path | None:
        """The damaged copy whose salvage was interrupted before its commit, if any. Raises StoreError."""
        database = self._database
        aside = None if database.writable else database.unsalvaged()
        if aside is None:
            return None
        try:
            database.open(check=False)
            if database.number("SELECT count(*) FROM journal"):
                database.salvaged()
                aside = None
        except StoreDamaged:
            database.set_aside(wall, salvage=False)  # it was only just made and holds nothing
        database.close()
        return aside

    def _rescue(self, wall: float) -> Path | None:
        """Save the content of files that are gone. Returns what was found in their place, after setting it aside."""
        database = self._database
        self._gone = True
        if database.in_place:
            with suppress(StoreError):
                database.fold()  # the -wal is gone from its folder but still open: after this everything is in the file
                return None
        self._saved = salvage.still_open(database)
        if database.path.exists():
            return database.set_aside(wall)
        database.drop_tails(wall)
        return None

    def begin_readonly(self, fresh: str) -> Opened:
        """Read a store that cannot be written. Numbering begins anew. Raises StoreNewer, StoreError."""
        self._database.open_readonly()
        return _with_tail(self._read(fresh, None), self._logged().batch)

    def _logged(self) -> redo_log.Tail:
        """The content of the redo log that belongs to this database."""
        return redo_log.tail(self._database.log_path, round_of(self._database), self._boot, self._forgotten)

    def replay(self, tail: Batch | None = None, wall: float = 0.0) -> None:
        """Write what was committed and is not in the database: `tail`, or the content of the redo log.

        A log that cannot be read completely is then set aside; a log with a valid record that was not used is copied.
        `wall` names the copy. Raises StoreError.
        """
        database = self._database
        logged = self._logged() if tail is None else redo_log.Tail(tail)
        tail = logged.batch
        self._epochs.clear()
        self.mark = self._standing()
        known = {name for (name,) in database.execute("SELECT id FROM journal")}
        if not all(entry.journal in known for entry in tail.entries.values()):
            raise StoreDamaged(f"{database.path}: its redo log does not fit")
        self._other = logged.content if logged.other else None
        if logged.skipped and logged.unreadable is None:
            database.keep_log(wall, logged.content)
        with database.headroom():
            self.write(tail, again=True)
        if logged.unreadable is not None:
            database.replace_log(wall, logged.unreadable)

    def _found(
        self,
        fresh: str,
        wall: float,
        water: Mark | None,
        ours: str | None,
        aside: Path | None,
        tail: Batch | None,
    ) -> Opened:
        database = self._database
        self._epochs.clear()
        with database.transaction(new_round=True):
            loss = self._lost(water, aside, tail)
            if loss is not None and aside is None and self._other is not None:
                database.keep_log(wall, self._other)
            present = database.execute("SELECT id FROM journal ORDER BY epoch DESC LIMIT 1")
            begun = not present or aside is not None or loss is not None
            if begun:
                database.execute("INSERT INTO journal (id, born) VALUES (?, ?)", (fresh, wall))
                database.execute("DELETE FROM stream")
                database.execute("DELETE FROM shed")  # these numbers are reported with everything that is missing
                self._note_untold(aside, loss)
            if begun or present[0][0] != ours:
                self._settle_gap()
                database.execute("UPDATE event SET mono = NULL, boot = NULL WHERE mono IS NOT NULL AND boot IS NOT ?",
                              (self._boot,))  # fmt: skip
        found = replace(self._read(None, aside), loss=loss)
        if aside is None and len(found.memory) < database.number("SELECT count(*) FROM memory"):
            raise StoreDamaged(f"{database.path}: what is remembered is garbled")
        self._gone, self._saved = False, None
        return found

    def _note_untold(self, aside: Path | None, loss: Loss | None) -> None:
        """Remember damage until an event reports it, because this process may end before."""
        untold: dict[str, Mapping[str, Json]] = {} if aside is None else {QUARANTINED: {"file": aside.name}}
        untold |= {} if loss is None else {ROLLED_BACK: loss.data()}
        self._database.many(_MEMORY, ((f"{UNTOLD}{type_}", events.encode(data)) for type_, data in untold.items()))

    def _lost(self, water: Mark | None, aside: Path | None, tail: Batch | None) -> Loss | None:
        """What the opened file has lost, after what was saved of other files is written into it."""
        if aside is not None:
            return salvage.into(self._database, aside, water, tail)
        if not self._gone:
            return self._went_back(water)
        # Numbers given after the last commit are in the memory of this process, so nothing of them is missing.
        water = water and replace(water, streams={stream: (last, last) for stream, last in water.lasts().items()})
        loss = None if self._saved is None else salvage.write(self._database, self._saved, water, tail)
        if loss is None and water is not None:
            loss = Loss(water.journal, water.lasts(), water.lasts(), (), "files")
        return None if loss is None else replace(loss, witness="files")

    def _went_back(self, water: Mark | None) -> Loss | None:
        """What is missing in the file according to its mark. Raises StoreDamaged if the file is inconsistent."""
        if water is None:
            return None
        database = self._database
        found = self._standing()
        if found is not None and found.journal == water.journal:
            if not water.beyond(found):
                return None
            # With a garbled -wal, old pages appear beside newer ones of the file.
            database.check("integrity_check(1)", _CHECK_S)
            loss = behind(water, found)
        elif database.number("SELECT count(*) FROM journal WHERE id = ?", (water.journal,)):
            return None  # a later journal was begun, whose mark was never written
        else:
            loss = behind(water, None)
        unnamed = (replace(gap, reason=REASON) for gap in self._unnamed() if found and found.journal == water.journal)
        return replace(loss, missing=(*unnamed, *loss.missing))

    def _standing(self) -> Mark | None:
        """How far the present journal has come in the file."""
        database = self._database
        for journal, commits in database.execute("SELECT id, commits FROM journal ORDER BY epoch DESC LIMIT 1"):
            rows = database.execute("SELECT stream, last, reserved FROM stream")
            return Mark(journal, commits, {_STREAMS[number]: (last, reserved) for number, last, reserved in rows})
        return None

    def _unnamed(self) -> list[Shed]:
        """Gaps that no event has reported yet."""
        rows = self._database.execute(
            "SELECT stream, min(first), max(last), sum(count), reason FROM shed GROUP BY stream, reason"
        )
        return [Shed(_STREAMS[number], *rest) for number, *rest in rows]

    def _present(self) -> str:
        """The present journal."""
        return str(self._database.execute("SELECT id FROM journal ORDER BY epoch DESC LIMIT 1")[0][0])

    def _settle_gap(self) -> None:
        """Note the numbers that were lost by an unclean end as a gap; reserve the next ones."""
        telemetry = NUMBER[Stream.TELEMETRY]
        rows = self._database.execute("SELECT last, reserved FROM stream WHERE stream = ?", (telemetry,))
        last, reserved = rows[0] if rows else (0, 0)
        ahead = None if self._ahead is None else self._ahead.read(self._present())
        given, delivered = (reserved, last) if ahead is None else (min(ahead.given, reserved), ahead.delivered)
        first = max(last, delivered) + 1
        if given >= first:
            self._shed([Shed(Stream.TELEMETRY, first, given, given - first + 1, "crash")])
        last = max(last, given)
        self._database.execute(_STREAM, (telemetry, last, last + BLOCK))

    def _read(self, fresh: str | None, aside: Path | None) -> Opened:
        database = self._database
        journals = database.execute("SELECT id, born FROM journal ORDER BY epoch DESC LIMIT 1")
        if not journals:
            raise StoreError(f"{database.path}: nothing is in it yet")
        present, born = journals[0]
        newest = database.execute("SELECT newest FROM journal WHERE newest IS NOT NULL ORDER BY epoch DESC LIMIT 1")
        told, lived, marked = self._times()
        self._lived, self._aged = lived, None
        last: dict[Stream, int] = {}
        reserved = 0
        sheds: list[Shed] = []
        if fresh is None:
            for number, given, upto in database.execute("SELECT stream, last, reserved FROM stream"):
                last[_STREAMS[number]] = given
                if _STREAMS[number] is Stream.TELEMETRY:
                    reserved = upto
            sheds = self._unnamed()
            self.mark = self._standing()
        return Opened(
            journal=fresh or present,
            born=born,
            newest=newest[0][0] if newest else None,
            told=told if told is not None or not newest else newest[0][0],
            lived=lived,
            memory={key: value for key, value in database.execute("SELECT key, value FROM memory") if _is_json(value)},
            last=last,
            reserved=reserved,
            counts=self.counts(),
            top=max(database.number("SELECT max(n) FROM event"), marked),
            sheds=sheds,
            quarantined=aside,
            writable=database.writable,
            journals=frozenset(name for (name,) in database.execute("SELECT id FROM journal")),
        )

    def move(self, move: Move) -> None:
        """Begin the new journal, and move the events of this life to it under their new numbers. Raises StoreError."""
        database = self._database
        epoch = self._epoch(move.old)
        with database.transaction(new_round=True):
            database.execute(
                "INSERT INTO journal (id, born, newest) SELECT ?, ?, newest FROM journal WHERE epoch = ?",
                (move.fresh, move.born, epoch),
            )
            following = self._epoch(move.fresh)
            n = move.after
            while rows := database.execute(_MOVING, (n, epoch, _SLICE_ROWS)):
                if not all(_is_json(one[3]) for one in rows):
                    raise StoreDamaged(f"an event after {n} is garbled")
                changed = [move.row(Row(one[0], _STREAMS[one[1]], *one[2:])) for one in rows]
                database.many(
                    "UPDATE event SET epoch = ?, sequence = ?, payload = ? WHERE n = ?",
                    ((following, row.sequence, row.payload, row.n) for row in changed),
                )
                n = rows[-1][0]
            database.execute("DELETE FROM stream")
        self.mark = self._standing()

    def adopt(self, journal: str, memory: Mapping[str, bytes], rows: Iterable[tuple[Row, State]], *, also: str) -> None:
        """Make `journal` the present one of a file that lacks the memory and rows of this process, and write these.

        `also`: the journal under which further events of this process may still come.
        """
        database = self._database
        found = list(rows)
        born = "INSERT OR IGNORE INTO journal (id, born) VALUES (?, ?)"
        with database.transaction(new_round=True):
            # Decoded one at a time, and twice, because a decoded event takes ten times its bytes.
            database.many(born, ((orjson.loads(row.payload)["journal"], 0.0) for row, _ in found))
            database.many(born, ((name, 0.0) for name in (also, journal)))
            epoch = database.number("SELECT max(epoch) FROM journal")
            # A journal that was just begun has no rows yet, so its number may still change.
            database.execute("UPDATE journal SET epoch = ? WHERE id = ? AND epoch < ?", (epoch + 1, journal, epoch))
            self._epochs.clear()
            database.execute("DELETE FROM stream")
            database.execute(_STREAM, (NUMBER[Stream.TELEMETRY], 0, BLOCK))
            database.execute("DELETE FROM memory WHERE key NOT IN (?, ?)", (UNTOLD + QUARANTINED, UNTOLD + ROLLED_BACK))
            database.many(_MEMORY, memory.items())
            self._insert((_entry(row, state) for row, state in found), "OR IGNORE ")
        self.mark = self._standing()

    def counts(self) -> dict[tuple[Stream, State], int]:
        """How many rows wait, by stream and state."""
        rows = self._database.execute(
            "SELECT stream, state, count(*) FROM outbox WHERE destination = ? GROUP BY state, stream", (BROKER,)
        )
        return {(_STREAMS[stream], State(state)): count for stream, state, count in rows}

    def _times(self) -> tuple[float | None, float, int]:
        """Wall time of the last event, seconds lived through, the highest `n` whose age is known."""
        database = self._database
        if database.number("PRAGMA user_version") < AGED:
            return None, 0.0, 0  # a file of an older version, which is only read
        told = database.execute("SELECT told FROM journal WHERE told IS NOT NULL ORDER BY epoch DESC LIMIT 1")
        lived = database.execute("SELECT max(lived) FROM (SELECT lived FROM journal UNION SELECT lived FROM age)")
        return told[0][0] if told else None, lived[0][0] or 0.0, database.number("SELECT max(n) FROM age")

    # ---- writing ----------------------------------------------------------------------------------

    def write(self, batch: Batch, *, again: bool = False) -> None:
        """Write a batch in one transaction, which also begins a new round of the redo log.

        `again`: part of it may be there already, from a commit that seemed to fail. Raises StoreError.
        """
        database = self._database
        with database.transaction(new_round=True):
            self._insert(batch.entries.values(), "OR IGNORE " if again else "")
            if batch.memory:
                database.many(_MEMORY, ((key, value) for key, value in batch.memory.items() if value is not None))
                database.many("DELETE FROM memory WHERE key = ?",
                           ((key,) for key, value in batch.memory.items() if value is None))  # fmt: skip
            self._leave(batch)
            if batch.sheds:
                self._shed(batch.sheds)
            if batch.named:
                database.many("DELETE FROM shed WHERE stream = ? AND last <= ?",
                           ((NUMBER[stream], last) for stream, last in batch.named))  # fmt: skip
            mark = None if batch.marks is None else self._mark(batch, batch.marks)
        self.mark = mark or self.mark

    def leave(self, batch: Batch) -> None:
        """Write only the batch's changes to rows that are in the database; they are written again with the whole batch.

        Raises StoreError.
        """
        with self._database.transaction():
            self._leave(batch)

    def standing(self, pending: Batch) -> Mark | None:
        """How far the journal has come including the redo log; None: the numbering belongs to an ended journal."""
        mark, marks = self.mark, pending.marks
        if mark is None or marks is None:
            return mark
        if mark.journal != marks.journal:
            return None
        return Mark(mark.journal, mark.commits + pending.steps, {**mark.streams, **marks.streams})

    def _insert(self, entries: Iterable[Entry], how: str) -> None:
        rows = []
        waiting = []
        pictures = []
        for entry in entries:
            n, stream, sequence, payload, jpeg = entry.row
            number = NUMBER[stream]
            boot = None if entry.mono is None else self._boot
            if stream is Stream.TELEMETRY and self._database.packs:
                payload = packed(payload)
            rows.append((n, number, self._epoch(entry.journal), sequence, entry.at, entry.mono, boot, payload))
            if not entry.acked:
                waiting.append((BROKER, entry.state, number, n, entry.reason))
            if jpeg is not None:
                pictures.append((n, jpeg))
        if rows:
            self._database.many(f"INSERT {how}{_EVENT}", rows)
            self._database.many(f"INSERT {how}{_OUTBOX}", waiting)
        if pictures:
            self._database.many(f"INSERT {how}{_PICTURE}", pictures)

    def _leave(self, batch: Batch) -> None:
        database = self._database
        if batch.acks:
            database.many("DELETE FROM outbox WHERE destination = ? AND state = ? AND stream = ? AND n = ?",
                       ((BROKER, state, NUMBER[stream], n) for stream, state, n in batch.acks))  # fmt: skip
            database.many("DELETE FROM event WHERE n = ?",
                       ((n,) for stream, _, n in batch.acks if stream in self._forgotten))  # fmt: skip
        if batch.aside:
            database.many("""UPDATE OR IGNORE outbox SET state = ?, reason = ?
                          WHERE destination = ? AND state = ? AND stream = ? AND n = ?""",
                       ((State.ASIDE, reason, BROKER, State.WAITING, NUMBER[stream], n)
                        for stream, n, reason in batch.aside))  # fmt: skip
        if batch.frozen:
            database.many("UPDATE event SET mono = NULL, boot = NULL WHERE n = ?", ((n,) for _, n in batch.frozen))

    def _mark(self, batch: Batch, marks: Marks) -> Mark | None:
        """Write how far the numbering has come, and return it; None: the numbering belongs to an ended journal."""
        mark = self.mark
        if mark is None or mark.journal != marks.journal:
            return None
        commits = mark.commits + batch.steps
        # A process that could not read the file counts from zero; older events must not look younger because of that.
        lived = max(marks.lived, self._lived)
        self._database.execute("UPDATE journal SET newest = ?, told = ?, lived = ?, commits = ? WHERE epoch = ?",
                            (marks.newest, marks.told, lived, commits, self._epoch(marks.journal)))  # fmt: skip
        if self._aged is None or lived - self._aged >= self._age_every:
            self._aged = lived
            self._database.execute("INSERT OR REPLACE INTO age (n, lived) VALUES (?, ?)", (marks.top, lived))
        self._database.many(_STREAM, ((NUMBER[stream], *rest) for stream, rest in marks.streams.items()))
        return Mark(marks.journal, commits, {**mark.streams, **marks.streams})

    def _shed(self, sheds: Iterable[Shed]) -> None:
        self._database.many(
            "INSERT INTO shed (stream, first, last, count, reason) VALUES (?, ?, ?, ?, ?)",
            ((NUMBER[shed.stream], shed.first, shed.last, shed.count, shed.reason) for shed in sheds),
        )

    def _epoch(self, journal: str) -> int:
        epoch = self._epochs.get(journal)
        if epoch is None:
            epoch = self._database.number("SELECT epoch FROM journal WHERE id = ?", (journal,))
            if not epoch:
                raise StoreError(f"journal {journal} is not in {self._database.path}")
            self._epochs[journal] = epoch
        return epoch

    # ---- reading ----------------------------------------------------------------------------------

    def fetch(self, stream: Stream, state: State, after: int) -> Chunk:
        """The next rows of the outbox after `n` = `after`, 256 rows and about 1 MiB (pictures: a quarter) at most."""
        rows: list[tuple[Row, bool]] = []
        size = 0
        pictures = stream is Stream.PICTURE
        most = _CHUNK_PICTURE_BYTES if pictures else _CHUNK_BYTES
        with closing(self._database.each(_PAGE, (BROKER, state, NUMBER[stream], after, _CHUNK_ROWS))) as page:
            for n, sequence, payload, soft in page:
                # SQLite does not notice a flipped bit within a row; the check here keeps it from being sent.
                if not _is_json(payload):
                    raise StoreDamaged(f"event {n} is garbled")
                row = Row(n, stream, sequence, payload, jpeg(self._database, n) if pictures else None)
                rows.append((row, bool(soft)))
                size += row.size
                if size >= most:
                    return Chunk(rows, complete=False)
        return Chunk(rows, complete=len(rows) < _CHUNK_ROWS)

    # ---- time -------------------------------------------------------------------------------------

    def correct(self, sync: Instant) -> bool:
        """Correct the time of some events of this boot that were never sent; False when none is left."""
        database = self._database
        rows = database.execute(
            "SELECT n, mono, unpacked(payload) FROM event WHERE mono IS NOT NULL LIMIT ?", (_SLICE_ROWS,)
        )
        if not rows:
            return False
        changed = []
        for n, mono, payload in rows:
            wall = sync.wall - (sync.mono - mono)
            if not _is_json(payload):
                raise StoreDamaged(f"event {n} is garbled")
            changed.append((events.corrected(payload, wall), wall, n))
        with database.transaction(new_round=True):
            database.many("UPDATE event SET payload = ?, at = ?, mono = NULL, boot = NULL WHERE n = ?", changed)
        return True


def round_of(database: Database) -> int:
    """The round of the redo log that belongs to this database; 0: none. Raises StoreError."""
    if database.number("PRAGMA user_version") < LOGGED:
        return 0
    return database.number("SELECT round FROM round")


def _with_untold(opened: Opened, folder: Path) -> Opened:
    """Add damage that an earlier process found in its store and could not report."""
    aside, loss = (opened.memory.get(f"{UNTOLD}{type_}") for type_ in (QUARANTINED, ROLLED_BACK))
    with suppress(LookupError, TypeError, ValueError):
        if opened.quarantined is None and aside is not None:
            opened = replace(opened, quarantined=folder / str(orjson.loads(aside)["file"]))
    with suppress(LookupError, TypeError, ValueError):
        if opened.loss is None and loss is not None:
            opened = replace(opened, loss=Loss.of(orjson.loads(loss)))
    return opened


def _with_tail(opened: Opened, tail: Batch) -> Opened:
    """Combine a file that cannot be written with the content of its redo log."""
    memory = {**opened.memory, **tail.memory}
    marks = tail.marks
    return replace(
        opened,
        memory={key: value for key, value in memory.items() if value is not None},
        newest=opened.newest if marks is None or marks.newest is None else marks.newest,
        told=opened.told if marks is None or marks.told is None else marks.told,
        lived=opened.lived if marks is None else max(opened.lived, marks.lived),
        top=max(opened.top, *tail.entries, 0),
        tail=tuple(entry for entry in tail.entries.values() if not entry.acked),
    )


def _entry(row: Row, state: State) -> Entry:
    event = orjson.loads(row.payload)
    return Entry(row, event["journal"], events.wall_of(event["time"]), None, state)


def _is_json(text: object) -> bool:
    try:
        orjson.loads(text)  # type: ignore[arg-type]
    except orjson.JSONDecodeError:
        return False
    return True


def jpeg(database: Database, n: int) -> bytes:
    """The bytes of a picture's event. Raises StoreError."""
    for (found,) in database.execute("SELECT jpeg FROM picture WHERE n = ?", (n,)):
        return bytes(found)
    raise StoreDamaged(f"event {n} has lost its picture")

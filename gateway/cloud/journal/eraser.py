"""Takes a plate out of what is kept, in slices.

Access and audit events stay, without the plate, whether the broker has them or not: nothing is lost, and their numbers
have no gap. Pictures of that car's passages go, and what they leave in their stream is named as `erased`. Alarms are
never touched.
"""

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple, cast

from gateway.cloud.journal.batch import Shed, State
from gateway.cloud.journal.delivery import Delivery
from gateway.cloud.journal.ledger import BROKER, NUMBER
from gateway.cloud.journal.redaction import Redaction, passage_of
from gateway.cloud.journal.store import Store
from gateway.cloud.outbox import Row
from gateway.errors import StoreError
from gateway.model import Stream

STREAMS = (Stream.ACCESS, Stream.AUDIT)
_SLICE = 500
_SECONDS = 10.0

_NAMING = """SELECT n, payload, instr(payload, ?) FROM event WHERE n > ? AND stream IN (?, ?) ORDER BY n LIMIT ?"""
_PICTURES = "SELECT n, sequence, payload FROM event WHERE n > ? AND stream = ? ORDER BY n LIMIT ?"
_STATE = "SELECT state FROM outbox WHERE destination = ? AND stream = ? AND n = ?"


class Erased(NamedTuple):
    """How much was erased."""

    events: int
    pictures: int


@dataclass(slots=True)
class Slice:
    """What one slice did; `after`: where the next begins, None: there is none."""

    after: int | None
    changed: int = 0
    passages: set[str] = field(default_factory=set)
    sheds: list[tuple[Shed, State, int]] = field(default_factory=list)


class Eraser:
    """The tables of one store. Runs on the writer's thread."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def events(self, redaction: Redaction, after: int) -> Slice:
        """Some access and audit events after `n`. Raises StoreError."""
        store = self._store
        numbers = (NUMBER[stream] for stream in STREAMS)
        rows = store.execute(_NAMING, (redaction.needle, after, *numbers, _SLICE))
        done = Slice(rows[-1][0] if len(rows) == _SLICE else None)
        changed = []
        for n, payload, found in rows:
            redacted = redaction.of(payload) if found else None
            if redacted is not None:
                changed.append((redacted[0], n))
                if redacted[1] is not None:
                    done.passages.add(redacted[1])
        if changed:
            self._wipe("UPDATE event SET payload = ? WHERE n = ?", changed)
        done.changed = len(changed)
        return done

    def pictures(self, passages: Collection[str], after: int) -> Slice:
        """Some pictures after `n`. Raises StoreError."""
        store, number = self._store, NUMBER[Stream.PICTURE]
        rows = store.execute(_PICTURES, (after, number, _SLICE))
        done = Slice(rows[-1][0] if len(rows) == _SLICE else None)
        gone = []
        for n, sequence, payload in rows:
            if passage_of(payload) not in passages:
                continue
            gone.append((n,))
            for (state,) in store.execute(_STATE, (BROKER, number, n)):
                done.sheds.append((Shed(Stream.PICTURE, sequence, sequence, 1, "erased"), State(state), n))
        if gone:
            sheds = [shed for shed, _, _ in done.sheds]
            self._wipe("DELETE FROM event WHERE n = ?", gone, sheds)
        done.changed = len(gone)
        return done

    def wash(self) -> None:
        """Leave nothing of it in the -wal. Raises StoreError."""
        self._store.fold()

    def _wipe(self, sql: str, rows: Sequence[tuple[object, ...]], sheds: Collection[Shed] = ()) -> None:
        """Change rows so that the old bytes are overwritten in the file too."""
        store, number = self._store, NUMBER[Stream.PICTURE]
        before = store.number("PRAGMA secure_delete")
        store.execute("PRAGMA secure_delete=1")
        try:
            with store.transaction():
                if sheds:
                    store.many("DELETE FROM outbox WHERE destination = ? AND stream = ? AND n = ?",
                               ((BROKER, number, n) for (n,) in rows))  # fmt: skip
                    store.many(
                        "INSERT INTO shed (stream, first, last, count, reason) VALUES (?, ?, ?, ?, ?)",
                        ((number, shed.first, shed.last, shed.count, shed.reason) for shed in sheds),
                    )
                store.many(sql, rows)
        finally:
            store.execute(f"PRAGMA secure_delete={before}")


class Erasure:
    """The same for the loop's thread, with the rows at hand. `ask`: have something done by the writer."""

    def __init__(
        self,
        eraser: Eraser,
        delivery: Delivery,
        ask: Callable[[Callable[[], object], float], Awaitable[object]],
        tell: Callable[[Sequence[Shed]], None],
    ) -> None:
        self._eraser = eraser
        self._delivery = delivery
        self._ask = ask
        self._tell = tell

    async def of(self, plate: str) -> Erased:
        """Everything that is in the file. Raises StoreError."""
        redaction = Redaction(plate)
        passages: set[str] = set()
        events = await self._through(partial(self._eraser.events, redaction), passages)
        for stream in STREAMS:
            self._delivery.rewrite(stream, partial(_without, redaction))
        pictures = await self._through(partial(self._eraser.pictures, passages), set()) if passages else 0
        await self._work(self._eraser.wash)
        return Erased(events, pictures)

    async def _through(self, slice_after: Callable[[int], Slice], passages: set[str]) -> int:
        changed = 0
        after: int | None = 0
        while after is not None:
            done = cast("Slice", await self._work(partial(slice_after, after)))
            after = done.after
            changed += done.changed
            passages |= done.passages
            for shed, state, n in done.sheds:
                self._delivery.window(shed.stream, state).gone(n)
            if done.sheds:
                self._tell([shed for shed, _, _ in done.sheds])
        return changed

    async def _work(self, work: Callable[[], object]) -> object:
        try:
            return await self._ask(work, _SECONDS)
        except TimeoutError as error:
            raise StoreError("the store does not answer") from error


def _without(redaction: Redaction, row: Row) -> Row:
    redacted = redaction.of(row.payload)
    return row if redacted is None else row._replace(payload=redacted[0])

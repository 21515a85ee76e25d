"""The journal: the site's memory, and the events for the broker.

Runs on the event loop's thread and never blocks it; one writer thread uses the disk. There are two rules. A telemetry
row may be sent before its commit, because its number was reserved in an earlier one; every other row is sent only when
*accepted*. While the store is *lost* (a commit failed, or took over 2 s) everything is accepted in memory, and written
when the store is back. If the process dies before that, numbers given meanwhile are not in the file: the next process
learns of them from `alarm/active` and continues under a new journal. So no number ever gets two ids.
"""

import asyncio
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import orjson

from gateway.cloud import events
from gateway.cloud.journal.batch import Entry
from gateway.cloud.journal.commit_queue import QUEUE_BYTES, CommitQueue
from gateway.cloud.journal.cycle import ACKS_S, Cycle
from gateway.cloud.journal.history import Erased, Erasure, History
from gateway.cloud.journal.numbering import Draft, Move, Numbering
from gateway.cloud.journal.outbox_window import Delivery, Window
from gateway.cloud.journal.schema import VERSION
from gateway.cloud.journal.stats import Stats, snapshot
from gateway.cloud.journal.store import Store
from gateway.cloud.journal.tables import QUARANTINED, ROLLED_BACK, UNTOLD, Opened
from gateway.cloud.journal.witness import Loss, SentAhead
from gateway.cloud.mqtt import recall
from gateway.cloud.mqtt.recall import RecalledNumbers
from gateway.cloud.outbox import Row
from gateway.errors import StoreBusy, StoreError, StoreNewer
from gateway.model import Emit, Forget, Instant, Json, Remember, Stream

_DAY_S = 86400.0
KEEP: Mapping[Stream, float] = {
    Stream.ALARM: 400 * _DAY_S,
    Stream.AUDIT: 400 * _DAY_S,
    Stream.INSPECTION: 400 * _DAY_S,
    Stream.ACCESS: 30 * _DAY_S,
    Stream.PICTURE: 30 * _DAY_S,
    Stream.TELEMETRY: 7 * _DAY_S,
}
"""Seconds that delivered events are kept, unless the site file says otherwise."""

PICTURE_BYTES = 96 << 10
"""The largest JPEG."""
REBORN = "journal/reborn"
"""Memory key: when the rest of the memory was set aside, wall seconds."""

_ASIDE_S = 2.0
_MOST_ACKS = 200
_OPEN_S = 15.0
_CLOSE_S = 1.0
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_MEMORY_BASE = 1 << 62
"""`n` starts here if the store could not even be read, so that it collides with no number of the file."""


class Journal:
    """The outbox of the uplink (`Outbox`) and the memory of the site in one file."""

    def __init__(  # noqa: PLR0913 - what the site file says of the store
        self,
        folder: Path,
        *,
        source: str,
        now: Callable[[], Instant],
        keep: Mapping[Stream, float] = KEEP,
        max_size: int = 512 << 20,
        alarm_reserve: int = 64 << 20,
        simulated: bool = False,
        boot: str | None = None,
        queue_bytes: int = QUEUE_BYTES,
        schema: int = VERSION,
        scratch: Path | None = None,
    ) -> None:
        """`now`: the clock, or one that a test winds.

        `schema`: the version in which a new file is made, and to which an older one is migrated.

        `scratch`: a folder that survives the process but need not survive a reboot; not on the card.
        """
        self._now = now
        self._keep = {**KEEP, **keep}
        self.boot = boot or _BOOT.read_text(encoding="ascii").strip()
        """The kernel's id of this boot."""
        self.memory: dict[str, Json] = {}
        """The memory of the site when the journal was opened."""
        self.newest: float | None = None
        """The newest trusted wall time in the journal when it was opened: the true time cannot be earlier."""
        self.told: float | None = None
        """Wall time of the last event when it was opened, trusted or not."""
        self._opened: Opened | None = None
        self._fresh = ""
        self.born = 0.0
        """Wall time since when it is known which commands were carried out: the start of this journal, or of its
        memory."""

        self._numbering = Numbering(source, self.boot, simulated=simulated)
        self._delivery = Delivery()
        self._queue = CommitQueue(self._delivery, queue_bytes)
        self._ahead = SentAhead((scratch or folder) / "sent-ahead", self.boot)
        """Up to this number the broker has all telemetry."""
        self._store = Store(folder, self.boot, self._keep, max_size, alarm_reserve, self._ahead, schema=schema)
        self._cycle = Cycle(self._store, self._queue, self._delivery, self._numbering, now)
        self.history = History(self._store, self._numbering, self._cycle)
        self._erasure = Erasure(self._store, self._delivery, self._cycle)

    @property
    def journal_id(self) -> str:
        """The `journal` field of events; changes only when the store is begun anew."""
        return self._numbering.journal

    @property
    def quarantined_file(self) -> Path | None:
        """Where a damaged file was set aside by this process."""
        return self._cycle.quarantined

    @property
    def loss(self) -> Loss | None:
        """The latest loss of the store that this process found."""
        return self._cycle.loss

    @property
    def clock_doubted(self) -> bool:
        """True if the clock was set by more than a day and is not trusted yet."""
        return self._numbering.believed.doubted

    @property
    def lost(self) -> bool:
        """True while the store cannot be written and events are sent from memory."""
        return self._queue.lost

    @property
    def slow(self) -> bool:
        """True while commits persistently take over 0.5 s."""
        return self._cycle.counters.slow

    # ---- opening and closing ----------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        """Open the store. Raises StoreNewer and StoreBusy; after any other error work in memory and retry."""
        self._cycle.open()
        fresh = self._fresh = uuid.uuid4().hex
        opened, trouble = await self._open(fresh)
        self._numbering.begin(fresh, {}, 0, top=_MEMORY_BASE | uuid.uuid4().int & (1 << 61) - (1 << 32))
        self._numbering.live_on(0.0, None, self._now().mono)
        if opened is not None:
            self._begin(opened)
        self._cycle.start(opened, trouble)
        self._store.restore_reserve()
        if opened is not None:
            self._cycle.name(opened.sheds)
        now = self._now()
        if now.synced:
            self.clock_synced(now)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write what waits and close, within 1 s."""
        try:
            await self._cycle.stop(_CLOSE_S)
        finally:
            self._ahead.close()

    async def _open(self, fresh: str) -> tuple[Opened | None, StoreError | None]:
        wall = self._now().wall
        trouble: StoreError | None = None
        for begin in (lambda: self._store.begin(fresh, wall), lambda: self._store.begin_readonly(fresh)):
            try:
                return await self._cycle.ask(begin, _OPEN_S), trouble
            except (StoreNewer, StoreBusy):
                self._cycle.abandon()
                raise
            except StoreError as error:
                trouble = trouble or error
            except TimeoutError:
                return None, StoreError("the store does not answer")
        return None, trouble

    def _begin(self, opened: Opened) -> None:
        self._opened = opened
        self._numbering.begin(opened.journal, opened.last, opened.reserved, top=opened.top, told=opened.told)
        self._numbering.live_on(opened.lived, opened.newest, self._now().mono)
        self.newest, self.told = opened.newest, opened.told
        self.born = opened.born
        self.memory = {key: orjson.loads(value) for key, value in opened.memory.items() if not key.startswith(UNTOLD)}
        self._delivery.opened(opened.counts)
        reborn = self.memory.get(REBORN)
        if isinstance(reborn, int | float):
            self.born = max(self.born, reborn)

    # ---- another witness -------------------------------------------------------------------------

    @property
    def numbers(self) -> RecalledNumbers:
        """How far the journal has come, for `alarm/active`."""
        return RecalledNumbers(self.journal_id, self._numbering.durable, not self.lost)

    def known(self, journal: str) -> bool:
        """True if the file knew this journal when it was opened."""
        return self._opened is not None and journal in self._opened.journals

    def judged(self, said: RecalledNumbers) -> Loss | None:
        """What is missing according to what an earlier process said of the journal; call before anything is sent."""
        opened = self._opened
        if opened is None or not self.known(said.journal):
            return recall.loss(said, {})
        if said.journal != opened.journal:
            return None  # a later journal was begun, and that was reported
        # Telemetry may be sent before its commit; its reserved numbers are not given again.
        ahead = {stream for stream, last in said.given.items() if last > opened.last.get(stream, 0)}
        return None if said.stored and not ahead else recall.loss(said, opened.last)

    async def went_back(self, loss: Loss) -> None:
        """Continue under a new journal with all that this process has numbered; nothing of it has been sent yet."""
        opened, now = self._opened, self._now()
        if opened is not None and self.journal_id == opened.journal and opened.journal != self._fresh:
            move = Move(opened.journal, uuid.uuid4().hex, opened.last, opened.top, now.wall)
            await self._cycle.move(move)
            self.born = now.wall
        self._cycle.went_back(loss)

    # ---- the site's side --------------------------------------------------------------------------

    def append(self, effects: Sequence[Emit | Remember | Forget], *, then: Callable[[], None] | None = None) -> None:
        """Add the effects of one step, completely or not at all.

        `then` is called on the loop once they are accepted: the site then acts on its decision, others only wait.
        Raises TypeError, and adds nothing, if the data cannot be written as JSON.
        """
        numbering = self._numbering
        entries: list[Entry] = []
        memory: list[tuple[str, bytes | None]] = []
        before = numbering.given
        try:
            for effect in effects:
                match effect:
                    case Emit(stream, type_, subject, data, id_, at, test):
                        entries.append(self._cycle.entry(Draft(stream, type_, subject, data, id_, at, test)))
                        if type_ in (QUARANTINED, ROLLED_BACK):
                            memory.append((f"{UNTOLD}{type_}", None))
                    case Remember(key, value):
                        memory.append((key, events.encode(value)))
                    case Forget(key):
                        memory.append((key, None))
        except TypeError:
            numbering.take_back(before)
            raise
        self._cycle.add(entries, memory, then=then)

    def telemetry(self, device: str, data: Mapping[str, Json] | bytes, at: Instant) -> None:
        """Add one device's readings: `take` gets them at once, they are stored with the next commit or after 1 s.

        `data`: of `telemetry.readings`, encoded as JSON or not.
        """
        numbering, queue = self._numbering, self._queue
        self._cycle.name(queue.shrink())
        draft = Draft(Stream.TELEMETRY, "telemetry.readings", device, data, numbering.new_id(at.wall), at)
        entry = self._cycle.entry(draft)
        queue.waiting.add(entry)
        self._ahead.note(self.journal_id, entry.row.sequence, numbering.delivered)
        if queue.lost or entry.row.sequence <= numbering.reserved:
            self._delivery.offer((entry,), written=False)
            self._cycle.ahead(entry.row.n)
            self.ready.set()
        else:
            self._cycle.due()

    def picture(self, camera: str, passage: str | None, kind: str, taken_at: Instant, jpeg: bytes, id_: str) -> None:
        """Add a picture as the event `picture.taken` with this id; `kind`: `plate` or `scene`.

        Pictures are deleted first when space runs short. Raises ValueError if it is empty or over PICTURE_BYTES.
        """
        if not 0 < len(jpeg) <= PICTURE_BYTES:
            raise ValueError(f"a picture of {len(jpeg)} bytes; 1 to {PICTURE_BYTES} are taken")
        attributes = {"picturekind": kind} if passage is None else {"passage": passage, "picturekind": kind}
        draft = Draft(
            Stream.PICTURE, "picture.taken", camera, None, id_, taken_at, attributes=attributes, jpeg=jpeg
        )  # fmt: skip
        self._cycle.add((self._cycle.entry(draft),))

    async def naming(self, plate: str) -> list[bytes]:
        """The access events that name this whole plate, in the order of arrival. Raises StoreError."""
        return await self.history.naming(plate)

    async def erase(self, plate: str) -> Erased:
        """Erase a plate from all kept access and audit events, and delete the pictures of its passages.

        `plate` is in the form of the events. Events that wait, or were sent and not acknowledged, also change under the
        same id. Raises StoreError if not everything could be done.
        """
        written = asyncio.Event()
        self.append([], then=written.set)
        await written.wait()
        if self.lost:
            raise StoreError("the store cannot be written")
        return await self._erasure.of(plate)

    def reborn(self) -> None:
        """The memory was set aside: it is not known which commands were carried out before now."""
        self.born = self._now().wall
        self.append([Remember(REBORN, self.born)])

    def last(self, stream: Stream) -> int:
        """The last sequence number given in the stream; 0 before the first."""
        return self._numbering.last[stream]

    @property
    def roomy(self) -> bool:
        """True if there is room for requests that may wait. Others are always taken; unimportant events are shed."""
        return self._queue.roomy

    def clock_synced(self, now: Instant) -> None:
        """The clock is trusted from `now` on: correct the time of events of this boot that were never sent."""
        self._cycle.clock_synced(now)

    # ---- the uplink's side (`Outbox`) -------------------------------------------------------------

    def take(self, stream: Stream) -> Row | None:
        """The next row of the stream since `rewind`; rows set aside come last."""
        window = None if self._cycle.moving else self._delivery.front(stream)
        row = window.take() if window is not None and self._is_final(window) else None
        if self._delivery.wants(stream):
            self._cycle.kick()
        return row

    def _is_final(self, window: Window) -> bool:
        """The content of the window's next row is final; False: a commit is needed first."""
        row = window.peek()
        if row is None or row.n not in window.soft:
            return True
        if self._cycle.chores.correct and not self._queue.lost:
            return False
        if self._queue.harden(row):
            return True
        self._cycle.due()
        return False

    def rewind(self, stream: Stream | None = None) -> None:
        """Begin again at the oldest row that was not acknowledged; None: all streams, and the rows set aside."""
        self._delivery.rewind(stream)
        self._cycle.kick()

    def acknowledge(self, row: Row) -> None:
        """The broker has the row."""
        waiting = self._queue.waiting
        if not self._delivery.acknowledge(row, waiting, keep=self._keep[row.stream] > 0):
            return
        if row.stream is Stream.TELEMETRY:
            self._note_delivered()
        if len(waiting.acks) >= _MOST_ACKS:
            self._cycle.due()
        elif waiting.acks:
            self._cycle.soon(ACKS_S)

    def _note_delivered(self) -> None:
        """Note up to which number the broker has everything. Rows of an earlier journal do not count."""
        window, numbering = self._delivery.window(Stream.TELEMETRY), self._numbering
        oldest = next(iter(window), None)
        row = oldest or (None if window.waiting else window.youngest)
        if row is not None and numbering.deliver(row.n, row.sequence - (row is oldest)):
            self._ahead.note(self.journal_id, numbering.last[Stream.TELEMETRY], numbering.delivered)

    def quarantine(self, row: Row, reason: str) -> None:
        """Set the row aside: it is offered again after the next `rewind()` of all streams, when no other row waits."""
        self._delivery.quarantine(row, reason, self._queue.waiting)
        self._cycle.soon(_ASIDE_S)

    def waiting(self, stream: Stream) -> int:
        """Rows of the stream that are not acknowledged; those set aside are not counted."""
        return self._delivery.window(stream).waiting

    @property
    def ready(self) -> asyncio.Event:
        """Set when `take` may have something new; the one who waits for it clears it."""
        return self._delivery.ready

    # ---- looking on -------------------------------------------------------------------------------

    def stats(self) -> Stats:
        """A snapshot for health and metrics."""
        return snapshot(self._cycle.counters, self._queue, self._delivery, self._now())

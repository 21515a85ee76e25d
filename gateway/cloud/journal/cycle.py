"""The one writer: its thread, and what it does next. Everything but the thread's jobs runs on the loop.

Commits come first, then fetching, correcting, tidying. While the store is *lost* everything is accepted in memory.
After a failed commit the store is retried with back-off; a store that was only slow is back when it answers.
"""

import asyncio
import threading
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import TypeVar, cast

from gateway.cloud.journal.batch import Batch, Entry, Shed
from gateway.cloud.journal.commit_queue import CommitQueue, run_thens
from gateway.cloud.journal.gaps import Gaps, shed_event
from gateway.cloud.journal.numbering import Draft, Move, Numbering
from gateway.cloud.journal.outbox_window import Delivery, Window
from gateway.cloud.journal.space import Tidied
from gateway.cloud.journal.stats import Counters
from gateway.cloud.journal.store import Committed, Known, Revived, Store
from gateway.cloud.journal.tables import Chunk, Opened
from gateway.cloud.journal.witness import Loss
from gateway.errors import StoreDamaged, StoreError, StoreGone
from gateway.model import Instant, Stream

Result = TypeVar("Result")
Work = Callable[[], object]
"""Any job of the store's."""
Done = Callable[[object], None]
"""Called with the result of the work, or the exception that it raised."""


class Writer:
    """Does jobs one after the other in its own thread and reports on the loop's thread, in the same order.

    The thread is a daemon thread, so a disk that never answers does not keep the process from ending.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: SimpleQueue[tuple[Work, Done] | None] = SimpleQueue()
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Start the thread; called on the loop's thread."""
        self._loop = asyncio.get_running_loop()
        threading.Thread(target=self._run, args=(self._loop,), name=self._name, daemon=True).start()

    def submit(self, work: Work, done: Done) -> None:
        """Do `work` in the thread; `done` gets its result on the loop's thread."""
        self._jobs.put((work, done))

    def stop(self) -> None:
        """End the thread after the submitted jobs."""
        self._jobs.put(None)

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        while (job := self._jobs.get()) is not None:
            work, done = job
            result: object
            try:
                result = work()
            except Exception as error:  # noqa: BLE001 - handed to `done`, which tells expected ones from bugs
                result = error
            with suppress(RuntimeError):  # the loop is closed: nobody waits, but the file must still be closed
                loop.call_soon_threadsafe(done, result)


STALL_S = 2.0
TELEMETRY_S = 1.0
"""Telemetry waits this long for other events to commit with, and is written unless the broker has it by then."""
_AT_ONCE_S = 0.05
ACKS_S = 30.0
"""Acknowledgements wait this long for the next commit. That spares the card; after a kill, events are sent again."""
PATIENCE_S = 300.0
"""The same for telemetry that the broker has; a kill costs that much of its history."""
_PATIENT_BYTES = 256 << 10
"""The most bytes that may wait this way in memory."""
_PASSED_OVER_S = 15.0
"""If the disk takes longer than this, new events no longer wait for the backlog on it."""
_RETRY_S = (1.0, 30.0)
_UPKEEP_EVERY_S = 60.0
_EXPIRE_EVERY_MINUTES = 60


@dataclass(slots=True)
class Chores:
    """Work that is done when the writer is idle."""

    correct: bool = False
    settle: bool = False
    checkpoint: bool = False
    make_room: bool = False
    expire: bool = False
    vacuum: bool = False


class Cycle:
    """Feeds one writer from the commit queue, and reports gaps in the streams. Loop thread only."""

    def __init__(
        self,
        store: Store,
        queue: CommitQueue,
        delivery: Delivery,
        numbering: Numbering,
        now: Callable[[], Instant],
    ) -> None:
        self._loop: asyncio.AbstractEventLoop
        self._store = store
        self._queue = queue
        self._delivery = delivery
        self._numbering = numbering
        self._now = now
        self._gaps = Gaps()
        self._gaps_timer: asyncio.TimerHandle | None = None
        self._writer = Writer("journal")
        self._trouble: StoreError | None = None
        self._due = self._busy = self._slow = self._scheduled = self._closing = self._turn = False
        self._timer: asyncio.TimerHandle | None = None
        self._delay = 0.0
        self._ahead: deque[tuple[float, int]] = deque()
        """When telemetry was given out before its commit, and its `n`; what came almost together is one entry."""
        self._patient_since: float | None = None
        self._stall: asyncio.TimerHandle | None = None
        self._upkeep: asyncio.TimerHandle | None = None
        self._idle = asyncio.Event()
        self._retry = False
        self._retry_delay = _RETRY_S[0]
        self._minutes = 0
        self.chores = Chores()
        self._memory: dict[str, bytes] = {}
        """The memory of the site, as it will be when everything is committed."""
        self.counters = Counters()
        self._move: Move | None = None
        self._moving: tuple[Move, asyncio.Event] | None = None
        self.quarantined: Path | None = None
        self.loss: Loss | None = None

    # ---- what the journal asks --------------------------------------------------------------------

    def open(self) -> None:
        """Start the writer's thread."""
        self._loop = asyncio.get_running_loop()
        self._writer.start()

    async def ask(self, work: Callable[[], Result], seconds: float) -> Result:
        """Do `work` before the cycle runs, or after it ended. Raises what the work raises, and TimeoutError."""
        answer: asyncio.Future[object] = self._loop.create_future()
        self._writer.submit(work, lambda result: None if answer.done() else answer.set_result(result))
        async with asyncio.timeout(seconds):
            result = await answer
        if isinstance(result, Exception):
            raise result
        return cast("Result", result)

    def start(self, opened: Opened | None, trouble: StoreError | None) -> None:
        """Begin with what was read from the opened file. `trouble`: why the store cannot be written."""
        if opened is not None:
            self._memory = opened.memory
            for entry in opened.tail:
                self.name(self._queue.add((entry,), then=None, named=()))
            self._begun_anew(opened.quarantined, opened.loss)
        self._idle.set()
        self._upkeep = self._loop.call_later(_UPKEEP_EVERY_S, self._minute)
        if trouble is not None:
            self._fail(trouble)
        self.kick()

    async def stop(self, seconds: float) -> None:
        """Write what waits, release reserved numbers, close; give up after `seconds`."""
        self._closing = True
        if self._gaps_timer is not None:
            self._gaps_timer.cancel()
            self._name_gaps()
        for timer in (self._timer, self._upkeep, self._gaps_timer):
            if timer is not None:
                timer.cancel()
        try:
            async with asyncio.timeout(seconds):
                await self._idle.wait()
                if self._trouble is None:
                    self._submit_commit(release=True)
                else:
                    self._submit_revival(release=True)
                await self._idle.wait()
                await self.ask(self._store.close, seconds)
        except TimeoutError:
            # The disk does not answer. When it does, the thread closes the file, if the process still runs.
            self._writer.submit(self._store.close, lambda _: None)
        finally:
            self._writer.stop()

    def abandon(self) -> None:
        """End the thread without having started the cycle."""
        self._writer.submit(self._store.close, lambda _: None)
        self._writer.stop()

    async def move(self, move: Move) -> None:
        """Move all that this process has numbered to another journal; returns when nothing has its old number."""
        moved = asyncio.Event()
        self._moving = move, moved
        self.kick()
        await moved.wait()

    def went_back(self, loss: Loss) -> None:
        """Take a loss of the store that another witness shows."""
        self._begun_anew(None, loss)

    def clock_synced(self, now: Instant) -> None:
        """The clock is trusted from `now` on: correct the time of earlier events that were never sent."""
        self._numbering.synced(now)
        self._queue.correct(now)
        self.chores.correct = True
        self.kick()

    def entry(self, draft: Draft) -> Entry:
        """Number and render an event. The first trusted time in one shows that the clock was set."""
        numbering, at = self._numbering, draft.at
        if at.synced and (numbering.sync is None or numbering.unsynced):
            self.clock_synced(at)
        return numbering.entry(draft, final=self._delivery.window(draft.stream).hungry)

    def name(self, sheds: Sequence[Shed]) -> None:
        """Report gaps as `stream.shed`, now or soon."""
        if sheds:
            self._gaps.note(sheds)
            if self._gaps_timer is None:
                self._name_gaps()

    def _name_gaps(self) -> None:
        self._gaps_timer = None
        sheds, pause = self._gaps.due()
        if sheds:
            self._gaps_timer = self._loop.call_later(pause, self._name_gaps)
            now = self._now()
            entries = [self.entry(shed_event(shed, self._numbering.new_id(now.wall), now)) for shed in sheds]
            self.add(entries, named=[(shed.stream, shed.last) for shed in sheds])

    def add(
        self,
        entries: Sequence[Entry],
        memory: Iterable[tuple[str, bytes | None]] = (),
        *,
        then: Callable[[], None] | None = None,
        named: Iterable[tuple[Stream, int]] = (),
    ) -> None:
        """Add events and memory that must be committed at once, as a whole. `named`: gaps that these events report."""
        for key, value in memory:
            if value is None:
                self._memory.pop(key, None)
            else:
                self._memory[key] = value
            self._queue.waiting.remember(key, value)
        sheds = self._queue.add(entries, then=then, named=named)
        if self._queue.lost:
            self._delivery.ready.set()
        else:
            self.due()
        self.name(sheds)

    @property
    def moving(self) -> bool:
        """True while numbers are being changed: nothing may be sent."""
        return self._moving is not None

    def due(self) -> None:
        """Note that something must be committed at once."""
        self._due = True
        self.kick()

    def soon(self, seconds: float) -> None:
        """Note that something waits for the next commit, `seconds` at most."""
        if self._timer is not None:
            if self._delay <= seconds:
                return  # an earlier deadline is set already
            self._timer.cancel()
        self._patient_since = self._patient_since or self._loop.time()
        self._delay = seconds
        self._timer = self._loop.call_later(seconds, self._timed)

    def ahead(self, n: int) -> None:
        """Note that the telemetry row `n` was given out before its commit."""
        now = self._loop.time()
        if self._ahead and now - self._ahead[-1][0] < _AT_ONCE_S:
            now = self._ahead.pop()[0]
        self._ahead.append((now, n))
        self.soon(TELEMETRY_S)

    # ---- what the writer does next ----------------------------------------------------------------

    def kick(self) -> None:
        """Look for something to do: rows may be wanted from disk, or a chore is due."""
        if not (self._busy or self._scheduled or self._closing):
            self._scheduled = True
            self._loop.call_soon(self._dispatch)

    def _dispatch(self) -> None:
        self._scheduled = False
        if self._busy or self._closing:
            return
        if self._moving is not None:
            self._start_move(self._moving[0])
            return
        if self._trouble is not None:
            _ = self._start_revival() or self._start_fetch()
            return
        self._turn = not self._turn  # a backlog under way and live commits take turns
        steps = (self._start_commit, self._start_fetch) if self._turn else (self._start_fetch, self._start_commit)
        _ = steps[0]() or steps[1]() or self._start_chore()

    def _submit(self, work: Work, done: Done) -> None:
        self._busy = True
        self._idle.clear()
        self._stall = self._loop.call_later(STALL_S, self._stalled)
        self._writer.submit(work, partial(self._finished, done))

    def _start_commit(self) -> bool:
        if not self._due:
            return False
        self._due = False
        self._patient_since = None
        self._ahead.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting = self._queue.waiting
        if not (waiting or waiting.thens or self._numbering.low):
            return False
        self._submit_commit(release=False)
        return True

    def _submit_commit(self, *, release: bool) -> None:
        batch = self._queue.launch(self._numbering.marks(self._now().mono, whole=release, release=release))
        self._submit(partial(self._store.commit, batch), self._committed)

    def _start_revival(self) -> bool:
        if not self._retry:
            return False
        self._retry = False
        self._submit_revival(release=False)
        return True

    def _submit_revival(self, *, release: bool) -> None:
        batch = self._queue.launch(self._numbering.marks(self._now().mono, whole=True, release=release))
        known = Known(self._numbering.journal, dict(self._memory), self._delivery.rows(), self._move)
        self._submit(
            partial(self._store.revive, batch, known, uuid.uuid4().hex, self._now(), self._trouble), self._revived
        )

    def _start_move(self, move: Move) -> None:
        """Start a move while the writer is idle: rows in memory get their new numbers first, then those in the file."""
        self._numbering.move(move)
        waiting = self._queue.waiting
        for entry in waiting.entries.values():
            move.entry(entry)
        for stream in Stream:
            self._delivery.rewrite(stream, move.row)
        self._move = move
        if self._trouble is None:
            self._submit(partial(self._store.move, move), self._moved)
        else:
            self._end_move()

    def _end_move(self) -> None:
        if self._moving is not None:
            self._moving[1].set()
        self._moving = None
        self._due = True
        self.kick()
        self._delivery.ready.set()

    def _moved(self, result: object) -> None:
        if isinstance(result, dict):
            self._move = None
            self._delivery.revived(result, self._queue.waiting)
        else:
            self._fail(_error(result))  # the file is changed when it can be written again
        self._end_move()

    def _start_fetch(self) -> bool:
        found = self._delivery.next_fetch()
        if found is None:
            return False
        stream, state, window = found
        work = partial(self._store.fetch, stream, state, window.cursor)
        self._submit(work, partial(self._fetched, window, window.generation))
        return True

    def _start_chore(self) -> bool:
        chores, lived, sync = self.chores, self._numbering.lived(self._now().mono), self._numbering.sync
        if chores.correct and sync is not None:
            self._submit(partial(self._store.correct, sync), self._corrected)
        elif chores.settle:
            chores.settle = False
            self._submit(self._store.settle, self._settled)
        elif chores.checkpoint:
            chores.checkpoint = False
            self._submit(self._store.checkpoint, self._done)
        elif chores.make_room:
            chores.make_room = False
            self._submit(partial(self._store.make_room, lived), self._made_room)
        elif chores.expire:
            chores.expire = False
            self._submit(partial(self._store.expire, lived), self._expired)
        elif chores.vacuum:
            chores.vacuum = False
            self._submit(self._store.vacuum, self._done)
        else:
            return False
        return True

    # ---- what came of it --------------------------------------------------------------------------

    def _finished(self, done: Done, result: object) -> None:
        if self._stall is not None:
            self._stall.cancel()
        self._busy = False
        slow, self._slow = self._slow, False
        bug = result if isinstance(result, Exception) and not isinstance(result, StoreError) else None
        done(StoreError(repr(bug)) if bug else result)
        self._queue.answered(lost=self._trouble is not None)
        if slow and self._trouble is None:
            self._delivery.resumed()
            self._due = True
        self._idle.set()
        self.kick()
        if bug is not None:
            raise bug

    def _committed(self, result: object) -> None:
        committed = result if isinstance(result, Committed) else Committed(error=_error(result))
        batch = self._queue.landed(written=committed.error is None)
        self._shed(committed.tidied)
        if committed.error is None:
            self._settle(batch, committed)
        else:
            self._fail(committed.error)

    def _settled(self, result: object) -> None:
        """The content of the redo log has been moved into the database."""
        committed = result if isinstance(result, Committed) else Committed(error=_error(result))
        self._shed(committed.tidied)
        if committed.error is None:
            self._counted(committed)
        else:
            self._fail(committed.error)

    def _revived(self, result: object) -> None:
        if not isinstance(result, Revived):
            self._queue.landed(written=False)
            self._fail(_error(result))
            return
        self._begun_anew(result.quarantined, result.loss)
        committed = result.committed
        batch = self._queue.landed(written=committed.error is None)
        self._shed(committed.tidied)
        if committed.error is not None:
            self._fail(committed.error)
            return
        self._trouble = self._move = None
        self._queue.answered(lost=False)
        self._retry_delay = _RETRY_S[0]
        if result.journal != self._numbering.journal:
            self._numbering.begin(result.journal, {}, result.reserved)
        self._settle(batch, committed)
        self._delivery.revived(result.counts, self._queue.waiting)
        self.chores.correct = self._numbering.sync is not None
        self._due = True
        self.name(result.sheds)

    def _begun_anew(self, quarantined: Path | None, loss: Loss | None) -> None:
        self.quarantined = quarantined or self.quarantined
        self.loss = loss or self.loss
        if quarantined is not None or loss is not None:
            self.counters.begun_anew = self._now().mono

    def _settle(self, batch: Batch, committed: Committed) -> None:
        self._delivery.settle(batch)
        run_thens(batch)
        self.counters.committed(len(batch.entries), committed.seconds)
        self._counted(committed)
        if batch.entries or batch.frozen:
            self._delivery.ready.set()

    def _counted(self, committed: Committed) -> None:
        if committed.durable is not None:
            self._numbering.committed(committed.durable)
        self.counters.file_bytes = committed.file_bytes
        self.counters.reserve = committed.reserve
        self.chores.settle = committed.settle
        self.chores.checkpoint = committed.checkpoint
        self.chores.make_room = self.chores.make_room or committed.crowded

    def _fetched(self, window: Window, generation: int, result: object) -> None:
        if isinstance(result, Chunk):
            self._delivery.fetched(window, generation, result)
        else:
            self._delivery.skip()
            self._fail(_error(result))
        self._delivery.ready.set()

    def _corrected(self, result: object) -> None:
        if isinstance(result, StoreError):
            self._fail(result)
        elif result is False:
            self.chores.correct = False
            self._delivery.cut_soft()
            self._delivery.ready.set()

    def _made_room(self, result: object) -> None:
        if isinstance(result, Tidied):
            self._shed(result)
            self.chores.make_room = result.more
            self.chores.vacuum = not result.more
        else:
            self._fail(_error(result))

    def _expired(self, result: object) -> None:
        if isinstance(result, Tidied):
            self.chores.expire = result.more
            self.chores.vacuum = not result.more
        else:
            self._fail(_error(result))

    def _done(self, result: object) -> None:
        """A checkpoint or a slice of vacuum is done; `result` True: there is more to do."""
        if isinstance(result, StoreError):
            self._fail(result)
        else:
            self.chores.vacuum = self.chores.vacuum or result is True

    def _shed(self, tidied: Tidied) -> None:
        for shed, state, upto in tidied.sheds:
            self.counters.shed += shed.count
            self._delivery.shed(shed, state, upto)
        self.name([shed for shed, _, _ in tidied.sheds])

    # ---- losing the store, and time ---------------------------------------------------------------

    def _fail(self, error: StoreError) -> None:
        """The store cannot be used: continue in memory and try again later."""
        first = self._trouble is None
        self._trouble = error
        delay = 0.0 if first and isinstance(error, StoreDamaged | StoreGone) else self._retry_delay
        self._retry_delay = min(2 * self._retry_delay, _RETRY_S[1])
        self._loop.call_later(delay, self._try_again)
        if first:
            self.counters.losses += 1
            self.name(self._queue.accept_all())
            self._delivery.ready.set()

    def _try_again(self) -> None:
        self._retry = True
        self.kick()

    def _stalled(self) -> None:
        """The job under way takes over 2 s: new events no longer wait for their commit.

        They still wait behind a backlog on disk, because a slow disk must not change the order of a stream.
        """
        self._stall = self._loop.call_later(_PASSED_OVER_S - STALL_S, self._pass_over)
        self._slow = True
        if self._trouble is None:
            self.counters.losses += 1
        self.name(self._queue.accept_all())
        self._delivery.ready.set()

    def _pass_over(self) -> None:
        """The disk does not answer at all: pass over the backlog on it until it does."""
        self._delivery.skip()
        self._delivery.ready.set()

    def _timed(self) -> None:
        """Write now, unless a power cut may undo everything that waits: then keep waiting for the next commit."""
        self._timer = None
        now = self._loop.time()
        waiting = self._queue.waiting
        until = (self._patient_since or now) + (ACKS_S if waiting.acks else PATIENCE_S)
        upto = 0
        while self._ahead and self._ahead[0][0] <= now - TELEMETRY_S + _AT_ONCE_S:
            upto = self._ahead.popleft()[1]
        if waiting.presses(upto) or self._numbering.low or now >= until - _AT_ONCE_S or waiting.size > _PATIENT_BYTES:
            self.due()
        else:
            self.soon(min(until, self._ahead[0][0] + TELEMETRY_S if self._ahead else until) - now)

    def _minute(self) -> None:
        self._upkeep = self._loop.call_later(_UPKEEP_EVERY_S, self._minute)
        self._minutes += 1
        self.chores.vacuum = True
        self.chores.expire = self.chores.expire or self._minutes % _EXPIRE_EVERY_MINUTES == 1
        if self._trouble is None:
            self._store.restore_reserve()
        self.kick()


def _error(result: object) -> StoreError:
    return result if isinstance(result, StoreError) else StoreError(f"not what was asked for: {result!r}")

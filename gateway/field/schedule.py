"""Decides which request is next on one line. Pure: time is an argument (seconds, monotonic).

Lanes in strict order (ORDER, ALARM, NORMAL, PROBE), earliest deadline first inside a lane, non-preemptive. The deadline
of a periodic job is the time at which its next turn becomes due. So no job of a lane starves, because a waiting job
keeps its deadline while those of the others move on. On an overloaded line the order has one exception, so that
failures and recoveries are still detected: a lane that has waited for its share gets a turn before all but orders.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from heapq import heapify, heappop, heappush
from itertools import count
from math import inf

from gateway.driver import Block
from gateway.model import Lane

_GUESSED_LATENCY_S = 0.005
"""Assumed answer time of a device, where only the load of a line is estimated."""

_RETRY_S = 0.25
"""Time until a read that replaces a failed one is due."""
WAIT_PER_COST = 19.0
"""A normal read waits at most this many times the duration of the last one, so normal reads get a twentieth of the
line."""
WAIT_LEAST_S, WAIT_MOST_S = 1.0, 5.0
"""The shortest and the longest such wait."""
PROBE_WAIT_S = 2.0
"""A probe waits at most this long for its turn; its cost is limited by the pauses between probes."""


def patience(cost: float) -> float:
    """The longest wait of the normal lane for a turn, after one that took `cost` seconds."""
    return min(WAIT_MOST_S, max(WAIT_LEAST_S, WAIT_PER_COST * cost))


class Job:
    """One turn on the line: a periodic block, a probe of a silent device, or a single request."""

    __slots__ = ("block", "due", "every", "gone", "item", "lane", "lost", "seq", "slack")

    def __init__(self, seq: int, block: Block | None, item: object, lane: Lane, due: float, every: float) -> None:
        self.seq = seq
        self.block = block
        """The block to read; None for a single request."""
        self.item = item
        """The single request (see `Schedule.request`), else None."""
        self.lane = lane
        self.due = due
        self.every = every
        self.slack = 0.0
        """Seconds by which the deadline of the next turn is later than one period after it is due."""
        self.lost = 0.0
        """Seconds by which its turns have slipped since it was last in time."""
        self.gone = False
        """Withdrawn while it was under way: `done` ignores it."""


_Heap = list[tuple[float, int, Job]]


class Schedule:
    """The turns of one line. `next` and `done` cost O(log n), everything else is rare and O(n).

    `life`: every device is asked at least at this interval (seconds), however long its periods are, so that its silence
    is noticed in time.
    """

    def __init__(self, blocks: Iterable[Block], now: float, *, life: float = inf) -> None:
        self._life = life
        self._seq = count()
        self._blocks: dict[str, list[Block]] = {}
        self._waiting: _Heap = []
        self._ready: tuple[_Heap, ...] = tuple([] for _ in Lane)
        self._first_at = [0.0] * len(Lane)
        """Lane -> from when on a waiting job of it goes first (monotonic seconds)."""
        self._running: tuple[Lane, float] | None = None
        """Lane and start of the turn under way, if it is in a lane that others overtake."""
        self._jobs: dict[Block, Job] = {}
        self._probes: dict[str, Job] = {}
        self.overruns = 0
        """Turns that were skipped because the line was late."""
        self.plan(blocks, now)

    def plan(self, blocks: Iterable[Block], now: float) -> None:
        """Read these blocks from now on. Single requests stay."""
        self._blocks.clear()
        for block in blocks:
            self._blocks.setdefault(block.device, []).append(block)
        self.restart(now)

    def next(self, now: float) -> Job | float:
        """The job to do now, or the time until which nothing is due (infinite if nothing will be)."""
        waiting = self._waiting
        ready = self._ready
        if self._running is not None:
            self._ran(*self._running, now)
        while waiting and waiting[0][0] <= now:
            _, seq, job = heappop(waiting)
            self._enter(job, job.due + job.every + job.slack, seq, now)
        orders, alarms, normal, probes = ready
        if orders:
            return heappop(orders)[2]
        if probes and (alarms or normal) and self._first_at[Lane.PROBE] <= now:
            return self._yielding(Lane.PROBE, now)
        if alarms and not (normal and self._first_at[Lane.NORMAL] <= now):
            return heappop(alarms)[2]
        if normal:
            return self._yielding(Lane.NORMAL, now)
        if probes:
            return self._yielding(Lane.PROBE, now)
        return waiting[0][0] if waiting else inf

    def done(self, job: Job, now: float, pause: float | None = None) -> int:
        """The job has had its turn. The next one is due one period after this one was due, or after `pause`.

        If that has passed already it is due at once, behind all jobs that have waited longer, so on an overloaded line
        all are late by the same amount. Returns how many turns were skipped, that is, whole periods lost.
        """
        if job.gone or job.block is None:
            return 0
        skipped = 0
        job.slack = 0.0
        if pause is not None:
            job.due = now + pause
        else:
            job.due += job.every
            if job.due > now:
                job.lost = 0.0
            else:
                job.lost += now - job.due
                job.due = now
                skipped = int(job.lost // job.every)
                job.lost -= skipped * job.every
                self.overruns += skipped
        heappush(self._waiting, (job.due, job.seq, job))
        return skipped

    def again(self, job: Job) -> None:
        """The job gave way to a write before it was sent: it and its lane keep their turn."""
        self._running = None
        if not job.gone:
            heappush(self._waiting, (job.due, job.seq, job))

    def unanswered(self) -> None:
        """The request under way timed out: its lane waits the longest time for its next turn."""
        if self._running is not None:
            self._running = self._running[0], -inf

    def request(self, item: object, lane: Lane, now: float, *, due: float | None = None, within: float = 0.0) -> None:
        """Do something once, from `due` on (default: now), wanted `within` seconds."""
        job = Job(next(self._seq), None, item, lane, now if due is None else due, within)
        heappush(self._waiting, (job.due, job.seq, job))

    def take_requests(self) -> list[object]:
        """Remove and return all single requests that have not had their turn."""
        items = [entry[2].item for heap in (self._waiting, *self._ready) for entry in heap if entry[2].block is None]
        self._drop(lambda job: job.block is None)
        return items

    def blocks(self, device: str) -> Sequence[Block]:
        """The blocks that now read this device."""
        return self._blocks.get(device, ())

    def carrier(self, device: str, point: str) -> Block | None:
        """The block that reads this point."""
        return next((block for block in self.blocks(device) if point in block.points), None)

    def silence(self, device: str, now: float, wait: float) -> None:
        """Ask this device only one probe, `wait` seconds from now (later ones by `pause` of `done`)."""
        self._withdraw(device)
        self._probe(device, min(self._blocks[device], key=lambda block: block.wire), now + wait)

    def probe_next(self, job: Job, now: float, pause: float) -> None:
        """The probe had no answer: the next one reads another block of the device, after `pause` seconds."""
        if job.gone or job.block is None:
            return
        job.gone = True
        blocks = self._blocks[job.block.device]
        turn = (blocks.index(job.block) + 1) % len(blocks) if job.block in blocks else 0
        self._probe(job.block.device, blocks[turn], now + pause)

    def restore(self, device: str, now: float) -> None:
        """A silent device answered: all its blocks are due at once."""
        self._withdraw(device)
        quickest = self._quickest(device)
        for block in self._blocks[device]:
            self._add(block, now, self._every(block, quickest), now)

    def replace(self, block: Block, blocks: Sequence[Block], now: float) -> None:
        """Read these blocks, due at once, in place of one that was refused."""
        mine = self._blocks[block.device]
        where = mine.index(block)
        mine[where : where + 1] = blocks
        job = self._jobs.pop(block, None)
        if job is None:
            return
        job.gone = True
        self._drop(lambda other: other is job)
        for part in blocks:
            self._add(part, now, min(job.every, part.every), now)

    def renew(self, device: str, blocks: Sequence[Block], now: float) -> None:
        """Read the device by these blocks from now on, all due at once; it is not silent."""
        self._withdraw(device)
        self._blocks[device] = list(blocks)
        self.restore(device, now)

    def hasten(self, block: Block, now: float) -> None:
        """Make this block due at once."""
        job = self._jobs.get(block)
        if job is not None and job.due > now:
            self._move({job: now})

    def retry(self, block: Block, now: float) -> None:
        """Make this block due within 0.25 s, but behind all others of its lane that become due within one period."""
        job = self._jobs.get(block)
        if job is not None:
            soon = min(_RETRY_S, job.every)
            self._move({job: now + soon})
            job.slack = job.every - soon

    def postpone(self, device: str, now: float, pause: float) -> None:
        """Delay what is due of this device to its next turn, at most by `pause` seconds."""
        jobs = [job for block in self._blocks[device] if (job := self._jobs.get(block)) is not None]
        self._move({job: now + min(pause, job.every) for job in jobs if job.due <= now})

    def restart(self, now: float) -> None:
        """Make everything due at once, also silent devices; then spread the turns over their periods.

        First reads follow one another directly. Second reads come early, each by a different share of its period, as
        far as the line has room. Single requests stay.
        """
        self._running = None
        self._drop(lambda job: job.block is not None)
        for job in (*self._jobs.values(), *self._probes.values()):
            job.gone = True
        self._jobs.clear()
        self._probes.clear()
        blocks = [block for mine in self._blocks.values() for block in mine]
        quickest = {device: self._quickest(device) for device in self._blocks}
        room = max(0.0, 1.0 - 2.0 * sum((block.wire + _GUESSED_LATENCY_S) / block.every for block in blocks))
        for rank, block in enumerate(blocks):
            every = self._every(block, quickest[block.device])
            early = every * room * (1.0 - (rank + 1) / len(blocks))
            self._add(block, now - early, every, now)

    def _enter(self, job: Job, deadline: float, seq: int, now: float) -> None:
        """Enter the job into its lane."""
        lane = job.lane
        heap = self._ready[lane]
        if lane >= Lane.NORMAL and not heap:
            least = PROBE_WAIT_S if lane is Lane.PROBE else WAIT_LEAST_S
            self._first_at[lane] = max(self._first_at[lane], now + least)
        heappush(heap, (deadline, seq, job))

    def _yielding(self, lane: Lane, now: float) -> Job:
        """Begin a turn in a lane that others overtake."""
        self._running = lane, now
        return heappop(self._ready[lane])[2]

    def _ran(self, lane: Lane, began: float, now: float) -> None:
        self._running = None
        self._first_at[lane] = now + (PROBE_WAIT_S if lane is Lane.PROBE else patience(now - began))

    def _quickest(self, device: str) -> Block:
        return min(self._blocks[device], key=lambda block: block.every)

    def _every(self, block: Block, quickest: Block) -> float:
        return min(block.every, self._life) if block is quickest else block.every

    def _add(self, block: Block, due: float, every: float, now: float) -> None:
        """Add a block. Its first read is due now, so that every block is read once before any is read twice."""
        job = self._jobs[block] = Job(next(self._seq), block, None, block.lane, due, every)
        self._enter(job, now, job.seq, now)

    def _probe(self, device: str, block: Block, due: float) -> None:
        job = self._probes[device] = Job(next(self._seq), block, None, Lane.PROBE, due, 0.0)
        heappush(self._waiting, (due, job.seq, job))

    def _withdraw(self, device: str) -> None:
        gone = [job for block in self._blocks[device] if (job := self._jobs.pop(block, None))]
        if probe := self._probes.pop(device, None):
            gone.append(probe)
        for job in gone:
            job.gone = True
        self._drop(lambda job: job.gone)

    def _move(self, dues: Mapping[Job, float]) -> None:
        """Change due times; a job under way is in no heap and is not changed."""
        moved = [entry[2] for heap in (self._waiting, *self._ready) for entry in heap if entry[2] in dues]
        self._drop(lambda job: job in dues)
        for job in moved:
            job.due = dues[job]
            heappush(self._waiting, (job.due, job.seq, job))

    def _drop(self, unwanted: Callable[[Job], bool]) -> None:
        for heap in (self._waiting, *self._ready):
            heap[:] = [entry for entry in heap if not unwanted(entry[2])]
            heapify(heap)

"""The state of one device on a line: readings, misses, answer time. Pure."""

from collections.abc import Mapping, Sequence

from gateway.driver import Block, Timing
from gateway.field import timeouts
from gateway.field.readings import ReadingTable
from gateway.field.sight import PointSight
from gateway.field.status import DeviceStatus
from gateway.field.timeouts import AnswerTime, ProbeWait
from gateway.model import Instant, Lane, Reading

NARROW = (1, 2, 3)
"""Illegal function, address, value (MODBUS Application Protocol V1.1b3, 7): a smaller request may help."""
_BUSY = (5, 6)
"""Acknowledge (a long job is under way), busy."""
_STARTING_S = 60.0
"""For this long after its return a device may refuse because it is still starting."""
_BUSY_RETRY_S = 1.0
_REFUSED_RETRY_S = 5.0
_NO_ALARM_RETRY_S = 60.0
"""Seconds until a refused request is repeated: temporary refusal; permanent; block without an alarm point."""
_HASTE_S = 0.15
"""The longest wait of a write for the answer of another device that is silent or missed its last read."""
_CUTS_SILENT, _CUTS = 4, 1
"""This many consecutive waits may be cut short for writes. After that the next long probe of a silent device is not cut
(or a slow device would never be found), and a cut wait of another device counts as a miss (or its silence would be
reported too late)."""


class PolledDevice:
    """State of one device: its readings, its answer time, its misses."""

    __slots__ = (
        "answering", "barred", "blocks", "code", "cuts", "heard", "lone", "misses", "name", "overruns", "owed", "probe",
        "quiet_until", "refused", "requests", "returned", "settled", "sight", "silent", "since", "table", "time",
        "timeouts", "turn", "watched", "wire", "writes_slowly",
    )  # fmt: skip

    def __init__(
        self, name: str, blocks: Sequence[Block], timing: Timing, watched: frozenset[str], at: Instant
    ) -> None:
        self.name = name
        self.blocks = tuple(blocks)
        """The requests that read it, as the driver has planned them."""
        self.barred: dict[Block, int] = {}
        """Requests that it refuses and that cannot (or need not) be split, with the last exception of each."""
        self.code: int | None = None
        """Its last exception; None: its last miss had none."""
        self.returned = at.mono
        """When it was alive again; it may still be starting (monotonic seconds)."""
        self.turn = 0.0
        """When the last of its refused requests is repeated (monotonic seconds)."""
        self.table = ReadingTable(blocks, at)
        self.time = AnswerTime(timing)
        self.watched = watched
        self.sight = PointSight(_lanes(blocks), watched)
        self.wire = max((block.wire for block in blocks), default=0.0)
        self.probe = ProbeWait()
        self.since = at.mono
        """When it fell silent."""
        self.quiet_until = 0.0
        """Until then a silent device gets no single requests (monotonic seconds)."""
        self.silent = False
        self.answering: bool | None = None
        """The last report to the site; None: none yet."""
        self.heard = False
        """True if it has answered since the line was opened and has not fallen silent since."""
        self.misses = 0
        self.writes_slowly = False
        """It has proved much slower with writes than with reads."""
        self.cuts = 0
        """Consecutive waits for its answer that were cut short for a write."""
        self.lone: Block | None = None
        """The block of all present misses; None: several blocks."""
        self.owed: set[str] = set()
        """Points whose confirm read failed: the site gets their next reading even if unchanged."""
        self.settled = False
        """True once every block has answered or failed."""
        self.requests = self.timeouts = self.refused = self.overruns = 0

    def wait(self, block: Block) -> float:
        """Time-out of the next read of `block`, in seconds from the last byte sent.

        Every other probe of a silent device uses the short time-out of its last reads, because a write that arrives
        during a probe has to wait for it.
        """
        if self.silent:
            return (self.time.ceiling if self.probe.thorough else self.time.after(timeouts.MISSES - 1)) + block.wire
        if self.misses:
            return self.time.after(self.misses) + block.wire
        return self.time.timeout + block.wire

    def patience(self) -> float:
        """The longest time-out: for writes and reads by hand, in seconds from the last byte sent."""
        return self.time.ceiling + self.wire

    def reply(self, least: float) -> float:
        """How long to wait for the reply to a write before the point is read back, in seconds; `least` at least."""
        return self.patience() if self.writes_slowly else min(self.patience(), max(self.time.timeout, least))

    @property
    def haste(self) -> float | None:
        """How long a write to another device waits for this one's answer, in seconds from the last byte sent.

        None: wait for the device's full time-out. That holds for a device that answers, and at times for a silent one,
        so that a slow device is found again.
        """
        if (self.silent and self.tried) or not (self.silent or self.misses or not self.heard):
            return None
        return min(self.time.timeout, _HASTE_S)

    @property
    def tried(self) -> bool:
        """True if its waits may not be cut short any more."""
        return self.cuts >= (_CUTS_SILENT if self.silent else _CUTS)

    def waited_for(self) -> None:
        """Note a wait that was not cut short. Short probes of a silent device do not count."""
        if not self.silent or self.probe.thorough:
            self.cuts = 0

    def spare(self, began: float, now: float) -> None:
        """A single request since `began` had no answer: pause, to leave two thirds of the line to devices that answer.

        Needed because single requests go ahead of alarms and may be repeated endlessly for a silent device.
        """
        self.quiet_until = now + 2.0 * (now - began)

    def fall_silent(self, block: Block) -> float:
        """Set it silent after three misses, the last one of `block`; returns seconds until the first probe."""
        wait = self.probe.next(self.time.after(timeouts.MISSES - 1) + block.wire)
        self.silent = True
        self.heard = False
        self.owed.clear()
        return wait

    def pay(self, points: Sequence[str]) -> list[str]:
        """Remove from `owed` those of `points` that the site gets now."""
        found = [point for point in points if point in self.owed] if self.owed else []
        self.owed.difference_update(found)
        return found

    def miss(self, block: Block) -> bool:
        """Count a miss; True if the device is silent now."""
        self.lone = block if self.misses == 0 or self.lone is block else None
        self.misses += 1
        return self.misses >= timeouts.MISSES

    def witness(self, blocks: Sequence[Block]) -> Block | None:
        """Another block to read before the third miss counts, if all misses were of one block."""
        if self.lone is None or self.misses != timeouts.MISSES - 1:
            return None
        return next((block for block in blocks if block is not self.lone), None)

    def ask_again(self, block: Block, code: int, now: float) -> float | None:
        """Seconds until a refused request is repeated; None: at its own period.

        A device that is busy, or came back within the last minute, is asked for its alarm points every second, one
        request a second in turn. Later a refused alarm block is asked every 5 s, other blocks every minute.
        """
        starting = code in _BUSY or now - self.returned < _STARTING_S
        if not starting and code not in NARROW:
            return None
        self.barred[block] = code
        if self.watched.isdisjoint(block.points):
            return max(_BUSY_RETRY_S if starting else _NO_ALARM_RETRY_S, block.every)
        self.turn = max(now + (_BUSY_RETRY_S if starting else _REFUSED_RETRY_S), self.turn + _BUSY_RETRY_S)
        return self.turn - now

    @property
    def shows_life(self) -> bool:
        """Note that it answers or refuses; a converter may refuse in its place."""
        return not self.silent or self.code is not None

    def forget(self, now: float) -> None:
        """The line was opened or lost: misses count from zero."""
        self.returned = now
        self.turn = 0.0
        self.silent = False
        self.heard = False
        self.misses = 0
        self.owed.clear()

    def seen_by_site(self, changed: Mapping[str, Reading]) -> dict[str, Reading]:
        """The changed readings that the site needs."""
        watched = self.watched
        return {point: reading for point, reading in changed.items() if point in watched}

    def status(self) -> DeviceStatus:
        """The state for health."""
        return DeviceStatus(
            answering=False if self.silent else self.answering,
            misses=self.misses,
            requests=self.requests,
            timeouts=self.timeouts,
            refused=self.refused,
            overruns=self.overruns,
            answer_p50=self.time.p50,
            answer_p95=self.time.p95,
            timeout=self.time.timeout,
        )


def _lanes(blocks: Sequence[Block]) -> dict[str, Lane]:
    """The most urgent lane in which each point is read."""
    lanes: dict[str, Lane] = {}
    for block in blocks:
        lanes.update({point: min(block.lane, lanes.get(point, block.lane)) for point in block.points})
    return lanes

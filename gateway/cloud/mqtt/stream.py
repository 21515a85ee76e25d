"""One stream on its way to the broker: its order, and what becomes of rows that the broker refuses. Pure.

    OPEN ──refused──▶ HELD ──time is up, nothing in flight──▶ PROBING ──taken──▶ OPEN
                       ▲                                        │ refused: HELD again;
                       │                                        │ a row refused 3 times is passed over for the next
                       └────────────────────────────────────────┤ one, and if that is taken, offered once more:
                                                                ▼
                                                             JUDGING ──refused──▶ quarantined, go on

HELD stops this stream only, also over connections if the broker hangs up on its rows; else a new alarm, passage or
audit event shortens the wait. PROBING and JUDGING have one row in flight, beginning with the oldest; a row at which the
broker hung up 3 times is passed over without being sent.
"""

from collections.abc import Callable
from enum import Enum, auto

from gateway.cloud.outbox import Outbox, Row
from gateway.model import Stream

NO_LISTENER = 0x10
REFUSED = 0x80
NOT_AUTHORIZED = 0x87
TOPIC_INVALID = 0x90
FORMAT_INVALID = 0x99
HUNG_UP = 0x00
"""No code of the broker's: instead of refusing a row it ends the connection, each time."""

HASTY = frozenset((Stream.ALARM, Stream.ACCESS, Stream.AUDIT))
"""Streams that wait for nothing longer than they must."""

STOPPING = frozenset((NOT_AUTHORIZED, TOPIC_INVALID, FORMAT_INVALID))
"""Refusals that a person must mend."""
_TIMES = 3
_SUSPECTS = 8
_HANGS_UP = "the broker hung up at it 3 times, others were taken"


class _State(Enum):
    OPEN = auto()
    HELD = auto()
    PROBING = auto()
    JUDGING = auto()


class Retry:
    """A wait that doubles, with a part of chance; `chance` gives numbers in [0, 1)."""

    def __init__(self, chance: Callable[[], float], first: float, last: float) -> None:
        self._chance = chance
        self.first = first
        self._last = last
        self._next = first

    def wait(self, last: float | None = None) -> float:
        """The next wait in seconds: between half and the whole of a doubling limit."""
        limit = min(self._next, self._last if last is None else last)
        self._next = min(self._next * 2, self._last)
        return limit * (0.5 + 0.5 * self._chance())

    def reset(self) -> None:
        """It works again."""
        self._next = self.first


class Lane:
    """One stream. Times are monotonic seconds."""

    def __init__(
        self,
        outbox: Outbox,
        stream: Stream,
        topic: str,
        overhead: int,
        retry: Retry,
        *,
        quick: float,
        tell: Callable[[str, int | None], None],
    ) -> None:
        self.stream = stream
        self.topic = topic
        self.overhead = overhead
        """Bytes of a packet beside the payload."""
        self.dry = False
        """The outbox had nothing when it was last asked; cleared when it says otherwise."""
        self.in_flight = 0
        self.code: int | None = None
        """The reason code for which the stream stands still."""
        self.hangs_up = False
        """The broker ends the connection at its rows."""
        self._outbox = outbox
        self._retry = retry
        self._quick = quick
        self._tell = tell
        self._told: int | None = None
        self._state = _State.OPEN
        self._held_until = 0.0
        self._hurried_from = 0.0
        self._waiting = 0
        self._refused: dict[int, int] = {}
        self._suspects = 0
        self._suspected_upto = 0
        self._judge_upto = 0
        self._aside: set[int] = set()
        self._hung: dict[int, int] = {}
        """Rows at which the broker hung up, and how often."""
        self._never: set[int] = set()
        """Rows that were set aside for that: not sent again in this life."""

    @property
    def judging(self) -> bool:
        """A row that was passed over is sent once more: if it fails again it is set aside."""
        return self._state is _State.JUDGING

    def connected(self) -> None:
        """A new connection: nothing is in flight, begin with the oldest row (the caller rewinds the outbox)."""
        self.in_flight = 0
        self.dry = False
        self._suspects = 0
        if self._state is not _State.OPEN and not self.hangs_up:
            self._state = _State.PROBING

    def due(self) -> float | None:
        """When a held stream is tried again; None: it is not held."""
        return self._held_until if self._state is _State.HELD and self.in_flight == 0 else None

    def take(self, now: float) -> Row | None:
        """The next row to send, if one may be sent now."""
        if self._state is not _State.OPEN and not self._may_probe(now):
            return None
        while (row := self._outbox.take(self.stream)) is not None:
            if row.n in self._never:
                self._outbox.quarantine(row, _HANGS_UP)
            elif self._passes_over(row):
                self._suspects += 1
                self._suspected_upto = row.sequence
            else:
                break
        if row is None:
            self.dry = True
            waiting = self._outbox.waiting(self.stream)  # rows may be on their way from the disk
            if self._state is _State.PROBING and self._suspects >= waiting:
                self._hold(now) if waiting else self._reopen()
            elif self._state is _State.JUDGING and not waiting:
                self._reopen()
        elif self._state is _State.JUDGING and row.sequence > self._judge_upto:
            self._reopen()
        return row

    def _passes_over(self, row: Row) -> bool:
        """It was shown that the broker hangs up at this row, and another one can be tried."""
        return (
            self._state is _State.PROBING
            and self._hung.get(row.n, 0) >= _TIMES
            and self._suspects < min(_SUSPECTS, self._outbox.waiting(self.stream) - 1)
        )

    def too_large(self, row: Row, limit: int) -> None:
        """The row that was taken does not fit into a packet that the broker accepts."""
        self._outbox.quarantine(row, f"larger than the broker's limit of {limit} bytes a packet")

    def sent(self) -> None:
        """The row that was taken is on its way."""
        self.in_flight += 1

    def answered(self, row: Row, code: int, now: float) -> None:
        """The broker's PUBACK for the row."""
        self.in_flight -= 1
        if code < REFUSED:
            self._accepted(row)
        else:
            self._turned_down(row, code, now)

    def hung_up(self, now: float, row: Row | None, *, surely: bool) -> None:
        """The broker ended the connection at this row; `surely`: it was seen three times.

        Another row's being there shortens no wait.
        """
        self.in_flight = 0
        if row is not None:
            self._hung[row.n] = _TIMES if surely else self._hung.get(row.n, 0) + 1
            if self._state is _State.JUDGING:
                self._never.add(row.n)
                self._outbox.quarantine(row, _HANGS_UP)
                self._state, self.hangs_up = _State.PROBING, False
                return
        self._state = _State.HELD
        self.hangs_up = True
        if self.code is None:
            self.code = HUNG_UP
        self._held_until = self._hurried_from = now + self._retry.wait()
        self._waiting = self._outbox.waiting(self.stream)
        if self._told is None:
            self._told = self.code
            self._tell(self.stream, self.code)

    def _may_probe(self, now: float) -> bool:
        if self.in_flight:
            return False
        if self._state is _State.HELD:
            if now < self._held_until and not self._hurried(now):
                return False
            self._begin(_State.PROBING)
        return True

    def _hurried(self, now: float) -> bool:
        """Something that must not wait for the whole back-off has come since."""
        return self.stream in HASTY and now >= self._hurried_from and self._outbox.waiting(self.stream) > self._waiting

    def _begin(self, state: _State) -> None:
        self._state = state
        self._suspects = 0
        self.dry = False
        self._outbox.rewind(self.stream)

    def _accepted(self, row: Row) -> None:
        self._outbox.acknowledge(row)
        self._refused.pop(row.n, None)
        self._hung.pop(row.n, None)
        self._aside.discard(row.n)
        if self._state is not _State.PROBING:
            return
        if not self._suspects:
            self._reopen()
        elif row.sequence > self._suspected_upto:  # a row that was set aside before comes last, but is no later one
            self._judge_upto = row.sequence
            self._begin(_State.JUDGING)

    def _turned_down(self, row: Row, code: int, now: float) -> None:
        times = self._refused[row.n] = self._refused.get(row.n, 0) + 1
        if row.n in self._aside or self._state is _State.JUDGING:
            self._set_aside(row, times, code)
        elif self._state is _State.PROBING and times >= _TIMES and self._suspects < _SUSPECTS:
            self._suspects += 1
            self._suspected_upto = row.sequence
        elif self._state is not _State.HELD:
            self._hold(now, code)

    def _set_aside(self, row: Row, times: int, code: int) -> None:
        del self._refused[row.n]
        self._aside.add(row.n)
        self._outbox.quarantine(row, f"refused {times} times with code 0x{code:02x}, others were taken")

    def _hold(self, now: float, code: int | None = None) -> None:
        again = self._state is not _State.OPEN
        self._state = _State.HELD
        self.dry = False
        if code is not None:
            self.code = code
            # Told when it is refused a second time: a bad row that was set aside is offered once a connection.
            if again and code in STOPPING and code != self._told:
                self._told = code
                self._tell(self.stream, code)
        stopping = self.code in STOPPING
        self._held_until = now + self._retry.wait(None if stopping else self._quick)
        self._hurried_from = now + self._retry.first
        self._waiting = self._outbox.waiting(self.stream)

    def _reopen(self) -> None:
        self._state = _State.OPEN
        self._retry.reset()
        self._refused.clear()
        self._hung.clear()
        self.code = None
        self.hangs_up = False
        if self._told is not None:
            self._told = None
            self._tell(self.stream, None)

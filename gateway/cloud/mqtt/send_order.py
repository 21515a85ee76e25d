"""Decides what is sent to the broker next, and what its answers mean. Pure: no connection, no clock.

The order: `alarm.active` on a new connection, replies, status, alarms, `alarm.active` again after changes, health, the
other streams by priority, and last what is replayed. A part of the window is kept free for alarms, so that a live alarm
never waits for the acknowledgement of another stream. What is in flight is bounded by the measured speed of the link
(`pace`), so that on a slow link an alarm does not queue behind a minute's worth of other messages.
"""

from collections import deque
from enum import Enum, auto
from typing import NamedTuple

from gateway.backoff import BackOff, Draw
from gateway.cloud.mqtt.codec import FAILURE, NO_LISTENER, PACKET_TOO_LARGE, STOPPING
from gateway.cloud.mqtt.disconnect_cause import Blame, Suspect
from gateway.cloud.mqtt.pace import Pace, Stamp
from gateway.cloud.mqtt.retained import Slot
from gateway.cloud.mqtt.types import HUNG_UP, Limits, Observer, Replayed
from gateway.cloud.outbox import Outbox, Row
from gateway.model import Stream

REPLIES = 256
"""The most waiting replies; beyond it the oldest is dropped."""
REPLY_BYTES = 1 << 20
"""The most bytes of waiting replies."""

_MOST_REPLAYED = 4
"""The most replayed events in flight; one picture counts as this many."""
_MOST_REPLAYED_BYTES = 64 << 10
_EXTRA_BYTES = 16
"""Bytes of a replay's user property, or of the header of correlation data."""

_NO_LIMIT_BYTES = 268435455
_LATENCIES = 512
_ACTIVE_S = 5.0
"""`alarm.active` is cut to what the link carries in this time …"""
_ACTIVE_LEAST_BYTES = 4 << 10
"""… but not below this size."""
_ACTIVE_SHARE = 10.0
"""Repeats of it use at most one part in this many of the link."""
_HEALTH_S = 2.0
_HEALTH_LEAST_BYTES = 4 << 10
_PICTURE_S = 25.0
"""A picture that takes longer waits for a faster link, because a broker ends a connection on which no packet is
completed for one and a half times the keep-alive."""
_PICTURE_RETRY_S = 10.0
_ALARMS_FIRST = 16
"""If more alarm events wait than this, a fire is sent in `alarm.active` before them."""
_RATE_TOO_HIGH = 0x96
_LEAST_LIMIT_BYTES = 1 << 10
"""A broker that hangs up at a smaller packet does so for another reason than size."""
_HELD_S = 60.0
"""How long a retained message is held back after the broker hung up on it."""
_MOST_TRIES = 3
"""After this many refusals or hang-ups a row is set aside, if the broker takes others."""
_SUSPECTS = 8
_HANGS_UP = "the broker hung up at it 3 times, others were taken"


class _State(Enum):
    OPEN = auto()
    HELD = auto()
    PROBING = auto()
    JUDGING = auto()


HASTY = frozenset((Stream.ALARM, Stream.ACCESS, Stream.AUDIT))
"""Streams for which waits are cut short."""


class OutStream:
    """The sending state of one stream: order of its rows, and handling of rows that the broker refuses.

        OPEN ──refused──▶ HELD ──time is up, nothing in flight──▶ PROBING ──taken──▶ OPEN
                           ▲                                        │ refused: HELD again;
                           │                                        │ a row refused 3 times is passed over for the next
                           └────────────────────────────────────────┤ one, and if that is taken, offered once more:
                                                                    ▼
                                                                 JUDGING ──refused──▶ quarantined, go on

    HELD stops only this stream. It lasts over connections if the broker hangs up on its rows; otherwise a new alarm,
    passage or audit event shortens the wait. PROBING and JUDGING have one row in flight, beginning with the oldest; a
    row at which the broker hung up 3 times is skipped without being sent. Times are monotonic seconds.
    """

    def __init__(
        self,
        outbox: Outbox,
        stream: Stream,
        topic: str,
        overhead: int,
        retry: BackOff,
        *,
        quick: float,
        observer: Observer,
    ) -> None:
        self.stream = stream
        self.topic = topic
        self.overhead = overhead
        """Bytes of a packet in addition to the payload."""
        self.dry = False
        """The outbox was empty when last asked; cleared when it reports new rows."""
        self.in_flight = 0
        self.code: int | None = None
        """The reason code that stopped the stream."""
        self.hangs_up = False
        """The broker ends the connection at its rows."""
        self._outbox = outbox
        self._retry = retry
        self._quick = quick
        self._observer = observer
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
        """Rows that were set aside because of it: not sent again by this process."""

    @property
    def judging(self) -> bool:
        """True while a skipped row is sent once more; if it fails again it is set aside."""
        return self._state is _State.JUDGING

    def connected(self) -> None:
        """A new connection: nothing is in flight, start with the oldest row (the caller rewinds the outbox)."""
        self.in_flight = 0
        self.dry = False
        self._suspects = 0
        if self._state is not _State.OPEN and not self.hangs_up:
            self._state = _State.PROBING

    def woken(self) -> None:
        """The outbox may have more."""
        self.dry = False

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
            waiting = self._outbox.waiting(self.stream)  # rows may still be being read from disk
            if self._state is _State.PROBING and self._suspects >= waiting:
                self._hold(now) if waiting else self._reopen()
            elif self._state is _State.JUDGING and not waiting:
                self._reopen()
        elif self._state is _State.JUDGING and row.sequence > self._judge_upto:
            self._reopen()
        return row

    def _passes_over(self, row: Row) -> bool:
        """True if the broker has hung up at this row repeatedly and another row can be tried."""
        return (
            self._state is _State.PROBING
            and self._hung.get(row.n, 0) >= _MOST_TRIES
            and self._suspects < min(_SUSPECTS, self._outbox.waiting(self.stream) - 1)
        )

    def too_large(self, row: Row, limit: int) -> None:
        """The taken row does not fit into a packet that the broker accepts."""
        self._outbox.quarantine(row, f"larger than the broker's limit of {limit} bytes a packet")

    def sent(self) -> None:
        """The taken row has been sent."""
        self.in_flight += 1

    def answered(self, row: Row, code: int, now: float) -> None:
        """Take the broker's PUBACK for the row."""
        self.in_flight -= 1
        if code < FAILURE:
            self._accepted(row)
        else:
            self._turned_down(row, code, now)

    def hung_up(self, now: float, row: Row | None, *, surely: bool) -> None:
        """The broker ended the connection at this row; `surely`: that happened three times.

        Waiting rows do not shorten this wait.
        """
        self.in_flight = 0
        if row is not None:
            self._hung[row.n] = _MOST_TRIES if surely else self._hung.get(row.n, 0) + 1
            if self._state is _State.JUDGING:
                self._never.add(row.n)
                self._outbox.quarantine(row, _HANGS_UP)
                self._state, self.hangs_up = _State.PROBING, False
                return
        self._state = _State.HELD
        self.hangs_up = True
        if self.code is None:
            self.code = HUNG_UP
        self._held_until = self._hurried_from = now + self._retry.next()
        self._waiting = self._outbox.waiting(self.stream)
        if self._told is None:
            self._told = self.code
            self._observer.refused(self.stream, self.code)

    def _may_probe(self, now: float) -> bool:
        if self.in_flight:
            return False
        if self._state is _State.HELD:
            if now < self._held_until and not self._hurried(now):
                return False
            self._begin(_State.PROBING)
        return True

    def _hurried(self, now: float) -> bool:
        """True if a row has come since that should not wait for the whole back-off."""
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
        elif row.sequence > self._suspected_upto:  # a row that was set aside earlier comes last, but is not a later one
            self._judge_upto = row.sequence
            self._begin(_State.JUDGING)

    def _turned_down(self, row: Row, code: int, now: float) -> None:
        times = self._refused[row.n] = self._refused.get(row.n, 0) + 1
        if row.n in self._aside or self._state is _State.JUDGING:
            self._set_aside(row, times, code)
        elif self._state is _State.PROBING and times >= _MOST_TRIES and self._suspects < _SUSPECTS:
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
            # Reported at the second refusal only, because a bad row that was set aside is offered once per connection.
            if again and code in STOPPING and code != self._told:
                self._told = code
                self._observer.refused(self.stream, code)
        stopping = self.code in STOPPING
        self._held_until = now + self._retry.next(None if stopping else self._quick)
        self._hurried_from = now + self._retry.first_s
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
            self._observer.refused(self.stream, None)


class Message(NamedTuple):
    """One publish. Either `out` (with `row`) or `slot` is set, or neither for a reply or a replay."""

    topic: str
    payload: bytes
    retain: bool = False
    out: OutStream | None = None
    row: Row | None = None
    slot: Slot | None = None
    correlation: bytes | None = None
    again: bool = False


class Counts:
    """Counts since the start."""

    __slots__ = ("accepted", "no_listener", "refused", "replies_lost")

    def __init__(self) -> None:
        self.accepted = 0
        self.no_listener = 0
        self.refused = 0
        self.replies_lost = 0


class Sending:
    """Orders all publishes, over all connections. Times are monotonic seconds."""

    def __init__(
        self,
        outbox: Outbox,
        root: str,
        slots: tuple[Slot, Slot, Slot],
        *,
        limits: Limits,
        overhead: int,
        chance: Draw,
        observer: Observer,
        replayed: Replayed | None = None,
    ) -> None:
        """`overhead`: bytes of a packet beside topic and payload."""
        self.counts = Counts()
        self._overhead = overhead
        self.streams = tuple(
            OutStream(
                outbox,
                stream,
                f"{root}/{stream}",
                self._beside(f"{root}/{stream}"),
                _retry(chance, limits),
                quick=limits.retry_quick,
                observer=observer,
            )
            for stream in Stream
        )
        self.latencies: deque[float] = deque(maxlen=_LATENCIES)
        """The latest times from publish to PUBACK, in seconds."""
        self._outbox = outbox
        self._alarm, self._picture = self.streams[0], self.streams[-1]
        self.slots = slots
        self._active, self._status, self._health = slots
        self._slot_retries = {slot.topic: _retry(chance, limits) for slot in slots}
        self._observer = observer
        self._replayed = replayed
        self._replies: deque[Message] = deque()
        self._reply_bytes = 0
        self._root = root
        self._unheard: deque[Message] = deque()
        """Replays that were in flight when the connection was lost."""
        self._replaying = self._replaying_bytes = 0
        self._limits = limits
        self.pace = Pace(limits.rate)
        self._flight: dict[int, tuple[Message, Stamp]] = {}
        self._bytes = self._window = self._most = 0
        self._greeted = False
        """`alarm.active` was sent on this connection."""
        self._picture_not_before = float("-inf")
        self._blame = Blame()
        self._limit = _NO_LIMIT_BYTES
        self.found_limit: int | None = None
        """The largest packet that the broker takes, inferred from its hang-ups; bytes."""
        self._largest = 0
        """The largest packet that it has acknowledged."""
        self._draining = False

    @property
    def in_flight(self) -> int:
        """Publishes without a PUBACK."""
        return len(self._flight)

    def refused(self) -> dict[str, int]:
        """Streams and retained topics that the broker refuses -> reason code."""
        codes = {out.stream.value: out.code for out in self.streams} | {slot.name: slot.code for slot in self.slots}
        return {name: code for name, code in codes.items() if code is not None}

    def connected(
        self, receive_maximum: int, packet_limit: int | None, now: float = 0.0, speed: float | None = None
    ) -> None:
        """A new connection: everything unacknowledged is sent again. `speed`: of its CONNECT, bytes/s."""
        self._window = min(self._limits.window, receive_maximum)
        self._most = self._window - min(16, self._window // 4)
        self._limit = min(packet_limit or _NO_LIMIT_BYTES, self._limits.packet, self.found_limit or _NO_LIMIT_BYTES)
        self.pace.connected(self._most, now, speed)
        self._greeted = False
        self._draining = False
        self._outbox.rewind()
        for out in self.streams:
            out.connected()
        for slot in self.slots:
            slot.connected()

    def disconnected(
        self, now: float = 0.0, lived: float = 0.0, *, hung_up: bool = False, dead: bool = False, code: int = 0
    ) -> None:
        """Clear what was in flight: rows are in the outbox, replies and replays are sent again.

        `lived`: seconds that the connection lasted; `hung_up`: the broker, or something between, ended it; `dead`: it
        was found dead; `code`: the broker's reason code.
        """
        flight = [message for message, _ in self._flight.values()]
        if flight and (dead or code == _RATE_TOO_HIGH):
            self.pace.died(now, lived)
        if code == PACKET_TOO_LARGE:
            self._find_limit(max(map(self._size, flight), default=0))
        hung_up = hung_up and code not in (PACKET_TOO_LARGE, _RATE_TOO_HIGH)
        guilty = self._blame.ended({_suspect(message) for message in flight}, lived, hung_up=hung_up)
        for out in self.streams:
            surely = guilty is not None and guilty.topic == out.topic
            if surely or (out.hangs_up and out.in_flight):
                self._hung_up(out, flight, now, guilty if surely else None)
        for slot in self.slots:
            if guilty is not None and slot.topic == guilty.topic and slot.hung_up(now, _HELD_S):
                self._observer.refused(slot.name, slot.code)
        for out in self.streams:
            self._outbox.rewind(out.stream)  # new rows wait, because their time may be corrected before they are sent
        for message in reversed(flight):
            if guilty is None or message.topic != guilty.topic:
                self._put_back(message)
            elif message.out is None and message.slot is None and not message.again:
                self.counts.replies_lost += 1
        self._replaying = self._replaying_bytes = self._bytes = self._window = 0
        self._flight.clear()

    def _hung_up(self, out: OutStream, flight: list[Message], now: float, guilty: Suspect | None) -> None:
        rows = [message.row for message in flight if message.out is out]
        row = next((row for row in rows if row is not None and (guilty is None or row.n == guilty.n)), None)
        if row is not None and out.judging:
            self._find_limit(out.overhead + len(row.message()))
        out.hung_up(now, row, surely=guilty is not None)

    def _find_limit(self, size: int) -> None:
        """The broker hung up at a packet of this size: if it never took a larger one, infer its limit."""
        if size > max(self._largest, _LEAST_LIMIT_BYTES):
            self.found_limit = min(size - 1, self.found_limit or _NO_LIMIT_BYTES)

    def drain(self) -> None:
        """Send nothing new on this connection."""
        self._draining = True

    def parting(self, slot: Slot) -> Message | None:
        """What is left to send of the slot at the goodbye, ignoring its interval."""
        payload = slot.take(float("inf"), self._limit - self._beside(slot.topic))
        return None if payload is None else Message(slot.topic, payload, retain=True, slot=slot)

    def woken(self) -> None:
        """The outbox may have more."""
        for out in self.streams:
            out.woken()

    def reply(self, topic: str, payload: bytes, correlation: bytes | None = None) -> None:
        """Send a reply; if more than REPLIES or REPLY_BYTES wait, the oldest is dropped and counted."""
        while self._replies and (len(self._replies) >= REPLIES or self._reply_bytes + len(payload) > REPLY_BYTES):
            self._next_reply()
            self.counts.replies_lost += 1
        self._replies.append(Message(topic, payload, correlation=correlation))
        self._reply_bytes += len(payload)

    def take(self, now: float) -> Message | None:
        """What to send now; the caller must send it and call `sent`, or else `unsent`."""
        if len(self._flight) >= self._window or self._draining or now < self.pace.next_at(alarm=True):
            return None
        if self._blame.careful and self._flight and not self._blame.calm(now):
            return None
        active = self._active
        first = not self._greeted or (active.urgent and self._outbox.waiting(Stream.ALARM) > _ALARMS_FIRST)
        if first and (message := self._take_active(now)):
            return message
        while self._replies:
            message = self._next_reply()
            if self._size(message) <= self._limit:
                return message
            self.counts.replies_lost += 1
        return (
            self._take_slot(self._status, now, self._limit)
            or self._take_row(self._alarm, now)
            or self._take_active(now)
            or self._take_health(now)
            or self._take_rows(now)
            or self._take_again(now)
        )

    def unsent(self, message: Message) -> None:
        """The connection ended before the message could be sent."""
        self._put_back(message)

    def sent(self, mid: int, message: Message, now: float) -> None:
        """The message was sent under this message id."""
        self._flight[mid] = (message, self.pace.sent(now))
        self._bytes += len(message.payload)
        if message.out is not None:
            message.out.sent()
        if message.again:
            self._replaying += 1
            self._replaying_bytes += len(message.payload)

    def answered(self, mid: int, code: int, now: float) -> None:
        """The broker's PUBACK."""
        entry = self._flight.pop(mid, None)
        if entry is None:
            return
        message, stamp = entry
        self._bytes -= len(message.payload)
        self.latencies.append(now - stamp.at)
        self.pace.answered(stamp, self._size(message), now)
        self._blame.answered(_suspect(message), refused=code >= FAILURE)
        if code < FAILURE:
            self.counts.accepted += 1
            self._largest = max(self._largest, self._size(message))
        else:
            self.counts.refused += 1
        if message.out is not None and message.row is not None:
            message.out.answered(message.row, code, now)
            if code == NO_LISTENER:
                self.counts.no_listener += 1
                self._observer.unheard(message.row)
            elif code < FAILURE:
                self._observer.heard(message.row)
        elif message.slot is not None:
            if message.slot.answered(code, now, self._slot_retries[message.topic]):
                self._observer.refused(message.slot.name, message.slot.code)
        elif message.again:
            self._replaying -= 1
            self._replaying_bytes -= len(message.payload)
        elif code >= FAILURE:
            self.counts.replies_lost += 1

    def due(self, now: float) -> float | None:
        """When `take` may return something, or the link may be found dead, without another event."""
        times = [slot.due() for slot in self.slots]
        times += [out.due() for out in self.streams]
        times += [self.dead_at(), self.pace.next_at(alarm=True), self.pace.next_at(alarm=False)]
        return min((time for time in times if time is not None and time > now), default=None)

    def dead_at(self) -> float | None:
        """When the link counts as dead unless the oldest publish is answered first."""
        for message, stamp in self._flight.values():
            return self.pace.dead_at(stamp, len(message.payload), self._limits.answer)
        return None

    def _take_slot(self, slot: Slot, now: float, limit: int, spacing: float = 0.0) -> Message | None:
        if not slot.pending:
            return None
        spacing_per_byte = spacing * self.pace.cost(1)
        payload = slot.take(now, min(limit, self._limit - self._beside(slot.topic)), spacing_per_byte)
        return None if payload is None else Message(slot.topic, payload, retain=True, slot=slot)

    def _take_active(self, now: float) -> Message | None:
        """Take `alarm.active`, cut to what the link carries; it is sent complete when the link turns out faster."""
        limit = max(self.pace.within(_ACTIVE_S), _ACTIVE_LEAST_BYTES)
        self._active.grow(min(limit, self._limit))
        message = self._take_slot(self._active, now, limit, _ACTIVE_SHARE)
        self._greeted = self._greeted or message is not None
        return message

    def _take_health(self, now: float) -> Message | None:
        if not self._may_share(now) or self._outbox.waiting(Stream.ALARM):
            return None
        return self._take_slot(self._health, now, max(self.pace.within(_HEALTH_S), _HEALTH_LEAST_BYTES), _ACTIVE_SHARE)

    def _may_share(self, now: float) -> bool:
        """True if there is room for something other than an alarm."""
        return (
            len(self._flight) < min(self._most, self.pace.window)
            and self._bytes < self.pace.room
            and now >= self.pace.next_at(alarm=False)
        )

    def _take_rows(self, now: float) -> Message | None:
        for out in self.streams[1:]:
            if not self._may_share(now):
                return None
            if out is self._picture and not self._may_take_picture(now):
                continue
            if message := self._take_row(out, now):
                return message
        return None

    def _take_row(self, out: OutStream, now: float) -> Message | None:
        while not out.dry and (row := out.take(now)):
            payload = row.message()
            if out.overhead + len(payload) > self._limit:
                out.too_large(row, self._limit)
            elif out is self._picture and self.pace.cost(len(payload)) > _PICTURE_S:
                self._picture_not_before = now + _PICTURE_RETRY_S
                self._outbox.rewind(out.stream)
                return None
            else:
                return Message(out.topic, payload, out=out, row=row)
        return None

    def _may_take_picture(self, now: float) -> bool:
        return not (self._picture.in_flight or self._outbox.waiting(Stream.ALARM) or now < self._picture_not_before)

    def _take_again(self, now: float) -> Message | None:
        """Take a replayed event: after everything else, and few at a time, so that a live alarm does not wait."""
        if not self._may_share(now) or self._outbox.waiting(Stream.ALARM):
            return None
        while self._replaying < _MOST_REPLAYED and self._replaying_bytes < _MOST_REPLAYED_BYTES:
            if self._unheard:
                return self._unheard.popleft()
            event = None if self._replayed is None else self._replayed.take()
            if event is None:
                return None
            message = Message(f"{self._root}/{event.stream}", event.payload, again=True)
            if self._size(message) <= self._limit:
                return message
        return None

    def _next_reply(self) -> Message:
        message = self._replies.popleft()
        self._reply_bytes -= len(message.payload)
        return message

    def _put_back(self, message: Message) -> None:
        if message.again:
            self._unheard.appendleft(message)
        elif message.out is None and message.slot is None:
            self._replies.appendleft(message)
            self._reply_bytes += len(message.payload)

    def _beside(self, topic: str) -> int:
        """Bytes of a packet beside its payload."""
        return self._overhead + len(topic.encode())

    def _size(self, message: Message) -> int:
        extra = _EXTRA_BYTES if message.again or message.correlation is not None else 0
        return self._beside(message.topic) + extra + len(message.correlation or b"") + len(message.payload)


def _suspect(message: Message) -> Suspect:
    return Suspect(message.topic, None if message.row is None else message.row.n)


def _retry(chance: Draw, limits: Limits) -> BackOff:
    return BackOff(limits.retry_first, limits.retry_last, chance, sure=0.5)

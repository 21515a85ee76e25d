"""What goes to the broker next, and what its answers mean. Pure: no connection, no clock.

In this order: `alarm.active`, replies, the other retained messages, then the streams by priority, last of all
what is replayed. A part of
the window is kept free for alarms, so that a live alarm never waits for the acknowledgement of another
stream. The bytes in flight are bounded too, and grow only while answers come quickly: on a thin link an
alarm does not stand behind what was sent a minute's worth ahead.
"""

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from gateway.cloud.blame import Blame, Suspect
from gateway.cloud.lane import NO_LISTENER, REFUSED, Lane, Retry
from gateway.cloud.mqtt import PACKET_TOO_LARGE
from gateway.cloud.outbox import Outbox, Row
from gateway.cloud.retained import Slot
from gateway.model import Stream

REPLIES = 256
"""Replies that are kept; the oldest gives way."""
REPLY_BYTES = 1 << 20
"""Bytes of them."""

_AGAIN = 4
"""Replayed events in flight; of pictures one is as much."""
_AGAIN_BYTES = 64 << 10
_EXTRA = 16
"""Bytes that the user property of a replay takes, or correlation data beside itself."""

_NO_LIMIT = 268435455
_ROOM_FIRST = 16 << 10
_ROOM_LEAST = 8 << 10
_ROOM_MOST = 256 << 10
_QUICK_ANSWER = 0.5
_SLOW_ANSWER = 4.0
_BYTES_PER_SECOND = 8 << 10
_LATENCIES = 512
_LEAST_LIMIT = 1 << 10
"""A broker that hangs up at less than so many bytes has another reason."""
_HELD_S = 60.0
"""Seconds that a retained message is held back on which the broker hangs up."""


class Message(NamedTuple):
    """One publish. Exactly one of `lane` (with `row`) and `slot` is set, or none for a reply or a replay."""

    topic: str
    payload: bytes
    retain: bool = False
    lane: Lane | None = None
    row: Row | None = None
    slot: Slot | None = None
    correlation: bytes | None = None
    again: bool = False


class Again(NamedTuple):
    """An event that is sent again because somebody asked for it, with the bytes that it always had."""

    stream: Stream
    payload: bytes


class Limits(NamedTuple):
    """How much may be under way, and how long is waited for it (seconds)."""

    packet: int = 256 << 10
    """Bytes of the largest packet that is sent; the broker's Maximum Packet Size, if that is less."""
    rate: float | None = None
    """Messages a second that are sent at most; None: no limit."""
    window: int = 64
    """Publishes without an answer; the broker's Receive Maximum, if that is less."""
    answer: float = 9.0
    """For a PUBACK, plus 1 s for each 8 KiB in flight; then the link is dead (looked at once a second)."""
    retry_first: float = 0.5
    """After a refused publish; doubles …"""
    retry_quick: float = 10.0
    """… up to this, if the broker may take it soon (0x80, 0x83, 0x97), …"""
    retry_last: float = 60.0
    """… or up to this, if a person must mend something (0x87, 0x90, 0x99)."""


class Counts:
    """What was counted since the start."""

    __slots__ = ("accepted", "no_listener", "refused", "replies_lost")

    def __init__(self) -> None:
        self.accepted = 0
        self.no_listener = 0
        self.refused = 0
        self.replies_lost = 0


class Sending:
    """The order of all publishes over one connection after the other. Times are monotonic seconds."""

    def __init__(
        self,
        outbox: Outbox,
        root: str,
        slots: tuple[Slot, ...],
        *,
        limits: Limits,
        overhead: Callable[[str], int],
        chance: Callable[[], float],
        tell_refused: Callable[[str, int | None], None],
        tell_unheard: Callable[[Row], None],
    ) -> None:
        self.counts = Counts()
        self.tell_heard: Callable[[Row], None] = lambda _row: None
        """Told of each row that the broker took without saying that nobody is subscribed."""
        self.lanes = tuple(
            Lane(
                outbox,
                stream,
                f"{root}/{stream}",
                overhead(f"{root}/{stream}"),
                Retry(chance, limits.retry_first, limits.retry_last),
                quick=limits.retry_quick,
                tell=tell_refused,
            )
            for stream in Stream
        )
        self.latencies: deque[float] = deque(maxlen=_LATENCIES)
        """Seconds from publish to PUBACK, the last ones."""
        self._outbox = outbox
        self._alarm, self._picture = self.lanes[0], self.lanes[-1]
        self.slots = slots
        self._first_slot, self._slots = slots[0], slots[1:]
        self._slot_retries = {slot.topic: Retry(chance, limits.retry_first, limits.retry_last) for slot in slots}
        self._tell_refused = tell_refused
        self._replies: deque[Message] = deque()
        self._reply_bytes = 0
        self._root = root
        self.source: Callable[[], Again | None] = lambda: None
        """Gives what is replayed."""
        self._unheard: deque[Message] = deque()
        """Replays that were in flight when the connection was lost."""
        self._replaying = 0
        self._replaying_bytes = 0
        self._limits = limits
        self._overhead = overhead
        self._tell_unheard = tell_unheard
        self._flight: dict[int, tuple[Message, float]] = {}
        self._bytes = 0
        self._room = _ROOM_FIRST
        self._window = 0
        self._shared = 0
        self._blame = Blame()
        self._limit = _NO_LIMIT
        self.found_limit: int | None = None
        """The largest packet that the broker takes, as far as it was found out by its hanging up; bytes."""
        self._largest = 0
        """The largest packet that it has taken."""
        self._draining = False

    @property
    def in_flight(self) -> int:
        """Publishes without an answer."""
        return len(self._flight)

    def refused(self) -> dict[str, int]:
        """What the broker does not take, with its reason code: streams and retained topics."""
        codes = {lane.stream.value: lane.code for lane in self.lanes} | {slot.name: slot.code for slot in self.slots}
        return {name: code for name, code in codes.items() if code is not None}

    def connected(self, receive_maximum: int, packet_limit: int | None) -> None:
        """A new connection: everything that was not acknowledged goes again."""
        self._window = min(self._limits.window, receive_maximum)
        self._shared = self._window - min(16, self._window // 4)
        self._limit = min(packet_limit or _NO_LIMIT, self._limits.packet, self.found_limit or _NO_LIMIT)
        self._room = _ROOM_FIRST
        self._draining = False
        self._outbox.rewind()
        for lane in self.lanes:
            lane.connected()
        for slot in self.slots:
            slot.connected()

    def disconnected(self, now: float = 0.0, lived: float = 0.0, *, hung_up: bool = False, code: int = 0) -> None:
        """Forget what was in flight: rows are in the outbox, replies and replays go again.

        `lived`: seconds that the connection lasted; `hung_up`: the broker, or something between, has ended it; `code`:
        the reason that it gave.
        """
        flight = [message for message, _ in self._flight.values()]
        if code == PACKET_TOO_LARGE:
            self._find_limit(max(map(self._size, flight), default=0))
            hung_up = False
        guilty = self._blame.ended({_suspect(message) for message in flight}, lived, hung_up=hung_up)
        for lane in self.lanes:
            surely = guilty is not None and guilty.topic == lane.topic
            if surely or (lane.hangs_up and lane.in_flight):
                self._hung_up(lane, flight, now, guilty if surely else None)
        for slot in self.slots:
            if guilty is not None and slot.topic == guilty.topic and slot.hung_up(now, _HELD_S):
                self._tell_refused(slot.name, slot.code)
        for lane in self.lanes:
            self._outbox.rewind(lane.stream)  # what comes now waits: its time may be corrected before it is sent
        for message in reversed(flight):
            if guilty is None or message.topic != guilty.topic:
                self._put_back(message)
            elif message.lane is None and message.slot is None and not message.again:
                self.counts.replies_lost += 1
        self._replaying = self._replaying_bytes = 0
        self._flight.clear()
        self._bytes = 0
        self._window = 0

    def _hung_up(self, lane: Lane, flight: list[Message], now: float, guilty: Suspect | None) -> None:
        rows = [message.row for message in flight if message.lane is lane]
        row = next((row for row in rows if row is not None and (guilty is None or row.n == guilty.n)), None)
        if row is not None and lane.judging:
            self._find_limit(lane.overhead + len(row.message()))
        lane.hung_up(now, row, surely=guilty is not None)

    def _find_limit(self, size: int) -> None:
        """The broker hung up at a packet of this size: if it never took a larger one, that is why."""
        if size > max(self._largest, _LEAST_LIMIT):
            self.found_limit = min(size - 1, self.found_limit or _NO_LIMIT)

    def drain(self) -> None:
        """Send nothing new on this connection."""
        self._draining = True

    def parting(self, slot: Slot) -> Message | None:
        """What is still to be sent of the slot, whenever it was sent last."""
        payload = slot.take(float("inf"), self._limit - self._overhead(slot.topic))
        return None if payload is None else Message(slot.topic, payload, retain=True, slot=slot)

    def woken(self) -> None:
        """The outbox may have more."""
        for lane in self.lanes:
            lane.dry = False

    def reply(self, topic: str, payload: bytes, correlation: bytes | None = None) -> None:
        """Send a reply; over REPLIES or REPLY_BYTES waiting the oldest is lost and counted."""
        while self._replies and (len(self._replies) >= REPLIES or self._reply_bytes + len(payload) > REPLY_BYTES):
            self._next_reply()
            self.counts.replies_lost += 1
        self._replies.append(Message(topic, payload, correlation=correlation))
        self._reply_bytes += len(payload)

    def take(self, now: float) -> Message | None:
        """What to send now; it must be sent, and said so with `sent`."""
        if len(self._flight) >= self._window or self._draining:
            return None
        if self._blame.careful and self._flight and not self._blame.calm(now):
            return None
        if message := self._take_slot(self._first_slot, now):
            return message
        while self._replies:
            message = self._next_reply()
            if self._size(message) <= self._limit:
                return message
            self.counts.replies_lost += 1
        for slot in self._slots:
            if message := self._take_slot(slot, now):
                return message
        return self._take_row(now) or self._take_again()

    def unsent(self, message: Message) -> None:
        """The connection was gone before the message could leave."""
        self._put_back(message)

    def sent(self, mid: int, message: Message, now: float) -> None:
        """The message left under this message id."""
        self._flight[mid] = (message, now)
        self._bytes += len(message.payload)
        if message.lane is not None:
            message.lane.sent()
        if message.again:
            self._replaying += 1
            self._replaying_bytes += len(message.payload)

    def answered(self, mid: int, code: int, now: float) -> None:
        """The broker's PUBACK."""
        entry = self._flight.pop(mid, None)
        if entry is None:
            return
        message, since = entry
        self._bytes -= len(message.payload)
        self._measure(now - since, len(message.payload))
        self._blame.answered(_suspect(message), refused=code >= REFUSED)
        if code < REFUSED:
            self.counts.accepted += 1
            self._largest = max(self._largest, self._size(message))
        else:
            self.counts.refused += 1
        if message.lane is not None and message.row is not None:
            message.lane.answered(message.row, code, now)
            if code == NO_LISTENER:
                self.counts.no_listener += 1
                self._tell_unheard(message.row)
            elif code < REFUSED:
                self.tell_heard(message.row)
        elif message.slot is not None:
            if message.slot.answered(code, now, self._slot_retries[message.topic]):
                self._tell_refused(message.slot.name, message.slot.code)
        elif message.again:
            self._replaying -= 1
            self._replaying_bytes -= len(message.payload)
        elif code >= REFUSED:
            self.counts.replies_lost += 1

    def due(self, now: float) -> float | None:
        """When `take` may give something, or the link be found dead, without anything else happening."""
        times = [slot.due() for slot in self.slots]
        times += [lane.due() for lane in self.lanes]
        times.append(self.dead_at())
        return min((time for time in times if time is not None and time > now), default=None)

    def dead_at(self) -> float | None:
        """When the link counts as dead unless the oldest publish is answered before."""
        for _, since in self._flight.values():
            return since + self._limits.answer + self._bytes / _BYTES_PER_SECOND
        return None

    def _take_slot(self, slot: Slot, now: float) -> Message | None:
        if not slot.pending:
            return None
        payload = slot.take(now, self._limit - self._overhead(slot.topic))
        return None if payload is None else Message(slot.topic, payload, retain=True, slot=slot)

    def _take_row(self, now: float) -> Message | None:
        for lane in self.lanes:
            if lane is not self._alarm and (len(self._flight) >= self._shared or self._bytes >= self._room):
                return None
            if lane.dry or (lane is self._picture and (lane.in_flight or self._outbox.waiting(Stream.ALARM))):
                continue
            while row := lane.take(now):
                payload = row.message()
                if lane.overhead + len(payload) <= self._limit:
                    return Message(lane.topic, payload, lane=lane, row=row)
                lane.too_large(row, self._limit)
        return None

    def _take_again(self) -> Message | None:
        """What is replayed waits for all else, and is little at a time: a live alarm finds the way free."""
        if len(self._flight) >= self._shared or self._bytes >= self._room or self._outbox.waiting(Stream.ALARM):
            return None
        while self._replaying < _AGAIN and self._replaying_bytes < _AGAIN_BYTES:
            if self._unheard:
                return self._unheard.popleft()
            event = self.source()
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
        elif message.lane is None and message.slot is None:
            self._replies.appendleft(message)
            self._reply_bytes += len(message.payload)

    def _size(self, message: Message) -> int:
        extra = _EXTRA if message.again or message.correlation is not None else 0
        return self._overhead(message.topic) + extra + len(message.correlation or b"") + len(message.payload)

    def _measure(self, latency: float, size: int) -> None:
        self.latencies.append(latency)
        if latency < _QUICK_ANSWER:
            self._room = min(self._room + size, _ROOM_MOST)
        elif latency > _SLOW_ANSWER:
            self._room = max(self._room - size, _ROOM_LEAST)


def _suspect(message: Message) -> Suspect:
    return Suspect(message.topic, None if message.row is None else message.row.n)

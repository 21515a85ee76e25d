"""What goes to the broker next, and what its answers mean. Pure: no connection, no clock.

In this order: `alarm.active` on a new connection, replies, the status, alarms, `alarm.active` again when something has
changed, the health, the other streams by priority, last of all what is replayed. A part of the window is kept free for
alarms, so that a live alarm never waits for the acknowledgement of another stream. How much is under way is bounded by
what the link has carried so far (`pace`): on a thin link an alarm does not stand behind a minute's worth of others.
"""

from collections import deque
from collections.abc import Callable

from gateway.cloud.mqtt.codec import PACKET_TOO_LARGE
from gateway.cloud.mqtt.disconnect_cause import Blame, Suspect
from gateway.cloud.mqtt.message import Again, Counts, Limits, Message
from gateway.cloud.mqtt.pace import Pace, Stamp
from gateway.cloud.mqtt.retained import Slot
from gateway.cloud.mqtt.stream import NO_LISTENER, REFUSED, Lane, Retry
from gateway.cloud.outbox import Outbox, Row
from gateway.model import Stream

__all__ = ["Again", "Limits", "Message", "Sending"]

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
_LATENCIES = 512
_ACTIVE_S = 5.0
"""`alarm.active` is cut to what the link carries in so long …"""
_ACTIVE_LEAST = 4 << 10
"""… but not below so many bytes."""
_ACTIVE_SHARE = 10.0
"""Repeats of it take at most this part of the link."""
_HEALTH_S = 2.0
_HEALTH_LEAST = 4 << 10
_PICTURE_S = 25.0
"""A picture that takes longer waits for a faster link: a broker ends a connection on which no packet is completed for
one and a half times the keep-alive."""
_PICTURE_AGAIN_S = 10.0
_ALARMS_FIRST = 16
"""With more alarm events waiting than this, a fire goes in `alarm.active` before them."""
_RATE_TOO_HIGH = 0x96
_LEAST_LIMIT = 1 << 10
"""A broker that hangs up at less than so many bytes has another reason."""
_HELD_S = 60.0
"""Seconds that a retained message is held back on which the broker hangs up."""


class Sending:
    """The order of all publishes over one connection after the other. Times are monotonic seconds."""

    def __init__(
        self,
        outbox: Outbox,
        root: str,
        slots: tuple[Slot, Slot, Slot],
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
        self._active, self._status, self._health = slots
        self._slot_retries = {slot.topic: Retry(chance, limits.retry_first, limits.retry_last) for slot in slots}
        self._tell_refused = tell_refused
        self._replies: deque[Message] = deque()
        self._reply_bytes = 0
        self._root = root
        self.source: Callable[[], Again | None] = lambda: None
        """Gives what is replayed."""
        self._unheard: deque[Message] = deque()
        """Replays that were in flight when the connection was lost."""
        self._replaying = self._replaying_bytes = 0
        self._limits = limits
        self._overhead = overhead
        self._tell_unheard = tell_unheard
        self.pace = Pace(limits.rate)
        self._flight: dict[int, tuple[Message, Stamp]] = {}
        self._bytes = self._window = self._most = 0
        self._greeted = False
        """`alarm.active` was sent on this connection."""
        self._picture_not_before = float("-inf")
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

    def connected(
        self, receive_maximum: int, packet_limit: int | None, now: float = 0.0, speed: float | None = None
    ) -> None:
        """A new connection: everything that was not acknowledged goes again. `speed`: of its greeting, bytes/s."""
        self._window = min(self._limits.window, receive_maximum)
        self._most = self._window - min(16, self._window // 4)
        self._limit = min(packet_limit or _NO_LIMIT, self._limits.packet, self.found_limit or _NO_LIMIT)
        self.pace.connected(self._most, now, speed)
        self._greeted = False
        self._draining = False
        self._outbox.rewind()
        for lane in self.lanes:
            lane.connected()
        for slot in self.slots:
            slot.connected()

    def disconnected(
        self, now: float = 0.0, lived: float = 0.0, *, hung_up: bool = False, dead: bool = False, code: int = 0
    ) -> None:
        """Forget what was in flight: rows are in the outbox, replies and replays go again.

        `lived`: seconds that the connection lasted; `hung_up`: the broker, or something between, has ended it; `dead`:
        it was found dead; `code`: the reason that the broker gave.
        """
        flight = [message for message, _ in self._flight.values()]
        if flight and (dead or code == _RATE_TOO_HIGH):
            self.pace.died(now, lived)
        if code == PACKET_TOO_LARGE:
            self._find_limit(max(map(self._size, flight), default=0))
        hung_up = hung_up and code not in (PACKET_TOO_LARGE, _RATE_TOO_HIGH)
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
        self._replaying = self._replaying_bytes = self._bytes = self._window = 0
        self._flight.clear()

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
        """The connection was gone before the message could leave."""
        self._put_back(message)

    def sent(self, mid: int, message: Message, now: float) -> None:
        """The message left under this message id."""
        self._flight[mid] = (message, self.pace.sent(now))
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
        message, stamp = entry
        self._bytes -= len(message.payload)
        self.latencies.append(now - stamp.at)
        self.pace.answered(stamp, self._size(message), now)
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
        times += [self.dead_at(), self.pace.next_at(alarm=True), self.pace.next_at(alarm=False)]
        return min((time for time in times if time is not None and time > now), default=None)

    def dead_at(self) -> float | None:
        """When the link counts as dead unless the oldest publish is answered before."""
        for message, stamp in self._flight.values():
            return self.pace.dead_at(stamp, len(message.payload), self._limits.answer)
        return None

    def _take_slot(self, slot: Slot, now: float, limit: int, spacing: float = 0.0) -> Message | None:
        if not slot.pending:
            return None
        payload = slot.take(now, min(limit, self._limit - self._overhead(slot.topic)), self.pace.cost, spacing)
        return None if payload is None else Message(slot.topic, payload, retain=True, slot=slot)

    def _take_active(self, now: float) -> Message | None:
        """What stands; cut to what the link carries, and made whole when it turns out to carry more."""
        limit = max(self.pace.within(_ACTIVE_S), _ACTIVE_LEAST)
        self._active.grow(min(limit, self._limit))
        message = self._take_slot(self._active, now, limit, _ACTIVE_SHARE)
        self._greeted = self._greeted or message is not None
        return message

    def _take_health(self, now: float) -> Message | None:
        if not self._may_share(now) or self._outbox.waiting(Stream.ALARM):
            return None
        return self._take_slot(self._health, now, max(self.pace.within(_HEALTH_S), _HEALTH_LEAST), _ACTIVE_SHARE)

    def _may_share(self, now: float) -> bool:
        """There is room for something that is no alarm."""
        return (
            len(self._flight) < min(self._most, self.pace.window)
            and self._bytes < self.pace.room
            and now >= self.pace.next_at(alarm=False)
        )

    def _take_rows(self, now: float) -> Message | None:
        for lane in self.lanes[1:]:
            if not self._may_share(now):
                return None
            if lane is self._picture and not self._may_take_picture(now):
                continue
            if message := self._take_row(lane, now):
                return message
        return None

    def _take_row(self, lane: Lane, now: float) -> Message | None:
        while not lane.dry and (row := lane.take(now)):
            payload = row.message()
            if lane.overhead + len(payload) > self._limit:
                lane.too_large(row, self._limit)
            elif lane is self._picture and self.pace.cost(len(payload)) > _PICTURE_S:
                self._picture_not_before = now + _PICTURE_AGAIN_S
                self._outbox.rewind(lane.stream)
                return None
            else:
                return Message(lane.topic, payload, lane=lane, row=row)
        return None

    def _may_take_picture(self, now: float) -> bool:
        return not (self._picture.in_flight or self._outbox.waiting(Stream.ALARM) or now < self._picture_not_before)

    def _take_again(self, now: float) -> Message | None:
        """What is replayed waits for all else, and is little at a time: a live alarm finds the way free."""
        if not self._may_share(now) or self._outbox.waiting(Stream.ALARM):
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


def _suspect(message: Message) -> Suspect:
    return Suspect(message.topic, None if message.row is None else message.row.n)

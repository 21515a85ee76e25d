"""How much may be in flight to the broker, and how long to wait for it: learnt from its acknowledgements. Pure.

* The *speed* of the link in bytes a second. One sample: the bytes acknowledged between the last PUBACK before a message
  was sent (if nothing was in flight, its sending) and the message's own PUBACK, divided by that time less the round
  trip. The best sample of the last two minutes is used and kept over connections. It bounds the bytes in flight, the
  size of repeated messages, and the silence after which the link counts as dead.
* The *window* of messages grows with each quick PUBACK and is halved by a slow one (AIMD), so that a throttling broker
is
  not overrun and a live alarm waits behind little.
* The *rate* of messages is bounded by the site file. If a link died while some messages were answered and others were
  not, it is also bounded by the rate that the broker did answer.

Times are monotonic seconds.
"""

from collections import deque
from typing import NamedTuple

UNKNOWN_BYTES_PER_S = 8 << 10
"""Assumed speed of an unknown link, bytes a second."""

_LEAST_BYTES_PER_S = 256
_MOST_BYTES_PER_S = 64 << 20
_REMEMBERED_S = 120.0
_SAMPLES = 256
_ROOM_BYTES = (2 << 10, 256 << 10)
_FIRST_ROOM_BYTES = 16 << 10
_AHEAD_S = 1.0
"""The bytes in flight take about this time at most."""
_FIRST_WINDOW = 16
_QUICK_S, _SLOW_S = 0.5, 2.0
_MARGIN_FACTOR = 1.5
_SHORTEST_S = 0.0005
_PACE_FACTOR = 1.1
_NO_PACE_PER_S = 1000.0


class Stamp(NamedTuple):
    """What is remembered of a sent message."""

    at: float
    since: float
    """The time of the last answer before it; if nothing was in flight, `at`."""
    delivered: int
    """Bytes acknowledged by then."""
    order: int


class Pace:
    """Measures and limits. `rate`: messages a second at most; None: no limit."""

    def __init__(self, rate: float | None = None) -> None:
        self._round_trip = 0.0
        """Round trip of the link alone, without the broker's work, as far as known; seconds."""
        self._spacing = 0.0 if rate is None else 1 / rate
        self._samples: deque[tuple[float, float]] = deque(maxlen=_SAMPLES)
        self._speed: float | None = None
        self._delivered = 0
        self._order = 0
        self._answered_order = -1
        self._in_flight = 0
        self._progress = 0.0
        """When the last answer came, or when the connection began."""
        self._limit = 0
        self._window = 0.0
        self._halved = 0.0
        self._sent_at = float("-inf")
        self._pace: float | None = None
        self._pace_at = 0.0
        self._answers = 0

    def measured(self, round_trip: float) -> None:
        """What the kernel says of the link's round trip, seconds."""
        self._round_trip = round_trip

    @property
    def speed(self) -> float | None:
        """Bytes a second; None: not known yet."""
        return self._speed

    @property
    def room(self) -> float:
        """Bytes that may be in flight in addition to alarms."""
        if self._speed is None:
            return _FIRST_ROOM_BYTES
        return min(max(self._speed * _AHEAD_S, _ROOM_BYTES[0]), _ROOM_BYTES[1])

    @property
    def window(self) -> int:
        """Messages that may be in flight in addition to alarms."""
        return max(1, int(self._window))

    def cost(self, size: int) -> float:
        """Seconds that `size` bytes take."""
        return size / (self._speed or UNKNOWN_BYTES_PER_S)

    def within(self, seconds: float) -> int:
        """Bytes that the link carries in this time."""
        return int((self._speed or UNKNOWN_BYTES_PER_S) * seconds)

    def connected(self, window: int, now: float, sample: float | None = None) -> None:
        """A new connection has begun. `window`: messages at most; `sample`: speed of its CONNECT, bytes a second."""
        self._limit = window
        self._window = float(min(window, _FIRST_WINDOW))
        self._answers = self._in_flight = 0
        self._progress = now
        if sample is not None:
            self._learn(now, sample)

    def next_at(self, *, alarm: bool) -> float:
        """When the next message may be sent."""
        spacing = self._spacing
        if self._pace is not None and not alarm:
            spacing = max(spacing, 1 / self._pace)
        return self._sent_at + spacing

    def sent(self, now: float) -> Stamp:
        """Take a message that is being sent."""
        if self._pace is not None and now - self._pace_at >= 1:
            self._pace, self._pace_at = self._pace * _PACE_FACTOR, now
            if self._pace > _NO_PACE_PER_S:
                self._pace = None
        self._sent_at = now
        self._order += 1
        self._in_flight += 1
        return Stamp(now, now if self._in_flight == 1 else self._progress, self._delivered, self._order)

    def answered(self, stamp: Stamp, size: int, now: float) -> None:
        """Take the broker's PUBACK for `size` bytes."""
        self._delivered += size
        self._answers += 1
        self._in_flight -= 1
        self._progress = now
        self._answered_order = max(self._answered_order, stamp.order)
        latency = now - stamp.at
        self._learn(now, (self._delivered - stamp.delivered) / max(now - stamp.since - self._round_trip, _SHORTEST_S))
        if latency < _QUICK_S:
            self._window = min(self._window + 1, self._limit)
        elif latency < _SLOW_S:
            self._window = min(self._window + 1 / self._window, self._limit)
        elif now - self._halved >= latency:
            self._halved = now
            self._window = max(self._window / 2, 1.0)

    def dead_at(self, oldest: Stamp, size: int, answer: float) -> float:
        """When the link counts as dead unless the oldest message, of `size` bytes, is answered.

        While answers come in order each message gets its own time; a message that a later one overtook gets no more.
        """
        begun = oldest.at if oldest.order < self._answered_order else max(oldest.at, self._progress)
        return begun + answer + _MARGIN_FACTOR * self.cost(size)

    def died(self, now: float, lived: float) -> None:
        """The link was found dead: either it has become slower, or the broker does not answer every message."""
        if self._answers:
            self._pace, self._pace_at = max(1.0, self._answers / max(lived, 1.0)), now
        self._samples.clear()
        self._speed = max((self._speed or UNKNOWN_BYTES_PER_S) / 4, _LEAST_BYTES_PER_S)

    def _learn(self, now: float, sample: float) -> None:
        samples = self._samples
        sample = min(max(sample, _LEAST_BYTES_PER_S), _MOST_BYTES_PER_S)
        while samples and (samples[0][0] < now - _REMEMBERED_S):
            samples.popleft()
        # Samples that a later and better one replaces are dropped, so the first is the best.
        while samples and samples[-1][1] <= sample:
            samples.pop()
        samples.append((now, sample))
        self._speed = samples[0][1]

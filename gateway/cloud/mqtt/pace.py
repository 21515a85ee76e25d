"""How much may be under way to the broker, and how long is waited for it: learnt from what it acknowledges. Pure.

* The *speed* of the link in bytes a second: what was acknowledged from the last PUBACK before a message was sent (if
  nothing was in flight, from the sending) to its own PUBACK, by the time between beyond the round trip; the best of the
  last two minutes, kept over connections. It bounds the bytes in flight, the size of what is sent again and again, and
  the time after which silence means a dead link.
* The *window* of messages grows by each quick PUBACK and is halved by a slow one (AIMD): a broker that throttles is not
  overrun, and a live alarm waits behind little.
* The *rate* of messages is bounded by the site file, and, after a link died with messages that were never answered
  while others were, by what the broker did answer.

Times are monotonic seconds.
"""

from collections import deque
from typing import NamedTuple

UNKNOWN_BYTES_PER_S = 8 << 10
"""Speed that is assumed of a link of which nothing is known, bytes a second."""

_LEAST_BYTES_PER_S = 256
_MOST_BYTES_PER_S = 64 << 20
_REMEMBERED_S = 120.0
_SAMPLES = 256
_ROOM_BYTES = (2 << 10, 256 << 10)
_FIRST_ROOM_BYTES = 16 << 10
_AHEAD_S = 1.0
"""The bytes in flight take at most about so long."""
_FIRST_WINDOW = 16
_QUICK_S, _SLOW_S = 0.5, 2.0
_MARGIN_FACTOR = 1.5
_SHORTEST_S = 0.0005
_PACE_FACTOR = 1.1
_NO_PACE_PER_S = 1000.0


class Stamp(NamedTuple):
    """What is remembered of a message that was sent."""

    at: float
    since: float
    """When the last answer had come; if nothing was in flight, `at`."""
    delivered: int
    """Bytes that had been acknowledged by then."""
    order: int


class Pace:
    """`rate`: messages a second at most; None: no limit."""

    def __init__(self, rate: float | None = None) -> None:
        self._round_trip = 0.0
        """Of the link alone, without the broker's work, as far as it is known; seconds."""
        self._spacing = 0.0 if rate is None else 1 / rate
        self._samples: deque[tuple[float, float]] = deque(maxlen=_SAMPLES)
        self._speed: float | None = None
        self._delivered = 0
        self._order = 0
        self._answered_order = -1
        self._in_flight = 0
        self._progress = 0.0
        """When the last answer came, or the connection."""
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
        """Bytes that may be in flight beside alarms."""
        if self._speed is None:
            return _FIRST_ROOM_BYTES
        return min(max(self._speed * _AHEAD_S, _ROOM_BYTES[0]), _ROOM_BYTES[1])

    @property
    def window(self) -> int:
        """Messages that may be in flight beside alarms."""
        return max(1, int(self._window))

    def cost(self, size: int) -> float:
        """Seconds that so many bytes take."""
        return size / (self._speed or UNKNOWN_BYTES_PER_S)

    def within(self, seconds: float) -> int:
        """Bytes that this time carries."""
        return int((self._speed or UNKNOWN_BYTES_PER_S) * seconds)

    def connected(self, window: int, now: float, sample: float | None = None) -> None:
        """A new connection; `window`: messages at most; `sample`: speed at which it was begun, bytes a second."""
        self._limit = window
        self._window = float(min(window, _FIRST_WINDOW))
        self._answers = self._in_flight = 0
        self._progress = now
        if sample is not None:
            self._learn(now, sample)

    def next_at(self, *, alarm: bool) -> float:
        """The next message may be sent from then on."""
        spacing = self._spacing
        if self._pace is not None and not alarm:
            spacing = max(spacing, 1 / self._pace)
        return self._sent_at + spacing

    def sent(self, now: float) -> Stamp:
        """A message was sent."""
        if self._pace is not None and now - self._pace_at >= 1:
            self._pace, self._pace_at = self._pace * _PACE_FACTOR, now
            if self._pace > _NO_PACE_PER_S:
                self._pace = None
        self._sent_at = now
        self._order += 1
        self._in_flight += 1
        return Stamp(now, now if self._in_flight == 1 else self._progress, self._delivered, self._order)

    def answered(self, stamp: Stamp, size: int, now: float) -> None:
        """The broker's PUBACK for `size` bytes."""
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
        """When the link is dead unless the oldest message, of `size` bytes, is answered.

        As long as answers come in turn each has its own time; one that was passed over by a later one has had its turn.
        """
        begun = oldest.at if oldest.order < self._answered_order else max(oldest.at, self._progress)
        return begun + answer + _MARGIN_FACTOR * self.cost(size)

    def died(self, now: float, lived: float) -> None:
        """The link was found dead: either it is slower than it was, or the broker does not answer all that comes."""
        if self._answers:
            self._pace, self._pace_at = max(1.0, self._answers / max(lived, 1.0)), now
        self._samples.clear()
        self._speed = max((self._speed or UNKNOWN_BYTES_PER_S) / 4, _LEAST_BYTES_PER_S)

    def _learn(self, now: float, sample: float) -> None:
        samples = self._samples
        sample = min(max(sample, _LEAST_BYTES_PER_S), _MOST_BYTES_PER_S)
        while samples and (samples[0][0] < now - _REMEMBERED_S):
            samples.popleft()
        # Only what no later and better sample makes idle is kept, so the first is the best.
        while samples and samples[-1][1] <= sample:
            samples.pop()
        samples.append((now, sample))
        self._speed = samples[0][1]

"""How long to wait for an answer, when to ask again, and how long to leave a silent device alone. Pure.

The lines keep the times below and the response-time bound (`response_time.py`) reckons with them: this is their only
home, and both read them from here each time.

The time-out follows TCP's estimator (RFC 6298): smoothed answer time plus four times its variation. Only answers that
belong to their question may be sampled (Karn): the caller leaves out discarded reads.
"""

from gateway.driver import Timing

_ALPHA = 1 / 8
_BETA = 1 / 4
_K = 4
_STEP = 1 / 8
"""How far an estimated quantile moves with one sample, as a share of the variation."""

_ENOUGH = 100
"""Answers that are needed before the longest one is used."""
_KEPT = 4096
"""The longest answer is that of the last so many, up to twice as many."""

MISSES = 3
"""Misses in a row after which a device is silent."""
MISSED_AGAIN_S = 3.0
"""A read that had no answer is repeated within that time, however long its period, so that a fault is told within
100 s."""
DEVICE_PERIOD_S = 20.0
"""Every device is asked at least that often: three misses later its silence is told, well within 100 s."""
PROBE_FIRST_S = 2.0
"""The shortest pause before a probe of a silent device."""
PROBE_SHARE = 20.0
"""A probe may take one part in twenty of the time until the next one: 5 % of the bus."""
PROBE_LAST_S = 45.0
"""The longest pause between two probes of a silent device."""


class AnswerTime:
    """The answer time of one device beyond the wire time, in seconds. Before the first sample: the ceiling."""

    __slots__ = (
        "_before", "_ceiling", "_count", "_floor", "_most", "p50", "p95", "smoothed", "timeout", "variation",
    )  # fmt: skip

    def __init__(self, timing: Timing) -> None:
        self._floor = timing.floor
        self._ceiling = timing.ceiling
        self.timeout = timing.ceiling
        """Time-out for the next read."""
        self.smoothed: float | None = None
        self.variation = 0.0
        self.p50 = 0.0
        """Median, a running estimate."""
        self.p95 = 0.0
        """95th percentile, a running estimate."""
        self._most = self._before = 0.0
        self._count = 0

    def sample(self, seconds: float) -> None:
        """A read was answered after `seconds` beyond its wire time."""
        seconds = max(seconds, 0.0)
        self._count += 1
        self._most = max(self._most, seconds)
        if self._count % _KEPT == 0:
            self._before, self._most = self._most, 0.0
        smoothed = self.smoothed
        if smoothed is None:
            self.smoothed = self.p50 = self.p95 = seconds
            self.variation = seconds / 2
        else:
            self.variation += _BETA * (abs(seconds - smoothed) - self.variation)
            self.smoothed = smoothed + _ALPHA * (seconds - smoothed)
            step = _STEP * self.variation
            self.p50 += step if seconds > self.p50 else -step
            self.p95 += 1.9 * step if seconds > self.p95 else -0.1 * step
        timeout = self.smoothed + _K * self.variation
        timeout = max(timeout, self._floor)
        self.timeout = min(self._ceiling, timeout)

    def after(self, misses: int) -> float:
        """Time-out after `misses` in a row: doubled for each, so that a device that became slower is found again."""
        return min(self._ceiling, self.timeout * (1 << min(misses, 16)))

    @property
    def longest(self) -> float | None:
        """The longest of the last answers, in seconds; None while there were too few to go by."""
        return max(self._before, self._most) if self._count >= _ENOUGH else None

    @property
    def ceiling(self) -> float:
        """The longest that the device may take, in seconds: for probes and writes."""
        return self._ceiling


class ProbeWait:
    """Waits between the probes of one silent device: max(2 s, 20 x what a probe costs), doubling, to 45 s."""

    __slots__ = ("_times",)

    def __init__(self) -> None:
        self._times = 0

    def next(self, cost: float) -> float:
        """Seconds until the next probe, after one (or the last miss) took `cost` seconds of the line."""
        wait = first_probe(cost) * (1 << min(self._times, 8))
        self._times += 1
        return min(wait, PROBE_LAST_S)

    @property
    def thorough(self) -> bool:
        """True for every other probe: it waits for the device's longest answer time."""
        return self._times % 2 == 0

    def reset(self) -> None:
        """The device answered."""
        self._times = 0


def first_probe(cost: float) -> float:
    """Seconds from the last miss to the first probe, after a miss took `cost` seconds of the line."""
    return min(max(PROBE_FIRST_S, PROBE_SHARE * cost), PROBE_LAST_S)

"""Time-outs, retries and the pauses between probes of a silent device. Pure.

The lines keep these times, and the response-time bound (`response_time.py`) is computed from them: they are defined
only here, and both read them from here.

The time-out follows TCP's estimator (RFC 6298): smoothed answer time plus four times its variation. Only answers that
certainly belong to their request may be sampled (Karn), so the caller leaves out discarded reads.
"""

from gateway.driver import Timing

_ALPHA = 1 / 8
_BETA = 1 / 4
_K = 4
_STEP = 1 / 8
"""The step of an estimated quantile per sample, as a share of the variation."""

_ENOUGH = 100
"""Answers that are needed before the longest one is used."""
_KEPT = 4096
"""The longest answer is taken over at least the last so many answers, at most twice as many."""

MISSES = 3
"""Consecutive misses after which a device is silent."""
MISSED_AGAIN_S = 3.0
"""An unanswered read is repeated within this time, however long its period, so that a fault is reported within 100
s."""
DEVICE_PERIOD_S = 20.0
"""Every device is asked at least at this interval, so that its silence (three misses) is reported well within 100 s."""
PROBE_FIRST_S = 2.0
"""The shortest pause before a probe of a silent device."""
PROBE_SHARE = 20.0
"""The pause until the next probe is this many times the probe's duration: 5 % of the bus."""
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
        """Take the time of an answer: `seconds` beyond the wire time."""
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
        """Time-out after consecutive `misses`: doubled for each, so that a device that became slower is found again."""
        return min(self._ceiling, self.timeout * (1 << min(misses, 16)))

    @property
    def longest(self) -> float | None:
        """The longest of the last answers, in seconds; None: too few answers."""
        return max(self._before, self._most) if self._count >= _ENOUGH else None

    @property
    def ceiling(self) -> float:
        """The longest allowed answer time, in seconds: for probes and writes."""
        return self._ceiling


class ProbeWait:
    """Pauses between the probes of one silent device: max(2 s, 20 x the probe's duration), doubling up to 45 s."""

    __slots__ = ("_times",)

    def __init__(self) -> None:
        self._times = 0

    def next(self, cost: float) -> float:
        """Seconds until the next probe, after a probe (or the last miss) that took `cost` seconds."""
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
    """Seconds from the last miss to the first probe, after a miss that took `cost` seconds."""
    return min(max(PROBE_FIRST_S, PROBE_SHARE * cost), PROBE_LAST_S)

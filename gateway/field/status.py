"""The state of a line for health, metrics and the local page. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DeviceStatus:
    """The state of one device. Counters count from the start of the process."""

    answering: bool | None
    """None: neither answered nor found silent yet."""
    misses: int
    """Consecutive misses."""
    requests: int
    timeouts: int
    refused: int
    overruns: int
    """Turns skipped because the line was late by more than a period."""
    answer_p50: float
    """Median answer time beyond the wire time, in seconds (running estimate)."""
    answer_p95: float
    timeout: float
    """The present time-out beyond the wire time, in seconds."""


@dataclass(frozen=True, slots=True)
class LineStatus:
    """The state of one line."""

    line: str
    up: bool
    detail: str
    """Why it is down; empty while it is up."""
    down_since: float | None
    """Monotonic seconds; None while it is up."""
    losses: int
    """How often it was lost."""
    driver_bugs: int
    busy: float
    """Share of the last seconds with a request under way, 0-1."""
    overruns: int
    devices: Mapping[str, DeviceStatus]
    oddities: Mapping[str, int | str | None] | None = None
    """Irregularities on the wire that the driver tolerated since the start; None: it does not count them."""
    is_open: bool = False
    """The port or connection is open, whether or not a device answers."""

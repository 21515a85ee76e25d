"""What the journal counts. Pure."""

from collections import deque
from dataclasses import dataclass, field

_RECENT = 512


@dataclass(slots=True)
class Counters:
    """What happened since the start."""

    commits: int = 0
    rows: int = 0
    commit_seconds: float = 0.0
    """Of the last commit, fsync included."""
    commit_seconds_max: float = 0.0
    recent: deque[float] = field(default_factory=lambda: deque(maxlen=_RECENT))
    """Seconds of the last commits."""
    shed: int = 0
    losses: int = 0
    begun_anew: float | None = None
    """When the store was set aside, or found to have lost something; monotonic seconds."""
    file_bytes: int = 0
    reserve: bool = False
    """The ballast is there."""

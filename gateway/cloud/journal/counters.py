"""What the journal counts. Pure."""

from collections import deque
from dataclasses import dataclass, field

_RECENT = 512
SLOW_S = 0.5
"""A commit that takes longer is a slow one."""
_SLOW_MANY = 3
_SLOW_OF = 16
"""The store is slow from the third slow commit of so many on, until there is none among as many."""


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
    slow: bool = False
    """Commits take long, on and on."""
    shed: int = 0
    losses: int = 0
    begun_anew: float | None = None
    """When the store was set aside, or found to have lost something; monotonic seconds."""
    file_bytes: int = 0
    reserve: bool = False
    """The ballast is there."""
    _slow_ones: deque[bool] = field(default_factory=lambda: deque(maxlen=_SLOW_OF))

    def committed(self, rows: int, seconds: float) -> None:
        """One more commit."""
        self.commits += 1
        self.rows += rows
        self.commit_seconds = seconds
        self.commit_seconds_max = max(self.commit_seconds_max, seconds)
        self.recent.append(seconds)
        self._slow_ones.append(seconds > SLOW_S)
        count = sum(self._slow_ones)
        self.slow = count >= _SLOW_MANY or (self.slow and count > 0)

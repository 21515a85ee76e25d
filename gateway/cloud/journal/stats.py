"""Counters of the journal, and a snapshot of its state for health and metrics."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.cloud.journal.batch import State
from gateway.cloud.journal.commit_queue import CommitQueue
from gateway.cloud.journal.outbox_window import Delivery
from gateway.model import Instant, Stream

_RECENT_COMMITS = 512
SLOW_S = 0.5
"""A commit that takes longer is a slow one."""
_SLOW_MANY = 3
_SLOW_OF = 16
"""The store counts as slow after three slow commits among this many, until there is none among as many."""


@dataclass(slots=True)
class Counters:
    """Counts since the start."""

    commits: int = 0
    rows: int = 0
    commit_seconds: float = 0.0
    """Seconds of the last commit, including fsync."""
    commit_seconds_max: float = 0.0
    recent: deque[float] = field(default_factory=lambda: deque(maxlen=_RECENT_COMMITS))
    """Seconds of the last commits."""
    slow: bool = False
    """Commits are persistently slow."""
    shed: int = 0
    losses: int = 0
    begun_anew: float | None = None
    """When the store was set aside, or found to have lost something; monotonic seconds."""
    file_bytes: int = 0
    reserve: bool = False
    """The reserve file exists."""
    _slow_ones: deque[bool] = field(default_factory=lambda: deque(maxlen=_SLOW_OF))

    def committed(self, rows: int, seconds: float) -> None:
        """Count a commit."""
        self.commits += 1
        self.rows += rows
        self.commit_seconds = seconds
        self.commit_seconds_max = max(self.commit_seconds_max, seconds)
        self.recent.append(seconds)
        self._slow_ones.append(seconds > SLOW_S)
        count = sum(self._slow_ones)
        self.slow = count >= _SLOW_MANY or (self.slow and count > 0)


_ANEW_FOR_S = 600.0


@dataclass(frozen=True, slots=True)
class StreamStats:
    """One stream's outbox. `oldest`: age in seconds of the oldest row in memory."""

    waiting: int
    quarantined: int
    oldest: float | None


@dataclass(frozen=True, slots=True)
class Stats:
    """A snapshot for health and metrics. Times of commits are in seconds and include fsync."""

    streams: Mapping[Stream, StreamStats]
    store: str
    """`ok`, `lost`, or for ten minutes `begun-anew` after it was damaged, deleted or replaced by an older copy."""
    losses: int
    commits: int
    rows: int
    commit_seconds: float
    commit_seconds_max: float
    commit_p50: float | None
    """Over the last 512 commits."""
    commit_p99: float | None
    queue_bytes: int
    ahead_of_commit: int
    """Events accepted before their commit, because the store was lost."""
    shed: int
    reserve: bool
    """The reserve file exists."""
    file_bytes: int


def snapshot(counters: Counters, queue: CommitQueue, delivery: Delivery, now: Instant) -> Stats:
    """As of `now`."""
    streams = {}
    for stream in Stream:
        oldest = delivery.oldest(stream)
        streams[stream] = StreamStats(
            delivery.window(stream).waiting,
            delivery.window(stream, State.ASIDE).waiting,
            None if oldest is None else max(0.0, now.wall - oldest),
        )
    recent = sorted(counters.recent)
    anew = counters.begun_anew is not None and now.mono - counters.begun_anew < _ANEW_FOR_S
    return Stats(
        streams=streams,
        store="lost" if queue.lost else "begun-anew" if anew else "ok",
        losses=counters.losses,
        commits=counters.commits,
        rows=counters.rows,
        commit_seconds=counters.commit_seconds,
        commit_seconds_max=counters.commit_seconds_max,
        commit_p50=recent[len(recent) // 2] if recent else None,
        commit_p99=recent[len(recent) * 99 // 100] if recent else None,
        queue_bytes=queue.size,
        ahead_of_commit=queue.ahead_of_commit,
        shed=counters.shed + queue.shed,
        reserve=counters.reserve,
        file_bytes=counters.file_bytes,
    )

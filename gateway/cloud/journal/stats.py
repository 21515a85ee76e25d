"""How the journal stands: a snapshot for health and metrics."""

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.cloud.journal.batch import State
from gateway.cloud.journal.commits import CommitQueue
from gateway.cloud.journal.counters import Counters
from gateway.cloud.journal.delivery import Delivery
from gateway.model import Instant, Stream

_ANEW_FOR_S = 600.0


@dataclass(frozen=True, slots=True)
class StreamStats:
    """One stream's outbox. `oldest`: age in seconds of the oldest row at hand."""

    waiting: int
    quarantined: int
    oldest: float | None


@dataclass(frozen=True, slots=True)
class Stats:
    """A snapshot for health and metrics. Seconds are of commits, fsync included."""

    streams: Mapping[Stream, StreamStats]
    store: str
    """`ok`, `lost`, or for ten minutes `begun-anew`: it had been damaged, deleted, or put back in time."""
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
    """The ballast is there."""
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

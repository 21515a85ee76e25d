"""What the journal counts. Pure."""

from dataclasses import dataclass


@dataclass(slots=True)
class Counters:
    """What happened since the start."""

    commits: int = 0
    rows: int = 0
    commit_seconds: float = 0.0
    """Of the last commit, fsync included."""
    commit_seconds_max: float = 0.0
    shed: int = 0
    losses: int = 0
    file_bytes: int = 0
    reserve: bool = False
    """The ballast is there."""

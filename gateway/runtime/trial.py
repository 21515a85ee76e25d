"""A site file on trial: what a start does about it, and whether it has proved itself. Pure.

TRIAL  the file of the trial is there: try it; after two starts that came to nothing: BACK
       any other file is there: it never came to it, or a person was faster: forget the trial
BACK   the file of the trial is still there: put the one before in its place; then tell of it
"""

from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum, StrEnum, auto

STARTS = 2
"""Starts that may fail."""
STEADY_S = 5.0
"""Seconds: a process that ends sooner has not proved anything."""


class Phase(StrEnum):
    """How far a trial came."""

    TRIAL = "trial"
    BACK = "back"


@dataclass(frozen=True, slots=True)
class Pending:
    """A trial that is not over."""

    id: str
    phase: Phase
    new: str
    """SHA-256 of the file on trial, hex."""
    old: str
    """Of the file before."""
    trial: float
    """Seconds within which it has to prove itself."""
    lines: tuple[str, ...]
    """The lines that answered before."""
    by: str
    starts: int = 0
    reason: str | None = None
    """Why it was rolled back."""


class Step(Enum):
    """What a start does about a trial."""

    TRY = auto()
    FORGET = auto()
    ROLL_BACK = auto()
    TELL_BACK = auto()


def step(pending: Pending, present: str | None) -> Step:
    """What a start has to do; `present`: the digest of the site file that it finds. Pure."""
    if pending.phase is Phase.BACK:
        return Step.ROLL_BACK if present == pending.new else Step.TELL_BACK
    if present != pending.new:
        return Step.FORGET
    return Step.ROLL_BACK if pending.starts >= STARTS else Step.TRY


class Verdict(Enum):
    """How a trial stands."""

    WAIT = auto()
    KEEP = auto()
    BACK = auto()


class Trial:
    """Watches a file on trial. Pure; times are monotonic seconds.

    What counts is that each line that answered before has answered, and that the broker was reached, once; lines that
    the new file does not have are not asked for. And the process has to live a while.
    """

    def __init__(
        self,
        pending: Pending,
        begun: float,
        lines: Collection[str],
        *,
        reached: bool = False,
        steady: float = STEADY_S,
    ) -> None:
        """`reached`: the broker need not be; `steady`: seconds that the process has to live."""
        self._missing = set(pending.lines) & set(lines)
        self._reached = reached
        self._steady = steady
        self._begun = begun
        self._seconds = pending.trial

    def judge(self, now: float, answering: Collection[str], *, connected: bool) -> Verdict:
        """To be asked about once a second."""
        self._missing.difference_update(answering)
        self._reached = self._reached or connected
        lived = now - self._begun
        if self._reached and not self._missing and lived >= min(self._steady, self._seconds / 2):
            return Verdict.KEEP
        return Verdict.BACK if lived >= self._seconds else Verdict.WAIT

    def reason(self) -> str:
        """What is missing."""
        lines = ", ".join(sorted(self._missing))
        parts = [f"no answer on {lines}" if lines else "", "" if self._reached else "the broker was not reached"]
        return "; ".join(part for part in parts if part)

"""The trial of a site file: what a start has to do, and whether the file has proved itself. Pure.

TRIAL  the file of the trial is in place: try it; after two failed starts: BACK
       another file is in place: the trial never began, or a person replaced the file: drop the trial
BACK   the file of the trial is still in place: restore the previous one; then report it
"""

from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum, StrEnum, auto

STARTS = 2
"""Failed starts after which the trial is rolled back."""
STEADY_S = 5.0
"""A process must run at least this long to prove anything."""


class Phase(StrEnum):
    """The phase of a trial."""

    TRIAL = "trial"
    BACK = "back"


@dataclass(frozen=True, slots=True)
class Pending:
    """A trial that has not ended."""

    id: str
    phase: Phase
    new: str
    """SHA-256 of the file on trial, hex."""
    old: str
    """SHA-256 of the previous file."""
    trial: float
    """Seconds in which it has to prove itself."""
    lines: tuple[str, ...]
    """The lines that answered before the trial."""
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
    """What a start has to do; `present`: the digest of the site file in place. Pure."""
    if pending.phase is Phase.BACK:
        return Step.ROLL_BACK if present == pending.new else Step.TELL_BACK
    if present != pending.new:
        return Step.FORGET
    return Step.ROLL_BACK if pending.starts >= STARTS else Step.TRY


class Verdict(Enum):
    """The state of a trial."""

    WAIT = auto()
    KEEP = auto()
    BACK = auto()


class Trial:
    """Watches a file on trial. Pure; times are monotonic seconds.

    It is proved when each line that answered before has answered once, the broker was reached once, and the process has
    run for a while. Lines that the new file does not have are not needed.
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
        """`reached`: the broker need not be reached; `steady`: seconds that the process has to run."""
        self._missing = set(pending.lines) & set(lines)
        self._reached = reached
        self._steady = steady
        self._begun = begun
        self._seconds = pending.trial

    def judge(self, now: float, answering: Collection[str], *, connected: bool) -> Verdict:
        """Judge; call about once a second."""
        self._missing.difference_update(answering)
        self._reached = self._reached or connected
        lived = now - self._begun
        if self._reached and not self._missing and lived >= min(self._steady, self._seconds / 2):
            return Verdict.KEEP
        return Verdict.BACK if lived >= self._seconds else Verdict.WAIT

    def reason(self) -> str:
        """What is still missing."""
        lines = ", ".join(sorted(self._missing))
        parts = [f"no answer on {lines}" if lines else "", "" if self._reached else "the broker was not reached"]
        return "; ".join(part for part in parts if part)

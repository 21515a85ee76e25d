"""When a planned round runs: cron in the site's time zone, each planned minute once. Pure.

Daylight saving works as in Debian's cron: a skipped time runs at the first minute after the gap, a time that comes
twice runs once, and expressions with `*` for minute or hour follow the clock.

Handled time is kept as spans of wall time, so that nothing runs again after a clock is set back. A leap of an
unsynced clock makes no span; otherwise one wrong year would suppress rounds for a year.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from itertools import pairwise
from math import inf
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from gateway.model import Instant, Json

RUNS_WITHIN_S = 600.0
"""A run that is later than this does not run but counts as missed."""
SINGLY = 31
"""This many missed runs are reported one by one, the others together."""
_COUNTED = 2000
"""A sum of missed runs counts up to here; then it says "at least"."""
_LONGEST_SPAN_S = 7 * 86400.0
"""A longer gap does not become a handled span: the clock may have been wrong."""
_SPANS = 16
_LEAP_S = 60.0
"""If wall and monotonic clock disagree by more, the wall clock was set."""
_NEVER = datetime(2000, 1, 1, tzinfo=UTC)


def comes(expression: str) -> bool:
    """True if the expression matches any minute at all."""
    try:
        next(CronSim(expression, _NEVER))
    except (CronSimError, StopIteration):
        return False
    return True


class Calendar:
    """The planned minutes of one cron expression, as seconds since 1970."""

    def __init__(self, expression: str, timezone: str) -> None:
        self.key = f"{expression} {timezone}"
        """Identifies the calendar: its planned minutes depend on nothing else."""
        self._expression = expression
        self._zone = ZoneInfo(timezone)

    def after(self, wall: float) -> Iterator[float]:
        """Every planned minute later than `wall`, in order."""
        start = datetime.fromtimestamp(max(0.0, wall), UTC).astimezone(self._zone)
        last = wall
        for one in CronSim(self._expression, start):
            at = one.timestamp()
            if at > last:
                last = at
                yield at

    def next(self, wall: float) -> float | None:
        """The first planned minute later than `wall`; None: none within 50 years."""
        return next(self.after(wall), None)

    def between(self, after: float, until: float) -> Iterator[float]:
        """The planned minutes after `after`, up to and including `until`."""
        for at in self.after(after):
            if at > until:
                return
            yield at


class Missed:
    """Planned minutes at which nothing ran: the first 31 singly, then their number, and whether there are more."""

    def __init__(self) -> None:
        self.singly: list[float] = []
        self.others = 0
        self.first_other = 0.0
        self.last_other = 0.0

    @property
    def full(self) -> bool:
        """True once the count has reached its limit."""
        return self.others >= _COUNTED

    @property
    def until(self) -> float | None:
        """The last missed minute; None: nothing was missed."""
        if self.others:
            return self.last_other
        return self.singly[-1] if self.singly else None

    def add(self, at: float) -> None:
        """Count one more."""
        if len(self.singly) < SINGLY:
            self.singly.append(at)
            return
        if not self.others:
            self.first_other = at
        self.others += 1
        self.last_other = at


class Plan:
    """Which part of a calendar has been handled, that is, run or reported as missed."""

    def __init__(self, calendar: Calendar) -> None:
        self._calendar = calendar
        self._mark: float | None = None
        """Wall time up to which everything is handled; None: the round is new and was never due."""
        self._spans: list[tuple[float, float]] = []
        self._looked: Instant | None = None
        self._next: tuple[float, float] | None = None
        """A span without planned minutes, cached because finding it takes 0.1 ms."""
        self.is_new = False
        """True if the plan began with the last look and is not remembered yet."""

    def restore(self, value: Json) -> None:
        """Load what `memory` returned, if it belongs to this calendar."""
        match value:
            case {"cron": self._calendar.key, "mark": int() | float() as mark, "spans": [*spans]}:
                self._mark = float(mark)
                self._spans = [span for one in spans for span in _span(one)]

    def memory(self) -> Mapping[str, Json]:
        """What must survive."""
        return {"cron": self._calendar.key, "mark": self._mark, "spans": [list(span) for span in self._spans]}

    def next(self, wall: float) -> float | None:
        """The next planned minute."""
        known = self._next
        if known is None or not known[0] <= wall < known[1]:
            following = self._calendar.next(wall)
            if following is None:
                return None
            known = self._next = wall, following
        return known[1]

    def look(self, now: Instant) -> tuple[float | None, Missed, bool]:
        """The planned minute that may run now, the minutes missed before it, and whether the clock leapt.

        The same minute is returned until `handled` is called.
        """
        missed = Missed()
        if self._mark is None:
            self._begin(now.wall)
        mark = self._mark or 0.0
        leapt = self._leapt(now)
        if now.wall < mark - _LEAP_S:
            mark = self._mark = now.wall
        self._looked = now
        following = self.next(mark)
        if following is None or now.wall < following:
            return None, missed, leapt
        late = max(mark, now.wall - RUNS_WITHIN_S)
        for at in self._not_handled(mark, late):
            missed.add(at)
            if missed.full:
                missed.last_other = late
                break
        due = None
        for at in self._not_handled(late, now.wall):
            if due is not None:
                missed.add(due)
            due = at
        return due, missed, leapt

    def handled(self, until: float, now: Instant, *, ran: bool, leapt: bool = False) -> None:
        """Mark everything up to `until` as missed or, with `ran`, run. `leapt`: the time between is not trusted."""
        mark = self._mark or until
        trusted = not (leapt and not now.synced) and until - mark <= _LONGEST_SPAN_S
        if trusted or ran:
            self._spans.append((min(mark, until) if trusted else until, until))
            self._spans = _merged(self._spans)[-_SPANS:]
        self._mark = until

    def _begin(self, wall: float) -> None:
        self._mark, self.is_new = wall, True
        self._spans = [(wall, wall)]

    def _leapt(self, now: Instant) -> bool:
        before = self._looked
        if before is None:
            return not now.synced
        return abs((now.wall - before.wall) - (now.mono - before.mono)) > _LEAP_S

    def _not_handled(self, after: float, until: float) -> Iterator[float]:
        """The planned minutes of that time outside of the spans: those within are passed over, not looked at."""
        for first, last in [*sorted(self._spans), (inf, inf)]:
            if after < min(first, until):
                yield from (at for at in self._calendar.between(after, min(first, until)) if at != first)
            after = max(after, last)


def _span(value: Json) -> Iterator[tuple[float, float]]:
    match value:
        case [int() | float() as first, int() | float() as last]:
            yield float(first), float(last)


def _merged(spans: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Merge spans that touch; their ends stay in order of time."""
    ordered = sorted(spans)
    merged = ordered[:1]
    for _, (first, last) in pairwise(ordered):
        if first <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(merged[-1][1], last)
        else:
            merged.append((first, last))
    return merged

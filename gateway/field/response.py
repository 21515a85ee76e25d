"""The longest time between two reads of one block on a line that many share. Pure; all times in seconds.

What holds, and why, stands in `bound.py`.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from math import ceil, floor, inf
from typing import NamedTuple

from gateway.field.schedule import SHARE_LEAST, SHARE_MOST, patience
from gateway.model import Lane

PROBE_LAST = 45.0
"""The longest pause between two probes of a silent device."""
_DOUBLINGS = 6
"""So many probes may come before their pauses have grown to the longest."""
_ROUNDS = 200
"""After so many steps towards the shortest window a longer one does."""


Gap = Callable[..., float]
"""(extra seconds, dead device) -> the longest time between two reads of one block."""


class Turn(NamedTuple):
    """A block as the schedule sees it."""

    device: str
    lane: Lane
    every: float
    cost: float
    """Wire, latency and this machine."""
    varies: float = 0.0
    """That much of it is not there each time."""


class Dead(NamedTuple):
    """What one dead device costs, at most."""

    ahead: int
    """Time-outs before the next read of the judged block."""
    beside: int
    """Those of them in the lane of the judged block."""
    more: int
    """Further ones, each by a lane's longest patience after the other: its reads are of a later lane."""
    miss: float
    """One time-out, with the quiet after it."""
    probe: float
    """From the third time-out to a probe."""


class _Pushed(NamedTuple):
    """What goes ahead of an earlier lane while that waits."""

    later: float
    """The longest read of a later lane."""
    pause: float
    """The least pause between two such reads."""
    dead: Dead

    def within(self, window: float) -> float:
        """How much of a window of that length it takes."""
        reads = min(self.later * floor(window / SHARE_LEAST), window * self.rate_of_reads)
        misses = min(self.dead.more, floor(window / SHARE_MOST)) * self.dead.miss
        return self.later + reads + misses + _probes(self.dead, window)

    @property
    def rate_of_reads(self) -> float:
        """The part that reads of a later lane take in the long run."""
        return self.later / (self.later + self.pause)

    @property
    def rate(self) -> float:
        """The part that all of it takes in the long run."""
        return self.rate_of_reads + self.dead.miss / PROBE_LAST

    @property
    def once(self) -> float:
        """With `rate`: never less than `within`."""
        return self.later + (self.dead.more + _DOUBLINGS) * self.dead.miss


NOBODY = Dead(0, 0, 0, 0.0, inf)


def gap_of(turns: Sequence[Turn], mine: Turn, in_flight: int) -> Gap:
    """From the beginning of one read of `mine` to the answer of the next, if orders take `extra` meanwhile."""
    earlier = [turn for turn in turns if turn.lane < mine.lane]
    same = [turn for turn in turns if turn.lane == mine.lane and turn is not mine]
    later = max((turn.cost for turn in turns if turn.lane > mine.lane), default=0.0)
    # With several in flight, one that is read beside `mine` may come once more before its next turn.
    alone = in_flight == 1
    slow_once = sum(turn.cost for turn in same if alone and turn.every >= mine.every) + mine.cost
    quick = [turn for turn in same if not alone or turn.every < mine.every]
    all_once = sum(turn.cost for turn in same) + mine.cost
    before, meanwhile = _by_period(earlier), _by_period([*earlier, *quick])
    in_file = alone and mine.lane is Lane.ALARM and all(turn.every == mine.every for turn in same)
    varies = sum(turn.varies for turn in same)
    most = max((turn.cost for turn in same), default=0.0)
    yielded = _yielded(turns, same, mine) if earlier else None

    def gap(extra: float, dead: Dead = NOBODY) -> float:
        extra += dead.ahead * dead.miss
        pushed = _Pushed(later, patience(later) if alone else SHARE_LEAST, dead)
        past_deadline = _window(all_once + extra, before, pushed)
        if yielded is not None:
            past_deadline = min(past_deadline, _window(all_once + extra + yielded(dead), {}, pushed))
        in_time = min(_window(slow_once + extra, meanwhile, pushed), mine.every + past_deadline)
        if yielded is not None and not quick:
            in_time = min(in_time, _window(slow_once + extra + yielded(dead), {}, pushed))
        if in_file and dead is NOBODY:
            disturbed = extra + pushed.within(mine.every)
            if all_once + disturbed <= mine.every:
                # `most`: one of them cost nothing the last time.
                in_time = min(in_time, disturbed + varies + most + mine.cost)
                return mine.every + in_time
        return mine.every + max(in_time, mine.cost + past_deadline)

    return cache(gap)


def _yielded(turns: Sequence[Turn], same: Sequence[Turn], mine: Turn) -> Callable[[Dead], float]:
    """What goes ahead of one read of each block of a lane, its own reads excepted, if earlier lanes want all the time.

    Before each of them: its lane's patience after the one before, and the request that is under way then.
    """
    longest = max(turn.cost for turn in turns)
    pauses = sum(patience(turn.cost) for turn in same)
    first = max(patience(turn.cost) for turn in (*same, mine))

    def ahead(dead: Dead) -> float:
        return first + pauses + SHARE_MOST * dead.beside + (len(same) + 1 + dead.beside) * longest

    return ahead


def _probes(dead: Dead, window: float) -> float:
    """What the probes in a window cost beyond the time-outs ahead of them, which have to be over by then."""
    most, cost, pause, spent = 0.0, 0.0, dead.probe, dead.probe
    while spent <= window:
        cost += dead.miss
        most = max(most, cost - max(0.0, dead.ahead * dead.miss - (window - spent)))
        pause = min(2.0 * pause, PROBE_LAST)
        spent += pause
    return most


def _by_period(turns: Sequence[Turn]) -> Mapping[float, float]:
    """The cost of all turns of each period."""
    costs: dict[float, float] = {}
    for turn in turns:
        costs[turn.every] = costs.get(turn.every, 0.0) + turn.cost
    return costs


def _window(once: float, repeated: Mapping[float, float], pushed: _Pushed) -> float:
    """How long `once` takes while `repeated` (period -> cost) and what is pushed in go first.

    Infinite if these want all the time.
    """
    share = sum(cost / every for every, cost in repeated.items()) + pushed.rate
    if share >= 1.0:
        return inf
    window = once
    for _ in range(_ROUNDS):
        longer = once + pushed.within(window)
        longer += sum((2 + ceil(window / every)) * cost for every, cost in repeated.items())
        if longer <= window:
            return window
        window = longer
    # 2 + ceil(w) <= 3 + w: a window that is too long, but long enough.
    return (once + 3 * sum(repeated.values()) + pushed.once) / (1.0 - share)

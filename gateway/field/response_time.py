"""How late an alarm can be told: the response-time analysis of one line. Pure; all times in seconds.

The line is one server that is never interrupted (`schedule.py`): lanes in their order, earliest deadline (due +
period) first inside a lane, and nothing that falls behind keeps a backlog: after a turn that ends when the next one
is due already, that is due at once. Between two reads of a block B, in the same lane,

    a block with the same or a longer period is read once at most (when B is read, every other deadline is later),
    from B's next deadline on, every other block has one turn at most before B (what ended later has a later deadline).

Both hold on any load, too much for the line included, whatever the phases are, so nothing is assumed about them.
A block of a shorter period or of an earlier lane is read at most 2 + ceil(W / period) times while B waits W: one
turn that is under way or waiting, one that was due up to a period ago, and those that fall due meanwhile.

Where nothing but blocks of one period stands in the lane of B and before it, and every device answers, the turns
come in file: nothing moves a due time, so the same blocks go ahead of B in each period. If all of them, and all that
may disturb them, fit into one period, B's next turn is late by what disturbs, by what
those ahead of it take longer than the last time (their latencies), and by one of them that cost nothing then: a silence
that a device wants before a request, or a block that was refused and is tried again.

From the contact closing just after one read has begun: that read's period, the longest request of a later lane,
the turns above, B itself; then for each confirm read the longest request of any lane and the read.

A lane that has been overtaken for its patience gets a turn (`schedule.py`): of every W seconds that B waits, normal
reads take one part in twenty and the one under way; and where the earlier lanes want all there is, the bound of a
normal read is reckoned from these turns alone.

Behind a read that a device has left without an answer the next one on a bus is preceded by questions aside that prove
whose answers come (`drivers/modbus/bus.py`); where a device answers no other count than the planned one, so is each
confirm read by one.

What is assumed: no answer comes that nobody asked for; answers take no longer than `latency`, and none is lost on the
wire; `others` points, of devices that answer, are confirmed at the same time; no writes; no reads by hand or by rounds
that are longer than the periodic ones, and where the turns come in file none at all.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from math import ceil, floor, inf
from typing import NamedTuple, Protocol

from gateway.driver import Block, Timing
from gateway.field import timeouts
from gateway.field.schedule import WAIT_LEAST_S, WAIT_MOST_S, patience
from gateway.model import Lane

HOST_S = 0.05
"""Allowance for this machine between an answer and what follows from it, once for each answer that counts."""
TURN_S = 0.001
"""Allowance for this machine between two requests."""
LATENCY_S = 0.05
"""Taken for a device of which nothing is known: the shortest time-out that is ever given."""
_PROOF = 4
"""Questions aside for one proof, at most: two that are refused because of their count, and two that are answered."""
_DOUBLINGS = 6
"""So many probes may come before their pauses have grown to the longest."""
_ROUNDS = 200
"""After so many steps towards the shortest window a longer one does."""


class PlannedLine(Protocol):
    """What is asked of a line, as its driver plans it: that much of a `Poller` as needs no wire."""

    in_flight: int
    aside: float
    """Wire time of a question that proves whose answers come; 0 where that needs no proof."""

    def blocks(self) -> Sequence[Block]:
        """All periodic requests."""
        ...

    def timing(self, device: str) -> Timing:
        """Limits of the adaptive time-out of one device."""
        ...

    def block_for(self, device: str, points: Sequence[str], lane: Lane) -> Sequence[Block]:
        """Requests that read just these points."""
        ...


@dataclass(frozen=True, slots=True)
class DeviceLoad:
    """What a device costs beyond its wire time."""

    latency: float = LATENCY_S
    """The longest that it takes to answer."""
    ceiling: float = 1.0
    """The longest time-out, in which a dead device holds the line."""
    floor: float = 0.05
    """The shortest time-out."""


@dataclass(frozen=True, slots=True)
class PointLoad:
    """A point with an alarm."""

    name: str
    """`device.point`."""
    confirm: int
    """Reads in a row that must show the alarm."""
    wire: float
    """Wire time of one confirm read."""


@dataclass(frozen=True, slots=True)
class BlockLoad:
    """One periodic request."""

    device: str
    lane: Lane
    every: float
    wire: float
    """Request, answer and silences."""
    points: tuple[PointLoad, ...] = ()
    """Those of its points that have an alarm."""


@dataclass(frozen=True, slots=True)
class LineLoad:
    """All that is asked of a line."""

    line: str
    blocks: tuple[BlockLoad, ...]
    devices: Mapping[str, DeviceLoad] = field(default_factory=dict)
    """By name; one that is absent is taken as `DeviceLoad()`."""
    in_flight: int = 1
    aside: float = 0.0
    """Wire time of a question aside; 0: none is needed."""
    others: int = 1
    """Points that are confirmed at the same time as the judged one."""
    host: float = HOST_S
    turn: float = TURN_S


@dataclass(frozen=True, slots=True)
class AlarmBound:
    """The longest time from a contact closing to its confirmed answer; infinite if there is none."""

    point: str
    lane: Lane
    worst: float
    worst_one_dead: float
    """The same with one other device of the line dying, dead or coming back."""


@dataclass(frozen=True, slots=True)
class LineBound:
    """What can be promised of a line."""

    line: str
    utilisation: float
    """Share of the time in which a request is under way, if all are made; more than 1: the line is too slow."""
    wire: float
    """The part of it that bytes and silences take."""
    requests_per_s: float
    shares: Mapping[Lane, float]
    """Of `utilisation`, what each lane and those before it take."""
    alarms: tuple[AlarmBound, ...]
    silent_told: Mapping[str, float]
    """By device: from its dying to the third miss."""
    late: tuple[BlockLoad, ...]
    """Blocks that cannot be read as often as they want: their lane and those before it want more than there is."""


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
        reads = min(self.later * floor(window / WAIT_LEAST_S), window * self.rate_of_reads)
        misses = min(self.dead.more, floor(window / WAIT_MOST_S)) * self.dead.miss
        return self.later + reads + misses + _probes(self.dead, window)

    @property
    def rate_of_reads(self) -> float:
        """The part that reads of a later lane take in the long run."""
        return self.later / (self.later + self.pause)

    @property
    def rate(self) -> float:
        """The part that all of it takes in the long run."""
        return self.rate_of_reads + self.dead.miss / timeouts.PROBE_LAST_S

    @property
    def once(self) -> float:
        """With `rate`: never less than `within`."""
        return self.later + (self.dead.more + _DOUBLINGS) * self.dead.miss


NOBODY = Dead(0, 0, 0, 0.0, inf)


class _Line(NamedTuple):
    """What is worked out once for a line."""

    load: LineLoad
    turns: tuple[Turn, ...]
    by_device: Mapping[str, Sequence[Turn]]
    misses: Mapping[str, float]
    """By device, see `_miss`."""
    confirms: Sequence[tuple[float, str]]
    """The confirm reads of each point together, the longest last."""
    confirmed: frozenset[str]
    """Points that are read again before their alarm counts."""


def load_of(line: str, asked: PlannedLine, confirm: Mapping[str, int], latency: Mapping[str, float]) -> LineLoad:
    """What a driver's blocks ask of its line. Touches no hardware.

    `confirm`: by `device.point`, of every point with an alarm. `latency`: by device; `LATENCY_S` where absent.
    """

    def points(device: str, names: Sequence[str]) -> Iterator[PointLoad]:
        for name in names:
            if (reads := confirm.get(f"{device}.{name}")) is not None:
                again = sum(block.wire for block in asked.block_for(device, (name,), Lane.ORDER))
                yield PointLoad(f"{device}.{name}", reads, again)

    blocks = tuple(
        BlockLoad(block.device, block.lane, block.every, block.wire, tuple(points(block.device, block.points)))
        for block in asked.blocks()
    )
    devices = {}
    for name in {block.device for block in blocks}:
        timing = asked.timing(name)
        devices[name] = DeviceLoad(latency.get(name, LATENCY_S), timing.ceiling, timing.floor)
    return LineLoad(line, blocks, devices, asked.in_flight, asked.aside)


def analyse(load: LineLoad) -> LineBound:
    """The bounds of one line. Never below what can happen under the assumptions of this module."""
    line = _line(load)
    turns = line.turns
    shares = {lane: sum(turn.cost / turn.every for turn in turns if turn.lane <= lane) for lane in Lane}
    return LineBound(
        load.line,
        utilisation=shares[Lane.PROBE],
        wire=sum(block.wire / turn.every for block, turn in zip(load.blocks, turns, strict=True)),
        requests_per_s=sum(1.0 / turn.every for turn in turns),
        shares=shares,
        alarms=tuple(_alarms(line)),
        silent_told={name: _silent_told(line, name) for name in line.by_device},
        late=tuple(block for block in load.blocks if shares[block.lane] > 1.0),
    )


def _line(load: LineLoad) -> _Line:
    quickest: dict[str, BlockLoad] = {}
    longest: dict[str, float] = {}
    for block in load.blocks:
        if block.every < quickest.setdefault(block.device, block).every:
            quickest[block.device] = block
        longest[block.device] = max(longest.get(block.device, 0.0), block.wire)
    turns = tuple(
        Turn(
            block.device,
            block.lane,
            min(block.every, timeouts.DEVICE_PERIOD_S) if block is quickest[block.device] else block.every,
            block.wire + _device(load, block.device).latency + load.turn,
            _device(load, block.device).latency + load.turn,
        )
        for block in load.blocks
    )
    by_device: dict[str, list[Turn]] = {}
    for turn in turns:
        by_device.setdefault(turn.device, []).append(turn)
    confirms = [
        ((point.confirm - 1) * _again(load, block, point), point.name)
        for block in load.blocks
        for point in block.points
    ]
    misses = {name: _miss(load, name, wire) for name, wire in longest.items()}
    confirmed = frozenset(point.name for block in load.blocks for point in block.points if point.confirm > 1)
    return _Line(load, turns, by_device, misses, sorted(confirms), confirmed)


def _device(load: LineLoad, name: str) -> DeviceLoad:
    return load.devices.get(name) or DeviceLoad()


def _again(load: LineLoad, block: BlockLoad, point: PointLoad) -> float:
    """One confirm read."""
    return point.wire + _device(load, block.device).latency + load.turn + _aside(load)


def _aside(load: LineLoad) -> float:
    """One question aside, of whatever device."""
    if not load.aside:
        return 0.0
    return load.aside + max((_device(load, block.device).latency for block in load.blocks), default=0.0) + load.turn


def _miss(load: LineLoad, name: str, wire: float) -> float:
    """The longest that the line is held when a device does not answer, or answers for the first time again.

    Request, time-out and the quiet until its latest answer has passed; or, when it comes back, the quiet after a
    refusal in the proof (see `_proofs`) and the wanted read.
    """
    device = _device(load, name)
    return device.ceiling + 3 * wire + 2 * device.latency + load.turn


def _proofs(load: LineLoad) -> float:
    """What a device that dies puts in doubt: once with the first read that has no answer, and once when it is back."""
    return 2 * _PROOF * _aside(load)


def _others(line: _Line, mine: str) -> float:
    """The confirm reads of the points that are confirmed at the same time as `mine`."""
    count = line.load.others
    if not count:
        return 0.0
    return sum([cost for cost, name in line.confirms[-count - 1 :] if name != mine][-count:])


def _alarms(line: _Line) -> Iterator[AlarmBound]:
    load = line.load
    longest = max((turn.cost for turn in line.turns), default=0.0)
    for block, turn in zip(load.blocks, line.turns, strict=True):
        if not block.points:
            continue
        gap = gap_of(line.turns, turn, line.load.in_flight)
        dead = _worst_dead(line, turn)
        for point in block.points:
            others = _others(line, point.name)
            reads = (point.confirm - 1) * (load.host + longest + _again(load, block, point)) + load.host
            worst = gap(others) + reads
            one_dead = max(
                (_one_dead(gap, one, turn, point, others + _proofs(load), reads) for one in dead), default=worst
            )
            yield AlarmBound(point.name, block.lane, worst, one_dead)


# ---- one dead device ----------------------------------------------------------------------------------


def _worst_dead(line: _Line, mine: Turn) -> list[Dead]:
    """For every device that could die, the worst of each kind."""
    worst: dict[tuple[int, int, int], Dead] = {}
    for name, theirs in line.by_device.items():
        if name == mine.device:
            continue
        ahead, more = _ahead(line, name, theirs, mine)
        beside = ahead if any(turn.lane == mine.lane for turn in theirs) else 0
        known = worst.get((ahead, beside, more), NOBODY)
        miss, probe = line.misses[name], _probe_after(_device(line.load, name))
        worst[ahead, beside, more] = Dead(ahead, beside, more, max(known.miss, miss), min(known.probe, probe))
    return list(worst.values())


def _ahead(line: _Line, name: str, theirs: Sequence[Turn], mine: Turn) -> tuple[int, int]:
    """How many time-outs of one device may pass before the next read of `mine`, and how many more in the long run.

    A device that dies while a point of it is confirmed: that read, and none of the block that carries the point.
    """
    single = len(theirs) == 1
    if all(turn.lane > mine.lane for turn in theirs):
        confirms = min(line.load.others, sum(1 for point in line.confirmed if point.startswith(f"{name}.")))
        ahead = (
            1 if single else min(timeouts.MISSES, 1 + confirms)
        )  # the one under way; so are the probes of a silent device
        return ahead, timeouts.MISSES - ahead
    alone = single and line.load.in_flight == 1 and theirs[0].lane == mine.lane
    return (1 if alone and min(theirs[0].every, timeouts.MISSED_AGAIN_S) >= mine.every else timeouts.MISSES), 0


def _probe_after(device: DeviceLoad) -> float:
    """From the third miss to the first probe, at least: each miss in a row doubles the time-out."""
    third = min(device.ceiling, device.floor * (1 << (timeouts.MISSES - 1)))
    return timeouts.first_probe(third)


def _one_dead(gap: Gap, dead: Dead, mine: Turn, point: PointLoad, others: float, reads: float) -> float:
    """Each confirm read may meet one time-out more; after three there is only a probe, and that comes later."""
    most = dead.ahead + point.confirm - 1
    first = gap(others, dead) + reads
    worst = first + (min(most, timeouts.MISSES) - dead.ahead) * dead.miss
    if most > timeouts.MISSES and worst - mine.every >= (timeouts.MISSES - 1) * dead.miss + dead.probe:
        worst = first + (most - dead.ahead) * dead.miss
    return worst


def _silent_told(line: _Line, name: str) -> float:
    """From the last answer of a device to the third miss in a row, by whichever of its blocks is sure to be first.

    One time-out for each gap: if another block has more of them in one, the third comes that much sooner.
    """
    dying = Dead(1, 1, 0, line.misses[name], inf)
    told = inf
    for turn in line.by_device[name]:
        gap = gap_of(line.turns, turn, line.load.in_flight)(_others(line, "") + _proofs(line.load), dying)
        again = gap - max(0.0, turn.every - timeouts.MISSED_AGAIN_S) if gap < inf else inf
        told = min(told, gap + (timeouts.MISSES - 1) * again)
    return told + line.load.host


# ---- between two reads of one block ------------------------------------------------------------------


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
        pushed = _Pushed(later, patience(later) if alone else WAIT_LEAST_S, dead)
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
        return first + pauses + WAIT_MOST_S * dead.beside + (len(same) + 1 + dead.beside) * longest

    return ahead


def _probes(dead: Dead, window: float) -> float:
    """What the probes in a window cost beyond the time-outs ahead of them, which have to be over by then."""
    most, cost, pause, spent = 0.0, 0.0, dead.probe, dead.probe
    while spent <= window:
        cost += dead.miss
        most = max(most, cost - max(0.0, dead.ahead * dead.miss - (window - spent)))
        pause = min(2.0 * pause, timeouts.PROBE_LAST_S)
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

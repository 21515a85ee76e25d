"""The longest time until an alarm is reported: response-time analysis of one line. Pure; all times in seconds.

The line is one non-preemptive server (`schedule.py`): lanes in strict order, earliest deadline (due + period) first
inside a lane, and no backlog: if the next turn is already due when a turn ends, it becomes due at that moment.
Between two reads of a block B, in the same lane: a block with the same or a longer period is read at most once, since
every other deadline is later when B is read; and from B's next deadline on, every other block has at most one turn
before B, since a turn that ends later has a later deadline. Both hold for any load, even an overload, and for any
phases. A block of a shorter period or of an earlier lane is read at most 2 + ceil(W / period) times while B waits W:
one turn under way or waiting, one that was due up to a period ago, and those that become due meanwhile.

If the lane of B and the earlier lanes contain only blocks of one period, and every device answers, the turns keep their
order: no due time moves, so the same blocks go before B in each period. If all of them, and everything that may disturb
them, fit into one period, B's next turn is delayed by three things: the disturbances; the additional time of the blocks
before it (their latencies); and one block that cost nothing the last time (a silence that a device needs before a
request, or a refused block that is tried again).

The bound, for a contact that closes just after a read has begun: the period of that read, the longest request of a
later lane, the turns above, B itself; then for each confirm read the longest request of any lane and the confirm read.

A lane that has waited longer than its patience gets a turn (`schedule.py`): of every W seconds that B waits, normal
reads take one twentieth plus the one under way. If the earlier lanes use the whole line, the bound of a normal read is
computed from these turns alone.

On a bus, the read after an unanswered one is preceded by side requests that prove which unit answers
(`drivers/modbus/bus.py`); if a device answers only the planned count, each confirm read is preceded by one too.

Assumptions: there are no unrequested answers; answers take no longer than `latency`, and none is lost on the wire;
`others` points, of devices that answer, are confirmed at the same time; there are no writes, and no reads by hand or
by rounds that are longer than the periodic ones (none at all if the turns keep their order).
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
"""Allowance for this machine between an answer and its effect, once for each answer that counts."""
TURN_S = 0.001
"""Allowance for this machine between two requests."""
LATENCY_S = 0.05
"""Assumed for an unknown device: the shortest time-out in use."""
_PROOF = 4
"""The most side requests for one proof: two refused because of their count, and two answered."""
_DOUBLINGS = 6
"""The most probes before their pauses have grown to the longest."""
_ROUNDS = 200
"""The most steps towards the shortest window; after that a longer one is used."""


class PlannedLine(Protocol):
    """The planned requests of a line: the part of a `Poller` that needs no hardware."""

    in_flight: int
    aside: float
    """Wire time of a side request that proves which unit answers; 0 if no proof is needed."""

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
    """A device's cost beyond its wire time."""

    latency: float = LATENCY_S
    """Its longest answer time."""
    ceiling: float = 1.0
    """The longest time-out, for which a dead device occupies the line."""
    floor: float = 0.05
    """The shortest time-out."""


@dataclass(frozen=True, slots=True)
class PointLoad:
    """A point with an alarm."""

    name: str
    """`device.point`."""
    confirm: int
    """Consecutive reads that must show the alarm."""
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
    """Its points that have an alarm."""


@dataclass(frozen=True, slots=True)
class LineLoad:
    """All requests of a line."""

    line: str
    blocks: tuple[BlockLoad, ...]
    devices: Mapping[str, DeviceLoad] = field(default_factory=dict)
    """By name; a missing one counts as `DeviceLoad()`."""
    in_flight: int = 1
    aside: float = 0.0
    """Wire time of a side request; 0: none is needed."""
    others: int = 1
    """Points that are confirmed at the same time as the analysed one."""
    host: float = HOST_S
    turn: float = TURN_S


@dataclass(frozen=True, slots=True)
class AlarmBound:
    """The longest time from a contact closing to its confirmed answer; infinite if there is no bound."""

    point: str
    lane: Lane
    worst: float
    worst_one_dead: float
    """The same while one other device of the line dies, is dead or returns."""


@dataclass(frozen=True, slots=True)
class LineBound:
    """The bounds of a line."""

    line: str
    utilisation: float
    """Share of time with a request under way if all are made; above 1: the line is too slow."""
    wire: float
    """The part of it for bytes and silences."""
    requests_per_s: float
    shares: Mapping[Lane, float]
    """The part of `utilisation` for each lane together with earlier ones."""
    alarms: tuple[AlarmBound, ...]
    silent_told: Mapping[str, float]
    """Device -> time from its death to the third miss."""
    late: tuple[BlockLoad, ...]
    """Blocks that cannot be read at their period, because their lane and the earlier ones need more than the line
    has."""


Gap = Callable[..., float]
"""(extra seconds, dead device) -> the longest time between two reads of one block."""


class Turn(NamedTuple):
    """A block in the schedule."""

    device: str
    lane: Lane
    every: float
    cost: float
    """Wire, latency and this machine."""
    varies: float = 0.0
    """The part of it that does not occur each time."""


class Dead(NamedTuple):
    """The highest cost of one dead device."""

    ahead: int
    """Time-outs before the next read of the analysed block."""
    beside: int
    """Those of them in the lane of the analysed block."""
    more: int
    """Further time-outs, one per longest patience, because its reads are in a later lane."""
    miss: float
    """One time-out, including the quiet time after it."""
    probe: float
    """From the third time-out to a probe."""


class _Pushed(NamedTuple):
    """Reads of a later lane that go before an earlier lane."""

    later: float
    """The longest read of a later lane."""
    pause: float
    """The least pause between two such reads."""
    dead: Dead

    def within(self, window: float) -> float:
        """How much of a window of this length it takes."""
        reads = min(self.later * floor(window / WAIT_LEAST_S), window * self.rate_of_reads)
        misses = min(self.dead.more, floor(window / WAIT_MOST_S)) * self.dead.miss
        return self.later + reads + misses + _probes(self.dead, window)

    @property
    def rate_of_reads(self) -> float:
        """The long-term share of reads of a later lane."""
        return self.later / (self.later + self.pause)

    @property
    def rate(self) -> float:
        """The long-term share of all of it."""
        return self.rate_of_reads + self.dead.miss / timeouts.PROBE_LAST_S

    @property
    def once(self) -> float:
        """The constant part: `once` plus `rate` times the window is never less than `within`."""
        return self.later + (self.dead.more + _DOUBLINGS) * self.dead.miss


NOBODY = Dead(0, 0, 0, 0.0, inf)


class _Line(NamedTuple):
    """Values that are computed once per line."""

    load: LineLoad
    turns: tuple[Turn, ...]
    by_device: Mapping[str, Sequence[Turn]]
    misses: Mapping[str, float]
    """Device -> `_miss`."""
    confirms: Sequence[tuple[float, str]]
    """The total of the confirm reads of each point, longest last."""
    confirmed: frozenset[str]
    """Points with confirm reads."""


def load_of(line: str, asked: PlannedLine, confirm: Mapping[str, int], latency: Mapping[str, float]) -> LineLoad:
    """The load of a driver's blocks on its line. Touches no hardware.

    `confirm`: by `device.point`, for every point with an alarm. `latency`: by device; `LATENCY_S` if missing.
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
    """The bounds of one line: never below what can happen under the assumptions of this module."""
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
    """The longest side request of any device."""
    if not load.aside:
        return 0.0
    return load.aside + max((_device(load, block.device).latency for block in load.blocks), default=0.0) + load.turn


def _miss(load: LineLoad, name: str, wire: float) -> float:
    """The longest time that the line is occupied when a device does not answer, or answers again for the first time.

    That is the request, the time-out and the quiet time until a late answer has passed; or, when it returns, the quiet
    time after a refusal in the proof (see `_proofs`) and the wanted read.
    """
    device = _device(load, name)
    return device.ceiling + 3 * wire + 2 * device.latency + load.turn


def _proofs(load: LineLoad) -> float:
    """The proofs that a dying device causes: one after the first unanswered read, one when it is back."""
    return 2 * _PROOF * _aside(load)


def _others(line: _Line, mine: str) -> float:
    """The confirm reads of other points that are confirmed at the same time as `mine`."""
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
    """The worst case of each kind, for every device that could die."""
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
    """The most time-outs of one device before the next read of `mine`, and how many more in the long run.

    If a device dies while a point of it is confirmed, the confirm read counts, but not the point's block.
    """
    single = len(theirs) == 1
    if all(turn.lane > mine.lane for turn in theirs):
        confirms = min(line.load.others, sum(1 for point in line.confirmed if point.startswith(f"{name}.")))
        ahead = (
            1 if single else min(timeouts.MISSES, 1 + confirms)
        )  # the one under way; the same holds for probes of a silent device
        return ahead, timeouts.MISSES - ahead
    alone = single and line.load.in_flight == 1 and theirs[0].lane == mine.lane
    return (1 if alone and min(theirs[0].every, timeouts.MISSED_AGAIN_S) >= mine.every else timeouts.MISSES), 0


def _probe_after(device: DeviceLoad) -> float:
    """The shortest time from the third miss to the first probe; each consecutive miss doubles the time-out."""
    third = min(device.ceiling, device.floor * (1 << (timeouts.MISSES - 1)))
    return timeouts.first_probe(third)


def _one_dead(gap: Gap, dead: Dead, mine: Turn, point: PointLoad, others: float, reads: float) -> float:
    """Each confirm read may meet one more time-out; after three there are only probes, which come later."""
    most = dead.ahead + point.confirm - 1
    first = gap(others, dead) + reads
    worst = first + (min(most, timeouts.MISSES) - dead.ahead) * dead.miss
    if most > timeouts.MISSES and worst - mine.every >= (timeouts.MISSES - 1) * dead.miss + dead.probe:
        worst = first + (most - dead.ahead) * dead.miss
    return worst


def _silent_told(line: _Line, name: str) -> float:
    """The longest time from a device's last answer to its third consecutive miss, by the block with the least bound.

    It counts one time-out per gap: if another block has more in one gap, the third miss comes sooner.
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
    """The time from the start of one read of `mine` to the answer of the next, if orders take `extra` meanwhile."""
    earlier = [turn for turn in turns if turn.lane < mine.lane]
    same = [turn for turn in turns if turn.lane == mine.lane and turn is not mine]
    later = max((turn.cost for turn in turns if turn.lane > mine.lane), default=0.0)
    # With several requests in flight, a block that is read beside `mine` may come once more before its next turn.
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
                # `most`: one of them may have cost nothing the last time.
                in_time = min(in_time, disturbed + varies + most + mine.cost)
                return mine.every + in_time
        return mine.every + max(in_time, mine.cost + past_deadline)

    return cache(gap)


def _yielded(turns: Sequence[Turn], same: Sequence[Turn], mine: Turn) -> Callable[[Dead], float]:
    """The wait before one read of each block of a lane, without these reads, if earlier lanes use the whole line.

    Before each read: the lane's patience after the previous one, and the request then under way.
    """
    longest = max(turn.cost for turn in turns)
    pauses = sum(patience(turn.cost) for turn in same)
    first = max(patience(turn.cost) for turn in (*same, mine))

    def ahead(dead: Dead) -> float:
        return first + pauses + WAIT_MOST_S * dead.beside + (len(same) + 1 + dead.beside) * longest

    return ahead


def _probes(dead: Dead, window: float) -> float:
    """The cost of probes in a window in addition to the time-outs before them, which must have ended by then."""
    most, cost, pause, spent = 0.0, 0.0, dead.probe, dead.probe
    while spent <= window:
        cost += dead.miss
        most = max(most, cost - max(0.0, dead.ahead * dead.miss - (window - spent)))
        pause = min(2.0 * pause, timeouts.PROBE_LAST_S)
        spent += pause
    return most


def _by_period(turns: Sequence[Turn]) -> Mapping[float, float]:
    """Period -> cost of all its turns."""
    costs: dict[float, float] = {}
    for turn in turns:
        costs[turn.every] = costs.get(turn.every, 0.0) + turn.cost
    return costs


def _window(once: float, repeated: Mapping[float, float], pushed: _Pushed) -> float:
    """How long `once` takes while `repeated` (period -> cost) and `pushed` go first.

    Infinite if these need all the time.
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
    # 2 + ceil(w) <= 3 + w: a safe, longer window.
    return (once + 3 * sum(repeated.values()) + pushed.once) / (1.0 - share)

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.driver import Block
from gateway.field.schedule import PROBE_WAIT_S, WAIT_LEAST_S, WAIT_MOST_S, Job, Schedule, patience
from gateway.field.timeouts import ProbeWait
from gateway.model import Lane

Turn = tuple[float, str, Lane]


def block(device: str, every: float = 1.0, lane: Lane = Lane.NORMAL, wire: float = 0.01) -> Block:
    return Block(device, (f"p{every}",), lane, every, wire, None)


def simulate(
    schedule: Schedule, until: float, *, cost: float | None = None, dead: frozenset[str] = frozenset()
) -> list[Turn]:
    """Play a line: a job takes its wire time (or `cost`), the dead take a time-out and are silent after three."""
    now = 0.0
    turns: list[Turn] = []
    misses: dict[str, int] = {}
    probes = {name: ProbeWait() for name in dead}
    while now < until:
        job = schedule.next(now)
        if isinstance(job, float):
            assert job > now
            now = min(job, until)
            continue
        name = job.block.device if job.block else str(job.item)
        turns.append((now, name, job.lane))
        if name not in dead:
            now += cost if cost is not None else job.block.wire if job.block else 0.01
            schedule.done(job, now)
            continue
        now += 0.3
        misses[name] = misses.get(name, 0) + 1
        if misses[name] == 3:
            schedule.silence(name, now, probes[name].next(0.3))
        elif misses[name] > 3:
            schedule.probe_next(job, now, probes[name].next(0.3))
        else:
            schedule.done(job, now)
    return turns


blocks_of_a_line = st.lists(
    st.builds(
        block,
        device=st.sampled_from([f"d{n}" for n in range(6)]),
        every=st.sampled_from([0.1, 0.25, 1.0, 3.0, 10.0]),
        lane=st.sampled_from([Lane.ALARM, Lane.NORMAL]),
        wire=st.floats(0.001, 0.05),
    ),
    min_size=1,
    max_size=25,
)


@given(blocks_of_a_line)
def test_everything_is_read_at_once_after_the_start_alarms_first(blocks: list[Block]) -> None:
    schedule = Schedule(blocks, 0.0)
    firsts = []
    for _ in blocks:
        job = schedule.next(0.0)
        assert isinstance(job, Job)
        firsts.append(job)
    assert {job.block for job in firsts} == set(blocks)
    lanes = [job.lane for job in firsts]
    assert lanes == sorted(lanes)


@given(blocks_of_a_line)
def test_lanes_are_strict_and_the_earliest_deadline_goes_first(blocks: list[Block]) -> None:
    schedule = Schedule(blocks, 0.0)
    due = dict.fromkeys(blocks, 0.0)
    deadline: dict[Block, float] = {}
    now = 0.0
    overtaken = 0.0
    """Since when nothing of the normal lane has had a turn, though something waits."""
    for _ in range(150):
        job = schedule.next(now)
        if isinstance(job, float):
            assert min(due.values()) == job
            now = job
            continue
        assert job.block is not None
        ready = [b for b in blocks if due[b] <= now]
        if job.lane is Lane.NORMAL or all(b.lane is Lane.ALARM for b in ready):
            assert job.lane == min(b.lane for b in ready) or now - overtaken >= WAIT_LEAST_S
            overtaken = now
        else:
            assert job.lane is Lane.ALARM
            assert now - overtaken < WAIT_LEAST_S + WAIT_MOST_S, "the normal lane has its share"
        if job.block in deadline:  # not its first read: those go before all later ones
            rivals = [b for b in ready if b.lane == job.lane]
            assert deadline.keys() >= set(rivals)
            assert job.due + job.every == min(deadline[b] for b in rivals)
        now += job.block.wire
        schedule.done(job, now)
        due[job.block] = job.due
        deadline[job.block] = job.due + job.every


@given(blocks_of_a_line)
def test_the_line_never_rests_while_something_is_due(blocks: list[Block]) -> None:
    schedule = Schedule(blocks, 0.0)
    now = 0.0
    dues = dict.fromkeys(blocks, 0.0)
    for _ in range(100):
        job = schedule.next(now)
        if isinstance(job, float):
            assert min(dues.values()) >= job > now
            now = job
        else:
            assert job.block is not None
            now += job.block.wire
            schedule.done(job, now)
            dues[job.block] = job.due


@given(blocks_of_a_line)
def test_the_same_line_makes_the_same_decisions(blocks: list[Block]) -> None:
    assert simulate(Schedule(blocks, 0.0), 5.0) == simulate(Schedule(blocks, 0.0), 5.0)


@given(st.lists(st.sampled_from([0.5, 1.0, 2.0]), min_size=1, max_size=10), st.floats(0.0001, 0.02))
def test_turns_do_not_drift(periods: list[float], cost: float) -> None:
    blocks = [block(f"d{n}", every) for n, every in enumerate(periods)]
    turns = simulate(Schedule(blocks, 0.0), 100.0, cost=cost)
    for number, every in enumerate(periods):
        mine = [at for at, name, _ in turns if name == f"d{number}"]
        # The first read is extra; from the second one on there is one in each period, whatever each took.
        assert abs(len(mine) - 1 - 100.0 / every) <= 1
        grid = [at - round((at - mine[1]) / every) * every - mine[1] for at in mine[1:]]
        assert max(map(abs, grid)) <= cost * (len(periods) + 1) + 1e-9


@given(st.integers(2, 40))
def test_second_turns_are_spread_over_the_period(count: int) -> None:
    turns = simulate(Schedule([block(f"d{n}", 10.0, wire=0.0) for n in range(count)], 0.0), 9.999, cost=0.0)
    seconds = sorted(at for at, _, _ in turns[count:])
    assert len(seconds) >= count - 1
    assert max(b - a for a, b in pairwise([0.0, *seconds])) <= 1.2 * 10.0 / count + 0.5


def test_second_turns_do_not_come_early_on_a_line_without_room() -> None:
    blocks = [block(f"d{n}", 1.0, wire=0.085) for n in range(10)]
    schedule = Schedule(blocks, 0.0)
    turns = simulate(schedule, 30.0)
    for name in {b.device for b in blocks}:
        mine = [at for at, who, _ in turns if who == name]
        assert all(0.9 <= b - a <= 1.1 for a, b in pairwise(mine))
    assert schedule.overruns == 0


@given(blocks_of_a_line, st.floats(1.5, 6.0))
def test_nobody_in_a_lane_starves_on_a_line_that_is_too_slow(blocks: list[Block], factor: float) -> None:
    same = [Block(b.device, b.points, Lane.NORMAL, b.every, b.wire, None) for b in blocks]
    load = sum(1 / b.every for b in same)
    cost = factor / load
    schedule = Schedule(same, 0.0)
    now = 0.0
    served: dict[Block, float] = {}
    worst = 0.0
    for _ in range(40 * len(same)):
        job = schedule.next(now)
        if isinstance(job, float):
            now = job
            continue
        assert job.block is not None
        if job.block in served:
            worst = max(worst, (now - served[job.block]) / (job.block.every + len(same) * cost))
        served[job.block] = now
        now += cost
        schedule.done(job, now)
    assert len(served) == len(same)
    assert worst <= 2.5


def test_what_was_missed_is_skipped_and_counted() -> None:
    schedule = Schedule([block("d", 1.0)], 0.0)
    job = schedule.next(0.0)
    assert isinstance(job, Job)
    phase = job.due
    assert schedule.done(job, 5.25) == int(5.25 - (phase + 1.0)) == 4
    late = schedule.next(5.25)
    assert late is job, "due at once"
    assert schedule.done(job, 5.3) == 0
    assert schedule.next(5.3) == job.due == 6.25
    assert schedule.overruns == int(5.25 - (phase + 1.0))


def test_on_a_line_that_is_too_slow_all_are_late_by_the_same() -> None:
    blocks = [block(f"d{n}", 1.0, Lane.ALARM, wire=0.046) for n in range(32)]
    turns = simulate(Schedule(blocks, 0.0), 300.0)
    for one in blocks:
        mine = [at for at, name, _ in turns if name == one.device]
        assert max(b - a for a, b in pairwise(mine)) <= 32 * 0.046 + 0.05


@pytest.mark.parametrize("wire", [0.02, 0.2])
def test_behind_a_full_alarm_lane_normal_reads_get_one_part_in_twenty(wire: float) -> None:
    alarms = [block(f"d{n}", 1.0, Lane.ALARM, wire=0.046) for n in range(32)]
    meters = [block(f"m{n}", 1.0, wire=wire) for n in range(10)]
    turns = simulate(Schedule([*alarms, *meters], 0.0), 600.0)
    normal = [at for at, _, lane in turns if lane is Lane.NORMAL]
    assert max(b - a for a, b in pairwise(normal)) <= patience(wire) + wire + 0.1
    assert wire * len(normal) <= 0.05 * 600.0 + wire
    counts = [sum(1 for _, name, _ in turns if name == one.device) for one in meters]
    assert max(counts) - min(counts) <= 1


def test_a_probe_has_its_turn_on_a_line_that_is_asked_for_too_much() -> None:
    alarms = [block(f"d{n}", 1.0, Lane.ALARM, wire=0.046) for n in range(33)]
    meters = [block(f"m{n}", 1.0, wire=0.02) for n in range(3)]
    turns = simulate(Schedule([*alarms, *meters], 0.0), 600.0, dead=frozenset({"d7"}))
    probes = [at for at, name, _ in turns if name == "d7"][3:]
    waits = ProbeWait()
    for before, after in pairwise(probes):
        assert after - before <= max(waits.next(0.3), waits.next(0.3)) + 0.3 + PROBE_WAIT_S + 0.1 < 60.0
    assert len(probes) >= 10


def test_an_order_goes_before_a_share() -> None:
    schedule = Schedule([block("a", 1.0, Lane.ALARM), block("n", 1.0)], 0.0)
    schedule.request("order", Lane.ORDER, 0.0)
    job = schedule.next(500.0)
    assert isinstance(job, Job)
    assert job.item == "order"


def test_a_retry_comes_soon_but_behind_all_who_are_due_within_a_period() -> None:
    blocks = [block(f"d{n}", 1.0, Lane.ALARM) for n in range(3)]
    schedule = Schedule(blocks, 0.0)
    while isinstance(job := schedule.next(0.0), Job):
        schedule.done(job, 0.0)
    schedule.retry(blocks[0], 0.01)
    assert schedule.next(0.01) == 0.26
    late = [job.block for _ in blocks if isinstance(job := schedule.next(1.2), Job)]
    assert late[-1] is blocks[0]


def test_a_request_goes_first_and_requests_go_in_order() -> None:
    schedule = Schedule([block("d", lane=Lane.ALARM)], 0.0)
    schedule.request("one", Lane.ORDER, 0.0)
    schedule.request("two", Lane.ORDER, 0.001)
    schedule.request("later", Lane.ORDER, 0.001, due=2.0)
    first, second, third = (schedule.next(0.5) for _ in range(3))
    assert isinstance(first, Job)
    assert isinstance(second, Job)
    assert isinstance(third, Job)
    assert (first.item, second.item) == ("one", "two")
    assert third.block is not None
    assert schedule.take_requests() == ["later"]
    assert schedule.next(5.0) == math.inf


def test_a_silent_device_is_only_probed_by_turns_and_comes_back_as_a_whole() -> None:
    blocks = [block("a", 1.0), block("a", 2.0), block("b", 1.0)]
    schedule = Schedule(blocks, 0.0)
    running = schedule.next(0.0)
    assert isinstance(running, Job)
    schedule.silence("a", 0.0, 2.0)
    schedule.done(running, 0.1)
    asked: list[tuple[float, Block | None]] = []
    now = 0.1
    while len(asked) < 4:
        job = schedule.next(now)
        if isinstance(job, float):
            now = job
        elif job.lane is Lane.PROBE:
            asked.append((now, job.block))
            schedule.probe_next(job, now, 5.0)
        else:
            assert job.block is blocks[2]
            schedule.done(job, now)
    assert [at for at, _ in asked] == [2.0, 7.0, 12.0, 17.0]
    assert {b for _, b in asked} == set(blocks[:2])
    schedule.restore("a", now)
    due: set[Block | None] = set()
    while isinstance(job := schedule.next(now), Job):
        due.add(job.block)
    assert set(blocks[:2]) <= due


def test_parts_take_the_place_of_a_refused_block_for_good() -> None:
    whole, other = block("a", 1.0), block("a", 5.0)
    schedule = Schedule([whole, other], 0.0)
    jobs = [schedule.next(0.0), schedule.next(0.0)]
    running = next(j for j in jobs if isinstance(j, Job) and j.block is whole)
    parts = [block("a", 1.0), block("a", 1.0)]
    schedule.replace(whole, parts, 0.1)
    schedule.done(running, 0.1)
    assert list(schedule.blocks("a")) == [*parts, other]
    due = {job.block for job in (schedule.next(0.1), schedule.next(0.1)) if isinstance(job, Job)}
    assert due == set(parts)
    schedule.restart(1.0)
    again = {job.block for job in (schedule.next(1.0) for _ in range(3)) if isinstance(job, Job)}
    assert again == {*parts, other}
    assert not isinstance(schedule.next(1.0), Job)


def test_postpone_and_hasten_move_only_what_waits() -> None:
    one, two, three = block("a", 10.0), block("a", 20.0), block("b", 10.0)
    schedule = Schedule([one, two, three], 0.0)
    schedule.postpone("a", 0.0, 3.0)
    job = schedule.next(0.0)
    assert isinstance(job, Job)
    assert job.block is three
    assert schedule.next(0.0) == 3.0
    schedule.hasten(one, 1.0)
    job = schedule.next(1.0)
    assert isinstance(job, Job)
    assert job.block is one
    schedule.hasten(one, 1.5)
    assert schedule.next(1.5) == 3.0


def test_a_device_is_asked_often_enough_to_notice_its_silence() -> None:
    schedule = Schedule([block("slow", 600.0), block("slow", 900.0)], 0.0, life=20.0)
    turns = simulate(schedule, 600.0)
    gaps = [b[0] - a[0] for a, b in pairwise(turns)]
    assert max(gaps) <= 20.1


@pytest.mark.parametrize("dead_count", [1, 2])
def test_the_living_keep_their_period_when_others_are_dead(dead_count: int) -> None:
    blocks = [block(f"d{n}", 1.0, wire=0.06) for n in range(8)]
    dead = frozenset(f"d{n}" for n in range(dead_count))
    turns = simulate(Schedule(blocks, 0.0), 600.0, dead=dead)
    for name in {b.device for b in blocks} - dead:
        gaps = sorted(b - a for a, b in pairwise([at for at, who, _ in turns if who == name]))
        assert gaps[int(0.95 * len(gaps))] <= 1.5
        assert gaps[-1] <= 2.5
    for name in dead:
        assert 0.3 * sum(1 for at, who, _ in turns if who == name and at > 5.0) <= 0.05 * 595.0

"""When planned rounds run: time zones, summer time, clocks that step, boxes that were off."""

import time
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.model import Instant
from gateway.site.calendar import RUNS_WITHIN_S, SINGLY, Calendar, Plan, comes

BERLIN, SHANGHAI = "Europe/Berlin", "Asia/Shanghai"
DAY = 86400.0


def wall(text: str, zone: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


def local(at: float, zone: str) -> str:
    return datetime.fromtimestamp(at, ZoneInfo(zone)).strftime("%m-%d %H:%M%z")


def planned(expression: str, zone: str, first: str, last: str) -> list[str]:
    return [local(at, zone) for at in Calendar(expression, zone).between(wall(first, zone), wall(last, zone))]


@pytest.mark.parametrize(
    ("expression", "zone", "first", "last", "expected"),
    [
        ("0 2 * * *", SHANGHAI, "2026-11-21", "2026-11-23", ["11-21 02:00+0800", "11-22 02:00+0800"]),
        # Skipped by summer time: at the first minute after the gap, once.
        ("30 2 * * *", BERLIN, "2026-03-28T03:00", "2026-03-30T03:00", ["03-29 03:00+0200", "03-30 02:30+0200"]),
        # Twice by winter time: once.
        ("30 2 * * *", BERLIN, "2026-10-24T03:00", "2026-10-26T03:00", ["10-25 02:30+0200", "10-26 02:30+0100"]),
        # `*` follows the clock: both hours, none that does not exist.
        (
            "0 * * * *", BERLIN, "2026-10-25T01:30", "2026-10-25T03:00",
            ["10-25 02:00+0200", "10-25 02:00+0100", "10-25 03:00+0100"],
        ),
        ("0 * * * *", BERLIN, "2026-03-29T00:30", "2026-03-29T03:30", ["03-29 01:00+0100", "03-29 03:00+0200"]),
        (
            "0 6 1,15 * mon", SHANGHAI, "2026-11-01", "2026-11-10",
            ["11-01 06:00+0800", "11-02 06:00+0800", "11-09 06:00+0800"],
        ),
    ],
)  # fmt: skip
def test_planned_minutes(expression: str, zone: str, first: str, last: str, expected: list[str]) -> None:
    assert planned(expression, zone, first, last) == expected


def test_a_minute_that_never_comes() -> None:
    assert not comes("0 0 30 2 *")
    assert not comes("0 0 31 4,6,9,11 *")
    assert comes("0 0 29 2 *")


class Box:
    """A plan, its memory and a clock that can be set."""

    def __init__(self, expression: str, at: float, zone: str = SHANGHAI) -> None:
        self.calendar = Calendar(expression, zone)
        self.plan = Plan(self.calendar)
        self.mono, self.wall, self.synced = 100.0, at, True
        self.ran: list[float] = []
        self.missed: list[float] = []
        self.summed = 0
        self.look()

    def look(self) -> None:
        """As a site without fire: what may run runs."""
        now = Instant(self.mono, self.wall, self.synced)
        due, missed, leapt = self.plan.look(now)
        self.missed += missed.singly
        self.summed += missed.others
        if missed.until is not None:
            self.plan.handled(missed.until, now, ran=False, leapt=leapt)
        if due is not None:
            self.ran.append(due)
            self.plan.handled(due, now, ran=True, leapt=leapt)

    def pass_(self, seconds: float) -> None:
        until = self.mono + seconds
        while self.mono < until:
            step = min(300.0, until - self.mono)
            self.mono += step
            self.wall += step
            self.look()

    def set_clock(self, seconds: float, *, synced: bool = True) -> None:
        self.wall += seconds
        self.synced = synced
        self.look()

    def restart(self, off: float = 0.0) -> None:
        memory = self.plan.memory()
        self.plan = Plan(self.calendar)
        self.plan.restore(memory)
        self.mono, self.wall = 50.0, self.wall + off
        self.look()


START = wall("2026-11-21T12:00", SHANGHAI)


def test_a_week_runs_seven_times() -> None:
    box = Box("0 2 * * *", START)
    box.pass_(7 * DAY)
    assert len(box.ran) == 7
    assert box.missed == []


def test_a_new_round_has_missed_nothing() -> None:
    box = Box("0 2 * * *", START)
    assert box.ran == box.missed == []


def test_a_short_stop_runs_late_within_ten_minutes_and_a_long_one_not() -> None:
    box = Box("0 2 * * *", wall("2026-11-21T01:58", SHANGHAI))
    box.restart(off=11 * 60.0)  # 02:09
    assert [local(at, SHANGHAI) for at in box.ran] == ["11-21 02:00+0800"]
    box.pass_(DAY - 11 * 60.0)  # 01:58
    box.restart(off=RUNS_WITHIN_S + 180.0)  # 02:11
    assert len(box.ran) == 1
    assert [local(at, SHANGHAI) for at in box.missed] == ["11-22 02:00+0800"]


def test_restarts_and_second_looks_run_nothing_twice() -> None:
    box = Box("0 * * * *", START)
    box.pass_(3600.0)
    for _ in range(3):
        box.restart()
        box.look()
    assert len(box.ran) == 1


@pytest.mark.parametrize("step", [-3600.0, -DAY, -7 * DAY])
def test_a_clock_that_is_set_back_runs_nothing_twice_and_goes_on(step: float) -> None:
    box = Box("0 * * * *", START)
    box.pass_(8 * DAY)
    box.set_clock(step)
    box.restart()
    box.pass_(-step + 2 * DAY)
    assert len(box.ran) == len(set(box.ran)) == 24 * 10
    assert box.missed == []


def test_a_clock_that_jumps_over_the_hour_misses_it_or_runs_it_within_ten_minutes() -> None:
    box = Box("0 * * * *", wall("2026-11-21T12:58", SHANGHAI))
    box.set_clock(300.0)
    assert len(box.ran) == 1
    box.pass_(55 * 60.0)  # 13:58
    box.set_clock(3600.0)
    assert [local(at, SHANGHAI) for at in box.missed] == ["11-21 14:00+0800"]


def test_a_wrong_year_is_no_year_without_rounds() -> None:
    box = Box("0 2 * * *", START)
    box.set_clock(10 * 365 * DAY, synced=False)
    box.pass_(DAY)
    box.set_clock(-10 * 365 * DAY)
    ran = len(box.ran)
    box.restart()
    box.pass_(7 * DAY)
    assert len(box.ran) - ran == 7


@pytest.mark.parametrize("begin", ["2026-03-26T12:00", "2026-10-22T12:00"])
def test_a_week_over_summer_time_steps_and_an_unsynced_clock(begin: str) -> None:
    """Every planned minute of the week is run or told as missed, none twice."""
    box = Box("30 */2 * * *", wall(begin, BERLIN), BERLIN)
    box.pass_(DAY)
    box.set_clock(7200.0)  # over two of them at most
    box.pass_(DAY)
    box.set_clock(-7200.0)
    box.pass_(DAY)
    box.synced = False
    box.restart(off=5 * 3600.0)
    box.pass_(DAY)
    box.set_clock(1800.0)
    box.pass_(3 * DAY)
    wanted = [*Calendar("30 */2 * * *", BERLIN).between(wall(begin, BERLIN), box.wall)]
    assert sorted([*box.ran, *box.missed]) == wanted
    assert len(box.ran) >= len(wanted) - 5


def test_nights_that_a_fast_clock_claimed_at_the_start_are_run_once_it_is_right() -> None:
    """A hardware clock three days ahead, not synced: what it tells as missed has not been."""
    box = Box("0 2 * * *", START)
    box.pass_(DAY)
    box.synced = False
    box.restart(off=3 * DAY)
    box.set_clock(-3 * DAY)
    before = len(box.ran)
    box.pass_(3 * DAY)
    assert len(box.ran) == len(set(box.ran)) == before + 3


def test_a_clock_that_is_a_year_back_and_right_again_costs_no_time() -> None:
    """A round that ran each minute of a year: half a million minutes are not looked at one by one."""
    calendar = Calendar("* * * * *", "Asia/Shanghai")
    plan, end = Plan(calendar), START + 365 * DAY
    plan.restore({"cron": calendar.key, "mark": end, "spans": [[START, end - 300.0]]})
    began = time.process_time()
    for wall, missed in ((START + DAY, 0), (START + 2 * DAY, 0), (end + 3600.0, 64)):
        due, lost, _ = plan.look(Instant(1000.0, wall, synced=True))
        assert (len(lost.singly) + lost.others, due is not None) == (missed, missed > 0)
    assert time.process_time() - began < 0.1


def test_1970_runs_nothing_twice() -> None:
    box = Box("0 2 * * *", START)
    box.pass_(2 * DAY)
    box.set_clock(-box.wall, synced=False)
    box.pass_(DAY)
    box.set_clock(START + 3 * DAY - box.wall)
    box.pass_(DAY)
    assert len(box.ran) == len(set(box.ran))


def test_what_was_missed_is_told_singly_and_then_summed() -> None:
    box = Box("*/5 * * * *", START)
    box.restart(off=DAY)
    assert len(box.missed) == SINGLY
    assert box.summed == 288 - 1 - SINGLY  # the last one runs
    box = Box("* * * * *", START)
    box.restart(off=3650 * DAY)  # bounded, whatever the clock says
    assert 2000 <= box.summed <= 2010
    ran = len(box.ran)
    box.pass_(300.0)
    assert len(box.ran) > ran


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("pass"), st.floats(1.0, 4 * 3600.0)),
            st.tuples(st.just("step"), st.floats(-2 * DAY, 2 * DAY)),
            st.tuples(st.just("off"), st.floats(0.0, DAY)),
        ),
        max_size=12,
    )
)
def test_no_key_ever_runs_twice_while_the_clock_is_vouched_for(events: list[tuple[str, float]]) -> None:
    box = Box("*/20 * * * *", START)
    for what, seconds in events:
        if what == "pass":
            box.pass_(seconds)
        elif what == "step":
            box.set_clock(seconds)
        else:
            box.restart(off=seconds)
    assert len(box.ran) == len(set(box.ran))
    assert not set(box.ran) & set(box.missed)

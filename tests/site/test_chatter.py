"""Alarms that change too often: told once, summed once a minute, quiet again after five minutes; fires never."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model import DeviceHealth, Emit
from gateway.site.chatter import MANY, MINUTE_S, QUIET_MINUTES
from gateway.site.settings import Ref
from tests.site.compound import Compound

LOW = "tank/level/low"
FIRE = "smoke-1/fire/fire"
QUIET_S = (QUIET_MINUTES + 1) * MINUTE_S


def flip(site: Compound, times: int, every: float = 0.1) -> None:
    """The tank is low, and well again, in turn."""
    for _ in range(times):
        site.input("tank.level", 0.5 if site.points[Ref("tank", "level")] == 5.0 else 5.0)
        site.wait(every)


def of(site: Compound, subject: str = LOW) -> list[Emit]:
    return [event for event in site.events if event.subject == subject and event.type != "alarm.overdue"]


def types(site: Compound, subject: str = LOW) -> Counter[str]:
    return Counter(event.type for event in of(site, subject))


def test_ten_changes_a_minute_are_told_one_by_one() -> None:
    site = Compound()
    flip(site, MANY)
    site.wait(MINUTE_S)
    flip(site, MANY)
    assert types(site) == {"alarm.raised": MANY, "alarm.cleared": MANY}
    assert all("chattering" not in event.data for event in of(site))


def test_more_are_told_once_then_summed_once_a_minute_and_quiet_after_five() -> None:
    site = Compound()
    flip(site, 1221)  # two minutes, from the one on that was too many
    told = of(site)
    assert len(told) == MANY + 1 + 2
    first, *sums = told[MANY:]
    assert (first.type, first.data["chattering"], first.data["count"]) == ("alarm.raised", True, MANY + 1)
    assert [(event.type, event.data["chattering"], event.data["active"]) for event in sums] == [
        ("alarm.updated", True, True)
    ] * 2
    assert site.alarm(LOW)["chattering"] is True
    assert len({event.data["alarm"] for event in told[MANY:]}) == 1, "one occurrence"
    flip(site, 1)
    site.wait(QUIET_S)
    last = of(site)[-1]
    assert (last.type, last.data["state"], last.data["chattering"]) == ("alarm.cleared", "normal", False)
    assert str(last.data["cleared_at"]) < last.at.rfc3339(), "since it has been gone, not since it is told"
    counted = sum(int(str(event.data["count"])) for event in of(site)[MANY:] if event.data["count"] is not None)
    assert MANY + counted == 1222 + MANY, "each change was told or counted (the first ten: both)"
    flip(site, 2)
    assert [event.type for event in of(site)[-2:]] == ["alarm.raised", "alarm.cleared"], "as ever again"


def test_one_that_still_holds_when_it_is_quiet_stands_on() -> None:
    site = Compound()
    flip(site, 101)
    site.wait(QUIET_S)
    last = of(site)[-1]
    assert (last.type, last.data["active"], last.data["chattering"], last.data["count"]) == (
        "alarm.updated", True, False, None,
    )  # fmt: skip
    flip(site, 1)
    assert of(site)[-1].type == "alarm.cleared"


@pytest.mark.parametrize("low", [True, False])
def test_it_survives_a_restart(*, low: bool) -> None:
    site = Compound()
    flip(site, 100 + low)
    told = len(of(site))
    for _ in range(5):
        site.stop()
        flip(site, 40)
    assert len(of(site)) <= told + 1, "after a restart it is chattering still"
    site.stop()
    site.answer("tank", ("level",))  # a line tells everything once
    site.wait(QUIET_S)
    assert bool(site.alarm(LOW)) is low


def test_fires_are_never_folded() -> None:
    site = Compound()
    for _ in range(200):
        for value in (1, 0):
            site.input("smoke-1.fire", value)
            site.wait(0.1)
    told = of(site, FIRE)
    assert len(told) == 400
    assert all("chattering" not in event.data for event in told)


def test_a_fire_beside_it_is_as_quick_as_ever() -> None:
    site = Compound()
    for _ in range(30):
        flip(site, 20, 0.01)
    before = site.now
    site.burn("smoke-1", "smoke-2")
    assert site.on("board.do2")
    assert of(site, "smoke-2/fire/fire")[0].at.mono - before < 0.3


@pytest.mark.parametrize("subject", ["loop/down", "smoke-3/silent"])
def test_a_line_and_a_device_that_flap_are_one_alarm_with_a_count(subject: str) -> None:
    site = Compound()
    for n in range(100):
        if subject == "loop/down":
            site.line("loop", up=n % 2 == 1)
        else:
            site.feed(DeviceHealth("smoke-3", n % 2 == 1, "3 misses", site.instant()))
        site.wait(0.5)
    told = of(site, subject)
    assert len(told) == MANY + 1
    site.wait(QUIET_S)
    assert not site.alarm(subject)
    site.line("loop", up=False)
    assert site.alarm("loop/down"), "the next loss is told as ever"


def test_a_device_that_flaps_counts_for_linkage_as_it_is() -> None:
    site = Compound()
    for n in range(101):
        site.line("loop", up=n % 2 == 0)
        site.wait(0.1)
    assert site.alarm("loop/down")["chattering"] is True, "though the line is up"
    assert not site.alarm("b3/linkage-degraded") or site.alarm("b3/linkage-degraded")["chattering"]
    site.burn("smoke-1", "smoke-2")
    assert site.on("board.do2")


def test_a_reset_ends_one_that_is_latched_and_chattering() -> None:
    site = Compound()
    for n in range(101):
        site.input("gauge.level", 0.5 if n % 2 == 0 else 5.0)
        site.wait(0.1)
    site.input("gauge.level", 5.0)
    standing = site.alarm("gauge/level/low")
    assert (standing["chattering"], standing["active"], standing["latched"]) == (True, True, True)
    assert site.person("alarm.reset", alarm=standing["alarm"])["ok"]
    assert not site.alarm("gauge/level/low")
    last = of(site, "gauge/level/low")[-1]
    assert (last.type, "chattering" in last.data) == ("alarm.reset", False)
    site.wait(QUIET_S)
    site.input("gauge.level", 0.5)
    assert "chattering" not in site.alarm("gauge/level/low")


def test_a_sum_makes_no_sound_again() -> None:
    site = Compound()
    flip(site, 101)
    assert site.on("board.do6")
    site.person("silence")
    site.wait(1.0)
    assert not site.on("board.do6")
    flip(site, 601)
    assert types(site)["alarm.updated"] >= 1
    assert not site.on("board.do6")


CHANGES = st.lists(st.tuples(st.integers(0, 60), st.sampled_from((0.1, 1.0, 5.0, 40.0, 400.0)), st.booleans()))


@given(CHANGES)
def test_however_it_changes_little_is_told_and_the_end_is_right(changes: list[tuple[int, float, bool]]) -> None:
    site = Compound()
    for times, seconds, restart in changes:
        flip(site, times)
        site.wait(seconds)
        if restart:
            site.stop()
            site.answer("tank", ("level",))
    begun = [event.at.mono for event in of(site)]
    starts = 1 + sum(restart for *_, restart in changes)
    for at in begun:
        within = sum(1 for other in begun if at <= other < at + MINUTE_S)
        assert within <= (MANY + 2) * (starts + 1)
    site.wait(2 * QUIET_S)
    assert bool(site.alarm(LOW)) is (site.points[Ref("tank", "level")] == 0.5)
    assert "count" not in site.alarm(LOW) or site.alarm(LOW)["count"] is None
    lives = Counter(event.data["alarm"] for event in of(site) if event.type == "alarm.raised")
    assert set(lives.values()) <= {1}

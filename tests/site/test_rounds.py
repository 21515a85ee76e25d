"""Rounds: each kind of item normal, abnormal and not checkable; findings; restarts; fire; the calendar."""

import hashlib
import json
from dataclasses import replace
from typing import Any

import pytest

from gateway.model import LineHealth, Operate, StoodStill, rfc3339
from gateway.site import items
from gateway.site.items import Judged
from gateway.site.looks import LOOK, Look
from gateway.site.round_run import DUTY, READ
from gateway.site.round_settings import Item, PersonRule, PictureRule, ZoneRule
from gateway.site.settings import Condition
from tests.site.round_world import (
    ALIVE,
    DUTY_ITEM,
    HYDRANT,
    MACHINES,
    MODE,
    PANEL,
    PERSON,
    PHOTO,
    QUIET,
    TESTED,
    YARD,
    Night,
    answered,
    site_of,
)
from tests.site.world import EPOCH, rule

DAY = 86400.0
BAD = {"quality": "BAD", "reason": "out-of-range"}
CASES: list[tuple[Item, dict[str, Any], str, str | None]] = [
    (HYDRANT, {}, "normal", None),
    (HYDRANT, {"hydrant": {"pressure": answered(0.05)}}, "abnormal", "below"),
    (HYDRANT, {"hydrant": {"pressure": answered(0.7)}}, "abnormal", "above"),
    (HYDRANT, {"hydrant": {"pressure": answered(None, **BAD)}}, "not-checkable", "out-of-range"),
    (HYDRANT, {"hydrant": {"failed": "silent"}}, "not-checkable", "silent"),
    (HYDRANT, {"hydrant": {"failed": "line-down"}}, "not-checkable", "line-down"),
    (HYDRANT, {"hydrant": ("unknown", "round.read is not done here")}, "not-checkable", "round.read is not done here"),
    (HYDRANT, {"hydrant": {}}, "not-checkable", "never-read"),
    (HYDRANT, {"hydrant": {"pressure": answered("wet")}}, "abnormal", "no number"),
    (MODE, {}, "normal", None),
    (MODE, {"pump": {"mode": answered(2)}}, "abnormal", "differs"),
    (MODE, {"pump": {"failed": "refused"}}, "not-checkable", "refused"),
    (ALIVE, {}, "normal", None),
    (ALIVE, {"smoke-1": {"failed": "silent"}}, "abnormal", "silent"),
    (ALIVE, {"smoke-1": {"failed": "line-down"}}, "not-checkable", "line-down"),
    (ALIVE, {"smoke-1": {"failed": "not-asked"}}, "not-checkable", "not-asked"),
    (ALIVE, {"smoke-1": {"failed": "refused"}}, "not-checkable", "refused"),
    (YARD, {}, "normal", None),
    (YARD, {"yard": Look("abnormal", "covered")}, "abnormal", "covered"),
    (YARD, {"yard": Look("not-checkable", "glare")}, "not-checkable", "glare"),
    (YARD, {"yard": ("silent", "no picture in time")}, "not-checkable", "unreachable"),
    (YARD, {"yard": ("refused-by-device", "401")}, "not-checkable", "refused"),
    (YARD, {"yard": {"outcome": "fine"}}, "not-checkable", "refused"),
    (YARD, {"yard": {"outcome": "abnormal"}}, "not-checkable", "refused"),
    (DUTY_ITEM, {"panel": {"by": "7"}}, "normal", None),
    (DUTY_ITEM, {"panel": ("silent", "nobody")}, "abnormal", "not answered"),
    (DUTY_ITEM, {"panel": ("unknown", "not done here")}, "not-checkable", "no driver"),
    (DUTY_ITEM, {"panel": ("refused-by-device", "no")}, "not-checkable", "refused"),
]


@pytest.mark.parametrize(("item", "outside", "outcome", "reason"), CASES)
def test_what_is_asked_outside(item: Item, outside: dict[str, Any], outcome: str, reason: str | None) -> None:
    night = Night(plan=site_of(item))
    night.outside |= outside
    night.run()
    found = night.item(item.id)
    assert (found["outcome"], found.get("reason")) == (outcome, reason)
    assert night.told_of("finding.opened") == ([f"nightly/{item.id}"] if outcome == "abnormal" else [])


def test_a_zone() -> None:
    night = Night(plan=site_of(QUIET))
    night.run()
    assert night.item(QUIET.id)["outcome"] == "not-checkable", "its line has not answered yet"
    night.line("loop", up=True)
    night.run()
    assert night.item(QUIET.id)["evidence"]["text"] == "smoke-1, smoke-2", "nothing of the detectors was read yet"
    night.read("smoke-1", "smoke", 0)
    night.read("smoke-2", "smoke", 0)
    night.run()
    assert night.item(QUIET.id)["outcome"] == "normal"
    night.read("smoke-2", "smoke", None)
    night.run()
    found = night.item(QUIET.id)
    assert (found["outcome"], found["reason"], found["evidence"]["text"]) == ("not-checkable", "not seen", "smoke-2")
    night.health("smoke-2", answering=False)
    night.run()
    found = night.item(QUIET.id)
    assert (found["outcome"], found["value"], found["evidence"]["text"]) == ("abnormal", 1, "smoke-2/silent")
    night.do("alarm.shelve", device="smoke-2", **{"for": "1h"})
    night.run()
    assert night.item(QUIET.id)["outcome"] == "abnormal"
    night.health("smoke-2", answering=True)
    night.read("smoke-2", "smoke", 0)
    night.line("loop", up=False)  # nothing stands in the zone, and nothing of it can be seen
    night.run()
    assert (night.item(QUIET.id)["outcome"], night.item(QUIET.id)["reason"]) == ("not-checkable", "not seen")


def test_what_was_read_before_a_restart_says_nothing_of_a_zone_now() -> None:
    night = Night(plan=site_of(QUIET, cron=None))
    night.line("loop", up=True)
    for name in ("smoke-1", "smoke-2"):
        night.read(name, "smoke", 0)
    night.restart()
    night.line("loop", up=True)
    night.run()
    assert (night.item(QUIET.id)["outcome"], night.item(QUIET.id)["reason"]) == ("not-checkable", "not seen")


def test_a_zone_without_a_device_is_not_seen() -> None:
    empty = Item("no_alarm:cellar", "no_alarm", ZoneRule("cellar"))
    night = Night(plan=replace(site_of(empty, cron=None), zones=("b3", "lobby", "cellar")))
    night.run()
    assert (night.item(empty.id)["outcome"], night.item(empty.id)["reason"]) == ("not-checkable", "not seen")


def test_a_zone_is_seen_by_the_components_of_a_panel_that_stands_elsewhere() -> None:
    plan = site_of(QUIET, cron=None)
    there = rule("panel", "c-7", "fire", "fire", Condition(equals=1), zone="b3")
    panel = replace(plan.devices["panel"], rules=(there,), points=frozenset({"c-7"}))
    night = Night(plan=replace(plan, devices={"panel": panel}))
    night.line("panel-line", up=True)
    night.run()
    assert night.item(QUIET.id)["evidence"]["text"] == "panel"
    night.read("panel", "c-7", 0)
    night.run()
    assert night.item(QUIET.id)["outcome"] == "normal"


def test_what_stands_in_a_test_leaves_the_zone_unjudged() -> None:
    night = Night(plan=site_of(QUIET, cron=None))
    night.line("loop", up=True)
    night.do("zone.test", zone="b3", **{"for": "1h"})
    night.read("smoke-1", "smoke", 1)
    night.run()
    assert (night.item(QUIET.id)["outcome"], night.item(QUIET.id)["reason"]) == ("not-checkable", "under test")


def test_a_panel() -> None:
    night = Night(plan=site_of(PANEL))
    night.run()
    assert (night.item(PANEL.id)["outcome"], night.item(PANEL.id)["reason"]) == ("not-checkable", "never-read")
    night.feed(LineHealth("panel-line", True, "", night.instant()))
    night.run()
    assert night.item(PANEL.id)["outcome"] == "normal"
    night.do("device.disable", device="panel", reason="test", **{"for": "1h"})
    night.run()
    assert (night.item(PANEL.id)["outcome"], night.item(PANEL.id)["reason"]) == ("abnormal", "disabled")
    night.feed(LineHealth("panel-line", False, "gone", night.instant()))
    night.run()
    assert (night.item(PANEL.id)["outcome"], night.item(PANEL.id)["reason"]) == ("not-checkable", "silent")


def test_a_panel_whose_faults_cannot_be_read_has_not_none() -> None:
    plan = site_of(PANEL, cron=None)
    fault = rule("panel", "fault", "fault", "fault", Condition(equals=1))
    panel = replace(plan.devices["panel"], rules=(fault,), points=frozenset({"fault"}))
    night = Night(plan=replace(plan, devices={**plan.devices, "panel": panel}))
    night.line("panel-line", up=True)
    night.run()
    assert night.item(PANEL.id)["reason"] == "not seen", "nothing of it was read yet"
    for value, outcome, reason in ((0, "normal", None), (1, "abnormal", "faults"), (None, "not-checkable", "not seen")):
        night.read("panel", "fault", value)
        night.run()
        assert (night.item(PANEL.id)["outcome"], night.item(PANEL.id).get("reason")) == (outcome, reason)


def test_what_was_tested() -> None:
    night = Night(plan=site_of(TESTED, cron=None))
    night.run()
    found = night.item(TESTED.id)
    assert (found["outcome"], found["reason"]) == ("abnormal", "not proven")
    assert found["evidence"]["text"] == "smoke-1, smoke-2"
    night.do("zone.test", zone="b3", **{"for": "1h"})
    for name in ("smoke-1", "smoke-2"):
        night.read(name, "smoke", 1)
        night.read(name, "smoke", 0)
    night.restart()
    night.run()
    assert night.item(TESTED.id)["outcome"] == "normal"
    night.wait(366 * DAY)
    night.run()
    assert night.item(TESTED.id)["outcome"] == "abnormal"


def test_a_run_tells_its_items_in_the_order_of_the_file_and_writes_nothing() -> None:
    night = Night()
    night.feed(LineHealth("panel-line", True, "", night.instant()))
    data = night.run()
    items: Any = data["items"]
    assert [one["item"] for one in items] == [item.id for item in MACHINES]
    assert not any(isinstance(effect, Operate) for effect in night.effects)


# ---- findings ---------------------------------------------------------------------------------------


def test_a_finding_opens_once_and_is_cured_by_normal_only() -> None:
    night = Night(plan=site_of(HYDRANT))
    night.outside["hydrant"] = {"pressure": answered(0.05)}
    night.run()
    night.run()
    night.outside["hydrant"] = {"failed": "silent"}
    night.run()
    assert night.told_of("finding.opened") == ["nightly/point:hydrant.pressure"]
    assert night.told_of("finding.cured") == []
    night.restart()
    night.outside["hydrant"] = {"pressure": answered(0.35)}
    night.run()
    opened, cured = night.inspection("finding.opened")[0].data, night.inspection("finding.cured")[0].data
    assert opened["finding"] == cured["finding"]
    assert (opened["reason"], opened["cured_at"]) == ("below", None)
    assert cured["cured_at"] is not None
    assert not [key for key in night.memory if key.startswith(("finding/", "deadline/"))]


def test_not_checkable_twice_in_a_row_opens_the_finding() -> None:
    night = Night(plan=site_of(YARD))
    night.outside["yard"] = Look("not-checkable", "glare")
    night.run()
    night.outside["yard"] = Look("normal")
    night.run()
    night.outside["yard"] = Look("not-checkable", "glare")
    night.run()
    assert night.told_of("finding.opened") == []
    night.restart()
    night.run()
    assert night.told_of("finding.opened") == ["nightly/camera:yard"]
    assert night.inspection("finding.opened")[0].data["reason"] == "glare"


def test_before_and_after_pictures() -> None:
    night = Night(plan=site_of(YARD))
    night.outside["yard"] = Look("abnormal", "covered", picture="then")
    night.run()
    night.outside["yard"] = Look("normal", picture="now")
    night.run()
    cured = night.inspection("finding.cured")[0].data
    assert (cured["before"], cured["after"]) == (["then"], ["now"])


def test_the_look_is_told_the_picture_of_the_run_before() -> None:
    night = Night(plan=site_of(YARD))
    night.run()
    night.hold = True
    night.run()
    assert night.asked_outside[-1].args["last"] == "pic-1"


def test_a_place_that_looks_another_way_in_three_runs_asks_for_a_person_over_restarts() -> None:
    night = Night(plan=site_of(YARD))
    changed = Look("not-checkable", "changed", "54% of the reference looks another way", picture="now")

    def words(found: Look) -> str:
        night.outside["yard"] = found
        night.run()
        return str(night.item("camera:yard").get("evidence", {}).get("text"))

    assert "person" not in words(changed)
    night.restart()
    assert "person" not in words(changed)
    night.restart()
    assert "person" not in words(Look("not-checkable", "glare", "3% of it is burnt out"))
    assert words(changed) == f"{changed.detail}; so for 3 runs: a person has to look, and to take a new reference"
    assert "so for 4 runs" in words(changed)
    words(Look("normal"))
    assert "person" not in words(changed)


def test_a_count_that_an_older_version_did_not_keep_begins_anew() -> None:
    night = Night(plan=site_of(YARD))
    night.outside["yard"] = Look("not-checkable", "changed")
    night.run()
    night.run()
    known = night.memory["round/last/nightly"]
    assert isinstance(known, dict)
    del known["changed"]
    night.restart()
    night.run()
    assert "evidence" not in night.item("camera:yard")


def test_service_clocks_are_told_once_each_over_restarts() -> None:
    night = Night(plan=site_of(MODE, cron=None))
    night.outside["pump"] = {"mode": answered(2)}
    night.run()
    night.wait(19 * 60.0)
    assert night.told_of("finding.overdue") == []
    night.restart()
    night.wait(2 * 60.0)
    assert len(night.told_of("finding.overdue")) == 1  # answered within 20 min
    night.wait(23 * 3600.0)
    assert len(night.told_of("finding.overdue")) == 1
    night.restart()
    night.wait(2 * 3600.0)
    assert len(night.told_of("finding.overdue")) == 2  # major: 24 h
    night.wait(30 * DAY)
    assert len(night.told_of("finding.overdue")) == 2


def test_a_finding_is_acknowledged_and_graded() -> None:
    night = Night(plan=site_of(MODE, cron=None))
    night.outside["pump"] = {"mode": answered(2)}
    night.run()
    finding = night.inspection("finding.opened")[0].data["finding"]
    args: dict[str, Any] = {"finding": finding, "class": "ordinary", "note": "its handle is broken"}
    assert night.do("finding.acknowledge", "guard", **args)["ok"]
    audited: Any = night.events[-1].data["args"]
    assert audited["note"] == args["note"], "the audit alone has it"
    told = night.inspection("finding.acknowledged")[0].data
    assert (told["acknowledged_by"], told["class"]) == ("li", "ordinary")
    night.wait(29 * 60.0)
    assert night.told_of("finding.overdue") == []  # it was answered
    night.wait(2 * 60.0)
    assert len(night.told_of("finding.overdue")) == 1  # ordinary: solved within 30 min
    assert not night.do("finding.acknowledge", finding="nobody")["ok"]


def test_a_clock_that_was_set_meanwhile_makes_no_graded_finding_overdue() -> None:
    night = Night(plan=site_of(MODE, cron=None), synced=False, step_of_clock=-40 * DAY)
    night.outside["pump"] = {"mode": answered(2)}
    night.run()
    opened = night.now
    night.step_of_clock, night.synced = 0.0, True
    night.wait(5.0)
    for service_class, hours in (("ordinary", 0.5), ("complex", 4.0)):
        finding = night.inspection("finding.opened")[0].data["finding"]
        assert night.do("finding.acknowledge", "guard", finding=finding, **{"class": service_class})["ok"]
        assert night.inspection()[-1].data["resolve_by"] == rfc3339(EPOCH + opened + hours * 3600.0)
    night.wait(3.9 * 3600.0)
    assert night.told_of("finding.overdue") == []
    night.wait(0.2 * 3600.0)
    assert len(night.told_of("finding.overdue")) == 1


def test_a_finding_that_is_late_may_be_given_more_time() -> None:
    night = Night(plan=site_of(MODE, cron=None))
    night.outside["pump"] = {"mode": answered(2)}
    night.run()
    opened = night.now
    finding = night.inspection("finding.opened")[0].data["finding"]
    night.do("finding.acknowledge", "guard", finding=finding, **{"class": "ordinary"})
    night.wait(3600.0)
    night.do("finding.acknowledge", "guard", finding=finding, **{"class": "complex"})
    assert night.inspection()[-1].data["resolve_by"] == rfc3339(EPOCH + opened + 4 * 3600.0)


def test_an_item_that_left_the_file_cures_its_finding_and_a_new_order_nothing() -> None:
    night = Night(plan=site_of(HYDRANT, MODE))
    night.outside |= {"hydrant": {"pressure": answered(0.05)}, "pump": {"mode": answered(2)}}
    night.run()
    night.plan = site_of(MODE, HYDRANT)
    night.restart()
    assert night.told_of("finding.cured") == []
    night.plan = site_of(MODE)
    night.restart()
    cured = night.inspection("finding.cured")
    assert [(one.subject, one.data["reason"]) for one in cured] == [
        ("nightly/point:hydrant.pressure", "no longer in the site file")
    ]
    assert not [key for key in night.memory if "hydrant" in key]


def kept(night: Night) -> list[Any]:
    values: Any = night.memory["round/trend/nightly/point:hydrant.pressure"]
    return list(values)


def seen_burning(night: Night) -> None:
    """One detector is proven, and one of which nobody knows when: the clock is not right from then on."""
    for name, synced in (("smoke-1", True), ("smoke-2", False)):
        night.synced = synced
        night.read(name, "smoke", 1)
        night.read(name, "smoke", 0)


def test_a_file_without_rounds_cures_all_and_forgets_the_rest() -> None:
    night = Night(plan=site_of(HYDRANT, MODE, PHOTO, cron=None))
    seen_burning(night)
    night.outside["hydrant"] = {"pressure": answered(0.05)}
    found = {"picture": "p", "mark": "m", "presence": "ntag424", "uid": "04a1", "counter": 5}
    night.outside["answer"] = found
    night.run()
    begun = night.inspection("inspection.started")[-1].data["run"]
    assert night.do("inspection.answer", run=begun, item=PHOTO.id, ok=True, photo="AA==", tag="x")["ok"]
    night.hold = True
    night.run()
    begun = night.inspection("inspection.started")[-1].data["run"]
    kinds = {key.split("/")[1] for key in night.memory if key.startswith("round/")}
    assert kinds == {"trend", "proven", "undated", "photo", "tag", "last", "run"}
    night.plan = replace(night.plan, inspection=None)
    night.restart()
    assert night.told_of("finding.cured") == ["nightly/point:hydrant.pressure"]
    ended = night.inspection("inspection.finished")[-1].data
    assert (ended["run"], {one["reason"] for one in ended["items"]}) == (begun, {"no longer in the site file"})

    def left() -> list[str]:
        return [key for key in night.memory if key.startswith(("finding/", "round/", "deadline/"))]

    assert left() == ["round/tag/04a1"], "a tag's reading is used once, whatever becomes of rounds"
    before = len(night.events)
    seen_burning(night)
    assert left() == ["round/tag/04a1"], "nothing is kept for rounds that are not there"
    night.restart()
    assert not [one for one in night.events[before:] if one.type.startswith(("inspection.", "finding."))]


def test_a_device_that_is_gone_is_forgotten() -> None:
    night = Night(plan=site_of(TESTED, cron=None))
    seen_burning(night)
    plan = site_of(HYDRANT, cron=None)
    night.plan = replace(plan, devices={"hydrant": plan.devices["hydrant"]})
    night.restart()
    assert not [key for key in night.memory if key.startswith(("round/proven", "round/undated"))]


def test_what_a_run_had_not_looked_at_when_it_left_the_file_is_told_so() -> None:
    night = Night(plan=site_of(HYDRANT, MODE, cron=None), hold=True)
    night.run()
    night.come_one(next(act for act in night.asked_outside if act.args.get("device") == "hydrant"))
    night.plan = site_of(HYDRANT, cron=None)
    night.restart()
    assert night.item(HYDRANT.id)["outcome"] == "normal"
    found = night.item(MODE.id)
    assert (found["outcome"], found["reason"], found["kind"]) == (
        "not-checkable", "no longer in the site file", "point",
    )  # fmt: skip


# ---- trends -----------------------------------------------------------------------------------------


def test_a_sinking_hydrant_is_told_before_it_is_empty() -> None:
    night = Night(plan=site_of(HYDRANT))
    told = None
    for day in range(50):
        night.outside["hydrant"] = {"pressure": answered(round(0.35 - 0.005 * day + 0.001 * (day % 3), 4))}
        night.wait(DAY)
        if told is None and night.told_of("finding.opened"):
            told = day
        if day % 10 == 0:
            night.restart()
    assert told is not None
    assert 50 - told >= 10
    found = night.inspection("finding.opened")[0].data
    assert found["reason"] == "sinking"
    figures = night.item(HYDRANT.id)["evidence"]["figures"]
    assert figures["slope_per_day"] == pytest.approx(-0.005, rel=0.05)
    assert figures["reaches_from"] <= figures["reaches_until"]
    assert len(kept(night)) == 50
    for _ in range(60):  # somebody presses *run* until the days before are driven out
        night.run()
    assert len(kept(night)) == 50
    assert night.told_of("finding.cured") == []


@pytest.mark.parametrize("cron", [None, "0 2 * * *"])
def test_a_fire_seen_before_the_clock_was_right_gets_its_time_with_it(cron: str | None) -> None:
    night = Night(plan=site_of(TESTED, cron=cron), synced=False, step_of_clock=-4000 * DAY)
    night.do("zone.test", zone="b3", **{"for": "1h"})
    for name in ("smoke-1", "smoke-2"):
        night.read(name, "smoke", 1)
        night.read(name, "smoke", 0)
    shown_at = EPOCH + night.now
    night.run()
    assert (night.item(TESTED.id)["outcome"], night.item(TESTED.id)["reason"]) == ("not-checkable", "unsynced")
    night.restart(off=100.0)
    night.wait(DAY / 24)
    night.synced, night.step_of_clock = True, 0.0
    night.wait(31.0)
    assert night.memory["round/proven/smoke-2"] == pytest.approx(shown_at, abs=2.0)
    assert not [key for key in night.memory if key.startswith("round/undated/")]
    night.run()
    assert night.item(TESTED.id)["outcome"] == "normal"
    night.step_of_clock = 366 * DAY
    night.run()
    assert (night.item(TESTED.id)["outcome"], night.item(TESTED.id)["reason"]) == ("abnormal", "not proven")


def test_of_a_boot_before_a_fire_without_a_time_counts_from_this_boot() -> None:
    night = Night(plan=site_of(TESTED, cron=None), synced=False)
    night.wait(DAY)
    night.read("smoke-1", "smoke", 1)
    night.read("smoke-1", "smoke", 0)
    night.now = 50.0  # another boot: its monotonic clock begins anew
    night.restart()
    night.synced = True
    night.wait(31.0)
    assert night.memory["round/proven/smoke-1"] == EPOCH


def test_a_detector_that_hangs_is_not_shown_anew_by_what_is_done_with_its_alarm() -> None:
    night = Night(plan=site_of(TESTED, cron=None))
    night.do("zone.test", zone="b3", **{"for": "1h"})
    night.read("smoke-1", "smoke", 1)
    shown_at = night.memory["round/proven/smoke-1"]
    night.wait(1000.0)
    alarm = next(one.data["alarm"] for one in night.events if one.subject == "smoke-1/smoke/fire")
    assert night.do("alarm.acknowledge", alarm=alarm)["ok"]
    night.wait(DAY)  # the test is over, and it still shows one
    night.read("smoke-1", "smoke", 1)
    assert night.memory["round/proven/smoke-1"] == shown_at
    night.read("smoke-1", "smoke", 0)
    night.read("smoke-1", "smoke", 1)
    assert night.memory["round/proven/smoke-1"] == night.instant().wall


# ---- when -------------------------------------------------------------------------------------------


def test_planned_runs_and_what_was_missed() -> None:
    night = Night(plan=site_of(MODE))
    night.wait(3 * DAY)
    assert len(night.inspection("inspection.finished")) == 3
    assert {one.data["trigger"] for one in night.inspection("inspection.started")} == {"cron"}
    night.restart(off=2 * DAY)
    missed = night.inspection("inspection.missed")
    assert len(missed) == 2
    assert missed[0].data["items"][0]["reason"] == "off"
    assert missed[0].data["planned_at"] < missed[1].data["planned_at"]
    night.restart()
    night.wait(DAY)
    assert len(night.inspection("inspection.missed")) == 2
    assert len(night.inspection("inspection.finished")) == 4


def test_a_standing_fire_holds_a_run_back_and_then_it_is_missed() -> None:
    night = Night(plan=site_of(MODE, cron="*/30 * * * *"))
    night.read("smoke-1", "smoke", 1)
    assert night.do("inspection.run", round="nightly")["error"]["code"] == "interlocked"
    night.wait(3600.0)
    reasons = [one.data["items"][0]["reason"] for one in night.inspection("inspection.missed")]
    assert len(reasons) >= 1
    assert set(reasons) == {"fire"}
    assert night.inspection("inspection.started") == []
    night.read("smoke-1", "smoke", 0)
    night.wait(1800.0)
    assert len(night.inspection("inspection.finished")) >= 1


def test_a_run_that_lasts_makes_the_next_one_missed() -> None:
    night = Night(plan=site_of(MODE, cron="*/30 * * * *"), hold=True)
    night.wait(6000.0)
    missed = night.inspection("inspection.missed")
    assert len(missed) == 2
    assert missed[0].data["items"][0]["reason"] == "the one before still runs"
    assert len(night.inspection("inspection.started")) == 1


def test_what_is_due_when_a_process_begins_waits_until_it_has_read_its_points() -> None:
    night = Night(plan=site_of(QUIET, MODE, cron="0 * * * *"))
    night.now = 3600.0 - (EPOCH + night.now) % 3600.0 + night.now - 10.0
    night.wait(1.0)
    night.restart(off=20.0)
    for line in ("loop", "bus", "panel-line"):
        assert night.inspection("inspection.started") == []
        night.line(line, up=True)
    for name in ("smoke-1", "smoke-2"):
        night.read(name, "smoke", 0)
    night.wait(2.0)
    assert {one["outcome"] for one in night.inspection("inspection.finished")[0].data["items"]} == {"normal"}
    night.wait(3575.0)
    night.restart(off=10.0)  # a line that does not come holds up nothing for long
    night.wait(20.0)
    assert len(night.inspection("inspection.started")) == 1
    night.wait(11.0)
    assert len(night.inspection("inspection.started")) == 2


def test_a_machine_that_stood_still_missed_its_run() -> None:
    night = Night(plan=site_of(MODE))
    night.step_of_clock = DAY
    night.feed(StoodStill(night.instant(), "test", night.instant().wall - DAY))
    night.wait(60.0)
    assert [one.data["items"][0]["reason"] for one in night.inspection("inspection.missed")] == ["off"]


# ---- restarts and fire ------------------------------------------------------------------------------


def test_a_restart_within_the_hour_goes_on_with_the_rest() -> None:
    night = Night(plan=site_of(HYDRANT, MODE, YARD), hold=True)
    night.run()
    first = next(act for act in night.asked_outside if act.args.get("device") == "hydrant")
    night.come_one(first)
    night.hold = False
    night.restart(off=3000.0)
    data = night.inspection("inspection.finished")[0].data
    assert [one["outcome"] for one in data["items"]] == ["normal"] * 3
    assert len(night.inspection("inspection.started")) == 1
    assert data["run"] == night.inspection("inspection.started")[0].data["run"]
    assert len(kept(night)) == 1


def test_a_restart_after_more_than_an_hour_closes_the_run() -> None:
    night = Night(plan=site_of(HYDRANT, MODE), hold=True)
    night.run()
    night.come_one(next(act for act in night.asked_outside if act.args.get("device") == "hydrant"))
    night.restart(off=3700.0)
    assert night.item(HYDRANT.id)["outcome"] == "normal"
    assert (night.item(MODE.id)["outcome"], night.item(MODE.id)["reason"]) == ("not-checkable", "interrupted")
    assert not [key for key in night.memory if key.startswith(("round/run/", "round/item/"))]


def test_a_fire_stops_a_run_at_once() -> None:
    night = Night(plan=site_of(HYDRANT, MODE, PERSON), hold=True)
    night.run()
    night.come_one(night.asked_outside[0])
    night.read("smoke-1", "smoke", 1)
    assert night.item(PERSON.id)["reason"] == "fire"
    late = night.asked_outside[:]
    before = len(night.events)
    for act in late:
        night.come_one(act)
    assert len(night.inspection("inspection.finished")) == 1
    assert [one.type for one in night.events[before:]] == []
    night.read("smoke-1", "smoke", 0)
    night.hold = False
    night.come()
    night.run()
    assert len(night.inspection("inspection.started")) == 2


def test_a_fire_of_a_test_stops_nothing() -> None:
    night = Night(plan=site_of(HYDRANT, MODE), hold=True)
    night.run()
    night.do("zone.test", zone="b3", **{"for": "1h"})
    night.read("smoke-1", "smoke", 1)
    assert night.inspection("inspection.finished") == []


def test_a_round_is_cancelled() -> None:
    night = Night(plan=site_of(HYDRANT, PERSON), hold=True)
    night.run()
    assert night.do("inspection.cancel", "steward", round="nightly")["ok"]
    assert night.item(PERSON.id)["reason"] == "cancelled"
    assert not night.do("inspection.cancel", round="nightly")["ok"]
    assert not night.do("inspection.cancel", round="weekly")["ok"]
    assert night.do("inspection.run", "guard", round="nightly")["error"]["code"] == "not-allowed"


def test_a_bus_does_not_rest_while_the_disk_writes() -> None:
    """A read leaves before the commit of its step; a look at a camera, which keeps a picture, waits for it."""
    night = Night(plan=site_of(HYDRANT, ALIVE, YARD, DUTY_ITEM), hold=True)
    night.run()
    assert {act.cmd: act.at_once for act in night.asked_outside} == {READ: True, LOOK: False, DUTY: False}


def test_one_read_per_line_and_two_cameras_at_a_time() -> None:
    cameras = [Item(f"camera:{n}", "camera", PictureRule(f"c{n}")) for n in range(5)]
    again = Item("camera:0#2", "camera", PictureRule("c0"))
    night = Night(plan=site_of(HYDRANT, MODE, ALIVE, again, *cameras), hold=True)
    night.outside |= {f"c{n}": Look("normal") for n in range(5)}
    night.run()
    most: dict[str, int] = {}
    while night.asked_outside:
        lanes = [str(act.args.get("camera") and "camera") + str(act.args.get("device")) for act in night.asked_outside]
        for lane in lanes:
            most[lane] = max(most.get(lane, 0), lanes.count(lane))
        buses = sum(act.args.get("device") in ("hydrant", "pump") for act in night.asked_outside)
        targets = [act.args["camera"] for act in night.asked_outside if "camera" in act.args]
        assert buses <= 1
        assert len(targets) == len(set(targets)) <= 2
        night.come_one(night.asked_outside.pop(0))
    assert most["cameraNone"] == 2
    assert len(night.inspection("inspection.finished")) == 1


# ---- evidence ---------------------------------------------------------------------------------------


def test_the_registers_are_shown_whatever_is_thought_of_the_value() -> None:
    night = Night(plan=site_of(HYDRANT, ALIVE))
    night.outside["smoke-1"] = {"readings": {"smoke": answered(0)}, "registers": {"smoke": 0}, "answer_ms": 20.0}
    for reading, raw in ((answered(0.35), 350), (answered(None, **BAD), 65000), (answered(0.05), "0000 4348")):
        night.outside["hydrant"] = {"readings": {"pressure": reading}, "registers": {"pressure": raw}}
        night.run()
        assert night.item(HYDRANT.id)["evidence"]["raw"] == raw
    assert night.item(ALIVE.id)["evidence"]["raw"] == "smoke 0"


@pytest.mark.parametrize(("note", "figures", "kept"), [
    (10, 3, {"figures", "text"}), (10, 100, {"text"}), (1000, 3, {"text"}), (1000, 100, {"text"}),
])  # fmt: skip
def test_the_end_of_a_run_fits_into_one_message(note: int, figures: int, kept: set[str]) -> None:
    found = Judged("normal", evidence={"text": "备" * note, "figures": {str(n): n for n in range(figures)}})
    bad = Judged("abnormal", "dark", pictures=("p",), evidence={"figures": {"grey": 3}})
    results = [items.told(Item(f"camera:{n}", "camera", PictureRule(str(n))), found) for n in range(299)]
    told = items.fitting([*results, items.told(YARD, bad)])
    assert len(json.dumps(told, ensure_ascii=False).encode()) <= items.MOST_BYTES
    evidence: Any = told[0]["evidence"]
    assert set(evidence) == kept
    assert len(evidence["text"]) == min(note, 81)
    assert told[-1]["evidence"] == {"figures": {"grey": 3}}


def test_of_the_longest_words_the_outcome_is_told() -> None:
    rule = PersonRule("看" * 200)
    found = Judged("abnormal", "answered no", False, pictures=("p",), evidence={"text": "备" * 1000, "by": "li"})
    results = [items.told(Item(f"person:{rule.text}#{n}", "person", rule), found) for n in range(300)]
    told = items.fitting(results)
    assert len(json.dumps(told, ensure_ascii=False).encode()) <= 256 << 10
    assert {(one["outcome"], one["reason"], len(str(one["pictures"]))) for one in told} == {
        ("abnormal", "answered no", 5)
    }


def test_digests_chain() -> None:
    night = Night(plan=site_of(HYDRANT, YARD))
    ends = []
    for _ in range(3):
        night.run()
        ends.append(dict(night.inspection("inspection.finished")[-1].data))
        night.restart()
    before = None
    for end in ends:
        assert end["previous"] == before
        before = end.pop("digest")
        text = json.dumps(end, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        assert before == hashlib.sha256(text.encode()).hexdigest()

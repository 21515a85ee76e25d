"""Rounds: each kind of item normal, abnormal and not checkable; findings; restarts; fire; people; the calendar."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from gateway.model import LineHealth, Operate, Perform, Person, StoodStill
from gateway.site.looks import Look
from gateway.site.round_settings import Item, PictureRule, Place, ZoneRule
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
    RUN_PUMP,
    TESTED,
    YARD,
    Night,
    answered,
    site_of,
)
from tests.site.world import rule

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
    (DUTY_ITEM, {"panel": ("unknown", "not done here")}, "not-checkable", "not done here"),
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
    assert night.do("finding.acknowledge", "guard", finding=finding, **{"class": "ordinary"})["ok"]
    told = night.inspection("finding.acknowledged")[0].data
    assert (told["acknowledged_by"], told["class"]) == ("li", "ordinary")
    night.wait(29 * 60.0)
    assert night.told_of("finding.overdue") == []  # it was answered
    night.wait(2 * 60.0)
    assert len(night.told_of("finding.overdue")) == 1  # ordinary: solved within 30 min
    assert not night.do("finding.acknowledge", finding="nobody")["ok"]


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


def test_a_file_without_rounds_cures_all_and_forgets_the_rest() -> None:
    night = Night(plan=site_of(HYDRANT, MODE))
    night.outside["hydrant"] = {"pressure": answered(0.05)}
    night.run()
    night.hold = True
    night.run()
    night.plan = replace(night.plan, inspection=None)
    night.restart()
    assert night.told_of("finding.cured") == ["nightly/point:hydrant.pressure"]
    assert not [key for key in night.memory if key.startswith(("finding/", "round/", "deadline/"))]
    before = len(night.events)
    night.restart()
    assert not [one for one in night.events[before:] if one.type.startswith(("inspection.", "finding."))]


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


def test_a_fire_seen_by_a_clock_that_nobody_vouches_for_proves_no_detector() -> None:
    night = Night(plan=site_of(TESTED, cron=None), synced=False)
    night.do("zone.test", zone="b3", **{"for": "1h"})
    for name in ("smoke-1", "smoke-2"):
        night.read(name, "smoke", 1)
        night.read(name, "smoke", 0)
    night.synced = True
    night.run()
    assert (night.item(TESTED.id)["outcome"], night.item(TESTED.id)["reason"]) == ("abnormal", "not proven")


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


# ---- people -----------------------------------------------------------------------------------------


def test_a_person_answers() -> None:
    night = Night(plan=site_of(PERSON, HYDRANT))
    data = night.run()
    assert data["round"] == "nightly"
    run = night.inspection("inspection.started")[0].data["run"]
    shown: Any = night.site.rounds()["running"]
    assert shown["nightly"]["asked"][0]["item"] == PERSON.id
    assert night.do("inspection.answer", "guard", run=run, item=PERSON.id, ok=True, note="fine")["ok"]
    found = night.item(PERSON.id)
    assert (found["outcome"], found["evidence"]["by"], found["evidence"]["presence"]) == ("normal", "li", "none")
    again = night.do("inspection.answer", run=run, item=PERSON.id, ok=True)
    assert again["error"]["code"] == "bad-args"


def test_an_answer_to_a_run_that_is_over_or_to_nobody_is_refused() -> None:
    night = Night(plan=site_of(PERSON))
    night.run()
    run = night.inspection("inspection.started")[0].data["run"]
    night.do("inspection.cancel", round="nightly")
    for args in ({"run": run, "item": PERSON.id}, {"run": "x", "item": PERSON.id}, {"run": run, "item": "person:x"}):
        assert night.do("inspection.answer", ok=True, **args)["error"]["code"] == "bad-args"
    assert len(night.inspection("inspection.finished")) == 1


def test_a_person_says_no_and_nobody_says_anything() -> None:
    night = Night(plan=site_of(PERSON, due=3600.0))
    night.run()
    run = night.inspection("inspection.started")[0].data["run"]
    night.do("inspection.answer", run=run, item=PERSON.id, ok=False, note="leaks")
    assert (night.item(PERSON.id)["outcome"], night.item(PERSON.id)["reason"]) == ("abnormal", "answered no")
    night.run()
    night.wait(1800.0)
    night.restart()
    night.wait(1900.0)
    assert (night.item(PERSON.id)["outcome"], night.item(PERSON.id)["reason"]) == ("not-checkable", "nobody answered")


def test_a_photo_is_wanted_and_looked_at_outside() -> None:
    night = Night(plan=site_of(PHOTO))
    night.run()
    run = night.inspection("inspection.started")[0].data["run"]
    args: dict[str, Any] = {"run": run, "item": PHOTO.id, "ok": True}
    assert "photo" in str(night.do("inspection.answer", **args)["error"])
    assert "place" in str(night.do("inspection.answer", **args, photo="AA==", place="roof")["error"])
    night.outside["answer"] = ("bad-args", "this photo was given before")
    assert "before" in str(night.do("inspection.answer", **args, photo="AA==")["error"])
    night.outside["answer"] = {
        "picture": "p", "sha256": "cd", "mark": "m1", "presence": "ntag424", "uid": "04a1", "counter": 5,
    }  # fmt: skip
    assert night.do("inspection.answer", **args, photo="AA==", place="pump-room", tag="x")["ok"]
    found = night.item(PHOTO.id)
    assert (found["outcome"], found["pictures"], found["evidence"]["presence"]) == ("normal", ["p"], "ntag424")
    night.restart()
    night.run()
    run = night.inspection("inspection.started")[-1].data["run"]
    refused = night.do("inspection.answer", **args | {"run": run}, photo="AA==", tag="x")
    assert "counter" in str(refused["error"])
    sent = night.effects[-20:]
    assert any(getattr(effect, "args", {}).get("known") == ("m1",) for effect in sent)


def shown(night: Night, item: Item, uid: str, counter: int) -> Mapping[str, Any]:
    """Somebody answers with a reading of a tag; the reply."""
    night.run()
    run = night.inspection("inspection.started")[-1].data["run"]
    night.outside["answer"] = {"presence": "ntag424", "uid": uid, "counter": counter}
    reply = night.do("inspection.answer", run=run, item=item.id, ok=True, tag="x")
    if not reply["ok"]:
        night.do("inspection.cancel", round="nightly")
    return reply


def test_the_counter_of_a_tag_only_goes_forward_whatever_is_renamed() -> None:
    look = Item("person:look", "person", PERSON.rule, place="pump-room")
    night = Night(plan=site_of(look))
    assert shown(night, look, "04a1", 5)["ok"]
    for _ in range(2):
        assert "counter" in str(shown(night, look, "04a1", 5)["error"])
        assert "counter" in str(shown(night, look, "04a1", 4)["error"])
        night.restart()
    renamed = Item("person:another name", "person", PERSON.rule, place="cellar")
    plan = site_of(renamed)
    assert plan.inspection is not None
    cellar = Place("cellar", "地下室", tag="ntag424")
    night.plan = replace(plan, inspection=None)
    night.restart()
    night.plan = replace(plan, inspection=replace(plan.inspection, places={"cellar": cellar}))
    night.restart()
    assert "counter" in str(shown(night, renamed, "04a1", 5)["error"])
    assert shown(night, renamed, "04a1", 6)["ok"]
    assert shown(night, renamed, "04b2", 1)["ok"], "a new tag counts from its own beginning"
    assert "counter" in str(shown(night, renamed, "04a1", 6)["error"])


def test_a_watched_point_must_take_its_value() -> None:
    night = Night(plan=site_of(RUN_PUMP, due=7200.0))
    night.read("pump", "running", 0)
    night.run()
    run = night.inspection("inspection.started")[-1].data["run"]
    night.read("pump", "running", 1)
    night.read("pump", "running", 0, after=60.0)
    night.wait(300.0)  # it ran within ten minutes before the answer
    night.do("inspection.answer", run=run, item=RUN_PUMP.id, ok=True)
    assert night.item(RUN_PUMP.id)["outcome"] == "normal"

    night.wait(3600.0)
    night.run()
    run = night.inspection("inspection.started")[-1].data["run"]
    reply = night.do("inspection.answer", run=run, item=RUN_PUMP.id, ok=True)
    assert reply["result"] == {"outcome": None}
    night.read("pump", "running", 1, after=120.0)  # … or after it
    assert night.item(RUN_PUMP.id)["outcome"] == "normal"
    night.read("pump", "running", 0)

    night.wait(3600.0)
    night.run()
    run = night.inspection("inspection.started")[-1].data["run"]
    night.do("inspection.answer", run=run, item=RUN_PUMP.id, ok=True)
    night.wait(601.0)
    assert night.item(RUN_PUMP.id)["reason"] == "not seen: pump.running = 1"

    night.read("pump", "running", None)
    night.run()
    run = night.inspection("inspection.started")[-1].data["run"]
    night.do("inspection.answer", run=run, item=RUN_PUMP.id, ok=True)
    night.restart()
    night.wait(700.0)
    assert night.item(RUN_PUMP.id)["outcome"] == "not-checkable"


def test_what_was_shown_while_nobody_watched_is_not_called_missing() -> None:
    night = Night(plan=site_of(RUN_PUMP, due=7200.0))
    night.read("pump", "running", 0)
    night.run()
    run = night.inspection("inspection.started")[-1].data["run"]
    night.read("pump", "running", 1)
    night.read("pump", "running", 0, after=60.0)
    night.restart(off=20.0)  # who answers now saw it run; this process did not
    night.read("pump", "running", 0)
    night.do("inspection.answer", run=run, item=RUN_PUMP.id, ok=True)
    night.wait(601.0)
    assert (night.item(RUN_PUMP.id)["outcome"], night.item(RUN_PUMP.id)["reason"]) == ("not-checkable", "interrupted")
    assert night.told_of("finding.opened") == []

    night.feed(StoodStill(night.instant(), "test", night.instant().wall - 60.0))
    for watched, outcome in ((300.0, "not-checkable"), (601.0, "abnormal")):
        night.run()
        run = night.inspection("inspection.started")[-1].data["run"]
        night.wait(watched)
        night.read("pump", "running", 0)
        night.do("inspection.answer", run=run, item=RUN_PUMP.id, ok=True)
        night.wait(601.0)
        assert night.item(RUN_PUMP.id)["outcome"] == outcome


def answering(night: Night, run: str) -> Perform:
    """Somebody answers with a photo, which is being looked at."""
    args: dict[str, Any] = {"run": run, "item": PHOTO.id, "ok": True, "photo": "AA=="}
    night.feed(Person(f"token-{night.now}", "li", "guard", "inspection.answer", args, night.instant(), "li"))
    return night.asked_outside.pop()


def test_an_answer_to_one_run_is_none_to_the_next() -> None:
    night = Night(plan=site_of(PHOTO, cron=None), hold=True)
    night.run()
    before = answering(night, str(night.inspection("inspection.started")[-1].data["run"]))
    night.do("inspection.cancel", round="nightly")
    night.run()
    after = answering(night, str(night.inspection("inspection.started")[-1].data["run"]))
    night.come_one(before)
    assert "over" in str(night.replies[-1]["error"])
    assert len(night.inspection("inspection.finished")) == 1
    night.come_one(after)
    assert night.item(PHOTO.id)["outcome"] == "normal"


@pytest.mark.parametrize(
    ("found", "outcome", "reason"),
    [
        ({"picture": "p", "presence": "none"}, "normal", None),
        (("bad-args", "this photo was given before"), "not-checkable", "nobody answered"),
        ("nonsense", "not-checkable", "nobody answered"),
    ],
)
def test_an_answer_in_time_counts_though_it_is_looked_at_for_longer(
    found: Any, outcome: str, reason: str | None
) -> None:
    night = Night(plan=site_of(PHOTO, PERSON, cron=None, due=60.0), hold=True)
    night.outside["answer"] = found
    night.run()
    night.wait(59.0)
    looked_at = answering(night, str(night.inspection("inspection.started")[-1].data["run"]))
    night.wait(60.0)
    assert night.inspection("inspection.finished") == []
    night.come_one(looked_at)
    assert (night.item(PHOTO.id)["outcome"], night.item(PHOTO.id).get("reason")) == (outcome, reason)
    assert night.item(PERSON.id)["reason"] == "nobody answered"


def test_an_answer_that_was_looked_at_when_the_process_ended_is_not_waited_for() -> None:
    night = Night(plan=site_of(PHOTO, cron=None, due=60.0), hold=True)
    night.run()
    answering(night, str(night.inspection("inspection.started")[-1].data["run"]))
    night.wait(60.0)
    night.restart()
    assert (night.item(PHOTO.id)["outcome"], night.item(PHOTO.id)["reason"]) == ("not-checkable", "interrupted")


def test_people_are_asked_place_by_place_with_the_next_one_named() -> None:
    first = Item("person:1", "person", PERSON.rule, place="roof")
    second = Item("person:2", "person", PERSON.rule, place="pump-room")
    third = Item("person:3", "person", PERSON.rule, place="roof")
    night = Night(plan=site_of(first, second, third))
    night.run()
    shown: Any = night.site.rounds()["running"]
    assert [one["item"] for one in shown["nightly"]["asked"]] == ["person:1", "person:3", "person:2"]
    assert (shown["nightly"]["place"], shown["nightly"]["next_place"]) == ("屋顶", "泵房")


# ---- evidence ---------------------------------------------------------------------------------------


def test_the_registers_are_shown_whatever_is_thought_of_the_value() -> None:
    night = Night(plan=site_of(HYDRANT, ALIVE))
    night.outside["smoke-1"] = {"readings": {"smoke": answered(0)}, "registers": {"smoke": 0}, "answer_ms": 20.0}
    for reading, raw in ((answered(0.35), 350), (answered(None, **BAD), 65000), (answered(0.05), "0000 4348")):
        night.outside["hydrant"] = {"readings": {"pressure": reading}, "registers": {"pressure": raw}}
        night.run()
        assert night.item(HYDRANT.id)["evidence"]["raw"] == raw
    assert night.item(ALIVE.id)["evidence"]["raw"] == "smoke 0"


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

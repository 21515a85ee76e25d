"""What people answer in a round: once, in time, with photo, tag and what watched points show."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from gateway.model import Perform, Person, StoodStill
from gateway.site.round_settings import Item, Place
from tests.site.round_world import HYDRANT, PERSON, PHOTO, RUN_PUMP, Night, site_of


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
    run = night.run()["run"]
    night.outside["answer"]["mark"] = "m2"
    refused = night.do("inspection.answer", **args | {"run": run}, photo="AA==", tag="x")
    assert "counter" in str(refused["error"])
    sent = night.effects[-20:]
    assert any(getattr(effect, "args", {}).get("known") == {f"nightly/{PHOTO.id}": ("m1",)} for effect in sent)


def test_one_photo_answers_one_item() -> None:
    """Also if two answers with it are looked at at the same time; the tag's reading is not used up by the second."""
    other = Item("person:other", "person", PHOTO.rule, place="pump-room")
    night = Night(plan=site_of(PHOTO, other, cron=None), hold=True)
    run = night.run()["run"]
    found = {"picture": "p", "mark": "m1", "presence": "ntag424", "uid": "04a1"}
    asked: list[Perform] = []
    for number, item in enumerate((PHOTO, other)):
        args: dict[str, Any] = {"run": run, "item": item.id, "ok": True, "photo": "AA==", "tag": "x"}
        night.feed(Person(f"token-{number}", "li", "guard", "inspection.answer", args, night.instant(), "li"))
        asked.append(night.asked_outside.pop())
    for act, counter in zip(asked, (5, 6), strict=True):
        night.outside["answer"] = {**found, "counter": counter}
        night.come_one(act)
    assert night.replies[-2]["ok"]
    assert f"nightly/{PHOTO.id}" in str(night.replies[-1]["error"])
    assert night.memory["round/tag/04a1"] == 5
    args = {"run": run, "item": other.id, "ok": True}
    night.feed(Person("token-3", "li", "guard", "inspection.answer", {**args, "photo": "AA=="}, night.instant(), "li"))
    assert night.asked_outside[-1].args["known"] == {f"nightly/{PHOTO.id}": ("m1",)}


def shown(night: Night, item: Item, uid: str, counter: int) -> Mapping[str, Any]:
    """Somebody answers with a reading of a tag; the reply."""
    run = night.run()["run"]
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
    run = night.run()["run"]
    night.read("pump", "running", 1)
    night.read("pump", "running", 0, after=60.0)
    night.wait(300.0)  # it ran within ten minutes before the answer
    night.do("inspection.answer", run=run, item=RUN_PUMP.id, ok=True)
    assert night.item(RUN_PUMP.id)["outcome"] == "normal"

    night.wait(3600.0)
    run = night.run()["run"]
    reply = night.do("inspection.answer", run=run, item=RUN_PUMP.id, ok=True)
    assert reply["result"] == {"outcome": None}
    night.read("pump", "running", 1, after=120.0)  # … or after it
    assert night.item(RUN_PUMP.id)["outcome"] == "normal"
    night.read("pump", "running", 0)

    night.wait(3600.0)
    run = night.run()["run"]
    night.do("inspection.answer", run=run, item=RUN_PUMP.id, ok=True)
    night.wait(601.0)
    assert night.item(RUN_PUMP.id)["reason"] == "not seen: pump.running = 1"

    night.read("pump", "running", None)
    run = night.run()["run"]
    night.do("inspection.answer", run=run, item=RUN_PUMP.id, ok=True)
    night.restart()
    night.wait(700.0)
    assert night.item(RUN_PUMP.id)["outcome"] == "not-checkable"


def test_what_was_shown_while_nobody_watched_is_not_called_missing() -> None:
    night = Night(plan=site_of(RUN_PUMP, due=7200.0))
    night.read("pump", "running", 0)
    run = night.run()["run"]
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
        run = night.run()["run"]
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

"""What is told to everybody: no names of persons, no words of theirs."""

from typing import Any

from gateway.local.feed import Tree, difference
from gateway.local.state import SiteView
from gateway.model import Instant, Json, Quality, Reading, Reason, Stream
from gateway.settings.types import PageFacts
from tests.site.compound import Compound


def told(standing: dict[str, dict[str, Json]]) -> str:
    return repr(SiteView(PageFacts({}, {}, {}, {}, {}, {}, {}, {}), {}, {}).alarms(standing))


def standing(site: Compound) -> dict[str, dict[str, Json]]:
    return {str(one.subject): dict(one.data) for one in site.told("alarm.raised") if one.stream is Stream.ALARM}


def test_who_confirmed_a_fire_or_took_a_device_out_is_told_to_nobody() -> None:
    site = Compound()
    site.person("fire.confirm", zone="b3")
    site.person("device.disable", role="technician", device="smoke-3", **{"for": "1h"}, reason="wang paints there")
    kept = standing(site)
    assert "wang" in repr(kept["b3/confirmed"])
    assert "wang" in repr(kept["smoke-3/disabled"])

    assert "b3/confirmed" in told(kept)
    assert "wang" not in told(kept)


def test_a_zone_says_when_its_test_ends() -> None:
    site = Compound()
    view = SiteView(PageFacts({"id": "s"}, {"b3": {"name": "Building 3"}}, {}, {}, {}, {}, {}, {}), {}, {})
    at_rest: Json = {"site": {"id": "s"}, "zones": {"b3": {"name": "Building 3"}}}
    assert view.zones(site.site.under_test()) == at_rest
    site.person("zone.test", role="technician", zone="b3", **{"for": "30m"})
    site.person("zone.test", role="technician", zone="site", **{"for": "10m"})
    until = site.site.under_test()
    assert until.keys() == {"b3", "site"}

    assert view.zones(until) == {
        "site": {"id": "s", "test_until": until["site"]},
        "zones": {"b3": {"name": "Building 3", "test_until": until["b3"]}},
    }
    assert view.zones(until) is view.zones(dict(until)), "what has not changed is the same object"
    site.wait(11 * 60)
    assert site.site.under_test().keys() == {"b3"}
    site.person("zone.test", role="technician", zone="b3", **{"for": "0s"})
    assert view.zones(site.site.under_test()) == at_rest


def test_a_key_that_is_new_is_not_told_by_itself() -> None:
    alarm: dict[str, Json] = {"kind": "fire", "point": "smoke", "text": "ALARM", "seen_by": "wang"}

    assert told({"x": alarm}) == "{'x': {'kind': 'fire', 'point': 'smoke', 'text': 'ALARM'}}"


def test_of_a_device_only_what_is_different_is_made_anew() -> None:
    at = Instant(1.0, 1.8e9, synced=True)
    good = Reading(3, None, "bar", Quality.GOOD, None, at)
    silent = Reading(None, None, None, Quality.BAD, Reason.SILENT, at)
    view = SiteView(PageFacts({}, {}, {}, {"pump": {"line": "loop"}}, {}, {}, {}, {}), {}, {"pump": {"pressure": 2.0}})

    shown: Tree = {}
    shown |= view.devices({}, {})[0]

    def pump(readings: dict[str, Reading], *, answering: bool = True) -> Any:
        tree, patch = view.devices({"pump": readings}, {"pump": answering})
        assert difference(shown, tree) == patch
        shown.update(tree)
        return tree["pump"]

    readings = {"pressure": good, "level": good}
    before = pump(readings)
    assert pump(dict(readings)) is before
    assert before["points"]["level"] == {"quality": "GOOD", "since": "2027-01-15T08:00:00Z", "value": 3, "unit": "bar"}

    readings["level"] = silent  # the table is the same one, and holds another reading
    after = pump(readings)
    assert after["points"]["pressure"] is before["points"]["pressure"]
    assert after["points"]["level"] == {"quality": "BAD", "since": "2027-01-15T08:00:00Z", "reason": "silent"}
    assert after["points"]["pressure"]["every"] == 2.0
    assert pump(readings, answering=False) == {**after, "answering": False}
    assert pump({"level": silent}, answering=False)["points"].keys() == {"level"}


def test_who_answered_in_a_round_and_what_was_said_is_told_to_nobody() -> None:
    evidence: Json = {"by": "wang", "text": "the pump leaks", "presence": "printed"}
    item: Json = {"item": "person:look", "kind": "person", "outcome": "abnormal", "value": False, "pictures": ["p1"],
                  "reason": "answered no", "rule": "look", "evidence": evidence}  # fmt: skip
    run: Json = {"run": "r1", "title": "Night", "trigger": "page", "planned_at": None, "done": 1, "of": 2,
                 "looking_at": [], "asked": [], "items": [item]}  # fmt: skip
    finding: Json = {
        "finding": "f1",
        "round": "night",
        "item": "person:look",
        "acknowledged_by": "wang",
        "overdue": False,
    }
    view = SiteView(PageFacts({}, {}, {}, {}, {}, {"night": {"title": "Night", "items": 2}}, {}, {}), {}, {})
    told = view.rounds({"running": {"night": run}, "next": {"night": "2026-12-02T02:00:00Z"}, "findings": [finding]})

    assert told == {
        "rounds": {"night": {"title": "Night", "items": 2, "next_at": "2026-12-02T02:00:00Z", "run": {
            "run": "r1", "trigger": "page", "done": 1, "of": 2, "looking_at": [], "asked": [],
            "items": {"person:look": {"outcome": "abnormal", "reason": "answered no", "value": False}},
        }}},
        "findings": {"f1": {"round": "night", "item": "person:look", "overdue": False}},
    }  # fmt: skip


def test_a_site_without_rounds_tells_of_none() -> None:
    assert SiteView(PageFacts({}, {}, {}, {}, {}, {}, {}, {}), {}, {}).rounds({}) == {}

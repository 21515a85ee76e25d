"""Sentences about alarms that no other test holds."""

from dataclasses import replace

import pytest

from gateway.model import Answer, Emit, OwnHealth, Person, Quality, Reading, Value
from gateway.site.settings import Condition
from tests.site.compound import WIRE, Compound, yard
from tests.site.world import World, rule

FIRE = "smoke-1/fire/fire"


def with_rule(**changes: object) -> Compound:
    """The yard with another rule of the first detector."""
    plan = yard()
    one = plan.devices["smoke-1"]
    return Compound(
        yard(devices={**plan.devices, "smoke-1": replace(one, rules=(replace(one.rules[0], **changes),))})  # type: ignore[arg-type]
    )


def reading(site: Compound, value: Value) -> Reading:
    return Reading(value, None, None, Quality.GOOD, None, site.instant())


def test_a_condition_that_began_while_nobody_watched_is_raised_at_the_start() -> None:
    site = Compound()
    site.points = {ref: 1 if ref.device == "smoke-1" else value for ref, value in site.points.items()}
    site.crash()

    site.answer("smoke-1", ("fire",))
    site.wait(0.1)

    assert [event.type for event in site.events if event.subject == FIRE] == ["alarm.raised"]


def test_an_occurrence_that_is_not_latched_ends_with_cleared_acknowledged_or_not() -> None:
    for acknowledged in (False, True):
        site = Compound()
        site.input("tank.level", 0.5)
        if acknowledged:
            site.command("alarm.acknowledge", alarm=site.alarm("tank/level/low")["alarm"])
        site.input("tank.level", 5.0)

        assert site.told("alarm.cleared")[-1].data["state"] == "normal"
        assert not site.alarm("tank/level/low")


def test_a_new_occurrence_has_a_new_id() -> None:
    site = Compound()
    for _ in range(2):
        site.input("tank.level", 0.5)
        site.input("tank.level", 5.0)
        site.wait(1)

    first, second = (event.data["alarm"] for event in site.told("alarm.raised"))
    assert first != second


def test_nothing_is_told_for_a_value() -> None:
    site = Compound()
    site.input("gauge.level", 0.5)
    told = len(site.events)

    for level in (0.4, 0.3, 1.1, 0.2):
        site.input("gauge.level", level)
        site.wait(1)

    assert len(site.events) == told


def test_severity_and_place_of_what_stands_follow_the_file() -> None:
    site = Compound()
    site.burn("smoke-1")
    plan = yard()
    one = plan.devices["smoke-1"]
    moved = replace(one, place="roof", rules=(replace(one.rules[0], severity="high"),))
    site.plan = yard(devices={**plan.devices, "smoke-1": moved})

    site.stop()
    site.stop()

    (update,) = [event.data for event in site.told("alarm.updated") if event.subject == FIRE]
    assert (update["place"], update["severity"], update["state"]) == ("roof", "high", "unack")
    assert update["alarm"] == site.told("alarm.raised")[0].data["alarm"]


def test_twenty_five_alarms_at_once_and_every_one_is_recorded() -> None:
    plan = yard()
    low = Condition(below=1.0)
    many = tuple(rule("tank", f"l{n}", "low", "fault", low) for n in range(25))
    names = frozenset(f"l{n}" for n in range(25))
    site = Compound(yard(devices={**plan.devices, "tank": replace(plan.devices["tank"], rules=many, points=names)}))
    begun = site.now
    site.input("smoke-1.fire", 1)

    site.feed(Answer("tank", {f"l{n}": reading(site, 0.5) for n in range(25)}, site.instant()))
    site.wait(WIRE)

    raised = [event.subject for event in site.told("alarm.raised")]
    assert len(raised) == 26
    assert raised[-1] == FIRE
    assert site.told("alarm.raised")[-1].at.mono - begun <= WIRE, "with the very next answer of its detector"


def test_a_fire_with_a_delay_is_raised_after_it_and_not_before() -> None:
    site = with_rule(delay=5.0)
    site.burn("smoke-1")
    site.wait(4.5)
    assert not site.alarm(FIRE)
    site.wait(0.6)

    assert site.alarm(FIRE)


def test_what_was_tested_and_returns_in_earnest_is_a_fire_only_when_it_is_raised() -> None:
    site = with_rule(delay=5.0)
    site.command("zone.test", zone="b3", for_="1h")
    site.burn("smoke-1")
    site.wait(6)
    site.input("smoke-1.fire", 0)
    site.command("zone.test", zone="b3", for_="0s")
    site.wait(10)
    assert (site.alarm(FIRE)["state"], site.told("alarm.cleared")[-1].test) == ("latched-unack", True)

    site.input("smoke-1.fire", 1)
    site.wait(2)
    assert site.alarm(FIRE)["active"] is False, "its delay runs"
    assert not site.told("alarm.updated")
    site.wait(4)

    assert (site.alarm(FIRE)["state"], site.alarm(FIRE)["active"]) == ("unack", True)
    assert [event.test for event in site.told("alarm.updated")] == [False]


@pytest.mark.parametrize("kept", ["alarm", "raised_at", "verify_by", "first_out"])
def test_a_restart_changes_nothing_of_an_occurrence(kept: str) -> None:
    site = Compound()
    site.burn("smoke-1")
    before = site.alarm(FIRE)[kept]
    site.now += 3600

    site.crash()
    site.answer("smoke-1", ("fire",))
    site.wait(1)

    assert site.alarm(FIRE)[kept] == before
    assert len(site.told("alarm.raised")) == 1


def test_the_silent_alarm_speaks_for_a_fire_whose_detector_is_gone() -> None:
    site = Compound()
    site.burn("smoke-1")

    site.fall_silent("smoke-1")
    site.wait(3600)

    assert site.alarm(FIRE)["active"] is True
    assert site.alarm("smoke-1/silent")["kind"] == "fault"


def test_the_own_alarm_not_delivered_sounds_like_a_fire_and_ends_when_heard() -> None:
    site = Compound()
    site.feed(OwnHealth("gateway/not-delivered", False, "no acknowledgement for 10 s", site.instant()))
    site.wait(1)
    assert site.on("board.do5")

    site.feed(OwnHealth("gateway/not-delivered", True, "", site.instant()))
    site.wait(1)

    assert not site.on("board.do5")


def test_events_of_an_occurrence_carry_the_subject_of_its_rule() -> None:
    world = World()
    world.read("smoke-1", "smoke", 1)
    world.read("smoke-1", "smoke", 1, after=0.1)

    raised = world.events[-1]
    assert isinstance(raised, Emit)
    assert raised.subject == "smoke-1/smoke/fire"


# ---- hostile ---------------------------------------------------------------------------------------


def test_shelves_that_nobody_needs_cannot_be_piled_up() -> None:
    site = Compound()

    for n in range(5):
        reply = site.command("alarm.shelve", device=f"smoke-1.nothing-{n}", for_="24h")
        assert reply["error"]["code"] == "bad-args"
    assert site.command("alarm.shelve", device="smoke-1.fire", for_="24h")["ok"]

    assert [key for key in site.memory if key.startswith("deadline/shelf/")] == ["deadline/shelf/smoke-1.fire"]


def test_an_alarm_of_a_disabled_device_makes_no_sound() -> None:
    site = Compound()
    site.command("device.disable", device="smoke-1", for_="1h", reason="dust")
    site.person("silence")
    site.wait(1)

    site.burn("smoke-1")
    site.wait(1)

    assert site.alarm(FIRE)["disabled"]
    assert not site.on("board.do5")


def test_a_reading_from_before_the_reset_resets_nothing() -> None:
    site = Compound()
    site.burn("smoke-1")
    site.input("smoke-1.fire", 0)
    old = reading(site, 0)
    site.wait(5)
    site.silent.add("smoke-1")  # nobody has noticed yet
    alarm = site.alarm(FIRE)["alarm"]
    site.feed(Person("p", "wang", "guard", "alarm.reset", {"alarm": alarm}, site.instant()))

    site.feed(Answer("smoke-1", {"fire": old}, site.instant()))

    assert site.alarm(FIRE)

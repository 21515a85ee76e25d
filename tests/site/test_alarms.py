"""The life of alarms, sentence by sentence."""

from dataclasses import replace

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model import Answer, Emit, Quality, Reading, ReadNow, Remember
from gateway.site.settings import Condition, DeviceSettings, SiteSettings
from tests.site.world import EPOCH, World, rule

FIRE = "smoke-1/smoke/fire"


def burn(world: World, device: str = "smoke-1") -> None:
    world.read(device, "smoke", 1)
    world.read(device, "smoke", 1, after=0.1)


def test_a_fire_is_confirmed_by_a_second_read_that_goes_out_at_once() -> None:
    world = World()

    effects = world.read("smoke-1", "smoke", 1)

    assert effects == [ReadNow("smoke-1", ("smoke",))]
    world.read("smoke-1", "smoke", 1, after=0.1)
    assert world.told() == [("alarm.raised", FIRE)]


def test_one_noisy_frame_raises_nothing() -> None:
    world = World()

    for value in (1, 0, 1, 0):
        world.read("smoke-1", "smoke", value)

    assert world.told() == []


def test_a_failed_read_between_neither_counts_nor_resets() -> None:
    world = World()

    for value in (1, None):
        world.read("smoke-1", "smoke", value)
    assert world.told() == []
    world.read("smoke-1", "smoke", 1)

    assert world.told() == [("alarm.raised", FIRE)]


def test_the_same_answer_handed_in_twice_counts_once() -> None:
    world = World()
    reading = Reading(1, None, None, Quality.GOOD, None, world.instant())

    for _ in range(3):
        world.feed(Answer("smoke-1", {"smoke": reading}, world.instant()))

    assert world.told() == []


def test_the_data_of_a_raised_fire() -> None:
    world = World()
    burn(world)

    assert dict(world.last()) | {"alarm": "-"} == {
        "alarm": "-",
        "name": "fire",
        "kind": "fire",
        "severity": "critical",
        "class": "major",
        "state": "unack",
        "active": True,
        "acknowledged": False,
        "latched": True,
        "shelved": False,
        "disabled": False,
        "first_out": True,
        "device": "smoke-1",
        "point": "smoke",
        "zone": "b3",
        "place": "2F",
        "value": 1,
        "text": None,
        "unit": None,
        "quality": "GOOD",
        "raised_at": "2026-11-18T11:06:41.100000Z",
        "acknowledged_at": None,
        "acknowledged_by": None,
        "verified_as": None,
        "cleared_at": None,
        "respond_by": None,
        "resolve_by": None,
        "verify_by": "2026-11-18T11:09:41.100000Z",
        "shelved_until": None,
        "overdue": False,
    }


def test_an_alarm_that_is_not_a_fire_carries_the_service_clocks() -> None:
    world = World()
    world.read("gauge", "pressure", 0.05)
    world.wait(6)

    data = world.last()

    assert data["respond_by"] == "2026-11-18T11:26:46.000000Z"
    assert data["resolve_by"] == "2026-11-18T15:06:46.000000Z"
    assert data["verify_by"] is None


def test_a_latched_alarm_stays_until_a_reset_and_returns_under_its_id() -> None:
    world = World()
    burn(world)
    first = world.last()["alarm"]

    world.read("smoke-1", "smoke", 0)
    cleared = world.last()
    burn(world)
    back = world.last()

    assert [kind for kind, _ in world.told()] == ["alarm.raised", "alarm.cleared", "alarm.updated"]
    assert (cleared["state"], cleared["active"], cleared["alarm"]) == ("latched-unack", False, first)
    assert (back["state"], back["active"], back["alarm"], back["cleared_at"]) == ("unack", True, first, None)
    assert f"alarm/{FIRE}" in world.memory


def test_delay_on_delay_off_and_hysteresis() -> None:
    world = World()

    world.read("gauge", "pressure", 0.05)
    world.wait(4.9)
    assert world.told() == []
    world.wait(0.2)
    assert world.told() == [("alarm.raised", "gauge/pressure/low")]
    assert world.events[-1].at.wall == EPOCH + 6.0

    world.read("gauge", "pressure", 0.11)
    world.wait(60)
    assert len(world.told()) == 1, "0.11 is above the limit but not above `clear`"

    world.read("gauge", "pressure", 0.13)
    world.wait(2.9)
    assert len(world.told()) == 1
    world.wait(0.2)
    assert world.told()[-1] == ("alarm.cleared", "gauge/pressure/low")
    assert world.last()["state"] == "normal"
    assert world.memory == {}


def test_a_delay_starts_anew_when_the_condition_was_gone() -> None:
    world = World()

    for value in (0.05, 0.2, 0.05):
        world.read("gauge", "pressure", value, after=3.0)
    world.wait(4.9)
    assert world.told() == []
    world.wait(0.2)
    assert len(world.told()) == 1


def test_bad_quality_neither_raises_nor_clears() -> None:
    world = World()
    world.read("gauge", "pressure", 0.05)
    world.read("gauge", "pressure", None)
    world.wait(60)
    assert world.told() == []
    world.read("gauge", "pressure", 0.05)
    assert world.told() == [("alarm.raised", "gauge/pressure/low")], "it had held all the time, as far as one can say"

    world.read("gauge", "pressure", None)
    world.wait(60)
    assert len(world.told()) == 1


@pytest.mark.parametrize("restarts", [1, 3])
def test_a_restart_keeps_the_occurrence_and_ends_what_ended_meanwhile(restarts: int) -> None:
    world = World()
    world.read("gauge", "pressure", 0.05)
    world.wait(6)
    name = world.last()["alarm"]

    for _ in range(restarts):
        world.restart()
    world.read("gauge", "pressure", 0.05)
    world.wait(60)
    assert len(world.told()) == 1, "it stands: nothing new to say"
    world.restart()
    world.read("gauge", "pressure", 0.5)
    world.wait(60)

    assert world.told()[1:] == [("alarm.cleared", "gauge/pressure/low")]
    assert world.last()["alarm"] == name


def test_an_alarm_whose_rule_left_the_file_is_ended() -> None:
    world = World()
    world.read("gauge", "pressure", 0.05)
    world.wait(60)
    world.line("bus", up=False)
    world.plan = SiteSettings({}, ())

    world.restart()

    assert [kind for kind, _ in world.told()][2:] == ["alarm.cleared", "alarm.cleared"]
    assert world.memory.keys() <= {"site/age"}


@pytest.mark.parametrize("kind", ["fire", "gas"])
def test_a_fire_or_gas_alarm_whose_rule_left_the_file_stands_as_it_was(kind: str) -> None:
    seen = rule("sniffer", "level", "seen", kind, Condition(above=1.0))
    world = World(plan=SiteSettings({"sniffer": DeviceSettings("sniffer", "bus", "b3", "1F", (seen,))}, ("bus",)))
    world.read("sniffer", "level", 2.0)
    before = world.memory["alarm/sniffer/level/seen"]
    world.plan = SiteSettings({}, ())

    world.restart()
    world.restart()
    world.wait(60)

    assert world.told() == [("alarm.raised", "sniffer/level/seen")]
    assert world.memory["alarm/sniffer/level/seen"] == before


def test_silent_and_back() -> None:
    world = World()

    world.health("smoke-1", answering=False)
    world.health("smoke-1", answering=False)
    data = world.last()
    world.health("smoke-1", answering=True)
    world.health("smoke-1", answering=True)

    assert world.told() == [("alarm.raised", "smoke-1/silent"), ("alarm.cleared", "smoke-1/silent")]
    assert (data["kind"], data["severity"], data["name"], data["text"]) == ("fault", "medium", "silent", "3 misses")
    assert (data["device"], data["point"], data["place"]) == ("smoke-1", None, "2F")


def test_a_line_that_is_down_holds_back_the_silent_of_its_devices_only() -> None:
    world = World()

    world.line("loop", up=False)
    world.health("smoke-1", answering=False)
    world.health("gauge", answering=False)
    world.line("loop", up=True)

    assert world.told() == [
        ("alarm.raised", "loop/down"),
        ("alarm.raised", "gauge/silent"),
        ("alarm.cleared", "loop/down"),
        ("alarm.raised", "smoke-1/silent"),
    ]


def test_the_first_alarm_of_a_zone_is_marked() -> None:
    world = World()

    burn(world, "smoke-1")
    first = world.last()["first_out"]
    burn(world, "smoke-2")

    assert (first, world.last()["first_out"]) == (True, False)


def test_a_word_is_compared_with_the_text() -> None:
    wire = rule("box", "loop", "wire", "wire", Condition(differs="normal"))
    world = World(plan=SiteSettings({"box": DeviceSettings("box", "bus", rules=(wire,))}, ("bus",)))
    reading = Reading(2000, "normal", None, Quality.GOOD, None, world.instant())

    world.feed(Answer("box", {"loop": reading}, world.instant()))
    assert world.told() == []
    world.wait(1)
    world.feed(Answer("box", {"loop": reading._replace(text="open", value=12, at=world.instant())}, world.instant()))

    assert world.told() == [("alarm.raised", "box/loop/wire")]


def test_events_and_memory_of_a_step_come_together() -> None:
    world = World()
    world.read("smoke-1", "smoke", 1)

    effects = world.read("smoke-1", "smoke", 1)

    assert [type(effect) for effect in effects] == [Emit, Remember, Remember], "the event, the alarm, its clock"


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("smoke"), st.sampled_from([0, 1, 7, None])),
        st.tuples(st.just("pressure"), st.sampled_from([0.05, 0.11, 0.3, None])),
        st.tuples(st.just("silent"), st.booleans()),
        st.tuples(st.just("line"), st.booleans()),
        st.tuples(st.just("wait"), st.floats(0, 20)),
        st.tuples(st.just("restart"), st.none()),
    ),
    max_size=60,
)


def play(steps: list[tuple[str, float | None]]) -> World:
    world = World()
    for what, value in steps:
        match what:
            case "smoke":
                world.read("smoke-1", "smoke", value)
            case "pressure":
                world.read("gauge", "pressure", value)
            case "silent":
                world.health("gauge", answering=bool(value))
            case "line":
                world.line("bus", up=bool(value))
            case "wait":
                world.wait(value or 0.0)
            case _:
                world.restart()
    return world


@given(STEPS)
def test_every_occurrence_has_one_raise_at_most_one_end_and_an_order(steps: list[tuple[str, float | None]]) -> None:
    world = play(steps)

    lives: dict[str, list[str]] = {}
    for event in world.events:
        if event.type.startswith("alarm."):
            lives.setdefault(str(event.data["alarm"]), []).append(event.type)
            assert event.data["active"] is (event.type != "alarm.cleared")
    for told in lives.values():
        assert told[0] == "alarm.raised"
        expected = ["alarm.cleared", "alarm.updated"] * len(told)
        assert told[1:] == expected[: len(told) - 1]
    open_ids = {data["alarm"] for data in world.memory.values() if isinstance(data, dict)}
    latched = {str(e.data["alarm"]) for e in world.events if e.data.get("latched")}
    assert open_ids == {name for name, told in lives.items() if told[-1] != "alarm.cleared" or name in latched}
    ids = [event.id for event in world.events]
    assert len(ids) == len(set(ids))


@given(STEPS)
def test_the_same_inputs_give_the_same_bytes(steps: list[tuple[str, float | None]]) -> None:
    def dump(world: World) -> bytes:
        return orjson.dumps(world.effects, default=list)

    assert dump(play(steps)) == dump(play(steps))


@given(st.floats(-10, 10), st.floats(-10, 10), st.floats(0, 10))
def test_above_and_below_are_strict_and_mirror_each_other(value: float, limit: float, slack: float) -> None:
    above, below = Condition(above=limit, clear=limit - slack), Condition(below=-limit, clear=slack - limit)
    reading = Reading(value, None, None, Quality.GOOD, None, World().instant())
    mirror = reading._replace(value=-value)

    for standing in (False, True):
        assert above.holds(reading, standing=standing) == below.holds(mirror, standing=standing)
    assert above.holds(reading, standing=False) == (value > limit)


def test_rules_are_frozen() -> None:
    one = rule("a", "b", "c", "fire", Condition(equals=1))

    assert replace(one, confirm=3).subject == one.subject == "a/b/c"


def test_a_broken_wire_is_a_fault_and_says_nothing_about_the_contact() -> None:
    broken = frozenset({"open", "short"})
    rules = (
        rule("call", "loop", "fire", "fire", Condition(words=frozenset({"alarm"}), blind=broken), latch=False),
        rule("call", "loop", "wire", "fault", Condition(words=broken)),
    )
    world = World(plan=SiteSettings({"call": DeviceSettings("call", "bus", rules=rules)}, ("bus",)))

    for raw, text in ((2000, "normal"), (3500, "alarm"), (4095, "short"), (3500, "alarm"), (2000, "normal")):
        world.wait(1)
        reading = Reading(raw, text, None, Quality.GOOD, None, world.instant())
        world.feed(Answer("call", {"loop": reading}, world.instant()))

    assert world.told() == [
        ("alarm.raised", "call/loop/fire"),
        ("alarm.raised", "call/loop/wire"),
        ("alarm.cleared", "call/loop/wire"),
        ("alarm.cleared", "call/loop/fire"),
    ]

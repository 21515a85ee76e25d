"""The built-in alarms about the gateway itself."""

from dataclasses import replace

import pytest

from gateway.model import Json, OwnHealth, SetAside, WentBack
from gateway.site.settings import OWN_ALARMS, GateSettings, Ref
from tests.site.world import World, settings


def tell(world: World, alarm: str, *, well: bool, detail: str = "") -> None:
    world.wait(1.0)
    world.feed(OwnHealth(alarm, well, detail, world.instant()))


@pytest.mark.parametrize("alarm", OWN_ALARMS)
def test_raised_and_cleared_once_under_one_id_over_a_restart(alarm: str) -> None:
    world = World()
    tell(world, alarm, well=True)
    tell(world, alarm, well=False, detail="disk gone")
    tell(world, alarm, well=False, detail="disk still gone")
    raised = world.last()
    world.restart()
    tell(world, alarm, well=False, detail="disk gone")
    tell(world, alarm, well=True)
    tell(world, alarm, well=True)

    assert world.told() == [("alarm.raised", alarm), ("alarm.cleared", alarm)]
    assert (raised["kind"], raised["severity"], raised["class"]) == ("gateway", "medium", "ordinary")
    assert (raised["text"], raised["device"], raised["zone"]) == ("disk gone", None, None)
    assert world.last()["alarm"] == raised["alarm"]
    assert world.last()["state"] == "normal"


def test_a_module_that_does_not_know_what_to_do_without_us_is_a_fault_of_its_gate() -> None:
    north = GateSettings("north", Ref("board", "do1"), on_loss="open")
    world = World(plan=replace(settings(), gates={"north": north}))
    tell(world, "north/on-loss", well=True)
    tell(world, "north/on-loss", well=False, detail="board does not keep do1/safe")
    raised = world.last()
    world.restart()
    tell(world, "north/on-loss", well=True)

    assert (raised["kind"], raised["text"]) == ("fault", "board does not keep do1/safe")
    assert world.told() == [("alarm.raised", "north/on-loss"), ("alarm.cleared", "north/on-loss")]
    tell(world, "north/on-loss", well=False, detail="again")
    world.plan = replace(world.plan, gates={"north": replace(north, on_loss="keep")})
    world.restart()
    assert world.told()[-1] == ("alarm.cleared", "north/on-loss"), "nothing is told there any more"


def test_a_memory_that_was_set_aside_is_told() -> None:
    world = World()
    world.feed(SetAside("/store/memory-1.json", world.instant()))
    assert (world.events[-1].type, world.last()) == ("store.quarantined", {"file": "/store/memory-1.json"})


def test_a_store_that_went_back_is_told_and_what_only_the_cloud_knows_is_ended_by_its_id() -> None:
    world = World()
    tell(world, OWN_ALARMS[0], well=False, detail="disk gone")
    known = world.last()
    lost = {**known, "alarm": "0199-lost", "device": "smoke-1", "point": "smoke", "name": "fire", "latched": True}
    told: dict[str, Json] = {"journal": "j", "witness": "high-water", "from": {}, "to": {}, "missing": []}
    before = len(world.events)
    world.feed(WentBack(told, [known, lost], world.instant()))

    assert [(one.type, one.subject) for one in world.events[before:]] == [
        ("store.rolled-back", None),
        ("alarm.reset", "smoke-1/smoke/fire"),
    ]
    ended = world.last()
    assert (ended["alarm"], ended["state"], ended["active"]) == ("0199-lost", "normal", False)
    tell(world, OWN_ALARMS[0], well=True)
    assert world.last()["alarm"] == known["alarm"], "what is known goes on"

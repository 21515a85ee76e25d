"""The built-in alarms about the gateway itself."""

import pytest

from gateway.model import OwnHealth, SetAside
from gateway.site.settings import OWN_ALARMS
from tests.site.world import World


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


def test_a_memory_that_was_set_aside_is_told() -> None:
    world = World()
    world.feed(SetAside("/store/memory-1.json", world.instant()))
    assert (world.events[-1].type, world.last()) == ("store.quarantined", {"file": "/store/memory-1.json"})

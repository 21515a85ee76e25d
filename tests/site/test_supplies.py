"""What resets a device is never an output of a gate, whatever the site file says."""

from dataclasses import replace
from typing import Any

import pytest

from gateway.model import Command
from gateway.site.settings import Condition, DeviceReset, Ref, SiteSettings
from tests.site.compound import ALL, Compound, detector, yard
from tests.site.world import rule


def dirty(how: DeviceReset) -> SiteSettings:
    """A detector that can be dirty, which latches, reset in this way."""
    plan = yard()
    one = detector("smoke-1", reset=how)
    rules = (*one.rules, rule("smoke-1", "dirt", "dirty", "dirty", Condition(equals=1), latch=True))
    one = replace(one, rules=rules, points=frozenset({"fire", "dirt"}))
    return yard(devices={**plan.devices, "smoke-1": one})


def reset(site: Compound) -> dict[str, Any]:
    site.input("smoke-1.dirt", 1)
    site.wait(1)
    site.input("smoke-1.dirt", 0)
    site.wait(1)
    alarm = site.memory["alarm/smoke-1/dirt/dirty"]["alarm"]  # type: ignore[index,call-overload]
    return site.command("alarm.reset", alarm=alarm, note=None)


@pytest.mark.parametrize("how", [DeviceReset(Ref("board", "do2"), off=5.0), DeviceReset(Ref("board", "do2"), value=0)])
@pytest.mark.parametrize("held", [True, False])
def test_a_reset_does_not_touch_the_output_of_a_gate(how: DeviceReset, *, held: bool) -> None:
    site = Compound(dirty(how))
    if held:
        site.burn("smoke-2", "smoke-3")
    site.wait(3)
    before = list(site.writes("board.do2"))

    reply = reset(site)
    site.wait(30)

    assert reply["error"]["code"] == "interlocked"
    assert "board.do2" in reply["error"]["message"]
    assert site.writes("board.do2") == before
    assert site.on("board.do2") is held


def test_a_supply_that_became_the_output_of_a_gate_is_not_given_back() -> None:
    site = Compound(dirty(DeviceReset(Ref("board", "do7"), off=5.0)))
    site.input("smoke-1.dirt", 1)
    site.wait(1)
    site.input("smoke-1.dirt", 0)
    alarm = site.memory["alarm/smoke-1/dirt/dirty"]["alarm"]  # type: ignore[index,call-overload]
    wall = site.instant().wall
    command = Command("j", "cloud", "li", "k1", ALL, "alarm.reset", {"alarm": alarm}, wall + 60, None, site.instant())
    site.feed(command)
    assert "supply/smoke-1" in site.memory

    site.plan = dirty(DeviceReset(Ref("board", "do1"), off=5.0))
    site.crash()
    site.wait(30)

    assert "supply/smoke-1" not in site.memory
    assert site.writes("board.do1") == []

"""Sentences about linkage and gates that no other test holds, and what somebody might try against them."""

from dataclasses import replace
from typing import Any

import pytest

from gateway.model import Command, Operate, Stopping
from gateway.site.settings import GateSettings, LinkageSettings, Ref
from tests.site.compound import ALL, RISES, WIRE, Compound, yard

NORTH: dict[str, Any] = {"gate": "north"}
SOUTH: dict[str, Any] = {"gate": "south"}
BY_FIRE = LinkageSettings("evacuation", hold=("north", "south"), set=(Ref("board", "do4"),))


def held(site: Compound) -> bool:
    return site.on("board.do2") and site.on("board.do3")


def reset(site: Compound, *devices: str) -> None:
    for device in devices:
        site.input(f"{device}.fire", 0)
        assert site.command("alarm.reset", alarm=site.alarm(f"{device}/fire/fire")["alarm"])["ok"]


# ---- the file changes under a hold -----------------------------------------------------------------


@pytest.mark.parametrize(
    "linkages",
    [(), (replace(BY_FIRE, id="another"),), (replace(BY_FIRE, hold=("north",)),)],
    ids=["gone", "renamed", "holds it no more"],
)
def test_a_hold_whose_linkage_left_the_file_is_held_after_fire_and_a_person_ends_it(
    linkages: tuple[LinkageSettings, ...],
) -> None:
    site = Compound()
    site.burn("smoke-1", "smoke-2")
    reset_first = not linkages or linkages[0].id == "evacuation"
    site.plan = yard(linkages=linkages)

    site.stop()
    site.wait(5)
    assert site.on("board.do3"), "nothing is let go by an edit"
    assert "fire:evacuation" not in site.causes("south")
    if not reset_first:
        reset(site, "smoke-1", "smoke-2")
    assert site.person("gate.release", **SOUTH)["ok"]
    site.wait(2)

    assert not site.on("board.do3")
    assert site.causes("south") == set()
    assert "linkage/evacuation" not in site.memory or linkages[0].id == "evacuation"


def test_a_gate_that_a_linkage_holds_from_now_on_is_opened_at_the_start() -> None:
    site = Compound(yard(linkages=(replace(BY_FIRE, hold=("north",)),)))
    site.burn("smoke-1", "smoke-2")
    assert not site.on("board.do3")
    site.plan = yard()

    site.stop()
    site.wait(1)

    assert held(site)


# ---- a fire over what is already held --------------------------------------------------------------


def test_a_fire_over_a_hold_whose_arm_was_lowered_opens_again_at_once() -> None:
    site = Compound()
    site.person("gate.hold", **NORTH)
    site.wait(RISES + 1)
    site.input("inputs.di1", 0)
    site.wait(60)
    site.wire.clear()
    begun = site.now

    site.burn("smoke-1", "smoke-2")
    site.wait(0.5)

    first = min(at for at, ref, value in site.wire if ref in ("board.do1", "board.do2") and value)
    assert first - begun <= 1.0
    assert site.writes("board.do1")[:1] == [True]
    assert False not in site.writes("board.do2")


def test_a_fire_during_a_pulse_a_release_and_a_clear_way_that_is_waited_for() -> None:
    for lag in (0.0, 0.01, 0.05, 0.3, 0.52, 0.54, 0.6, 1.2):
        site = Compound()
        site.burn("smoke-1")
        site.input("smoke-2.fire", 1)
        site.person("gate.hold", **NORTH)
        site.person("gate.release", **NORTH)
        site.feed(Command("j", "c", "li", "k", ALL, "gate.open", SOUTH, 60 + site.instant().wall, None, site.instant()))
        site.wait(lag)
        site.answer("smoke-2", ("fire",))
        begun = len(site.wire)
        site.wait(30)

        assert held(site), lag
        after = [value for _, ref, value in site.wire[begun:] if ref in ("board.do2", "board.do3")]
        assert all(after[1:]), lag


# ---- outputs that cannot be read -------------------------------------------------------------------


def test_a_hold_that_cannot_be_read_back_is_written_again_while_it_lasts() -> None:
    plan = yard()
    lpr = GateSettings("south", Ref("lpr", "io0"), readable=False)
    site = Compound(yard(gates={**plan.gates, "south": lpr}))
    site.points[Ref("lpr", "io0")] = 0
    site.burn("smoke-1", "smoke-2")
    site.wait(2)

    site.points[Ref("lpr", "io0")] = 0  # the camera was switched off and on
    site.wait(6)

    assert site.on("lpr.io0")
    reset(site, "smoke-1", "smoke-2")
    site.person("gate.release", **SOUTH)
    site.wait(10)
    assert not site.on("lpr.io0")
    writes = len(site.wire)
    site.wait(60)
    assert len(site.wire) == writes


# ---- the trigger -----------------------------------------------------------------------------------


def test_a_panels_own_linkage_output_is_enough_alone() -> None:
    plan = yard()
    panel = replace(plan.devices["smoke-1"], kind="panel-output")
    site = Compound(yard(devices={**plan.devices, "smoke-1": panel}))

    site.burn("smoke-1")
    site.wait(1)

    assert held(site)


def test_two_components_of_one_panel_are_two_devices() -> None:
    plan = yard()
    panel = plan.devices["smoke-1"]
    rules = tuple(replace(panel.rules[0], point=f"1-1-28-0{n}") for n in (1, 2))
    names = frozenset(one.point for one in rules)
    site = Compound(yard(devices={**plan.devices, "smoke-1": replace(panel, kind="panel", rules=rules, points=names)}))

    site.input("smoke-1.1-1-28-01", 1)
    site.wait(1)
    assert not held(site)
    site.input("smoke-1.1-1-28-02", 1)
    site.wait(1)

    assert held(site)


@pytest.mark.parametrize(("trigger", "opens"), [("two-devices", False), ("any", True)])
def test_a_panels_common_status_counts_alone_only_for_any(trigger: str, opens: bool) -> None:
    plan = yard()
    panel = plan.devices["smoke-1"]
    rules = (
        replace(panel.rules[0], point="1-1", counts="status"),
        replace(panel.rules[0], point="1-1-28-01"),
    )
    names = frozenset(one.point for one in rules)
    devices = {**plan.devices, "smoke-1": replace(panel, kind="panel", rules=rules, points=names)}
    rule = replace(BY_FIRE, trigger=trigger)  # type: ignore[arg-type]
    site = Compound(yard(devices=devices, linkages=(rule,)))

    site.input("smoke-1.1-1", 1)
    site.wait(1)
    assert held(site) is opens
    site.input("smoke-1.1-1-28-01", 1)
    site.wait(1)

    assert held(site) is opens, "nor beside a component of its unit"


def test_the_second_device_of_a_zone_falls_silent_after_the_first_saw_a_fire() -> None:
    site = Compound()
    site.burn("heat-9")
    site.wait(60)
    assert not held(site)

    site.fall_silent("heat-8")
    site.wait(1)

    assert site.alarm("garage/linkage-degraded")
    assert held(site), "fewer than two are alive: one is enough"


def test_a_fire_that_has_cleared_and_was_not_reset_counts() -> None:
    site = Compound()
    site.burn("smoke-1")
    site.input("smoke-1.fire", 0)
    site.wait(7200)

    site.burn("smoke-2")
    site.wait(1)

    assert held(site)


def test_a_fire_that_was_reset_does_not_count() -> None:
    site = Compound()
    site.burn("smoke-1")
    reset(site, "smoke-1")

    site.burn("smoke-2")
    site.wait(600)

    assert not held(site)


def test_there_is_no_delay_of_investigation() -> None:
    site = Compound()
    site.burn("smoke-1")
    begun = site.now

    site.input("smoke-2.fire", 1)
    site.wait(1)

    told = site.told("gate.held")[0].at.mono
    assert told - begun <= 2 * WIRE


def test_fire_confirm_in_a_zone_that_no_linkage_covers_moves_nothing() -> None:
    site = Compound(yard(linkages=(replace(BY_FIRE, zones=frozenset({"garage"})),)))

    site.command("fire.confirm", zone="b3")
    site.wait(5)

    assert not held(site)
    assert site.alarm("b3/confirmed")


# ---- held, whatever is tried -----------------------------------------------------------------------


@pytest.mark.parametrize("again", [True, False])
def test_a_release_that_nobody_may_give_says_why_and_is_audited(again: bool) -> None:
    site = Compound()
    site.burn("smoke-1", "smoke-2")
    site.wait(1)
    if again:
        reset(site, "smoke-1", "smoke-2")

    reply = site.command("gate.release", allow=frozenset({"gate.release"}), **SOUTH)

    assert (reply["error"]["code"], "fire" in reply["error"]["message"]) == ("interlocked", True)
    assert site.told("command.refused")[-1].data["cmd"] == "gate.release"


def test_a_thousand_commands_at_a_held_gate_write_nothing_false() -> None:
    site = Compound()
    site.burn("smoke-1", "smoke-2")
    site.wait(1)
    for n in range(250):
        for cmd in ("gate.open", "gate.release", "gate.hold", "gate.release"):
            wall = site.instant().wall
            jti = f"{n}/{cmd}/{len(site.replies)}"
            args = {"gate": ("north", "south")[n % 2]}
            site.feed(Command(jti, "c", "li", "k", ALL, cmd, args, wall + 60, None, site.instant()))
        site.wait(0.05)

    assert held(site)
    assert False not in site.writes("board.do2") + site.writes("board.do3")


def test_asking_a_dead_board_again_and_again_piles_nothing_up() -> None:
    site = Compound()
    site.fall_silent("board")
    for n in range(200):
        assert site.person("gate.hold", **SOUTH)["ok"] is False, n
        site.wait(1)

    gates = site.site._parts.gates  # noqa: SLF001 - what a process keeps is seen nowhere else
    assert len(gates.get("south").holders) <= 32
    assert len(site.site._parts.commands._pending) <= 40  # noqa: SLF001


def test_a_supply_that_two_detectors_share_ends_on() -> None:
    from gateway.site.settings import DeviceReset  # noqa: PLC0415

    plan = yard()
    how = DeviceReset(Ref("board", "do7"), off=5.0)
    devices = {name: replace(plan.devices[name], reset=how) for name in ("smoke-1", "smoke-2")}
    for lag in (0.0, 2.0, 4.99, 5.0, 5.01, 7.0):
        site = Compound(yard(devices={**plan.devices, **devices}))
        site.points[Ref("board", "do7")] = 1
        site.burn("smoke-1", "smoke-2")
        for device in ("smoke-1", "smoke-2"):
            alarm = site.alarm(f"{device}/fire/fire")["alarm"]
            wall = site.instant().wall
            one = Command(device, "c", "li", "k", ALL, "alarm.reset", {"alarm": alarm}, wall + 60, None, site.instant())
            site.feed(one)
            site.wait(lag)
        site.wait(40)

        assert site.on("board.do7"), lag
        assert not [key for key in site.memory if key.startswith("supply/")], lag


def test_an_order_of_a_hold_by_fire_has_no_end() -> None:
    site = Compound()
    site.trace = []
    site.fall_silent("board")
    site.burn("smoke-1", "smoke-2")
    site.wait(60)

    orders = [
        e for step in site.trace for e in step if isinstance(e, Operate) and e.point in ("do2", "do3") and e.value
    ]
    assert len(orders) > 10
    assert all(order.expires is None and order.at_once for order in orders)


def test_nothing_that_runs_is_left_when_all_is_over() -> None:
    site = Compound()
    for _ in range(3):
        site.burn("smoke-1", "smoke-2")
        site.wait(30)
        reset(site, "smoke-1", "smoke-2")
        site.wait(5)
        site.person("gate.release", **SOUTH)
        site.person("gate.release", **NORTH)
        site.wait(10)
    site.wait(2 * 86400)

    assert site.memory.keys() <= {"site/age"}
    assert len(site.site._parts.timers._due) <= 1  # noqa: SLF001 - what a process keeps is seen nowhere else


def test_a_sounder_of_a_linkage_is_supervised_as_a_gate_is() -> None:
    site = Compound()
    site.burn("smoke-1", "smoke-2")
    site.wait(5)

    for _ in range(3):
        site.points[Ref("board", "do4")] = 0
        site.wait(1.2)
        assert site.on("board.do4")


def test_a_clean_stop_writes_nothing() -> None:
    site = Compound()
    site.burn("smoke-1", "smoke-2")
    site.person("gate.open", gate="back")

    effects = site.feed(Stopping(site.instant(), "asked to"))

    assert not [effect for effect in effects if isinstance(effect, Operate)]


def test_every_state_of_a_gate_is_reached() -> None:
    site = Compound()
    seen = set()

    def look(seconds: float) -> None:
        until = site.now + seconds
        while site.now < until:
            site.wait(0.1)
            status = site.site._parts.gates.status("north", site.instant())  # noqa: SLF001 - asked for in each event
            seen.add((status["commanded"], status["actual"]))

    look(1)
    site.input("inputs.di1", 1)
    site.input("inputs.di1", 0)
    look(1)
    site.feed(Command("j", "c", "li", "k", ALL, "gate.open", NORTH, site.instant().wall + 60, None, site.instant()))
    look(5)
    site.input("inputs.di1", 0)
    look(8)
    site.burn("smoke-1", "smoke-2")
    look(5)
    reset(site, "smoke-1", "smoke-2")
    look(1)

    assert {("idle", "down"), ("opening", "moving"), ("idle", "up")} <= seen
    assert {("held", "moving"), ("held", "up"), ("held-after-fire", "up")} <= seen


def test_a_sounder_whose_linkage_left_the_file_is_ended() -> None:
    site = Compound()
    site.burn("smoke-1", "smoke-2")
    site.wait(5)
    assert site.on("board.do4")
    site.plan = yard(linkages=())

    site.stop()
    site.wait(5)

    assert not site.on("board.do4")
    assert "release/board.do4" not in site.memory


def test_a_release_that_nothing_can_be_written_for_any_more_is_forgotten() -> None:
    site = Compound()
    site.memory["release/gone.do1"] = True

    site.crash()

    assert "release/gone.do1" not in site.memory
    site.wait(60)
    assert site.wire == []


@pytest.mark.parametrize("lag", [0.0, 0.2, 0.4, 0.6, 0.8])
def test_a_way_is_clear_when_it_has_been_so_for_three_seconds(lag: float) -> None:
    site = Compound()
    site.person("gate.hold", **NORTH)
    site.wait(5)
    site.input("inputs.di2", 0)
    site.person("gate.release", **NORTH)
    site.wait(3 + lag)
    cleared = site.now
    site.input("inputs.di2", 1)
    site.wait(10)

    (off,) = [at for at, ref, value in site.wire if ref == "board.do2" and not value]
    assert 3.0 <= off - cleared <= 4.1


def test_a_hold_by_command_that_waits_for_its_commit_does_not_hold_up_the_fires() -> None:
    site = Compound()
    site.burn("smoke-1")
    site.commits = False
    one = Command("j", "c", "li", "k", ALL, "gate.hold", SOUTH, site.instant().wall + 60, None, site.instant())
    site.feed(one)
    site.wait(0.1)
    assert not site.on("board.do3")

    site.burn("smoke-2")
    site.wait(0.1)

    assert site.on("board.do3")


def test_fire_confirm_ends_the_test_of_its_zone() -> None:
    site = Compound()
    site.command("zone.test", zone="b3", for_="1h")

    site.command("fire.confirm", zone="b3")
    site.wait(1)

    assert held(site)
    assert "deadline/test/b3" not in site.memory
    assert site.told("alarm.raised")[-1].test is False


def test_a_sounder_of_two_linkages_sounds_until_both_are_over() -> None:
    garage = LinkageSettings("garage", frozenset({"garage"}), set=(Ref("board", "do4"),))
    site = Compound(yard(linkages=(replace(BY_FIRE, zones=frozenset({"b3"})), garage)))
    site.burn("smoke-1", "smoke-2", "heat-9", "heat-8")
    site.wait(2)

    reset(site, "smoke-1", "smoke-2")
    site.wait(2)
    assert site.on("board.do4")
    reset(site, "heat-9", "heat-8")
    site.wait(2)

    assert not site.on("board.do4")

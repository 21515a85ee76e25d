"""Linkage, sentence by sentence."""

from dataclasses import replace

import pytest

from gateway.model import DeviceBlind, LineHealth
from gateway.site.settings import LinkageSettings, Ref
from tests.site.compound import WIRE, Compound, yard

FIRE = "evacuation"


def held(site: Compound) -> bool:
    return site.on("board.do2") and site.on("board.do3")


def test_one_device_opens_nothing() -> None:
    site = Compound()

    site.burn("smoke-1")
    site.wait(600)

    assert not held(site)
    assert site.wire == [] or {ref for _, ref, _ in site.wire} == {"board.do5"}, "only the sounder in the guard room"


def test_two_devices_of_one_zone_open_every_gate_and_set_every_output() -> None:
    site = Compound()

    site.burn("smoke-1")
    site.wait(3 * 3600)
    site.burn("smoke-2")
    site.wait(0.1)

    assert held(site)
    assert site.on("board.do4")
    assert not site.on("board.do8"), "a gate that no linkage names"


def test_the_order_leaves_with_the_confirming_answer_and_waits_for_no_commit() -> None:
    site = Compound()
    site.burn("smoke-1")
    site.commits = False
    before = site.now

    site.input("smoke-2.fire", 1)
    site.wait(0.5)

    assert held(site)
    first = min(at for at, ref, _ in site.wire if ref in ("board.do2", "board.do3"))
    assert first - before <= 3 * WIRE, "the answer, its confirming read, the order"


def test_two_devices_of_two_zones_open_nothing() -> None:
    site = Compound()

    site.burn("smoke-1", "heat-9", "free-1")
    site.wait(10)

    assert not held(site)


def test_what_has_no_zone_is_in_the_zone_site() -> None:
    site = Compound()

    site.burn("free-1", "free-2")
    site.wait(1)

    assert held(site)


def test_two_alarms_of_one_device_are_one() -> None:
    plan = yard()
    one = plan.devices["smoke-1"]
    twice = replace(one, rules=(*one.rules, replace(one.rules[0], point="heat")), points=frozenset({"fire", "heat"}))
    site = Compound(yard(devices={**plan.devices, "smoke-1": twice}))

    site.burn("smoke-1")
    site.input("smoke-1.heat", 1)
    site.wait(1)

    assert site.alarm("smoke-1/heat/fire")
    assert not held(site)


@pytest.mark.parametrize(("how", "opens"), [("alone", True), ("counts-as-one", False)])
def test_a_call_point_is_enough_unless_it_counts_as_one(how: str, opens: bool) -> None:
    rule = LinkageSettings("evacuation", call_point=how, hold=("north", "south"))  # type: ignore[arg-type]
    site = Compound(yard(linkages=(rule,)))

    site.burn("call-1")
    site.wait(1)
    assert held(site) is opens
    site.burn("smoke-1")
    site.wait(1)

    assert held(site)


def test_trigger_any_takes_one() -> None:
    site = Compound(yard(linkages=(LinkageSettings("e", trigger="any", hold=("north", "south")),)))

    site.burn("heat-9")
    site.wait(1)

    assert held(site)


def test_a_linkage_with_a_list_of_zones_leaves_the_others_alone() -> None:
    site = Compound(yard(linkages=(LinkageSettings("e", frozenset({"garage"}), hold=("north", "south")),)))

    site.burn("smoke-1", "smoke-2", "call-1")
    site.wait(1)
    assert not held(site)
    site.burn("heat-9", "heat-8")
    site.wait(1)

    assert held(site)


def test_the_button_is_enough_alone_and_needs_two_reads() -> None:
    site = Compound()

    site.input("inputs.di7", 1)
    assert not held(site)
    site.wait(0.2)

    assert held(site)
    assert site.gate("north")["cause"] == "button"
    assert site.alarm("evacuation/button")["kind"] == "fire"


def test_one_noisy_read_of_the_button_confirms_nothing() -> None:
    site = Compound()

    site.input("inputs.di7", 1)
    site.input("inputs.di7", 0)
    site.wait(5)

    assert not held(site)


@pytest.mark.parametrize("burning", [True, False])
def test_fire_confirm_starts_linkage_with_or_without_a_fire(burning: bool) -> None:
    site = Compound()
    if burning:
        site.burn("smoke-1")

    reply = site.command("fire.confirm", zone="b3", note="I see it")
    site.wait(0.1)

    assert reply["ok"]
    assert held(site)
    assert bool(site.alarm("b3/confirmed")) is not burning, "where none stands, this is one"
    assert site.gate("north")["by"] == "li"


def test_the_page_confirms_as_well() -> None:
    site = Compound()

    assert site.person("fire.confirm", zone="b3")["ok"]
    site.wait(0.1)

    assert held(site)


def test_a_zone_with_fewer_than_two_devices_alive_needs_one_and_says_so() -> None:
    site = Compound()

    site.fall_silent("heat-8")
    assert site.alarm("garage/linkage-degraded")
    site.burn("heat-9")
    site.wait(1)
    assert held(site)
    site.come_back("heat-8")

    assert not site.alarm("garage/linkage-degraded")


def test_a_device_that_refuses_its_alarm_point_does_not_count_as_alive() -> None:
    site = Compound()

    site.feed(DeviceBlind("heat-8", True, "no value for 99 s: heat (refused)", site.instant()))
    assert site.alarm("heat-8/blind")["kind"] == "fault"
    assert site.alarm("garage/linkage-degraded")
    site.burn("heat-9")
    site.wait(1)
    assert held(site)
    site.feed(DeviceBlind("heat-8", False, "", site.instant()))

    assert not site.alarm("heat-8/blind")
    assert not site.alarm("garage/linkage-degraded")


def test_a_silence_that_a_lost_line_held_back_is_told_when_the_line_is_back() -> None:
    site = Compound()

    site.line("loop", up=False)
    site.fall_silent("heat-8")
    assert not site.alarm("heat-8/silent")
    site.line("loop", up=True)

    assert site.alarm("heat-8/silent")
    assert site.alarm("garage/linkage-degraded")


def test_a_line_that_flaps_keeps_its_alarm_and_says_how_often() -> None:
    site = Compound()

    site.line("loop", up=False)
    site.feed(LineHealth("loop", True, "lost 4 times in 10 min", site.instant()))
    assert site.alarm("loop/down")["text"] == "lost 4 times in 10 min"
    assert not site.alarm("garage/linkage-degraded"), "its devices can be reached"
    site.feed(LineHealth("loop", True, "", site.instant()))

    assert not site.alarm("loop/down")


def test_a_lone_device_in_fire_is_enough_when_the_other_is_disabled() -> None:
    site = Compound()

    site.command("device.disable", device="heat-8", for_="2h", reason="work")
    assert site.alarm("garage/linkage-degraded")
    site.burn("heat-9")
    site.wait(1)

    assert held(site)


def test_a_lost_line_degrades_its_zones() -> None:
    site = Compound()

    site.line("loop", up=False)
    assert {z for z in ("b3", "garage", "site") if site.alarm(f"{z}/linkage-degraded")} == {"b3", "garage", "site"}
    site.line("loop", up=True)

    assert not any(site.alarm(f"{zone}/linkage-degraded") for zone in ("b3", "garage", "site"))


def test_a_device_that_went_silent_after_its_fire_still_counts() -> None:
    site = Compound()

    site.burn("heat-9")
    site.fall_silent("heat-9")
    site.wait(60)
    assert not held(site), "one is in fire, one is well: no two yet"
    assert not site.alarm("garage/linkage-degraded")
    site.burn("heat-8")
    site.wait(1)

    assert held(site)


def test_shelving_changes_nothing() -> None:
    site = Compound()

    assert site.command("alarm.shelve", device="smoke-1.fire.fire", for_="2h")["ok"]
    assert site.command("alarm.shelve", device="smoke-2.fire.fire", for_="2h")["ok"]
    site.burn("smoke-1", "smoke-2")
    site.wait(1)

    assert held(site)
    assert site.alarm("smoke-1/fire/fire")["shelved"]


def test_a_disabled_device_does_not_count() -> None:
    site = Compound()

    site.command("device.disable", device="smoke-2", for_="1h", reason="dust")
    site.burn("smoke-1", "smoke-2")
    site.wait(1)
    assert not held(site)
    assert site.alarm("smoke-2/fire/fire")["disabled"]
    site.wait(3600)

    assert held(site), "it is in linkage again, and still in fire"


def test_a_zone_under_test_triggers_nothing_and_its_alarms_say_so() -> None:
    site = Compound()

    assert site.command("zone.test", zone="b3", for_="1h")["ok"]
    site.burn("smoke-1", "smoke-2")
    site.wait(1)

    assert not held(site)
    assert all(event.test for event in site.told("alarm.raised"))
    assert not site.on("board.do5"), "no sound either"


def test_a_call_point_ends_the_test_and_counts() -> None:
    site = Compound()

    site.command("zone.test", zone="b3", for_="1h")
    site.burn("call-1")
    site.wait(1)

    assert held(site)
    assert site.told("alarm.raised")[-1].test is False
    assert "deadline/test/b3" not in site.memory


def test_what_still_burns_when_the_test_is_over_was_no_test() -> None:
    site = Compound()

    site.command("zone.test", zone="b3", for_="1h")
    site.burn("smoke-1", "smoke-2", "smoke-3")
    site.input("smoke-3.fire", 0)
    site.wait(3599)
    assert not held(site)
    site.wait(2)

    assert held(site)
    assert [event.test for event in site.told("alarm.updated")] == [False, False]


def test_what_was_tested_and_has_ended_does_not_count_later() -> None:
    site = Compound()

    site.command("zone.test", zone="b3", for_="1h")
    site.burn("smoke-1", "smoke-2")
    site.input("smoke-1.fire", 0)
    site.input("smoke-2.fire", 0)
    site.command("zone.test", zone="b3", for_="0s")
    site.wait(10)

    assert not held(site)


def test_a_test_survives_a_restart_with_the_time_that_remained() -> None:
    site = Compound()
    site.command("zone.test", zone="b3", for_="1h")
    site.burn("smoke-1")
    site.wait(1800)

    site.crash()
    site.burn("smoke-2")
    site.wait(1700)
    assert not held(site)
    site.wait(200)

    assert held(site)


def test_a_test_may_not_begin_over_a_fire() -> None:
    site = Compound()
    site.burn("smoke-1")

    assert site.command("zone.test", zone="b3", for_="1h")["error"]["code"] == "interlocked"


# ---- held, and what may end it ---------------------------------------------------------------------


def burning() -> Compound:
    site = Compound()
    site.burn("smoke-1", "smoke-2")
    site.wait(5)
    assert held(site)
    return site


def reset(site: Compound, *devices: str) -> None:
    for device in devices:
        site.input(f"{device}.fire", 0)
        assert site.command("alarm.reset", alarm=site.alarm(f"{device}/fire/fire")["alarm"])["ok"]


def test_a_held_output_is_written_again_if_it_is_off() -> None:
    site = burning()

    for _ in range(3):
        site.points[Ref("board", "do3")] = 0
        site.wait(1.2)
        assert held(site)


def test_without_end_whatever_the_back_off_of_the_device() -> None:
    site = Compound()
    site.fall_silent("board")
    site.burn("smoke-1", "smoke-2")
    site.wait(900)
    assert not held(site)

    site.silent.discard("board")
    site.wait(1.5)

    assert held(site), "nobody had told yet that the board answers again"


def test_the_hold_by_fire_never_dies() -> None:
    site = Compound()
    site.fall_silent("board")
    site.burn("smoke-1", "smoke-2")
    site.wait(1800)

    site.come_back("board")
    site.wait(1.5)

    assert held(site)


def test_an_arm_that_leaves_up_is_opened_again_within_a_second_and_alarmed() -> None:
    site = burning()
    site.arms = False
    pulses = len(site.writes("board.do1"))
    before = site.now

    site.input("inputs.di1", 0)
    site.wait(1)

    assert len(site.writes("board.do1")) > pulses
    assert min(at for at, ref, _ in site.wire if ref == "board.do1" and at >= before) - before <= 1.0
    stuck = site.alarm("north/gate-stuck")
    assert (stuck["severity"], stuck["kind"]) == ("critical", "gate")
    assert [event.type for event in site.events if event.subject == "north"][-2:] == ["gate.moved", "gate.stuck"]


def test_an_arm_that_the_line_does_not_tell_of_is_seen_within_a_second() -> None:
    site = burning()

    site.points[Ref("inputs", "di1")] = 0
    site.wait(1)

    assert site.alarm("north/gate-stuck")


def test_without_arm_the_state_is_never_called_open() -> None:
    site = burning()

    data = next(event.data for event in site.told("gate.held") if event.subject == "south")

    assert (data["commanded"], data["actual"], data["verified"]) == ("held", "unknown", None)


@pytest.mark.parametrize("cmd", ["gate.release", "gate.open", "gate.hold"])
def test_no_command_ends_it(cmd: str) -> None:
    site = burning()
    site.wire.clear()

    site.command(cmd, gate="north", allow=frozenset({"gate.open", "gate.hold", "gate.release"}))
    site.command("gate.release", gate="north", allow=frozenset({"gate.release"}))
    site.wait(60)

    assert held(site)
    assert False not in site.writes("board.do2")


def test_not_even_a_key_with_fire_release_while_the_fire_stands() -> None:
    site = burning()

    assert site.command("gate.release", gate="south")["error"]["code"] == "interlocked"
    assert site.person("gate.release", gate="south")["error"]["code"] == "interlocked"
    site.wait(60)

    assert held(site)


@pytest.mark.parametrize("restarts", [1, 4])
def test_no_restart_ends_it(restarts: int) -> None:
    site = burning()

    for _ in range(restarts):
        site.crash()
        site.stop()
    site.wait(10)

    assert held(site)
    assert all(site.writes("board.do3"))


def test_a_restart_writes_the_known_holds_first_of_all() -> None:
    site = burning()
    site.points[Ref("board", "do2")] = site.points[Ref("board", "do3")] = 0
    site.wire.clear()

    site.crash()
    site.wait(0.1)

    assert {ref for _, ref, _ in site.wire[:2]} == {"board.do2", "board.do3"}
    assert held(site)


def test_no_lost_device_ends_it() -> None:
    site = burning()

    for device in ("smoke-1", "smoke-2", "board", "inputs"):
        site.fall_silent(device)
    site.line("loop", up=False)
    site.line("io", up=False)
    site.wait(600)
    site.line("io", up=True)
    site.come_back("board")
    site.wait(1)

    assert held(site)


def test_the_reset_of_the_last_fire_leaves_held_after_fire_until_a_person_releases_each_gate() -> None:
    site = burning()

    reset(site, "smoke-1")
    assert site.gate("north")["commanded"] == "held"
    reset(site, "smoke-2")
    assert site.gate("south")["commanded"] == "held-after-fire"
    site.wait(3600)
    assert held(site)
    assert site.person("gate.release", gate="south")["ok"]
    site.wait(1)
    assert (site.on("board.do3"), site.on("board.do2")) == (False, True), "gate by gate"

    assert site.person("gate.release", gate="north")["ok"]
    site.wait(5)

    assert not site.on("board.do2")


def test_from_afar_fire_release_must_stand_in_the_keys_allow() -> None:
    site = burning()
    reset(site, "smoke-1", "smoke-2")

    refused = site.command("gate.release", gate="south", allow=frozenset({"gate.release"}))
    assert refused["error"]["code"] == "interlocked"
    assert site.command("gate.release", gate="south", allow=frozenset({"gate.release", "fire.release"}))["ok"]
    site.wait(1)

    assert not site.on("board.do3")


def test_sounders_start_and_stop_together() -> None:
    site = burning()
    assert site.on("board.do4")

    reset(site, "smoke-1", "smoke-2")
    site.wait(1)

    assert not site.on("board.do4")
    assert held(site)


def test_a_fire_after_a_release_opens_again() -> None:
    site = burning()
    reset(site, "smoke-1", "smoke-2")
    site.person("gate.release", gate="south")
    site.wait(60)

    site.burn("smoke-1", "smoke-2")
    site.wait(1)

    assert held(site)


def test_a_button_that_is_still_pressed_is_not_reset() -> None:
    site = Compound()
    site.input("inputs.di7", 1)
    site.wait(1)
    alarm = site.alarm("evacuation/button")["alarm"]

    assert site.command("alarm.reset", alarm=alarm)["error"]["code"] == "interlocked"
    site.input("inputs.di7", 0)
    assert site.command("alarm.reset", alarm=alarm)["ok"]
    site.wait(1)

    assert site.gate("south")["commanded"] == "held-after-fire"


def test_a_silent_detectors_fire_is_reset_only_on_site_with_a_note_and_the_device_is_then_disabled() -> None:
    site = burning()
    site.fall_silent("smoke-2")
    alarm = site.alarm("smoke-2/fire/fire")["alarm"]

    assert site.command("alarm.reset", alarm=alarm)["error"]["code"] == "interlocked"
    assert site.person("alarm.reset", alarm=alarm)["error"]["code"] == "interlocked"
    assert site.person("alarm.reset", alarm=alarm, note="burnt out")["ok"]

    assert site.alarm("smoke-2/disabled")
    assert not site.alarm("smoke-2/fire/fire")
    assert site.told("device.disabled")[-1].data["by"] == "wang"


def refuses(site: Compound, device: str, *, is_blind: bool = True) -> None:
    """It answers, but refuses its alarm point."""
    site.feed(DeviceBlind(device, is_blind, "fire: refused with code 2" if is_blind else "", site.instant()))
    site.wait(0.1)


def test_a_device_that_refuses_its_alarm_point_counts_as_not_alive() -> None:
    site = Compound()
    refuses(site, "heat-9")
    assert site.alarm("heat-9/blind")["kind"] == "fault"
    assert site.alarm("garage/linkage-degraded")
    site.crash()
    assert site.alarm("garage/linkage-degraded"), "over a restart"
    refuses(site, "heat-9", is_blind=False)
    assert not site.alarm("heat-9/blind")
    assert not site.alarm("garage/linkage-degraded")


def test_one_device_that_is_blind_and_silent_comes_back_with_both() -> None:
    site = Compound()
    refuses(site, "heat-9")
    site.fall_silent("heat-9")
    refuses(site, "heat-9", is_blind=False)
    assert site.alarm("garage/linkage-degraded")
    site.come_back("heat-9")
    assert not site.alarm("garage/linkage-degraded")


def test_a_blind_device_in_fire_counts_and_is_reset_on_site_with_a_note() -> None:
    site = Compound()
    site.burn("heat-9")
    refuses(site, "heat-9")
    assert not site.alarm("garage/linkage-degraded"), "it is one of two"
    site.burn("heat-8")
    assert site.on("board.do2"), "with the other one it opens the gates"
    alarm = site.alarm("heat-9/fire/fire")["alarm"]
    assert site.person("alarm.reset", alarm=alarm)["error"]["code"] == "interlocked"
    assert site.person("alarm.reset", alarm=alarm, note="seen")["ok"]

"""Gates, sentence by sentence."""

from dataclasses import replace
from typing import Any

import pytest

from gateway.model import Command, Operate
from gateway.site.settings import GateSettings, OwnSettings, Ref
from tests.site.compound import ALL, RISES, Compound, yard

NORTH: dict[str, Any] = {"gate": "north"}
SOUTH: dict[str, Any] = {"gate": "south"}


def with_gate(**changes: Any) -> Compound:
    """The yard with another south gate."""
    plan = yard()
    return Compound(yard(gates={**plan.gates, "south": replace(plan.gates["south"], **changes)}))


def test_an_opening_is_a_pulse_that_ends() -> None:
    site = Compound()

    reply = site.command("gate.open", **SOUTH)
    site.wait(1)

    assert reply["ok"]
    assert reply["result"] == {
        "gate": "south", "decision": "opened", "commanded": "opening", "actual": "unknown", "verified": None,
    }  # fmt: skip
    assert site.writes("board.do3") == [True, False]
    on, off = (at for at, ref, _ in site.wire if ref == "board.do3")
    assert 0.5 <= off - on <= 0.6
    assert "release/board.do3" not in site.memory


def test_the_events_of_an_opening() -> None:
    site = Compound()

    site.command("gate.open", **SOUTH)
    site.command("gate.open", **NORTH)
    site.wait(RISES + 1)

    south, north = (event.data for event in site.told("gate.opened"))
    assert dict(south) == {
        "gate": "south", "cause": "command", "by": "li", "passage": None, "alarm": None, "commanded": "opening",
        "actual": "unknown", "verified": None,
    }  # fmt: skip
    assert (north["gate"], north["actual"], north["verified"]) == ("north", "up", True)


def test_the_release_is_retried_until_it_is_read_back() -> None:
    site = Compound()
    site.command("gate.open", **SOUTH)
    site.fall_silent("board")
    site.wait(120)
    assert site.on("board.do3")
    assert "release/board.do3" in site.memory

    site.come_back("board")
    site.wait(0.2)

    assert not site.on("board.do3")
    assert "release/board.do3" not in site.memory


def test_a_relay_that_sticks_is_written_off_again_and_again() -> None:
    site = Compound()
    site.command("gate.open", **SOUTH)
    site.stuck.add(Ref("board", "do3"))
    site.wait(20)

    assert site.writes("board.do3").count(False) >= 4
    site.stuck.clear()
    site.wait(60)

    assert not site.on("board.do3")
    assert "release/board.do3" not in site.memory


@pytest.mark.parametrize("at", [0.0, 0.01, 0.03, 0.3, 0.51, 0.6])
def test_the_end_of_a_pulse_survives_a_crash_between_the_two_writes(at: float) -> None:
    site = Compound()
    site.command("gate.open", allow=ALL, life=60, gate="south") if at > 0.1 else site.feed(_open(site))
    site.wait(at)

    site.crash()
    site.wait(3)

    assert not site.on("board.do3")
    assert site.writes("board.do3").count(True) <= 1, "a crash opens nothing"


def _open(site: Compound) -> Command:
    return Command(
        "j", "cloud", "li", "k", ALL, "gate.open", dict(SOUTH), site.instant().wall + 60, None, site.instant()
    )


def test_an_opening_waits_for_its_commit_and_its_release_does_not() -> None:
    site = Compound()

    effects = site.feed(_open(site))
    opening = next(effect for effect in effects if isinstance(effect, Operate))
    assert opening.at_once is False
    site.trace = []
    site.wait(2)

    release = next(e for step in site.trace for e in step if isinstance(e, Operate) and e.value is False)
    assert release.at_once is True


@pytest.mark.parametrize("late", [0.1, 0.3, 0.45, 0.8])
def test_a_pulse_is_reckoned_from_the_write(late: float) -> None:
    """What became of it may be known much later, where the reply was not right."""
    site = Compound()
    site.known_after = late

    site.command("gate.open", **SOUTH)
    site.wait(5)

    on, off = (at for at, ref, _ in site.wire if ref == "board.do3")
    assert max(0.5, late) <= off - on <= max(0.6, late + 0.1)
    assert "release/board.do3" not in site.memory


def test_an_opening_that_was_never_committed_moves_nothing() -> None:
    site = Compound()
    site.commits = False

    site.feed(_open(site))
    site.wait(5)
    assert site.wire == []
    site.crash()
    site.wait(5)

    assert not any(site.writes("board.do3"))


def test_the_modules_own_timed_pulse_is_used_where_it_exists() -> None:
    site = with_gate(timed=True, pulse=0.7)

    site.command("gate.open", **SOUTH)
    site.wait(10)

    assert site.writes("board.do3") == [0.7]
    assert "release/board.do3" not in site.memory


def test_a_timed_pulse_that_does_not_end_is_ended() -> None:
    site = with_gate(timed=True)
    site.command("gate.open", **SOUTH)
    site.heap.clear()
    site.points[Ref("board", "do3")] = True
    site.wait(10)

    assert site.writes("board.do3")[-1] is False
    assert not site.on("board.do3")


def test_the_relay_of_a_camera_is_not_read_back() -> None:
    plan = yard()
    lpr = GateSettings("south", Ref("lpr", "io0"), timed=True, readable=False)
    site = Compound(yard(gates={**plan.gates, "south": lpr}))
    site.points[Ref("lpr", "io0")] = 0

    assert site.command("gate.open", **SOUTH)["ok"]
    site.wait(5)

    assert site.writes("lpr.io0") == [0.5]
    assert "release/lpr.io0" not in site.memory


@pytest.mark.parametrize(("after", "pulses"), [(0.3, 1), (1.4, 1), (2.5, 2)])
def test_an_opening_within_a_second_of_a_pulses_end_joins_it(after: float, pulses: int) -> None:
    site = Compound()

    site.command("gate.open", **SOUTH)
    site.wait(after - 0.1)
    again = site.command("gate.open", **SOUTH)
    site.wait(1)

    assert again["ok"]
    assert site.writes("board.do3").count(True) == pulses


def test_two_openings_at_once_are_one_pulse_and_two_answers() -> None:
    site = Compound()

    site.feed(_open(site))
    reply = site.command("gate.open", **SOUTH)

    assert reply["ok"]
    assert len(site.replies) == 2
    assert site.writes("board.do3").count(True) == 1


def test_over_twenty_pulses_a_minute_are_refused_but_not_to_people_and_fire() -> None:
    site = Compound()
    for _ in range(20):
        assert site.command("gate.open", **SOUTH)["ok"]
        site.wait(1.9)

    limited = site.command("gate.open", **SOUTH)
    assert (limited["error"]["code"], "rate-limited" in limited["error"]["message"]) == ("interlocked", True)
    assert site.command("gate.open", gate="back")["ok"], "each gate for itself"
    assert site.person("gate.open", **SOUTH)["ok"]
    site.burn("smoke-1", "smoke-2")
    site.wait(1)
    assert site.on("board.do3")


def test_the_limit_is_over_after_a_minute() -> None:
    site = Compound()
    for _ in range(20):
        site.command("gate.open", **SOUTH)
        site.wait(1.9)
    site.wait(60)

    assert site.command("gate.open", **SOUTH)["ok"]


def test_a_gate_whose_device_is_silent_answers_silent_and_the_order_dies_with_its_expiry() -> None:
    site = Compound()
    site.fall_silent("board")
    before = site.now

    reply = site.command("gate.open", life=30, **SOUTH)
    assert reply["error"]["code"] == "silent"
    assert site.now - before <= 1.3
    site.wait(30)
    site.come_back("board")
    site.wait(10)

    assert not any(site.writes("board.do3"))
    assert site.told("command.refused")[-1].data["error"]["code"] == "silent"  # type: ignore[index,call-overload]


def test_a_device_that_comes_back_in_time_still_opens_and_the_audit_tells_the_truth() -> None:
    site = Compound()
    site.fall_silent("board")

    site.command("gate.open", life=30, **SOUTH)
    site.wait(10)
    assert site.told("command.done", "command.refused") == []
    site.come_back("board")
    site.wait(2)

    assert site.writes("board.do3").count(True) == 1
    assert [event.data["ok"] for event in site.told("command.done")] == [True]
    assert not site.on("board.do3")


def test_a_device_that_refuses() -> None:
    site = Compound()
    site.refusing.add(Ref("board", "do3"))

    assert site.command("gate.open", **SOUTH)["error"]["code"] == "refused-by-device"
    assert "release/board.do3" not in site.memory


# ---- holding ---------------------------------------------------------------------------------------


def test_causes_are_a_set_and_each_takes_away_its_own() -> None:
    site = Compound()

    site.command("gate.hold", **SOUTH)
    site.person("gate.hold", **SOUTH)
    assert site.causes("south") == {"command/k1", "page"}
    site.command("gate.release", **SOUTH)
    site.wait(5)
    assert site.on("board.do3")
    assert site.gate("south")["commanded"] == "held"
    site.person("gate.release", **SOUTH)
    site.wait(1)

    assert not site.on("board.do3")
    assert [(e.type, e.data["cause"]) for e in site.told("gate.held", "gate.released")] == [
        ("gate.held", "command"), ("gate.held", "page"), ("gate.released", "command"), ("gate.released", "page"),
    ]  # fmt: skip


def test_a_command_may_not_take_away_the_hold_of_another() -> None:
    site = Compound()
    site.person("gate.hold", **SOUTH)

    assert site.command("gate.release", **SOUTH)["error"]["code"] == "interlocked"
    site.wait(5)

    assert site.on("board.do3")


def test_on_site_the_hold_of_a_command_may_be_named_and_ended() -> None:
    site = Compound()
    site.command("gate.hold", **SOUTH)

    assert site.person("gate.release", **SOUTH)["error"]["code"] == "interlocked"
    assert site.person("gate.release", cause="command", **SOUTH)["ok"]
    site.wait(1)

    assert not site.on("board.do3")


def test_pulses_on_a_held_gate_are_absorbed() -> None:
    site = Compound()
    site.command("gate.hold", **SOUTH)
    site.wire.clear()

    reply = site.command("gate.open", **SOUTH)
    site.wait(5)

    assert reply["result"]["decision"] == "held-open"
    assert False not in site.writes("board.do3")


def test_a_hold_during_a_pulse_drops_its_release() -> None:
    site = Compound()

    site.command("gate.open", **SOUTH)
    site.command("gate.hold", **SOUTH)
    site.wait(60)

    assert False not in site.writes("board.do3")
    assert "release/board.do3" not in site.memory


def test_an_opening_under_way_when_a_hold_comes_has_what_it_wanted() -> None:
    site = Compound()
    site.commits = False
    site.feed(_open(site))

    site.burn("smoke-1", "smoke-2")
    site.wait(2)
    site.commits = True
    site.wait(2)

    assert site.on("board.do3")
    assert [reply.data["ok"] for reply in site.replies] == [True]
    assert False not in site.writes("board.do3")


def test_a_release_that_waits_for_its_commit_is_withdrawn_by_a_fire() -> None:
    site = Compound()
    site.command("gate.hold", **SOUTH)
    site.commits = False
    site.feed(_release(site))
    site.burn("smoke-1", "smoke-2")
    site.wait(1)
    site.commits = True
    site.wait(5)

    assert site.on("board.do3")
    assert False not in site.writes("board.do3")


def _release(site: Compound) -> Command:
    return replace(_open(site), jti="r", cmd="gate.release")


def test_a_hold_by_command_that_was_never_written_dies_with_its_command() -> None:
    site = Compound()
    site.fall_silent("board")

    assert site.command("gate.hold", life=20, **SOUTH)["error"]["code"] == "silent"
    assert site.causes("south") == {"command/k1"}
    site.wait(25)
    assert site.causes("south") == set()
    site.come_back("board")
    site.wait(10)

    assert not site.on("board.do3")
    assert not any(site.writes("board.do3"))


def test_a_hold_by_command_that_was_written_lasts() -> None:
    site = Compound()

    site.command("gate.hold", life=20, **SOUTH)
    site.crash()
    site.points[Ref("board", "do3")] = 0
    site.wait(120)

    assert site.on("board.do3")


def test_a_release_waits_for_three_seconds_of_a_clear_way() -> None:
    site = Compound()
    site.command("gate.hold", **NORTH)
    site.wait(5)
    site.input("inputs.di2", 0)

    site.command("gate.release", **NORTH)
    site.wait(30)
    assert site.on("board.do2")
    site.input("inputs.di2", 1)
    site.wait(2)
    site.input("inputs.di2", 0)
    site.wait(0.5)
    site.input("inputs.di2", 1)
    site.wait(2.5)
    assert site.on("board.do2"), "not three seconds in a row"
    site.crash()
    assert site.on("board.do2")
    site.wait(5)

    assert not site.on("board.do2")


def test_a_cause_that_comes_while_it_waits_for_a_clear_way_keeps_it_held() -> None:
    site = Compound()
    site.command("gate.hold", **NORTH)
    site.input("inputs.di2", 0)
    site.command("gate.release", **NORTH)

    site.person("gate.hold", **NORTH)
    site.input("inputs.di2", 1)
    site.wait(60)

    assert False not in site.writes("board.do2")


def test_hold_by_repeat_gives_an_edge_again_and_again() -> None:
    site = with_gate(repeat=5.0)

    site.command("gate.hold", **SOUTH)
    site.wait(17)
    assert site.writes("board.do3") == [True, False] * 3 + [True, False]
    site.command("gate.release", **SOUTH)
    site.wire.clear()
    site.wait(30)

    assert not any(site.writes("board.do3"))
    assert not site.on("board.do3")


def test_hold_by_repeat_with_a_timed_pulse_writes_no_false() -> None:
    site = with_gate(repeat=5.0, timed=True)

    site.command("gate.hold", **SOUTH)
    site.wait(12)

    assert site.writes("board.do3") == [0.5] * 3


# ---- the arm ---------------------------------------------------------------------------------------


def test_a_gate_that_does_not_rise_in_time_is_stuck() -> None:
    site = Compound()
    site.arms = False

    site.command("gate.open", **NORTH)
    site.wait(6)

    assert site.told("gate.opened") == []
    assert site.told("gate.stuck")[0].data["verified"] is False
    assert site.alarm("north/gate-stuck")["severity"] == "high"
    site.arms = True
    site.command("gate.open", **NORTH)
    site.wait(6)

    assert not site.alarm("north/gate-stuck")


def test_a_gate_that_does_not_rise_in_a_fire_is_critical_and_opened_again_and_again() -> None:
    site = Compound()
    site.arms = False

    site.burn("smoke-1", "smoke-2")
    site.wait(60)

    assert site.alarm("north/gate-stuck")["severity"] == "critical"
    assert site.writes("board.do1").count(True) >= 8
    assert False not in site.writes("board.do2")
    site.arms = True
    site.wait(8)

    assert not site.alarm("north/gate-stuck")


def test_movements_that_are_not_ours_are_told_and_not_fought() -> None:
    site = Compound()
    site.wait(60)

    site.input("inputs.di1", 1)
    site.input("inputs.di1", 0)
    site.wait(60)

    assert [(e.type, e.data["cause"], e.data["actual"]) for e in site.told("gate.moved")] == [
        ("gate.moved", "other", "up")
    ]
    assert site.wire == []


def test_lowering_under_a_hold_that_is_no_fires_is_told_and_not_fought() -> None:
    site = Compound()
    site.command("gate.hold", **NORTH)
    site.wait(5)
    site.wire.clear()

    site.input("inputs.di1", 0)
    site.wait(60)

    assert site.told("gate.moved")[-1].data["actual"] == "down"
    assert site.wire == []


def test_the_lowering_after_an_opening_is_no_movement_of_somebody_else() -> None:
    site = Compound()
    site.command("gate.open", **NORTH)
    site.wait(20)

    site.input("inputs.di1", 0)
    site.wait(5)

    assert site.told("gate.moved") == []


def test_an_arm_that_cannot_be_read_is_unknown_and_without_mains_power_lost() -> None:
    site = Compound(yard(own=OwnSettings(mains=Ref("inputs", "di8"))))
    site.points[Ref("inputs", "di8")] = 1
    site.input("inputs.di8", 0)
    assert site.alarm("inputs/di8/mains")["kind"] == "power"
    site.fall_silent("inputs")

    assert site.command("gate.open", gate="north")["result"]["actual"] == "power-lost"


# ---- the start -------------------------------------------------------------------------------------


def test_at_the_start_nothing_is_written() -> None:
    site = Compound()
    site.wait(600)
    site.stop()
    site.wait(600)

    assert site.wire == []


@pytest.mark.parametrize("output", ["do3", "do1", "do2"])
def test_an_output_found_on_is_adopted_alarmed_and_released_by_a_person(output: str) -> None:
    site = Compound()
    gate = "south" if output == "do3" else "north"
    site.points[Ref("board", output)] = 1
    site.crash()
    site.wait(1)

    assert site.causes(gate) == {"unknown"}
    assert site.alarm(f"{gate}/held-unknown")
    assert {ref for _, ref, _ in site.wire} == {"board.do6"}, "the sound of the alarm, and nothing else"
    assert site.command("gate.release", gate=gate, allow=frozenset({"gate.release"}))["error"]["code"] == "interlocked"
    site.crash()
    site.wait(600)
    assert site.on(f"board.{output}")
    assert site.person("gate.release", gate=gate)["ok"]
    site.wait(10)

    assert not site.on(f"board.{output}")
    assert not site.alarm(f"{gate}/held-unknown")


def test_an_adopted_output_is_supervised() -> None:
    site = Compound()
    site.points[Ref("board", "do3")] = 1
    site.crash()
    site.wait(5)

    site.points[Ref("board", "do3")] = 0
    site.wait(2)

    assert site.on("board.do3")


def test_an_output_of_a_board_that_answers_late_is_adopted_then() -> None:
    site = Compound()
    site.points[Ref("board", "do3")] = 1
    site.silent.add("board")
    site.crash()
    site.wait(600)

    site.come_back("board")
    site.wait(1)

    assert site.causes("south") == {"unknown"}


def test_a_store_that_was_lost_with_gates_held() -> None:
    site = Compound()
    site.burn("smoke-1", "smoke-2")
    site.wait(5)

    site.memory.clear()
    site.crash()
    site.wait(1)
    assert "unknown" in site.causes("south")
    site.answer("smoke-1", ("fire",))
    site.answer("smoke-2", ("fire",))
    site.wait(5)

    assert "fire:evacuation" in site.causes("south")
    assert all(site.writes("board.do3"))


def test_a_hold_that_left_before_its_lost_commit_is_found() -> None:
    site = Compound()
    site.burn("smoke-1")
    site.commits = False
    site.burn("smoke-2")
    site.wait(1)
    assert site.on("board.do3")

    site.commits = True
    site.crash()
    site.wait(1)

    assert site.on("board.do3")
    assert site.causes("south") & {"unknown", "fire:evacuation"}

"""Several keys, one gate: each takes away its own hold only, and none moves a barrier without end."""

from typing import Any

import pytest

from gateway.model import Command, Json, Person
from gateway.site.settings import GateSettings, Ref
from tests.site.compound import ALL, DEFAULT_ALLOW, Compound, yard

SOUTH: dict[str, Any] = {"gate": "south"}


@pytest.mark.parametrize("allow", [DEFAULT_ALLOW, ALL])
def test_one_key_takes_nothing_away_of_another(allow: frozenset[str]) -> None:
    site = Compound()
    site.command("gate.hold", kid="k1", **SOUTH)

    refused = site.command("gate.release", kid="k2", allow=allow, **SOUTH)
    assert refused["error"]["code"] == "interlocked"
    assert "command" in refused["error"]["message"]
    site.wait(5)
    assert site.on("board.do3")
    assert site.command("gate.release", kid="k1", **SOUTH)["ok"]
    site.wait(1)

    assert not site.on("board.do3")
    assert [event.data["cause"] for event in site.told("gate.held", "gate.released")] == ["command", "command"]


def test_two_keys_hold_a_gate_over_a_restart_until_both_release_it() -> None:
    site = Compound()
    site.command("gate.hold", kid="k1", **SOUTH)
    site.command("gate.hold", kid="k2", **SOUTH)
    site.crash(lose=False)
    site.wait(3)

    assert site.command("gate.release", kid="k1", **SOUTH)["ok"]
    site.wait(5)
    assert site.on("board.do3")
    assert site.command("gate.release", kid="k2", **SOUTH)["ok"]
    site.wait(1)

    assert not site.on("board.do3")


def test_a_person_on_site_ends_the_holds_of_all_keys() -> None:
    site = Compound()
    site.command("gate.hold", kid="k1", **SOUTH)
    site.command("gate.hold", kid="k2", **SOUTH)

    assert site.person("gate.release", cause="command", **SOUTH)["ok"]
    site.wait(1)

    assert site.causes("south") == set()
    assert not site.on("board.do3")


def test_each_hold_that_is_not_written_dies_with_its_own_command() -> None:
    site = Compound()
    site.fall_silent("board")
    site.command("gate.hold", kid="k1", life=20, **SOUTH)
    site.command("gate.hold", kid="k2", life=60, **SOUTH)

    site.wait(25)
    assert site.causes("south") == {"command/k2"}
    assert [event.data["kid"] for event in site.told("command.refused")] == ["k1"]
    site.come_back("board")
    site.wait(60)

    assert site.causes("south") == {"command/k2"}
    assert [event.data["kid"] for event in site.told("command.done")] == ["k2"]
    assert site.on("board.do3")


def test_the_hold_of_an_older_store_is_ended_by_any_key() -> None:
    held: Json = {"causes": {"command": {"cause": "command", "by": "li"}}, "releasing": False}
    site = Compound(memory={"gate/south": held})
    site.wait(3)
    assert site.on("board.do3")

    assert site.command("gate.release", kid="k2", **SOUTH)["ok"]
    site.wait(1)

    assert not site.on("board.do3")


def test_the_unwritten_hold_of_an_older_store_lasts_once_it_is_written() -> None:
    held: Json = {"causes": {"command": {"cause": "command", "by": "li"}}, "releasing": False}
    wall = Compound().instant().wall
    site = Compound(memory={"gate/south": held, "deadline/hold/south": [20.0, wall + 20.0, True]})
    site.wait(120)

    assert site.on("board.do3")
    assert "deadline/hold/south" not in site.memory


def test_a_gate_whose_name_begins_like_anothers_is_not_meant() -> None:
    plan = yard()
    gates = {**plan.gates, "sout": GateSettings("sout", Ref("board", "do7"))}
    site = Compound(yard(gates=gates))
    site.fall_silent("board")
    for gate in ("south", "sout"):
        site.command("gate.hold", kid="h", life=20, gate=gate)

    site.wait(30)

    assert (site.causes("south"), site.causes("sout")) == (set(), set())


# ---- twenty a minute -----------------------------------------------------------------------------------


def chatter(site: Compound, times: int) -> int:
    """Hold and release in turn, a second apart in all; how many holds were refused."""
    refused = 0
    for n in range(times):
        for cmd in ("gate.hold", "gate.release"):
            at = site.instant()
            site.feed(
                Command(f"{cmd}{n}/{at.mono}", "c", "li", "k1", DEFAULT_ALLOW, cmd, SOUTH, at.wall + 60, None, at)
            )
            site.wait(0.25)
        held = next(reply for reply in reversed(site.replies) if reply.data["cmd"] == "gate.hold")
        refused += not held.data["ok"]
    return refused


def test_holds_by_command_move_a_gate_twenty_times_a_minute_and_never_hinder_fire_or_people() -> None:
    site = Compound()

    assert chatter(site, 60) == 40
    assert site.writes("board.do3").count(True) == 20
    limited = site.command("gate.hold", **SOUTH)
    assert (limited["error"]["code"], "rate-limited" in limited["error"]["message"]) == ("interlocked", True)
    assert site.command("gate.open", **SOUTH)["error"]["code"] == "interlocked", "one limit for both"
    assert site.command("gate.hold", gate="back")["ok"], "each gate for itself"

    assert site.person("gate.hold", **SOUTH)["ok"]
    assert site.command("gate.hold", **SOUTH)["ok"], "it is held: nothing moves"
    site.command("gate.release", **SOUTH)
    site.person("gate.release", **SOUTH)
    site.wait(1)
    assert not site.on("board.do3")
    site.burn("smoke-1", "smoke-2")
    site.wait(1)
    assert site.on("board.do3")


def test_the_limit_of_holds_is_over_after_a_minute() -> None:
    site = Compound()
    chatter(site, 30)
    site.wait(60)

    assert site.command("gate.hold", **SOUTH)["ok"]


@pytest.mark.parametrize("between", [0.03, 0.05, 3.0])
def test_a_hold_by_command_on_a_gate_that_is_held_is_done_at_once_and_lasts(between: float) -> None:
    site = Compound()
    at = site.instant()
    site.feed(Person("p", "wang", "guard", "gate.hold", SOUTH, at))
    site.wait(between)

    assert site.command("gate.hold", **SOUTH)["ok"]
    site.wait(120)
    assert site.causes("south") == {"page", "command/k1"}
    site.person("gate.release", **SOUTH)
    site.wait(5)

    assert site.on("board.do3")

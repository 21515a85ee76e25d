"""Commands: each with its reply, its code, its place in the audit."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.arguments import MAX_NOTE
from gateway.model import Command, Json, Operate, Perform, Performed, Person, Refused, Reply
from gateway.site.commands import brief
from gateway.site.settings import AccessSettings, Ref
from tests.site.compound import ALL, DEFAULT_ALLOW, Compound, yard


def command(site: Compound, cmd: str, jti: str = "j", life: float = 60.0, **args: Json) -> Command:
    wall = site.instant().wall
    return Command(jti, "cloud", "li", "k1", ALL, cmd, args, wall + life, "T/reply/x", site.instant())


def code(reply: dict[str, Any]) -> str:
    return str(reply["error"]["code"])


def test_the_audit_of_a_command_that_was_done() -> None:
    site = Compound()

    site.command("gate.open", jti="once", gate="south", reason="visitor")

    assert dict(site.told("command.done")[0].data) == {
        "jti": "once", "iss": "cloud", "sub": "li", "kid": "k1", "cmd": "gate.open",
        "args": {"gate": "south", "reason": "visitor"}, "ok": True, "error": None, "count": None,
    }  # fmt: skip


def test_the_reply_goes_where_it_was_asked_for() -> None:
    site = Compound()

    site.feed(command(site, "gate.open", gate="south"))
    site.wait(1)

    assert [(reply.jti, reply.reply_to, reply.local) for reply in site.replies] == [("j", "T/reply/x", False)]


@pytest.mark.parametrize("after", [0.0, 0.05, 2.0, 80.0])
def test_a_repeat_moves_nothing_gets_the_first_reply_again_and_an_audit_event(after: float) -> None:
    site = Compound()
    first = command(site, "gate.open", gate="south")
    site.feed(first)
    site.wait(after)
    told = len(site.replies)

    site.feed(first)
    site.wait(3)

    assert site.writes("board.do3").count(True) == 1
    assert len(site.replies) == 1 + (told == 1)
    assert len({str(reply.data) for reply in site.replies}) == 1
    assert site.told("command.refused")[-1].data["error"]["code"] == "repeated"  # type: ignore[index,call-overload]


def test_a_repeat_after_a_crash_moves_nothing() -> None:
    site = Compound()
    first = command(site, "gate.open", life=3600, gate="south")
    site.feed(first)

    site.crash()
    site.wait(5)
    site.feed(first)
    site.wait(5)

    assert site.writes("board.do3").count(True) == 0, "it was under way when the process ended"
    assert site.replies[-1].data["error"]["code"] == "silent"  # type: ignore[index,call-overload]
    assert [event.data["error"]["code"] for event in site.told("command.refused")] == ["silent", "repeated"]  # type: ignore[index,call-overload]


def test_what_was_asked_is_remembered_in_the_step_that_moves() -> None:
    site = Compound()

    effects = site.feed(command(site, "gate.open", gate="south"))

    kinds = {type(effect).__name__ for effect in effects}
    assert {"Remember", "Operate"} <= kinds
    assert "command/k1/j" in site.memory


@pytest.mark.parametrize(
    ("cmd", "args"),
    [
        ("zone.test", {"zone": "garage", "for": "0s"}),
        ("device.disable", {"device": "tank", "for": "1h"}),
        ("fire.confirm", {"zone": "garage"}),
        ("alarm.shelve", {"device": "gauge", "for": "0s"}),
        ("write", {"point": "board.do7", "value": True}),
        ("gate.open", {"gate": "south"}),
    ],
)
def test_what_moves_something_or_quiets_a_fire_is_remembered_for_a_day(cmd: str, args: dict[str, Json]) -> None:
    site = Compound()
    site.feed(replace(command(site, cmd), args=args))
    site.wait(24 * 3600 - 60)
    assert "command/k1/j" in site.memory
    site.wait(120)
    assert "command/k1/j" not in site.memory


def test_a_command_is_forgotten_after_its_expiry_and_the_leeway() -> None:
    site = Compound()
    site.command("alarm.acknowledge", jti="j", life=60, alarm="x")
    site.command("gate.open", jti="g", life=60, gate="south")
    site.wait(85)
    assert "command/k1/j" in site.memory
    site.wait(10)

    assert "command/k1/j" not in site.memory


def test_a_clock_that_is_set_back_makes_no_opening_valid_again() -> None:
    site = Compound()
    first = command(site, "gate.open", gate="south")
    site.feed(first)
    site.wait(3600)
    site.shift = -3600
    site.stop()

    site.feed(first)
    site.wait(5)

    assert site.writes("board.do3").count(True) == 1


def test_with_an_unsynced_clock_it_is_remembered_for_a_day() -> None:
    site = Compound(synced=False)
    site.command("gate.open", jti="j", life=60, gate="south")
    site.wait(23 * 3600)
    assert "command/k1/j" in site.memory
    site.wait(3600)

    assert "command/k1/j" not in site.memory


def test_the_same_jti_of_another_key_is_another_command() -> None:
    site = Compound()
    site.feed(command(site, "gate.open", gate="south"))
    site.wait(5)

    site.feed(replace(command(site, "gate.open", gate="south"), kid="k2"))
    site.wait(5)

    assert site.writes("board.do3").count(True) == 2


def test_a_command_that_expired_on_its_way() -> None:
    site = Compound()

    assert code(site.command("gate.open", life=0, gate="south")) == "expired"
    assert site.wire == []


@pytest.mark.parametrize(
    "cmd", ["access.update", "inspection.run", "picture", "panel.duty", "access.forget", "nonsense"]
)
def test_a_part_that_does_not_exist_is_unknown(cmd: str) -> None:
    site = Compound(yard(access=AccessSettings()))

    assert code(site.command(cmd, allow=ALL | {cmd})) == "unknown"


@pytest.mark.parametrize(
    ("cmd", "args"),
    [
        ("device.disable", {"device": "smoke-1", "for": "1h"}),
        ("device.enable", {"device": "smoke-1"}),
        ("zone.test", {"zone": "b3", "for": "1h"}),
        ("write", {"point": "board.do7", "value": True}),
        ("config.apply", {"file": ""}),
    ],
)
def test_what_is_not_in_the_default_list_is_not_allowed(cmd: str, args: dict[str, Json]) -> None:
    site = Compound()

    site.feed(replace(command(site, cmd), args=args, allow=DEFAULT_ALLOW))
    site.wait(1)

    assert code(dict(site.replies[0].data)) == "not-allowed"


@pytest.mark.parametrize(
    ("cmd", "args"),
    [
        ("gate.open", {}),
        ("gate.open", {"gate": "nowhere"}),
        ("gate.open", {"gate": 7}),
        ("gate.open", {"gate": "south", "speed": "fast"}),
        ("gate.open", {"gate": "south", "reason": "x" * (MAX_NOTE + 1)}),
        ("gate.open", {"gate": "south", "passage": "of people on site"}),
        ("gate.hold", {"gate": ["south"]}),
        ("gate.release", {"gate": None}),
        ("fire.confirm", {"zone": "nowhere"}),
        ("alarm.acknowledge", {"alarm": "nothing"}),
        ("alarm.verify", {"alarm": "nothing", "result": "real"}),
        ("alarm.verify", {"alarm": "nothing", "result": "maybe"}),
        ("alarm.reset", {"alarm": "nothing"}),
        ("alarm.shelve", {"device": "nobody", "for": "1h"}),
        ("alarm.shelve", {"device": "smoke-1", "for": "25h"}),
        ("alarm.shelve", {"device": "smoke-1", "for": "-1h"}),
        ("alarm.shelve", {"device": "smoke-1"}),
        ("device.disable", {"device": "smoke-1", "for": "13h", "reason": "x"}),
        ("device.disable", {"device": "smoke-1", "for": "0s"}),
        ("device.disable", {"device": "nobody", "for": "1h"}),
        ("zone.test", {"zone": "b3", "for": "5h"}),
        ("zone.test", {"zone": "nowhere", "for": "1h"}),
        ("read", {"device": "nobody"}),
        ("read", {"device": "smoke-1", "point": "nothing"}),
        ("write", {"point": "smoke-1.fire", "value": 0}),
        ("write", {"point": "board.do7", "value": None}),
        ("write", {"point": "board.do7", "value": float("nan")}),
        ("write", {"point": "board.do7", "value": {"a": 1}}),
        ("config.apply", {"file": 7}),
        ("events.replay", {"stream": "alarm", "first": 2, "last": 1}),
    ],
)
def test_wrong_arguments(cmd: str, args: dict[str, Json]) -> None:
    site = Compound()

    site.feed(replace(command(site, cmd), args=args))
    site.wait(1)

    assert code(dict(site.replies[0].data)) == "bad-args"
    assert site.wire == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
NAMES = st.sampled_from(
    ["gate", "zone", "alarm", "device", "for", "point", "value", "result", "note", "cause", "reason"]
)


@given(
    st.sampled_from(sorted(ALL | {"alarm.reset", "silence"})),
    st.dictionaries(NAMES | st.text(max_size=5), JSON, max_size=4),
)
def test_no_argument_breaks_anything(cmd: str, args: dict[str, Json]) -> None:
    site = Compound()

    site.feed(replace(command(site, cmd), args=args, allow=ALL | {"silence"}))
    site.wait(30)

    assert len(site.replies) == 1 or site.performs
    assert len(site.told("command.done", "command.refused")) == 1 or site.performs


def test_refusals_are_told_singly_up_to_60_a_minute_and_then_summed() -> None:
    site = Compound()

    for n in range(150):
        site.feed(Refused("bad-signature" if n % 2 else "expired", "forged", site.instant()))
    assert len(site.told("command.refused")) == 60
    site.wait(60)

    summed = [event.data for event in site.told("command.refused")[60:]]
    assert [(data["error"]["code"], data["count"]) for data in summed] == [("bad-signature", 45), ("expired", 45)]  # type: ignore[index,call-overload]
    site.feed(Refused("bad-signature", "forged", site.instant()))
    assert len(site.told("command.refused")) == 63
    assert site.replies == [], "no signature, no reply"


def test_a_clean_stop_tells_what_was_summed() -> None:
    site = Compound()
    for _ in range(70):
        site.feed(Refused("bad-signature", "forged", site.instant()))

    site.stop()

    assert site.told("command.refused")[-1].data["count"] == 10


def test_a_refused_command_that_was_signed_has_a_reply() -> None:
    site = Compound()

    site.feed(
        Refused("wrong-audience", "not for us", site.instant(), "j", "cloud", "li", "k1", "gate.open", signed=True)
    )

    assert site.replies[0].data == {
        "jti": "j", "cmd": "gate.open", "ok": False, "error": {"code": "wrong-audience", "message": "not for us"},
    }  # fmt: skip


def test_read_is_performed_on_the_line_and_answered() -> None:
    site = Compound()
    site.feed(command(site, "read", device="smoke-1", point="fire"))
    perform = site.performs[0]
    assert (perform.cmd, perform.args) == ("read", {"device": "smoke-1", "point": "fire"})

    site.feed(Performed(perform.order, True, {"fire": {"value": 0}}, "", "", site.instant()))

    assert site.replies[0].data["result"] == {"fire": {"value": 0}}


def test_read_of_a_silent_device() -> None:
    site = Compound()
    site.feed(command(site, "read", device="smoke-1"))

    site.feed(Performed(site.performs[0].order, False, None, "silent", "no answer", site.instant()))

    assert code(dict(site.replies[0].data)) == "silent"


OUTSIDE: list[tuple[str, dict[str, Json]]] = [
    ("events.replay", {"stream": "alarm", "first": 1, "last": 2}),
    ("config.get", {}),
    ("config.apply", {"file": "version: 1"}),
]


@pytest.mark.parametrize(("cmd", "args"), OUTSIDE)
def test_what_others_do_is_handed_on_with_its_jti_and_audit(cmd: str, args: dict[str, Json]) -> None:
    site = Compound()
    site.feed(replace(command(site, cmd), args=args))
    site.feed(Performed(site.performs[0].order, True, None, "", "", site.instant()))
    site.feed(replace(command(site, cmd), args=args))

    assert len(site.performs) == 1
    assert [event.type for event in site.told("command.done", "command.refused")] == ["command.done", "command.refused"]


@pytest.mark.parametrize("what", ["fire", "hold"])
def test_the_configuration_is_not_changed_while_a_fire_stands_or_a_gate_is_held(what: str) -> None:
    site = Compound()
    if what == "fire":
        site.burn("smoke-1")
    else:
        site.command("gate.hold", gate="south")

    assert code(site.command("config.apply", file="")) == "interlocked"


def test_write_is_read_back() -> None:
    site = Compound()

    reply = site.command("write", point="board.do7", value=True)

    assert reply["result"] == {"point": "board.do7", "value": True}
    assert site.on("board.do7")


def test_a_write_that_does_not_take() -> None:
    site = Compound()
    site.stuck.add(Ref("board", "do7"))

    assert code(site.command("write", point="board.do7", value=True)) == "refused-by-device"


@pytest.mark.parametrize("point", ["board.do1", "board.do2", "board.do3", "board.do4", "board.do5"])
def test_a_point_in_use_is_interlocked(point: str) -> None:
    site = Compound()

    assert code(site.command("write", point=point, value=False)) == "interlocked"
    assert site.wire == []


def test_a_write_to_a_silent_device() -> None:
    site = Compound()
    site.fall_silent("board")

    assert code(site.command("write", point="board.do7", life=5, value=True)) == "silent"
    site.wait(10)
    site.come_back("board")
    site.wait(5)

    assert not site.on("board.do7")


def test_a_role_may_only_what_it_may() -> None:
    site = Compound()

    assert code(site.person("write", point="board.do7", value=True)) == "not-allowed"
    assert code(site.person("device.disable", "steward", device="smoke-1", for_="1h")) == "not-allowed"
    assert code(site.person("gate.open", "visitor", gate="south")) == "not-allowed"
    assert site.person("write", "technician", point="board.do7", value=True)["ok"]


def test_what_people_on_site_do_is_audited() -> None:
    site = Compound()

    site.person("gate.open", gate="south")

    audit = site.told("command.done")[0].data
    assert (audit["iss"], audit["sub"], audit["cmd"], audit["jti"]) == ("on-site", "wang", "gate.open", None)


def test_long_arguments_are_cut_in_the_audit() -> None:
    kept = brief({"file": "x" * 9000, "put": [1, 2, 3], "n": 1.5})

    assert len(str(kept["file"])) < 200
    assert (kept["put"], kept["n"]) == ("(3 entries)", 1.5)


def fill(site: Compound, kid: str, count: int, cmd: str = "read", allow: frozenset[str] = frozenset({"read"})) -> None:
    args: dict[str, Json] = {"device": "gauge"} if cmd == "read" else {"gate": "south"}
    for n in range(count):
        wall = site.instant().wall
        item = Command(f"f{n}", "x", "low", kid, allow, cmd, args, wall + 3600, None, site.instant())
        token = next((one.order for one in site.feed(item) if isinstance(one, Perform)), None)
        if token is not None:
            site.feed(Performed(token, True, {"level": "x" * 2000}, "", "", site.instant()))


def test_a_key_that_only_reads_blocks_no_other_key_and_no_gate() -> None:
    site = Compound()

    fill(site, "reader", 1200)
    refused = [reply.data["error"]["code"] for reply in site.replies if not reply.data["ok"]]  # type: ignore[index,call-overload]
    assert refused == ["interlocked"] * 200
    assert site.command("fire.confirm", zone="b3")["ok"]

    fill(site, "k1", 1000)
    assert code(site.command("read", device="gauge")) == "interlocked"
    assert site.command("gate.hold", gate="south")["ok"]
    assert site.command("fire.confirm", zone="garage")["ok"]


def test_the_share_of_a_key_is_counted_over_a_restart_and_given_back() -> None:
    site = Compound()
    fill(site, "k1", 1000)
    site.stop()
    assert code(site.command("read", device="gauge")) == "interlocked"

    site.wait(3700)

    fill(site, "k1", 1, allow=ALL)
    assert site.replies[-1].data["ok"]


def test_a_repeat_gets_the_first_reply_again_unless_it_is_long() -> None:
    for text, again in (("5 m", "5 m"), ("x" * 5000, None)):
        site = Compound()
        item = command(site, "read", device="gauge")
        (perform,) = (one for one in site.feed(item) if isinstance(one, Perform))
        site.feed(Performed(perform.order, True, text, "", "", site.instant()))

        site.feed(item)

        first, second = (dict(reply.data) for reply in site.replies)
        assert first["result"] == text
        assert (second["jti"], second["cmd"], second["ok"], second["result"]) == ("j", "read", True, again)


def test_a_slow_commit_does_not_make_a_well_device_silent() -> None:
    site = Compound()
    site.commits = False

    site.feed(command(site, "gate.open", gate="south"))
    site.wait(1.1)
    site.commits = True
    site.commit()
    site.wait(1)

    assert [reply.data["ok"] for reply in site.replies] == [True]


def test_a_repeat_gets_the_first_reply_whatever_became_of_it() -> None:
    site = Compound()
    site.fall_silent("board")
    first = command(site, "gate.open", gate="south")
    site.feed(first)
    site.wait(5)
    assert code(dict(site.replies[-1].data)) == "silent"
    site.come_back("board")
    site.wait(5)

    site.feed(first)

    assert code(dict(site.replies[-1].data)) == "silent"
    assert site.writes("board.do3").count(True) == 1


def test_a_refused_command_that_was_signed_keeps_its_arguments_in_the_audit() -> None:
    site = Compound()
    args: dict[str, Json] = {"plate": "京A12345", "note": "x" * 3000, "put": [1, 2], "京A12345": 1}

    site.feed(Refused("not-allowed", "no", site.instant(), "j", "i", "s", "k1", "access.export", True, None, args))
    site.feed(Refused("not-allowed", "no", site.instant(), "j", "i", "s", "k1", "access.forget", True, None, args))
    many: dict[str, Json] = {f"n{n}": "y" * 1900 for n in range(32)}
    site.feed(Refused("bad-args", "no", site.instant(), "j", "i", "s", "k1", "gate.open", True, None, many))

    shown, hidden, large = (event.data["args"] for event in site.told("command.refused"))
    assert isinstance(shown, dict)
    assert "12345" not in str(shown)
    assert shown["put"] == "(2 entries)"
    assert hidden is None
    assert len(str(large)) < 4096


@pytest.mark.parametrize("cmd", ["inspection.run", "inspection.cancel", "panel.duty"])
def test_what_this_version_does_not_do_says_so(cmd: str) -> None:
    reply = Compound().command(cmd, allow=ALL | {cmd})

    assert (code(reply), "this version does not" in reply["error"]["message"]) == ("unknown", True)


@pytest.mark.parametrize(
    ("cmd", "args", "code"),
    [
        ("gate.open", {"gate": "south"}, "expired"),
        ("gate.hold", {"gate": "south"}, "expired"),
        ("fire.confirm", {"zone": "b3"}, None),
    ],
)
def test_what_a_person_asked_for_more_than_15_s_ago_moves_nothing(
    cmd: str, args: dict[str, Json], code: str | None
) -> None:
    """The journal had no room meanwhile. A fire that was seen counts however late."""
    site = Compound()
    asked = site.instant()
    site.wait(15.5)

    effects = site.feed(Person("late", "wang", "technician", cmd, args, asked))

    told = [one for one in effects if isinstance(one, Reply) and one.jti == "late"]
    moved = [one for one in effects if isinstance(one, Operate)]
    assert [one.data["ok"] for one in told] == [code is None]
    assert bool(moved) is (code is None)
    if code is not None:
        data: Any = told[0].data
        refused: Any = site.told("command.refused")[-1].data
        assert data["error"]["code"] == refused["error"]["code"] == code

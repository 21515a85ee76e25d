"""The table of commands: the arguments of each, and that everything else is derived from it."""

from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import arguments
from gateway.commands import COMMANDS, FROM_AFAR, GRANTS
from gateway.config.uplink import ALLOWED
from gateway.contract.commands import ARGS
from gateway.model import Stream

PLATE = {"plate": "沪A12345", "kind": "resident"}
GOOD: dict[str, list[dict[str, Any]]] = {
    "gate.open": [{"gate": "north"}, {"gate": "north", "reason": "visitor"}, {"gate": "north", "reason": None}],
    "gate.hold": [{"gate": "north"}],
    "gate.release": [{"gate": "north"}],
    "fire.confirm": [{"zone": "building-3", "note": "seen"}],
    "alarm.acknowledge": [{"alarm": "0199"}],
    "alarm.verify": [{"alarm": "0199", "result": "false", "cause": "steam"}],
    "alarm.reset": [{"alarm": "0199"}],
    "alarm.shelve": [{"device": "d.p.a", "for": "24h", "note": "dust"}, {"device": "d", "for": "0s"}],
    "device.disable": [{"device": "d", "for": "12h", "reason": "repair"}],
    "device.enable": [{"device": "d"}, {"device": "d", "for": "1h"}],
    "zone.test": [{"zone": "z", "for": "4h"}, {"zone": "z", "for": "0s"}],
    "read": [{"device": "d"}, {"device": "d", "point": "p"}],
    "write": [{"point": "d.p", "value": value} for value in (True, 0, -1.5, "on", 2**63 - 1)],
    "picture": [{"camera": "yard"}],
    "inspection.run": [{"round": "nightly"}],
    "inspection.cancel": [{"round": "nightly"}],
    "inspection.answer": [{"run": "0199", "item": "person:pump", "ok": True}],
    "finding.acknowledge": [{"finding": "nightly/person:pump", "class": "major", "note": "ordered"}],
    "access.update": [
        {"list": "residents", "base": 1, "version": 2, "put": [PLATE], "drop": ["沪A00001"]},
        {"list": "residents", "version": "b", "full": True, "part": 1, "parts": 3, "put": [PLATE] * 2000},
    ],
    "access.forget": [{"plate": "沪A12345"}],
    "access.export": [{"plate": "沪A12345"}],
    "access.presence": [{"plate": "沪A12345", "inside": False}],
    "panel.duty": [{"device": "panel", "within": "10m"}],
    "events.replay": [
        {"stream": "alarm", "first": 1, "last": 1},
        {"stream": "picture", "first": "00000000000000000042", "last": 43},
    ],
    "config.get": [{}],
    "config.apply": [{"file": "version: 1\n"}, {"file": "x" * (128 << 10), "trial": "10s"}],
}
BAD: list[tuple[str, dict[str, Any], str]] = [
    ("gate.open", {}, "gate"),
    ("gate.open", {"gate": ""}, "gate"),
    ("gate.open", {"gate": "g" * 201}, "gate"),
    ("gate.open", {"gate": "g", "reason": "x" * 1001}, "reason"),
    ("gate.open", {"gate": "g", "force": True}, "'force'"),
    ("alarm.verify", {"alarm": "a", "result": "perhaps"}, "result"),
    ("alarm.shelve", {"device": "d", "for": "24h1s"}, "for"),
    ("alarm.shelve", {"device": "d", "for": "25h"}, "for"),
    ("alarm.shelve", {"device": "d", "for": 60}, "for"),
    ("alarm.shelve", {"device": "d"}, "for"),
    ("device.disable", {"device": "d", "for": "0s"}, "for"),
    ("device.disable", {"device": "d", "for": "12.1h"}, "for"),
    ("zone.test", {"zone": "z", "for": "241m"}, "for"),
    ("write", {"point": "d.p"}, "value"),
    ("write", {"point": "d.p", "value": None}, "value"),
    ("write", {"point": "d.p", "value": float("nan")}, "value"),
    ("write", {"point": "d.p", "value": float("inf")}, "value"),
    ("write", {"point": "d.p", "value": 2**63}, "value"),
    ("write", {"point": "d.p", "value": [1]}, "value"),
    ("access.update", {"list": "l", "version": 1, "put": [PLATE] * 2001}, "put"),
    ("access.update", {"list": "l", "version": 1, "put": [PLATE] * 2000, "drop": ["x"]}, "put, drop"),
    ("access.update", {"list": "l", "version": 1, "put": [PLATE | {"kind": "king"}]}, r"put: \[0\] kind"),
    ("access.update", {"list": "l", "version": 1, "put": [PLATE | {"owner": "x"}]}, r"put: \[0\] 'owner'"),
    ("access.update", {"list": "l", "version": 1, "put": ["x"]}, r"put: \[0\]"),
    ("access.update", {"list": "l", "version": 1, "part": 2, "parts": 1}, "part, parts"),
    ("access.update", {"list": "l", "version": 1, "part": 1}, "part, parts"),
    ("access.presence", {"plate": "p", "inside": 1}, "inside"),
    ("events.replay", {"stream": "alarms", "first": 1, "last": 2}, "stream"),
    ("events.replay", {"stream": "alarm", "first": 0, "last": 2}, "first"),
    ("events.replay", {"stream": "alarm", "first": 3, "last": 2}, "first"),
    ("events.replay", {"stream": "alarm", "first": True, "last": 2}, "first"),
    ("events.replay", {"stream": "alarm", "first": "٣", "last": 5}, "first"),
    ("config.get", {"file": "x"}, "'file'"),
    ("config.apply", {"file": ""}, "file"),
    ("config.apply", {"file": "x" * (128 << 10) + "x"}, "file"),
    ("config.apply", {"file": "火" * (64 << 10)}, "file"),
    ("config.apply", {"file": "x", "trial": "9s"}, "trial"),
    ("config.apply", {"file": "x", "trial": "2h"}, "trial"),
]


def test_every_command_of_the_contract_is_known_and_no_other() -> None:
    assert set(FROM_AFAR) == set(ARGS) == set(GOOD)
    assert set(ALLOWED) == set(FROM_AFAR) | set(GRANTS)


@pytest.mark.parametrize(("cmd", "args"), [(cmd, args) for cmd, cases in GOOD.items() for args in cases])
def test_good(cmd: str, args: dict[str, Any]) -> None:
    COMMANDS[cmd].check(args)
    jsonschema.validate(args, ARGS[cmd])


@pytest.mark.parametrize(("cmd", "args", "said"), BAD)
def test_bad(cmd: str, args: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=f"^{said}"):
        COMMANDS[cmd].check(args)


VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.lists(st.text(), max_size=2)


@given(st.sampled_from(sorted(GOOD)), st.data())
def test_what_passes_is_in_the_published_schema(cmd: str, data: st.DataObject) -> None:
    good = data.draw(st.sampled_from(GOOD[cmd]))
    names = sorted({*good, *ARGS[cmd].get("properties", {}), "x"})
    args = good | data.draw(st.dictionaries(st.sampled_from(names), VALUES, max_size=3))
    try:
        COMMANDS[cmd].check(args)
    except ValueError as error:
        said = str(error)
    else:
        said = "in order"
        jsonschema.validate(args, ARGS[cmd])
    assert 0 < len(said) < 500


@given(st.sampled_from(list(Stream)), st.integers(1, 10**18))
def test_a_sequence_as_number_and_as_text(stream: Stream, number: int) -> None:
    COMMANDS["events.replay"].check({"stream": stream.value, "first": f"{number:020d}", "last": number})
    assert arguments.number(f"{number:020d}") == number


SAME: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("write", {"device": "a.b", "value": 1}, {"point": "a.b", "value": 1}),
    ("write", {"device": "a", "point": "b", "value": 1}, {"point": "a.b", "value": 1}),
    ("write", {"point": "a.b", "value": False, "device": None}, {"point": "a.b", "value": False}),
    ("config.apply", {"text": "x"}, {"file": "x"}),
    ("config.apply", {"site": "x", "trial": "1m"}, {"file": "x", "trial": "1m"}),
    ("alarm.verify", {"alarm": "a", "result": "real", "note": "n"}, {"alarm": "a", "result": "real", "cause": "n"}),
    (
        "access.update",
        {"list": "l", "version": 2, "full": [{"plate": "p", "kind": "staff", "gates": " north  south "}]},
        {
            "list": "l",
            "version": 2,
            "full": True,
            "put": [{"plate": "p", "kind": "staff", "gates": ["north", "south"]}],
        },
    ),
]


@pytest.mark.parametrize(("cmd", "given", "meant"), SAME)
def test_another_form_of_the_same(cmd: str, given: dict[str, Any], meant: dict[str, Any]) -> None:
    made = COMMANDS[cmd].plain(given)

    assert made == meant
    COMMANDS[cmd].check(made)
    assert COMMANDS[cmd].plain(made) == made


@pytest.mark.parametrize(
    ("cmd", "args"),
    [
        ("write", {"device": 7, "point": "a.b", "value": 1}),
        ("config.apply", {"text": "x", "site": "y"}),
        ("config.apply", {"text": "x", "file": "y"}),
        ("access.update", {"list": "l", "version": 2, "full": [], "put": []}),
        ("access.update", {"list": "l", "version": 2, "put": [{"plate": "p", "kind": "staff", "gates": " "}]}),
        ("alarm.verify", {"alarm": "a", "result": "real", "note": "n", "cause": "c"}),
    ],
)
def test_what_says_two_things_is_refused(cmd: str, args: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"."):
        COMMANDS[cmd].check(COMMANDS[cmd].plain(args))

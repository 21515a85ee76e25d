"""The page's words: the same keys in both languages, and one for every value that the contract can tell a guard."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, get_args

import pytest

from gateway.commands import COMMANDS
from gateway.config.device import Kind as DeviceKind
from gateway.contract import data
from gateway.contract.commands import ERRORS
from gateway.contract.events import EVENTS
from gateway.contract.health import HEALTH
from gateway.kinds import ALARM_KINDS, ROLES, PassageReason
from gateway.local.trace import EXCEPTIONS, FUNCTIONS, Verdict
from gateway.model import Quality, Reason, Stream
from gateway.site.settings import CAMERA_ALARMS, CONFUSED, ON_LOSS, OWN_ALARMS

STATIC = Path(__file__).parent.parent.parent / "gateway" / "local" / "static"
CHINESE, ENGLISH = (json.loads((STATIC / f"words.{name}.json").read_text()) for name in ("zh", "en"))
SHOWN = (Stream.ALARM, Stream.ACCESS, Stream.INSPECTION, Stream.AUDIT)
"""Of these streams the log shows events."""
_BUILT_IN = (
    "silent", "blind", "disabled", "down", CONFUSED, "linkage-degraded", "gate-stuck", "held-unknown", ON_LOSS, "mains",
    "battery", "confirmed",
)  # fmt: skip


def _choices(schema: Any, name: str) -> Iterable[str]:
    """The words of a field, without null."""
    field = schema["properties"][name]
    return [one for one in field["enum"] if one is not None]


FAMILIES: dict[str, Iterable[str]] = {
    "cmd": COMMANDS,
    "arg": {name for command in COMMANDS.values() for name in command.args},
    "viewed": (*COMMANDS["access.viewed"].args["what"].kind.words, "presence", "push"),  # type: ignore[attr-defined]
    "error": ERRORS,
    "role": ROLES,
    "event": [one.name for one in EVENTS.values() if one.stream in SHOWN],
    "kind": ALARM_KINDS,
    "severity": _choices(data.ALARM, "severity"),
    "class": _choices(data.ALARM, "class"),
    "alarm.verified": _choices(data.ALARM, "verified_as"),
    "verify": _choices(data.ALARM, "verified_as"),
    "name": {*_BUILT_IN, *CAMERA_ALARMS, *(one.rpartition("/")[2] for one in OWN_ALARMS)},
    "by": _choices(data.GATE, "cause"),
    "commanded": _choices(data.GATE, "commanded"),
    "actual": _choices(data.GATE, "actual"),
    "direction": _choices(data.PASSAGE, "direction"),
    "decision": _choices(data.PASSAGE, "decision"),
    "why": get_args(PassageReason),
    "quality": list(Quality),
    "bad": list(Reason),
    "outcome": _choices(data.ROUND_ITEM, "outcome"),
    "presence": _choices(data.EVIDENCE, "presence"),
    "devices.kind": get_args(DeviceKind),
    "stream": list(Stream),
    "store": _choices(HEALTH["properties"]["journal"], "store"),
    "verdict": get_args(Verdict),
    "frame": {*FUNCTIONS.values(), "done"},
    "exception": {*EXCEPTIONS.values(), "unknown"},
}
"""By the beginning of the key: all values that can come."""


def test_both_languages_have_the_same_words_and_none_is_empty() -> None:
    assert list(CHINESE) == list(ENGLISH)
    assert all(CHINESE.values())
    assert all(ENGLISH.values())


@pytest.mark.parametrize("family", FAMILIES)
def test_no_value_of_the_contract_is_shown_as_a_code(family: str) -> None:
    values = list(FAMILIES[family])
    assert values
    assert [value for value in values if f"{family}.{value}" not in CHINESE] == []


def test_every_alarm_of_the_gateway_itself_says_of_what_it_is() -> None:
    owners = {subject.partition("/")[0] for subject in OWN_ALARMS}
    assert {"gateway", *(stream.value for stream in Stream)} <= owners
    assert [one for one in owners if f"own.{one}" not in CHINESE and f"stream.{one}" not in CHINESE] == []


def test_a_command_is_called_on_the_page_what_the_other_tools_call_it() -> None:
    assert {name: CHINESE[f"cmd.{name}"] for name, one in COMMANDS.items() if one.offered} == {
        name: one.zh for name, one in COMMANDS.items() if one.offered
    }
    assert len({text for key, text in CHINESE.items() if key.startswith("cmd.")}) == len(COMMANDS), "told apart"

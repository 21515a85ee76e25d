"""The contract page, the table, the schemas and the files made from them say the same."""

import json
import subprocess
import sys
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft7Validator  # type: ignore[import-untyped]

from gateway import __version__
from gateway.cloud.events import envelope
from gateway.contract.asyncapi import document
from gateway.contract.commands import ARGS, claims
from gateway.contract.events import EVENTS
from gateway.contract.shapes import Schema
from gateway.kinds import ALARM_KINDS
from tests.contract.judge import CLOUD_EVENT, OURS, faults, official
from tests.contract.regenerate import DOCS, files

TOPICS = {
    "alarm": (
        "alarm.raised alarm.updated alarm.acknowledged alarm.verified alarm.cleared alarm.reset alarm.shelved "
        "alarm.unshelved alarm.overdue device.disabled device.enabled"
    ),
    "alarm/active": "alarm.active",
    "access": "access.passage access.denied gate.opened gate.held gate.released gate.stuck gate.moved",
    "inspection": (
        "inspection.started inspection.finished inspection.missed finding.opened finding.cured "
        "finding.acknowledged finding.overdue"
    ),
    "audit": (
        "command.done command.refused config.applied config.rolled-back gateway.started gateway.stopping "
        "store.quarantined store.rolled-back stream.shed panel.operation panel.unknown person.viewed"
    ),
    "telemetry": "telemetry.readings",
    "picture": "picture.taken",
    "health": "gateway.health",
    "status": "gateway.status",
    "reply": "command.reply",
}
RETAINED = {"alarm/active", "health", "status"}
STREAMS = {"alarm", "access", "inspection", "audit", "telemetry", "picture"}
FIELDS = {
    "alarm.raised": (
        "alarm name kind severity class state active acknowledged latched shelved disabled first_out device point zone "
        "place value unit text quality raised_at acknowledged_at acknowledged_by verified_as cleared_at respond_by "
        "resolve_by verify_by shelved_until overdue chattering count uncommitted device_time"
    ),
    "access.passage": (
        "passage camera gate direction plate plate_raw plate_kind colour confidence list_kind decision reason seen_at "
        "ordered_at opened_at pictures late"
    ),
    "gate.held": "gate cause by passage alarm commanded actual verified",
    "inspection.finished": "round run trigger planned_at started_at finished_at items previous digest",
    "finding.opened": (
        "finding round item opened_at cured_at respond_by resolve_by class reason before after acknowledged_at "
        "acknowledged_by overdue"
    ),
    "command.refused": "jti iss sub account kid cmd args ok error count",
    "telemetry.readings": "device full readings",
    "stream.shed": "stream first last count reason",
    "gateway.status": "online nonce version",
    "alarm.active": "journal upto given stored alarms more",
    "command.reply": "jti cmd ok result error",
}
COMMANDS = (
    "gate.open gate.hold gate.release fire.confirm alarm.acknowledge alarm.verify alarm.reset alarm.shelve "
    "device.disable device.enable zone.test read write picture inspection.run inspection.cancel "
    "inspection.answer finding.acknowledge access.update access.forget access.export access.presence "
    "panel.duty events.replay config.get config.apply"
)


def test_every_type_has_its_topic() -> None:
    said = {name: topic for topic, names in TOPICS.items() for name in names.split()}
    assert {event.name: event.topic for event in EVENTS.values()} == said


def test_every_topic_has_its_stream_and_is_retained_or_not() -> None:
    for event in EVENTS.values():
        assert (event.stream.value if event.stream else None) == (event.topic if event.topic in STREAMS else None)
        assert event.retained == (event.topic in RETAINED)
        assert event.type == f"sitegateway.{event.name}.v1"


@pytest.mark.parametrize("name", FIELDS)
def test_data_has_exactly_its_fields(name: str) -> None:
    schema = EVENTS[f"sitegateway.{name}.v1"].data
    assert schema is not None
    assert set(schema["properties"]) == set(FIELDS[name].split())
    assert schema["additionalProperties"] is False


def test_every_command_is_there() -> None:
    assert list(ARGS) == COMMANDS.split()


@pytest.mark.parametrize("name", EVENTS)
def test_each_schema_is_one(name: str) -> None:
    Draft7Validator.check_schema(OURS[name].schema)  # raises
    assert OURS[name].schema["type"] == "object"


def test_the_files_are_what_would_be_made_now() -> None:
    made = files()
    assert {str(path.relative_to(DOCS)) for path in (DOCS / "schemas").iterdir()} | {
        "asyncapi.yaml",
        "mqtt.md",
        "site-file.md",
    } == set(made)
    assert {name: (DOCS / name).read_text(encoding="utf-8") for name in made} == made


def test_the_asyncapi_file_fits_the_official_schema() -> None:
    text = (DOCS / "asyncapi.yaml").read_text(encoding="utf-8")
    assert list(official("asyncapi-3.0.0.json").iter_errors(yaml.safe_load(text))) == []


@pytest.mark.parametrize(
    "path",
    [
        ("info", "title"),
        ("channels", "alarm", "messages", "alarm.raised", "$ref"),
        ("operations", "tell-alarm", "action"),
    ],
)
def test_the_official_schema_would_notice(path: tuple[str, ...]) -> None:
    complaint, whole = official("asyncapi-3.0.0.json"), document(__version__)
    assert complaint.is_valid(whole)
    *way, last = path
    place: Any = whole
    for key in way:
        place = place[key]
    place[last] = 7
    assert not complaint.is_valid(whole)


def test_every_reference_of_the_asyncapi_file_leads_somewhere() -> None:
    whole = document(__version__)

    def references(node: Any) -> list[str]:
        if isinstance(node, dict):
            own = [node["$ref"]] if "$ref" in node else []
            return own + [each for inner in node.values() for each in references(inner)]
        return [each for inner in node for each in references(inner)] if isinstance(node, list) else []

    found = set(references(whole))
    assert len(found) > 40
    for reference in found:
        place: Any = whole
        for step in reference.removeprefix("#/").split("/"):
            place = place[step]


def test_messages_of_the_asyncapi_file_are_the_schemas() -> None:
    whole = document(__version__)
    for event in EVENTS.values():
        message = whole["components"]["messages"][event.name]["payload"]
        resolved = json.loads(json.dumps(message))
        for name, one in message["properties"].items():
            if "$ref" in one:
                resolved["properties"][name] = whole["components"]["schemas"][one["$ref"].rpartition("/")[2]]
        ours = {key: value for key, value in OURS[event.type].schema.items() if key not in {"$schema", "$id", "title"}}
        assert resolved == ours


def made_up(schema: Schema, *, full: bool) -> st.SearchStrategy[Any]:
    """Values of our own subset of JSON Schema."""
    if "const" in schema:
        return st.just(schema["const"])
    if "enum" in schema:
        return st.sampled_from([word for word in schema["enum"] if word is not None or not full])
    types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    return st.one_of(*(_of_type(kind, schema, full=full) for kind in types if kind != "null" or not full))


def _of_type(kind: str, schema: Schema, *, full: bool) -> st.SearchStrategy[Any]:
    if kind == "object":
        fields = schema.get("properties", {})
        if not fields:
            inner = schema.get("additionalProperties")
            values = made_up(inner, full=full) if isinstance(inner, dict) else st.integers(0, 9)
            return st.dictionaries(st.from_regex("[a-z][a-z0-9-]{0,8}", fullmatch=True), values, max_size=3)
        needed = {
            name: made_up(one, full=full) for name, one in fields.items() if full or name in schema.get("required", ())
        }
        others = {name: made_up(one, full=full) for name, one in fields.items() if name not in needed}
        return st.fixed_dictionaries(needed, optional=others)
    if kind == "string":
        return (
            st.from_regex(schema["pattern"], fullmatch=True)
            if "pattern" in schema and "format" not in schema
            else (
                st.just("2026-11-22T01:02:03.123456Z")
                if schema.get("format") == "date-time"
                else st.text("ab7号", min_size=1)
            )
        )
    low, high = schema.get("minimum", -99), schema.get("maximum", 1000)
    simple: dict[str, st.SearchStrategy[Any]] = {
        "integer": st.integers(low, high),
        "number": st.floats(low, high) | st.integers(int(low), int(high)),
        "boolean": st.booleans(),
        "null": st.none(),
        "array": st.lists(made_up(schema["items"], full=full), min_size=schema.get("minItems", 0), max_size=3)
        if "items" in schema
        else st.just([]),
    }
    return simple[kind]


@given(
    st.data(), st.sampled_from(sorted(name for name, event in EVENTS.items() if event.data is not None)), st.booleans()
)
def test_what_fits_the_data_fits_the_whole_and_a_stranger_does_not(data: st.DataObject, name: str, full: bool) -> None:
    event = EVENTS[name]
    assert event.data is not None
    content = data.draw(made_up(event.data, full=full))
    if name == "sitegateway.command.reply.v1" and not content["ok"]:
        content["error"] = {"code": "expired", "message": "too late"}
    sent = json.loads(
        envelope(
            id_="01a2033c-ff83-7005-bf61-474203483f00",
            source="/sites/xima-xincun/gateways/xmxc-01",
            type_=name,
            subject=None if event.subject == "never" else "tank",
            time="2026-11-22T01:02:03.123456Z",
            clock="synced",
            boot="b",
            data=content,
            stream=event.stream.value if event.stream else None,
            sequence=1,
            journal="j",
        )
    )
    assert faults(sent) == []
    assert list(sent) == [one for one in OURS[name].schema["properties"] if one in sent], "the order of the page"
    assert faults({**sent, "stranger": 1})
    assert faults({**sent, "data": {**content, "stranger": 1}})
    for field in event.data.get("required", ()):
        assert faults({**sent, "data": {key: value for key, value in content.items() if key != field}})
        assert faults({**sent, "data": {**content, field: None}})


def test_a_picture_fits() -> None:
    sent = {
        "specversion": "1.0", "id": "01a2033c-ff83-7005-bf61-474203483f00", "source": "/sites/a/gateways/b",
        "type": "sitegateway.picture.taken.v1", "subject": "yard", "time": "2026-11-22T01:02:03.123456Z",
        "datacontenttype": "image/jpeg", "stream": "picture", "sequence": "00000000000000000001", "journal": "j",
        "clock": "synced", "boot": "b", "passage": "p", "picturekind": "scene",
        "takenat": "2026-11-22T01:02:03.123456Z", "data_base64": "/9j/",
    }  # fmt: skip
    assert faults(sent) == []
    assert faults({**sent, "data": {}})


def test_the_official_schema_of_events_would_notice() -> None:
    assert not CLOUD_EVENT.is_valid({"specversion": "1.0", "id": "1", "source": "/a"})
    assert not CLOUD_EVENT.is_valid({"specversion": "1.0", "id": "1", "source": "/a", "type": "t", "time": "yesterday"})
    assert not CLOUD_EVENT.is_valid({"specversion": "1.0", "id": "", "source": "/a", "type": "t"})


CLAIMS = {"iss": "cloud", "sub": "zhang", "aud": "/sites/a/gateways/b", "iat": 1, "exp": 61, "jti": "1"}


@pytest.mark.parametrize(
    ("cmd", "args", "good"),
    [
        ("gate.open", {"gate": "north-in", "reason": "visitor"}, True),
        ("gate.open", {"reason": "visitor"}, False),
        ("gate.open", {"gate": "north-in", "until": 1}, False),
        ("alarm.verify", {"alarm": "1", "result": "false", "cause": "steam"}, True),
        ("alarm.verify", {"alarm": "1", "result": "no"}, False),
        ("device.disable", {"device": "smoke", "for": "4h", "reason": "painting"}, True),
        ("device.disable", {"device": "smoke", "for": 4}, False),
        ("write", {"point": "relay.do1", "value": True}, True),
        ("write", {"point": "relay.do1", "value": None}, False),
        ("config.get", {}, True),
        ("gate.close", {"gate": "north-in"}, False),
    ],
)
def test_claims_of_commands(cmd: str, args: dict[str, Any], good: bool) -> None:
    assert Draft7Validator(claims()).is_valid({**CLAIMS, "cmd": cmd, "args": args}) is good


def test_the_alarm_kinds_are_those_of_the_site_file() -> None:
    alarm = EVENTS["sitegateway.alarm.raised.v1"].data
    assert alarm is not None
    assert alarm["properties"]["kind"]["enum"] == list(ALARM_KINDS)


def test_the_command_line_prints_them_all() -> None:
    done = subprocess.run([sys.executable, "-m", "gateway", "schema", "--events"], check=True, capture_output=True)
    assert json.loads(done.stdout) == {name: one.schema for name, one in OURS.items()}


def test_the_daemon_never_loads_it() -> None:
    program = (
        "import gateway.runtime.app, gateway.settings.build, sys; "
        "print([m for m in sys.modules if m.startswith('gateway.contract')])"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"

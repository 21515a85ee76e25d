"""What a real gateway tells a real broker fits the contract."""

import json
from base64 import b64decode
from pathlib import Path

from cloudevents.v1.http import from_json

from gateway.contract.events import EVENTS
from tests.contract.capture import EXAMPLE, JPEG, PAGE, Message, capture, examples, picture
from tests.contract.judge import OURS, faults

EXPECTED = {
    "alarm.raised", "alarm.cleared", "alarm.updated", "alarm.active", "telemetry.readings", "gateway.started",
    "gateway.stopping", "gateway.status", "gateway.status.will", "gateway.health", "store.quarantined",
    "store.rolled-back", "alarm.reset",
}  # fmt: skip


async def test_every_event_of_two_lives(tmp_path: Path) -> None:
    messages = await capture(tmp_path)

    assert set(examples(messages)) == EXPECTED
    assert [fault for message in messages for fault in faults(message.event)] == []
    for message in messages:
        kind = EVENTS[message.event["type"]]
        assert (message.topic, message.retain) == (kind.topic, kind.retained)
        assert message.content_type == "application/cloudevents+json"
        order = [name for name in OURS[kind.type].schema["properties"] if name in message.event]
        assert list(message.event) == order, "the attributes come in the order of the page"
        assert message.event["simulated"] is True
        from_json(json.dumps(message.event))
    assert_in_order(messages)
    assert_will(messages)


async def test_a_picture(tmp_path: Path) -> None:
    (message,) = await picture(tmp_path)

    assert faults(message.event) == []
    assert (message.topic, message.retain) == ("picture", False)
    assert message.content_type == "application/cloudevents+json"
    order = [name for name in OURS[message.event["type"]].schema["properties"] if name in message.event]
    assert list(message.event) == order
    assert b64decode(message.event["data_base64"]) == JPEG
    from_json(json.dumps(message.event))


def assert_in_order(messages: list[Message]) -> None:
    """Each stream of each journal counts from 1 without gaps, in the order of arrival; ids are never used twice."""
    numbers: dict[tuple[str, str], list[int]] = {}
    for message in messages:
        if "sequence" in message.event:
            key = message.event["journal"], message.event["stream"]
            numbers.setdefault(key, []).append(int(message.event["sequence"]))
    assert len({journal for journal, _ in numbers}) == 2, "the damaged store was begun anew"
    assert all(seen == list(range(1, len(seen) + 1)) for seen in numbers.values())
    ids = [message.event["id"] for message in messages]
    assert len(set(ids)) == len(ids)


def assert_will(messages: list[Message]) -> None:
    """Online, good-bye, online, and the broker's word for the dead."""
    states = [(one.event["data"]["online"], "time" in one.event) for one in messages if one.name == "gateway.status"]
    assert states == [(True, True), (False, True), (True, True), (False, False)]
    ends = [number for number, one in enumerate(messages) if one.name == "gateway.status"]
    assert [messages[number].topic for number in (0, ends[1] + 1)] == ["alarm/active"] * 2, "first on each connection"


def test_the_examples_of_the_page() -> None:
    shown = {name: json.loads(text) for name, text in EXAMPLE.findall(PAGE.read_text(encoding="utf-8"))}

    not_shown = {"gateway.health", "store.quarantined", "store.rolled-back", "alarm.reset"}
    assert set(shown) == EXPECTED - not_shown | {"picture.taken"}
    for name, event in shown.items():
        assert event["type"] == f"sitegateway.{name.removesuffix('.will')}.v1"
        assert faults(event) == []

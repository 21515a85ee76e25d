import uuid
from datetime import UTC, datetime, timedelta

import orjson
import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_http_event
from hypothesis import given
from hypothesis import strategies as st

from gateway.cloud import events
from gateway.model import Instant, Json, Quality, Reading, Reason, uuid7

SECOND = st.integers(0, 253402300799)
MICROSECOND = st.integers(0, 999_999)
AT = Instant(5.0, 1_795_000_000.25, synced=True)


def made(**changes: object) -> bytes:
    attributes: dict[str, object] = {
        "id_": "0199-x",
        "source": "/sites/xima-xincun/gateways/xmxc-01",
        "type_": events.type_name("alarm.raised"),
        "subject": "smoke-3-2f/smoke/fire",
        "time": "2026-11-22T01:02:03.123456Z",
        "clock": events.SYNCED,
        "boot": "5f3c",
        "data": {"alarm": "a"},
        "stream": "alarm",
        "sequence": 42,
        "journal": "8c1f",
    }
    return events.envelope(**{**attributes, **changes})  # type: ignore[arg-type]


def test_the_envelope_is_that_of_the_contract() -> None:
    assert made() == (
        b'{"specversion":"1.0","id":"0199-x","source":"/sites/xima-xincun/gateways/xmxc-01",'
        b'"type":"sitegateway.alarm.raised.v1","subject":"smoke-3-2f/smoke/fire","time":"2026-11-22T01:02:03.123456Z",'
        b'"datacontenttype":"application/json","stream":"alarm","sequence":"00000000000000000042","journal":"8c1f",'
        b'"clock":"synced","boot":"5f3c","data":{"alarm":"a"}}'
    )


def test_marks_are_there_only_when_so() -> None:
    assert "simulated" not in orjson.loads(made())
    assert "test" not in orjson.loads(made())
    marked = orjson.loads(made(simulated=True, test=True))
    assert marked["simulated"] is True
    assert marked["test"] is True


def test_a_topic_without_stream_has_no_numbers() -> None:
    status = orjson.loads(made(stream=None, subject=None, time=None))
    assert not {"stream", "sequence", "journal", "subject", "time"} & set(status)


def test_data_that_is_json_already_stays_as_it_is() -> None:
    assert made(data=b'{"alarm":"a"}') == made()


def test_nested_mappings_and_tuples_are_json_too() -> None:
    frozen: Json = {"items": ({"at": None},)}
    assert orjson.loads(made(data=frozen))["data"] == {"items": [{"at": None}]}


def test_what_json_cannot_say_is_refused() -> None:
    with pytest.raises(TypeError):
        made(data={"plate": "\ud800"})


def test_a_foreign_reader_understands_it() -> None:
    message = HTTPMessage({"content-type": "application/cloudevents+json"}, made(simulated=True))
    read = from_http_event(message)
    assert read.get_id() == "0199-x"
    assert read.get_source() == "/sites/xima-xincun/gateways/xmxc-01"
    assert read.get_extension("sequence") == "00000000000000000042"
    assert read.get_data() == {"alarm": "a"}


@given(SECOND, MICROSECOND)
def test_a_time_reads_back(second: int, microsecond: int) -> None:
    wall = second + microsecond / 1e6
    text = events.timestamp(wall)
    assert len(text) == 27
    assert text.endswith("Z")
    expected = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=min(wall, 253402300799.0))
    assert abs(datetime.fromisoformat(text) - expected) <= timedelta(microseconds=1)
    assert events.timestamp(wall) == text


@given(st.floats(allow_nan=False))
def test_no_clock_is_too_wrong_for_a_time(wall: float) -> None:
    assert 1970 <= int(events.timestamp(wall)[:4]) <= 9999


@given(SECOND, st.integers(0, (1 << 74) - 1))
def test_an_id_is_a_uuid_7_of_its_time(wall: int, entropy: int) -> None:
    text = uuid7(wall, entropy)
    read = uuid.UUID(text)
    assert str(read) == text
    assert (read.version, read.variant) == (7, uuid.RFC_4122)
    assert read.int >> 80 == wall * 1000 & 0xFFFF_FFFF_FFFF
    assert (read.int >> 64 & 0xFFF) << 62 | read.int & (1 << 62) - 1 == entropy


def test_telemetry_says_all_of_a_reading() -> None:
    readings = {
        "smoke": Reading(0, "normal", None, Quality.GOOD, None, AT),
        "loop": Reading(None, None, "V", Quality.BAD, Reason.SILENT, AT),
    }
    assert orjson.loads(events.encode(events.telemetry_data("d", full=True, readings=readings))) == {
        "device": "d",
        "full": True,
        "readings": {
            "smoke": {"value": 0, "text": "normal", "unit": None, "quality": "GOOD", "reason": None,
                      "at": "2026-11-18T11:06:40.250000Z"},
            "loop": {"value": None, "text": None, "unit": "V", "quality": "BAD", "reason": "silent",
                     "at": "2026-11-18T11:06:40.250000Z"},
        },
    }  # fmt: skip


def test_a_corrected_event_changes_its_time_and_nothing_else() -> None:
    raw = made(clock=events.UNSYNCED, time="1970-01-01T00:01:00.000000Z")
    after = orjson.loads(events.corrected(raw, AT.wall))
    assert after == {**orjson.loads(raw), "time": "2026-11-18T11:06:40.250000Z", "clock": "corrected"}
    assert list(after) == list(orjson.loads(raw))
    assert events.time_of(events.corrected(raw, AT.wall)) == AT.wall


def test_the_readings_of_corrected_telemetry_move_along() -> None:
    data: Json = {"device": "d", "full": True, "readings": {"p": {"value": 1, "at": "1970-01-01T00:00:58.000000Z"}}}
    raw = made(stream="telemetry", clock=events.UNSYNCED, time="1970-01-01T00:01:00.000000Z", data=data)
    after = orjson.loads(events.corrected(raw, AT.wall))
    assert after["data"]["readings"]["p"]["at"] == events.timestamp(AT.wall - 2.0)

import json

import pytest

from drivers.anpr import vzenith
from drivers.anpr.capture import CameraSettings
from drivers.anpr.makers import accepted
from drivers.anpr.multipart import boundary_of
from drivers.anpr.stream import PartStream
from tests.drivers.anpr.case import CASES, Case, all_cases, told


@pytest.mark.parametrize("case", all_cases(), ids=lambda case: case.name)
def test_golden(case: Case) -> None:
    found = [told(report) for report in case.reports()]
    assert (found if case.stream else found[0]) == case.expected


@pytest.mark.parametrize("case", all_cases(), ids=lambda case: case.name)
def test_the_key_tells_a_retry_from_another_car(case: Case) -> None:
    first = [one.key for report in case.reports() for one in report.captures]
    assert first == [one.key for report in case.reports() for one in report.captures]
    told_apart = [key for key in first if key]
    assert len(told_apart) == len(set(told_apart))


@pytest.mark.parametrize("case", [case for case in all_cases() if case.stream], ids=lambda case: case.name)
@pytest.mark.parametrize("step", [1, 2, 3, 7, 50, 1000])
def test_a_stream_says_the_same_however_it_is_cut(case: Case, step: int) -> None:
    whole = PartStream(boundary_of(case.content_type)).feed(case.payload)
    cut = PartStream(boundary_of(case.content_type))
    parts = [part for at in range(0, len(case.payload), step) for part in cut.feed(case.payload[at : at + step])]
    trimmed = [(part.content_type, part.body.rstrip()) for part in parts]
    assert trimmed == [(part.content_type, part.body.rstrip()) for part in whole]


def test_every_payload_has_a_case() -> None:
    used = {case.payload for case in all_cases()}
    lines = {line for path in CASES.glob("*.jsonl") for line in path.read_bytes().splitlines()}
    assert len(used) > 50
    for path in sorted(CASES.iterdir()):
        if path.suffix in (".case", ".md") or path.name in ("vzenith-http-replies.jsonl", "vzenith-mqtt.jsonl"):
            continue
        payload = path.read_bytes()
        assert any(one and (one in payload or one in lines) for one in used) or not payload, path.name


@pytest.mark.parametrize("driver", sorted({case.driver for case in all_cases()}))
def test_a_maker_is_answered_even_where_nothing_could_be_read(driver: str) -> None:
    reply = accepted(driver, "/x")
    assert reply.status == 200
    assert b"ivs_ioctrl" not in reply.body
    assert b'"info"' not in reply.body


def test_no_report_holds_what_a_heart_beat_gives_away() -> None:
    for case in all_cases():
        shown = repr(case.reports())
        assert "CAMERA-PASSWORD-IN-CLEAR" not in shown
        assert "secret" not in shown


def test_the_replies_are_those_that_the_maker_documents() -> None:
    lines = [json.loads(line) for line in (CASES / "vzenith-http-replies.jsonl").read_text().splitlines()]
    assert json.loads(vzenith.reply(123).body) == lines[1]
    assert json.loads(vzenith.reply(None, vzenith.RelayOpening(0, 0.5)).body) == lines[2]
    assert json.loads(vzenith.ALIVE.body) == lines[-1]
    held = json.loads(vzenith.reply(7, vzenith.RelayOpening(1, None)).body)["Response_AlarmInfoPlate"]
    assert held == {
        "ContinuePushOffline": {"plateid": 7, "continue": 1},
        "ivs_ioctrl": {"io": 1, "value": 1, "delay": 0},
    }
    assert json.loads(vzenith.release(1).body)["Response_AlarmInfoPlate"]["ivs_ioctrl"]["value"] == 0


def test_only_what_comes_up_is_taken_from_mqtt() -> None:
    lines = [json.loads(line) for line in (CASES / "vzenith-mqtt.jsonl").read_text().splitlines()]
    kinds = [
        vzenith.parse(json.dumps(line["payload"]).encode(), "", "", CameraSettings()).kind
        for line in lines
        if isinstance(line["payload"], dict)
    ]
    assert kinds == ["captures", "other", "other", "other"]

import json
import time
from collections.abc import Callable
from functools import partial

import pytest

from drivers.anpr import fields, hikvision, times
from drivers.anpr.capture import CameraSettings, Unreadable
from drivers.anpr.makers import PARSERS, parse
from drivers.anpr.multipart import PARTS, parts
from drivers.anpr.stream import MAX_PART_BYTES, PartStream
from drivers.anpr.xmltree import parse as parse_xml
from tests.cost import least
from tests.drivers.anpr.mutate import Spoilt, peak

NONE = CameraSettings()
LAUGHS = b"".join(
    b'<!ENTITY l%d "%s">' % (place, b"".join([b"&l%d;" % (place - 1)] * 10) if place else b"ha") for place in range(10)
)


def refused(driver: str, payload: bytes, content_type: str = "") -> str:
    """The refusal; it comes in bounded time and memory."""
    begun = time.process_time()
    with pytest.raises(Unreadable) as error:
        parse(driver, payload, content_type, "/x", NONE)
    assert time.process_time() - begun < 1
    assert peak(Spoilt(driver, payload, content_type, "/x", stream=False)) < 4 * len(payload) + (4 << 20)
    return str(error.value)


@pytest.mark.parametrize(
    "xml",
    [
        b'<?xml version="1.0"?><!DOCTYPE a [' + LAUGHS + b"]><a>&l9;</a>",
        b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>',
        b'<!DOCTYPE a [<!ENTITY x SYSTEM "http://169.254.169.254/">]><EventNotificationAlert>&x;</EventNotificationAlert>',
        b"<!DOCTYPE a [" + b'<!ENTITY a "b">' * 70_000 + b"]><a/>",
        b"<a>" * 40_000,
        b"<a>" * 100 + b"</a>" * 100,
        b"<a/>" * 1_000_000,
        b"<a>" + b"x" * (2 << 20) + b"</a>",
        b"<a " + b"b='c' " * 5 + b">",
        b"\xff\xfe<\x00",
        b"<",
        b"<EventNotificationAlert><ANPR><licensePlate>1</licensePlate>",
    ],
    ids=range(12),
)
def test_xml_that_is_refused(xml: bytes) -> None:
    assert refused("hikvision", xml)


def test_text_between_many_elements_is_joined_once() -> None:
    data = b"<a>" + (b"x" * 200 + b"<b/>") * 4900 + b"</a>"
    assert parse_xml(data).text == "x" * 200 * 4900
    assert least(partial(parse_xml, data)) < 0.045


@pytest.mark.parametrize("driver", sorted(PARSERS))
@pytest.mark.parametrize(
    "payload",
    [
        b"[" * 200_000,
        b'{"a":' * 100 + b"1" + b"}" * 100,
        b"{" + b",".join(b'"%d":[]' % one for one in range(60_000)) + b"}",
        b'{"a": ' + b"9" * 1_000_000,
        b"{}}",
        b'{"plate": "',
        b"\x1f\x8b\x08\x00" + b"\x00" * 1000,
        b"\x00\xff" * 500,
    ],
    ids=range(8),
)
def test_json_that_is_refused(driver: str, payload: bytes) -> None:
    assert refused(driver, payload)


def generic(text: str) -> tuple[str | None, float | None]:
    (one,) = parse("generic", text.encode("utf-8", "surrogatepass"), "", "", NONE).captures
    return one.plate_raw, one.confidence


def test_json_that_is_taken_as_it_can_be() -> None:
    assert generic('{"plate": "A", "plate": "B"}') == ("B", None)
    assert generic('{"plate": "A\\ud800B", "confidence": NaN}') == ("A B", None)
    assert generic('{"plate": "A\tB\\u0000\\u202eC", "confidence": 1e999}') == ("A B  C", None)
    assert generic('{"plate": 12345, "confidence": "88 %"}') == ("12345", 88.0)
    assert generic('{"plate": "' + "A" * 100_000 + '"}') == ("A" * 64, None)
    assert generic('{"plate": "A", "confidence": ' + "9" * 5000 + "}") == ("A", None)


@pytest.mark.parametrize(
    ("said", "found"),
    [
        (97, 97.0), ("97", 97.0), (92.5, 92.5), ("92.50", 92.5), (0.97, 0.97), ("0.97", 0.97), (1, 1.0), ("1.00", 1.0),
        (0, 0.0), (100, 100.0), (255, 255.0), (204, 204.0), (256, None), (-1, None), ("95.3%", 95.3),
        ("", None), (None, None), ("high", None), (float("nan"), None), (True, None), ("1_0", None), ("٩٧", None),
    ],
)  # fmt: skip
def test_a_confidence_is_taken_on_the_cameras_own_scale(said: object, found: float | None) -> None:
    assert fields.certainty(said) == found


EAST = 28800.0
AT = 1795305601.0


@pytest.mark.parametrize(
    ("said", "offset", "wall", "zone"),
    [
        ("2026-11-22T08:00:01+08:00", None, AT, "camera"),
        ("2026-11-22T08:00:01+0800", 0.0, AT, "camera"),
        ("2026-11-22T08:00:01+08", None, AT, "camera"),
        ("2026-11-22T00:00:01Z", EAST, AT, "camera"),
        ("2026-11-22 08:00:01", EAST, AT, "setting"),
        ("2026/11/22 08:00:01", EAST, AT, "setting"),
        ("20261122080001", EAST, AT, "setting"),
        ("20261122T080001Z", EAST, AT + EAST, "camera"),
        ("2026-11-22T08:00:01-8:00", EAST, AT, "setting"),
        ("2026-11-22T08:00:01+25:00", EAST, AT, "setting"),
        ("2026-11-22T08:00:01.5", EAST, AT + 0.5, "setting"),
    ],
)
def test_times(said: str, offset: float | None, wall: float, zone: str) -> None:
    found = times.seen(said, offset)
    assert found is not None
    assert (found.wall, found.zone) == (wall, zone)


@pytest.mark.parametrize(
    "said",
    [
        "",
        "2026-11-22T08:00:01",
        "2026-02-30T08:00:01Z",
        "2026-11-22T25:00:01Z",
        "0001-01-01T00:00:00Z",
        "9999-12-31T23:59:59Z",
        "now",
    ],
)
def test_times_that_say_nothing(said: str) -> None:
    assert times.seen(said, None) is None


def test_a_length_that_lies_does_not_hide_the_next_part() -> None:
    body = b"--b\r\nContent-Length: 999\r\n\r\none\r\n--b\r\nContent-Length: 1\r\n\r\ntwo\r\n--b--"
    assert [part.body for part in parts(body, "multipart/x; boundary=b")] == [b"one", b"two"]


def test_a_true_length_covers_a_delimiter() -> None:
    inner = b"\xff\xd8\r\n--b\r\n\xff\xd9"
    body = b"--b\r\nContent-Length: %d\r\n\r\n" % len(inner) + inner + b"\r\n--b--"
    assert [part.body for part in parts(body, "multipart/x; boundary=b")] == [inner]
    assert [part.body for part in PartStream(b"b").feed(body)] == [inner]


def test_parts_are_bounded() -> None:
    body = b"--b\r\n\r\nx\r\n" * (PARTS + 1) + b"--b--"
    with pytest.raises(Unreadable):
        parts(body, "multipart/x; boundary=b")
    with pytest.raises(Unreadable):
        parts(b"no boundary here", "multipart/x; boundary=b")


@pytest.mark.parametrize(
    "fill",
    [
        lambda size: b"--b\r\nContent-Type: image/jpeg\r\n\r\n" + b"\xff" * size,
        lambda size: b"x" * size,
        lambda size: b"--b\r\n" + b"X: y\r\n" * (size // 6),
    ],
)
def test_an_endless_part_ends_the_stream(fill: Callable[[int], bytes]) -> None:
    stream = PartStream(b"b")
    data = fill(MAX_PART_BYTES + 100_000)

    def feed() -> None:
        for at in range(0, len(data), 65_536):
            stream.feed(data[at : at + 65_536])

    with pytest.raises(Unreadable):
        feed()


def test_a_text_without_length_does_not_wait_for_the_next_heart_beat() -> None:
    stream = PartStream(b"b")
    event = b'--b\r\nContent-Type: text/plain\r\n\r\nCode=TrafficJunction;action=Pulse;index=0;data={\n"a": {"b": 1}'
    assert stream.feed(event) == []
    assert [part.body[-3:] for part in stream.feed(b"\n}")] == [b"1}\n}"[-3:]]
    assert [part.body for part in stream.feed(b"\r\n--b\r\n\r\nHeartbeat\r\n--b\r\n")] == [b"Heartbeat"]


def test_a_query_carries_nothing_but_a_time() -> None:
    assert hikvision.query("2026-11-22T08:00:01+08:00") == (
        b"<AfterTime><picTime>2026-11-22T08:00:01+08:00</picTime></AfterTime>"
    )
    assert b"</picTime></AfterTime><x>" not in hikvision.query("</picTime></AfterTime><x>")


def test_faces_are_refused_and_counted() -> None:
    face = b"\xff\xd8\xff\xd9"
    body = b"--b\r\nContent-Disposition: form-data; name=x\r\n\r\n"
    body += b"<EventNotificationAlert><ANPR><plate>A</plate></ANPR></EventNotificationAlert>"
    for name in (b"pilotPicture", b"copilotPicture.jpg", b"facePicture", b"driverFace"):
        body += (
            b'\r\n--b\r\nContent-Disposition: form-data; filename="'
            + name
            + b'"\r\nContent-Type: image/jpeg\r\n\r\n'
            + face
        )
    report = parse("hikvision", body + b"\r\n--b--", "multipart/form-data; boundary=b", "", NONE)
    assert (report.refused, len(report.names), report.captures[0].pictures) == (4, 4, ())


def test_a_replayed_record_has_the_key_of_the_live_one() -> None:
    def push(offline: int, which: int) -> str:
        result = {
            "license": "鄂A12345",
            "plateid": which,
            "isoffline": offline,
            "timeStamp": {"Timeval": {"sec": 1795305601}},
        }
        payload = json.dumps({"AlarmInfoPlate": {"serialno": "s", "result": {"PlateResult": result}}}).encode()
        return parse("vzenith", payload, "", "", NONE).captures[0].key

    assert push(0, 1) == push(1, 1)
    assert push(0, 1) != push(0, 2)

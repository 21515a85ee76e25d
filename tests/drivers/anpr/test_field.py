"""What firmware of the field sends, through the real port: the right passage, refusal or count, none without a trace.

Bodies and requests as they were sent, plates invented; their times are renewed to now.
"""

import asyncio
import json
import re
import time
import zlib
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from drivers.anpr.camera_lookup import Camera
from gateway.clock import Clock
from gateway.model import Passage, Way
from gateway.site.access import Access, Decision
from gateway.site.lists import ListEntry, Lists, make
from gateway.site.settings import AccessSettings
from tests.drivers.anpr.pushing import Said, Taker, camera, connected, listening, push

FIELD = Path(__file__).parent / "field"
FORM = "multipart/form-data; boundary=boundary"
JSON, XML = "application/json", "application/xml"
PLATE = "沪A12345"
_SHANGHAI = timezone(timedelta(hours=8))
_WRITTEN = 1796078961


def renewed(data: bytes) -> bytes:
    """With now where the time of the recording stood; as long as it was."""
    now = int(time.time())
    there = datetime.fromtimestamp(now, _SHANGHAI)
    for old, new in (
        (b"2026-12-01T06:49:21", there.strftime("%Y-%m-%dT%H:%M:%S")),
        (b"2026-12-01 06:49:21", there.strftime("%Y-%m-%d %H:%M:%S")),
        (b"20261201064921", there.strftime("%Y%m%d%H%M%S")),
        (b"%d" % _WRITTEN, str(now)),
    ):
        data = data.replace(old, new.encode())
    return data


def sent(name: str) -> bytes:
    data = (FIELD / name).read_bytes()
    if name.endswith("deflate.body"):
        return zlib.compress(renewed(zlib.decompress(data)))
    return renewed(data)


@dataclass
class Case:
    name: str
    driver: str
    content_type: str = JSON
    path: str = "/cameras/c1"
    decision: str | None = "opened"
    """None: no passage."""
    confidence: float | None = 97.0
    counts: dict[str, int] = field(default_factory=dict)
    extra: str = ""
    status: int = 200
    pictures: int = 0
    more: dict[str, Any] = field(default_factory=dict)
    """Of the passage."""
    way: Way = "in"


NONE = {"confidence": None, "decision": None}
CASES = [
    Case("hik-boundary-lf-crlf.body", "hikvision", FORM, pictures=1),
    Case("hik-platform-vehicleAlarm.body", "hikvision", confidence=99.2, more={"colour": "blue"}),
    Case("hik-conf-exact-1.body", "hikvision", XML, confidence=100.0),
    Case("hik-conf-zero-missing.body", "hikvision", XML, confidence=None),
    Case("hik-nvr-two-channels.body", "hikvision", XML, decision=None, status=403, counts={"refused_channel": 1}),
    Case("hik-speed-inactive.body", "hikvision", XML, decision=None, counts={"ignored_inactive": 1}),
    Case("hik-unlicensed-words.body", "hikvision", XML, way="out", more={"plate_raw": "unlicensed"}),
    Case("dahua-events-envelope.body", "dahua", path="/cameras/c1/x", confidence=94.12, more={"colour": "blue"}),
    Case("dahua-push-deflate.body", "dahua", confidence=94.12, extra="Content-Encoding: deflate\r\n"),
    Case("dahua-unlicensed.body", "dahua", path="/NotificationInfo/TollgateInfo", confidence=0.0, way="out",
         pictures=1),
    Case("dahua-keepalive-get.body", "dahua", path="/EventHttpUpload/keepalive", decision=None,
         counts={"heartbeats": 1}),
    Case("vz-qianyi-cgi-path.body", "vzenith", path="/cgi-bin/plateresult.cgi", confidence=94.0),
    Case("huaxia-heartbeat.body", "generic", "application/x-www-form-urlencoded", decision=None,
         counts={"heartbeats": 1}),
    Case("axis-publisher.body", "generic", confidence=None, pictures=1),
    Case("milesight.body", "generic", confidence=95.3, pictures=2, more={"colour": "blue", "direction": "in"}),
    Case("frigate-webhook.body", "generic", confidence=93.0),
    Case("codeproject-ai.body", "generic", confidence=92.0),
    Case("verkada.body", "generic", confidence=96.3),
    Case("huawei-vias.body", "generic", confidence=None),
    Case("gat-noplate-word.body", "gat1400", "application/VIID+JSON", "/VIID/MotorVehicles", confidence=None,
         way="out"),
    Case("gat-hasplate-2.json", "gat1400", "application/VIID+JSON", "/VIID/MotorVehicles", confidence=95.0, way="out",
         more={"plate_raw": None}),
]  # fmt: skip
NO_PLATE = {"hik-unlicensed-words.body", "dahua-unlicensed.body", "gat-noplate-word.body", "gat-hasplate-2.json"}


def decided(passage: Passage) -> tuple[Decision, Passage]:
    """What the site decides about a passage that is the first of its camera."""
    site = Access(AccessSettings(cameras={"c1": "gate"}), Lists([make("residents", 1, [ListEntry(PLATE, "resident")])]))
    now = Clock().now()
    taken = site.take(passage, now.wall)
    assert taken.decision is not None
    assert taken.passage is not None
    again = site.take(passage, now.wall)
    assert again.ignored == ("retry" if passage.key else "repeat")
    return taken.decision, taken.passage


def trace(told: dict[str, Any]) -> int:
    """How many pushes the counters of a camera account for."""
    return sum(int(told[name]) for name in ("passage_pushes", "heartbeats", "ignored", "unreadable", "refused"))


def mine(driver: str, way: Way) -> Camera:
    one = camera(driver)
    return replace(one, settings=replace(one.settings, way=way))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_a_body_of_the_field(case: Case) -> None:
    take = Taker()
    method = "GET" if case.name.endswith("-get.body") else "POST"
    async with listening([mine(case.driver, case.way)], take) as listener:
        said = await push(listener.port, case.path, sent(case.name), case.content_type, extra=case.extra, method=method)
        told = dict(listener.snapshot()["c1"])
    assert said.status == case.status
    assert {name: told[name] for name in case.counts} == case.counts
    assert trace(told) == told["pushes"] == 1
    assert (told["unreadable"], told["bugs"]) == (0, 0)
    if case.decision is None:
        assert take.pushes == []
        return
    (one,) = take.pushes
    decision, passage = decided(one.passage)
    assert (decision.decision, decision.late) == (case.decision, False)
    assert decision.reason == ("no-plate" if case.name in NO_PLATE else "listed")
    assert (decision.plate is None) == (case.name in NO_PLATE)
    assert passage.confidence == case.confidence
    assert len(one.snapshots) == case.pictures
    assert {name: getattr(one.passage, name) for name in case.more} == case.more


@pytest.mark.parametrize("name", sorted(NO_PLATE))
async def test_each_car_without_a_plate_opens_at_the_exit(name: str) -> None:
    case = next(one for one in CASES if one.name == name)
    take = Taker()
    async with listening([mine(case.driver, "out")], take) as listener:
        for number in range(2):
            body = sent(name).replace(b"u-nolic", b"u-nol%02d" % number).replace(b'.120"', b'.12%d"' % number)
            body = body.replace(b'"33011"', b'"3301%d"' % number).replace(b"44010001", b"4401000%d" % number)
            await push(listener.port, case.path, body, case.content_type)
    site = Access(AccessSettings(cameras={"c1": "gate"}), Lists())
    for one in take.pushes:
        decision = site.take(one.passage, time.time()).decision
        assert decision is not None
        assert (decision.decision, decision.reason) == ("opened", "no-plate")
    assert len(take.pushes) == 2


TAKEN = ("lf-only", "no-host", "obs-fold", "double-length", "length-2-too-large")


@pytest.mark.parametrize("name", sorted(path.name for path in FIELD.glob("*.http")))
async def test_a_request_of_the_field(name: str) -> None:
    """The connection is left open, as the camera leaves it."""
    take = Taker()
    raw = sent(name).replace(b"/cameras/hik ", b"/cameras/c1 ")
    async with listening([camera("hikvision")], take) as listener, connected(listener.port) as line:
        line.writer.write(raw)
        said = await line.answer()
        told = dict(listener.snapshot()["c1"])
    is_taken = any(one in name for one in TAKEN)
    assert said.status == (200 if is_taken else 400)
    assert take.plates == ([PLATE] if is_taken else [])
    assert trace(told) == told["pushes"] == 1
    assert told["refused"] == (not is_taken)
    if is_taken:
        assert decided(take.pushes[0].passage)[0].reason == "listed"
    _says_nothing_of_us(said)


def _says_nothing_of_us(said: Said) -> None:
    shown = f"{said.headers} {said.body!r}".lower()
    assert "python" not in shown
    assert "aiohttp" not in shown


XML_BODY = b"".join(
    (
        b"<EventNotificationAlert><dateTime>%s</dateTime><eventType>ANPR</eventType>" % b"2026-12-01T06:49:21+08:00",
        b"<ANPR><licensePlate>%s</licensePlate><confidenceLevel>97</confidenceLevel></ANPR>" % PLATE.encode(),
        b"<UUID>u-1</UUID></EventNotificationAlert>",
    )
)


def raw_request(line: bytes = b"POST /cameras/c1 HTTP/1.1", *headers: bytes, body: bytes = XML_BODY,
                length: int | None = None) -> bytes:  # fmt: skip
    said = b"" if length == -1 else b"Content-Length: %d\r\n" % (len(body) if length is None else length)
    return line + b"\r\nContent-Type: text/xml\r\n" + said + b"".join(one + b"\r\n" for one in headers) + b"\r\n" + body


PUSH = b"POST /cameras/c1 HTTP/1.1"
TAKEN_TOO = [
    pytest.param(raw_request(b"POST /cameras/c1 HTTP/1.1 "), id="blank behind the request line"),
    pytest.param(raw_request(b"POST  /cameras/c1\tHTTP/1.1"), id="blanks within it"),
    pytest.param(raw_request(b"POST //cameras/c1 HTTP/1.1"), id="two slashes"),
    pytest.param(raw_request(b"POST /cameras//c1 HTTP/1.1"), id="two slashes within"),
    pytest.param(raw_request(b"POST http://192.0.2.1:8080/cameras/c1 HTTP/1.1"), id="absolute"),
    pytest.param(raw_request(b"POST /cameras/c1 HTTP/1.0"), id="HTTP/1.0"),
    pytest.param(raw_request(b"post /cameras/c1 HTTP/1.1"), id="small letters"),
    pytest.param(b"\r\n\r\n" + raw_request(), id="empty lines before"),
    pytest.param(raw_request() + b"\r\n\r\n", id="empty lines behind"),
    pytest.param(raw_request() + b"\x00\xffgarbage that is no request\r\n\r\n", id="garbage behind"),
    pytest.param(raw_request(length=-1), id="no length"),
    pytest.param(raw_request(length=len(XML_BODY) + 16), id="16 bytes short"),
    pytest.param(raw_request(PUSH, b"X-Odd : blank before the colon"), id="blank in a header"),
    pytest.param(raw_request(PUSH, b"X-Latin: \xe9\xff"), id="other signs in a header"),
    pytest.param(raw_request(PUSH, b"X: a", b" b", b"\tc"), id="folded twice"),
    pytest.param(raw_request(PUSH, b"Content-Length: %d, %d" % ((len(XML_BODY),) * 2)),
                 id="a length in a list"),
    pytest.param(b"POST /cameras/c1 HTTP/1.1\nTransfer-Encoding: Chunked\n\n%x \n%s\n0\n\n" % (len(XML_BODY), XML_BODY),
                 id="chunks with LF"),
]  # fmt: skip


@pytest.mark.parametrize("raw", TAKEN_TOO)
async def test_what_is_certain_is_taken(raw: bytes) -> None:
    take = Taker()
    async with listening([camera("hikvision")], take) as listener, connected(listener.port) as line:
        line.writer.write(renewed(raw))
        said = await line.answer()
        assert said.status == 200
        _says_nothing_of_us(said)
    assert take.plates == [PLATE]


REFUSED = [
    pytest.param(raw_request(PUSH, b"Content-Length: 7"), "framing", id="two lengths"),
    pytest.param(raw_request(PUSH, b"Transfer-Encoding: chunked"), "framing", id="both"),
    pytest.param(raw_request(PUSH, b"Transfer-Encoding : chunked"), "framing", id="both, hidden"),
    pytest.param(raw_request(PUSH, b"Transfer-Encoding:", b" chunked"), "framing", id="folded"),
    pytest.param(raw_request(PUSH, b"Transfer-Encoding: gzip", length=-1), "framing", id="coding"),
    pytest.param(raw_request(PUSH, b"Content-Length: +5", length=-1), "framing", id="sign"),
    pytest.param(raw_request(PUSH, "Content-Length: ٥".encode(), length=-1), "framing", id="no digit"),
    pytest.param(raw_request(PUSH, b"X: a\rContent-Length: 5"), "header", id="bare CR"),
    pytest.param(raw_request(PUSH, b"X: a\x00b"), "header", id="NUL"),
    pytest.param(raw_request(PUSH, b"no colon"), "header", id="no colon"),
    pytest.param(raw_request(b"POST /cameras/c1 HTTP/2.0"), "request_line", id="HTTP/2"),
    pytest.param(raw_request(b"POST /cameras/c1"), "request_line", id="no version"),
    pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n\n", "request_line", id="TLS"),
    pytest.param(raw_request(PUSH, *[b"X: y"] * 80), "head", id="too many headers"),
    pytest.param(raw_request(PUSH, b"X: " + b"y" * 20_000), "head", id="a header too long"),
    pytest.param(raw_request(b"DELETE /cameras/c1 HTTP/1.1"), "method", id="method"),
    pytest.param(raw_request(length=10**9), "size", id="size"),
]  # fmt: skip


@pytest.mark.parametrize(("raw", "why"), REFUSED)
async def test_what_is_uncertain_is_refused_and_counted(raw: bytes, why: str) -> None:
    take = Taker()
    async with listening([camera("hikvision")], take) as listener:
        async with connected(listener.port) as line:
            line.writer.write(raw)
            said = await line.answer()
            assert said.status in (400, 405, 413)
            _says_nothing_of_us(said)
            assert await asyncio.wait_for(line.reader.read(), 5) == b"", "nothing behind it is read"
        told = listener.snapshot()["c1"]
        assert (told["pushes"], told["refused"], told[f"refused_{why}"]) == (1, 1, 1)
        assert listener.strangers == {}
    assert take.pushes == []


async def test_a_complete_push_is_not_lost_to_what_stands_behind_it() -> None:
    """Nor is a second one in the same segment; what is no request is counted for itself."""
    take = Taker()
    async with listening([camera("hikvision")], take) as listener:
        async with connected(listener.port) as line:
            line.writer.write(
                renewed(raw_request() + raw_request(body=XML_BODY.replace(b"u-1", b"u-2")) + b"junk\r\n\r\n")
            )
            assert [(await line.answer()).status for _ in range(3)] == [200, 200, 400]
        told = listener.snapshot()["c1"]
    assert take.plates == [PLATE, PLATE]
    assert (told["pushes"], told["passage_pushes"], told["refused"]) == (3, 2, 1)


async def test_a_recorder_pushes_for_several_cameras() -> None:
    """Each channel has an entry of its own, whatever URL the recorder uses; another channel is refused."""
    take = Taker()
    body = sent("hik-nvr-two-channels.body")
    cameras = [camera("hikvision", "c1", channel=1), camera("hikvision", "c2", channel=2)]
    async with listening(cameras, take) as listener:
        assert (await push(listener.port, "/cameras/c1", body, XML)).status == 200
        assert (await push(listener.port, "/cameras/c2", body, XML)).status == 200
        third = body.replace(b"<channelID>2<", b"<channelID>3<")
        assert (await push(listener.port, "/cameras/c1", third, XML)).status == 403
        told = listener.snapshot()
    assert [one.passage.camera for one in take.pushes] == ["c2", "c2"]
    assert (told["c1"]["refused_channel"], told["c2"]["passages"]) == (1, 2)


async def test_two_channels_in_one_push_open_each_its_own_gate() -> None:
    """A car before one channel of a recorder never opens the gate of another, also if both come in one push."""
    take = Taker()
    alert = sent("hik-nvr-two-channels.body")
    alert = alert[alert.index(b"<EventNotificationAlert") :]
    both = b"<L>" + alert + alert.replace(b"<channelID>2<", b"<channelID>3<") + b"</L>"
    three = [camera("hikvision", "c2", channel=2), camera("hikvision", "c3", channel=3)]
    async with listening(three, take) as listener:
        assert (await push(listener.port, "/cameras/c3", both, XML)).status == 200
        told = listener.snapshot()
    assert [one.passage.camera for one in take.pushes] == ["c2", "c3"]
    assert (told["c2"]["pushes"], told["c3"]["pushes"]) == (1, 0)
    assert (told["c2"]["passages"], told["c3"]["passages"]) == (1, 1)
    take.pushes.clear()
    async with listening([camera("hikvision", "c1")], take) as listener:
        assert (await push(listener.port, "/cameras/c1", both, XML)).status == 403
    assert take.pushes == []


@pytest.mark.parametrize("padded", [
    "{}{} ", "{}{}   ", " {}{}", "{} {}", "{}·{} ", "{}{}\u3000", "{}\u3000{}", "{}{}\u0000\u0000", "{}\u00a0{}",
    "蓝{}{} ",
], ids=ascii)  # fmt: skip
@pytest.mark.parametrize("driver", ["generic", "hikvision", "dahua", "gat1400", "vzenith", "uniview"])
async def test_blanks_that_makers_place_cost_no_plate(driver: str, padded: str) -> None:
    """Behind a plate, to fill a field; before it; and the one before the serial."""
    said = padded.format(PLATE[:2], PLATE[2:])
    bodies: dict[str, Any] = {
        "generic": {"plate": said},
        "hikvision": {"eventType": "ANPR", "ANPR": {"licensePlate": said}},
        "dahua": {"Code": "TrafficJunction", "Data": {"TrafficCar": {"PlateNumber": said}}},
        "gat1400": {"MotorVehicleObject": [{"PlateNo": said}]},
        "vzenith": {"AlarmInfoPlate": {"result": {"PlateResult": {"license": said}}}},
        "uniview": {"PlateNo": said},
    }
    take = Taker()
    async with listening([camera(driver)], take) as listener:
        assert (await push(listener.port, "/cameras/c1", json.dumps(bodies[driver]).encode(), JSON)).status == 200
    (one,) = take.pushes
    site = Access(AccessSettings(cameras={"c1": "gate"}), Lists([make("residents", 1, [ListEntry(PLATE, "resident")])]))
    decision = site.take(one.passage, time.time()).decision
    assert decision is not None
    assert (decision.decision, decision.reason) == ("opened", "listed")


def test_every_sample_has_a_case() -> None:
    named = {one.name for one in CASES} | {path.name for path in FIELD.glob("*.http")}
    assert named == {path.name for path in FIELD.iterdir()}
    assert re.fullmatch(r"\d{4}", str(datetime.now(UTC).year))

"""What nobody meant well: the right answer or a clean refusal, bounded room, and the next good push is understood."""

import asyncio
import base64
import gzip
import json
import logging
import resource
import socket
import zlib

import pytest

from drivers.anpr import listener as subject
from drivers.anpr.body_budget import PER_CAMERA, Room
from drivers.anpr.connection_limit import CONNECTIONS
from drivers.anpr.listener import PushListener
from drivers.anpr.makers import PARSERS
from tests.drivers.anpr.case import CASES, all_cases
from tests.drivers.anpr.mutate import spoil
from tests.drivers.anpr.pushing import ELSEWHERE, HERE, Taker, camera, connected, listening, push, request, until

GOOD = json.dumps({"plate": "鄂A12345", "confidence": 97}).encode()
JPEG = b"\xff\xd8\xff\xe0" + bytes(2000) + b"\xff\xd9"
MOST = 256 << 10


async def is_well(listener: PushListener, take: Taker) -> bool:
    """The next good push is understood."""
    before = len(take.pushes)
    said = await push(listener.port, "/cameras/c1", GOOD)
    return said.status == 200 and take.plates[before:] == ["鄂A12345"]


def multipart(*parts: tuple[str, bytes]) -> bytes:
    return b"".join(
        b'--b\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % (name.encode(), body)
        for name, body in parts
    ) + b"--b--\r\n"  # fmt: skip


LAUGHS = (
    b'<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "ha">'
    + b"".join(b'<!ENTITY a%d "%s">' % (n, b"&a%d;" % (n - 1) * 10) for n in range(1, 12))
    + b"]><EventNotificationAlert><ANPR><licensePlate>&a11;</licensePlate></ANPR></EventNotificationAlert>"
)
OUTSIDE = b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><EventNotificationAlert>&x;</EventNotificationAlert>'


@pytest.mark.parametrize(
    ("driver", "body", "content_type"),
    [
        ("hikvision", LAUGHS, "application/xml"),
        ("hikvision", OUTSIDE, "text/xml"),
        ("hikvision", b"<" * 100_000, "application/xml"),
        ("hikvision", b"<a>" * 100_000, "application/xml"),
        ("hikvision", multipart(*[("x", b"<a/>")] * 500), "multipart/form-data; boundary=b"),
        ("hikvision", b"--b\r\n" * 20_000, "multipart/form-data; boundary=b"),
        ("hikvision", bytes(range(256)) * 200, "multipart/form-data"),
        ("dahua", b"[" * 100_000, "application/json"),
        ("dahua", b'{"a":' * 50_000, "application/json"),
        ("generic", b'{"plate":"' + b"A" * 200_000, "application/json"),
        ("generic", gzip.compress(bytes(50 << 20)), "application/json"),
        ("vzenith", b"\x00" * 100_000, "image/jpeg"),
        ("uniview", b"null", "application/json"),
        ("gat1400", b"\xff\xfe" * 1000, "application/VIID+JSON"),
        ("platerecognizer", b"json=" + b"%7B" * 1000, "application/x-www-form-urlencoded"),
    ],
)
async def test_a_payload_that_is_none(driver: str, body: bytes, content_type: str) -> None:
    take = Taker()
    async with listening([camera(driver), camera("generic", "c2")], take) as listener:
        said = await push(listener.port, "/cameras/c1", body, content_type)
        assert said.status == 200
        assert [one for one in take.plates if one] == []
        told = listener.snapshot()["c1"]
        assert (told["unreadable"], told["bugs"]) == (1, 0)
        assert (await push(listener.port, "/cameras/c2", GOOD)).status == 200
    assert take.plates == ["鄂A12345"]


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "gzip, gzip"])
async def test_a_bomb_stays_packed(encoding: str) -> None:
    take = Taker()
    packed = gzip.compress(gzip.compress(bytes(64 << 20))) if "g" in encoding else zlib.compress(bytes(64 << 20))
    async with listening([camera("generic")], take) as listener:
        said = await push(
            listener.port, "/cameras/c1", packed, "application/json", extra=f"Content-Encoding: {encoding}\r\n"
        )
        assert said.status == 200
        assert listener.snapshot()["c1"]["unreadable"] == 1
        assert await is_well(listener, take)


@pytest.mark.parametrize(
    "content_type", ["", "text/html", "image/jpeg", "multipart/form-data", "a/b; boundary=b", "\x7f"]
)
@pytest.mark.parametrize("name", ["hikvision-anpr-tcg405.xml", "hikvision-json.json"])
async def test_a_wrong_content_type_hides_nothing(name: str, content_type: str) -> None:
    take = Taker()
    async with listening([camera("hikvision")], take) as listener:
        said = await push(listener.port, "/cameras/c1", (CASES / name).read_bytes(), content_type)
        assert said.status in (200, 400)
    assert len(take.pushes) == (said.status == 200)


async def test_words_over_the_picture_are_no_plate_but_are_told() -> None:
    """What the camera read goes in raw: the site normalises, and finds `other` or none."""
    take = Taker()
    words = [
        "Camera 01 2026-11-22",
        "鄂A1",
        "无车牌",
        "_无_",
        "unknown",
        "",
        "А12345",
        "鄂Ａ１２３４５",
        "x" * 500,
        "a\r\nb",
    ]
    async with listening([camera("generic")], take) as listener:
        for word in words:
            body = json.dumps({"plate": word, "confidence": 99}).encode()
            assert (await push(listener.port, "/cameras/c1", body)).status == 200
    assert take.plates == [*words[:5], None, *words[6:8], "x" * 64, "a  b"]


async def test_faces_are_not_taken() -> None:
    take = Taker()
    xml = (CASES / "hikvision-anpr-tcg405.xml").read_bytes()
    names = ("licensePlatePicture.jpg", "pilotPicture", "copilotPicture", "facePicture", "detectionPicture.jpg")
    body = multipart(("anpr.xml", xml), *[(name, JPEG) for name in names])
    async with listening([camera("hikvision")], take) as listener:
        await push(listener.port, "/cameras/c1", body, "multipart/form-data; boundary=b")
        assert listener.snapshot()["c1"]["pictures_refused"] == 3
    assert sorted(one.role for one in take.pushes[0].snapshots) == ["plate", "scene"]


async def test_a_picture_that_is_cut_short_is_handed_on_as_it_is() -> None:
    take = Taker()
    body = json.dumps({"plate": "鄂A12345", "scene_picture": base64.b64encode(JPEG[:-20]).decode()}).encode()
    async with listening([camera("generic")], take) as listener:
        assert (await push(listener.port, "/cameras/c1", body)).status == 200
    assert [one.data for one in take.pushes[0].snapshots] == [JPEG[:-20]]


async def test_a_repeat_has_the_key_of_the_first() -> None:
    take = Taker()
    body = (CASES / "hikvision-anpr-tcg405.xml").read_bytes()
    async with listening([camera("hikvision")], take) as listener:
        for _ in range(3):
            await push(listener.port, "/cameras/c1", body)
    assert len({one.passage.key for one in take.pushes}) == 1


async def test_a_lie_about_the_address_changes_nothing() -> None:
    take = Taker()
    lie = (CASES / "hikvision-anpr-tcg405.xml").read_bytes().replace(b"192.168.", b"169.254.")
    async with listening([camera("hikvision"), camera("hikvision", "c2", "169.254.1.64")], take) as listener:
        assert (await push(listener.port, "/cameras/c1", lie)).status == 200
    assert [one.passage.camera for one in take.pushes] == ["c1"]


async def test_a_body_over_the_limit() -> None:
    take = Taker()
    async with listening([camera("generic")], take, max_body=MOST) as listener:
        big = b"x" * (MOST + 1)
        assert (await push(listener.port, "/cameras/c1", big)).status == 413
        async with connected(listener.port) as line:
            line.writer.write(b"POST /cameras/c1 HTTP/1.1\r\nHost: g\r\nContent-Length: 99999999999\r\n\r\nabc")
            assert (await line.answer()).status == 413
        async with connected(listener.port) as line:
            line.writer.write(b"POST /cameras/c1 HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\n\r\n")
            line.writer.write(b"%x\r\n%s\r\n" % (len(big), big))
            assert (await line.answer()).status == 413
        assert listener.snapshot()["c1"]["refused_size"] == 3
        assert await is_well(listener, take)


async def test_chunked_and_expect_are_understood() -> None:
    take = Taker()
    async with listening([camera("generic")], take) as listener, connected(listener.port) as line:
        line.writer.write(b"POST /cameras/c1 HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\n")
        line.writer.write(b"Expect: 100-continue\r\n\r\n")
        async with asyncio.timeout(5):
            assert await line.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        for at in range(0, len(GOOD), 7):
            piece = GOOD[at : at + 7]
            line.writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        line.writer.write(b"0\r\n\r\n")
        assert (await line.answer()).status == 200
    assert take.plates == ["鄂A12345"]


async def test_broken_chunks() -> None:
    take = Taker()
    async with listening([camera("generic")], take) as listener:
        async with connected(listener.port) as line:
            line.writer.write(b"POST /cameras/c1 HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\n\r\n")
            line.writer.write(b"5\r\nabcdeX\r\nzz\r\n")
            assert (await line.answer()).status == 400
        assert await is_well(listener, take)


async def test_a_slow_body(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "BODY_WITHIN_S", 0.2)
    take = Taker()
    async with listening([camera("generic")], take) as listener:
        async with connected(listener.port) as line:
            line.writer.write(request("/cameras/c1", GOOD)[:-5])
            assert (await line.answer()).status == 408
        assert listener.snapshot()["c1"]["refused_slow"] == 1
        assert await is_well(listener, take)


async def test_half_a_body_and_gone() -> None:
    take = Taker()
    async with listening([camera("generic")], take) as listener:
        for _ in range(3 * PER_CAMERA):
            async with connected(listener.port) as line:
                line.writer.write(request("/cameras/c1", GOOD)[:-5])
                await line.writer.drain()
        await until(lambda: listener.snapshot()["c1"].get("refused_broken") == 3 * PER_CAMERA)
        assert await is_well(listener, take)
        assert listener.reading == 0


async def test_a_camera_that_hangs_does_not_hold_up_the_others() -> None:
    take = Taker()
    cameras = [camera("generic"), camera("generic", "c2", ELSEWHERE)]
    async with listening(cameras, take, max_body=MOST) as listener, asyncio.timeout(5):
        lines = [await asyncio.open_connection(HERE, listener.port) for _ in range(10)]
        for _, writer in lines:
            writer.write(b"POST /cameras/c1 HTTP/1.1\r\nHost: g\r\nContent-Length: %d\r\n\r\n" % MOST)
        await until(lambda: listener.reading == PER_CAMERA * MOST)
        assert (await push(listener.port, "/cameras/c2", GOOD, source=ELSEWHERE)).status == 200
        for _, writer in lines:
            writer.close()
        await until(lambda: listener.reading == 0)
        assert await is_well(listener, take)


async def test_requests_behind_one_another() -> None:
    take = Taker()
    async with listening([camera("generic")], take) as listener, connected(listener.port) as line:
        plates = [f"鄂A{n:05}" for n in range(200)]
        bodies = [json.dumps({"plate": plate}).encode() for plate in plates]
        line.writer.write(b"".join(request("/cameras/c1", body) for body in bodies))
        for _ in plates:
            assert (await line.answer()).status == 200
    assert take.plates == plates


@pytest.mark.parametrize(
    "raw",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /cameras/c1 HTTP/1.1\r\nHost: g\r\nContent-Length: -5\r\n\r\n",
        b"POST /cameras/c1 HTTP/1.1\r\nHost: g\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /cameras/c1?token=SECRET HTTP/1.1\r\nHost: g\r\nX: " + b"y" * 20_000 + b"\r\n\r\n",
        b"POST /cameras/c1?token=SECRET HTTP/1.1\r\nbad header\r\n\r\n",
        b"POST /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n",
        b"\r\n" * 5000,
        b"OPTIONS * HTTP/1.1\r\nHost: g\r\n\r\n",
        b"CONNECT a:1 HTTP/1.1\r\nHost: g\r\n\r\n",
        b"GET /cameras/c1 HTTP/1.1\r\nHost: g\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"DELETE /cameras/c1 HTTP/1.1\r\nHost: g\r\n\r\n",
        b"POST /cameras/%2e%2e/%00 HTTP/1.1\r\nHost: g\r\n\r\n",
    ],
)
async def test_what_is_hardly_http(raw: bytes, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    take = Taker()
    async with listening([camera("generic")], take) as listener:
        async with connected(listener.port) as line:
            line.writer.write(raw)
            line.writer.write_eof()
            async with asyncio.timeout(5):
                status = (await line.reader.read()).split(b" ", 2)[1:2]
            assert status in ([b"200"], [b"400"], [b"403"], [b"404"], [b"405"], [])
        assert await is_well(listener, take)
    assert caplog.records == []


async def test_thousands_that_say_nothing() -> None:
    """Silent strangers are closed, the oldest first; a camera that is connected stays, and another gets in."""
    take = Taker()
    crowd: list[socket.socket] = []
    async with listening([camera("generic")], take) as listener, connected(listener.port) as known:
        known.writer.write(request("/cameras/c1", GOOD))
        assert (await known.answer()).status == 200
        loop = asyncio.get_running_loop()
        try:
            for _ in range(min(2000, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 600)):
                one = socket.socket()
                one.setblocking(False)
                crowd.append(one)
                await loop.sock_connect(one, (HERE, listener.port))
            assert await is_well(listener, take)
            known.writer.write(request("/cameras/c1", GOOD))
            assert (await known.answer()).status == 200
            assert listener.connections <= CONNECTIONS
        finally:
            for one in crowd:
                one.close()
    assert take.plates == ["鄂A12345"] * 3


async def test_a_thousand_spoilt_samples() -> None:
    """Answered one and all, and nothing of ours breaks."""
    take = Taker()
    cases = [case for case in all_cases() if not case.stream]
    cameras = [camera(driver, driver) for driver in PARSERS]
    async with listening(cameras, take, max_body=MOST) as listener, connected(listener.port) as line:
        for number in range(1000):
            one = spoil(cases, number)
            content_type = "".join(char for char in one.content_type if char.isprintable())
            line.writer.write(request(f"/cameras/{one.driver}", one.payload, content_type))
            assert (await line.answer()).status == 200
        told = listener.snapshot()
    assert sum(int(one["bugs"] or 0) for one in told.values()) == 0
    assert sum(int(one["unreadable"] or 0) for one in told.values()) > 20


async def test_room_is_given_in_turn_and_given_back() -> None:
    room = Room(100)
    order: list[str] = []
    leave = asyncio.Event()

    async def one(who: str, size: int) -> None:
        async with room.reserved(who, size):
            order.append(f"{who}{size}")
            await leave.wait()

    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        tasks = []
        for who, size in (("a", 60), ("a", 10), ("a", 1), ("b", 50), ("c", 20), ("d", 500)):
            tasks.append(group.create_task(one(who, size), name=who))
            await asyncio.sleep(0)
        assert order == ["a60", "a10"]
        tasks[3].cancel()
        await until(lambda: "c20" in order)
        leave.set()
    assert sorted(order[3:]) == ["a1", "d500"]
    assert room.used == 0

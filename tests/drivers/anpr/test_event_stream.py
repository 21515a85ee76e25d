"""Cameras that are listened to: a real web server with digest, endless bodies, gaps and refusals."""

import asyncio
import random
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime

import pytest
from aiohttp import web

from drivers.anpr import dahua, event_stream, hikvision
from drivers.anpr.event_stream import SOURCES, Puller
from drivers.anpr.joining import JOIN_WITHIN_S
from drivers.pictures.account import REFUSALS, CameraSession, Login
from gateway.clock import Clock
from gateway.errors import ConfigError
from tests.drivers.anpr.case import CASES
from tests.drivers.anpr.pushing import Taker, camera, until
from tests.drivers.digest_camera import PASSWORD, USER, DigestCamera, serving
from tests.secret_texts import SecretText

JPEG = b"\xff\xd8\xff\xe0" + bytes(3000) + b"\xff\xd9"
TCG = (CASES / "hikvision-anpr-tcg405.xml").read_bytes()
END = None
CHANCE = random.Random(1)  # noqa: S311 - spreads reconnections


def part(body: bytes, content_type: str = "application/xml", name: str = "") -> bytes:
    head = f'Content-Disposition: form-data; name="{name}"\r\n' if name else ""
    return f"--b\r\n{head}Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body + b"\r\n"


def event(plate: str, when: str) -> bytes:
    return (
        f"<EventNotificationAlert><dateTime>{when}</dateTime><eventType>ANPR</eventType><UUID>{plate}{when}</UUID>"
        f"<ANPR><licensePlate>{plate}</licensePlate><confidenceLevel>90</confidenceLevel></ANPR>"
        f"</EventNotificationAlert>"
    ).encode()


HEARTBEAT = part(
    b"<EventNotificationAlert><eventType>videoloss</eventType><eventState>inactive</eventState>"
    b"</EventNotificationAlert>"
)


@dataclass
class Stream:
    """The endless bodies of a camera: what is put is sent on the connection that is open."""

    boundary: str = "b"
    pieces: asyncio.Queue[bytes | None] = field(default_factory=asyncio.Queue)
    opened: int = 0
    kept: bytes = b""
    """What the plate query finds."""
    asked: list[bytes] = field(default_factory=list)
    """Bodies of queries."""

    async def page(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": f"multipart/mixed; boundary={self.boundary}"})
        await response.prepare(request)
        self.opened += 1
        while (piece := await self.pieces.get()) is not END:
            await response.write(piece)
        return response

    async def query(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(await request.read())
        return web.Response(body=self.kept, content_type="application/xml")

    def send(self, *pieces: bytes | None) -> None:
        for piece in pieces:
            self.pieces.put_nowait(piece)


@dataclass
class Pulled:
    puller: Puller
    take: Taker
    camera: DigestCamera
    stream: Stream
    task: asyncio.Task[None]

    @property
    def told(self) -> list[tuple[bool, str]]:
        return [(well, why) for _, well, why in self.take.told]

    @property
    def health(self) -> dict[str, object]:
        return dict(self.puller.snapshot()["c1"])


@asynccontextmanager
async def pulling(
    driver: str = "hikvision", camera_: DigestCamera | None = None, channel: int | None = None
) -> AsyncIterator[Pulled]:
    stream, take = Stream(), Taker()
    server = camera_ or DigestCamera({})
    for target in SOURCES[driver].targets:
        server.pages.setdefault(target.partition("?")[0], stream.page)
    server.pages.setdefault(hikvision.PLATES.format(channel=channel or 1), stream.query)
    async with serving(server):
        account = CameraSession(Login("c1", server.address, USER, SecretText(PASSWORD)))
        puller = Puller(
            camera(driver, address=server.address, channel=channel), account, take, Clock(), rng=CHANCE
        )  # fmt: skip
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            task = group.create_task(puller.run(), name="pull")
            yield Pulled(puller, take, server, stream, task)
            task.cancel()
            stream.send(*[END] * 20)


async def test_what_the_camera_streams_is_taken_with_its_pictures() -> None:
    async with pulling() as one:
        one.stream.send(
            HEARTBEAT, part(TCG), part(JPEG, "image/jpeg", "licensePlatePicture.jpg"),
            part(JPEG, "image/jpeg", "pilotPicture.jpg"), part(JPEG, "image/jpeg", "detectionPicture.jpg"), HEARTBEAT,
        )  # fmt: skip
        await until(lambda: one.take.pushes)
        (push,) = one.take.pushes
        assert [shown.role for shown in push.snapshots] == ["plate", "scene"]
        assert push.passage.camera == "c1"
        assert not push.passage.history
        assert one.told == [(True, "")]
        assert (one.health["reachable"], one.health["locked"], one.health["pictures_refused"]) == (True, False, 1)
        assert one.camera.wrong == 0


async def test_pictures_that_do_not_come_are_not_waited_for() -> None:
    async with pulling() as one:
        one.stream.send(part(TCG))
        loop = asyncio.get_running_loop()
        await until(lambda: one.stream.opened)
        begun = loop.time()
        await until(lambda: one.take.pushes)
        assert loop.time() - begun < JOIN_WITHIN_S + 0.5


async def test_bytes_in_any_pieces() -> None:
    whole = HEARTBEAT + part(event("鄂A11111", "2026-11-22T08:00:00+08:00")) + HEARTBEAT
    async with pulling() as one:
        one.stream.send(*[whole[at : at + 5] for at in range(0, len(whole), 5)])
        await until(lambda: one.take.pushes)
    assert one.take.plates == ["鄂A11111"]


async def test_a_part_that_cannot_be_read_costs_no_other() -> None:
    async with pulling() as one:
        one.stream.send(part(b"<not xml"), part(b"{]", "application/json"), part(TCG), HEARTBEAT)
        await until(lambda: one.take.pushes)
        assert one.health["unreadable"] == 2


async def test_parts_that_cannot_be_read_are_an_alarm_and_another_channel_is_not_taken() -> None:
    async with pulling() as one:
        other = TCG.replace(b"<channelID>1<", b"<channelID>2<")
        one.stream.send(*[part(b"<not xml %d" % number) for number in range(3)], part(other), HEARTBEAT)
        await until(lambda: len(one.take.alarms) == 2)
        assert [told[:2] for told in one.take.alarms] == [
            ("c1/camera-unreadable", False), ("c1/camera-unreadable", True)
        ]  # fmt: skip
        kept = one.puller.unreadable("c1")
        assert kept is not None
        assert kept.body == b"<not xml 2"
        assert other != TCG
        assert one.health["ignored_another_channel"] == 1
        assert one.take.pushes == []
        one.puller.forget()
        assert one.puller.unreadable("c1") is None


async def test_after_a_gap_it_asks_for_what_it_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "FIRST_RETRY_S", 0.01)
    kept = (CASES / "hikvision-plate-query.xml").read_bytes()
    old = kept.replace(b"20261122T080001+0800", b"20261122T075959+0800")
    async with pulling() as one:
        one.stream.kept = old
        one.stream.send(part(event("鄂C1", "2026-11-22T08:00:00+08:00")), HEARTBEAT, END)
        await until(lambda: len(one.take.pushes) == 2)
        assert one.stream.opened == 2
        (asked,) = one.stream.asked
        assert re.findall(rb"<picTime>(.*)</picTime>", asked) == [b"20261122T080000+0800"]
        assert [well for well, _ in one.told] == [True, False, True]
    live, late = (push.passage for push in one.take.pushes)
    assert (live.plate_raw, late.plate_raw) == ("鄂C1", "鄂B12345")
    assert (live.history, late.history) == (False, True)
    assert late.seen == datetime.fromisoformat("2026-11-22T08:01:02+08:00").timestamp()


@pytest.mark.parametrize("channel", [None, 1, 3])
async def test_a_recorder_is_asked_for_the_channel_of_the_entry(
    monkeypatch: pytest.MonkeyPatch, channel: int | None
) -> None:
    """Its stream, and what it kept; of what it tells of other channels nothing is taken."""
    monkeypatch.setattr(event_stream, "FIRST_RETRY_S", 0.01)
    number = channel or 1
    lines = "Events[0].Code=TrafficJunction\r\nEvents[0].Index={}\r\nEvents[0].TrafficCar.PlateNumber=鄂A1234{}\r\n"
    async with pulling("dahua", channel=channel) as one:
        one.stream.send(*[part(lines.format(index, index).encode(), "text/plain") for index in range(5)])
        await until(lambda: one.take.pushes)
        await until(lambda: one.health["ignored_another_channel"] == 4)
        assert f"&channel={number}&" in one.camera.asked[-1]
    assert one.take.plates == [f"鄂A1234{number - 1}"]
    async with pulling("hikvision", channel=channel) as two:
        two.stream.kept = (CASES / "hikvision-plate-query.xml").read_bytes()
        mine = TCG.replace(b"<channelID>1<", b"<channelID>%d<" % number)
        other = TCG.replace(b"<channelID>1<", b"<channelID>%d<" % (number + 1))
        two.stream.send(part(other), part(mine), HEARTBEAT, END)
        await until(lambda: two.stream.asked)
        assert f"POST /ISAPI/Traffic/channels/{number}/vehicleDetect/plates" in two.camera.asked
        live = [push for push in two.take.pushes if not push.passage.history]
        assert (len(live), two.health["ignored_another_channel"]) == (1, 1)


async def test_a_query_that_fails_costs_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "FIRST_RETRY_S", 0.01)
    async with pulling() as one:
        one.stream.kept = b"no XML"
        one.stream.send(part(event("鄂C1", "2026-11-22T08:00:00+08:00")), HEARTBEAT, END)
        await until(lambda: one.health.get("refused_catch_up") == 1)
        one.stream.send(part(event("鄂C2", "2026-11-22T08:05:00+08:00")), HEARTBEAT)
        await until(lambda: one.take.plates == ["鄂C1", "鄂C2"])


async def test_a_silent_connection_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "FIRST_RETRY_S", 0.01)
    monkeypatch.setitem(event_stream.SOURCES, "hikvision", replace(SOURCES["hikvision"], silence=0.1))
    async with pulling() as one:
        await until(lambda: one.stream.opened >= 2)
    assert one.told[1] == (False, "no word for 0 s")


async def test_a_wrong_login_is_tried_twice_and_never_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "FIRST_RETRY_S", 0.01)
    async with pulling(camera_=DigestCamera({}, password="another")) as one:
        await until(lambda: one.health["locked"])
        requests = len(one.camera.asked)
        await asyncio.sleep(0.3)
        assert len(one.camera.asked) == requests
        assert one.camera.wrong == REFUSALS
        assert one.health["reachable"] is False
        assert not one.task.done()
    assert [well for well, _ in one.told] == [False]
    assert PASSWORD not in str(one.told)


async def test_a_camera_that_comes_later_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "FIRST_RETRY_S", 0.05)
    server = DigestCamera({})
    async with serving(server):
        port = server.port
    take = Taker()
    asks = CameraSession(Login("c1", f"127.0.0.1:{port}", USER, SecretText(PASSWORD)))
    puller = Puller(camera("hikvision"), asks, take, Clock(), rng=CHANCE)
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        task = group.create_task(puller.run(), name="pull")
        await until(lambda: puller.snapshot()["c1"]["reachable"] is False)
        stream = Stream()
        server = DigestCamera({hikvision.ALERT_STREAM: stream.page}, port=port)
        async with serving(server):
            stream.send(part(TCG), HEARTBEAT)
            await until(lambda: take.pushes)
            task.cancel()
            stream.send(END)


async def test_dahua_tells_by_the_manager_that_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "FIRST_RETRY_S", 0.01)

    async def unknown(_: web.Request) -> web.StreamResponse:
        return web.Response(status=404)

    sample = (CASES / "dahua-eventmanager-stream.http").read_bytes()
    head, _, body = sample.partition(b"\n\n" if b"\r\n\r\n" not in sample else b"\r\n\r\n")
    boundary = re.findall(rb"boundary=(\S+)", head)[0].decode()
    camera_ = DigestCamera({dahua.SNAP_MANAGER.partition("?")[0]: unknown})
    async with pulling("dahua", camera_) as one:
        one.stream.boundary = boundary
        one.stream.send(body)
        await until(lambda: one.take.pushes)
        assert one.camera.asked[-1] == f"GET {dahua.EVENT_MANAGER}"
        assert "Events=[TrafficJunction]" in one.camera.asked[0]


async def test_dahua_pictures_follow_their_text() -> None:
    lines = (CASES / "dahua-snapmanager-lines.http").read_bytes().partition(b"\r\n\r\n")[2]
    text = b"Events[0].Code=TrafficJunction\r\nEvents[0].TrafficCar.PlateNumber=\xe9\x84\x82A12345\r\n"
    assert b"Events[" in lines
    async with pulling("dahua") as one:
        one.stream.send(part(text, "text/plain"), part(JPEG, "image/jpeg"), part(b"Heartbeat", "text/plain"))
        await until(lambda: one.take.pushes)
    assert one.take.plates == ["鄂A12345"]
    assert len(one.take.pushes[0].snapshots) == 1


async def test_a_stream_without_parts_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "FIRST_RETRY_S", 0.01)
    async with pulling() as one:
        one.stream.send(b"x" * 100_000)
        await until(lambda: one.stream.opened >= 2)
        assert one.told[1] == (False, "no delimiter in the stream")
        one.stream.send(END, part(TCG), HEARTBEAT)
        await until(lambda: one.take.pushes)


@pytest.mark.parametrize("driver", ["vzenith", "generic", "onvif"])
async def test_other_makers_are_not_listened_to(driver: str) -> None:
    with pytest.raises(ConfigError, match="mode pull is for hikvision, dahua"):
        Puller(camera(driver), CameraSession(Login("c1", "127.0.0.1")), Taker(), Clock(), rng=CHANCE)


PARTS = {
    "texts of two bytes": b"--b\r\n\r\n{}\r\n",
    "delimiters": b"--b\r\n",
    "near delimiters": b"\r\n--bx",
    "JSON of cars": part(b"[" + b",".join([b'{"plate":1}'] * 20_000) + b"]", "application/json"),
    "small events": b"--b\r\n\r\n<EventNotificationAlert><eventType>x</eventType></EventNotificationAlert>\r\n",
}


@pytest.mark.parametrize("driver", SOURCES)
@pytest.mark.parametrize("what", PARTS)
async def test_a_stream_that_floods_takes_no_long_turn_of_the_loop(driver: str, what: str) -> None:
    """Ten thousand parts that came in one piece were understood in one turn: 0.6 s, on and on."""
    floods = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n")
        with suppress(ConnectionError):
            for _ in range(8):
                writer.write(PARTS[what] * max(1, (256 << 10) // len(PARTS[what])))
                await writer.drain()
        floods.set()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        puller = Puller(
            camera(driver, address=f"127.0.0.1:{port}"), CameraSession(Login("c1", f"127.0.0.1:{port}")), Taker(),
            Clock(), rng=CHANCE,
        )  # fmt: skip
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            task = group.create_task(puller.run(), name="pull")
            longest, before = 0.0, time.thread_time()
            while not floods.is_set() and longest < 0.15:
                await asyncio.sleep(0)
                now = time.thread_time()
                longest, before = max(longest, now - before), now
            task.cancel()
    assert longest < 0.15

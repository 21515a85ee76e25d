"""Cameras that do not behave, over real HTTP: what is taken, what is tried again, what is refused."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from drivers.pictures import snapshot as subject
from drivers.pictures.account import CameraSession, Login
from drivers.pictures.bodies import first_part, is_jpeg, is_mixed
from drivers.pictures.jpeg import Unusable
from drivers.pictures.measure import Sight
from drivers.pictures.paths import RECORDER
from drivers.pictures.snapshot import NoPicture, Snapshots
from gateway.errors import DeviceRefused, DeviceSilent
from simulators.cameras.shows import Shows
from tests.drivers.digest_camera import PASSWORD, USER, DigestCamera, serving
from tests.secret_texts import SecretText

PAUSES = subject.AGAIN_AFTER_S
HIK = "/ISAPI/Streaming/channels/101/picture"


@asynccontextmanager
async def showing(look: str) -> AsyncIterator[tuple[Snapshots, DigestCamera]]:
    shows = Shows("yard")
    shows.look = look
    camera = DigestCamera({HIK: shows.answer})
    async with serving(camera):
        account = CameraSession(Login("yard", camera.address, USER, SecretText(PASSWORD)))
        yield Snapshots("yard", "hikvision", account), camera


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "AGAIN_AFTER_S", (0.0, 0.0))


@pytest.mark.parametrize("look", ["", "night", "busy", "says-busy", "stream", "exif"])
async def test_a_whole_picture(look: str) -> None:
    async with showing(look) as (mine, camera):
        found = Sight.of(await mine.take())
        assert found.size == (960, 540)
        assert found.light == ("infrared" if look == "night" else "colour")
        tries = 3 if "busy" in look else 1
        assert len(camera.asked) == tries + 1  # the first one was asked who it is


async def test_the_pauses_of_a_busy_camera(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "AGAIN_AFTER_S", PAUSES)
    async with showing("busy") as (mine, _):
        begun = asyncio.get_running_loop().time()
        await mine.take()
        assert 4.0 <= asyncio.get_running_loop().time() - begun < 9.0


@pytest.mark.parametrize(
    ("look", "reason", "times"),
    [("html", "no-picture", 3), ("empty", "no-picture", 3), ("half", "damaged", 1), ("endless", "no-picture", 1)],
)
async def test_what_is_no_picture_says_which(look: str, reason: str, times: int) -> None:
    async with showing(look) as (mine, camera):
        with pytest.raises(NoPicture) as caught:
            await mine.take()
        assert caught.value.reason == reason
        assert len(camera.asked) == times + 1


@pytest.mark.parametrize("look", ["hang", "drip"])
async def test_a_camera_that_is_too_slow(look: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "WITHIN_S", 0.4)
    async with showing(look) as (mine, camera):
        with pytest.raises(DeviceSilent, match="in time"):
            await mine.take()
        assert len(camera.asked) == 2


@pytest.mark.parametrize("look", ["bomb"])
async def test_a_bomb_is_not_decoded(look: str) -> None:
    async with showing(look) as (mine, _):
        with pytest.raises(Unusable, match="too large"):
            Sight.of(await mine.take())


async def test_one_request_at_a_time() -> None:
    at_once, most = 0, 0

    async def slow(_: web.Request) -> web.Response:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0.02)
        at_once -= 1
        return web.Response(body=Shows("yard").picture())

    camera = DigestCamera({HIK: slow}, scheme="none")
    async with serving(camera):
        mine = Snapshots("yard", "hikvision", CameraSession(Login("yard", camera.address)))
        async with asyncio.TaskGroup() as group:
            for number in range(4):
                group.create_task(mine.take(), name=f"take {number}")
    assert (most, len(camera.asked)) == (1, 4)


@pytest.mark.parametrize("status", [400, 403])
async def test_a_recorder_hands_on_the_picture_of_its_camera(status: int) -> None:
    async def refuses(_: web.Request) -> web.Response:
        return web.Response(status=status)

    camera = DigestCamera({HIK: refuses, RECORDER + "channels/101/picture": Shows("yard").answer}, scheme="none")
    async with serving(camera):
        mine = Snapshots("yard", "hikvision", CameraSession(Login("yard", camera.address)))
        assert is_jpeg(await mine.take())
        assert is_jpeg(await mine.take())
    assert [RECORDER in one for one in camera.asked] == [False, True, True]


async def test_a_refusal_is_not_tried_again() -> None:
    async def refuses(_: web.Request) -> web.Response:
        return web.Response(status=403)

    camera = DigestCamera(dict.fromkeys((HIK,), refuses), scheme="none")
    async with serving(camera):
        mine = Snapshots("yard", "hikvision", CameraSession(Login("yard", camera.address)))
        with pytest.raises(DeviceRefused) as caught:
            await mine.take()
    assert caught.value.code == 403
    assert camera.asked.count(f"GET {HIK}") == 1


@pytest.mark.parametrize(
    ("buffer", "boundary", "found"),
    [
        (b"--a\r\nContent-Length: 3\r\n\r\nabcdef", b"a", b"abc"),
        (b"--a\r\nContent-Length: 9\r\n\r\nabc", b"a", None),
        (b"--a\r\n\r\nabc\r\n--a", b"a", b"abc"),
        (b"--a\n\nabc\n--a", b"a", b"abc"),
        (b"--a\r\n\r\nabc", b"a", None),
        (b"--a\r\n", b"a", None),
    ],
)
def test_the_first_part(buffer: bytes, boundary: bytes, found: bytes | None) -> None:
    assert first_part(buffer, boundary) == found
    for size in range(len(buffer)):  # in two pieces, wherever they were cut
        if first_part(buffer[:size], boundary) is None:
            assert first_part(buffer, boundary, size) == found


def test_a_part_without_an_end_is_searched_once() -> None:
    buffer = bytearray(b"--b\r\n\r\n" + b"-" * (8 << 20))
    began = time.process_time()
    for size in range(len(buffer), len(buffer) + 1000):
        buffer += b"-"
        assert first_part(buffer, b"b", size) is None
    assert time.process_time() - began < 1.0


def test_a_boundary_as_cameras_write_it() -> None:
    assert is_mixed('multipart/x-mixed-replace; boundary="--frame"') == b"frame"
    assert is_mixed("multipart/x-mixed-replace") == b""
    assert is_mixed("image/jpeg") is None


@pytest.mark.parametrize(
    ("data", "is_whole"),
    [
        (b"\xff\xd8\xff\xe0..\xff\xd9", True),
        (b"\xff\xd8\xff\xe0..\xff\xd9\r\n\x00", True),
        (b"\xff\xd8\xff\xe0..", False),
        (b"", False),
    ],
)
def test_begins_and_ends_as_one(data: bytes, *, is_whole: bool) -> None:
    assert is_jpeg(data) is is_whole

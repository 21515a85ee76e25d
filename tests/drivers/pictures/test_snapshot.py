"""Pictures from a real web server that asks who wants them."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web

from drivers.pictures import snapshot as subject
from drivers.pictures.account import REFUSALS, CameraSession, Login
from drivers.pictures.snapshot import Snapshots
from gateway.errors import ConfigError, DeviceRefused, DeviceSilent
from tests.drivers.digest_camera import PASSWORD, USER, DigestCamera, serving
from tests.secret_texts import SecretText

JPEG = b"\xff\xd8\xff\xe0" + bytes(5000) + b"\xff\xd9"
HIK = "/ISAPI/Streaming/channels/101/picture"


async def picture(_: web.Request) -> web.Response:
    return web.Response(body=JPEG, content_type="image/jpeg")


def saying(body: bytes = b"", status: int = 200, **headers: str) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def page(_: web.Request) -> web.Response:
        return web.Response(body=body, status=status, headers=headers)

    return page


def account(camera: DigestCamera, password: str = PASSWORD) -> CameraSession:
    return CameraSession(Login("yard", camera.address, USER, SecretText(password), basic=True))


def snapshots(camera: DigestCamera, driver: str = "hikvision", url: str | None = None, **more: Any) -> Snapshots:
    return Snapshots("yard", driver, account(camera, **more), url)


@pytest.mark.parametrize(
    ("scheme", "algorithm", "qop"),
    [
        ("digest", "MD5", "auth"),
        ("digest", "MD5-sess", "auth,auth-int"),
        ("digest", "SHA-256", "auth"),
        ("digest", None, None),
        ("both", "MD5", "auth"),
        ("basic", None, None),
        ("none", None, None),
    ],
)
async def test_a_picture_however_the_camera_asks(scheme: str, algorithm: str | None, qop: str | None) -> None:
    camera = DigestCamera({HIK: picture}, scheme=scheme, algorithm=algorithm, qop=qop)
    async with serving(camera):
        mine = snapshots(camera)
        assert await mine.take() == JPEG
        first = len(camera.asked)
        assert await mine.take() == JPEG
    assert first == (1 if scheme == "none" else 2)
    assert len(camera.asked) == first + 1
    assert camera.wrong == 0


@pytest.mark.parametrize(
    ("driver", "path"),
    [("hikvision", "/ISAPI/Streaming/channels/301/picture"), ("dahua", "/cgi-bin/snapshot.cgi?channel=3&type=0")],
)
async def test_a_recorder_is_asked_for_the_picture_of_the_channel(driver: str, path: str) -> None:
    camera = DigestCamera({path: picture})
    async with serving(camera):
        assert await Snapshots("yard", driver, account(camera), channel=3).take() == JPEG


@pytest.mark.parametrize("says_stale", [True, False])
async def test_an_old_nonce_is_no_wrong_login(*, says_stale: bool) -> None:
    camera = DigestCamera({HIK: picture}, says_stale=says_stale)
    async with serving(camera):
        mine = snapshots(camera)
        for number in range(5):
            camera.nonces.append(f"another{number}")
            assert await mine.take() == JPEG
    assert camera.wrong == 0


@pytest.mark.parametrize("scheme", ["digest", "basic"])
async def test_a_wrong_login_is_not_tried_again(scheme: str) -> None:
    camera = DigestCamera({HIK: picture}, scheme=scheme, password="another")
    async with serving(camera):
        asks = account(camera)
        mine = Snapshots("yard", "hikvision", asks)
        for _ in range(5):
            with pytest.raises(DeviceRefused, match="refused the login") as caught:
                await mine.take()
            assert caught.value.code == 401
            assert PASSWORD not in str(caught.value)
    assert asks.locked
    assert camera.wrong == REFUSALS


@pytest.mark.parametrize("before", ["", "digest"])
async def test_the_password_is_not_given_in_clear_to_who_has_no_need_of_it(before: str) -> None:
    camera = DigestCamera({HIK: picture}, scheme=before or "basic")
    async with serving(camera):
        asks = CameraSession(Login("yard", camera.address, USER, SecretText(PASSWORD), basic=bool(before)))
        mine = Snapshots("yard", "hikvision", asks)
        if before:
            assert await mine.take() == JPEG
            camera.scheme = "basic"
        for _ in range(3):
            with pytest.raises(DeviceRefused):
                await mine.take()
    assert not any(said.startswith("Basic") for said in camera.proofs)


async def test_another_password_unlocks() -> None:
    camera = DigestCamera({HIK: picture})
    password = SecretText("wrong")
    async with serving(camera):
        asks = CameraSession(Login("yard", camera.address, USER, password))
        mine = Snapshots("yard", "hikvision", asks)
        for _ in range(REFUSALS + 1):
            with pytest.raises(DeviceRefused):
                await mine.take()
        is_locked = asks.locked
        password.text = PASSWORD
        assert (is_locked, asks.locked) == (True, False)
        assert await mine.take() == JPEG
    assert camera.wrong == REFUSALS


async def test_a_right_login_forgives() -> None:
    camera = DigestCamera({HIK: picture})
    async with serving(camera):
        asks = account(camera)
        mine = Snapshots("yard", "hikvision", asks)
        for _ in range(REFUSALS + 2):
            camera.password = "changed"
            with pytest.raises(DeviceRefused):
                await mine.take()
            camera.password = PASSWORD
            assert await mine.take() == JPEG
        assert not asks.locked


async def test_without_a_login_none_is_tried() -> None:
    camera = DigestCamera({HIK: picture})
    async with serving(camera):
        mine = Snapshots("yard", "hikvision", CameraSession(Login("yard", camera.address)))
        for _ in range(3):
            with pytest.raises(DeviceRefused, match="wants a login"):
                await mine.take()
    assert camera.wrong == 0


async def test_a_password_that_cannot_be_read() -> None:
    camera = DigestCamera({HIK: picture})
    async with serving(camera):
        mine = Snapshots("yard", "hikvision", CameraSession(Login("yard", camera.address, USER, SecretText(None))))
        with pytest.raises(ConfigError, match="secret"):
            await mine.take()


async def test_the_path_that_the_camera_knows_is_found_once() -> None:
    old = "/Streaming/channels/1/picture"
    camera = DigestCamera({old: picture}, scheme="none")
    async with serving(camera):
        mine = snapshots(camera)
        assert await mine.take() == JPEG
        assert len(camera.asked) == 4
        assert await mine.take() == JPEG
    assert camera.asked[4:] == [f"GET {old}"]


async def test_the_query_of_dahua_is_sent_as_it_is() -> None:
    camera = DigestCamera({"/cgi-bin/snapshot.cgi": picture})
    async with serving(camera):
        assert await snapshots(camera, "dahua").take() == JPEG
    assert set(camera.asked) == {"GET /cgi-bin/snapshot.cgi?channel=1&type=0"}


async def test_a_written_url() -> None:
    camera = DigestCamera({"/snap.jpg": picture})
    async with serving(camera):
        assert await snapshots(camera, "generic", f"http://{camera.address}/snap.jpg").take() == JPEG
    with pytest.raises(ConfigError, match="not its address"):
        snapshots(camera, "generic", "http://192.0.2.1/snap.jpg")


async def test_a_maker_without_a_known_path() -> None:
    with pytest.raises(ConfigError, match="write snapshot"):
        await snapshots(DigestCamera({}, port=9), "vzenith").take()


@pytest.mark.parametrize(
    "there", ["http://192.0.2.1/x", "//192.0.2.1/x", "https://127.0.0.1/x", "http://127.0.0.1:1/x"]
)
async def test_a_redirect_elsewhere_is_refused(there: str) -> None:
    camera = DigestCamera({HIK: saying(status=302, Location=there)})
    async with serving(camera):
        with pytest.raises(DeviceRefused, match="another address"):
            await snapshots(camera).take()


async def test_a_redirect_within_the_camera_is_followed_but_not_in_circles() -> None:
    camera = DigestCamera({HIK: saying(status=302, Location="/new"), "/new": picture})
    async with serving(camera):
        assert await snapshots(camera).take() == JPEG
        camera.pages["/new"] = saying(status=302, Location=HIK)
        with pytest.raises(DeviceRefused, match="circle"):
            await snapshots(camera).take()


@pytest.mark.parametrize(
    ("page", "text"),
    [
        (saying(b"<html>Error: no channel</html>"), "no JPEG"),
        (saying(b""), "no JPEG"),
        (saying(status=500), "HTTP 500"),
        (saying(status=403), "HTTP 403"),
        (saying(JPEG + bytes(subject.MAX_PICTURE_BYTES)), "over"),
    ],
)
async def test_what_is_no_picture(page: Callable[[web.Request], Awaitable[web.Response]], text: str) -> None:
    camera = DigestCamera({HIK: page})
    async with serving(camera):
        with pytest.raises(DeviceRefused, match=text):
            await snapshots(camera).take()


async def test_a_camera_that_is_away() -> None:
    with pytest.raises(DeviceSilent):
        await snapshots(DigestCamera({}, port=1)).take()


async def test_a_camera_that_does_not_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "WITHIN_S", 0.2)

    async def half(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.content_length = len(JPEG)
        await response.prepare(request)
        await response.write(JPEG[:100])
        await asyncio.Event().wait()
        return response

    camera = DigestCamera({HIK: half})
    async with serving(camera):
        with pytest.raises(DeviceSilent, match="in time"):
            await snapshots(camera).take()


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\x00\xff" * 100,
        b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\n" + b"a" * 99_999,
    ],
)
async def test_a_camera_that_speaks_no_http(answer: bytes) -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(speak, "127.0.0.1", 0)
    async with server:
        camera = DigestCamera({}, port=server.sockets[0].getsockname()[1])
        with pytest.raises(DeviceSilent) as caught:
            await snapshots(camera).take()
    assert "\x00" not in str(caught.value)

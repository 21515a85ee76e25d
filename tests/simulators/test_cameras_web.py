"""The web server of a simulated camera: pictures, streams, records, digest and lock-out."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from drivers.anpr import dahua, hikvision
from drivers.anpr.capture import CameraSettings, Report
from drivers.anpr.makers import parse
from drivers.anpr.multipart import boundary_of
from drivers.anpr.stream import PartStream
from simulators.cameras.camera import VirtualCamera
from simulators.cameras.model import CameraSetup
from tests.simulators.desk import EAST, NORTH, quick

SETTINGS = CameraSettings(EAST)
NOBODY = "http://127.0.0.1:9"
SNAPSHOTS = {
    "hikvision": "/ISAPI/Streaming/channels/1/picture",
    "dahua": "/cgi-bin/snapshot.cgi?channel=1",
    "vzenith": "/snap",
    "uniview": "/images/snapshot.jpg",
    "generic": "/snap.jpg",
    "onvif": "/onvif/snapshot",
}
READ = {"hikvision": hikvision.part, "dahua": dahua.part}
STREAMS = [
    ("hikvision", hikvision.ALERT_STREAM, ["captures", "pictures", "pictures"]),
    ("dahua", dahua.SNAP_MANAGER, ["captures", "pictures"]),
    ("dahua", dahua.EVENT_MANAGER, ["captures"]),
]


def silent(driver: str, **more: Any) -> CameraSetup:
    return quick(driver, mode=None, username="admin", password="hush-hush", **more)


@asynccontextmanager
async def client(password: str | None = "hush-hush") -> AsyncIterator[aiohttp.ClientSession]:
    digest = (aiohttp.DigestAuthMiddleware("admin", password),) if password is not None else ()
    async with aiohttp.ClientSession(middlewares=digest, timeout=aiohttp.ClientTimeout(10)) as session:
        yield session


async def status(session: aiohttp.ClientSession, camera: VirtualCamera, path: str) -> int:
    async with session.get(f"http://{camera.address}{path}") as response:
        await response.read()
        return response.status


class Follower:
    """Takes a stream apart as the gateway would."""

    def __init__(self, driver: str, response: aiohttp.ClientResponse) -> None:
        self.driver = driver
        self.reports: list[Report] = []
        self._body = response.content
        self._parts = PartStream(boundary_of(response.headers["Content-Type"]))

    async def until(self, count: int) -> list[str]:
        """Kinds of the first reports, when there are so many."""
        async with asyncio.timeout(10):
            while len(self.reports) < count:
                found = self._parts.feed(await self._body.readany())
                self.reports += [READ[self.driver](part, SETTINGS) for part in found]
                if self._body.at_eof():
                    raise EOFError
        return [report.kind for report in self.reports[:count]]


@pytest.mark.parametrize("driver", SNAPSHOTS)
async def test_pictures_are_fetched_with_digest(driver: str) -> None:
    async with VirtualCamera(silent(driver, snapshot="/own.jpg"), NOBODY) as camera, client() as session:
        shown = []
        for path in (SNAPSHOTS[driver], "/own.jpg"):
            async with session.get(f"http://{camera.address}{path}") as response:
                assert (response.status, response.content_type) == (200, "image/jpeg")
                shown.append(await response.read())
        assert min(map(len, shown)) > 10_000, "a place is drawn"
        assert shown[0] != shown[1]
        assert all(one.startswith(b"\xff\xd8\xff") and one.endswith(b"\xff\xd9") for one in shown)
        assert await status(session, camera, "/nothing") == 404
        assert camera.wrong_logins == []
        assert [one.status for one in camera.asked] == [401, 200, 200, 404]
        assert {one.remote for one in camera.asked} == {"127.0.0.1"}


async def test_a_picture_may_be_whatever_it_is_told_to_be() -> None:
    async with VirtualCamera(silent("dahua"), NOBODY) as camera, client() as session:
        camera.picture = b"Error\r\nBad Request!\r\n"
        async with session.get(f"http://{camera.address}/cgi-bin/snapshot.cgi") as response:
            assert (response.status, response.content_type) == (200, "text/plain")
            assert await response.read() == camera.picture


async def test_without_a_password_everybody_may() -> None:
    async with VirtualCamera(quick("generic", mode=None), NOBODY) as camera, client(None) as session:
        assert await status(session, camera, "/snap.jpg") == 200


@pytest.mark.parametrize(("driver", "refusal"), [("hikvision", 401), ("dahua", 403)])
async def test_five_wrong_logins_lock_an_address_out(driver: str, refusal: int) -> None:
    path = SNAPSHOTS[driver]
    async with VirtualCamera(silent(driver, lockout=0.3), NOBODY) as camera:
        for n in range(5):
            assert not camera.is_locked_out("127.0.0.1")
            async with client("guess") as session:
                assert await status(session, camera, path) == (refusal if n == 4 else 401)
        assert camera.wrong_logins == ["127.0.0.1"] * 5
        async with client() as session:
            assert await status(session, camera, path) == refusal
        assert camera.is_locked_out("127.0.0.1")
        async with asyncio.timeout(5):
            while camera.is_locked_out("127.0.0.1"):
                await asyncio.sleep(0.02)
        async with client() as session:
            assert await status(session, camera, path) == 200


async def test_another_address_is_not_locked_out() -> None:
    async with VirtualCamera(silent("hikvision"), NOBODY) as camera:
        for _ in range(5):
            async with client("guess") as session:
                await status(session, camera, SNAPSHOTS["hikvision"])
        other = aiohttp.TCPConnector(local_addr=("127.0.0.77", 0))
        digest = (aiohttp.DigestAuthMiddleware("admin", "hush-hush"),)
        async with aiohttp.ClientSession(connector=other, middlewares=digest) as session:
            assert await status(session, camera, SNAPSHOTS["hikvision"]) == 200


async def test_a_plain_password_is_a_wrong_login_and_an_old_nonce_is_none() -> None:
    async with VirtualCamera(silent("hikvision"), NOBODY) as camera, client(None) as session:
        url = f"http://{camera.address}{SNAPSHOTS['hikvision']}"
        async with session.get(url, headers={"Authorization": "Basic YWRtaW46aHVzaC1odXNo"}) as response:
            assert response.status == 401
        assert len(camera.wrong_logins) == 1
        old = 'Digest username="admin", realm="IP Camera", nonce="of yesterday", uri="/", response="0"'
        async with session.get(url, headers={"Authorization": old}) as response:
            assert response.status == 401
            assert "stale=true" in response.headers["WWW-Authenticate"]
        assert len(camera.wrong_logins) == 1


@pytest.mark.parametrize(("driver", "path", "kinds"), STREAMS, ids=["alertStream", "snapManager", "eventManager"])
async def test_streams_tell_cars_and_heart_beats(driver: str, path: str, kinds: list[str]) -> None:
    setup = quick(driver, mode="pull", username="admin", password="hush-hush", heartbeat=60.0)
    async with VirtualCamera(setup, NOBODY) as camera, client() as session:
        async with session.get(f"http://{camera.address}{path}") as response:
            assert response.status == 200
            follower = Follower(driver, response)
            await camera.until(lambda it: it.attached == 1)
            sights = [camera.see("沪A12345", direction="reverse"), camera.see("沪AD12345", colour="green")]
            assert await follower.until(2 * len(kinds)) == kinds * 2
        captures = [one for report in follower.reports for one in report.captures]
        assert [one.plate_raw for one in captures] == ["沪A12345", "沪AD12345"]
        assert [(one.colour, one.turn) for one in captures] == [("blue", "reverse"), ("green", "forward")]
        assert {picture.role for report in follower.reports for picture in report.pictures} == (
            {"plate", "scene"} if len(kinds) > 1 else set()
        )
        assert list(camera.sights) == sights
        assert camera.pending == []


@pytest.mark.parametrize(("driver", "path"), [("hikvision", hikvision.ALERT_STREAM), ("dahua", dahua.SNAP_MANAGER)])
async def test_a_stream_beats_while_nobody_passes_and_ends_with_the_cable(driver: str, path: str) -> None:
    setup = quick(driver, mode="pull", heartbeat=0.02)
    async with VirtualCamera(setup, NOBODY) as camera, client(None) as session:
        async with session.get(f"http://{camera.address}{path}") as response:
            follower = Follower(driver, response)
            assert await follower.until(3) == ["heartbeat"] * 3
            camera.offline()
            with pytest.raises((aiohttp.ClientError, ConnectionError, EOFError)):
                await follower.until(1000)
        with pytest.raises(aiohttp.ClientError):
            await status(session, camera, path)
        camera.see("沪A00001")
        camera.online()
        async with session.get(f"http://{camera.address}{path}") as response:
            again = Follower(driver, response)
            await camera.until(lambda it: it.attached == 1)
            camera.see("沪A00002")
            async with asyncio.timeout(10):
                while not any(report.captures for report in again.reports):
                    await again.until(len(again.reports) + 1)
        assert [one.plate_raw for report in again.reports for one in report.captures] == ["沪A00002"]


async def test_what_nobody_followed_can_be_asked_for() -> None:
    setup = quick("hikvision", mode="pull", username="admin", password="hush-hush")
    async with VirtualCamera(setup, NOBODY) as camera, client() as session:
        for n in range(3):
            camera.see(f"沪A0000{n}", at=1_795_305_600.0 + n)
        assert len(camera.pending) == 3
        url = f"http://{camera.address}{hikvision.PLATES.format(channel=1)}"
        async with session.post(url, data=hikvision.query("20261122T080000+0800")) as response:
            body = await response.read()
        captures = parse("hikvision", body, response.content_type, hikvision.PLATES, SETTINGS).captures

        assert [(one.plate_raw, one.history) for one in captures] == [("沪A00001", True), ("沪A00002", True)]
        assert [one.plate for one in camera.pending] == ["沪A00000"]


async def test_what_nobody_followed_at_a_maker_without_records_is_lost() -> None:
    async with VirtualCamera(quick("dahua", mode="pull"), NOBODY) as camera:
        sight = camera.see("沪A00001")
        assert (camera.lost, camera.pending) == ([sight], [])


async def test_a_camera_that_pushes_has_a_web_server_too() -> None:
    setup = quick("hikvision", username="admin", password="hush-hush", heartbeat=60.0)
    async with VirtualCamera(setup, NOBODY) as camera, client() as session:
        assert camera.address.startswith(f"{NORTH}:")
        assert await status(session, camera, SNAPSHOTS["hikvision"]) == 200

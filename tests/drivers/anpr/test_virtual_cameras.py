"""The listener and the puller against cameras that behave as their makers' do: retries, memories, locks, relays."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from drivers.anpr.camera_lookup import Camera
from drivers.anpr.capture import CameraSettings
from drivers.anpr.event_stream import Puller
from drivers.anpr.vzenith import RelayOpening
from drivers.pictures.account import REFUSALS, CameraSession, Login
from drivers.pictures.snapshot import Snapshots
from gateway.clock import Clock
from gateway.driver import Push
from gateway.errors import DeviceRefused
from simulators.cameras.camera import VirtualCamera
from simulators.cameras.model import CameraSetup
from tests.drivers.anpr.pushing import Taker, listening, until
from tests.secret_texts import SecretText

NORTH = "127.0.0.21"
EAST = 8 * 3600.0
PUSHERS = ["hikvision", "dahua", "vzenith", "uniview", "gat1400", "platerecognizer", "generic"]
CHANCE = random.Random(1)  # noqa: S311 - spreads reconnections


def setup(driver: str, **more: object) -> CameraSetup:
    chosen: dict[str, object] = {"address": NORTH, "retry": 0.02, "heartbeat": 0.05, "picture_bytes": 20_000, **more}
    return CameraSetup("c1", driver, **chosen)  # type: ignore[arg-type]


def mine(driver: str, **more: object) -> Camera:
    return Camera("c1", driver, NORTH, CameraSettings(EAST, "in"), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("driver", PUSHERS)
async def test_every_maker_is_content(driver: str) -> None:
    """Each car comes once, with its pictures, and the camera never decides alone."""
    take = Taker()
    async with (
        listening([mine(driver)], take) as listener,
        VirtualCamera(setup(driver, white_list=frozenset({"鄂A12345"})), f"http://127.0.0.1:{listener.port}") as car,
    ):
        answer = await car.sees("鄂A12345", confidence=93)
        await car.sees("鄂A54321")
        assert (answer.status, len(car.answers)) == (200, 2)
        if car.heartbeats:
            assert all(one.right for one in car.heartbeats)
        assert car.white_list_used == []
        assert listener.strangers == {}
        told = listener.snapshot()["c1"]
        assert (told["passages"], told["unreadable"], told["late_answers"]) == (2, 0, 0)
    assert take.plates == [car.raw("鄂A12345"), car.raw("鄂A54321")]
    assert {shown.role for one in take.pushes for shown in one.snapshots} <= {"plate", "scene"}
    assert all(one.snapshots for one in take.pushes)
    assert len({one.passage.key for one in take.pushes}) == 2


@pytest.mark.parametrize("driver", ["hikvision", "vzenith", "generic"])
async def test_what_it_kept_comes_as_history(driver: str) -> None:
    take = Taker()
    async with (
        listening([mine(driver)], take) as listener,
        VirtualCamera(setup(driver), f"http://127.0.0.1:{listener.port}") as car,
    ):
        car.offline()
        car.see("鄂A00001")
        car.see("鄂A00002")
        car.online()
        await car.until(lambda it: not it.pending)
        await car.sees("鄂A00003")
    assert [one.passage.history for one in take.pushes] == [True, True, False]
    assert [car.raw(f"鄂A0000{n}") for n in (1, 2, 3)] == take.plates


async def test_the_answer_moves_the_cameras_relay() -> None:
    async def verdict(push: Push) -> bool:
        return push.passage.plate_raw == "鄂A12345"

    take = Taker(verdict=verdict)
    async with (
        listening([mine("vzenith", opening=RelayOpening(1, 0.5))], take) as listener,
        VirtualCamera(setup("vzenith"), f"http://127.0.0.1:{listener.port}") as car,
    ):
        await car.sees("鄂A99999")
        await car.sees("鄂A12345")
        assert [(one.io, one.value, one.delay) for one in car.relay_orders] == [(1, 2, 0.5)]


@asynccontextmanager
async def pulled(car: VirtualCamera, password: str, take: Taker) -> AsyncIterator[Puller]:
    driver = car.setup.driver
    camera = Camera("c1", driver, car.address, CameraSettings(EAST, "in"))
    account = CameraSession(Login("c1", car.address, "admin", SecretText(password)))
    puller = Puller(camera, account, take, Clock(), rng=CHANCE)
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        task = group.create_task(puller.run(), name="pull")
        yield puller
        task.cancel()


@pytest.mark.parametrize("driver", ["hikvision", "dahua"])
async def test_a_stream_is_followed(driver: str) -> None:
    take = Taker()
    async with (
        VirtualCamera(setup(driver, mode="pull", username="admin", password="pw"), "") as car,
        pulled(car, "pw", take),
    ):
        await car.until(lambda it: it.attached > 0)
        car.see("鄂A12345")
        await until(lambda: take.pushes)
        assert car.wrong_logins == []
    assert take.plates == [car.raw("鄂A12345")]
    assert take.pushes[0].snapshots


async def test_what_was_missed_is_asked_for() -> None:
    take = Taker()
    async with (
        VirtualCamera(setup("hikvision", mode="pull", username="admin", password="pw"), "") as car,
        pulled(car, "pw", take),
    ):
        await car.until(lambda it: it.attached > 0)
        car.see("鄂A00001")
        await until(lambda: take.pushes)
        at = take.pushes[0].passage.seen or 0.0
        car.offline()
        car.see("鄂A00002", at=at + 5)
        car.online()
        await until(lambda: len(take.pushes) == 2, 10.0)
    assert take.plates == [car.raw("鄂A00001"), car.raw("鄂A00002")]
    assert take.pushes[1].passage.history


@pytest.mark.parametrize("driver", ["hikvision", "dahua"])
async def test_a_wrong_login_never_locks_the_camera(driver: str) -> None:
    take = Taker()
    async with (
        VirtualCamera(setup(driver, mode="pull", username="admin", password="pw"), "") as car,
        pulled(car, "wrong", take) as puller,
    ):
        await until(lambda: puller.snapshot()["c1"]["locked"], 10.0)
        assert len(car.wrong_logins) == REFUSALS
        assert not car.is_locked_out("127.0.0.1")


@pytest.mark.parametrize("driver", ["hikvision", "dahua", "uniview", "onvif"])
async def test_it_shows_its_picture(driver: str) -> None:
    async with VirtualCamera(setup(driver, mode=None, username="admin", password="pw"), "") as car:
        account = CameraSession(Login("c1", car.address, "admin", SecretText("pw")))
        assert (await Snapshots("c1", driver, account).take()).startswith(b"\xff\xd8\xff")
        assert car.wrong_logins == []
        stranger = CameraSession(Login("c1", car.address, "admin", SecretText("wrong")))
        with pytest.raises(DeviceRefused):
            await Snapshots("c1", driver, stranger).take()

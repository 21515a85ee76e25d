"""The whole way of a passage: from a camera's socket to what the site is given, and its pictures to the journal."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from gateway.clock import Clock
from gateway.errors import ConfigError
from gateway.intake.cameras import Gatehouse
from gateway.model import Input, KeepPictures, Operate, Outcome, Passage
from gateway.settings.types import CameraUse
from simulators.cameras.camera import VirtualCamera
from simulators.cameras.model import CameraSetup
from tests.secret_texts import SecretText

NORTH = "127.0.0.31"


@dataclass
class Site:
    """Takes passages, keeps all plates' pictures, and opens for one plate by the camera's relay."""

    passages: list[Passage] = field(default_factory=list)
    pictures: list[tuple[Any, ...]] = field(default_factory=list)
    told: list[Input] = field(default_factory=list)
    house: Gatehouse | None = None

    async def hand_in(self, passage: Passage) -> None:
        assert self.house is not None
        self.passages.append(passage)
        kept = tuple(one.id for one in passage.pictures if one.role == "plate")
        dropped = tuple(one.id for one in passage.pictures if one.role != "plate")
        self.house.entrance.keep(KeepPictures(passage.key, passage.camera, kept, passage.at, dropped))
        if passage.plate_raw == "鄂A12345":
            self.house.relays.operate(Operate("o1", passage.camera, "io0", 0.5, passage.at.mono + 5))

    def remind(self, item: Input) -> None:
        self.told.append(item)

    def picture(self, *picture: Any) -> None:
        self.pictures.append(picture)


@asynccontextmanager
async def running(*uses: CameraUse) -> AsyncIterator[tuple[Site, Gatehouse]]:
    site = Site()
    house = site.house = Gatehouse(
        uses, inbox=site, store=site, clock=Clock(),
        listen=("127.0.0.1", 0),
    )  # fmt: skip
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        task = group.create_task(house.run(), name="gatehouse")
        if house.listener is not None:
            await house.listener.listening.wait()
        yield site, house
        task.cancel()


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0.005)


async def test_a_push_goes_all_the_way() -> None:
    use = CameraUse("c1", "vzenith", NORTH, "push", "in", utc_offset=28800.0, token=SecretText("t"), relay=(0, 0.5))
    async with running(use) as (site, house):
        assert house.listener is not None
        setup = CameraSetup("c1", "vzenith", NORTH, token="t", heartbeat=0.05)
        async with VirtualCamera(setup, f"http://127.0.0.1:{house.listener.port}") as car:
            await car.sees("鄂A99999")
            await car.sees("鄂A12345")
            assert [(one.io, one.value, one.delay) for one in car.relay_orders] == [(0, 2, 0.5)]
        await until(lambda: len(site.pictures) == 2)
        health = house.health({})
    assert [one.plate_raw for one in site.passages] == ["鄂A99999", "鄂A12345"]
    assert [one.direction for one in site.passages] == ["in", "in"]
    camera, passage, kind, at, jpeg, id_ = site.pictures[1]
    assert (camera, passage, kind, at) == ("c1", site.passages[1].key, "plate", site.passages[1].at)
    assert jpeg.startswith(b"\xff\xd8\xff")
    assert id_ in [one.id for one in site.passages[1].pictures]
    assert [(one.order, one.ok) for one in site.told if isinstance(one, Outcome)] == [("o1", True)]
    assert health["cameras"]["c1"]["passages"] == 2  # type: ignore[index, call-overload]
    assert health["entrance"]["picture_bytes"] == 0  # type: ignore[index, call-overload]


async def test_a_camera_that_is_listened_to_and_one_that_only_looks_on() -> None:
    pulled = CameraSetup("c1", "hikvision", NORTH, mode="pull", username="admin", password="pw")
    looking = CameraSetup("yard", "onvif", "127.0.0.32", mode=None)
    async with VirtualCamera(pulled, "") as car, VirtualCamera(looking, "") as yard:
        uses = (
            CameraUse("c1", "hikvision", car.address, "pull", "out", username="admin", password=SecretText("pw")),
            CameraUse("yard", "onvif", yard.address),
        )
        async with running(*uses) as (site, house):
            assert house.listener is None
            await car.until(lambda it: it.attached > 0)
            car.see("鄂A12345")
            await until(lambda: site.pictures)
            id_ = await house.entrance.fetch("yard")
            assert site.pictures[-1][0] == "yard"
            assert site.pictures[-1][5] == id_
            with pytest.raises(ConfigError):
                await house.entrance.fetch("nowhere")
        assert car.wrong_logins == []


def test_a_camera_that_cannot_be_used_so_is_refused() -> None:
    site = Site()
    for use in (
        CameraUse("c1", "onvif", NORTH, "push"),
        CameraUse("c1", "vzenith", NORTH, "pull"),
        CameraUse("c1", "generic", NORTH, snapshot="http://192.0.2.1/x"),
    ):
        with pytest.raises(ConfigError):
            Gatehouse(
                [use], inbox=site, store=site, clock=Clock(),
                listen=("127.0.0.1", 0),
            )  # fmt: skip

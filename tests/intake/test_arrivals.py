import asyncio
import contextlib
import io
import logging
import random
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import structlog

from drivers.anpr.event_stream import Puller
from drivers.pictures.account import CameraSession, Login
from gateway.clock import Clock
from gateway.driver import CapturedPicture, Push
from gateway.errors import ConfigError, DeviceSilent, GatewayError, NotDone
from gateway.intake import arrivals as cameras
from gateway.intake.arrivals import PASSAGES, PICTURES_BYTES, Entrance
from gateway.log import configure
from gateway.model import Input, Instant, KeepPictures, Passage, Perform
from tests.drivers.anpr.pushing import camera

AT = Instant(10.0, 1_795_000_000.0, True)


async def until(condition: Callable[[], object], timeout: float = 5.0) -> None:
    async with asyncio.timeout(timeout):
        while not condition():
            await asyncio.sleep(0.002)


def push(plate: str = "鄂A12345", *shots: bytes, camera: str = "c1") -> Push:
    roles = ("plate", "scene", "scene")
    shown = tuple(CapturedPicture(role, data) for role, data in zip(roles, shots, strict=False))  # type: ignore[arg-type]
    return Push(Passage(camera, plate, AT, ""), shown)


@dataclass
class Rooms:
    """What lies behind the entrance."""

    passages: list[Passage] = field(default_factory=list)
    stored: list[tuple[Any, ...]] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    """Nothing is accepted until it is set."""
    threads: set[int] = field(default_factory=set)

    async def hand_in(self, passage: Passage) -> None:
        self.passages.append(passage)
        await self.gate.wait()

    def remind(self, item: Input) -> None:
        raise AssertionError(item)

    def picture(self, *picture: Any) -> None:
        self.stored.append(picture)

    def shrink(self, data: bytes) -> bytes:
        self.threads.add(threading.get_ident())
        if data == b"bad":
            raise GatewayError("no picture")
        return b"small " + data

    async def photograph(self, camera: str) -> bytes:
        if camera == "away":
            raise DeviceSilent("away")
        return b"bad" if camera == "odd" else b"now"


@asynccontextmanager
async def open_entrance(*, accepting: bool = True) -> AsyncIterator[tuple[Entrance, Rooms]]:
    rooms = Rooms()
    if accepting:
        rooms.gate.set()
    entrance = Entrance(rooms, rooms, rooms.shrink, Clock(), cameras=rooms)
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        task = group.create_task(entrance.run(), name="cameras")
        await asyncio.sleep(0)
        yield entrance, rooms
        task.cancel()


def ids(passage: Passage) -> list[str]:
    return [one.id for one in passage.pictures]


async def test_a_push_returns_when_it_is_accepted() -> None:
    async with open_entrance(accepting=False) as (entrance, rooms):
        async with asyncio.TaskGroup() as group:
            task = group.create_task(entrance.take(push()), name="take")
            await until(lambda: rooms.passages)
            assert not task.done()
            rooms.gate.set()
        assert rooms.passages == [push().passage]


async def test_who_cannot_wait_longer_is_taken_all_the_same() -> None:
    async with open_entrance(accepting=False) as (entrance, rooms):
        for number in range(3):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0):
                    await entrance.take(push(f"鄂A1234{number}"))
        await until(lambda: len(rooms.passages) == 3)


async def test_what_comes_before_it_runs_is_not_lost() -> None:
    rooms = Rooms()
    rooms.gate.set()
    entrance = Entrance(rooms, rooms, rooms.shrink, Clock())
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        waiting = group.create_task(entrance.take(push()), name="take")
        await asyncio.sleep(0)
        task = group.create_task(entrance.run(), name="cameras")
        await waiting
        task.cancel()
    assert len(rooms.passages) == 1


async def test_the_order_is_kept() -> None:
    async with open_entrance() as (entrance, rooms), asyncio.TaskGroup() as group:
        for number in range(40):
            group.create_task(entrance.take(push(str(number))), name="take")
        await until(lambda: len(rooms.passages) == 40)
        assert [one.plate_raw for one in rooms.passages] == [str(number) for number in range(40)]


async def test_a_flood_is_bounded_and_counted() -> None:
    async with open_entrance(accepting=False) as (entrance, rooms):
        async with asyncio.TaskGroup() as group:
            for number in range(3 * PASSAGES):
                group.create_task(entrance.take(push(str(number), b"x")), name="take")
            await until(lambda: entrance.counts["passages"] == 3 * PASSAGES)
            assert len(rooms.passages) == PASSAGES
            assert entrance.snapshot()["waiting"] == 2 * PASSAGES
            assert entrance.counts["passages_shed"] == PASSAGES
            rooms.gate.set()
        seen = [int(one.plate_raw or "") for one in rooms.passages]
        assert seen == [*range(PASSAGES), *range(2 * PASSAGES, 3 * PASSAGES)]


async def test_a_flood_of_one_camera_costs_no_car_of_another() -> None:
    """Its passages are handed in at once, and are not shed, nor are its pictures."""
    async with open_entrance(accepting=False) as (entrance, rooms), asyncio.TaskGroup() as group:
        group.create_task(entrance.take(push("early", bytes(1 << 20), camera="c2")), name="take")
        for number in range(5 * PASSAGES):
            group.create_task(entrance.take(push(str(number), bytes(1 << 20))), name="take")
        await until(lambda: entrance.counts["passages"] == 5 * PASSAGES + 1)
        group.create_task(entrance.take(push("mine", b"x", camera="c2")), name="take")
        await until(lambda: rooms.passages[-1].plate_raw == "mine")
        assert entrance.counts["passages_shed"] == 3 * PASSAGES + 1
        early = next(one for one in rooms.passages if one.plate_raw == "early")
        entrance.keep(KeepPictures("p1", "c2", tuple(ids(early)), AT))
        await until(lambda: rooms.stored)
        assert rooms.stored[0][0] == "c2"
        rooms.gate.set()


async def test_pictures_get_ids_and_the_kept_ones_become_events() -> None:
    async with open_entrance() as (entrance, rooms):
        await entrance.take(push("鄂A12345", b"plate", b"scene"))
        (passage,) = rooms.passages
        first, second = passage.pictures
        assert (first.role, second.role) == ("plate", "scene")
        assert first.id != second.id
        assert first.id[14] == "7"
        entrance.keep(KeepPictures("p1", "c1", (first.id,), AT, (second.id,)))
        await until(lambda: rooms.stored)
        assert rooms.stored == [("c1", "p1", "plate", AT, b"small plate", first.id)]
        await until(lambda: not entrance.snapshot()["picture_bytes"])
        assert rooms.threads
        assert threading.get_ident() not in rooms.threads
        entrance.keep(KeepPictures("p1", "c1", (first.id, "unknown"), AT, (second.id,)))
        assert entrance.counts["pictures_shed"] == 2


async def test_pictures_without_a_verdict_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cameras, "UNDECIDED_S", 0.01)
    async with open_entrance() as (entrance, _):
        await entrance.take(push("鄂A12345", b"plate", b"scene"))
        assert entrance.snapshot()["picture_bytes"] == 10
        await until(lambda: entrance.snapshot()["picture_bytes"] == 0)


async def test_pictures_are_bounded_in_bytes_and_in_number() -> None:
    async with open_entrance(accepting=False) as (entrance, rooms), asyncio.TaskGroup() as group:
        for _ in range(20):
            group.create_task(entrance.take(push("a", bytes(2 << 20))), name="take")
        await until(lambda: len(rooms.passages) == 20)
        assert entrance.snapshot()["picture_bytes"] == PICTURES_BYTES
        assert entrance.counts["pictures_shed"] == 20 - PICTURES_BYTES // (2 << 20)
        for _ in range(2 * PASSAGES):
            group.create_task(entrance.take(push("b", b"x")), name="take")
        await until(lambda: entrance.counts["passages"] == 20 + 2 * PASSAGES)
        assert entrance.snapshot()["picture_bytes"] <= PASSAGES
        rooms.gate.set()


async def test_kept_pictures_are_bounded_too() -> None:
    hold = threading.Event()
    async with open_entrance() as (entrance, rooms):
        entrance._shrink = lambda data: (hold.wait(5) and data) or b""  # noqa: SLF001 - a disk that stands still
        try:
            for number in range(20):
                await entrance.take(push("a", bytes(2 << 20)))
                entrance.keep(KeepPictures(str(number), "c1", tuple(ids(rooms.passages[-1])), AT))
            assert entrance.snapshot()["picture_bytes"] <= PICTURES_BYTES
            assert entrance.counts["pictures_shed"] >= 7
        finally:
            hold.set()
        await until(lambda: entrance.snapshot()["picture_bytes"] == 0)
        assert rooms.stored[-1][1] == "19"


async def test_a_picture_that_is_none_costs_no_other() -> None:
    async with open_entrance() as (entrance, rooms):
        await entrance.take(push("a", b"bad", b"good"))
        entrance.keep(KeepPictures("p", "c1", tuple(ids(rooms.passages[0])), AT))
        await until(lambda: rooms.stored)
        assert [one[4] for one in rooms.stored] == [b"small good"]
        assert entrance.counts["pictures_unusable"] == 1


async def test_a_picture_that_is_asked_for() -> None:
    async with open_entrance() as (entrance, rooms):
        result = await entrance.picture(Perform("o1", "picture", {"camera": "yard"}, "me"))
        ((camera, passage, kind, at, jpeg, id_),) = rooms.stored
        assert result == {"picture": id_}
        assert (camera, passage, kind, jpeg) == ("yard", None, "scene", b"small now")
        assert abs(at.wall - Clock().now().wall) < 60
        with pytest.raises(DeviceSilent):
            await entrance.fetch("away")
        with pytest.raises(NotDone) as caught:
            await entrance.fetch("odd")
        assert caught.value.code == "refused-by-device"


async def test_where_no_camera_photographs() -> None:
    rooms = Rooms()
    with pytest.raises(ConfigError):
        await Entrance(rooms, rooms, rooms.shrink, Clock()).fetch("c1")


async def test_a_bug_behind_it_passes_through() -> None:
    class Broken(Rooms):
        async def hand_in(self, passage: Passage) -> None:
            raise KeyError(f"a bug at {passage.camera}")

    rooms = Broken()
    entrance = Entrance(rooms, rooms, rooms.shrink, Clock())

    async def life() -> None:
        async with asyncio.timeout(5), asyncio.TaskGroup() as group:
            group.create_task(entrance.run(), name="cameras")
            group.create_task(entrance.take(push()), name="take")

    with pytest.raises(ExceptionGroup) as caught:
        await life()
    assert caught.group_contains(KeyError)


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """The log of this test alone, whatever another one has set up before it."""
    before, root = structlog.get_config(), logging.getLogger()
    handlers, level = [*root.handlers], root.level
    stream = io.StringIO()
    configure("info", stream)
    yield stream
    structlog.configure(**before)
    root.handlers[:] = handlers
    root.setLevel(level)


def test_a_camera_is_told_once_down_and_once_back(written: io.StringIO) -> None:
    rooms = Rooms()
    entrance = Entrance(rooms, rooms, rooms.shrink, Clock())
    entrance.tell("c1", True, "")
    entrance.tell("c1", False, "no answer")
    entrance.tell("c1", True, "")
    lines = written.getvalue().splitlines()
    assert [line for line in lines if "camera down" in line]
    assert len([line for line in lines if "camera back" in line]) == 1


class AtOnce(random.Random):
    """The shortest pause before each reconnection."""

    def random(self) -> float:
        return 0.0


async def test_a_camera_that_flaps_does_not_fill_the_log(written: io.StringIO) -> None:
    """A camera that is listened to and closes its stream behind each part: two lines a reconnection, for ever."""
    opened = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal opened
        opened += 1
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n{}\r\n--b")
            await writer.drain()
        writer.close()

    rooms = Rooms()
    entrance = Entrance(rooms, rooms, rooms.shrink, Clock())
    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        puller = Puller(
            camera("hikvision", address=address), CameraSession(Login("c1", address)), entrance, Clock(),
            rng=AtOnce(),
        )  # fmt: skip
        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            task = group.create_task(puller.run(), name="pull")
            while opened < 25:
                await asyncio.sleep(0.05)
            task.cancel()
    lines = written.getvalue().splitlines()
    assert 8 <= len([line for line in lines if "camera down" in line]) <= 12
    assert 8 <= len([line for line in lines if "camera back" in line]) <= 12


async def test_a_look_is_judged_in_the_same_thread_after_all_plates() -> None:
    async with open_entrance() as (entrance, rooms):
        for number in range(3):
            await entrance.take(push(f"鄂A1234{number}", b"plate"))
        for passage in rooms.passages:
            entrance.keep(KeepPictures(passage.plate_raw or "", passage.camera, tuple(ids(passage)), AT))
        stored, thread = await entrance.think(lambda: (len(rooms.stored), threading.get_ident()))
        assert (stored, {thread}) == (3, rooms.threads)


async def test_two_cameras_are_looked_at_at_a_time() -> None:
    async with open_entrance() as (entrance, _):
        assert await entrance.look("yard") == b"now"
        with pytest.raises(DeviceSilent):
            await entrance.look("away")

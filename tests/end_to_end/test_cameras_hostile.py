"""The camera network against the real daemon: who is no camera, who knocks without end, and kills in between."""

import asyncio
import json
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from tests.drivers.anpr.pushing import connected, request
from tests.end_to_end.camera_site import LISTED, UNLISTED, CameraSite, camera_site, site_text
from tests.end_to_end.process import running

CAMERAS = {"north": "driver: generic, token: {file: camera.token}", "south": "driver: vzenith", "east": "driver: dahua"}
STRANGER = "127.0.0.99"
CAR = {"plate": LISTED, "confidence": 99}


def car(id_: str, plate: str = LISTED, **more: Any) -> bytes:
    return json.dumps({"plate": plate, "confidence": 99, "id": id_, **more}).encode()


async def test_a_kill_at_any_moment_moves_nothing_twice(tmp_path: Path) -> None:
    async with camera_site(tmp_path, site_text(CAMERAS, "dedup: 1ms")) as site:
        it = site.it
        async with running(it.site) as gateway:
            await site.ready()
            assert await site.raw("north", car("1")) == 200
            await it.until(lambda: site.moved("north")[:1] == [True])
            await gateway.kill()
        async with running(it.site) as gateway:
            await site.until_moved("north")
            await site.until_listening()
            assert await site.raw("north", car("1")) == 200, "the same push, as a camera sends it again"
            assert await site.raw("north", car("2", UNLISTED)) == 200
            heard = await site.passages(2)
            assert [(one["plate"], one["decision"]) for one in heard] == [(LISTED, "opened"), (UNLISTED, "denied")]
            await gateway.kill()
        async with running(it.site):
            await site.until_listening()
            assert await site.raw("north", car("1")) == await site.raw("north", car("2", UNLISTED)) == 200
            assert await site.raw("north", car("3")) == 200
            await site.until_moved("north", 2)
            heard = await site.passages(3)
            assert [one["plate"] for one in heard] == [LISTED, UNLISTED, LISTED]
        assert it.cloud.gaps().get((it.cloud.of("access")[0]["journal"], "access"), []) == []


async def test_who_is_no_camera_opens_nothing(tmp_path: Path) -> None:
    async with camera_site(tmp_path, site_text(CAMERAS)) as site:
        it = site.it
        token = site.camera("north").setup.token
        async with running(it.site):
            await site.ready()
            good = f"/cameras/north?token={token}"
            for path, source, status in (
                (good, STRANGER, 403),
                (good, site.camera("south").setup.address, 403),
                ("/cameras/north", None, 401),
                ("/cameras/north?token=", None, 401),
                (f"/cameras/north?token={str(token)[:-1]}", None, 401),
                (f"/cameras/north?token={token}x", None, 401),
                ("/cameras/south", None, 403),
                ("/cameras/nothing", None, 404),
                ("/NotificationInfo/TollgateInfo", None, 404),
                ("/NotificationInfo/TollgateInfo", STRANGER, 403),
                ("/metrics", None, 404),
                ("/cameras/../cameras/east", None, 404),
            ):
                more = {} if source is None else {"source": source}
                assert await site.raw("north", car("1"), path, **more) == status, (path, source)
            assert await site.raw("north", car("1"), good, method="DELETE") == 405
            claims = "X-Forwarded-For: {0}\r\nX-Real-IP: {0}\r\nForwarded: for={0}\r\n".format(
                site.camera("north").setup.address
            )
            assert await site.raw("north", car("1"), good, source=STRANGER, extra=claims) == 403
            assert await site.raw("north", car("1"), good) == 200
            await site.until_moved("north")
            health = await it.asked("status")
            assert health["cameras"]["north"]["refused_token"] == 4, health["cameras"]
        assert len(await site.passages(1)) == 1
        assert it.written("relay", "do1") == it.written("relay", "do2") == []


async def test_two_thousand_who_say_nothing(tmp_path: Path) -> None:
    """From the address of a camera and from others: the next car is let in all the same."""
    text = site_text(CAMERAS, "dedup: 1ms")
    async with camera_site(tmp_path, text) as site, running(site.it.site), AsyncExitStack() as stack:
        await site.ready()
        own = site.camera("north").setup.address
        for number in range(2000):
            source = own if number % 2 else STRANGER
            line = await stack.enter_async_context(connected(site.port, source))
            if number % 3 == 0:
                line.writer.write(b"POST /cameras/north HTTP/1.1\r\nHost: g\r\nContent-Le")
        begun = time.monotonic()
        assert await site.raw("north", car("1")) == 200
        await site.it.until(lambda: site.moved("north")[:1] == [True])
        assert time.monotonic() - begun < 1.0
        await slow_bodies_from_a_camera_hold_up_no_other(site, stack)


async def slow_bodies_from_a_camera_hold_up_no_other(site: CameraSite, stack: AsyncExitStack) -> None:
    """One camera promises as much as it may, twenty times, and sends nothing of it."""
    south = site.camera("south").setup.address
    head = request("/cameras/south", b"{").replace(b"Content-Length: 1", b"Content-Length: 4194304")
    for _ in range(20):
        line = await stack.enter_async_context(connected(site.port, south))
        line.writer.write(head)
        await line.writer.drain()
    begun = time.monotonic()
    assert await site.raw("east", b"{}", "/NotificationInfo/KeepAlive") == 200
    assert await site.raw("north", car("2", UNLISTED)) == 200
    assert time.monotonic() - begun < 1.0


async def test_a_flood_of_one_camera_leaves_the_others_their_turn(tmp_path: Path) -> None:
    """Eight connections that push as fast as they are answered; the car at another gate is let in meanwhile."""
    async with camera_site(tmp_path, site_text(CAMERAS, "dedup: 1ms")) as site:
        async with running(site.it.site):
            await site.ready()
            sent = 0

            async def flood(number: int) -> None:
                nonlocal sent
                async with connected(site.port, site.camera("south").setup.address) as line:
                    while True:
                        result = {"license": f"沪D{sent % 100_000:05d}", "plateid": sent, "confidence": 99}
                        body = json.dumps({"AlarmInfoPlate": {"result": {"PlateResult": result}}}).encode()
                        line.writer.write(request("/cameras/south", body, "application/json"))
                        assert (await line.answer()).status == 200, number
                        sent += 1

            async with asyncio.TaskGroup() as group:
                flooding = [group.create_task(flood(number), name=f"flood {number}") for number in range(8)]
                await site.it.until(lambda: sent > 200)
                begun = time.monotonic()
                assert await site.raw("north", car("1")) == 200
                await site.it.until(lambda: site.moved("north")[:1] == [True])
                took = time.monotonic() - begun
                for task in flooding:
                    task.cancel()
            assert took < 2.0, took
        assert site.moved("south") == []

"""How simulated cameras behave towards whoever they push to: retries, memory, white list, heart-beats."""

import asyncio
import json

import pytest
from aiohttp import web

from drivers.anpr import vzenith
from drivers.anpr.capture import CameraSettings
from drivers.anpr.makers import parse
from simulators.cameras.camera import VirtualCamera
from simulators.cameras.logins import Logins
from simulators.cameras.makers import MAKERS
from simulators.cameras.model import OpenedItself, PushAnswer, RelayOrder
from tests.simulators.desk import EAST, NORTH, SOUTH, Desk, How, quick

PUSHERS = ["hikvision", "dahua", "vzenith", "uniview", "gat1400", "platerecognizer", "generic"]
MARKED = ["generic", "hikvision", "vzenith"]


def _tries(camera: VirtualCamera) -> int:
    return len(camera.answers)


async def _registered(camera: VirtualCamera) -> None:
    if camera.setup.driver == "gat1400":
        await camera.until(lambda it: any(one.post.what == "heartbeat" and one.right for one in it.heartbeats))


@pytest.mark.parametrize("driver", PUSHERS)
async def test_a_taken_plate_is_sent_once(driver: str) -> None:
    async with Desk(driver) as desk, VirtualCamera(quick(driver), desk.url) as camera:
        answer = await camera.sees("沪A12345", confidence=93, colour="yellow", direction="reverse")
        await camera.sees("沪A00002")

        assert (answer.status, answer.right, answer.post.history) == (200, True, False)
        assert 0 < answer.seconds < 2
        assert desk.plates(camera) == [camera.raw("沪A12345"), camera.raw("沪A00002")]
        assert camera.pending == []
        assert camera.white_list_used == []
        assert {one.remote for one in desk.heard} == {NORTH}


@pytest.mark.parametrize("how", ["wrong", "error"])
@pytest.mark.parametrize("driver", PUSHERS)
async def test_it_sends_until_the_right_answer_and_no_longer(driver: str, how: How) -> None:
    async with Desk(driver) as desk, VirtualCamera(quick(driver, retries=1000), desk.url) as camera:
        await _registered(camera)
        desk.now(how)
        camera.see("沪A12345")
        await camera.until(lambda it: _tries(it) >= 3)
        assert [one.plate for one in camera.pending] == ["沪A12345"]
        desk.now("right")
        await camera.until(lambda it: not it.pending)
        sent = len(desk.of(camera))
        await camera.sees("沪A00002")

        assert desk.plates(camera)[sent:] == [camera.raw("沪A00002")]
        assert [one.right for one in camera.answers][-3:] == [False, True, True]
        assert {one.status for one in camera.answers if not one.right} <= {200, 400, 500}
        assert len({one.capture.key for one in desk.of(camera)}) == 2


async def test_a_slow_answer_is_none_and_the_camera_opens_by_its_own_list() -> None:
    setup = quick("vzenith", timeout=0.05, white_list=frozenset({"沪A12345"}), heartbeat=60.0)
    async with Desk("vzenith", "slow") as desk, VirtualCamera(setup, desk.url) as camera:
        listed = camera.see("沪A12345")
        camera.see("沪A99999")
        await camera.until(lambda it: bool(it.white_list_used))

        (opened,) = camera.white_list_used
        assert opened == OpenedItself(listed, opened.after)
        assert 0.05 <= opened.after < 2
        assert camera.answers[0].status is None
        assert camera.answers[0].error == "no answer in time"
        desk.now("right")
        await camera.until(lambda it: not it.pending)
        assert [one.sight for one in camera.white_list_used] == [listed]


async def test_it_is_known_later_that_the_camera_opened_by_itself() -> None:
    told: list[tuple[int, int]] = []

    async def listen(request: web.BaseRequest) -> web.Response:
        said = json.loads(await request.read()) if request.content_type == "application/json" else {}
        if said:
            result = said["AlarmInfoPlate"]["result"]["PlateResult"]
            told.append((result["isoffline"], result["gioouts"][0]["ctrltype"]))
        return web.json_response({"Response_AlarmInfoPlate": {"ContinuePushOffline": {"plateid": 1, "continue": 1}}})

    setup = quick("vzenith", white_list=frozenset({"沪A12345"}))
    server = web.Server(listen, access_log=None)
    port = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    async with VirtualCamera(setup, f"http://127.0.0.1:{port.sockets[0].getsockname()[1]}") as camera:
        camera.offline()
        camera.see("沪A12345")
        assert [one.sight.plate for one in camera.white_list_used] == ["沪A12345"]
        camera.online()
        await camera.until(lambda it: not it.pending)
    port.close()
    await server.shutdown(0.01)

    assert told == [(1, 2)]


@pytest.mark.parametrize("driver", PUSHERS)
async def test_what_was_seen_while_nobody_was_there_follows_in_order(driver: str) -> None:
    async with Desk(driver) as desk, VirtualCamera(quick(driver, retries=1), desk.url) as camera:
        await camera.sees("沪A00000")
        await desk.close()
        for n in range(1, 5):
            camera.see(f"沪A0000{n}")
        if driver != "platerecognizer":
            await camera.until(lambda it: it.is_cut_off)
        assert len(camera.pending) == 4
        await desk.open()
        await camera.until(lambda it: not it.pending)
        await camera.sees("沪A00005")

        assert desk.plates(camera) == [camera.raw(f"沪A0000{n}") for n in range(6)]
        marks = [one.capture.history for one in desk.of(camera)]
        assert marks == [False, *[driver in MARKED] * 4, False]
        assert camera.lost == []


@pytest.mark.parametrize("driver", PUSHERS)
async def test_a_connection_that_ends_is_no_answer(driver: str) -> None:
    async with Desk(driver) as desk, VirtualCamera(quick(driver), desk.url) as camera:
        await _registered(camera)
        desk.now("cut")
        camera.see("沪A12345")
        await camera.until(lambda it: _tries(it) >= 1)
        desk.now("right")
        await camera.until(lambda it: not it.pending)

        assert camera.answers[0].status is None
        assert set(desk.plates(camera)) == {camera.raw("沪A12345")}
        assert sum(one.right for one in camera.answers) == 1


@pytest.mark.parametrize("driver", PUSHERS)
async def test_an_unplugged_camera_sends_nothing_and_forgets_nothing(driver: str) -> None:
    async with Desk(driver) as desk, VirtualCamera(quick(driver), desk.url) as camera:
        await camera.sees("沪A00000")
        camera.offline()
        heard = len(desk.heard)
        for n in range(1, 4):
            camera.see(f"沪A0000{n}")
        assert [one.plate for one in camera.pending] == ["沪A00001", "沪A00002", "沪A00003"]
        assert len(desk.heard) == heard
        camera.online()
        await camera.until(lambda it: not it.pending)

        assert desk.plates(camera) == [camera.raw(f"沪A0000{n}") for n in range(4)]
        assert [one.capture.history for one in desk.of(camera)] == [False, *[driver in MARKED] * 3]


async def test_the_plug_is_pulled_while_a_push_is_on_its_way() -> None:
    async with Desk("generic") as desk, VirtualCamera(quick("generic", timeout=60.0), desk.url) as camera:
        await camera.sees("沪A00000")
        desk.now("slow")
        camera.see("沪A00001")
        await desk.until(lambda it: len(it.of(camera)) == 2)
        camera.offline()
        await camera.until(lambda it: _tries(it) == 2)
        assert [one.plate for one in camera.pending] == ["沪A00001"]
        desk.now("right")
        camera.online()
        await camera.until(lambda it: not it.pending)

        assert [one.capture.history for one in desk.of(camera)][-1]
        assert desk.of(camera)[-1].capture.key == desk.of(camera)[-2].capture.key


async def test_the_memory_has_an_end_and_some_have_none() -> None:
    async with Desk("vzenith") as desk:
        async with VirtualCamera(quick("vzenith", memory=3), desk.url) as camera:
            camera.offline()
            for n in range(5):
                camera.see(f"沪A0000{n}")
            assert [one.plate for one in camera.lost] == ["沪A00000", "沪A00001"]
            camera.online()
            await camera.until(lambda it: not it.pending)
            assert desk.plates(camera) == ["沪A00002", "沪A00003", "沪A00004"]
        desk.now("error")
        forgetful = quick("hikvision", SOUTH, forgets=True, retries=0)
        desk.driver = "hikvision"
        async with VirtualCamera(forgetful, desk.url) as camera:
            camera.see("沪A12345")
            await camera.until(lambda it: bool(it.lost))
            desk.now("right")
            await camera.sees("沪A00002")
            assert desk.plates(camera) == ["沪A12345", "沪A00002"]


async def test_after_its_retries_it_keeps_what_nobody_took_and_marks_it() -> None:
    setup = quick("hikvision", retries=2, heartbeat=60.0)
    async with Desk("hikvision", "error") as desk, VirtualCamera(setup, desk.url) as camera:
        camera.see("沪A12345")
        await camera.until(lambda it: _tries(it) >= 4)
        desk.now("right")
        await camera.until(lambda it: not it.pending)

        assert [one.capture.history for one in desk.of(camera)][:4] == [False, False, False, True]


async def test_vzenith_goes_on_only_when_the_record_is_named() -> None:
    async with Desk("vzenith") as desk, VirtualCamera(quick("vzenith"), desk.url) as camera:
        camera.offline()
        records = [camera.see(f"沪A0000{n}") for n in range(3)]
        desk.now("wrong")
        camera.online()
        await camera.until(lambda it: _tries(it) >= 3)
        assert {one.capture.plate_raw for one in desk.of(camera)} == {"沪A00000"}
        desk.now("right")
        await camera.until(lambda it: not it.pending)

        taken = [one for one in camera.answers if one.right]
        assert [one.post.sight for one in taken] == records
        for answer, record in zip(taken, records, strict=True):
            said = json.loads(answer.body)["Response_AlarmInfoPlate"]
            assert said["ContinuePushOffline"] == {"plateid": record.number, "continue": 1}


async def test_a_live_car_breaks_into_the_replay_and_a_record_comes_twice() -> None:
    async with Desk("vzenith") as desk, VirtualCamera(quick("vzenith", timeout=60.0), desk.url) as camera:
        await camera.until(lambda it: bool(it.heartbeats))
        camera.offline()
        for n in range(3):
            camera.see(f"沪A0000{n}")
        camera.online()
        await camera.until(lambda it: it.heartbeats[-1].right and not it.is_cut_off)
        desk.now("slow")
        await desk.until(lambda it: bool(it.of(camera)))
        camera.see("沪A99999")
        desk.now("right")
        await camera.until(lambda it: not it.pending)

        first = desk.of(camera)[0].capture.plate_raw
        assert desk.plates(camera)[:3] == [first, "沪A99999", first]
        assert sorted({plate or "" for plate in desk.plates(camera)}) == [
            "沪A00000",
            "沪A00001",
            "沪A00002",
            "沪A99999",
        ]


async def test_a_gat1400_camera_registers_before_it_tells_anything() -> None:
    setup = quick("gat1400")
    async with Desk("gat1400", "error") as desk, VirtualCamera(setup, desk.url) as camera:
        camera.see("沪A12345")
        await camera.until(lambda it: len(it.heartbeats) >= 2)
        assert {one.path for one in desk.heard} == {"/VIID/System/Register"}
        desk.now("right")
        await camera.until(lambda it: not it.pending)
        assert len(desk.of(camera)) == 1
        desk.now("wrong")
        before = len(desk.heard)
        await camera.until(lambda it: _misses(it) >= 4)
        assert "/VIID/System/Register" in [one.path for one in desk.heard[before:]]


def _misses(camera: VirtualCamera) -> int:
    return next((n for n, one in enumerate(reversed(camera.heartbeats)) if one.right), len(camera.heartbeats))


async def test_whoever_asks_for_digest_gets_it() -> None:
    login = Logins("sip", "hush", wrong=5, lockout=60.0)
    setup = quick("dahua", username="sip", password="hush")
    async with Desk("dahua", logins=login) as desk, VirtualCamera(setup, desk.url) as camera:
        await camera.sees("沪A12345")
        assert desk.plates(camera) == ["沪A12345"]
    wrong = quick("dahua", username="sip", password="guess")
    async with Desk("dahua", logins=login) as desk, VirtualCamera(wrong, desk.url) as camera:
        camera.see("沪A12345")
        await camera.until(lambda it: bool(it.answers))
        assert camera.answers[0].status == 401
        assert desk.heard == []


async def test_the_url_is_the_makers_own_or_carries_the_token() -> None:
    seen: dict[tuple[str, bool], str] = {}
    for driver in ("hikvision", "dahua", "uniview"):
        for token in (None, "a&b=c"):
            async with Desk(driver) as desk, VirtualCamera(quick(driver, token=token), desk.url) as camera:
                await camera.sees("沪A12345")
                seen[driver, token is not None] = desk.of(camera)[0].path
    tail = "?token=a%26b%3Dc"
    structure = "/LAPI/V1.0/System/Event/Notification/Structure"
    assert seen == {
        ("hikvision", False): "/cameras/lpr",
        ("hikvision", True): f"/cameras/lpr{tail}",
        ("dahua", False): "/NotificationInfo/TollgateInfo",
        ("dahua", True): f"/cameras/lpr/NotificationInfo/TollgateInfo{tail}",
        ("uniview", False): structure,
        ("uniview", True): f"/cameras/lpr{structure}{tail}",
    }


async def test_an_answer_moves_the_cameras_own_relay() -> None:
    async def open_it(request: web.BaseRequest) -> web.Response:
        kind = request.headers["Content-Type"]
        report = parse("vzenith", await request.read(), kind, request.path, CameraSettings(EAST))
        reply = vzenith.reply(report.record, vzenith.RelayOpening(1, 0.8))
        return web.Response(body=reply.body, content_type=reply.content_type)

    server = web.Server(open_it, access_log=None)
    port = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{port.sockets[0].getsockname()[1]}"
    async with VirtualCamera(quick("vzenith", heartbeat=60.0), url) as camera:
        answer = await camera.sees("沪A12345")
    port.close()
    await server.shutdown(0.01)

    assert camera.relay_orders == [RelayOrder(1, 2, 0.8)]
    maker = MAKERS["vzenith"](camera.setup)
    for body, orders in (
        (b'{"Response_AlarmInfoPlate": {"info": "ok"}}', [RelayOrder(0, 2, 0.5)]),
        (b'{"Response_AlarmInfoPlate": {"ivs_ioctrl": [{"io": 1, "value": 0}]}}', [RelayOrder(1, 0, 0.5)]),
        (b'{"status": "ok"}', []),
        (b"none", []),
    ):
        told = PushAnswer(answer.post, 200, body, 0.1, right=True)
        assert list(maker.orders(told)) == orders


async def test_cameras_do_not_disturb_each_other() -> None:
    async with (
        Desk("vzenith", "slow") as stuck,
        Desk("vzenith") as desk,
        VirtualCamera(quick("vzenith", timeout=60.0), stuck.url) as slow,
        VirtualCamera(quick("vzenith", SOUTH), desk.url) as other,
    ):
        slow.see("沪A11111")
        for n in range(10, 30):
            answer = await other.sees(f"沪B000{n}")
            assert answer.seconds < 1
        assert [one.plate for one in slow.pending] == ["沪A11111"]
        assert list(slow.answers) == []
        assert {one.remote for one in desk.heard} == {SOUTH}
        assert {one.remote for one in stuck.heard} == {NORTH}


async def test_its_end_does_not_wait_for_anybody() -> None:
    loop = asyncio.get_running_loop()
    async with Desk("generic", "slow") as desk:
        async with VirtualCamera(quick("generic", timeout=60.0), desk.url) as camera:
            camera.see("沪A12345")
            await desk.until(lambda it: bool(it.of(camera)))
            begin = loop.time()
        assert loop.time() - begin < 1


async def test_an_error_in_a_test_stays_itself() -> None:
    with pytest.raises(ValueError, match="mine"):
        async with VirtualCamera(quick("generic"), "http://127.0.0.1:9"):
            raise ValueError("mine")

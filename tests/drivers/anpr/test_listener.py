"""Every maker's push on a real socket: what is understood, what is handed over, what the camera hears, and when."""

import asyncio
import json

import pytest

from drivers.anpr import vzenith
from drivers.anpr.camera_lookup import Camera
from drivers.anpr.listener import ANSWER_WITHIN_S, PushListener
from drivers.anpr.vzenith import RelayOpening
from gateway.clock import Clock
from gateway.driver import Push
from gateway.errors import ConfigError
from tests.drivers.anpr.case import CASES, Case, all_cases
from tests.drivers.anpr.pushing import ELSEWHERE, HERE, Taker, camera, connected, listening, push, request, until
from tests.secret_texts import SecretText

PUSHED = [case for case in all_cases() if not case.stream]
PLATE = json.dumps({"plate": "鄂A12345", "confidence": 97, "id": "1"}).encode()
MACAU = (CASES / "vzenith-http-plate-macau.json").read_bytes()


def generic(**more: object) -> Camera:
    return camera("generic", **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("case", PUSHED, ids=lambda case: case.name)
async def test_every_sample_is_taken_and_answered_as_its_maker_wants(case: Case) -> None:
    take = Taker()
    mine = Camera("c1", case.driver, HERE, case.settings)
    rest = "" if case.path.startswith("/cameras/") else case.path
    async with listening([mine], take) as listener:
        said = await push(listener.port, "/cameras/c1" + rest, case.payload, case.content_type)
    (report,) = case.reports()
    assert (said.status, said.body) == (200, report.reply.body)
    assert said.headers["content-type"] == report.reply.content_type.lower()
    assert take.plates == [one.plate_raw for one in report.captures]
    assert [[shown.role for shown in one.snapshots] for one in take.pushes] == [
        [shown.role for shown in one.pictures] for one in report.captures
    ]
    assert all(one.passage.camera == "c1" and one.passage.pictures == () for one in take.pushes)


async def test_a_camera_without_a_path_of_its_own_is_known_by_its_address() -> None:
    take = Taker()
    body = (CASES / "dahua-itsapi-china.json").read_bytes()
    cameras = [
        camera("dahua", "d1", ELSEWHERE),
        camera("hikvision", "h1", ELSEWHERE),
        camera("dahua", "d2", "10.0.0.9"),
    ]
    async with listening(cameras, take) as listener:
        said = await push(listener.port, "/NotificationInfo/TollgateInfo", body, source=ELSEWHERE)
        assert json.loads(said.body)["Result"] is True
        assert (await push(listener.port, "/VIID/MotorVehicles", b"{}", source=ELSEWHERE)).status == 404
        assert (await push(listener.port, "/NotificationInfo/TollgateInfo", body)).status == 403
    assert [one.passage.camera for one in take.pushes] == ["d1"]


@pytest.mark.parametrize(
    ("driver", "path"),
    [
        ("dahua", "/cgi-bin/NotifyEvent"),
        ("dahua", "/EventHttpUpload/event"),
        ("dahua", "/PictureHttpUpload"),
        ("dahua", "//NotificationInfo/TollgateInfo"),
        ("vzenith", "/devicemanagement/php/plateresult.php"),
        ("vzenith", "/cgi-bin/plateresult.cgi"),
        ("gat1400", "/VIID/MotorVehicles"),
        ("uniview", "/LAPI/V1.0/System/Event/Notification/Structure"),
    ],
)
async def test_the_fixed_paths_of_makers_lead_to_the_camera_of_the_address(driver: str, path: str) -> None:
    bodies = {
        "dahua": {"Code": "TrafficJunction", "Data": {"TrafficCar": {"PlateNumber": "鄂A12345"}}},
        "vzenith": {"AlarmInfoPlate": {"result": {"PlateResult": {"license": "鄂A12345"}}}},
        "gat1400": {"MotorVehicleObject": [{"PlateNo": "鄂A12345"}]},
        "uniview": {"PlateNo": "鄂A12345"},
    }
    take = Taker()
    async with listening([camera(driver), camera("generic", "c2", ELSEWHERE)], take) as listener:
        assert (await push(listener.port, path, json.dumps(bodies[driver]).encode())).status == 200
        assert (await push(listener.port, path, b"{}", source=ELSEWHERE)).status == 404
    assert take.plates == ["鄂A12345"]


async def test_two_of_one_maker_behind_one_address_need_a_path() -> None:
    take = Taker()
    body = (CASES / "dahua-itsapi-china.json").read_bytes()
    async with listening([camera("dahua", "d1"), camera("dahua", "d2")], take) as listener:
        assert (await push(listener.port, "/NotificationInfo/TollgateInfo", body)).status == 404
        assert (await push(listener.port, "/cameras/d2/NotificationInfo/TollgateInfo", body)).status == 200
        assert listener.strangers == {"ambiguous": 1}
    assert [one.passage.camera for one in take.pushes] == ["d2"]


async def test_the_address_must_be_the_cameras() -> None:
    take = Taker()
    async with listening([generic(), camera("generic", "c2", ELSEWHERE)], take) as listener:
        for path, source in (("/cameras/c1", ELSEWHERE), ("/cameras/c2", HERE), ("/cameras/c1", "127.0.0.3")):
            assert (await push(listener.port, path, PLATE, source=source)).status == 403
        assert (await push(listener.port, "/cameras/none", PLATE)).status == 404
        assert (await push(listener.port, "/cameras/none", PLATE, source="127.0.0.3")).status == 403
        assert (await push(listener.port, "/", PLATE)).status == 404
        lie = json.dumps({"plate": "鄂A1", "ipAddress": HERE}).encode()
        claim = f"X-Forwarded-For: {HERE}\r\nForwarded: for={HERE}\r\n"
        assert (await push(listener.port, "/cameras/c1", lie, source="127.0.0.3", extra=claim)).status == 403
        assert listener.strangers == {"stranger": 3}
        told = listener.snapshot()
        assert (told["c1"]["refused_path"], told["c1"]["refused_other_camera"], told["c1"]["pushes"]) == (2, 1, 3)
        assert told["c2"]["refused_other_camera"] == 1
    assert take.pushes == []


async def test_a_name_is_resolved_and_its_address_counts() -> None:
    take = Taker()
    async with listening([generic(address="localhost:8080"), camera("generic", "c2", "no.such.invalid")], take) as one:
        async with asyncio.timeout(5):
            while (await push(one.port, "/cameras/c1", PLATE)).status != 200:
                pass
        assert (await push(one.port, "/cameras/c2", PLATE)).status == 403
    assert take.plates == ["鄂A12345"]


async def test_the_token_is_asked_for() -> None:
    take = Taker()
    token = SecretText("right")
    cameras = [generic(token=token), camera("generic", "c2", token=SecretText("other"))]
    async with listening(cameras, take) as listener:
        port = listener.port
        for path in ("", "?token=", "?token=wrong", "?token=other", "?token=right%20", "?Token=right", "?token=\udcff"):
            line = request("/cameras/c1" + path.encode("utf-8", "replace").decode(), PLATE)
            async with connected(port) as connection:
                connection.writer.write(line)
                assert (await connection.answer()).status == 401
        assert (await push(port, "/cameras/c1/x/y?a=b&token=right", PLATE)).status == 200
        token.text = None
        assert (await push(port, "/cameras/c1?token=right", PLATE)).status == 401
        assert (await push(port, "/cameras/c1?token=", PLATE)).status == 401
        token.text = "right"
        assert (await push(port, "/cameras/c1?token=right", PLATE)).status == 200
        assert listener.snapshot()["c1"]["refused_token"] == 9
    assert take.plates == ["鄂A12345"] * 2
    assert [(who, well) for who, well, _ in take.told] == [("c1", False), ("c1", True)]


async def test_the_answer_waits_for_the_acceptance_but_not_for_ever() -> None:
    accepted = asyncio.Event()
    take = Taker(wait=accepted.wait)
    loop = asyncio.get_running_loop()
    async with listening([generic()], take) as listener:
        async with connected(listener.port) as line:
            line.writer.write(request("/cameras/c1", PLATE))
            await until(lambda: take.pushes)
            with pytest.raises(TimeoutError):
                await line.answer(0.05)
            accepted.set()
            assert (await line.answer()).status == 200
            accepted.clear()
            begun = loop.time()
            line.writer.write(request("/cameras/c1", PLATE))
            assert (await line.answer()).body == b'{"ok":true}'
            assert ANSWER_WITHIN_S - 0.01 <= loop.time() - begun < ANSWER_WITHIN_S + 0.5
        assert listener.snapshot()["c1"]["late_answers"] == 1


async def test_our_own_trouble_is_not_the_cameras(caplog: pytest.LogCaptureFixture) -> None:
    async def broken() -> None:
        raise KeyError("a bug")

    take = Taker(wait=broken)
    async with listening([generic()], take) as listener:
        for _ in range(3):
            said = await push(listener.port, "/cameras/c1", PLATE)
            assert (said.status, said.body) == (200, b'{"ok":true}')
        assert listener.snapshot()["c1"]["bugs"] == 3
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "鄂A12345" not in caplog.text


async def test_several_in_one_push_are_all_handed_over_though_the_first_is_late() -> None:
    take = Taker(wait=asyncio.Event().wait)
    body = json.dumps({"passages": [{"plate": f"鄂A1234{n}", "id": str(n)} for n in range(3)]}).encode()
    async with listening([generic()], take) as listener:
        assert (await push(listener.port, "/cameras/c1", body)).status == 200
    assert take.plates == ["鄂A12340", "鄂A12341", "鄂A12342"]


async def test_only_a_verdict_opens_and_only_in_the_answer_to_a_live_push() -> None:
    asked: list[Push] = []
    opens = [True]

    async def verdict(one: Push) -> bool:
        asked.append(one)
        return opens[0]

    take = Taker(verdict=verdict)
    offline = MACAU.replace(b'"license"', b'"isoffline": 1, "license"')
    with_relay = camera("vzenith", opening=RelayOpening(0))
    async with listening([with_relay, camera("vzenith", "c2")], take) as listener:
        said = json.loads((await push(listener.port, "/cameras/c1", MACAU)).body)["Response_AlarmInfoPlate"]
        assert said["ivs_ioctrl"] == vzenith.relay(RelayOpening(0))
        opens[0] = False
        for path, body in (("/cameras/c1", MACAU), ("/cameras/c2", MACAU), ("/cameras/c1", offline)):
            said = json.loads((await push(listener.port, path, body)).body)["Response_AlarmInfoPlate"]
            assert "ivs_ioctrl" not in said
            assert "info" not in said
    assert len(take.pushes) == 4
    assert len(asked) == 2


async def test_a_late_verdict_opens_nothing() -> None:
    async def verdict(_: Push) -> bool:
        await asyncio.Event().wait()
        return True

    take = Taker(verdict=verdict)
    async with listening([camera("vzenith", opening=RelayOpening(0))], take) as listener:
        assert b"ivs_ioctrl" not in (await push(listener.port, "/cameras/c1", MACAU)).body
    assert len(take.pushes) == 1


async def test_what_health_shows() -> None:
    take = Taker()
    async with listening([generic(), camera("dahua", "c2")], take) as listener:
        assert listener.snapshot()["c1"]["reachable"] is None
        await push(listener.port, "/cameras/c1", PLATE)
        await push(listener.port, "/cameras/c1", b'{"heartbeat": true}')
        await push(listener.port, "/cameras/c1", b"no JSON at all")
        told = listener.snapshot()
    assert told["c2"]["last"] is None
    mine = told["c1"]
    assert mine["reachable"] is True
    assert abs(float(mine["last"] or 0) - Clock().now().wall) < 60
    assert [mine[name] for name in ("received", "passages", "heartbeats", "unreadable")] == [2, 1, 1, 1]


async def test_a_port_that_is_taken_is_told() -> None:
    taker = Taker()
    server = await asyncio.start_server(lambda *_: None, HERE, 0)
    port = server.sockets[0].getsockname()[1]
    listener = PushListener(HERE, port, [generic()], taker, Clock())
    async with server, asyncio.timeout(5), asyncio.TaskGroup() as group:
        task = group.create_task(listener.run(), name="cameras")
        await until(lambda: taker.told)
        task.cancel()
    assert [(who, well) for who, well, _ in taker.told] == [("http.cameras", False)]


async def test_it_ends_at_once_also_with_cameras_connected() -> None:
    loop = asyncio.get_running_loop()
    take = Taker(wait=asyncio.Event().wait)
    async with asyncio.TaskGroup() as group:
        listener = PushListener(HERE, 0, [generic()], take, Clock())
        task = group.create_task(listener.run(), name="cameras")
        await listener.listening.wait()
        async with connected(listener.port) as idle, connected(listener.port) as half, connected(listener.port) as busy:
            idle.writer.write(request("/cameras/c1", b'{"heartbeat": true}'))
            await idle.answer()
            half.writer.write(request("/cameras/c1", PLATE)[:-5])
            busy.writer.write(request("/cameras/c1", PLATE))
            await until(lambda: take.pushes)
            begun = loop.time()
            task.cancel()
            await until(task.done)
            assert loop.time() - begun < 1.0


@pytest.mark.parametrize("driver", ["onvif", "frigate"])
def test_a_maker_that_pushes_nothing_is_refused(driver: str) -> None:
    with pytest.raises(ConfigError, match="pushes no plates"):
        PushListener(HERE, 0, [camera(driver)], Taker(), Clock())


def test_only_vzenith_opens_by_its_answer() -> None:
    with pytest.raises(ConfigError, match="opens nothing"):
        PushListener(HERE, 0, [camera("hikvision", opening=RelayOpening(0))], Taker(), Clock())

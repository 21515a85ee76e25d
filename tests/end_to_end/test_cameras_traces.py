"""No push without a trace: counters, alarms and the last one that could not be read, of the real daemon."""

import asyncio
import itertools
import json
import time
from pathlib import Path
from typing import Any

from tests.end_to_end.camera_site import LISTED, CameraSite, camera_site, site_text
from tests.end_to_end.process import running
from tests.end_to_end.test_cameras_rules import typed

CAMERAS = {"north": "driver: generic", "south": "driver: gat1400"}


def car(id_: str, plate: str = LISTED, age: float = 0.0, **more: Any) -> bytes:
    said = {"plate": plate, "confidence": 99, "id": id_, "time": time.time() - age, **more}
    return json.dumps(said, ensure_ascii=False).encode()


async def raised(site: CameraSite, name: str, count: int = 1, kind: str = "alarm.raised") -> list[Any]:
    def those(seen: Any) -> list[Any]:
        return [one["data"] for one in seen.of(kind) if one["data"]["name"] == name]

    await site.it.cloud.until(lambda seen: len(those(seen)) >= count)
    return those(site.it.cloud)


async def test_every_push_leaves_a_trace(tmp_path: Path) -> None:
    text = site_text(CAMERAS, "dedup: 1ms")
    async with camera_site(tmp_path, text) as site, running(site.it.site):
        await site.ready()
        before = (await site.it.asked("status"))["cameras"]["north"]
        assert (before["scale"], before["scale_is"]) == ("0-100", "assumed")
        for number in range(3):
            assert await site.raw("north", f"{number} 沪A12345 is no JSON".encode()) == 200
        (alarm,) = await raised(site, "camera-unreadable")
        assert alarm["kind"] == "gateway"
        code, said = await typed("camera", "last", str(site.it.site), "north")
        assert code == 0, said
        assert "2 沪A***** is no JSON" in said
        assert LISTED not in said
        out = tmp_path / "push.bin"
        code, said = await typed("camera", "last", str(site.it.site), "north", "--out", str(out))
        assert (code, out.read_bytes()) == (0, f"2 {LISTED} is no JSON".encode())
        await site.it.cloud.until(lambda seen: len(seen.of("person.viewed")) == 2)
        viewed = site.it.cloud.of("person.viewed")[0]["data"]
        assert (viewed["what"], bool(viewed["by"])) == ("push", True)
        for encoded in (f"{LISTED}?".encode("gbk"), b"plate%E6%B2%AAA12345!", b"&#x6CAA;A12345", b"\\u6caaA12345"):
            assert await site.raw("north", encoded) == 200
            code, said = await typed("camera", "last", str(site.it.site), "north")
            assert (code, "沪A*****" in said, "12345" in said) == (0, True, False), said
        assert await site.raw("north", b'{"type": "status", "uptime": 5}') == 200
        await raised(site, "camera-unreadable", kind="alarm.cleared")
        assert await site.raw("north", b"{}", method="DELETE") == 405
        assert await site.raw("north", car("1")) == 200
        await site.until_moved("north")
        told = (await site.it.asked("status"))["cameras"]["north"]
        ends = {
            name: told[name] - before[name] for name in ("pushes", "passage_pushes", "ignored", "unreadable", "refused")
        }
        assert ends == {"pushes": 10, "passage_pushes": 1, "ignored": 1, "unreadable": 7, "refused": 1}
        assert (told["ignored_status"], told["refused_method"]) == (1, 1)
        assert (told["scale"], told["scale_is"]) == ("0-100", "learnt")
        code, said = await typed("status", str(site.it.site))
        assert "confidence 0-100 (learnt)" in said
        code, said = await typed("camera", "last", str(site.it.site), "south")
        assert (code, "every push could be read" in said) == (0, True)
        code, said = await typed("camera", "last", str(site.it.site), "west")
        assert (code != 0, "there is no camera west; north, south" in said) == (True, True), said


async def test_a_partial_plate_opens_for_nobody(tmp_path: Path) -> None:
    """By whatever maker, however the character is marked that was not read."""
    async with camera_site(tmp_path, site_text(CAMERAS, "dedup: 1ms")) as site:
        async with running(site.it.site):
            await site.ready()
            marks = [LISTED[:3] + mark + LISTED[3:] for mark in "-?_*# "] + [LISTED[:4] + "-" + LISTED[5:]]
            for number, plate in enumerate(marks):
                assert await site.raw("north", car(str(number), plate)) == 200
            vehicle = {"MotorVehicleID": "9", "PlateNo": f"{LISTED[:2]}-{LISTED[2:]}", "PlateReliability": "99"}
            body = json.dumps({"MotorVehicleObject": [vehicle]}, ensure_ascii=False).encode()
            assert await site.raw("south", body, "/VIID/MotorVehicles") == 200
            heard = await site.passages(len(marks) + 1)
            assert {(one["decision"], one["reason"], one["plate_kind"]) for one in heard} == {
                ("denied", "unread", "other")
            }
            assert await site.raw("north", car("good", f"{LISTED[:2]}·{LISTED[2:]}")) == 200
            await site.until_moved("north")
        assert site.moved("south") == []


async def test_a_clock_that_jumped_back_is_told_and_lets_cars_in(tmp_path: Path) -> None:
    """Also after a restart; what the camera kept meanwhile opens nothing."""
    behind = 7200.0
    async with camera_site(tmp_path, site_text(CAMERAS, "dedup: 1ms")) as site:
        async with running(site.it.site):
            await site.ready()
            assert await site.raw("north", car("right")) == 200
            await site.until_moved("north", 1)
        async with running(site.it.site):
            await site.until_listening()
            for number in range(20):
                assert await site.raw("north", car(f"queue-{number}", age=3000.0 - 20.0 * number)) == 200
            heard = await site.passages(21)
            assert {(one["decision"], one["reason"]) for one in heard[1:]} == {("no-gate", "late")}
            await pushed_until_live(site, behind)
            (alarm,) = await raised(site, "camera-clock")
            assert "behind ours" in str(alarm)
            count = len(site.it.cloud.of("access"))
            assert await site.raw("north", car("again", age=behind)) == 200
            heard = await site.passages(count + 1)
            assert (heard[-1]["decision"], heard[-1]["late"], heard[-1]["seen_at"]) == ("opened", False, None)
            assert await site.raw("north", car("well")) == 200
            await raised(site, "camera-clock", kind="alarm.cleared")
        assert site.moved("south") == []


async def pushed_until_live(site: CameraSite, behind: float) -> None:
    """Cars in real time, before a camera that is so far behind, until one is let in: within seconds."""
    heard = len(site.it.cloud.of("access"))
    async with asyncio.timeout(20):
        for number in itertools.count():
            assert await site.raw("north", car(f"jump-{number}", age=behind)) == 200
            await site.passages(heard + number + 1)
            if not site.it.cloud.of("access")[-1]["data"]["late"]:
                return
            await asyncio.sleep(1.5)

"""Who is let in, by the real daemon: lists and their changes, the guard's press, a fire, and what is erased."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from simulators.cloud import Event
from tests.end_to_end.camera_site import BLOCKED, LISTED, UNLISTED, CameraSite, camera_site, site_text
from tests.end_to_end.process import running

CAMERAS = {
    "hik": "driver: hikvision, token: {file: camera.token}",
    "vz": "driver: vzenith",
    "any": "driver: generic",
    "dahua": "driver: dahua",
}
MISREAD = "沪A1234S"
EMERGENCY = "沪A1234应急"
OVERLAY = "2026-11-22 08:00:01 北门入口 CAM 01 限速5公里"


async def typed(*words: str) -> tuple[int, str]:
    """`site-gateway …` as somebody types it: exit status and what it prints."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway", *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    return process.returncode or 0, output.decode()


async def told(site: CameraSite, camera: str, number: int) -> Event:
    """What the cloud hears of the passage of this number (from 0) at a camera."""

    def those() -> list[Event]:
        return [event["data"] for event in site.it.cloud.of("access") if event["data"]["camera"] == camera]

    await site.it.cloud.until(lambda _: len(those()) > number)
    return those()[number]


async def test_what_opens_and_what_does_not(tmp_path: Path) -> None:
    async with camera_site(tmp_path, site_text(CAMERAS, "dedup: 200ms", fire=True)) as site:
        it = site.it
        async with running(it.site):
            await site.ready()
            expected = []
            for camera, plate, confidence, colour, opens, reason in (
                ("hik", MISREAD, 95, "blue", True, "near-miss"),
                ("vz", BLOCKED, 99, "blue", False, "blocked"),
                ("any", EMERGENCY, 99, "white", True, "special"),
                ("dahua", None, 0, None, False, "no-plate"),
                ("vz", None, 0, None, False, "no-plate"),
                ("any", OVERLAY, 99, None, False, "other-kind"),
                ("dahua", LISTED, 40, "blue", False, "low-confidence"),
                ("dahua", UNLISTED, 99, "blue", False, "unknown"),
            ):
                await site.sees(camera, plate, confidence=confidence, colour=colour)
                expected.append((camera, "opened" if opens else "denied", reason))
                if opens:
                    await site.until_moved(camera)
            heard = await site.passages(len(expected))
            assert [(one["camera"], one["decision"], one["reason"]) for one in heard] == expected
            assert (heard[0]["plate"], heard[0]["plate_raw"]) == (LISTED, MISREAD)
            assert heard[2]["plate_kind"] == "emergency"
            assert site.moved("vz") == site.moved("dahua") == []
            await the_guard_opens_for(site, heard[-1])
            await nothing_late_opens(site)
            await a_fire_holds(site)


async def the_guard_opens_for(site: CameraSite, denied: Event) -> None:
    """One press: the gate opens in the guard's name, and the car counts as inside."""
    words = ("do", str(site.it.site), "gate.open", f"passage={denied['passage']}", "--by", "zhang")
    code, said = await typed(*words, "gate=g-vz")
    assert (code, "it was at g-dahua" in said) == (2, True), said
    code, said = await typed(*words, "gate=g-dahua")
    assert code == 0, said
    await site.until_moved("dahua")
    opened = (await until_event(site, "gate.opened", 3))[2]
    assert (opened["gate"], opened["by"], opened["passage"]) == ("g-dahua", "zhang", denied["passage"])
    code, said = await typed("access", "who", str(site.it.site), "--json")
    assert code == 0, said
    assert [one["plate"] for one in json.loads(said)["inside"]] == [UNLISTED, EMERGENCY, LISTED]
    assert site.moved("vz") == []


async def until_event(site: CameraSite, kind: str, count: int) -> list[Event]:
    await site.it.cloud.until(lambda seen: len(seen.of(kind)) >= count)
    return [event["data"] for event in site.it.cloud.of(kind)]


async def nothing_late_opens(site: CameraSite) -> None:
    """Records of the camera's memory, by its mark and by its time."""
    before = [len(site.moved(name)) for name in CAMERAS]
    camera = site.camera("vz")
    camera.offline()
    camera.see(LISTED)
    camera.online()
    await camera.until(lambda one: not one.pending)
    record = {"plate": LISTED, "confidence": 99, "time": "2026-11-01T08:00:00+08:00", "id": "old"}
    assert await site.raw("any", json.dumps(record).encode()) == 200
    heard = [one for one in await site.passages(10) if one["late"]]
    assert [(one["camera"], one["decision"], one["reason"]) for one in heard] == [
        ("vz", "no-gate", "late"), ("any", "no-gate", "late")
    ]  # fmt: skip
    assert [len(site.moved(name)) for name in CAMERAS] == before


async def a_fire_holds(site: CameraSite) -> None:
    """While the gate is held by fire every car is told as held-open, and nothing is written to its output."""
    it = site.it
    it.virtual.set("smoke.smoke", 1)
    await it.until(lambda: it.on("relay.do0"))
    held = len(site.moved("hik"))
    await site.sees("hik", BLOCKED)
    last = (await site.passages(11))[-1]
    assert (last["decision"], last["reason"], last["plate"]) == ("held-open", "fire", BLOCKED)
    assert it.on("relay.do0")
    assert all(site.moved("hik")[held:])


async def test_lists_by_command_and_what_is_erased(tmp_path: Path) -> None:
    async with camera_site(tmp_path, site_text(CAMERAS, "dedup: 1ms, pictures: scene")) as site:
        it = site.it

        async def asked(cmd: str, **args: Any) -> Event:
            return await it.command(cmd, it.every_key, **args)

        async with running(it.site):
            await site.ready()
            await changed_in_parts(site, asked)
            await imported_and_shown(site)
            assert (await asked("access.presence", plate=UNLISTED, inside=True))["ok"]
            photographed = await asked("picture", camera="hik")
            assert photographed["ok"], photographed
            await it.cloud.until(lambda seen: photographed["result"]["picture"] in seen.arrived)
            await erased(site, asked)


async def changed_in_parts(site: CameraSite, asked: Any) -> None:
    """A delta on a wrong base changes nothing and says the version; a full list comes into force with its last part."""
    entry = {"plate": UNLISTED, "kind": "visitor"}
    wrong = await asked("access.update", list="guests", base="v0", version="v1", put=[entry])
    assert wrong["error"]["code"] == "bad-args"
    first = await asked("access.update", list="guests", full=True, version="v1", part=1, parts=2, put=[entry])
    assert first["result"]["missing"] == 1, first
    await site.sees("dahua", UNLISTED)
    assert (await told(site, "dahua", 0))["decision"] == "denied"
    plates = [{"plate": f"沪E{number:05d}", "kind": "resident"} for number in range(2000)]
    second = await asked("access.update", list="guests", full=True, version="v1", part=2, parts=2, put=plates)
    assert second["result"]["lines"] == 2001, second
    await site.sees("dahua", UNLISTED)
    await site.until_moved("dahua")
    delta = await asked("access.update", list="guests", base="v1", version="v2", drop=[UNLISTED])
    assert delta["result"]["lines"] == 2000
    stale = await asked("access.update", list="guests", base="v1", version="v3", put=[entry])
    assert "held: v2" in stale["error"]["message"]
    await site.sees("dahua", UNLISTED)
    assert (await told(site, "dahua", 2))["decision"] == "denied"
    assert site.moved("dahua") == [True, False]


async def imported_and_shown(site: CameraSite) -> None:
    """By the command line, against the running daemon."""
    path = site.it.folder / "staff.csv"
    path.write_text(f"plate,kind,from,until,gates,note\n{UNLISTED},staff,,,g-any,\n", encoding="utf-8")
    code, said = await typed("access", "import", str(site.it.site), str(path))
    assert (code, "in force" in said) == (0, True), said
    await site.sees("any", UNLISTED)
    await site.until_moved("any")
    code, said = await typed("access", "show", str(site.it.site), UNLISTED)
    assert code == 0, said
    assert "listed: staff staff" in said
    assert "g-any in: opened (listed)" in said
    assert "g-hik in: denied (other-gate)" in said
    viewed = await until_event(site, "person.viewed", 1)
    assert viewed[0]["what"] == "plate"


async def erased(site: CameraSite, asked: Any) -> None:
    """Everything is handed out on demand, and then nothing of it is left in any file of the store."""
    store = site.it.folder / "store"
    exported = (await asked("access.export", plate=UNLISTED))["result"]
    decisions = [one["data"]["decision"] for one in exported["events"] if one["type"].startswith("sitegateway.access")]
    assert decisions == ["denied", "opened", "denied", "opened"]
    assert exported["inside"] is not None
    assert [one["list"] for one in exported["lists"]] == ["staff"]
    assert naming(store, UNLISTED), "else what follows proves nothing"
    done = await asked("access.forget", plate=UNLISTED)
    assert done["ok"], done
    assert done["result"]["lists"] == ["staff"]
    assert done["result"]["events"] >= 4
    assert naming(store, UNLISTED) == []
    assert (await asked("access.export", plate=UNLISTED))["result"]["events"] == []
    assert naming(store, UNLISTED) == []
    await site.sees("any", UNLISTED)
    assert (await told(site, "any", 1))["decision"] == "denied"


def naming(store: Path, plate: str) -> list[str]:
    """The files in which a plate stands, in any of the ways that it could be written."""
    ways = (plate.encode(), json.dumps(plate)[1:-1].encode(), plate.encode("utf-16-le"), plate[1:].encode())
    return [path.name for path in store.rglob("*") if path.is_file() and any(way in path.read_bytes() for way in ways)]

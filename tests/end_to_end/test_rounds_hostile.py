"""Rounds that meet a full disk, clocks that step and answers that nobody asked for."""

import asyncio
import base64
import resource
import time
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

from gateway.site.rounds import digest
from simulators.cameras.scene import Scene, SceneView, encoded
from tests.end_to_end.compound import HEAD, SMOKE, Compound, compound
from tests.end_to_end.process import running
from tests.end_to_end.rounds import ended, outcomes
from tests.hands import Hands, gateway
from tests.technician.command import site_gateway

DAY, HOUR = 86400.0, 3600.0
LOOK_S = 31.0
"""The calendar is looked at at least as often."""
ROOM_BYTES = 16 << 10
PROMPT = 3.0
EVIL = "<img src=x onerror=alert(1)>"
SITE = f"""\
{HEAD}
lines:
  loop: {{driver: modbus, tcp: "127.0.0.1:1"}}
zones: {{b3: {{}}}}
devices:
  smoke-1: {{line: loop, unit: 1, {SMOKE}}}
  smoke-2: {{line: loop, unit: 2, {SMOKE}}}
  hydrant: {{line: loop, unit: 3, points: {{pressure: {{at: input 0, scale: 0.001, unit: MPa, every: 1s}}}}}}
inspection:
  machines:
    items: [{{point: hydrant.pressure, between: [0.10, 0.60]}}, {{device: smoke-2}}, {{no_alarm: site}}]
  people:
    due: 1h
    items: [{{person: look}}]
  hourly:
    cron: "0 * * * *"
    items: [{{point: hydrant.pressure, between: [0.10, 0.60]}}, {{device: smoke-2}}]
"""

WITH_PHOTOS = f"""\
{SITE}\
  photos:
    due: 1h
    items:
      - {{person: pump, photo: true, place: room}}
      - {{person: roof, photo: true}}
      - {{person: "{EVIL}"}}
places:
  room: {{name: Pump room, tag: {{ntag424: {{file: room.key}}}}}}
"""


async def well(it: Compound) -> None:
    it.virtual.set("hydrant.pressure", 0.35)
    for device in ("smoke-1", "smoke-2", "hydrant"):
        await it.until_well(device)


async def run(it: Compound, round_: str = "machines") -> dict[str, Any]:
    begun = await it.person("inspection.run", role="technician", round=round_)
    assert begun["ok"], begun
    return await ended(it, begun["result"]["run"])


def of_cloud(it: Compound, kind: str, round_: str) -> list[Mapping[str, Any]]:
    """Data of the events of one type about one round, each event once."""
    events = {event["id"]: event["data"] for event in it.cloud.of(kind)}
    return [data for data in events.values() if data["round"] == round_]


async def test_a_round_on_a_full_disk_ends_and_no_alarm_waits(tmp_path: Path) -> None:
    async with compound(tmp_path, SITE) as it, running(it.site) as process:
        await well(it)
        runs = [await run(it)]
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (ROOM_BYTES, resource.RLIM_INFINITY))
        async with asyncio.timeout(60):
            while not (await it.asked("status"))["journal"]["losses"]:
                runs.append(await run(it))
        runs += [await run(it) for _ in range(3)]
        begun = time.monotonic()
        it.virtual.set("smoke-1.smoke", 1)
        await it.cloud.until(lambda seen: bool(seen.of("alarm.raised", "smoke-1/smoke/fire")))
        assert time.monotonic() - begun < PROMPT
        it.virtual.set("smoke-1.smoke", 0)
        await it.cloud.until(lambda seen: bool(seen.of("alarm.cleared", "smoke-1/smoke/fire")))
        assert (await it.person("alarm.reset", alarm="smoke-1/smoke/fire", note="over"))["ok"]
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        await it.cloud.until(lambda seen: bool(seen.of("alarm.cleared", "gateway/store")), 60)
        runs.append(await run(it))
        before = None
        for data in runs:
            assert {one["outcome"] for one in data["items"][:2]} == {"normal"}, outcomes(data)
            assert (data["previous"], data["digest"]) == (before, digest(data))
            before = data["digest"]
        await process.kill()
        await process.start()
        assert (await run(it))["previous"] == before, "what was told from memory is on disk by now"


async def test_answers_that_nobody_asked_for(tmp_path: Path) -> None:
    async with compound(tmp_path, SITE) as it, running(it.site):
        await well(it)
        for cmd in ("inspection.run", "inspection.cancel"):
            refused = await it.person(cmd, role="guard", round="people")
            assert refused["error"]["code"] == "not-allowed"
        name = (await it.person("inspection.run", role="technician", round="people"))["result"]["run"]
        look: dict[str, Any] = {"run": name, "item": "person:look", "ok": True}
        for wrong in ({"run": "another"}, {"item": "person:another"}, {"item": "no_alarm:site"}):
            assert (await it.person("inspection.answer", **look | wrong))["error"]["code"] == "bad-args"
        async with asyncio.TaskGroup() as group:
            both = [
                group.create_task(one, name=f"answer {number}")
                for number, one in enumerate(
                    (it.person("inspection.answer", **look), it.command("inspection.answer", **look))
                )
            ]
        assert sorted(one.result()["ok"] for one in both) == [False, True]
        assert outcomes(await ended(it, name)) == {"person:look": ("normal", None)}
        late = await it.person("inspection.answer", **look)
        assert (late["error"]["code"], "over" in late["error"]["message"]) == ("bad-args", True)
        assert len(of_cloud(it, "inspection.finished", "people")) == 1


def photo(data: bytes) -> str:
    return base64.b64encode(data).decode()


async def test_photos_that_are_none_of_another_item_or_by_nobody(tmp_path: Path) -> None:
    """Each is refused with a word, keeps nothing and stops nothing; then a right one is taken."""
    first, second = (Scene("pump-room", seed).picture(SceneView(size=(480, 270))) for seed in (1, 2))
    (tmp_path / "room.key").write_text("00" * 16)
    (tmp_path / "room.key").chmod(0o600)
    async with compound(tmp_path, WITH_PHOTOS) as it, running(it.site):
        await well(it)
        name = (await it.person("inspection.run", role="technician", round="photos"))["result"]["run"]
        pump: dict[str, Any] = {"run": name, "item": "person:pump", "ok": True}
        html = b"<html><body>" + first + b"</body></html>"
        for bad in (b"", b"a text", html, first[:1], first[: len(first) // 2], first[: len(first) // 2] + b"\xff\xd9",
                    bytes(96 << 10), first + bytes(96 << 10)):  # fmt: skip
            refused = await it.person("inspection.answer", **pump, photo=photo(bad))
            assert refused["error"]["code"] == "bad-args", (bad[:20], refused)
        for word, more in {
            "photo: is missing": {}, "no PICC data": {"photo": photo(first), "tag": "https://example.com/?x=1"},
            "this item is at room": {"photo": photo(first), "place": "attic"}, "no base64": {"photo": "%%%"},
        }.items():  # fmt: skip
            refused = await it.person("inspection.answer", **pump, **more)
            assert word in refused["error"]["message"], (word, refused)
        assert not it.cloud.of("picture.taken")
        assert (await it.person("inspection.answer", **pump, photo=photo(first)))["ok"]
        roof = {**pump, "item": "person:roof"}
        for again in (first, encoded(Image.open(BytesIO(first)).rotate(180), SceneView(quality=50, size=(480, 270)))):
            refused = await it.command("inspection.answer", **roof, photo=photo(again))
            assert "given for photos/person:pump before" in refused["error"]["message"]
        assert (await it.command("inspection.answer", **roof, photo=photo(second)))["ok"]
        assert (await it.person("inspection.answer", run=name, item=f"person:{EVIL}", ok=False, note=EVIL))["ok"]
        data = await ended(it, name)
        assert [outcome for outcome, _ in outcomes(data).values()] == ["normal", "normal", "abnormal"]
        later = (await it.person("inspection.run", role="technician", round="photos"))["result"]["run"]
        refused = await it.person("inspection.answer", **roof | {"run": later}, photo=photo(first))
        assert "given for photos/person:pump before" in refused["error"]["message"], "a run before this one, too"
        finding = next(iter(it.cloud.of("finding.opened", f"photos/person:{EVIL}")))["data"]["finding"]
        said = await it.person("finding.acknowledge", role="guard", finding=finding, note=f"seen {EVIL}")
        assert said["ok"], said
        sheet = it.folder / "week.html"
        assert (await site_gateway("rounds", it.site, "--html", sheet)).status == 0
        text = sheet.read_text(encoding="utf-8")
        assert "seen &lt;img" in text
        assert "<img src=x" not in text
        assert f"seen {EVIL}" in (await site_gateway("rounds", it.site)).out


async def looks(it: Compound, hands: Hands, seconds: float = LOOK_S) -> None:
    """Time goes by, and something comes in, upon which the site looks at its clock."""
    hands.pass_by(seconds)
    assert (await it.person("inspection.cancel", role="technician", round="people"))["error"]["code"] == "bad-args"


def before_the_hour(hands: Hands, seconds: float) -> None:
    hands.wall += (-seconds - time.time() - hands.wall) % HOUR


async def runs_at_the_hour(it: Compound, hands: Hands) -> None:
    before = len(of_cloud(it, "inspection.finished", "hourly"))
    before_the_hour(hands, 20.0)
    await looks(it, hands)
    await it.cloud.until(lambda _: len(of_cloud(it, "inspection.finished", "hourly")) > before, 30)


async def test_clocks_that_step_run_nothing_twice_and_nothing_late(tmp_path: Path) -> None:
    hands = Hands()
    async with compound(tmp_path, SITE) as it:
        async with gateway(it.site, hands):
            await well(it)
            await runs_at_the_hour(it, hands)
            before_the_hour(hands, 300.0)
            hands.wall += HOUR + 300.0 + 900.0  # over two hours, the last of them a quarter of an hour ago
            await looks(it, hands)
            await it.cloud.until(lambda _: len(of_cloud(it, "inspection.missed", "hourly")) == 2, 10)
            reasons = [one["items"][0]["reason"] for one in of_cloud(it, "inspection.missed", "hourly")]
            assert reasons == ["clock", "clock"]
            for step in (-2 * HOUR, -DAY):
                hands.wall += step
                await looks(it, hands)
            hands.wall += DAY + 2 * HOUR
            await runs_at_the_hour(it, hands)
        hands.synced, right, hands.wall = False, hands.wall, -time.time()
        async with gateway(it.site, hands):  # 1970, and nobody sets it
            await well(it)
            await looks(it, hands, 2 * HOUR)
            hands.synced, hands.wall = True, right + 4 * HOUR
            hands.pass_by(11.0)
            await looks(it, hands)
            await runs_at_the_hour(it, hands)
        started = [one["planned_at"] for one in of_cloud(it, "inspection.started", "hourly")]
        missed = [one["planned_at"] for one in of_cloud(it, "inspection.missed", "hourly")]
        assert len(started) == len(set(started)) >= 3
        assert set(started).isdisjoint(missed)

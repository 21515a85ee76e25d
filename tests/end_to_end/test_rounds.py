"""Rounds of the running gateway: real wires, broker and socket; each kind of item, findings, people, kill -9."""

import asyncio
import base64
import json
import random
import shutil
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw

from gateway.site.rounds import digest
from gateway.technician.rounds import NOTICE
from simulators import scenario as scenarios
from tests.contract.judge import faults
from tests.end_to_end.compound import HEAD, SMOKE, Compound, compound
from tests.end_to_end.process import GatewayProcess, running
from tests.end_to_end.rounds import ended, outcomes
from tests.technician.command import site_gateway

CONFIG = Path(__file__).parents[2] / "config"
SITE = f"""\
{HEAD}
lines:
  loop: {{driver: modbus, tcp: "127.0.0.1:1"}}
  water: {{driver: modbus, tcp: "127.0.0.1:2"}}
zones: {{b3: {{}}}}
devices:
  smoke-1: {{line: loop, unit: 1, {SMOKE}}}
  smoke-2: {{line: loop, unit: 2, {SMOKE}}}
  hydrant: {{line: water, unit: 3, points: {{pressure: {{at: input 0, scale: 0.001, unit: MPa, every: 5s}}}}}}
  pump:
    line: water
    unit: 4
    kind: pump
    points: {{mode: {{at: input 0}}, running: {{at: input 1, every: 1s}}}}
places:
  pump-room: {{name: 泵房, tag: {{printed: {{file: code}}}}}}
inspection:
  nightly:
    title: 夜间巡检
    due: 1h
    items:
      - {{point: hydrant.pressure, between: [0.10, 0.60]}}
      - {{point: pump.mode, equals: 1, class: major}}
      - {{device: smoke-1}}
      - {{no_alarm: b3}}
      - {{tested: b3}}
      - {{person: 看一眼泵房, photo: true, place: pump-room}}
      - {{person: 试泵, watch: {{pump.running: 1}}, within: 2m}}
  machines:
    items:
      - {{point: hydrant.pressure, between: [0.10, 0.60]}}
      - {{point: pump.mode, equals: 1}}
      - {{device: smoke-1}}
      - {{device: smoke-2}}
      - {{no_alarm: b3}}
"""


def jpeg(seed: int) -> str:
    """A photo of a place, with where it was taken."""
    rng = random.Random(seed)  # noqa: S311 - a picture
    image = Image.new("RGB", (320, 240), (90, 90, 90))
    draw = ImageDraw.Draw(image)
    for _ in range(20):
        x, y, grey = rng.randrange(300), rng.randrange(220), rng.randrange(256)
        draw.rectangle((x, y, x + rng.randrange(20, 120), y + rng.randrange(20, 120)), fill=(grey, grey, 80))
    out = BytesIO()
    image.save(out, "JPEG", quality=70, exif=b"Exif\x00\x00GPS")
    return base64.b64encode(out.getvalue()).decode()


async def well(it: Compound) -> None:
    it.virtual.set("hydrant.pressure", 0.35)
    it.virtual.set("pump.mode", 1)
    for device in ("smoke-1", "smoke-2", "hydrant", "pump"):
        await it.until_well(device)


async def test_a_round_with_people_from_its_begin_to_its_end(tmp_path: Path) -> None:
    (tmp_path / "code").write_text("pump-room-42")
    (tmp_path / "code").chmod(0o600)
    async with compound(tmp_path, SITE) as it, running(it.site):
        await well(it)
        it.virtual.set("hydrant.pressure", 0.05)
        await asyncio.sleep(0)
        begun = await it.command("inspection.run", round="nightly")
        assert begun["ok"], begun
        run = begun["result"]["run"]
        photo = {"run": run, "item": "person:看一眼泵房", "ok": True, "photo": jpeg(1)}
        refused = await it.person("inspection.answer", **photo, place="pump-room", tag="guessed")
        assert "tag" in refused["error"]["message"]
        answered = await it.person("inspection.answer", **photo, place="pump-room", tag="pump-room-42")
        assert answered["ok"], answered
        running_now = await it.asked("rounds")
        assert [one["item"] for one in running_now["running"]["nightly"]["asked"]] == ["person:试泵"]
        assert (await it.person("inspection.answer", run=run, item="person:试泵", ok=True))["result"] == {
            "outcome": None
        }
        it.virtual.set("pump.running", 1)
        data = await ended(it, run)
        assert outcomes(data) == {
            "point:hydrant.pressure": ("abnormal", "below"),
            "point:pump.mode": ("normal", None),
            "device:smoke-1": ("normal", None),
            "no_alarm:b3": ("normal", None),
            "tested:b3": ("abnormal", "not proven"),
            "person:看一眼泵房": ("normal", None),
            "person:试泵": ("normal", None),
        }
        assert data["digest"] == digest(data)
        raw = {one["item"]: one["evidence"].get("raw") for one in data["items"]}
        assert (raw["point:hydrant.pressure"], raw["device:smoke-1"]) == (50, "smoke 0")
        kept = next(one for one in data["items"] if one["item"] == "person:看一眼泵房")
        assert kept["evidence"]["presence"] == "printed"
        picture = next(one for one in it.cloud.events if one["id"] == kept["pictures"][0])
        assert picture["subject"] == "phone"
        assert b"GPS" not in base64.b64decode(picture["data_base64"])
        opened = [one for one in it.cloud.events if one["type"].endswith("finding.opened.v1")]
        assert {one["subject"] for one in opened} == {"nightly/point:hydrant.pressure", "nightly/tested:b3"}
        assert [fault for one in opened for fault in faults(one)] == []
        assert it.virtual.writes == []

        it.virtual.set("hydrant.pressure", 0.35)
        again = (await it.command("inspection.run", round="nightly"))["result"]["run"]
        repeated = await it.person("inspection.answer", **photo | {"run": again})
        assert "before" in repeated["error"]["message"]
        text = {"run": again, "item": "person:看一眼泵房", "ok": True}
        for bad in (base64.b64encode(b"<html>").decode(), "%%%", photo["photo"][:2000]):
            assert (await it.person("inspection.answer", **text, photo=bad))["error"]["code"] == "bad-args"
        (it.folder / "pump.jpg").write_bytes(base64.b64decode(jpeg(2)))
        words = (f"run={again}", "item=person:看一眼泵房", "ok=true", f"photo={it.folder / 'pump.jpg'}")
        done = await site_gateway("do", it.site, "inspection.answer", *words, "--by", "li")
        assert done.out.strip() == "done outcome=normal", done.err
        assert (await it.command("inspection.cancel", round="nightly"))["ok"]
        data = await ended(it, again)
        assert outcomes(data)["person:试泵"] == ("not-checkable", "cancelled")
        cured = [one["subject"] for one in it.cloud.events if one["type"].endswith("finding.cured.v1")]
        assert cured == ["nightly/point:hydrant.pressure"]
        await told_on_paper(it, run)
    await told_on_paper(it, run)  # with no daemon, too


async def told_on_paper(it: Compound, run: str) -> None:
    """The runs by the command line, and the sheet with the phone's photo in it."""
    sheet = it.folder / "week.html"
    told = await site_gateway("rounds", it.site, "--html", sheet, "--json")
    assert told.status == 0, told.err
    assert run in [one["run"] for one in json.loads(told.out)["runs"]]
    text = sheet.read_text(encoding="utf-8")
    assert "夜间巡检" in text
    assert NOTICE[0] in text
    one = await site_gateway("rounds", it.site, "--run", run)
    assert "point:hydrant.pressure  below" in one.out
    assert (await site_gateway("rounds", it.site, "--run", run, "--html", sheet)).status == 0
    text = sheet.read_text(encoding="utf-8")
    assert "夜间巡检" in text
    assert "machines" not in text
    for week in ("2026-W77", "9999-W52"):
        wrong = await site_gateway("rounds", it.site, "--week", week)
        assert (wrong.status, wrong.err.strip()) == (2, f"--week: found {week}; an ISO week, such as 2026-W48")
    cards = await site_gateway("places", it.site, "--html", it.folder / "places.html")
    assert cards.status == 0, cards.err
    assert "pump-room-42" in (it.folder / "places.html").read_text(encoding="utf-8")


async def test_what_cannot_be_looked_at_is_not_normal(tmp_path: Path) -> None:
    async with compound(tmp_path, SITE.replace("{file: code}", "{env: CODE}")) as it, running(it.site):
        await well(it)
        it.virtual.silence("smoke-1")
        it.virtual.line_down("water")
        await it.until_standing("smoke-1/silent", within=30)
        run = (await it.person("inspection.run", role="technician", round="machines"))["result"]["run"]
        found = outcomes(await ended(it, run, within=90))
        assert found["device:smoke-1"] == ("abnormal", "silent")
        assert found["device:smoke-2"] == ("normal", None)
        assert found["no_alarm:b3"][0] == "abnormal"
        assert {found[item][0] for item in ("point:hydrant.pressure", "point:pump.mode")} == {"not-checkable"}


async def test_a_fire_stops_a_run_and_its_linkage_does_not_wait(tmp_path: Path) -> None:
    async with compound(tmp_path, SITE.replace("{file: code}", "{env: CODE}")) as it, running(it.site):
        await well(it)
        run = (await it.person("inspection.run", role="technician", round="nightly"))["result"]["run"]
        it.virtual.set("smoke-1.smoke", 1)
        found = outcomes(await ended(it, run))
        assert found["person:试泵"] == ("not-checkable", "fire")
        refused = await it.person("inspection.run", role="technician", round="machines")
        assert refused["error"]["code"] == "interlocked"


@pytest.mark.timeout(300)
async def test_a_night_of_the_example_and_the_next_one(tmp_path: Path) -> None:
    """What its scenario breaks is found, and found well by the next run; nobody has proven the detectors."""
    shutil.copy(CONFIG / "residents.csv", tmp_path)
    text = (CONFIG / "example.yaml").read_text(encoding="utf-8")
    text = text.replace("serial: /dev/rs485-fire,", 'tcp: "192.168.1.22:4196", framing: rtu,')  # no lock of a terminal
    night = scenarios.load(CONFIG / "scenarios" / "night-round.yaml")
    broken, mended = (replace(night, steps=(replace(step, at=0.0),)) for step in night.steps)
    wrong = {"point:hydrant-1.pressure": ("abnormal", "below"), "camera:yard": ("abnormal", "covered")}
    async with compound(tmp_path, text) as it:
        taken = await site_gateway("picture", it.site, "yard", "--reference")
        assert taken.status == 0, taken.err
        async with running(it.site):
            await scenarios.play(it.virtual, broken)
            for device in ("hydrant-1", "tank", "smoke-3-2f", "smoke-3-3f"):
                await it.until_well(device)
            first = (await it.person("inspection.run", role="technician", round="nightly"))["result"]["run"]
            found = outcomes(await ended(it, first))
            assert found["tested:building-3"] == ("abnormal", "not proven")
            for item in ("point:tank.level", "device:smoke-3-2f", "device:smoke-3-3f", "no_alarm:building-3"):
                assert found[item] == ("normal", None)
            assert found.items() >= wrong.items()
            await scenarios.play(it.virtual, mended)
            second = (await it.person("inspection.run", role="technician", round="nightly"))["result"]["run"]
            found = outcomes(await ended(it, second))
            assert {found[item] for item in wrong} == {("normal", None)}
            findings = {f"nightly/{item}" for item in wrong}
            await it.cloud.until(lambda seen: {one["subject"] for one in seen.of("finding.cured")} == findings)
            looks = next(one["data"] for one in it.cloud.of("finding.cured") if "camera" in one["subject"])
            assert looks["before"] != looks["after"], "then and now"


async def killed(it: Compound, gateway: GatewayProcess, rng: random.Random, times: int) -> list[str]:
    """Begin runs and kill the gateway at any instant of them; the runs that were begun."""
    runs = []
    for _ in range(times):
        reply = await it.person("inspection.run", role="technician", round="machines")
        if reply["ok"]:
            runs.append(reply["result"]["run"])
        await asyncio.sleep(rng.random() * 0.15)
        await gateway.kill()
        await gateway.start()
        await it.asked("rounds")
    return runs


async def check_kills(folder: Path, times: int) -> None:
    rng = random.Random(times)  # noqa: S311 - instants
    async with compound(folder, SITE.replace("{file: code}", "{env: CODE}")) as it, running(it.site) as gateway:
        await well(it)
        runs = await killed(it, gateway, rng, times)
        assert runs
        last = await ended(it, runs[-1], within=60)
        assert last["run"] == runs[-1]
        ends: dict[str, dict[str, Any]] = {}
        for event in it.cloud.events:
            if event["type"].endswith("inspection.finished.v1"):
                assert ends.setdefault(event["data"]["run"], event["data"]) == event["data"]  # once, or the same again
        started = [one["data"]["run"] for one in it.cloud.events if one["type"].endswith("inspection.started.v1")]
        assert set(runs) <= set(ends)
        assert set(ends) == set(started)
        before = None
        for run in dict.fromkeys(started):
            assert ends[run]["previous"] == before
            before = ends[run]["digest"]
            assert digest(ends[run]) == before
            assert len(ends[run]["items"]) == 5
            asked = [one for one in ends[run]["items"] if one["kind"] != "no_alarm"]
            assert {one["outcome"] for one in asked} == {"normal"}, "the rest was looked at after the restart"


async def test_kill_at_any_instant_of_a_run(tmp_path: Path) -> None:
    await check_kills(tmp_path, 5)


@pytest.mark.soak
@pytest.mark.timeout(1800)
async def test_kill_at_any_instant_of_a_run_a_hundred_times(tmp_path: Path) -> None:
    await check_kills(tmp_path, 100)

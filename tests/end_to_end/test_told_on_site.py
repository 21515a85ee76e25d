"""What people are told of the running gateway: events, the silenced sounder, a walk whose terminal goes."""

import asyncio
import json
import re
import signal
from datetime import datetime
from pathlib import Path

from tests.end_to_end.compound import SITE, compound
from tests.end_to_end.process import running
from tests.technician.command import site_gateway
from tests.technician.terminal import terminal

LOCAL = SITE.replace("site: {id: xima-xincun", "site: {timezone: Asia/Shanghai, id: xima-xincun")


async def test_the_last_events_of_a_stream_and_those_that_come(tmp_path: Path) -> None:
    async with compound(tmp_path) as it, running(it.site):
        it.virtual.set("smoke-1.smoke", 1)
        await it.until_standing("smoke-1/smoke/fire")
        async with asyncio.timeout(10):
            while "alarm.raised" not in (told := await site_gateway("events", it.site)).out:
                assert told.status == 0, told.err
        raised = next(line for line in told.out.splitlines() if "alarm.raised" in line)
        assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  alarm.raised +smoke-1/smoke/fire  critical fire", raised)
        one = await site_gateway("events", it.site, "--last", "1", "--json")
        assert len(one.out.splitlines()) == 1
        assert json.loads(one.out)["type"].startswith("sitegateway.")
        async with terminal("events", it.site, "--follow", "--last", "1", columns=200) as following:
            await following.shows("smoke-1")
            await it.person("alarm.acknowledge", alarm="smoke-1/smoke/fire")
            await following.shows("alarm.acknowledged")
            following.process.send_signal(signal.SIGINT)
            assert await following.end() == 0
        audit = await site_gateway("events", it.site, "--stream", "audit")
        assert "command.done" in audit.out


async def test_no_plate_is_told_to_who_looks_on(tmp_path: Path) -> None:
    async with compound(tmp_path) as it, running(it.site):
        await it.person("gate.open", gate="north", reason="for 沪A12345, a guest")
        async with asyncio.timeout(10):
            while "gate.open" not in (told := await site_gateway("events", it.site, "--stream", "audit")).out:
                assert told.status == 0, told.err
        assert "guest" in told.out
        assert "12345" not in told.out


async def test_the_sounder_is_silenced(tmp_path: Path) -> None:
    async with compound(tmp_path) as it, running(it.site):
        done = await site_gateway("do", it.site, "alarm.silence", "--by", "zhang")
        assert (done.status, done.out) == (0, "done\n"), done.err


async def test_a_walk_goes_on_when_its_terminal_is_gone(tmp_path: Path) -> None:
    async with compound(tmp_path, LOCAL) as it, running(it.site):
        await it.until_well("smoke-1")
        zone = "b3" if "b3" in LOCAL else "site"
        devices = re.findall(r"^  (smoke-\d):", LOCAL, re.MULTILINE)
        out = tmp_path / "record"
        async with terminal("walk", it.site, "--zone", zone, "--by", "li", "--out", out) as walking:
            await walking.shows("is in test mode")
            walking.process.send_signal(signal.SIGHUP)
            for device in devices:
                it.virtual.set(f"{device}.smoke", 1)
                await it.until_standing(f"{device}/smoke/fire")
                it.virtual.set(f"{device}.smoke", 0)
            assert await walking.end() == 0
        record = json.loads(out.with_name("record.json").read_text())
        assert record["passed"] == len(devices)
        assert record["begun"].endswith("+08:00")
        assert record["devices"][0]["fire"].endswith("+08:00")
        assert datetime.fromisoformat(record["begun"]) <= datetime.fromisoformat(record["devices"][0]["fire"])


async def test_fires_and_gates_stand_in_the_log(tmp_path: Path) -> None:
    async with compound(tmp_path) as it, running(it.site) as gateway:
        for device in ("smoke-1", "smoke-2"):
            it.virtual.set(f"{device}.smoke", 1)
        await it.until_standing("smoke-1/smoke/fire", "smoke-2/smoke/fire")
        async with asyncio.timeout(10):
            while "gate.held" not in (log := gateway.log.read_text()):
                await asyncio.sleep(0.05)
        lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
        fires = [line for line in lines if line["event"] == "alarm.raised"]
        assert {line["subject"] for line in fires} == {"smoke-1/smoke/fire", "smoke-2/smoke/fire"}
        (held, *_) = [line for line in lines if line["event"] == "gate.held"]
        assert (held["level"], held["cause"]) == ("info", "fire")


async def test_what_people_do_with_gates_stands_in_the_log(tmp_path: Path) -> None:
    async with compound(tmp_path) as it, running(it.site) as gateway:
        for command in ("gate.open", "gate.hold", "gate.release"):
            assert (await it.person(command, gate="north", reason="x"))["ok"]
        async with asyncio.timeout(10):
            while "gate.released" not in (log := gateway.log.read_text()):
                await asyncio.sleep(0.05)
        lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
        gates = [line for line in lines if str(line["event"]).startswith("gate.")]
        assert {line["level"] for line in gates} == {"info"}
        assert [line["event"] for line in gates] == ["gate.opened", "gate.held", "gate.released"]

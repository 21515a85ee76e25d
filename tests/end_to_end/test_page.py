"""The local page of a real gateway on real wires: what it shows, who may do what, and what it never does."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from gateway.config.load import load
from gateway.local.passwords import hashed
from tests.end_to_end.browsing import Browser, listening
from tests.end_to_end.camera_site import camera_site, site_text
from tests.end_to_end.compound import HEAD, RELAY, SMOKE, Compound, compound
from tests.end_to_end.process import GatewayProcess, running

USERS = {"zhang": "guard", "li": "steward", "wang": "technician"}
SECRETS = {name: hashed(f"password of {name}", name.encode().ljust(16)) for name in USERS}
SITE = f"""\
{HEAD}
lines:
  gate-io: {{driver: modbus, tcp: "127.0.0.1:1"}}
zones: {{b3: {{name: 3号楼}}}}
devices:
  smoke-1: {{line: gate-io, unit: 2, place: 3号楼2层, {SMOKE}}}
  smoke-2: {{line: gate-io, unit: 3, place: 3号楼3层, {SMOKE}}}
  relay-tcp:
    line: gate-io
    unit: 1
{RELAY}
gates:
  north: {{name: 北门, open: relay-tcp.do1, hold: relay-tcp.do2, on_loss: keep}}
linkage:
  evacuation: {{hold: [north], set: [relay-tcp.do3]}}
"""


def with_page(text: str, folder: Path, more: str = "") -> str:
    """The site with the page, and its users' secrets in the folder."""
    for name, secret in SECRETS.items():
        (folder / f"{name}.pass").write_text(secret + "\n")
        (folder / f"{name}.pass").chmod(0o600)
    users = ", ".join(f"{name}: {{role: {role}, password: {{file: {name}.pass}}}}" for name, role in USERS.items())
    page = f"status: {{listen: '127.0.0.1:2', users: {{{users}}}{more}}}"
    if "http: {" in text:
        return text.replace("http: {", f"http: {{{page}, ")
    return f"{text}http: {{{page}}}\n"


def page_of(site: Path) -> str:
    """Where the page of a site file is."""
    file = load(site).site
    assert file is not None
    assert file.http is not None
    assert file.http.status is not None
    scheme = "http" if file.http.status.tls is None else "https"
    return f"{scheme}://{file.http.status.listen}"


@asynccontextmanager
async def page_site(folder: Path, text: str = SITE) -> AsyncIterator[tuple[Compound, str, GatewayProcess]]:
    async with compound(folder, with_page(text, folder)) as it, running(it.site) as gateway:
        base = page_of(it.site)
        await listening(base)
        yield it, base, gateway


async def test_a_fire_is_seen_acknowledged_verified_reset_and_the_gate_released(tmp_path: Path) -> None:
    async with page_site(tmp_path) as (it, base, _), Browser(base) as guard, Browser(base) as nobody:
        told = await guard.log_in("zhang", "password of zhang")
        assert (told["name"], told["role"]) == ("zhang", "guard")
        assert "alarm.reset" in told["commands"]
        assert "device.disable" not in told["commands"]
        async with guard.looking() as seen, nobody.looking() as public:
            await seen.until(lambda state: state["devices"]["smoke-2"]["points"]["smoke"]["quality"] == "GOOD")
            assert seen.state["gates"]["north"]["name"] == "北门"
            for device in ("smoke-1", "smoke-2"):
                it.virtual.set(f"{device}.smoke", 1)
            alarm = await seen.until(lambda state: state["alarms"]["smoke-2/smoke/fire"]["alarm"])
            await seen.until(lambda state: "fire:evacuation" in state["gates"]["north"]["causes"])
            assert (await guard.do(seen, "alarm.acknowledge", alarm=alarm))[1]["ok"]
            await seen.until(lambda state: state["alarms"]["smoke-2/smoke/fire"]["acknowledged"])
            await public.until(lambda state: state["alarms"]["smoke-2/smoke/fire"]["acknowledged"])
            assert "zhang" not in str(public.state)
            assert (await guard.do(seen, "alarm.verify", alarm=alarm, result="real"))[1]["ok"]
            await seen.until(lambda state: state["alarms"]["smoke-2/smoke/fire"]["verified_as"] == "real")
            for device in ("smoke-1", "smoke-2"):
                it.virtual.set(f"{device}.smoke", 0)
            for device in ("smoke-1", "smoke-2"):
                await seen.until(partial(_is_clear, f"{device}/smoke/fire"))
                status, reply = await guard.do(seen, "alarm.reset", alarm=f"{device}/smoke/fire")
                assert (status, reply["ok"]) == (200, True), reply
            await seen.until(lambda state: state["gates"]["north"]["causes"] == ["after"])
            assert (await guard.do(seen, "gate.release", gate="north"))[1]["ok"]
            await seen.until(lambda state: state["gates"]["north"]["commanded"] == "idle")
        status, told = await guard.get("/history?stream=alarm&limit=50")
        assert status == 200
        assert {"alarm.raised", "alarm.acknowledged", "alarm.verified", "alarm.reset"} <= {
            event["type"] for event in told["events"]
        }
        status, told = await guard.get(f"/history?stream=alarm&alarm={alarm}")
        assert {event["data"]["alarm"] for event in told["events"]} == {alarm}
        status, told = await guard.get("/audit?by=zhang")
        assert next(event["data"]["cmd"] for event in told["events"]) == "gate.release"
        assert {event["data"]["account"] for event in told["events"]} == {"page:zhang"}


async def test_each_role_does_what_do_gives_it_and_nobody_does_anything(tmp_path: Path) -> None:
    async with page_site(tmp_path) as (it, base, _), Browser(base) as browser:
        async with browser.looking() as seen:
            await seen.until(lambda state: state["devices"]["smoke-1"].get("answering"))
            status, reply = await browser.do(seen, "gate.open", gate="north")
            assert (status, reply["error"]["code"]) == (401, "not-logged-in")
            asked = {
                "gate.open": {"gate": "north", "reason": "访客"},
                "device.disable": {"device": "smoke-1", "for": "1m", "reason": "test"},
            }
            may = {"zhang": 1, "li": 1, "wang": 2}
            for name, count in may.items():
                await browser.log_in(name, f"password of {name}")
                for number, (cmd, args) in enumerate(asked.items()):
                    status, reply = await browser.do(seen, cmd, **args)
                    assert status == 200
                    refused = not reply["ok"] and reply["error"]["code"] == "not-allowed"
                    assert refused is (number >= count), (name, cmd, reply)
            assert (await browser.do(seen, "gate.open", gate="south"))[1]["error"]["code"] == "bad-args"
            await it.until(lambda: len(it.written("relay-tcp", "do1")) >= 2)
            await browser.post("/logout", {})
            moved = len(it.written("relay-tcp"))
            assert (await browser.do(seen, "gate.open", gate="north"))[0] == 401
        for path in ("/history", "/passages", "/pictures/x", "/audit", "/frames?line=gate-io"):
            assert (await browser.get(path))[0] == 401
        assert len(it.written("relay-tcp")) == moved


async def test_nobody_says_by_a_command_what_only_the_page_says(tmp_path: Path) -> None:
    async with page_site(tmp_path) as (_, base, _), Browser(base) as browser:
        await browser.log_in("wang", "password of wang")
        async with browser.looking() as seen:
            for cmd, args in (("access.viewed", {"what": "plate", "passage": "p-none"}), ("page.code", {})):
                status, reply = await browser.do(seen, cmd, **args)
                assert (status, reply["ok"], reply["error"]["code"]) == (200, False, "not-allowed")
        told = (await browser.get("/audit"))[1]["events"]
        assert "person.viewed" not in {event["type"] for event in told}
        assert "page.code" not in {event["data"].get("cmd") for event in told}


async def test_what_was_seen_too_long_ago_moves_nothing(tmp_path: Path) -> None:
    async with page_site(tmp_path) as (it, base, gateway), Browser(base) as guard:
        await guard.log_in("zhang", "password of zhang")
        async with guard.looking() as seen:
            await seen.until(lambda state: state["devices"]["relay-tcp"].get("answering"))
            life, _, beat = seen.seen.rpartition("-")
        for old in (
            f"{life}-{int(beat) - 4}",
            f"0{life[1:]}x-{beat}",
            f"{life}-{int(beat) + 9}",
            None,
            7,
            "",
            "x" * 100,
        ):
            told = {"cmd": "gate.open", "args": {"gate": "north"}, "seen": old}
            status, reply = await guard.post("/do", told)
            assert (status, reply["error"]["code"]) == (409, "stale"), old
        await gateway.kill()
        async with running(it.site):
            await listening(base)
            status, reply = await guard.post("/do", {"cmd": "gate.open", "args": {"gate": "north"}, "seen": seen.seen})
            assert (status, reply["error"]["code"]) == (409, "stale"), "of a life before; the login has survived"
            async with guard.looking() as again:
                await again.until(lambda state: state["devices"]["relay-tcp"].get("answering"))
                assert it.written("relay-tcp") == []
                assert (await guard.do(again, "gate.open", gate="north"))[1]["ok"]


async def test_a_press_that_comes_twice_moves_once(tmp_path: Path) -> None:
    async with page_site(tmp_path) as (it, base, _), Browser(base) as guard:
        await guard.log_in("zhang", "password of zhang")
        async with guard.looking() as seen:
            await seen.until(lambda state: state["devices"]["relay-tcp"].get("answering"))
            args = {"gate": "north", "reason": "访客"}
            told = {"cmd": "gate.open", "args": args, "seen": seen.seen, "press": "a1"}
            assert (await guard.post("/do", told))[1]["ok"]
            await it.until(lambda: len(it.written("relay-tcp", "do1")) == 2)
            status, reply = await guard.post("/do", told)
            assert (status, reply["error"]["code"]) == (409, "repeated")
            assert len(it.written("relay-tcp", "do1")) == 2
            assert (await guard.post("/do", {**told, "press": "a2"}))[1]["ok"]
            assert (await guard.post("/do", {**told, "press": 7}))[0] == 400


async def test_a_page_that_comes_back_gets_what_it_has_missed(tmp_path: Path) -> None:
    async with page_site(tmp_path) as (it, base, _), Browser(base) as browser:
        async with browser.looking() as stays, browser.looking() as seen:
            await seen.until(lambda state: state["devices"]["smoke-1"]["points"]["smoke"]["quality"] == "GOOD")
            it.virtual.set("smoke-1.smoke", 1)
            await stays.until(lambda state: state["alarms"]["smoke-1/smoke/fire"])
            async with browser.session.get("/events", headers={"Last-Event-ID": seen.n}) as response:
                first = await response.content.readuntil(b"\n\n")
                first += await response.content.readuntil(b"\n\n") + await response.content.readuntil(b"\n\n")
            assert b"event: patch" in first or b"event: state" not in first
            async with browser.session.get("/events", headers={"Last-Event-ID": "other.1"}) as response:
                first = await response.content.readuntil(b"event: state")
        status, snapshot = await browser.get("/state")
        assert status == 200
        assert snapshot["state"]["alarms"].keys() >= {"smoke-1/smoke/fire"}
        assert snapshot["n"].partition(".")[0] == snapshot["seen"].partition("-")[0]


async def test_a_denied_car_is_let_in_by_one_press_and_every_look_stands_in_the_audit(tmp_path: Path) -> None:
    text = with_page(site_text({"cam": "driver: hikvision, mode: push"}), tmp_path)
    async with AsyncExitStack() as stack:
        site = await stack.enter_async_context(camera_site(tmp_path, text))
        await stack.enter_async_context(running(site.it.site))
        base = page_of(site.it.site)
        guard = await stack.enter_async_context(Browser(base))
        await listening(base)
        await site.ready()
        await guard.log_in("zhang", "password of zhang")
        async with guard.looking() as seen:
            await site.sees("cam", "沪C99988")
            passage, shown = await seen.until(lambda state: next(iter(state["passages"].items())))
            assert (shown["decision"], shown["reason"]) == ("denied", "unknown")
            assert "沪C99988" not in str(seen.state)
            status, reply = await guard.do(seen, "gate.open", gate="g-cam", reason="访客", passage=passage)
            assert (status, reply["ok"]) == (200, True), reply
            await site.until_moved("cam")
            refused = (await guard.do(seen, "access.who"))[1]
            assert refused["error"]["code"] == "not-allowed"
            steward = await stack.enter_async_context(Browser(base))
            await steward.log_in("li", "password of li")
            assert (await steward.do(seen, "access.who"))[1]["ok"]
        status, told = await guard.get(f"/passages?id={passage}")
        assert (status, told["passages"][0]["plate"]) == (200, "沪C99988")
        await _picture(guard, told["passages"][0]["pictures"])
        status, told = await guard.get("/audit?limit=20")
        viewed = [event["data"] for event in told["events"] if event["type"] == "person.viewed"]
        mine = [one for one in viewed if one["by"] == "zhang"]
        assert {one["what"] for one in mine} == {"plate", "picture"}
        assert {(one["role"], one["passage"]) for one in mine} == {("guard", passage)}
        assert "沪C99988" not in str(told)
        status, csv = await guard.get("/audit?format=csv")
        assert status == 200
        assert csv.startswith(b"\xef\xbb\xbftime,type,by,account")


def _is_clear(alarm: str, state: Any) -> bool:
    return not state["alarms"][alarm]["active"]


async def _picture(guard: Browser, pictures: list[str]) -> None:
    """It is kept a moment after the passage."""
    async with asyncio.timeout(10):
        while (found := await guard.get(f"/pictures/{pictures[0]}"))[0] != 200:
            await asyncio.sleep(0.05)
    assert found[1][:3] == b"\xff\xd8\xff"
    assert (await guard.get("/pictures/nothing"))[0] == 404


async def test_what_is_on_the_wire_is_shown_in_words(tmp_path: Path) -> None:
    async with page_site(tmp_path) as (it, base, _), Browser(base) as guard:
        await it.until_well("smoke-1")
        await guard.log_in("zhang", "password of zhang")
        status, told = await guard.get("/frames?line=gate-io&seconds=60")
        assert status == 200
        assert told["bus"] is False
        assert {one["verdict"] for one in told["exchanges"][:-1]} == {"answered"}  # the last may be under way
        assert {one["asked"] for one in told["exchanges"] if one.get("device") == "smoke-1"} == {"read holding 0 x 1"}
        assert told["devices"]["smoke-1"]["requests"] > 0
        assert (await guard.get("/frames?line=nothing"))[0] == 404
        async with asyncio.timeout(15):
            while not (told := (await guard.get("/history?point=smoke-1.smoke&hours=1"))[1])["values"]:
                await asyncio.sleep(0.05)
        assert told["values"][-1] == 0


async def test_a_heart_beat_comes_every_five_seconds_and_a_log_out_ends_the_stream(tmp_path: Path) -> None:
    async with page_site(tmp_path) as (_, base, _), Browser(base) as guard, Browser(base) as nobody:
        await guard.log_in("zhang", "password of zhang")
        async with guard.looking() as seen, nobody.looking() as public:
            first, began = seen.seen, asyncio.get_running_loop().time()
            await seen.until(lambda _: seen.seen != first, within=12)
            await seen.until(lambda _: seen.events.count("beat") == 3, within=12)
            assert 4.0 < asyncio.get_running_loop().time() - began < 20.0
            assert (await guard.post("/logout", {}))[0] == 200
            async with asyncio.timeout(5):
                while not seen.ended:
                    await asyncio.sleep(0.02)
            assert not public.ended
        assert (await guard.get("/me"))[1] == {"read_only": False, "users": True}


async def test_readings_leave_at_most_four_times_a_second_and_an_alarm_at_once(tmp_path: Path) -> None:
    async with page_site(tmp_path) as (it, base, _), Browser(base) as browser, browser.looking() as seen:
        await seen.until(lambda state: state["devices"]["smoke-1"]["points"]["smoke"]["quality"] == "GOOD")
        patches, began = seen.events.count("patch"), asyncio.get_running_loop().time()
        for turn in range(30):
            it.virtual.set("relay-tcp.di1", turn % 2 == 0)
            await asyncio.sleep(0.1)
        took = asyncio.get_running_loop().time() - began
        assert seen.events.count("patch") - patches <= 4 * took + 2

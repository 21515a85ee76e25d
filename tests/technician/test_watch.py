"""`watch`: one picture and the frames of the running gateway."""

import asyncio
import re
import sys
from pathlib import Path
from typing import Any

from gateway.local.control import NAME
from gateway.technician.tables import shares
from gateway.technician.watch import describe, heard, state
from tests.technician.command import site_gateway
from tests.technician.yard import virtual, watched


async def until_heard(folder: Path) -> None:
    """Until every device has answered once."""
    async with asyncio.timeout(20):
        while True:
            devices = (await asyncio.to_thread(state, folder / "store" / NAME))["devices"]
            if all(device["requests"] - device["timeouts"] >= 1 for device in devices.values()):
                return
            await asyncio.sleep(0.05)


async def test_one_picture_has_values_ages_devices_load_and_alarms(tmp_path: Path) -> None:
    async with watched(tmp_path) as (path, site):
        site.set("limit.level", 2.5)
        site.set("smoke.smoke", "alarm")
        await until_heard(tmp_path)
        async with asyncio.timeout(10):
            while not (await asyncio.to_thread(state, tmp_path / "store" / NAME))["alarms"]:
                await asyncio.sleep(0.05)
        ended = await site_gateway("watch", path)
        by_socket = await site_gateway("watch", "--once", "--socket", tmp_path / "store" / NAME)

    assert ended.status == by_socket.status == 0
    lines = ended.out.splitlines()
    assert any(re.match(r"limit\.level +2\.5 m +GOOD +\d+\.\d s$", line) for line in lines)
    assert any(re.match(r"climate +bus +answers +\d+/\d+ +\d+ +0 +0 +\d+%$", line) for line in lines)
    assert any(re.match(r"critical +fire +smoke/smoke/fire +unack ", line) for line in lines)
    assert any(re.match(r"bus +up +\d+% +\d+ .*\d+%", line) for line in lines)
    assert "yard / gw" in by_socket.out
    assert "uplink NOT connected" in by_socket.out


async def test_frames_are_remembered_and_decoded(tmp_path: Path) -> None:
    async with watched(tmp_path) as (path, site):
        site.set("limit.level", 1.5)
        await until_heard(tmp_path)
        ended = await site_gateway("watch", path, "--frames", "bus", "--dump")
        nowhere = await site_gateway("watch", path, "--frames", "net", "--dump")

    assert ended.status == 0
    told = re.search(
        r"> unit 7  read holding 10 x 1  \[07 03 00 0a 00 01 \w\w \w\w\]\n"
        r" +< unit 7  15  (.*) ms  CRC ok  \[07 03 02 00 0f",
        ended.out,
    )
    assert told is not None, ended.out
    assert 15 < float(told[1]) < 500
    assert nowhere.status == 2
    assert "there is no line 'net'" in nowhere.err


async def test_frames_of_modbus_tcp_are_decoded(tmp_path: Path) -> None:
    text = """\
version: 1
site: {id: yard}
gateway: gw
uplink: {url: "mqtt://127.0.0.1:1"}
lines: {net: {driver: modbus, tcp: "127.0.0.1:1"}}
devices: {relay: {profile: waveshare-relay-8ch, line: net, unit: 3}}
"""
    async with watched(tmp_path, text) as (_, site):
        site.set("relay.di2", True)
        async with asyncio.timeout(20):
            words: list[str] = []
            while not any("< unit 3  01000000" in text for text in words):
                await asyncio.sleep(0.05)
                told = await asyncio.to_thread(heard, tmp_path / "store" / NAME, "net")
                words = [describe(exchange, told.offset) for exchange in told.exchanges]

    assert any("> unit 3  read discrete 0 x 8" in text and "< unit 3  01000000" in text for text in words)


async def test_live_frames_follow_until_interrupted(tmp_path: Path) -> None:
    async with watched(tmp_path) as (path, _):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-u", "-m", "gateway", "watch", str(path), "--frames", "bus"),
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        async with asyncio.timeout(20):
            seen = b"".join([await process.stdout.readline() for _ in range(8)])
        process.send_signal(2)
        async with asyncio.timeout(5):
            status = await process.wait()

    assert status == 0
    assert seen.count(b"> unit ") == 4
    assert b"CRC ok" in seen


async def test_no_daemon(tmp_path: Path) -> None:
    async with virtual(tmp_path) as (path, _):
        ended = await site_gateway("watch", path)
    wrong = await site_gateway("watch", path, "--dump")

    assert ended.status == 3
    assert wrong.status == 64


def test_the_dead_device_eats_the_bus() -> None:
    device: dict[str, Any] = {"line": "bus", "answer_p50": 0.01, "timeout": 0.3}
    devices = {
        "dead": {**device, "requests": 10, "timeouts": 10},
        "live": {**device, "requests": 10, "timeouts": 0},
        "new": {**device, "line": "other", "requests": 0, "timeouts": 0},
    }
    eaten = shares({"devices": devices, "wire": {"dead": 0.02, "live": 0.02, "new": 0.02}})

    assert eaten["dead"] > 0.9
    assert eaten["dead"] + eaten["live"] == 1.0
    assert eaten["new"] == 0.0

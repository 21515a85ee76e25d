"""Any bytes on any socket never end the process, nor keep a fire from opening the gate."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import orjson
import pytest
import yaml

from gateway.local.control import NAME
from tests.cloud.raw_broker import Raw, raw_broker
from tests.drivers.anpr.case import all_cases
from tests.drivers.modbus.test_dialin import free_port
from tests.end_to_end.compound import HEAD, RELAY, SMOKE, Compound, compound
from tests.end_to_end.process import running
from tests.reliability.babble import IMEI, Babble, again_and_again
from tests.reliability.loaded import resident

SITE = f"""\
{HEAD}
lines: {{io: {{driver: modbus, tcp: "127.0.0.1:1"}}}}
zones: {{b3: {{}}}}
devices:
  smoke: {{line: io, unit: 2, {SMOKE}}}
  relay:
    line: io
    unit: 1
{RELAY}
gates:
  north: {{open: relay.do1, hold: relay.do2, on_loss: keep}}
  south: {{open: relay.do3, on_loss: keep}}
linkage: {{evacuation: {{trigger: any, hold: [north]}}}}
"""
GROWS_AT_MOST = 24 << 20
"""Bytes; bounded buffers fill in the first seconds."""
SOCKETS = {"modbus", "broker", "dial-in", "camera", "status", "control"}


class Sockets(NamedTuple):
    """The broker, and the ports on which the gateway listens."""

    broker: Raw
    dial_in: int
    cameras: int
    status: int


async def test_any_bytes_on_any_socket_never_end_the_process(tmp_path: Path) -> None:
    await live_among_babble(tmp_path, seed=1, seconds=20.0)


@pytest.mark.soak
async def test_any_bytes_for_long(tmp_path: Path) -> None:
    await live_among_babble(tmp_path, seed=int(time.time()), seconds=1800.0)


async def live_among_babble(folder: Path, seed: int, seconds: float) -> None:
    babble = Babble(seed, all_cases())
    async with compound(folder, SITE) as it, babbling(it, babble) as sockets, running(it.site) as gateway:
        pid, at_first = gateway.pid, 0
        control = folder / "store" / NAME
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(again_and_again(say))
                for say in (
                    lambda: babble.dial_in(sockets.dial_in),
                    lambda: babble.camera(sockets.cameras),
                    lambda: babble.status(sockets.status),
                    lambda: babble.control(control),
                    lambda: babble.broker(sockets.broker),
                )
            ]
            await asyncio.sleep(seconds / 4)
            at_first = resident(gateway)
            await asyncio.sleep(seconds * 3 / 4)
            for task in tasks:
                task.cancel()

        grown = resident(gateway) - at_first
        assert gateway.running, f"seed {seed}"
        assert gateway.pid == pid
        assert babble.said.keys() == SOCKETS
        assert min(babble.said.values()) >= 50, babble.said
        assert grown < GROWS_AT_MOST, f"seed {seed}: {grown >> 20} MiB"
        assert not it.on("relay.do2"), "nobody said fire"
        told = sockets.broker.published
        told.clear()
        it.virtual.set("smoke.smoke", 1)
        await it.until(lambda: it.on("relay.do2"))
        assert any(alarm["name"] == "fire" for alarm in await it.asked("alarms"))
        await it.until(lambda: any(b"alarm.raised" in one.payload and b'"fire"' in one.payload for one in told), 60.0)
        await until_right(sockets.status, b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n")
        await until_right(sockets.cameras, push(orjson.dumps({"plate": "沪C99988", "confidence": 99, "id": "last"})))
        lines = (await it.asked("status"))["lines"]
        assert {name: line["driver_bugs"] for name, line in lines.items()} == {"io": 0, "odd": 0, "dtu": 0}
        log = gateway.log.read_text(errors="replace")
        assert "Traceback" not in log, f"seed {seed}: a fault of ours, though it was survived"


def push(body: bytes) -> bytes:
    """A camera's, as it should be."""
    told = f"Host: h\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    return f"POST /cameras/lpr?token=token HTTP/1.1\r\n{told}\r\n\r\n".encode() + body


async def until_right(port: int, request: bytes) -> None:
    """Wait until this is answered with 200: who guessed tokens is made to wait."""
    async with asyncio.timeout(60.0):
        while True:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(request)
            said = await reader.readline()
            writer.close()
            if b" 200 " in said:
                return
            await asyncio.sleep(0.2)


@asynccontextmanager
async def babbling(it: Compound, babble: Babble) -> AsyncIterator[Sockets]:
    """What the gateway connects to, and the site file with it."""
    ports = {name: free_port() for name in ("dial_in", "cameras", "status")}
    odd = await asyncio.start_server(babble.modbus_tcp, "127.0.0.1", 0)
    (it.folder / "token").write_text("token\n")
    (it.folder / "token").chmod(0o600)
    async with raw_broker() as broker:
        site = yaml.safe_load(it.site.read_text(encoding="utf-8"))
        site["uplink"]["url"] = f"mqtt://127.0.0.1:{broker.port}"
        site["lines"]["odd"] = {"driver": "modbus", "tcp": f"127.0.0.1:{odd.sockets[0].getsockname()[1]}"}
        site["lines"]["dtu"] = {
            "driver": "modbus", "listen": f"127.0.0.1:{ports['dial_in']}", "register": IMEI.decode(), "framing": "rtu",
        }  # fmt: skip
        for line in ("odd", "dtu"):
            for unit in range(1, 7):
                points = {"p": {"at": "holding 0", "every": "100ms"}, "text": {"at": "input 7", "type": "text:20"}}
                site["devices"][f"{line}-{unit}"] = {
                    "line": line, "unit": unit, "limits": {"timeout": "100ms"}, "points": points,
                }  # fmt: skip
        site["http"] = {
            "cameras": {"listen": f"127.0.0.1:{ports['cameras']}"},
            "status": {"listen": f"127.0.0.1:{ports['status']}"},
        }
        site["cameras"] = {
            "lpr": {
                "driver": "generic", "address": "127.0.0.1", "gate": "south", "direction": "in",
                "token": {"file": "token"},
            }
        }  # fmt: skip
        it.site.write_text(yaml.safe_dump(site, allow_unicode=True), encoding="utf-8")
        async with odd:
            yield Sockets(broker, **ports)

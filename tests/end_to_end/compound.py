"""A compound with gates: virtual devices on real wires, a real broker, a cloud with a key, and people at the socket.

async with compound(tmp_path) as it, running(it.site) as gateway: ...
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.config.load import load
from gateway.local.control import NAME, ask
from simulators.cloud import Cloud, Event
from simulators.device import Written
from simulators.signing import Signer, make_keys, read_secret_key
from simulators.site import VirtualSite
from tests.contract.judge import faults
from tests.mosquitto import Mosquitto, mosquitto

SOURCE = "/sites/xima-xincun/gateways/xmxc-01"
HEAD = """\
version: 1
site: {id: xima-xincun}
gateway: xmxc-01
uplink: {url: "mqtt://127.0.0.1:1"}
commands:
  keys:
    - {id: cloud, ed25519: cloud.pub.pem}
    - {id: all, ed25519: cloud.pub.pem, allow: [gate.open, device.disable, write, config.get, config.apply]}
store: {path: store, max_size: 64MiB, alarm_reserve: 1MiB}
"""
SMOKE = """\
kind: smoke-detector, zone: b3, points: {smoke: {at: holding 0, every: 1s, alarms: {fire: {kind: fire, equals: 1}}}}\
"""
RELAY = """\
    kind: relay
    points:
      do1: {at: coil 0, write: true}
      do2: {at: coil 1, write: true}
      do3: {at: coil 2, write: true}
      do4: {at: coil 3, write: true}
      do5: {at: coil 4, write: true}
      di1: {at: discrete 0}
      di2: {at: discrete 1}
"""
SITE = f"""\
{HEAD}
lines:
  loop: {{driver: modbus, serial: /dev/nowhere, baudrate: 9600}}
  gate-io: {{driver: modbus, tcp: "127.0.0.1:1"}}
zones: {{b3: {{}}}}
devices:
  smoke-1: {{line: loop, unit: 1, {SMOKE}}}
  smoke-2: {{line: loop, unit: 2, {SMOKE}}}
  # Asks for more than this bus can carry.
  meter-1: {{line: loop, unit: 3, points: {{energy: {{at: input 0, type: "text:200", every: 250ms}}}}}}
  meter-2: {{line: loop, unit: 4, points: {{energy: {{at: input 0, type: "text:200", every: 250ms}}}}}}
  relay-bus:
    line: loop
    unit: 9
{RELAY}
  relay-tcp:
    line: gate-io
    unit: 1
{RELAY}
gates:
  north: {{open: relay-tcp.do1, hold: relay-tcp.do2, on_loss: keep}}
  south: {{open: relay-bus.do1, hold: relay-bus.do2, on_loss: keep}}
linkage:
  evacuation: {{hold: [north, south], set: [relay-tcp.do3]}}
"""


@dataclass
class Compound:
    """What a test has at hand."""

    folder: Path
    site: Path
    broker: Mosquitto
    virtual: VirtualSite
    cloud: Cloud
    signer: Signer
    every_key: Signer

    async def person(self, cmd: str, by: str = "zhang", role: str = "guard", **args: Any) -> Event:
        """Ask as a person on site, by the control socket."""
        request: dict[str, Any] = {"ask": "do", "cmd": cmd, "args": args, "by": by, "role": role}
        reply: Any = await asyncio.to_thread(ask, self.folder / "store" / NAME, request, 65.0)
        return dict(reply)

    async def asked(self, what: str) -> Any:
        """What the daemon tells at its control socket."""
        async with asyncio.timeout(10):
            while True:
                try:
                    return await asyncio.to_thread(ask, self.folder / "store" / NAME, {"ask": what})
                except ConnectionError:
                    await asyncio.sleep(0.02)  # it has only just started

    async def command(self, cmd: str, signer: Signer | None = None, **args: Any) -> Event:
        """Ask from the cloud, once the gateway is there."""
        await self.online()
        return await self.cloud.command(cmd, args, signer=signer or self.signer)

    async def online(self) -> None:
        """Wait until the gateway has said that it is there."""
        await self.cloud.until(lambda seen: "status" in seen.latest and seen.latest["status"]["data"]["online"])

    async def until(self, reached: Callable[[], bool], within: float = 10.0) -> None:
        """Wait for something on the wires. Raises TimeoutError."""
        async with asyncio.timeout(within):
            while not reached():
                await asyncio.sleep(0.01)

    async def until_standing(self, *alarms: str, within: float = 10.0) -> dict[str, Any]:
        """Wait until these alarms stand (`DEVICE/POINT/NAME`): each by its name."""
        async with asyncio.timeout(within):
            while True:
                standing = {one["subject"]: one for one in map(_named, await self.asked("alarms"))}
                if standing.keys() >= set(alarms):
                    return standing
                await asyncio.sleep(0.05)

    async def until_well(self, device: str, within: float = 20.0) -> None:
        """Wait until the gateway says that the device answers."""
        async with asyncio.timeout(within):
            while (await self.asked("status"))["devices"][device]["answering"] is not True:
                await asyncio.sleep(0.05)

    def written(self, device: str, point: str | None = None, since: float = 0.0) -> list[Written]:
        """Writes that a device carried out."""
        return [
            one
            for one in self.virtual.writes
            if one.device == device and point in (None, one.point) and one.mono >= since
        ]

    def on(self, *outputs: str) -> bool:
        """Whether all these outputs are on."""
        return all(self.virtual.value(output) is True for output in outputs)


def _named(alarm: Any) -> dict[str, Any]:
    parts = (alarm["device"], alarm["point"], alarm["name"])
    return {**alarm, "subject": "/".join(part for part in parts if part)}


@asynccontextmanager
async def compound(folder: Path, text: str = SITE, **options: object) -> AsyncIterator[Compound]:
    """Everything but the gateway itself. `options`: lines of mosquitto.conf."""
    secret, public = make_keys()
    (folder / "cloud.pub.pem").write_bytes(public)
    (folder / "cloud.key.pem").write_bytes(secret)
    source, site = folder / "real.yaml", folder / "site.yaml"
    source.write_text(text)
    loaded = load(source)
    assert loaded.site is not None, loaded.problems
    key = read_secret_key(folder / "cloud.key.pem")
    async with AsyncExitStack() as stack:
        broker = await stack.enter_async_context(mosquitto(folder, **options))
        virtual = await stack.enter_async_context(VirtualSite(loaded.site))
        cloud = Cloud(broker.port)
        group = await stack.enter_async_context(asyncio.TaskGroup())
        listening = group.create_task(cloud.run(), name="cloud")
        await cloud.until(lambda seen: seen.connections > 0)
        url = f"mqtt://127.0.0.1:{broker.port}"
        virtual.write_site(source, site, broker_url=url, store_path=folder / "store")
        try:
            yield Compound(
                folder, site, broker, virtual, cloud, Signer(key, "cloud", SOURCE), Signer(key, "all", SOURCE)
            )
            assert [fault for reply in cloud.replies.values() for fault in faults(reply)] == []
        finally:
            listening.cancel()

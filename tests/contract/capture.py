"""Takes down what a real gateway tells a real broker: `python -m tests.contract.capture` renews the page's examples."""

import asyncio
import json
import re
import tempfile
import time
from base64 import b64decode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiomqtt
from paho.mqtt.subscribeoptions import SubscribeOptions

from gateway.clock import Clock
from gateway.cloud.journal.journal import Journal
from gateway.cloud.mqtt.types import Broker
from gateway.cloud.mqtt.uplink import UplinkSettings
from gateway.config.load import load
from simulators.site import VirtualSite
from tests.cloud.running import an_uplink
from tests.contract.regenerate import DOCS
from tests.end_to_end.process import running
from tests.mosquitto import mosquitto

PAGE = DOCS / "mqtt.md"
EXAMPLE = re.compile(r"```json ([a-z.]+)\n(.*?)```", re.DOTALL)
_WIDTH = 118
SOURCE = "/sites/xima-xincun/gateways/xmxc-01"
JPEG = b64decode(
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAFA3PEY8MlBGQUZaVVBfeMiCeG5uePWvuZHI//////////////////////////////////////////"
    "//////////wAALCAAIAAgBAREA/8QAFAABAAAAAAAAAAAAAAAAAAAAAP/EABQQAQAAAAAAAAAAAAAAAAAAAAD/2gAIAQEAAD8AP//Z"
)
"""A grey square."""
ROOT = "site-gateway/v1/xima-xincun/xmxc-01"
SITE = """\
version: 1
site: {id: xima-xincun, name: 西马新村, timezone: Asia/Shanghai}
gateway: xmxc-01
uplink: {url: "mqtt://127.0.0.1:1"}
lines: {loop: {driver: modbus, tcp: "127.0.0.1:1"}}
zones: {building-3: {name: 3号楼}}
devices:
  smoke-3-2f:
    {profile: jdrk-rs-yg-n01, line: loop, unit: 12, zone: building-3, place: 3号楼2层走廊}
  tank:
    line: loop
    unit: 31
    points:
      level: {at: holding 0, type: int16, scale: 0.01, unit: m, every: 200ms, alarms: {low: {kind: water, below: 0.5}}}
store: {path: store, max_size: 64MiB, alarm_reserve: 1MiB}
"""


@dataclass
class Message:
    """One PUBLISH as a subscriber sees it."""

    topic: str
    """Below `T`."""
    retain: bool
    content_type: str | None
    event: dict[str, Any]
    at: float = field(default_factory=time.monotonic)
    """When it came."""

    @property
    def name(self) -> str:
        """The short type, `alarm.raised`."""
        kind: str = self.event["type"]
        return kind.removeprefix("sitegateway.").removesuffix(".v1")


@dataclass
class Recorder:
    """Everything below `T`, in the order of arrival."""

    messages: list[Message] = field(default_factory=list)
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, port: int) -> None:
        """Listen until cancelled."""
        options = SubscribeOptions(qos=1, retainAsPublished=True)
        async with aiomqtt.Client("127.0.0.1", port, protocol=aiomqtt.ProtocolVersion.V5) as client:
            await client.subscribe(f"{ROOT}/#", options=options)
            self.ready.set()
            async for message in client.messages:
                kind = getattr(message.properties, "ContentType", None)
                topic = str(message.topic).removeprefix(ROOT + "/")
                self.messages.append(Message(topic, message.retain, kind, json.loads(bytes(message.payload or b""))))
                self._news.set()

    def of(self, name: str, subject: str | None = None) -> list[dict[str, Any]]:
        """The events of a short type."""
        found = (message.event for message in self.messages if message.name == name)
        return [event for event in found if subject in (None, event.get("subject"))]

    async def until(self, reached: Callable[[], bool], timeout: float = 20.0) -> None:
        """Wait until `reached()`. Raises TimeoutError."""
        async with asyncio.timeout(timeout):
            while not reached():
                self._news.clear()
                await self._news.wait()

    async def told(self, name: str, subject: str | None = None, times: int = 1) -> None:
        """Wait until such an event has come so often."""
        await self.until(lambda: len(self.of(name, subject)) >= times)


async def capture(folder: Path) -> list[Message]:
    """Two lives of a gateway: alarms, a lost line, a stop, a damaged store, a kill."""
    source, site = folder / "site.yaml", folder / "virtual.yaml"
    source.write_text(SITE)
    loaded = load(source)
    assert loaded.site is not None, loaded.problems
    async with mosquitto(folder) as broker, VirtualSite(loaded.site) as virtual, recording(broker.port) as recorder:
        url = f"mqtt://127.0.0.1:{broker.port}"
        virtual.write_site(source, site, broker_url=url, store_path=folder / "store")
        virtual.set("tank.level", 2.0)
        async with running(site) as gateway:
            await _live(virtual, recorder)
            await gateway.stop()
        await recorder.until(lambda: [one["data"]["online"] for one in recorder.of("gateway.status")][-1:] == [False])
        (store,) = (folder / "store").glob("*.db")
        store.write_bytes(b"damaged" * 4096)
        store.with_name("journal.db-log").unlink()  # from it all of so short a life could be saved
        async with running(site) as gateway:
            await recorder.told("store.quarantined")
            await recorder.told("store.rolled-back")
            await recorder.told("alarm.reset")  # the fire of the life before, which nobody here knows any more
            await recorder.until(lambda: recorder.of("gateway.status")[-1]["data"]["online"])
            await gateway.kill()
        await recorder.until(lambda: not recorder.of("gateway.status")[-1]["data"]["online"])
        return recorder.messages


async def _live(virtual: VirtualSite, recorder: Recorder) -> None:
    fire, low = "smoke-3-2f/smoke/fire", "tank/level/low"
    await recorder.told("telemetry.readings", "smoke-3-2f")
    virtual.set("tank.level", 0.3)
    await recorder.told("alarm.raised", low)
    virtual.set("smoke-3-2f.smoke", 1)
    await recorder.told("alarm.raised", fire)
    virtual.set("smoke-3-2f.smoke", 0)
    await recorder.told("alarm.cleared", fire)
    virtual.set("smoke-3-2f.smoke", 1)
    await recorder.told("alarm.updated", fire)
    virtual.set("tank.level", 2.0)
    await recorder.told("alarm.cleared", low)
    virtual.line_down("loop")
    await recorder.told("alarm.raised", "loop/down")
    virtual.line_up("loop")
    await recorder.told("alarm.cleared", "loop/down")
    await recorder.until(
        lambda: not [one for one in recorder.of("alarm.active")[-1]["data"]["alarms"] if one["name"] == "down"]
    )


async def picture(folder: Path) -> list[Message]:
    """A picture by way of a real journal, uplink and broker."""
    clock = Clock()
    async with mosquitto(folder) as broker, recording(broker.port) as recorder, Journal(
        folder / "store", source=SOURCE, now=clock.now, alarm_reserve=0, simulated=True
    ) as journal:  # fmt: skip
        settings = UplinkSettings(
            Broker("127.0.0.1", broker.port, "gw"), ROOT, SOURCE, journal.boot, "1", simulated=True
        )
        uplink = an_uplink(settings, journal, clock)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(uplink.run(), name="uplink")
            now, name = clock.now(), "01a2033d-0753-7007-852d-80193d284402"
            journal.picture("lpr-north-in", "01a2033d-0753-7007-852d-80193d284401", "plate", now, JPEG, name)
            await recorder.told("picture.taken", "lpr-north-in")
            task.cancel()
    return [message for message in recorder.messages if message.name == "picture.taken"]


@asynccontextmanager
async def recording(port: int) -> AsyncIterator[Recorder]:
    """A recorder that listens already."""
    recorder = Recorder()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(recorder.run(port), name="recorder")
        await recorder.ready.wait()
        yield recorder
        task.cancel()


def examples(messages: list[Message]) -> dict[str, dict[str, Any]]:
    """The event that the page shows of each type."""
    shown: dict[str, dict[str, Any]] = {}
    for message in messages:
        event, name = message.event, message.name
        if name == "gateway.status" and "time" not in event:
            name = "gateway.status.will"
        if name == "telemetry.readings" and "BAD" in json.dumps(event):
            continue
        if name.startswith("alarm.") and name != "alarm.active" and event["subject"] != "smoke-3-2f/smoke/fire":
            continue
        if name == "alarm.active" and len(event["data"]["alarms"]) != 1:
            continue
        shown.setdefault(name, event)
    return shown


def filled(value: object, indent: int = 0) -> str:
    """JSON in lines that are as full as they may be."""
    plain = json.dumps(value, ensure_ascii=False)
    if len(plain) + indent <= _WIDTH or not isinstance(value, dict | list):
        return plain
    if isinstance(value, list):
        items = [filled(item, indent + 1) for item in value]
    else:
        items = [f"{json.dumps(key)}: {filled(item, indent + 1)}" for key, item in value.items()]
    lines = [""]
    for number, item in enumerate(items):
        piece = item + ("," if number < len(items) - 1 else "")
        if lines[-1] and len(lines[-1].rpartition("\n")[2]) + len(piece) + indent + 2 > _WIDTH:
            lines.append(piece)
        else:
            lines[-1] += f" {piece}" if lines[-1] else piece
    begin, end = "{}" if isinstance(value, dict) else "[]"
    return begin + ("\n" + " " * (indent + 1)).join(lines) + end


def main() -> None:
    """Put what was taken down into the page."""
    with tempfile.TemporaryDirectory() as folder:
        shown = examples(asyncio.run(capture(Path(folder))))
    with tempfile.TemporaryDirectory() as folder:
        shown |= examples(asyncio.run(picture(Path(folder))))

    def renewed(match: re.Match[str]) -> str:
        return f"```json {match[1]}\n{filled(shown[match[1]])}\n```"

    PAGE.write_text(EXAMPLE.sub(renewed, PAGE.read_text()))


if __name__ == "__main__":
    main()

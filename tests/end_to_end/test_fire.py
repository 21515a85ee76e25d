"""The main job, end to end: a fire on a real Modbus wire becomes an event at a real MQTT broker."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import orjson
import pytest
from cloudevents.v1.http import from_json

from simulators.cloud import Cloud
from tests.end_to_end.process import running
from tests.foreign.rtu_server import foreign_rtu
from tests.foreign.tcp_server import foreign_tcp
from tests.mosquitto import mosquitto

SITE = """\
version: 1
site: {{id: xima-xincun, name: 西马新村, timezone: Asia/Shanghai}}
gateway: xmxc-01
uplink: {{url: "mqtt://127.0.0.1:{broker}"}}
lines:
  loop: {{driver: modbus, {line}}}
zones:
  building-3: {{name: 3号楼}}
devices:
  smoke-3-2f:
    line: loop
    unit: 1
    kind: smoke-detector
    zone: building-3
    place: 3号楼2层走廊
    points:
      smoke:
        at: holding 3
        values: {{0: normal, 1: alarm}}
        every: 200ms
        alarms: {{fire: {{kind: fire, equals: 1}}}}
      temperature: {{at: holding 4, type: int16, scale: 0.1, unit: °C, every: 1s}}
store: {{path: {store}, max_size: 64MiB, alarm_reserve: 1MiB}}
"""


@pytest.fixture
async def broker_and_cloud(tmp_path: Path) -> AsyncIterator[tuple[int, Cloud]]:
    """A mosquitto, and a cloud that listens before anything is told."""
    async with AsyncExitStack() as stack:
        broker = await stack.enter_async_context(mosquitto(tmp_path))
        cloud = Cloud(broker.port)
        group = await stack.enter_async_context(asyncio.TaskGroup())
        task = group.create_task(cloud.run(), name="cloud")
        await cloud.until(lambda seen: seen.connections > 0)
        yield broker.port, cloud
        task.cancel()


async def fire_and_restart(site: Path, cloud: Cloud, flip: "Flip") -> None:
    """Raise by flipping, restart the gateway, clear by flipping back: one occurrence under one id."""
    subject = "smoke-3-2f/smoke/fire"
    async with running(site) as gateway:
        await cloud.until(lambda seen: bool(seen.of("telemetry.readings")))
        await flip(1)
        await cloud.until(lambda seen: bool(seen.of("alarm.raised", subject)))
        status, seconds = await gateway.stop()
        assert status == 0
        assert seconds < 2.0
    async with running(site):
        await cloud.until(lambda seen: len(seen.of("gateway.started")) == 2)
        await flip(0)
        await cloud.until(lambda seen: bool(seen.of("alarm.cleared", subject)))

    raised, cleared = cloud.of("alarm.raised", subject) + cloud.of("alarm.cleared", subject)
    assert raised["data"]["alarm"] == cleared["data"]["alarm"]
    assert cleared["data"]["state"] == "latched-unack"
    assert len(cloud.of("alarm")) == 2
    assert cloud.gaps() == {}
    for event in cloud.events:
        assert from_json(orjson.dumps(event))["type"].startswith("sitegateway.")


class Flip:
    """Sets the smoke register of a foreign server."""

    def __init__(self, server: object) -> None:
        self._set = server.set  # type: ignore[attr-defined]

    async def __call__(self, value: int) -> None:
        await self._set("holding", 3, value)


async def test_modbus_tcp_from_a_foreign_server(tmp_path: Path, broker_and_cloud: tuple[int, Cloud]) -> None:
    broker, cloud = broker_and_cloud
    async with foreign_tcp() as server:
        site = tmp_path / "site.yaml"
        line = f"tcp: 127.0.0.1:{server.port}"
        site.write_text(SITE.format(broker=broker, line=line, store=tmp_path / "store"))

        await fire_and_restart(site, cloud, Flip(server))

    raised = cloud.of("alarm.raised")[0]
    assert raised["source"] == "/sites/xima-xincun/gateways/xmxc-01"
    assert (raised["data"]["zone"], raised["data"]["place"]) == ("building-3", "3号楼2层走廊")
    assert (raised["data"]["value"], raised["data"]["text"]) == (1, "alarm")


async def test_modbus_rtu_from_a_foreign_server(tmp_path: Path, broker_and_cloud: tuple[int, Cloud]) -> None:
    broker, cloud = broker_and_cloud
    async with foreign_rtu() as server:
        site = tmp_path / "site.yaml"
        line = f"serial: {server.port}, baudrate: 9600"
        site.write_text(SITE.format(broker=broker, line=line, store=tmp_path / "store"))

        await fire_and_restart(site, cloud, Flip(server))

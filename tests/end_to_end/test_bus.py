"""A fire on a paced RS-485 bus at 9600 baud, with one unit silent and one answering garbage."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

from gateway.config.load import load
from simulators.cloud import Cloud
from simulators.site import VirtualSite
from tests.end_to_end.process import running
from tests.mosquitto import mosquitto

SITE = """\
version: 1
site: {id: xima-xincun}
gateway: xmxc-01
uplink: {url: "mqtt://127.0.0.1:1"}
lines: {loop: {driver: modbus, serial: /dev/nowhere, baudrate: 9600}}
zones: {b3: {}}
devices:
  smoke-1: {profile: jdrk-rs-yg-n01, line: loop, unit: 1, zone: b3}
  smoke-2: {profile: jdrk-rs-yg-n01, line: loop, unit: 2, zone: b3}
  smoke-3: {profile: jdrk-rs-yg-n01, line: loop, unit: 3, zone: b3}
  climate: {profile: xy-md02, line: loop, unit: 4}
store: {path: store, max_size: 64MiB, alarm_reserve: 1MiB}
"""


async def test_a_fire_beside_a_silent_and_a_garbling_unit(tmp_path: Path) -> None:
    source = tmp_path / "site.yaml"
    source.write_text(SITE)
    loaded = load(source)
    assert loaded.site is not None, loaded.problems
    async with AsyncExitStack() as stack:
        broker = await stack.enter_async_context(mosquitto(tmp_path))
        virtual = await stack.enter_async_context(VirtualSite(loaded.site))
        cloud = Cloud(broker.port)
        group = await stack.enter_async_context(asyncio.TaskGroup())
        listening = group.create_task(cloud.run(), name="cloud")
        await cloud.until(lambda seen: seen.connections > 0)
        site = tmp_path / "virtual.yaml"
        url = f"mqtt://127.0.0.1:{broker.port}"
        virtual.write_site(source, site, broker_url=url, store_path=tmp_path / "store")
        virtual.silence("smoke-2")
        virtual.garble("smoke-3")

        async with running(site) as gateway:
            await cloud.until(lambda seen: bool(seen.of("alarm.raised", "smoke-2/silent")), timeout=30)
            await cloud.until(lambda seen: bool(seen.of("alarm.raised", "smoke-3/silent")), timeout=30)
            virtual.set("smoke-1.smoke", 1)
            await cloud.until(lambda seen: bool(seen.of("alarm.raised", "smoke-1/smoke/fire")))
            virtual.set("smoke-1.smoke", 0)
            await cloud.until(lambda seen: bool(seen.of("alarm.cleared", "smoke-1/smoke/fire")))
            virtual.restore("smoke-2")
            virtual.restore("smoke-3")
            await cloud.until(lambda seen: len(seen.of("alarm.cleared")) == 3, timeout=60)
            status, seconds = await gateway.stop()
        listening.cancel()

    assert (status, seconds < 2.0) == (0, True)
    assert len(cloud.of("alarm")) == 6, "nothing else was told: garbage raised no alarm"
    assert all(event["simulated"] is True for event in cloud.events)
    for event in cloud.of("telemetry.readings"):
        for point, reading in event["data"]["readings"].items():
            good = reading["quality"] == "GOOD"
            assert good == (reading["value"] is not None), "a reading is good, or it has no value and a reason"
            assert good or reading["reason"] in {"silent", "never-read"}
            if good and point == "smoke":
                assert reading["value"] in (0, 1)


async def test_it_stops_within_two_seconds_with_a_silent_device_on_the_wire(tmp_path: Path) -> None:
    source = tmp_path / "site.yaml"
    source.write_text(SITE)
    loaded = load(source)
    assert loaded.site is not None
    async with VirtualSite(loaded.site) as virtual:
        site = tmp_path / "virtual.yaml"
        virtual.write_site(source, site, broker_url="mqtt://127.0.0.1:1", store_path=tmp_path / "store")
        for device in loaded.site.devices:
            virtual.silence(device)
        async with running(site) as gateway:
            while virtual.counts("loop").requests == 0:
                await asyncio.sleep(0.01)
            status, seconds = await gateway.stop()

    assert status == 0
    assert seconds < 2.0

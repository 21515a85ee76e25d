"""Broker away, gateway killed: every transition arrives once in effect, in order."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

from gateway.local.control import NAME, ask
from simulators.cloud import Cloud
from tests.end_to_end.process import running
from tests.foreign.tcp_server import TcpServer, foreign_tcp
from tests.mosquitto import mosquitto

SITE = """\
version: 1
site: {{id: xima-xincun}}
gateway: xmxc-01
uplink: {{url: "mqtt://127.0.0.1:{broker}"}}
lines: {{loop: {{driver: modbus, tcp: "127.0.0.1:{modbus}"}}}}
devices:
  tank:
    line: loop
    points: {{level: {{at: holding 0, every: 50ms, alarms: {{water: {{kind: gas, latch: false, below: 10}}}}}}}}
store: {{path: {store}, max_size: 64MiB, alarm_reserve: 1MiB}}
"""


async def flip(server: TcpServer, times: int, alarms: "Standing") -> None:
    """Raise and clear so often, each time seen by the running gateway before the next."""
    for _ in range(times):
        await server.set("holding", 0, 0)
        await alarms.become(1)
        await server.set("holding", 0, 99)
        await alarms.become(0)


class Standing:
    """How many alarms stand, as the control socket of the running gateway says."""

    def __init__(self, store: Path) -> None:
        self._path = store / NAME

    async def become(self, count: int) -> None:
        async with asyncio.timeout(10):
            while True:
                try:
                    alarms = await asyncio.to_thread(ask, self._path, {"ask": "alarms"})
                except ConnectionError:
                    alarms = None
                if isinstance(alarms, list) and len(alarms) == count:
                    return
                await asyncio.sleep(0.01)


async def test_broker_stopped_and_gateway_killed_in_between(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        kept = {"persistence": "true", "persistence_location": f"{tmp_path}/"}
        broker = await stack.enter_async_context(mosquitto(tmp_path, **kept))
        server = await stack.enter_async_context(foreign_tcp())
        await server.set("holding", 0, 99)
        cloud = Cloud(broker.port)
        group = await stack.enter_async_context(asyncio.TaskGroup())
        listening = group.create_task(cloud.run(), name="cloud")
        await cloud.until(lambda seen: seen.connections > 0)
        store = tmp_path / "store"
        site = tmp_path / "site.yaml"
        site.write_text(SITE.format(broker=broker.port, modbus=server.port, store=store))
        standing = Standing(store)

        async with running(site) as first:
            await flip(server, 3, standing)
            await broker.stop()
            await flip(server, 10, standing)
            await server.set("holding", 0, 0)
            await standing.become(1)
            await first.kill()
        async with running(site) as second:
            await standing.become(1)
            await server.set("holding", 0, 99)
            await standing.become(0)
            await flip(server, 5, standing)
            await broker.start()
            await cloud.until(lambda seen: len(seen.of("alarm")) >= 38, timeout=30)
            await second.stop()
        listening.cancel()

    told = cloud.of("alarm")
    assert [event["type"].split(".")[2] for event in told] == ["raised", "cleared"] * 19
    raised, cleared = told[::2], told[1::2]
    assert [event["data"]["alarm"] for event in raised] == [event["data"]["alarm"] for event in cleared]
    assert len({event["data"]["alarm"] for event in raised}) == 19
    assert [int(event["sequence"]) for event in told] == list(range(1, 39))
    times = [event["time"] for event in told]
    assert times == sorted(times)
    lost = {stream: numbers for (_, stream), numbers in cloud.gaps().items()}
    assert set(lost) <= {"telemetry"}

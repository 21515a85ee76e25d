"""The link to the broker fails as links do: everything arrives once in effect, in order; what stands comes first."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.local.control import NAME, ask
from simulators.proxy import Proxy
from tests.contract.capture import Message, Recorder, recording
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
DEAD_WITHIN = 11.0
"""10 s after a publish; looked at once a second."""
BACK_WITHIN = 1.0


@dataclass
class Stage:
    """gateway -> proxy -> mosquitto -> recorder, and the device that the gateway watches."""

    proxy: Proxy
    recorder: Recorder
    server: TcpServer
    store: Path

    async def flip(self, times: int) -> None:
        """Raise and clear so often, each seen by the gateway before the next."""
        for _ in range(times):
            await self.become(raised=True)
            await self.become(raised=False)

    async def become(self, *, raised: bool) -> None:
        """Change the level, and wait until the gateway knows."""
        await self.server.set("holding", 0, 0 if raised else 99)
        async with asyncio.timeout(10):
            while bool(await asyncio.to_thread(ask, self.store / NAME, {"ask": "alarms"})) != raised:
                await asyncio.sleep(0.01)

    async def told(self, count: int) -> None:
        """Wait until so many alarm events have come."""
        await self.recorder.until(lambda: len(self.alarms()) >= count)

    def alarms(self) -> list[Message]:
        """The alarm events, each once, in the order of their first arrival."""
        first: dict[str, Message] = {}
        for message in self.recorder.messages:
            if message.topic == "alarm":
                first.setdefault(message.event["id"], message)
        return [*first.values()]

    def once_in_effect(self) -> bool:
        """Each transition under one id, in order, without gaps."""
        told = [message.event for message in self.alarms()]
        kinds = [event["type"].split(".")[2] for event in told]
        return [int(event["sequence"]) for event in told] == list(range(1, len(told) + 1)) and all(
            kind == ("raised", "cleared")[number % 2] for number, kind in enumerate(kinds)
        )


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with AsyncExitStack() as stack:
        broker = await stack.enter_async_context(mosquitto(tmp_path))
        recorder = await stack.enter_async_context(recording(broker.port))
        server = await stack.enter_async_context(foreign_tcp())
        await server.set("holding", 0, 99)
        proxy = await stack.enter_async_context(Proxy(broker.port))
        store, site = tmp_path / "store", tmp_path / "site.yaml"
        site.write_text(SITE.format(broker=proxy.port, modbus=server.port, store=store))
        await stack.enter_async_context(running(site))
        stage = Stage(proxy, recorder, server, store)
        await recorder.told("gateway.status")
        await stage.flip(1)
        await stage.told(2)
        yield stage


async def dialled_again(proxy: Proxy, before: int, within: float) -> float:
    """Wait for the next connection; the seconds it took."""
    began = time.monotonic()
    async with asyncio.timeout(within):
        while proxy.accepted == before:
            await asyncio.sleep(0.01)
    return time.monotonic() - began


async def back(stage: Stage, standing: int, record: Callable[[str, object], None]) -> None:
    """End the fault: what stands is told first of all, and soon."""
    seen = len(stage.recorder.messages)
    restored = time.monotonic()
    stage.proxy.restore()
    await stage.recorder.until(lambda: len(stage.recorder.messages) > seen, BACK_WITHIN + 5)
    first = stage.recorder.messages[seen]
    record("seconds from the link to alarm.active", first.at - restored)
    assert first.topic == "alarm/active"
    assert len(first.event["data"]["alarms"]) == standing
    assert first.at - restored <= BACK_WITHIN


async def test_a_hanging_link_is_noticed_and_what_stands_is_told_first(
    stage: Stage, record_property: Callable[[str, object], None]
) -> None:
    dialled = stage.proxy.accepted
    stage.proxy.black_hole()
    await stage.become(raised=True)
    took = await dialled_again(stage.proxy, dialled, DEAD_WITHIN + 5)
    record_property("seconds until the dead link was noticed", took)
    assert took <= DEAD_WITHIN
    await stage.become(raised=False)
    await stage.flip(2)
    await stage.become(raised=True)

    await back(stage, 1, record_property)

    await stage.told(9)
    assert stage.once_in_effect()


async def test_a_cut_link_that_stays_dark_for_a_while(
    stage: Stage, record_property: Callable[[str, object], None]
) -> None:
    dialled = stage.proxy.accepted
    stage.proxy.black_hole()
    stage.proxy.cut()
    await dialled_again(stage.proxy, dialled, 5.0)
    await stage.flip(3)
    await stage.become(raised=True)

    await back(stage, 1, record_property)

    await stage.told(9)
    assert stage.once_in_effect()


async def test_nobody_listens_for_a_while(stage: Stage, record_property: Callable[[str, object], None]) -> None:
    stage.proxy.refuse()
    await stage.flip(3)

    await back(stage, 0, record_property)

    await stage.told(8)
    assert stage.once_in_effect()


async def test_a_link_that_hangs_and_goes_on_costs_nothing(stage: Stage) -> None:
    dialled = stage.proxy.accepted
    stage.proxy.stall()
    await stage.flip(3)
    stage.proxy.restore()

    await stage.told(8)

    assert stage.once_in_effect()
    assert stage.proxy.accepted == dialled, "it was the same connection all the time"


async def test_resets_in_the_middle_of_packets(stage: Stage) -> None:
    for after in (1, 40, 300, 900, 2000):
        dialled = stage.proxy.accepted
        stage.proxy.reset_in_packet(after)
        await stage.flip(1)
        await dialled_again(stage.proxy, dialled, 10)

    await stage.told(12)

    assert stage.once_in_effect()

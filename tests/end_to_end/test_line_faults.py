"""A Modbus TCP line fails as links do: it is told, no false value is, and all is well once it is back."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from simulators.proxy import Proxy
from tests.contract.capture import Recorder, recording
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
    limits: {{timeout: 200ms}}
    points: {{level: {{at: holding 0, every: 100ms, alarms: {{water: {{below: 10}}}}}}}}
store: {{path: {store}, max_size: 64MiB, alarm_reserve: 1MiB}}
"""
FAULTS: dict[str, Callable[[Proxy], None]] = {
    "black hole": Proxy.black_hole,
    "stall": Proxy.stall,
    "refused": Proxy.refuse,
}


@pytest.fixture
async def wired(tmp_path: Path) -> AsyncIterator[tuple[Proxy, Recorder, TcpServer]]:
    async with AsyncExitStack() as stack:
        broker = await stack.enter_async_context(mosquitto(tmp_path))
        recorder = await stack.enter_async_context(recording(broker.port))
        server = await stack.enter_async_context(foreign_tcp())
        await server.set("holding", 0, 99)
        proxy = await stack.enter_async_context(Proxy(server.port))
        site = tmp_path / "site.yaml"
        site.write_text(SITE.format(broker=broker.port, modbus=proxy.port, store=tmp_path / "store"))
        await stack.enter_async_context(running(site))
        await recorder.until(lambda: 99 in values(recorder))
        yield proxy, recorder, server


def values(recorder: Recorder) -> list[Any]:
    """What the level was said to be."""
    told = (event["data"]["readings"] for event in recorder.of("telemetry.readings"))
    return [readings["level"]["value"] for readings in told if "level" in readings]


@pytest.mark.parametrize("fault", FAULTS)
async def test_lost_and_back(
    wired: tuple[Proxy, Recorder, TcpServer], fault: str, record_property: Callable[[str, object], None]
) -> None:
    proxy, recorder, server = wired
    lost = time.monotonic()
    FAULTS[fault](proxy)
    await recorder.until(lambda: bool(recorder.of("alarm.raised")), 30)
    (raised,) = recorder.of("alarm.raised")
    assert (raised["subject"] in {"tank/silent", "loop/down"}, raised["data"]["kind"]) == (True, "fault")
    await recorder.until(lambda: values(recorder)[-1] is None)

    record_property(f"{fault}: seconds until {raised['subject']}", time.monotonic() - lost)

    await server.set("holding", 0, 5)
    restored = time.monotonic()
    proxy.restore()
    await recorder.told("alarm.raised", "tank/level/water")
    record_property(f"{fault}: seconds until the water was told", time.monotonic() - restored)
    await recorder.until(lambda: bool(recorder.of("alarm.cleared", raised["subject"])), 30)

    assert set(values(recorder)) <= {99, None, 5}
    (water,) = recorder.of("alarm.raised", "tank/level/water")
    assert water["data"]["value"] == 5

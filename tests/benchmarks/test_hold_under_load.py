"""The answer that confirms a fire -> the hold on the wire, under each load and under all at once; memory in each."""

import asyncio
import resource
import sys
from collections.abc import AsyncIterator, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.benchmarks.measure import quantile
from tests.end_to_end.process import GatewayProcess, running
from tests.mosquitto import Mosquitto, mosquitto
from tests.reliability.floods import cars, publishing
from tests.reliability.loaded import Loaded, most_resident
from tests.reliability.served import registers

ZONES = 8
WARM_S = 3.0
"""So long a load lasts before the first fire."""
WITHIN = 1.0
MOST = 120 << 20
ALL = ("properties", "cameras", "chatter", "full store", "dead broker")
LOADS = ((), *((load,) for load in ALL), ALL)
COMMANDS = "site-gateway/v1/xima-xincun/xmxc-01/command"


@dataclass
class Run:
    """What a load is laid on."""

    site: Loaded
    gateway: GatewayProcess
    broker: Mosquitto
    store: Path

    @asynccontextmanager
    async def under(self, loads: Collection[str]) -> AsyncIterator[None]:
        """These loads, from now on."""
        async with AsyncExitStack() as stack:
            if "full store" in loads:
                size = max(path.stat().st_size for path in self.store.glob("journal.db*"))
                resource.prlimit(self.gateway.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
            if "properties" in loads:
                await stack.enter_async_context(publishing(self.broker.port, COMMANDS, 50))
            if "cameras" in loads:
                await stack.enter_async_context(cars(self.site.camera_port, self.site.camera_path(), 200))
            if "chatter" in loads:
                await stack.enter_async_context(self.site.chatter())
            yield


@pytest.mark.parametrize("loads", LOADS, ids=[" and ".join(loads) or "nothing" for loads in LOADS])
async def test_hold_under_load(tmp_path: Path, loads: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    async with registers() as wire, mosquitto(tmp_path) as broker:
        site = Loaded(tmp_path, wire, ZONES, cameras=1)
        path = site.write(broker.port)
        async with running(path) as gateway, Run(site, gateway, broker, tmp_path / "store").under(loads):
            await asyncio.sleep(WARM_S)
            late = []
            for zone in range(ZONES):
                # All at once: half of it with the broker there, so that its flood reaches us.
                if "dead broker" in loads and zone == (ZONES // 2 if len(loads) > 1 else 0):
                    await broker.stop(kill=True)
                late.append(await site.fire(zone))
            most = most_resident(gateway)
    name = " + ".join(loads) or "nothing"
    with capsys.disabled():
        sys.stdout.write(
            f"\n{name}: p50 {quantile(late, 0.5) * 1000:.0f} ms, max {max(late) * 1000:.0f} ms, "
            f"resident {most / (1 << 20):.0f} MiB\n"
        )
    assert quantile(late, 0.99) < WITHIN
    assert most < MOST

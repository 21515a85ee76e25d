"""A compound for one test: a wire that notes what it serves, a broker, a cloud, and one gateway after the other."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.local.control import NAME, ask
from simulators.cloud import Cloud, Event
from tests.end_to_end.process import RUN, GatewayProcess
from tests.mosquitto import Mosquitto, mosquitto
from tests.reliability.served import Registers, registers

BATTERY = "panel/battery/battery"

SITE = """\
version: 1
site: {{id: xima-xincun}}
gateway: xmxc-01
uplink: {{url: "mqtt://127.0.0.1:{broker}"}}
lines: {{loop: {{driver: modbus, tcp: "127.0.0.1:{modbus}"}}}}
devices:
  panel:
    line: loop
    kind: smoke-detector
    points:
      smoke: {{at: holding 0, every: 50ms, alarms: {{fire: {{kind: fire, equals: 1}}}}}}
      battery: {{at: holding 1, every: 50ms, alarms: {{battery: {{kind: gas, latch: false, above: 50}}}}}}
      level: {{at: holding 2, every: 50ms, alarms: {{high: {{kind: water, above: 50, for: 1s}}}}}}
  other:
    line: loop
    unit: 2
    kind: smoke-detector
    points: {{smoke: {{at: holding 10, every: 50ms, alarms: {{fire: {{kind: fire, equals: 1}}}}}}}}
store: {{path: {store}, max_size: 64MiB, alarm_reserve: 1MiB}}
"""


@dataclass
class World:
    """One site and what is around it. The gateway is started, again and again, by the test."""

    served: Registers
    broker: Mosquitto
    cloud: Cloud
    site: Path
    store: Path

    @asynccontextmanager
    async def running(self, command: Sequence[str] = RUN) -> AsyncIterator[GatewayProcess]:
        """One life; killed at the end if it still runs."""
        process = GatewayProcess(self.site, self.log, command)
        await process.start()
        try:
            yield process
        finally:
            if process.running:
                await process.kill()

    async def life(self, command: Sequence[str]) -> int:
        """Start it and wait until it ends by itself: its status."""
        with self.log.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable, *command, str(self.site), stdout=log, stderr=log
            )
        async with asyncio.timeout(20):
            return await process.wait()

    @property
    def log(self) -> Path:
        return self.site.with_suffix(".log")

    async def status(self) -> dict[str, Any]:
        """What the control socket says."""
        state = await asyncio.to_thread(ask, self.store / NAME, {"ask": "status"})
        assert isinstance(state, dict)
        return state

    async def fire(self, address: int, subject: str) -> float:
        """It burns there, and the cloud knows; how long that took in seconds."""
        begun = time.monotonic()
        self.served.set(address, 1)
        await self.cloud.until(lambda seen: bool(seen.of("alarm.raised", subject)))
        return time.monotonic() - begun

    async def flip(self, times: int = 1) -> float:
        """The battery alarm comes and goes, each seen by the cloud before the next; the slowest in seconds."""
        slowest = 0.0
        for _ in range(times):
            for value, kind in ((60, "alarm.raised"), (0, "alarm.cleared")):
                begun, before = time.monotonic(), len(self.cloud.of(kind, BATTERY))
                self.served.set(1, value)
                await self.cloud.until(lambda seen, k=kind, n=before: len(seen.of(k, BATTERY)) > n)  # type: ignore[misc]
                slowest = max(slowest, time.monotonic() - begun)
        return slowest

    async def until_told(self, kind: str, subject: str, seconds: float = 20.0) -> Event:
        """Wait for the event of this type and subject."""
        await self.cloud.until(lambda seen: bool(seen.of(kind, subject)), seconds)
        return self.cloud.of(kind, subject)[0]

    def must_be_whole(self) -> None:
        """Raised and cleared in turn, one id an occurrence, numbers without a gap but in telemetry."""
        told = self.cloud.of("alarm", BATTERY)
        kinds = [event["type"].split(".")[2] for event in told]
        assert kinds == [("raised", "cleared")[number % 2] for number in range(len(kinds))]
        ids = [event["data"]["alarm"] for event in told]
        assert ids[::2][: len(ids) // 2] == ids[1::2]
        assert len(set(ids)) == len(ids[::2])
        assert {stream for _, stream in self.cloud.gaps()} <= {"telemetry"}


@asynccontextmanager
async def world(folder: Path, **options: object) -> AsyncIterator[World]:
    """A compound in `folder`; no gateway runs yet. `options`: more lines of mosquitto.conf."""
    async with AsyncExitStack() as stack:
        kept = {"persistence": "true", "persistence_location": f"{folder}/", "max_queued_messages": 100_000}
        broker = await stack.enter_async_context(mosquitto(folder, **kept, **options))
        served = await stack.enter_async_context(registers())
        cloud = Cloud(broker.port)
        group = await stack.enter_async_context(asyncio.TaskGroup())
        listening = group.create_task(cloud.run(), name="cloud")
        await cloud.until(lambda seen: seen.connections > 0)
        site, store = folder / "site.yaml", folder / "store"
        site.write_text(SITE.format(broker=broker.port, modbus=served.port, store=store))
        it = World(served, broker, cloud, site, store)
        try:
            yield it
        except BaseException:  # a failed assertion and a time-out alike: shown, then raised on
            sys.stderr.write(it.log.read_text(errors="replace") if it.log.exists() else "")
            raise
        listening.cancel()

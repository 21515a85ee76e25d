"""A store with a backlog, and what it costs.

`python -m tests.benchmarks.backlog fill|open|drain FOLDER COUNT|PORT [PROTOCOL]`

`fill` leaves so many alarms that wait. `open` says the resident bytes with the journal and the uplink there and no
broker. `drain` sends it all to the broker, and says how long that took and the most that was resident; PROTOCOL is
5, or 4 for MQTT 3.1.1.
"""

import asyncio
import os
import sys
import time
from pathlib import Path

import orjson

from gateway import log
from gateway.clock import Clock
from gateway.cloud.journal.journal import Journal
from gateway.cloud.mqtt.types import Broker, Unobserved
from gateway.cloud.mqtt.uplink import UplinkSettings
from gateway.model import Emit, Stream
from tests.benchmarks.measure import resident_mib
from tests.cloud.running import an_uplink

ROOT, SOURCE = "t/site/gw", "/sites/s/gateways/g"
STEP = 1000
TEXT = "x" * 400
"""As much as makes an event as large as an alarm's."""


def journal(folder: Path) -> Journal:
    """The journal of these measurements."""
    return Journal(folder, source=SOURCE, now=Clock().now, alarm_reserve=0)


async def fill(folder: Path, count: int) -> None:
    """So many alarms that wait."""
    async with journal(folder) as store:
        for first in range(0, count, STEP):
            at, written = Clock().now(), asyncio.Event()
            store.append(
                [
                    Emit(Stream.ALARM, "alarm.raised", "d/p/a", {"text": TEXT}, f"id-{first + n}", at)
                    for n in range(STEP)
                ],
                then=written.set,
            )
            await written.wait()


class Connected(Unobserved):
    """Notes that the broker is there."""

    def __init__(self, connected: asyncio.Event) -> None:
        self._connected = connected

    def link(self, up: bool, why: str) -> None:
        del why
        if up:
            self._connected.set()


async def send(folder: Path, port: int, protocol: int, *, drain: bool) -> None:
    """Open it, and send it if there is a broker."""
    connected = asyncio.Event()
    clock = Clock()
    async with journal(folder) as store:
        settings = UplinkSettings(Broker("127.0.0.1", port, "gw", protocol), ROOT, SOURCE, store.boot, "1")
        uplink = an_uplink(settings, store, clock, Connected(connected))
        uplink.set_standing({}, 0)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(uplink.run(), name="uplink")
            await asyncio.sleep(0.5)
            most = resident_mib(os.getpid())
            seconds = 0.0
            if drain:
                await connected.wait()
                begun = time.monotonic()
                while store.waiting(Stream.ALARM):
                    most = max(most, resident_mib(os.getpid()))
                    await asyncio.sleep(0.02)
                seconds = time.monotonic() - begun
            task.cancel()
    os.write(1, orjson.dumps({"resident": most, "seconds": seconds}) + b"\n")


if __name__ == "__main__":
    log.configure()
    what, where, number = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    protocol = int(sys.argv[4]) if len(sys.argv) > 4 else 5
    asyncio.run(fill(where, number) if what == "fill" else send(where, number, protocol, drain=what == "drain"))

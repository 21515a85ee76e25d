"""An hour's worth of events through journal and uplink in a process of its own, so that its memory can be seen.

`python -m tests.reliability.backlog FOLDER PORT COUNT`; writes one line of JSON for each thing that happened.
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
from tests.cloud.running import an_uplink

ROOT = "t/site/gw"
A_SECOND = 20
"""Events; of each second one alarm, one passage, one audit event, the rest telemetry."""


def say(**what: object) -> None:
    os.write(1, orjson.dumps(what) + b"\n")


def resident() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def fill(journal: Journal, clock: Clock, count: int) -> None:
    """So many events, no faster than they are committed."""
    for number in range(0, count, A_SECOND):
        at = clock.now()
        accepted = asyncio.Event()
        effects = [
            Emit(stream, f"{stream}.test", "d/p/a", {"n": number, "text": "x" * 200}, f"{stream}-{number}", at)
            for stream in (Stream.ALARM, Stream.ACCESS, Stream.AUDIT)
        ]
        for one in range(A_SECOND - len(effects)):
            journal.telemetry(f"device-{one}", {"device": one, "full": False, "readings": {}, "n": number}, at)
        journal.append(effects, then=accepted.set)
        await accepted.wait()


class Says(Unobserved):
    """Tells the test what the uplink tells."""

    def refused(self, stream: str, code: int | None) -> None:
        say(event="refused", stream=stream, code=code)

    def link(self, up: bool, why: str) -> None:
        say(event="link", up=up, why=why, at=time.monotonic())


async def main(folder: Path, port: int, count: int) -> None:
    clock = Clock()
    async with Journal(folder, source="/sites/s/gateways/g", now=clock.now, alarm_reserve=0) as journal:
        settings = UplinkSettings(Broker("127.0.0.1", port, "gw"), ROOT, "/sites/s/gateways/g", journal.boot, "1")
        uplink = an_uplink(settings, journal, clock, Says())
        uplink.set_standing({}, 0)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(uplink.run(), name="uplink")
            await fill(journal, clock, 2000)
            before = resident()
            await fill(journal, clock, count - 2000)
            say(event="filled", grown=resident() - before)
            live = asyncio.Event()
            at = clock.now()
            alarm = {"alarm": "live", "severity": "critical", "raised_at": at.rfc3339()}
            journal.append([Emit(Stream.ALARM, "alarm.raised", "live", alarm, "live", at)], then=live.set)
            await live.wait()
            uplink.set_standing({"live": alarm}, journal.last(Stream.ALARM))
            say(event="live", waiting=sum(map(journal.waiting, Stream)))
            most = before
            while any(map(journal.waiting, Stream)):
                most = max(most, resident())
                await asyncio.sleep(0.05)
            say(event="drained", grown=most - before, at=time.monotonic())
            task.cancel()


if __name__ == "__main__":
    log.configure()
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))

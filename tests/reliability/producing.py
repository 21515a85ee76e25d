"""A gateway's delivery under a steady load: `python -m tests.reliability.producing FOLDER PORT FIRST COUNT`.

Alarms numbered from FIRST, as fast as they are committed; says each that was accepted, with its time, and how much the
memory has grown. Ends when the broker has everything.
"""

import asyncio
import sys
from pathlib import Path

from gateway import log
from gateway.clock import Clock
from gateway.cloud.journal.journal import Journal
from gateway.cloud.mqtt.types import Broker, Limits
from gateway.cloud.mqtt.uplink import Uplink, UplinkSettings
from gateway.model import Emit, Stream
from tests.cloud.running import an_uplink
from tests.reliability.backlog import ROOT, resident, say

A_STEP = 20
LIMITS = Limits(answer=3.0)


async def main(folder: Path, port: int, first: int, count: int) -> None:
    """One life."""
    clock = Clock()
    async with Journal(folder, source="/sites/s/gateways/g", now=clock.now, alarm_reserve=0) as journal:
        settings = UplinkSettings(
            Broker("127.0.0.1", port, "gw"), ROOT, "/sites/s/gateways/g", journal.boot, "1", limits=LIMITS
        )
        uplink = an_uplink(settings, journal, clock)
        uplink.set_standing({}, 0)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(uplink.run(), name="uplink")
            say(event="begun")
            before = resident()
            for number in range(first, first + count, A_STEP):
                await produce(journal, clock, [*range(number, number + A_STEP)])
            say(event="produced", grown=resident() - before)
            sys.stdin.readline()
            await live(journal, clock, uplink)
            while any(map(journal.waiting, Stream)):
                await asyncio.sleep(0.02)
            say(event="drained", grown=resident() - before)
            task.cancel()


async def produce(journal: Journal, clock: Clock, numbers: list[int]) -> None:
    """One step, accepted."""
    at, written = clock.now(), asyncio.Event()
    effects = [Emit(Stream.ACCESS, "access.test", None, {"n": n, "text": "x" * 200}, f"r-{n}", at) for n in numbers]
    journal.append(effects, then=written.set)
    await written.wait()
    say(event="accepted", first=numbers[0], last=numbers[-1], time=at.rfc3339())


async def live(journal: Journal, clock: Clock, uplink: Uplink) -> None:
    """An alarm behind all that."""
    at, written = clock.now(), asyncio.Event()
    alarm = {"alarm": "live", "severity": "critical", "raised_at": at.rfc3339()}
    journal.append([Emit(Stream.ALARM, "alarm.raised", "live", alarm, "live", at)], then=written.set)
    await written.wait()
    uplink.set_standing({"live": alarm}, journal.last(Stream.ALARM))
    say(event="live")


if __name__ == "__main__":
    log.configure()
    asyncio.run(main(Path(sys.argv[1]), *map(int, sys.argv[2:5])))

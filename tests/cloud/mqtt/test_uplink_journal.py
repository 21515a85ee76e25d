"""The uplink with the real journal behind it."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from gateway.clock import Clock
from gateway.cloud.journal.journal import Journal
from gateway.cloud.mqtt.types import Limits
from gateway.cloud.mqtt.uplink import Uplink
from gateway.model import Emit, Stream
from simulators.broker import LocalBroker
from simulators.packets import PublishPacket
from tests.cloud.running import ROOT, Told, an_uplink, eventually, sequences, settings

QUICK = Limits(answer=2.0, retry_first=0.02, retry_quick=0.05, retry_last=0.1)


@asynccontextmanager
async def gateway(folder: Path, port: int) -> AsyncIterator[tuple[Journal, Uplink, Told]]:
    """A journal and its uplink until the block ends."""
    clock, told = Clock(synced=lambda: True), Told()
    async with Journal(folder, source="/sites/site/gateways/gw", now=clock.now, alarm_reserve=1 << 20) as journal:
        uplink = an_uplink(settings(port, QUICK), journal, clock, told)
        uplink.set_standing({}, 0)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(uplink.run(), name="uplink")
            try:
                yield journal, uplink, told
            finally:
                task.cancel()


def emit(journal: Journal, stream: Stream, text: str, count: int = 1) -> None:
    now = Clock().now()
    for _ in range(count):
        journal.append([Emit(stream, "alarm.raised", None, {"text": text}, os.urandom(8).hex(), now)])


def waiting(journal: Journal) -> int:
    return sum(stats.waiting for stats in journal.stats().streams.values())


async def test_a_backlog_over_restarts_of_broker_and_gateway(tmp_path: Path) -> None:
    async with LocalBroker() as broker:
        await broker.stop()
        async with gateway(tmp_path, broker.port) as (journal, _, _):
            for n in range(300):
                emit(journal, Stream.ALARM if n % 3 == 0 else Stream.AUDIT, str(n))
            await eventually(lambda: journal.stats().rows >= 300)
        async with gateway(tmp_path, broker.port) as (journal, _, _):
            assert waiting(journal) == 300
            await broker.start()
            await eventually(lambda: len(broker.received) > 50)
            broker.reset()
            emit(journal, Stream.ALARM, "late")
            await eventually(lambda: waiting(journal) == 0)
    for stream, count in ((Stream.ALARM, 101), (Stream.AUDIT, 200)):
        assert sequences(broker.received, stream) == list(range(1, count + 1))


async def test_a_poisonous_row_is_set_aside_and_taken_after_all(tmp_path: Path) -> None:
    poisonous = [True]

    def verdict(message: PublishPacket) -> int | None:
        return 0x99 if poisonous[0] and b"poison" in message.payload else None

    async with LocalBroker() as broker:
        broker.faults.verdict = verdict
        async with gateway(tmp_path, broker.port) as (journal, _, told):
            emit(journal, Stream.ALARM, "good", 3)
            emit(journal, Stream.ALARM, "poison")
            await eventually(lambda: told.refusals)
            emit(journal, Stream.ALARM, "good", 3)
            await eventually(lambda: waiting(journal) == 0)
            assert journal.stats().streams[Stream.ALARM].quarantined == 1
            await eventually(lambda: told.refusals[-1][1] is None)
            broker.reset()
            emit(journal, Stream.ALARM, "good")
            await eventually(lambda: len(broker.connects) == 2 and waiting(journal) == 0)
        async with gateway(tmp_path, broker.port) as (journal, uplink, told):
            emit(journal, Stream.ALARM, "good", 2)
            await eventually(lambda: waiting(journal) == 0 and uplink.snapshot().connected)
            await eventually(lambda: journal.stats().streams[Stream.ALARM].quarantined == 1)
            poisonous[0] = False
            broker.reset()
            await eventually(lambda: journal.stats().streams[Stream.ALARM].quarantined == 0)
    assert sequences(broker.received, Stream.ALARM)[-1] == 4
    assert len(set(sequences(broker.received, Stream.ALARM))) == 10
    assert {message.topic for message in broker.received} >= {f"{ROOT}/alarm", f"{ROOT}/status"}

"""Kept events once more: the same bytes, last of all, never in the way."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.cloud.commands.replay import Replay
from gateway.cloud.journal.history import History
from gateway.cloud.journal.journal import Journal
from gateway.cloud.mqtt.retained import Slot
from gateway.cloud.mqtt.send_order import Sending
from gateway.cloud.mqtt.types import Again, Limits, Unobserved
from gateway.errors import NotDone, StoreError
from gateway.model import Stream
from simulators.cloud import Cloud, Event
from tests.chance import Drawn
from tests.cloud.journaling import Hands, accepted, emit, journal, look, taken, until
from tests.cloud.memory_outbox import MemoryOutbox
from tests.cloud.running import an_uplink, settings
from tests.mosquitto import mosquitto

ALARM = "alarm"


async def delivered(one: Journal, count: int, stream: Stream = Stream.ALARM, size: int = 0) -> list[bytes]:
    """So many events that the broker has; their bytes."""
    await accepted(one, [emit(stream, pad="x" * size) for _ in range(count)])
    rows = await taken(one, stream, count)
    for row in rows:
        one.acknowledge(row)
    await accepted(one, [])
    return [row.payload for row in rows]


@asynccontextmanager
async def replaying(one: Journal) -> AsyncIterator[Replay]:
    replay = Replay(one.history)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(replay.run(), name="replay")
        try:
            yield replay
        finally:
            task.cancel()


async def drained(replay: Replay, count: int) -> list[bytes]:
    got: list[bytes] = []

    def take() -> bool:
        while (event := replay.take()) is not None:
            got.append(event.payload)
        return len(got) >= count

    await until(take)
    return got


async def test_the_same_bytes_in_order(tmp_path: Path) -> None:
    async with journal(tmp_path) as one, replaying(one) as replay:
        kept = await delivered(one, 200)
        assert await replay.begin(ALARM, 11, 190) == {"stream": "alarm", "first": 11, "last": 190}
        assert await drained(replay, 180) == kept[10:190]
        assert replay.waiting == 0
        assert replay.sent == 180


async def test_only_a_piece_is_in_memory(tmp_path: Path) -> None:
    async with journal(tmp_path) as one, replaying(one) as replay:
        await delivered(one, 300, size=20_000)
        await replay.begin(ALARM, 1, 300)
        most = 0
        async with asyncio.timeout(20):
            while replay.sent < 300:
                before = replay.sent
                while replay.take() is not None:
                    pass  # all that is in memory
                most = max(most, replay.sent - before)
                await asyncio.sleep(0)
        assert 0 < most <= 14  # 256 KiB of 20 KB


async def test_what_waits_is_no_history(tmp_path: Path) -> None:
    """It is sent by itself, in its order, and may yet be corrected."""
    async with journal(tmp_path) as one, replaying(one) as replay:
        kept = await delivered(one, 10)
        await accepted(one, [emit() for _ in range(5)])
        assert await replay.begin(ALARM, 1, 15) == {"stream": "alarm", "first": 1, "last": 10}
        assert await drained(replay, 10) == kept
        with pytest.raises(NotDone, match="nothing of alarm 11-15") as refused:
            await replay.begin(ALARM, 11, 15)
        assert refused.value.code == "bad-args"


async def test_what_the_broker_refused_is_no_history(tmp_path: Path) -> None:
    async with journal(tmp_path) as one, replaying(one) as replay:
        await accepted(one, [emit() for _ in range(3)])
        rows = await taken(one, Stream.ALARM, 3)
        one.acknowledge(rows[0])
        one.quarantine(rows[1], "refused")
        one.acknowledge(rows[2])
        await until(lambda: look(tmp_path, "SELECT state FROM outbox") == [(1,)])
        await replay.begin(ALARM, 1, 3)
        assert await drained(replay, 2) == [rows[0].payload, rows[2].payload]


async def test_what_has_expired_is_said(tmp_path: Path) -> None:
    async with journal(tmp_path, keep={Stream.TELEMETRY: 0.0}) as one, replaying(one) as replay:
        await delivered(one, 5, Stream.TELEMETRY)
        with pytest.raises(NotDone, match="nothing of telemetry 1-5"):
            await replay.begin("telemetry", 1, 5)


async def test_several_ranges_one_after_the_other_and_not_without_end(tmp_path: Path) -> None:
    async with journal(tmp_path) as one:
        kept = await delivered(one, 20)
        audit = await delivered(one, 3, Stream.AUDIT)
        replay = Replay(one.history)
        await replay.begin(ALARM, 5, 6)
        await replay.begin("audit", 1, 3)
        for _ in range(14):
            await replay.begin(ALARM, 1, 1)
        with pytest.raises(NotDone, match="16 replays") as refused:
            await replay.begin(ALARM, 1, 1)
        assert refused.value.code == "interlocked"
        async with asyncio.TaskGroup() as group:
            task = group.create_task(replay.run(), name="replay")
            assert (await drained(replay, 19))[:6] == [*kept[4:6], *audit, kept[0]]
            task.cancel()


async def test_history_outlives_the_process(tmp_path: Path) -> None:
    async with journal(tmp_path) as one:
        kept = await delivered(one, 5)
    async with journal(tmp_path) as again, replaying(again) as replay:
        await delivered(again, 2)
        assert await replay.begin(ALARM, 1, 9) == {"stream": "alarm", "first": 1, "last": 7}
        assert (await drained(replay, 7))[:5] == kept


class Broken(History):
    """A store that cannot be read."""

    def __init__(self) -> None:
        self.asked = 0

    async def edges(self, stream: Stream, first: int, last: int) -> tuple[int, int]:  # type: ignore[override]
        raise StoreError(f"{stream} {first} {last}")


async def test_a_store_that_cannot_be_read() -> None:
    with pytest.raises(NotDone, match="cannot be read") as refused:
        await Replay(Broken()).begin(ALARM, 1, 2)
    assert refused.value.code == "interlocked"


async def test_reading_does_not_hold_up_commits(tmp_path: Path) -> None:
    """A range of many numbers is found by index, and read in pieces."""
    async with journal(tmp_path) as one:
        for _ in range(20):
            await delivered(one, 1000)
        await accepted(one, [emit() for _ in range(20_000)])
        worst = 0.0
        for first in (1, 10_000, 19_999):
            begun = time.perf_counter()
            await one.history.edges(Stream.ALARM, first, 1 << 40)
            await one.history.piece(Stream.ALARM, first, 1 << 40)
            worst = max(worst, time.perf_counter() - begun)
        assert worst < 0.25


# ---- on the way ---------------------------------------------------------------------------------------


class World:
    """A sending with a window, and events to be replayed."""

    def __init__(self, window: int = 16, limit: int | None = None) -> None:
        self.outbox = MemoryOutbox()
        self.sending = Sending(
            self.outbox,
            "t",
            (Slot("active", "alarm/active"), Slot("status", "status"), Slot("health", "health")),
            limits=Limits(window=window),
            overhead=20,
            chance=Drawn(0.5),
            observer=Unobserved(),
            replayed=self,
        )
        self.again: list[Again] = []
        self.ready = asyncio.Event()
        self.mid = 0
        self.sending.connected(65535, limit)

    def take(self) -> Again | None:
        return self.again.pop(0) if self.again else None

    def send(self) -> list[str]:
        sent = []
        while message := self.sending.take(0.0):
            self.mid += 1
            self.sending.sent(self.mid, message, 0.0)
            sent.append(f"{message.topic} {'again' if message.again else ''}".strip())
        return sent


def test_a_replay_goes_last_and_a_little_at_a_time() -> None:
    world = World()
    world.again = [Again(Stream.ALARM, b"%d" % n) for n in range(10)]
    world.outbox.add(Stream.TELEMETRY)
    world.sending.reply("t/reply", b"r")
    assert world.send() == ["t/reply", "t/telemetry", *["t/alarm again"] * 4]
    assert world.send() == []
    world.sending.answered(3, 0, 0.0)
    assert world.send() == ["t/alarm again"]


def test_a_live_alarm_finds_the_way_free() -> None:
    world = World()
    world.again = [Again(Stream.AUDIT, bytes(40_000)) for _ in range(10)]
    assert len(world.send()) == 1  # the first 16 KiB of a connection are all that may be in flight
    world.outbox.add(Stream.ALARM)
    world.sending.woken()
    assert world.send() == ["t/alarm"]
    world.sending.answered(1, 0, 0.0)
    assert world.send() == []  # the alarm was not acknowledged yet
    world.sending.answered(2, 0, 0.0)
    assert len(world.send()) >= 1


def test_what_was_in_flight_goes_again_and_what_does_not_fit_is_left_out() -> None:
    world = World(limit=1000)
    world.again = [Again(Stream.AUDIT, b"1"), Again(Stream.AUDIT, bytes(2000)), Again(Stream.AUDIT, b"2")]
    assert len(world.send()) == 2
    world.sending.disconnected()
    world.sending.connected(65535, 1000)
    first, second = world.sending.take(0.0), world.sending.take(0.0)
    assert first is not None
    assert second is not None
    assert (first.payload, second.payload) == (b"1", b"2")
    assert world.sending.take(0.0) is None


def test_a_replay_that_the_broker_refuses_does_not_stop_the_next() -> None:
    world = World()
    world.again = [Again(Stream.AUDIT, b"%d" % n) for n in range(6)]
    world.send()
    for mid in range(1, 5):
        world.sending.answered(mid, 0x87, 0.0)
    assert len(world.send()) == 2


async def test_over_a_broker(tmp_path: Path) -> None:
    hands = Hands()
    async with mosquitto(tmp_path) as broker, journal(tmp_path / "store", hands) as one:
        replay = Replay(one.history)
        uplink = an_uplink(settings(broker.port), one, replayed=replay)
        uplink.set_standing({}, 0)
        cloud = Cloud(broker.port, root="t")
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(uplink.run(), name="uplink"),
                group.create_task(replay.run(), name="replay"),
                group.create_task(cloud.run(), name="cloud"),
            ]
            await cloud.until(lambda seen: seen.connections > 0)
            await accepted(one, [emit() for _ in range(150)])
            await cloud.until(lambda seen: len(seen.events) == 150)
            await until(lambda: not one.waiting(Stream.ALARM))
            await accepted(one, [])
            await replay.begin(ALARM, 1, 150)
            await cloud.until(lambda seen: len(seen.replayed) == 150)
            for task in tasks:
                task.cancel()
        live: list[Event] = cloud.events
        assert cloud.replayed == live
        assert cloud.repeats == 0

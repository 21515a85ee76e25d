import asyncio
from pathlib import Path

import pytest

from gateway.cloud.events import timestamp
from gateway.model import Instant, Stream
from tests.cloud.journaling import WALL, Hands, accepted, all_of, emit, event, journal, look, sequences, taken, until

EPOCH = 100.0


def unsynced() -> Hands:
    """Booted without a clock: 1970."""
    return Hands(mono=50.0, wall=EPOCH, synced=False)


def set_clock(hands: Hands) -> Instant:
    hands.wall, hands.synced = WALL, True
    return hands.now()


async def test_events_born_unsynced_and_never_sent_get_their_true_time(tmp_path: Path) -> None:
    hands = unsynced()
    async with journal(tmp_path, hands) as store:
        for n in range(5):
            await accepted(store, [emit(at=hands.run(1.0), n=n)])
        hands.run(5.0)
        store.append([emit(at=hands.now(), n=5)])
        store.clock_synced(set_clock(hands))
        rows = await taken(store, Stream.ALARM, 6)
        assert [event(row)["time"] for row in rows] == [timestamp(WALL - age) for age in (9, 8, 7, 6, 5, 0)]
        assert {event(row)["clock"] for row in rows} == {"corrected"}
        store.rewind()
        assert await all_of(store, Stream.ALARM) == rows
    assert look(tmp_path, "SELECT max(at), count(mono) FROM event") == [(WALL, 0)]


async def test_the_first_trusted_time_is_noticed(tmp_path: Path) -> None:
    hands = unsynced()
    async with journal(tmp_path, hands) as store:
        await accepted(store, [emit(at=hands.now())])
        hands.run(2.0)
        await accepted(store, [emit(at=set_clock(hands))])
        rows = await taken(store, Stream.ALARM, 2)
        assert [event(row)["clock"] for row in rows] == ["corrected", "synced"]
        assert event(rows[0])["time"] == timestamp(WALL - 2.0)


async def test_what_was_born_before_the_clock_was_set_and_comes_after_is_corrected_too(tmp_path: Path) -> None:
    hands = unsynced()
    async with journal(tmp_path, hands) as store:
        born = hands.now()
        hands.run(3.0)
        store.clock_synced(set_clock(hands))
        await accepted(store, [emit(at=born)])
        (row,) = await taken(store, Stream.ALARM, 1)
        assert (event(row)["clock"], event(row)["time"]) == ("corrected", timestamp(WALL - 3.0))


async def test_what_was_sent_stays_as_it_was(tmp_path: Path) -> None:
    hands = unsynced()
    async with journal(tmp_path, hands) as store:
        await accepted(store, [emit(at=hands.run(1.0), n=n) for n in range(4)])
        sent = await taken(store, Stream.ALARM, 2)
        hands.run(1.0)
        store.clock_synced(set_clock(hands))
        store.rewind()
        rows = await taken(store, Stream.ALARM, 4)
        # Taking the first made all final that were at hand: one commit for all of them.
        assert [event(row)["clock"] for row in rows] == ["unsynced"] * 4
        assert rows[:2] == sent


async def test_what_was_sent_stays_as_it_was_after_a_crash_in_the_same_boot(tmp_path: Path) -> None:
    hands = unsynced()
    sent = []
    async with journal(tmp_path, hands) as store:
        await accepted(store, [emit(at=hands.run(1.0), n=n) for n in range(2)])
        sent = await all_of(store, Stream.ALARM)
        assert look(tmp_path, "SELECT count(mono) FROM event") == [(0,)]
        # A broker that is there: the next event leaves at once, so it is born final, at no commit more.
        assert store.take(Stream.ALARM) is None
        before = store.stats().commits
        await accepted(store, [emit(at=hands.run(1.0))])
        sent += await taken(store, Stream.ALARM, 1)
        assert store.stats().commits == before + 1
        assert look(tmp_path, "SELECT count(mono) FROM event") == [(0,)]
    set_clock(hands)
    async with journal(tmp_path, hands) as store:
        assert await all_of(store, Stream.ALARM) == sent


async def test_a_restart_in_the_same_boot_still_corrects_what_was_never_sent(tmp_path: Path) -> None:
    hands = unsynced()
    async with journal(tmp_path, hands) as store:
        await accepted(store, [emit(at=hands.run(1.0), n=n) for n in range(3)])
    hands.run(10.0)
    set_clock(hands)
    async with journal(tmp_path, hands) as store:
        rows = await taken(store, Stream.ALARM, 3)
        assert [event(row)["time"] for row in rows] == [timestamp(WALL - age) for age in (12, 11, 10)]


async def test_another_boot_cannot_correct(tmp_path: Path) -> None:
    hands = unsynced()
    async with journal(tmp_path, hands) as store:
        await accepted(store, [emit(at=hands.now())])
    set_clock(hands)
    async with journal(tmp_path, hands, boot="boot-2") as store:
        (row,) = await taken(store, Stream.ALARM, 1)
        assert (event(row)["clock"], event(row)["time"]) == ("unsynced", timestamp(EPOCH))
        assert event(row)["boot"] == "boot-1"


async def test_telemetry_that_waits_is_corrected_with_its_readings(tmp_path: Path) -> None:
    hands = unsynced()
    async with journal(tmp_path, hands) as store:
        store.telemetry("d", {"readings": {"p": {"value": 1, "at": timestamp(hands.wall - 1.0)}}}, hands.now())
        hands.run(4.0)
        store.clock_synced(set_clock(hands))
        (row,) = await taken(store, Stream.TELEMETRY, 1)
        assert event(row)["clock"] == "corrected"
        assert event(row)["data"]["readings"]["p"]["at"] == timestamp(WALL - 5.0)
        await until(lambda: store.stats().commits)
        store.rewind()
        assert await taken(store, Stream.TELEMETRY, 1) == [row]
    assert look(tmp_path, "SELECT unpacked(payload) FROM event") == [(row.payload,)]


async def test_telemetry_that_left_at_once_is_final(tmp_path: Path) -> None:
    hands = unsynced()
    async with journal(tmp_path, hands) as store:
        store.telemetry("d", {}, hands.now())
        sent = store.take(Stream.TELEMETRY)
        assert sent is not None
        store.clock_synced(set_clock(hands))
        await accepted(store, [emit(at=hands.now())])
        store.rewind()
        assert await taken(store, Stream.TELEMETRY, 1) == [sent]
    assert look(tmp_path, "SELECT unpacked(payload) FROM event WHERE stream = 4") == [(sent.payload,)]


async def test_a_backlog_on_disk_is_corrected_too(tmp_path: Path) -> None:
    hands = unsynced()
    async with journal(tmp_path, hands) as store:
        for n in range(0, 1500, 100):
            await accepted(store, [emit(at=hands.run(0.01), n=n + m) for m in range(100)])
        store.clock_synced(set_clock(hands))
        rows = await all_of(store, Stream.ALARM)
        assert sequences(rows) == list(range(1, 1501))
        assert {event(row)["clock"] for row in rows} == {"corrected"}
        times = [event(row)["time"] for row in rows]
        assert times == sorted(times)


async def test_the_newest_time_is_kept_and_a_trusted_clock_takes_a_wrong_one_back(tmp_path: Path) -> None:
    hands = Hands()
    async with journal(tmp_path, hands) as store:
        await accepted(store, [emit(at=hands.now())])
    async with journal(tmp_path, Hands(wall=EPOCH)) as store:
        assert store.newest == WALL
    wrong = Hands(wall=WALL + 10 * 365 * 86400, synced=False)
    async with journal(tmp_path, wrong) as store:
        await accepted(store, [emit(at=wrong.now())])
        wrong.wall, wrong.synced = WALL + 60.0, True
        await accepted(store, [emit(at=wrong.now())])
    async with journal(tmp_path, hands) as store:
        assert store.newest == WALL + 60.0


async def test_a_box_that_never_learns_the_time_forgets_by_what_it_has_lived_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At 1970 after each power cut: the days that it was on add up."""
    day, loop = 86400.0, asyncio.get_running_loop()
    for life, days in enumerate((0, 6, 6)):
        hands = Hands(mono=50.0, wall=EPOCH, synced=False)
        async with journal(tmp_path, hands, boot=f"boot-{life}", keep={Stream.ALARM: 10 * day}) as store:
            hands.run(days * day)
            await accepted(store, [emit(at=hands.now())])
            store.acknowledge(*await taken(store, Stream.ALARM, 1))
            if life == 2:
                now = loop.time
                monkeypatch.setattr(loop, "time", lambda now=now: now() + 61.0)  # the hourly look is due
                await until(lambda: look(tmp_path, "SELECT n FROM event ORDER BY n") == [(2,), (3,)])
        assert len(look(tmp_path, "SELECT n FROM event")) == min(life + 1, 2)

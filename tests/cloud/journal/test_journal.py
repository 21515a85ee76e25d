import asyncio
import shutil
import tracemalloc
from pathlib import Path

import pytest

from gateway.cloud.journal.sqlite import Database
from gateway.errors import StoreBusy, StoreNewer
from gateway.model import Emit, Forget, Remember, Stream
from tests.cloud.journaling import Hands, accepted, all_of, emit, event, journal, look, sequences, taken, until


async def test_a_step_is_taken_only_when_accepted(tmp_path: Path) -> None:
    async with journal(tmp_path) as store:
        done = asyncio.Event()
        first = emit(point="smoke")
        store.append([first, Remember("alarm/1", {"state": "unack"})], then=done.set)
        assert store.take(Stream.ALARM) is None
        await done.wait()
        row = store.take(Stream.ALARM)
        assert row is not None
        assert (row.sequence, event(row)["id"], event(row)["journal"]) == (1, first.id, store.journal_id)
        assert look(tmp_path, "SELECT key, value FROM memory") == [("alarm/1", b'{"state":"unack"}')]
        assert store.take(Stream.ALARM) is None


async def test_a_restart_finds_the_same_bytes_memory_and_numbers(tmp_path: Path) -> None:
    async with journal(tmp_path) as store:
        await accepted(store, [emit(n=n) for n in range(5)] + [Remember("k", [1, "ü"]), Remember("gone", 1)])
        await accepted(store, [Forget("gone")])
        before = await all_of(store, Stream.ALARM)
        name = store.journal_id
    async with journal(tmp_path) as store:
        assert store.journal_id == name
        assert store.memory == {"k": [1, "ü"]}
        assert store.newest == Hands().wall
        assert await all_of(store, Stream.ALARM) == before
        await accepted(store, [emit()])
        assert sequences(await taken(store, Stream.ALARM, 1)) == [6]
        assert store.last(Stream.ALARM) == 6


async def test_what_was_acknowledged_is_history(tmp_path: Path) -> None:
    async with journal(tmp_path) as store:
        await accepted(store, [emit(n=n) for n in range(3)])
        for row in (await all_of(store, Stream.ALARM))[:2]:
            store.acknowledge(row)
        assert store.waiting(Stream.ALARM) == 1
    async with journal(tmp_path) as store:
        assert sequences(await all_of(store, Stream.ALARM)) == [3]
        assert look(tmp_path, "SELECT sequence FROM event ORDER BY n") == [(1,), (2,), (3,)]


async def test_acknowledgements_ride_with_the_next_commit(tmp_path: Path) -> None:
    async with journal(tmp_path) as store:
        await accepted(store, [emit(n=n) for n in range(150)])
        before = store.stats().commits
        for row in await all_of(store, Stream.ALARM):
            store.acknowledge(row)
        await accepted(store, [emit()])
        assert store.stats().commits == before + 1
        assert look(tmp_path, "SELECT count(*) FROM outbox") == [(1,)]


async def test_acknowledgements_alone_are_written_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("journal", "cycle"):
        monkeypatch.setattr(f"gateway.cloud.journal.{module}.ACKS_S", 0.3)
    async with journal(tmp_path) as store:
        await accepted(store, [emit(n=n) for n in range(150)])
        rows = await all_of(store, Stream.ALARM)
        before = store.stats().commits
        for row in rows:
            store.acknowledge(row)
        await until(lambda: store.stats().commits > before)
        assert store.stats().commits == before + 1
        assert look(tmp_path, "SELECT count(*) FROM outbox") == [(0,)]


async def test_rewinding_gives_what_was_not_acknowledged(tmp_path: Path) -> None:
    async with journal(tmp_path) as store:
        await accepted(store, [emit(n=n) for n in range(5)])
        rows = await taken(store, Stream.ALARM, 3)
        store.acknowledge(rows[1])
        store.rewind(Stream.ALARM)
        assert sequences(await all_of(store, Stream.ALARM)) == [1, 3, 4, 5]
        store.rewind(Stream.ALARM)
        store.acknowledge(rows[0])  # late, for a row that waits to be sent again
        store.acknowledge(rows[0])
        assert store.waiting(Stream.ALARM) == 3
        assert sequences(await all_of(store, Stream.ALARM)) == [3, 4, 5]


async def test_a_row_set_aside_is_in_nobodys_way_and_offered_at_the_next_connection(tmp_path: Path) -> None:
    async with journal(tmp_path) as store:
        await accepted(store, [emit(n=n) for n in range(3)])
        first, second = await taken(store, Stream.ALARM, 2)
        store.quarantine(first, "refused")
        store.acknowledge(second)
        assert store.waiting(Stream.ALARM) == 1
        assert store.stats().streams[Stream.ALARM].quarantined == 1
        store.rewind(Stream.ALARM)
        assert sequences(await taken(store, Stream.ALARM, 1)) == [3]
        assert store.take(Stream.ALARM) is None
        store.rewind()
        assert sequences(await taken(store, Stream.ALARM, 2)) == [3, 1]
    async with journal(tmp_path) as store:
        assert sequences(await taken(store, Stream.ALARM, 2)) == [3, 1]
        store.rewind()
        again = await taken(store, Stream.ALARM, 2)
        assert again[1] == first
        store.acknowledge(again[1])
        assert store.stats().streams[Stream.ALARM].quarantined == 0
    assert look(tmp_path, "SELECT count(*) FROM outbox WHERE state = 1") == [(0,)]


async def test_telemetry_leaves_before_its_commit_and_is_kept_as_history(tmp_path: Path) -> None:
    hands = Hands()
    async with journal(tmp_path, hands) as store:
        store.telemetry("d", {"device": "d"}, hands.now())
        row = store.take(Stream.TELEMETRY)
        assert row is not None
        assert (row.sequence, event(row)["subject"], event(row)["type"]) == (
            1,
            "d",
            "sitegateway.telemetry.readings.v1",
        )
        store.acknowledge(row)
        assert store.stats().commits == 0
    assert look(tmp_path, "SELECT sequence, unpacked(payload) FROM event") == [(1, row.payload)]
    assert look(tmp_path, "SELECT count(*) FROM outbox") == [(0,)]
    assert look(tmp_path, "SELECT last, reserved FROM stream WHERE stream = 4") == [(1, 1)]


async def test_telemetry_without_keep_is_never_written_once_acknowledged(tmp_path: Path) -> None:
    hands = Hands()
    async with journal(tmp_path, hands, keep={Stream.TELEMETRY: 0.0}) as store:
        for _ in range(2):
            store.telemetry("d", b"{}", hands.now())
        rows = await taken(store, Stream.TELEMETRY, 2)
        store.acknowledge(rows[0])
        await accepted(store, [emit()])
        assert look(tmp_path, "SELECT sequence FROM event WHERE stream = 4") == [(2,)]
        store.acknowledge(rows[1])
    assert look(tmp_path, "SELECT sequence FROM event WHERE stream = 4") == []


async def test_telemetry_waits_a_second_for_company(tmp_path: Path) -> None:
    hands = Hands()
    async with journal(tmp_path, hands) as store:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        store.telemetry("d", b"{}", hands.now())
        await until(lambda: store.stats().commits == 1)
        assert 0.9 <= loop.time() - begun <= 1.5
        store.telemetry("d", b"{}", hands.now())
        await accepted(store, [emit()])
        assert store.stats().commits == 2
        assert look(tmp_path, "SELECT count(*) FROM event") == [(3,)]


async def test_more_telemetry_than_was_reserved_waits_for_its_commit(tmp_path: Path) -> None:
    hands = Hands()
    async with journal(tmp_path, hands) as store:
        for _ in range(1500):
            store.telemetry("d", b"{}", hands.now())
        at_once = 0
        while store.take(Stream.TELEMETRY) is not None:
            at_once += 1
        assert at_once <= 1024
        rows = await taken(store, Stream.TELEMETRY, 1500 - at_once)
        assert sequences(rows) == list(range(at_once + 1, 1501))


async def test_a_step_that_json_cannot_say_leaves_nothing(tmp_path: Path) -> None:
    async with journal(tmp_path) as store:
        with pytest.raises(TypeError):
            store.append([emit(), Remember("k", 1), emit(plate="\ud800")])
        await accepted(store, [emit()])
        assert sequences(await all_of(store, Stream.ALARM)) == [1]
        assert look(tmp_path, "SELECT count(*) FROM memory") == [(0,)]


async def test_what_comes_in_one_turn_is_one_commit(tmp_path: Path) -> None:
    async with journal(tmp_path) as store:
        for stream in Stream:
            store.append([emit(stream)])
        await accepted(store, [Remember("k", 1)])
        assert store.stats().commits == 1


async def test_there_is_room_again_after_the_commit(tmp_path: Path) -> None:
    async with journal(tmp_path) as store:
        done: list[str] = []
        for _ in range(17):
            store.append([emit(text="x" * (1 << 20))], then=lambda: done.append("written"))
        assert store.stats().queue_bytes > 16 << 20
        await until(lambda: store.roomy)
        assert store.stats().queue_bytes < 16 << 20
        await until(lambda: len(done) == 17)


async def test_a_backlog_comes_from_disk_in_order_and_live_rows_after_it(tmp_path: Path) -> None:
    async with journal(tmp_path) as store:
        await accepted(store, [emit(n=n) for n in range(2000)])
    async with journal(tmp_path) as store:
        rows = await taken(store, Stream.ALARM, 700)
        await accepted(store, [emit(n="live")])
        rows += await all_of(store, Stream.ALARM) if store.waiting(Stream.ALARM) == 0 else []
        rows += await taken(store, Stream.ALARM, 2001 - 700)
        assert sequences(rows) == list(range(1, 2002))
        assert store.take(Stream.ALARM) is None


async def test_a_long_backlog_drains_in_order_with_memory_flat(tmp_path: Path) -> None:
    count = 20_000
    async with journal(tmp_path) as store:
        for first in range(0, count, 1000):
            await accepted(store, [emit(n=first + n, text="x" * 300) for n in range(1000)])
    async with journal(tmp_path) as store:
        loop = asyncio.get_running_loop()
        last = most = 0
        begun = loop.time()
        tracemalloc.start()
        while last < count:
            store.ready.clear()
            row = store.take(Stream.ALARM)
            if row is None:
                most = max(most, tracemalloc.get_traced_memory()[0])
                await store.ready.wait()
                continue
            assert row.sequence == last + 1
            last = row.sequence
            store.acknowledge(row)
        tracemalloc.stop()
        assert count / (loop.time() - begun) > 1000  # while memory is traced, which costs half of it
        assert most < 4 << 20
        assert store.waiting(Stream.ALARM) == 0
    assert look(tmp_path, "SELECT count(*) FROM outbox") == [(0,)]


async def test_one_stream_does_not_wait_for_another(tmp_path: Path) -> None:
    async with journal(tmp_path) as store:
        await accepted(store, [emit(Stream.AUDIT) for _ in range(2000)])
    async with journal(tmp_path) as store:
        await accepted(store, [emit(Stream.ALARM)])
        assert store.take(Stream.ALARM) is not None


async def test_a_newer_file_is_refused_and_left_alone(tmp_path: Path) -> None:
    async with journal(tmp_path):
        pass
    bare = Database(tmp_path, 1 << 20)
    bare.connect("rw")
    bare.execute("PRAGMA user_version = 9")
    bare.close()
    before = (tmp_path / "journal.db").read_bytes()
    with pytest.raises(StoreNewer, match="newer version"):
        async with journal(tmp_path):
            pass
    assert (tmp_path / "journal.db").read_bytes() == before


async def test_two_processes_do_not_share_a_folder(tmp_path: Path) -> None:
    async with journal(tmp_path):
        with pytest.raises(StoreBusy):
            async with journal(tmp_path):
                pass


async def test_only_the_owner_may_read(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    async with journal(folder) as store:
        await accepted(store, [emit()])
        assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
        assert folder.stat().st_mode & 0o777 == 0o700


async def test_what_is_simulated_or_tested_says_so(tmp_path: Path) -> None:
    at = Hands().now()
    async with journal(tmp_path, simulated=True) as store:
        await accepted(store, [Emit(Stream.ALARM, "alarm.raised", None, {}, "a", at, test=True)])
        row = store.take(Stream.ALARM)
        assert row is not None
        assert event(row)["simulated"] is True
        assert event(row)["test"] is True
        assert "subject" not in event(row)


async def test_a_bug_in_who_waits_does_not_stop_the_others(tmp_path: Path) -> None:
    seen: list[str] = []

    def raises() -> None:
        raise ZeroDivisionError

    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: seen.append(type(context["exception"]).__name__))
    async with journal(tmp_path) as store:
        store.append([emit()], then=raises)
        await accepted(store, [emit()])
        assert seen == ["ZeroDivisionError"]


async def test_closing_writes_what_waits(tmp_path: Path) -> None:
    hands = Hands()
    async with journal(tmp_path, hands) as store:
        store.append([emit()])
        store.telemetry("d", b"{}", hands.now())
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "high-water",
        "journal.db",
        "journal.db-log",
        "sent-ahead",
    ]
    assert look(tmp_path, "SELECT count(*) FROM outbox") == [(2,)]


async def test_a_memory_that_was_set_aside_is_known_to_be_young_in_the_next_life_too(tmp_path: Path) -> None:
    hands = Hands()
    async with journal(tmp_path, hands) as store:
        assert store.born == hands.wall
        hands.run(500.0)
        store.reborn()
        await accepted(store, [])
        assert store.born == hands.wall
    async with journal(tmp_path, Hands(wall=hands.wall + 10)) as store:
        assert store.born == hands.wall


async def test_a_journal_that_is_closed_holds_no_file_of_its_folder(tmp_path: Path) -> None:
    async with journal(tmp_path) as store:
        store.telemetry("d", b"{}", Hands().run(0.1))
        await accepted(store, [emit()])
        assert str(tmp_path / "sent-ahead") in Path("/proc/self/maps").read_text()

    assert str(tmp_path) not in Path("/proc/self/maps").read_text()
    opened = [str(one.readlink()) for one in Path("/proc/self/fd").iterdir() if one.is_symlink()]
    assert [name for name in opened if name.startswith(str(tmp_path))] == []


async def test_which_telemetry_left_before_its_commit_may_be_noted_off_the_card(tmp_path: Path) -> None:
    hands, run, store = Hands(), tmp_path / "run", tmp_path / "store"
    run.mkdir()
    async with journal(store, hands, scratch=run) as first:
        await accepted(first, [emit()])
        for n in range(5):
            first.telemetry("d", {"n": n}, hands.run(0.01))
        shutil.copytree(store, tmp_path / "killed")
        shutil.copy(run / "sent-ahead", tmp_path / "noted")
    assert not (store / "sent-ahead").exists()
    shutil.copy(tmp_path / "noted", run / "sent-ahead")
    async with journal(tmp_path / "killed", hands, scratch=run) as second:
        (gap,) = [event(row)["data"] for row in await taken(second, Stream.AUDIT, 1)]
        assert (gap["first"], gap["last"], gap["reason"]) == (1, 5, "crash")

"""The redo log: what a record says, which records count, what is synced, and when the database takes them in."""

import asyncio
import errno
import os
import random
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.cloud.journal import redo_log
from gateway.cloud.journal.batch import Batch, Entry, Marks, State
from gateway.cloud.journal.journal import Journal
from gateway.cloud.journal.reading import JournalReader
from gateway.cloud.journal.redo_log import RedoLog
from gateway.cloud.journal.sqlite import Database
from gateway.cloud.journal.tables import Tables
from gateway.cloud.outbox import Row
from gateway.errors import StoreError
from gateway.model import Forget, Remember, Stream
from tests.accounts import as_root
from tests.cloud.journaling import (
    Hands,
    accepted,
    all_of,
    copied,
    emit,
    event,
    journal,
    look,
    sequences,
    taken,
    until,
)

SIZE = 64 << 10
NOBODY = 65534
NOTHING = frozenset[Stream]()

entries = st.builds(
    Entry,
    st.builds(
        Row,
        st.integers(1, 1 << 62),
        st.sampled_from(Stream),
        st.integers(1, 1 << 40),
        st.binary(max_size=300),
        st.none(),
    ),
    st.text(max_size=32),
    st.floats(0, 4e9),
    st.none() | st.floats(0, 1e9),
    st.sampled_from(State),
    st.none() | st.text(max_size=20),
    acked=st.booleans(),
)
marks = st.builds(
    Marks,
    st.text(max_size=32),
    st.none() | st.floats(0, 4e9),
    st.dictionaries(st.sampled_from(Stream), st.tuples(st.integers(0, 1 << 40), st.integers(0, 1 << 40))),
    st.none() | st.floats(0, 4e9),
    st.floats(0, 1e9),
    st.integers(0, 1 << 62),
)


@st.composite
def batches(draw: st.DrawFn) -> Batch:
    batch = Batch(steps=draw(st.integers(0, 3)), marks=draw(st.none() | marks))
    for entry in draw(st.lists(entries, max_size=5, unique_by=lambda one: one.row.n)):
        batch.add(entry)
    for key, value in draw(
        st.dictionaries(st.text(max_size=9), st.none() | st.binary(max_size=99), max_size=4)
    ).items():
        batch.remember(key, value)
    numbers = st.integers(1, 1 << 62)
    batch.acks = draw(st.lists(st.tuples(st.sampled_from(Stream), st.sampled_from(State), numbers), max_size=3))
    batch.frozen = draw(st.lists(st.tuples(st.sampled_from(Stream), numbers), max_size=3))
    return batch


@given(batch=batches())
def test_a_record_says_all_of_a_batch(batch: Batch) -> None:
    assert redo_log.decoded(redo_log.encoded(batch, "boot"), "boot") == batch


@given(batch=batches())
def test_a_time_that_may_be_corrected_is_of_its_boot_only(batch: Batch) -> None:
    other = redo_log.decoded(redo_log.encoded(batch, "boot"), "another")
    assert all(entry.mono is None for entry in other.entries.values())


@given(record=st.binary(max_size=300))
def test_what_is_no_record_is_none(record: bytes) -> None:
    with pytest.raises(ValueError, match="record"):
        redo_log.decoded(record, "boot")


def log(path: Path, round_: int, *records: bytes) -> None:
    made = RedoLog(path, SIZE)
    made.open()
    made.begin(round_)
    for record in records:
        assert made.fits(record)
        made.append(record, sync=True)
    made.close()


def test_only_the_records_of_the_round_count(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log(path, 7, b"one", b"two", b"three")
    assert redo_log.read(path, 7) == [b"one", b"two", b"three"]
    assert redo_log.read(path, 8) == []
    log(path, 8, b"ONE")
    assert redo_log.read(path, 8) == [b"ONE"], "`two` follows it in the file and is of another round"
    assert redo_log.read(path, None) == [b"ONE"]


@settings(max_examples=200)
@given(st.data())
def test_what_follows_a_broken_record_is_not_read(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("log") / "log"
    records = data.draw(st.lists(st.binary(min_size=1, max_size=900), min_size=1, max_size=9))
    log(path, 7, *records)
    ends = [0]
    for record in records:
        ends.append(ends[-1] + 20 + len(record))
    at = data.draw(st.integers(0, ends[-1] - 1))
    whole = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        whole[at] ^= 1 << data.draw(st.integers(0, 7))
    else:
        whole = whole[:at]
    path.write_bytes(whole)
    assert redo_log.read(path, 7) == records[: sum(end <= at for end in ends[1:])]
    path.unlink()


def test_a_full_one_says_so_and_one_that_cannot_be_made_is_done_without(tmp_path: Path) -> None:
    made = RedoLog(tmp_path / "log", SIZE)
    made.open()
    made.begin(1)
    while made.fits(b"x" * 1000):
        made.append(b"x" * 1000, sync=False)
    assert made.used > 0.95
    assert (tmp_path / "log").stat().st_size == SIZE
    made.close()
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "folder", tmp_path / "nowhere" / "log"):
        none = RedoLog(path, SIZE)
        none.open()
        none.begin(1)
        assert not none.fits(b"x")
        with pytest.raises(StoreError):
            none.append(b"x", sync=True)


@contextmanager
def syncs() -> Iterator[list[str]]:
    """The files that are synced meanwhile."""
    seen: list[str] = []
    real = os.fdatasync

    def counted(fd: int) -> None:
        seen.append(Path(f"/proc/self/fd/{fd}").readlink().name)
        real(fd)

    os.fdatasync = counted  # type: ignore[assignment]
    try:
        yield seen
    finally:
        os.fdatasync = real


async def test_an_alarm_is_one_sync_and_telemetry_that_the_broker_has_none(tmp_path: Path) -> None:
    hands = Hands()
    async with journal(tmp_path, hands) as store:
        await accepted(store, [emit()])
        with syncs() as seen:
            for n in range(5):
                await accepted(store, [emit(n=n), Remember("k", n)])
            assert seen.count("journal.db-log") == 5
            seen.clear()
            for n in range(20):
                store.telemetry("d", {"n": n}, hands.run(0.1))
                for row in await taken(store, Stream.TELEMETRY, 1):
                    store.acknowledge(row)
            await accepted(store, [])
            assert seen.count("journal.db-log") == 0
    assert look(tmp_path, "SELECT count(*) FROM event WHERE stream = 4") == [(20,)]


async def test_telemetry_that_the_broker_has_waits_for_company_in_bounded_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hands = Hands()

    async def delivered(store: Journal, count: int, size: int) -> None:
        for _ in range(count):
            store.telemetry("d", {"x": "y" * size}, hands.run(0.01))
            for row in await taken(store, Stream.TELEMETRY, 1):
                store.acknowledge(row)

    async with journal(tmp_path, hands) as store:
        await accepted(store, [emit()])
        before = store.stats().commits
        monkeypatch.setattr("gateway.cloud.journal.cycle.TELEMETRY_S", 0.1)
        await delivered(store, 20, 500)
        await asyncio.sleep(0.5)
        assert store.stats().commits == before
        await delivered(store, 20, 20_000)
        await until(lambda: store.stats().commits > before)
        before = store.stats().commits
        monkeypatch.setattr("gateway.cloud.journal.cycle.PATIENCE_S", 0.5)
        await delivered(store, 1, 10)
        await until(lambda: store.stats().commits > before)
    assert look(tmp_path, "SELECT count(*) FROM event WHERE stream = 4") == [(41,)]


async def test_what_is_in_the_log_only_is_history_too(tmp_path: Path) -> None:
    async with journal(tmp_path) as store:
        await accepted(store, [emit(n=n) for n in range(5)])
        latest = await store.history.latest(Stream.ALARM, None, 3)
        assert [n for n, _ in latest] == [3, 4, 5]
        assert [n for n, _ in await store.history.latest(Stream.ALARM, 1, 2)] == [2, 3]
        for row in await all_of(store, Stream.ALARM):
            store.acknowledge(row)
        await accepted(store, [])
        assert await store.history.edges(Stream.ALARM, 1, 99) == (1, 5)


async def test_a_backlog_that_is_partly_in_the_log_keeps_its_order(tmp_path: Path) -> None:
    async with journal(tmp_path) as store:
        for n in range(60):
            await accepted(store, [emit(n=n, text=random.Random(n).randbytes(4000).hex()) for _ in range(20)])  # noqa: S311
        assert sequences(await all_of(store, Stream.ALARM)) == list(range(1, 1201))
        store.rewind()
        for row in await taken(store, Stream.ALARM, 700):
            store.acknowledge(row)
        await accepted(store, [])
        store.rewind()
        assert sequences(await taken(store, Stream.ALARM, 500)) == list(range(701, 1201))


@pytest.mark.parametrize("kept", [7 * 86400.0, 0.0])
async def test_what_left_before_the_database_saw_it_never_waits_there(tmp_path: Path, kept: float) -> None:
    async with journal(tmp_path, keep={Stream.ALARM: kept}) as store:
        for n in range(30):
            await accepted(store, [emit(n=n)])
            for row in await taken(store, Stream.ALARM, 1):
                store.acknowledge(row)
        await accepted(store, [])
    assert look(tmp_path, "SELECT count(*) FROM outbox") == [(0,)]
    assert look(tmp_path, "SELECT count(*) FROM event") == [(30 if kept else 0,)]


async def test_a_power_cut_gives_no_number_of_telemetry_twice(tmp_path: Path) -> None:
    """Numbers are used only once their reservation is synced; what the log had of them unsynced is lost."""
    hands, folder, cut = Hands(), tmp_path / "store", tmp_path / "cut"
    real = os.fdatasync

    def copied(fd: int) -> None:
        real(fd)
        if Path(f"/proc/self/fd/{fd}").readlink().name == "journal.db-log":
            copy()

    def copy() -> None:
        shutil.rmtree(cut, ignore_errors=True)
        cut.mkdir()
        for path in folder.glob("journal.db*"):
            shutil.copy(path, cut / path.name)

    async with journal(folder, hands) as store:
        await accepted(store, [emit()])
        copy()
        os.fdatasync = copied  # type: ignore[assignment]
        try:
            for n in range(3000):
                store.telemetry("d", {"n": n}, hands.run(0.1))
                for row in await taken(store, Stream.TELEMETRY, 1):
                    store.acknowledge(row)
                if n % 50 == 0:
                    await accepted(store, [])
                if n % 500 == 499:
                    given = store.last(Stream.TELEMETRY)
                    async with journal(cut, hands, boot="boot-2") as after:
                        assert after.last(Stream.TELEMETRY) >= given
        finally:
            os.fdatasync = real


async def test_a_log_that_is_full_goes_into_the_database(tmp_path: Path) -> None:
    async with journal(tmp_path, max_size=4 << 20) as store:
        for n in range(200):
            noise = random.Random(n).randbytes(500).hex()  # noqa: S311 - cannot be compressed
            await accepted(store, [emit(n=n, text=noise), Remember("n", n)])
        await until(lambda: store.stats().file_bytes > 100 << 10)
        assert (tmp_path / "journal.db-log").stat().st_size == 128 << 10
    async with journal(tmp_path) as store:
        assert store.memory == {"n": 199}
        assert [event(row)["data"]["n"] for row in await all_of(store, Stream.ALARM)] == list(range(200))


async def test_old_records_say_nothing_of_an_erased_plate(tmp_path: Path) -> None:
    plate = "沪A12345"
    async with journal(tmp_path) as store:
        for n in range(3):
            await accepted(store, [emit(Stream.ACCESS, plate=plate, n=n)])
        before = redo_log.tail(tmp_path / "journal.db-log", None, "", NOTHING).batch
        assert any(plate.encode() in entry.row.payload for entry in before.entries.values())
        assert (await store.erase(plate)).events == 3
        assert not (tmp_path / "journal.db-log").read_bytes().strip(b"\0")
        await asyncio.sleep(0)


@contextmanager
def bad_sector(log: Path, at: int, error: int = errno.EIO) -> Iterator[None]:
    """A disk that does not give the log's block at `at`."""
    real = os.pread

    def failing(fd: int, count: int, offset: int) -> bytes:
        if Path(f"/proc/self/fd/{fd}").readlink() == log and offset <= at < offset + count:
            raise OSError(error, os.strerror(error))
        return real(fd, count, offset)

    os.pread = failing
    try:
        yield
    finally:
        os.pread = real


async def killed(live: Path, copy: Path, alarms: int) -> None:
    """The files of a journal of so many alarms, all of them in the redo log, as a kill would leave them."""
    async with journal(live) as store:
        await accepted(store, [Remember("before", 1)])
        await accepted(store, [emit(n=0)])
        await store.history.edges(Stream.ALARM, 0, 1)  # now the database has it
        for n in range(1, alarms):
            noise = random.Random(n).randbytes(1000).hex()  # noqa: S311 - cannot be compressed
            await accepted(store, [emit(n=n, text=noise), Remember("n", n)])
        copied(live, copy)
        shutil.copy(live / "high-water", copy)


def damaged_logs(folder: Path) -> list[Path]:
    return sorted(folder.glob("journal.db.damaged-*-log"))


async def test_a_log_with_an_unreadable_block_gives_what_is_before_it(tmp_path: Path) -> None:
    live, folder = tmp_path / "live", tmp_path / "store"
    folder.mkdir()
    await killed(live, folder, 20)
    log = folder / "journal.db-log"
    before = log.read_bytes()
    with bad_sector(log, 10_000):
        async with journal(folder) as store:
            told = [event(row)["data"]["n"] for row in await all_of(store, Stream.ALARM)]
            assert store.memory == {"before": 1, "n": told[-1]}
            assert 1 < len(told) < 20
            assert told == list(range(len(told)))
            assert store.loss is not None, "the witness names what the block took along"
            assert [path.read_bytes() for path in damaged_logs(folder)] == [before]
            with syncs() as seen:
                await accepted(store, [emit(n=99)])
            assert "journal.db-log" in seen, "another log is in its place"
            assert store.quarantined_file is None
    async with journal(folder) as store:
        assert [event(row)["data"]["n"] for row in await all_of(store, Stream.ALARM)] == [*told, 99]
        assert len(damaged_logs(folder)) == 1


def test_a_store_that_is_only_read_goes_without_the_unreadable_part(tmp_path: Path) -> None:
    live, folder = tmp_path / "live", tmp_path / "store"
    folder.mkdir()
    asyncio.run(killed(live, folder, 20))
    with bad_sector(folder / "journal.db-log", 0, errno.EACCES):
        opened = Tables(Database(folder, 64 << 20), "boot-1", NOTHING).begin_readonly("fresh")
    assert opened.memory == {"before": b"1"}
    assert opened.counts == {(Stream.ALARM, State.WAITING): 1}
    assert not damaged_logs(folder)


@as_root
def test_a_log_of_another_account_is_set_aside(tmp_path: Path) -> None:
    live, folder = tmp_path / "live", Path(tempfile.mkdtemp())
    asyncio.run(killed(live, folder, 5))
    log = folder / "journal.db-log"
    for path in (folder, *folder.iterdir()):
        os.chown(path, NOBODY, NOBODY)
    os.chown(log, 0, 0)
    log.chmod(0o600)

    async def another_life() -> None:
        async with journal(folder) as store:
            assert store.memory == {"before": 1}
            assert store.loss is not None
            await accepted(store, [emit(n=99), Remember("after", 2)])
            assert store.quarantined_file is None
        async with journal(folder) as store:
            assert [event(row)["data"]["n"] for row in await all_of(store, Stream.ALARM)] == [0, 99]

    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    try:
        asyncio.run(another_life())
        assert len(damaged_logs(folder)) == 1
    finally:
        os.seteuid(0)
        os.setegid(0)
        shutil.rmtree(folder)


def fails_at_its_commit(database: Database) -> None:
    with database.transaction(new_round=True):
        database.execute("PRAGMA defer_foreign_keys=1")
        database.execute("INSERT INTO picture (n, jpeg) VALUES (1, 'of no event')")


def test_nothing_follows_in_a_round_whose_end_failed(tmp_path: Path) -> None:
    database = Database(tmp_path, 4 << 20)
    database.open(check=False)
    with database.transaction(new_round=True):
        pass
    assert database.log.fits(b"x")
    with pytest.raises(StoreError):
        fails_at_its_commit(database)
    assert not database.log.fits(b"x"), "whether the file has left the round is not known"
    with database.transaction(new_round=True):
        pass
    assert database.log.fits(b"x")
    database.close()
    database.release()


def changed(log: Path, number: int, *, format_: int | None = None) -> bytes:
    """Give a record of the log another format, or break it; the file after that."""
    whole = bytearray(log.read_bytes())
    at = 0
    for _ in range(number - 1):
        at += 20 + int.from_bytes(whole[at : at + 3], "little")
    end = at + 20 + int.from_bytes(whole[at : at + 3], "little")
    if format_ is None:
        whole[end - 1] ^= 1
    else:
        whole[at + 3] = format_
        head = whole[at : at + 4] + bytes(4) + whole[at + 8 : at + 20]
        whole[at + 4 : at + 8] = zlib.crc32(head + whole[at + 20 : end]).to_bytes(4, "little")
    log.write_bytes(whole)
    return bytes(whole)


@pytest.mark.parametrize("format_", [None, 1, 200])
async def test_a_log_of_which_not_all_is_taken_in_is_kept_once(tmp_path: Path, format_: int | None) -> None:
    live, folder = tmp_path / "live", tmp_path / "store"
    folder.mkdir()
    await killed(live, folder, 20)
    log = folder / "journal.db-log"
    whole = changed(log, 9, format_=format_)
    for _ in range(3):
        async with journal(folder) as store:
            assert [event(row)["data"]["n"] for row in await all_of(store, Stream.ALARM)] == list(range(9))
            assert [path.read_bytes() for path in damaged_logs(folder)] == [whole]
            assert store.quarantined_file is None
    assert damaged_logs(folder)[0].stat().st_mode & 0o777 == 0o600


async def test_a_log_is_kept_when_the_database_went_back(tmp_path: Path) -> None:
    live, folder = tmp_path / "live", tmp_path / "store"
    folder.mkdir()
    await killed(live, folder, 20)
    log = (folder / "journal.db-log").read_bytes()
    (folder / "journal.db-wal").unlink()
    async with journal(folder) as store:
        assert store.loss is not None
        assert [path.read_bytes() for path in damaged_logs(folder)] == [log]
    async with journal(folder):
        assert len(damaged_logs(folder)) == 1


async def test_old_rounds_in_the_log_make_no_copy(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    for life in range(4):
        async with journal(folder) as store:
            for n in range(10):
                await accepted(store, [emit(n=n), Remember("n", n)])
                if n == life:
                    await store.history.edges(Stream.ALARM, 1, 99)  # and with it another round
            copy = tmp_path / f"copy-{life}"
            copy.mkdir()
            copied(folder, copy)
            shutil.copy(folder / "high-water", copy)
        async with journal(copy) as store:
            assert store.memory == {"n": 9}
            assert not damaged_logs(copy)
    assert not damaged_logs(folder)


async def test_the_log_of_a_deleted_database_is_kept(tmp_path: Path) -> None:
    async with journal(tmp_path) as store:
        await accepted(store, [emit(n=0)])
        await store.history.edges(Stream.ALARM, 1, 1)
        for n in range(1, 5):
            await accepted(store, [emit(n=n)])
        (tmp_path / "journal.db").unlink()
        await accepted(store, [emit(n=5)])
        await until(lambda: not store.lost)
        assert [event(row)["data"]["n"] for row in await all_of(store, Stream.ALARM)] == list(range(6))
    (kept,) = damaged_logs(tmp_path)
    entries = redo_log.tail(kept, None, "", NOTHING).batch.entries.values()
    assert [entry.row.sequence for entry in entries][:4] == [2, 3, 4, 5]


def kept_events(folder: Path, since: float = 0.0, till: float = 9e9) -> list[object]:
    with JournalReader(folder) as reader:
        return [one["data"]["n"] for one in reader.events(Stream.INSPECTION, since, till)]


async def test_who_looks_on_sees_what_is_in_the_log_only(tmp_path: Path) -> None:
    hands = Hands()
    async with journal(tmp_path, hands) as store:
        await accepted(store, [emit(Stream.INSPECTION, hands.now(), n=0), Remember("finding/a", 1)])
        await accepted(store, [Remember("finding/b", 2), Remember("other", 0)])
        await store.history.edges(Stream.INSPECTION, 1, 1)
        later = hands.run(60.0)
        await accepted(store, [emit(Stream.INSPECTION, later, n=1), emit(Stream.ALARM, later, n=9)])
        await accepted(store, [Remember("finding/a", 3), Forget("finding/b"), Remember("finding/c", 4)])
        assert kept_events(tmp_path) == [0, 1]
        assert kept_events(tmp_path, later.wall - 1.0) == [1]
        assert kept_events(tmp_path, 0.0, later.wall - 1.0) == [0]
        with JournalReader(tmp_path) as reader:
            assert reader.memory("finding/") == {"a": 3, "c": 4}
    assert kept_events(tmp_path) == [0, 1]


async def test_who_looks_on_while_the_log_is_taken_in_sees_all_once(tmp_path: Path) -> None:
    async with journal(tmp_path) as store:
        for n in range(40):
            await accepted(store, [emit(Stream.INSPECTION, n=n), Remember("k", n)])
            with JournalReader(tmp_path) as reader:
                seen = reader.events(Stream.INSPECTION, 0.0, 9e9)
                first = next(seen)["data"]["n"]
                if n % 3 == 0:
                    await store.history.edges(Stream.INSPECTION, 1, 1)
                assert [first, *(one["data"]["n"] for one in seen)] == list(range(n + 1))
                assert reader.memory("k") == {"": n}

"""A store of the former version: brought up to date with all that is in it, also where there is hardly room."""

import itertools
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from gateway.cloud.journal import schema
from gateway.cloud.journal.reading import JournalReader
from gateway.cloud.journal.sqlite import packed, unpacked
from gateway.errors import StoreNewer
from gateway.model import Stream
from tests.cloud.journal.test_pictures import JPEG, keep
from tests.cloud.journaling import WALL, Hands, accepted, all_of, emit, event, journal, look, sequences, taken, until

JOURNAL = "8c1f" * 8
WRITTEN = "783f179d94eec31e3524043886af5250bc555b0b008481219a"
"""As the first version that compresses has written it."""


def former(folder: Path, alarms: int = 3, padding: int = 0, version: int = 1) -> None:
    """A file as an older version left it: some alarms wait, telemetry was delivered, something is known."""
    with closing(sqlite3.connect(folder / "journal.db", isolation_level=None)) as file:
        file.execute("PRAGMA page_size=4096")
        file.execute("PRAGMA auto_vacuum=2")
        file.execute("PRAGMA journal_mode=wal")
        for statement in itertools.chain(*schema.STEPS[:version]):
            file.execute(statement)
        file.execute(f"PRAGMA user_version={version}")
        file.execute(
            "INSERT INTO journal (epoch, id, born, newest) VALUES (1, ?, ?, ?)", (JOURNAL, WALL - 100, WALL - 1)
        )
        file.execute("INSERT INTO memory VALUES ('alarm/1', ?)", (b'{"state":"unack"}',))
        for n in range(1, alarms + 1):
            payload = b'{"id":"a-%d","journal":"%s","sequence":"%020d","stream":"alarm","data":{}}' % (
                n, JOURNAL.encode(), n,
            )  # fmt: skip
            file.execute("INSERT INTO event VALUES (?, 0, 1, ?, ?, NULL, NULL, ?)", (n, n, WALL - 50, payload))
            file.execute("INSERT INTO outbox VALUES (0, 0, 0, ?, NULL)", (n,))
        for n in range(1000, 1000 + padding):
            file.execute("INSERT INTO event VALUES (?, 4, 1, ?, ?, NULL, NULL, zeroblob(4000))", (n, n, WALL - 50))
        file.execute("INSERT INTO stream VALUES (0, ?, ?)", (alarms, alarms))
        file.execute("INSERT INTO stream VALUES (4, 2000, 2000)")


@pytest.mark.parametrize("version", range(1, schema.VERSION))
async def test_a_store_of_the_former_version_goes_on(tmp_path: Path, version: int) -> None:
    former(tmp_path, version=version)
    async with journal(tmp_path) as store:
        assert store.quarantined_file is None
        assert store.journal_id == JOURNAL
        assert store.memory == {"alarm/1": {"state": "unack"}}
        assert store.newest == WALL - 1
        assert [event(row)["id"] for row in await all_of(store, Stream.ALARM)] == ["a-1", "a-2", "a-3"]
        await accepted(store, [emit()])
        assert sequences(await taken(store, Stream.ALARM, 1)) == [4]
        keep(store, 1)
        assert len(await taken(store, Stream.PICTURE, 1)) == 1
    assert look(tmp_path, "PRAGMA user_version") == [(schema.VERSION,)]
    assert look(tmp_path, "PRAGMA integrity_check") == [("ok",)]


async def test_one_that_is_over_its_limit_is_brought_up_to_date_and_sheds_then(tmp_path: Path) -> None:
    former(tmp_path, padding=2000)
    async with journal(tmp_path, max_size=2 << 20) as store:
        await accepted(store, [emit()])
        assert not store.lost
        assert sequences(await all_of(store, Stream.ALARM)) == [1, 2, 3, 4]
        await until(lambda: look(tmp_path, "SELECT count(*) FROM event WHERE stream = 4")[0][0] < 2000)


async def test_one_that_cannot_be_written_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    former(tmp_path)
    before = (tmp_path / "journal.db").read_bytes()
    # The step to the present version fails, as it does where there is no room for a page.
    monkeypatch.setattr("gateway.cloud.journal.sqlite.STEPS", (schema.STEPS[0], ("INSERT INTO nothing VALUES (1)",)))
    async with journal(tmp_path) as store:
        assert store.lost
        assert store.memory == {"alarm/1": {"state": "unack"}}
        assert [event(row)["id"] for row in await all_of(store, Stream.ALARM)] == ["a-1", "a-2", "a-3"]
        assert (tmp_path / "journal.db").read_bytes() == before
        monkeypatch.undo()
        await accepted(store, [emit()])
    async with journal(tmp_path) as store:
        assert store.journal_id != ""
        assert look(tmp_path, "PRAGMA user_version") == [(schema.VERSION,)]


async def test_pictures_of_a_damaged_store_are_salvaged(tmp_path: Path) -> None:
    async with journal(tmp_path) as store:
        for number in range(3):
            keep(store, number)
        await accepted(store, [emit()])
    damage(tmp_path / "journal.db")
    async with journal(tmp_path) as store:
        assert store.quarantined_file is not None
        rows = await taken(store, Stream.PICTURE, store.waiting(Stream.PICTURE))
        assert rows
        assert all(row.jpeg == JPEG for row in rows)
        assert sequences(await all_of(store, Stream.ALARM)) == [1]


def damage(path: Path) -> None:
    """Garble the pages of the memory's table, which nothing else needs."""
    with closing(sqlite3.connect(path)) as file:
        (root,) = file.execute("SELECT rootpage FROM sqlite_master WHERE name = 'shed'").fetchone()
    with path.open("r+b") as raw:
        raw.seek((root - 1) * 4096)
        raw.write(b"\xff" * 4096)


async def test_a_store_keeps_its_schema_while_a_version_is_on_trial(tmp_path: Path) -> None:
    tried, after = tmp_path / "tried", tmp_path / "after"
    tried.mkdir()
    former(tried)
    with pytest.raises(StoreNewer, match="schema 1, and"):
        async with journal(tried, schema=1):
            pass
    with closing(sqlite3.connect(tried / "journal.db")) as file:
        assert file.execute("PRAGMA user_version").fetchone() == (1,)
    shutil.copytree(tried, after)  # the lock is let go of when that process ends
    async with journal(after) as store:
        assert [event(row)["id"] for row in await all_of(store, Stream.ALARM)] == ["a-1", "a-2", "a-3"]


async def test_the_schema_of_the_version_before_can_be_worked_on(tmp_path: Path) -> None:
    """Whoever adds a step leaves `OLDEST_IN_USE`: without it no version could be tried on a store of the one before."""
    assert schema.OLDEST_IN_USE == 5
    former(tmp_path, version=5)
    async with journal(tmp_path, schema=5) as store:
        await accepted(store, [emit()])
        assert sequences(await all_of(store, Stream.ALARM)) == [1, 2, 3, 4]
    assert look(tmp_path, "PRAGMA user_version") == [(5,)]


@pytest.mark.parametrize("version", [schema.PACKED - 1, schema.VERSION])
async def test_telemetry_is_compressed_once_the_former_version_need_not_read_it(tmp_path: Path, version: int) -> None:
    former(tmp_path, version=schema.PACKED - 1)
    async with journal(tmp_path, schema=version) as store:
        for number in range(20):
            store.telemetry("d", {"number": number, "text": "x" * 400}, Hands().now())
        sent = await taken(store, Stream.TELEMETRY, 20)
        await accepted(store, [])
        await store.history.edges(Stream.TELEMETRY, 1, 1)  # now the database has it
        assert [payload for _, payload in await store.history.latest(Stream.TELEMETRY, None, 20)] == [
            row.payload for row in sent
        ]
    sizes = [size for (size,) in look(tmp_path, "SELECT length(payload) FROM event WHERE stream = 4 AND n > 3")]
    assert len(sizes) == 20
    assert all((size < 400) is (version >= schema.PACKED) for size in sizes)
    async with journal(tmp_path, schema=version) as store:
        assert await taken(store, Stream.TELEMETRY, 20) == sent
    with JournalReader(tmp_path) as reader:
        assert [one["data"]["number"] for one in reader.events(Stream.TELEMETRY, 0.0, 9e9)] == list(range(20))


def test_what_was_compressed_can_be_read_by_every_later_version() -> None:
    payload = b'{"specversion":"1.0","type":"sitegateway.telemetry.readings.v1","data":{"device":"d","full":true}}'
    assert unpacked(bytes.fromhex(WRITTEN)) == payload
    assert unpacked(packed(payload)) == payload
    assert unpacked(payload) == payload
    assert unpacked(packed(payload)[:-1]) == packed(payload)[:-1]


async def test_a_store_that_is_made_while_a_version_is_on_trial_is_one_that_the_version_before_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There was none, or it was damaged and is set aside."""
    for name, value in (("STEPS", (*schema.STEPS, ("CREATE TABLE later (x)",))), ("VERSION", schema.VERSION + 1)):
        monkeypatch.setattr(f"gateway.cloud.journal.sqlite.{name}", value)
    async with journal(tmp_path, schema=5) as store:
        await accepted(store, [emit()])
    (tmp_path / "journal.db").write_bytes(b"x" * 8192)
    async with journal(tmp_path, schema=5) as store:
        assert store.quarantined_file is not None
        await accepted(store, [emit()])
    monkeypatch.undo()
    async with journal(tmp_path) as store:
        await accepted(store, [emit()])
        assert not store.lost

"""Files of the store that are deleted or replaced under the running gateway, and damaged copies that pile up."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.model import Remember, Stream
from tests.cloud.journaling import accepted, all_of, emit, event, journal, look, told, until
from tests.reliability import stored
from tests.reliability.compound import World, world


def all_deleted(store: Path) -> None:
    for path in store.glob("journal.db*"):
        path.unlink()


def database_deleted(store: Path) -> None:
    (store / "journal.db").unlink()


def log_deleted(store: Path) -> None:
    (store / "journal.db-wal").unlink()


def index_deleted(store: Path) -> None:
    (store / "journal.db-shm").unlink()


def replaced(store: Path) -> None:
    """By a copy of itself, as an editor or a restore would."""
    shutil.copy(store / "journal.db", store / "copy")
    (store / "copy").rename(store / "journal.db")


def by_garbage(store: Path) -> None:
    (store / "garbage").write_bytes(b"nothing that SQLite knows" * 1000)
    (store / "garbage").rename(store / "journal.db")


def folder_moved(store: Path) -> None:
    store.rename(store.with_name("moved"))
    store.mkdir()


def folder_deleted(store: Path) -> None:
    shutil.rmtree(store)


def redo_log_deleted(store: Path) -> None:
    (store / "journal.db-log").unlink()


def redo_log_replaced(store: Path) -> None:
    (store / "journal.db-log").rename(store / "other")
    (store / "journal.db-log").write_bytes(random.Random(1).randbytes(1 << 19))  # noqa: S311 - repeatable


HARMS = [
    all_deleted, database_deleted, log_deleted, index_deleted, replaced, by_garbage, folder_moved, folder_deleted,
    redo_log_deleted, redo_log_replaced,
]  # fmt: skip


@pytest.mark.parametrize("harm", HARMS)
async def test_the_journal_begins_anew_with_all_that_waits(tmp_path: Path, harm: Callable[[Path], None]) -> None:
    folder = tmp_path / "store"
    async with journal(folder) as store:
        await accepted(store, [*(emit(n=n) for n in range(900)), Remember("k", 1)])
        store.telemetry("d", {"n": 1}, emit().at)
        name = store.journal_id
        harm(folder)
        await accepted(store, [emit(n=900), Remember("l", 2)])
        await until(lambda: not store.lost)
        assert store.loss is not None
        assert (store.loss.journal, store.loss.witness, store.loss.missing) == (name, "files", ())
        assert store.journal_id != name
        await accepted(store, [emit(n=901)])
        assert [event(row)["data"]["n"] for row in await all_of(store, Stream.ALARM)] == list(range(902))
        await told(store)
    async with journal(folder) as store:
        assert store.loss is None
        assert store.memory == {"k": 1, "l": 2}
        rows = await all_of(store, Stream.ALARM)
        assert [event(row)["data"]["n"] for row in rows] == list(range(902))
        numbers = [(event(row)["journal"], row.sequence) for row in rows]
        assert len(set(numbers)) == 902
    assert look(folder, "PRAGMA integrity_check") == [("ok",)]


@pytest.mark.parametrize("harm", [all_deleted, log_deleted, replaced])
async def test_the_gateway_says_so_and_loses_nothing(tmp_path: Path, harm: Callable[[Path], None]) -> None:
    async with world(tmp_path) as it:
        async with it.running() as gateway:
            await it.flip(3)
            harm(it.store)
            await it.flip()
            raised = await it.until_told("alarm.raised", "gateway/store")
            assert "deleted or replaced" in raised["data"]["text"]
            await it.cloud.until(lambda seen: bool(seen.of("store.rolled-back")))
            assert (await health(it))["store"] == "begun-anew"
            await it.flip()
            assert (await gateway.stop())[0] == 0
        async with it.running() as gateway:
            await it.flip()
            assert (await gateway.stop())[0] == 0
        it.must_be_whole()
        (told,) = it.cloud.of("store.rolled-back")
        assert (told["data"]["witness"], told["data"]["missing"]) == ("files", [])
        assert told["journal"] != told["data"]["journal"]
        numbers: dict[tuple[str, str, str], str] = {}
        for one in it.cloud.events:
            if "sequence" in one:
                assert numbers.setdefault((one["journal"], one["stream"], one["sequence"]), one["id"]) == one["id"]
        kept = {one["id"] for one in stored.events(it.store, Stream.ALARM)}
        assert kept >= {one["id"] for one in it.cloud.of("alarm")[-4:]}


async def health(it: World) -> dict[str, object]:
    journal: dict[str, object] = (await it.status())["journal"]
    return journal


@pytest.mark.soak
async def test_it_is_noticed_within_a_minute_when_nothing_happens(tmp_path: Path) -> None:
    async with journal(tmp_path / "store") as store:
        await accepted(store, [emit()])
        all_deleted(tmp_path / "store")
        await until(lambda: store.loss is not None, 70.0)


def copies(folder: Path) -> dict[str, int]:
    """Damaged copies by their name, with the bytes of all their files."""
    sizes: dict[str, int] = {}
    for path in folder.glob("journal.db.damaged-*"):
        stem = path.name.removesuffix("-wal").removesuffix("-shm").removesuffix("-log")
        sizes[stem] = sizes.get(stem, 0) + path.stat().st_size
    return sizes


async def damaged_once(folder: Path, number: int, size: int) -> str:
    """One life in a store that was garbled before; the name of the copy."""
    if number:
        whole = bytearray((folder / "journal.db").read_bytes())
        whole[4096:8192] = random.Random(number).randbytes(4096)  # noqa: S311 - repeatable
        (folder / "journal.db").write_bytes(whole)
    async with journal(folder, max_size=size) as store:
        await accepted(store, [emit(n=number, text="x" * 500)])
        assert (store.quarantined_file is not None) is (number > 0)
        return "" if store.quarantined_file is None else store.quarantined_file.name


async def test_two_damaged_copies_are_kept_and_the_oldest_go(tmp_path: Path) -> None:
    names = [await damaged_once(tmp_path, number, 16 << 20) for number in range(6)]
    assert set(copies(tmp_path)) == set(names[-2:])


async def test_damaged_copies_take_a_quarter_of_the_size_at_most(tmp_path: Path) -> None:
    seen = []
    for number in range(12):
        await damaged_once(tmp_path, number, 2 << 20)
        sizes = copies(tmp_path)
        seen.append(len(sizes))
        assert sum(sizes.values()) <= (2 << 20) // 4
        async with journal(tmp_path, max_size=2 << 20) as store:
            await accepted(store, [emit(text="x" * 1000) for _ in range(30)])
    assert max(seen) == 2, "small ones are kept"
    assert seen[-1] < 2, "large ones are not"

import sqlite3
from pathlib import Path

import pytest

from gateway.cloud.journal import schema
from gateway.cloud.journal.sqlite import Database
from gateway.errors import StoreDamaged, StoreError, StoreFull

SIZE = 1 << 20
TAILS = ("", "-log", "-shm", "-wal")


@pytest.fixture
def store(tmp_path: Path) -> Database:
    opened = Database(tmp_path, SIZE)
    opened.open(check=True)
    return opened


def test_every_setting_holds(store: Database) -> None:
    found = {
        name: store.execute(f"PRAGMA {name}")[0][0]
        for name in ("journal_mode", "synchronous", "page_size", "auto_vacuum", "journal_size_limit", "foreign_keys")
    }
    store.close()
    assert found == {
        "journal_mode": "wal",
        "synchronous": 2,
        "page_size": 4096,
        "auto_vacuum": 2,
        "journal_size_limit": 8 << 20,
        "foreign_keys": 1,
    }


def test_a_setting_that_does_not_take_is_noticed(store: Database) -> None:
    with pytest.raises(StoreError, match="page_size is 4096, not 8192"):
        store.set((("page_size", 8192),))
    store.close()


def test_a_transaction_is_whole_or_not(store: Database) -> None:
    def fail() -> None:
        with store.transaction():
            store.execute("INSERT INTO memory VALUES ('a', x'31')")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert store.execute("SELECT * FROM memory") == []
    store.close()


def test_no_room_and_damage_have_names_of_their_own(store: Database, tmp_path: Path) -> None:
    with pytest.raises(StoreFull):
        store.execute("INSERT INTO memory VALUES ('a', zeroblob(?))", (2 * SIZE,))
    store.close()
    (tmp_path / "journal.db").write_bytes(b"nonsense" * 1000)
    with pytest.raises(StoreDamaged):
        store.open(check=True)
    store.close()
    with pytest.raises(StoreError, match="not open"):
        store.execute("SELECT 1")


def test_a_file_of_somebody_else_is_not_taken_over(tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "journal.db")
    other.execute("CREATE TABLE mine (x)")
    other.close()
    with pytest.raises(StoreDamaged, match="not a journal"):
        Database(tmp_path, SIZE).open(check=True)


def test_the_check_of_a_file_too_large_to_check_in_time_is_no_fault(
    store: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with store.transaction():
        store.many("INSERT INTO memory (key, value) VALUES (?, zeroblob(200))", ((f"key-{n}",) for n in range(3000)))
    store.close()
    monkeypatch.setattr("gateway.cloud.journal.sqlite.CHECK_S", -1.0)
    store.open(check=True)
    assert store.writable
    store.close()


def test_an_older_file_is_brought_up_to_date(store: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    store.close()
    store.release()
    steps = (*schema.STEPS, ("ALTER TABLE shed ADD COLUMN place TEXT",))
    monkeypatch.setattr("gateway.cloud.journal.sqlite.STEPS", steps)
    later = Database(store.path.parent, SIZE, schema=len(steps))
    later.open(check=True)
    assert later.number("PRAGMA user_version") == len(steps)
    assert later.execute("SELECT place FROM shed") == []
    later.close()


def test_set_aside_keeps_every_copy(tmp_path: Path) -> None:
    store = Database(tmp_path, SIZE)
    for _ in range(3):
        store.open(check=True)
        store.set_aside(0.0)
        store.salvaged()
    names = {f"journal.db.damaged-19700101T000000Z{count}{tail}" for count in ("", "-2", "-3") for tail in TAILS}
    assert {path.name for path in tmp_path.iterdir()} == names

"""What a disk does to a storage engine: bits that flip within rows, syncs that fail, readers that stay."""

import asyncio
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from gateway.model import Emit, Remember, Stream
from tests.cloud.journaling import Hands, accepted, all_of, emit, event, journal, look, sequences, taken, until

STEPS = 40


def garble(folder: Path, sql: str) -> None:
    with closing(sqlite3.connect(folder / "journal.db", isolation_level=None)) as file:
        file.execute(sql)


async def test_a_flipped_bit_in_what_is_remembered_does_not_end_every_start(tmp_path: Path) -> None:
    async with journal(tmp_path) as store:
        await accepted(store, [emit(), Remember("good", 1), Remember("bad", {"a": 1})])
    garble(tmp_path, "UPDATE memory SET value = x'7b2261' WHERE key = 'bad'")
    async with journal(tmp_path) as store:
        assert store.quarantined_file is not None
        assert store.memory == {"good": 1}
        assert sequences(await all_of(store, Stream.ALARM)) == [1]


async def test_a_flipped_bit_in_an_event_never_reaches_the_broker(tmp_path: Path) -> None:
    async with journal(tmp_path) as store:
        await accepted(store, [emit(n=n) for n in range(600)])
    garble(tmp_path, "UPDATE event SET payload = replace(payload, '{', '[') WHERE sequence = 550")
    async with journal(tmp_path) as store:
        assert store.quarantined_file is None
        rows = await taken(store, Stream.ALARM, 500)
        await until(lambda: store.quarantined_file is not None or store.take(Stream.ALARM) is None)
        await until(lambda: store.quarantined_file is not None)
        for row in rows:
            store.acknowledge(row)
        await accepted(store, [emit(n="live")])
        store.rewind()
        rest = await taken(store, Stream.ALARM, store.waiting(Stream.ALARM))
        told = [event(row)["data"]["n"] for row in rest]
        assert told[-1] == "live"
        assert set(range(500, 600)) - set(told) <= {549}


async def test_a_flipped_bit_in_compressed_telemetry_never_reaches_the_broker(tmp_path: Path) -> None:
    async with journal(tmp_path) as store:
        for n in range(20):
            store.telemetry("d", {"n": n}, Hands().now())
    garble(
        tmp_path,
        "UPDATE event SET payload = CAST(substr(payload, 1, 30) || 'U' || substr(payload, 32) AS BLOB) WHERE n = 10",
    )
    async with journal(tmp_path) as store:
        waiting = store.waiting(Stream.TELEMETRY)
        await until(lambda: store.take(Stream.TELEMETRY) is None and store.quarantined_file is not None)
        store.rewind()
        rest = await taken(store, Stream.TELEMETRY, store.waiting(Stream.TELEMETRY))
        assert [event(row)["data"]["n"] for row in rest] == [n for n in range(20) if n != 9]
        assert waiting == 20


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE event SET payload = CAST(x'ff7b' AS TEXT) WHERE sequence = 590",
        "UPDATE memory SET value = CAST(x'ff7b' AS TEXT) WHERE key = 'key'",
    ],
)
async def test_a_flipped_bit_that_makes_text_of_bytes_is_damage(tmp_path: Path, sql: str) -> None:
    async with journal(tmp_path) as store:
        await accepted(store, [emit(n=n) for n in range(600)])
        await accepted(store, [Remember("key", 1)])
    garble(tmp_path, sql)
    async with journal(tmp_path) as store:
        rows = await taken(store, Stream.ALARM, 500)
        await until(lambda: store.take(Stream.ALARM) is None or store.quarantined_file is not None)
        await until(lambda: store.quarantined_file is not None)
        assert [event(row)["data"]["n"] for row in rows] == list(range(500))
        await accepted(store, [emit(n="live")])


async def test_a_flipped_bit_in_an_event_born_unsynced(tmp_path: Path) -> None:
    hands = Hands(synced=False)
    async with journal(tmp_path, hands) as store:
        await accepted(store, [emit(at=hands.now()), emit(at=hands.now())])
    garble(tmp_path, "UPDATE event SET payload = x'7b' WHERE sequence = 1 AND stream = 0")
    async with journal(tmp_path, hands) as store:
        hands.synced = True
        store.clock_synced(hands.run(1.0))
        await until(lambda: store.quarantined_file is not None)
        await accepted(store, [emit(at=hands.now())])


async def fill(folder: Path) -> None:
    """The traced process: every step is accepted, whatever the disk says."""
    async with journal(folder, Hands(), boot="boot-1") as store:
        for step in range(1, STEPS + 1):
            event = Emit(Stream.ALARM, "alarm.test", None, {"step": step}, f"a-{step}", Hands().now())
            await accepted(store, [event, Remember("step", step)])
        while store.lost:
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("when", [12, 25])
async def test_a_sync_that_fails_loses_nothing(tmp_path: Path, when: int) -> None:
    folder, trace = tmp_path / "store", tmp_path / "trace"
    fault = f"inject=fsync,fdatasync:error=EIO:when={when}"
    await asyncio.to_thread(
        subprocess.run,
        ["strace", "-f", "-e", "trace=fsync,fdatasync", "-e", fault, "-o", str(trace),
         sys.executable, "-m", "tests.cloud.journal.test_journal_hostile", str(folder)],
        check=True, timeout=50, cwd=Path(__file__).parents[3],
    )  # fmt: skip
    assert len(re.findall("INJECTED", trace.read_text())) == 1
    async with journal(folder, Hands()) as store:
        assert store.memory["step"] == STEPS
        assert [event(row)["data"]["step"] for row in await all_of(store, Stream.ALARM)] == list(range(1, STEPS + 1))
    assert look(folder, "PRAGMA integrity_check") == [("ok",)]


async def test_a_reader_that_stays_holds_up_no_commit_and_the_log_shrinks_when_it_goes(tmp_path: Path) -> None:
    wal = tmp_path / "journal.db-wal"
    async with journal(tmp_path) as store:
        await accepted(store, [emit()])
        with closing(sqlite3.connect(f"file:{tmp_path}/journal.db?mode=ro", uri=True, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM event").fetchall()
            for _ in range(30):
                await accepted(store, [emit(text="x" * 900) for _ in range(500)])
            assert wal.stat().st_size > 8 << 20
            assert not store.lost
        for _ in range(30):
            await accepted(store, [emit(text="x" * 900) for _ in range(100)])
        assert wal.stat().st_size <= 9 << 20
        assert not store.lost


if __name__ == "__main__":
    asyncio.run(fill(Path(sys.argv[1])))

"""A salvage that is cut: the next start does it again, with nothing lost, doubled or untold.

The kills are real, at a system call of the writer's thread that strace counts.
"""

import asyncio
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.model import Json, Remember, Stream
from tests.cloud.journaling import accepted, all_of, emit, journal, told

ROOT = Path(__file__).parents[3]
ROWS = 100
MAX_SIZE = 4 << 20
CUTS = [("rename", 1), ("fsync", 1), ("fdatasync", 1), ("unlink", 1), ("pwrite64", 9)]
"""Calls, and each how many of them a trial is made."""


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with rows, memory and a redo log, of which two pages are garbled."""
    live, folder = tmp_path_factory.mktemp("live"), tmp_path_factory.mktemp("damaged") / "store"

    async def fill() -> None:
        async with journal(live, max_size=MAX_SIZE) as store:
            await accepted(store, [emit(n=n, text="x" * 900) for n in range(ROWS)])
            await accepted(store, [Remember(f"key-{n}", "y" * 200) for n in range(50)])
            await store.history.edges(Stream.ALARM, 1, 1)  # now the database has it
            await accepted(store, [emit(n=ROWS), Remember("late", 1)])
            shutil.copytree(live, folder)

    asyncio.run(fill())
    (folder / "journal.db-shm").unlink()
    wal = folder / "journal.db-wal"
    pages = wal.read_bytes()[32:]
    wal.write_bytes(b"")
    with (folder / "journal.db").open("r+b") as file:
        for at in range(0, len(pages), 4120):
            file.seek((int.from_bytes(pages[at : at + 4]) - 1) * 4096)
            file.write(pages[at + 24 : at + 4120])
        file.seek(file.seek(0, 2) // 8192 * 4096)
        file.write(b"?" * 8192)
    return folder


def started_and_killed(folder: Path, call: str, number: int) -> int:
    """The status of a start that is killed at this call, when a thread makes it for that time."""
    return started(folder, call, f"signal=KILL:when={number}")


def started(folder: Path, call: str, fault: str) -> int:
    """The status of a start with a fault at some calls."""
    how = ["-e", f"trace={call}", "-e", f"inject={call}:{fault}", "-o", "/dev/null"]
    start = [sys.executable, "-m", "tests.cloud.journal.test_salvage_cut", str(folder)]
    return subprocess.run(["strace", "-f", *how, *start], cwd=ROOT, check=False).returncode


async def saved(folder: Path) -> tuple[list[tuple[str, bytes]], dict[str, Json]]:
    """What waits and what is remembered after another start; what befell the store is told there."""
    async with journal(folder, max_size=MAX_SIZE) as store:
        assert not store.lost
        assert store.quarantined_file is not None
        assert store.quarantined_file.exists()
        rows = [(row.stream.value, row.payload) for row in await all_of(store, Stream.ALARM)]
        memory = dict(store.memory)
        await told(store)
    return rows, memory


async def test_it_is_done_again(damaged: Path, tmp_path: Path) -> None:
    shutil.copytree(damaged, tmp_path / "uncut")
    expected = await saved(tmp_path / "uncut")
    assert ROWS - 12 < len(expected[0]) <= ROWS
    assert expected[1]["late"] == 1
    for call, every in CUTS:
        cut = 0
        for number in range(1, 1000, every):
            folder = tmp_path / f"{call}-{number}"
            shutil.copytree(damaged, folder)
            if await asyncio.to_thread(started_and_killed, folder, call, number) == 0:
                break
            cut += 1
            assert await saved(folder) == expected, f"cut at {call} {number}"
            assert len(list(folder.glob("journal.db.damaged-*[0-9Z]"))) == 1
            assert not (folder / "journal.db.salvage").exists()
            async with journal(folder) as store:
                assert store.quarantined_file is None, "told once"
            shutil.rmtree(folder)
        assert cut > 1, call


async def test_it_is_done_when_there_is_room(damaged: Path, tmp_path: Path) -> None:
    """A life, and another, without room for a new store are no reason to give it up."""
    shutil.copytree(damaged, tmp_path / "uncut")
    expected = await saved(tmp_path / "uncut")
    folder = tmp_path / "store"
    shutil.copytree(damaged, folder)
    for number in (12, 6, 6, 6, 6):
        fault = f"error=ENOSPC:when={number}+"
        assert await asyncio.to_thread(started, folder, "pwrite64", fault) == 0
        assert (folder / "journal.db.salvage").exists()
    assert await saved(folder) == expected


async def cut_in_salvage(before: Path, place: Path, times: int) -> Path:
    """A copy of the store after a start that was killed in its salvage, for so many times by now."""
    for number in range(1, 20):
        folder = place / str(number)
        shutil.copytree(before, folder)
        assert await asyncio.to_thread(started_and_killed, folder, "fsync", number)
        noted = folder / "journal.db.salvage"
        if noted.exists() and noted.read_bytes().startswith(b"%d " % times):
            return folder
    raise AssertionError("it was never cut in its salvage")


async def test_a_salvage_that_is_cut_each_time_is_given_up(damaged: Path, tmp_path: Path) -> None:
    """Perhaps it is what is in the copy that ends the process: then the gateway starts without it, and says so."""
    folder = damaged
    for times in range(1, 4):
        folder = await cut_in_salvage(folder, tmp_path / str(times), times)
    async with journal(folder, max_size=MAX_SIZE) as store:
        assert not store.lost
        assert store.loss is not None
        assert {(gap.stream, gap.first, gap.last) for gap in store.loss.missing} >= {(Stream.ALARM, 1, ROWS + 1)}
        await accepted(store, [emit()])
    assert not (folder / "journal.db.salvage").exists()
    assert len(list(folder.glob("journal.db.damaged-*[0-9Z]"))) == 1


async def one_start(folder: Path) -> None:
    async with journal(folder, max_size=MAX_SIZE):
        pass


if __name__ == "__main__":
    asyncio.run(one_start(Path(sys.argv[1])))

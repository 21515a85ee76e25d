import asyncio
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.model import Remember, Stream
from tests.cloud.journaling import (
    Hands,
    accepted,
    all_of,
    emit,
    event,
    journal,
    look,
    noise,
    sequences,
    taken,
    told,
    until,
)
from tests.slow_disk import stalled

STEPS = 40
NOBODY = 65534
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def crashed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of a journal of 40 steps as a kill would leave them."""
    live = tmp_path_factory.mktemp("live")
    copy = tmp_path_factory.mktemp("crashed")

    async def fill() -> None:
        async with journal(live) as store:
            for step in range(1, STEPS + 1):
                await accepted(
                    store,
                    [emit(step=step), emit(Stream.AUDIT, step=step), Remember("step", step), emit(step=step, second=1)],
                )
            copy_crashed(live, copy)

    asyncio.run(fill())
    return copy


def copy_crashed(folder: Path, copy: Path) -> None:
    """The -wal first: whatever moves into the file meanwhile is in the copy of the -wal as well."""
    copy.mkdir(exist_ok=True)
    for name in ("journal.db-log", "journal.db-wal", "journal.db-shm", "journal.db"):
        if (folder / name).exists():
            shutil.copy(folder / name, copy / name)


async def check_prefix(folder: Path) -> int:
    async with journal(folder) as store:
        rows = await all_of(store, Stream.ALARM)
        audit = [row for row in await all_of(store, Stream.AUDIT) if "step" in event(row)["data"]]
        step = store.memory.get("step", 0)
        assert isinstance(step, int)
        assert sequences(rows) == list(range(1, 2 * step + 1))
        assert [event(row)["data"]["step"] for row in audit] == list(range(1, step + 1))
        await accepted(store, [emit()])
        assert store.quarantined_file is None
        return step


@settings(max_examples=25)
@given(share=st.floats(0.0, 1.0), garbage=st.booleans(), seed=st.integers(0, 2**32))
def test_a_broken_wal_leaves_a_prefix_of_steps(
    crashed: Path, tmp_path_factory: pytest.TempPathFactory, *, share: float, garbage: bool, seed: int
) -> None:
    folder = tmp_path_factory.mktemp("broken")
    copy_crashed(crashed, folder)
    wal = folder / "journal.db-wal"
    whole = wal.read_bytes()
    cut = int(len(whole) * share)
    chance = random.Random(seed)  # noqa: S311 - a repeatable mess
    tail = chance.randbytes(len(whole) - cut) if garbage else b""
    wal.write_bytes(whole[:cut] + tail)
    (folder / "journal.db-shm").unlink()
    assert 0 <= asyncio.run(check_prefix(folder)) <= STEPS
    shutil.rmtree(folder)


@settings(max_examples=25)
@given(share=st.floats(0.0, 1.0), garbage=st.booleans(), seed=st.integers(0, 2**32))
def test_a_broken_redo_log_leaves_a_prefix_of_steps(
    crashed: Path, tmp_path_factory: pytest.TempPathFactory, *, share: float, garbage: bool, seed: int
) -> None:
    folder = tmp_path_factory.mktemp("broken")
    copy_crashed(crashed, folder)
    log = folder / "journal.db-log"
    whole = log.read_bytes()
    cut = int(len(whole.rstrip(b"\0")) * share)
    chance = random.Random(seed)  # noqa: S311 - a repeatable mess
    tail = chance.randbytes(len(whole) - cut) if garbage else b""
    log.write_bytes(whole[:cut] + tail)
    steps = asyncio.run(check_prefix(folder))
    assert int(STEPS * share) - 1 <= steps <= STEPS
    shutil.rmtree(folder)


async def test_an_unbroken_wal_leaves_all(crashed: Path, tmp_path: Path) -> None:
    copy_crashed(crashed, tmp_path)
    assert await check_prefix(tmp_path) == STEPS


async def backlog(folder: Path, count: int) -> list[bytes]:
    """A closed journal whose rows spread over many pages."""
    async with journal(folder) as store:
        for first in range(0, count, 100):
            await accepted(store, [emit(n=n, text="x" * 900) for n in range(first, first + 100)])
        await accepted(store, [Remember(f"key-{n}", "y" * 200) for n in range(50)])
    return [row[0] for row in look(folder, "SELECT unpacked(payload) FROM event ORDER BY n")]


def garble(path: Path, pages: list[int]) -> None:
    with path.open("r+b") as file:
        for page in pages:
            file.seek(page * 4096)
            file.write(random.Random(page).randbytes(4096))  # noqa: S311 - a repeatable mess


async def test_a_damaged_file_is_set_aside_and_what_waits_is_saved(tmp_path: Path) -> None:
    before = await backlog(tmp_path, 1000)
    size = (tmp_path / "journal.db").stat().st_size // 4096
    garble(tmp_path / "journal.db", [size // 2, size // 2 + 1])
    damaged = (tmp_path / "journal.db").read_bytes()
    async with journal(tmp_path) as store:
        aside = store.quarantined_file
        assert aside is not None
        assert aside.read_bytes() == damaged
        saved = [row.payload for row in await all_of(store, Stream.ALARM)]
        assert len(saved) >= 980
        assert set(saved) <= set(before)
        assert saved == [payload for payload in before if payload in set(saved)]
        assert len(store.memory) >= 25
        assert all(store.journal_id != orjson.loads(payload)["journal"] for payload in saved)
        await accepted(store, [emit()])
        fresh = await taken(store, Stream.ALARM, 1)
        assert (fresh[0].sequence, event(fresh[0])["journal"]) == (1, store.journal_id)
        name = store.journal_id
        await told(store)
    async with journal(tmp_path) as store:
        assert store.quarantined_file is None
        assert store.journal_id == name
        again = [row.payload for row in await all_of(store, Stream.ALARM)]
        assert again == [*saved, fresh[0].payload]


@pytest.mark.parametrize(
    "content", [b"", b"not a database, but as long as one might be" * 100, b"SQLite format 3\0" + b"\0" * 4080]
)
async def test_a_file_of_garbage_is_set_aside(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "journal.db").write_bytes(content)
    (tmp_path / "journal.db-wal").write_bytes(b"left over")
    async with journal(tmp_path) as store:
        aside = store.quarantined_file
        assert aside is not None
        assert aside.read_bytes() == content
        assert Path(f"{aside}-wal").read_bytes() == b"left over"
        await accepted(store, [emit()])
        assert not store.lost


async def test_a_file_that_breaks_while_in_use_is_replaced(tmp_path: Path) -> None:
    before = await backlog(tmp_path, 4000)
    async with journal(tmp_path) as store:
        first = await taken(store, Stream.ALARM, 100)
        name = store.journal_id
        size = (tmp_path / "journal.db").stat().st_size // 4096
        garble(tmp_path / "journal.db", list(range(size * 6 // 10, size * 6 // 10 + 5)))
        rows = first + await taken(store, Stream.ALARM, 2000)
        await until(lambda: store.quarantined_file or store.take(Stream.ALARM) is None)
        store.rewind()
        await until(lambda: store.quarantined_file)
        assert store.journal_id != name
        await accepted(store, [emit(n="new"), Remember("key-new", 1)])
        assert not store.lost
        rows = await all_of(store, Stream.ALARM)
        seen = {row.payload for row in rows}
        assert len(seen & set(before)) >= 3900
        assert event(rows[-1])["data"] == {"n": "new"}
    async with journal(tmp_path) as store:
        assert len(store.memory) == 51


async def test_without_a_store_alarms_flow_from_memory_and_are_written_later(tmp_path: Path) -> None:
    obstacle = tmp_path / "store"
    obstacle.write_text("in the way")
    async with journal(obstacle) as store:
        assert store.lost
        assert store.stats().store == "lost"
        await accepted(store, [emit(n=n) for n in range(3)] + [Remember("k", 1)])
        rows = await all_of(store, Stream.ALARM)
        assert sequences(rows) == [1, 2, 3]
        store.acknowledge(rows[0])
        assert store.stats().ahead_of_commit == 3
        name = store.journal_id
        obstacle.unlink()
        await until(lambda: not store.lost)
        await accepted(store, [emit()])
        assert store.journal_id == name
    async with journal(obstacle) as store:
        assert store.journal_id == name
        assert store.memory == {"k": 1}
        again = await all_of(store, Stream.ALARM)
        assert again[:2] == rows[1:]
        assert sequences(again) == [2, 3, 4]


async def test_a_stalled_store_is_lost_after_two_seconds_and_comes_back(tmp_path: Path) -> None:
    async with journal(tmp_path) as store:
        await accepted(store, [emit(n=n) for n in range(1500)])
    async with journal(tmp_path) as store:
        await taken(store, Stream.ALARM, 1)
        with stalled():
            await accepted(store, [emit(Stream.AUDIT, text="during")], seconds=3.0)
            assert store.lost
            assert store.take(Stream.AUDIT) is not None
            await accepted(store, [emit(Stream.AUDIT)], seconds=0.1)
            assert store.take(Stream.AUDIT) is not None
        await until(lambda: not store.lost)
        rest = await taken(store, Stream.ALARM, 1499)
        assert sequences(rest) == list(range(2, 1501))
    async with journal(tmp_path) as store:
        assert sequences(await all_of(store, Stream.AUDIT)) == [1, 2]


async def test_a_full_store_sheds_telemetry_and_names_it_but_no_alarm(tmp_path: Path) -> None:
    hands = Hands()
    async with journal(tmp_path, hands, max_size=1 << 20) as store:
        for n in range(40):
            for _ in range(20):
                store.telemetry("d", orjson.dumps({"text": noise(2000)}), hands.run(0.1))
            await accepted(store, [emit(n=n)])
        await until(lambda: not store.lost and store.stats().shed)
        assert sequences(await all_of(store, Stream.ALARM)) == list(range(1, 41))
    async with journal(tmp_path, hands, max_size=1 << 20) as store:
        left = sequences(await all_of(store, Stream.TELEMETRY))
        named = [event(row)["data"] for row in await all_of(store, Stream.AUDIT)]
        assert left
        assert {gap["reason"] for gap in named} == {"full"}
        assert min(gap["first"] for gap in named) == 1
        assert max(gap["last"] for gap in named) == left[0] - 1
        assert sum(gap["count"] for gap in named) == left[0] - 1
        assert left == list(range(left[0], 801))
        assert (tmp_path / "journal.db").stat().st_size <= 1 << 20


async def test_delivered_telemetry_goes_before_what_waits(tmp_path: Path) -> None:
    hands = Hands()
    async with journal(tmp_path, hands, max_size=1 << 20) as store:
        for n in range(30):
            for _ in range(20):
                store.telemetry("d", orjson.dumps({"text": noise(2000)}), hands.run(0.1))
            await accepted(store, [emit(n=n)])
            for row in await all_of(store, Stream.TELEMETRY):
                store.acknowledge(row)
        assert store.stats().shed == 0
        assert not store.lost


async def test_a_store_full_of_alarms_goes_on_from_memory(tmp_path: Path) -> None:
    async with journal(tmp_path, max_size=256 << 10) as store:
        sent = []
        for n in range(400):
            await accepted(store, [emit(n=n, text="x" * 1000)])
        assert store.lost
        sent = await all_of(store, Stream.ALARM)
        assert sequences(sent) == list(range(1, 401))
        for row in sent:
            store.acknowledge(row)
        assert store.waiting(Stream.ALARM) == 0


async def test_too_much_for_memory_sheds_telemetry(tmp_path: Path) -> None:
    hands = Hands()
    (tmp_path / "store").write_text("in the way")
    async with journal(tmp_path / "store", hands) as store:
        for n in range(30):
            store.telemetry("d", orjson.dumps({"text": "x" * (1 << 20)}), hands.run(1.0))
            if n % 3 == 0:
                await accepted(store, [emit(n=n)])
        assert store.stats().queue_bytes < 16 << 20
        assert store.roomy
        assert sequences(await all_of(store, Stream.ALARM)) == list(range(1, 11))
        assert store.stats().shed > 10
        gap = event((await all_of(store, Stream.AUDIT))[0])["data"]
        assert (gap["stream"], gap["first"], gap["reason"]) == ("telemetry", 1, "memory")
        assert (await all_of(store, Stream.TELEMETRY))[0].sequence > 10


async def test_the_reserve_is_made_and_given_up(tmp_path: Path) -> None:
    async with journal(tmp_path, max_size=256 << 10, alarm_reserve=1 << 20) as store:
        await until((tmp_path / "reserve").exists)
        await accepted(store, [emit()])
        assert store.stats().reserve
        assert (tmp_path / "reserve").stat().st_blocks * 512 >= 1 << 20
        for n in range(300):
            await accepted(store, [emit(n=n, text="x" * 1000)])
        assert not (tmp_path / "reserve").exists()


RESTRICTED = """
import asyncio, os, resource, sys
from pathlib import Path
from gateway.model import Stream
from tests.cloud.journaling import accepted, all_of, emit, journal, sequences, taken, until

async def main(how: str, folder: Path) -> None:
    if how == "readonly":
        os.setuid(65534) if os.geteuid() == 0 else None
    async with journal(folder) as store:
        assert store.lost is (how == "readonly")
        if how == "full":
            resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        assert store.memory == {"k": 1}
        await accepted(store, [emit(n=n, text="x" * 5000) for n in range(20)])
        assert store.lost
        rows = await all_of(store, Stream.ALARM)
        assert len({row.payload for row in rows}) == 60, len(rows)
        for row in rows:
            store.acknowledge(row)
        assert store.waiting(Stream.ALARM) == 0
        assert store.take(Stream.ALARM) is None
        print(store.journal_id, rows[0].sequence, rows[-1].sequence)
        if how == "full":
            await accepted(store, [emit(text="last")])
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            await until(lambda: not store.lost, 20.0)
            assert sequences(await taken(store, Stream.ALARM, 1)) == [61]

asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
"""


async def restricted(how: str, folder: Path) -> list[str]:
    """Use a journal with 40 waiting rows in a process that may not write it; what it was called, and what that saw."""
    async with journal(folder) as store:
        await accepted(store, [*(emit(n=n) for n in range(40)), Remember("k", 1)])
        name = store.journal_id
    if how == "readonly":
        for path in (*folder.glob("journal.db*"), folder):
            path.chmod(0o555 if path.is_dir() else 0o400)
            if os.geteuid() == 0:
                os.chown(path, NOBODY, NOBODY)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", RESTRICTED, how, str(folder),
        cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE,
    )  # fmt: skip
    said, _ = await process.communicate()
    assert process.returncode == 0
    return [name, *said.decode().split()]


async def test_a_readonly_store_still_gives_memory_and_backlog() -> None:
    with tempfile.TemporaryDirectory() as name:  # not below pytest's folder, which others may not enter
        Path(name).chmod(0o755)
        folder = Path(name) / "store"
        before, during, first, last = await restricted("readonly", folder)
        assert during != before  # numbers given now cannot be written down
        assert (first, last) == ("1", "20")
        folder.chmod(0o755)
        for path in folder.glob("journal.db*"):
            path.chmod(0o600)
        async with journal(folder) as store:
            assert store.journal_id == before
            assert len(await all_of(store, Stream.ALARM)) == 40


async def test_a_full_disk_holds_up_no_alarm(tmp_path: Path) -> None:
    before, during, first, last = await restricted("full", tmp_path)
    assert during == before
    assert (first, last) == ("1", "60")
    async with journal(tmp_path) as store:
        assert store.journal_id == before
        assert store.last(Stream.ALARM) == 61
        assert sequences(await all_of(store, Stream.ALARM)) == [61]


@contextmanager
def small_disk(folder: Path) -> Iterator[int]:
    """A disk of 16 MiB under `folder` where mounting is allowed; else a journal of 8 MiB must do. Gives `max_size`."""
    folder.mkdir()
    mount = shutil.which("mount") or "/bin/false"
    mounted = subprocess.run([mount, "-t", "tmpfs", "-o", "size=16m", "none", folder], check=False, capture_output=True)
    try:
        yield 8 << 20 if mounted.returncode else 512 << 20
    finally:
        if not mounted.returncode and subprocess.run(["umount", folder], check=False).returncode:
            subprocess.run(["umount", "--lazy", folder], check=True)  # nothing stays mounted below the folder of tests
            pytest.fail(f"{folder}: something under it was still open")


async def test_on_a_small_disk_telemetry_gives_way_and_the_store_goes_on(tmp_path: Path) -> None:
    hands = Hands()
    with small_disk(tmp_path / "disk") as size:
        folder = tmp_path / "disk" / "store"
        settings = {"max_size": size, "alarm_reserve": 2 << 20}
        async with journal(folder, hands, **settings) as store:
            await until((folder / "reserve").exists)
            for n in range(120):
                for _ in range(40):
                    store.telemetry("d", orjson.dumps({"text": noise(3000)}), hands.run(0.1))
                await accepted(store, [emit(n=n)])
            assert not (folder / "reserve").exists()
            await until(lambda: not store.lost)
            assert sequences(await all_of(store, Stream.ALARM)) == list(range(1, 121))
        async with journal(folder, hands, **settings) as store:
            left = sequences(await all_of(store, Stream.TELEMETRY))
            named = [event(row)["data"] for row in await all_of(store, Stream.AUDIT)]
            assert left == list(range(left[0], 4801))
            assert sum(gap["count"] for gap in named) == left[0] - 1
            assert store.stats().losses == 0


async def test_a_slow_disk_at_the_start_turns_no_order_round(tmp_path: Path) -> None:
    """What happens meanwhile waits behind the backlog that lies on it, and comes after it."""
    async with journal(tmp_path) as store:
        await accepted(store, [emit(n=n) for n in range(1000)])
    async with journal(tmp_path) as store:
        with stalled():
            store.append([emit(n="live")])
            await until(lambda: store.lost)
            assert store.take(Stream.ALARM) is None
        assert sequences(await taken(store, Stream.ALARM, 1001)) == list(range(1, 1002))


async def test_a_kill_after_the_store_was_begun_anew_hides_no_telemetry(tmp_path: Path) -> None:
    """What the broker has of the journal before says nothing about numbers of the new one."""
    live, copy, hands = tmp_path / "live", tmp_path / "copy", Hands()
    async with journal(live, hands) as store:
        for _ in range(30):
            store.telemetry("d", b"{}", hands.run(0.01))
        old = await taken(store, Stream.TELEMETRY, 30)
        before = store.journal_id
        for path in live.glob("journal.db*"):
            path.unlink()
        store.append([emit(at=hands.run(0.1))])
        await until(lambda: store.journal_id != before)
        await accepted(store, [emit(at=hands.run(0.1))])
        for _ in range(5):
            store.telemetry("d", b"{}", hands.run(0.01))
        for row in old[:20]:
            store.acknowledge(row)
        shutil.copytree(live, copy)
    async with journal(copy, hands) as store:
        kept = {
            row.sequence for row in await all_of(store, Stream.TELEMETRY) if event(row)["journal"] == store.journal_id
        }
        told = [event(row)["data"] for row in await taken(store, Stream.AUDIT, 1)]
        named = {n for gap in told if gap.get("reason") == "crash" for n in range(gap["first"], gap["last"] + 1)}
        assert kept | named == {1, 2, 3, 4, 5}
        assert named

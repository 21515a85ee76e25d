"""A store that went back in time: its -wal deleted, cut or flipped at rest, an older copy put back, a file lost.

Whatever was committed is delivered, or still waits, or is named as missing under a new journal; no number has two ids.
"""

import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson
import pytest

from gateway.cloud.journal.witness import HighWater, Mark
from gateway.model import Remember, Stream
from simulators.cloud import Cloud
from tests.cloud.journal.test_journal_kill import run_and_kill
from tests.cloud.journaling import Hands, accepted, all_of, emit, event, journal, look, told
from tests.reliability.compound import BATTERY, World, world

TRIALS = 50
Key = tuple[str, str, int]
"""Journal, stream, sequence."""


@dataclass
class Lives:
    """A store after some lives that were killed: as it was after an earlier one, as it is, and what left it."""

    earlier: Path
    latest: Path
    delivered: set[str]
    """Ids of events that the broker acknowledged."""
    committed: dict[Key, str]
    """What was accepted, or sent before that."""


@pytest.fixture(scope="module")
def lives(tmp_path_factory: pytest.TempPathFactory) -> Lives:
    folder = tmp_path_factory.mktemp("lives")
    store, earlier = folder / "store", folder / "earlier"
    said = run_and_kill(store, 0.15)
    shutil.copytree(store, earlier)
    said += run_and_kill(store, 0.2) + run_and_kill(store, 0.25)
    delivered = {words[3] for words in said if words[0] == "S" and len(words) == 5}
    accepted = {f"{one}-{words[2]}" for words in said if words[0] == "A" for one in "abc"}
    known = accepted | {words[3] for words in said if words[0] == "S"}
    committed = {key: id_ for key, id_ in events(store).items() if id_ in known}
    assert accepted <= set(committed.values())
    return Lives(earlier, store, delivered, committed)


def events(store: Path) -> dict[Key, str]:
    """All committed events; read in a copy, so that the store itself stays as the kill left it."""
    rows = [orjson.loads(row[0]) for row in look(store, "SELECT unpacked(payload) FROM event")]
    return {(one["journal"], one["stream"], int(one["sequence"])): one["id"] for one in rows}


def wal(store: Path) -> Path:
    return store / "journal.db-wal"


def log(store: Path) -> Path:
    return store / "journal.db-log"


def deleted(store: Path, _earlier: Path, _chance: random.Random) -> None:
    wal(store).unlink()


def cut(store: Path, _earlier: Path, chance: random.Random) -> None:
    whole = wal(store).read_bytes()
    wal(store).write_bytes(whole[: chance.randrange(len(whole))])


def flipped(store: Path, _earlier: Path, chance: random.Random) -> None:
    whole = bytearray(wal(store).read_bytes())
    whole[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
    wal(store).write_bytes(whole)


def log_deleted(store: Path, _earlier: Path, _chance: random.Random) -> None:
    log(store).unlink()


def log_cut(store: Path, _earlier: Path, chance: random.Random) -> None:
    whole = log(store).read_bytes()
    log(store).write_bytes(whole[: chance.randrange(len(whole.rstrip(b"\0")))])


def log_flipped(store: Path, _earlier: Path, chance: random.Random) -> None:
    whole = bytearray(log(store).read_bytes())
    whole[chance.randrange(len(whole.rstrip(b"\0")))] ^= 1 << chance.randrange(8)
    log(store).write_bytes(whole)


def log_garbled(store: Path, _earlier: Path, chance: random.Random) -> None:
    """From somewhere on it is anything."""
    whole = log(store).read_bytes()
    start = chance.randrange(len(whole.rstrip(b"\0")))
    log(store).write_bytes(whole[:start] + chance.randbytes(len(whole) - start))


def log_older(store: Path, earlier: Path, _chance: random.Random) -> None:
    shutil.copy(log(earlier), log(store))


def all_but_the_log_older(store: Path, earlier: Path, _chance: random.Random) -> None:
    for path in (*store.glob("journal.db"), *store.glob("journal.db-wal")):
        path.unlink()
    for path in (*earlier.glob("journal.db"), *earlier.glob("journal.db-wal")):
        shutil.copy(path, store)


def older(store: Path, earlier: Path, _chance: random.Random) -> None:
    for path in store.glob("journal.db*"):
        path.unlink()
    for path in earlier.glob("journal.db*"):
        shutil.copy(path, store)


def lost(store: Path, _earlier: Path, _chance: random.Random) -> None:
    for path in store.glob("journal.db*"):
        path.unlink()


def garbled(store: Path, _earlier: Path, chance: random.Random) -> None:
    whole = bytearray((store / "journal.db").read_bytes())
    for _ in range(3):
        page = chance.randrange(1, len(whole) // 4096) * 4096
        whole[page : page + 4096] = chance.randbytes(4096)
    (store / "journal.db").write_bytes(whole)


def trials() -> Iterator[tuple[Callable[[Path, Path, random.Random], None], int]]:
    for number in range(TRIALS):
        yield (deleted, cut, flipped, garbled)[number % 4], number
        yield (log_cut, log_flipped, log_garbled)[number % 3], number
    for harm in (older, lost, log_deleted, log_older, all_but_the_log_older):
        yield harm, 0


@pytest.mark.parametrize(("harm", "seed"), list(trials()))
async def test_what_was_committed_is_delivered_or_named(
    lives: Lives, tmp_path: Path, harm: Callable[[Path, Path, random.Random], None], seed: int
) -> None:
    folder = tmp_path / "store"
    shutil.copytree(lives.latest, folder)
    (folder / "journal.db-shm").unlink()
    harm(folder, lives.earlier, random.Random(seed))  # noqa: S311 - repeatable
    async with journal(folder, Hands(), boot=None) as store:
        await accepted(store, [emit(Stream.ALARM), emit(Stream.AUDIT), Remember("step", 1)])
        rows = [row for stream in Stream for row in await all_of(store, stream)]
        left = {event(row)["id"] for row in rows}
        named = set()
        if store.loss is not None:
            assert store.journal_id != store.loss.journal
            for gap in store.loss.missing:
                named |= {(store.loss.journal, gap.stream.value, one) for one in range(gap.first, gap.last + 1)}
            await told(store)
        unknown = {key: id_ for key, id_ in lives.committed.items() if id_ not in lives.delivered | left}
        assert set(unknown) <= named
        assert not store.lost
    numbers = dict(lives.committed)
    for (payload,) in look(folder, "SELECT unpacked(payload) FROM event"):
        one = orjson.loads(payload)
        key = one["journal"], one["stream"], int(one["sequence"])
        assert numbers.setdefault(key, one["id"]) == one["id"], "a number with two ids"
    assert look(folder, "PRAGMA integrity_check") == [("ok",)]
    async with journal(folder, Hands()) as store:
        assert store.loss is None, "told once"


async def test_an_untouched_store_goes_on_under_its_journal(lives: Lives, tmp_path: Path) -> None:
    folder = tmp_path / "store"
    shutil.copytree(lives.latest, folder)
    (folder / "journal.db-shm").unlink()
    async with journal(folder) as store:
        assert store.loss is None
        assert (store.journal_id, "alarm", 1) in lives.committed


@pytest.mark.parametrize("harm", ["first slot", "second slot", "both", "deleted", "link", "folder"])
async def test_a_mark_that_cannot_be_read_is_no_fault_of_the_store(tmp_path: Path, harm: str) -> None:
    folder = tmp_path / "store"
    async with journal(folder) as store:
        for _ in range(3):
            await accepted(store, [emit(), Remember("k", 1)])
        name = store.journal_id
    file = folder / "high-water"
    whole = bytearray(file.read_bytes())
    if harm in ("first slot", "both"):
        whole[20] ^= 1
    if harm in ("second slot", "both"):
        whole[4096 + 20] ^= 1
    file.write_bytes(whole)
    if harm in ("deleted", "link", "folder"):
        file.unlink()
    if harm == "link":
        (tmp_path / "target").write_bytes(b"x")
        file.symlink_to(tmp_path / "target")
    if harm == "folder":
        file.mkdir()
    async with journal(folder) as store:
        assert store.loss is None
        assert store.journal_id == name
        await accepted(store, [emit()])
        assert not store.lost
    if harm == "link":
        assert (tmp_path / "target").read_bytes() == b"x"
    elif harm != "folder":
        mark = HighWater(file).read()
        assert isinstance(mark, Mark)
        assert (mark.journal, mark.streams[Stream.ALARM][0]) == (name, 4)


async def test_the_mark_leaves_no_file_open(tmp_path: Path) -> None:
    def open_marks() -> int:
        return sum("high-water" in str(one.readlink()) for one in Path("/proc/self/fd").iterdir() if one.is_symlink())

    for number in range(20):
        async with journal(tmp_path / str(number)) as store:
            store.append([emit()])
    async with journal(tmp_path / "gone") as store:
        await accepted(store, [emit()])
        (tmp_path / "gone" / "high-water").unlink()
        await accepted(store, [emit()])
        assert (tmp_path / "gone" / "high-water").exists()
    assert open_marks() == 0


async def test_memory_alone_that_went_back_is_noticed(tmp_path: Path) -> None:
    async with journal(tmp_path) as store:
        await accepted(store, [emit(), Remember("k", 1)])
    before = (tmp_path / "journal.db").read_bytes()
    async with journal(tmp_path) as store:
        await accepted(store, [Remember("k", 2)])
        name = store.journal_id
    (tmp_path / "journal.db").write_bytes(before)
    async with journal(tmp_path) as store:
        assert store.loss is not None
        assert store.loss.journal == name
        assert store.journal_id != name


async def told_once(it: World) -> dict[str, object]:
    await it.cloud.until(lambda seen: bool(seen.of("store.rolled-back")))
    (told,) = it.cloud.of("store.rolled-back")
    data: dict[str, object] = told["data"]
    assert told["journal"] != data["journal"]
    return data


async def test_the_cloud_is_told(tmp_path: Path) -> None:
    """The whole gateway: killed, its redo log deleted, started again."""
    async with world(tmp_path) as it:
        async with it.running() as gateway:
            await it.flip(3)
            await gateway.kill()
        log(it.store).unlink()
        async with it.running() as gateway:
            await it.flip()
            data = await told_once(it)
            assert "back in time" in (await it.until_told("alarm.raised", "gateway/store"))["data"]["text"]
            assert (await gateway.stop())[0] == 0
        assert data["witness"] == "high-water"
        missing = {gap["stream"]: gap for gap in data["missing"]}  # type: ignore[attr-defined]
        assert missing["alarm"]["last"] >= 6
        no_number_has_two_ids(it)
        assert len(it.cloud.of("alarm.raised", BATTERY)) == 4


async def test_a_whole_folder_put_back_mid_life_is_told(tmp_path: Path) -> None:
    """A backup of the folder that was taken while the gateway ran, with its mark: the cloud is the only witness."""
    backup = tmp_path / "backup"
    async with world(tmp_path) as it:
        async with it.running() as gateway:
            await it.flip(3)
            await it.fire(0, "panel/smoke/fire")
            shutil.copytree(
                it.store, backup, ignore=lambda _, names: [name for name in names if name.endswith(".sock")]
            )
            await it.flip(4)
            await it.fire(10, "other/smoke/fire")
            await it.cloud.until(lambda seen: int(seen.latest["alarm/active"]["data"]["upto"]) >= len(seen.of("alarm")))
            await gateway.kill()
        it.served.set(10, 0)
        shutil.rmtree(it.store)
        backup.rename(it.store)
        assert (it.store / "high-water").exists(), "its mark went back with it"
        async with it.running() as gateway:
            data = await told_once(it)
            assert "back in time" in (await it.until_told("alarm.raised", "gateway/store"))["data"]["text"]
            await it.flip(2)
            # What only the cloud knew ended by its name: a latched fire that this store never saw.
            (lost,) = it.cloud.of("alarm.raised", "other/smoke/fire")
            await it.cloud.until(lambda seen: lost["data"]["alarm"] in ended(seen))
            assert (await gateway.stop())[0] == 0
        assert data["witness"] == "alarm/active"
        (gap,) = [one for one in data["missing"] if one["stream"] == "alarm"]  # type: ignore[attr-defined]
        assert gap["last"] - gap["first"] + 1 >= 9
        no_number_has_two_ids(it)
        assert len(it.cloud.of("alarm.raised", "panel/smoke/fire")) == 1, "what the copy knew goes on under its id"
        async with it.running() as gateway:
            await it.flip()
            assert (await gateway.stop())[0] == 0
        assert len(it.cloud.of("store.rolled-back")) == 1
        no_number_has_two_ids(it)


def ended(seen: Cloud) -> set[str]:
    """Occurrences that do not stand any more."""
    return {one["data"]["alarm"] for kind in ("alarm.cleared", "alarm.reset") for one in seen.of(kind)}


def no_number_has_two_ids(it: World) -> None:
    numbers: dict[tuple[str, str, str], str] = {}
    for one in it.cloud.events:
        if "sequence" in one:
            assert numbers.setdefault((one["journal"], one["stream"], one["sequence"]), one["id"]) == one["id"]

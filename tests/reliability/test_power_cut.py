"""Power cuts under the journal: every instant of its writing, with what was not synced lost, torn or out of order.

A process fills a real journal under `strace`, which notes each write and each sync of its files. From that the disk
is made anew as it may look if the power fails after any of these calls: everything synced is there, of everything
else any part may be.
"""

import asyncio
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gateway.cloud.journal.journal import Journal
from gateway.model import Emit, Instant, Remember, Stream
from tests.cloud.journaling import accepted, all_of, emit, event, journal, sequences

ROOT = Path(__file__).parents[2]
STEPS = 60
SECTOR = 512
PICTURE_EACH = 12
FILES = ("journal.db", "journal.db-wal", "journal.db-log", "high-water")
_CALL = re.compile(r"^(?:\d+ +)?(\w+)\((.*)\) += (-?\d+)")
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')


def jpeg(step: int) -> bytes:
    """The picture of a step: larger than a page."""
    return bytes([step]) * 20_000


async def fill(folder: Path) -> None:
    """The traced process: step by step, saying each step that was accepted; large ones make the file grow."""

    def now() -> Instant:
        return Instant(1000.0, 1_795_000_000.0, synced=True)

    async with Journal(folder, source="/sites/s/gateways/g", now=now, alarm_reserve=0, boot="boot-1") as store:
        for step in range(1, STEPS + 1):
            text = "x" * (50 if step % 7 else 9000)
            if step % PICTURE_EACH == 0:
                store.picture("c", f"p-{step}", "plate", now(), jpeg(step), f"c-{step}")
            await accepted(
                store,
                [
                    Emit(Stream.ALARM, "alarm.test", "a", {"step": step, "text": text}, f"a-{step}", now()),
                    Emit(Stream.AUDIT, "audit.test", "a", {"step": step}, f"b-{step}", now()),
                    Remember("step", step),
                ],
            )
            row = store.take(Stream.ALARM)
            if row is not None and step % 3 == 0:
                store.acknowledge(row)
            # A name that cannot be opened: a mark in the trace that this step was accepted.
            Path(f"/accepted-{step}").exists()


@dataclass
class Disk:
    """The files as the platter holds them, and the writes that no sync has reached yet."""

    synced: dict[str, bytearray] = field(default_factory=lambda: {name: bytearray() for name in FILES})
    loose: list[tuple[str, int, bytes | None]] = field(default_factory=list)
    """(file, offset, bytes); None: cut to that length."""
    accepted: int = 0

    def sync(self, name: str) -> None:
        for one, offset, data in self.loose:
            if one == name:
                put(self.synced[name], offset, data)
        self.loose = [write for write in self.loose if write[0] != name]

    def after_power_cut(self, chance: random.Random, how: str) -> dict[str, bytes]:
        """`none`, `all` or `some` of the loose writes reached the platter, the last perhaps in sectors only."""
        files = {name: bytearray(data) for name, data in self.synced.items()}
        for name, offset, data in self.loose:
            if how == "none" or (how == "some" and chance.random() < 0.5):
                continue
            if how == "torn" and data is not None:
                for start in range(0, len(data), SECTOR):
                    if chance.random() < 0.5:
                        put(files[name], offset + start, data[start : start + SECTOR])
            else:
                put(files[name], offset, data)
        return {name: bytes(data) for name, data in files.items()}


def put(file: bytearray, offset: int, data: bytes | None) -> None:
    if data is None:
        del file[offset:]
        file.extend(b"\0" * (offset - len(file)))
        return
    file.extend(b"\0" * (offset + len(data) - len(file)))
    file[offset : offset + len(data)] = data


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("traced")
    calls = "trace=openat,close,pwrite64,ftruncate,fsync,fdatasync,unlink,stat,newfstatat"
    subprocess.run(
        ["strace", "-f", "-xx", "-s", "100000", "-e", calls, "-o", str(folder / "trace"),
         sys.executable, "-m", "tests.reliability.test_power_cut", str(folder / "store")],
        cwd=ROOT, check=True, timeout=50,
    )  # fmt: skip
    return whole((folder / "trace").read_text().splitlines())


def whole(lines: list[str]) -> list[str]:
    """Calls that strace shows in two pieces, because another thread made one in between, put together at their end.

    But a `close` counts from its beginning.
    """
    begun: dict[str, str] = {}
    calls = []
    for line in lines:
        pid, _, call = line.partition(" ")
        call = call.strip()
        if call.endswith("<unfinished ...>"):
            begun[pid] = call.removesuffix("<unfinished ...>")
            if call.startswith("close("):  # its number is free at once: another thread may have it before the end
                calls.append(f"{pid} {begun[pid]}) = 0")
                begun[pid] = "closed("
        elif call.startswith("<... "):
            calls.append(f"{pid} {begun.pop(pid, '')}{call.partition(' resumed>')[2]}")
        else:
            calls.append(line)
    return calls


def disks(trace: list[str]) -> Iterator[Disk]:
    """The disk after each call that changed or synced one of the files."""
    disk, names = Disk(), dict[int, str]()
    for line in trace:
        found = _CALL.match(line)
        if found is None:
            continue
        call, arguments, result = found[1], found[2], int(found[3])
        texts = [bytes.fromhex(text.replace("\\x", "")) for text in _TEXT.findall(arguments)]
        if call in ("stat", "newfstatat"):
            marks = [text for text in texts if text.startswith(b"/accepted-")]
            disk.accepted = int(marks[0].removeprefix(b"/accepted-")) if marks else disk.accepted
            continue
        if result < 0:
            continue
        if call == "openat":
            names[result] = Path(texts[0].decode(errors="replace")).name
            continue
        if call == "unlink":
            continue  # only at the clean end
        first = int(arguments.split(",")[0])
        if call == "close":
            names.pop(first, None)
            continue
        name = names.get(first, "")
        if name not in FILES:
            continue
        if call == "pwrite64":
            offset = int(arguments.rsplit(", ", 1)[1])
            disk.loose.append((name, offset, texts[0][:result]))
        elif call == "ftruncate":
            disk.loose.append((name, int(arguments.split(", ")[1]), None))
        else:
            disk.sync(name)
        yield disk
        if disk.accepted == STEPS:
            return


async def survives(folder: Path, at_least: int) -> int:
    """The journal starts unaided with a prefix of whole steps: all that were accepted, and goes on."""
    async with journal(folder) as store:
        value = store.memory.get("step", 0)
        assert isinstance(value, int)
        alarms, audits = await all_of(store, Stream.ALARM), await all_of(store, Stream.AUDIT)
        audit = [event(row)["data"]["step"] for row in audits if "step" in event(row)["data"]]
        assert audit == list(range(1, value + 1))
        pictures = await all_of(store, Stream.PICTURE)
        assert [row.jpeg for row in pictures] == [jpeg(one) for one in range(PICTURE_EACH, value + 1, PICTURE_EACH)]
        left = sequences(alarms)
        assert left == sorted(left)
        # What is not there was acknowledged by the broker: every third.
        assert all(gone % 3 == 0 for gone in set(range(1, value + 1)) - set(left))
        assert value >= at_least
        assert store.quarantined_file is None
        assert store.loss is None, "a mark never runs ahead of the journal"
        assert not store.lost
        await accepted(store, [emit()])
        return value


HOW = ("none", "some", "torn", "all")


async def cut_everywhere(trace: list[str], folder: Path, how: str, every: int) -> tuple[int, int]:
    """Cut the power after every so many calls: how often, and how many different numbers of steps were found."""
    chance = random.Random(how)  # noqa: S311 - repeatable
    tried, seen = 0, set()
    for number, disk in enumerate(disks(trace)):
        files = disk.after_power_cut(chance, how)
        if number % every or not disk.synced["journal.db"]:
            continue  # before the file was synced for the first time there is nothing to survive
        place = folder / str(number)
        place.mkdir()
        for name, content in files.items():
            (place / name).write_bytes(content)
        seen.add(await survives(place, disk.accepted))
        tried += 1
        shutil.rmtree(place)
    return tried, len(seen)


@pytest.mark.parametrize("how", HOW)
async def test_here_and_there(trace: list[str], tmp_path: Path, how: str) -> None:
    tried, steps = await cut_everywhere(trace, tmp_path, how, every=7)
    assert tried > 30
    assert steps > 20


@pytest.mark.soak
@pytest.mark.parametrize("how", HOW)
async def test_after_every_write_and_every_sync(trace: list[str], tmp_path: Path, how: str) -> None:
    tried, steps = await cut_everywhere(trace, tmp_path, how, every=1)
    print(f"\n{how}: {tried} power cuts, {steps} different prefixes, all whole")  # noqa: T201 - the figures of the run
    assert steps == STEPS + 1


if __name__ == "__main__":
    asyncio.run(fill(Path(sys.argv[1])))

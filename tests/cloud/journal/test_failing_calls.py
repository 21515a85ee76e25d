"""Each write and each sync of the journal fails once: nothing that was accepted is lost, doubled or set aside.

The errors are the kernel's, put in by strace; after the last step the process is killed.
"""

import asyncio
import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from gateway.errors import StoreError
from gateway.model import Emit, Remember, Stream
from tests.cloud.journaling import Hands, accepted, all_of, emit, event, journal, look, until

ROOT = Path(__file__).parents[3]
STEPS = 30
SETTLES_EACH, PICTURE_EACH, LEAVES_EACH = 7, 8, 3
MAX_SIZE = 4 << 20
FAULTS = [
    (call, error) for call in ("pwrite64", "fdatasync", "fsync", "ftruncate") for error in ("EIO", "ENOSPC")
]  # fmt: skip
HERE_AND_THERE = 11
"""Every so many calls, a trial."""


async def fill(folder: Path) -> None:
    """The traced process: each step is accepted, whatever the disk says; killed when all are in the store."""
    async with journal(folder, max_size=MAX_SIZE) as store:
        for step in range(1, STEPS + 1):
            text = "x" * (9000 if step % 5 == 0 else 50)
            at = Hands().now()
            if step % PICTURE_EACH == 0:
                store.picture("c", None, "plate", at, bytes([step]) * 20_000, f"p-{step}")
            await accepted(
                store,
                [
                    Emit(Stream.ALARM, "alarm.test", None, {"step": step, "text": text}, f"a-{step}", at),
                    Emit(Stream.AUDIT, "audit.test", None, {"step": step}, f"b-{step}", at),
                    Remember("step", step),
                ],
            )
            if step % LEAVES_EACH == 0:
                row = store.take(Stream.ALARM)
                if row is not None:
                    store.acknowledge(row)
            if step % SETTLES_EACH == 0:
                with suppress(StoreError):  # what is in the log goes into the database
                    await store.history.edges(Stream.AUDIT, 1, 1)
        await until(lambda: not store.lost, 60.0)
        await accepted(store, [])
        os.kill(os.getpid(), signal.SIGKILL)


def filled(folder: Path, call: str, error: str, number: int) -> bool:
    """Run it; True if the call with this number was made, and failed."""
    trace = folder.with_suffix(".trace")
    fault = ["-e", f"trace={call}", "-e", f"inject={call}:error={error}:when={number}", "-o", str(trace)]
    program = [sys.executable, "-m", "tests.cloud.journal.test_failing_calls", str(folder)]
    done = subprocess.run(["strace", "-f", *fault, *program], check=False, timeout=90, cwd=ROOT)
    assert done.returncode == -signal.SIGKILL, f"{call} {number}: {done.returncode}"
    return bool(re.search("INJECTED", trace.read_text()))


async def must_be_whole(folder: Path) -> None:
    async with journal(folder, max_size=MAX_SIZE):
        pass  # what had to give way is named by its end
    async with journal(folder, max_size=MAX_SIZE) as store:
        assert store.quarantined_file is None
        assert store.loss is None
        assert not store.lost
        assert store.memory["step"] == STEPS
        audits = [event(row)["data"] for row in await all_of(store, Stream.AUDIT)]
        assert [data["step"] for data in audits if "step" in data] == list(range(1, STEPS + 1))
        alarms = [event(row)["data"]["step"] for row in await all_of(store, Stream.ALARM)]
        assert alarms == sorted(set(alarms))
        assert set(alarms) >= set(range(STEPS // LEAVES_EACH + 1, STEPS + 1))
        pictures = {row.sequence: row.jpeg for row in await all_of(store, Stream.PICTURE)}
        shed = [data for data in audits if data.get("stream") == "picture"]  # they give way if the disk is full
        given_up = {number for gap in shed for number in range(gap["first"], gap["last"] + 1)}
        expected = {n: bytes([n * PICTURE_EACH]) * 20_000 for n in range(1, STEPS // PICTURE_EACH + 1)}
        assert pictures == {n: jpeg for n, jpeg in expected.items() if n not in given_up}
        await accepted(store, [emit()])
    assert look(folder, "PRAGMA integrity_check") == [("ok",)]


async def fail_each(folder: Path, call: str, error: str, first: int, every: int) -> int:
    """How many trials were made."""
    for tried, number in enumerate(range(first, 10_000, every)):
        place = folder / str(number)
        if not await asyncio.to_thread(filled, place, call, error, number):
            return tried
        try:
            await must_be_whole(place)
        except AssertionError as failed:
            raise AssertionError(f"{call} number {number} gave {error}") from failed
        shutil.rmtree(place)
    raise AssertionError("it never came to an end")


@pytest.mark.parametrize(("call", "error"), FAULTS)
async def test_some_of_them(tmp_path: Path, call: str, error: str) -> None:
    assert await fail_each(tmp_path, call, error, 1 + FAULTS.index((call, error)), HERE_AND_THERE) >= 0


@pytest.mark.soak
@pytest.mark.parametrize(("call", "error"), FAULTS)
async def test_each_call(tmp_path: Path, call: str, error: str) -> None:
    assert await fail_each(tmp_path, call, error, 1, 1) > 0


if __name__ == "__main__":
    asyncio.run(fill(Path(sys.argv[1])))

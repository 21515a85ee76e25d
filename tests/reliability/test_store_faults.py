"""The disk stalls, is full, may not be written, is damaged: the site decides, alarms flow, and it is said."""

import asyncio
import random
import resource
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from gateway.local.control import NAME, ask
from gateway.model import Stream
from tests.reliability import stored
from tests.reliability.compound import World, world
from tests.reliability.on_a_small_disk import fill

STALL = 5.0
ROOM_BYTES = 16 << 10
"""That each file may have when the disk is full."""
STORE_LOST = 2.0
"""The gateway waits so long for a commit before it goes on from memory (and this is by design its slowest alarm)."""
PROMPT = 1.0


async def said(it: World) -> None:
    """The loss of the store was told as an alarm and is in the health."""
    raised = await it.until_told("alarm.raised", "gateway/store")
    assert raised["data"]["kind"] == "gateway"
    assert "written" in raised["data"]["text"]
    journal = (await it.status())["journal"]
    assert journal["losses"] >= 1
    assert journal["ahead_of_commit"] > 0


async def recovered(it: World) -> None:
    await it.until_told("alarm.cleared", "gateway/store", 45.0)
    assert (await it.status())["journal"]["store"] == "ok"


async def test_a_stall_of_five_seconds(tmp_path: Path) -> None:
    stalls = tmp_path / "the disk does not answer"
    async with world(tmp_path) as it, it.running(("-m", "tests.slow_disk", str(stalls), "run")) as gateway:
        await it.flip()
        begun = time.monotonic()
        stalls.touch()
        assert await it.flip() < STORE_LOST + PROMPT
        assert await it.flip(3) < PROMPT
        await said(it)
        assert await it.fire(0, "panel/smoke/fire") < PROMPT
        while time.monotonic() - begun < STALL:
            assert await it.flip() < PROMPT
        stalls.unlink()
        await it.flip()
        await recovered(it)
        assert (await gateway.stop())[0] == 0
        it.must_be_whole()
        told = [event["id"] for event in it.cloud.of("alarm")]
        assert [event["id"] for event in stored.events(it.store, Stream.ALARM)] == told


async def test_a_disk_that_is_full(tmp_path: Path) -> None:
    async with world(tmp_path) as it, it.running() as gateway:
        await it.flip()
        resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE, (ROOM_BYTES, resource.RLIM_INFINITY))
        slowest = 0.0
        while not (await it.status())["journal"]["losses"]:
            slowest = max(slowest, await it.flip())
        slowest = max(slowest, await it.flip(5))
        await said(it)
        assert await it.fire(0, "panel/smoke/fire") < PROMPT
        assert slowest < PROMPT
        resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        await recovered(it)
        await it.flip()
        assert (await gateway.stop())[0] == 0
        it.must_be_whole()
        told = [event["id"] for event in it.cloud.of("alarm")]
        assert [event["id"] for event in stored.events(it.store, Stream.ALARM)] == told


async def test_a_store_that_may_not_be_written_at_start(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        async with it.running() as gateway:
            await it.flip()
            await it.fire(0, "panel/smoke/fire")
            await gateway.kill()
        for path in (*it.store.glob("journal.db*"), it.store):
            path.chmod(0o555 if path.is_dir() else 0o444)
        async with it.running(("-m", "tests.reliability.without_override")):
            raised = await it.until_told("alarm.raised", "gateway/store")
            assert "written" in raised["data"]["text"]
            assert await it.fire(10, "other/smoke/fire") < PROMPT
            await it.flip(3)
        it.store.chmod(0o755)
        for path in it.store.glob("journal.db*"):
            path.chmod(0o644)
        async with it.running():
            await it.flip()
        # The fire before is known by its id: nothing is raised twice.
        assert len(it.cloud.of("alarm.raised", "panel/smoke/fire")) == 1


@pytest.mark.parametrize("damage", ["garbage", "pages", "emptied", "wal"])
async def test_a_damaged_file_at_start(tmp_path: Path, damage: str) -> None:
    async with world(tmp_path) as it:
        async with it.running() as gateway:
            await it.flip(5)
            await it.fire(0, "panel/smoke/fire")
            await (gateway.kill() if damage == "wal" else gateway.stop())
        spoil(it.store, damage)
        begun = time.monotonic()
        async with it.running() as gateway:
            assert time.monotonic() - begun < 10.0
            assert await it.fire(10, "other/smoke/fire") < 5.0
            await it.flip()
            if damage != "wal":
                assert (it.store / (await quarantined(it))["data"]["file"]).exists()
                raised = await it.until_told("alarm.raised", "gateway/store")
                assert "set aside" in raised["data"]["text"]
            assert (await gateway.stop())[0] == 0
        assert stored.check(it.store) == "ok"


async def quarantined(it: World) -> dict[str, dict[str, str]]:
    await it.cloud.until(lambda seen: bool(seen.of("store.quarantined")))
    return it.cloud.of("store.quarantined")[0]


def spoil(store: Path, how: str) -> None:
    file, chance = store / "journal.db", random.Random(7)  # noqa: S311 - repeatable
    whole = bytearray(file.read_bytes())
    if how == "garbage":
        file.write_bytes(chance.randbytes(len(whole)))
    elif how == "emptied":
        file.write_bytes(b"")
        (store / "journal.db-wal").write_bytes(b"left over")
    elif how == "pages":
        for page in range(1, len(whole) // 4096, 2):
            whole[page * 4096 : page * 4096 + 4096] = chance.randbytes(4096)
        file.write_bytes(whole)
    else:
        wal = store / "journal.db-wal"
        log = wal.read_bytes()
        wal.write_bytes(log[: len(log) // 2] + chance.randbytes(len(log) // 4))


async def test_no_store_at_all(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        it.store.write_text("in the way")
        async with it.running() as gateway:
            await it.until_told("alarm.raised", "gateway/store")
            assert await it.fire(0, "panel/smoke/fire") < PROMPT
            assert await it.flip(5) < PROMPT
            status, seconds = await gateway.stop()
        assert (status, seconds < 2.0) == (0, True)
        it.must_be_whole()


@pytest.mark.soak
async def test_a_disk_that_is_really_full(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        it.store.mkdir()
        command = ("-m", "tests.reliability.on_a_small_disk", "8m", str(it.store))
        async with it.running(command) as gateway:
            await it.flip()
            disk = Path(f"/proc/{gateway.pid}/root{it.store}")
            with pytest.raises(OSError, match="No space"):
                fill(disk / "filler")
            slowest, state = 0.0, dict[str, Any]()
            while not state or not state["journal"]["losses"]:  # the redo log has its room, for hundreds of alarms
                slowest = max(slowest, await it.flip(20))
                said_now = await asyncio.to_thread(ask, disk / NAME, {"ask": "status"})
                assert isinstance(said_now, dict)
                state = said_now
            assert slowest < PROMPT
            print(f"\nfull: {state['journal']}, slowest alarm {slowest * 1000:.0f} ms")  # noqa: T201 - the figures of the run
            await it.until_told("alarm.raised", "gateway/store", 120.0)
            (disk / "filler").unlink()
            await it.until_told("alarm.cleared", "gateway/store", 120.0)
            status, seconds = await gateway.stop()
        assert (status, seconds < 2.0) == (0, True)
        it.must_be_whole()


async def test_asked_to_end_under_load(tmp_path: Path) -> None:
    """Alarms change as fast as the line is read when SIGTERM comes, with the broker there and away."""
    async with world(tmp_path) as it:
        slowest = 0.0
        for number in range(4):
            if number % 2:
                await it.broker.stop()
            async with it.running() as gateway, asyncio.TaskGroup() as group:
                flips = group.create_task(restless(it), name="flips")
                await asyncio.sleep(0.5 + 0.3 * number)
                status, seconds = await gateway.stop(signal.SIGTERM)
                flips.cancel()
            assert (status, seconds < 2.0) == (0, True)
            slowest = max(slowest, seconds)
            if number % 2:
                await it.broker.start()
        it.served.set(1, 0)
        async with it.running() as gateway:
            streams = (Stream.ALARM, Stream.AUDIT)
            kept = {event["id"] for stream in streams for event in stored.events(it.store, stream)}
            await it.cloud.until(lambda seen: kept <= {event["id"] for event in seen.events})
            await it.cloud.until(lambda seen: seen.latest["status"]["data"]["online"])
            await gateway.stop()
            await it.cloud.until(lambda seen: not seen.latest["status"]["data"]["online"])
        it.must_be_whole()
        assert len(it.cloud.of("gateway.stopping")) >= 4
        assert len(kept) > 20


async def restless(it: World) -> None:
    while True:
        for value in (60, 0):
            it.served.set(1, value)
            await asyncio.sleep(0.03)

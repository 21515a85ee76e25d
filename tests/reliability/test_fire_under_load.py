"""A fire holds the gates within a second whatever is full, gone or flooded; the memory of the process is bounded."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.cloud.journal.commit_queue import QUEUE_BYTES
from gateway.intake.arrivals import PASSAGES, PICTURES_BYTES
from gateway.local.control import NAME, ask
from simulators import packets
from tests.cloud.raw_broker import Raw, answer, message, raw_broker
from tests.end_to_end.process import running
from tests.mosquitto import free_port
from tests.reliability.floods import cars, hanging, pictured
from tests.reliability.loaded import Loaded, most_resident, resident, until_shed
from tests.reliability.on_a_small_disk import fill
from tests.reliability.served import registers

WITHIN = 1.0
"""Seconds from the answer that shows the second fire to the hold on the wire."""
MOST = 120 << 20
"""Bytes of resident memory with every queue full."""
COMMANDS = b"site-gateway/v1/xima-xincun/xmxc-01/command"
CAMERAS = 12


async def test_a_fire_with_the_store_gone_the_broker_away_and_the_memory_full(tmp_path: Path) -> None:
    """Points that chatter at 100 ms, more than the memory holds: the oldest transitions go, the gate opens."""
    async with registers() as wire:
        site = Loaded(tmp_path, wire)
        path = site.write(free_port())
        (tmp_path / "store").write_text("in the way")
        async with running(path) as gateway, site.chatter():
            await until_shed(gateway, "alarm")
            assert await site.fire(0) < WITHIN
            assert gateway.running
            assert resident(gateway) < MOST


async def test_a_fire_on_a_full_disk_with_the_broker_away_and_points_that_chatter(tmp_path: Path) -> None:
    """The disk of the store has not a byte left, nobody takes what waits, sixty points change at 100 ms."""
    store = tmp_path / "store"
    async with registers() as wire:
        site = Loaded(tmp_path, wire, zones=4)
        path = site.write(free_port())
        store.mkdir()
        async with running(path, ("-m", "tests.reliability.on_a_small_disk", "6m", str(store))) as gateway:
            disk = Path(f"/proc/{gateway.pid}/root{store}")
            async with site.chatter():
                assert await site.fire(0) < WITHIN, "before"
                with pytest.raises(OSError, match="No space"):
                    fill(disk / "filler")
                for zone in (1, 2):
                    await asyncio.sleep(2.0)
                    assert await site.fire(zone) < WITHIN
                async with asyncio.timeout(60):
                    while (state := await status(disk / NAME))["journal"]["store"] == "ok":
                        await asyncio.sleep(0.2)
                assert await site.fire(3) < WITHIN
            assert gateway.running
            assert most_resident(gateway) < MOST
            assert not state["uplink"]["connected"]


@asynccontextmanager
async def mute_broker() -> AsyncIterator[Raw]:
    """Takes everything, acknowledges no event, and sends commands without end: every window stays full."""

    def hardly(raw: Raw, kind: int, flags: int, body: bytes) -> None:
        if kind != packets.PUBLISH:
            answer(raw, kind, flags, body)

    async def pour(raw: Raw) -> None:
        while True:
            raw.send(b"".join(message(COMMANDS, b"x" * 60_000, b"", mid=mid) for mid in range(1, 17)))
            await asyncio.sleep(0.2)

    async with raw_broker() as raw, asyncio.TaskGroup() as group:
        raw.on_packet = hardly
        task = group.create_task(pour(raw), name="commands")
        yield raw
        task.cancel()


async def until_entrance(control: Path, what: str, least: int) -> None:
    """Wait until so much waits on its way in from the cameras."""
    async with asyncio.timeout(60):
        while (await status(control))["entrance"][what] < least:
            await asyncio.sleep(0.2)


async def test_with_every_queue_full_the_memory_is_bounded_and_a_fire_is_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What waits for the store, for the broker and for the site; the pictures, and the bodies at the camera port."""
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))
    control, late = tmp_path / NAME, []
    async with registers() as wire, mute_broker() as broker, AsyncExitStack() as stack:
        site = Loaded(tmp_path, wire, zones=4, cameras=CAMERAS)
        path = site.write(broker.port)
        (tmp_path / "store").write_text("in the way")
        gateway = await stack.enter_async_context(running(path))
        await stack.enter_async_context(site.chatter())
        for number in range(4):
            await stack.enter_async_context(cars(site.camera_port, site.camera_path(number), 100))
        late.append(await site.fire(0))
        await until_shed(gateway, "alarm")
        late.append(await site.fire(1))
        await until_entrance(control, "waiting", PASSAGES)
        for number in range(4, CAMERAS):
            await stack.enter_async_context(pictured(site.camera_port, site.camera_path(number), 900_000))
        await until_entrance(control, "picture_bytes", PICTURES_BYTES * 3 // 4)
        late.append(await site.fire(2))
        for number in range(CAMERAS):
            await stack.enter_async_context(hanging(site.camera_port, site.camera_path(number), 4 << 20))
        await asyncio.sleep(5.0)
        late.append(await site.fire(3))
        most, full = most_resident(gateway), await status(control)
    with capsys.disabled():
        sys.stdout.write(
            f"\nevery queue full: resident at most {most >> 20} MiB, holds after {[round(one, 3) for one in late]} s\n"
        )
    assert max(late) < WITHIN
    assert most < MOST
    assert full["uplink"]["accepted"] == 0, "the broker has acknowledged nothing"
    assert full["journal"]["queue_bytes"] > QUEUE_BYTES // 2
    assert full["journal"]["shed"], "and it was full"


async def status(control: Path) -> dict[str, Any]:
    """What the control socket says."""
    state = await asyncio.to_thread(ask, control, {"ask": "status"})
    assert isinstance(state, dict)
    return state

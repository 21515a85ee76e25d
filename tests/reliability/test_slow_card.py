"""A card whose commits take most of a second: it is said, and people know of a fire before it is stored."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from simulators.cloud import Cloud, Event
from tests.reliability.compound import World, world

HELD_S, FREE_S = 0.9, 0.12
"""The disk answers no sync for so long, then for so short it does: a commit waits as it does for a slow card."""
PEOPLE_KNOW_S = 1.0


@asynccontextmanager
async def slow_card(stalls: Path) -> AsyncIterator[None]:
    """Meanwhile commits take up to a second each."""
    ended = threading.Event()

    def hold() -> None:
        while not ended.is_set():
            stalls.touch()
            ended.wait(HELD_S)
            stalls.unlink()
            ended.wait(FREE_S)

    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.to_thread(hold), name="holder")
        try:
            yield
        finally:
            ended.set()


def standing(cloud: Cloud) -> list[Event]:
    return list(cloud.latest["alarm/active"]["data"]["alarms"])


async def until_slow(it: World) -> None:
    """Alarms come and go until the store is said to be slow."""
    async with asyncio.timeout(60):
        value = 0
        while not any("slow" in str(one["data"]["text"]) for one in it.cloud.of("alarm.raised", "gateway/store")):
            value = 60 - value
            it.served.set(1, value)
            await asyncio.sleep(0.3)


async def test_it_is_told_as_slow_and_a_fire_before_its_commit(tmp_path: Path) -> None:
    stalls = tmp_path / "the card is busy"
    async with world(tmp_path) as it, it.running(("-m", "tests.slow_disk", str(stalls), "run")) as gateway:
        await it.flip()
        async with slow_card(stalls):
            await until_slow(it)
            it.served.set(0, 1)
            begun = time.monotonic()
            await it.cloud.until(lambda seen: any(one["kind"] == "fire" for one in standing(seen)))
            assert time.monotonic() - begun < PEOPLE_KNOW_S
            (fire,) = (one for one in standing(it.cloud) if one["kind"] == "fire")
            raised = it.cloud.of("alarm.raised", "panel/smoke/fire")
            assert bool(raised) is not (fire.get("uncommitted") is True)
            if not raised:
                upto = int(it.cloud.latest["alarm/active"]["data"]["upto"])
                event = await it.until_told("alarm.raised", "panel/smoke/fire")
                assert event["data"]["alarm"] == fire["alarm"], "the same occurrence"
                assert upto < int(event["sequence"])
            await it.cloud.until(
                lambda seen: any(one["kind"] == "fire" and "uncommitted" not in one for one in standing(seen))
            )
        assert (await it.status())["journal"]["store"] == "ok"
        assert (await gateway.stop())[0] == 0

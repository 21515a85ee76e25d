"""The gateway says of itself what is wrong with its delivery, and what it did not watch."""

import asyncio
import contextlib
import os
import signal
import time
from pathlib import Path

from gateway.cloud.events import wall_of
from gateway.local.control import NAME, ask
from gateway.runtime.self_alarms import UNDELIVERED_FOR_S
from tests.reliability.compound import World, world

TOPICS = "site-gateway/v1/xima-xincun/xmxc-01"


async def test_a_fire_that_the_broker_does_not_get_for_ten_seconds(tmp_path: Path) -> None:
    async with world(tmp_path) as it, it.running() as gateway:
        await it.flip()
        await it.broker.stop()
        it.served.set(0, 1)
        await standing(it, "not-delivered", UNDELIVERED_FOR_S + 5.0)
        await it.broker.start()
        fire = await it.until_told("alarm.raised", "panel/smoke/fire")
        raised = await it.until_told("alarm.raised", "gateway/not-delivered")
        await it.until_told("alarm.cleared", "gateway/not-delivered")
        await gateway.stop()

    late = wall_of(raised["time"]) - wall_of(fire["time"])
    assert UNDELIVERED_FOR_S <= late < UNDELIVERED_FOR_S + 2.0
    assert (raised["data"]["kind"], raised["data"]["text"]) == ("gateway", "a fire waits for the broker")
    assert len(it.cloud.of("alarm", "gateway/not-delivered")) == 2


async def standing(it: World, name: str, seconds: float) -> None:
    """The gateway itself says that this alarm stands."""
    async with asyncio.timeout(seconds):
        while True:
            with contextlib.suppress(ConnectionError):  # the socket comes a moment after READY
                alarms = await asyncio.to_thread(ask, it.store / NAME, {"ask": "alarms"})
                assert isinstance(alarms, list)
                if any(alarm["name"] == name for alarm in alarms):
                    return
            await asyncio.sleep(0.1)


async def test_a_wrong_acl(tmp_path: Path) -> None:
    acl = tmp_path / "acl"
    others = ("alarm/active", "access", "audit", "telemetry", "health", "status", "command")
    acl.write_text("topic read site-gateway/v1/#\n" + "".join(f"topic write {TOPICS}/{name}\n" for name in others))
    async with world(tmp_path, acl_file=acl) as it, it.running() as gateway:
        it.served.set(1, 60)
        await standing(it, "refused", 20.0)
        # The list of what stands goes another way, and says it.
        await it.cloud.until(
            lambda seen: "refused" in {one["name"] for one in seen.latest["alarm/active"]["data"]["alarms"]}
        )
        uplink = (await it.status())["uplink"]
        acl.write_text("topic readwrite site-gateway/v1/#\n")
        it.broker.reload()
        raised = await it.until_told("alarm.raised", "alarm/refused", 70.0)
        await it.until_told("alarm.cleared", "alarm/refused")
        await it.until_told("alarm.raised", "panel/battery/battery")
        it.served.set(1, 0)
        await it.until_told("alarm.cleared", "panel/battery/battery")
        await it.flip()
        await gateway.stop()

    assert uplink["refused"] == {"alarm": 0x87}
    assert "0x87" in raised["data"]["text"]
    assert it.cloud.gaps().keys() <= {key for key in it.cloud.gaps() if key[1] == "telemetry"}
    assert len(it.cloud.of("alarm", "alarm/refused")) == 2


async def test_what_was_not_watched(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        async with it.running() as gateway:
            await it.flip()
            await gateway.kill()
        killed = max(event["time"] for event in it.cloud.events)
        async with it.running() as gateway:
            await it.cloud.until(lambda seen: len(seen.of("gateway.started")) == 2)
            await gateway.stop()
        async with it.running():
            await it.cloud.until(lambda seen: len(seen.of("gateway.started")) == 3)

    first, second, third = (event["data"] for event in it.cloud.of("gateway.started"))
    assert first["blind_from"] is None
    # After a kill: from the last event that was kept; never later than the end itself.
    assert second["blind_from"] == killed
    # After a clean stop: from its last word.
    stopping = it.cloud.of("gateway.stopping")[0]["time"]
    assert stopping <= third["blind_from"] < it.cloud.of("gateway.started")[2]["time"]
    assert all(wall_of(data["blind_from"]) < wall_of(data["blind_until"]) for data in (second, third))


async def test_a_process_that_stood_still_says_what_it_did_not_watch(tmp_path: Path) -> None:
    async with world(tmp_path) as it, it.running() as gateway:
        await it.flip()
        begun = time.time()
        os.kill(gateway.pid, signal.SIGSTOP)
        await asyncio.sleep(7.0)
        os.kill(gateway.pid, signal.SIGCONT)
        ended = time.time()
        await it.cloud.until(lambda seen: len(seen.of("gateway.started")) == 2)
        first, second = (event["data"] for event in it.cloud.of("gateway.started"))
        assert "reason" not in first
        assert second["reason"] == "stood still"
        assert begun - 1.5 < wall_of(second["blind_from"]) < begun + 0.5
        assert abs(wall_of(second["blind_until"]) - ended) < 2.0
        await it.flip()
        it.must_be_whole()


async def test_a_kill_costs_no_telemetry_that_was_delivered(tmp_path: Path) -> None:
    """The gap that is told is what is missing, not all that might have been under way."""
    async with world(tmp_path) as it:
        for life in range(3):
            lives = len(it.cloud.of("gateway.started"))
            async with it.running() as gateway:
                await it.cloud.until(lambda seen, lives=lives: len(seen.of("gateway.started")) > lives)  # type: ignore[misc]
                for value in range(1, 6):
                    before = len(it.cloud.of("telemetry"))
                    it.served.set(2, 10 * life + value)
                    await it.cloud.until(lambda seen, n=before: len(seen.of("telemetry")) > n)  # type: ignore[misc]
                await gateway.kill()
        async with it.running() as gateway:
            before = len(it.cloud.of("telemetry"))
            it.served.set(2, 40)
            await it.cloud.until(lambda seen: len(seen.of("telemetry")) > before)
            await gateway.stop()
        told = [one["data"] for one in it.cloud.of("stream.shed") if one["data"]["reason"] == "crash"]
        missing = [number for numbers in it.cloud.gaps().values() for number in numbers]
        # Of what was under way at a kill nobody knows whether it arrived.
        assert len(missing) <= sum(gap["count"] for gap in told) <= 3 * 3
        assert all(any(gap["first"] <= number <= gap["last"] for gap in told) for number in missing)

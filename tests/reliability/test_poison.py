"""Bugs of our own, in the real process: the input is refused, the memory set aside, and fire goes on."""

import asyncio
from pathlib import Path

from gateway.cloud.journal.journal import Journal
from gateway.model import Instant, Json, Remember
from gateway.runtime.app import BUG
from tests.reliability.compound import world
from tests.reliability.planted import KEY, planted


async def remember(store: Path, key: str, value: Json) -> None:
    """Put something into the memory of a gateway that does not run."""
    done = asyncio.Event()
    source = "/sites/xima-xincun/gateways/xmxc-01"
    async with Journal(store, source=source, now=lambda: Instant(1.0, 1_795_000_000.0, synced=True)) as journal:
        journal.append([Remember(key, value)], then=done.set)
        await done.wait()


async def test_a_poisonous_value_is_refused_and_everything_else_goes_on(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        it.served.set(1, 666)
        deaths = [await it.life(planted("value")) for _ in range(2)]
        async with it.running(planted("value")):
            await it.cloud.until(lambda seen: bool(seen.of("alarm.raised", "gateway/poison")))
            # The poison stands on the wire; the other points of the device and the other device are decided.
            await it.fire(0, "panel/smoke/fire")
            await it.fire(10, "other/smoke/fire")
            # The same point with another value.
            it.served.set(1, 60)
            await it.cloud.until(lambda seen: bool(seen.of("alarm.raised", "panel/battery/battery")))
            process = (await it.status())["process"]
            it.served.set(1, 666)
            async with asyncio.timeout(10):
                while (await it.status())["process"]["refusals"] < 2:
                    await asyncio.sleep(0.05)

    assert deaths == [BUG, BUG]
    assert (process["refused"], process["reduced"]) == (["panel.battery"], False)
    text = it.cloud.of("alarm.raised", "gateway/poison")[0]["data"]["text"]
    assert "panel.battery" in text
    assert it.log.read_text().count("input refused") == 1


async def test_a_poisonous_fire_silences_no_other_detector(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        it.served.set(0, 666)
        it.served.set(1, 0)
        assert [await it.life(planted("value")) for _ in range(2)] == [BUG, BUG]
        async with it.running(planted("value")):
            it.served.set(1, 60)
            await it.cloud.until(lambda seen: bool(seen.of("alarm.raised", "panel/battery/battery")))
            await it.fire(10, "other/smoke/fire")
            await it.fire(0, "panel/smoke/fire")


async def test_three_crashes_in_a_minute_leave_fire_and_say_so(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        for _ in range(3):
            async with it.running() as gateway:
                await gateway.kill()
        async with it.running() as gateway:
            await it.cloud.until(lambda seen: bool(seen.of("alarm.raised", "gateway/crashes")))
            await it.fire(0, "panel/smoke/fire")
            reduced = (await it.status())["process"]
            health = it.cloud.latest["health"]["data"]["process"]
            await gateway.stop()
        async with it.running():
            await it.cloud.until(lambda seen: bool(seen.of("alarm.cleared", "gateway/crashes")))
            whole = (await it.status())["process"]

    assert (reduced["reduced"], reduced["crashes"], health["reduced"]) == (True, 3, True)
    assert (whole["reduced"], whole["crashes"]) == (False, 0)


async def test_a_memory_that_cannot_be_taken_up_is_set_aside(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        await remember(it.store, KEY, {"why": "a bug of an older version"})
        async with it.running(planted("memory")):
            await it.cloud.until(lambda seen: bool(seen.of("store.quarantined")))
            await it.fire(0, "panel/smoke/fire")
        async with it.running(planted("memory")):
            await it.cloud.until(lambda seen: len(seen.of("gateway.started")) == 2)

    told = it.cloud.of("store.quarantined")
    assert len(told) == 1
    assert b"a bug of an older version" in (it.store / told[0]["data"]["file"]).read_bytes()
    assert len(it.cloud.of("alarm.raised", "panel/smoke/fire")) == 1


async def test_a_start_that_fails_three_times_does_without_the_memory(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        await remember(it.store, KEY, 1)
        deaths = [await it.life(planted("start")) for _ in range(3)]
        async with it.running(planted("start")):
            await it.fire(0, "panel/smoke/fire")

    assert deaths == [BUG] * 3
    assert len(it.cloud.of("store.quarantined")) == 1


async def test_an_exception_in_a_callback_of_ours_ends_the_process_too(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        assert await it.life(planted("callback")) == BUG


async def test_what_was_decided_before_the_death_is_kept(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        async with it.running(planted("value")) as gateway:
            await it.fire(10, "other/smoke/fire")
            it.served.set(0, 1)
            it.served.set(1, 666)
            assert await gateway.wait() == BUG
        async with it.running(planted("value")):
            pass
        it.served.set(1, 0)
        async with it.running(planted("value")):
            await it.cloud.until(lambda seen: bool(seen.of("alarm.raised", "panel/smoke/fire")))

    assert len(it.cloud.of("alarm.raised", "other/smoke/fire")) == 1
    assert it.cloud.gaps().keys() <= {key for key in it.cloud.gaps() if key[1] == "telemetry"}

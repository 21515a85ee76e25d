"""A wrong clock: 1970 at boot, steps of an hour and of ten years, nobody who sets it.

The whole gateway, on a clock whose hands the test moves.
"""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.cloud.events import wall_of
from gateway.model import Stream
from simulators.cloud import Event
from tests.cloud.journaling import look
from tests.hands import Hands, gateway
from tests.reliability import stored
from tests.reliability.compound import BATTERY, World, world

HOUR = 3600.0
YEAR = 365 * 24 * HOUR
PROMPT = 1.0
ASKED_EVERY = 10.0
"""The kernel is asked so often whether the clock is right."""


def in_order(it: World) -> list[Event]:
    """The alarm stream, checked: numbers in order as they arrived."""
    told = it.cloud.of("alarm")
    assert [int(event["sequence"]) for event in told] == list(range(1, len(told) + 1))
    return told


async def delayed(it: World) -> float:
    """An alarm with a delay of a second comes and goes; the time from the wire to the cloud."""
    before, begun = len(it.cloud.of("alarm.raised", "panel/level/high")), time.monotonic()
    it.served.set(2, 60)
    await it.cloud.until(lambda seen: len(seen.of("alarm.raised", "panel/level/high")) > before)
    took = time.monotonic() - begun
    it.served.set(2, 0)
    await it.cloud.until(lambda seen: len(seen.of("alarm.cleared", "panel/level/high")) > before)
    return took


@pytest.mark.parametrize("step", [HOUR, -HOUR, 10 * YEAR, -10 * YEAR])
async def test_a_step_neither_stalls_a_timer_nor_reorders(tmp_path: Path, step: float) -> None:
    hands = Hands()
    async with world(tmp_path) as it:
        async with gateway(it.site, hands):
            await it.flip(2)
            hands.wall += step
            assert await it.flip(2) < PROMPT
            assert 1.0 <= await delayed(it) < 1.0 + PROMPT
            hands.wall -= step
            assert await it.flip(2) < PROMPT
            assert 1.0 <= await delayed(it) < 1.0 + PROMPT
        # The next life: nothing of it is told twice, and it is not blind from the future.
        async with gateway(it.site, hands):
            await it.cloud.until(lambda seen: len(seen.of("gateway.started")) == 2)
            await it.flip()
        it.must_be_whole()
        in_order(it)
        data = it.cloud.of("gateway.started")[1]["data"]
        assert wall_of(data["blind_from"]) <= wall_of(data["blind_until"])
        ((newest,),) = look(it.store, "SELECT newest FROM journal")
        assert abs(newest - time.time()) < 2 * HOUR, "a jump of years is not believed, one of an hour is"


@pytest.mark.soak
async def test_ten_years_ahead_for_two_minutes_leave_the_history_alone(tmp_path: Path) -> None:
    """One wrong answer of a time server; what is too old goes at the first full minute."""
    hands = Hands()
    async with world(tmp_path) as it:
        async with gateway(it.site, hands):
            await it.flip(20)
            hands.wall += 10 * YEAR
            begun = time.monotonic()
            while time.monotonic() - begun < 130.0:
                await it.flip()
        it.must_be_whole()
        kept = {event["id"] for event in stored.events(it.store, Stream.ALARM)}
        assert {event["id"] for event in it.cloud.of("alarm")} <= kept


async def test_1970_at_boot(tmp_path: Path) -> None:
    hands = Hands()
    async with world(tmp_path) as it:
        async with gateway(it.site, hands):
            await it.flip(2)
        newest = max(event["time"] for event in it.cloud.events)
        hands.wall, hands.synced = -time.time(), False
        async with gateway(it.site, hands):
            await it.flip(2)
            assert await it.fire(0, "panel/smoke/fire") < PROMPT
            unsynced = it.cloud.of("alarm")[4:]
            assert all(event["clock"] == "unsynced" for event in unsynced)
            assert all(event["time"] >= newest for event in unsynced), "time never runs back"
            # Away from the broker, more happens; then the clock is set.
            await it.broker.stop()
            it.served.set(1, 60)
            await asyncio.sleep(ASKED_EVERY / 10)
            happened = time.time()
            hands.wall, hands.synced = 0.0, True
            await it.broker.start()
            await it.cloud.until(lambda seen: len(seen.of("alarm.raised", BATTERY)) == 5, 30.0)
            it.served.set(1, 0)
            await asyncio.sleep(ASKED_EVERY + 0.5)
            await it.flip()
        it.must_be_whole()
        told = in_order(it)
        assert told[-1]["clock"] == "synced"
        assert abs(wall_of(told[-1]["time"]) - time.time()) < 5.0
        assert happened > 0


async def test_what_was_born_unsynced_gets_its_true_time_before_it_is_sent(tmp_path: Path) -> None:
    hands = Hands(wall=-time.time(), synced=False)
    async with world(tmp_path) as it:
        await it.broker.stop()
        async with gateway(it.site, hands):
            async with asyncio.timeout(10):
                while not it.served.requests:
                    await asyncio.sleep(0.01)
            it.served.set(1, 60)
            true = time.time()
            await asyncio.sleep(0.5)
            hands.wall, hands.synced = 0.0, True
            await asyncio.sleep(ASKED_EVERY + 1.0)
            await it.broker.start()
            raised = await it.until_told("alarm.raised", BATTERY)
        assert raised["clock"] == "corrected"
        assert abs(wall_of(raised["time"]) - true) < PROMPT


async def test_the_first_event_after_the_link_was_lost_is_corrected_too(tmp_path: Path) -> None:
    """It finds nothing waiting before it, but the broker is away: it leaves later, and by then the clock is set."""
    hands = Hands(wall=-time.time(), synced=False)
    async with world(tmp_path) as it, gateway(it.site, hands):
        await it.flip()
        await it.cloud.until(lambda seen: bool(seen.of("alarm.cleared", BATTERY)))
        await it.broker.stop()
        it.served.set(0, 1)
        true = time.time()
        await asyncio.sleep(ASKED_EVERY / 10)
        hands.wall, hands.synced = 0.0, True
        await asyncio.sleep(ASKED_EVERY + 1.0)
        await it.broker.start()
        raised = await it.until_told("alarm.raised", "panel/smoke/fire")
        assert raised["clock"] == "corrected"
        assert abs(wall_of(raised["time"]) - true) < PROMPT


async def test_nobody_sets_the_clock_for_a_week(tmp_path: Path) -> None:
    hands = Hands(synced=False)
    async with world(tmp_path) as it:
        async with gateway(it.site, hands):
            for day in range(1, 8):
                hands.mono += 24 * HOUR
                hands.wall += 24 * HOUR
                assert await it.flip() < PROMPT, day
            raised = await it.until_told("alarm.raised", "gateway/clock")
            assert await it.fire(0, "panel/smoke/fire") < PROMPT
            hands.synced = True
            await it.until_told("alarm.cleared", "gateway/clock", ASKED_EVERY + 5.0)
        assert raised["data"]["text"] == "nobody sets this clock"
        assert len(it.cloud.of("alarm.raised", "gateway/clock")) == 1
        it.must_be_whole()
        in_order(it)
        assert all(event["clock"] == "unsynced" for event in it.cloud.of("alarm", BATTERY))


@pytest.mark.parametrize("claimed", [False, True])
async def test_a_hardware_clock_of_2053_at_the_first_boot_is_not_believed_for_ever(
    tmp_path: Path, claimed: bool
) -> None:
    """No journal yet that knows better; `claimed`: somebody said even then that this clock is set."""
    ahead = 27 * YEAR
    hands = Hands(wall=ahead, synced=claimed)
    async with world(tmp_path) as it:
        async with gateway(it.site, hands):
            await it.flip()
            assert {event["clock"] for event in it.cloud.of("alarm")} == {"synced" if claimed else "unsynced"}
            hands.pass_by(HOUR)
            if not claimed:  # it says so while nobody sets it
                raised = await it.until_told("alarm.raised", "gateway/clock")
                assert raised["data"]["text"] == "nobody sets this clock"
            hands.wall -= ahead
            hands.synced = True
            hands.pass_by(ASKED_EVERY)
            if claimed:
                raised = await it.until_told("alarm.raised", "gateway/clock")
                assert "set by more than a day" in raised["data"]["text"]
            else:
                await it.until_told("alarm.cleared", "gateway/clock")
            await it.flip()
            right = it.cloud.of("alarm", BATTERY)[-1]
            assert right["clock"] == "synced"
            assert abs(wall_of(right["time"]) - hands.clock().now().wall) < PROMPT
        starts = len(it.cloud.of("gateway.started"))
        # The next life: it says so still while the floor is wrong, and what it tells has the right time.
        async with gateway(it.site, hands):
            await it.cloud.until(lambda seen: len(seen.of("gateway.started")) > starts)
            await it.flip()
            right = it.cloud.of("alarm", BATTERY)[-1]
            assert abs(wall_of(right["time"]) - hands.clock().now().wall) < PROMPT
            for _ in range(2):
                assert len([*alarms_of(it, "gateway/clock")]) == int(claimed)
                hands.pass_by(13 * HOUR)
                await it.flip()
            await it.cloud.until(lambda _: not [*alarms_of(it, "gateway/clock")])
        ((newest,),) = look(it.store, "SELECT newest FROM journal")
        assert newest < time.time() + 2 * 24 * HOUR, "2053 is given up"
        in_order(it)


def alarms_of(it: World, subject: str) -> Iterator[str]:
    """Occurrences of an alarm that were raised and not cleared."""
    cleared = {event["data"]["alarm"] for event in it.cloud.of("alarm.cleared", subject)}
    for event in it.cloud.of("alarm.raised", subject):
        if event["data"]["alarm"] not in cleared:
            yield event["data"]["alarm"]

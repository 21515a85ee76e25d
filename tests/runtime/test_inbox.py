"""The inbox: by class, in order within a class, nothing dropped; what is urgent waits for no room."""

import asyncio
from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from gateway.model import Answer, Command, Instant, LineHealth, Passage, Person, Quality, Reading, Refused, Tick
from gateway.runtime.inbox import FROM_THE_FIELD, Entry, Inbox

URGENT: Mapping[str, frozenset[str]] = {"smoke": frozenset({"fire"})}


def tick(number: int) -> Tick:
    return Tick(Instant(float(number), 0.0, synced=True))


def answer(device: str, number: int, *points: str) -> Answer:
    at = Instant(float(number), 0.0, synced=True)
    return Answer(device, {point: Reading(number, None, None, Quality.GOOD, None, at) for point in points}, at)


def numbers(item: Entry) -> tuple[str, ...]:
    return tuple(item.readings) if isinstance(item, Answer) else (type(item).__name__,)


async def test_first_come_first_served_within_a_class() -> None:
    inbox = Inbox()
    for number in range(3):
        await inbox.put(tick(number))

    assert [await inbox.get() for _ in range(3)] == [tick(0), tick(1), tick(2)]


async def test_a_full_class_makes_its_writer_wait_and_drops_nothing() -> None:
    inbox = Inbox(room=2)
    got = []

    async def write() -> None:
        for number in range(100):
            await inbox.put(answer("meter", number, "power"))

    async with asyncio.TaskGroup() as group:
        writer = group.create_task(write(), name="writer")
        while len(inbox) < 2:
            await asyncio.sleep(0)
        assert not writer.done()
        for _ in range(100):
            assert len(inbox) <= 2
            got.append(await inbox.get())

    assert got == [answer("meter", number, "power") for number in range(100)]


async def test_what_is_urgent_waits_for_no_room_but_lets_the_site_go_first() -> None:
    inbox = Inbox(URGENT, room=1)
    decided: list[Entry] = []

    async def decide() -> None:
        while len(decided) < 50:
            decided.append(await inbox.get())
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        group.create_task(decide(), name="site")
        async with asyncio.timeout(1.0):
            for number in range(50):
                await inbox.put(answer("smoke", number, "fire"))
                assert len(inbox) <= 3
    assert decided == [answer("smoke", number, "fire") for number in range(50)]


async def test_where_nothing_may_be_taken_but_from_the_field_the_rest_stays() -> None:
    inbox = Inbox(URGENT)
    at = Instant(1.0, 0.0, synced=True)
    await inbox.put(Passage("gate", "沪A12345", at, "key"))
    await inbox.put(Refused("expired", "too late", at))
    await inbox.put(answer("meter", 0, "power"))
    await inbox.put(answer("smoke", 0, "fire"))

    got = [inbox.take(FROM_THE_FIELD) for _ in range(3)]

    assert got == [answer("smoke", 0, "fire"), answer("meter", 0, "power"), None]
    assert len(inbox) == 2


async def test_alarms_go_before_commands_before_passages_before_the_rest() -> None:
    inbox = Inbox(URGENT)
    at = Instant(1.0, 0.0, synced=True)
    await inbox.put(answer("meter", 0, "power"))
    await inbox.put(Passage("gate", "沪A12345", at, "key"))
    await inbox.put(Command("jti", "iss", "sub", "kid", frozenset(), "read", {}, 9.0, None, at))
    await inbox.put(Refused("expired", "too late", at))
    await inbox.put(Person("ask", "zhang", "guard", "gate.open", {}, at))
    await inbox.put(answer("smoke", 3, "fire"))
    await inbox.put(LineHealth("loop", False, "", at))

    got = [await inbox.get() for _ in range(7)]

    assert [numbers(item)[0] for item in got] == [
        "fire", "LineHealth", "Command", "Refused", "Person", "Passage", "power",
    ]  # fmt: skip


async def test_a_full_class_holds_up_no_other() -> None:
    inbox = Inbox(URGENT, room=2)
    async with asyncio.TaskGroup() as group:

        async def flood() -> None:
            for number in range(10):
                await inbox.put(answer("meter", number, "power"))

        flooding = group.create_task(flood(), name="flood")
        while len(inbox) < 2:
            await asyncio.sleep(0)
        async with asyncio.timeout(1.0):
            for number in range(2):
                await inbox.put(answer("smoke", number, "fire"))
        assert not flooding.done()
        got = [await inbox.get() for _ in range(12)]

    assert [numbers(item) for item in got] == [("fire",)] * 2 + [("power",)] * 10


@given(st.lists(st.sets(st.sampled_from(["fire", "temperature", "battery"]), min_size=1), max_size=30))
def test_the_answers_of_one_point_keep_their_order_and_none_is_lost(asked: list[set[str]]) -> None:
    async def through() -> list[Entry]:
        inbox = Inbox(URGENT)
        for number, points in enumerate(asked):
            await inbox.put(answer("smoke", number, *sorted(points)))
        return [await inbox.get() for _ in range(len(inbox))]

    seen: dict[str, list[int]] = {}
    for item in asyncio.run(through()):
        assert isinstance(item, Answer)
        for point, reading in item.readings.items():
            assert isinstance(reading.value, int)
            seen.setdefault(point, []).append(reading.value)

    wanted = {point: [number for number, points in enumerate(asked) if point in points] for point in seen}
    assert seen == wanted
    assert set().union(*asked) == seen.keys() if asked else not seen

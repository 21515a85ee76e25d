"""The gateway's look at itself: each change said once, in time, and no storm."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.clock import Clock
from gateway.cloud.journal.journal import Journal
from gateway.model import Emit, Input, OwnHealth, SetAside, Stream
from gateway.runtime.self_alarms import CLOCK, NOT_DELIVERED, STORE, Supervision
from tests.cloud.journal.test_journal_faults import backlog, garble
from tests.cloud.journaling import Hands, accepted, emit, journal, taken, until
from tests.inbox import ShutInbox


class World(ShutInbox):
    """A supervision over a real journal, with its time in the test's hands."""

    def __init__(self, store: Journal, hands: Hands) -> None:
        self.store = store
        self.hands = hands
        self.said: list[OwnHealth] = []
        self.aside: list[str] = []
        self.supervision = Supervision(store, self, Clock(mono=lambda: hands.now().mono, wall=lambda: hands.now().wall))

    def remind(self, item: Input) -> None:
        if isinstance(item, SetAside):
            self.aside.append(item.file)
        elif isinstance(item, OwnHealth):
            self.said.append(item)

    def begin(self, *, fires: bool = False, untold: bool = False) -> None:
        self.supervision.begin(self.hands.now(), fires=fires, untold=untold)

    def wait(self, seconds: int) -> None:
        for _ in range(seconds):
            self.supervision.look(self.hands.run(1.0))

    def changes(self, alarm: str) -> list[bool]:
        return [one.well for one in self.said if one.alarm == alarm]

    def text(self, alarm: str) -> str:
        return next(one.detail for one in reversed(self.said) if one.alarm == alarm)

    async def fire(self, kind: str = "fire", name: str = "alarm.raised") -> Emit:
        at = self.hands.now()
        event = Emit(Stream.ALARM, name, "d/p/a", {"kind": kind}, emit().id, at)
        self.supervision.emitted([event], at)
        await accepted(self.store, [event])
        return event


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    hands = Hands()
    async with journal(tmp_path, hands) as store:
        yield World(store, hands)


async def test_all_is_well_is_said_once_at_the_start_to_end_what_stood_before(world: World) -> None:
    world.begin()
    first = list(world.said)
    assert all(one.well for one in first)
    assert {one.alarm for one in first} >= {STORE, CLOCK, NOT_DELIVERED, "alarm/refused"}
    world.wait(100)
    assert world.said == first


async def test_a_fire_without_acknowledgement_for_ten_seconds(world: World) -> None:
    world.begin()
    await world.fire()
    world.wait(9)
    assert world.changes(NOT_DELIVERED) == [True]
    world.wait(1)
    assert world.changes(NOT_DELIVERED) == [True, False]
    world.wait(50)
    (row,) = await taken(world.store, Stream.ALARM, 1)
    world.store.acknowledge(row)
    world.supervision.heard(row)
    world.wait(1)
    assert world.changes(NOT_DELIVERED) == [True, False, True]


async def test_a_fire_that_is_acknowledged_in_time_is_no_trouble(world: World) -> None:
    world.begin()
    await world.fire()
    world.wait(5)
    (row,) = await taken(world.store, Stream.ALARM, 1)
    world.supervision.heard(row)
    world.wait(60)
    assert world.changes(NOT_DELIVERED) == [True]


async def test_a_fire_that_nobody_listens_to_until_somebody_does(world: World) -> None:
    world.begin()
    await world.fire()
    (row,) = await taken(world.store, Stream.ALARM, 1)
    world.supervision.unheard(row)
    world.wait(10)
    assert "nobody listens" in world.text(NOT_DELIVERED)
    # The alarm that says so is itself unheard: it is no fire, so nothing follows from it.
    await world.fire(kind="gateway")
    (second,) = await taken(world.store, Stream.ALARM, 1)
    world.supervision.unheard(second)
    world.wait(100)
    assert world.changes(NOT_DELIVERED) == [True, False]
    world.supervision.heard(second)
    world.wait(1)
    assert world.changes(NOT_DELIVERED) == [True, False, True]


@pytest.mark.parametrize(("kind", "name"), [("fault", "alarm.raised"), ("fire", "alarm.cleared")])
async def test_what_is_no_fire_is_not_waited_for(world: World, kind: str, name: str) -> None:
    world.begin()
    await world.fire(kind, name)
    world.wait(60)
    assert world.changes(NOT_DELIVERED) == [True]


async def test_a_fire_of_the_life_before(tmp_path: Path) -> None:
    hands = Hands()
    async with journal(tmp_path, hands) as store:
        await World(store, hands).fire()
    async with journal(tmp_path, hands) as store:
        world = World(store, hands)
        world.begin(fires=True)
        world.wait(10)
        assert world.changes(NOT_DELIVERED) == [True, False]
    async with journal(tmp_path, hands) as store:
        # It stands from the life before: it is not taken back for ten seconds and raised again.
        world = World(store, hands)
        world.begin(fires=True, untold=True)
        world.wait(30)
        assert world.changes(NOT_DELIVERED) == []
        (row,) = await taken(store, Stream.ALARM, 1)
        store.acknowledge(row)
        world.supervision.heard(row)
        world.wait(1)
        assert world.changes(NOT_DELIVERED) == [True]


async def test_a_store_that_is_lost_and_back(tmp_path: Path) -> None:
    obstacle = tmp_path / "store"
    obstacle.write_text("in the way")
    hands = Hands()
    async with journal(obstacle, hands) as store:
        world = World(store, hands)
        world.begin()
        assert world.changes(STORE) == [False]
        obstacle.unlink()
        await until(lambda: not store.lost)
        world.wait(9)
        assert world.changes(STORE) == [False], "not said to be well before it has been so for a while"
        world.wait(5)
        assert world.changes(STORE) == [False, True]


async def test_a_store_that_breaks_while_in_use_is_told_once_as_set_aside(tmp_path: Path) -> None:
    before = await backlog(tmp_path, 4000)
    hands = Hands()
    async with journal(tmp_path, hands) as store:
        world = World(store, hands)
        world.begin()
        garble(tmp_path / "journal.db", list(range(120, 140)))
        store.rewind()
        async with asyncio.timeout(20.0):
            while store.quarantined_file is None:
                store.ready.clear()
                if store.take(Stream.ALARM) is None and store.quarantined_file is None:
                    await store.ready.wait()
        world.wait(30)
        assert world.aside == [store.quarantined_file.name]
        assert before


async def test_a_store_that_was_set_aside(tmp_path: Path) -> None:
    (tmp_path / "journal.db").write_bytes(b"garbage" * 1000)
    hands = Hands()
    async with journal(tmp_path, hands) as store:
        world = World(store, hands)
        world.begin()
        assert world.changes(STORE) == [False]
        assert "set aside" in world.text(STORE)
        world.wait(700)
        assert world.changes(STORE) == [False, True]


async def test_a_reserve_that_is_gone(tmp_path: Path) -> None:
    hands = Hands()
    async with journal(tmp_path, hands, alarm_reserve=1 << 62) as store:
        world = World(store, hands)
        world.begin()
        for _ in range(3):
            await accepted(store, [emit()])
            world.wait(40)
        assert world.changes(STORE) == [True, False]
        assert "full" in world.text(STORE)


async def test_a_clock_that_nobody_sets(world: World) -> None:
    world.hands.synced = False
    world.begin()
    world.wait(599)
    assert world.changes(CLOCK) == [True]
    world.wait(2)
    assert world.changes(CLOCK) == [True, False]
    world.hands.synced = True
    world.wait(1)
    assert world.changes(CLOCK) == [True, False, True]


async def test_a_certificate_that_waits_for_time(world: World) -> None:
    world.hands.synced = False
    world.begin()
    world.supervision.link(False, "waiting for time")
    world.wait(1)
    assert world.changes(CLOCK) == [True, False]
    assert "certificate" in world.text(CLOCK)
    world.supervision.link(True, "")
    world.wait(1)
    assert world.changes(CLOCK) == [True, False, True]


async def test_a_stream_that_the_broker_refuses(world: World) -> None:
    world.begin()
    for code in (0x87, 0x87, 0x99):
        world.hands.run(1.0)
        world.supervision.refused(Stream.ACCESS, code)
    assert "0x87" in world.text("access/refused")
    world.hands.run(1.0)
    world.supervision.refused(Stream.ACCESS, None)
    assert world.changes("access/refused") == [True, False, True]
    assert world.changes("alarm/refused") == [True]

"""A fire is acted on with every queue full and every sink dead: no input from the field waits for disk or broker."""

import asyncio
import contextlib
import sqlite3
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.clock import Clock
from gateway.cloud.journal.journal import Journal
from gateway.model import (
    Answer,
    Command,
    Effect,
    Emit,
    Instant,
    Json,
    Operate,
    Outcome,
    Passage,
    Quality,
    Reading,
    ReadNow,
    Stream,
)
from gateway.runtime.inbox import Inbox
from gateway.runtime.poison import Poison
from gateway.runtime.site_loop import Act, CurrentSite, Decisions
from tests.site.compound import ALL, yard

WITHIN = 1.0
"""Seconds from the answer that confirms a fire to the order of its hold."""
QUEUE = 256 << 10
FULL = 64
"""Room of each class of the inbox."""

_STORES = ("writable", "gone", "stuck")


@contextlib.contextmanager
def disk(folder: Path, how: str) -> Iterator[Path]:
    """A folder for a store: usable, never there, or held by another program so that each commit waits."""
    store = folder / "store"
    if how == "gone":
        store.write_text("in the way")
    if how != "stuck":
        yield store
        return
    asyncio.run(_begun(store))
    holder = sqlite3.connect(store / "journal.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    try:
        yield store
    finally:
        holder.close()
        for thread in threading.enumerate():
            if thread.name == "journal":
                thread.join(10.0)  # now that the disk answers, it closes its file


async def _begun(store: Path) -> None:
    async with Journal(store, source="/s", now=Clock().now, alarm_reserve=0):
        pass


class Full:
    """The site of the tests; what it wants done is noted, with the time."""

    def __init__(self, journal: Journal, folder: Path) -> None:
        self.clock = Clock()
        self.journal = journal
        self.inbox = Inbox({"smoke-1": {"fire"}, "smoke-2": {"fire"}, "tank": {"level"}}, room=FULL)
        self.held_at: dict[str, float] = {}
        self.decisions = Decisions(
            CurrentSite(yard(), bytes(16)),
            self.inbox,
            journal,
            self.clock,
            Poison(folder / "poison", "1", {}),
            executor=self,
            world=self,
            bystanders=[self],
        )
        self.decisions.restore(folder)

    def set_standing(self, _alarms: Mapping[str, Mapping[str, Json]], _upto: int) -> None:
        """Nobody is told."""

    def emitted(self, _effects: Sequence[Effect], _now: Instant) -> None:
        """Nobody looks on."""

    def kept(self, _effects: Sequence[Effect]) -> None:
        """Nobody looks on."""

    def carry_out(self, act: Act) -> None:
        now = self.clock.now()
        if isinstance(act, ReadNow):
            self.inbox.remind(self.answer(act.device, 1))
        if isinstance(act, Operate):
            if act.value is True:
                self.held_at.setdefault(f"{act.device}.{act.point}", now.mono)
            self.inbox.remind(Outcome(act.order, True, "", None, now))

    def answer(self, device: str, value: int) -> Answer:
        now = self.clock.now()
        return Answer(device, {"fire": Reading(value, None, None, Quality.GOOD, None, now)}, now)

    async def flood(self) -> None:
        """Whoever may wait hands in until the end."""
        for number in range(1 << 30):
            now = self.clock.now()
            await self.inbox.put(Passage("c", "沪A12345", now, str(number)))
            args = {"gate": "south", "reason": "x" * 100}
            await self.inbox.put(Command(str(number), "i", "s", "k", ALL, "gate.hold", args, now.wall + 60, None, now))

    async def chatter(self, device: str) -> None:
        """A point changes as fast as it is taken."""
        for number in range(1 << 30):
            now = self.clock.now()
            reading = Reading(number % 2 * 2.0, None, None, Quality.GOOD, None, now)
            await self.inbox.put(Answer(device, {"level": reading}, now))
            await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def full(folder: Path, store: Path, *, firm: bool, flood: bool, chatter: bool) -> AsyncIterator[Full]:
    """It runs; `firm`: the journal is full of what never goes."""
    async with Journal(
        store, source="/s", now=Clock().now, max_size=1 << 26, alarm_reserve=0, queue_bytes=QUEUE
    ) as journal:
        site = Full(journal, folder)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(site.decisions.run())]
            if firm:
                now = site.clock.now()
                for number in range(2 * QUEUE // 1024):
                    data = {"plate": "沪A12345", "text": "x" * 400}
                    journal.append([Emit(Stream.ACCESS, "access.passage", "g", data, f"p-{number}", now)])
            if flood:
                tasks.append(group.create_task(site.flood()))
            if chatter:
                tasks += [group.create_task(site.chatter(device)) for device in ("tank", "gauge")]
            await asyncio.sleep(0.05)
            yield site
            for task in tasks:
                task.cancel()


@settings(max_examples=6, deadline=None)
@example("stuck", True, True, True)
@example("gone", True, True, True)
@given(st.sampled_from(_STORES), st.booleans(), st.booleans(), st.booleans())
def test_a_confirmed_fire_holds_the_gates_within_a_second(how: str, firm: bool, flood: bool, chatter: bool) -> None:
    async def run(folder: Path, store: Path) -> None:
        async with full(folder, store, firm=firm, flood=flood, chatter=chatter) as site:
            if firm and how != "writable":
                assert not site.journal.roomy
            await site.inbox.put(site.answer("smoke-1", 1))
            confirmed = time.monotonic()
            await site.inbox.put(site.answer("smoke-2", 1))
            async with asyncio.timeout(10):
                while not site.held_at:
                    await asyncio.sleep(0.005)
            assert min(site.held_at.values()) - confirmed < WITHIN

    with tempfile.TemporaryDirectory() as name, disk(Path(name), how) as store:
        asyncio.run(run(Path(name), store))

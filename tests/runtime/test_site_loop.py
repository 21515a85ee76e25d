"""Decisions and the journal: what waits for its commit, and what has become of it when that comes."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from gateway.clock import Clock
from gateway.cloud.journal.journal import Journal
from gateway.model import (
    Answer,
    Command,
    Effect,
    Instant,
    Json,
    Operate,
    Outcome,
    OwnHealth,
    Perform,
    Person,
    Quality,
    Reading,
    Remember,
    Reply,
    Stream,
)
from gateway.runtime.inbox import Inbox
from gateway.runtime.poison import Poison
from gateway.runtime.site_loop import Act, CurrentSite, Decisions
from gateway.site.looks import LOOK
from gateway.site.round_run import READ
from gateway.site.settings import SiteSettings
from tests.site.compound import ALL, yard
from tests.site.round_world import ALIVE, HYDRANT, YARD, site_of
from tests.slow_disk import stalled

_SOURCE = "/sites/s/gateways/g"


class Wired:
    """The site of the tests over a real journal; orders end here."""

    def __init__(self, journal: Journal, folder: Path, settings: SiteSettings) -> None:
        self.clock = Clock()
        self.journal = journal
        self.inbox = Inbox()
        self.done: list[Act] = []
        self.standing: list[tuple[dict[str, Mapping[str, Json]], int]] = []
        self.decisions = Decisions(
            CurrentSite(settings, bytes(16)),
            self.inbox,
            journal,
            self.clock,
            Poison(folder / "poison", "1", {}),
            executor=self,
            world=self,
            bystanders=[self],
        )
        self.decisions.restore(folder)

    def carry_out(self, act: Act) -> None:
        self.done.append(act)

    def set_standing(self, alarms: Mapping[str, Mapping[str, Json]], upto: int) -> None:
        self.standing.append((dict(alarms), upto))

    def emitted(self, _effects: Sequence[Effect], _now: Instant) -> None:
        """Nobody looks on."""

    def kept(self, _effects: Sequence[Effect]) -> None:
        """Nobody looks on."""

    @property
    def now(self) -> Instant:
        return self.clock.now()

    async def committed(self) -> None:
        there = asyncio.Event()
        self.journal.append([], then=there.set)
        async with asyncio.timeout(5):
            await there.wait()

    def command(self, jti: str, cmd: str) -> None:
        now = self.now
        self.decisions.step(Command(jti, "i", "s", "k", ALL, cmd, {"gate": "south"}, now.wall + 60, None, now))

    def burn(self, device: str) -> None:
        for _ in range(2):
            now = self.now
            self.decisions.step(Answer(device, {"fire": Reading(1, None, None, Quality.GOOD, None, now)}, now))

    def orders(self, point: str) -> list[Operate]:
        return [act for act in self.done if isinstance(act, Operate) and act.point == point]


@asynccontextmanager
async def wired(folder: Path, settings: SiteSettings | None = None) -> AsyncIterator[Wired]:
    clock = Clock()
    async with Journal(folder, source=_SOURCE, now=clock.now, keep={}, max_size=1 << 26, alarm_reserve=0) as journal:
        yield Wired(journal, folder, settings or yard())


async def test_a_release_that_waited_for_its_commit_is_not_written_after_the_fires_hold(tmp_path: Path) -> None:
    async with wired(tmp_path) as site:
        site.command("a", "gate.hold")
        await site.committed()
        (held,) = site.orders("do3")
        site.decisions.step(Outcome(held.order, True, "", None, site.now))

        site.command("b", "gate.release")
        site.burn("smoke-1")
        site.burn("smoke-2")
        assert [order.value for order in site.orders("do3")] == [True, True], "the fire's hold does not wait"
        await site.committed()

        assert [order.value for order in site.orders("do3")] == [True, True]
        told = []
        while (item := site.inbox.take()) is not None:
            told.append(item)
        withdrawn = [item for item in told if isinstance(item, Outcome) and item.detail == "withdrawn"]
        assert len(withdrawn) == 1, "every order has one outcome"


async def test_behind_a_slow_disk_a_fire_is_told_before_its_commit_and_nothing_else_is(tmp_path: Path) -> None:
    async with wired(tmp_path) as site:
        for number in range(3):
            with stalled():
                site.journal.append([Remember("k", number)])
                await asyncio.sleep(0.6)
            await site.committed()
        assert site.journal.slow
        with stalled():
            site.standing.clear()
            site.burn("smoke-1")
            ((told, upto),) = site.standing[-1:]
            assert [(one["device"], one["uncommitted"]) for one in told.values()] == [("smoke-1", True)]
            assert upto == 0
            site.decisions.step(OwnHealth("gateway/clock", False, "x", site.now))
            assert site.standing[-1:] == [(told, upto)], "what is no fire waits"
        await site.committed()
        told, upto = site.standing[-1]
        assert {str(one["kind"]): "uncommitted" in one for one in told.values()} == {"fire": False, "gateway": False}
        assert upto == site.journal.last(Stream.ALARM)


async def test_the_reads_of_a_round_leave_before_their_commit(tmp_path: Path) -> None:
    async with wired(tmp_path, site_of(HYDRANT, ALIVE, YARD, cron=None)) as site:
        now = site.now
        site.decisions.step(Person("a", "li", "technician", "inspection.run", {"round": "nightly"}, now, "li"))
        assert [act.cmd for act in site.done if isinstance(act, Perform)] == [READ, READ]
        assert not any(isinstance(act, Reply) for act in site.done)
        await site.committed()
        assert [act.cmd for act in site.done if isinstance(act, Perform)] == [READ, READ, LOOK]


async def test_what_moves_waits_for_its_commit_and_then_leaves(tmp_path: Path) -> None:
    async with wired(tmp_path) as site:
        site.command("a", "gate.open")
        assert site.orders("do3") == []
        await site.committed()

        assert [order.value for order in site.orders("do3")] == [True]

"""A plate is forgotten from end to end: the site, its lists, a real store. Nothing of it is left in any file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from gateway.clock import Clock
from gateway.cloud.journal.journal import Journal
from gateway.errors import NotDone
from gateway.intake.lists import PlateLists
from gateway.model import (
    Command,
    Effect,
    Emit,
    Forget,
    Input,
    KeepPictures,
    Operate,
    Outcome,
    Passage,
    Perform,
    Performed,
    PictureRef,
    Remember,
    Reply,
    Started,
    Stream,
)
from gateway.settings.types import ListSettings
from gateway.site.settings import AccessSettings, DeviceSettings, GateSettings, Ref, SiteSettings
from gateway.site.site import Site
from tests.cloud.journaling import accepted, all_of, event

GONE, STAYS = "沪A12345", "沪B54321"
MAY = frozenset({"access.forget", "access.export", "access.update", "gate.open"})
PLAN = SiteSettings(
    {"relay": DeviceSettings("relay", "a")},
    ("a",),
    gates={"north": GateSettings("north", Ref("relay", "do1"))},
    access=AccessSettings(cameras={"lpr": "north"}),
)


class Gateway:
    """The site, its lists and its store, one input after the other."""

    def __init__(self, folder: Path, journal: Journal) -> None:
        self.clock = Clock()
        self.journal = journal
        self.site = Site(PLAN, bytes(16))
        csv = folder / "residents.csv"
        csv.write_text(f"plate,kind\n{GONE},resident\n{STAYS},resident\n", encoding="utf-8")
        settings = ListSettings(folder / "lists", (csv,), ZoneInfo("UTC"), frozenset({"north"}))
        self.lists = PlateLists(settings, self, self.clock)
        self.errands = self.lists.errands(journal)
        self.replies: list[Reply] = []
        self.number = 0

    async def hand_in(self, passage: Passage) -> None:
        await self.put(passage)

    async def put(self, item: Input) -> None:
        effects = self.site.step(item, self.clock.now())
        kept = [effect for effect in effects if isinstance(effect, Emit | Remember | Forget)]
        if kept:
            await accepted(self.journal, kept)
        await self.carry_out(effects)

    async def carry_out(self, effects: Sequence[Effect]) -> None:
        for effect in effects:
            match effect:
                case Operate(order):
                    await self.put(Outcome(order, True, "", False, self.clock.now()))
                case KeepPictures(passage, camera, ids, at):
                    for one in ids:
                        self.journal.picture(camera, passage, "plate", at, b"\xff\xd8 " + one.encode(), one)
                case Perform():
                    await self.perform(effect)
                case Reply():
                    self.replies.append(effect)

    async def perform(self, act: Perform) -> None:
        try:
            result = await self.errands[act.cmd](act)
        except NotDone as no:
            await self.put(Performed(act.order, False, None, no.code, str(no), self.clock.now()))
        else:
            await self.put(Performed(act.order, True, result, "", "", self.clock.now()))

    async def see(self, plate: str, raw: str | None = None) -> None:
        self.number += 1
        pictures = (PictureRef(f"picture-{self.number}", "plate"),)
        await self.put(Passage("lpr", raw or plate, self.clock.now(), f"k{self.number}", "in", 95.0, pictures=pictures))

    async def command(self, cmd: str, **args: Any) -> Any:
        self.number += 1
        at = self.clock.now()
        await self.put(Command(f"j{self.number}", "cloud", "li", "k", MAY, cmd, args, at.wall + 60, None, at))
        return self.replies[-1].data


@pytest.mark.parametrize("delivered", [True, False])
async def test_nothing_of_a_plate_is_left_in_any_file(tmp_path: Path, delivered: bool) -> None:
    store = tmp_path / "store"
    async with Journal(store, source="/sites/s/gateways/g", now=Clock().now) as journal:
        gateway = Gateway(tmp_path, journal)
        now = gateway.clock.now()
        await gateway.put(Started(now, "test", None))
        await gateway.lists.load()
        for plate, raw in ((GONE, None), (STAYS, None), ("沪A1234S", "沪A·1234S"), ("京C99999", None)):
            await gateway.see(plate, raw)
        assert (await gateway.command("gate.open", gate="north", reason=f"for {GONE}"))["ok"]
        if delivered:
            for stream in Stream:
                for row in await all_of(journal, stream):
                    journal.acknowledge(row)
            await accepted(journal, [])

        export = (await gateway.command("access.export", plate="沪a·12345"))["result"]
        assert [one["data"]["reason"] for one in export["events"]] == ["listed"], "the misread one was the same car"
        assert export["lists"][0]["list"] == "residents"
        said = (await gateway.command("access.forget", plate=GONE))["result"]
        assert said == {"lists": ["residents"], "csv": ["residents.csv"], "events": 1, "pictures": 1}

        assert (await gateway.command("access.export", plate=GONE))["result"]["events"] == []
        assert len((await gateway.command("access.export", plate=STAYS))["result"]["events"]) == 1
        audit = [event(row) for row in await all_of(journal, Stream.AUDIT)]
        forgot = [one for one in audit if one["data"].get("cmd") == "access.forget"]
        assert [one["data"]["args"] for one in forgot] == [{}]
        names = {path.name for path in store.rglob("*")} | {path.name for path in (tmp_path / "lists").iterdir()}
        assert "journal.db" in names
        for path in [*store.rglob("*"), *(tmp_path / "lists").iterdir()]:
            if path.is_file():
                data = path.read_bytes()
                assert GONE.encode() not in data, path
                assert path.name != "journal.db" or STAYS.encode() in data

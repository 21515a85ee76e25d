"""What the site has done outside."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.clock import Clock
from gateway.cloud.commands.replay import Replay
from gateway.errors import ConfigError, DeviceRefused, DeviceSilent, LineDown, NotDone
from gateway.model import Errand, Input, Json, Perform, Performed
from gateway.runtime.effects import Errands, of_configuration, of_history
from gateway.runtime.reconfigure import Reconfiguration
from tests.cloud.commands.test_replay import delivered
from tests.cloud.journaling import journal
from tests.inbox import ShutInbox
from tests.runtime.test_reconfigure import Around


class Desk(ShutInbox):
    """Gives errands out and takes what came of them."""

    def __init__(self, table: Mapping[str, Errand]) -> None:
        self.back: asyncio.Queue[Performed] = asyncio.Queue()
        self.errands = Errands(Clock(synced=lambda: True), self, table)

    async def put(self, item: Input) -> None:
        assert isinstance(item, Performed)
        await self.back.put(item)

    async def ask(self, cmd: str, by: str = "who", **args: Json) -> Performed:
        self.errands.perform(Perform("order", cmd, args, by))
        async with asyncio.timeout(20):
            return await self.back.get()


@asynccontextmanager
async def desk(table: Mapping[str, Errand]) -> AsyncIterator[Desk]:
    it = Desk(table)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(it.errands.run(), name="errands")
        try:
            yield it
        finally:
            task.cancel()


async def test_done() -> None:
    async def errand(act: Perform) -> Json:
        return {"by": act.by}

    async with desk({"read": errand}) as it:
        done = await it.ask("read")
        assert (done.order, done.ok, done.result, done.code) == ("order", True, {"by": "who"}, "")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (NotDone("interlocked", "m"), "interlocked"),
        (DeviceSilent("m"), "silent"),
        (LineDown("m"), "silent"),
        (DeviceRefused(2, "m"), "refused-by-device"),
        (ConfigError("m"), "bad-args"),
    ],
)
async def test_not_done(error: Exception, code: str) -> None:
    async def errand(_act: Perform) -> Json:
        raise error

    async with desk({"read": errand}) as it:
        done = await it.ask("read")
        assert (done.ok, done.result, done.code, done.message) == (False, None, code, "m")
        assert (await it.ask("dance")).code == "unknown"


async def test_one_that_waits_holds_up_nobody_and_all_have_an_end() -> None:
    free = asyncio.Event()

    async def errand(act: Perform) -> Json:
        if act.by == "slow":
            await free.wait()
        return act.by

    async with desk({"read": errand}) as it:
        it.errands.perform(Perform("slow", "read", {}, "slow"))
        assert (await it.ask("read")).result == "who"
        for number in range(1000):
            it.errands.perform(Perform(str(number), "read", {}, "slow"))
        free.set()
        async with asyncio.timeout(20):
            back = [await it.back.get() for _ in range(1001)]
        assert sorted(one.order for one in back) == sorted(["slow", *map(str, range(1000))])
        refused = [one for one in back if not one.ok]
        assert refused
        assert {one.code for one in refused} == {"interlocked"}


async def test_a_bug_ends_its_errand_alone(capsys: pytest.CaptureFixture[str]) -> None:
    async def errand(act: Perform) -> Json:
        if act.cmd == "write":
            raise KeyError("bug")
        return act.by

    async with desk({"read": errand, "write": errand}) as it:
        done = await it.ask("write")
        assert (done.ok, done.code) == (False, "unknown")
        assert "a fault of the gateway" in done.message
        assert (await it.ask("read")).result == "who"
    assert "KeyError" in capsys.readouterr().out


async def test_the_configuration(tmp_path: Path) -> None:
    site = tmp_path / "site.yaml"
    site.write_text("version: 1\n")
    seen: list[object] = []

    async def check(*what: object) -> None:
        seen.append(what)

    file = Reconfiguration(site, check=check)
    file.begin()
    around = Around("a fire stands")
    table = of_configuration(file, around)
    async with desk(table) as it:
        got = await it.ask("config.get")
        assert isinstance(got.result, dict)
        assert got.result["file"] == "version: 1\n"
        assert (await it.ask("config.apply", file="version: 2\n")).code == "interlocked"
        around.why = None
        done = await it.ask("config.apply", file="version: 2\n", trial="20s")
        assert done.ok
        assert file.pending is not None
        assert (file.pending.trial, file.pending.by, file.pending.lines) == (20.0, "who", ("a",))
        assert site.read_text() == "version: 2\n"
        assert len(seen) == 1


async def test_the_history(tmp_path: Path) -> None:
    async with journal(tmp_path) as one, desk(of_history(Replay(one.history))) as it:
        await delivered(one, 3)
        done = await it.ask("events.replay", stream="alarm", first="00000000000000000002", last=9)
        assert done.result == {"stream": "alarm", "first": 2, "last": 3}
        assert (await it.ask("events.replay", stream="audit", first=1, last=9)).code == "bad-args"

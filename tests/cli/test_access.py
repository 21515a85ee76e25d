"""`site-gateway access`: imports, what would be decided, who is inside; with and without a gateway."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from gateway.cli.group import load_good
from gateway.clock import Clock
from gateway.cloud.journal.history import Erased
from gateway.errors import NotDone
from gateway.intake.lists import PlateLists
from gateway.local.control import NAME, Control
from gateway.local.requests import People
from gateway.model import Input, ListReady, Perform, Performed, Person, Reply
from gateway.settings.camera_uses import list_settings
from gateway.site.lists import PlateList
from gateway.site.settings import AccessSettings, DeviceSettings, GateSettings, Ref, SiteSettings
from gateway.site.site import Site
from gateway.technician import access as work
from tests.cli.test_command_line import command
from tests.inbox import ShutInbox

SITE = """\
version: 1
site: {{id: s, timezone: Asia/Shanghai}}
gateway: g
uplink: {{url: "mqtt://127.0.0.1:1883"}}
lines: {{a: {{driver: modbus, tcp: "127.0.0.1:1"}}}}
devices: {{relay: {{line: a, points: {{do1: {{at: coil 0, write: true}}}}}}}}
gates: {{north-in: {{open: relay.do1}}}}
cameras:
  lpr: {{driver: generic, gate: north-in, direction: in, address: 127.0.0.1}}
http: {{cameras: {{listen: "127.0.0.1:8080"}}}}
access: {{lists: [{lists}]}}
store: {{path: {store}}}
"""
CSV = "plate,kind,from,until,gates,note\n鄂A12345,resident,,,north-in,3-2-501\n鄂B00001,blocked,,,,\n"


@pytest.fixture
def site(tmp_path: Path) -> Path:
    path = tmp_path / "site.yaml"
    (tmp_path / "store").mkdir()
    path.write_text(SITE.format(store=tmp_path / "store", lists=""), encoding="utf-8")
    return path


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    path = tmp_path / "residents.csv"
    path.write_text(CSV, encoding="utf-8")
    return path


# ---- without a gateway ----------------------------------------------------------------------------


def test_an_import_into_the_store_and_what_it_decides(site: Path, csv: Path) -> None:
    done = command("access", "import", site, csv)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "residents: 2 lines are stored; they are in force from the next start on\n"

    shown = command("access", "show", site, "鄂a·12345")
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.splitlines() == [
        "listed: residents resident 3-2-501", "north-in in: opened (listed)", "north-in out: opened (listed)",
    ]  # fmt: skip
    assert "does not run" in shown.stderr
    blocked = json.loads(command("access", "show", site, "鄂B00001", "--gate", "north-in", "--json").stdout)
    assert [one["reason"] for one in blocked["gates"]] == ["blocked", "blocked"]
    assert blocked["running"] is False


def test_every_mistake_is_named_with_its_line_and_nothing_is_changed(site: Path, csv: Path, tmp_path: Path) -> None:
    csv.write_text(
        CSV + "鄂A00001,residnet,,,,\n鄂A00002,visitor,2026-13-01,,,\n鄂A3,visitor,,,north,\n", encoding="utf-8"
    )
    done = command("access", "import", site, csv)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        f"{csv}:4: kind: found 'residnet'; resident | visitor | staff | service | blocked; did you mean 'resident'?",
        f"{csv}:5: from: found '2026-13-01'; 2026-12-31 or 2026-12-31T08:00:00+08:00",
        f"{csv}:6: gates: found 'north'; a gate of the site; did you mean 'north-in'?",
    ]
    assert not (tmp_path / "store" / "lists").exists()


def test_a_check_changes_nothing(site: Path, csv: Path, tmp_path: Path) -> None:
    done = command("access", "import", "--check", site, csv)
    assert (done.returncode, done.stdout) == (0, f"{csv}: good: 2 lines\n")
    assert not (tmp_path / "store" / "lists").exists()


def test_looking_changes_nothing_on_the_disk(site: Path, csv: Path, tmp_path: Path) -> None:
    site.write_text(SITE.format(store=tmp_path / "store", lists="residents.csv"), encoding="utf-8")
    shown = command("access", "show", site, "鄂A12345", "--gate", "north-in")
    assert shown.stdout.splitlines()[1] == "north-in in: opened (listed)"
    assert not (tmp_path / "store" / "lists").exists()
    assert csv.exists()


def test_what_cannot_be_done_is_said(site: Path, tmp_path: Path) -> None:
    assert command("access", "who", site).returncode == 3
    gone = command("access", "import", site, tmp_path / "gone.csv")
    assert (gone.returncode, gone.stderr) == (2, f"{tmp_path / 'gone.csv'}: No such file or directory\n")
    gate = command("access", "show", site, "鄂A12345", "--gate", "nroth-in")
    assert (gate.returncode, gate.stderr) == (2, "--gate: there is no gate 'nroth-in'; north-in\n")
    plate = command("access", "show", site, "_无_")
    assert plate.returncode == 2
    assert "is no plate" in plate.stderr


@pytest.mark.parametrize("name", ["import", "show", "who"])
def test_each_has_help_with_an_example(name: str) -> None:
    done = command("access", name, "--help")
    assert done.returncode == 0
    assert f"Example: site-gateway access {name}" in done.stdout


# ---- with a gateway -------------------------------------------------------------------------------


class Daemon(ShutInbox):
    """A site, its lists and its control socket, without the rest."""

    def __init__(self, site: Path) -> None:
        _, file = load_good(site)
        self.file = file
        self.site = Site(
            SiteSettings(
                {"relay": DeviceSettings("relay", "a")},
                ("a",),
                gates={"north-in": GateSettings("north-in", Ref("relay", "do1"))},
                access=AccessSettings(cameras={"lpr": "north-in"}),
            ),
            bytes(16),
        )
        self.clock = Clock()
        self.people = People(self, self.clock)
        self.lists = PlateLists(list_settings(file), self, self.clock)
        self.table = self.lists.errands(self)
        self.inputs: list[Input] = []

    async def erase(self, _plate: str) -> Erased:
        return Erased(0, 0)

    async def naming(self, _plate: str) -> list[bytes]:
        return []

    async def put(self, item: Input) -> None:
        self.inputs.append(item)
        for effect in self.site.step(item, self.clock.now()):
            match effect:
                case Reply(local=True):
                    self.people.answer(effect)
                case Perform():
                    await self.perform(effect)

    async def perform(self, act: Perform) -> None:
        try:
            result = await self.table[act.cmd](act)
        except NotDone as no:
            await self.put(Performed(act.order, False, None, no.code, str(no), self.clock.now()))
        else:
            await self.put(Performed(act.order, True, result, "", "", self.clock.now()))

    def listed(self) -> list[tuple[str, int]]:
        ready = [item for item in self.inputs if isinstance(item, ListReady)]
        return [(item.by, len(item.list)) for item in ready if isinstance(item.list, PlateList)]


@pytest.fixture
async def daemon(site: Path) -> AsyncIterator[Daemon]:
    running = Daemon(site)
    path = Path(running.file.store.path) / NAME
    await running.lists.load()

    async def person(request: Mapping[str, Any]) -> Any:
        return await running.people.ask(request)

    asks = {"do": person, "access.import": running.lists.imported}
    async with asyncio.TaskGroup() as group:
        task = group.create_task(Control([path], asks).run(), name="control")
        while not path.is_socket():
            await asyncio.sleep(0.001)
        yield running
        task.cancel()


async def test_an_import_into_the_running_gateway(daemon: Daemon, site: Path, csv: Path) -> None:
    lines = "".join(f"鄂C{number:05},visitor,2026-01-01,2026-12-31,,a note of some length\n" for number in range(2000))
    csv.write_text(CSV + lines, encoding="utf-8")
    done = await asyncio.to_thread(command, "access", "import", site, csv)
    assert (done.returncode, done.stdout) == (0, "residents: 2002 lines are in force\n"), done.stderr
    assert daemon.listed() == [(work.who(), 2002)]
    shown = await asyncio.to_thread(command, "access", "show", site, "鄂C01999", "--json")
    kept = json.loads(shown.stdout)
    assert kept["running"] is True
    assert kept["lists"][0]["until"] == "2026-12-31T16:00:00.000000Z", "the end of the day, there"
    asked = [item for item in daemon.inputs if isinstance(item, Person)]
    assert [(item.cmd, item.role, item.by) for item in asked] == [("access.show", "technician", work.who())]


async def test_who_is_inside(daemon: Daemon, site: Path) -> None:
    assert (await asyncio.to_thread(command, "access", "who", site)).stdout == "nobody is inside\n"
    said = await daemon.people.ask(
        {"cmd": "access.presence", "args": {"plate": "鄂A12345", "inside": True}, "by": "wang", "role": "steward"}
    )
    assert isinstance(said, Mapping)
    done = await asyncio.to_thread(command, "access", "who", site)
    (car, counts) = done.stdout.splitlines()
    assert car.endswith("Z 鄂A12345 unknown")
    assert counts == "unknown 1"


def test_the_zone_of_the_site_is_the_one_of_its_lists(site: Path) -> None:
    _, file = load_good(site)
    assert list_settings(file).zone == ZoneInfo("Asia/Shanghai")

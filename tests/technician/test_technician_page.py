"""The technician's page: every command of it works at the simulated example site, as it is printed."""

import ast
import asyncio
import re
import shutil
import signal
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import get_args

import pytest

from gateway.kinds import PassageReason
from gateway.model import Reason
from tests.cli.test_readme import done, environment, started, until
from tests.mosquitto import free_port

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "technician.zh.md").read_text(encoding="utf-8")
INSTALLED = "/etc/site-gateway/"
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]
OURS = [line.removeprefix("sudo ") for line in COMMANDS if line.removeprefix("sudo ").startswith("site-gateway ")]
(STATUS,) = re.findall(r"```yaml\n(  status:.*?)```", PAGE, re.DOTALL)
BEFORE = ["check", "plan", "scan", "init", "check", "certificate", "passwd"]
"""What is said before the service runs; in the page's order, but for the two that make what the local page needs."""
RUNNING = [
    *("status", "alarms", "read", "doctor", "camera", "events", "access", "access", "access", "page", "page", "page"),
    *("do", "do", "do", "walk", "picture", "picture", "picture", "places", "do", "rounds", "rounds"),
]
TABLE = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in PAGE.partition("## 故障对照表")[2].splitlines()
    if line.startswith("| ")
][2:]
"""Symptom, command, cure."""
PLACEHOLDERS = {
    "SITE.yaml": "sim.yaml", "设备.点": "smoke-3-2f.smoke", "相机": "yard", "车牌": "沪A12345", "道闸": "north-in",
    "姓名": "zhang", "原因": "x", INSTALLED: "",
}  # fmt: skip


def word(line: str) -> str:
    return line.split()[1]


class Table:
    """The simulated example site in a folder, as the page's technician finds it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.serial = ""

    def prepare(self) -> None:
        site = (self.folder / "sim.yaml").read_text()
        (self.serial,) = re.findall(r'fire-loop: .*serial: "([^"]+)"', site)
        (self.folder / "site.yaml").write_text(site)
        page = STATUS.replace("0.0.0.0:8443", f"127.0.0.1:{free_port()}")
        with_page, count = re.subn(r"^http:\n", lambda found: f"{found[0]}{page}", site, flags=re.MULTILINE)
        assert count == 1
        (self.folder / "sim.yaml").write_text(with_page)
        shutil.copy(ROOT / "config" / "residents.csv", self.folder)

    def here(self, line: str) -> str:
        """A line of the page, for the files in this folder."""
        line = line.removeprefix("sudo ").replace(f"{INSTALLED}site.yaml", "sim.yaml").replace(INSTALLED, "")
        for name, value in PLACEHOLDERS.items():
            line = line.replace(name, value)
        line = line.replace("/dev/rs485-fire", self.serial)
        if word(line) == "scan":
            return f"{line} --baud 9600 --parity none"
        return f"echo correct horse | {line} --stdin" if word(line) == "passwd" else line


async def test_every_command_of_the_page_works(tmp_path: Path) -> None:
    table = Table(tmp_path)
    cars = ROOT / "config" / "scenarios" / "cars.yaml"
    simulate = f"site-gateway simulate {ROOT}/config/example.yaml --scenario {cars} --out sim.yaml"
    first = [line for line in OURS if word(line) in BEFORE]
    then = [line for line in OURS if word(line) not in BEFORE]
    assert [word(line) for line in first] == BEFORE
    assert [word(line) for line in then] == RUNNING
    async with started(simulate, tmp_path) as virtual:
        await until(virtual, "run it with:")
        table.prepare()
        for line in sorted(first, key=lambda line: word(line) not in ("certificate", "passwd")):
            status, told = await done(table.here(line), tmp_path)
            assert status == 0, (line, told)
            assert word(line) not in ("scan", "init") or "unit 12 answers" in told or "unit: 12" in told
        assert "unit-12:" in (tmp_path / "first.yaml").read_text()
        async with started("site-gateway run sim.yaml", tmp_path):
            async with asyncio.timeout(20):
                while "uplink:" not in (await done("site-gateway status sim.yaml", tmp_path))[1]:
                    pass
            for line in then:
                if word(line) == "walk":
                    await walk(table.here(line), tmp_path)
                    continue
                status, told = await done(table.here(line), tmp_path)
                # No broker runs here, and doctor says so.
                assert status == (1 if word(line) == "doctor" else 0), (line, told)
            for name in ("door.svg", "yard.jpg", "cards.html", "week.html"):
                assert (tmp_path / name).stat().st_size > 1000, name
            for command in {cells[1].strip("`") for cells in TABLE if "site-gateway " in cells[1]}:
                status, told = await done(table.here(command), tmp_path)
                assert status in {0, 1, 2}, (command, told)
                assert "Usage:" not in told
                assert "Traceback" not in told


async def walk(line: str, folder: Path) -> None:
    walking = await asyncio.create_subprocess_exec(
        *line.split(), cwd=folder, env=environment(), stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    await until(walking, "smoke-3-2f")
    walking.send_signal(signal.SIGINT)
    async with asyncio.timeout(20):
        await walking.communicate()


@pytest.fixture(scope="module")
def printed() -> str:
    """Every piece of text in the program, a line each; its parts outside of {…} for one that is put together."""
    pieces = []
    for path in [*sorted((ROOT / "gateway").rglob("*.py")), ROOT / "packaging" / "keep.py"]:
        pieces += [
            node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)
            and isinstance(node.value, str)
        ]  # fmt: skip
    return "\n".join(pieces)


def test_each_symptom_is_in_the_words_that_are_printed(printed: str) -> None:
    assert len(TABLE) >= 25
    assert all(len(cells) == 3 and all(cells) for cells in TABLE), TABLE
    quoted = [words for cells in TABLE for words in re.findall(r"`([^`]+)`", cells[0])]
    assert len(quoted) >= 25
    parts = [part for words in quoted for part in re.split(r"…|: |held by |[()]", words) if part]
    assert [part for part in parts if part.strip() not in printed] == []


def test_a_cure_names_reasons_that_there_are() -> None:
    reasons = {*get_args(PassageReason), *map(str, Reason)}
    for symptom in ("`denied`", "`(BAD)`"):
        (cure,) = [cells[2] for cells in TABLE if cells[0] == symptom]
        named = set(re.findall(r"`([a-z-]+)`", cure))
        assert len(named) >= 5
        assert named <= reasons, named - reasons


def test_the_wiring_is_drawn() -> None:
    drawing = ET.parse(ROOT / "docs" / "rs485.svg").getroot()  # noqa: S314 - our own file
    words = " ".join(drawing.itertext())
    for word in ("A+", "B−", "同一对双绞线", "屏蔽层", "120 Ω", "偏置", "不分叉"):
        assert word in words, word


@pytest.mark.parametrize("page", ["README.md", "README.zh-CN.md", "docs/technician.zh.md", "docs/installation.md"])
def test_each_link_of_a_page_leads_somewhere(page: str) -> None:
    path = ROOT / page
    links = re.findall(r"\]\(([^)#:]+)\)", path.read_text(encoding="utf-8"))
    assert links
    assert [link for link in links if not (path.parent / link).exists()] == []

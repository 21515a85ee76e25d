"""The technician's page: every command of it works at the simulated example site, as it is printed."""

import asyncio
import re
import signal
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from tests.cli.test_readme import done, environment, started, until

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "technician.zh.md").read_text(encoding="utf-8")
INSTALLED = "/etc/site-gateway/site.yaml"
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]
OURS = [line.removeprefix("sudo ") for line in COMMANDS if "site-gateway " in line.replace("start site-gateway", "")]


async def test_every_command_of_the_page_works(tmp_path: Path) -> None:
    simulate = f"site-gateway simulate {ROOT}/config/example.yaml --out sim.yaml"
    async with started(simulate, tmp_path) as virtual:
        await until(virtual, "run it with:")
        site = (tmp_path / "sim.yaml").read_text()
        (serial,) = re.findall(r'fire-loop: .*serial: "([^"]+)"', site)
        (tmp_path / "site.yaml").write_text(site)

        def here(line: str) -> str:
            return line.replace(INSTALLED, "sim.yaml").replace("/dev/rs485-fire", serial)

        scan = next(line for line in OURS if "scan" in line)
        walk = next(line for line in OURS if "walk" in line)
        before = [line for line in OURS if line.startswith(("site-gateway check", "site-gateway plan"))]
        after = [line for line in OURS if line not in (scan, walk, *before)]
        assert len(before) == 3
        assert [line.split()[1] for line in after] == ["status", "alarms", "read", "doctor"]
        for line in before:
            assert (await done(here(line), tmp_path))[0] == 0, line
        status, told = await done(f"{here(scan)} --baud 9600 --parity none", tmp_path)
        assert status == 0, told
        assert "unit: 12" in told
        async with started("site-gateway run sim.yaml", tmp_path):
            async with asyncio.timeout(20):
                while (await done("site-gateway status sim.yaml", tmp_path))[0] != 0:
                    pass
            for line in after:
                status, told = await done(here(line), tmp_path)
                # No broker runs here, and doctor says so.
                assert status == (1 if "doctor" in line else 0), (line, told)
            walking = await asyncio.create_subprocess_exec(
                *here(walk).split(), cwd=tmp_path, env=environment(), stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
            )  # fmt: skip
            await until(walking, "smoke-3-2f")
            walking.send_signal(signal.SIGINT)
            async with asyncio.timeout(20):
                await walking.communicate()


async def test_each_symptom_names_a_command_that_is_there(tmp_path: Path) -> None:
    table = PAGE.partition("## 故障对照表")[2]
    rows = [line for line in table.splitlines() if line.startswith("| ")][1:]
    assert len(rows) >= 15
    assert all(len([cell for cell in row.split("|") if cell.strip()]) == 3 for row in rows)
    named = set(re.findall(r"`site-gateway ([a-z]+)", PAGE)) | {line.split()[1] for line in OURS}
    there = set(re.findall(r"^  ([a-z]+)  ", (await done("site-gateway --help", tmp_path))[1], re.MULTILINE))
    assert named <= there, named - there
    assert named >= {"status", "doctor", "read", "events", "camera", "walk", "scan"}


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

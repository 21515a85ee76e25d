"""The commands of README, each run as it is printed, in the order in which it stands there."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway import __version__
from tests.technician.terminal import terminal

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def commands(text: str) -> list[str]:
    """Those that a page prints, without what it says of them."""
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    return [line.partition("#")[0].strip() for block in blocks for line in block.splitlines()]


COMMANDS = commands(README)
BIN = Path(sys.executable).parent


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (site,) = re.findall(r"```yaml\n(version: 1\n.*?)```", README, re.DOTALL)
    (tmp_path / "site.yaml").write_text(site, encoding="utf-8")
    return tmp_path


def environment() -> dict[str, str]:
    return {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"}


@asynccontextmanager
async def started(line: str, folder: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """A command that runs until it is ended."""
    process = await asyncio.create_subprocess_exec(
        "sh", "-c", f"exec {line}", cwd=folder, env=environment(),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGINT)
        async with asyncio.timeout(20):
            assert await process.wait() == 0


async def done(line: str, folder: Path) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        "bash", "-c", line, cwd=folder, env=environment(), stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    async with asyncio.timeout(60):
        out, _ = await process.communicate()
    return process.returncode or 0, out.decode()


async def until(process: asyncio.subprocess.Process, words: str) -> None:
    assert process.stdout is not None
    async with asyncio.timeout(20):
        while words not in (line := (await process.stdout.readline()).decode()):
            assert line, "it ended"


async def test_every_command_of_the_readme_works(folder: Path) -> None:
    simulate, run = (next(line for line in COMMANDS if line.startswith(f"site-gateway {word}")) for word in
                     ("simulate", "run"))  # fmt: skip
    before = COMMANDS[COMMANDS.index("site-gateway check site.yaml") : COMMANDS.index(simulate)]
    after = COMMANDS[COMMANDS.index(run) + 1 :]
    assert len(before) == 2
    assert len(after) >= 8
    for line in before:
        status, out = await done(line, folder)
        assert status == 0, (line, out)
    async with started(simulate, folder) as virtual:
        await until(virtual, f"run it with: {run.rpartition(' ')[0]}")
        async with started(run, folder) as gateway:
            async with asyncio.timeout(20):
                while (await done("site-gateway status sim.yaml", folder))[0] != 0:
                    assert gateway.returncode is None
            for line in after:
                status, out = await done(line, folder)
                # No broker runs here, and doctor says so.
                assert status == (1 if "doctor" in line else 0), (line, out)


async def test_make_demo_runs_until_ctrl_c() -> None:
    """What the target does, as `make` prints it; the environment is there already."""
    assert "make demo" in COMMANDS
    status, made = await done("make --no-print-directory -n demo", ROOT)
    assert status == 0, made
    setup, demo = made.splitlines()
    assert (setup, demo) == (".ci/setup run", ".venv/bin/site-gateway demo")
    async with terminal(command=("sh", "-c", f"cd {ROOT} && exec {demo}"), rows=200, columns=200) as it:
        await it.shows("火警 FIRE", "Ctrl-C")
        it.process.send_signal(signal.SIGINT)
        assert await it.end() == 0
    assert "What to try next" in it.screen.text


def test_the_chinese_readme_says_as_much() -> None:
    chinese = (ROOT / "README.zh-CN.md").read_text(encoding="utf-8")
    assert commands(chinese) == COMMANDS
    assert re.findall(r"```yaml\n.*?```", chinese, re.DOTALL) == re.findall(r"```yaml\n.*?```", README, re.DOTALL)
    assert f"This version ({__version__})" in README
    assert f"本版本（{__version__}）" in chinese
    for mark in (r"^## ", r"^\| `[a-z/]+`", r"\[[^]]*\]\(docs/safety\.md\)", r"!\[[^]]*\]\(docs/page\.png\)"):
        assert len(re.findall(mark, chinese, re.MULTILINE)) == len(re.findall(mark, README, re.MULTILINE)), mark


def test_make_has_the_targets_that_the_readme_names() -> None:
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    named = [line.split()[1] for line in COMMANDS if line.startswith("make ")]
    assert named
    assert set(named) <= set(targets)

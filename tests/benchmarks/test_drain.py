"""A backlog of 100,000 alarms: drained to each local broker beside bare paho with the same window, and its memory."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.brokers import BROKERS, PROTOCOLS

ROWS = int(os.environ.get("BENCH_ROWS", "100000"))
LEAST = 2000
"""Events a second."""
GROWTH_MIB = 20.0


def child(module: str, *arguments: object) -> dict[str, float]:
    """What a module of ours says at its end."""
    command = [sys.executable, "-m", f"tests.benchmarks.{module}", *map(str, arguments)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=300)
    said: dict[str, float] = json.loads(done.stdout.splitlines()[-1]) if done.stdout else {}
    return said


@pytest.mark.parametrize("name", BROKERS)
async def test_drain(tmp_path: Path, name: str) -> None:
    child("backlog", "fill", tmp_path / "full", ROWS)
    async with BROKERS[name](tmp_path) as port:
        bare = child("bare", "publish", port, ROWS, 800, PROTOCOLS[name])["seconds"]
        ours = child("backlog", "drain", tmp_path / "full", port, PROTOCOLS[name])
        again = child("bare", "publish", port, ROWS, 800, PROTOCOLS[name])["seconds"]
    floor = ROWS / min(bare, again)
    rate = ROWS / ours["seconds"]
    print(  # noqa: T201
        f"\n{name}: {ROWS} rows drained at {rate:.0f}/s, bare paho {floor:.0f}/s: {rate / floor:.2f} of it; "
        f"{ours['resident']:.1f} MiB at most"
    )
    assert rate >= LEAST


async def test_memory_with_a_backlog(tmp_path: Path) -> None:
    child("backlog", "fill", tmp_path / "full", ROWS)
    child("backlog", "fill", tmp_path / "empty", 0)
    with_none = child("backlog", "open", tmp_path / "empty", 1)["resident"]
    with_all = child("backlog", "open", tmp_path / "full", 1)["resident"]
    print(f"\nresident with 0 rows waiting {with_none:.1f} MiB, with {ROWS} {with_all:.1f} MiB")  # noqa: T201
    assert with_all - with_none < GROWTH_MIB

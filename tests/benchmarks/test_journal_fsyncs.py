"""How often the disk is made to write: fsyncs a second, beside SQLite with one commit for each event."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

SECONDS = 8.0
MOST = {1: 2.6, 100: 1.3}
"""fsyncs for each of the floor's. At one event a second its acknowledgement takes a commit of its own."""


def fsyncs(folder: Path, module: str, *arguments: object) -> int:
    """How many a module of ours makes; those at its start and end are few."""
    trace = folder / f"{module}.trace"
    command = [sys.executable, "-m", f"tests.benchmarks.{module}", *map(str, arguments)]
    subprocess.run(["strace", "-f", "-e", "trace=fsync,fdatasync", "-o", str(trace), *command], check=True, timeout=60)
    return len(re.findall(r"f(?:data)?sync\(.*= 0", trace.read_text()))


@pytest.mark.parametrize("rate", [1, 100])
def test_fsyncs(tmp_path: Path, rate: int) -> None:
    floor = fsyncs(tmp_path, "bare", "commit", tmp_path / "bare", rate, SECONDS)
    ours = fsyncs(tmp_path, "steady", tmp_path / "store", rate, SECONDS)
    idle = fsyncs(tmp_path, "steady", tmp_path / "idle", 1, 0.0)
    ours -= idle
    print(  # noqa: T201
        f"\n{rate} events/s: {ours / SECONDS:.1f} fsyncs/s, bare SQLite {floor / SECONDS:.1f}: {ours / floor:.2f}x"
    )
    assert ours / floor <= MOST[rate]

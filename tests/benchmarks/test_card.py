"""What an SD card has to take: bytes written for each alarm, beside an append and sync of the same events."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.benchmarks.backlog import TEXT

SECONDS = 12.0
MOST_KIB = 48.0
"""Of the process, for an alarm that is acknowledged at once, one a second."""
_COUNTED = """
import asyncio, sys
from pathlib import Path
from tests.benchmarks.steady import main

def written():
    return int(next(line for line in open("/proc/self/io") if line.startswith("write_bytes")).split()[1])

before = written()
asyncio.run(main(Path(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])))
print(written() - before)
"""


def ours(folder: Path, rate: float, seconds: float) -> int:
    """Bytes that a journal writes at so many alarms a second, each acknowledged at once; start and end are in it."""
    arguments = [sys.executable, "-c", _COUNTED, str(folder), str(rate), str(seconds)]
    return int(subprocess.run(arguments, check=True, timeout=90, stdout=subprocess.PIPE).stdout)


def floor(path: Path, count: int) -> int:
    """Bytes that the same events take, appended and synced one by one."""
    before = _written()
    with path.open("ab", buffering=0) as file:
        for _ in range(count):
            file.write(TEXT.encode())
            os.fdatasync(file.fileno())
    return _written() - before


def _written() -> int:
    return int(Path("/proc/self/io").read_text().split("write_bytes:")[1].split()[0])


@pytest.mark.parametrize("rate", [1.0, 10.0])
def test_an_alarm(tmp_path: Path, rate: float) -> None:
    idle = ours(tmp_path / "idle", 1.0, 0.0)
    count = int(SECONDS * rate)
    begun = time.monotonic()
    kib = (ours(tmp_path / "store", rate, SECONDS) - idle) / count / 1024
    bare = floor(tmp_path / "bare", count) / count / 1024
    print(  # noqa: T201
        f"\n{rate:.0f} alarms/s: {kib:.1f} KiB written for each by the process, an append and sync {bare:.1f} KiB; "
        f"start and end {idle / 1024:.0f} KiB; took {time.monotonic() - begun:.0f} s"
    )
    assert kib < MOST_KIB

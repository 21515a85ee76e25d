"""What a process takes, as the kernel counts it."""

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

PAGE = os.sysconf("SC_PAGE_SIZE")


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far, with all its threads: the kernel counts nanoseconds."""
    return time.clock_gettime(~pid << 3 | 2)  # clock_getcpuclockid(3)


def resident_mib(pid: int) -> float:
    """Resident memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE / (1 << 20)


async def cpu_share(pid: int, seconds: float) -> float:
    """Share of one core that a process takes over the next seconds."""
    before = cpu_seconds(pid)
    await asyncio.sleep(seconds)
    return (cpu_seconds(pid) - before) / seconds


@contextlib.asynccontextmanager
async def program(module: str, *arguments: object, reads: bool = False) -> AsyncIterator[tuple[int, str]]:
    """A module of ours as a process: (pid, the first line it prints if `reads`)."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, *map(str, arguments), stdin=pipe, stdout=pipe if reads else None
    )
    try:
        line = ""
        if reads:
            assert process.stdout is not None
            line = (await process.stdout.readline()).decode().strip()
        yield process.pid, line
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def median(values: list[float]) -> float:
    """The middle one."""
    return sorted(values)[len(values) // 2]


def quantile(values: list[float], share: float) -> float:
    """The value below which this share of the values lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]

"""What one life of the gateway writes: `python -m tests.benchmarks.card FOLDER WHAT PACE COUNT BROKER`.

`WHAT`: `telemetry`, `alarm`, `rest` (nothing happens, for so many seconds), or `bare`, which appends and syncs events
of the same size without a gateway. `PACE`: `1`: one a second; `alone`: each is on the card before the next comes, as
when minutes lie between them. `BROKER`: `there` or `away`. Says, as JSON, the bytes that the process wrote and those
that reached the block device from its start to its end, and how many of them after the first quiet seconds.

The store is on a file system of its own (ext4 in a file) where that may be mounted; else the device is not measured.
"""

import asyncio
import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.benchmarks.backlog import TEXT
from tests.reliability.compound import World, world

QUIET_S = 4.0
"""Longer than anything of the journal waits for company."""
BATTERY, LEVEL = 1, 2
_DISK_BYTES = 96 << 20
_EVENT = TEXT.encode() + b"y" * 300


@contextmanager
def card(folder: Path) -> Iterator[Path | None]:
    """A file system of its own at this folder; gives the statistics of its device, None where it may not be made."""
    folder.mkdir(parents=True)
    image = folder.with_suffix(".img")
    with image.open("wb") as file:
        file.truncate(_DISK_BYTES)
    subprocess.run(["mkfs.ext4", "-q", "-F", "-b", "4096", image], check=True)
    if subprocess.run(["mount", "-o", "loop", image, folder], check=False, capture_output=True).returncode:
        yield None
        return
    try:
        found = subprocess.run(["losetup", "-j", image], check=True, capture_output=True, text=True).stdout
        yield Path("/sys/block") / Path(found.partition(":")[0]).name / "stat"
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def device_bytes(folder: Path, stat: Path | None) -> int:
    """What has reached the device, with all that waited for it."""
    subprocess.run(["sync", "-f", folder], check=True)
    return 0 if stat is None else int(stat.read_text().split()[6]) * 512


def process_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/io").read_text().split("\nwrite_bytes:")[1].split()[0])


async def change(it: World, what: str, pace: str, count: int) -> None:
    """So many alarms or readings, at their pace."""
    loop = asyncio.get_running_loop()
    due = loop.time()
    for number in range(count):
        if what == "rest":
            pass
        elif what == "alarm":
            it.served.set(BATTERY, (60, 0)[number % 2])
        else:
            it.served.set(LEVEL, 10 + number % 2)
        due += 1.0 if pace == "1" else QUIET_S
        await asyncio.sleep(max(0.0, due - loop.time()))
        if pace == "alone":
            await asyncio.to_thread(device_bytes, it.store, None)


async def life(folder: Path, stat: Path | None, what: str, pace: str, count: int, broker: str) -> dict[str, int]:
    """One life: start, changes, end."""
    async with world(folder) as it:
        device, process = device_bytes(it.store, stat), children_bytes()
        async with it.running() as gateway:
            await it.flip(2)
            if broker == "away":
                await it.broker.stop()
            await asyncio.sleep(QUIET_S)
            quiet = device_bytes(it.store, stat), process_bytes(gateway.pid)
            await change(it, what, pace, count)
            await asyncio.sleep(QUIET_S)
            meanwhile = device_bytes(it.store, stat) - quiet[0], process_bytes(gateway.pid) - quiet[1]
            await gateway.stop()
        whole = device_bytes(it.store, stat) - device, children_bytes() - process
    return dict(zip(("device", "process", "device_meanwhile", "process_meanwhile"), (*whole, *meanwhile), strict=True))


def children_bytes() -> int:
    """Written by the processes of ours that have ended."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_oublock * 512


def bare(folder: Path, stat: Path | None, count: int) -> dict[str, int]:
    """Append and sync, event by event."""
    device, process = device_bytes(folder, stat), process_bytes(os.getpid())
    with (folder / "log").open("ab", buffering=0) as file:
        for _ in range(count):
            file.write(_EVENT)
            os.fdatasync(file.fileno())
    return {"device": device_bytes(folder, stat) - device, "process": process_bytes(os.getpid()) - process}


def main() -> None:
    folder, what, pace, count, broker = Path(sys.argv[1]), *sys.argv[2:6]
    with card(folder / "store") as stat:
        said = (
            bare(folder / "store", stat, int(count))
            if what == "bare"
            else asyncio.run(life(folder, stat, what, pace, int(count), broker))
        )
    print(json.dumps({**said, "known": stat is not None}))  # noqa: T201 - what it is for


if __name__ == "__main__":
    main()

"""What one life of the gateway writes: `python -m tests.benchmarks.card FOLDER WHAT PACE COUNT BROKER`.

`WHAT`: `telemetry`, `alarm`, `rest` (nothing changes at 40 devices, for so many seconds), or `bare`, which appends and
syncs events of the same size without a gateway. `PACE`: `1`: one a second; `alone`: each is on the card before the next
comes, as when minutes lie between them; of `rest`: seconds between two full pictures of a device. `BROKER`: `there` or
`away`. Says, as JSON, the bytes that the process wrote and those that reached the block device from its start to its
end, how many of them after the first quiet seconds, and how many at the end.

The store is on a file system of its own (ext4 in a file) where that may be mounted; else the device is not measured.
Its tables are made at once: else the kernel would go on making them, and that would count. What need not outlive the
machine is kept off it, as the service does (`RuntimeDirectory`).
"""

import asyncio
import json
import os
import resource
import subprocess
import sys
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.benchmarks.backlog import TEXT
from tests.benchmarks.registers import listen, still
from tests.end_to_end.process import GatewayProcess, running
from tests.mosquitto import mosquitto
from tests.reliability.compound import World, world

QUIET_S = 4.0
"""Longer than an event of the journal waits for company."""
TIDIED_S = 95.0
"""The tidying of the first full minute is on the card."""
DEVICES = 40
BATTERY, LEVEL = 1, 2
_DISK_BYTES = 96 << 20
_EVENT = TEXT.encode() + b"y" * 300
_MAKE = ("mkfs.ext4", "-q", "-F", "-b", "4096", "-E", "lazy_itable_init=0,lazy_journal_init=0")
_SITE = """\
version: 1
site: {{id: xima-xincun}}
gateway: xmxc-01
uplink: {{url: "mqtt://127.0.0.1:{broker}", telemetry: {{every: {every}s}}}}
lines: {{loop: {{driver: modbus, tcp: "127.0.0.1:{modbus}"}}}}
devices:
{devices}
store: {{path: {store}}}
"""
_DEVICE = """\
  panel-{n}:
    line: loop
    unit: {n}
    points:
      smoke: {{at: holding 0, every: 1s, alarms: {{fire: {{kind: fire, equals: 1}}}}}}
      battery: {{at: holding 1, every: 1s, alarms: {{low: {{kind: fault, below: 1}}}}}}
      level: {{at: holding 2, every: 1s}}
"""


@contextmanager
def card(folder: Path) -> Iterator[Path | None]:
    """A file system of its own at this folder; gives the statistics of its device, None where it may not be made."""
    folder.mkdir(parents=True)
    image = folder.with_suffix(".img")
    with image.open("wb") as file:
        file.truncate(_DISK_BYTES)
    subprocess.run([*_MAKE, image], check=True)
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
        if what == "alarm":
            it.served.set(BATTERY, (60, 0)[number % 2])
        else:
            it.served.set(LEVEL, 10 + number % 2)
        due += 1.0 if pace == "1" else QUIET_S
        await asyncio.sleep(max(0.0, due - loop.time()))
        if pace == "alone":
            await asyncio.to_thread(device_bytes, it.store, None)


class Written:
    """Bytes at the device and by the gateway, since the last look."""

    def __init__(self, folder: Path, stat: Path | None) -> None:
        self._folder = folder
        self._stat = stat
        self._before = device_bytes(folder, stat), 0

    def look(self, process: int) -> tuple[int, int]:
        """`process`: bytes that it has written in all."""
        before, self._before = self._before, (device_bytes(self._folder, self._stat), process)
        return self._before[0] - before[0], process - before[1]


async def measured(
    written: Written, gateway: GatewayProcess, middle: Coroutine[object, object, None]
) -> dict[str, int]:
    """The bytes of a life: before it is quiet, in the `middle`, at its end."""
    begun = children_bytes()
    parts = [written.look(process_bytes(gateway.pid))]
    await middle
    parts.append(written.look(process_bytes(gateway.pid)))
    await gateway.stop()
    parts.append(written.look(children_bytes() - begun))
    said = {"": [sum(part[at] for part in parts) for at in (0, 1)], "_meanwhile": parts[1], "_end": parts[2]}
    return {f"{name}{tail}": part[at] for tail, part in said.items() for at, name in enumerate(("device", "process"))}


async def life(folder: Path, stat: Path | None, what: str, pace: str, count: int, broker: str) -> dict[str, int]:
    """One life: start, changes, end."""
    async with world(folder) as it:
        written = Written(it.store, stat)
        async with it.running() as gateway:
            await it.flip(2)
            if broker == "away":
                await it.broker.stop()
            await asyncio.sleep(QUIET_S)

            async def changes() -> None:
                await change(it, what, pace, count)
                await asyncio.sleep(QUIET_S)

            return await measured(written, gateway, changes())


async def rest(folder: Path, stat: Path | None, every: int, seconds: int, broker: str) -> dict[str, int]:
    """One life in which nothing changes: a full picture of each device after so many seconds, and the end."""
    site, store = folder / "site.yaml", folder / "store"
    server = await listen(still)
    async with server, mosquitto(folder) as there:
        devices = "".join(_DEVICE.format(n=n) for n in range(1, DEVICES + 1))
        modbus = server.sockets[0].getsockname()[1]
        site.write_text(_SITE.format(broker=there.port, every=every, modbus=modbus, devices=devices, store=store))
        written = Written(store, stat)
        async with running(site) as gateway:
            if broker == "away":
                await there.stop()
            await asyncio.sleep(TIDIED_S)
            return await measured(written, gateway, asyncio.sleep(seconds))


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
    with card(folder / "store") as stat, TemporaryDirectory(dir="/dev/shm") as run:
        os.environ["RUNTIME_DIRECTORY"] = run
        if what == "bare":
            said = bare(folder / "store", stat, int(count))
        elif what == "rest":
            said = asyncio.run(rest(folder, stat, int(pace), int(count), broker))
        else:
            said = asyncio.run(life(folder, stat, what, pace, int(count), broker))
    print(json.dumps({**said, "known": stat is not None}))  # noqa: T201 - what it is for


if __name__ == "__main__":
    main()

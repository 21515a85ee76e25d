"""Everything at once for an hour: floods, chatter, kills, cuts, a full and a vanished store, and now and then a fire.

`EVERYTHING_MINUTES` makes it shorter or longer.
"""

import asyncio
import os
import random
import resource
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from simulators.cloud import Cloud
from simulators.proxy import Proxy
from tests.end_to_end.process import GatewayProcess
from tests.mosquitto import Mosquitto, mosquitto
from tests.reliability.floods import cars, publishing
from tests.reliability.loaded import Loaded, most_resident
from tests.reliability.served import registers

MINUTES = float(os.environ.get("EVERYTHING_MINUTES", "60"))
SITE = "xima-xincun/xmxc-01"
COMMANDS = f"site-gateway/v1/{SITE}/command"
UP = ("alarm", "alarm/active", "access", "inspection", "audit", "telemetry", "picture", "health", "status", "reply")
"""All but the commands: the flood goes there, and the client of this test's cloud takes quadratic time over it."""
WITHIN = 1.0
"""Seconds from the answer that confirms a fire to the hold on the wire."""
MOST = 120 << 20
KILL_EVERY_S, CUT_EVERY_S, DISK_EVERY_S = 35.0, 18.0, 28.0
ZONES = max(4, min(50, int(MINUTES * 4)))
"""A zone burns once. One line carries so many detectors in the time that `check` allows."""
FIRE_EVERY_S = MINUTES * 60 / ZONES


@dataclass
class Everything:
    """The world, and what was seen of it."""

    site: Loaded
    proxy: Proxy
    broker: Mosquitto
    cloud: Cloud
    gateway: GatewayProcess
    store: Path
    chance: random.Random
    late: list[float] = field(default_factory=list)
    most: list[int] = field(default_factory=list)
    done: dict[str, int] = field(default_factory=dict)

    async def begin(self) -> None:
        """One more life."""
        await self.gateway.start(60.0)
        self.site.begun = time.time()

    async def end(self) -> None:
        """As `kill -9` does."""
        self.most.append(most_resident(self.gateway))
        await self.gateway.kill()

    def count(self, what: str) -> None:
        self.done[what] = self.done.get(what, 0) + 1

    async def fires(self) -> None:
        """In one zone after the other."""
        for zone in range(self.site.zones):
            await asyncio.sleep(FIRE_EVERY_S * self.chance.uniform(0.5, 1.5))
            self.late.append(await self.site.fire(zone, 60.0))

    async def kills(self) -> None:
        while True:
            await asyncio.sleep(KILL_EVERY_S * self.chance.uniform(0.8, 1.5))
            assert self.gateway.running, "it ended by itself"
            await self.end()
            self.count("killed")
            await self.begin()

    async def cuts(self) -> None:
        while True:
            await asyncio.sleep(CUT_EVERY_S * self.chance.uniform(0.5, 1.5))
            how = self.chance.choice(("cut", "black_hole", "refuse"))
            self.count(how)
            getattr(self.proxy, how)()
            await asyncio.sleep(self.chance.uniform(1.0, 12.0))
            self.proxy.restore()

    async def disks(self) -> None:
        while True:
            await asyncio.sleep(DISK_EVERY_S * self.chance.uniform(0.5, 1.5))
            if self.chance.random() < 0.5:
                self.count("store deleted")
                for path in self.store.glob("journal.db*"):
                    path.unlink(missing_ok=True)
                continue
            self.count("disk full")
            with suppress(ProcessLookupError, ValueError):
                size = max((path.stat().st_size for path in self.store.glob("journal.db*")), default=1 << 16)
                pid = self.gateway.pid
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
                await asyncio.sleep(self.chance.uniform(2.0, 10.0))
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    async def run(self) -> None:
        """All of it, until every zone has burnt."""
        async with AsyncExitStack() as stack:
            for flood in (
                self.site.chatter(),
                publishing(self.broker.port, COMMANDS, 4),
                cars(self.site.camera_port, self.site.camera_path(), 20),
            ):
                await stack.enter_async_context(flood)
            group = await stack.enter_async_context(asyncio.TaskGroup())
            harms = [group.create_task(harm(), name=harm.__name__) for harm in (self.kills, self.cuts, self.disks)]
            await self.fires()
            for task in harms:
                task.cancel()

    async def settle(self) -> None:
        """No harm any more: all that waits arrives."""
        self.proxy.restore()
        if self.gateway.running:
            await self.end()
        await self.begin()
        burnt = {f"smoke-{zone}-{which}/smoke/fire" for zone in range(self.site.zones) for which in (0, 1)}
        await self.cloud.until(lambda seen: burnt <= {str(one["subject"]) for one in seen.of("alarm.raised")}, 120.0)
        await self.cloud.until(lambda seen: waiting(seen) == 0, 180.0)
        await self.end()


def waiting(cloud: Cloud) -> int:
    """What waits in the gateway by its last health, but for telemetry, which never stops."""
    health = cloud.latest.get("health")
    if health is None:
        return -1
    return sum(count for stream, count in health["data"]["journal"]["waiting"].items() if stream != "telemetry")


def named(cloud: Cloud) -> Iterator[tuple[str, str, int, int]]:
    """Journal, stream, first and last of every gap that was told."""
    for event in cloud.of("stream.shed"):
        data: dict[str, Any] = event["data"]
        yield event["journal"], data["stream"], data["first"], data["last"]
    for event in cloud.of("store.rolled-back"):
        for gap in event["data"]["missing"]:
            yield event["data"]["journal"], gap["stream"], gap["first"], gap["last"]


def untold(cloud: Cloud) -> dict[tuple[str, str], list[int]]:
    """Numbers that never came and that nothing names, by journal and stream."""
    told = [*named(cloud)]
    missing = {
        (journal, stream): [
            number
            for number in numbers
            if not any((journal, stream) == gap[:2] and gap[2] <= number <= gap[3] for gap in told)
        ]
        for (journal, stream), numbers in cloud.gaps().items()
    }
    return {key: numbers for key, numbers in missing.items() if numbers}


@asynccontextmanager
async def everything(folder: Path, zones: int, seed: int) -> AsyncIterator[Everything]:
    """Wire, broker, a link that can be cut, cloud; no gateway runs yet."""
    async with AsyncExitStack() as stack:
        kept = {"persistence": "true", "persistence_location": f"{folder}/", "max_queued_messages": 100_000}
        broker = await stack.enter_async_context(mosquitto(folder, **kept))
        proxy = await stack.enter_async_context(Proxy(broker.port))
        wire = await stack.enter_async_context(registers())
        cloud = Cloud(broker.port, topics=tuple(f"{SITE}/{topic}" for topic in UP))
        group = await stack.enter_async_context(asyncio.TaskGroup())
        listening = group.create_task(cloud.run(), name="cloud")
        await cloud.until(lambda seen: seen.connections > 0)
        site = Loaded(folder, wire, zones, kind="fault", every="500ms", size="16MiB", cameras=1)
        gateway = GatewayProcess(site.write(proxy.port), folder / "gateway.log")
        chance = random.Random(seed)  # noqa: S311 - a repeatable mess
        it = Everything(site, proxy, broker, cloud, gateway, folder / "store", chance)
        try:
            yield it
        except BaseException:  # a failed assertion and a time-out alike: shown, then raised on
            sys.stderr.write("".join(gateway.log.read_text(errors="replace").splitlines(keepends=True)[-60:]))
            raise
        finally:
            if gateway.running:
                await gateway.kill()
            listening.cancel()


@pytest.mark.soak
async def test_an_hour_of_everything_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with everything(tmp_path, ZONES, seed=7) as it:
        await it.begin()
        begun = time.monotonic()
        await it.run()
        await it.settle()
        ids: dict[tuple[str, str, str], set[str]] = {}
        for event in it.cloud.events:
            ids.setdefault((event["journal"], event["stream"], event["sequence"]), set()).add(event["id"])
        twice = {key: of for key, of in ids.items() if len(of) > 1}
        with capsys.disabled():
            sys.stdout.write(
                f"\n{(time.monotonic() - begun) / 60:.1f} min, {it.done}; {len(it.late)} fires, the slowest hold "
                f"{max(it.late) * 1000:.0f} ms; resident at most {max(it.most) / (1 << 20):.0f} MiB, by life "
                f"{[one >> 20 for one in it.most]}; {len(it.cloud.events)} events, {it.cloud.repeats} repeats, "
                f"{len(it.cloud.of('access.denied'))} cars denied\n"
            )
        assert max(it.late) < WITHIN
        assert not twice
        assert untold(it.cloud) == {}
        assert max(it.most) < MOST
        assert it.cloud.of("access"), "the cameras were heard"

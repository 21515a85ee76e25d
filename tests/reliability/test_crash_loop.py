"""kill -9 at random instants while alarms change and the broker comes and goes.

Held against each other: what was served on the wire, what the journal kept, what the cloud got.
"""

import asyncio
import random
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import pytest

from gateway.cloud.events import wall_of
from gateway.model import Stream
from simulators.cloud import Cloud, Event
from tests.end_to_end.process import GatewayProcess
from tests.mosquitto import Mosquitto, mosquitto
from tests.reliability import stored
from tests.reliability.served import Registers, Served, registers

POINTS = 10
FLIPS_PER_SECOND = 20
SETTLED = 1.5
"""Seconds from a served answer to its commit, with room for two busy cores and a process that is just starting …"""
ALIVE = 10
"""… if it has asked so often meanwhile: on a machine that stood still nothing was accepted."""
EARLY, LATE = 0.01, 2.0
"""Seconds between the writing of an answer and the time of its event (which two busy cores can stretch)."""

SITE = """\
version: 1
site: {{id: xima-xincun}}
gateway: xmxc-01
uplink: {{url: "mqtt://127.0.0.1:{broker}"}}
lines: {{loop: {{driver: modbus, tcp: "127.0.0.1:{modbus}"}}}}
devices:
  tank:
    line: loop
    points: {{{points}}}
store: {{path: {store}, max_size: 64MiB, alarm_reserve: 1MiB}}
"""
POINT = "p{0}: {{at: holding {0}, every: 50ms, alarms: {{water: {{kind: gas, latch: false, above: 0.5}}}}}}"


@dataclass
class World:
    """The wire, the broker, the cloud, and when the gateway was killed."""

    served: Registers
    broker: Mosquitto
    cloud: Cloud
    chance: random.Random
    kills: list[float] = field(default_factory=list)
    committed: set[str] = field(default_factory=set)
    """Ids of the alarm events that the journal held right after one of the kills."""
    busy: bool = True

    async def flip(self) -> None:
        """Alarms come and go, 20 a second."""
        while self.busy:
            address = self.chance.randrange(POINTS)
            self.served.set(address, 1 - self.served.values.get(address, 0))
            await asyncio.sleep(self.chance.uniform(0.5, 1.5) / FLIPS_PER_SECOND)

    async def come_and_go(self) -> None:
        """The broker is down about a third of the time."""
        while self.busy:
            await asyncio.sleep(self.chance.uniform(0.5, 4.0))
            await self.broker.stop()
            await asyncio.sleep(self.chance.uniform(0.1, 2.0))
            await self.broker.start()

    async def kill(self, site: Path, store: Path, kills: int, longest: float) -> None:
        """One life after the other, each ended at a random instant, some before they are ready."""
        for number in range(kills):
            gateway = GatewayProcess(site, site.with_suffix(".log"))
            if self.chance.random() < 0.2:
                async with asyncio.TaskGroup() as group:
                    starting = group.create_task(ready(gateway), name="start")
                    await asyncio.sleep(self.chance.uniform(0.3, 1.0))
                    await gateway.kill()
                    self.kills.append(time.time())
                    starting.cancel()
            else:
                await gateway.start()
                await asyncio.sleep(self.chance.uniform(0.0, 1.5 if number % 3 else longest))
                self.kills.append(time.time())
                await gateway.kill()
                self.committed |= {event["id"] for event in stored.events(store, Stream.ALARM)}


async def ready(gateway: GatewayProcess) -> None:
    """Start; a process that is killed before it is ready never says so."""
    await gateway.start()


async def crash_loop(folder: Path, kills: int, seed: int, longest: float) -> tuple[World, list[Event]]:
    """So many kills, then one life that ends well; what the journal kept of alarms."""
    async with AsyncExitStack() as stack:
        kept = {"persistence": "true", "persistence_location": f"{folder}/", "max_queued_messages": 100_000}
        broker = await stack.enter_async_context(mosquitto(folder, **kept))
        served = await stack.enter_async_context(registers())
        group = await stack.enter_async_context(asyncio.TaskGroup())
        cloud = Cloud(broker.port)
        listening = group.create_task(cloud.run(), name="cloud")
        await cloud.until(lambda seen: seen.connections > 0)
        world = World(served, broker, cloud, random.Random(seed))  # noqa: S311 - repeatable
        points = ", ".join(POINT.format(number) for number in range(POINTS))
        site, store = folder / "site.yaml", folder / "store"
        site.write_text(SITE.format(broker=broker.port, modbus=served.port, points=points, store=store))
        flipping = group.create_task(world.flip(), name="flips")
        coming = group.create_task(world.come_and_go(), name="broker")
        await world.kill(site, store, kills, longest)
        world.busy = False
        await asyncio.wait((flipping, coming))

        last = GatewayProcess(site, site.with_suffix(".log"))
        await last.start()
        begun = time.time()
        await until(lambda: time.time() - begun > 2 * SETTLED and told_all(store, cloud), 60.0)
        status, seconds = await last.stop()
        assert (status, seconds < 2.0) == (0, True)
        assert stored.check(store) == "ok"
        alarms = mine(stored.events(store, Stream.ALARM))
        listening.cancel()
    return world, alarms


def told_all(store: Path, cloud: Cloud) -> bool:
    kept = {event["id"] for event in stored.events(store, Stream.ALARM)}
    return kept <= {event["id"] for event in cloud.events}


async def until(reached: Callable[[], bool], seconds: float) -> None:
    async with asyncio.timeout(seconds):
        while not reached():
            await asyncio.sleep(0.1)


def mine(events: list[Event]) -> list[Event]:
    return [event for event in events if event["subject"].startswith("tank/p")]


def judge(world: World, kept: list[Event]) -> str:
    """Everything that must hold; the figures of the run."""
    cloud = world.cloud
    told = mine(cloud.of("alarm"))
    # The cloud has exactly what the journal kept, with the same ids and content, in the same order.
    assert told == kept
    assert world.committed <= {event["id"] for event in cloud.of("alarm")}
    numbers = [int(event["sequence"]) for event in cloud.of("alarm")]
    assert numbers == list(range(1, len(numbers) + 1))
    assert {stream for _, stream in cloud.gaps()} <= {"telemetry"}
    must = 0
    for address in range(POINTS):
        events = [event for event in told if event["subject"] == f"tank/p{address}/water"]
        one_occurrence_one_id(events)
        log = [line for line in world.served.log if line.address == address]
        try:
            must += nothing_lost(log, matched(events, log), world)
        except AssertionError as error:
            error.add_note(story(events, log, world.kills))
            raise
        # In the end the cloud believes what the wire says.
        standing = bool(events) and events[-1]["type"] == "sitegateway.alarm.raised.v1"
        assert standing == bool(world.served.values.get(address, 0))
    active = [alarm["point"] for alarm in cloud.latest["alarm/active"]["data"]["alarms"] if alarm["device"] == "tank"]
    assert sorted(active) == sorted(f"p{address}" for address, value in world.served.values.items() if value)
    lives = len(cloud.of("gateway.started"))
    return (
        f"{len(world.kills)} kills, {lives} lives seen, {len(told)} transitions told, {must} had to be, "
        f"{cloud.repeats} repeats, lost 0, invented 0"
    )


def one_occurrence_one_id(events: list[Event]) -> None:
    """Raised and cleared in turn, each pair under its own id."""
    kinds = [event["type"].split(".")[2] for event in events]
    assert kinds == [("raised", "cleared")[number % 2] for number in range(len(kinds))]
    pairs = [events[number : number + 2] for number in range(0, len(events), 2)]
    assert all(len({event["data"]["alarm"] for event in pair}) == 1 for pair in pairs)
    assert len({pair[0]["data"]["alarm"] for pair in pairs}) == len(pairs)


def matched(events: list[Event], log: list[Served]) -> set[int]:
    """Each event's own answer on the wire, in the same order: same value, not later, not long before.

    From the last event back, because the answer that an event tells of is the latest one before it.
    """
    used: set[int] = set()
    bound = len(log)
    for event in reversed(events):
        at, value = time_of(event), int(event["type"].endswith("raised.v1"))
        behind = [n for n in range(bound) if log[n].value == value and -EARLY <= at - log[n].at <= LATE]
        assert behind, f"{event['type']} at {at}, invented: {[line for line in log if abs(line.at - at) < LATE]}"
        bound = behind[-1]
        used.add(bound)
    return used


def story(events: list[Event], log: list[Served], kills: list[float]) -> str:
    """All that happened to one register."""
    lines = [(line.at, f"served {line.value} to connection {line.connection}") for line in log]
    lines += [(time_of(event), f"{event['type']} {event['id']}") for event in events]
    lines += [(kill, "KILL") for kill in kills]
    return "\n".join(f"{at:.3f} {what}" for at, what in sorted(lines))


def nothing_lost(log: list[Served], told: set[int], world: World) -> int:
    """A change that one connection saw, and that no kill followed at once, is told. How many there were."""
    count = 0
    for number, (before, line) in enumerate(pairwise(log), 1):
        if before.value == line.value or before.connection != line.connection:
            continue
        if any(line.at - 0.5 <= kill <= line.at + SETTLED for kill in world.kills):
            continue
        if sum(line.at < asked <= line.at + SETTLED for asked in world.served.asked[line.connection]) < ALIVE:
            continue
        assert number in told, f"{line} never arrived"
        count += 1
    return count


def time_of(event: Event) -> float:
    return wall_of(event["time"])


@pytest.mark.timeout(180)  # 20 s on a machine with nothing else to do
async def test_killed_at_random_instants(tmp_path: Path) -> None:
    world, kept = await crash_loop(tmp_path, kills=12, seed=1, longest=2.5)
    judge(world, kept)
    assert len(kept) > 50


@pytest.mark.soak
@pytest.mark.parametrize("seed", [2, 3, 4, 5])
async def test_killed_two_hundred_times(tmp_path: Path, seed: int) -> None:
    world, kept = await crash_loop(tmp_path, kills=50, seed=seed, longest=4.5)
    print(f"\nseed {seed}:", judge(world, kept))  # noqa: T201 - the figures of the run

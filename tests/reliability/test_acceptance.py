"""Acceptance: an outage loses and invents nothing; a store with 100,000 events does not hold up the start."""

import asyncio
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pytest

from gateway.cloud.journal.journal import Journal
from gateway.model import Emit, Stream
from simulators.broker import LocalBroker
from simulators.packets import PublishPacket
from simulators.proxy import Proxy
from tests.cloud.journaling import Hands
from tests.reliability.compound import world
from tests.reliability.test_outage import Child

MEMORY = 20 << 20
AN_HOUR = 72_000
"""Events: 20 a second."""


async def life(folder: Path, port: int, first: int, count: int) -> tuple[asyncio.subprocess.Process, Child]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.reliability.producing", folder, str(port), str(first), str(count)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    return process, Child(process)


async def rest_of(process: asyncio.subprocess.Process, child: Child) -> None:
    """What a process that was killed had said before; its last line may be torn."""
    assert process.stdout is not None
    async for line in process.stdout:
        if line.endswith(b"\n"):
            child.said.append(orjson.loads(line))
    await process.wait()


async def outage(folder: Path, count: int, how: str) -> str:
    """A third while the link is well, two thirds without it, a kill in the middle of those; the figures."""
    third = count // 3 // 20 * 20
    seen: list[tuple[float, PublishPacket]] = []

    def note(message: PublishPacket) -> None:
        seen.append((time.monotonic(), message))

    async with LocalBroker() as broker, Proxy(broker.port) as proxy:
        broker.faults.verdict = note
        process, child = await life(folder, proxy.port, 0, 10 * count)
        await child.until("accepted", 60.0, last=third - 1)
        if how == "reset":
            proxy.cut()
            proxy.refuse()
        else:
            proxy.black_hole()
        await child.until("accepted", 120.0, last=2 * third - 1)
        process.kill()
        await rest_of(process, child)
        said = child.said
        first = max(one["last"] for one in said if one["event"] == "accepted") + 1 + 20  # one step may be in between
        process, child = await life(folder, proxy.port, first, third)
        produced = await child.until("produced", 120.0)
        repaired = time.monotonic()
        proxy.restore()
        assert process.stdin is not None
        process.stdin.write(b"go on\n")
        drained = await child.until("drained", 120.0)
        await process.wait()
    said += child.said
    accepted = {
        n: one["time"] for one in said if one["event"] == "accepted" for n in range(one["first"], one["last"] + 1)
    }
    repeats = judge([message for _, message in seen], accepted)
    alarm = next(at for at, message in seen if at > repaired and is_live(message)) - repaired
    assert alarm < 2.0
    assert max(produced["grown"], drained["grown"]) < MEMORY
    return (
        f"{how}: {len(accepted)} accepted, all told, {repeats} repeats; "
        f"the live alarm {alarm * 1e3:.0f} ms after the repair; "
        f"grown {max(produced['grown'], drained['grown']) / 2**20:.1f} MiB"
    )


def judge(messages: list[PublishPacket], accepted: dict[int, str]) -> int:
    """Each accepted record is there with its own time, in order, and repeats are those that were in flight."""
    told: dict[int, dict[str, Any]] = {}
    repeats: Counter[int] = Counter()
    for message in messages:
        if not message.topic.endswith("/access"):
            continue
        event = orjson.loads(message.payload)
        number = event["data"]["n"]
        assert told.setdefault(number, event) == event, "a repeat with another content"
        repeats[number] += 1
    assert set(accepted) <= set(told), "lost"
    assert all(told[number]["time"] == at for number, at in accepted.items()), "the time is that of the sample"
    assert [int(event["sequence"]) for event in told.values()] == list(range(1, len(told) + 1)), "in order, no gap"
    # What was in flight when the link was lost, and what the kill left unwritten of the acknowledgements.
    extra = sum(times - 1 for times in repeats.values())
    assert all(times <= 3 for times in repeats.values())
    return extra


def is_live(message: PublishPacket) -> bool:
    return message.topic.endswith(("/alarm/active", "/alarm")) and b'"live"' in message.payload


@pytest.mark.parametrize("how", ["reset", "silent"])
async def test_2_an_outage_with_a_kill_loses_and_invents_nothing(tmp_path: Path, how: str) -> None:
    await outage(tmp_path, 3000, how)


@pytest.mark.soak
@pytest.mark.parametrize("how", ["reset", "silent"])
async def test_2_an_outage_of_an_hour_with_a_kill(tmp_path: Path, how: str) -> None:
    print(f"\n{await outage(tmp_path, AN_HOUR, how)}")  # noqa: T201 - the figures of the run


async def test_3_a_start_with_100_000_events_waiting(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        hands = Hands()
        source = "/sites/xima-xincun/gateways/xmxc-01"
        async with Journal(it.store, source=source, now=hands.now, alarm_reserve=0) as journal:
            for first in range(0, 100_000, 2000):
                done = asyncio.Event()
                events = [
                    Emit(Stream.AUDIT, "command.refused", None, {"n": first + n}, f"id-{first + n}", hands.now())
                    for n in range(2000)
                ]
                journal.append(events, then=done.set)
                await done.wait()
        await it.broker.stop()
        begun = time.monotonic()
        async with it.running() as gateway:
            async with asyncio.timeout(10.0):
                while not it.served.requests:
                    await asyncio.sleep(0.005)
            first_poll = time.monotonic() - begun
            await it.broker.start()
            assert await it.fire(0, "panel/smoke/fire") < 5.0
            assert (await gateway.stop())[0] == 0
        assert first_poll < 10.0

"""An hour without the broker, or with a wrong ACL: memory flat, the live alarm first, the backlog in order."""

import asyncio
import sys
import time
from pathlib import Path
from typing import Any

import orjson
import pytest

from gateway.model import Stream
from simulators.broker import LocalBroker
from simulators.broker_faults import by_topic
from simulators.packets import PublishPacket
from tests.reliability.backlog import A_SECOND, ROOT

MEMORY = 20 << 20
AT_ONCE = 1.0
REFUSED = by_topic({f"{ROOT}/alarm": 0x87})


class Child:
    """The process with journal and uplink, and what it said."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.said: list[dict[str, Any]] = []

    async def until(self, event: str, seconds: float, **like: object) -> dict[str, Any]:
        """Read on until it says this."""
        assert self._process.stdout is not None
        async with asyncio.timeout(seconds):
            while True:
                line = await self._process.stdout.readline()
                assert line, f"it ended with {await self._process.wait()}"
                self.said.append(orjson.loads(line))
                if {"event": event, **like}.items() <= self.said[-1].items():
                    return self.said[-1]


async def outage(folder: Path, count: int, *, wrong_acl: bool) -> str:
    """Fill, reconnect, drain, compare; the figures."""
    async with LocalBroker() as broker:
        seen: list[tuple[float, PublishPacket]] = []

        def note(message: PublishPacket) -> int | None:
            seen.append((time.monotonic(), message))
            return None

        if wrong_acl:
            broker.faults.verdict = REFUSED
        else:
            await broker.stop()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.reliability.backlog", str(folder), str(broker.port), str(count)),
            stdout=asyncio.subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        )
        child = Child(process)
        try:
            filled = await child.until("filled", 200.0)
            live = await child.until("live", 20.0)
            begun = time.monotonic()
            broker.faults.verdict = note
            if wrong_acl:
                broker.reset()
            else:
                await broker.start()
            drained = await child.until("drained", 200.0)
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()
        taken = [message for message in broker.received if message.topic.startswith(ROOT)]

    assert filled["grown"] < MEMORY
    assert drained["grown"] < MEMORY
    if wrong_acl:
        assert {"event": "refused", "stream": "alarm", "code": 0x87} in child.said
    up = next(one["at"] for one in reversed(child.said) if one["event"] == "link" and one["up"] and one["at"] >= begun)
    active = next(
        at for at, message in seen if message.topic.endswith("/alarm/active") and b'"live"' in message.payload
    )
    assert active - begun < 2 * AT_ONCE
    assert active - up < AT_ONCE
    complete(taken, count)
    seconds, waited = drained["at"] - active, live["waiting"]
    return (
        f"{count} events, wrong ACL {wrong_acl}: grown {filled['grown'] / 2**20:.1f} MiB while filling, "
        f"{drained['grown'] / 2**20:.1f} at most; {waited} waited; "
        f"live alarm {(active - up) * 1000:.0f} ms after connecting; "
        f"drained in {seconds:.1f} s, {waited / seconds:.0f} a second"
    )


def complete(taken: list[PublishPacket], count: int) -> None:
    """Each stream whole, in order, each number under one id."""
    first: dict[str, dict[int, str]] = {}
    for message in taken:
        event = orjson.loads(message.payload)
        if "sequence" in event:
            number = int(event["sequence"])
            told = first.setdefault(event["stream"], {})
            assert told.setdefault(number, event["id"]) == event["id"]
    seconds = count // A_SECOND
    wanted = {
        Stream.ALARM: seconds + 1,
        Stream.ACCESS: seconds,
        Stream.AUDIT: seconds,
        Stream.TELEMETRY: (A_SECOND - 3) * seconds,
    }
    for stream, many in wanted.items():
        assert list(first[stream]) == list(range(1, many + 1)), stream


@pytest.mark.parametrize("wrong_acl", [False, True])
async def test_some_minutes(tmp_path: Path, *, wrong_acl: bool) -> None:
    await outage(tmp_path, 10_000, wrong_acl=wrong_acl)


@pytest.mark.soak
@pytest.mark.parametrize("wrong_acl", [False, True])
async def test_an_hour(tmp_path: Path, *, wrong_acl: bool) -> None:
    print(f"\n{await outage(tmp_path, 72_000, wrong_acl=wrong_acl)}")  # noqa: T201 - the figures of the run

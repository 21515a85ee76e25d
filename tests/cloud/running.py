"""An uplink that runs, and what it told."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from gateway.clock import Clock
from gateway.cloud.mqtt.board import Nonces
from gateway.cloud.mqtt.types import Broker, Limits, MessageEnvelope, Observer, Unobserved
from gateway.cloud.mqtt.uplink import Uplink, UplinkSettings
from gateway.cloud.outbox import Outbox, Row
from gateway.model import Stream
from simulators.packets import PublishPacket
from tests.cloud.memory_outbox import MemoryOutbox

ROOT = "t/site/gw"


@dataclass
class Told:
    """An observer and a desk for commands."""

    commands: list[tuple[str, bytes, MessageEnvelope]] = field(default_factory=list)
    refusals: list[tuple[str, int | None]] = field(default_factory=list)
    without_listener: list[Row] = field(default_factory=list)
    links: list[tuple[bool, str]] = field(default_factory=list)
    troubles: list[tuple[str, str]] = field(default_factory=list)
    room: int = 1000
    """Commands that are taken at most."""

    def arrived(self, topic: str, payload: bytes, about: MessageEnvelope) -> bool:
        if len(self.commands) >= self.room:
            return False
        self.commands.append((topic, payload, about))
        return True

    def refused(self, stream: str, code: int | None) -> None:
        self.refusals.append((stream, code))

    def heard(self, row: Row) -> None:
        """Nothing."""

    def unheard(self, row: Row) -> None:
        self.without_listener.append(row)

    def link(self, up: bool, why: str) -> None:
        self.links.append((up, why))

    def trouble(self, name: str, text: str) -> None:
        self.troubles.append((name, text))


@dataclass
class Running:
    """One uplink with its outbox."""

    uplink: Uplink
    outbox: MemoryOutbox
    told: Told
    task: asyncio.Task[None]
    nonces: Nonces


def an_uplink(
    of: UplinkSettings,
    outbox: Outbox,
    clock: Clock | None = None,
    observer: Observer | None = None,
    *,
    nonces: Nonces | None = None,
    **more: Any,
) -> Uplink:
    """An uplink with a clock and nonces of its own, where a test has none."""
    nonces = nonces or Nonces()
    return Uplink(of, outbox, clock or Clock(), nonces=nonces, observer=observer or Unobserved(), **more)


def settings(port: int, limits: Limits | None = None, **broker: Any) -> UplinkSettings:
    """Settings for a broker on the loopback."""
    commands = broker.pop("commands", True)
    where = replace(Broker("127.0.0.1", port, "gw"), **broker)
    return UplinkSettings(
        where, ROOT, "/sites/site/gateways/gw", "b00t", "1.2.3", commands=commands, limits=limits or Limits()
    )


@asynccontextmanager
async def running(
    port: int,
    outbox: MemoryOutbox | None = None,
    *,
    limits: Limits | None = None,
    clock: Clock | None = None,
    told: Told | None = None,
    **broker: Any,
) -> AsyncIterator[Running]:
    """Run an uplink until the block ends; then it is cancelled, and has to be gone within a second."""
    outbox, told = outbox or MemoryOutbox(), told or Told()
    nonces = Nonces()
    uplink = an_uplink(settings(port, limits, **broker), outbox, clock, told, nonces=nonces, desk=told)
    uplink.set_standing({}, 0)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(uplink.run(), name="uplink")
        try:
            yield Running(uplink, outbox, told, task, nonces)
        finally:
            task.cancel()
            done, _ = await asyncio.wait((task,), timeout=1.0)
            assert done, "the uplink did not end within a second"


async def eventually(condition: Callable[[], object], within: float = 10.0) -> float:
    """Wait until the condition holds; how long that took in seconds."""
    begun = time.monotonic()
    while not condition():
        if time.monotonic() - begun > within:
            raise AssertionError("it did not happen in time")
        await asyncio.sleep(0.005)
    return time.monotonic() - begun


def sequences(messages: Sequence[PublishPacket], stream: Stream) -> list[int]:
    """Sequences of the stream's events in the order in which they came, repeats left out."""
    seen = dict.fromkeys(
        int(json.loads(message.payload)["sequence"]) for message in messages if message.topic == f"{ROOT}/{stream}"
    )
    return list(seen)


def topics(messages: Sequence[PublishPacket]) -> list[str]:
    """What the topics are called below the root, in order."""
    return [message.topic.removeprefix(f"{ROOT}/") for message in messages]

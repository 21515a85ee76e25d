"""Links that carry little, and brokers that answer slowly: nothing is taken for dead that moves, alarms go first."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from gateway.cloud.mqtt.types import Limits
from gateway.model import Stream
from simulators import packets
from simulators.broker import LocalBroker
from simulators.proxy import Proxy
from tests.cloud.memory_outbox import MemoryOutbox
from tests.cloud.raw_broker import Raw, answer, raw_broker
from tests.cloud.running import ROOT, Running, eventually, running, topics

KIB = 1 << 10
FILLING = "y" * 540
IMPATIENT = Limits(answer=1.0)


def standing(count: int, **more: Any) -> dict[str, dict[str, Any]]:
    """So many alarms, about 600 bytes each."""
    return {
        str(n): {
            "alarm": str(n),
            "severity": "low",
            "kind": "fault",
            "active": True,
            "raised_at": "2026",
            "x": "y" * 540,
        }
        for n in range(count)
    } | more


@asynccontextmanager
async def thin(
    speed: int, outbox: MemoryOutbox, limits: Limits = IMPATIENT
) -> AsyncIterator[tuple[LocalBroker, Running]]:
    async with LocalBroker() as broker, Proxy(broker.port) as proxy:
        proxy.slow(speed)
        async with running(proxy.port, outbox, limits=limits) as run:
            yield broker, run


async def test_on_a_thin_link_alarms_advance_and_nothing_is_taken_for_dead() -> None:
    """90 KiB of standing alarms took the link for themselves, and the gateway took it for dead."""
    outbox = MemoryOutbox()
    async with thin(16 * KIB, outbox) as (broker, run):
        run.uplink.set_standing(standing(250), 1)
        run.uplink.set_health({"lines": {str(n): "x" * 100 for n in range(600)}, "devices": {}})
        await eventually(lambda: "alarm/active" in topics(broker.received), 15.0)
        first = json.loads(broker.retained(f"{ROOT}/alarm/active") or b"")["data"]
        assert first["more"] > 0, "cut to what the link carries"
        assert len(first["alarms"]) + first["more"] == 250
        for n in range(5):
            run.uplink.set_standing(standing(250), 2 + n)
            outbox.add(Stream.ALARM, size=700)
            assert await eventually(lambda: not outbox.waiting(Stream.ALARM), 10.0) < 1.5
        assert len(broker.connects) == 1
        assert topics(broker.received).count("alarm/active") == 1, "its repeats take a tenth of the link"
        fire = {"alarm": "f", "severity": "critical", "kind": "fire", "active": True, "raised_at": "2026"}
        run.uplink.set_standing(standing(250, f=fire), 9)
        await eventually(lambda: topics(broker.received).count("alarm/active") == 2, 20.0)
        told = json.loads(broker.retained(f"{ROOT}/alarm/active") or b"")["data"]
        assert told["alarms"][0]["alarm"] == "f"
        await eventually(lambda: "health" in topics(broker.received), 15.0)
        health = next(one for one in broker.received if one.topic.endswith("/health"))
        assert len(health.payload) < 33 * KIB, "the parts that grow with the site are left out"
        assert len(broker.connects) == 1
        speed = run.uplink.snapshot().speed
        assert speed is not None
        assert 8 * KIB < speed < 32 * KIB


async def test_health_is_last_on_a_thin_link() -> None:
    """Due from the first moment on, and again and again: alarms that wait go before it."""
    outbox = MemoryOutbox()
    for _ in range(20):
        outbox.add(Stream.ALARM, size=700)
    async with thin(4 * KIB, outbox) as (broker, run):
        for number in range(400):
            run.uplink.set_health({"number": number, "lines": {str(n): "x" * 100 for n in range(10)}})
            if "health" in topics(broker.received):
                break
            await asyncio.sleep(0.05)
        sent = topics(broker.received)
        assert sent[: sent.index("health")].count("alarm") == 20
        assert len(broker.connects) == 1


async def test_a_picture_arrives_over_a_thin_link() -> None:
    outbox = MemoryOutbox()
    outbox.add(Stream.PICTURE, size=100_000)
    async with thin(32 * KIB, outbox) as (broker, _run):
        await eventually(lambda: not outbox.left, 20.0)
        assert len(broker.connects) == 1


async def test_a_link_of_one_kib_a_second_moves() -> None:
    outbox = MemoryOutbox()
    outbox.add(Stream.PICTURE, size=100_000)
    async with thin(KIB, outbox) as (broker, run):
        run.uplink.set_standing(standing(3), 1)
        await eventually(lambda: "status" in topics(broker.received), 20.0)
        for _ in range(4):
            outbox.add(Stream.ALARM, size=400)
        await eventually(lambda: not outbox.waiting(Stream.ALARM), 20.0)
        assert len(broker.connects) == 1
        assert "picture" not in topics(broker.received), "it would stand before alarms for two minutes"


def metered(raw: Raw, per_second: float, *, burst: int = 1, loses: bool = False) -> None:
    """PUBACKs at most so often, after a `burst`: the rest waits, or is never answered."""
    loop = asyncio.get_running_loop()
    due = [0.0]

    def hook(raw: Raw, kind: int, flags: int, body: bytes) -> None:
        now = loop.time()
        at = max(due[0], now - burst / per_second) + 1 / per_second
        if kind != packets.PUBLISH:
            answer(raw, kind, flags, body)
        elif at <= now or not loses:
            due[0] = at
            loop.call_at(at, answer, raw, kind, flags, body)

    raw.on_packet = hook


async def test_a_broker_that_throttles_is_waited_for_and_a_live_alarm_is_not_far_behind() -> None:
    outbox = MemoryOutbox()
    for _ in range(40):
        outbox.add(Stream.TELEMETRY)
    async with raw_broker() as raw:
        metered(raw, 8)
        async with running(raw.port, outbox, limits=IMPATIENT) as run:
            await eventually(lambda: outbox.waiting(Stream.TELEMETRY) < 10, 20.0)
            assert run.uplink.snapshot().window < 16, "additive increase, multiplicative decrease"
            outbox.add(Stream.ALARM)
            assert await eventually(lambda: not outbox.waiting(Stream.ALARM), 10.0) < 3.0
            await eventually(lambda: not outbox.left, 20.0)
            assert len(raw.connects) == 1


async def test_a_broker_that_never_answers_what_is_too_much_is_drained_at_its_pace() -> None:
    outbox = MemoryOutbox()
    for _ in range(60):
        outbox.add(Stream.TELEMETRY)
    async with raw_broker() as raw:
        metered(raw, 50, burst=10, loses=True)
        async with running(raw.port, outbox, limits=Limits(answer=0.5)):
            await eventually(lambda: not outbox.left, 40.0)
            assert len(raw.connects) <= 10


async def test_the_rate_of_the_site_file_is_kept() -> None:
    outbox = MemoryOutbox()
    for _ in range(30):
        outbox.add(Stream.TELEMETRY)
    async with raw_broker() as raw:
        times: list[float] = []

        def hook(raw: Raw, kind: int, flags: int, body: bytes) -> None:
            if kind == packets.PUBLISH:
                times.append(time.monotonic())
            answer(raw, kind, flags, body)

        raw.on_packet = hook
        async with running(raw.port, outbox, rate=20.0):
            await eventually(lambda: not outbox.left, 10.0)
        assert all(later - earlier > 0.9 for earlier, later in zip(times, times[20:], strict=False))
        assert times[-1] - times[0] < 3.0, "and it is used"

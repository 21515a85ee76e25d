"""Brokers other than ours: what they refuse, how they say so, and what they expect."""

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from gateway.cloud.mqtt.types import Limits
from gateway.model import Stream
from simulators import packets
from simulators.broker import LocalBroker
from simulators.broker_faults import by_topic
from simulators.packets import PublishPacket
from tests.cloud.memory_outbox import MemoryOutbox
from tests.cloud.raw_broker import Raw, answer, raw_broker
from tests.cloud.running import ROOT, eventually, running, sequences

QUICK = Limits(retry_first=0.02, retry_quick=0.05, retry_last=0.1)


def tops(raw: Raw) -> list[str]:
    return [one.topic.removeprefix(f"{ROOT}/") for one in raw.published]


def closing(at: Callable[[Raw, int, int, bytes], bool], code: int | None = None) -> Callable[..., None]:
    """A broker that ends the connection at some packets."""

    def hook(raw: Raw, kind: int, flags: int, body: bytes) -> None:
        if at(raw, kind, flags, body):
            if code is not None:
                raw.send(packets.packet(packets.DISCONNECT, bytes((code,))))
            raw.hang_up()
        else:
            answer(raw, kind, flags, body)

    return hook


async def test_a_subscribe_that_is_refused_by_closing_costs_two_connections_and_no_stream() -> None:
    outbox = MemoryOutbox()
    for _ in range(5):
        outbox.add(Stream.ALARM)
    async with raw_broker() as raw:
        raw.on_packet = closing(lambda _raw, kind, _flags, _body: kind == packets.SUBSCRIBE)
        async with running(raw.port, outbox) as run:
            await eventually(lambda: run.told.troubles, 12.0)
            assert run.told.troubles == [
                ("commands-refused", "the broker ends the connection at the subscription to commands")
            ]
            await eventually(lambda: run.uplink.snapshot().connected and "status" in tops(raw)[-5:])
            assert not outbox.left
            assert run.uplink.snapshot().commands == run.told.troubles[0][1]
            assert len(raw.connects) <= 4
            assert run.told.refusals == []
            statuses = [
                json.loads(one.payload)["data"]["online"] for one in raw.published if one.topic[-6:] == "status"
            ]
            assert statuses
            assert all(statuses)


@pytest.mark.parametrize("code", [0x80, 0x87])
async def test_a_subscribe_that_is_refused_is_told_and_the_gateway_is_online(code: int) -> None:
    def refuses(raw: Raw, kind: int, flags: int, body: bytes) -> None:
        if kind == packets.SUBSCRIBE:
            raw.send(packets.suback(5, int.from_bytes(body[:2], "big"), [code]))
        else:
            answer(raw, kind, flags, body)

    async with raw_broker() as raw:
        raw.on_packet = refuses
        async with running(raw.port) as run:
            await eventually(lambda: "status" in tops(raw))
            ((name, text),) = run.told.troubles
            assert name == "commands-refused"
            assert f"0x{code:02x}" in text
            raw.on_packet = answer
            raw.hang_up()
            await eventually(lambda: run.told.troubles[-1] == ("commands-refused", ""))


async def test_without_commands_nothing_is_subscribed_and_online_is_said() -> None:
    async with raw_broker() as raw, running(raw.port, commands=False):
        await eventually(lambda: "status" in tops(raw))
        assert raw.subscribed == []


@pytest.mark.parametrize("name", ["status", "health", "alarm/active"])
@pytest.mark.parametrize("hangs_up", [False, True])
async def test_a_retained_topic_that_is_refused_is_told_like_a_stream(name: str, *, hangs_up: bool) -> None:
    outbox, shut = MemoryOutbox(), True

    def hook(raw: Raw, kind: int, flags: int, body: bytes) -> None:
        message = packets.parse_publish(flags, body, 5) if kind == packets.PUBLISH else None
        if not shut or message is None or message.topic != f"{ROOT}/{name}":
            answer(raw, kind, flags, body)
        elif hangs_up:
            raw.hang_up()
        else:
            raw.send(packets.puback(5, message.mid, 0x87))

    async with raw_broker() as raw:
        raw.on_packet = hook
        async with running(raw.port, outbox, limits=QUICK) as run:
            run.uplink.set_health({"x": 1})
            await eventually(lambda: run.told.refusals, 20.0)
            assert run.told.refusals == [(name, 0 if hangs_up else 0x87)]
            assert name in run.uplink.snapshot().refused
            outbox.add(Stream.ALARM)
            await eventually(lambda: not outbox.left, 10.0)
            if not hangs_up:
                shut = False
                await eventually(lambda: run.told.refusals[-1] == (name, None))
                assert run.uplink.snapshot().refused == {}


@pytest.mark.parametrize("code", [None, 0x95])
async def test_an_unannounced_size_limit_sets_the_row_aside_and_is_remembered(code: int | None) -> None:
    outbox = MemoryOutbox()
    outbox.add(Stream.TELEMETRY)
    large = outbox.add(Stream.TELEMETRY, size=20_000)
    for _ in range(8):
        outbox.add(Stream.TELEMETRY)
    async with raw_broker() as raw:
        raw.on_packet = closing(lambda _raw, _kind, _flags, body: len(body) > 10_000, code)
        async with running(raw.port, outbox, limits=QUICK) as run:
            await eventually(lambda: not outbox.left, 30.0)
            assert list(outbox.quarantined) == [large.n]
            limit = run.uplink.snapshot().found_limit
            assert limit is not None
            assert 19_900 < limit < 20_200
            assert len(raw.connects) <= (2 if code else 10)
            # From now on such a row is set aside without being sent.
            before = len(raw.connects)
            outbox.add(Stream.TELEMETRY, size=21_000)
            outbox.add(Stream.TELEMETRY)
            await eventually(lambda: not outbox.left)
            assert len(raw.connects) == before
            assert run.told.refusals in ([], [(Stream.TELEMETRY, 0), (Stream.TELEMETRY, None)])


async def test_a_row_at_which_the_broker_hangs_up_is_set_aside_though_larger_ones_pass() -> None:
    outbox = MemoryOutbox()
    outbox.add(Stream.TELEMETRY, size=30_000)
    poison = outbox.add(Stream.TELEMETRY, "poison")
    for _ in range(5):
        outbox.add(Stream.TELEMETRY)
    async with raw_broker() as raw:
        raw.on_packet = closing(lambda _raw, _kind, _flags, body: b"poison" in body)
        async with running(raw.port, outbox, limits=QUICK) as run:
            await eventually(lambda: not outbox.left, 30.0)
            assert list(outbox.quarantined) == [poison.n]
            assert run.uplink.snapshot().found_limit is None
            raw.hang_up()
            before = len(raw.connects)
            outbox.add(Stream.TELEMETRY)
            await eventually(lambda: len(raw.connects) > before and not outbox.left)
            assert len(raw.connects) == before + 1, "it is not offered again in this life"


@pytest.mark.parametrize(
    ("options", "seen"),
    [
        ({}, (True, 10)),
        ({"will_delay": 0}, (True, 0)),
        ({"will": False}, None),
        ({"retain": False}, (False, 10)),
    ],
)
async def test_the_will_is_as_the_file_says(options: dict[str, Any], seen: tuple[bool, int] | None) -> None:
    async with raw_broker() as raw, running(raw.port, keepalive=30.0, **options):
        await eventually(lambda: "status" in tops(raw))
        connect = raw.connects[0]
        assert (connect.will and (connect.will.retain, connect.will_delay)) == seen
        assert connect.keepalive == 30
        assert all(one.retain == options.get("retain", True) for one in raw.published)


@pytest.mark.parametrize("where", ["connack", "puback", "disconnect"])
async def test_a_broker_that_takes_nothing_retained_gets_it_without(where: str) -> None:
    def hook(raw: Raw, kind: int, flags: int, body: bytes) -> None:
        message = packets.parse_publish(flags, body, 5) if kind == packets.PUBLISH else None
        if message is None or not message.retain:
            answer(raw, kind, flags, body)
        elif where == "puback":
            raw.send(packets.puback(5, message.mid, 0x9A))
        else:
            raw.send(packets.packet(packets.DISCONNECT, b"\x9a\x00"))
            raw.hang_up()

    async with raw_broker() as raw:
        raw.on_packet = hook
        if where == "connack":
            raw.connack = b"\x20\x03\x00\x9a\x00"
        async with running(raw.port) as run:
            if where == "connack":
                await eventually(lambda: raw.connects)
                raw.connack = None
            await eventually(lambda: "status" in tops(raw) and "alarm/active" in tops(raw), 12.0)
            assert not any(one.retain for one in raw.published)
            assert run.uplink.snapshot().retained is False
            assert run.told.refusals == []


async def test_two_clients_with_one_id_are_told_without_a_word_from_the_broker() -> None:
    async with raw_broker() as raw, running(raw.port, protocol=4) as run:
        for _ in range(3):
            await eventually(lambda: run.uplink.snapshot().connected)
            await eventually(lambda: raw.published and run.uplink.snapshot().in_flight == 0)
            await eventually(lambda: raw.subscribed)
            raw.subscribed.clear()
            raw.hang_up()
            await eventually(lambda: not run.uplink.snapshot().connected)
        assert "another client uses this id (gw)" in run.told.links[-1][1]
        begun = time.monotonic()
        await eventually(lambda: len(raw.connects) == 4)
        assert time.monotonic() - begun > 1.5, "it is no use to chase the other"
        raw.hang_up()
        run.outbox.add(Stream.ALARM)
        await eventually(lambda: not run.outbox.left)


async def test_a_link_that_is_lost_with_something_under_way_is_no_rival() -> None:
    async with LocalBroker() as broker, running(broker.port, MemoryOutbox()) as run:
        for _ in range(4):
            await eventually(lambda: run.uplink.snapshot().connected)
            broker.faults.puback_delay = 1.0
            run.outbox.add(Stream.ALARM)
            await eventually(lambda: run.uplink.snapshot().in_flight)
            broker.reset()
            await eventually(lambda: not run.uplink.snapshot().connected)
        assert not any("another client" in text for _, text in run.told.links)


async def test_a_denied_stream_is_not_taken_for_a_bad_row() -> None:
    """Each row of it ends the connection; when the rights are mended all arrive, none was set aside."""
    outbox, denied = MemoryOutbox(), [True]
    for _ in range(6):
        outbox.add(Stream.ACCESS)
    async with raw_broker() as raw:
        raw.on_packet = closing(
            lambda raw, kind, flags, body: (
                denied[0]
                and kind == packets.PUBLISH
                and packets.parse_publish(flags, body, raw.version).topic.endswith("/access")
            )
        )
        async with running(raw.port, outbox, limits=QUICK) as run:
            await eventually(lambda: run.told.refusals, 20.0)
            before = len(raw.connects)
            await eventually(lambda: len(raw.connects) >= before + 4, 20.0)
            denied[0] = False
            await eventually(lambda: not outbox.left, 20.0)
            assert not outbox.quarantined
            found = sequences([PublishPacket(one.topic, one.payload) for one in raw.published], Stream.ACCESS)
            assert sorted(found) == [1, 2, 3, 4, 5, 6]
            assert run.told.refusals == [(Stream.ACCESS, 0), (Stream.ACCESS, None)]


async def test_a_refusal_by_topic_still_holds_only_that_stream() -> None:
    outbox = MemoryOutbox()
    async with LocalBroker() as broker, running(broker.port, outbox, limits=QUICK) as run:
        broker.faults.verdict = by_topic({f"{ROOT}/health": 0x87, f"{ROOT}/access": 0x87})
        run.uplink.set_health({"x": 1})
        outbox.add(Stream.ACCESS)
        await eventually(lambda: len(run.told.refusals) == 2)
        assert run.uplink.snapshot().refused == {"health": 0x87, "access": 0x87}
        await asyncio.sleep(0)

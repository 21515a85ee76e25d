"""The uplink's connection: how it is lost, found lost, ended and begun again."""

import asyncio
import json
import socket
import time

import pytest

from gateway.cloud.mqtt.types import MAX_COMMAND_BYTES, Limits
from gateway.cloud.outbox import Row
from gateway.model import Stream
from simulators.broker import LocalBroker
from simulators.broker_faults import WITHHELD
from simulators.packets import PublishPacket
from tests.cloud.memory_outbox import MemoryOutbox
from tests.cloud.running import ROOT, Told, eventually, running, sequences, topics
from tests.secret_texts import SecretText

QUICK = Limits(answer=0.3, retry_first=0.02, retry_quick=0.05, retry_last=0.1)


def filled(**streams: int) -> MemoryOutbox:
    outbox = MemoryOutbox()
    for name, count in streams.items():
        for _ in range(count):
            outbox.add(Stream(name))
    return outbox


async def test_a_withheld_puback_ends_the_link_and_the_row_goes_again() -> None:
    withheld: list[bytes] = []

    def verdict(message: PublishPacket) -> int | None:
        if message.topic.endswith("/alarm") and not withheld:
            withheld.append(message.payload)
            return WITHHELD
        return None

    outbox = filled(alarm=3)
    async with LocalBroker() as broker, running(broker.port, outbox, limits=QUICK) as run:
        broker.faults.verdict = verdict
        took = await eventually(lambda: not outbox.left)
        assert took < 2.0
        assert len(broker.connects) == 2
        assert withheld[0] in [message.payload for message in broker.received]
        assert run.told.links[1] == (False, "the broker acknowledges nothing")


async def test_a_mute_link_is_noticed_after_a_publish_and_when_idle() -> None:
    async with LocalBroker() as broker, running(broker.port, limits=QUICK, keepalive=2.0, connect_timeout=0.3) as run:
        await eventually(lambda: "status" in topics(broker.received) and not run.uplink.snapshot().in_flight)
        broker.faults.mute = True
        run.outbox.add(Stream.ALARM)
        assert await eventually(lambda: not run.uplink.snapshot().connected) < 1.0
        await eventually(lambda: run.told.links[-1][1] == "connected, but the broker does not answer")
        broker.faults.mute = False
        await eventually(lambda: not run.outbox.left)
        await eventually(lambda: run.uplink.snapshot().in_flight == 0)
        broker.faults.mute = True
        assert await eventually(lambda: not run.uplink.snapshot().connected) <= 4.5


@pytest.mark.parametrize(
    "beginning", [b"", b"\x40", b"\x30\xff\xff\xff\x7f\x00", b"\xff\xff\xff\xff\xff\xff", b"\x32\x05\x00\x04a"]
)
async def test_a_reset_amid_a_packet_and_garbage_lose_nothing(beginning: bytes) -> None:
    outbox = filled(alarm=5)
    async with LocalBroker() as broker, running(broker.port, outbox) as run:
        await eventually(lambda: not outbox.left)
        outbox.add(Stream.ALARM)
        broker.reset(beginning)
        outbox.add(Stream.ALARM)
        took = await eventually(lambda: not outbox.left)
        assert took < 1.0
        assert sequences(broker.received, Stream.ALARM) == list(range(1, 8))
        assert not run.task.done()


async def test_a_take_over_is_not_answered_at_once() -> None:
    outbox = filled(alarm=1)
    async with LocalBroker() as broker, running(broker.port, outbox) as run:
        await eventually(lambda: not outbox.left)
        broker.hang_up(0x8E)
        outbox.add(Stream.ALARM)
        await eventually(lambda: len(run.told.links) == 2)
        assert "0x8e" in run.told.links[1][1]
        took = await eventually(lambda: not outbox.left)
        assert 2.0 < took <= 5.5


async def test_a_refused_connect_is_told_and_tried_again_later() -> None:
    async with LocalBroker() as broker:
        broker.faults.refuse = 0x86
        async with running(broker.port) as run:
            await eventually(lambda: run.told.links)
            assert run.told.links[0][0] is False
            assert "refused us" in run.told.links[0][1]
            assert (run.uplink.snapshot().error or "").startswith("the broker refused us")
            assert len(broker.connects) == 1


async def test_the_will_and_the_status() -> None:
    async with LocalBroker() as broker, running(broker.port) as run:
        await eventually(lambda: broker.retained(f"{ROOT}/status"))
        connect = broker.connects[0]
        will = connect.will
        assert will is not None
        assert (will.topic, will.qos, will.retain, connect.will_delay) == (f"{ROOT}/status", 1, True, 10)
        assert (connect.clean, connect.session_expiry, connect.packet_limit) == (False, 3600, 256 << 10)
        event = json.loads(will.payload)
        assert "time" not in event
        assert event["data"] == {"online": False, "nonce": None, "version": "1.2.3"}
        status = json.loads(broker.retained(f"{ROOT}/status") or b"")
        assert status["data"]["online"] is True
        assert status["data"]["nonce"] == run.nonces.good[0]
        assert len(status["data"]["nonce"]) == 32
        assert status["type"] == "sitegateway.gateway.status.v1"


async def test_a_killed_gateway_is_told_offline_by_its_will() -> None:
    async with LocalBroker() as broker:
        async with running(broker.port, will_delay=0):
            await eventually(lambda: broker.retained(f"{ROOT}/status"))
        await eventually(lambda: not json.loads(broker.retained(f"{ROOT}/status") or b"")["data"]["online"])


async def test_farewell_says_offline_and_drops_the_will() -> None:
    outbox = filled(alarm=5)
    async with LocalBroker() as broker, running(broker.port, outbox, will_delay=0) as run:
        await eventually(lambda: not outbox.left and broker.retained(f"{ROOT}/status"))
        outbox.add(Stream.ALARM)
        begun = time.monotonic()
        await run.uplink.farewell(1.0)
        assert time.monotonic() - begun < 1.0
        await eventually(run.task.done)
        statuses = [json.loads(m.payload) for m in broker.received if m.topic.endswith("/status")]
        assert [status["data"]["online"] for status in statuses] == [True, False]
        assert "time" in statuses[-1]
        await eventually(lambda: not broker.clients)


async def test_farewell_ends_in_time_on_a_mute_link() -> None:
    async with LocalBroker() as broker, running(broker.port) as run:
        await eventually(lambda: broker.retained(f"{ROOT}/status"))
        broker.faults.mute = True
        run.outbox.add(Stream.ALARM)
        begun = time.monotonic()
        await run.uplink.farewell(0.5)
        assert time.monotonic() - begun < 0.8
        await eventually(run.task.done, 1.0)


async def test_commands_come_with_what_came_along() -> None:
    async with LocalBroker() as broker, running(broker.port) as run:
        broker.faults.oversize = True
        await eventually(lambda: broker.retained(f"{ROOT}/status"))
        response = f"{ROOT}/reply/me".encode()
        properties = b"\x08" + len(response).to_bytes(2, "big") + response
        broker.publish(PublishPacket(f"{ROOT}/command", b"jwt", 1, False, properties))
        broker.publish(PublishPacket(f"{ROOT}/command", b"kept", 1, True))
        broker.publish(PublishPacket(f"{ROOT}/command", b"x" * (MAX_COMMAND_BYTES + 9), 1))
        await eventually(lambda: len(run.told.commands) == 3)
        (topic, payload, about), (_, _, kept), (_, nothing, large) = run.told.commands
        assert (topic, payload, about.retain, about.response_topic) == (
            f"{ROOT}/command",
            b"jwt",
            False,
            f"{ROOT}/reply/me",
        )
        assert kept.retain is True
        assert nothing == b""
        assert large.size > MAX_COMMAND_BYTES


async def test_a_command_that_was_not_accepted_comes_again() -> None:
    async with LocalBroker() as broker, running(broker.port) as run:
        await eventually(lambda: broker.retained(f"{ROOT}/status"))
        broker.publish(PublishPacket(f"{ROOT}/command", b"one", 1))
        broker.publish(PublishPacket(f"{ROOT}/command", b"two", 1))
        await eventually(lambda: len(run.told.commands) == 2)
        run.told.commands[0][2].acknowledge()
        run.outbox.add(Stream.AUDIT)
        await eventually(lambda: not run.outbox.left)
        broker.reset()
        run.outbox.add(Stream.ALARM)
        await eventually(lambda: len(run.told.commands) >= 3)
        await eventually(lambda: not run.outbox.left)
        assert [payload for _, payload, _ in run.told.commands] == [b"one", b"two", b"two"]
        run.told.commands[0][2].acknowledge()


async def test_cancelled_while_the_network_is_a_black_hole() -> None:
    with socket.socket() as hole:
        hole.bind(("127.0.0.1", 0))
        hole.listen(0)
        port = hole.getsockname()[1]
        blockers = [socket.socket() for _ in range(4)]
        try:
            for blocker in blockers:
                blocker.setblocking(False)
                blocker.connect_ex(("127.0.0.1", port))
            for timeout in (10.0, 2.0):
                async with running(port, connect_timeout=timeout) as run:
                    await eventually(lambda: run.uplink.beat > 0)
                assert run.task.cancelled()
        finally:
            for blocker in blockers:
                blocker.close()


async def test_cancelled_while_nobody_answers_the_connect() -> None:
    async with LocalBroker() as broker:
        broker.faults.mute = True
        async with running(broker.port) as run:
            await eventually(lambda: run.uplink.beat > 0)
        assert run.task.cancelled()


async def test_a_new_alarm_starts_an_attempt_at_once() -> None:
    async with LocalBroker() as broker, running(broker.port) as run:
        await eventually(lambda: broker.retained(f"{ROOT}/status"))
        await broker.stop()
        await eventually(lambda: not run.uplink.snapshot().connected)
        await broker.start()
        run.outbox.add(Stream.ALARM)
        assert await eventually(lambda: not run.outbox.left) < 0.5


async def test_a_fault_of_the_program_ends_the_task() -> None:
    class Broken(MemoryOutbox):
        def acknowledge(self, row: Row) -> None:
            raise KeyError(row.n)

    outbox = Broken()
    outbox.add(Stream.ALARM)
    async with LocalBroker() as broker:
        with pytest.RaisesGroup(pytest.RaisesGroup(KeyError)):
            async with running(broker.port, outbox) as run:
                await asyncio.wait((run.task,), timeout=5.0)


async def test_the_password_is_read_for_each_connection() -> None:
    password = SecretText(None)
    async with LocalBroker() as broker:
        told = Told()
        async with running(broker.port, told=told, username="gw", password=password):
            await eventually(lambda: told.links)
            assert told.links[0][1].startswith("password: ")
            password.text = "word"
            await eventually(lambda: broker.retained(f"{ROOT}/status"))
            assert (broker.connects[0].username, broker.connects[0].password) == ("gw", b"word")


async def test_mqtt_3_1_1() -> None:
    outbox = filled(alarm=3, telemetry=20)
    async with LocalBroker() as broker, running(broker.port, outbox, protocol=4) as run:
        await eventually(lambda: not outbox.left and broker.retained(f"{ROOT}/status"))
        broker.publish(PublishPacket(f"{ROOT}/command", b"jwt", 1))
        await eventually(lambda: run.told.commands)
        assert broker.connects[0].version == 4

"""The uplink against the broker that misbehaves."""

import json
import time

import pytest

from gateway.cloud.mqtt.types import Limits
from gateway.model import Stream
from simulators.broker import LocalBroker
from simulators.broker_faults import WITHHELD, by_topic
from simulators.packets import PublishPacket
from tests.cloud.memory_outbox import MemoryOutbox
from tests.cloud.running import ROOT, eventually, running, sequences, topics

QUICK = Limits(answer=0.3, retry_first=0.02, retry_quick=0.05, retry_last=0.1)


def filled(**streams: int) -> MemoryOutbox:
    outbox = MemoryOutbox()
    for name, count in streams.items():
        for _ in range(count):
            outbox.add(Stream(name))
    return outbox


async def test_backlog_arrives_in_order_and_by_priority() -> None:
    outbox = filled(telemetry=40, picture=2, inspection=5, audit=5, access=5, alarm=5)
    async with LocalBroker() as broker, running(broker.port, outbox) as run:
        await eventually(lambda: not outbox.left)
        for stream in Stream:
            found = sequences(broker.received, stream)
            assert found == sorted(found)
            assert found
        first = list(dict.fromkeys(topics(broker.received)))
        assert first.index("alarm/active") == 0
        streams = [topic for topic in first if topic in set(Stream)]
        assert streams == ["alarm", "access", "audit", "inspection", "telemetry", "picture"]
        assert run.uplink.snapshot().accepted >= 62


async def test_alarm_active_is_first_on_each_connection() -> None:
    async with LocalBroker() as broker, running(broker.port) as run:
        for round_ in range(3):
            run.outbox.add(Stream.ALARM)
            await eventually(lambda: not run.outbox.left and "status" in topics(broker.received))
            assert topics(broker.received)[0] == "alarm/active", round_
            await broker.stop()
            broker.received.clear()
            run.outbox.add(Stream.TELEMETRY)
            await broker.start()


async def test_the_same_active_message_goes_again_with_the_same_bytes() -> None:
    async with LocalBroker() as broker, running(broker.port) as run:
        run.uplink.set_standing({"a": {"alarm": "a", "severity": "critical", "raised_at": "2026"}}, 7)
        await eventually(lambda: broker.retained(f"{ROOT}/alarm/active"))
        first = broker.retained(f"{ROOT}/alarm/active")
        broker.reset()
        await eventually(lambda: len(broker.connects) == 2)
        await eventually(lambda: topics(broker.received).count("alarm/active") == 2)
        assert broker.retained(f"{ROOT}/alarm/active") == first
        event = json.loads(first or b"")
        assert event["type"] == "sitegateway.alarm.active.v1"
        assert event["data"]["upto"] == "00000000000000000007"
        assert event["data"]["alarms"][0]["alarm"] == "a"
        assert "sequence" not in event


async def test_active_goes_at_once_and_then_at_most_once_a_second() -> None:
    async with LocalBroker() as broker, running(broker.port) as run:
        await eventually(lambda: "status" in topics(broker.received))
        count = topics(broker.received).count("alarm/active")
        for n in range(20):
            run.uplink.set_standing({"a": {"n": n}}, n)
        took = await eventually(lambda: topics(broker.received).count("alarm/active") == count + 1, 2.0)
        assert took <= 1.2
        latest = json.loads(broker.retained(f"{ROOT}/alarm/active") or b"")
        assert latest["data"]["alarms"] == [{"n": 19, "subject": "a"}]


@pytest.mark.parametrize("code", [0x97, 0x83, 0x80])
async def test_a_refused_row_is_kept_and_sent_again_in_order(code: int) -> None:
    refused: list[bytes] = []

    def verdict(message: PublishPacket) -> int | None:
        if message.topic.endswith("/alarm") and b'"sequence":3' in message.payload and len(refused) < 2:
            refused.append(message.payload)
            return code
        return None

    outbox = filled(alarm=8)
    async with LocalBroker() as broker, running(broker.port, outbox, limits=QUICK) as run:
        broker.faults.verdict = verdict
        await eventually(lambda: not outbox.left)
        assert len(refused) == 2
        assert refused[0] == refused[1]
        assert sorted(sequences(broker.received, Stream.ALARM)) == list(range(1, 9))
        assert not outbox.quarantined
        assert run.told.refusals == []
        assert len(broker.connects) == 1


@pytest.mark.parametrize("code", [0x87, 0x90, 0x99])
async def test_a_forbidden_stream_stops_alone_and_recovers_without_a_new_connection(code: int) -> None:
    outbox = filled(alarm=10, audit=3, telemetry=30)
    async with LocalBroker() as broker, running(broker.port, outbox, limits=QUICK) as run:
        broker.faults.verdict = by_topic({f"{ROOT}/alarm": code})
        await eventually(lambda: outbox.left == 10 and run.told.refusals)
        assert run.told.refusals == [(Stream.ALARM, code)]
        assert run.uplink.snapshot().refused == {"alarm": code}
        await eventually(lambda: run.uplink.snapshot().accepted > 33 and run.told.refusals)
        outbox.add(Stream.TELEMETRY)
        await eventually(lambda: outbox.waiting(Stream.TELEMETRY) == 0)
        assert not outbox.quarantined
        broker.faults.verdict = None
        await eventually(lambda: not outbox.left)
        assert sequences(broker.received, Stream.ALARM) == list(range(1, 11))
        assert run.told.refusals[-1] == (Stream.ALARM, None)
        assert run.uplink.snapshot().refused == {}
        assert len(broker.connects) == 1


async def test_a_single_poisonous_row_is_set_aside_and_offered_again() -> None:
    tries: list[int] = []

    def verdict(message: PublishPacket) -> int | None:
        if message.topic.endswith("/alarm") and b"poison" in message.payload:
            tries.append(1)
            return 0x99
        return None

    outbox = filled(alarm=2)
    poison = outbox.add(Stream.ALARM, "poison")
    for _ in range(5):
        outbox.add(Stream.ALARM)
    async with LocalBroker() as broker, running(broker.port, outbox, limits=QUICK) as run:
        broker.faults.verdict = verdict
        await eventually(lambda: outbox.left == 1 and len(tries) >= 3)
        assert not outbox.quarantined
        outbox.add(Stream.ALARM)
        await eventually(lambda: not outbox.left)
        assert list(outbox.quarantined) == [poison.n]
        assert sequences(broker.received, Stream.ALARM) == [1, 2, 4, 5, 6, 7, 8, 9]
        broker.faults.verdict = None
        broker.reset()
        outbox.add(Stream.ALARM)
        await eventually(lambda: not outbox.left and poison in outbox.acknowledged)
        assert run.told.refusals[-1] == (Stream.ALARM, None)


async def test_a_new_alarm_does_not_wait_for_the_back_off_of_a_poisonous_one() -> None:
    outbox = MemoryOutbox()
    poison = outbox.add(Stream.ALARM, "poison")
    slow = Limits(retry_first=0.05, retry_last=60.0)
    async with LocalBroker() as broker, running(broker.port, outbox, limits=slow) as run:
        broker.faults.verdict = lambda message: 0x99 if b"poison" in message.payload else None
        await eventually(lambda: run.uplink.snapshot().refused)
        for _ in range(6):
            outbox.add(Stream.ALARM)
        await eventually(lambda: not outbox.left, 5.0)
        assert list(outbox.quarantined) == [poison.n]


async def test_a_poisonous_row_alone_is_never_set_aside() -> None:
    tries: list[float] = []

    def verdict(message: PublishPacket) -> int | None:
        if message.topic.endswith("/alarm"):
            tries.append(time.monotonic())
            return 0x87
        return None

    outbox = filled(alarm=1)
    async with LocalBroker() as broker, running(broker.port, outbox, limits=QUICK):
        broker.faults.verdict = verdict
        await eventually(lambda: len(tries) >= 8)
        assert not outbox.quarantined
        assert outbox.left == 1


async def test_rights_given_in_the_midst_of_a_probe_set_nothing_aside() -> None:
    """The later row is taken because the rights were mended, not because the earlier ones are bad."""
    tries: list[bytes] = []

    def verdict(message: PublishPacket) -> int | None:
        if not message.topic.endswith("/alarm"):
            return None
        tries.append(message.payload)
        return 0x87 if tries.count(tries[0]) <= 4 and len(tries) < 20 else None

    outbox = filled(alarm=6)
    async with LocalBroker() as broker, running(broker.port, outbox, limits=QUICK):
        broker.faults.verdict = verdict
        await eventually(lambda: not outbox.left)
        assert not outbox.quarantined
        assert sorted(sequences(broker.received, Stream.ALARM)) == [1, 2, 3, 4, 5, 6]


async def test_receive_maximum_of_one_is_kept() -> None:
    outbox = filled(alarm=10, telemetry=50)
    async with LocalBroker() as broker:
        broker.faults.receive_maximum = 1
        broker.faults.puback_delay = 0.002
        async with running(broker.port, outbox):
            await eventually(lambda: not outbox.left)
        assert len(broker.connects) == 1


async def test_the_window_is_used() -> None:
    outbox = filled(telemetry=400)
    async with LocalBroker() as broker:
        broker.faults.puback_delay = 0.1
        begun = time.monotonic()
        async with running(broker.port, outbox):
            await eventually(lambda: not outbox.left)
        assert time.monotonic() - begun < 0.1 * 400 / 24


async def test_an_oversize_row_is_set_aside_before_it_is_sent() -> None:
    outbox = filled(alarm=2)
    large = outbox.add(Stream.ALARM, size=5000)
    outbox.add(Stream.ALARM, size=3500)
    async with LocalBroker() as broker:
        broker.faults.packet_limit = 4096
        async with running(broker.port, outbox):
            await eventually(lambda: not outbox.left)
        assert list(outbox.quarantined) == [large.n]
        assert "4096" in outbox.quarantined[large.n]
        assert len(broker.connects) == 1
        assert sequences(broker.received, Stream.ALARM) == [1, 2, 4]


async def test_a_row_of_exactly_the_limit_passes_and_alarm_active_is_cut_to_it() -> None:
    async with LocalBroker() as broker:
        broker.faults.packet_limit = 4096
        async with running(broker.port) as run:
            standing = {str(n): {"alarm": str(n), "severity": "low", "note": "x" * 100} for n in range(100)}
            run.uplink.set_standing(standing, 100)
            await eventually(lambda: broker.retained(f"{ROOT}/alarm/active"))
            await eventually(lambda: json.loads(broker.retained(f"{ROOT}/alarm/active") or b"")["data"]["more"] > 0)
            data = json.loads(broker.retained(f"{ROOT}/alarm/active") or b"")["data"]
            assert len(data["alarms"]) + data["more"] == 100
            assert len(broker.connects) == 1


async def test_a_live_alarm_overtakes_a_backlog_of_telemetry() -> None:
    outbox = filled(telemetry=3000)
    async with LocalBroker() as broker, running(broker.port, outbox):
        broker.faults.puback_delay = 0.02
        await eventually(lambda: len(broker.received) > 200)
        before = len(broker.received)
        outbox.add(Stream.ALARM)
        took = await eventually(lambda: outbox.waiting(Stream.ALARM) == 0, 2.0)
        assert took < 0.5
        assert topics(broker.received).index("alarm") - before < 64
        assert outbox.waiting(Stream.TELEMETRY) > 1000


async def test_withheld_telemetry_leaves_room_for_alarms() -> None:
    outbox = filled(telemetry=200)
    async with LocalBroker() as broker:
        broker.faults.verdict = by_topic({f"{ROOT}/telemetry": WITHHELD})
        async with running(broker.port, outbox) as run:
            await eventually(lambda: run.uplink.snapshot().in_flight >= 15)
            for _ in range(10):
                outbox.add(Stream.ALARM)
            assert await eventually(lambda: outbox.waiting(Stream.ALARM) == 0, 2.0) < 0.5
            assert len(broker.connects) == 1


async def test_one_picture_at_a_time_and_none_while_an_alarm_waits() -> None:
    outbox = filled(picture=5)
    unanswered = [0]
    most = [0]

    def verdict(message: PublishPacket) -> int | None:
        if message.topic.endswith("/picture"):
            unanswered[0] = outbox.waiting(Stream.ALARM)
            most[0] = max(most[0], unanswered[0])
        return 0x87 if message.topic.endswith("/alarm") and forbidden[0] else None

    forbidden = [True]
    async with LocalBroker() as broker, running(broker.port, outbox, limits=QUICK) as run:
        broker.faults.verdict = verdict
        broker.faults.puback_delay = 0.05
        await eventually(lambda: topics(broker.received).count("picture") == 2)
        pictures = [m for m in broker.received if m.topic.endswith("/picture")]
        assert len(outbox.acknowledged) >= len(pictures) - 1
        outbox.add(Stream.ALARM)
        await eventually(lambda: run.told.refusals)
        await eventually(lambda: run.uplink.snapshot().in_flight == 0)
        told = topics(broker.received).count("picture")
        outbox.add(Stream.AUDIT)
        await eventually(lambda: outbox.waiting(Stream.AUDIT) == 0)
        assert topics(broker.received).count("picture") == told
        assert outbox.waiting(Stream.PICTURE) > 0
        forbidden[0] = False
        await eventually(lambda: not outbox.left)
        assert most[0] == 0


async def test_replies_go_before_streams_and_survive_a_lost_link() -> None:
    outbox = filled(telemetry=500)
    async with LocalBroker() as broker:
        broker.faults.puback_delay = 0.05
        async with running(broker.port, outbox) as run:
            await eventually(lambda: len(broker.received) > 60)
            before = len(broker.received)
            run.uplink.reply(f"{ROOT}/reply", b"one")
            await eventually(lambda: "reply" in topics(broker.received))
            assert topics(broker.received).index("reply") - before < 64
            await broker.stop()
            run.uplink.reply(f"{ROOT}/reply", b"two")
            broker.received.clear()
            await broker.start()
            await eventually(lambda: b"two" in [m.payload for m in broker.received])
            replies = [m.payload for m in broker.received if m.topic.endswith("/reply")]
            assert replies[-1] == b"two"
            assert topics(broker.received)[0] == "alarm/active"
            assert topics(broker.received)[1] == "reply"


async def test_nobody_listening_is_counted_and_told() -> None:
    outbox = filled(alarm=2)
    async with LocalBroker() as broker, running(broker.port, outbox) as run:
        await eventually(lambda: not outbox.left)
        assert [row.sequence for row in run.told.without_listener] == [1, 2]
        assert run.uplink.snapshot().no_listener == 2

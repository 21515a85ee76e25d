"""The broker that misbehaves, seen by other people's clients."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiomqtt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.client import Client, DisconnectFlags
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from simulators import packets
from simulators.broker import LocalBroker
from simulators.broker_faults import WITHHELD, by_topic
from simulators.packets import PacketError, PublishPacket
from tests.cloud.running import eventually

V5 = aiomqtt.ProtocolVersion.V5


def properties(packet: int, **values: int) -> Properties:
    made = Properties(packet)  # type: ignore[no-untyped-call]
    for name, value in values.items():
        setattr(made, name, value)
    return made


@asynccontextmanager
async def client(broker: LocalBroker, name: str, **options: object) -> AsyncIterator[aiomqtt.Client]:
    settings: dict[str, object] = {"identifier": name, "protocol": V5, "timeout": 5.0} | options
    async with aiomqtt.Client(broker.host, broker.port, **settings) as connected:  # type: ignore[arg-type]
        yield connected


async def next_message(connected: aiomqtt.Client) -> aiomqtt.Message:
    async with asyncio.timeout(5.0):
        return await anext(aiter(connected.messages))


@pytest.mark.parametrize("protocol", [V5, aiomqtt.ProtocolVersion.V311])
async def test_publish_subscribe_retained_and_wildcards(protocol: aiomqtt.ProtocolVersion) -> None:
    async with LocalBroker() as broker, client(broker, "a", protocol=protocol) as one, client(broker, "b") as two:
        await one.publish("x/y/z", b"kept", qos=1, retain=True)
        await two.subscribe("x/+/z", qos=1)
        message = await next_message(two)
        assert (message.payload, message.retain, message.qos) == (b"kept", True, 1)
        await two.subscribe("other/#", qos=0)
        await one.publish("other", b"top", qos=1)
        await one.publish("other/deep/er", b"deep", qos=1)
        assert [(await next_message(two)).payload for _ in range(2)] == [b"top", b"deep"]
        await two.unsubscribe("other/#")
        await one.publish("other", b"gone", qos=1)
        await one.publish("x/1/z", b"live", qos=1, retain=True)
        message = await next_message(two)
        assert (message.payload, message.retain) == (b"live", False)
        await one.publish("x/y/z", b"", qos=1, retain=True)
        assert broker.retained("x/y/z") is None


async def test_a_session_outlives_its_connection() -> None:
    lasting = properties(PacketTypes.CONNECT, SessionExpiryInterval=60)
    options = {"clean_start": False, "properties": lasting}
    async with LocalBroker() as broker, client(broker, "talker") as talker:
        async with client(broker, "sleeper", **options) as sleeper:
            await sleeper.subscribe("news", qos=1)
        for n in range(5):
            await talker.publish("news", str(n).encode(), qos=1)
        async with client(broker, "sleeper", **options) as sleeper:
            assert [(await next_message(sleeper)).payload for _ in range(5)] == [b"0", b"1", b"2", b"3", b"4"]
        async with client(broker, "sleeper") as sleeper:
            await talker.publish("news", b"lost", qos=1)
            await sleeper.subscribe("news", qos=1)
            await talker.publish("news", b"seen", qos=1)
            assert (await next_message(sleeper)).payload == b"seen"


async def die(broker: LocalBroker, options: dict[str, object]) -> None:
    async with client(broker, "mortal", **options) as mortal:
        broker.reset()
        await next_message(mortal)


async def test_a_will_is_published_after_its_delay_and_not_if_the_client_is_back() -> None:
    about = properties(PacketTypes.WILLMESSAGE, WillDelayInterval=1)
    lasting = properties(PacketTypes.CONNECT, SessionExpiryInterval=60)
    will = aiomqtt.Will("status", b"off", 1, True, about)
    options = {"will": will, "clean_start": False, "properties": lasting}
    async with LocalBroker() as broker:
        for back in (True, False):
            with pytest.raises(aiomqtt.MqttError):
                await die(broker, options)
            assert broker.retained("status") is None
            if back:
                async with client(broker, "mortal", **options):
                    pass
        await eventually(lambda: broker.retained("status") == b"off", 2.0)
        async with client(broker, "polite", will=aiomqtt.Will("polite", b"off", 1, True)):
            pass
        await eventually(lambda: "polite" not in broker.clients)
        assert broker.retained("polite") is None


def paho(broker: LocalBroker, codes: list[int], ended: threading.Event) -> Client:
    """A connected client that notes the reason codes of its PUBACKs."""
    connected = Client(CallbackAPIVersion.VERSION2, "paho", protocol=MQTTProtocolVersion.MQTTv5)
    ready = threading.Event()
    connected.on_connect = lambda *_: ready.set()
    connected.on_publish = lambda _c, _d, _mid, reason, _p: codes.append(reason.value)

    def on_disconnect(_c: Client, _d: object, _f: DisconnectFlags, reason: ReasonCode, _p: Properties | None) -> None:
        codes.append(reason.value)
        ended.set()

    connected.on_disconnect = on_disconnect
    connected.connect(broker.host, broker.port)
    connected.loop_start()
    assert ready.wait(5.0)
    return connected


async def test_pubacks_as_demanded() -> None:
    codes: list[int] = []
    ended = threading.Event()
    async with LocalBroker() as broker:
        broker.faults.verdict = by_topic({"bad/#": 0x97, "void": WITHHELD})
        connected = await asyncio.to_thread(paho, broker, codes, ended)
        try:
            for topic in ("bad/one", "void", "nobody"):
                connected.publish(topic, b"", 1)
            await eventually(lambda: codes == [0x97, 0x10])
            assert [message.topic for message in broker.received] == ["nobody"]
            broker.hang_up(0x8B)
            await eventually(lambda: codes[2:] == [0x8B])
            assert ended.is_set()
        finally:
            await asyncio.to_thread(connected.loop_stop)


async def test_the_receive_maximum_and_the_packet_limit_are_kept() -> None:
    for kind, code in (("receive_maximum", 0x93), ("packet_limit", 0x95)):
        codes: list[int] = []
        async with LocalBroker() as broker:
            broker.faults.receive_maximum = 2 if kind == "receive_maximum" else None
            broker.faults.packet_limit = 100 if kind == "packet_limit" else None
            broker.faults.verdict = by_topic({"#": WITHHELD})
            connected = await asyncio.to_thread(paho, broker, codes, threading.Event())
            try:
                connected.publish("a", bytes(50), 1)
                connected.publish("a", bytes(50), 1)
                connected.publish("a", bytes(150), 1)
                await eventually(codes.__len__)
                assert codes[0] == code
            finally:
                await asyncio.to_thread(connected.loop_stop)


async def test_the_newer_connection_takes_over() -> None:
    codes: list[int] = []
    async with LocalBroker() as broker:
        connected = await asyncio.to_thread(paho, broker, codes, threading.Event())
        try:
            connected._reconnect_on_failure = False  # noqa: SLF001  # or it would take over in its turn
            async with client(broker, "paho"):
                await eventually(lambda: codes == [0x8E])
                assert broker.clients == ["paho"]
        finally:
            await asyncio.to_thread(connected.loop_stop)


async def test_a_connect_is_refused_with_the_code_demanded() -> None:
    async with LocalBroker() as broker:
        broker.faults.refuse = 0x86
        with pytest.raises(aiomqtt.MqttError, match="Bad user name or password"):
            async with client(broker, "a"):
                pass


async def test_it_starts_again_on_the_same_port() -> None:
    async with LocalBroker() as broker:
        port = broker.port
        await broker.stop()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(broker.host, port)
        await broker.start()
        assert broker.port == port
        async with client(broker, "a") as one:
            await one.publish("x", b"", qos=1)


async def test_garbage_ends_the_connection_only() -> None:
    async with LocalBroker() as broker:
        for garbage in (
            b"\x10\xff\xff\xff\xff",
            b"GET / HTTP/1.1\r\n\r\n",
            b"\x10\x04\x00\x04MQ",
            b"\x30\x00",
            bytes(9),
        ):
            reader, writer = await asyncio.open_connection(broker.host, broker.port)
            writer.write(garbage)
            writer.write_eof()
            async with asyncio.timeout(5.0):
                await reader.read()
            writer.close()
        async with client(broker, "a") as one:
            await one.publish("x", b"alive", qos=1)
        assert broker.received[-1].payload == b"alive"


@given(st.binary(max_size=200))
def test_no_bytes_upset_the_parsers(body: bytes) -> None:
    for parse in (
        packets.parse_connect,
        lambda b: packets.parse_publish(2, b, 5),
        lambda b: packets.parse_publish(0, b, 4),
        lambda b: packets.parse_subscribe(b, 5),
        lambda b: packets.parse_unsubscribe(b, 5),
        lambda b: packets.split(b, 100),
    ):
        refused: PacketError | None = None
        try:
            parse(body)
        except PacketError as error:
            refused = error
        assert refused is None or str(refused)


@given(st.text(st.characters(exclude_characters="\0+#", exclude_categories=["Cs"]), min_size=1), st.binary())
def test_a_message_survives_the_wire(topic: str, payload: bytes) -> None:
    message = PublishPacket(topic, payload, 1, True, b"\x01\x01", 7)
    for version in (4, 5):
        whole = packets.publish(message, version)
        found = packets.split(whole + b"rest", 1 << 20)
        assert found is not None
        first, body, size = found
        assert size == len(whole)
        again = packets.parse_publish(first & 0x0F, body, version)
        assert again == (message if version == 5 else PublishPacket(topic, payload, 1, True, b"", 7))


@pytest.mark.parametrize(
    ("pattern", "topic", "fits"),
    [
        ("a/b", "a/b", True),
        ("a/+", "a/b", True),
        ("a/+", "a/b/c", False),
        ("a/#", "a", True),
        ("a/#", "a/b/c", True),
        ("#", "$SYS/x", False),
        ("+/x", "$SYS/x", False),
        ("a/b", "a", False),
        ("+", "", True),
    ],
)
def test_filters(pattern: str, topic: str, fits: bool) -> None:
    assert packets.matches(pattern, topic) is fits


@pytest.mark.parametrize(
    ("pattern", "valid"), [("#", True), ("a/#", True), ("a/#/b", False), ("a+", False), ("", False)]
)
def test_valid_filters(pattern: str, valid: bool) -> None:
    assert packets.valid_filter(pattern) is valid

"""Whatever the broker sends, or lets others send: the loop turns, commands come, nothing is stuck for good."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as how
from hypothesis import strategies as st

from gateway.cloud.mqtt.codec import Connack, Malformed, Parser, Publish
from gateway.model import Stream
from simulators import packets
from tests.cloud.raw_broker import Raw, message, pair, raw_broker
from tests.cloud.running import ROOT, Running, eventually, running

COMMAND = f"{ROOT}/command".encode()


@asynccontextmanager
async def online(**broker: Any) -> AsyncIterator[tuple[Raw, Running]]:
    """An uplink that is online at a broker that says whatever it is told to."""
    async with raw_broker() as raw, running(raw.port, **broker) as run:
        await eventually(lambda: any(one.topic.endswith("/status") for one in raw.published))
        yield raw, run


async def longest_turn(until: asyncio.Task[float]) -> float:
    """The longest turn of the loop until the task is done, seconds that its thread ran on a processor."""
    longest, before = 0.0, time.thread_time()
    while not until.done():
        await asyncio.sleep(0)
        now = time.thread_time()
        longest, before = max(longest, now - before), now
    return longest


@pytest.mark.parametrize("protocol", [5, 4])
@pytest.mark.parametrize("size", [200 << 10, 1 << 20, 8 << 20])
async def test_a_megabyte_of_properties_costs_no_time(protocol: int, size: int) -> None:
    """256 KiB of user properties took 5 s, 1 MiB the watchdog."""
    many = pair(b"", b"") * (size // 5)
    async with online(protocol=protocol) as (raw, run):
        raw.send(message(COMMAND, b"" if protocol == 5 else many, many if protocol == 5 else None, mid=7))
        raw.send(message(COMMAND, b"jwt", b"" if protocol == 5 else None, mid=8))
        async with asyncio.TaskGroup() as group:
            taken = group.create_task(eventually(lambda: len(run.told.commands) == 2, 60.0), name="taken")
            longest = await longest_turn(taken)
        assert longest < 0.25  # the benchmark holds 50 ms; here only that it is no matter of seconds
        assert run.told.commands[1][1] == b"jwt"
        assert len(raw.connects) == 1
        if size > 256 << 10:
            assert run.told.commands[0][2].size > 256 << 10, "told as too large"


@pytest.mark.parametrize(
    "properties",
    [
        pair("\ufeff".encode(), b"x"),
        pair(b"\xff\xfe", b"\xed\xa0\x80"),
        b"\x03\x00\x03\xef\xbb\xbf",
        b"\x08\x00\x02\xff\xff",
        b"\x55\x01\x02",
        b"\x26\xff\xff",
        b"\x01\x07" * 3,
        b"\x0b" + b"\xff" * 40,
    ],
)
async def test_what_a_property_holds_keeps_no_command_away(properties: bytes) -> None:
    async with online() as (raw, run):
        raw.send(message(COMMAND, b"jwt", properties, mid=3))
        await eventually(lambda: run.told.commands)
        assert run.told.commands[0][1] == b"jwt"
        run.told.commands[0][2].acknowledge()
        await eventually(lambda: raw.acknowledged == [3])
        assert len(raw.connects) == 1


async def test_response_topic_and_correlation_are_found_among_others() -> None:
    wanted = b"\x08\x00\x05t/r/x" + b"\x09\x00\x02\x00\xff"
    async with online() as (raw, run):
        raw.send(message(COMMAND, b"jwt", pair(b"a", b"b") + b"\x02\x00\x00\x00\x09" + wanted + pair(b"c", b"d")))
        await eventually(lambda: run.told.commands)
        about = run.told.commands[0][2]
        assert (about.response_topic, about.correlation) == ("t/r/x", b"\x00\xff")


async def test_a_topic_that_is_no_text_is_acknowledged_counted_and_begins_the_session_anew() -> None:
    async with online() as (raw, run):
        raw.send(message(b"t/\xff\xfe", b"x", b"", mid=9))
        await eventually(lambda: len(raw.connects) == 2)
        assert raw.connects[1].clean
        assert run.uplink.snapshot().dropped == {"unreadable": 1}
        assert run.told.troubles[-1][0] == "commands-dropped"
        assert not run.task.done()


async def test_a_subscription_that_a_stranger_left_is_thrown_away_once() -> None:
    """Somebody connected with our client id and subscribed to `#`: each message of the broker would be a command."""
    async with online() as (raw, run):
        assert not raw.connects[0].clean
        for mid in range(1, 5):
            raw.send(message(b"other/site/telemetry", b"x", b"", mid=mid))
        await eventually(lambda: len(raw.connects) == 2)
        assert raw.connects[1].clean
        assert run.told.commands == []
        await eventually(lambda: len(raw.subscribed) == 2)
        # In a session that is new it is the broker's own doing: acknowledged, dropped, and no third connection.
        raw.acknowledged.clear()
        for mid in range(1, 50):
            raw.send(message(b"other/site/telemetry", b"x", b"", mid=mid))
        raw.send(message(COMMAND, b"jwt", b"", mid=50))
        await eventually(lambda: run.told.commands)
        assert [payload for _, payload, _ in run.told.commands] == [b"jwt"]
        await eventually(lambda: raw.acknowledged == [*range(1, 50)])
        assert len(raw.connects) == 2
        assert run.uplink.snapshot().dropped["foreign"] >= 49 + 1
        raw.hang_up()
        await eventually(lambda: len(raw.connects) == 3)
        assert not raw.connects[2].clean


async def test_what_cannot_wait_is_acknowledged_and_counted() -> None:
    async with online() as (raw, run):
        run.told.room = 2
        for mid in range(1, 101):
            raw.send(message(COMMAND, b"jwt", b"", mid=mid))
        await eventually(lambda: run.uplink.snapshot().dropped == {"crowded": 98})
        await eventually(lambda: raw.acknowledged == [*range(3, 101)])
        assert run.told.troubles == [("commands-dropped", "more commands came than can wait")]


async def test_bytes_that_are_no_mqtt_twice_begin_the_session_anew() -> None:
    """As if the broker kept something for us that ends each connection."""

    def poisoned(raw: Raw, kind: int, flags: int, body: bytes) -> None:
        del flags, body
        if kind == packets.SUBSCRIBE:
            raw.send(b"\x36\x05\x00\x01t\x00\x01")  # a message of QoS 3

    async with raw_broker() as raw:
        raw.on_packet = poisoned
        async with running(raw.port) as run:
            await eventually(lambda: len(raw.connects) >= 3)
            assert [connect.clean for connect in raw.connects[:3]] == [False, False, True]
            assert sum("not MQTT" in why for _, why in run.told.links) >= 2
            assert run.uplink.snapshot().dropped["garbled"] == 1
            assert run.told.troubles[-1][0] == "commands-dropped"
            assert not run.task.done()


async def test_a_connection_that_the_broker_never_took_does_not_use_up_the_new_beginning() -> None:
    """The link is lost just when the session is to be thrown away: what a stranger left in it stays till it is."""
    async with online() as (raw, run):
        raw.connack = b"\x20"  # from now on nothing is answered whole
        raw.send(message(b"other/site/telemetry", b"x", b"", mid=1))
        for tries in (2, 3):
            await eventually(lambda n=tries: len(raw.connects) == n)  # type: ignore[misc]
            raw.hang_up()
        raw.connack = None
        await eventually(lambda: len(raw.connects) == 4 and len(raw.subscribed) == 2)
        assert [connect.clean for connect in raw.connects] == [False, True, True, True]
        raw.hang_up()
        await eventually(lambda: len(raw.connects) == 5)
        assert not raw.connects[4].clean
        assert run.uplink.snapshot().dropped == {"foreign": 1}


@pytest.mark.parametrize(
    ("connack", "protocol", "text"),
    [
        (b"\x20\x02\x00\x01", 5, "try `protocol: 3.1.1`"),
        (b"\x20\x03\x00\x84\x00", 5, "try `protocol: 3.1.1`"),
        (b"\x20\x02\x00\x00", 5, "try `protocol: 3.1.1`"),
        (b"\x20\x02\x00\x01", 4, "try `protocol: 5`"),
        (b"\x20\x02\x00\x05", 4, "not authorized (0x87)"),
        (b"\x20\x02\x00\x04", 4, "bad user name or password (0x86)"),
        (b"\x20\x05\x00\x00\x02\x24\x00", 5, "no QoS 1"),
        (b"\x20\x08\x00\x00\x05\x27\x00\x00\x00\x01", 5, "packets of 1 bytes"),
        (b"\x20\xff\xff\x7f" + bytes(1 << 16), 5, "not MQTT"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", 5, "not MQTT"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", 5, "not MQTT"),
    ],
)
async def test_why_a_broker_is_none_for_us_is_said(connack: bytes, protocol: int, text: str) -> None:
    async with raw_broker() as raw:
        raw.connack = connack
        async with running(raw.port, protocol=protocol) as run:
            await eventually(lambda: run.told.links)
            assert text in run.told.links[0][1]


async def test_an_alarm_waits_for_a_broker_that_takes_it() -> None:
    """One that announces a tiny limit had every alarm set aside as too large."""
    async with raw_broker() as raw:
        raw.connack = b"\x20\x08\x00\x00\x05\x27\x00\x00\x01\x00"
        async with running(raw.port) as run:
            run.outbox.add(Stream.ALARM)
            await eventually(lambda: "packets of 256 bytes" in (run.uplink.snapshot().error or ""))
            raw.connack = None
            await eventually(lambda: any(one.topic.endswith("/alarm") for one in raw.published), 15.0)


@pytest.mark.parametrize("protocol", [5, 4])
async def test_a_flood_of_answers_that_nobody_asked_for_is_nothing(protocol: int) -> None:
    async with online(protocol=protocol) as (raw, run):
        raw.send(b"\xd0\x00" * 500_000 + b"\x40\x02\x77\x77" * 100_000)
        raw.send(message(COMMAND, b"jwt", b"" if protocol == 5 else None))
        async with asyncio.TaskGroup() as group:
            taken = group.create_task(eventually(lambda: run.told.commands, 60.0), name="taken")
            assert await longest_turn(taken) < 0.25
        assert len(raw.connects) == 1


async def test_one_byte_at_a_time() -> None:
    async with online() as (raw, run):
        for byte in message(COMMAND, b"j" * 300, pair(b"a" * 40, b"b" * 200)):
            raw.send(bytes((byte,)))
            await asyncio.sleep(0)
        await eventually(lambda: run.told.commands)
        assert run.told.commands[0][1] == b"j" * 300


@pytest.mark.parametrize("protocol", [5, 4])
async def test_a_broker_that_takes_no_acknowledgement_fills_no_memory(protocol: int) -> None:
    """It sends on and on, acknowledges what we send by guessing, and never reads: 0.5 MB/s grew in the process."""
    begun: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        begun.append(writer)
        await reader.read(1 << 16)
        writer.write(packets.connack(protocol, 0))
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        flood = message(COMMAND, b"", b"" if protocol == 5 else None) * 500 + b"\xd0\x00"
        flood += b"".join(packets.puback(protocol, mid, 0) for mid in range(1, 20))
        with suppress(ConnectionError):
            while not writer.transport.is_closing():
                writer.write(flood)
                await writer.drain()

    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 12)
    server = await asyncio.start_server(serve, sock=listener)
    async with server, running(listener.getsockname()[1], protocol=protocol) as run:
        run.told.room = 0
        await eventually(lambda: "takes no acknowledgement" in (run.uplink.snapshot().error or ""), 60.0)
        assert not run.task.done()
        for writer in begun:
            writer.transport.abort()


PIECES = st.one_of(
    st.binary(max_size=60),
    st.binary(max_size=60).map(lambda body: packets.packet(packets.PUBLISH, body, 2)),
    st.builds(
        message,
        st.sampled_from([COMMAND, b"", b"a/\xff", b"x" * 300, "t/\ufeff".encode()]),
        st.binary(max_size=30),
        st.one_of(st.none(), st.binary(max_size=40)),
        st.integers(0, 65535),
        st.integers(0, 3),
    ),
    st.tuples(st.integers(0, 15), st.integers(0, 15), st.binary(max_size=20)).map(
        lambda one: packets.packet(one[0], one[2], one[1])
    ),
)


@given(st.lists(PIECES, max_size=12), st.sampled_from([4, 5]), st.data())
@how(max_examples=1500, deadline=None)
def test_the_parser_ends_in_packets_or_in_malformed_however_the_bytes_are_cut(
    pieces: list[bytes], version: int, data: st.DataObject
) -> None:
    whole = packets.connack(version, 0) + b"".join(pieces)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=5)))
    outcomes = []
    for ends in ([len(whole)], [*cuts, len(whole)]):
        parser, found, at = Parser(version), list[object](), 0
        try:
            for end in ends:
                parser.feed(whole[at:end])
                at = end
                while (packet := parser.next()) is not None:
                    found.append(packet)
        except Malformed:
            found.append("malformed")
        outcomes.append(found)
    assert outcomes[0] == outcomes[1]


@given(st.binary(max_size=500), st.binary(max_size=200), st.integers(1, 65535), st.sampled_from([4, 5]))
@how(max_examples=500, deadline=None)
def test_a_message_keeps_its_payload_whatever_its_properties(
    properties: bytes, payload: bytes, mid: int, version: int
) -> None:
    parser = Parser(version)
    parser.feed(packets.connack(version, 0) + message(COMMAND, payload, properties if version == 5 else None, mid))
    assert isinstance(parser.next(), Connack)
    packet = parser.next()
    assert isinstance(packet, Publish)
    assert (packet.topic, packet.payload, packet.mid) == (COMMAND.decode(), payload, mid)


@given(st.lists(st.lists(PIECES, max_size=8), min_size=4, max_size=4), st.sampled_from([4, 5]))
@how(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_bytes_on_the_socket_never_end_the_uplink(tries: list[list[bytes]], protocol: int) -> None:
    """Bytes before the answer to CONNECT and after; then a good broker: everything arrives."""

    async def run_it() -> None:
        async with raw_broker() as raw:
            good = raw.on_packet
            spoken: list[int] = []

            def bad(raw: Raw, kind: int, flags: int, body: bytes) -> None:
                del flags, body
                if kind in (packets.SUBSCRIBE, packets.PUBLISH) and len(spoken) < len(tries):
                    raw.send(b"".join(tries[len(spoken)]))
                    spoken.append(1)
                    raw.hang_up()

            raw.on_packet = bad
            async with running(raw.port, protocol=protocol) as run:
                run.outbox.add(Stream.ALARM)
                await eventually(lambda: spoken or run.task.done())
                raw.on_packet = good
                raw.hang_up()
                await eventually(lambda: not run.outbox.left or run.task.done())
                assert not run.task.done()

    asyncio.run(run_it())

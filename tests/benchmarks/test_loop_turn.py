"""The longest turn of the event loop while foreign bytes are read, for each parser at its size limit: at most 50 ms.

A row is a context manager in `ROWS` that prepares a reader and gives a function; what that function awaits is the
reading from the first byte to the end. The bytes come in pieces of 64 KiB. Beside each figure stands its floor: the
longest turn of the same loop in the same run while nobody sends. Counted is the time that the loop's thread runs on a
processor, so that a machine that is busy with other things makes no turn longer.
"""

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from itertools import repeat

import pytest

from gateway.errors import DeviceSilent, LineDown
from simulators import packets
from tests.cloud.raw_broker import Raw, message, pair, raw_broker
from tests.cloud.running import ROOT, eventually, running
from tests.drivers.anpr.crafted import CRAFTED, MOST
from tests.drivers.anpr.pushing import Taker, camera, connected, listening, request
from tests.drivers.modbus.dtu import connected as connected_to
from tests.drivers.modbus.lines import holding, tcp, unit
from tests.drivers.modbus.stranger import Stranger, frame
from tests.drivers.modbus.test_dialin import free_port
from tests.drivers.modbus.test_dialin import listening as listening_for_calls
from tests.drivers.modbus.test_dialin import settings as calls_at

BUDGET_S = 0.05
FLOOR_FOR_S = 0.5
PIECE = 64 << 10

Row = Callable[[], AbstractAsyncContextManager[Callable[[], Coroutine[None, None, None]]]]


async def longest_turn(work: Coroutine[None, None, None]) -> float:
    """The longest turn of the loop until `work` is done, seconds."""
    longest = 0.0
    async with asyncio.TaskGroup() as group:
        task = group.create_task(work, name="work")
        gc.collect()
        gc.freeze()  # as `run` does with what it has loaded: this program has loaded much more
        before = time.thread_time()
        while not task.done():
            await asyncio.sleep(0)
            now = time.thread_time()
            longest, before = max(longest, now - before), now
        gc.unfreeze()
    return longest


# ---- MQTT

COMMAND = f"{ROOT}/command".encode()
LIMIT = 256 << 10
LAST = 65535


async def pour(raw: Raw, data: bytes) -> None:
    """Send from the broker, a piece at a time."""
    writer = raw.writer
    assert writer is not None
    for at in range(0, len(data), PIECE):
        writer.write(data[at : at + PIECE])
        await writer.drain()


def mqtt(data: bytes, protocol: int = 5) -> Row:
    """The uplink reads `data` from a broker, and then one more command."""
    last = message(COMMAND, b"", b"" if protocol == 5 else None, mid=LAST)

    @asynccontextmanager
    async def row() -> AsyncIterator[Callable[[], Coroutine[None, None, None]]]:
        async with raw_broker() as raw, running(raw.port, protocol=protocol) as run:
            await eventually(lambda: any(one.topic.endswith("/status") for one in raw.published))
            run.told.room = 0  # all that is understood is acknowledged, and dropped

            async def work() -> None:
                await pour(raw, data + last)
                await eventually(lambda: raw.acknowledged[-1:] == [LAST], 60.0)

            yield work

    return row


def many(one: bytes, size: int) -> bytes:
    """As many of `one` as fit into `size`."""
    return one * (size // len(one))


# ---- HTTP of cameras


def camera_push(driver: str, body: bytes, content_type: str) -> Row:
    """The camera port reads one push from a camera, and answers it."""

    @asynccontextmanager
    async def row() -> AsyncIterator[Callable[[], Coroutine[None, None, None]]]:
        async with listening([camera(driver)], Taker()) as listener, connected(listener.port) as line:
            raw = request("/cameras/c1", body, content_type)

            async def work() -> None:
                for at in range(0, len(raw), PIECE):
                    line.writer.write(raw[at : at + PIECE])
                    await line.writer.drain()
                assert (await line.answer(60.0)).status == 200

            yield work

    return row


def camera_chunks(size: int) -> Row:
    """Chunks of so many bytes until the port has enough of them."""

    @asynccontextmanager
    async def row() -> AsyncIterator[Callable[[], Coroutine[None, None, None]]]:
        async with listening([camera("generic")], Taker()) as listener, connected(listener.port) as line:
            chunk = b"%x\r\n%s\r\n" % (size, b"x" * size)

            async def work() -> None:
                line.writer.write(b"POST /cameras/c1 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
                line.writer.write(chunk * min(MOST // size, 40_000))
                assert (await line.answer(60.0)).status in (408, 413)

            yield work

    return row


CAMERAS = {f"camera: {name}": camera_push(*said) for name, said in CRAFTED.items()}


# ---- Modbus TCP, and the port at which devices dial in


def modbus(flood: bytes) -> Row:
    """A line asks, and its device answers by `flood` over and over, until the line has had enough of it."""

    @asynccontextmanager
    async def row() -> AsyncIterator[Callable[[], Coroutine[None, None, None]]]:
        async with (
            Stranger(lambda _: repeat(many(flood, PIECE))).serving() as server,
            tcp(server.port, unit(1, *holding(0))) as line,
        ):

            async def work() -> None:
                with suppress(LineDown):
                    while True:
                        with suppress(DeviceSilent):
                            await line.read(line.blocks()[0], 0.1)

            yield work
            assert line.oddities["floods"] == 1

    return row


def dial_in(flood: bytes) -> Row:
    """Somebody dials in and says `flood`."""

    @asynccontextmanager
    async def row() -> AsyncIterator[Callable[[], Coroutine[None, None, None]]]:
        port = free_port()
        async with listening_for_calls(calls_at(port)) as (_, calls):

            async def work() -> None:
                async with connected_to(port) as (reader, writer):
                    writer.write(many(flood, PIECE))
                    with suppress(ConnectionError):
                        assert await reader.read(1) == b""
                assert calls.turned_away

            yield work

    return row


MODBUS_FLOODS = {
    "frames nobody asked for": frame(9, b"\1\3\2\0\7"),
    "the longest frames": frame(9, b"\1\3\xfa" + bytes(250)),
    "zeros": b"\0",
    "headers without frames": b"\0\1\0\0\0\6\1\3",
    "half headers": b"\0\1\0\0\0",
    "text": b"HTTP/1.1 200 OK\r\n",
}


ROWS: dict[str, Row] = {
    **CAMERAS,
    **{f"modbus: {name}": modbus(flood) for name, flood in MODBUS_FLOODS.items()},
    **{f"dial-in: {name}": dial_in(flood) for name, flood in MODBUS_FLOODS.items()},
    "camera: chunks of a byte": camera_chunks(1),
    "camera: chunks of 64 bytes": camera_chunks(64),
    "mqtt: properties up to the limit": mqtt(message(COMMAND, b"x", many(pair(b"", b""), LIMIT - 64))),
    "mqtt: 8 MiB of properties": mqtt(message(COMMAND, b"x", many(pair(b"a", b"b"), 8 << 20))),
    "mqtt: payload up to the limit": mqtt(message(COMMAND, b"x" * (LIMIT - 64), b"")),
    "mqtt: payloads up to the limit, 3.1.1": mqtt(many(message(COMMAND, b"x" * (LIMIT - 64), None), 8 << 20), 4),
    "mqtt: 16 MiB in one message, 3.1.1": mqtt(message(COMMAND, b"x" * (16 << 20), None), 4),
    "mqtt: small messages": mqtt(many(message(COMMAND, b"x", b""), 512 << 10)),
    "mqtt: answers to pings": mqtt(many(b"\xd0\x00", 1 << 20)),
    "mqtt: answers to nothing": mqtt(many(packets.puback(5, 0x7777, 0x87), 1 << 20)),
    "mqtt: answers with long reasons": mqtt(many(packets.packet(4, b"\x77\x77\x87" + bytes(120 << 10)), 4 << 20)),
}


@pytest.mark.parametrize("name", ROWS)
async def test_a_turn_of_the_loop_is_short(name: str) -> None:
    async with ROWS[name]() as work:
        floor = await longest_turn(asyncio.sleep(FLOOR_FOR_S))
        worst = await longest_turn(work())
    print(f"\n{name}: longest turn {worst * 1000:.1f} ms, floor {floor * 1000:.1f} ms")  # noqa: T201
    assert worst <= BUDGET_S

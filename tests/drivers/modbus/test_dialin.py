"""Devices that dial in, by raw sockets: who is who, who may, what strangers cost."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from drivers.modbus import dialin
from drivers.modbus.dialin import DialIn
from drivers.modbus.line import ModbusPoller, lines
from drivers.modbus.settings import LineSettings
from gateway.errors import DeviceSilent, LineDown
from tests.drivers.modbus.converter import sealed
from tests.drivers.modbus.dtu import Dtu, connected
from tests.drivers.modbus.lines import holding, unit, until

IMEI = "866123456789012"
HOLDING = sealed(bytes.fromhex("01 03 00 00 00 02"))
"""The read that the line of these tests asks."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def settings(
    port: int,
    name: str = "dtu",
    *,
    register: tuple[bytes, ...] = (IMEI.encode(),),
    rtu: bool = True,
    heartbeat: bytes = b"",
    allow: tuple[str, ...] = (),
) -> LineSettings:
    return LineSettings(
        name=name,
        host="127.0.0.1",
        port=port,
        listens=True,
        framing="rtu" if rtu else "tcp",
        baudrate=115200,
        register=register,
        heartbeat=heartbeat,
        allow=allow,
        devices=(unit(1, *holding(0), timeout=0.3),),
    )


@asynccontextmanager
async def listening(*wanted: LineSettings) -> AsyncIterator[tuple[dict[str, ModbusPoller], DialIn]]:
    """The lines, not opened yet, with their port."""
    found, (port,) = lines(wanted)
    async with port:
        yield found, port


async def value(line: ModbusPoller) -> object:
    """Register 0; a read or two may be spent on the proof of who answers whom."""
    (block,) = line.blocks()
    async with asyncio.timeout(8):
        while True:
            with contextlib.suppress(DeviceSilent):
                return line.decode(block, await line.read(block, 0.3))["h0"].value


@pytest.mark.parametrize("rtu", [True, False])
@pytest.mark.parametrize("heartbeat", [b"", b"\xfe", b"heart"])
@pytest.mark.parametrize("register", [IMEI.encode(), bytes.fromhex("0866123456789012")])
async def test_a_device_that_dials_in_is_read(rtu: bool, heartbeat: bytes, register: bytes) -> None:
    port = free_port()
    says = heartbeat + register + b"\r\n"
    async with (
        listening(settings(port, rtu=rtu, heartbeat=heartbeat, register=(register,))) as (found, _),
        Dtu(port, says, rtu=rtu, offset=5, beats=heartbeat).calling(),
        found["dtu"] as line,
    ):
        for _ in range(3):
            assert await value(line) == 5


@pytest.mark.parametrize("rtu", [True, False])
@pytest.mark.parametrize("end", [2, 4])
async def test_an_answer_that_ends_as_a_heart_beat_is_heard_whole(rtu: bool, end: int) -> None:
    """Else a value that is never there while all is well, as that of a fire, could not be read at all."""
    request = HOLDING if rtu else bytes.fromhex("00 01 00 00 00 06") + HOLDING[:-2]
    heartbeat = Dtu(0, b"", rtu=rtu, offset=1).answer(request)[-end:]
    port = free_port()
    async with (
        listening(settings(port, rtu=rtu, heartbeat=heartbeat)) as (found, _),
        Dtu(port, IMEI.encode(), rtu=rtu, offset=1).calling(),
        found["dtu"] as line,
    ):
        for _ in range(3):
            assert await value(line) == 1


async def test_several_on_one_port_are_told_apart_by_what_they_say_first() -> None:
    port = free_port()
    wanted = [settings(port, f"dtu-{n}", register=(f"86612345678901{n}".encode(),)) for n in range(3)]
    async with listening(*wanted) as (found, _), contextlib.AsyncExitStack() as stack:
        for n in (2, 0, 1):
            await stack.enter_async_context(Dtu(port, f"86612345678901{n}".encode(), offset=100 * n + 1).calling())
        for n in range(3):
            line = await stack.enter_async_context(found[f"dtu-{n}"])
            assert await value(line) == 100 * n + 1


async def test_a_registration_in_pieces_is_one() -> None:
    port = free_port()
    async with listening(settings(port)) as (found, _), connected(port) as (reader, writer):
        for byte in IMEI.encode():
            writer.write(bytes((byte,)))
            await writer.drain()
            await asyncio.sleep(0.002)
        async with found["dtu"] as line, asyncio.TaskGroup() as group:
            asking = group.create_task(value(line), name="read")
            assert len(await reader.readexactly(8)) == 8
            asking.cancel()


async def test_a_device_that_dials_in_anew_takes_the_place_of_its_old_connection() -> None:
    """The old one is dead and nobody was told so."""
    port = free_port()
    async with listening(settings(port)) as (found, _), connected(port) as (_, dead):
        dead.write(IMEI.encode())
        async with found["dtu"] as line:
            (block,) = line.blocks()
            with pytest.raises(DeviceSilent):
                await line.read(block, 0.05)
            async with Dtu(port, IMEI.encode(), offset=7).calling():
                await until(lambda: line.oddities["replaced_callers"] == 1)
                assert await value(line) == 7


async def test_a_link_that_is_lost_and_dials_in_again_is_read_on() -> None:
    port = free_port()
    async with (
        listening(settings(port)) as (found, _),
        Dtu(port, IMEI.encode(), offset=3).calling() as dtu,
        found["dtu"] as line,
    ):
        assert await value(line) == 3
        dtu.hang_up()
        assert await value(line) == 3
        assert dtu.calls == 2
        assert line.oddities["reopened"] == 1


async def test_where_nobody_dials_in_the_line_says_so_and_who_was_turned_away() -> None:
    port = free_port()
    async with listening(settings(port)) as (found, calls), Dtu(port, b"861111111111111").calling():
        await until(lambda: bool(calls.turned_away))
        with pytest.raises(
            LineDown, match=r"nobody has dialled in .*127\.0\.0\.1: that is no registration .*8611111111"
        ):
            await found["dtu"].__aenter__()
        assert int(found["dtu"].oddities["refused_callers"] or 0) >= 1


async def test_an_address_that_is_not_allowed_is_refused() -> None:
    port = free_port()
    async with listening(settings(port, allow=("10.9.0.0/16", "192.0.2.7"))) as (found, calls):
        async with connected(port) as (reader, writer):
            writer.write(IMEI.encode())
            with contextlib.suppress(ConnectionError):
                assert await reader.read(100) == b""
        assert "its address is not allowed" in calls.turned_away[-1]
        with pytest.raises(LineDown):
            await found["dtu"].__aenter__()
        assert found["dtu"].oddities["refused_callers"] == 1


BAD = [
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    bytes.fromhex("16 03 01 00 a5 01 00 00 a1 03 03"),
    b"\0" * 300,
    b"\xff",
    b"8661234567890" + b"9" * 1000,
    IMEI.encode()[::-1],
]


async def test_strangers_from_many_addresses_are_bounded_too() -> None:
    port = free_port()
    async with listening(settings(port)) as (found, calls), contextlib.AsyncExitStack() as mute:
        for number in range(40):
            await mute.enter_async_context(connected(port, f"127.0.0.{2 + number // 4}"))
        await until(lambda: len(calls.turned_away) == 8)
        assert len({one.partition(":")[0] for one in calls.turned_away}) == 2, "those of the last two addresses"
        async with mute.pop_all():
            pass
        async with Dtu(port, IMEI.encode(), offset=1).calling(), found["dtu"] as line:
            assert await value(line) == 1


@pytest.mark.parametrize("garbage", BAD, ids=lambda one: repr(one[:12]))
async def test_whoever_says_something_else_is_refused_and_the_next_one_is_heard(garbage: bytes) -> None:
    port = free_port()
    async with listening(settings(port)) as (found, calls):
        async with connected(port) as (reader, writer), asyncio.timeout(2):
            writer.write(garbage)
            with contextlib.suppress(ConnectionError):
                assert await reader.read(100) == b"", "nothing is told to a stranger"
        assert calls.turned_away
        async with Dtu(port, IMEI.encode(), offset=1).calling(), found["dtu"] as line:
            assert await value(line) == 1


async def test_strangers_that_say_nothing_are_bounded_and_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialin, "REGISTER_WITHIN_S", 0.3)
    port = free_port()
    async with listening(settings(port)) as (found, calls), contextlib.AsyncExitStack() as mute:
        for _ in range(12):
            await mute.enter_async_context(connected(port))
        await until(lambda: len(calls.turned_away) == 8)
        await until(lambda: len(calls.turned_away) == 12)
        async with Dtu(port, IMEI.encode(), offset=1).calling(), found["dtu"] as line:
            assert await value(line) == 1


async def test_a_flood_before_its_line_takes_it_fills_no_memory() -> None:
    port = free_port()
    async with listening(settings(port)) as (_, calls), connected(port) as (_, writer):
        writer.write(IMEI.encode())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1):
                while True:
                    writer.write(bytes(65536))
                    await writer.drain()
        assert writer.transport.get_write_buffer_size() > 0, "it is not read"
        assert not calls.turned_away


async def test_who_asks_by_hand_listens_for_as_long_as_he_asks() -> None:
    port = free_port()
    line = ModbusPoller(settings(port))
    async with Dtu(port, IMEI.encode(), offset=9).calling(), line:
        assert await value(line) == 9
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)


async def test_a_port_that_another_program_has_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialin, "_AGAIN_S", 0.05)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        found, (calls,) = lines([settings(port)])
        async with asyncio.TaskGroup() as group:
            task = group.create_task(calls.run(), name="port")
            with pytest.raises(LineDown, match="in use"):
                await found["dtu"].__aenter__()
            taken.close()
            async with Dtu(port, IMEI.encode(), offset=2).calling(), found["dtu"] as line:
                assert await value(line) == 2
            task.cancel()

"""The servers of others answer raw bytes as Modbus says; so they can be trusted to judge our side."""

import pytest

from tests.foreign.ptys import joined
from tests.foreign.rtu_server import foreign_rtu
from tests.foreign.tcp_server import foreign_tcp
from tests.simulators.raw import RawPort, RawSocket, frame, tcp_frame


async def test_pymodbustcp_answers_every_table_and_takes_writes() -> None:
    async with foreign_tcp() as server:
        await server.set("holding", 3, 1, 0xFFFF)
        await server.set("input", 0, 258)
        await server.set("coil", 9, 1)
        await server.set("discrete", 1, 1, 1)
        async with RawSocket(f"127.0.0.1:{server.port}") as port:
            ask = port.ask
            assert (await ask(tcp_frame(1, "01 03 0003 0002"), 13))[0] == tcp_frame(1, "01 03 04 0001 ffff")
            assert (await ask(tcp_frame(2, "01 04 0000 0001"), 11))[0] == tcp_frame(2, "01 04 02 0102")
            assert (await ask(tcp_frame(3, "01 01 0008 0002"), 10))[0] == tcp_frame(3, "01 01 01 02")
            assert (await ask(tcp_frame(4, "01 02 0000 0003"), 10))[0] == tcp_frame(4, "01 02 01 06")
            assert (await ask(tcp_frame(5, "01 06 0010 1234"), 12))[0] == tcp_frame(5, "01 06 0010 1234")
            assert (await ask(tcp_frame(6, "01 2c 00"), 9))[0] == tcp_frame(6, "01 ac 01")
        assert await server.get("holding", 16) == [0x1234]
        with pytest.raises(ValueError, match="nowhere"):
            await server.set("nowhere", 1, 1)


async def test_libmodbus_answers_every_table_and_takes_writes() -> None:
    async with foreign_rtu(unit=7) as server, RawPort(server.port) as port:
        await server.set("holding", 3, 1, 0xFFFF)
        await server.set("input", 0, 258)
        await server.set("coil", 9, 1)
        await server.set("discrete", 1, 1, 1)

        assert (await port.ask(frame("07 03 0003 0002"), 9))[0] == frame("07 03 04 0001 ffff")
        assert (await port.ask(frame("07 04 0000 0001"), 7))[0] == frame("07 04 02 0102")
        assert (await port.ask(frame("07 01 0008 0002"), 6))[0] == frame("07 01 01 02")
        assert (await port.ask(frame("07 02 0000 0003"), 6))[0] == frame("07 02 01 06")
        assert (await port.ask(frame("07 05 0004 ff00"), 8))[0] == frame("07 05 0004 ff00")
        assert (await port.ask(frame("07 03 0fff 0002"), 5))[0] == frame("07 83 02")
        assert await server.get("coil", 4) == [1]
        with pytest.raises(ValueError, match="outside"):
            await server.set("holding", 4096, 1)


async def test_libmodbus_is_silent_for_other_units_and_takes_what_follows_for_their_answer() -> None:
    async with foreign_rtu(unit=7) as server, RawPort(server.port) as port:
        port.send(frame("08 03 0003 0001"))
        await port.nothing(0.05)
        port.send(frame("08 03 02 0000"))
        await port.nothing(0.05)

        assert (await port.ask(frame("07 03 0003 0001"), 7))[0] == frame("07 03 02 0000")


async def test_joined_terminals_carry_every_byte() -> None:
    async with joined() as pair, RawPort(pair.near) as near, RawPort(pair.far) as far:
        near.send(bytes(range(256)))
        far.send(b"\x03\x04\x11\x13\n\r\0")

        assert await far.receive(256) == bytes(range(256))
        assert await near.receive(7) == b"\x03\x04\x11\x13\n\r\0"

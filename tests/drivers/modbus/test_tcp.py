"""Modbus TCP: several questions under way, late answers, wrong answers, garbage."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from drivers.modbus.line import ModbusPoller
from gateway.driver import Block
from gateway.errors import DeviceSilent
from tests.drivers.modbus.lines import CEILING, COIL, REGISTER, WIDE, expected, holding, tcp, unit, values
from tests.drivers.modbus.responder import Responder, late, normal, silent, tcp_port


async def test_four_in_flight_overlap() -> None:
    responder = Responder(rtu=False)
    responder.usual = late(0.1)
    devices = unit(1, *(point for address in range(0, 4000, 1000) for point in holding(address)), timeout=1.0)
    async with tcp_port(responder) as served, tcp(served.port, devices, in_flight=4) as line:
        assert len(line.blocks()) == 4
        loop = asyncio.get_running_loop()
        before = loop.time()
        async with asyncio.TaskGroup() as tasks:
            for block in line.blocks():
                tasks.create_task(_reads(line, block), name="read")
        assert loop.time() - before < 0.3
        assert responder.asked[3][0] - responder.asked[0][0] < 0.1


async def _reads(line: ModbusPoller, block: Block) -> None:
    assert await values(line, block, 1.0) == expected(block)


async def test_answers_in_another_order_find_their_questions() -> None:
    responder = Responder(rtu=False)
    responder.knobs += [late(0.06), late(0.03), late(0.0)]
    device = unit(1, *holding(0), *holding(1000), *holding(2000))
    async with (
        tcp_port(responder) as served,
        tcp(served.port, device, in_flight=3) as line,
        asyncio.TaskGroup() as tasks,
    ):
        for block in line.blocks():
            tasks.create_task(_reads(line, block), name="read")


async def test_a_late_answer_is_passed_over() -> None:
    responder = Responder(rtu=False)
    async with tcp_port(responder) as served, tcp(served.port, unit(1, *holding(0), *holding(1000))) as line:
        first, second = line.blocks()
        for delay in (0.07, 0.09, 0.11):
            responder.knobs += [late(delay), late(0.12)]
            with pytest.raises(DeviceSilent):
                await line.read(first, 0.02)
            assert await values(line, second) == expected(second)


@pytest.mark.parametrize(
    "wrong",
    [
        "02 03 04 00 09 00 09",  # another unit
        "01 04 04 00 09 00 09",  # another function
        "01 03 02 00 09",  # too short
        "01 03 06 00 09 00 09 00 09",  # too long
        "01 84 02",  # the refusal of another function
        "01 03 02 00 09 00 09",  # byte count and length differ
    ],
)
async def test_what_is_not_the_answer_is_none(wrong: str) -> None:
    responder = Responder(rtu=False)
    adu = bytes.fromhex(wrong)
    async with tcp_port(responder) as served, tcp(served.port, unit(1, *holding(0))) as line:
        (block,) = line.blocks()
        responder.knobs.append(lambda request, _: [(0.0, request[:4] + len(adu).to_bytes(2, "big") + adu)])
        with pytest.raises(DeviceSilent):
            await line.read(block, 0.05)
        assert await values(line, block) == expected(block)


async def test_an_answer_in_pieces() -> None:
    responder = Responder(rtu=False)
    responder.usual = lambda _, answer: [(0.004 * at, answer[at : at + 1]) for at in range(len(answer))]
    async with tcp_port(responder) as served, tcp(served.port, unit(1, *holding(0))) as line:
        (block,) = line.blocks()
        for _ in range(2):
            assert await values(line, block, 1.0) == expected(block)


async def test_a_cancelled_silent_read_ends_at_once() -> None:
    responder = Responder(rtu=False)
    async with tcp_port(responder) as served, tcp(served.port, unit(1, *holding(0), *holding(1000))) as line:
        first, second = line.blocks()
        responder.knobs.append(late(0.06))
        loop = asyncio.get_running_loop()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.03):
                await line.read(first, 60.0)
        assert loop.time() - responder.asked[0][0] < 0.1
        for _ in range(3):
            assert await values(line, second) == expected(second)


async def test_writes_land() -> None:
    responder = Responder(rtu=False)
    async with tcp_port(responder) as served, tcp(served.port, unit(1, COIL, REGISTER, WIDE)) as line:
        await line.write("d1", "out", True, CEILING)
        await line.write("d1", "set", 77, CEILING)
        await line.write("d1", "wide", 70000, CEILING)
        assert line.echoes is None
    assert responder.coils == {40: True}
    assert responder.registers == {300: 77, 310: 1, 311: 4464}


async def test_every_question_has_a_number_of_its_own() -> None:
    responder = Responder(rtu=False)
    async with tcp_port(responder) as served, tcp(served.port, unit(1, *holding(0))) as line:
        (block,) = line.blocks()
        for _ in range(3):
            await line.read(block, CEILING)
    first, *others = (int.from_bytes(frame[:2], "big") for _, frame in responder.asked)
    assert [(number - first) % 0xFFFF for number in others] == [1, 2]


async def test_a_device_that_wants_silence_gets_it() -> None:
    responder = Responder(rtu=False)
    async with tcp_port(responder) as served, tcp(served.port, unit(1, *holding(0), silence=0.03)) as line:
        (block,) = line.blocks()
        for _ in range(3):
            await line.read(block, CEILING)
        times = [at for at, _ in responder.asked]
        assert times[1] - times[0] >= 0.03
        assert times[2] - times[1] >= 0.03


async def test_an_answer_that_lies_unread_after_a_lag_of_the_loop_is_no_miss() -> None:
    responder = Responder(rtu=False)
    async with tcp_port(responder) as served, tcp(served.port, unit(1, *holding(0))) as line:
        (block,) = line.blocks()
        loop = asyncio.get_running_loop()

        def lag(_: bytes, answer: bytes) -> list[tuple[float, bytes]]:
            served.connections[0].write(answer)
            end = loop.time() + 0.1
            while loop.time() < end:
                pass
            return []

        responder.knobs.append(lag)
        assert await values(line, block, 0.05) == expected(block)


class Converter:
    """Takes one request after the other to its bus, and waits there for `hold` seconds for a unit that is dead."""

    def __init__(self, *dead: int, hold: float, refuses: bool) -> None:
        self.dead = dead
        self.hold = hold
        self.refuses = refuses
        self.port = 0
        self.connections: list[asyncio.StreamWriter] = []

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["Converter"]:
        async with await asyncio.start_server(self._serve, "127.0.0.1", 0) as server:
            self.port = server.sockets[0].getsockname()[1]
            yield self
            for writer in self.connections:
                writer.close()
                with contextlib.suppress(ConnectionError):
                    await writer.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections.append(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                ask = await reader.readexactly(12)
                count = 2 * ask[11]
                if ask[6] not in self.dead:
                    writer.write(ask[:4] + (3 + count).to_bytes(2, "big") + ask[6:8] + bytes((count, *bytes(count))))
                    continue
                await asyncio.sleep(self.hold)
                if self.refuses:
                    writer.write(ask[:4] + b"\0\3" + bytes((ask[6], ask[7] | 0x80, 11)))
        writer.close()


@pytest.mark.parametrize("refuses", [True, False])
async def test_the_living_are_not_missed_behind_a_dead_unit_that_a_converter_waits_for(refuses: bool) -> None:
    async with Converter(1, hold=0.4, refuses=refuses).serving() as converter:
        devices = [unit(number, *holding(0)) for number in (1, 2, 3)]
        async with tcp(converter.port, *devices) as line:
            dead, second, third = line.blocks()
            await line.read(second, 0.05)
            usual = line.latency
            with pytest.raises(DeviceSilent):
                await line.read(dead, 0.05)
            loop = asyncio.get_running_loop()
            asked = loop.time()
            await line.read(second, 0.05)
            assert 0.2 < loop.time() - asked < 1.0, "its answer was waited for"
            assert line.latency == usual, "what a converter made it wait is not its answer time"
            await line.read(third, 0.05)


async def test_nobody_is_waited_for_behind_its_own_lost_request() -> None:
    async with (
        Converter(1, hold=60.0, refuses=False).serving() as converter,
        tcp(converter.port, unit(1, *holding(0))) as line,
    ):
        (dead,) = line.blocks()
        loop = asyncio.get_running_loop()
        began = loop.time()
        for _ in range(3):
            with pytest.raises(DeviceSilent):
                await line.read(dead, 0.05)
        assert loop.time() - began < 1.0


async def test_the_dead_are_not_waited_for_behind_one_another() -> None:
    """A device with a connection of its own for several units: the others answer at once all the time."""
    async with (
        Converter(1, 2, 3, hold=0.0, refuses=False).serving() as converter,
        tcp(converter.port, *(unit(number, *holding(0)) for number in (1, 2, 3, 4))) as line,
    ):
        *dead, living = line.blocks()
        loop = asyncio.get_running_loop()
        for _ in range(3):
            await line.read(living, 0.05)
            began = loop.time()
            for one in dead:
                with pytest.raises(DeviceSilent):
                    await line.read(one, 0.05)
    assert loop.time() - began < 1.0, "the third time"


async def test_a_write_behind_a_dead_unit_is_waited_for_whoever_was_asked_in_vain() -> None:
    """Given up while the converter has it still, it would be done twice."""
    responder = Responder(rtu=False, units=(1, 2, 3))
    responder.knobs.extend([silent, silent, normal, silent, late(0.3)])
    devices = unit(1, *holding(0)), unit(2, COIL), unit(3, *holding(0))
    async with tcp_port(responder) as served, tcp(served.port, *devices) as line:
        dead, asked_in_vain, heard = line.blocks()
        for _ in range(2):
            with pytest.raises(DeviceSilent):
                await line.read(asked_in_vain, 0.05)
        await line.read(heard, 0.05)
        with pytest.raises(DeviceSilent):
            await line.read(dead, 0.05)
        await line.write("d2", "out", 1, 0.05)

    assert [pdu[0] for pdu in responder.pdus()].count(5) == 1


async def test_who_answered_late_was_not_asked_in_vain() -> None:
    responder = Responder(rtu=False, units=(1, 2))
    responder.knobs.extend([late(0.1), late(0.1), silent, late(0.3)])
    devices = unit(1, *holding(0)), unit(2, *holding(0))
    async with tcp_port(responder) as served, tcp(served.port, *devices) as line:
        dead, living = line.blocks()
        for _ in range(2):
            with pytest.raises(DeviceSilent):
                await line.read(living, 0.05)
            await asyncio.sleep(0.15)
        with pytest.raises(DeviceSilent):
            await line.read(dead, 0.05)

        assert await values(line, living, 0.05) == expected(living)

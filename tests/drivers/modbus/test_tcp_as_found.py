"""Modbus TCP as it is found: strange bytes, odd identities, connections that are closed all the time, floods."""

import asyncio
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import count, repeat

import pytest

from drivers.modbus.connection import MOST_BYTES, Trace
from drivers.modbus.frames import crc16
from drivers.modbus.line import ModbusPoller
from drivers.modbus.settings import LineSettings, ModbusDevice
from gateway.errors import DeviceRefused, DeviceSilent, LineDown
from tests.drivers.modbus.lines import CEILING, COIL, expected, holding, rtu_over_tcp, tcp, unit, values
from tests.drivers.modbus.stranger import Says, Script, Stranger, body, frame, right

READS = 6
HEARTBEAT = b"\x7eHB\r\n"
BANNERS = [
    b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
    b"SSH-2.0-OpenSSH_8.4\r\n",
    bytes.fromhex("15 03 03 00 02 02 28"),  # a TLS alert
    b"866123456789012",
    b"\0" * 8,
    b"\0\1\0\0\xff\xff\1\3",
    b"\xff",
    b"\0",
    bytes.fromhex("00 01 00 00 00 fe 01 03"),  # the header of a frame that never comes
    bytes.fromhex("00 09 00 00 00 05 01 03 02 00 07"),  # a frame that nobody asked for
    bytes.fromhex("01 03 02 00 07 f9 86"),  # an RTU answer
]


async def lost_of(line: ModbusPoller, reads: int = READS, *, timeout: float = CEILING) -> int:
    """How many of the reads had no answer; none may have a wrong one."""
    lost = 0
    for _ in range(reads):
        for block in line.blocks():
            try:
                assert await values(line, block, timeout) == expected(block)
            except DeviceSilent:
                lost += 1
    return lost


def with_an_output(number: int) -> ModbusDevice:
    """One device; its output is written, and not read."""
    return replace(unit(number, *holding(0)), settings=(COIL,))


def one_device() -> tuple[ModbusDevice, ...]:
    return (unit(1, *holding(0), *holding(1000, 3)),)


@pytest.mark.parametrize("strange", BANNERS, ids=repr)
async def test_what_stands_before_behind_or_between_answers_loses_one_read_at_most(strange: bytes) -> None:
    scripts: list[Script] = [
        lambda request: [strange + right(request)],
        lambda request: [right(request) + strange],
        lambda request: [strange, 0.01, right(request)],
        lambda request: [right(request), 0.01, strange],
    ]
    for script in scripts:
        async with Stranger(script, greeting=[strange]).serving() as server, tcp(server.port, *one_device()) as line:
            assert await lost_of(line) <= 1
            assert server.opened == 1, "the connection stays"
            assert int(line.oddities["strange_bytes"] or 0) + int(line.oddities["unasked_frames"] or 0) > 0


async def test_a_heart_beat_in_the_middle_of_the_talk_loses_nothing() -> None:
    idle: Iterable[Says] = (said for _ in count() for said in (HEARTBEAT, 0.004))
    async with (
        Stranger(lambda request: [right(request)], idle=idle).serving() as server,
        tcp(server.port, *one_device()) as line,
    ):
        assert await lost_of(line, 30) == 0
        assert server.opened == 1


async def test_the_checksum_of_a_careless_converter_is_passed_over() -> None:
    async with (
        Stranger(lambda request: [right(request) + crc16(body(request))]).serving() as server,
        tcp(server.port, *one_device()) as line,
    ):
        assert await lost_of(line) == 0


@pytest.mark.parametrize("length", [0, 1, 2, 4, 6, 9, 200, 254, 255, 0x1234])
async def test_a_wrong_length_once_loses_one_read(length: int) -> None:
    def script(request: bytes) -> list[Says]:
        answer = right(request)
        wrong = len(server.asked) == 3
        return [answer[:4] + length.to_bytes(2, "big") + answer[6:] if wrong else answer]

    async with Stranger(script).serving() as server, tcp(server.port, *one_device()) as line:
        assert await lost_of(line) <= 1
        assert server.opened == 1


@pytest.mark.parametrize("garbage", [7, 100, 259, 260, 261, 1000, 5000])
async def test_garbage_of_every_length_and_then_an_answer(garbage: int) -> None:
    noise = bytes((at * 37 + 11) & 0xFF for at in range(garbage))

    def script(request: bytes) -> list[Says]:
        return [noise] if len(server.asked) == 2 else [right(request)]

    async with Stranger(script).serving() as server, tcp(server.port, *one_device()) as line:
        assert await lost_of(line) == 1


# ---- connections --------------------------------------------------------------------------------------


async def test_a_server_that_closes_after_each_answer_is_opened_again_at_once() -> None:
    async with (
        Stranger(lambda request: [right(request), None]).serving() as server,
        tcp(server.port, with_an_output(1)) as line,
    ):
        assert await lost_of(line) == 0
        await line.write("d1", "out", True, CEILING)
        assert server.opened >= READS
        assert int(line.oddities["reopened"] or 0) >= READS


async def test_a_server_that_closes_when_idle_is_opened_again_at_once() -> None:
    def idle() -> Iterator[Says]:
        yield 0.05
        yield None

    class Idle(Stranger):
        async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self._idle = idle()
            await super()._serve(reader, writer)

    async with (
        Idle(lambda request: [right(request)]).serving() as server,
        tcp(server.port, *one_device()) as line,
    ):
        for _ in range(3):
            assert await lost_of(line, 1) == 0
            opened = server.opened
            await asyncio.sleep(0.12)
        assert opened == 3


async def test_a_server_that_closes_at_the_question_is_asked_once_more() -> None:
    """It had closed already and we did not know: the question is lost, and is asked over another connection."""

    def script(request: bytes) -> list[Says]:
        return [None] if len(server.asked) % 2 == 0 else [right(request)]

    async with Stranger(script).serving() as server, tcp(server.port, *one_device()) as line:
        assert await lost_of(line) == 0


async def test_a_server_that_closes_without_any_answer_is_no_line() -> None:
    async with Stranger(lambda _: [None]).serving() as server, tcp(server.port, *one_device()) as line:
        with pytest.raises(LineDown):
            await line.read(line.blocks()[0], CEILING)
        assert server.opened == 1


async def test_rtu_over_tcp_is_opened_again_at_once_too() -> None:
    """The serial server closes what is idle; the talk on its bus goes on."""

    class Rtu(Stranger):
        async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.opened += 1
            request = await reader.readexactly(8)
            answer = body(b"\0" * 6 + request)
            writer.write(answer + crc16(answer))
            await writer.drain()
            writer.close()

    async with (
        Rtu(lambda _: []).serving() as server,
        rtu_over_tcp(server.port, unit(1, *holding(0))) as line,
    ):
        (block,) = line.blocks()
        for _ in range(3):
            try:
                assert await values(line, block) == expected(block)
            except DeviceSilent:
                continue  # what proves the pairing anew may cost a read
        assert server.opened >= 3


# ---- identity -----------------------------------------------------------------------------------------


def strict(port: int, *devices: ModbusDevice) -> ModbusPoller:
    return ModbusPoller(LineSettings(name="tcp", host="127.0.0.1", port=port, strict=True, devices=devices))


def named(shift: int | None, said: int | None) -> Script:
    """One who says his own transaction id and unit."""

    def script(request: bytes) -> list[Says]:
        number = 0 if shift is None else int.from_bytes(request[:2], "big") + shift
        answer = body(request)
        return [frame(number, answer if said is None else bytes((said,)) + answer[1:])]

    return script


@pytest.mark.parametrize("asked", [0, 1, 255])
@pytest.mark.parametrize("said", [None, 0, 255])
@pytest.mark.parametrize("shift", [0, 1, None])
async def test_identity_as_devices_have_it_is_learnt_and_told(shift: int | None, said: int | None, asked: int) -> None:
    async with Stranger(named(shift, said)).serving() as server:
        async with tcp(server.port, with_an_output(asked)) as line:
            assert await lost_of(line) == 0
            await line.write(f"d{asked}", "out", True, CEILING)
            odd = shift != 0 or said not in (None, asked)
            assert (line.oddities["identity"] is not None) is odd
        async with strict(server.port, unit(asked, *holding(0))) as line:
            (block,) = line.blocks()
            if odd:
                with pytest.raises(DeviceSilent):
                    await line.read(block, 0.03)
            else:
                assert await values(line, block) == expected(block)


async def test_who_has_named_the_question_once_is_held_to_it() -> None:
    def script(request: bytes) -> list[Says]:
        return [right(request)] if len(server.asked) == 1 else [frame(0, body(request))]

    async with Stranger(script).serving() as server, tcp(server.port, unit(1, *holding(0))) as line:
        (block,) = line.blocks()
        await line.read(block, CEILING)
        with pytest.raises(DeviceSilent):
            await line.read(block, 0.03)


@pytest.mark.parametrize("shift", [0, 1, None])
async def test_a_late_answer_is_nobody_elses_whatever_number_it_has(shift: int | None) -> None:
    """Two reads of one shape; the answer to the first comes after its time, into the second."""

    def script(request: bytes) -> list[Says]:
        answer = [*named(shift, None)(request)]
        late = len(server.asked) in (1, 4)
        return [0.08, *answer] if late else answer

    device = unit(1, *holding(0), *holding(1000), timeout=0.15)
    async with Stranger(script).serving() as server, tcp(server.port, device) as line:
        first, second = line.blocks()
        for _ in range(4):
            for block in (first, second):
                try:
                    assert await values(line, block, 0.04) == expected(block)
                except DeviceSilent:
                    continue
        assert await values(line, first) == expected(first)


async def test_a_refusal_by_one_who_says_no_number_is_a_refusal() -> None:
    async with (
        Stranger(lambda request: [frame(0, bytes((request[6], request[7] | 0x80, 2)))]).serving() as server,
        tcp(server.port, unit(1, *holding(0))) as line,
    ):
        with pytest.raises(DeviceRefused):
            await line.read(line.blocks()[0], CEILING)


# ---- floods -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("piece", [frame(9, b"\1\3\2\0\7"), b"\0", b"HTTP/1.1 ", b"\0\1\0\0\0\6\1\3"], ids=repr)
async def test_a_line_that_floods_is_closed_and_counted_and_costs_little(piece: bytes) -> None:
    flood: Iterable[Says] = repeat(piece * (65536 // len(piece)))
    async with (
        Stranger(lambda request: [right(request)], idle=flood).serving() as server,
        tcp(server.port, *one_device()) as line,
    ):
        began = time.process_time()
        with pytest.raises(LineDown, match="floods"):
            await lost_of(line, 1000)
        assert time.process_time() - began < 1.0
        assert line.oddities["floods"] == 1
        with pytest.raises(LineDown):
            await line.read(line.blocks()[0], CEILING)
        assert server.opened == 1, "it is for the line to rest before it opens it again"


@pytest.mark.parametrize("size", [1, 12, 260, 5000, 262_144])
def test_what_a_line_remembers_is_bounded_in_bytes_whatever_the_pieces(size: int) -> None:
    trace = Trace(1_000_000)
    for number in range(3 * MOST_BYTES // (size + 200) + 300):
        trace.append(("<", float(number), bytes(size)))
    assert sum(len(data) + 200 for _, _, data in trace) <= MOST_BYTES
    assert trace[-1][1] == float(number)
    assert len(trace) > 200


async def test_one_byte_at_a_time_is_an_answer_all_the_same() -> None:
    def script(request: bytes) -> Iterator[Says]:
        for byte in HEARTBEAT + right(request):
            yield bytes((byte,))
            yield 0.001

    async with Stranger(script).serving() as server, tcp(server.port, unit(1, *holding(0))) as line:
        assert await lost_of(line, 3, timeout=1.0) == 0


@pytest.mark.parametrize("in_flight", [1, 4])
async def test_an_answer_kept_from_a_lost_connection_is_nobodys(in_flight: int) -> None:
    """A converter hands it out in the next connection, whether that follows at once or after the line was closed."""
    kept: list[bytes] = []

    def script(request: bytes) -> Iterable[Says]:
        if len(server.asked) % 2:  # its answer goes to the next connection, as that of another place
            kept.append(frame(int.from_bytes(request[:2], "big"), body(request[:8] + b"\x0f\xa0" + request[10:])))
            return [None]
        return [*kept, right(request)]

    server = Stranger(script)
    async with server.serving():
        line = tcp(server.port, *one_device(), in_flight=in_flight)
        for _ in range(READS):
            with suppress(LineDown):
                async with line:
                    for block in line.blocks():
                        assert await values(line, block) == expected(block)
    assert len(server.asked) >= 2 * READS


@pytest.mark.parametrize("shifts", [False, True])
async def test_nor_where_answers_have_no_number(shifts: bool) -> None:
    """What is kept comes with the next question: before its answer, or instead, and so it goes on."""
    kept: list[bytes] = []

    def script(request: bytes) -> Iterable[Says]:
        answer = frame(0, body(request))
        if server.opened % 2 and len(server.asked) % 9 == 8:
            kept.append(frame(0, body(request[:8] + b"\x0f\xa0" + request[10:])))
            return [None]
        kept.append(answer)
        given = [kept.pop(0)] if shifts else kept.copy()
        if not shifts:
            kept.clear()
        return given

    server = Stranger(script)
    read = 0
    async with server.serving():
        line = tcp(server.port, *one_device())
        for _ in range(READS):
            with suppress(LineDown):
                async with line:
                    for block in (*line.blocks(), *line.blocks()):
                        with suppress(DeviceSilent):
                            assert await values(line, block) == expected(block)
                            read += 1
    assert server.opened > 1
    assert shifts or read > READS


@pytest.mark.parametrize("habit", ["refuses", "ignores", "closes"])
async def test_one_without_numbers_that_cannot_prove_anything_is_read_all_the_same(habit: str) -> None:
    def script(request: bytes) -> Iterable[Says]:
        answer = frame(0, body(request))
        if habit == "closes":
            return [answer, None]
        if request[8:12] in (b"\0\0\0\2", b"\3\xe8\0\3"):
            return [answer]
        return [frame(0, bytes((1, 0x83, 2)))] if habit == "refuses" else []

    server = Stranger(script)
    async with server.serving(), tcp(server.port, *one_device()) as line:
        lost = await lost_of(line, 12)
    assert lost <= (2 if habit == "ignores" else 0)

"""Bad input behind a serial server (RTU over TCP): bounded memory, a flood is closed and counted, the rest passes."""

import asyncio
import random
from contextlib import suppress

import pytest

from gateway.errors import DeviceError, LineDown
from tests.drivers.modbus.lines import expected, holding, rtu_over_tcp, unit, until, values
from tests.drivers.modbus.responder import Knob, Responder, tcp_port

CEILING = 0.15
NOISE = random.Random(3)  # noqa: S311 - repeatable
STRANGE = {
    "garbage": NOISE.randbytes(700),
    "MBAP": bytes.fromhex("000100000007010304000b000c"),
    "HTTP": b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
    "TLS": bytes.fromhex("15030100020246"),
    "Telnet": bytes.fromhex("fffd01fffd1ffffb01fffb03") + b"login: ",
    "zeros": bytes(300),
}


def behind(noise: bytes) -> Knob:
    return lambda _, answer: [(0.0, noise + answer)]


@pytest.mark.parametrize("what", STRANGE)
async def test_strange_bytes_cost_a_read_at_most(what: str) -> None:
    responder = Responder(rtu=True)
    async with tcp_port(responder) as served, rtu_over_tcp(served.port, unit(1, *holding(0))) as line:
        (block,) = line.blocks()
        assert await values(line, block) == expected(block)
        for _ in range(3):
            served.connections[-1].write(STRANGE[what])
            with suppress(DeviceError):
                assert await values(line, block) == expected(block)
            assert await values(line, block) == expected(block)


async def test_garbage_of_every_length_is_passed_over() -> None:
    responder = Responder(rtu=True)
    async with tcp_port(responder) as served, rtu_over_tcp(served.port, unit(1, *holding(0))) as line:
        (block,) = line.blocks()
        for size in range(0, 300, 7):
            responder.usual = behind(NOISE.randbytes(size))
            assert await values(line, block) == expected(block)


async def test_a_byte_at_a_time_is_an_answer_too() -> None:
    responder = Responder(rtu=True)
    responder.usual = lambda _, answer: [(0.002 * at, answer[at : at + 1]) for at in range(len(answer))]
    async with tcp_port(responder) as served, rtu_over_tcp(served.port, unit(1, *holding(0))) as line:
        (block,) = line.blocks()
        assert await values(line, block) == expected(block)


async def test_a_serial_server_that_floods_is_closed_and_counted() -> None:
    """Beside it another line is read as ever."""
    responder, other = Responder(rtu=True), Responder(rtu=True)
    async with (
        tcp_port(responder) as served,
        tcp_port(other) as well,
        rtu_over_tcp(served.port, unit(1, *holding(0))) as line,
        rtu_over_tcp(well.port, unit(1, *holding(0))) as beside,
    ):
        (block,), (theirs,) = line.blocks(), beside.blocks()
        assert await values(line, block) == expected(block)
        assert await values(beside, theirs) == expected(theirs)
        served.connections[-1].write(b"\x01\x03\x04" * (1 << 20))
        await until(lambda: bool(line.oddities["floods"]))
        with pytest.raises(LineDown, match="floods"):
            await line.read(block, CEILING)
        loop = asyncio.get_running_loop()
        began = loop.time()
        assert await values(beside, theirs) == expected(theirs)
        assert loop.time() - began < CEILING
        assert sum(len(data) for _, _, data in line.frames) < 4 << 20

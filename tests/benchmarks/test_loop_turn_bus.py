"""The longest turn of the event loop while RTU bytes are read at the size limit, and what pairing costs a bus.

As in `test_loop_turn.py`: thread time, beside the same loop while nobody sends.
"""

import asyncio
import statistics

import pytest

from drivers.modbus.frames import crc16, read
from drivers.modbus.pairing import Pairing, UnitLimits
from drivers.modbus.wiretime import WireTime
from gateway.errors import GatewayError
from simulators.frames import Framing
from tests.benchmarks.test_loop_turn import BUDGET_S, FLOOR_FOR_S, PIECE, longest_turn
from tests.drivers.modbus.lines import expected, holding, rtu_over_tcp, unit, values
from tests.drivers.modbus.responder import Responder, tcp_port

POURED = 4 << 20
LATENCY_S = 0.005
UNITS = 8
TURNS = 1000


def sealed(adu: bytes) -> bytes:
    return adu + crc16(adu)


CRAFTED = {
    "nothing but zeros": bytes(PIECE),
    "noise": bytes(range(256)) * (PIECE // 256),
    "heads of answers that never end": b"\x01\x03\x08" * (PIECE // 3),
    "sound frames of others": sealed(b"\x01\x03\x02\x00\x01") * (PIECE // 7),
    "questions of others": sealed(b"\x01\x03\x00\x00\x00\x04") * (PIECE // 8),
}


@pytest.mark.parametrize("crafted", CRAFTED)
async def test_the_longest_turn_of_the_rtu_parser(crafted: str) -> None:
    responder = Responder(rtu=True)
    async with tcp_port(responder) as served, rtu_over_tcp(served.port, unit(1, *holding(0, 4))) as line:
        (block,) = line.blocks()
        assert await values(line, block, 1.0) == expected(block)
        floor = await longest_turn(asyncio.sleep(FLOOR_FOR_S))
        data = CRAFTED[crafted]

        async def work() -> None:
            transport = served.connections[-1]
            for _ in range(POURED // PIECE):
                transport.write(data)
                try:
                    await line.read(block, 0.02)
                except GatewayError:
                    await asyncio.sleep(0)

        longest = await longest_turn(work())
    print(f"\nRTU, {crafted}: longest turn {1000 * longest:.1f} ms, beside {1000 * floor:.1f} ms in the quiet")  # noqa: T201
    assert longest <= BUDGET_S


@pytest.mark.parametrize("baudrate", [9600, 19200, 115200])
@pytest.mark.parametrize("registers", [1, 2, 25])
def test_what_pairing_costs(baudrate: int, registers: int) -> None:
    """The wire time of a round in the quiet, in the shapes that are asked, beside the requests as they are planned."""
    framing = Framing(baudrate)
    time = WireTime(framing.character, framing.silence, bus=True)
    pairing = Pairing(lambda pdu, number: sealed(bytes((number,)) + pdu), {})
    asks = [read(number, 3, 0, registers, lambda pdu, u: sealed(bytes((u,)) + pdu)) for number in range(1, UNITS + 1)]
    pairing = Pairing(lambda pdu, u: sealed(bytes((u,)) + pdu), dict.fromkeys(range(1, UNITS + 1), UnitLimits()))

    def cost(size: int) -> float:
        return time.frame(8 + size + 2) + 2 * time.silence + LATENCY_S

    bare = sum(cost(ask.size) for ask in asks)
    ours = statistics.fmean(sum(cost(pairing.plain(ask).size) for ask in asks) for _ in range(TURNS))
    print(f"\n{baudrate} baud, {registers} registers: {ours / bare - 1:.2%} beside a bare loop")  # noqa: T201
    assert ours <= 1.02 * bare

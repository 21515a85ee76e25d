"""An order goes first: who is hardly there is not waited for, and its late answer passes for nothing."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import pytest

from drivers.modbus.line import ModbusPoller
from gateway.driver import Block, Yielding
from gateway.errors import DeviceSilent, GaveWay
from tests.drivers.modbus.lines import COIL, expected, holding, serial, tcp, unit, until, values
from tests.drivers.modbus.responder import Responder, late, pty_port, silent, tcp_port

SLOW = 0.6
HASTE = 0.05


@asynccontextmanager
async def two(responder: Responder) -> AsyncIterator[tuple[ModbusPoller, Block, Block]]:
    """A line with a living unit that has a coil, and one that may take long; a block of each."""
    devices = unit(1, *holding(0), COIL), unit(2, *holding(0), *holding(1000), COIL, timeout=SLOW)
    with pty_port(responder) as port:
        async with serial(port.path, *devices) as line:
            living, slow = (next(b for b in line.blocks() if b.device == d and "h0" in b.points) for d in ("d1", "d2"))
            assert await values(line, living) == expected(living)
            yield line, living, slow


def sent(line: ModbusPoller) -> list[float]:
    """When each request went out."""
    return [at for sign, at, _ in line.frames if sign == ">"]


async def given_up(line: ModbusPoller, block: Block, haste: float | None) -> bool:
    """Read the block; an order comes once it is sent (`haste`: None: while it waits). Whether it had been sent."""
    before = len(sent(line))

    async def read() -> bool:
        with pytest.raises(GaveWay) as gave_way:
            await line.read(block, SLOW)
        return gave_way.value.sent

    async with asyncio.TaskGroup() as group:
        task = group.create_task(read(), name="read")
        await asyncio.sleep(0)
        if haste is not None:
            await until(lambda: len(sent(line)) > before)
        line.give_way(haste)
    return task.result()


async def test_the_wait_for_a_probe_is_cut_short_and_the_order_follows_the_legal_silence() -> None:
    responder = Responder(rtu=True, units=[1])
    async with two(responder) as (line, _, slow):
        assert isinstance(line, Yielding)
        loop = asyncio.get_running_loop()
        began = loop.time()
        assert await given_up(line, slow, HASTE)
        await line.write("d1", "out", True, SLOW)
        assert responder.coils == {40: True}
        assert loop.time() - began < SLOW / 2
        probe, write = sent(line)[-2:]
        assert write - probe >= HASTE, "the legal silence is long over by then"


async def test_nobody_reads_before_the_late_answer_of_the_one_that_was_cut_off_can_be_there() -> None:
    responder = Responder(rtu=True, units=[1])
    async with two(responder) as (line, living, slow):
        began = asyncio.get_running_loop().time()
        assert await given_up(line, slow, HASTE)
        await line.write("d1", "out", True, SLOW)
        assert await values(line, living, SLOW) == expected(living)
        assert asyncio.get_running_loop().time() - began >= SLOW


async def test_what_waits_for_its_turn_gives_way_unsent() -> None:
    """The line is left alone after a time-out: no read goes out, but an order does."""
    responder = Responder(rtu=True, units=[1])
    async with two(responder) as (line, living, slow):
        with pytest.raises(DeviceSilent):
            await line.read(slow, 0.02)
        asked = len(responder.asked)
        began = asyncio.get_running_loop().time()
        assert not await given_up(line, living, None)
        await line.write("d1", "out", True, SLOW)
        assert asyncio.get_running_loop().time() - began < SLOW / 2
        assert [frame[1] for _, frame in responder.asked[asked:]] == [5]
        assert await values(line, living, SLOW) == expected(living)


async def test_the_answer_of_a_living_unit_is_waited_for() -> None:
    responder = Responder(rtu=True)
    async with two(responder) as (line, living, _):
        responder.knobs.append(late(0.1))
        asked = len(responder.asked)
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(values(line, living, SLOW), name="read")
            await until(lambda: len(responder.asked) > asked)
            line.give_way(None)
            assert await reading == expected(living)


async def test_an_answer_that_has_begun_is_heard_to_its_end() -> None:
    responder = Responder(rtu=True)
    answers: list[bytes] = []

    def begins(_: bytes, answer: bytes) -> Iterable[tuple[float, bytes]]:
        answers.append(answer)
        return [(0.0, answer[:4])]

    with pty_port(responder) as port:
        async with serial(port.path, unit(1, *holding(0), timeout=SLOW)) as line, asyncio.TaskGroup() as group:
            (block,) = line.blocks()
            assert await values(line, block) == expected(block)
            responder.usual = begins
            line.frames.clear()
            reading = group.create_task(values(line, block, SLOW), name="read")
            await until(lambda: bool(line.frames) and line.frames[-1][0] == "<")
            line.give_way(0.0)
            port.send(answers[0][4:])
            assert await reading == expected(block)


@pytest.mark.parametrize("delay", [0.06, 0.1, 0.3, 0.55])
async def test_a_late_answer_after_the_cut_passes_for_nothing(delay: float) -> None:
    """Neither for the order's, to whomever, nor for the next read of that unit, of the same shape."""
    responder = Responder(rtu=True, units=[1, 2])
    async with two(responder) as (line, _, slow):
        responder.knobs.append(late(delay))
        assert await given_up(line, slow, HASTE)
        await line.write("d1", "out", True, SLOW)
        assert responder.coils == {40: True}
        other = next(block for block in line.blocks() if "h1000" in block.points)
        assert await values(line, other, SLOW) == expected(other)
        assert await values(line, slow, SLOW) == expected(slow)


async def test_the_late_answer_that_garbles_the_orders_makes_it_a_miss() -> None:
    """Both speak at once: the order was not answered, so it is not done; given again it is."""
    responder = Responder(rtu=True, units=[1, 2])
    async with two(responder) as (line, _, slow):
        responder.knobs.append(silent)
        responder.knobs.append(lambda _, answer: [(0.0, bytes(byte ^ 0x21 for byte in answer))])
        assert await given_up(line, slow, HASTE)
        with pytest.raises(DeviceSilent) as missed:
            await line.write("d1", "out", True, 0.15)
        assert not isinstance(missed.value, GaveWay)
        await line.write("d1", "out", True, SLOW)


async def test_an_order_to_the_unit_that_was_cut_off_waits_until_it_cannot_answer_any_more() -> None:
    responder = Responder(rtu=True, units=[1, 2])
    async with two(responder) as (line, _, slow):
        responder.knobs.append(late(0.5))
        assert await given_up(line, slow, HASTE)
        await line.write("d2", "out", True, SLOW)
        cut, write = sent(line)[-2:]
        assert write - cut >= 0.5


async def test_a_write_to_a_dead_unit_gives_way_too_and_nothing_is_done() -> None:
    responder = Responder(rtu=True, units=[1])
    async with two(responder) as (line, _, _):
        asyncio.get_running_loop().call_later(0.01, line.give_way, HASTE)
        with pytest.raises(GaveWay):
            await line.write("d2", "out", True, SLOW)
        assert not responder.coils
        await line.write("d1", "out", True, SLOW)


async def test_with_nothing_under_way_nothing_gives_way() -> None:
    responder = Responder(rtu=True, units=[1, 2])
    async with two(responder) as (line, living, _):
        line.give_way(0.0)
        assert await values(line, living) == expected(living)
    line.give_way(0.0)


async def test_on_tcp_nothing_is_given_up() -> None:
    """Answers are told apart by their numbers there, and a converter would not be any quicker for it."""
    responder = Responder(rtu=False)
    async with tcp_port(responder) as served, tcp(served.port, unit(1, *holding(0))) as line:
        responder.knobs.append(late(0.05))
        (block,) = line.blocks()
        asyncio.get_running_loop().call_later(0.01, line.give_way, 0.0)
        assert await values(line, block) == expected(block)
        await until(lambda: len(responder.asked) == 1)

"""RTU frames, on a pty and over TCP, with everything that goes wrong on a bus."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest

from drivers.modbus.frames import crc16
from drivers.modbus.line import ModbusPoller
from drivers.modbus.settings import ModbusDevice
from gateway.errors import DeviceRefused, DeviceSilent
from tests.drivers.modbus.lines import (
    CEILING,
    COIL,
    REGISTER,
    WIDE,
    expected,
    holding,
    rtu_over_tcp,
    serial,
    unit,
    until,
    values,
)
from tests.drivers.modbus.responder import (
    Responder,
    echo,
    instead,
    late,
    only_echo,
    pty_port,
    silent,
    tcp_port,
)


@asynccontextmanager
async def bus(
    kind: str, responder: Responder, *devices: ModbusDevice, proved: bool = True
) -> AsyncIterator[ModbusPoller]:
    """A line whose pairing was `proved`: the first read after an opening does that."""
    if kind == "pty":
        with pty_port(responder) as port:
            async with serial(port.path, *devices) as line:
                if proved:
                    await prove(line, responder)
                yield line
    else:
        async with tcp_port(responder) as served, rtu_over_tcp(served.port, *devices) as line:
            if proved:
                await prove(line, responder)
            yield line


async def prove(line: ModbusPoller, responder: Responder) -> None:
    """The first read after an opening proves; after a second one the next is in its usual shape. No trace is left."""
    first = line.blocks()[0]
    for _ in range(2):
        assert await values(line, first, CEILING) is not None
    responder.asked.clear()
    line.frames.clear()


def framed(data: str) -> bytes:
    frame = bytes.fromhex(data)
    return frame + crc16(frame)


both = pytest.mark.parametrize("kind", ["pty", "tcp"])


@both
async def test_reads_every_table(kind: str) -> None:
    responder = Responder(rtu=True, units=[7])
    async with bus(kind, responder, unit(7, *holding(100, 25), COIL, WIDE)) as line:
        found: dict[str, object] = {}
        for block in line.blocks():
            answer = await values(line, block)
            assert "h100" not in answer or answer == expected(block)
            found |= answer
        assert {"h100", "h124"} <= found.keys()
        assert (found["wide"], found["out"]) == (310 << 16 | 311, False)


@both
@pytest.mark.parametrize("delay", [0.08, CEILING - 0.02, CEILING + 0.05])
async def test_a_late_answer_never_lands_under_another_point(kind: str, delay: float) -> None:
    """Two reads of the same shape; the first one's answer comes while or after the line is left alone."""
    responder = Responder(rtu=True)
    async with bus(kind, responder, unit(1, *holding(0), *holding(1000))) as line:
        first, second = line.blocks()
        for _ in range(3):
            responder.knobs.append(late(delay))
            with pytest.raises(DeviceSilent):
                await line.read(first, 0.02)
            for block in (second, first, second):
                assert await values(line, block) == expected(block)


@both
async def test_a_late_refusal_refuses_nothing_else(kind: str) -> None:
    responder = Responder(rtu=True)
    async with bus(kind, responder, unit(1, *holding(0), *holding(1000))) as line:
        first, second = line.blocks()
        responder.knobs.append(lambda _, __: [(CEILING + 0.03, framed("01 83 02"))])
        with pytest.raises(DeviceSilent):
            await line.read(first, 0.02)
        assert await values(line, second) == expected(second)


@both
async def test_two_late_refusals_refuse_nothing_else(kind: str) -> None:
    """The one to the lost question, then the one to the question that was to clear it up."""
    responder = Responder(rtu=True)
    async with bus(kind, responder, unit(1, *holding(0), *holding(1000))) as line:
        first, second = line.blocks()
        refusal = framed("01 83 02")
        responder.knobs += [
            lambda _, __: [(CEILING + 0.03, refusal)],
            lambda _, __: [(0.03, refusal)],
        ]
        with pytest.raises(DeviceSilent):
            await line.read(first, 0.02)
        assert await values(line, second) == expected(second)


async def test_after_a_miss_the_line_is_quiet_until_the_longest_answer_time() -> None:
    responder = Responder(rtu=True, units=[1, 2])
    async with bus("pty", responder, unit(1, *holding(0)), unit(2, *holding(5))) as line:
        first, second = line.blocks()
        responder.knobs.append(silent)
        begun = asyncio.get_running_loop().time()  # before the responder can have seen anything, however late it looks
        with pytest.raises(DeviceSilent):
            await line.read(first, 0.02)
        assert await values(line, second) == expected(second)
        assert responder.asked[1][0] - begun >= CEILING


async def test_a_late_answer_ends_the_quiet() -> None:
    responder = Responder(rtu=True)
    async with bus("pty", responder, unit(1, *holding(0), timeout=3.0)) as line:
        (block,) = line.blocks()
        responder.knobs.append(late(0.06))
        with pytest.raises(DeviceSilent):
            await line.read(block, 0.02)
        assert await values(line, block) == expected(block)
        assert responder.asked[1][0] - responder.asked[0][0] < 1.0
        assert len(responder.asked) == 2  # nothing is in doubt: no other question first


async def test_after_a_miss_another_count_is_asked_first() -> None:
    responder = Responder(rtu=True)
    async with bus("pty", responder, unit(1, *holding(0))) as line:
        (block,) = line.blocks()
        responder.knobs.append(silent)
        with pytest.raises(DeviceSilent):
            await line.read(block, 0.02)
        assert await values(line, block) == expected(block)
        counts = [pdu[4] for pdu in responder.pdus()]
        assert len(counts) == 4, "what was lost, two that prove the pairing, the wanted one"
        assert all(before != after for before, after in pairwise(counts))
        assert not {counts[1], counts[2]} & {2, counts[0]}, "what may still come has another count"


async def test_a_unit_that_answers_only_one_count_comes_back_too() -> None:
    responder = Responder(rtu=True)
    responder.usual = lambda request, answer: [(0.0, answer)] if request[5] == 2 else []
    async with bus("pty", responder, unit(1, *holding(0)), proved=False) as line:
        (block,) = line.blocks()
        with pytest.raises(DeviceSilent):
            await line.read(block, 0.02)
        for _ in range(5):
            assert await values(line, block) == expected(block)
        responder.knobs.append(silent)
        with pytest.raises(DeviceSilent):
            await line.read(block, 0.02)
        assert await values(line, block) == expected(block)


@both
async def test_a_dead_device_costs_one_request_per_try_and_others_answer(kind: str) -> None:
    responder = Responder(rtu=True, units=[1])
    async with bus(kind, responder, unit(1, *holding(0)), unit(2, *holding(5))) as line:
        alive, dead = line.blocks()
        for tries in range(1, 4):
            with pytest.raises(DeviceSilent):
                await line.read(dead, 0.02)
            assert await values(line, alive) == expected(alive)
            assert len(responder.asked) == 2 * tries


@both
@pytest.mark.parametrize("before", ["00", "ff", "00 01", "01 03", "01 83 01 03", "00 01 03 04 00 00"])
async def test_glitch_bytes_before_an_answer_do_not_lose_it(kind: str, before: str) -> None:
    responder = Responder(rtu=True, units=[1])
    async with bus(kind, responder, unit(1, *holding(0))) as line:
        (block,) = line.blocks()
        responder.usual = lambda _, answer: [(0.0, bytes.fromhex(before) + answer)]
        for _ in range(3):
            assert await values(line, block) == expected(block)


@both
@pytest.mark.parametrize(
    "wrong",
    [
        framed("02 03 04 00 09 00 09"),  # another unit
        framed("01 04 04 00 09 00 09"),  # another function
        framed("01 03 02 00 09"),  # too short
        framed("01 03 06 00 09 00 09 00 09"),  # too long
        framed("01 84 02"),  # the refusal of another function
        bytes.fromhex("01 03 04 00 09 00 09 00 00"),  # CRC
        framed("01 03 04 00 09 00 09")[:-1],  # cut
        b"\x55" * 300,
    ],
)
async def test_what_is_not_the_answer_is_none(kind: str, wrong: bytes) -> None:
    responder = Responder(rtu=True)
    async with bus(kind, responder, unit(1, *holding(0))) as line:
        (block,) = line.blocks()
        responder.knobs.append(instead(wrong))
        with pytest.raises(DeviceSilent):
            await line.read(block, 0.03)
        assert await values(line, block) == expected(block)


async def test_an_answer_in_pieces_is_waited_for_once_it_has_begun() -> None:
    """At 1200 baud a request takes 67 ms and the answer 75 ms: the time-out is for the first byte."""
    responder = Responder(rtu=True)
    responder.usual = lambda _, answer: [(0.04, answer[:3]), (0.15, answer[3:])]
    with pty_port(responder) as port:
        async with serial(port.path, unit(1, *holding(0)), baudrate=1200) as line:
            (block,) = line.blocks()
            assert await values(line, block, 0.04) == expected(block)


@both
@pytest.mark.parametrize("code", [1, 2, 3, 4, 8])
async def test_a_refusal_tells_its_code(kind: str, code: int) -> None:
    responder = Responder(rtu=True)
    async with bus(kind, responder, unit(1, *holding(0))) as line:
        (block,) = line.blocks()
        responder.knobs.append(instead(framed(f"01 83 {code:02x}")))
        with pytest.raises(DeviceRefused) as refused:
            await line.read(block, CEILING)
        assert refused.value.code == code
        assert await values(line, block) == expected(block)
        assert len(responder.asked) == 2


@pytest.mark.parametrize(
    ("code", "error"), [(5, DeviceRefused), (6, DeviceRefused), (10, DeviceSilent), (11, DeviceSilent)]
)
async def test_a_read_that_is_refused_tells_its_code(code: int, error: type[DeviceRefused | DeviceSilent]) -> None:
    """Who is busy shows life; a converter that refuses for a unit says that it does not."""
    responder = Responder(rtu=True)
    async with bus("pty", responder, unit(1, *holding(0))) as line:
        (block,) = line.blocks()
        responder.knobs.append(instead(framed(f"01 83 {code:02x}")))
        with pytest.raises(error, match=str(code)) as raised:
            await line.read(block, CEILING)
        assert getattr(raised.value, "code", None) == code


@both
async def test_writes_land(kind: str) -> None:
    responder = Responder(rtu=True)
    async with bus(kind, responder, unit(1, COIL, REGISTER, WIDE)) as line:
        await line.write("d1", "out", True, CEILING)
        await line.write("d1", "set", 77, CEILING)
        await line.write("d1", "wide", 70000, CEILING)
        assert line.echoes is False
    assert responder.coils == {40: True}
    assert responder.registers == {300: 77, 310: 1, 311: 4464}


@both
async def test_an_echoing_adapter_is_recognised(kind: str) -> None:
    responder = Responder(rtu=True)
    responder.usual = echo
    async with bus(kind, responder, unit(1, *holding(0), COIL, REGISTER, WIDE), proved=False) as line:
        block = next(block for block in line.blocks() if "h0" in block.points)
        assert await values(line, block) == expected(block)
        assert line.echoes is True
        await line.write("d1", "out", True, CEILING)
        await line.write("d1", "set", 5, CEILING)
        await line.write("d1", "wide", 5, CEILING)
    assert responder.coils == {40: True}


@both
@pytest.mark.parametrize("read_first", [True, False])
@pytest.mark.parametrize("point", ["out", "set", "wide"])
async def test_an_echo_never_fakes_a_write_to_a_dead_device(kind: str, read_first: bool, point: str) -> None:
    responder = Responder(rtu=True)
    async with bus(kind, responder, unit(1, *holding(0), COIL, REGISTER, WIDE), proved=False) as line:
        block = next(block for block in line.blocks() if "h0" in block.points)
        responder.usual = echo
        if read_first:
            assert await values(line, block) == expected(block)
        responder.usual = only_echo
        for _ in range(2):
            with pytest.raises(DeviceSilent):
                await line.write("d1", point, 1, 0.03)
        responder.usual = echo
        await line.write("d1", point, 1, CEILING)


async def test_a_write_does_not_wait_for_another_units_late_answer() -> None:
    responder = Responder(rtu=True, units=[1])
    devices = unit(1, *holding(0), COIL), unit(2, *holding(5), timeout=2.0)
    async with bus("pty", responder, *devices) as line:
        alive = next(block for block in line.blocks() if "h0" in block.points)
        dead = next(block for block in line.blocks() if block.device == "d2")
        assert await values(line, alive) == expected(alive)
        with pytest.raises(DeviceSilent):
            await line.read(dead, 0.02)
        before = asyncio.get_running_loop().time()
        await line.write("d1", "out", True, CEILING)
        assert asyncio.get_running_loop().time() - before < 0.5
        await line.read(alive, CEILING)
        assert asyncio.get_running_loop().time() - before >= 1.5


@both
async def test_a_cancelled_silent_read_ends_at_once_and_leaves_the_line_usable(kind: str) -> None:
    responder = Responder(rtu=True)
    async with bus(kind, responder, unit(1, *holding(0), *holding(1000))) as line:
        first, second = line.blocks()
        responder.knobs.append(late(0.08))
        loop = asyncio.get_running_loop()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.03):
                await line.read(first, 60.0)
        assert loop.time() - responder.asked[0][0] < 0.1
        assert await values(line, second) == expected(second)


async def test_requests_keep_the_silence_of_the_bus_and_of_the_device() -> None:
    responder = Responder(rtu=True)
    with pty_port(responder) as port:
        async with serial(port.path, unit(1, *holding(0), silence=0.03), baudrate=9600) as line:
            (block,) = line.blocks()
            for _ in range(4):
                assert await values(line, block) == expected(block)
            received = [at for sign, at, _ in line.frames if sign == "<"]
            sent = [at for sign, at, _ in line.frames if sign == ">"]
            assert all(after - before >= 0.03 for before, after in zip(received, sent[1:], strict=False))


async def test_a_bus_that_is_never_quiet_does_not_stop_the_asking() -> None:
    responder = Responder(rtu=True)
    with pty_port(responder) as port:
        async with serial(port.path, unit(1, *holding(0), silence=0.05)) as line:
            (block,) = line.blocks()

            async def babble() -> None:
                while True:
                    port.send(b"\x00")
                    await asyncio.sleep(0.001)

            async with asyncio.TaskGroup() as tasks:
                noise = tasks.create_task(babble(), name="babble")
                await until(lambda: len(line.frames) > 1)
                assert await values(line, block) == expected(block)
                noise.cancel()


async def test_an_answer_that_lies_unread_after_a_lag_of_the_loop_is_no_miss() -> None:
    responder = Responder(rtu=True)
    with pty_port(responder) as port:
        async with serial(port.path, unit(1, *holding(0))) as line:
            (block,) = line.blocks()
            loop = asyncio.get_running_loop()
            await prove(line, responder)
            # The answer is written to the port by a callback that itself ends after the time-out.
            answer = framed("01 03 04 00 00 00 01")

            def lag() -> None:
                port.send(answer)
                end = loop.time() + 0.1
                while loop.time() < end:
                    pass

            loop.remove_reader(port.master)
            loop.call_later(0.01, lag)
            assert await values(line, block, 0.05) == expected(block)
    assert responder.asked == []


async def test_the_last_frames_are_kept() -> None:
    responder = Responder(rtu=True)
    async with bus("pty", responder, unit(1, *holding(0))) as line:
        (block,) = line.blocks()
        await line.read(block, CEILING)
        assert [(sign, data.hex()) for sign, _, data in line.frames] == [
            (">", "010300000002c40b"),
            ("<", framed("01 03 04 00 00 00 01").hex()),
        ]
        assert line.frames.maxlen == 1000


async def test_the_answer_time_is_told_without_the_waits_before_it() -> None:
    responder = Responder(rtu=True)
    async with bus("pty", responder, unit(1, *holding(0), silence=0.4)) as line:
        (block,) = line.blocks()
        for _ in range(2):
            responder.knobs.append(late(0.03))
            await line.read(block, CEILING)
            assert 0.02 < line.latency < 0.3

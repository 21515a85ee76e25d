"""The coil outranks the reply: a write whose answer is wrong, short or missing is judged by reading back."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

import pytest

from drivers.modbus.frames import crc16
from drivers.modbus.line import ModbusPoller
from gateway.clock import Clock
from gateway.errors import DeviceRefused, DeviceSilent
from gateway.field.lines import Line
from gateway.field.telemetry import TelemetrySender
from gateway.model import Input
from tests.drivers.modbus.lines import COIL, REGISTER, holding, rtu_over_tcp, serial, tcp, unit, until
from tests.drivers.modbus.responder import Knob, Responder, pty_port, tcp_port
from tests.inboxes import Inbox

PULSE = 0.5
CEILING = 1.0
NAMELESS = "tcp without numbers"
LINES = ("serial", "rtu over tcp", "tcp", NAMELESS)


def missing(_: bytes, __: bytes) -> Iterable[tuple[float, bytes]]:
    return []


def short(_: bytes, answer: bytes) -> Iterable[tuple[float, bytes]]:
    return [(0.0, answer[:-3])]


def garbled(_: bytes, answer: bytes) -> Iterable[tuple[float, bytes]]:
    return [(0.0, answer[:-1] + bytes((answer[-1] ^ 0x55,)))]


def late(_: bytes, answer: bytes) -> Iterable[tuple[float, bytes]]:
    return [(0.7, answer)]


def of_another_address(rtu: bool) -> Knob:
    def knob(_: bytes, answer: bytes) -> Iterable[tuple[float, bytes]]:
        adu = (answer[:-2] if rtu else answer[6:])[:2] + b"\x00\x07" + (answer[4:6] if rtu else answer[10:12])
        return [(0.0, adu + crc16(adu) if rtu else answer[:6] + adu)]

    return knob


def refusal(rtu: bool) -> Knob:
    def knob(request: bytes, answer: bytes) -> Iterable[tuple[float, bytes]]:
        unit_id, function = (answer[0], request[1]) if rtu else (answer[6], request[7])
        adu = bytes((unit_id, function | 0x80, 4))
        return [(0.0, adu + crc16(adu) if rtu else answer[:4] + b"\0\3" + adu)]

    return knob


SLOW = "late"
REPLIES: dict[str, Callable[[bool], Knob]] = {
    "missing": lambda _: missing,
    "short": lambda _: short,
    "garbled": lambda _: garbled,
    "late": lambda _: late,
    "of another address": of_another_address,
    "refusal": refusal,
}


def only_writes(kind: str, knob: Knob) -> Knob:
    """What is wrong with the replies to writes; reads are answered as they should."""

    def usual(request: bytes, answer: bytes) -> Iterable[tuple[float, bytes]]:
        said = knob(request, answer) if request[1 if is_rtu(kind) else 7] in (5, 6, 15, 16) else [(0.005, answer)]
        return [(delay, b"\0\0" + data[2:]) for delay, data in said] if kind == NAMELESS else said

    return usual


def right(_: bytes, answer: bytes) -> Iterable[tuple[float, bytes]]:
    return [(0.005, answer)]


def is_rtu(kind: str) -> bool:
    return kind in ("serial", "rtu over tcp")


@asynccontextmanager
async def at_work(kind: str, responder: Responder) -> AsyncIterator[Line]:
    """The real field at a line with one unit that is read all the time."""
    device = unit(1, *holding(0), COIL, REGISTER, timeout=CEILING)
    responder.usual = only_writes(kind, right)
    if kind == "serial":
        with pty_port(responder) as port:
            async with _line(serial(port.path, device)) as line:
                yield line
        return
    async with tcp_port(responder) as served:
        make = rtu_over_tcp if kind == "rtu over tcp" else tcp
        async with _line(make(served.port, device)) as line:
            yield line


@asynccontextmanager
async def _line(poller: ModbusPoller) -> AsyncIterator[Line]:
    clock = Clock()

    async def put(_: Input) -> None:
        return

    async with TelemetrySender(lambda *_: None, clock, every=300.0) as telemetry, asyncio.TaskGroup() as group:
        line = Line("l", poller, watched={}, inbox=Inbox(put), telemetry=telemetry, clock=clock, rng=random.Random(1))  # noqa: S311
        task = group.create_task(line.run(), name="line")
        await until(lambda: bool(line.readings()) and all(r.value is not None for r in line.readings()["d1"].values()))
        yield line
        task.cancel()


def written(responder: Responder) -> list[tuple[float, bytes]]:
    """When the coil was written, and what."""
    at = 2 if responder.rtu else 8
    function = at - 1
    return [(when, request[at + 2 : at + 4]) for when, request in responder.asked if request[function] == 5]


@pytest.mark.parametrize("kind", LINES)
@pytest.mark.parametrize("reply", [reply for reply in REPLIES if reply != SLOW])
async def test_a_pulse_ends_in_time_whatever_the_replies_are(kind: str, reply: str) -> None:
    rtu = is_rtu(kind)
    responder = Responder(rtu=rtu)
    async with at_work(kind, responder) as line:
        responder.usual = only_writes(kind, REPLIES[reply](rtu))
        loop = asyncio.get_running_loop()
        sent = await line.order("d1", COIL.name, True, loop.time() + 5.0)
        known = loop.time()
        assert responder.coils == {COIL.address: True}
        await asyncio.sleep(sent + PULSE - loop.time())
        await line.order("d1", COIL.name, False, loop.time() + 5.0)

        assert responder.coils == {COIL.address: False}
        (on, first), (off, last) = written(responder)
        assert (first, last) == (b"\xff\x00", b"\x00\x00"), "each was written once"
        assert known - on < PULSE, "what became of it is known within the pulse"
        assert PULSE - 0.1 <= off - on <= PULSE + 0.15


@pytest.mark.parametrize("kind", LINES)
async def test_a_write_that_was_not_done_is_not_said_to_be(kind: str) -> None:
    """Reading back is no good word: lost writes are given again, refused ones are refused."""
    rtu = is_rtu(kind)
    responder = Responder(rtu=rtu)
    async with at_work(kind, responder) as line:
        deaf = only_writes(kind, missing)

        def not_done(request: bytes, answer: bytes) -> Iterable[tuple[float, bytes]]:
            if request[1 if rtu else 7] == 5:
                responder.coils.pop(COIL.address, None)
            return deaf(request, answer)

        responder.usual = not_done
        with pytest.raises(DeviceSilent):
            await line.order("d1", COIL.name, True, asyncio.get_running_loop().time() + 0.8)
        assert len(written(responder)) > 1, "it was given again"
        deaf = only_writes(kind, refusal(rtu))
        with pytest.raises(DeviceRefused):
            await line.order("d1", COIL.name, True, asyncio.get_running_loop().time() + 0.8)


@pytest.mark.parametrize("kind", LINES)
async def test_a_device_that_writes_slowly_is_waited_for(kind: str) -> None:
    """A bus is blocked by it meanwhile: it is written once, and from then on its reply is waited for."""
    rtu = is_rtu(kind)
    responder = Responder(rtu=rtu)
    async with at_work(kind, responder) as line:
        responder.usual = only_writes(kind, REPLIES[SLOW](rtu))
        for on in (True, False):
            await line.order("d1", COIL.name, on, asyncio.get_running_loop().time() + 5.0)
            assert responder.coils == {COIL.address: on}
        assert len(written(responder)) == 2

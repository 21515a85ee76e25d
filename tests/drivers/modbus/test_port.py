"""What is sent leaves at once, and what a port does not take holds up nobody."""

import asyncio
import os
import tty
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from drivers.modbus.frames import crc16
from drivers.modbus.line import ModbusLine
from gateway.errors import DeviceSilent
from tests.drivers.modbus.lines import holding, serial, unit, until

BAUDRATE = 115200
REQUEST = bytes((1, 3, 0, 0, 0, 2))
FRAME = REQUEST + crc16(REQUEST)
"""Registers 0 and 1 of unit 1."""


@contextmanager
def port() -> Iterator[tuple[int, int, str]]:
    """Both ends of a pty, and the name of the driver's."""
    far, near = os.openpty()
    tty.setraw(near)
    os.set_blocking(far, False)
    os.set_blocking(near, False)
    try:
        yield far, near, os.ttyname(near)
    finally:
        os.close(far)
        os.close(near)


def arrived(far: int) -> bytes:
    """All that lies there."""
    got = b""
    with suppress(BlockingIOError):
        while data := os.read(far, 4096):
            got += data
    return got


async def test_a_request_is_on_the_wire_in_the_turn_that_sends_it() -> None:
    with port() as (far, _, path):
        async with serial(path, unit(1, *holding(0)), baudrate=BAUDRATE) as line, asyncio.TaskGroup() as group:
            await asyncio.sleep(0.01)  # the silence after the opening
            reading = group.create_task(silent(line), name="read")
            await asyncio.sleep(0)

            assert arrived(far) == FRAME
            await reading


async def test_a_port_that_takes_no_more_holds_up_nobody_and_old_requests_do_not_pile_up() -> None:
    with port() as (far, near, path):
        await fill(near)
        loop = asyncio.get_running_loop()
        async with serial(path, unit(1, *holding(0)), baudrate=BAUDRATE) as line:
            for _ in range(5):
                began = loop.time()
                await silent(line)
                assert 0.05 <= loop.time() - began <= 1.0
            got = bytearray()

            def taken() -> bool:
                got.extend(arrived(far))
                return FRAME in got

            await until(taken)
            assert got.strip(b"x") == FRAME, "one of five"
            await silent(line)
            assert arrived(far)[:2] == FRAME[:2], "and it goes on, with another count first"


async def fill(near: int) -> None:
    """Until it takes no more: the kernel carries bytes over to the other end by and by."""
    rounds_without = 0
    while rounds_without < 3:
        rounds_without += 1
        with suppress(BlockingIOError):
            while os.write(near, b"x"):
                rounds_without = 0
        await asyncio.sleep(0.02)


async def silent(line: ModbusLine) -> None:
    """A read that nobody answers."""
    with pytest.raises(DeviceSilent):
        await line.read(line.blocks()[0], 0.05)

"""What is sent leaves at once, and what a port does not take holds up nobody."""

import asyncio
import os
import tty
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from drivers.modbus.frames import crc16
from drivers.modbus.line import ModbusPoller
from gateway.errors import DeviceSilent, LineDown
from tests.drivers.modbus.lines import COIL, holding, serial, unit

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
            await asyncio.sleep(0.15)  # the quiet after the opening
            reading = group.create_task(silent(line), name="read")
            await asyncio.sleep(0)

            got = arrived(far)
            assert (len(got), got[:4]) == (len(FRAME), FRAME[:4])  # what proves the pairing asks for another count
            await reading


async def test_what_a_port_does_not_take_holds_up_nobody_and_never_leaves() -> None:
    """An order must not be carried out when it is long forgotten: the port is given up, and opened anew."""
    with port() as (far, near, path):
        await fill(near)
        line = serial(path, unit(1, *holding(0), COIL), baudrate=BAUDRATE)
        loop = asyncio.get_running_loop()
        for _ in range(2):
            async with line:
                began = loop.time()
                with pytest.raises(LineDown, match="does not take"):
                    await line.write("d1", "out", 1, 0.05)
                assert 0.05 <= loop.time() - began <= 1.0
        async with line:
            await asyncio.sleep(0.05)
            assert arrived(far).strip(b"x") == b"", "neither order has left"
            await silent(line)
            assert arrived(far)[:1] == FRAME[:1], "and it goes on"


async def fill(near: int) -> None:
    """Until it takes no more: the kernel carries bytes over to the other end by and by."""
    rounds_without = 0
    while rounds_without < 3:
        rounds_without += 1
        with suppress(BlockingIOError):
            while os.write(near, b"x"):
                rounds_without = 0
        await asyncio.sleep(0.02)


async def silent(line: ModbusPoller) -> None:
    """A read that nobody answers."""
    with pytest.raises(DeviceSilent):
        await line.read(line.blocks()[0], 0.05)

"""Lines and devices for the tests of what goes over a wire."""

import asyncio
from collections.abc import Callable

from drivers.modbus.line import ModbusLine
from drivers.modbus.settings import Device, LineSettings, Point, Write
from gateway.driver import Block

CEILING = 0.15


def holding(address: int, count: int = 2) -> tuple[Point, ...]:
    return tuple(Point(name=f"h{at}", table="holding", address=at) for at in range(address, address + count))


COIL = Point(name="out", table="coil", address=40, write=Write())
REGISTER = Point(name="set", table="holding", address=300, write=Write())
WIDE = Point(name="wide", table="holding", address=310, type="uint32", write=Write())


def unit(
    number: int,
    *points: Point,
    timeout: float = CEILING,
    silence: float | None = None,
    id: str = "",  # noqa: A002
) -> Device:
    return Device(id=id or f"d{number}", unit=number, points=points, timeout=timeout, silence=silence)


def serial(path: str, *devices: Device, baudrate: int = 115200) -> ModbusLine:
    return ModbusLine(LineSettings(name="bus", serial=path, baudrate=baudrate, devices=devices))


def rtu_over_tcp(port: int, *devices: Device) -> ModbusLine:
    settings = LineSettings(name="dtu", host="127.0.0.1", port=port, framing="rtu", baudrate=115200, devices=devices)
    return ModbusLine(settings)


def tcp(port: int, *devices: Device, in_flight: int = 1) -> ModbusLine:
    settings = LineSettings(name="tcp", host="127.0.0.1", port=port, in_flight=in_flight, devices=devices)
    return ModbusLine(settings)


async def values(line: ModbusLine, block: Block, timeout: float = CEILING) -> dict[str, object]:
    """What a read of the block says."""
    found = line.decode(block, await line.read(block, timeout))
    return {name: decoded.value for name, decoded in found.items()}


def expected(block: Block) -> dict[str, object]:
    """What a responder that was never written answers: register n holds n."""
    return {name: int(name[1:]) for name in block.points}


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition; the deadline is that of the test."""
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.002)

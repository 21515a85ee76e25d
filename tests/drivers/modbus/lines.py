"""Lines and devices for the tests of what goes over a wire."""

import asyncio
from collections.abc import Callable

from drivers.modbus.line import ModbusPoller
from drivers.modbus.settings import LineSettings, ModbusDevice, ModbusPoint, ModbusWrite
from gateway.driver import Block

CEILING = 0.15


def holding(address: int, count: int = 2) -> tuple[ModbusPoint, ...]:
    return tuple(ModbusPoint(name=f"h{at}", table="holding", address=at) for at in range(address, address + count))


COIL = ModbusPoint(name="out", table="coil", address=40, write=ModbusWrite())
REGISTER = ModbusPoint(name="set", table="holding", address=300, write=ModbusWrite())
WIDE = ModbusPoint(name="wide", table="holding", address=310, type="uint32", write=ModbusWrite())


def unit(
    number: int,
    *points: ModbusPoint,
    timeout: float = CEILING,
    silence: float | None = None,
    id: str = "",  # noqa: A002
) -> ModbusDevice:
    return ModbusDevice(id=id or f"d{number}", unit=number, points=points, timeout=timeout, silence=silence)


def serial(path: str, *devices: ModbusDevice, baudrate: int = 115200) -> ModbusPoller:
    return ModbusPoller(LineSettings(name="bus", serial=path, baudrate=baudrate, devices=devices))


def rtu_over_tcp(port: int, *devices: ModbusDevice) -> ModbusPoller:
    settings = LineSettings(name="dtu", host="127.0.0.1", port=port, framing="rtu", baudrate=115200, devices=devices)
    return ModbusPoller(settings)


def tcp(port: int, *devices: ModbusDevice, in_flight: int = 1) -> ModbusPoller:
    settings = LineSettings(name="tcp", host="127.0.0.1", port=port, in_flight=in_flight, devices=devices)
    return ModbusPoller(settings)


async def values(line: ModbusPoller, block: Block, timeout: float = CEILING) -> dict[str, object]:
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

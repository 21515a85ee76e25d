"""Against servers that others wrote: pyModbusTCP, and libmodbus on a pair of ptys joined by socat."""

import asyncio
import socket
import struct
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from pyModbusTCP.server import ModbusServer  # type: ignore[import-untyped]

from drivers.modbus.line import ModbusPoller
from drivers.modbus.settings import ModbusPoint, ModbusWrite
from gateway.errors import DeviceRefused, DeviceSilent
from gateway.model import Value
from tests.drivers.modbus.lines import serial, tcp, unit, until, values

POINTS = (
    *(ModbusPoint(name=f"h{at}", table="holding", address=at) for at in range(0, 100, 3)),
    *(ModbusPoint(name=f"i{at}", table="input", address=at, type="int16", scale=0.1) for at in range(20)),
    *(ModbusPoint(name=f"d{at}", table="discrete", address=at) for at in range(13)),
    *(ModbusPoint(name=f"c{at}", table="coil", address=at, write=ModbusWrite()) for at in range(9)),
    ModbusPoint(name="set", table="holding", address=200, write=ModbusWrite()),
    ModbusPoint(name="set16", table="holding", address=201, write=ModbusWrite(fc=16)),
    ModbusPoint(name="level", table="holding", address=210, type="float32", order="little-word", write=ModbusWrite()),
    ModbusPoint(name="count", table="holding", address=220, type="uint64", order="little", write=ModbusWrite()),
    ModbusPoint(name="name", table="holding", address=230, type="text:12", write=ModbusWrite()),
    ModbusPoint(name="c20", table="coil", address=20, write=ModbusWrite(fc=15)),
)
WRITTEN: dict[str, Value] = {
    "set": 4711,
    "set16": 5,
    "level": 21.5,
    "count": 1 << 50,
    "name": "门 1",
    "c3": False,
    "c20": True,
}


@pytest.fixture
def server() -> Iterator[ModbusServer]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    served = ModbusServer("127.0.0.1", port, no_block=True)
    served.start()
    for at in range(400):
        served.data_bank.set_holding_registers(at, [at])
        served.data_bank.set_input_registers(at, [at])
        served.data_bank.set_coils(at, [bool(at & 1)])
        served.data_bank.set_discrete_inputs(at, [bool(at & 1)])
    yield served
    served.stop()


@asynccontextmanager
async def libmodbus(tmp_path: Path) -> AsyncIterator[str]:
    """The port at which libmodbus answers as unit 17."""
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    ends = [f"pty,raw,echo=0,link={ours}", f"pty,raw,echo=0,link={theirs}"]
    with subprocess.Popen(["socat", *ends]) as joined:  # noqa: ASYNC220  # it is back at once
        try:
            await until(lambda: ours.exists() and theirs.exists())
            command = [sys.executable, str(Path(__file__).parent / "libmodbus_server.py"), str(theirs), "17"]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as served:  # noqa: ASYNC220  # as above
                try:
                    assert served.stdout is not None
                    assert await asyncio.to_thread(served.stdout.readline) == "ready\n"
                    yield str(ours)
                finally:
                    served.kill()
        finally:
            joined.terminate()


def must_be_served(found: Mapping[str, object]) -> None:
    """Every register has its own address as value, and every bit whether that is odd."""
    assert [found[f"h{at}"] for at in range(0, 100, 3)] == [*range(0, 100, 3)]
    assert [found[f"i{at}"] for at in range(20)] == [at / 10 for at in range(20)]
    assert [found[f"d{at}"] for at in range(13)] == [bool(at & 1) for at in range(13)]
    assert [found[f"c{at}"] for at in range(9)] == [bool(at & 1) for at in range(9)]


async def check(line: ModbusPoller, device: str) -> None:
    """Read everything, write every kind of point, read it back."""
    found: dict[str, object] = {}
    blocks = [block for block in line.blocks() if block.device == device]
    for block in blocks:
        found |= await values(line, block, 1.0)
    must_be_served(found)
    for name, value in WRITTEN.items():
        await line.write(device, name, value, 1.0)
    for block in blocks:
        found |= await values(line, block, 1.0)
    assert {name: found[name] for name in WRITTEN} == WRITTEN


async def test_pymodbustcp(server: ModbusServer) -> None:
    async with tcp(server.port, unit(1, *POINTS), in_flight=1) as line:
        await check(line, "d1")
    assert struct.pack(">2H", *server.data_bank.get_holding_registers(210, 2)) == b"\0\0\x41\xac"


async def test_pymodbustcp_with_four_in_flight(server: ModbusServer) -> None:
    """All blocks at once, some times over: each has the values of its own registers."""
    async with tcp(server.port, unit(1, *POINTS), in_flight=4) as line:
        for _ in range(5):
            async with asyncio.TaskGroup() as tasks:
                reads = [tasks.create_task(values(line, block, 1.0), name="read") for block in line.blocks()]
            found = {name: value for read in reads for name, value in read.result().items()}
            must_be_served(found)
            assert found["set"] == 200
        await check(line, "d1")


async def test_libmodbus(tmp_path: Path) -> None:
    devices = unit(17, *POINTS, timeout=1.0), unit(18, ModbusPoint(name="any", table="holding", address=0))
    beyond = ModbusPoint(name="beyond", table="input", address=5000)
    async with libmodbus(tmp_path) as port, serial(port, *devices, unit(17, beyond, id="small")) as line:
        blocks = {block.points[0]: block for block in line.blocks()}
        with pytest.raises(DeviceRefused) as refused:
            await line.read(blocks["beyond"], 1.0)
        assert refused.value.code == 2
        await check(line, "d17")
        assert line.echoes is False
        with pytest.raises(DeviceSilent):
            await line.read(blocks["any"], 0.1)

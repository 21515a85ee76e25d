"""Connecting, closing and losing a line."""

import asyncio
import os
import socket

import pytest

from drivers.modbus.line import ModbusPoller
from drivers.modbus.settings import LineSettings, ModbusPoint
from gateway.driver import Block, Poller, Timing
from gateway.errors import ConfigError, DeviceRefused, LineDown
from gateway.model import Lane
from tests.drivers.modbus.lines import CEILING, COIL, expected, holding, serial, tcp, unit, until, values
from tests.drivers.modbus.responder import Responder, pty_port, silent, tcp_port


def test_a_line_is_a_poller_and_checking_touches_nothing() -> None:
    line: Poller = serial("/dev/does-not-exist", unit(1, *holding(0, 25)))
    assert line.in_flight == 1
    (block,) = line.blocks()
    assert block.device == "d1"
    assert len(block.points) == 25
    assert block.wire == pytest.approx(63 * 10 / 115200 + 2 * 0.00175)


def test_the_limits_of_the_time_out() -> None:
    assert serial("/dev/x", unit(1)).timing("d1") == Timing(0.05, CEILING)
    assert tcp(1, unit(1, timeout=1.0)).timing("d1") == Timing(0.2, 1.0)


async def test_a_port_that_does_not_exist_is_a_line_down() -> None:
    with pytest.raises(LineDown, match="does-not-exist"):
        async with serial("/dev/does-not-exist", unit(1)):
            pass


async def test_reading_without_a_connection_is_a_line_down() -> None:
    line = tcp(1, unit(1, *holding(0)))
    with pytest.raises(LineDown):
        await line.read(line.blocks()[0], 1.0)


async def test_a_second_opening_of_a_port_is_refused_and_a_later_one_is_not() -> None:
    responder = Responder(rtu=True)
    with pty_port(responder) as port:
        first, second = serial(port.path, unit(1, *holding(0))), serial(port.path, unit(1, *holding(0)))
        async with first:
            with pytest.raises(LineDown, match="another program"):
                await second.__aenter__()
            block = first.blocks()[0]
            assert await values(first, block) == expected(block)
        for _ in range(3):
            async with second:
                block = second.blocks()[0]
                assert await values(second, block) == expected(block)


async def test_a_port_that_refuses_its_settings_is_a_line_down() -> None:
    """The kernel refuses parity on a pty: termios.error, which is no OSError."""
    with pty_port(Responder(rtu=True)) as port:
        settings = LineSettings(name="l", serial=port.path, parity="even", devices=(unit(1, *holding(0)),))
        with pytest.raises(LineDown, match="parity even"):
            await ModbusPoller(settings).__aenter__()
        async with serial(port.path, unit(1)) as line:
            assert line.blocks() == ()


async def test_an_adapter_that_is_pulled_out_and_put_back(tmp_path: os.PathLike[str]) -> None:
    link = os.path.join(tmp_path, "rs485")  # noqa: PTH118
    responder = Responder(rtu=True)
    line = serial(link, unit(1, *holding(0), timeout=5.0))
    (block,) = line.blocks()
    for _ in range(2):
        with pty_port(responder) as port:
            os.symlink(port.path, link)  # noqa: PTH211
            async with line:
                assert await values(line, block) == expected(block)
                responder.knobs.append(silent)
                async with asyncio.TaskGroup() as tasks:
                    reading = tasks.create_task(_fails(line, block), name="read")
                    await until(lambda: not responder.knobs)
                    port.unplug()
                assert isinstance(reading.result(), LineDown)
                with pytest.raises(LineDown):
                    await line.read(block, 1.0)
            os.unlink(link)  # noqa: PTH108


async def _fails(line: ModbusPoller, block: Block) -> Exception:
    with pytest.raises(LineDown) as failed:
        await line.read(block, 5.0)
    return failed.value


async def test_a_refused_connection_is_a_line_down() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(LineDown, match=str(port)):
        await tcp(port, unit(1)).__aenter__()


async def test_a_host_that_does_not_exist_is_a_line_down() -> None:
    settings = LineSettings(name="l", host="a" * 64 + ".invalid")
    with pytest.raises(LineDown):
        await ModbusPoller(settings).__aenter__()


async def test_a_peer_that_never_accepts_is_a_line_down_after_three_seconds() -> None:
    loop = asyncio.get_running_loop()
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        with socket.socket() as one, socket.socket() as two:
            for taken in (one, two):  # the queue of a listener that accepts nobody is full now
                taken.setblocking(False)
                taken.connect_ex(address)
            before = loop.time()
            with pytest.raises(LineDown, match="3 s"):
                await tcp(address[1], unit(1)).__aenter__()
            assert 2.5 < loop.time() - before < 4


@pytest.mark.parametrize("abort", [True, False])
async def test_a_lost_connection_ends_everything_under_way(abort: bool) -> None:
    responder = Responder(rtu=False)
    async with tcp_port(responder) as served:
        line = tcp(served.port, unit(1, *holding(0), *holding(1000)), in_flight=2)
        for _ in range(2):
            async with line:
                responder.knobs += [silent, silent]
                async with asyncio.TaskGroup() as tasks:
                    reads = [tasks.create_task(_fails(line, block), name="read") for block in line.blocks()]
                    await until(lambda: not responder.knobs)
                    connection = served.connections.pop()
                    connection.abort() if abort else connection.close()
                assert all(isinstance(read.result(), LineDown) for read in reads)
                with pytest.raises(LineDown):
                    await line.read(line.blocks()[0], 1.0)


async def test_leaving_ends_what_is_under_way() -> None:
    responder = Responder(rtu=False)
    async with tcp_port(responder) as served:
        line = tcp(served.port, unit(1, *holding(0)))
        async with asyncio.TaskGroup() as tasks, line:
            responder.knobs.append(silent)
            tasks.create_task(_fails(line, line.blocks()[0]), name="read")
            await until(lambda: not responder.knobs)


async def test_a_refused_block_is_narrowed_to_what_the_device_has() -> None:
    responder = Responder(rtu=False)
    hole = bytes.fromhex("01 83 02")
    responder.usual = lambda request, answer: [
        (0.0, request[:4] + b"\0\3" + hole if request[9] <= 5 < request[9] + request[11] else answer)
    ]
    async with tcp_port(responder) as served, tcp(served.port, unit(1, *holding(0, 8))) as line:
        left = list(line.blocks())
        good: list[str] = []
        refused: list[str] = []
        codes = set()
        while left:
            block = left.pop()
            try:
                assert await values(line, block) == expected(block)
                good += block.points
            except DeviceRefused as error:
                codes.add(error.code)
                left += line.narrow(block)
                refused += [] if line.narrow(block) else block.points
    assert codes == {2}
    assert refused == ["h5"]
    assert sorted(good) == ["h0", "h1", "h2", "h3", "h4", "h6", "h7"]


async def test_some_points_at_once() -> None:
    responder = Responder(rtu=False)
    device = unit(1, *holding(0, 8), COIL)
    async with tcp_port(responder) as served, tcp(served.port, device) as line:
        blocks = line.block_for("d1", ["h3", "out", "h5"], Lane.ORDER)
        assert sorted(name for block in blocks for name in block.points) == ["h3", "h5", "out"]
        assert {block.lane for block in blocks} == {Lane.ORDER}
        for block in blocks:
            await values(line, block)
        with pytest.raises(ConfigError, match=r"d1\.nothing"):
            line.block_for("d1", ["nothing"], Lane.ORDER)
        with pytest.raises(ConfigError):
            await line.write("nobody", "out", True, 1.0)
        with pytest.raises(ConfigError):
            await line.write("d1", "h3", 1, 1.0)


async def test_a_refused_write_tells_its_code() -> None:
    responder = Responder(rtu=False)
    async with tcp_port(responder) as served, tcp(served.port, unit(1, COIL)) as line:
        responder.knobs.append(lambda request, _: [(0.0, request[:4] + bytes.fromhex("0003 01 85 04"))])
        with pytest.raises(DeviceRefused) as refused:
            await line.write("d1", "out", True, CEILING)
        assert refused.value.code == 4
        await line.write("d1", "out", True, CEILING)
        assert responder.coils == {40: True}


def test_normal_reads_are_cut_on_a_slow_bus_with_something_urgent() -> None:
    calm = serial("/dev/x", unit(1, *holding(0, 125)), baudrate=9600)
    assert len(calm.blocks()) == 1
    urgent = ModbusPoint(name="smoke", table="input", address=0, lane=Lane.ALARM)
    blocks = serial("/dev/x", unit(1, *holding(0, 125), urgent), baudrate=9600).blocks()
    assert len(blocks) == 3
    assert all(block.wire <= 0.2 for block in blocks)


def test_reads_asked_for_at_once_are_cut_there_too() -> None:
    """Nobody who asks by hand, or for a round, holds up what is urgent for longer than a periodic read does."""
    urgent = ModbusPoint(name="smoke", table="input", address=0, lane=Lane.ALARM)
    names = [f"h{at}" for at in range(125)]
    calm = serial("/dev/x", unit(1, *holding(0, 125)), baudrate=9600)
    assert len(calm.block_for("d1", names, Lane.NORMAL)) == 1
    line = serial("/dev/x", unit(1, *holding(0, 125), urgent), baudrate=9600)
    for lane in (Lane.NORMAL, Lane.ORDER):
        blocks = line.block_for("d1", names, lane)
        assert [name for block in blocks for name in block.points] == names
        assert len(blocks) == 2
        assert all(block.wire <= 0.2 for block in blocks)

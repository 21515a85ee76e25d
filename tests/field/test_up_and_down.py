"""A TCP line is up when something answers, down when nothing of it does, and a line that flaps is one alarm."""

import asyncio
from collections.abc import Iterable
from dataclasses import replace

from drivers.modbus.line import ModbusPoller
from drivers.modbus.settings import LineSettings, ModbusDevice
from gateway.clock import Clock
from gateway.model import LineHealth, Quality
from tests import virtual_time
from tests.drivers.modbus.lines import COIL, holding, unit
from tests.drivers.modbus.stranger import Says, Stranger, right
from tests.field.bench import Bench, running
from tests.field.test_lines import bus, last

EVERY = 0.05


def asked(port: int, *devices: ModbusDevice) -> ModbusPoller:
    return ModbusPoller(LineSettings(name="net", host="127.0.0.1", port=port, devices=devices))


def device() -> ModbusDevice:
    points = tuple(replace(point, every=EVERY) for point in holding(0))
    return replace(unit(1, *points, timeout=0.1))


def watching(line: ModbusPoller) -> dict[str, frozenset[str]]:
    return {block.device: frozenset(block.points) for block in line.blocks()}


async def until_read(bench: Bench, after: float) -> None:
    """Wait for a good reading that is newer."""

    def is_read() -> bool:
        reading = bench.line.readings().get("d1", {}).get("h0")
        return reading is not None and reading.quality is Quality.GOOD and reading.at.mono > after

    await bench.until(is_read, within=5.0)


async def test_a_connection_that_is_taken_and_never_answered_is_not_up() -> None:
    async with Stranger(lambda _: []).serving() as server:
        line = asked(server.port, device())
        async with running(line, Clock(), watched=watching(line), may_hang=True) as bench:  # type: ignore[arg-type]
            await bench.until(lambda: bench.device_health == [("d1", False)], within=5.0)
            assert bench.line_health == []
            assert not bench.line.snapshot().up
            server.script = lambda request: [right(request)]
            await bench.until(lambda: bench.line_health == [True], within=10.0)
            assert bench.line.snapshot().up


async def test_a_server_that_closes_after_each_answer_is_no_alarm() -> None:
    async with Stranger(lambda request: [right(request), None]).serving() as server:
        line = asked(server.port, device())
        async with running(line, Clock(), watched=watching(line), may_hang=True) as bench:  # type: ignore[arg-type]
            await bench.until(lambda: server.opened > 20, within=10.0)
            assert bench.line_health == [True]
            assert bench.device_health == [("d1", True)]
            assert bench.line.snapshot().losses == 0
            assert last(bench, "d1", "h0")[1] is Quality.GOOD


async def test_a_server_that_restarts_within_a_moment_is_no_alarm() -> None:
    """Its connection is lost and it refuses others: the line is down if that is still so a moment later."""
    server = Stranger(lambda request: [right(request)])
    async with server.serving():
        line = asked(server.port, device())
        context = running(line, Clock(), watched=watching(line), may_hang=True)  # type: ignore[arg-type]
        bench = await context.__aenter__()
        await until_read(bench, 0.0)
    lost = bench.clock.now().mono
    await bench.until(lambda: bench.line.snapshot().losses == 1, within=3.0)
    async with server.serving():
        await until_read(bench, lost)
        assert bench.line_health == [True]
        lost = bench.clock.now().mono
    await bench.until(lambda: bench.line_health == [True, False], within=10.0)
    assert bench.line.snapshot().losses == 2, "one outage is one loss, however often it is tried"
    await context.__aexit__(None, None, None)


def test_a_line_that_flaps_is_one_alarm_with_a_count() -> None:
    async def main() -> None:
        wire = bus(2)
        async with running(wire, virtual_time.clock(), back_off=1.0) as bench:
            for _ in range(10):
                await bench.until(lambda: bench.line.up, within=10.0)
                await asyncio.sleep(5.0)
                wire.cut = True
                await bench.until(lambda: not bench.line.up, within=10.0)
                await asyncio.sleep(2.0)
                wire.cut = False
            await bench.until(lambda: bench.line.up, within=10.0)
            told = bench.of(LineHealth)
            ends = [item for item in told if item.up and not item.detail]
            assert len(ends) == 2, "the first time it came up, and after its first loss"
            counts = {item.detail.split(" times")[0] for item in told if item.up and item.detail}
            assert len(counts) <= 3, "said anew once a minute at most"
            assert "lost 2" in counts
            await asyncio.sleep(50.0)
            assert bench.of(LineHealth)[-1].detail
            await bench.until(lambda: not bench.of(LineHealth)[-1].detail, within=15.0)
            assert bench.line_health[-1]

    virtual_time.run(main())


async def test_an_order_given_while_a_connection_is_opened_again_is_carried_out() -> None:
    def script(request: bytes) -> Iterable[Says]:
        return [right(request)] if request[7] <= 4 else [request]

    server = Stranger(script)
    async with server.serving():
        line = asked(server.port, replace(device(), settings=(COIL,)))
        context = running(line, Clock(), watched=watching(line), may_hang=True)  # type: ignore[arg-type]
        bench = await context.__aenter__()
        await until_read(bench, 0.0)
    await bench.until(lambda: bench.line.snapshot().losses == 1, within=3.0)
    async with server.serving(), asyncio.TaskGroup() as group:
        group.create_task(bench.line.order("d1", "out", True), name="order")
    assert bench.line_health == [True]
    await context.__aexit__(None, None, None)

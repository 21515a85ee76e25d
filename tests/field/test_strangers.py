"""The field beside devices that restart, refuse and flood: raw sockets, real time."""

import asyncio
from collections.abc import Iterable
from contextlib import AsyncExitStack
from dataclasses import replace
from itertools import repeat

import pytest

from drivers.modbus.line import ModbusPoller
from drivers.modbus.settings import LineSettings
from gateway.clock import Clock
from gateway.model import Answer, Lane, Quality
from tests.drivers.modbus.lines import holding, unit
from tests.drivers.modbus.stranger import Says, Stranger, frame, right
from tests.field.bench import Bench, running

EVERY_S = 0.1


class Detector(Stranger):
    """Register 0 is its fire."""

    def __init__(self) -> None:
        super().__init__(self._answer)
        self.value = 0
        self.refuses = 0

    def _answer(self, request: bytes) -> Iterable[Says]:
        number = int.from_bytes(request[:2], "big")
        if self.refuses:
            return [frame(number, bytes((request[6], request[7] | 0x80, self.refuses)))]
        return [frame(number, bytes((request[6], request[7], 2)) + self.value.to_bytes(2, "big"))]


def line_to(server: Stranger, name: str) -> ModbusPoller:
    points = tuple(replace(point, every=EVERY_S, lane=Lane.ALARM) for point in holding(0, 1))
    devices = (unit(1, *points, timeout=0.2, id=name),)
    return ModbusPoller(LineSettings(name=name, host="127.0.0.1", port=server.port, devices=devices))


async def asked(stack: AsyncExitStack, server: Stranger, name: str) -> Bench:
    """The line to a server that runs, at work."""
    line = line_to(server, name)
    watched = {name: frozenset({"h0"})}
    return await stack.enter_async_context(
        running(line, Clock(), watched=watched, may_hang=True, name=name)  # type: ignore[arg-type]
    )


def shows(bench: Bench, name: str, value: int) -> bool:
    """Whether the site was told that value last."""
    told = [item for item in bench.inputs if isinstance(item, Answer) and item.device == name]
    return bool(told) and told[-1].readings["h0"].value == value


@pytest.mark.parametrize("code", [2, 4, 5, 6])
async def test_after_a_restart_of_the_unit_its_fire_is_seen_within_5_seconds(code: int) -> None:
    """It refuses for six seconds while it starts; asked by the pauses of one that is silent it would be later."""
    detector = Detector()
    async with detector.serving(), AsyncExitStack() as stack:
        bench = await asked(stack, detector, "d")
        await bench.until(lambda: shows(bench, "d", 0), within=5.0)
        detector.refuses = code
        await bench.until(lambda: bench.line.readings()["d"]["h0"].quality is Quality.BAD, within=5.0)
        await asyncio.sleep(6.0)
        detector.refuses, detector.value = 0, 1
        await bench.until(lambda: shows(bench, "d", 1), within=2.0)


FLOODS = [frame(9, b"\1\3\2\0\7"), b"\0", b"GET / HTTP/1.1\r\n\r\n"]


async def flips(bench: Bench, detector: Detector, times: int) -> list[float]:
    """Seconds from each change of the detector to its being told."""
    took = []
    for _ in range(times):
        detector.value ^= 1
        began = bench.clock.now().mono
        await bench.until(lambda: shows(bench, "d", detector.value), within=5.0)
        took.append(bench.clock.now().mono - began)
    return sorted(took)


async def test_a_fire_beside_lines_that_flood_is_as_fast_as_ever() -> None:
    """Three lines to servers that pour whatever they can, opened again and again; and one with a detector."""
    detector = Detector()
    async with detector.serving(), AsyncExitStack() as stack:
        bench = await asked(stack, detector, "d")
        await bench.until(lambda: shows(bench, "d", 0), within=5.0)
        alone = await flips(bench, detector, 20)
        flooding = []
        for number, piece in enumerate(FLOODS):
            pour = repeat(piece * (65536 // len(piece)))
            server = Stranger(lambda request: [right(request)], idle=pour)
            await stack.enter_async_context(server.serving())
            flooding.append(await asked(stack, server, f"flood-{number}"))
        beside = await flips(bench, detector, 20)
        for one in flooding:
            await one.until(lambda one=one: int((one.line.snapshot().oddities or {})["floods"] or 0) >= 1, within=10.0)  # type: ignore[misc]
        assert beside[-1] <= 2.0 * max(alone[-1], EVERY_S) + 0.1
        assert bench.line_health == [True]

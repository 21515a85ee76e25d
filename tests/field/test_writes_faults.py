"""Orders by chance on a bus with dead, slow and living units: no wrong value, and none done that was not.

Real frames on a pseudo terminal; answers come in time, late, after the wait for them was cut short, into the orders.
"""

import asyncio

import pytest

from gateway.errors import DeviceError
from gateway.field.lines import Line
from tests.field.rig import OUTPUT, Rig, at_work

EVERY = 0.1
CEILING = 0.3
ROUNDS = 3


async def order(rig: Rig, line: Line, unit: int, value: int, done: list[tuple[int, int]]) -> None:
    """Give it at some time; `done`: what is said to have been done."""
    loop = asyncio.get_running_loop()
    await asyncio.sleep(rig.rng.uniform(0.0, 0.5))
    try:
        await line.order(f"u{unit}", OUTPUT, value, loop.time() + rig.rng.choice((0.3, 1.5)))
    except DeviceError:
        return
    done.append((unit, value))


def trouble(rig: Rig) -> None:
    """Each unit is as it likes: well, dead, slow in every answer, or late with the next one only."""
    for unit in rig.units.values():
        unit.faults.clear()
        match rig.rng.randrange(4):
            case 0:
                unit.faults.silent = True
            case 1:
                unit.faults.delay = rig.rng.uniform(0.2, 1.4) * CEILING
            case 2:
                unit.faults.late = rig.rng.uniform(0.2, 1.4) * CEILING


async def rounds(seed: int, count: int) -> tuple[int, int]:
    """Orders given, and orders done."""
    rig = Rig(seed, EVERY, baudrate=19200, ceiling=CEILING)
    done: list[tuple[int, int]] = []
    value = 0
    async with at_work(rig) as line:
        for _ in range(count):
            trouble(rig)
            rig.change()
            async with asyncio.TaskGroup() as group:
                for _ in range(4):
                    value += 1
                    unit = rig.rng.choice(tuple(rig.units))
                    group.create_task(order(rig, line, unit, value, done), name=f"order {value}")
            assert rig.wrong == []
        written = {(int(w.device[1:]), w.values[0]) for unit in rig.units.values() for w in unit.device.writes}
        assert set(done) <= written
    return value, len(done)


async def judge(seeds: range, count: int) -> None:
    async with asyncio.TaskGroup() as group:
        runs = [group.create_task(rounds(seed, count), name=f"rig {seed}") for seed in seeds]
    given, done = (sum(column) for column in zip(*(run.result() for run in runs), strict=True))
    assert given / 4 <= done < given, "some were done, and some were not"


async def test_whomever_an_order_cuts_short_no_value_is_wrong_and_none_is_done_that_was_not() -> None:
    await judge(range(4), ROUNDS)


@pytest.mark.soak
async def test_thousands_of_orders_by_chance() -> None:
    await judge(range(100, 110), 100)

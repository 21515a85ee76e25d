"""A bus used to its limit, and what the dead cost the living. `BENCH_SECONDS` shortens each run (default 20)."""

import os

import pytest

from simulators.frames import Framing
from tests.benchmarks.asker import Cost, Spec, cost_of
from tests.benchmarks.measure import median, program, quantile

SECONDS = float(os.environ.get("BENCH_SECONDS", "20"))
ROUNDS = 5
PROMISED = {9600: 0.95, 19200: 0.95}
"""Of the physical limit; above 19200 baud beside the bare loop."""
BESIDE_BARE = 0.97


@pytest.mark.parametrize("baudrate", [9600, 19200, 115200])
@pytest.mark.parametrize("registers", [25, 2])
async def test_wire_use(baudrate: int, registers: int) -> None:
    """Eight units, asked as fast as they answer: request, silence, answer, silence, and nothing else.

    A machine that its neighbours keep from running is late with every byte, of the simulated wire too, and that only
    ever costs: each run is reckoned by the median time of a round of all units, and the best run is what counts.
    """
    framing = Framing(baudrate)
    limit = registers / ((8 + 5 + 2 * registers) * framing.character + 2 * framing.silence)
    units = tuple(range(1, 9))
    async with program("tests.benchmarks.paced", baudrate, 8, 0.0, 0, reads=True) as (_, path):
        spec = Spec(
            serial=path,
            baudrate=baudrate,
            units=units,
            registers=registers,
            every=0.001,
            seconds=SECONDS / ROUNDS,
            warm=1.0,
            intervals=True,
        )
        rounds = [(await cost_of("raw", spec), await cost_of("field", spec)) for _ in range(ROUNDS)]
    runs = [[steady(cost, registers) for cost in each] for each in zip(*rounds, strict=True)]
    raw, ours = map(max, runs)
    middle_raw, middle = map(median, runs)
    mean = median([cost.points_per_s for _, cost in rounds])
    print(  # noqa: T201
        f"\n{baudrate} baud, {registers} registers: {ours:.0f} points/s, {ours / limit:.1%} of the wire's {limit:.0f} "
        f"(median run {middle / limit:.1%}, with all the machine lost {mean / limit:.1%}); bare loop {raw / limit:.1%} "
        f"({middle_raw / limit:.1%}); beside it {ours / raw:.3f} ({middle / middle_raw:.3f})"
    )
    assert ours <= 1.01 * limit, "no silence is skipped"
    if baudrate in PROMISED:
        assert ours >= PROMISED[baudrate] * limit
    else:
        assert ours >= BESIDE_BARE * raw


def steady(cost: Cost, registers: int) -> float:
    """Points a second by the median time from one answer of a unit to its next."""
    return registers * len(cost.gaps) / median([gap for gaps in cost.gaps.values() for gap in gaps])


@pytest.mark.parametrize("dead", [0, 1, 3])
@pytest.mark.parametrize("kind", ["rtu", "tcp"])
async def test_what_the_dead_cost_the_living(kind: str, dead: int) -> None:
    """Ten units on one line, each second; beside pymodbus as it comes."""
    baudrate = 19200 if kind == "rtu" else 0
    async with program("tests.benchmarks.paced", baudrate, 10, 0.005, dead, reads=True) as (_, where):
        spec = Spec(
            serial=where if baudrate else "",
            port=0 if baudrate else int(where),
            baudrate=baudrate or 9600,
            units=tuple(range(1, 11)),
            timeout=0.3,
            seconds=SECONDS,
            warm=10.0,
            intervals=True,
        )
        ours, bare = await cost_of("field", spec), await cost_of("bare", spec)
    print(  # noqa: T201
        f"\n{dead} of 10 silent, {kind}: interval p95 {p95(ours, dead):.2f} s, CPU {ours.cpu_share:.2%}; "
        f"bare pymodbus p95 {p95(bare, dead):.2f} s, CPU {bare.cpu_share:.2%}"
    )
    assert p95(ours, dead) <= 1.5
    assert {unit for unit, gaps in ours.gaps.items() if len(gaps) >= 0.9 * SECONDS - 2} >= set(range(dead + 1, 11))


def p95(cost: Cost, dead: int) -> float:
    """The 95th percentile of the intervals of the living; infinite if one was never read twice."""
    gaps = [cost.gaps.get(unit, []) for unit in range(dead + 1, 11)]
    return quantile([gap for each in gaps for gap in each], 0.95) if all(gaps) else float("inf")

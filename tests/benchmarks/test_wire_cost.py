"""What a reading costs, how many there can be, and what a device takes. `BENCH_SECONDS` shortens each run."""

import os

import pytest

from tests.benchmarks.asker import Spec, cost_of
from tests.benchmarks.measure import program

SECONDS = float(os.environ.get("BENCH_SECONDS", "20"))
PROMISED = 250_000
"""Points a second on loopback TCP."""


@pytest.mark.parametrize("kind", ["still", "whirling"])
async def test_points_a_second_and_what_100000_of_them_cost(kind: str) -> None:
    """40 devices with 25 registers, as fast as they answer, each on a connection of its own."""
    async with program("tests.benchmarks.registers", kind, 1, reads=True) as (_, port):
        spec = Spec(port=int(port), lines=40, every=0.001, seconds=SECONDS)
        bare = await cost_of("bare", spec)
        ours = await cost_of("field", spec)
        again = await cost_of("bare", spec)
    floor = (bare.cpu_per_100k + again.cpu_per_100k) / 2
    print(  # noqa: T201
        f"\n{kind}: {ours.points_per_s:.0f} points/s, {ours.cpu_per_100k:.3f} CPU s per 100,000; bare pymodbus "
        f"{(bare.points_per_s + again.points_per_s) / 2:.0f} points/s, {floor:.3f}; "
        f"ratio {ours.cpu_per_100k / floor:.2f}"
    )
    if kind == "still":
        assert ours.points_per_s >= PROMISED


@pytest.mark.parametrize("lines", [10, 100, 1000])
async def test_devices_on_one_core(lines: int) -> None:
    """Each on a connection of its own, 25 registers each second."""
    async with program("tests.benchmarks.registers", "still", 1, reads=True) as (_, port):
        spec = Spec(port=int(port), lines=lines, seconds=SECONDS, warm=5.0)
        nothing = await cost_of("field", Spec(port=int(port), lines=0, seconds=0.1, warm=0.1))
        ours, bare = await cost_of("field", spec), await cost_of("bare", spec)
    each = (ours.resident_mib - nothing.resident_mib) / lines * 1024
    print(  # noqa: T201
        f"\n{lines} devices x 25 points at 1 s: {ours.points_per_s / 25 / lines:.3f} reads/s each, CPU "
        f"{ours.cpu_share:.2%}, {ours.resident_mib:.1f} MiB, {each:.0f} KiB a device; bare pymodbus "
        f"{bare.cpu_share:.2%}, {bare.resident_mib:.1f} MiB"
    )
    assert ours.points_per_s >= 0.97 * 25 * lines
    assert ours.cpu_share <= 1.5 * bare.cpu_share

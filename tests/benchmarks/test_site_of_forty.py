"""40 devices x 25 points, each second, Modbus TCP on loopback: what the gateway costs, beside the bare libraries."""

import asyncio
from pathlib import Path

import pytest

from simulators.cloud import Cloud
from tests.benchmarks.measure import cpu_share, median, program, resident_mib
from tests.end_to_end.process import running
from tests.mosquitto import mosquitto

WINDOW = 20.0
RUNS = 3


def site(broker: int, ports: list[str], store: Path) -> str:
    """40 lines with one device each, as on a site with 40 TCP devices."""
    points = ", ".join(f"p{n}: {{at: holding {n}, every: 1s}}" for n in range(25))
    lines = "\n".join(f"  l{n}: {{driver: modbus, tcp: '127.0.0.1:{port}'}}" for n, port in enumerate(ports))
    devices = "\n".join(f"  d{n}: {{line: l{n}, points: {{{points}}}}}" for n in range(40))
    head = f"version: 1\nsite: {{id: s}}\ngateway: g\nuplink: {{url: 'mqtt://127.0.0.1:{broker}'}}\n"
    return f"{head}store: {{path: {store}}}\nlines:\n{lines}\ndevices:\n{devices}\n"


@pytest.mark.parametrize("kind", ["still", "moving"])
async def test_cpu_memory_and_start(tmp_path: Path, kind: str) -> None:
    async with mosquitto(tmp_path) as broker, program("tests.benchmarks.registers", kind, 40, reads=True) as (_, line):
        path = tmp_path / "site.yaml"
        ports = line.split()
        path.write_text(site(broker.port, ports, tmp_path / "store"))
        starts = [await first_value(path, broker.port) for _ in range(5)]
        async with running(path) as gateway:
            await asyncio.sleep(60 - 2 * RUNS * WINDOW if 2 * RUNS * WINDOW < 60 else 3)
            ours, bare, reading = [], [], []
            for _ in range(RUNS):
                async with program("tests.benchmarks.floor", ports[0], broker.port) as (floor, _):
                    await asyncio.sleep(3)
                    bare.append(await cpu_share(floor, WINDOW))
                async with program("tests.benchmarks.floor", ports[0], 0) as (floor, _):
                    await asyncio.sleep(3)
                    reading.append(await cpu_share(floor, WINDOW))
                ours.append(await cpu_share(gateway.pid, WINDOW))
            memory = resident_mib(gateway.pid)
    ratio = median(ours) / median(reading)
    print(  # noqa: T201
        f"\n40 x 25 points at 1 s, {kind}: gateway {median(ours):.2%} of a core, bare pymodbus {median(reading):.2%}, "
        f"bare pymodbus + paho {median(bare):.2%}; gateway / bare pymodbus {ratio:.2f}, "
        f"gateway / both {median(ours) / median(bare):.2f}; resident {memory:.1f} MiB; "
        f"start to first value {median(starts):.2f} s"
    )
    assert memory <= 50.0
    assert ratio <= (1.5 if kind == "still" else 4.0)


async def first_value(path: Path, broker: int) -> float:
    """Seconds from the start of the process to the first reading at a subscriber."""
    async with asyncio.TaskGroup() as group:
        cloud = Cloud(broker, client_id="first")
        listening = group.create_task(cloud.run(), name="cloud")
        await cloud.until(lambda seen: seen.connections > 0)
        async with running(path) as gateway:
            await cloud.until(lambda seen: bool(seen.of("telemetry.readings")))
            first = cloud.of("telemetry.readings")[0]
            await gateway.stop()
        listening.cancel()
    return cloud.arrived[first["id"]] - gateway.started_at

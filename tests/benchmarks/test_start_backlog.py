"""From the start of the process to the first request on the wire, with nothing and with 100,000 events waiting."""

import asyncio
import os
import time
from pathlib import Path

from tests.benchmarks.measure import median
from tests.benchmarks.registers import listen
from tests.benchmarks.test_drain import child
from tests.end_to_end.process import GatewayProcess

ROWS = int(os.environ.get("BENCH_ROWS", "100000"))
TIMES = 5
WITHIN = 1.0
SITE = """\
version: 1
site: {{id: s}}
gateway: g
uplink: {{url: "mqtt://127.0.0.1:1"}}
lines: {{l: {{driver: modbus, tcp: "127.0.0.1:{modbus}"}}}}
devices: {{d: {{line: l, points: {{p: {{at: holding 0, alarms: {{a: {{kind: water, equals: 1}}}}}}}}}}}}
store: {{path: {store}, alarm_reserve: 1MiB}}
"""


async def seconds_to_first_request(folder: Path, store: Path) -> float:
    """One life, killed after its first request."""
    asked = asyncio.Event()
    at = 0.0

    def words(_address: int, count: int) -> bytes:
        nonlocal at
        at = at or time.monotonic()
        asked.set()
        return b"\0\0" * count

    server = await listen(words)
    async with server:
        path = folder / "site.yaml"
        path.write_text(SITE.format(modbus=server.sockets[0].getsockname()[1], store=store))
        gateway = GatewayProcess(path, folder / "log")
        await gateway.start()
        async with asyncio.timeout(20.0):
            await asked.wait()
        await gateway.kill()
    return at - gateway.started_at


async def test_start(tmp_path: Path) -> None:
    child("backlog", "fill", tmp_path / "full", ROWS)
    empty = [await seconds_to_first_request(tmp_path, tmp_path / f"empty-{n}") for n in range(TIMES)]
    full = [await seconds_to_first_request(tmp_path, tmp_path / "full") for _ in range(TIMES)]
    extra = median(full) - median(empty)
    print(  # noqa: T201
        f"\nstart to first request: {median(empty):.2f} s, with {ROWS} rows waiting {median(full):.2f} s "
        f"({median(full) / median(empty):.2f}x, {extra * 1e3:.0f} ms more; slowest {max(full):.2f} s)"
    )
    assert median(full) <= WITHIN + max(0.0, median(empty) - 0.5)

"""How soon the page of 1,000 points is ready in Chromium, as it is and slowed six times, and what that transfers.

Beside the least page that gets the same state from a bare aiohttp, and beside Node-RED with its dashboard.
"""

import asyncio
import os
import sys
from contextlib import AsyncExitStack
from pathlib import Path

from tests.benchmarks.bare_page import bare_page, recorded
from tests.benchmarks.loads import OURS, FirstLoad, first_loads
from tests.benchmarks.measure import resident_mib
from tests.benchmarks.node_red import POINTS, NoNodeRed, installed, node_red
from tests.benchmarks.thousand import a_thousand_points
from tests.browser.chromium import chromium

RUNS = int(os.environ.get("BENCH_RUNS", "9"))
SETTLED_S = 10.0
BARE = "document.body !== null && document.body.textContent === '40'"


async def test_first_load(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        site = await stack.enter_async_context(a_thousand_points(tmp_path))
        _, base = await stack.enter_async_context(site.gateway("one"))
        browser = await stack.enter_async_context(chromium())
        _, floor = await stack.enter_async_context(bare_page(tmp_path, await recorded(base, 3.0)))
        fast = await first_loads(browser, base, RUNS, ready=OURS)
        slow = await first_loads(browser, base, RUNS, ready=OURS, slowed=6)
        least = await first_loads(browser, floor, RUNS, ready=BARE)
        least_slow = await first_loads(browser, floor, RUNS, ready=BARE, slowed=6)
    sys.stdout.write(
        f"\nfirst load of 1,000 points: {_told(fast)}; with Chromium slowed 6x {slow.ready_ms:.0f} ms"
        f"\n  the least page with that state, by bare aiohttp: {_told(least)}; slowed {least_slow.ready_ms:.0f} ms\n"
    )
    assert fast.requests <= 12
    assert fast.bytes <= 60_000
    assert fast.ready_ms <= 300
    assert slow.ready_ms <= 1200


async def test_first_load_beside_node_red(tmp_path: Path) -> None:
    """Ours with 1,000 points, the whole gateway behind it; theirs with 100, and nothing behind them."""
    async with AsyncExitStack() as stack:
        site = await stack.enter_async_context(a_thousand_points(tmp_path))
        gateway, base = await stack.enter_async_context(site.gateway("one"))
        browser = await stack.enter_async_context(chromium())
        await asyncio.sleep(SETTLED_S)
        ours = await first_loads(browser, base, RUNS, ready=OURS)
        our_mib = resident_mib(gateway.pid)
        sys.stdout.write(f"\nfirst load of 1,000 points: {_told(ours)}; server {our_mib:.0f} MiB\n")
        assert ours.bytes <= 60_000
        try:
            folder = await asyncio.to_thread(installed)
        except NoNodeRed as error:
            sys.stdout.write(f"NOT COMPARED with Node-RED: {error}\n")
            return
        server = await stack.enter_async_context(node_red(folder, tmp_path / "node-red"))
        await asyncio.sleep(SETTLED_S)
        theirs = await first_loads(browser, server.url, RUNS, ready=server.ready)
        their_mib = resident_mib(server.pid)
    sys.stdout.write(f"  Node-RED {server.version} of {POINTS} points: {_told(theirs)}; server {their_mib:.0f} MiB\n")
    assert ours.bytes < theirs.bytes
    assert ours.requests < theirs.requests
    assert ours.ready_ms < theirs.ready_ms
    assert our_mib < their_mib


def _told(load: FirstLoad) -> str:
    return f"{load.requests} requests, {load.bytes / 1000:.1f} kB, ready in {load.ready_ms:.0f} ms"

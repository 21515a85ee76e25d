"""What the local page of 1,000 points costs: memory, processor time, and a login.

Every value changes each second to one that nothing compresses. Beside it a bare aiohttp (`bare_page`) that is given the
same changes, keeps them, serialises and deflates each once, and writes the same bytes to as many readers in the same
rhythm. `BENCH_ROUNDS` shortens it.
"""

import asyncio
import os
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path

from gateway.local.passwords import hashed
from tests.benchmarks.bare_page import bare_page, recorded
from tests.benchmarks.crowd import crowd
from tests.benchmarks.measure import cpu_seconds, median, program, resident_mib
from tests.benchmarks.thousand import a_thousand_points
from tests.end_to_end.browsing import Browser

LIVES = 3
SETTLED_S = 12.0
"""So long after the start resident memory is looked at."""
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "7"))
WINDOW_S = 6.0
COUNTS = (10, 32)
"""Open pages."""
LOGINS = 9


async def test_memory(tmp_path: Path) -> None:
    """Loaded and unused, beside a gateway without it in the same seconds; and with 32 streams."""
    unused, grown, floor_unused, floor_grown = [], [], [], []
    async with a_thousand_points(tmp_path) as site:
        for life in range(LIVES):
            async with (
                site.gateway(f"plain-{life}", page=False) as (plain, _),
                site.gateway(f"paged-{life}") as (paged, base),
            ):
                await asyncio.sleep(SETTLED_S)
                unused.append(resident_mib(paged.pid) - resident_mib(plain.pid))
                events = await recorded(base, 3.0)
                async with (
                    program("tests.benchmarks.bare_loop", reads=True) as (nothing, _),
                    bare_page(tmp_path, events) as (floor, floor_base),
                ):
                    bare = resident_mib(floor)
                    floor_unused.append(bare - resident_mib(nothing))
                    async with crowd(base, 32), crowd(floor_base, 32):
                        await asyncio.sleep(WINDOW_S)
                        grown.append(resident_mib(paged.pid) - resident_mib(plain.pid) - unused[-1])
                        floor_grown.append(resident_mib(floor) - bare)
    sys.stdout.write(
        f"\npage of 1,000 points, MiB: loaded, unused +{median(unused):.1f} (a bare aiohttp.web over a bare event loop"
        f" +{median(floor_unused):.1f}); 32 streams +{median(grown):.1f} (the bare one +{median(floor_grown):.1f})\n"
    )
    assert median(unused) <= 12.0
    assert median(grown) <= 8.0


async def test_processor(tmp_path: Path) -> None:
    """10 and 32 open pages over none, beside a floor that writes the same bytes in the same seconds.

    The floor is told what changed; the page finds it among 1,000 points. That costs some 0.4 % of a core however many
    look, so the whole is a multiple of the floor and only each further page is held against it.
    """
    ours: dict[int, list[float]] = {count: [] for count in COUNTS}
    bare: dict[int, list[float]] = {count: [] for count in COUNTS}
    sizes: dict[int, list[tuple[float, float]]] = {count: [] for count in COUNTS}
    alone = []
    async with a_thousand_points(tmp_path) as site, site.gateway("one") as (gateway, base):
        await asyncio.sleep(WINDOW_S)
        events = await recorded(base, 2 * WINDOW_S)
        async with bare_page(tmp_path, events) as (floor, floor_base):
            for _ in range(ROUNDS):
                none = await _shares(gateway.pid, floor)
                alone.append(none[0])
                for count in COUNTS:
                    async with crowd(base, count) as here, crowd(floor_base, count) as there:
                        await asyncio.sleep(1.0)  # the whole state is out
                        before = await here.read(), await there.read()
                        with_them = await _shares(gateway.pid, floor)
                        sizes[count].append((await here.read() - before[0], await there.read() - before[1]))
                    ours[count].append(with_them[0] - none[0])
                    bare[count].append(with_them[1] - none[1])
    ratios = {count: median(ours[count]) / median(bare[count]) for count in COUNTS}
    written = {count: [median([pair[at] for pair in sizes[count]]) for at in (0, 1)] for count in COUNTS}
    sys.stdout.write(f"\n1,000 points that all change each second, {median(alone):.1%} of a core while nobody looks:\n")
    for count in COUNTS:
        each = [size / count / WINDOW_S / 1024 for size in written[count]]
        sys.stdout.write(
            f"  {count} open pages +{median(ours[count]):.2%} of a core; a bare aiohttp that writes the same bytes"
            f" {median(bare[count]):.2%}: {ratios[count]:.2f}x; each is sent {each[0]:.1f} KiB/s (bare {each[1]:.1f})\n"
        )
    more = [median(shares[32]) - median(shares[10]) for shares in (ours, bare)]
    sys.stdout.write(f"  22 pages more: +{more[0]:.2%}, the bare one +{more[1]:.2%}\n")
    for count in COUNTS:
        assert 0.9 <= written[count][0] / written[count][1] <= 1.1, "the floor writes the same bytes"
    assert more[0] <= 1.5 * more[1]
    assert median(ours[10]) <= 0.02


async def _shares(*pids: int) -> list[float]:
    """Shares of one core that processes take over the same seconds."""
    before, began = [cpu_seconds(pid) for pid in pids], time.monotonic()
    await asyncio.sleep(WINDOW_S)
    passed = time.monotonic() - began
    return [(cpu_seconds(pid) - used) / passed for pid, used in zip(pids, before, strict=True)]


async def test_login(tmp_path: Path) -> None:
    """From the request to the answer, beside one scrypt of the same cost."""
    async with AsyncExitStack() as stack:
        site = await stack.enter_async_context(a_thousand_points(tmp_path))
        _, base = await stack.enter_async_context(site.gateway("one"))
        guard = await stack.enter_async_context(Browser(base))
        times, bare = [], []
        for _ in range(LOGINS):
            began = time.monotonic()
            await asyncio.to_thread(hashed, "password of zhang")
            bare.append(time.monotonic() - began)
            began = time.monotonic()
            await guard.log_in("zhang", "password of zhang")
            times.append(time.monotonic() - began)
    sys.stdout.write(
        f"\nlog in: median {median(times):.3f} s, at most {max(times):.3f} s; scrypt alone {median(bare):.3f} s\n"
    )
    assert median(times) <= 0.5

"""What the live view writes to the terminal each second with fifty devices, beside the whole screen."""

import sys
from pathlib import Path

from tests.end_to_end.process import running
from tests.technician.terminal import Screen, terminal
from tests.technician.test_screens import SITE, clock_moved, healthy
from tests.technician.yard import virtual

REDRAWS = 10
MOST = 800
"""Bytes of a redraw."""


async def test_bytes_of_a_redraw(tmp_path: Path) -> None:
    async with virtual(tmp_path, SITE) as (path, site):
        healthy(site)
        async with running(path), terminal("watch", path) as it:
            await it.shows("q quit", "smoke-1")
            sizes = []
            for _ in range(REDRAWS):
                before, clock = len(it.written), it.screen.lines[0]

                def moved(screen: Screen, clock: str = clock) -> bool:
                    return clock_moved(clock, screen)

                await it.until(moved)
                sizes.append(len(it.written) - before)
            whole = sum(len(line.encode()) for line in it.screen.lines)
            it.press("q")
            await it.end()
    sys.stdout.write(
        f"\nwatch, 50 devices, 80x24: {sum(sizes) / len(sizes):.0f} bytes a redraw ({max(sizes)} at most); "
        f"the whole screen {whole}\n"
    )
    assert max(sizes) < MOST

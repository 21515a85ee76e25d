"""A technician who walks the building of the compound."""

import asyncio
from pathlib import Path

from tests.end_to_end.compound import Compound
from tests.technician.command import Ended, site_gateway

DETECTORS = ("smoke-1", "smoke-2")


async def walked(it: Compound, out: Path) -> Ended:
    """Each detector of zone b3 reports and is quiet again; how `walk` has ended, its record in `out`."""
    async with asyncio.TaskGroup() as group:
        words = ("walk", it.site, "--zone", "b3", "--by", "zhang", "--out", out)
        walking = group.create_task(site_gateway(*words), name="walk")
        await it.cloud.until(lambda seen: any(e["data"]["cmd"] == "zone.test" for e in seen.of("command.done")), 20)
        for device in DETECTORS:
            it.virtual.set(f"{device}.smoke", 1)
        await it.cloud.until(lambda seen: len(seen.of("alarm.raised")) >= 2)
        for device in DETECTORS:
            it.virtual.set(f"{device}.smoke", 0)
        return await walking

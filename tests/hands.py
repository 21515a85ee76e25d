"""The whole gateway in this process, on a clock whose hands the test moves."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from gateway.clock import Clock
from gateway.runtime.app import serve
from gateway.runtime.prepare import prepare


@dataclass
class Hands:
    """What the clocks of the machine show."""

    wall: float = 0.0
    mono: float = 0.0
    synced: bool = True

    def clock(self) -> Clock:
        return Clock(
            mono=lambda: time.monotonic() + self.mono, wall=lambda: time.time() + self.wall, synced=lambda: self.synced
        )

    def pass_by(self, seconds: float) -> None:
        """Time goes by: both clocks go on."""
        self.mono += seconds
        self.wall += seconds


@asynccontextmanager
async def gateway(site: Path, hands: Hands) -> AsyncIterator[None]:
    """One life in this process, ended as by SIGTERM."""
    settings = (await asyncio.to_thread(prepare, site)).settings
    assert settings is not None
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(serve(settings, stop, clock=hands.clock()), name="gateway")
        try:
            yield
        finally:
            stop.set()

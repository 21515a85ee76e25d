"""A fire holds the gates within a second whatever is full, gone or flooded; the memory of the process is bounded."""

from pathlib import Path

from tests.end_to_end.process import running
from tests.mosquitto import free_port
from tests.reliability.loaded import Loaded, resident, until_shed
from tests.reliability.served import registers

WITHIN = 1.0
"""Seconds from the answer that shows the second fire to the hold on the wire."""
MOST = 120 << 20
"""Bytes of resident memory with every queue full."""


async def test_a_fire_with_the_store_gone_the_broker_away_and_the_memory_full(tmp_path: Path) -> None:
    """Points that chatter at 100 ms, more than the memory holds: the oldest transitions go, the gate opens."""
    async with registers() as wire:
        site = Loaded(tmp_path, wire)
        path = site.write(free_port())
        (tmp_path / "store").write_text("in the way")
        async with running(path) as gateway, site.chatter():
            await until_shed(gateway, "alarm")
            assert await site.fire(0) < WITHIN
            assert gateway.running
            assert resident(gateway) < MOST

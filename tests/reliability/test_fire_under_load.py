"""A fire holds the gates within a second whatever is full, gone or flooded; the memory of the process is bounded."""

import socket
from pathlib import Path

from tests.end_to_end.process import running
from tests.reliability import loaded
from tests.reliability.served import registers

WITHIN = 1.0
"""Seconds from the answer that shows the second fire to the hold on the wire."""
MOST = 120 << 20
"""Bytes of resident memory with every queue full."""


def free_port() -> int:
    """A port at which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def test_a_fire_with_the_store_gone_the_broker_away_and_the_memory_full(tmp_path: Path) -> None:
    """Points that chatter at 100 ms, more than the memory holds: the oldest transitions go, the gate opens."""
    async with registers() as wire:
        site = loaded.write_site(tmp_path, wire, free_port())
        (tmp_path / "store").write_text("in the way")
        async with running(site) as gateway, loaded.chatter(wire):
            await loaded.until_shed(gateway, "alarm")
            assert await loaded.fire(wire) < WITHIN
            assert gateway.running
            assert loaded.resident(gateway) < MOST

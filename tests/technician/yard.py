"""Site files for these tests, and the real gateway on a virtual site."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from gateway.config.load import load
from gateway.config.site import SiteFile
from gateway.local.control import NAME
from simulators.site import VirtualSite
from tests.end_to_end.process import running

HEAD = """\
version: 1
site: {id: yard}
gateway: gw
uplink: {url: "mqtt://127.0.0.1:1"}
"""
BUS = """\
lines:
  bus: {driver: modbus, serial: /dev/rs485-yard, baudrate: 9600}
devices:
  smoke: {profile: jdrk-rs-yg-n01, line: bus, unit: 12}
  climate: {profile: xy-md02, line: bus, unit: 2}
  relay: {profile: waveshare-relay-8ch, line: bus, unit: 1}
  limit:
    line: bus
    unit: 7
    points:
      level: {at: holding 10, type: int16, scale: 0.1, unit: m, valid: [-5, 5], write: true, every: 1s}
"""
GATES = """\
gates: {north: {open: relay.do1, on_loss: keep}}
linkage: {fire: {hold: [north], set: [relay.do2]}}
annunciator: {fault: relay.do3}
"""


def site_file(folder: Path, text: str) -> tuple[Path, SiteFile]:
    """The file on the disk and loaded; it has to be good."""
    path = folder / "yard.yaml"
    path.write_text(text + f"store: {{path: {folder / 'store'}, max_size: 16MiB, alarm_reserve: 1MiB}}\n")
    loaded = load(path)
    assert loaded.site is not None, "\n".join(map(str, loaded.problems))
    return path, loaded.site


@asynccontextmanager
async def virtual(folder: Path, text: str = HEAD + BUS, **how: bool) -> AsyncIterator[tuple[Path, VirtualSite]]:
    """The site served by virtual devices, and a site file that leads to them."""
    path, file = site_file(folder, text)
    async with VirtualSite(file, **how) as site:  # type: ignore[arg-type]
        there = folder / "site.yaml"
        site.write_site(path, there, broker_url="mqtt://127.0.0.1:1", store_path=folder / "store")
        yield there, site


@asynccontextmanager
async def watched(folder: Path, text: str = HEAD + BUS) -> AsyncIterator[tuple[Path, VirtualSite]]:
    """The same with the gateway running on it."""
    async with virtual(folder, text) as (path, site), running(path):
        async with asyncio.timeout(10):
            while not (folder / "store" / NAME).is_socket():
                await asyncio.sleep(0.01)
        yield path, site

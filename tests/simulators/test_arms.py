"""Arms that move as the outputs say, and a device that was set to another baud rate."""

import asyncio
from pathlib import Path

from gateway.config.load import load
from gateway.config.site import SiteFile
from simulators.arms import MOVES_S, STAYS_S
from simulators.site import VirtualSite
from tests.technician.command import site_gateway
from tests.technician.yard import BUS, HEAD, virtual

SITE = """\
version: 1
site: {id: yard}
gateway: gw
uplink: {url: "mqtt://127.0.0.1:1"}
lines: {net: {driver: modbus, tcp: "127.0.0.1:1"}}
devices: {relay: {profile: waveshare-relay-8ch, line: net, unit: 1}}
gates: {north: {open: relay.do1, hold: relay.do2, arm: relay.di1}}
"""


def loaded(folder: Path) -> SiteFile:
    path = folder / "site.yaml"
    path.write_text(SITE)
    site = load(path).site
    assert site is not None
    return site


async def until_arm(site: VirtualSite, *, up: bool) -> float:
    """Wait for it: how long it took."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with asyncio.timeout(STAYS_S + 3 * MOVES_S):
        while site.value("relay.di1") is not up:
            await asyncio.sleep(0.02)
    return loop.time() - began


async def test_an_arm_goes_up_stays_and_comes_down(tmp_path: Path) -> None:
    async with VirtualSite(loaded(tmp_path)) as site:
        assert site.value("relay.di1") is False
        site.set("relay.do1", True)
        await asyncio.sleep(0.2)
        site.set("relay.do1", False)
        assert 0.5 < await until_arm(site, up=True) < 2 * MOVES_S
        assert await until_arm(site, up=False) > STAYS_S / 2
        site.set("relay.do2", True)
        await until_arm(site, up=True)


async def test_an_arm_whose_output_sticks_stays_down(tmp_path: Path) -> None:
    async with VirtualSite(loaded(tmp_path)) as site:
        site.set("relay.di1", True)
        await asyncio.sleep(0.3)
        assert site.value("relay.di1") is True, "what a scenario sets stays until an output moves it"


async def test_a_device_at_another_baud_rate_is_found_there(tmp_path: Path) -> None:
    async with virtual(tmp_path, HEAD + BUS) as (path, site):
        site.wrong_baud("smoke", 4800)
        silent = await site_gateway("read", path, "smoke.smoke")
        assert silent.status == 2, silent.out
        other = await site_gateway("read", path, "limit.level")
        assert other.status == 0, other.err
        port = site.addresses["bus"]
        found = await site_gateway("scan", "--serial", port, "--units", "12", "--baud", "4800", "--parity", "none")
        assert (found.status, "unit: 12" in found.out) == (0, True), found.err
        site.restore("smoke")
        assert (await site_gateway("read", path, "smoke.smoke")).status == 0

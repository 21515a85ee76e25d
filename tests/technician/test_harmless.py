"""What devices and sites say is printed in a real terminal without obeying it."""

from pathlib import Path

import pytest

from simulators.site import VirtualSite
from tests.technician.command import site_gateway
from tests.technician.terminal import shown
from tests.technician.yard import BUS, HEAD, virtual, watched

SITE = HEAD + BUS + "  talker: {line: bus, unit: 9, points: {name: {at: holding 0, type: 'text:16', every: 1s}}}\n"


def says_evil(site: VirtualSite) -> None:
    site.set("talker.name", "\x1b[2Jevil\x07\nfake")


@pytest.mark.parametrize("runs", [False, True], ids=["directly", "through the daemon"])
async def test_read_prints_no_escape_of_a_device(tmp_path: Path, runs: bool) -> None:
    async with (watched if runs else virtual)(tmp_path, SITE) as (path, site):
        says_evil(site)
        status, it = await shown("read", path, "talker.name")
        assert status == 0, it.screen.text
        assert r"\x1b[2Jevil\x07\nfake" in it.screen.text
        assert b"\x1b" not in it.written
        assert b"\x07" not in it.written
        in_json = await site_gateway("read", path, "talker.name", "--json")
        assert in_json.out.replace("\n", "").isprintable()


async def test_watch_prints_no_escape_of_a_device(tmp_path: Path) -> None:
    async with watched(tmp_path, SITE) as (path, site):
        says_evil(site)
        fresh = await site_gateway("read", path, "talker")
        assert fresh.status == 0, fresh.err
        picture = await site_gateway("watch", path, "--once")
        assert r"\x1b[2Jevil" in picture.out
        assert "\x1b" not in picture.out

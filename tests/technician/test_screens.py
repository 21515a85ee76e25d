"""What people look at, in a real terminal of 80x24: alarms, status, the live view."""

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from gateway.technician.tables import status_lines
from simulators.site import VirtualSite
from tests.end_to_end.process import running
from tests.technician.command import site_gateway
from tests.technician.terminal import Screen, Terminal, shown, terminal
from tests.technician.yard import virtual

DEVICES = 50
SHANGHAI = ZoneInfo("Asia/Shanghai")
SITE = (
    """\
version: 1
site: {id: yard, name: 西马新村, timezone: Asia/Shanghai}
gateway: gw
uplink: {url: "mqtt://127.0.0.1:1"}
lines: {net: {driver: modbus, tcp: "127.0.0.1:1", in_flight: 8}}
zones: {b3: {name: 3号楼}}
devices:
  board:
    line: net
    unit: 200
    points: {do1: {at: coil 0, write: true, every: 1s}, do2: {at: coil 1, write: true, every: 1s}}
"""
    + "".join(
        f"  smoke-{unit}: {{line: net, unit: {unit}, zone: b3, place: 3号楼{unit}层走廊, kind: smoke-detector, "
        "points: {smoke: {at: holding 0, values: {0: normal, 1: alarm}, every: 1s, "
        "alarms: {fire: {kind: fire, equals: 1}}}, water: {at: holding 1, every: 2s, "
        "alarms: {low: {kind: water, below: 5}}}}}\n"
        for unit in range(1, DEVICES + 1)
    )
    + "gates: {north: {open: board.do1, hold: board.do2}}\n"
)


def healthy(site: VirtualSite) -> None:
    for unit in range(1, DEVICES + 1):
        site.set(f"smoke-{unit}.water", 9)


@pytest.fixture
async def busy(tmp_path: Path) -> AsyncIterator[tuple[Path, VirtualSite]]:
    """A gateway with fifty devices."""
    async with virtual(tmp_path, SITE) as (path, site):
        healthy(site)
        async with running(path):
            yield path, site


async def until_alarms(path: Path, *words: str) -> list[str]:
    """Wait until `alarms` prints all of these: its lines."""
    async with asyncio.timeout(20):
        while True:
            ended = await site_gateway("alarms", path)
            assert ended.status == 0, ended.err
            if all(word in ended.out for word in words):
                return ended.out.splitlines()


async def test_alarms_are_sorted_typed_and_in_the_time_of_the_site(busy: tuple[Path, VirtualSite]) -> None:
    path, site = busy
    assert (await site_gateway("alarms", path)).out == "nothing stands\n" or await until_alarms(path, "nothing stands")
    site.set("smoke-3.smoke", 1)
    await until_alarms(path, "smoke-3/smoke/fire")
    site.set("smoke-4.water", 1)
    await until_alarms(path, "smoke-4/water/low")
    site.set("smoke-5.smoke", 1)
    site.silence("smoke-6")
    rows = await until_alarms(path, "smoke-5/smoke/fire", "smoke-6/silent")

    assert [row.split()[3] for row in rows[:3]] == ["smoke-5/smoke/fire", "smoke-3/smoke/fire", "smoke-4/water/low"]
    assert "3号楼5层走廊" in rows[0]
    told = datetime.strptime(rows[0][:19], "%Y-%m-%d %H:%M:%S").replace(tzinfo=SHANGHAI)
    assert abs((datetime.now(UTC) - told).total_seconds()) < 60
    acknowledged = await site_gateway("do", path, "alarm.acknowledge", "alarm=smoke-5/smoke/fire", "--by", "zhang")
    assert acknowledged.status == 0, acknowledged.err
    shelved = await site_gateway(
        "do", path, "alarm.shelve", "device=smoke-4/water/low", "for=1h", "note=pump", "--by", "zhang"
    )
    assert shelved.status == 0, shelved.err
    verified = await site_gateway(
        "do", path, "alarm.verify", "alarm=smoke-3/smoke/fire", "result=test", "--by", "zhang"
    )
    assert verified.status == 0, verified.err
    site.set("smoke-3.smoke", 0)
    await until_alarms(path, "latched-unack")
    reset = await site_gateway("do", path, "alarm.reset", "alarm=smoke-3/smoke/fire", "--by", "zhang")
    assert reset.status == 0, reset.err
    rows = await until_alarms(path, "smoke-5/smoke/fire")
    assert "ack" in rows[0].split()
    assert "shelved" in next(row for row in rows if "smoke-4/water/low" in row)
    assert not any("smoke-3/smoke/fire" in row for row in rows)


async def test_a_line_and_the_box_have_names_too(busy: tuple[Path, VirtualSite]) -> None:
    path, site = busy
    site.line_down("net")
    rows = await until_alarms(path, "net/down")
    assert next(row for row in rows if "net/down" in row).split()[3] == "net/down"
    done = await site_gateway("do", path, "alarm.acknowledge", "alarm=net/down", "--by", "zhang")
    assert done.status == 0, done.err


async def test_status_shows_clock_and_gates(busy: tuple[Path, VirtualSite]) -> None:
    path, _ = busy
    held = await site_gateway("do", path, "gate.hold", "gate=north", "reason=x", "--by", "zhang")
    assert held.status == 0, held.err
    status, it = await shown("status", path)
    text = it.written.decode().replace("\r\n", "\n")
    assert status == 0
    assert re.match(r"clock: \d{4}-\d\d-\d\d \d\d:\d\d:\d\d \(Asia/Shanghai\), (NOT )?synchronised\n", text)
    assert "gate north: held, arm unknown, held by " in text
    assert "device smoke-50: " in text


# ---- the live view ----------------------------------------------------------------------------------


def fits(it: Terminal) -> Screen:
    assert not it.screen.overflowed
    assert it.screen.unknown == []
    assert it.screen.scrolled == []
    return it.screen


async def test_it_fits_scrolls_filters_and_quits(busy: tuple[Path, VirtualSite]) -> None:
    path, site = busy
    site.set("smoke-7.smoke", 1)
    await until_alarms(path, "smoke-7/smoke/fire")
    async with terminal("watch", path) as it:
        screen = await it.shows("smoke-7/smoke/fire", "3号楼7层走廊", "q quit")
        assert screen.lines[0].startswith("yard / gw")
        assert screen.lines[23].startswith("1-22 of ")
        assert "smoke-7/smoke/fire" in screen.lines[2]
        assert "smoke-50.water" not in screen.text
        it.press("G")
        await it.shows("smoke-50.water")
        fits(it)
        it.press("g")
        await it.until(lambda screen: screen.lines[23].startswith("1-22 of "))
        it.press("\x1b[B\x1b[6~")
        await it.until(lambda screen: screen.lines[23].startswith("24-45 of "))
        it.press("/smoke-4")
        await it.shows("/smoke-4_")
        it.press("2\r")
        screen = await it.shows("smoke-42.water", "/ filter: smoke-42")
        assert "smoke-7/" not in screen.text
        it.press("\x1b")
        await it.shows("smoke-7/smoke/fire")
        site.set("smoke-9.smoke", 1)
        await it.shows("smoke-9/smoke/fire")
        fits(it)
        it.press("q")
        assert await it.end() == 0
    assert it.written.endswith(b"\x1b[?25h\x1b[?1049l"), "the terminal is as it was"


@pytest.mark.parametrize(("rows", "columns"), [(24, 80), (10, 40), (50, 200)])
async def test_it_fits_every_terminal(busy: tuple[Path, VirtualSite], rows: int, columns: int) -> None:
    path, site = busy
    site.set("smoke-7.smoke", 1)
    async with terminal("watch", path, rows=rows, columns=columns) as it:
        await it.shows("criti", "quit")
        for _ in range(8):
            it.press(" ")
            await it.until(lambda _: True)
        it.press("G")
        await it.shows("smoke-50")
        fits(it)
        it.press("q")
        assert await it.end() == 0


def clock_moved(before: str, screen: Screen) -> bool:
    return screen.lines[0] != before


async def test_only_what_changed_is_drawn(busy: tuple[Path, VirtualSite]) -> None:
    path, _ = busy
    async with terminal("watch", path) as it:
        await it.shows("q quit", "smoke-1")
        redraws = []
        for _ in range(4):
            before = len(it.written)
            clock = it.screen.lines[0]
            await it.until(partial(clock_moved, clock))
            redraws.append(len(it.written) - before)
        it.press("q")
        await it.end()
    assert max(redraws) < 800, redraws


async def test_the_terminal_is_put_back_when_it_is_ended(busy: tuple[Path, VirtualSite]) -> None:
    path, _ = busy
    async with terminal("watch", path) as it:
        await it.shows("q quit")
        it.process.terminate()
        assert await it.end() == 128 + 15
    assert it.written.endswith(b"\x1b[?25h\x1b[?1049l")


def test_status_says_which_camera_is_silent_and_on_what_scale_it_is_sure() -> None:
    camera = {"last": 1.0, "pushes": 3, "scale": "0-255", "scale_is": "learnt"}
    state = {
        "clock": {"time": "2026-12-01T00:00:00Z", "synced": True}, "timezone": "Asia/Shanghai", "lines": {},
        "devices": {}, "gates": {}, "process": {"reduced": False, "version": "1"},
        "journal": {"waiting": {}, "store": "ok"},
        "uplink": {"connected": True, "error": None, "refused": {}},
        "cameras": {"north": {**camera, "reachable": False}, "south": {**camera, "reachable": None}, "west": {}},
    }  # fmt: skip
    told = [line for line in status_lines(state) if line.startswith("camera")]
    assert told == [
        "camera north: SILENT, pushes 3, confidence 0-255 (learnt)",
        "camera south: pushes 3, confidence 0-255 (learnt)",
        "camera west: nothing yet",
    ]

"""Lines that are lost and come back, on real terminals and sockets: the others do not feel it."""

import asyncio
from typing import Any

import pytest

from gateway.config.site import SiteFile
from simulators.site import VirtualSite
from simulators.wire import Outage
from tests.field.yard import Yard, at_work
from tests.simulators.sites import site_of

EVERY = 0.2
BACK_OFF = 2.0


def device(line: str, unit: int) -> dict[str, Any]:
    points = {name: {"at": at, "every": f"{EVERY * 1000:.0f}ms"} for name, at in (("a", "holding 0"), ("b", "input 9"))}
    return {"line": line, "unit": unit, "limits": {"timeout": "100ms"}, "points": points}


def yard_of(lost: dict[str, Any]) -> SiteFile:
    """A line that is lost, with two devices, and one of each sort that is not."""
    lines = {
        "lost": lost,
        "bus": {"serial": "/dev/rs485-b", "baudrate": 115200},
        "net": {"tcp": "192.168.1.21:502"},
    }
    devices = {f"{line}-{unit}": device(line, unit) for line in lines for unit in (1, 2)}
    return site_of(lines, devices)


SERIAL = {"serial": "/dev/rs485-a", "baudrate": 115200}
TCP = {"tcp": "192.168.1.20:502"}
DTU = {"tcp": "192.168.1.20:4196", "framing": "rtu", "baudrate": 115200}


async def lose_and_find(lost: dict[str, Any], how: Outage, away: float, within: float) -> None:
    """Lose the line for a while; it is used again `within` seconds after it is back, and nobody else felt it."""
    async with VirtualSite(yard_of(lost), latency=0.002) as virtual, at_work(virtual, tcp_back_off=BACK_OFF) as yard:
        names = list(virtual.site.devices)
        await yard.until(lambda: all(yard.good(name, "b") for name in names), within=5)
        began = yard.clock.now().mono
        virtual.line_down("lost", how)
        await asyncio.sleep(away)
        assert not yard.good("lost-1", "a") or how in ("close", "reset")
        virtual.line_up("lost")
        back = yard.clock.now().mono
        took = await yard.until(lambda: all(yard.good(f"lost-{n}", "a", since=back) for n in (1, 2)), within=within)
        assert took <= within
        await asyncio.sleep(5 * EVERY)
        for name in names:
            if not name.startswith("lost"):
                undisturbed(yard, name, began)
        assert [up for name, up in yard.health if name == "bus"] == [True]
        assert [up for name, up in yard.health if name == "net"] == [True]


def undisturbed(yard: Yard, name: str, since: float) -> None:
    """Two reads each period, one now and one half a period later or less: no gap is longer than a period and a half."""
    gaps = sorted(yard.intervals(name, since))
    assert len(gaps) > 10
    assert gaps[int(0.95 * len(gaps))] <= 1.5 * EVERY


@pytest.mark.parametrize("how", ["unplug", "dangle"])
async def test_an_adapter_that_is_put_back_is_in_use_within_five_seconds(how: Outage) -> None:
    """On another terminal under the same name; the line says once that it is down."""
    await lose_and_find(SERIAL, how, away=2.5, within=5.0)


async def test_an_adapter_that_wobbles_is_found_each_time() -> None:
    async with VirtualSite(yard_of(SERIAL), latency=0.002) as virtual, at_work(virtual) as yard:
        for _ in range(3):
            await yard.until(lambda: yard.good("lost-1", "a"), within=5)
            virtual.line_down("lost", "unplug")
            await yard.until(lambda: not yard.good("lost-1", "a"), within=1)
            virtual.line_up("lost")
        assert [up for name, up in yard.health if name == "lost"] in ([True, False] * 3, [True, False] * 2 + [True])


@pytest.mark.parametrize("lost", [TCP, DTU], ids=["tcp", "rtu-over-tcp"])
@pytest.mark.parametrize("how", ["refuse", "reset", "close"])
async def test_a_tcp_line_is_back_within_its_back_off(lost: dict[str, Any], how: Outage) -> None:
    await lose_and_find(lost, how, away=2.0, within=BACK_OFF + 0.5)


@pytest.mark.parametrize("lost", [TCP, DTU], ids=["tcp", "rtu-over-tcp"])
async def test_a_connection_that_swallows_everything_is_back_with_the_next_probe(lost: dict[str, Any]) -> None:
    """Every device falls silent, and is probed: with a time-out of 100 ms again within some seconds."""
    await lose_and_find(lost, "black-hole", away=3.0, within=12.0)


async def test_what_is_missing_at_the_start_holds_up_nobody_and_is_used_when_it_comes() -> None:
    """An adapter that is absent, a host that refuses: all others are polled within a moment."""
    lines = {"usb": SERIAL, "net": TCP, "there": {"serial": "/dev/rs485-c", "baudrate": 115200}}
    devices = {f"{line}-1": device(line, 1) for line in lines}
    async with VirtualSite(site_of(lines, devices), latency=0.002) as virtual:
        virtual.line_down("usb", "unplug")
        virtual.line_down("net", "refuse")
        async with at_work(virtual, tcp_back_off=BACK_OFF) as yard:
            assert await yard.until(lambda: yard.good("there-1", "b"), within=5) < 1.0
            await asyncio.sleep(2.5)
            assert {("usb", False), ("net", False), ("there", True)} <= set(yard.health)
            virtual.line_up("usb")
            virtual.line_up("net")
            await yard.until(lambda: yard.good("usb-1", "a") and yard.good("net-1", "a"), within=5)
            assert [up for name, up in yard.health if name == "usb"] == [False, True]
            undisturbed(yard, "there-1", 0.0)

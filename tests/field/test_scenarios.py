"""What users of other gateways complain of, at a real bus of 9600 baud: eight slaves, twenty registers each."""

import asyncio
import sys
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from gateway.config.load import load
from gateway.config.site import SiteFile
from gateway.model import Quality, Reason
from simulators.site import VirtualSite
from tests.end_to_end.process import running
from tests.field.yard import Yard, at_work
from tests.simulators.sites import site_of

FLOOR = 0.05
"""The shortest time-out of a read."""
REGISTERS = {f"v{n}": {"at": f"holding {n}"} for n in range(20)}


def slave(line: str, unit: int, every: float = 1.0, timeout: str = "300ms", **more: Any) -> dict[str, Any]:
    points = {name: {**point, "every": f"{every * 1000:.0f}ms"} for name, point in REGISTERS.items()}
    return {"line": line, "unit": unit, "limits": {"timeout": timeout}, "points": {**points, **more}}


def bus(every: float = 1.0, timeout: str = "300ms", **more: Any) -> SiteFile:
    """Eight slaves; the eighth is a relay as well if it is given points for that."""
    lines = {"bus": {"serial": "/dev/rs485-a"}, "other": {"serial": "/dev/rs485-b"}}
    devices = {f"s{unit}": slave("bus", unit, every, timeout, **(more if unit == 8 else {})) for unit in range(1, 9)}
    return site_of(lines, {**devices, "o3": slave("other", 3)})


async def test_1_a_dead_slave_costs_the_others_little_and_is_back_at_full_rate() -> None:
    async with VirtualSite(bus()) as virtual, at_work(virtual) as yard:
        names = [name for name in virtual.site.devices if name.startswith("s")]
        await yard.until(lambda: all(yard.good(name, "v19") for name in names), within=5)
        died = yard.clock.now().mono
        virtual.silence("s3")
        await yard.until(lambda: ("s3", False) in yard.health, within=6)
        silent = yard.clock.now().mono
        await asyncio.sleep(8)
        for name in (*names[:2], *names[3:], "o3"):
            gaps = sorted(yard.intervals(name, died))
            assert len(gaps) >= 8
            assert gaps[int(0.95 * len(gaps))] <= 1.5
            assert gaps[-1] <= 2.5
        asked = [at for sign, at, data in yard.drivers["bus"].frames if sign == ">" and data[0] == 3 and at > silent]
        assert len(asked) <= 2, "a probe now and then"
        virtual.restore("s3")
        assert await yard.until(lambda: yard.good("s3", "v0"), within=60) <= 60
        back = yard.clock.now().mono
        await asyncio.sleep(3.2)
        assert len(yard.intervals("s3", back - 0.5)) >= 2
        assert [up for name, up in yard.health if name == "s3"] == [True, False, True]
        assert [up for name, up in yard.health if name == "bus"] == [True], "the port was not opened again"


async def test_4_a_write_is_on_the_wire_within_400_ms_on_a_full_bus_with_a_dead_slave() -> None:
    """Everybody is asked at the limit, and may take a second; the order comes as soon as one died, and later."""
    site = bus(0.3, "1s", do1={"at": "coil 0", "write": True, "every": "10s"})
    async with VirtualSite(site) as virtual, at_work(virtual) as yard:
        names = [name for name in virtual.site.devices if name.startswith("s")]
        await yard.until(lambda: all(yard.good(name, "v19") for name in names), within=10)
        loop = asyncio.get_running_loop()
        took: list[float] = []
        for died in ("s3", "s5"):
            virtual.silence(died)
            for number in range(30):
                await asyncio.sleep(0.02 + number * 0.0071 % 0.2)
                ordered = loop.time()
                await yard.lines["bus"].order("s8", "do1", number % 2 == 0, ordered + 5.0)
                on_the_wire = virtual.writes[-1].mono
                took.append(on_the_wire - ordered - yard.lag(ordered, on_the_wire))
                assert virtual.value("s8.do1") is (number % 2 == 0)
            await yard.until(partial(told_silent, yard, died), within=10)
        took.sort()
        sys.stdout.write(f"\norder -> wire: p50 {took[len(took) // 2]:.3f} s, worst {took[-1]:.3f} s of {len(took)}\n")
        assert took[int(0.99 * len(took)) - 1] <= 0.4
        assert one_at_a_time(yard)
        assert yard.lines["bus"].snapshot().busy >= 0.9


def told_silent(yard: Yard, device: str) -> bool:
    return (device, False) in yard.health


def one_at_a_time(yard: Yard) -> bool:
    """No request goes out before the one before it has been answered or its time is over."""
    frames = list(yard.drivers["bus"].frames)
    sent = [number for number, (sign, _, _) in enumerate(frames) if sign == ">"]
    return all(b > a + 1 or frames[b][1] - frames[a][1] >= FLOOR for a, b in pairwise(sent))


async def test_7_a_lost_device_is_bad_within_three_periods_told_once_and_nothing_old_is_new() -> None:
    async with VirtualSite(bus()) as virtual, at_work(virtual) as yard:
        await yard.until(lambda: yard.good("s5", "v19"), within=5)
        virtual.silence("s5")
        died = yard.clock.now().mono
        await yard.until(lambda: ("s5", False) in yard.health, within=4.5)
        last = yard.answers("s5")[-1]
        assert set(last.readings) == set(REGISTERS)
        for reading in last.readings.values():
            assert (reading.value, reading.quality, reading.reason) == (None, Quality.BAD, Reason.SILENT)
            assert reading.at == last.at
            assert died < reading.at.mono <= died + 4.0, "three periods, and the time-outs"
        await asyncio.sleep(3)
        assert yard.answers("s5")[-1] is last
        assert [up for name, up in yard.health if name == "s5"] == [True, False]


@pytest.mark.parametrize("missing", ["unplug", "refuse"])
async def test_9_what_is_absent_at_the_start_holds_up_nobody(tmp_path: Path, missing: str) -> None:
    """The whole daemon, with the broker away too: the rest is polled within 5 s, and what comes back is used."""
    source = tmp_path / "site.yaml"
    source.write_text(
        "version: 1\nsite: {id: yard}\ngateway: gw\nuplink: {url: 'mqtt://127.0.0.1:1'}\n"
        "lines:\n  usb: {driver: modbus, serial: /dev/rs485-a}\n  net: {driver: modbus, tcp: '127.0.0.1:1'}\n"
        "  there: {driver: modbus, serial: /dev/rs485-b}\n"
        "devices:\n"
        + "".join(f"  d-{line}: {{profile: xy-md02, line: {line}}}\n" for line in ("usb", "net", "there"))
        + "store: {path: store, max_size: 64MiB, alarm_reserve: 1MiB}\n"
    )
    loaded = load(source).site
    assert loaded is not None
    away = {"unplug": "usb", "refuse": "net"}[missing]
    async with VirtualSite(loaded) as virtual:
        site = tmp_path / "virtual.yaml"
        virtual.write_site(source, site, broker_url="mqtt://127.0.0.1:1", store_path=tmp_path / "store")
        virtual.line_down(away)
        async with running(site):
            async with asyncio.timeout(5):
                while not all(virtual.counts(line).answers for line in ("usb", "net", "there") if line != away):
                    await asyncio.sleep(0.01)
            await asyncio.sleep(3)
            virtual.line_up(away)
            async with asyncio.timeout(35):
                while not virtual.counts(away).answers:
                    await asyncio.sleep(0.01)

"""`scan` on virtual buses: real terminals and ports, devices at the speed of their wire."""

import re
from pathlib import Path

import pytest

from gateway.config.site import ModbusLine
from gateway.errors import LineDown
from gateway.technician.scan import Scan, units_of
from gateway.technician.scan_line import Setting, Target
from gateway.technician.search import wanted
from simulators.site import VirtualSite
from tests.simulators.sites import bus_site, site_of, tcp_site
from tests.technician.command import DeafLine, site_gateway
from tests.technician.yard import HEAD, site_file, virtual, watched

SLOW_BUS = """\
lines: {bus: {driver: modbus, serial: /dev/rs485-yard, baudrate: 4800}}
devices:
  smoke: {profile: jdrk-rs-yg-n01, line: bus, unit: 3}
  climate: {profile: xy-md02, line: bus, unit: 2}
  relay: {profile: wellpro-wp8025adam, line: bus, unit: 1}
"""


Options = tuple[str | None, str | None, str, str | None, str | None, str | None]


class Heard:
    """Keeps the lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def tell(self, done: int, of: int, doing: str) -> None:
        assert 0 <= done <= of, doing

    def say(self, line: str) -> None:
        self.lines.append(line)


@pytest.fixture
def deaf(monkeypatch: pytest.MonkeyPatch) -> None:
    """Virtual serial lines on which a wrong baud rate is not understood."""
    monkeypatch.setattr("simulators.site.SerialLine", DeafLine)


@pytest.mark.usefixtures("deaf")
async def test_three_units_are_found_at_their_baud_rate_and_the_fragment_is_good(tmp_path: Path) -> None:
    async with virtual(tmp_path, HEAD + SLOW_BUS, strict_silence=True) as (_, site):
        port = site.addresses["bus"]
        ended = await site_gateway("scan", "--serial", port, "--units", "1-4", "--parity", "none")
        line = site.line("bus")

        assert ended.status == 0
        assert isinstance(line, DeafLine)
        assert line.heard[:2] == [9600, 4800]
        assert site.writes == []
    assert f"bus: {{driver: modbus, serial: {port}, baudrate: 4800, parity: none, stopbits: 1}}" in ended.out
    for unit, profile in ((1, "wellpro-wp8025adam"), (2, "xy-md02"), (3, "jdrk-rs-yg-n01")):
        assert f"unit-{unit}: {{profile: {profile}, line: bus, unit: {unit}}}" in ended.out
        assert f"unit {unit} answers at 4800 8N1" in ended.err
    pasted = tmp_path / "pasted.yaml"
    pasted.write_text(HEAD + ended.out)
    checked = await site_gateway("check", pasted)
    assert checked.status == 0, checked.out


async def test_modbus_tcp_and_rtu_over_tcp_are_told_apart(tmp_path: Path) -> None:
    for framing in ("tcp", "rtu"):
        async with VirtualSite(tcp_site(framing)) as site:
            ended = await site_gateway("scan", "--tcp", site.addresses["net"], "--units", "1-3")

        assert ended.status == 0
        _, found = site_file(tmp_path, HEAD + ended.out)
        line = found.lines["bus"]
        assert isinstance(line, ModbusLine)
        assert line.framing == framing
        assert {device.unit for device in found.devices.values()} == {1, 2, 3}


async def test_an_exception_is_an_answer_and_broadcast_is_never_used() -> None:
    file = site_of(
        {"bus": {"serial": "/dev/x"}}, {"odd": {"line": "bus", "unit": 5, "points": {"v": {"at": "input 9"}}}}
    )
    async with VirtualSite(file) as site:
        scan = Scan(Target(serial=site.addresses["bus"]), [Setting()], range(1, 8), shown=Heard())
        await scan.run()

        assert [one.unit for one in scan.found.values()] == [5]
        assert site.device("odd").requests == site.device("odd").refused > 0
        assert site.counts("bus").requests >= 7


async def test_a_slow_unit_is_heard_while_others_are_asked_and_found() -> None:
    async with VirtualSite(bus_site()) as site:
        site.unit("two").latency = 0.28
        scan = Scan(Target(serial=site.addresses["bus"]), [Setting()], range(1, 6), shown=Heard())
        await scan.run()

    assert sorted(one.unit for one in scan.found.values()) == [1, 2, 3]


async def test_damaged_answers_are_told() -> None:
    heard = Heard()
    async with VirtualSite(bus_site()) as site:
        site.garble("two", "flip")
        scan = Scan(Target(serial=site.addresses["bus"]), [Setting()], (1, 2, 3), shown=heard)
        await scan.run()

    assert sorted(one.unit for one in scan.found.values()) == [1, 3]
    assert any(text.startswith("unit 2: something answers at 9600 8N1, but damaged") for text in heard.lines)


async def test_a_line_of_the_running_gateway_is_refused(tmp_path: Path) -> None:
    async with watched(tmp_path) as (path, site):
        ended = await site_gateway("scan", "--serial", site.addresses["bus"])

    assert ended.status == 2
    assert ended.out == ""
    assert re.search(rf"is in use by process \d+ \(.*run {path}\)", ended.err)
    assert "stop that program first" in ended.err


async def test_what_was_found_is_printed_when_interrupted(tmp_path: Path) -> None:
    async with virtual(tmp_path, HEAD + SLOW_BUS) as (_, site):
        ended = await site_gateway(
            "scan", "--serial", site.addresses["bus"], "--baud", "4800", interrupt_at="unit 2 answers"
        )

    assert ended.status == 130
    assert "unit-1: {" in ended.out
    assert "unit-2: {" in ended.out
    assert "Traceback" not in ended.err


async def test_a_port_that_is_not_there_is_said(tmp_path: Path) -> None:
    ended = await site_gateway("scan", "--serial", tmp_path / "nothing")

    assert ended.status == 2
    assert "no such port" in ended.err


async def test_nobody_behind_a_tcp_address() -> None:
    async with VirtualSite(tcp_site()) as site:
        address = site.addresses["net"]
        site.line_down("net")
        ended = await site_gateway("scan", "--tcp", address, "--units", "1")

    assert ended.status == 2
    assert "Connect call failed" in ended.err


async def test_a_wrong_command_line() -> None:
    ended = await site_gateway("scan", "--serial", "/dev/x", "--units", "0-5")

    assert ended.status == 64
    assert "Error: 1 to 255, the lower first; 0 is the broadcast" in ended.err


@pytest.mark.parametrize(
    "options",
    [
        (None, None, "1", None, None, None),
        ("/dev/x", "127.0.0.1:502", "1", None, None, None),
        ("/dev/x", None, "9-5", None, None, None),
        ("/dev/x", None, "1-300", None, None, None),
        ("/dev/x", None, "one", None, None, None),
        ("/dev/x", None, "1", "9601", None, None),
        ("/dev/x", None, "1", None, None, "rtu"),
        (None, "127.0.0.1:502", "1", "9600", None, None),
        (None, "127.0.0.1:502", "1", None, "even", None),
        (None, "nowhere", "1", None, None, None),
    ],
)
def test_options_that_make_no_sense(options: Options) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        wanted(*options)


def test_units_are_read_as_written() -> None:
    assert list(units_of("1-3,7, 9-9")) == [1, 2, 3, 7, 9]
    with pytest.raises(ValueError, match="broadcast"):
        list(units_of("0"))


def test_the_settings_of_the_options() -> None:
    _, settings, _ = wanted("/dev/x", None, "1", "4800,9600", None, None)
    assert [str(one) for one in settings] == ["4800 8N1", "9600 8N1", "4800 8E1", "9600 8E1", "4800 8O1", "9600 8O1"]
    _, settings, _ = wanted("/dev/x", None, "1", None, None, None)
    assert [str(one) for one in settings[:3]] == ["9600 8N1", "4800 8N1", "9600 8E1"]


async def test_a_port_that_can_do_no_setting_ends_the_scan() -> None:
    """A terminal of the kernel knows no parity."""
    async with VirtualSite(bus_site()) as site:
        even = Setting(9600, "even")
        scan = Scan(Target(serial=site.addresses["bus"]), [even], (1, 2), shown=Heard())
        with pytest.raises(LineDown, match="refuses 9600 baud, parity even"):
            await scan.run()
        assert scan.found == {}

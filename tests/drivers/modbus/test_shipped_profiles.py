"""Every shipped profile: loaded, planned, simulated, read and written point by point."""

import asyncio
from pathlib import Path

import pytest
import yaml

from drivers.modbus.line import ModbusPoller
from gateway.config.device import KINDS
from gateway.config.load import Loaded, load, shipped
from gateway.config.points import Point
from gateway.config.site import SiteFile
from gateway.driver import Block
from gateway.model import Lane, Quality, Value
from gateway.settings import build
from simulators.site import VirtualSite

PROFILES = sorted(path.stem for path in shipped().glob("*.yaml"))
SITE = """\
version: 1
site: {{id: yard}}
gateway: gw
uplink: {{url: "mqtt://127.0.0.1:1"}}
lines: {{line: {{driver: modbus, {line}}}}}
zones: {{b3: {{}}}}
devices: {{it: {{profile: {profile}, line: line, unit: 7, zone: b3}}}}
"""
every_profile = pytest.mark.parametrize("profile", PROFILES)


def loaded(tmp_path: Path, profile: str, line: str) -> Loaded:
    path = tmp_path / "site.yaml"
    path.write_text(SITE.format(profile=profile, line=line))
    return load(path)


def shipped_line(profile: str) -> str:
    """The line as the maker ships the device; Modbus TCP where the profile has none."""
    line = yaml.safe_load((shipped() / f"{profile}.yaml").read_text())
    if "line" not in line:
        return 'tcp: "127.0.0.1:502"'
    return "serial: /dev/rs485, " + ", ".join(f"{key}: {value}" for key, value in line["line"].items())


def site(tmp_path: Path, profile: str, line: str) -> SiteFile:
    found = loaded(tmp_path, profile, line)
    assert found.site is not None, found.problems
    return found.site


def test_there_are_enough_of_every_sort() -> None:
    """24 models; detectors, water, electricity, climate, outputs, inputs, pumps."""
    kinds = {yaml.safe_load((shipped() / f"{profile}.yaml").read_text())["kind"] for profile in PROFILES}
    assert len(PROFILES) >= 24
    assert kinds <= set(KINDS)
    assert kinds >= {
        *("smoke-detector", "heat-detector", "call-point", "gas-detector", "pressure", "level", "electrical-fire"),
        *("temperature-humidity", "relay", "meter", "pump"),
    }


@every_profile
def test_an_unverified_table_says_so_and_check_repeats_it(tmp_path: Path, profile: str) -> None:
    sheet = yaml.safe_load((shipped() / f"{profile}.yaml").read_text())
    assert sheet["source"]["status"] in ("verified", "unverified")
    warnings = [problem.text for problem in loaded(tmp_path, profile, shipped_line(profile)).problems]
    told = any("unverified" in text and sheet["source"]["text"] in text for text in warnings)
    assert told == (sheet["source"]["status"] == "unverified")


@every_profile
def test_it_is_planned_on_the_line_as_shipped(tmp_path: Path, profile: str) -> None:
    file = site(tmp_path, profile, shipped_line(profile))
    line = ModbusPoller(build.modbus_line(file, "line"))
    device = file.devices["it"]
    limits = device.limits
    assert sorted(point for block in line.blocks() for point in block.points) == sorted(device.points)
    for block in line.blocks():
        function, count = pdu(block)
        assert count <= (limits.max_bits if function <= 2 else limits.max_registers)
        assert function > 2 or limits.fixed_bits in (None, count)


def pdu(block: Block) -> tuple[int, int]:
    """Function and count of a read."""
    request: bytes = block.request.ask.pdu  # type: ignore[attr-defined]
    return request[0], int.from_bytes(request[3:5], "big")


def candidates(point: Point) -> list[Value]:
    """Some values that the point can have."""
    if point.type == "bool":
        return [True, False]
    if point.values:
        return list(point.values)
    if point.type.startswith("text:"):
        return ["AB"]
    if point.supervised is not None:
        return ["alarm", "normal", "open", "short"]
    low, high = point.valid or (0, 100)
    signed = point.type.startswith("int") or point.type.startswith("float")
    return [(low + high) / 2, low + (high - low) / 4, *([-7] if signed and low <= -7 else [])]


@every_profile
async def test_each_point_reads_what_the_device_has(tmp_path: Path, profile: str) -> None:
    file = site(tmp_path, profile, 'tcp: "127.0.0.1:502"')
    async with VirtualSite(file, latency=0.0) as virtual, at(file, virtual) as line:
        for name, point in file.devices["it"].points.items():
            (alone,) = line.block_for("it", [name], Lane.ORDER)
            (carrier,) = [block for block in line.blocks() if name in block.points]
            for value in candidates(point):
                virtual.set(f"it.{name}", value)
                for block in (alone, carrier):
                    found = line.decode(block, await line.read(block, 1.0))[name]
                    assert found.quality is Quality.GOOD
                    assert found.value == pytest.approx(virtual.value(f"it.{name}"))
                    assert found.unit == point.unit
                    assert not point.values or found.text == point.values.get(found.value)  # type: ignore[arg-type]


@every_profile
async def test_what_is_writable_is_written_as_the_device_wants_it(tmp_path: Path, profile: str) -> None:
    file = site(tmp_path, profile, 'tcp: "127.0.0.1:502"')
    outputs = {name: point for name, point in file.devices["it"].points.items() if point.writable}
    async with VirtualSite(file, latency=0.0) as virtual, at(file, virtual) as line:
        for name, point in outputs.items():
            for value in candidates(point):
                await line.write("it", name, value, 1.0)
                assert virtual.value(f"it.{name}") == value
            if point.pulse is not None:
                await line.write("it", name, 0.2, 1.0)
                assert virtual.value(f"it.{name}") is True
                async with asyncio.timeout(2):
                    while virtual.value(f"it.{name}"):
                        await asyncio.sleep(0.01)
    if file.devices["it"].kind == "relay":
        assert outputs


def at(file: SiteFile, virtual: VirtualSite) -> ModbusPoller:
    """The driver of the virtual device."""
    line = file.lines["line"].model_copy(update={"tcp": virtual.addresses["line"]})
    return ModbusPoller(build.modbus_line(file.model_copy(update={"lines": {"line": line}}), "line"))


async def frames(tmp_path: Path, profile: str, point: str, *values: Value) -> list[str]:
    """The requests that write these values, in hex, and then a read."""
    file = site(tmp_path, profile, 'tcp: "127.0.0.1:502"')
    async with VirtualSite(file, latency=0.0) as virtual, at(file, virtual) as line:
        for value in values:
            await line.write("it", point, value, 1.0)
        (block,) = line.block_for("it", [point], Lane.ORDER)
        await line.read(block, 1.0)
        return [data[7:].hex() for sign, _, data in line.frames if sign == ">"]


async def test_relays_by_register_with_two_for_off(tmp_path: Path) -> None:
    found = await frames(tmp_path, "laskakit-relay-8ch", "do2", True, False)
    assert found == ["0600020001", "0600020002", "0300020001"]


async def test_coils_with_an_odd_on(tmp_path: Path) -> None:
    assert (await frames(tmp_path, "r4a08-relay-4ch", "do1", True, False))[:2] == ["0500010100", "0500010000"]


async def test_inputs_that_answer_only_for_eight(tmp_path: Path) -> None:
    assert await frames(tmp_path, "lc-modbus-8r", "di5") == ["0200000008"]


async def test_a_device_without_function_6_is_written_by_function_16(tmp_path: Path) -> None:
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "only-16.yaml").write_text(
        "profile: only-16\nkind: other\npoints: {set: {at: holding 5, write: {fc: 16}}}\n"
    )
    assert (await frames(tmp_path, "only-16", "set", 9))[0] == "10000500010200" + "09"


async def test_inputs_that_are_coils_on_other_firmware(tmp_path: Path) -> None:
    """The base differs by firmware: one `at` in the site file, no other profile."""
    text = SITE.format(profile="advantech-adam-6060", line='tcp: "127.0.0.1:502"')
    path = tmp_path / "site.yaml"
    path.write_text(text.replace("zone: b3}", "zone: b3, points: {di1: {at: coil 0}}}"))
    file = load(path).site
    assert file is not None
    line = ModbusPoller(build.modbus_line(file, "line"))
    (block,) = line.block_for("it", ["di1"], Lane.ORDER)
    assert pdu(block) == (1, 1)

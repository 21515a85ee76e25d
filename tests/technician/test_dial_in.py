"""Lines whose device dials in, as a technician meets them: scan, doctor, plan, simulate."""

import asyncio
from pathlib import Path

import orjson

from gateway.config.load import load
from simulators.site import VirtualSite
from tests.drivers.modbus.dtu import Dtu
from tests.drivers.modbus.test_dialin import IMEI, free_port
from tests.field.yard import at_work
from tests.technician.command import site_gateway

SITE = """
version: 1
site: {{id: s}}
gateway: g
uplink: {{url: "mqtt://127.0.0.1:1"}}
store: {{path: "{store}"}}
lines:
  one: {{driver: modbus, listen: "{host}:{port}", {allow}register: "866123456789012", framing: rtu, baudrate: 115200}}
  two: {{driver: modbus, listen: "{host}:{port}", {allow}register: "866123456789013", framing: tcp, heartbeat: "fe fe"}}
devices:
  a: {{line: one, unit: 1, points: {{p: {{at: holding 3, every: 200ms}}}}}}
  b: {{line: two, unit: 1, points: {{p: {{at: holding 3, every: 200ms}}}}}}
"""


def written(tmp_path: Path, port: int, *, host: str = "127.0.0.1") -> Path:
    path = tmp_path / "site.yaml"
    allow = "" if host == "127.0.0.1" else "allow: [10.64.0.0/16], "
    path.write_text(SITE.format(store=tmp_path / "store", port=port, host=host, allow=allow))
    return path


async def test_scan_finds_who_dials_in() -> None:
    port = free_port()
    async with Dtu(port, IMEI.encode()).calling(), asyncio.timeout(60):
        ended = await site_gateway(
            "scan", "--listen", f"127.0.0.1:{port}", "--register", IMEI, "--units", "1", "--framing", "rtu"
        )
    assert ended.status == 0, ended.out
    assert f'listen: "127.0.0.1:{port}", allow: [127.0.0.1], register: "{IMEI}", framing: rtu' in ended.out
    assert "unit: 1" in ended.out


async def test_doctor_waits_until_its_device_has_dialled_in(tmp_path: Path) -> None:
    port = free_port()
    path = written(tmp_path, port)
    async with Dtu(port, IMEI.encode()).calling(), Dtu(port, b"866123456789013", rtu=False).calling():
        async with asyncio.timeout(60):
            ended = await site_gateway("doctor", path)
    assert "good  line one: 1 devices answer" in ended.out
    assert "good  line two: 1 devices answer" in ended.out


async def test_plan_knows_such_a_line(tmp_path: Path) -> None:
    ended = await site_gateway("plan", written(tmp_path, free_port()), "--json")
    assert {line["line"] for line in orjson.loads(ended.out)["lines"]} == {"one", "two"}


async def test_the_simulator_dials_in(tmp_path: Path) -> None:
    """The whole field at it: lines that share a port, a link that is lost and dials in again."""
    site = load(written(tmp_path, 7000, host="0.0.0.0")).site  # noqa: S104 - the simulator takes another one
    assert site is not None
    async with VirtualSite(site, latency=0.002) as virtual:
        virtual.set("a.p", 11)
        virtual.set("b.p", 22)
        written_to = tmp_path / "sim.yaml"
        virtual.write_site(
            tmp_path / "site.yaml", written_to, broker_url="mqtt://127.0.0.1:1", store_path=tmp_path / "store"
        )
        again = load(written_to).site
        assert again is not None
        assert {line.listen for line in again.lines.values()} == set(virtual.addresses.values())
        async with at_work(virtual) as yard:
            await yard.until(lambda: yard.good("a", "p") and yard.good("b", "p"), within=10)
            assert yard.lines["one"].readings()["a"]["p"].value == 11
            assert yard.lines["two"].readings()["b"]["p"].value == 22
            virtual.line_down("one")
            await yard.until(lambda: ("one", False) in yard.health, within=15)
            virtual.line_up("one")
            back = yard.clock.now().mono
            await yard.until(lambda: yard.good("a", "p", since=back), within=10)
            assert ("two", False) not in yard.health

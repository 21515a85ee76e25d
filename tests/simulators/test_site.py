"""A whole site from its own file."""

from pathlib import Path
from typing import Any

import pytest

from gateway.config.device import Device
from gateway.config.lines import ModbusLine
from gateway.config.load import load, shipped
from gateway.config.site import SiteFile
from gateway.config.source import read
from gateway.errors import ConfigError
from simulators.site import VirtualSite
from tests.simulators.raw import RawPort, RawSocket, frame, tcp_frame
from tests.simulators.sites import SENSOR, bus_site, site_of

_EXAMPLE = Path(__file__).parents[2] / "config" / "example.yaml"
_FULL = """\
version: 1
site: {id: yard, name: 大院, timezone: Asia/Shanghai}
gateway: yard-01
uplink:
  url: mqtts://mqtt.example.com:8883
  username: yard-01
  password: {file: broker.pass}
  tls: {ca: ca.pem, cert: gw.pem, key: gw.key}
commands:
  keys: [{id: cloud, ed25519: cloud.pem}]
lines:
  even: &bus {driver: modbus, serial: /dev/rs485-a, baudrate: 4800, parity: even}
  merged: {<<: *bus, serial: /dev/rs485-b}
  net: {driver: modbus, tcp: "192.168.1.20:502"}
  panel: {driver: gb26875, listen: "0.0.0.0:5200", allow: [192.168.1.30]}
zones: {on: {name: "no"}}
devices:
  pressure-1: {profile: own-pressure, line: even, unit: 4, zone: on}
  smoke: {profile: jdrk-rs-yg-n01, line: merged, unit: 1, place: "12:30"}
  io: {profile: waveshare-relay-8ch, line: net, unit: 1}
  lobby: {line: panel, kind: panel, address: "79 03 00 00 00 00", points: lobby.csv}
gates:
  north: {open: io.do1}
cameras:
  lpr: {driver: hikvision, mode: push, gate: north, direction: in, address: 192.168.1.64, username: admin,
        password: {file: lpr.pass}, token: {file: lpr.token}}
  yard: {driver: generic, address: 192.168.1.70, snapshot: "http://192.168.1.70/snap.jpg?size=1"}
http:
  cameras: {listen: "0.0.0.0:8080", max_body: 4MiB}
access: {lists: [residents.csv]}
inspection:
  nightly:
    cron: "0 2 * * *"
    items:
      - {point: pressure-1.pressure, between: [0.2, 0.4]}
store: {path: /var/lib/site-gateway, max_size: 256MiB}
fire_centre: {tcp: "10.1.1.1:5200", address: "01 00 00 00 00 00", accepted_by: "the person responsible"}
"""
_PROFILE = """\
profile: own-pressure
kind: pressure
points:
  pressure: {at: holding 0, scale: 0.01, unit: MPa, alarms: {low: {kind: water, below: 0.1}}}
"""
_FILES = {
    "broker.pass": "secret\n",
    "lpr.pass": "secret\n",
    "lpr.token": "secret\n",
    "ca.pem": "-\n",
    "gw.pem": "-\n",
    "gw.key": "-\n",
    "cloud.pem": "-\n",
    "residents.csv": "plate,kind,from,until,gates,note\n",
    "lobby.csv": "component,zone,place\n",
}


def _loaded(path: Path) -> SiteFile:
    loaded = load(path)
    assert loaded.site is not None, "\n".join(map(str, loaded.problems))
    return loaded.site


@pytest.fixture
def full(tmp_path: Path) -> Path:
    folder = tmp_path / "office"
    (folder / "profiles").mkdir(parents=True)
    (folder / "profiles" / "own-pressure.yaml").write_text(_PROFILE)
    for name, text in _FILES.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o600)
    (folder / "site.yaml").write_text(_FULL)
    return folder / "site.yaml"


async def test_every_line_of_the_example_is_served() -> None:
    async with VirtualSite(_loaded(_EXAMPLE), latency=0.0) as site:
        site.set("smoke-3-2f.smoke", "alarm")
        async with RawPort(site.addresses["fire-loop"]) as port:
            assert (await port.ask(frame("0c 03 0003 0001"), 7))[0] == frame("0c 03 02 0001")
        async with RawSocket(site.addresses["gate-io"]) as port:
            assert (await port.ask(tcp_frame(1, "01 05 0000 ff00"), 12))[0] == tcp_frame(1, "01 05 0000 ff00")
        async with RawSocket(site.addresses["dtu-7"]) as port:
            assert len((await port.ask(frame("03 04 0000 0001"), 7))[0]) == 7

        assert site.value("relay-north.do1") is True
        assert [written.point for written in site.writes] == ["do1"]
        assert [site.counts(name).answers for name in ("fire-loop", "gate-io", "dtu-7")] == [1, 1, 1]


@pytest.mark.parametrize("profile", sorted(path.stem for path in shipped().glob("*.yaml")))
def test_every_shipped_profile_rests_without_alarm(profile: str) -> None:
    tree: dict[str, Any] = read((shipped() / f"{profile}.yaml").read_bytes(), profile).tree
    keys = {key: value for key, value in tree.items() if key in ("kind", "limits", "reset", "points")}
    device = Device.model_validate({"line": "bus", "unit": 1, **keys})
    site = site_of({"bus": {"serial": "/dev/x"}}, {"it": {"line": "bus", "unit": 1, **keys}})
    virtual = VirtualSite(site).device("it")

    for name, point in device.points.items():
        value = virtual.get(name, 0)
        assert value is not None, name
        for alarm in point.alarms.values():
            assert alarm.equals is None or value != alarm.equals, name
            assert alarm.above is None or float(value) <= alarm.above, name
            assert alarm.below is None or float(value) >= alarm.below, name
        if point.valid is not None:
            assert point.valid[0] <= float(value) <= point.valid[1], name


async def test_the_written_site_is_the_same_but_for_its_addresses(full: Path, tmp_path: Path) -> None:
    original = _loaded(full)
    path = tmp_path / "elsewhere" / "sim.yaml"
    path.parent.mkdir()
    async with VirtualSite(original) as site:
        site.write_site(full, path, broker_url="mqtt://127.0.0.1:18830", store_path=tmp_path / "store")
        written = _loaded(path)
        addresses = site.addresses
        cameras = {name: camera.address for name, camera in site.cameras.items()}
        secrets = {"password": site.camera("lpr").setup.password, "token": site.camera("lpr").setup.token}
        listener = site.camera_listener

    assert "\nsimulated: true\n" in path.read_text()
    assert written.uplink.url == "mqtt://127.0.0.1:18830"
    assert (written.uplink.username, written.uplink.password, written.uplink.tls) == (None, None, None)
    assert written.store.path == tmp_path / "store"
    even, merged, net, panel = (written.lines[name] for name in ("even", "merged", "net", "panel"))
    assert isinstance(even, ModbusLine)
    assert isinstance(merged, ModbusLine)
    for line, name in ((even, "even"), (merged, "merged")):
        assert (line.serial, line.baudrate, line.parity, line.stopbits) == (addresses[name], 4800, "none", 2)
    assert isinstance(net, ModbusLine)
    assert net.tcp == addresses["net"]
    assert getattr(panel, "listen", None) == addresses["panel"]
    assert {name: camera.address for name, camera in written.cameras.items()} == cameras
    assert written.cameras["yard"].snapshot == f"http://{cameras['yard']}/snap.jpg?size=1"
    for key, secret in secrets.items():
        kept = getattr(written.cameras["lpr"], key).file
        assert kept == tmp_path / "elsewhere" / f"sim.lpr.{key}"
        assert kept.read_text() == f"{secret}\n"
        assert kept.stat().st_mode & 0o077 == 0
    assert written.http is not None
    assert written.http.cameras is not None
    assert written.http.cameras.listen == listener
    assert written.fire_centre is not None
    assert written.fire_centre.tcp.startswith("127.0.0.1:")

    for part in ("site", "gateway", "commands", "zones", "devices", "gates", "access", "inspection", "service"):
        assert getattr(written, part) == getattr(original, part), part
    changed = {"address": "", "snapshot": None, "password": None, "token": None}
    for name, camera in original.cameras.items():
        assert written.cameras[name].model_copy(update=changed) == camera.model_copy(update=changed)
    assert written.store.model_copy(update={"path": original.store.path}) == original.store


async def test_the_example_can_be_written_twice_over_itself(tmp_path: Path) -> None:
    path = tmp_path / "sim.yaml"
    async with VirtualSite(_loaded(_EXAMPLE)) as site:
        for _ in range(2):
            site.write_site(_EXAMPLE, path, broker_url="mqtt://127.0.0.1:1", store_path=tmp_path)
        written = _loaded(path)
        assert written.devices == site.site.devices
        async with VirtualSite(written) as again:
            again.write_site(path, path, broker_url="mqtt://127.0.0.1:2", store_path=tmp_path)
            assert path.read_text().count("simulated: true") == 1
            assert _loaded(path).uplink.url == "mqtt://127.0.0.1:2"


async def test_what_a_round_expects_is_what_the_device_shows(full: Path) -> None:
    async with VirtualSite(_loaded(full)) as site:
        assert site.value("pressure-1.pressure") == pytest.approx(0.3)


async def test_screens_get_their_names_in_the_folder_asked_for_and_leave_nothing(tmp_path: Path) -> None:
    async with VirtualSite(bus_site(), folder=tmp_path) as site:
        assert site.addresses == {"bus": str(tmp_path / "bus")}
        assert (tmp_path / "bus").is_symlink()

    assert list(tmp_path.iterdir()) == []


async def test_unknown_names_are_errors() -> None:
    async with VirtualSite(bus_site()) as site:
        with pytest.raises(KeyError, match="three"):
            site.set("three.v0", 1)
        with pytest.raises(KeyError, match="v99"):
            site.set("one.v99", 1)
        with pytest.raises(KeyError, match="v99"):
            site.value("one.v99")
        with pytest.raises(KeyError, match="three"):
            site.silence("three")
        with pytest.raises(KeyError, match="net"):
            site.line_down("net")
        with pytest.raises(ValueError, match="65536 does not fit uint16"):
            site.set("one.v0", 65536)


def test_two_devices_of_one_unit_are_refused() -> None:
    both = {name: {"line": "bus", "unit": 1, "points": SENSOR} for name in ("one", "two")}

    with pytest.raises(ConfigError, match="two and one are both unit 1 of bus"):
        VirtualSite(site_of({"bus": {"serial": "/dev/x"}}, both))

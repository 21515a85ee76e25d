import pickle
from pathlib import Path

from gateway.config.load import load
from gateway.settings.camera_uses import camera_uses

FILE = """\
version: 1
site: {id: a}
gateway: b
uplink: {url: "mqtt://127.0.0.1"}
lines: {io: {driver: modbus, tcp: "192.0.2.1:502"}}
devices: {relay: {line: io, points: {do1: {at: coil 0, write: true}}}}
gates:
  north: {open: {camera: one, io: 1}, pulse: 500ms}
  south: {open: relay.do1}
cameras:
  one: {driver: vzenith, gate: north, direction: in, address: "192.0.2.2:80", token: {file: token},
        utc_offset: "-03:30"}
  two:
    driver: hikvision
    mode: pull
    gate: south
    direction: {by-camera: {forward: in, reverse: out}}
    address: cam.example
    username: admin
    password: {env: THE_PASSWORD}
    utc_offset: "+08:00"
  yard: {driver: generic, address: 192.0.2.3, snapshot: "http://192.0.2.3/snap.jpg"}
http: {cameras: {listen: "0.0.0.0:8080"}}
"""


def test_the_file_as_the_gatehouse_wants_it(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret\n")
    (tmp_path / "site.yaml").write_text(FILE)
    loaded = load(tmp_path / "site.yaml")
    assert loaded.site is not None, loaded.problems
    one, two, yard = pickle.loads(pickle.dumps(camera_uses(loaded.site)))  # noqa: S301 - it crosses processes so
    assert (one.id, one.mode, one.way, one.ways, one.relay) == ("one", "push", "in", {}, (1, 0.5))
    assert one.utc_offset == -12_600
    assert one.token.read() == "secret"
    assert (two.mode, two.way, two.ways) == ("pull", None, {"forward": "in", "reverse": "out"})
    assert (two.utc_offset, two.username, two.relay) == (28_800, "admin", None)
    assert two.password is not None
    assert (yard.mode, yard.snapshot) == (None, "http://192.0.2.3/snap.jpg")

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import get_args

import pytest

from gateway.config.device import Device
from gateway.config.file_checks import why
from gateway.config.load import load, shipped
from gateway.config.points import Alarm, Point
from gateway.config.problems import Finding
from gateway.config.site import ModbusLine, SiteFile
from gateway.kinds import ALARM_KINDS, AlarmKind

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
BASE = """\
version: 1
site: {id: compound}
gateway: box-01
uplink: {url: "mqtt://127.0.0.1"}
lines:
  bus: {driver: modbus, serial: /dev/rs485-bus}
"""


def good(folder: Path, text: str) -> SiteFile:
    path = folder / "site.yaml"
    path.write_text(text, encoding="utf-8")
    loaded = load(path)
    assert loaded.site is not None, [str(problem) for problem in loaded.problems]
    return loaded.site


def errors(folder: Path, text: str) -> list[str]:
    path = folder / "site.yaml"
    path.write_text(text, encoding="utf-8")
    return [str(problem).removeprefix(str(path)) for problem in load(path).problems if problem.level == "error"]


def one_point(folder: Path, point: str) -> Point:
    return good(folder, BASE + f"devices:\n  a:\n    line: bus\n    points: {{x: {point}}}\n").devices["a"].points["x"]


def test_the_whole_page_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(HERE / "whole")
    loaded = load("site.yaml")
    assert [str(problem) for problem in loaded.problems if problem.level == "error"] == []
    site = loaded.site
    assert site is not None
    assert site.uplink.endpoint == ("mqtt.example.com", 8883)
    assert site.uplink.tls is not None
    assert site.uplink.tls.ca == HERE / "whole" / "ca.pem"
    assert site.devices["hydrant-1"].points["pressure"].alarms["low"].below == 0.10
    assert site.devices["panel-lobby"].kind == "panel"
    assert site.gates["north-in"].pulse == 0.5
    assert site.cameras["lpr-north-in"].mode == "push"
    assert site.cameras["yard"].mode is None
    assert site.http is not None
    assert site.http.cameras is not None
    assert site.http.cameras.max_body == 4 << 20
    assert site.access is not None
    assert (site.access.unknown.in_, site.access.unknown.out) == ("deny", "open")
    assert site.linkage["evacuation"].zones == "any"
    assert site.self_ is not None
    assert site.self_.alive == "relay-1.do8"
    assert len(site.inspection["nightly"].items) == 8
    assert site.store.keep.telemetry == 7 * 86400
    assert site.fire_centre is not None
    assert site.fire_centre.endpoint == ("10.1.1.1", 5200)


@pytest.mark.parametrize("name", ["example.yaml", "minimal.yaml"])
def test_examples_have_no_error(name: str) -> None:
    loaded = load(ROOT / "config" / name)
    assert loaded.site is not None
    assert {problem.level for problem in loaded.problems} <= {"warning"}


def test_example_is_a_site_to_show() -> None:
    site = load(ROOT / "config" / "example.yaml").site
    assert site is not None
    assert site.devices["smoke-3-2f"].points["smoke"].alarms["fire"].kind == "fire"
    assert site.uplink.url == "mqtt://127.0.0.1:1883"
    assert site.store.path == Path("/var/lib/site-gateway")
    lines = [line for line in site.lines.values() if isinstance(line, ModbusLine)]
    assert {(line.serial is not None, line.framing) for line in lines} == {
        (True, "rtu"),
        (False, "tcp"),
        (False, "rtu"),
    }


def test_defaults_are_those_of_the_page(tmp_path: Path) -> None:
    site = good(tmp_path, BASE + "devices: {a: {line: bus, points: {x: {at: holding 0}}}}\n")
    assert (site.uplink.protocol, site.uplink.topic_root, site.uplink.keepalive) == (5, "site-gateway/v1", 30)
    assert (site.uplink.client_id, site.uplink.telemetry.every) == ("box-01", 300)
    assert site.site.timezone == "UTC"
    service = site.service
    clocks = [service.respond, service.ordinary, service.complex, service.major, service.fire_verify]
    assert clocks == [1200, 1800, 14400, 86400, 180]
    assert (site.store.max_size, site.store.alarm_reserve, site.store.keep.alarm) == (512 << 20, 64 << 20, 400 * 86400)
    device = site.devices["a"]
    assert (device.unit, device.kind) == (1, "other")
    limits = device.limits
    assert (limits.max_registers, limits.max_bits, limits.max_gap, limits.silence, limits.timeout) == (
        125,
        2000,
        None,
        None,
        1,
    )
    assert limits.fixed_bits is None
    line = site.lines["bus"]
    assert isinstance(line, ModbusLine)
    assert (line.baudrate, line.parity, line.stopbits, line.in_flight, line.framing) == (9600, "none", 1, 1, "rtu")
    assert (site.commands, site.access, site.http, site.gates, site.simulated) == (None, None, None, {}, False)


@pytest.mark.parametrize(
    ("point", "kind", "every"),
    [
        ("{at: holding 0}", "uint16", 10),
        ("{at: coil 0}", "bool", 10),
        ("{at: discrete 0}", "bool", 10),
        ("{at: input 0, bit: 3}", "bool", 10),
        ("{at: input 0, type: text:12}", "text:12", 10),
        ("{at: input 0, alarms: {fire: {equals: 1}}}", "uint16", 1),
        ("{at: input 0, every: 250ms, alarms: {fire: {equals: 1}}}", "uint16", 0.25),
        ("{at: input 0, supervised: {normal: [18, 22], alarm: [30, 40], open: [0, 2], short: [41, 50]}}", "uint16", 1),
    ],
)
def test_points_are_complete(tmp_path: Path, point: str, kind: str, every: float) -> None:
    built = one_point(tmp_path, point)
    assert (built.type, built.every) == (kind, every)


def test_every_alarm_kind_brings_its_severity() -> None:
    assert get_args(AlarmKind) == tuple(ALARM_KINDS)


@pytest.mark.parametrize("kind", list(ALARM_KINDS))
def test_alarms_take_what_their_kind_brings(tmp_path: Path, kind: str) -> None:
    alarm = one_point(tmp_path, f"{{at: input 0, alarms: {{any: {{kind: {kind}, above: 1}}}}}}").alarms["any"]
    assert (alarm.kind, (alarm.severity, alarm.service_class, alarm.latch)) == (kind, tuple(ALARM_KINDS[kind]))
    assert alarm.confirm == (2 if kind == "fire" else 1)
    assert alarm.lane == ("alarm" if kind in ("fire", "gas") else "normal")


@pytest.mark.parametrize(
    ("name", "kind"), [("fire", "fire"), ("waterflow", "fire"), ("dirty", "dirty"), ("hot", "supervisory")]
)
def test_an_alarm_without_kind_is_named_by_its_name(tmp_path: Path, name: str, kind: str) -> None:
    assert one_point(tmp_path, f"{{at: coil 0, alarms: {{{name}: {{equals: true}}}}}}").alarms[name].kind == kind


def test_what_is_written_wins_over_the_kind(tmp_path: Path) -> None:
    text = "{kind: fire, equals: 1, severity: low, class: ordinary, latch: false, confirm: 3, lane: normal, for: 2s}"
    alarm = one_point(tmp_path, f"{{at: input 0, alarms: {{fire: {text}}}}}").alarms["fire"]
    assert (alarm.severity, alarm.service_class, alarm.latch, alarm.confirm, alarm.lane, alarm.for_) == (
        "low", "ordinary", False, 3, "normal", 2,
    )  # fmt: skip


def test_overrides_merge_by_key(tmp_path: Path) -> None:
    text = (
        BASE
        + """\
devices:
  a:
    profile: generic-gas-detector
    line: bus
    limits: {timeout: 2s}
    points:
      concentration: {valid: [0, 50], alarms: {high: {above: 40}}}
      lamp: {at: coil 9}
"""
    )
    point = good(tmp_path, text).devices["a"].points
    assert point["concentration"].valid == (0.0, 50.0)
    assert point["concentration"].unit == "%LEL"
    assert (point["concentration"].alarms["high"].above, point["concentration"].alarms["high"].clear) == (40, 40)
    assert point["concentration"].alarms["low"].above == 20
    assert point["lamp"].type == "bool"


def test_a_profile_beside_the_site_comes_first(tmp_path: Path) -> None:
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "xy-md02.yaml").write_text("profile: xy-md02\nkind: other\npoints: {own: {at: input 0}}\n")
    site = good(tmp_path, BASE + "devices: {a: {profile: xy-md02, line: bus}}\n")
    assert list(site.devices["a"].points) == ["own"]


def test_untouched_points_of_a_profile_are_built_once(tmp_path: Path) -> None:
    text = BASE + "devices:\n  a: {profile: xy-md02, line: bus}\n  b: {profile: xy-md02, line: bus, unit: 2}\n"
    devices = good(tmp_path, text).devices
    assert devices["a"].points["humidity"] is devices["b"].points["humidity"]


def test_a_profile_name_is_no_path(tmp_path: Path) -> None:
    (tmp_path / "secret.yaml").write_text("profile: secret\nkind: other\n")
    (said,) = errors(tmp_path, BASE + "devices: {a: {profile: ../secret, line: bus, points: {x: {at: coil 0}}}}\n")
    assert "devices.a.profile: found '../secret'" in said


def test_names_of_the_models_are_no_keys(tmp_path: Path) -> None:
    point = "{at: coil 0, alarms: {x: {equals: true, for_: 2s, service_class: major}}}"
    text = BASE + f"devices: {{a: {{line: bus, components: x.csv, points: {{x: {point}}}}}}}\nself_: {{}}\n"
    said = "\n".join(errors(tmp_path, text))
    assert "found the unknown key 'self_'" in said
    assert "points: FILE" in said
    said = "\n".join(errors(tmp_path, text.replace("components: x.csv, ", "")))
    assert "found the unknown key 'for_'" in said
    assert "found the unknown key 'service_class'" in said


def test_relative_paths_start_at_the_site_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "mqtt.pass").write_text("s3cret\n")
    text = BASE.replace('"mqtt://127.0.0.1"', '"mqtt://127.0.0.1", password: {file: mqtt.pass}')
    monkeypatch.chdir(tmp_path)
    (tmp_path / "etc" / "site.yaml").write_text(
        text + "devices: {a: {profile: xy-md02, line: bus}}\nstore: {path: data}\n"
    )
    site = load("etc/site.yaml").site
    assert site is not None
    assert site.store.path == tmp_path / "etc" / "data"
    assert site.uplink.password is not None
    assert site.uplink.password.file == tmp_path / "etc" / "mqtt.pass"
    assert site.uplink.password.file.read_text() == "s3cret\n"


@pytest.mark.parametrize("driver", ["env: NOT_SET_AT_ALL", "credential: mqtt"])
def test_a_secret_given_elsewhere_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, driver: str) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    text = BASE.replace('"mqtt://127.0.0.1"', f'"mqtt://127.0.0.1", password: {{{driver}}}')
    (tmp_path / "site.yaml").write_text(text + "devices: {a: {profile: xy-md02, line: bus}}\n")
    loaded = load(tmp_path / "site.yaml")
    assert loaded.site is not None
    (doubt,) = [one for one in loaded.problems if "password" in one.key]
    assert doubt.level == "warning"
    assert doubt.text.endswith("where the gateway runs")


def test_what_is_no_file_is_said(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "binary").write_bytes(os.urandom(1000) + b"\xff")
    (tmp_path / "huge").write_bytes(b"#" * ((4 << 20) + 1))
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for name in ("none", ".", "pipe", "binary", "huge", "loop", "a\0b", "x" * 5000):
        loaded = load(tmp_path / name)
        assert loaded.site is None
        assert len(loaded.problems) == 1


def test_a_file_that_may_not_be_read() -> None:
    assert why(PermissionError(13, "no")) == "found a file that may not be read"


def test_many_problems_end_somewhere(tmp_path: Path) -> None:
    text = BASE + "devices:\n" + "".join(f"  d{number}: {{line: none-{number}}}\n" for number in range(2000))
    assert len(errors(tmp_path, text)) in (500, 501)


def test_findings_of_others_get_their_place(tmp_path: Path) -> None:
    path = tmp_path / "site.yaml"
    path.write_text(BASE + "devices:\n  a: {profile: xy-md02, line: bus}\n")
    loaded = load(path)
    assert loaded.with_findings([]) is loaded
    point = ("devices", "a", "points", "humidity", "every")
    later = loaded.with_findings([Finding(("lines", "bus"), "too slow", at_key=True), Finding(point, "too often")])
    assert later.site is None
    said = [str(problem) for problem in later.problems if problem.level == "error"]
    assert said == [
        f"{path}:6:3: lines.bus: too slow",
        f"{shipped() / 'xy-md02.yaml'}:23:12: points.humidity.every: too often",
    ]


def test_warnings_never_displace_an_error(tmp_path: Path) -> None:
    text = BASE.replace("serial: /dev/rs485-bus", "tcp: '127.0.0.1:502'") + "devices:\n"
    for number in range(200):
        text += f"  a{number}: {{profile: jdrk-rs-yg-n01, line: bus, unit: {number}, source: {{status: verified}}}}\n"
    text += "".join(f"  b{number}: {{line: bus, unit: {number % 2 + 200}}}\n" for number in range(400))
    said = errors(tmp_path, text)
    assert len(said) == 398
    assert "b399" in said[-1]


def test_a_hostile_file_takes_no_minutes(tmp_path: Path) -> None:
    text = BASE + "devices:\n  a:\n    line: bus\n    points:\n"
    text += "".join(f"      p{one}: {{at: holding {one % 3}, type: int{16 << one % 2}}}\n" for one in range(3000))
    text += "gates:\n" + "".join(f"  g{one}: {{open: devicee-{one}.x}}\n" for one in range(3000))
    begun = time.process_time()
    assert len(errors(tmp_path, text)) >= 500
    assert time.process_time() - begun < 20


def test_a_hundred_devices_in_well_under_a_second(tmp_path: Path) -> None:
    point = "type: int16, scale: 0.1, unit: °C, every: 1s, alarms: {hot: {kind: overtemperature, above: 70}}"
    text = BASE.replace("serial: /dev/rs485-bus", "tcp: '127.0.0.1:502'") + "devices:\n"
    for device in range(100):
        text += f"  d{device}:\n    line: bus\n    unit: {device + 1}\n    points:\n"
        text += "".join(f"      p{number}: {{at: input {number}, {point}}}\n" for number in range(25))
    path = tmp_path / "site.yaml"
    path.write_text(text, encoding="utf-8")
    program = (
        "import sys, time; begun = time.process_time()\n"
        "from gateway.config.load import load\n"
        "site = load(sys.argv[1]).site\n"
        "assert site and len(site.devices) == 100\n"
        "print(time.process_time() - begun)\n"
    )
    assert any(seconds(program, path) < 1.0 for _ in range(3))


def seconds(program: str, path: Path) -> float:
    """What the program says that it took of the processor."""
    command = [sys.executable, "-c", program, str(path)]
    return float(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout)


def test_loading_needs_no_network_library() -> None:
    names = ["paho", "pymodbus", "serial", "asyncio"]
    program = f"import sys, gateway.config.load; print([name for name in {names} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_shipped_profile_is_good(tmp_path: Path) -> None:
    names = sorted(path.stem for path in shipped().glob("*.yaml"))
    assert len(names) >= 10
    text = BASE.replace("serial: /dev/rs485-bus", "tcp: '127.0.0.1:502'") + "devices:\n"
    text += "".join(f"  {name}: {{profile: {name}, line: bus, unit: {number}}}\n" for number, name in enumerate(names))
    site = good(tmp_path, text)
    assert [device.source is not None and device.certified is not None for device in site.devices.values()] == [
        True
    ] * len(names)


def test_settings_are_frozen(tmp_path: Path) -> None:
    device = good(tmp_path, BASE + "devices: {a: {profile: xy-md02, line: bus}}\n").devices["a"]
    with pytest.raises(ValueError, match="frozen"):
        device.unit = 3  # type: ignore[misc]


def test_models_can_be_built_without_a_file() -> None:
    point = Point.model_validate({"at": "coil 3", "alarms": {"fire": {"equals": 1}}})
    device = Device(line="bus", points={"x": point})
    assert device.points["x"].alarms["fire"].severity == "critical"
    assert Alarm(above=3).above == 3


def test_a_secret_is_never_shown(tmp_path: Path) -> None:
    places = [
        BASE.replace('"mqtt://127.0.0.1"', f'"mqtt://127.0.0.1", password: {form}')
        for form in (
            "hunter2", "[hunter2]", "{hunter2: 1}", "{file: [hunter2]}", "{env: 'hunter2 '}", "!hunter2 x", "*hunter2",
            "{file: a, hunter2: b}", "{hunter2}", "'hunter2", "{hunter2: 1, hunter2: 2}",
            "{a: {hunter2: 1, hunter2: 2}}",
        )
    ] + [BASE.replace("127.0.0.1", f"{user}127.0.0.1") for user in ("box:hunter2@", "hunter2@x@")]  # fmt: skip
    for text in places:
        said = errors(tmp_path, text + "devices: {a: {profile: xy-md02, line: bus}}\n")
        assert said
        assert "hunter2" not in "".join(said), text


def test_a_site_lays_its_own_keys_over_a_profile_for_all_its_devices(tmp_path: Path) -> None:
    site = tmp_path / "site.yaml"
    site.write_text("""
version: 1
site: {id: here}
gateway: box
uplink: {url: "mqtt://127.0.0.1"}
lines: {bus: {driver: modbus, serial: /dev/rs485-bus, baudrate: 4800}}
profiles:
  jdrk-rs-yg-n01: {points: {smoke: {every: 500ms}}, limits: {timeout: 700ms}}
devices:
  one: {profile: jdrk-rs-yg-n01, line: bus, unit: 1}
  two: {profile: jdrk-rs-yg-n01, line: bus, unit: 2, points: {smoke: {every: 300ms}}}
  other: {profile: generic-heat-detector, line: bus, unit: 3}
""")
    loaded = load(site).site
    assert loaded is not None
    one, two, other = loaded.devices.values()
    assert (one.points["smoke"].every, two.points["smoke"].every) == (0.5, 0.3)
    assert one.limits.timeout == two.limits.timeout == pytest.approx(0.7)
    assert other.limits.timeout != one.limits.timeout
    assert one.points["smoke"].alarms["fire"].kind == "fire"


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("will: off", ("off", True, 256 << 10, None)),
        ('will: "off"', ("off", True, 256 << 10, None)),
        ("will: plain, retain: false", ("plain", False, 256 << 10, None)),
        ("max_packet: 64KiB, rate: 100/s", ("delayed", True, 64 << 10, 100.0)),
        ("rate: 0.5/s", ("delayed", True, 256 << 10, 0.5)),
    ],
)
def test_how_the_broker_is_spoken_to(tmp_path: Path, text: str, seen: tuple[object, ...]) -> None:
    uplink = good(tmp_path, _speaking(text)).uplink
    assert (uplink.will, uplink.retain, uplink.max_packet, uplink.rate) == seen


@pytest.mark.parametrize("text", ["rate: 100", "rate: 0/s", "max_packet: 1KiB", "will: late", "retain: maybe"])
def test_how_the_broker_is_not_spoken_to(tmp_path: Path, text: str) -> None:
    assert len(errors(tmp_path, _speaking(text))) == 1


def _speaking(text: str) -> str:
    device = "devices:\n  a:\n    line: bus\n    points: {x: {at: input 1}}\n"
    return BASE.replace('"mqtt://127.0.0.1"', f'"mqtt://127.0.0.1", {text}') + device


def test_a_round_has_300_items_at_most(tmp_path: Path) -> None:
    people = "".join(f"      - {{person: look at {number}}}\n" for number in range(301))
    (tmp_path / "site.yaml").write_text(
        f"{BASE}devices: {{d: {{line: bus, points: {{p: {{at: input 0}}}}}}}}\n"
        f"inspection:\n  all:\n    items:\n{people}"
    )
    errors = [str(one) for one in load(tmp_path / "site.yaml").problems if one.level == "error"]
    assert [error.partition(": inspection")[2] for error in errors] == [
        ".all.items: found 301 items; 300 at most, the rest in another round"
    ]

"""From the site file to what the brain and the field want to know of gates, linkage and signals."""

from pathlib import Path

import pytest

from gateway.config.load import load
from gateway.config.site import SiteFile
from gateway.model import Lane
from gateway.settings import build
from gateway.settings.plan import plan_lines
from gateway.site.settings import (
    AnnunciatorSettings,
    DeviceReset,
    GateSettings,
    LinkageSettings,
    OwnSettings,
    Ref,
)

SITE = """\
version: 1
site: {id: s}
gateway: g
uplink: {url: "mqtt://127.0.0.1:1883"}
commands: {keys: [{id: a, ed25519: a.pem}, {id: b, ed25519: a.pem, allow: [gate.open, fire.release]}]}
lines: {io: {driver: modbus, tcp: "10.0.0.1:502"}, loop: {driver: modbus, serial: /dev/rs485, baudrate: 9600}}
zones: {b3: {}}
devices:
  smoke:
    line: loop
    unit: 1
    zone: b3
    kind: smoke-detector
    reset: {point: reset, value: 1}
    points:
      smoke: {at: holding 0, alarms: {fire: {kind: fire, equals: 1}}}
      reset: {at: holding 9, write: true}
  heat:
    line: loop
    unit: 2
    zone: b3
    kind: heat-detector
    reset: {power: relay.do7, off: 5s}
    points: {heat: {at: holding 0, alarms: {fire: {kind: fire, equals: 1}}}}
  relay: {profile: waveshare-relay-8ch, line: io, unit: 1}
  plain: {line: loop, unit: 3, points: {do1: {at: coil 0, write: true, every: 500ms}, do2: {at: coil 1, write: true}}}
cameras: {lpr: {driver: hikvision, mode: pull, address: 10.0.0.9}}
gates:
  north: {open: relay.do1, hold: plain.do1, arm: relay.di1, clear: relay.di2, pulse: 1s, on_loss: keep}
  south: {open: plain.do2, hold_by: {repeat: 5s}, on_loss: keep}
  west: {open: {camera: lpr, io: 1}}
linkage:
  one: {zones: [b3], trigger: any, call_point: counts-as-one, button: relay.di3, hold: [north, south], set: [relay.do3]}
annunciator: {fire: relay.do5, fault: relay.do6, silence: relay.di4}
self: {alive: relay.do8, mains: relay.di5, battery: relay.di6}
"""
USED = {
    "relay": {"do1", "do3", "do5", "do6", "do7", "do8", "di1", "di2", "di3", "di4", "di5", "di6"},
    "plain": {"do1", "do2"},
}


@pytest.fixture
def file(tmp_path: Path) -> SiteFile:
    (tmp_path / "a.pem").touch()
    (tmp_path / "site.yaml").write_text(SITE)
    loaded = load(tmp_path / "site.yaml")
    assert loaded.site is not None, loaded.problems
    return loaded.site


def test_what_the_brain_knows(file: SiteFile) -> None:
    site = build.site(file)

    north, south, west = site.gates.values()
    assert north == GateSettings(
        "north", Ref("relay", "do1"), pulse=1.0, timed=True, hold=Ref("plain", "do1"), arm=Ref("relay", "di1"),
        clear=Ref("relay", "di2"), on_loss="keep",
    )  # fmt: skip
    assert south == GateSettings("south", Ref("plain", "do2"), repeat=5.0, on_loss="keep")
    assert west == GateSettings("west", Ref("lpr", "io1"), timed=True, readable=False), "the camera ends its pulse"
    assert site.linkages == (
        LinkageSettings(
            "one", frozenset({"b3"}), "any", "counts-as-one", Ref("relay", "di3"), ("north", "south"),
            (Ref("relay", "do3"),),
        ),
    )  # fmt: skip
    assert site.annunciator == AnnunciatorSettings(Ref("relay", "do5"), Ref("relay", "do6"), Ref("relay", "di4"))
    assert site.own == OwnSettings(Ref("relay", "do8"), Ref("relay", "di5"), Ref("relay", "di6"))
    assert site.devices["smoke"].reset == DeviceReset(Ref("smoke", "reset"), 1)
    assert site.devices["heat"].reset == DeviceReset(Ref("relay", "do7"), off=5.0)
    assert Ref("smoke", "reset") in site.writable
    assert Ref("smoke", "smoke") not in site.writable
    assert site.performed >= {"events.replay", "config.get", "config.apply"}


def test_who_may_command(file: SiteFile) -> None:
    settings = build.settings(file)

    assert [(key.id, key.allow) for key in settings.keys] == [
        ("a", None),
        ("b", frozenset({"gate.open", "fire.release"})),
    ]
    assert settings.alive_timed


def test_what_the_site_uses_is_read_each_second_in_the_alarm_lane(file: SiteFile) -> None:
    settings = build.settings(file)
    points = {
        (device.id, point.name): (point.lane, point.every)
        for line in settings.lines
        for device in line.devices
        for point in device.points
    }

    for device, names in USED.items():
        assert settings.urgent[device] == names
        for name in names:
            assert points[device, name] == (Lane.ALARM, 0.5 if (device, name) == ("plain", "do1") else 1.0)
            assert f"{device}.{name}" in settings.interlocked, "nobody writes it by hand"
    assert points["relay", "do2"] == (Lane.NORMAL, 10.0)
    assert points["relay", "di8"] == (Lane.NORMAL, 1.0)


def test_plan_counts_what_the_site_uses(file: SiteFile) -> None:
    with_gates = {plan.line: plan.bound.shares[Lane.ALARM] for plan in plan_lines(file)}
    without = {
        plan.line: plan.bound.shares[Lane.ALARM]
        for plan in plan_lines(file.model_copy(update={"gates": {}, "linkage": {}, "annunciator": None, "self_": None}))
    }

    assert with_gates["io"] > without["io"]

"""An output has one owner: what ends a sound must not let a gate go."""

from pathlib import Path

import pytest

from gateway.config.load import load

_SITE = """
version: 1
site: {{id: yard}}
gateway: gw-1
uplink: {{url: mqtt://127.0.0.1}}
lines:
  io: {{driver: modbus, tcp: "127.0.0.1:502"}}
devices:
  board: {{profile: waveshare-relay-8ch, line: io, unit: 1}}
gates:
  north: {{open: board.do1, hold: board.do2, on_loss: keep}}
  south: {{open: {south}, on_loss: keep}}
linkage:
  evacuation: {{hold: [north, south], set: [{siren}]}}
annunciator: {{fire: {fire}, fault: {fault}}}
self: {{alive: {alive}}}
"""
_GOOD = {"south": "board.do3", "siren": "board.do4", "fire": "board.do5", "fault": "board.do6", "alive": "board.do7"}


def _errors(tmp_path: Path, **changes: str) -> list[str]:
    (tmp_path / "site.yaml").write_text(_SITE.format(**_GOOD | changes))
    return [str(one) for one in load(tmp_path / "site.yaml").problems if one.level == "error"]


def test_each_with_an_output_of_its_own(tmp_path: Path) -> None:
    assert _errors(tmp_path) == []


@pytest.mark.parametrize(
    ("changes", "where", "owner"),
    [
        ({"south": "board.do2"}, "gates.south.open", "north.hold"),
        ({"siren": "board.do2"}, "linkage.evacuation.set.0", "a point of gate north"),
        ({"fire": "board.do2"}, "annunciator.fire", "gates.north.hold"),
        ({"fault": "board.do4"}, "annunciator.fault", "linkage.evacuation.set"),
        ({"fault": "board.do5"}, "annunciator.fault", "annunciator.fire"),
        ({"alive": "board.do1"}, "self.alive", "gates.north.open"),
    ],
)
def test_two_owners(tmp_path: Path, changes: dict[str, str], where: str, owner: str) -> None:
    (error,) = _errors(tmp_path, **changes)

    assert f": {where}: " in error
    assert owner in error

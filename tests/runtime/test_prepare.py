"""The site file is read by a copy of the process, which never goes on as the gateway."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.runtime.prepare import Preparation, Prepared, begin

GOOD = """\
version: 1
site: {id: s}
gateway: g
uplink: {url: "mqtt://127.0.0.1"}
lines: {l: {driver: modbus, tcp: "127.0.0.1:502"}}
devices: {d: {line: l, points: {p: {at: holding 0}}}}
"""


def prepared(folder: Path, text: str) -> Prepared:
    path = folder / "site.yaml"
    path.write_text(text)
    return begin(path).result()


def test_a_good_file_comes_back_as_settings(tmp_path: Path) -> None:
    found = prepared(tmp_path, GOOD)

    assert found.problems == ()
    assert found.settings is not None
    assert [device.id for line in found.settings.lines for device in line.devices] == ["d"]


def test_of_a_bad_file_only_the_problems_come_back(tmp_path: Path) -> None:
    found = prepared(tmp_path, GOOD.replace("modbus", "modbuz"))

    assert found.settings is None
    assert [level for level, _ in found.problems] == ["error"]
    assert "did you mean 'modbus'?" in found.problems[0][1]


def test_a_line_that_is_too_slow_for_a_fire_is_an_error_here_too(tmp_path: Path) -> None:
    points = "points: {p: {at: holding 0, alarms: {fire: {kind: fire, equals: 1}}}}"
    devices = ", ".join(f"d{unit}: {{line: l, unit: {unit}, {points}}}" for unit in range(1, 31))
    slow = GOOD.replace('tcp: "127.0.0.1:502"', "serial: /dev/rs485, baudrate: 300")
    found = prepared(tmp_path, slow.replace("{d: {line: l, points: {p: {at: holding 0}}}}", f"{{{devices}}}"))

    assert found.settings is None
    assert any(level == "error" and "would be told after" in text for level, text in found.problems)


def test_a_reader_that_failed_is_an_error_of_the_system() -> None:
    answer, write = os.pipe()
    os.close(write)
    child = subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"])
    child.returncode = 0  # who waits for it is `result`

    with pytest.raises(OSError, match="status 3"):
        Preparation(child.pid, answer).result()


def test_a_file_that_nobody_may_guess_ends_the_command_with_status_1(tmp_path: Path) -> None:
    path = tmp_path / "site.yaml"
    path.write_text(GOOD.replace("version: 1", "version: 9"))
    ended = subprocess.run(
        [sys.executable, "-m", "gateway", "run", str(path)], capture_output=True, text=True, timeout=30, check=False
    )

    assert ended.returncode == 1
    assert f"{path}:1:" in ended.stdout + ended.stderr
    assert "Traceback" not in ended.stdout + ended.stderr

"""Ports, their owners and their names, on real terminals and made folders."""

import fcntl
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.technician import ports

LOCK = """
import fcntl, os, sys
fcntl.flock(os.open(sys.argv[1], os.O_RDWR | os.O_NOCTTY), fcntl.LOCK_EX)
print(flush=True)
input()
"""


@pytest.fixture
def port() -> Iterator[str]:
    """A terminal that nobody uses."""
    master, slave = pty.openpty()
    try:
        yield os.ttyname(slave)
    finally:
        os.close(slave)
        os.close(master)


def test_a_free_port_has_no_trouble(port: str) -> None:
    assert ports.trouble(port) is None


def test_who_locked_it_is_named(port: str) -> None:
    with subprocess.Popen([sys.executable, "-c", LOCK, port], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        owner.stdout.readline()
        trouble = ports.trouble(port)
        owner.communicate(b"\n")

    assert trouble is not None
    assert f"is in use by process {owner.pid} (" in trouble.what
    assert ports.trouble(port) is None


def test_what_is_no_port(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    missing, plain, folder = (ports.trouble(str(tmp_path / name)) for name in ("nothing", "file", ""))

    assert missing is not None
    assert "no such port" in missing.what
    assert plain is not None
    assert "is no serial port" in plain.what
    assert folder is not None


def test_a_steady_name_is_preferred(tmp_path: Path) -> None:
    (tmp_path / "serial/by-id").mkdir(parents=True)
    (tmp_path / "ttyUSB0").touch()
    (tmp_path / "ttyUSB1").touch()
    link = tmp_path / "serial/by-id/usb-FTDI_1-if00"
    link.symlink_to(tmp_path / "ttyUSB0")

    assert ports.steady_name(str(tmp_path / "ttyUSB0"), tmp_path) == str(link)
    assert ports.steady_name(str(link), tmp_path) == str(link)
    assert ports.steady_name(str(tmp_path / "ttyUSB1"), tmp_path) == str(tmp_path / "ttyUSB1")
    assert ports.ports(tmp_path) == [str(link), str(tmp_path / "ttyUSB1")]


def test_the_latency_timer_is_read_where_there_is_one(tmp_path: Path) -> None:
    folder = tmp_path / "bus/usb-serial/devices/ttyUSB0"
    folder.mkdir(parents=True)
    (folder / "latency_timer").write_text("16\n")

    assert ports.latency_timer("/dev/ttyUSB0", tmp_path) == 16
    assert ports.latency_timer("/dev/ttyUSB1", tmp_path) is None


def test_looking_leaves_no_lock_behind(port: str) -> None:
    assert ports.trouble(port) is None
    number = os.open(port, os.O_RDWR | os.O_NOCTTY)
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.close(number)

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.runtime.systemd import notify, watchdog_interval


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """A socket as systemd opens it, at `tmp_path/notify`."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(str(tmp_path / "notify"))
        ear.settimeout(5)
        yield ear


def test_tells_systemd_through_a_path(manager: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    assert notify("READY=1\nSTATUS=2 Leitungen, 西马新村")
    assert manager.recv(4096).decode() == "READY=1\nSTATUS=2 Leitungen, 西马新村"


def test_tells_systemd_through_an_abstract_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"site-gateway-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind("\0" + name)
        ear.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", "@" + name)
        assert notify("WATCHDOG=1")
        assert ear.recv(4096) == b"WATCHDOG=1"


@pytest.mark.parametrize("address", [None, "", "vsock:2:1234", "relative", "/nowhere/notify", "/" + "x" * 300])
def test_nobody_to_tell_is_no_error(address: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    if address is not None:
        monkeypatch.setenv("NOTIFY_SOCKET", address)
    assert notify("READY=1") is False


def test_a_manager_that_does_not_listen_holds_nobody_up(
    manager: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    told = 0
    while notify("STATUS=" + "x" * 1000):
        told += 1
        assert told < 100_000
    assert manager.recv(4096).startswith(b"STATUS=")
    assert notify("STATUS=again")


def test_watchdog_interval_is_half_of_what_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "30000000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    assert watchdog_interval() == 15.0
    monkeypatch.delenv("WATCHDOG_PID")
    assert watchdog_interval() == 15.0


@pytest.mark.parametrize(
    ("usec", "pid"),
    [(None, None), ("", None), ("soon", None), ("0", None), ("-5", None), ("30000000", "1"), ("30000000", "x")],
)
def test_no_watchdog(usec: str | None, pid: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("WATCHDOG_USEC", usec), ("WATCHDOG_PID", pid)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    assert watchdog_interval() is None


def test_a_child_does_not_take_the_watchdog_of_its_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "30000000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    ask = "from gateway.runtime.systemd import watchdog_interval; print(watchdog_interval())"
    told = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    assert told.stdout == "None\n"

"""What the package runs as root besides the program: before an upgrade, at a purge, at night."""

import json
import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.accounts import as_root
from tests.packaging.building import PACKAGING, ROOT, script


class Machine:
    """A root with version 2 installed; scripts of the package run on it as on `/`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "usr/lib/site-gateway/gateway").mkdir(parents=True)
        (root / "usr/lib/site-gateway/VERSION").write_text("2\n")
        for name in ("run/site-gateway", "var/lib/site-gateway", "etc/site-gateway"):
            (root / name).mkdir(parents=True)
        self.previous = root / "usr/lib/site-gateway-previous"
        self.state = root / "var/lib/site-gateway/upgrade.json"

    def here(self, script: str) -> str:
        for folder in ("usr/lib", "var/lib", "run", "etc"):
            script = script.replace(f"/{folder}/site-gateway", f"{self.root}/{folder}/site-gateway")
        return script.replace("/run/systemd/system", f"{self.root}/run/systemd/system")

    def keep(self) -> subprocess.CompletedProcess[str]:
        return self.run("preinst", "upgrade", "1")

    def run(
        self, name: str, *words: str, before: str = "", inside: Sequence[str] = ()
    ) -> subprocess.CompletedProcess[str]:
        """A script of the package; `before`: shell commands before it, `inside`: a command that runs it."""
        command = [*inside, "sh", "-c", f"set -e\n{before}\n{self.here(script(name))}", "sh", *words]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)

    def note(self) -> dict[str, object]:
        found: dict[str, object] = json.loads((self.previous / "note.json").read_text())
        return found

    @contextmanager
    def daemon(self, *parts: bytes, every: float = 0.0) -> Iterator[None]:
        """One that answers one client with these parts, so many seconds apart, for as long as the client listens."""
        over = threading.Event()

        def serve() -> None:
            try:
                client, _ = server.accept()
            except TimeoutError:
                return
            with closing(client):
                client.recv(4096)  # who is gone before the question comes has not answered it
                for part in parts:
                    try:
                        client.sendall(part)
                    except OSError:
                        return
                    if over.wait(every):
                        return

        with closing(socket.socket(socket.AF_UNIX)) as server:
            server.bind(str(self.root / "run/site-gateway/control.sock"))
            server.listen()
            server.settimeout(10)
            thread = threading.Thread(target=serve)
            thread.start()
            try:
                yield
            finally:
                over.set()
                thread.join()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


NOT_BOOTED = "py3compile() { :; }\nsystemctl() { :; }\nudevadm() { :; }"

# ---- before an upgrade -------------------------------------------------------------------------------


def configured(machine: Machine, how: str = "configure") -> object:
    """What the post-installation script leaves: which upgrade brought the tree."""
    told = machine.run("postinst", how, "2", before=NOT_BOOTED)
    assert told.returncode == 0, told.stderr
    assert not (machine.previous / "unpacking").exists()
    file = machine.previous / "upgrade"
    return json.loads(file.read_text())["id"] if file.exists() else None


def test_each_upgrade_has_a_word_of_its_own_and_one_that_was_broken_off_has_none(machine: Machine) -> None:
    assert machine.keep().returncode == 0
    first = configured(machine)
    assert machine.keep().returncode == 0
    assert configured(machine, "abort-upgrade") == first
    assert configured(machine) == first
    assert machine.keep().returncode == 0
    assert configured(machine) not in {first, None}
    assert machine.note()["kept"] == "2"


def test_a_version_that_proved_itself_in_an_upgrade_before_is_not_proved_in_this_one(machine: Machine) -> None:
    (machine.previous / "1/gateway").mkdir(parents=True)
    (machine.previous / "note.json").write_text(json.dumps({"kept": "1"}))
    (machine.previous / "upgrade").write_text(json.dumps({"id": "b"}))
    machine.state.write_text(json.dumps({"version": "2", "upgrade": "a", "phase": "kept"}))
    assert machine.keep().returncode == 0
    assert machine.note()["kept"] == "1"
    machine.state.write_text(json.dumps({"version": "2", "upgrade": configured(machine), "phase": "kept"}))
    assert machine.keep().returncode == 0
    assert machine.note()["kept"] == "2"


def test_a_pipe_in_the_place_of_the_state_stops_no_upgrade(machine: Machine) -> None:
    (machine.previous / "1/gateway").mkdir(parents=True)
    (machine.previous / "note.json").write_text(json.dumps({"kept": "1"}))
    os.mkfifo(machine.state)
    assert machine.keep().returncode == 0
    assert machine.note()["kept"] == "1"


def test_a_daemon_that_forbids_it_is_obeyed(machine: Machine) -> None:
    with machine.daemon(b'{"ok": true, "result": ', b'{"interlocked": "a fire stands"}}\n', every=0.1):
        told = machine.keep()
    assert (told.returncode, "no upgrade now: a fire stands" in told.stderr) == (1, True)
    assert not machine.previous.exists()


@pytest.mark.parametrize("answer", [b"[]\n", b'{"ok": true, "result": "x"}\n', b"[" * 60_000 + b"\n"], ids=len)
def test_an_answer_that_is_none_stops_no_upgrade(machine: Machine, answer: bytes) -> None:
    with machine.daemon(answer):
        assert machine.keep().returncode == 0


def test_a_daemon_that_answers_without_end_is_heard_for_five_seconds(machine: Machine) -> None:
    with machine.daemon(*[b" "] * 100, every=0.1):
        before = time.monotonic()
        assert machine.keep().returncode == 0
        assert 4 < time.monotonic() - before < 8


# ---- after an upgrade --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "restarts"),
    [
        (b'{"ok": true, "result": {"interlocked": "a fire stands"}}\n', False),
        (b'{"ok": true, "result": {"interlocked": null}}\n', True),
        (b'{"ok": false, "error": "restart is not a question"}\n', True),
    ],
)
def test_a_fire_that_began_meanwhile_puts_the_restart_off(machine: Machine, answer: bytes, restarts: bool) -> None:
    assert machine.keep().returncode == 0
    booted = machine.root / "run/systemd/system"
    booted.mkdir(parents=True)
    with machine.daemon(answer):
        told = machine.run("postinst", "configure", "1", before=NOT_BOOTED.replace("{ :; }", '{ echo "$0 does: $*"; }'))
    assert told.returncode == 0, told.stderr
    assert ("does: try-restart site-gateway.service" in told.stdout) is restarts
    assert ("a fire stands: the version before watches on" in told.stdout) is not restarts
    assert not (machine.previous / "unpacking").exists(), "the new version is whole: it is what the next start runs"


def test_an_upgrade_that_was_refused_leaves_what_was_compiled(machine: Machine) -> None:
    """To compile takes room, which may be what it was refused for."""
    compiled = machine.root / "usr/lib/site-gateway/gateway/__pycache__"
    compiled.mkdir()
    without_room = NOT_BOOTED.replace("py3compile() { :; }", "py3compile() { false; }")
    assert machine.keep().returncode == 0
    assert machine.run("postinst", "abort-upgrade", "2", before=without_room).returncode == 0
    assert compiled.exists()
    assert not (machine.previous / "unpacking").exists()


def test_a_tree_is_on_the_disk_before_it_is_called_whole(machine: Machine) -> None:
    """What Python has compiled is not synced by dpkg; cut off, it could end every start."""
    assert machine.keep().returncode == 0
    looks = f'{NOT_BOOTED}\nsync() {{ echo "sync $*"; ls {machine.previous}; }}'
    told = machine.run("postinst", "configure", "1", before=looks)
    assert f"sync -f {machine.root}/usr/lib/site-gateway\n" in told.stdout, told.stderr
    assert "unpacking" in told.stdout.split()
    assert not (machine.previous / "unpacking").exists()


def test_a_version_that_cannot_be_compiled_is_not_run(machine: Machine) -> None:
    assert machine.keep().returncode == 0
    told = machine.run(
        "postinst", "configure", "1", before=NOT_BOOTED.replace("py3compile() { :; }", "py3compile() { false; }")
    )
    assert (told.returncode, "is there room?" in told.stderr) == (1, True)
    assert (machine.previous / "unpacking").exists()


# ---- at a purge --------------------------------------------------------------------------------------


def purge(machine: Machine, before: str = "") -> subprocess.CompletedProcess[str]:
    return machine.run("postrm", "purge", before=before, inside=["unshare", "--mount"] if before else [])


def test_a_purge_removes_all(machine: Machine) -> None:
    (machine.root / "var/lib/site-gateway/pictures").mkdir()
    (machine.root / "var/lib/site-gateway/pictures/.1").touch()
    told = purge(machine)
    assert told.returncode == 0, told.stderr
    assert [*(machine.root / "var/lib").iterdir(), *(machine.root / "etc").iterdir()] == []
    assert purge(machine).returncode == 0


@as_root
def test_a_purge_empties_a_mount_point(machine: Machine) -> None:
    store = machine.root / "var/lib/site-gateway"
    may = subprocess.run(["unshare", "--mount", "mount", "-t", "tmpfs", "x", store], check=False, capture_output=True)
    if may.returncode:
        pytest.skip("this machine mounts nothing")
    mount = f"mount -t tmpfs x {store}\ntouch {store}/journal.db\ntrap 'ls -A {store}' EXIT"
    told = purge(machine, mount)
    assert told.returncode == 0, told.stderr
    _lost, *left = told.stdout.splitlines()
    assert left == []
    assert store.exists()
    assert not (machine.root / "etc/site-gateway").exists()


def test_what_a_purge_loses_is_told_as_the_least_that_it_is(machine: Machine) -> None:
    script = machine.here((PACKAGING / "lost.py").read_text())
    store = f"{machine.root}/var/lib/site-gateway/journal.db"
    make = f"import sqlite3; sqlite3.connect({store!r}).execute('CREATE TABLE outbox (stream, n)')\n"
    told = subprocess.run(
        ["/usr/bin/python3", "-IS", "-c", make + script], capture_output=True, text=True, check=False, timeout=20
    )
    assert told.stdout == "site-gateway: the store is removed; events that no broker has, at least: none\n", told.stderr


# ---- at night ----------------------------------------------------------------------------------------


def test_the_upgrade_at_night_ends_and_first_finishes_what_was_cut_off() -> None:
    unit = (ROOT / "systemd/site-gateway-upgrade.service").read_text().splitlines()
    assert "TimeoutStartSec=1h" in unit
    assert unit.index("ExecStartPre=-/usr/bin/dpkg --configure -a") < unit.index(
        "ExecStart=/usr/bin/apt-get --quiet update"
    )

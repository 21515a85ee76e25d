"""A Debian machine of its own for a test: a fresh root with systemd, booted in a container without a network.

Needs root, mmdebstrap, systemd-nspawn and an apt mirror (the one that this machine uses); only the long runs do this.
The example site is simulated inside, by a copy of the program that no upgrade touches; mosquitto is the broker.
"""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "site-gateway" / "roots"
INSIDE = "systemd,systemd-sysv,dbus,python3,udev,mosquitto,openssl,tzdata,sudo"
ALONE = ("setpriv", "--pdeathsig", "KILL", "unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
"""All processes of a machine end with the one that booted it, however that ends."""
TOOLS = "/srv/tools"
SECRETS = "/etc/site-gateway"
SITE = f"{SECRETS}/site.yaml"
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def mirror() -> str:
    """Where this machine has its Debian from."""
    told = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(SITE)", "Created-By: Packages"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    return next(line for line in told.stdout.splitlines() if line.endswith("/debian"))


def root_archive(suite: str, machine: str = "amd64", inside: str = INSIDE) -> Path:
    """A root of that Debian as a tar file, made at most once on this machine."""
    archive = CACHE / f"{suite}-{machine}-{hashlib.sha256(inside.encode()).hexdigest()[:8]}.tar"
    if not archive.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        part = archive.with_suffix(f".part{os.getpid()}.tar")
        options = ["--mode=root", "--variant=apt", "--skip=check/qemu", "--quiet"]
        done = subprocess.run(
            ["mmdebstrap", *options, f"--include={inside}", f"--architectures={machine}",
             '--aptopt=Acquire::Check-Valid-Until "false"', suite, str(part), f"deb {mirror()} {suite} main"],
            check=False, capture_output=True, text=True, timeout=1200,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        part.rename(archive)
    return archive


def until(condition: Callable[[], object], within: float, what: str) -> Any:
    """Look until the condition holds; gives its value."""
    deadline = time.monotonic() + within
    pause = threading.Event()
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < deadline, f"not within {within:g} s: {what}"
        pause.wait(0.1)


def children(pid: int) -> list[int]:
    """Processes that this one has begun; none once it has ended."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


class Box:
    """A booted machine; `folder` is on a file system with 2 GB to spare."""

    def __init__(self, folder: Path, suite: str = "bookworm") -> None:
        self.root = folder / "root"
        self.suite = suite
        self._log = folder / "console"
        self._machine: subprocess.Popen[bytes] | None = None
        self.leader = 0
        """Process id, here, of its first process."""

    def __enter__(self) -> Self:
        self.root.mkdir()
        subprocess.run(["tar", "-C", self.root, "-xf", root_archive(self.suite)], check=True, timeout=120)
        with ExitStack() as stack:
            stack.callback(self.power_off)
            self.boot()
            stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.power_off()
        shutil.rmtree(self.root, ignore_errors=True)

    def boot(self) -> None:
        """Power on; returns when the system is up."""
        with self._log.open("ab") as log:
            self._machine = subprocess.Popen(
                [*ALONE, "systemd-nspawn", "--register=no", "--keep-unit", "--private-network", "--boot", "--quiet",
                 f"--directory={self.root}"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        until(self._is_up, 180, "the system is up")

    def _is_up(self) -> bool:
        generation = [self._machine.pid] if self._machine is not None else []
        for _ in ("nspawn", "init"):
            generation = [child for pid in generation for child in children(pid)]
        if not generation:
            return False
        self.leader = generation[0]
        return self.try_run("systemctl", "is-system-running").stdout.strip() in {"running", "degraded"}

    def power_off(self) -> None:
        """Power off, at once: nothing is asked or written."""
        if self._machine is not None:
            os.killpg(self._machine.pid, signal.SIGKILL)
            self._machine.wait(20)
            self._machine = None
            until(lambda: not Path(f"/proc/{self.leader}").exists(), 20, "the machine is off")

    def try_run(self, *command: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """Run a command as root in the box."""
        clean = ["env", "-i", f"PATH={_PATH}", "HOME=/root", "LANG=C.UTF-8", "DEBIAN_FRONTEND=noninteractive"]
        return subprocess.run(
            ["nsenter", f"--target={self.leader}", "--all", *clean, *command],
            capture_output=True, text=True, check=False, timeout=timeout, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def run(self, *command: str, timeout: float = 120) -> str:
        """Its output; a failure ends the test."""
        done = self.try_run(*command, timeout=timeout)
        assert done.returncode == 0, f"{' '.join(command)}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def inside(self, path: str) -> Path:
        """A path of the box, from here."""
        return self.root / path.lstrip("/")

    def take(self, package: Path) -> str:
        """Copy a package into the box; gives its path there."""
        shutil.copy(package, self.inside("/srv") / package.name)
        return f"/srv/{package.name}"

    def install(self, package: Path, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        """By apt, from the file alone."""
        return self.try_run("apt-get", "install", "-y", "--allow-downgrades", self.take(package), timeout=timeout)

    # ---- the site ---------------------------------------------------------------------------------

    def simulate(self, scenario: str | None = None) -> None:
        """Serve the example site in the box, and write the site file for it; the installed program is copied first."""
        self.equip(self.inside("/usr/lib/site-gateway"))
        text = self.serve("example.yaml", scenario)
        for secret in self.inside("/srv").glob("site.lpr*"):
            shutil.copy(secret, self.inside("/etc/site-gateway"))
        self.inside(SITE).write_text(text)
        self.run("sh", "-c", "chgrp site-gateway /etc/site-gateway/*; chmod 640 /etc/site-gateway/*")

    def equip(self, tree: Path) -> None:
        """Lay the program of the simulated devices where no upgrade touches it."""
        if not self.inside(TOOLS).exists():
            shutil.copytree(tree, self.inside(TOOLS))

    def serve(self, example: str, scenario: str | None = None) -> str:
        """Serve the devices of an example site; gives the site file for them."""
        program = f"import sys; sys.path.insert(0, {TOOLS!r}); from gateway.cli import main; main()"
        self.inside("/srv/site.yaml").unlink(missing_ok=True)
        words = ["simulate", f"{TOOLS}/gateway/examples/{example}", "--out", "/srv/site.yaml"]
        if scenario is not None:
            self.inside("/srv/scenario.yaml").write_text(scenario)
            words += ["--scenario", "/srv/scenario.yaml"]
        self.run(
            "systemd-run", "--unit=simulated", "--setenv=TMPDIR=/srv", "--setenv=LANG=C.UTF-8",
            "/usr/bin/python3", "-IS", "-c", program, *words,
        )  # fmt: skip
        until(
            lambda: self.inside("/srv/site.yaml").exists(),
            60,
            self.try_run("journalctl", "-u", "simulated", "--no-pager").stdout[-2000:],
        )
        self.run("sh", "-c", "chmod 666 /dev/pts/[0-9]*; chmod 755 /srv/virtual-site-*")
        text = self.inside("/srv/site.yaml").read_text()
        return text.replace("/srv/site.store", "/var/lib/site-gateway").replace("/srv/site.lpr", f"{SECRETS}/site.lpr")

    def start(self) -> None:
        """Start the service; returns at READY."""
        self.run("systemctl", "start", "site-gateway")

    def status(self) -> dict[str, Any]:
        """What the daemon says; empty while none answers."""
        told = self.try_run("site-gateway", "status", SITE, "--json")
        found: dict[str, Any] = json.loads(told.stdout) if told.returncode == 0 else {}
        return found

    def version(self) -> str:
        """The version that runs, in the daemon's own words; empty while none answers."""
        return str(self.status().get("process", {}).get("version", ""))

    def events(self, stream: str) -> list[Mapping[str, Any]]:
        """What the daemon has kept."""
        told = self.run("site-gateway", "events", SITE, "--stream", stream, "--last", "500", "--json")
        return [json.loads(line) for line in told.splitlines()]

    def is_watching(self) -> bool:
        """All lines answer, and the broker is reached."""
        state = self.status()
        return (
            bool(state)
            and state["uplink"]["connected"]
            and all(one["up"] for one in state["lines"].values())
            and all(one["answering"] for one in state["devices"].values())
        )

    def journal(self) -> str:
        """What the service has logged."""
        return self.try_run("journalctl", "-u", "site-gateway", "--no-pager").stdout

"""A package with the real launcher and maintainer scripts, whose program is some small modules: quick to install.

Run as a script, as root in a layer: upgrades that are cut off, or have no room. Prints a line of JSON a try.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

MODULES = 30
BEFORE, NEXT = "1", "2"
CLI = """
import importlib, sys
def main():
    found = {{importlib.import_module(f"gateway.m{{number}}").VERSION for number in range({modules})}} | {{{version!r}}}
    print(*sorted(found))
    sys.exit(len(found) != 1)
"""
CALLS = "execve,rename,renameat,renameat2,unlink,unlinkat,rmdir,link,linkat,mkdir,mkdirat"
"""Steps of dpkg and of the scripts: what changes names, and each program that is begun."""
ENOUGH_PAGES = 120
"""Of 4 KiB: an upgrade takes less."""
DPKG = "/var/lib/dpkg-of-its-own"
"""What dpkg knows: this machine has thousands of packages, which it would read each time."""
SAVED = (
    "/usr/lib/site-gateway", "/usr/lib/site-gateway-previous", "/usr/bin/site-gateway", "/var/lib/site-gateway", DPKG,
)  # fmt: skip


def small_package(out: Path, version: str, scripts: dict[str, str], launcher: str, machine: str) -> Path:
    """Build it; `scripts`: maintainer scripts by name."""
    work = out / f"small-{version}-{machine}"
    control = work / "DEBIAN"
    gateway = work / "usr/lib/site-gateway/gateway"
    for folder in (control, gateway, work / "usr/bin"):
        folder.mkdir(parents=True)
    (control / "control").write_text(
        f"Package: site-gateway\nVersion: {version}\nArchitecture: {machine}\nMaintainer: x <x@localhost>\n"
        "Description: a small program\n"
    )
    for name, text in scripts.items():
        (control / name).write_text(text)
        (control / name).chmod(0o755)
    (work / "usr/bin/site-gateway").write_text(launcher)
    (work / "usr/bin/site-gateway").chmod(0o755)
    (gateway.parent / "VERSION").write_text(f"{version}\n")
    (gateway.parent / "SCHEMA").write_text("5\n")
    (gateway / "__init__.py").touch()
    (gateway / "cli.py").write_text(CLI.format(modules=MODULES, version=version))
    for number in range(MODULES):
        padding = f"# {number} of {version}\n" * 400
        (gateway / f"m{number}.py").write_text(f"VERSION = {version!r}\n{padding}")
    made = out / f"small-{version}-{machine}.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "-Zxz", "--build", work, made], check=True, capture_output=True)
    return made


class Machine:
    """This one, in a layer."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.saved = folder / "saved"

    def install(self, version: str, *before: str) -> subprocess.CompletedProcess[str]:
        """By dpkg; `before`: a command that runs it."""
        command = [*before, "dpkg", "--install", str(self.folder / f"{version}.deb")]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    def start(self) -> str:
        """Start it as the service does: the version that runs; empty if none does."""
        environment = {"PATH": os.environ["PATH"], "INVOCATION_ID": "x"}
        command = ["/usr/bin/site-gateway", "run", "/etc/site-gateway/site.yaml"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=20)
        return done.stdout.strip() if done.returncode == 0 else f"{done.returncode}: {done.stdout}{done.stderr}"

    def prove(self) -> None:
        """The installed version has passed its trial."""
        state = Path("/var/lib/site-gateway/upgrade.json")
        state.write_text(json.dumps({**json.loads(state.read_text()), "phase": "kept"}))

    def save(self) -> None:
        """Remember the machine as it is."""
        for path in SAVED:
            copy(Path(path), self.saved / path[1:])

    def restore(self) -> None:
        """As it was saved."""
        for path in SAVED:
            copy(self.saved / path[1:], Path(path))

    def steps(self, stop_at: int | None = None) -> int:
        """Upgrade, and pull the plug at that step; gives how many steps were made."""
        steps = self.folder / "steps"
        steps.unlink(missing_ok=True)
        os.mkfifo(steps)
        trace = ["strace", "-f", "-qqq", "--seccomp-bpf", "-e", f"trace={CALLS}", "-e", "signal=none", "-o", str(steps)]
        with subprocess.Popen(
            [*trace, "dpkg", "--install", str(self.folder / f"{NEXT}.deb")],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        ) as process:  # fmt: skip
            made = 0
            with steps.open("rb", buffering=0) as lines:
                for chunk in iter(lambda: lines.read(1 << 16), b""):
                    made += chunk.count(b"\n")
                    if stop_at is not None and made >= stop_at:
                        os.killpg(process.pid, signal.SIGKILL)
                        break
        return made

    def after(self, how: str, said: str = "") -> dict[str, object]:
        """What runs after something went wrong, four times over, and what after the upgrade is made again."""
        runs = [self.start() for _ in range(4)]
        status = subprocess.run(
            ["dpkg-query", "--show", "--showformat=${Status}", "site-gateway"],
            capture_output=True,
            text=True,
            check=False,
        ).stdout
        again = self.install(NEXT)
        return {
            "how": how, "runs": runs, "status": status, "said": said,
            "again": (again.returncode, again.stdout + again.stderr if again.returncode else "", self.start()),
        }  # fmt: skip


def copy(of: Path, to: Path) -> None:
    """Make `to` what `of` is: a file, a folder, or nothing. Hard links within one folder stay so."""
    subprocess.run(["rm", "-rf", str(to)], check=True)
    if of.exists():
        to.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cp", "--archive", str(of), str(to)], check=True)


def cut(machine: Machine, points: int) -> Iterator[dict[str, object]]:
    """Pull the plug at so many steps, spread evenly over an upgrade."""
    whole = machine.steps()
    yield {"steps": whole, "runs": machine.start()}
    for number in range(points):
        machine.restore()
        at = 1 + (whole - 1) * number // (points - 1)
        machine.steps(at)
        yield machine.after(f"step {at} of {whole}")


def full(machine: Machine, points: int) -> Iterator[dict[str, object]]:
    """Leave so little room, from none to what is enough."""
    for number in range(points):
        machine.restore()
        pages = ENOUGH_PAGES * number // (points - 1)
        filler = Path("/filler")
        about = os.statvfs("/")
        room = about.f_bavail * about.f_frsize
        with filler.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, max(room - pages * 4096, 4096))
        told = machine.install(NEXT)
        runs = machine.start()
        said = told.stdout + told.stderr
        filler.unlink()
        yield {**machine.after(f"{pages} pages", said), "full": runs, "returned": told.returncode}


def wrong(machine: Machine, _points: int) -> Iterator[dict[str, object]]:
    """Install what lies in the folder and is no good."""
    for file in sorted(machine.folder.glob("wrong-*.deb")):
        machine.restore()
        told = machine.install(file.stem)
        yield {**machine.after(file.stem, told.stdout + told.stderr), "returned": told.returncode}


def main() -> None:
    """What is to be tried, and how often."""
    folder = Path(__file__).parent
    os.environ["DPKG_ADMINDIR"] = DPKG
    for name in ("info", "updates", "triggers"):
        Path(DPKG, name).mkdir(parents=True)
    Path(DPKG, "status").touch()
    machine = Machine(folder)
    Path("/var/lib/site-gateway").mkdir(exist_ok=True)
    how, points = sys.argv[1], int(sys.argv[2])
    # Where a version is kept already its place is the room: the first upgrade of a machine needs the most.
    for version in (BEFORE,) if how == "full" else ("0", BEFORE):
        done = machine.install(version)
        assert done.returncode == 0, done.stdout + done.stderr
    assert machine.start() == BEFORE
    if how != "full":
        machine.prove()
    machine.save()
    for told in {"cut": cut, "full": full, "wrong": wrong}[how](machine, points):
        sys.stdout.write(f"{json.dumps(told)}\n")
        sys.stdout.flush()
    shutil.rmtree(machine.saved)


if __name__ == "__main__":
    main()

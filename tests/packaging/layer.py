"""A Debian, as a rule this machine's own, under a layer that is thrown away: a package is really installed in it.

Own mounts, own processes, no network but loopback. There is no systemd in it, so a small `systemctl` stands in: it
starts what the installed unit says, as the unit's user, and waits for READY as systemd does.
"""

import subprocess
from pathlib import Path

ENTER = """
set -e
ip link set lo up
mount -t tmpfs -o "size=$4" none "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay -o "lowerdir=$3,upperdir=$1/upper,workdir=$1/work" overlay "$1/root"
cd "$1/root"
mount -t proc proc proc
mount --rbind /dev dev
mount -t devpts -o ptmxmode=666 none dev/pts
mount -t tmpfs none run
mount -t tmpfs none tmp
mkdir -p srv/it
mount --bind "$2" srv/it
export PATH=/srv/it/bin:/usr/sbin:/usr/bin:/sbin:/bin
exec chroot . env -i PATH=$PATH HOME=/root LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive sh -e /srv/it/script
"""

SUDO = """#!/bin/sh
exec "$@"
"""

SYSTEMCTL = '''#!/usr/bin/python3 -IS
"""systemctl start NAME, of a unit with Type=notify."""

import os, pathlib, socket, subprocess, sys

assert sys.argv[1:] == ["start", "site-gateway"], sys.argv
unit = pathlib.Path("/lib/systemd/system/site-gateway.service").read_text()
set_to = dict(line.split("=", 1) for line in unit.splitlines() if "=" in line and not line.startswith("#"))
assert os.path.exists(set_to["ConditionPathExists"])
environment = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "NOTIFY_SOCKET": "/run/notify", "INVOCATION_ID": "1"}
for key, folder in (("StateDirectory", "/var/lib"), ("RuntimeDirectory", "/run")):
    place = f"{folder}/{set_to[key]}"
    os.makedirs(place, exist_ok=True)
    subprocess.run(["chown", f"{set_to['User']}:", place], check=True)
    environment[{"StateDirectory": "STATE_DIRECTORY", "RuntimeDirectory": "RUNTIME_DIRECTORY"}[key]] = place
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
    ready.bind("/run/notify")
    os.chmod("/run/notify", 0o777)
    log = open("/run/journal", "w")
    command = ["setpriv", f"--reuid={set_to['User']}", f"--regid={set_to['Group']}", "--init-groups"]
    subprocess.Popen([*command, *set_to["ExecStart"].split()], env=environment, stdout=log, stderr=log)
    ready.settimeout(60)
    while b"READY=1" not in ready.recv(4096):
        pass
'''


def run(
    script: str, folder: Path, mount: Path, *, root: Path = Path("/"), timeout: float = 120, size: str = "50%"
) -> subprocess.CompletedProcess[str]:
    """Run a script as root in a fresh layer over `root`; `folder` is /srv/it there; `mount`: an empty folder.

    `size`: how much the layer holds.
    """
    programs = folder / "bin"
    programs.mkdir()
    for name, text in (("sudo", SUDO), ("systemctl", SYSTEMCTL)):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    (folder / "script").write_text(script)
    namespaces = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--net", "--pid", "--fork", "--kill-child"]
    return subprocess.run(
        [*namespaces, "sh", "-c", ENTER, "sh", mount, folder, root, size],
        capture_output=True, text=True, check=False, timeout=timeout, stdin=subprocess.DEVNULL,
    )  # fmt: skip

"""Before an upgrade unpacks: may it? Then the present tree is kept, as hard links.

Where the present version never proved itself the tree that was kept for it stays: the way back leads to the last good
one. Runs as root, by the standard library.
"""

import json
import os
import shutil
import socket
import stat
import sys
import time

TREE = "/usr/lib/site-gateway"
KEPT = "/usr/lib/site-gateway-previous"
STATE = "/var/lib/site-gateway/upgrade.json"
SOCKET = "/run/site-gateway/control.sock"
TRIAL_S = 300
PATIENCE_S = 5


def ask():
    """What the daemon says of an upgrade: `{interlocked, lines, connected}`; empty if none answers in time."""
    end = time.monotonic() + PATIENCE_S
    said = b""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(PATIENCE_S)
            client.connect(SOCKET)
            client.sendall(b'{"ask": "interlock"}\n')
            while not said.endswith(b"\n") and len(said) < 65536:
                client.settimeout(max(end - time.monotonic(), 0.001))
                part = client.recv(4096)
                if not part or time.monotonic() > end:
                    return {}
                said += part
        answer = json.loads(said)
        return dict(answer["result"]) if answer["ok"] else {}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}


def read(path):
    """The object in a JSON file; empty if there is none. No pipe in its place is waited for, no link is followed."""
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW), "rb") as file:
            found = json.loads(file.read(65536)) if stat.S_ISREG(os.fstat(file.fileno()).st_mode) else None
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def write(path, content):
    """Make or replace a file durably."""
    with open(f"{path}.part", "w") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(f"{path}.part", path)
    sync(os.path.dirname(path))


def sync(folder):
    """Make the names in a folder durable."""
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def is_proven(version, note):
    """Whether the present tree is one to go back to."""
    if os.path.exists(f"{KEPT}/unpacking"):
        return False
    if not os.path.isdir(f"{KEPT}/{note.get('kept')}/gateway"):
        return True
    state = read(STATE)
    known = (state.get("version"), state.get("upgrade"), state.get("phase"))
    return known == (version, read(f"{KEPT}/upgrade").get("id"), "kept")


def keep(version):
    """Link the tree; what an earlier attempt left goes first."""
    os.makedirs(KEPT, exist_ok=True)
    part = f"{KEPT}/{version}.part"
    shutil.rmtree(part, ignore_errors=True)
    shutil.copytree(TREE, part, copy_function=os.link, symlinks=True)
    shutil.rmtree(f"{KEPT}/{version}", ignore_errors=True)
    os.replace(part, f"{KEPT}/{version}")
    sync(KEPT)


def main():
    """Exit status 1 refuses the upgrade; nothing was changed then."""
    said = ask()
    if said.get("interlocked"):
        sys.exit(f"site-gateway: no upgrade now: {said['interlocked']}")
    with open(f"{TREE}/VERSION") as file:
        version = file.read().strip()
    note = read(f"{KEPT}/note.json")
    if is_proven(version, note):
        keep(version)
        note["kept"] = version
    if said or not os.path.exists(f"{KEPT}/unpacking"):
        note.update(lines=said.get("lines", []), connected=bool(said.get("connected")))
    note["trial"] = TRIAL_S
    write(f"{KEPT}/note.json", json.dumps(note))
    for name in os.listdir(KEPT):
        if name not in (note["kept"], "note.json", "unpacking", "upgrade"):
            shutil.rmtree(f"{KEPT}/{name}", ignore_errors=True)
    # Once the new tree is whole this becomes `upgrade`: a trial is of one upgrade, whatever the version is called.
    write(f"{KEPT}/unpacking", json.dumps({"id": os.urandom(8).hex()}))


try:
    main()
except OSError as error:
    sys.exit(f"site-gateway: no upgrade: the present version cannot be kept: {error}")

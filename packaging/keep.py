"""Before an upgrade unpacks: may it? Then the present tree is kept, as hard links.

Where the present version never proved itself the tree that was kept for it stays: the way back leads to the last good
one. Runs as root, by the standard library.
"""

import json
import os
import shutil
import stat
import sys
from contextlib import suppress

TREE = "/usr/lib/site-gateway"
KEPT = "/usr/lib/site-gateway-previous"
STATE = "/var/lib/site-gateway/upgrade.json"
TRIAL_S = 300


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
    """Link the tree. A kept one of that version goes at once or not at all: half of it would be gone back to."""
    os.makedirs(KEPT, exist_ok=True)
    part = f"{KEPT}/{version}.part"
    for left in (part, f"{part}.before"):
        shutil.rmtree(left, ignore_errors=True)
    shutil.copytree(TREE, part, copy_function=os.link, symlinks=True)
    with suppress(FileNotFoundError):
        os.replace(f"{KEPT}/{version}", f"{part}.before")
    os.replace(part, f"{KEPT}/{version}")
    sync(KEPT)


def main():
    """Exit status 1 refuses the upgrade; nothing was changed then."""
    said = ask("interlock")
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

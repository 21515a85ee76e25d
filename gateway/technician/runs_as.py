"""The account that the gateway runs as. Checks use its rights, not those of the person at the keyboard."""

import os
import pwd
from pathlib import Path
from typing import NamedTuple

from gateway.config.site import SiteFile
from gateway.safe_write import owner_of

_SERVICE = "site-gateway"
"""As in systemd/site-gateway.sysusers."""


class UnixUser(NamedTuple):
    """An account with all its groups."""

    uid: int
    name: str
    groups: frozenset[int]


def service_user(file: SiteFile) -> UnixUser | None:
    """The owner of the store, or else the service's account if it exists; None: it runs as the caller."""
    try:
        owner = owner_of(Path(file.store.path))
        known = pwd.getpwuid(owner.uid) if owner is not None else pwd.getpwnam(_SERVICE)
    except (KeyError, OSError):
        return None
    return UnixUser(known.pw_uid, known.pw_name, frozenset(os.getgrouplist(known.pw_name, known.pw_gid)))


def refusal(port: str, user: UnixUser) -> str | None:
    """Why this account may not open a serial port; None: it may, or the port does not exist."""
    try:
        about = Path(port).stat()
    except OSError:
        return None
    shift = 6 if about.st_uid == user.uid else 3 if about.st_gid in user.groups else 0
    if user.uid == 0 or (about.st_mode >> shift) & 0o6 == 0o6:
        return None
    return f"{port}: the gateway's account {user.name} may not open it (mode {about.st_mode & 0o777:04o})"


def name_of(uid: int) -> str:
    """The name of an account."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"

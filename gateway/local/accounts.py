"""Identifies the account at the other end of a Unix socket, and what it may do.

The kernel supplies it (SO_PEERCRED, SO_PEERGROUPS: unix(7), socket(7)), so it cannot be forged. In its own user
namespace (`PrivateUsers=`) the daemon would see every account as nobody.
"""

import asyncio
import grp
import os
import pwd
import socket
import struct
from collections.abc import Mapping
from contextlib import suppress
from typing import NamedTuple

from gateway.kinds import ROLES

_SO_PEERGROUPS = 59
"""Linux 4.13, include/uapi/asm-generic/socket.h."""
_MOST_GROUPS = 256
"""As many as fit into the result of `getsockopt`; an account with more groups gets no role from them."""


class Account(NamedTuple):
    """The asking account."""

    uid: int
    name: str
    role: str | None
    """None: may only look."""

    def may(self, role: str) -> bool:
        """True if the account has this role or a higher one."""
        return self.role is not None and ROLES.index(self.role) >= ROLES.index(role)


async def account_of(connection: socket.socket, people: Mapping[str, str]) -> Account:
    """The account of the peer, with its role in `people` ({account or @group: role}). Raises OSError."""
    _, uid, gid = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    groups = {gid}
    with suppress(OSError):
        raw = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, 4 * _MOST_GROUPS)
        groups |= set(struct.unpack(f"{len(raw) // 4}i", raw))
    return await asyncio.to_thread(_named, uid, groups, people)  # look-ups of names may use the network


def _named(uid: int, groups: set[int], people: Mapping[str, str]) -> Account:
    name = f"uid {uid}"
    with suppress(KeyError):
        name = pwd.getpwuid(uid).pw_name
    if uid in (0, os.getuid()):
        return Account(uid, name, ROLES[-1])
    if name in people:
        return Account(uid, name, people[name])
    roles = [role for key, role in people.items() if key.startswith("@") and _gid(key[1:]) in groups]
    return Account(uid, name, max(roles, key=ROLES.index, default=None))


def _gid(group: str) -> int | None:
    with suppress(KeyError):
        return grp.getgrnam(group).gr_gid
    return None

"""Replaces files as a whole, and as the owner of the folder: for root's commands in folders that others may write to.

A service that was taken over can plant links in its folders. So nothing is written through a link, and root becomes
the owner of a folder before it writes there: what is planted leads no further than that account could go itself.
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

_LINKS = 16
"""Links that are followed on the way to a folder."""


class Owner(NamedTuple):
    """An account that is not root."""

    uid: int
    gid: int


def owner_of(path: Path) -> Owner | None:
    """The first account that is not root and may change what lies on the way to `path`; None: root alone can.

    Raises OSError.
    """
    return _owner_of(path.absolute(), _LINKS)


def _owner_of(path: Path, links: int) -> Owner | None:
    for at in (*reversed(path.parents), path):
        try:
            found = at.lstat()
        except FileNotFoundError:
            return None
        if found.st_uid:
            return Owner(found.st_uid, found.st_gid)
        if stat.S_ISLNK(found.st_mode):
            if links == 0:
                raise OSError(f"{path}: too many links")
            return _owner_of(at.parent / at.readlink() / path.relative_to(at), links - 1)
    return None


@contextmanager
def as_owner(path: Path) -> Iterator[None]:
    """While it lasts root is the owner of what leads to `path`; for others nothing changes. Raises OSError."""
    owner = owner_of(path) if os.geteuid() == 0 else None
    if owner is None:
        yield
        return
    groups, gid = os.getgroups(), os.getegid()
    os.setgroups([owner.gid])
    os.setegid(owner.gid)
    os.seteuid(owner.uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(gid)
        os.setgroups(groups)


def replace_file(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Make or replace a file, whole or not at all, durable when this returns. Raises OSError.

    Never through a link: neither one in the place of the file, nor one in the place of what is written first.
    """
    if not path.name or path.name == "..":
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    part = path.with_name(f"{path.name}.part")
    part.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    handle = os.open(part, flags, 0o600)
    try:
        with os.fdopen(handle, "wb") as stream:
            os.fchmod(handle, mode)
            stream.write(data)
            stream.flush()
            os.fsync(handle)
        part.replace(path)
    finally:
        with suppress(OSError):  # it is there only if it did not take the file's place
            part.unlink()
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """What was renamed or removed in it is durable. Raises OSError."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

"""Replaces files atomically, as the owner of the folder: for commands of root in folders that others may write to.

A compromised service could plant links in its folders. So nothing is written through a link, and root takes the rights
of the folder's owner before writing, so that a planted link reaches nothing that the account could not reach itself.
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

_LINKS = 16
"""The most links that are followed on the way to a folder."""


class Owner(NamedTuple):
    """An account that is not root."""

    uid: int
    gid: int


def owner_of(path: Path) -> Owner | None:
    """The first account other than root that may change a folder on the way to `path`; None: only root can.

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
    """Within this context root has the rights of the owner of `path`; other accounts are unchanged. Raises OSError."""
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
    """Make or replace a file atomically; durable when this returns. Raises OSError.

    Never through a link, neither in place of the file nor in place of the temporary one.
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
        with suppress(OSError):  # it exists only if it did not replace the file
            part.unlink()
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make renames and removals in a folder durable. Raises OSError."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

"""Which telemetry was sent before its commit: read by the next life after a kill, so that no gap is overstated.

A page of shared memory in a file beside the journal: what is in it outlives the process, though not the machine, so it
counts within one boot only. It is written before a number is used, and never waited for.
"""

import mmap
import os
import struct
import zlib
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

_BODY = struct.Struct("<36s32sQQ")
_CRC = struct.Struct("<I")
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


class Ahead(NamedTuple):
    """Numbers of the telemetry stream."""

    given: int
    """The last one given."""
    delivered: int
    """Up to this one the broker has all."""


class SentAhead:
    """The file; without one nothing is known. `boot`: of the kernel."""

    def __init__(self, path: Path, boot: str) -> None:
        self._path = path
        self._boot = boot.encode()[:36].ljust(36)
        self._page: mmap.mmap | None = None
        self._failed = False

    def read(self, journal: str) -> Ahead | None:
        """What the life before has noted; None: nothing, or of another boot or journal."""
        with suppress(OSError):
            whole = self._path.read_bytes()[: _BODY.size + _CRC.size]
            body = whole[: _BODY.size]
            if len(whole) == _BODY.size + _CRC.size and _CRC.unpack(whole[_BODY.size :])[0] == zlib.crc32(body):
                boot, named, given, delivered = _BODY.unpack(body)
                if boot == self._boot and named == journal.encode()[:32].ljust(32):
                    return Ahead(given, delivered)
        return None

    def note(self, journal: str, given: int, delivered: int) -> None:
        """To be called before the number `given` is used."""
        if self._page is None and not self._failed:
            self._open()
        if self._page is not None:
            body = _BODY.pack(self._boot, journal.encode()[:32].ljust(32), given, delivered)
            self._page[: _BODY.size + _CRC.size] = body + _CRC.pack(zlib.crc32(body))

    def close(self) -> None:
        """Let go of the file; nothing is noted after it."""
        self._failed = True
        if self._page is not None:
            self._page.close()
            self._page = None

    def _open(self) -> None:
        try:
            handle = os.open(self._path, _FLAGS, 0o600)
            try:
                os.posix_fallocate(handle, 0, mmap.PAGESIZE)  # else a full disk would end the process at a write
                self._page = mmap.mmap(handle, mmap.PAGESIZE)
            finally:
                os.close(handle)
        except OSError:
            self._failed = True

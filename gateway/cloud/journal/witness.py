"""How far the journal has come, in two small files beside it, against which the store is checked.

*High water*: a mark written after each commit, never before it. So after a kill or power cut the journal is at its mark
or beyond. A journal behind its mark has lost committed steps: its -wal was deleted, cut or garbled, or the file was
replaced by an older copy. Two slots are written in turn, each in its own page and with a checksum, so a torn write
leaves the other slot. A commit never waits for the sync of the mark. A thread syncs it at once after ten quiet seconds,
else every ten seconds. So a kill loses nothing of the mark, a power cut at most its last ten seconds.

*Sent ahead*: which telemetry was sent before its commit. The next process reads it after a kill, so that no gap is
overstated. It is a file mapped into memory: it survives the process but not the machine, so it is valid within one
boot only. It is written before a number is used, and never synced.
"""

import mmap
import os
import stat
import struct
import threading
import zlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from gateway.cloud.journal.batch import Shed
from gateway.model import Json, Stream

REASON = "rolled-back"
"""The reason given for numbers that a store lost."""

_SLOT_BYTES = 4096
_RECORD_BYTES = 1024
_SYNC_EVERY_S = 10.0
_CLOSE_S = 1.0
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Mark:
    """How far a journal has come after a commit."""

    journal: str
    commits: int
    """How many commits of the journal wrote events or memory."""
    streams: Mapping[Stream, tuple[int, int]]
    """The last number committed, and up to where numbers are reserved."""

    def beyond(self, other: "Mark") -> bool:
        """True if this journal has come further than `other`, which has the same name."""
        return self.commits > other.commits or any(
            last > other.streams.get(stream, (0, 0))[0] for stream, (last, _) in self.streams.items()
        )

    def lasts(self) -> dict[Stream, int]:
        """The last number of each stream."""
        return {stream: last for stream, (last, _) in self.streams.items() if last}


@dataclass(frozen=True, slots=True)
class Loss:
    """What a store has lost of its journal."""

    journal: str
    stood: Mapping[Stream, int]
    """The last numbers that the witness knows of."""
    stands: Mapping[Stream, int]
    """The last numbers that the store knows of."""
    missing: tuple[Shed, ...]
    witness: str
    """What revealed it: `high-water` (this file), `salvage`, `files` (gone while in use), `alarm/active`."""

    def data(self) -> dict[str, Json]:
        """Data of `store.rolled-back`."""
        return {
            "journal": self.journal,
            "witness": self.witness,
            "from": {stream.value: self.stood.get(stream, 0) for stream in Stream},
            "to": {stream.value: self.stands.get(stream, 0) for stream in Stream},
            "missing": [
                {"stream": gap.stream.value, "first": gap.first, "last": gap.last, "count": gap.count}
                for gap in self.missing
            ],
        }

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> "Loss":
        """Read what `data` returned. Raises LookupError, TypeError, ValueError."""
        stood, stands = ({Stream(name): int(last) for name, last in data[key].items()} for key in ("from", "to"))
        gaps = (
            (Stream(gap["stream"]), int(gap["first"]), int(gap["last"]), int(gap["count"])) for gap in data["missing"]
        )
        missing = tuple(Shed(*gap, REASON) for gap in gaps)
        return cls(str(data["journal"]), stood, stands, missing, str(data["witness"]))


def behind(mark: Mark, found: Mark | None) -> Loss:
    """What is missing in a store that has come to `found`; None: it does not know the journal of `mark`."""
    at = found.streams if found is not None else {}
    missing = []
    for stream in Stream:
        last, reserved = mark.streams.get(stream, (0, 0))
        if stream is Stream.TELEMETRY:
            last = max(last, reserved)  # reserved numbers may have been sent before their commit
        first = at.get(stream, (0, 0))[0] + 1
        if last >= first:
            missing.append(Shed(stream, first, last, last - first + 1, REASON))
    return Loss(mark.journal, mark.lasts(), found.lasts() if found else {}, tuple(missing), "high-water")


class HighWater:
    """The file of the mark. It is not part of the store: a failure with it is never an error."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle: int | None = None
        self._old: list[int] = []
        """Handles of files that were deleted or replaced."""
        self._file = (0, 0)
        self._serial = 0
        self._written: Mark | None = None
        self._dirty = threading.Event()
        self._ended = threading.Event()
        self._syncing: threading.Thread | None = None

    def read(self) -> Mark | None:
        """The latest mark; None if there is no readable one."""
        if self._written is not None:
            return self._written
        with suppress(OSError):
            handle = os.open(self._path, _FLAGS & ~os.O_CREAT & ~os.O_RDWR)
            try:
                if stat.S_ISREG(os.fstat(handle).st_mode):
                    found = [_parsed(os.pread(handle, _RECORD_BYTES, slot * _SLOT_BYTES)) for slot in (0, 1)]
                    self._serial, mark = max((one for one in found if one), key=lambda one: one[0], default=(0, None))
                    return mark
            finally:
                os.close(handle)
        return None

    def write(self, mark: Mark) -> None:
        """Write how far the journal has come; call after its commit."""
        if mark == self._written:
            return
        serial = self._serial + 1
        record = orjson.dumps(
            {
                "serial": serial,
                "journal": mark.journal,
                "commits": mark.commits,
                "streams": {stream.value: list(numbers) for stream, numbers in mark.streams.items()},
            }
        )
        line = b"%08x %b\n" % (zlib.crc32(record), record)
        if len(line) > _RECORD_BYTES:
            return
        with suppress(OSError):
            os.pwrite(self._opened(), line, serial % 2 * _SLOT_BYTES)
            self._serial, self._written = serial, mark
            self._dirty.set()
            if self._syncing is None:
                self._syncing = threading.Thread(target=self._sync, name="high-water", daemon=True)
                self._syncing.start()

    def close(self) -> None:
        """Sync the file if needed, and close it."""
        self._ended.set()
        self._dirty.set()
        if self._syncing is not None:
            self._syncing.join(timeout=_CLOSE_S)
            if self._syncing.is_alive():
                return  # the disk does not answer: leave the handle open until the process ends
        handle, self._handle = self._handle, None
        if handle is not None:
            with suppress(OSError):
                os.fdatasync(handle)
            os.close(handle)
        self._close_old()

    def _opened(self) -> int:
        """The file's handle; made anew if the file was deleted or replaced. Raises OSError."""
        with suppress(FileNotFoundError):
            about = self._path.lstat()
            if self._handle is not None and (about.st_dev, about.st_ino) == self._file:
                return self._handle
        handle = os.open(self._path, _FLAGS, 0o600)
        try:
            about = os.fstat(handle)
            os.posix_fallocate(handle, 0, 2 * _SLOT_BYTES)  # raises if it is not a regular file
            os.fsync(handle)
        except OSError:
            os.close(handle)
            raise
        if self._handle is not None:
            self._old.append(self._handle)  # the thread may be syncing it right now, and closes it later
        self._handle, self._file = handle, (about.st_dev, about.st_ino)
        return handle

    def _sync(self) -> None:
        while not self._ended.is_set():
            self._dirty.wait()
            self._dirty.clear()
            self._close_old()
            with suppress(OSError):
                if (handle := self._handle) is not None:
                    os.fdatasync(handle)
            self._ended.wait(_SYNC_EVERY_S)

    def _close_old(self) -> None:
        while self._old:
            os.close(self._old.pop())


def _parsed(slot: bytes) -> tuple[int, Mark] | None:
    """The serial number and the mark of a slot; None if it is incomplete."""
    line, end, _ = slot.partition(b"\n")
    checksum, _, record = line.partition(b" ")
    if not end or checksum != b"%08x" % zlib.crc32(record):
        return None
    try:
        read = orjson.loads(record)
        streams = {Stream(name): (int(last), int(reserved)) for name, (last, reserved) in read["streams"].items()}
        return int(read["serial"]), Mark(str(read["journal"]), int(read["commits"]), streams)
    except (ValueError, LookupError, TypeError, AttributeError):
        return None


_BODY = struct.Struct("<36s32sQQ")
_CRC = struct.Struct("<I")


class Ahead(NamedTuple):
    """Numbers of the telemetry stream."""

    given: int
    """The last number given."""
    delivered: int
    """The broker has all numbers up to this one."""


class SentAhead:
    """The file of numbers sent ahead; works without one, knowing nothing. `boot`: the kernel's boot id."""

    def __init__(self, path: Path, boot: str) -> None:
        self._path = path
        self._boot = boot.encode()[:36].ljust(36)
        self._page: mmap.mmap | None = None
        self._failed = False

    def read(self, journal: str) -> Ahead | None:
        """What the previous process noted; None: nothing, or it belongs to another boot or journal."""
        with suppress(OSError):
            whole = self._path.read_bytes()[: _BODY.size + _CRC.size]
            body = whole[: _BODY.size]
            if len(whole) == _BODY.size + _CRC.size and _CRC.unpack(whole[_BODY.size :])[0] == zlib.crc32(body):
                boot, named, given, delivered = _BODY.unpack(body)
                if boot == self._boot and named == journal.encode()[:32].ljust(32):
                    return Ahead(given, delivered)
        return None

    def note(self, journal: str, given: int, delivered: int) -> None:
        """Call before the number `given` is used."""
        if self._page is None and not self._failed:
            self._open()
        if self._page is not None:
            body = _BODY.pack(self._boot, journal.encode()[:32].ljust(32), given, delivered)
            self._page[: _BODY.size + _CRC.size] = body + _CRC.pack(zlib.crc32(body))

    def close(self) -> None:
        """Close the file; nothing is noted afterwards."""
        self._failed = True
        if self._page is not None:
            self._page.close()
            self._page = None

    def _open(self) -> None:
        try:
            handle = os.open(self._path, _FLAGS, 0o600)
            try:
                os.posix_fallocate(handle, 0, mmap.PAGESIZE)  # or a full disk would kill the process at a write
                self._page = mmap.mmap(handle, mmap.PAGESIZE)
            finally:
                os.close(handle)
        except OSError:
            self._failed = True

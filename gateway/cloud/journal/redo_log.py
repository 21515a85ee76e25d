"""The redo log: commits that are on the card but not yet in the database.

A commit is one record, written in place into a file of fixed size and synced once. That costs one block of the card;
the database would write a page for each of its tables, and each page twice. Hundreds of records are moved into the
database together; at start the records that it does not have are replayed.

A *round* is what is written between two such moves. Its number is random and is stored in the database, in the same
transaction that moved the previous round. So a record belongs to the database only if it carries the database's round
number; records of other rounds, of another file or of an older copy are never replayed. Within a round records are
numbered; nothing is read after the first record that is torn, garbled or missing.

Everything here runs on the writer's thread.
"""

import errno
import os
import secrets
import stat
import struct
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import orjson

from gateway.cloud.journal.batch import Batch, Entry, Marks, State
from gateway.cloud.outbox import Row
from gateway.errors import StoreError, StoreFull
from gateway.model import Stream

MOST_BYTES = 384 << 10
"""The most memory of a batch that goes into the log: more than what `cycle` lets wait for the next commit. A larger
batch goes straight to the database, where each transaction costs some ten pages beside its rows."""

_BLOCK_BYTES = 4096
_READ_BYTES = 4 << 20
_INFLATED_BYTES = 4 * MOST_BYTES
_HEAD = struct.Struct("<IIIQ")
"""Format and length of the body (8 and 24 bits), checksum, number in the round, round."""
_FORMAT = 0
"""The format that `encoded` writes. A log with another format is kept for the version that can read it."""
_LENGTH_BITS = 24
_ROUND_AT = _HEAD.size - 8
_LENGTH = struct.Struct("<I")
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_STREAMS = tuple(Stream)
_NUMBER = {stream: number for number, stream in enumerate(Stream)}


class RedoLog:
    """The file. If there is no room for it, `fits` is always false and every commit goes to the database."""

    def __init__(self, path: Path, size: int) -> None:
        """`size`: bytes, written once in advance so that a commit changes no metadata of the file system."""
        self._path = path
        self._size = size
        self._handle: int | None = None
        self._round = 0
        self._number = 0
        self._end = 0
        self._broken = False
        """A write or sync failed, or the round may have ended: nothing more may be written in this round."""

    @property
    def used(self) -> float:
        """The part of the file that this round fills."""
        return self._end / self._size

    def open(self) -> None:
        """Make the file if it is missing or too short. If that fails, work without it."""
        self.close()
        with suppress(OSError):
            handle = os.open(self._path, _FLAGS, 0o600)
            try:
                size = os.fstat(handle).st_size
                for offset in range(size, self._size, _BLOCK_BYTES):
                    os.pwrite(handle, bytes(_BLOCK_BYTES), offset)  # raises if it is not a regular file
                os.fsync(handle)
                # After a full read the page cache may hold large folios, and writing one block would write a whole
                # folio.
                os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
            except OSError:
                os.close(handle)
                raise
            self._handle = handle
            self._broken = True  # until a round begins

    def close(self) -> None:
        """Close the file."""
        handle, self._handle = self._handle, None
        if handle is not None:
            with suppress(OSError):
                os.close(handle)

    def end(self) -> None:
        """The database is about to end this round: nothing more may be written in it, even if that fails."""
        self._broken = True

    def begin(self, round_: int) -> None:
        """Begin a round at the start of the file, once the database holds all records and this round's number."""
        self._round = round_
        self._number = self._end = 0
        self._broken = False

    def fits(self, record: bytes) -> bool:
        """True if there is room for this record."""
        return self._handle is not None and not self._broken and self._end + _HEAD.size + len(record) <= self._size

    def append(self, record: bytes, *, sync: bool) -> None:
        """Write a record that fits. `sync`: make it and all before it survive a power cut. Raises StoreError."""
        handle = self._handle
        if handle is None:
            raise StoreError(f"{self._path}: not open")
        number = self._number + 1
        whole = _packed(_Record(_FORMAT, number, self._round, record))
        self._broken = True
        try:
            written = os.pwrite(handle, whole, self._end)
            if sync:
                os.fdatasync(handle)
        except OSError as error:
            raise disk_error(self._path, error) from error
        if written < len(whole):
            raise StoreFull(f"{self._path}: a record was written in part only")
        self._broken = False
        self._number = number
        self._end += len(whole)

    def wipe(self) -> None:
        """Overwrite the file, which no round needs any more; call `begin` before. Raises StoreError."""
        if self._handle is None:
            return
        try:
            for offset in range(0, self._size, _BLOCK_BYTES):
                os.pwrite(self._handle, bytes(_BLOCK_BYTES), offset)
            os.fdatasync(self._handle)
        except OSError as error:
            raise disk_error(self._path, error) from error


def disk_error(path: Path, error: OSError) -> StoreError:
    """Translate an error of the disk: the store is full, or cannot be used."""
    kind = StoreFull if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) else StoreError
    return kind(f"{path}: {error.strerror}")


def new_round() -> int:
    """A random number for a new round."""
    return secrets.randbits(63) | 1


class _Record(NamedTuple):
    """A record with the fields of its head."""

    format: int
    number: int
    round: int
    body: bytes


def read(path: Path, round_: int | None) -> list[bytes]:
    """The readable records of this round, in order; None: of the round that the file begins with."""
    whole, _ = content(path)
    return [record.body for record in _records(whole, round_)]


def content(path: Path) -> tuple[bytes, str | None]:
    """The file up to its first unreadable block, and why that block cannot be read; None: all of it was read."""
    whole = bytearray()
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if stat.S_ISREG(os.fstat(handle).st_mode):
                os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_RANDOM)  # or it makes large folios again, see `open`
                while len(whole) < _READ_BYTES and (block := os.pread(handle, _BLOCK_BYTES, len(whole))):
                    whole += block
        finally:
            os.close(handle)
    except FileNotFoundError:
        return b"", None
    except OSError as error:
        return bytes(whole), error.strerror
    return bytes(whole), None


def _records(whole: bytes, round_: int | None) -> list[_Record]:
    records: list[_Record] = []
    at = 0
    while (record := _record(whole, at)) is not None:
        if round_ is None:
            round_ = record.round
        if (record.number, record.round) != (len(records) + 1, round_):
            break
        records.append(record)
        at += _HEAD.size + len(record.body)
    return records


def _record(whole: bytes, at: int) -> _Record | None:
    """The record that begins at `at`; None: there is none with a valid checksum."""
    if at + _HEAD.size > len(whole):
        return None
    first, _, number, round_ = _HEAD.unpack_from(whole, at)
    format_, length = first >> _LENGTH_BITS, first & (1 << _LENGTH_BITS) - 1
    end = at + _HEAD.size + length
    record = _Record(format_, number, round_, whole[at + _HEAD.size : end])
    return record if length and whole[at:end] == _packed(record) else None


def _follows(whole: bytes, at: int, round_: int) -> bool:
    """True if a record of this round is found at or after `at`."""
    named = _HEAD.pack(0, 0, 0, round_)[_ROUND_AT:]
    found = whole.find(named, at + _ROUND_AT)
    while found >= 0:
        record = _record(whole, found - _ROUND_AT)
        if record is not None and record.round == round_:
            return True
        found = whole.find(named, found + 1)
    return False


def _packed(record: _Record) -> bytes:
    first = record.format << _LENGTH_BITS | len(record.body)
    checksum = zlib.crc32(_HEAD.pack(first, 0, record.number, record.round) + record.body)
    return _HEAD.pack(first, checksum, record.number, record.round) + record.body


# ---- what a record says ---------------------------------------------------------------------------


def loggable(batch: Batch) -> bool:
    """True if a record can hold the batch: no picture, nothing set aside or shed, and not too large."""
    return not (
        batch.size > MOST_BYTES
        or batch.sheds
        or batch.named
        or batch.aside
        or any(entry.row.jpeg is not None for entry in batch.entries.values())
    )


def encoded(batch: Batch, boot: str) -> bytes:
    """Encode a batch as a record. `boot`: the kernel's boot id, for events whose time may still be corrected."""
    marks = batch.marks
    said = {
        "boot": boot,
        "steps": batch.steps,
        "events": [
            [one.row.n, _NUMBER[one.row.stream], one.row.sequence, one.journal, one.at, one.mono, one.state,
             one.reason, one.acked, len(one.row.payload)]
            for one in batch.entries.values()
        ],
        "memory": [[key, None if value is None else len(value)] for key, value in batch.memory.items()],
        "acks": [[_NUMBER[stream], state, n] for stream, state, n in batch.acks],
        "frozen": [[_NUMBER[stream], n] for stream, n in batch.frozen],
        "marks": None if marks is None else [
            marks.journal, marks.newest, [[_NUMBER[stream], *numbers] for stream, numbers in marks.streams.items()],
            marks.told, marks.lived, marks.top,
        ],
    }  # fmt: skip
    text = orjson.dumps(said)
    payloads = [one.row.payload for one in batch.entries.values()]
    values = [value for value in batch.memory.values() if value is not None]
    return zlib.compress(b"".join((_LENGTH.pack(len(text)), text, *payloads, *values)), 1)


def decoded(record: bytes, boot: str) -> Batch:
    """Decode what `encoded` returned. Raises ValueError."""
    inflating = zlib.decompressobj()
    try:
        whole = inflating.decompress(record, _INFLATED_BYTES)
        (length,) = _LENGTH.unpack_from(whole)
        said = orjson.loads(whole[_LENGTH.size : _LENGTH.size + length])
        at = _LENGTH.size + length
        batch = Batch(steps=said["steps"])
        ours = said["boot"] == boot
        for n, stream, sequence, journal, wall, mono, state, reason, acked, size in said["events"]:
            row = Row(n, _STREAMS[stream], sequence, whole[at : at + size])
            at += size
            batch.add(Entry(row, journal, wall, mono if ours else None, State(state), reason, acked=acked))
        for key, size in said["memory"]:
            batch.remember(key, None if size is None else whole[at : at + size])
            at += size or 0
        batch.acks = [(_STREAMS[stream], State(state), n) for stream, state, n in said["acks"]]
        batch.frozen = [(_STREAMS[stream], n) for stream, n in said["frozen"]]
        if said["marks"] is not None:
            journal, newest, streams, told, lived, top = said["marks"]
            numbers = {_STREAMS[stream]: (last, reserved) for stream, last, reserved in streams}
            batch.marks = Marks(journal, newest, numbers, told, lived, top)
    except (zlib.error, struct.error, LookupError, TypeError) as error:
        raise ValueError("not a record of this version") from error
    return batch


@dataclass(frozen=True, slots=True)
class Tail:
    """The content of a redo log."""

    batch: Batch
    unreadable: str | None = None
    """Why a block of it, or all of it, cannot be read; everything after that block is lost."""
    content: bytes = b""
    """The file, as far as it can be read."""
    skipped: bool = False
    """A valid record of the round is not in `batch`: an earlier one is broken, or it comes from another version."""
    other: bool = False
    """It begins with a record of another round: either the log or the database is an older one."""


def tail(path: Path, round_: int | None, boot: str, forgotten: frozenset[Stream]) -> Tail:
    """What the log has and the database of this round has not; None: of the round that the file begins with.

    `forgotten`: streams of which no history is kept.
    """
    whole, unreadable = content(path)
    first = _record(whole, 0)
    if round_ is None and first is not None:
        round_ = first.round
    behind = Batch()
    at = 0
    for record in _records(whole, round_):
        try:
            if record.format != _FORMAT:
                break
            behind.follow(decoded(record.body, boot), forgotten)
        except ValueError:
            break
        at += _HEAD.size + len(record.body)
    skipped = bool(round_) and _follows(whole, at, round_ or 0)
    return Tail(behind, unreadable, whole, skipped, first is not None and first.round != round_)

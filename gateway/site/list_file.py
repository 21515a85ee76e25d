"""The stored form of a plate list: a line of JSON, the columns as in memory, a checksum. Pure.

known, found = decode(data)       # raises ValueError: damaged
"""

import hashlib
import json
import re
import sys
from array import array
from operator import mul
from typing import Any, Final, NamedTuple

from gateway.site.lists import KINDS, Columns, ListEntry, PlateList, Version

MAGIC: Final = b"site-gateway list 1\n"
_SUM = 16
_CODES = ("Q", "I", "I", "H", "I")
"""Types of the columns: keys, since, until, shape, offsets."""
_PLAIN = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")
MAX_HEAD_BYTES = 8 << 20
"""The most bytes of the first two lines."""
_HIGHEST = 1 << 53
"""The upper limit of `number` and of numeric versions."""
_LONGEST_NAME = 255


class ListHead(NamedTuple):
    """The head of the file, before the list itself."""

    name: str
    version: Version
    number: int
    """Counts how often a list of this name was saved: the highest is the newest."""
    csv: str | None
    """Fingerprint of the CSV file that this list comes from, possibly changed by commands since."""
    by: str | None = None
    """Who imported it while no gateway ran; the next start reports it to the audit."""


def file_name(name: str, version: Version) -> str:
    """`NAME.VERSION`; a name or version that is not a plain word is replaced by its digest."""
    return file_prefix(name) + _plain(str(version))


def file_prefix(name: str) -> str:
    """The prefix of the names of a list's files."""
    return f"{_plain(name)}."


def encode(stored: PlateList, number: int, csv: str | None, by: str | None = None) -> bytes:
    """The bytes of the file."""
    columns = stored.columns
    said = {
        "name": stored.name,
        "version": stored.version,
        "number": number,
        "csv": csv,
        "by": by,
        "order": sys.byteorder,
        "rows": len(columns.keys),
        "notes": len(columns.notes),
        "shapes": [[kind, sorted(gates)] for kind, gates in stored.shapes],
        "extra": [[*entry[:4], sorted(entry.gates), entry.note] for one in stored.extra.values() for entry in one],
    }
    parts = [MAGIC, json.dumps(said, ensure_ascii=False).encode("utf-8", "surrogatepass"), b"\n"]
    parts += [column.tobytes() for column in columns[:5]]
    parts.append(columns.notes)
    digest = hashlib.blake2b(digest_size=_SUM)
    for part in parts:
        digest.update(part)
    return b"".join((*parts, digest.digest()))


def decode(data: bytes) -> tuple[ListHead, PlateList]:
    """Read the bytes of the file. Raises ValueError, saying what is wrong."""
    view = memoryview(data)
    if not data.startswith(MAGIC):
        raise ValueError("is no list of this version")
    if hashlib.blake2b(view[:-_SUM], digest_size=_SUM).digest() != view[-_SUM:]:
        raise ValueError("is damaged: its checksum is wrong")
    said, at = _head(data)
    try:
        return _known(said), _list(said, view[at:-_SUM])
    except (KeyError, TypeError, IndexError, OverflowError) as error:
        raise ValueError("is no list: its head says what cannot be") from error


def _list(said: dict[str, Any], body: memoryview) -> PlateList:
    """Build the list from head and body. Raises ValueError, KeyError, TypeError, IndexError, OverflowError."""
    if said["order"] != sys.byteorder:
        raise ValueError("was written by a machine of another kind")
    rows, size = said["rows"], said["notes"]
    counts = [rows, rows, rows, rows, rows + 1]
    widths = [array(code).itemsize for code in _CODES]
    if min(rows, size) < 0 or sum(map(mul, counts, widths)) + size != len(body):
        raise ValueError("is no list: its head does not fit what follows")
    columns: list[array[int]] = []
    at = 0
    for code, count, width in zip(_CODES, counts, widths, strict=True):
        column = array(code)
        column.frombytes(body[at : at + count * width])
        at += count * width
        columns.append(column)
    keys, since, until, shape, offsets = columns
    shapes = [(str(kind), frozenset(map(str, gates))) for kind, gates in said["shapes"]]
    if max(shape, default=-1) >= len(shapes) or max(offsets) > size or any(kind not in KINDS for kind, _ in shapes):
        raise ValueError("is no list")
    extra: dict[str, tuple[ListEntry, ...]] = {}
    for plate, kind, begins, ends, gates, note in said["extra"]:
        if kind not in KINDS:
            raise ValueError("is no list")
        one = ListEntry(str(plate), kind, int(begins), int(ends), frozenset(map(str, gates)), str(note))
        extra[one.plate] = (*extra.get(one.plate, ()), one)
    stored = Columns(keys, since, until, shape, offsets, bytes(body[at:]))
    return PlateList(said["name"], said["version"], stored, shapes, extra)


def peek(data: bytes) -> ListHead:
    """Read only the head, from the first line of a file, unchecked. Raises ValueError."""
    return _known(_head(data)[0])


def _known(said: dict[str, Any]) -> ListHead:
    name, version, number, csv, by = (said.get(key) for key in ("name", "version", "number", "csv", "by"))
    maybe = all(one is None or _is_text(one) for one in (csv, by))
    if not (maybe and _is_text(name) and _is_count(number) and (_is_text(version) or _is_count(version))):
        raise ValueError("is no list: its head says what cannot be")
    return ListHead(said["name"], said["version"], said["number"], csv, by)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and len(value) <= _LONGEST_NAME


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _HIGHEST


def _head(data: bytes) -> tuple[dict[str, Any], int]:
    end = data.find(b"\n", len(MAGIC))
    if not data.startswith(MAGIC) or end < 0:
        raise ValueError("is no list of this version")
    try:
        said = json.loads(data[len(MAGIC) : end].decode("utf-8", "surrogatepass"))
    except RecursionError as error:
        raise ValueError("is no list of this version") from error
    if not isinstance(said, dict) or not {"name", "version", "number", "csv"} <= said.keys():
        raise ValueError("is no list of this version")
    return said, end + 1


def _plain(text: str) -> str:
    if _PLAIN.fullmatch(text):
        return text
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=12).hexdigest()

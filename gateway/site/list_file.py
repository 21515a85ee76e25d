"""A list of plates as it is stored: a line of JSON, the columns as they lie in memory, a checksum. Pure.

known, found = decode(data)       # raises ValueError: damaged
"""

import hashlib
import json
import re
import sys
from array import array
from typing import Any, Final, NamedTuple

from gateway.site.lists import KINDS, Columns, Entry, PlateList, Version

MAGIC: Final = b"site-gateway list 1\n"
_SUM = 16
_CODES = ("Q", "I", "I", "H", "I")
"""Types of the columns: keys, since, until, shape, offsets."""
_PLAIN = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")
LONGEST_HEAD = 8 << 20
"""Bytes of the first two lines."""


class Head(NamedTuple):
    """What stands before the list itself."""

    name: str
    version: Version
    number: int
    """Counts the savings of a list of this name: the highest is the newest."""
    csv: str | None
    """Fingerprint of the file of the site file that this list comes from, or was changed from by commands."""
    by: str | None = None
    """Who imported it while no gateway ran; the next start tells it to the audit."""


def file_name(name: str, version: Version) -> str:
    """`NAME.VERSION`; what is no plain word goes by its digest."""
    return file_prefix(name) + _plain(str(version))


def file_prefix(name: str) -> str:
    """What the names of all files of a list begin with."""
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


def decode(data: bytes) -> tuple[Head, PlateList]:
    """What is stored. Raises ValueError, with what is wrong."""
    view = memoryview(data)
    if not data.startswith(MAGIC):
        raise ValueError("is no list of this version")
    if hashlib.blake2b(view[:-_SUM], digest_size=_SUM).digest() != view[-_SUM:]:
        raise ValueError("is damaged: its checksum is wrong")
    said, at = _head(data)
    if said["order"] != sys.byteorder:
        raise ValueError("was written by a machine of another kind")
    rows = int(said["rows"])
    columns: list[array[int]] = []
    for code in _CODES:
        column = array(code)
        size = (rows + (len(columns) == len(_CODES) - 1)) * column.itemsize
        column.frombytes(view[at : at + size])
        at += size
        columns.append(column)
    keys, since, until, shape, offsets = columns
    notes = bytes(view[at : len(data) - _SUM])
    shapes = [(str(kind), frozenset(map(str, gates))) for kind, gates in said["shapes"]]
    if len(notes) != said["notes"] or any(kind not in KINDS for kind, _ in shapes):
        raise ValueError("is no list")
    extra: dict[str, tuple[Entry, ...]] = {}
    for plate, kind, begins, ends, gates, note in said["extra"]:
        extra[plate] = (*extra.get(plate, ()), Entry(plate, kind, begins, ends, frozenset(gates), note))
    found = PlateList(said["name"], said["version"], Columns(keys, since, until, shape, offsets, notes), shapes, extra)
    return _known(said), found


def peek(data: bytes) -> Head:
    """The head alone, of the first line of a file, unchecked. Raises ValueError."""
    return _known(_head(data)[0])


def _known(said: dict[str, Any]) -> Head:
    return Head(str(said["name"]), said["version"], int(said["number"]), said["csv"], said.get("by"))


def _head(data: bytes) -> tuple[dict[str, Any], int]:
    end = data.find(b"\n", len(MAGIC))
    if not data.startswith(MAGIC) or end < 0:
        raise ValueError("is no list of this version")
    said = json.loads(data[len(MAGIC) : end].decode("utf-8", "surrogatepass"))
    if not isinstance(said, dict) or not {"name", "version", "number", "csv"} <= said.keys():
        raise ValueError("is no list of this version")
    return said, end + 1


def _plain(text: str) -> str:
    if _PLAIN.fullmatch(text):
        return text
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=12).hexdigest()

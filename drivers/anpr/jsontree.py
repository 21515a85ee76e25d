"""JSON of cameras: bounded in depth and in members before anything is built. Pure.

The parser of the standard library: it takes what cameras send (control characters, NaN, halves of surrogates), and
at its peak a fifth of the memory that orjson takes for a body of pictures.
"""

import codecs
import json
import re
from collections.abc import Iterator
from typing import Any

from drivers.anpr.capture import Unreadable

MEMBERS = 20_000
"""Commas and brackets in one payload; a capture has a few hundred."""
DEPTH = 32
_QUOTES = 4 * MEMBERS
_TEXT = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)', re.DOTALL)
"""A text, also one that does not end: else each quote of such a payload is looked for its end anew."""
_WIDE = {
    re.compile(rb"\xff\xfe|\xfe\xff"): "utf-16",
    re.compile(rb"[ -~]\x00"): "utf-16-le",
    re.compile(rb"\x00[ -~]"): "utf-16-be",
}
"""How a text in UTF-16 begins; no other encoding has a zero there."""
for _name in ("gb18030", "iso-8859-1", "windows-1252", "big5", *_WIDE.values()):
    codecs.lookup(_name)  # Python loads an encoding at its first use, and an upgrade takes its files away
_SAYS = re.compile(r"""^(\s*<\?xml[^>]{0,200}?)encoding\s*=\s*["'][^"'>]{0,40}["']""")
"""What XML says of its encoding."""
_BRACKETS = re.compile(rb"[\[\]{}]")


def parse(data: bytes) -> Any:
    """The value. Of equal keys the last counts; NaN and Infinity become None. Raises Unreadable."""
    data = data.strip(b"\x00\r\n\t \xef\xbb\xbf")
    opened = data.count(b"[") + data.count(b"{")
    if opened + data.count(b",") > MEMBERS or data.count(b'"') > _QUOTES:
        raise Unreadable("JSON with too many members")
    if opened > DEPTH and _depth(data) > DEPTH:
        raise Unreadable("JSON nested too deep")
    try:
        return json.loads(decode(data), strict=False, parse_constant=_nothing, parse_int=_integer)
    except (ValueError, RecursionError) as error:
        raise Unreadable("no JSON") from error


def parse_object(data: bytes) -> dict[str, Any]:
    """As `parse`, for makers who vary the case of their keys: they are in small letters. Raises Unreadable."""
    found = parse(data)
    if not isinstance(found, dict):
        raise Unreadable("JSON, but no object")
    return {key.lower(): small(value) for key, value in found.items()}


def parse_objects(data: bytes) -> list[dict[str, Any]]:
    """As `parse_object`, for one event or an array of them. Raises Unreadable: no object in it."""
    found = parse(data)
    objects_ = [small(one) for one in (found if isinstance(found, list) else [found]) if isinstance(one, dict)]
    if not objects_:
        raise Unreadable("JSON, but no object")
    return objects_


def small(value: Any) -> Any:
    """The same with all keys in small letters; as deep as `parse` allows."""
    if isinstance(value, dict):
        return {key.lower(): small(one) for key, one in value.items()}
    if isinstance(value, list):
        return [small(one) for one in value]
    return value


def objects(value: Any, *keys: str) -> Iterator[dict[str, Any]]:
    """Every object within that has one of the keys, in document order."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            if any(key in one for key in keys):
                yield one
            waiting += reversed(one.values())
        elif isinstance(one, list):
            waiting += reversed(one)


def _depth(data: bytes) -> int:
    """How deep brackets are nested outside of texts."""
    depth = deepest = 0
    for bracket in _BRACKETS.findall(_TEXT.sub(b"", data)):
        depth += 1 if bracket in (b"[", b"{") else -1
        deepest = max(deepest, depth)
    return deepest


def _nothing(_: str) -> None:
    return None


def _integer(digits: str) -> int | None:
    """A number of thousands of digits costs the square of them."""
    return int(digits) if len(digits) <= 20 else None


def in_utf8(data: bytes) -> bytes:
    """A text that is UTF-16 by its mark, or by the zero beside its first sign, as UTF-8; else as it came."""
    name = next((name for start, name in _WIDE.items() if start.match(data)), None)
    if name is None:
        return data
    try:
        return _SAYS.sub(r"\1", data.decode(name), count=1).encode()
    except UnicodeError:
        return data


def decode(data: bytes) -> str:
    """UTF-8; if it is not, GB 18030; if it is neither, UTF-8 with replacement characters."""
    for encoding in ("utf-8", "gb18030"):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    return data.decode("utf-8", "replace")

"""JSON of cameras: depth and members are limited before anything is built. Pure.

It uses the standard library's parser, which accepts what cameras send (control characters, NaN, lone surrogates) and
for a body of pictures needs a fifth of orjson's peak memory.
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
"""A string, also an unterminated one; otherwise the end would be searched anew from each quote."""
_WIDE = {
    re.compile(rb"\xff\xfe|\xfe\xff"): "utf-16",
    re.compile(rb"[ -~]\x00"): "utf-16-le",
    re.compile(rb"\x00[ -~]"): "utf-16-be",
}
"""The beginning of a text in UTF-16; no other encoding has a zero there."""
for _name in ("gb18030", "iso-8859-1", "windows-1252", "big5", *_WIDE.values()):
    codecs.lookup(_name)  # Python loads an encoding at its first use, when an upgrade may have removed its files
_SAYS = re.compile(r"""^(\s*<\?xml[^>]{0,200}?)encoding\s*=\s*["'][^"'>]{0,40}["']""")
"""The encoding in an XML declaration."""
_BRACKETS = re.compile(rb"[\[\]{}]")


def parse(data: bytes) -> Any:
    """Parse a value. The last of equal keys counts; NaN and Infinity become None. Raises Unreadable."""
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
    """As `parse`, with keys in lower case, for makers that vary the case. Raises Unreadable."""
    found = parse(data)
    if not isinstance(found, dict):
        raise Unreadable("JSON, but no object")
    return {key.lower(): small(value) for key, value in found.items()}


def parse_objects(data: bytes) -> list[dict[str, Any]]:
    """As `parse_object`, for one event or an array. Raises Unreadable if it has no object."""
    found = parse(data)
    objects_ = [small(one) for one in (found if isinstance(found, list) else [found]) if isinstance(one, dict)]
    if not objects_:
        raise Unreadable("JSON, but no object")
    return objects_


def small(value: Any) -> Any:
    """The same with all keys in lower case; as deep as `parse` allows."""
    if isinstance(value, dict):
        return {key.lower(): small(one) for key, one in value.items()}
    if isinstance(value, list):
        return [small(one) for one in value]
    return value


def objects(value: Any, *keys: str) -> Iterator[dict[str, Any]]:
    """Every nested object with one of the keys, in document order."""
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
    """The nesting depth of brackets outside of strings."""
    depth = deepest = 0
    for bracket in _BRACKETS.findall(_TEXT.sub(b"", data)):
        depth += 1 if bracket in (b"[", b"{") else -1
        deepest = max(deepest, depth)
    return deepest


def _nothing(_: str) -> None:
    return None


def _integer(digits: str) -> int | None:
    """Limits digits, because converting thousands of digits takes quadratic time."""
    return int(digits) if len(digits) <= 20 else None


def in_utf8(data: bytes) -> bytes:
    """Convert UTF-16 (by its byte order mark, or a zero in its first character) to UTF-8; else unchanged."""
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

"""Reads values from makers' payloads; never raises, whatever they contain. Pure."""

import binascii
import hashlib
from collections.abc import Iterable, Mapping
from math import isfinite
from typing import Any

from drivers.anpr.capture import Picture, Role

LONGEST = 64
"""The longest kept text, in characters."""
_DEEPEST = 12
_NOTHING: Mapping[str, Any] = {}
_DIGITS = 40
_YES = frozenset({"true", "yes", "y", "on", "是", "history", "offline"})
_NO = frozenset({"false", "no", "n", "off", "否", "无", "none"})

COLOURS: Mapping[str, str] = {
    "blue": "blue", "蓝": "blue", "蓝色": "blue", "bluecolor": "blue",
    "yellow": "yellow", "黄": "yellow", "黄色": "yellow",
    "white": "white", "白": "white", "白色": "white",
    "black": "black", "黑": "black", "黑色": "black",
    "green": "green", "绿": "green", "绿色": "green", "渐变绿": "green", "newenergygreen": "green",
    "gradientgreen": "green", "shadowgreen": "green",
    "yellowgreen": "yellow-green", "yellow-green": "yellow-green", "黄绿": "yellow-green", "黄绿色": "yellow-green",
    "黄绿双拼": "yellow-green", "greenyellow": "yellow-green", "newenergyyellowgreen": "yellow-green",
}  # fmt: skip
"""The makers' words for a plate's colour; any other word is an unknown colour."""


def text(value: object, longest: int = LONGEST) -> str:
    """Text from any value: without control characters and lone surrogates, cut, empty if there is none."""
    if isinstance(value, str):
        found = value
    elif isinstance(value, bool) or value is None:
        return ""
    elif isinstance(value, int):
        found = str(value) if value.bit_length() < 128 else ""
    elif isinstance(value, float):
        found = repr(value)
    else:
        return ""
    found = found.strip()[: longest * 4]
    if not found.isprintable():
        found = "".join(one if one.isprintable() else " " for one in found)
    return found.strip()[:longest].rstrip()


def number(value: object) -> float | None:
    """A finite number from a number or its text."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, str):
        value = value.strip().removesuffix("%").rstrip()
        if not value or len(value) > _DIGITS or not value.isascii() or "_" in value:
            return None
    elif not isinstance(value, int | float):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if isfinite(found) else None


def whole(value: object) -> int | None:
    """An integer from a number or its text."""
    found = number(value)
    return None if found is None or abs(found) > 2**53 else int(found)


def is_yes(value: object) -> bool:
    """True if a flag is set: true, 1 or a word for it, as number or text."""
    return value is True or text(value).casefold() in _YES or number(value) == 1


def is_no(value: object) -> bool:
    """True if a flag is present and not set: false, 0 or a word for it, as number or text."""
    return value is False or text(value).casefold() in _NO or number(value) == 0


def mapping(value: object) -> Mapping[str, Any]:
    """The value if it is an object, else an empty object."""
    return value if isinstance(value, dict) else _NOTHING


def items(value: object, most: int = 64) -> Iterable[Any]:
    """The members of a list, or a single value in the place of a list."""
    if isinstance(value, list):
        return value[:most]
    return () if value is None else (value,)


def at(value: object, *path: str) -> Any:
    """The value at the end of the path, or None."""
    for key in path[:_DEEPEST]:
        if not isinstance(value, dict):
            return None
        value = value.get(key)
    return value


def first(value: Mapping[str, Any], *names: str) -> Any:
    """The value of the first name that is not empty."""
    for name in names:
        found = value.get(name)
        if found is not None and found != "":
            return found
    return None


def certainty(value: object) -> float | None:
    """A confidence on the camera's own scale, at most 0-255; None: there is none."""
    found = number(value)
    return None if found is None or not 0 <= found <= 255 else found


def weakest(values: Iterable[object]) -> float | None:
    """The lowest confidence of the single characters."""
    found = [one for one in map(certainty, values) if one is not None]
    return min(found, default=None)


def colour(value: object) -> str | None:
    """A plate's colour in the site's terms."""
    return COLOURS.get(text(value).casefold().replace(" ", "").replace("_", ""))


def image(value: object) -> bytes:
    """Bytes from base64 (with or without `data:…;base64,`); empty if invalid."""
    if not isinstance(value, str) or not value:
        return b""
    if value.startswith("data:"):
        value = value.partition(",")[2]
    try:
        return binascii.a2b_base64(value)
    except (binascii.Error, ValueError):
        return b""


def is_image(data: bytes) -> bool:
    """True if the bytes begin like a JPEG, PNG or BMP."""
    return data.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM"))


def image_type(data: bytes) -> str:
    """The content type according to the bytes, whatever the camera says."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    return "image/bmp" if data.startswith(b"BM") else "image/jpeg"


def picture(role: Role, data: bytes, name: str = "") -> tuple[Picture, ...]:
    """A tuple with one picture, or empty if there are no bytes."""
    return (Picture(role, data, image_type(data), name),) if data else ()


def key(*parts: object) -> str:
    """A short key that is the same for the same parts."""
    joined = "\x1f".join(part if isinstance(part, str) else text(part) for part in parts)
    return hashlib.blake2b(joined.encode("utf-8", "replace"), digest_size=12).hexdigest()

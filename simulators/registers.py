"""Between an engineering value and the registers of a device. Pure; the stand-in's own, independent of the driver.

A point's `order` tells how a value of several bytes ABCD lies in the registers: `big` ABCD, `little-word` CDAB,
`little-byte` BADC, `little` DCBA.
"""

import math
import struct
from collections.abc import Sequence
from typing import Final

from gateway.config.points import Order, Point, Supervised
from gateway.model import Value

_FORMATS: Final = {
    "int16": ">h",
    "uint16": ">H",
    "int32": ">i",
    "uint32": ">I",
    "int64": ">q",
    "uint64": ">Q",
    "float32": ">f",
    "float64": ">d",
}
_BCD_DIGITS: Final = 4


def encode(point: Point, value: Value) -> tuple[int, ...]:
    """The registers that mean `value`; for a bool (also one bit of a register) just 0 or 1.

    `value` may also be a word of `values` or the name of a `supervised` window (its middle).
    Raises ValueError if the type cannot carry it.
    """
    kind = point.type
    if kind.startswith("text:"):
        return _text(str(value), int(kind[5:]), _bytes_only(point.order))
    if isinstance(value, str):
        value, point = _named(point, value)
    if kind == "bool":
        return (int(bool(value) != point.invert),)
    if not isinstance(value, int) and not math.isfinite(value) and kind not in ("float32", "float64"):
        raise ValueError(f"{value} does not fit {kind}")
    raw = value if point.scale == 1 and point.offset == 0 else (value - point.offset) / point.scale
    if kind == "bcd16":
        return (_to_bcd(round(raw)),)
    try:
        packed = struct.pack(_FORMATS[kind], raw if kind.startswith("float") else round(raw))
    except (struct.error, OverflowError) as error:
        raise ValueError(f"{value} does not fit {kind}") from error
    return _words(_ordered(packed, point.order))


def decode(point: Point, words: Sequence[int]) -> Value | None:
    """What a right-minded reader makes of these registers; None: no value (`invalid`, not a number, no BCD)."""
    kind = point.type
    if kind == "bool":
        return bool(words[0]) != point.invert
    order = _bytes_only(point.order) if kind.startswith("text:") else point.order
    packed = _ordered(struct.pack(f">{len(words)}H", *words), order)
    if point.invalid and (int.from_bytes(packed, "big") in point.invalid):
        return None
    if kind.startswith("text:"):
        return packed[: int(kind[5:])].rstrip(b"\0 ").decode("utf-8", "replace")
    raw: int | float | None
    if kind == "bcd16":
        raw = _from_bcd(words[0] if point.order in ("big", "little-word") else int.from_bytes(packed, "big"))
    else:
        raw = struct.unpack(_FORMATS[kind], packed)[0]
    if raw is None or not math.isfinite(raw):
        return None
    return raw if point.scale == 1 and point.offset == 0 else raw * point.scale + point.offset


def _named(point: Point, word: str) -> tuple[int, Point]:
    for number, text in (point.values or {}).items():
        if text == word:
            return number, point
    if point.supervised is not None and word in Supervised.model_fields:
        low, high = getattr(point.supervised, word)
        return round((low + high) / 2), point.model_copy(update={"scale": 1.0, "offset": 0.0})
    raise ValueError(f"'{word}' is no word of this point")


def _text(value: str, size: int, order: Order) -> tuple[int, ...]:
    raw = value.encode()
    if len(raw) > size:
        raise ValueError(f"'{value}' is longer than {size} bytes")
    return _words(_ordered(raw.ljust(size + size % 2, b"\0"), order))


def _bytes_only(order: Order) -> Order:
    """Text has no words to turn round, only the two characters of each register."""
    return "little-byte" if order in ("little", "little-byte") else "big"


def _ordered(packed: bytes, order: Order) -> bytes:
    """From ABCD to the order on the wire, and back: each of the four is its own inverse."""
    if order in ("little", "little-word"):
        packed = b"".join(packed[at : at + 2] for at in range(len(packed) - 2, -1, -2))
    if order in ("little", "little-byte"):
        packed = b"".join(packed[at + 1 : at - 1 if at else None : -1] for at in range(0, len(packed), 2))
    return packed


def _words(packed: bytes) -> tuple[int, ...]:
    return struct.unpack(f">{len(packed) // 2}H", packed)


def _to_bcd(number: int) -> int:
    if not 0 <= number < 10**_BCD_DIGITS:
        raise ValueError(f"{number} does not fit bcd16")
    return int(str(number), 16)


def _from_bcd(word: int) -> int | None:
    digits = f"{word:04x}"
    return int(digits) if digits.isdecimal() else None

"""Decodes registers into values. Pure.

`compile_point` turns a point into a function of the bytes of a read. It never raises, whatever the bytes are: what
cannot be a value becomes BAD, without a value.
"""

from collections.abc import Callable, Mapping
from decimal import Decimal
from math import inf, isfinite
from struct import Struct

from drivers.modbus.settings import ModbusPoint, SupervisedWindows
from gateway.driver import Decoded
from gateway.model import Quality, Reason

Decode = Callable[[bytes], Decoded]
Raw = Callable[[bytes], int | float]

FORMATS: Mapping[str, str] = {
    "bool": "H", "uint16": "H", "bcd16": "H", "int16": "h", "uint32": "I", "int32": "i", "uint64": "Q", "int64": "q",
    "float32": "f", "float64": "d",
}  # fmt: skip
"""The struct format of each type of register value."""


LEAST, MOST = -(2**63), 2**64 - 1
"""Integers beyond these cannot be written in events (RFC 8259, 6 leaves the limit to implementations)."""
_GOOD = Quality.GOOD


def compile_point(point: ModbusPoint, start: int) -> Decode:
    """Make a decoder of `point` for reads whose first register or bit is `start`."""
    if point.is_bit:
        return _bit_of_table(point, point.address - start)
    at = 2 * (point.address - start)
    if point.kind == "text":
        return _text(point, at)
    raw = reader(point.kind, point.order, at)
    if point.supervised is not None:
        return _supervised(point, raw, at, point.supervised)
    if point.kind == "bool":
        return _bool(point, raw, at)
    if point.kind == "bcd16":
        return _number(point, lambda data: bcd(raw(data)), at)
    return _number(point, raw, at)


def registers_of(point: ModbusPoint, start: int, data: bytes) -> int | str:
    """The raw content of a point in a read from `start` on: a bit or one register as a number, more in hex."""
    at = point.address - start
    if point.is_bit:
        return data[at >> 3] >> (at & 7) & 1
    part = data[2 * at : 2 * (at + point.count)]
    return int.from_bytes(part, "big") if point.count == 1 else part.hex(" ", 2)


def reader(kind: str, order: str, at: int) -> Raw:
    """Make a function that reads a number of a type and byte order from bytes, from `at` on."""
    unpack = Struct(endian(order) + FORMATS[kind])
    if unpack.size == 2 or order in ("big", "little"):
        unpack_from = unpack.unpack_from
        return lambda data: unpack_from(data, at)[0]
    end, one = at + unpack.size, unpack.unpack
    return lambda data: one(swap_words(data[at:end]))[0]


def endian(order: str) -> str:
    """The struct byte order, with the words in order (see `swaps_words`)."""
    return ">" if order in ("big", "little-word") else "<"


def swaps_words(order: str) -> bool:
    """True if the words of a wide value are in the opposite order to the bytes."""
    return order in ("little-word", "little-byte")


def swap_words(data: bytes) -> bytes:
    """The registers in reverse order."""
    return b"".join(data[at : at + 2] for at in range(len(data) - 2, -2, -2))


def bcd(word: float) -> int | float:
    """The number of four decimal digits; infinite if one of them is not a digit."""
    digits = f"{int(word):04x}"
    return int(digits) if digits.isdigit() else inf


def ratio(scale: float, offset: float) -> tuple[int, int, int]:
    """(factor, addend, divisor) with value = (raw * factor + addend) / divisor, all integers.

    Only the division is rounded, so 231 at scale 0.1 is 23.1 and not 23.100000000000001.
    """
    factor, addend = Decimal(repr(scale)), Decimal(repr(offset))
    digits = max(0, *(-int(number.normalize().as_tuple().exponent) for number in (factor, addend)))
    divisor = 10**digits
    return int(factor * divisor), int(addend * divisor), divisor


def _number(point: ModbusPoint, raw: Raw, at: int) -> Decode:
    unit, values = point.unit, point.values
    uncertain = point.kind in ("float32", "float64", "bcd16")
    plain = (point.scale, point.offset) == (1.0, 0.0)
    factor, addend, divisor = ratio(point.scale, point.offset)
    low, high = point.valid or (-inf, inf)
    if point.kind not in ("float32", "float64") and divisor == 1 and not plain:
        low, high = max(low, LEAST), min(high, MOST)
    none = _none(point, at)
    invalid, outside = _bad(unit, Reason.INVALID), _bad(unit, Reason.OUT_OF_RANGE)

    def decode(data: bytes) -> Decoded:
        value = raw(data)
        if (uncertain and not isfinite(value)) or (none and none(data)):
            return invalid
        if not plain:
            try:
                value = (value * factor + addend) / divisor if divisor > 1 else value * factor + addend
                if uncertain and not isfinite(value):
                    return outside
            except OverflowError:
                return outside
        if not low <= value <= high:
            return outside
        if values is None:
            return Decoded(value, None, unit, _GOOD, None)
        text = values.get(value)  # type: ignore[arg-type]  # 1.0 finds 1
        return invalid if text is None else Decoded(value, text, unit, _GOOD, None)

    return decode


def _bool(point: ModbusPoint, raw: Raw, at: int) -> Decode:
    none = _none(point, at)
    invalid = _bad(point.unit, Reason.INVALID)
    mask = 0xFFFF if point.bit is None else 1 << point.bit
    on = point.write.on if point.write else None
    off = point.write.off if point.write else None
    states = _states(point)

    def decode(data: bytes) -> Decoded:
        if none and none(data):
            return invalid
        word = int(raw(data))
        return states[word == on or (word != off and word & mask != 0)]

    return decode


def _bit_of_table(point: ModbusPoint, at: int) -> Decode:
    byte, mask = at >> 3, 1 << (at & 7)
    states = _states(point)
    return lambda data: states[data[byte] & mask != 0]


def _states(point: ModbusPoint) -> tuple[Decoded, Decoded]:
    """The meaning of a wire's 0 and 1."""
    return _state(point, value=point.invert), _state(point, value=not point.invert)


def _state(point: ModbusPoint, *, value: bool) -> Decoded:
    text = None if point.values is None else point.values.get(int(value))
    if point.values is not None and text is None:
        return _bad(point.unit, Reason.INVALID)
    return Decoded(value, text, point.unit, _GOOD, None)


def _supervised(point: ModbusPoint, raw: Raw, at: int, windows: SupervisedWindows) -> Decode:
    ranges = (
        ("alarm", *windows.alarm),
        ("normal", *windows.normal),
        ("open", *windows.open),
        ("short", *windows.short),
    )
    none = _none(point, at)
    unit, invalid = point.unit, _bad(point.unit, Reason.INVALID)

    def decode(data: bytes) -> Decoded:
        number = raw(data)
        if none and none(data):
            return invalid
        for word, low, high in ranges:
            if low <= number <= high:
                return Decoded(number, word, unit, _GOOD, None)
        return invalid

    return decode


def _text(point: ModbusPoint, at: int) -> Decode:
    unit, characters = point.unit, point.characters
    end = at + 2 * point.count
    swapped = endian(point.order) == "<"

    def decode(data: bytes) -> Decoded:
        part = data[at:end]
        if swapped:
            part = b"".join(part[i : i + 2][::-1] for i in range(0, len(part), 2))
        text = part[:characters].decode("utf-8", errors="replace").strip("\0 \t\r\n")
        return Decoded(text, None, unit, _GOOD, None)

    return decode


def _none(point: ModbusPoint, at: int) -> Callable[[bytes], bool] | None:
    """A test whether the raw content means "no value"; None: no content does."""
    if not point.invalid:
        return None
    numbers = {number % (1 << 16 * point.count) for number in point.invalid}
    unsigned = reader({1: "uint16", 2: "uint32", 4: "uint64"}[point.count], point.order, at)
    return lambda data: unsigned(data) in numbers


def _bad(unit: str | None, reason: Reason) -> Decoded:
    return Decoded(None, None, unit, Quality.BAD, reason)

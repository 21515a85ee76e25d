"""Encodes values into write requests. Pure; the inverse of `decode`."""

import struct
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from math import ceil

from drivers.modbus.decode import FORMATS, endian, ratio, swap_words, swaps_words
from drivers.modbus.frames import (
    WRITE_COIL,
    WRITE_COILS,
    WRITE_REGISTER,
    WRITE_REGISTERS,
    Ask,
    Seal,
    write_coils,
    write_one,
    write_registers,
)
from drivers.modbus.settings import ModbusPoint, ModbusPulse
from gateway.errors import ConfigError
from gateway.model import Value

_COIL_ON, _COIL_OFF = 0xFF00, 0x0000
_BCD_TOP = 9999


class UnfitValueError(ConfigError, ValueError):
    """The value cannot be written to that point; nothing was sent."""


def encode(unit: int, point: ModbusPoint, value: Value, seal: Seal) -> Ask:
    """The request that writes `value` to a writable point.

    A bool accepts True, False, 1 and 0; with a `pulse` also a float: the seconds of the module's own pulse, rounded up
    to whole steps. A number is converted back through `offset` and `scale` and rounded to the nearest raw value; a
    point with `values` also accepts their words. Raises UnfitValueError.
    """
    if point.write is None:
        raise UnfitValueError(f"{point.name} is not writable")
    if point.pulse is not None and isinstance(value, float):
        return _pulse(unit, point, point.pulse, value, seal)
    if point.kind == "bool":
        return _switch(unit, point, _truth(point, value), seal)
    words = to_words(point, value)
    function = point.write.fc or (WRITE_REGISTER if point.count == 1 else WRITE_REGISTERS)
    if function == WRITE_REGISTER:
        return write_one(unit, function, point.address, int.from_bytes(words, "big"), seal)
    return write_registers(unit, point.address, words, seal)


def to_words(point: ModbusPoint, value: Value) -> bytes:
    """The registers of `value` in wire order. Raises UnfitValueError."""
    if point.kind == "text":
        return _text(point, value)
    number = _number(point, value)
    if point.kind == "bcd16":
        if not 0 <= (whole := round(number)) <= _BCD_TOP:
            raise UnfitValueError(f"{point.name}: {value} is not in 0-{_BCD_TOP}")
        number = Fraction(int(str(whole), 16))
    layout = struct.Struct(endian(point.order) + FORMATS[point.kind])
    try:
        data = layout.pack(float(number) if point.kind.startswith("float") else round(number))
    except (struct.error, OverflowError) as error:
        raise UnfitValueError(f"{point.name}: {value} does not fit {point.kind}") from error
    return swap_words(data) if swaps_words(point.order) else data


def _number(point: ModbusPoint, value: Value) -> Fraction:
    """The raw number of a value, before rounding."""
    if isinstance(value, str):
        named = [number for number, word in (point.values or {}).items() if word == value]
        if not named:
            raise UnfitValueError(f"{point.name}: {value!r} is not a number")
        value = named[0]
    elif isinstance(value, bool):
        raise UnfitValueError(f"{point.name}: {value} is not a number")
    if point.values is not None and value not in point.values:
        raise UnfitValueError(f"{point.name}: {value} is none of {', '.join(map(str, point.values))}")
    if point.valid is not None and not point.valid[0] <= value <= point.valid[1]:
        raise UnfitValueError(f"{point.name}: {value} is outside {point.valid[0]} to {point.valid[1]}")
    factor, addend, divisor = ratio(point.scale, point.offset)
    try:
        exact = Fraction(Decimal(repr(value)))
    except (InvalidOperation, ValueError, OverflowError) as error:
        raise UnfitValueError(f"{point.name}: {value} is not a finite number") from error
    return (exact * divisor - addend) / factor


def _truth(point: ModbusPoint, value: Value) -> bool:
    if not isinstance(value, str) and value in (0, 1):
        return bool(value) is not point.invert
    named = [number for number, word in (point.values or {}).items() if word == value]
    if not named:
        raise UnfitValueError(f"{point.name}: {value!r} is neither true nor false")
    return bool(named[0]) is not point.invert


def _switch(unit: int, point: ModbusPoint, on: bool, seal: Seal) -> Ask:
    write = point.write
    function = write.fc if write and write.fc else WRITE_COIL if point.is_bit else WRITE_REGISTER
    if function == WRITE_COILS:
        return write_coils(unit, point.address, [on], seal)
    usual = (_COIL_ON if on else _COIL_OFF) if point.is_bit else int(on)
    chosen = (write.on if on else write.off) if write else None
    word = usual if chosen is None else chosen
    if endian(point.order) == "<" and not point.is_bit:
        word = int.from_bytes(word.to_bytes(2, "big"), "little")
    if function == WRITE_REGISTERS:
        return write_registers(unit, point.address, word.to_bytes(2, "big"), seal)
    return write_one(unit, function, point.address, word, seal)


def _pulse(unit: int, point: ModbusPoint, pulse: ModbusPulse, seconds: float, seal: Seal) -> Ask:
    steps = ceil(Fraction(Decimal(repr(seconds))) / Fraction(Decimal(repr(pulse.step)))) if 0 < seconds < 1e6 else 0
    if not 0 < steps <= 0xFFFF:
        raise UnfitValueError(f"{point.name}: a pulse of {seconds} s is not 1-65535 steps of {pulse.step} s")
    function = WRITE_COIL if pulse.table == "coil" else WRITE_REGISTER
    if function == WRITE_REGISTER and point.write is not None and point.write.fc == WRITE_REGISTERS:
        return write_registers(unit, pulse.address, steps.to_bytes(2, "big"), seal)
    return write_one(unit, function, pulse.address, steps, seal)


def _text(point: ModbusPoint, value: Value) -> bytes:
    data = value.encode() if isinstance(value, str) else b""
    if not isinstance(value, str) or len(data) > point.characters:
        raise UnfitValueError(f"{point.name}: {value!r} is not a text of at most {point.characters} bytes")
    data = data.ljust(2 * point.count, b"\0")
    if endian(point.order) == "<":
        data = b"".join(data[at : at + 2][::-1] for at in range(0, len(data), 2))
    return data

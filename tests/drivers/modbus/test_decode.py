import math
import struct
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.modbus.decode import FORMATS, compile_point, registers_of
from drivers.modbus.encode import to_words
from drivers.modbus.settings import REGISTERS, ByteOrder, ModbusPoint, ModbusWrite, SupervisedWindows
from gateway.driver import Decoded
from gateway.model import Quality, Reason

ORDERS: tuple[ByteOrder, ...] = ("big", "little-word", "little-byte", "little")
WIDE = [kind for kind, count in REGISTERS.items() if count > 1]
# Where each byte of ABCD… stands on the wire, written out from the names alone.
WIRE = {
    (2, "big"): "AB", (2, "little-word"): "AB", (2, "little-byte"): "BA", (2, "little"): "BA",
    (4, "big"): "ABCD", (4, "little-word"): "CDAB", (4, "little-byte"): "BADC", (4, "little"): "DCBA",
    (8, "big"): "ABCDEFGH", (8, "little-word"): "GHEFCDAB", (8, "little-byte"): "BADCFEHG", (8, "little"): "HGFEDCBA",
}  # fmt: skip
types = st.sampled_from(sorted(REGISTERS))
orders = st.sampled_from(ORDERS)


def point(**keys: Any) -> ModbusPoint:
    usual: dict[str, Any] = {"name": "p", "table": "holding", "address": 5}
    return ModbusPoint(**(usual | keys))


def decode(data: bytes, **keys: Any) -> Decoded:
    return compile_point(point(**keys), 5)(data)


def good(value: object, text: str | None = None, unit: str | None = None) -> tuple[object, ...]:
    return (value, text, unit, Quality.GOOD, None)


def bad(reason: Reason, unit: str | None = None) -> tuple[object, ...]:
    return (None, None, unit, Quality.BAD, reason)


def on_wire(data: bytes, order: ByteOrder) -> bytes:
    return bytes(data["ABCDEFGH".index(letter)] for letter in WIRE[len(data), order])


@given(types.filter(lambda kind: kind not in ("bool", "bcd16")), orders, st.binary(min_size=8, max_size=8))
def test_every_type_and_order_against_struct(kind: str, order: ByteOrder, data: bytes) -> None:
    data = data[: 2 * REGISTERS[kind]]
    value = struct.unpack(">" + FORMATS[kind], data)[0]
    found = decode(on_wire(data, order), type=kind, order=order)
    if math.isfinite(value):
        assert found == good(value)
        assert type(found.value) is type(value)
    else:
        assert found == bad(Reason.INVALID)


@given(types, orders, st.binary(min_size=8, max_size=8))
def test_what_is_written_is_read_back(kind: str, order: ByteOrder, data: bytes) -> None:
    keys = {"type": kind, "order": order, "write": ModbusWrite()}
    found = decode(data[: 2 * REGISTERS[kind]], **keys)
    if kind == "bool" or found.value is None:
        return
    words = to_words(point(**keys), found.value)
    assert decode(words, **keys) == found


@given(
    types,
    orders,
    st.binary(min_size=8, max_size=8),
    st.sampled_from([1.0, 0.1, -0.01, 3.0, 1e-12, 1e12, 1 / 3]),
    st.sampled_from([0.0, -100.0, 0.05, 1e12]),
    st.sampled_from([None, (-10.0, 10.0)]),
    st.sampled_from([(), (0x8000, -1)]),
)
def test_never_raises_and_never_gives_a_value_with_bad(
    kind: str, order: ByteOrder, data: bytes, scale: float, offset: float, valid: Any, invalid: Any
) -> None:
    if kind == "bool":
        scale, offset, valid = 1.0, 0.0, None
    found = decode(data, type=kind, order=order, scale=scale, offset=offset, valid=valid, invalid=invalid, unit="u")
    assert (found.value is None) == (found.quality is Quality.BAD) == (found.reason is not None)
    assert found.unit == "u"
    if isinstance(found.value, float):
        assert math.isfinite(found.value)
        assert valid is None or valid[0] <= found.value <= valid[1]


@given(st.integers(-32768, 32767), st.integers(0, 6))
def test_scaling_leaves_no_dust(raw: int, digits: int) -> None:
    found = decode(struct.pack(">h", raw), type="int16", scale=float(f"1e-{digits}"))
    assert found.value == float(f"{raw}e-{digits}")


def test_scaled_values() -> None:
    assert decode(b"\x00\xe7", scale=0.1, unit="°C") == good(23.1, unit="°C")
    assert decode(b"\x04\xd2", scale=0.1, offset=-100.0) == good(23.4)
    assert decode(struct.pack(">f", 2301.5), type="float32", scale=0.1) == good(230.15)
    assert decode(b"\x00\x07", scale=10.0).value == 70
    assert decode(b"\x00\x07", scale=-0.5, offset=1.0).value == -2.5


@pytest.mark.parametrize(("word", "value"), [(0x1234, 1234), (0, 0), (0x9999, 9999)])
def test_bcd(word: int, value: int) -> None:
    assert decode(word.to_bytes(2, "big"), type="bcd16") == good(value)
    assert decode(word.to_bytes(2, "little"), type="bcd16", order="little-byte") == good(value)


@pytest.mark.parametrize("word", [0x000A, 0xA000, 0xFFFF, 0x1E10])
def test_a_digit_that_is_none_is_invalid(word: int) -> None:
    assert decode(word.to_bytes(2, "big"), type="bcd16") == bad(Reason.INVALID)


def test_bits_of_a_register() -> None:
    assert decode(b"\x00\x08", bit=3) == good(value=True)
    assert decode(b"\x00\x08", bit=3, invert=True) == good(value=False)
    assert decode(b"\x80\x00", bit=15) == good(value=True)
    assert decode(b"\x80\x00", bit=7, order="little-byte") == good(value=True)
    assert decode(b"\x00\x00", type="bool") == good(value=False)
    assert decode(b"\x01\x00", type="bool") == good(value=True)


def test_a_switch_with_words_of_its_own() -> None:
    keys = {"type": "bool", "write": ModbusWrite(fc=16, on=0x0100, off=0x0200)}
    assert decode(b"\x01\x00", **keys) == good(value=True)
    assert decode(b"\x02\x00", **keys) == good(value=False)
    assert decode(b"\x00\x01", **keys) == good(value=True)


@given(st.integers(0, 1999), st.integers(0, 1999), st.binary(min_size=250, max_size=250), st.booleans())
def test_coils(start: int, address: int, data: bytes, invert: bool) -> None:
    start, address = sorted((start, address))
    number = int.from_bytes(data, "little")
    found = compile_point(point(table="coil", address=address, invert=invert), start)(data)
    assert found == good(bool(number >> (address - start) & 1) is not invert)


def test_words_for_numbers() -> None:
    values = {0: "normal", 1: "alarm"}
    assert decode(b"\x00\x01", values=values) == good(1, "alarm")
    assert decode(b"\x00\x02", values=values, unit="x") == bad(Reason.INVALID, "x")
    assert compile_point(point(table="coil", values=values), 5)(b"\x01") == good(True, "alarm")
    assert compile_point(point(table="coil", values={1: "on"}), 5)(b"\x00") == bad(Reason.INVALID)
    assert decode(b"\x00\x0a", values={1: "one"}, scale=0.1) == good(1.0, "one")


def test_a_value_outside_its_range_is_none() -> None:
    keys = {"type": "int16", "scale": 0.1, "valid": (-40.0, 125.0)}
    assert decode(struct.pack(">h", 1250), **keys) == good(125.0)
    assert decode(struct.pack(">h", 1251), **keys) == bad(Reason.OUT_OF_RANGE)
    assert decode(struct.pack(">h", -401), **keys) == bad(Reason.OUT_OF_RANGE)


def test_raw_contents_that_mean_no_value() -> None:
    assert decode(b"\x80\x00", type="int16", invalid=(0x8000,)) == bad(Reason.INVALID)
    assert decode(b"\x80\x00", type="int16", invalid=(-32768,)) == bad(Reason.INVALID)
    assert decode(b"\x80\x01", type="int16", invalid=(0x8000,)).value == -32767
    assert decode(b"\xff\xff\x7f\xff", type="int32", order="little-word", invalid=(0x7FFFFFFF,)).value is None
    assert decode(struct.pack(">f", -1.0), type="float32", invalid=(0xBF800000,)).value is None
    assert decode(b"\xff\xff", bit=0, invalid=(0xFFFF,)) == bad(Reason.INVALID)


def test_supervised_contact() -> None:
    windows = SupervisedWindows(normal=(1800, 2200), alarm=(3000, 4000), open=(0, 200), short=(4001, 4095))
    for raw, text in ((1800, "normal"), (2200, "normal"), (4000, "alarm"), (4001, "short"), (0, "open")):
        assert decode(raw.to_bytes(2, "big"), supervised=windows, unit="u") == good(raw, text, "u")
    for raw in (201, 1799, 2201, 2999, 4096, 65535):
        assert decode(raw.to_bytes(2, "big"), supervised=windows) == bad(Reason.INVALID)
    assert decode(b"\x00\x00", supervised=windows, invalid=(0,)) == bad(Reason.INVALID)


def test_text() -> None:
    assert decode(b"SN-42\0\0\0", type="text:8") == good("SN-42")
    assert decode(b"NS4-\x002", type="text:5", order="little-byte") == good("SN-42")
    assert decode("3号楼".encode() + b"  ", type="text:9") == good("3号楼")
    assert decode(b"\xff\xfeab", type="text:4") == good("\ufffd\ufffdab")
    assert decode(b"\0\0", type="text:2") == good("")


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=20), orders)
def test_text_is_read_back(text: str, order: ByteOrder) -> None:
    keys = {"type": "text:20", "order": order, "write": ModbusWrite()}
    assert decode(to_words(point(**keys), text), **keys) == good(text)


# ---- whatever a register holds ----------------------------------------------------------------------

SCALES = st.one_of(
    st.sampled_from((1.0, 10.0, 0.1, -1.0, 1e12, 1e-12, 2.0, 1e300, 1e-300)),
    st.floats(allow_nan=False, allow_infinity=False).filter(bool),
)
OFFSETS = st.one_of(st.sampled_from((0.0, -40.0, 1e12)), st.floats(allow_nan=False, allow_infinity=False))
EXTREMES = st.sampled_from((b"\xff" * 8, b"\x7f" + b"\xff" * 7, b"\x80" + b"\x00" * 7, b"\x7f\xef" + b"\xff" * 6))


@given(kind=types, order=orders, scale=SCALES, offset=OFFSETS, data=st.one_of(EXTREMES, st.binary(min_size=8)))
def test_any_value_of_any_type_scale_and_offset_can_be_told_or_is_bad(
    *, kind: str, order: ByteOrder, scale: float, offset: float, data: bytes
) -> None:
    decoded = decode(data[:8], type=kind, order=order, scale=scale, offset=offset)
    if decoded.quality is Quality.GOOD:
        assert isinstance(decoded.value, bool | int | float)
        assert math.isfinite(decoded.value)
        assert orjson.loads(orjson.dumps(decoded.value)) == decoded.value
    else:
        assert decoded.value is None
        assert decoded.reason in (Reason.INVALID, Reason.OUT_OF_RANGE)


@pytest.mark.parametrize(
    ("kind", "data", "scale", "offset"),
    [
        ("uint64", b"\xff" * 8, 10.0, 0.0),
        ("uint64", b"\xff" * 8, 1.0, 1.0),
        ("int64", b"\x80" + b"\0" * 7, 2.0, 0.0),
        ("uint64", b"\xff" * 8, 1e300, 0.0),
        ("uint64", b"\xff" * 8, -1.0, 0.0),
        ("bcd16", b"\x12\x34", 1e300, 0.0),
        ("bcd16", b"\x12\x34", 1e308, 0.0),
        ("float64", struct.pack(">d", 1e308), 10.0, 0.0),
        ("float64", struct.pack(">d", 1e308), 1e308, 0.5),
    ],
)
def test_a_number_that_nobody_can_be_told_is_out_of_range(kind: str, data: bytes, scale: float, offset: float) -> None:
    assert decode(data, type=kind, scale=scale, offset=offset) == bad(Reason.OUT_OF_RANGE)


def test_the_whole_width_can_be_told() -> None:
    assert decode(b"\xff" * 8, type="uint64") == good(2**64 - 1)
    assert decode(b"\x80" + b"\0" * 7, type="int64") == good(-(2**63))
    assert decode(b"\x0f" + b"\xff" * 7, type="uint64", scale=10.0, offset=5.0) == good((2**60 - 1) * 10 + 5)


@pytest.mark.parametrize(
    ("keys", "start", "data", "registers"),
    [
        ({}, 5, b"\x01\x5e", 350),
        ({"type": "int16"}, 4, b"\x00\x00\xff\xff", 65535),
        ({"type": "float32", "order": "little-word"}, 5, b"\x00\x00\x43\x48", "0000 4348"),
        ({"type": "text:5"}, 3, bytes(4) + b"ABCDE\0", "4142 4344 4500"),
        ({"table": "coil"}, 0, b"\x20", 1),
        ({"table": "discrete", "invert": True}, 5, b"\xfe", 0),
    ],
)
def test_what_came_is_shown_before_it_is_decoded(
    keys: dict[str, Any], start: int, data: bytes, registers: object
) -> None:
    assert registers_of(point(**keys), start, data) == registers

"""Values into registers and back, checked against `struct`."""

import math
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.points import Point
from simulators.registers import decode, encode

_NUMBERS = {
    "int16": ("h", -(2**15), 2**15 - 1),
    "uint16": ("H", 0, 2**16 - 1),
    "int32": ("i", -(2**31), 2**31 - 1),
    "uint32": ("I", 0, 2**32 - 1),
    "int64": ("q", -(2**63), 2**63 - 1),
    "uint64": ("Q", 0, 2**64 - 1),
}
_ORDERS = ("big", "little-word", "little-byte", "little")


def _point(**keys: Any) -> Point:
    return Point.model_validate({"at": "holding 0", **keys})


def _laid_out(packed: bytes, order: str) -> bytes:
    """The four layouts, spelt out by index: independent of the code under test."""
    words = [packed[at : at + 2] for at in range(0, len(packed), 2)]
    if order.endswith("word") or order == "little":
        words.reverse()
    if order.endswith("byte") or order == "little":
        words = [word[::-1] for word in words]
    return b"".join(words)


@given(st.sampled_from(sorted(_NUMBERS)), st.sampled_from(_ORDERS), st.data())
def test_integers_lie_as_struct_packs_them(kind: str, order: str, data: st.DataObject) -> None:
    letter, low, high = _NUMBERS[kind]
    value = data.draw(st.integers(low, high))
    point = _point(type=kind, order=order)

    words = encode(point, value)

    assert struct.pack(f">{len(words)}H", *words) == _laid_out(struct.pack(">" + letter, value), order)
    assert decode(point, words) == value


@given(st.sampled_from((("float32", "f"), ("float64", "d"))), st.sampled_from(_ORDERS), st.floats(width=32))
def test_floats_lie_as_struct_packs_them(kind: tuple[str, str], order: str, value: float) -> None:
    point = _point(type=kind[0], order=order)

    words = encode(point, value)

    assert struct.pack(f">{len(words)}H", *words) == _laid_out(struct.pack(">" + kind[1], value), order)
    assert decode(point, words) == (value if math.isfinite(value) else None)


@given(st.integers(-32768, 32767), st.sampled_from((0.1, 0.01, 0.5, 2.0, 10.0)), st.sampled_from((0.0, -100.0, 3.5)))
def test_scale_and_offset_come_back_to_the_same_raw_word(raw: int, scale: float, offset: float) -> None:
    point = _point(type="int16", scale=scale, offset=offset)

    value = raw * scale + offset

    assert encode(point, value) == (raw & 0xFFFF,)
    assert decode(point, (raw & 0xFFFF,)) == pytest.approx(value)


@given(st.booleans(), st.booleans())
def test_bools_turn_round_with_invert(value: bool, invert: bool) -> None:
    point = Point.model_validate({"at": "coil 3", "invert": invert})

    assert encode(point, value) == (int(value != invert),)
    assert decode(point, encode(point, value)) is value


@given(st.integers(0, 9999))
def test_bcd_is_the_decimal_digits_read_as_hex(value: int) -> None:
    point = _point(type="bcd16")

    assert encode(point, value) == (int(str(value), 16),)
    assert decode(point, encode(point, value)) == value


@given(st.text("ABCxyz019-", max_size=9), st.sampled_from(_ORDERS))
def test_text_is_two_characters_a_register(value: str, order: str) -> None:
    point = _point(type="text:9", order=order)

    words = encode(point, value)

    assert len(words) == 5
    layout = "little-byte" if order.startswith("little") and order != "little-word" else "big"
    assert struct.pack(">5H", *words) == _laid_out(value.encode().ljust(10, b"\0"), layout)
    assert decode(point, words) == value


def test_known_registers() -> None:
    assert encode(_point(type="float32"), 230.15) == (0x4366, 0x2666)
    assert encode(_point(type="float32", order="little-word"), 230.15) == (0x2666, 0x4366)
    assert encode(_point(type="int16", scale=0.1), -12.3) == (0xFF85,)


def test_words_of_values_and_windows_can_be_named() -> None:
    words = _point(values={"0": "normal", "1": "alarm"})
    ends = {"normal": [1800, 2200], "alarm": [3000, 4000], "open": [0, 200], "short": [4001, 4095]}
    windows = _point(supervised=ends)

    assert encode(words, "alarm") == (1,)
    assert encode(windows, "normal") == (2000,)
    assert encode(windows, "short") == (4048,)
    with pytest.raises(ValueError, match="'smoke' is no word of this point"):
        encode(words, "smoke")


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        ({"type": "uint16"}, -1),
        ({"type": "uint16"}, 65536),
        ({"type": "int16", "scale": 0.1}, 3276.8),
        ({"type": "bcd16"}, 10_000),
        ({"type": "bcd16"}, -1),
        ({"type": "float32"}, 1e300),
        ({"type": "uint16"}, math.inf),
        ({"type": "text:2"}, "abc"),
    ],
)
def test_what_does_not_fit_is_refused(keys: dict[str, Any], value: Any) -> None:
    with pytest.raises(ValueError, match=r"fit|longer"):
        encode(_point(**keys), value)


def test_no_value_is_none() -> None:
    assert decode(_point(type="int16", invalid=[0x8000]), (0x8000,)) is None
    assert decode(_point(type="uint32", invalid=[0xFFFFFFFF]), (0xFFFF, 0xFFFF)) is None
    assert decode(_point(type="bcd16"), (0x12AB,)) is None

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.modbus.encode import UnfitValueError, encode, to_words
from drivers.modbus.frames import crc16
from drivers.modbus.settings import ModbusPoint, ModbusPulse, ModbusWrite
from gateway.errors import ConfigError
from gateway.model import Value


def seal(pdu: bytes, unit: int) -> bytes:
    return bytes((unit,)) + pdu


def pdu(value: Value, **keys: Any) -> str:
    usual: dict[str, Any] = {"name": "p", "table": "holding", "address": 5, "write": ModbusWrite()}
    return encode(1, ModbusPoint(**(usual | keys)), value, seal).pdu.hex(" ")


@pytest.mark.parametrize(
    ("value", "keys", "expected"),
    [
        (True, {"table": "coil"}, "05 00 05 ff 00"),
        (False, {"table": "coil"}, "05 00 05 00 00"),
        (0, {"table": "coil"}, "05 00 05 00 00"),
        (1, {"table": "coil", "invert": True}, "05 00 05 00 00"),
        (True, {"table": "coil", "write": ModbusWrite(on=0x0100)}, "05 00 05 01 00"),
        (True, {"table": "coil", "write": ModbusWrite(fc=15)}, "0f 00 05 00 01 01 01"),
        ("open", {"table": "coil", "values": {0: "shut", 1: "open"}}, "05 00 05 ff 00"),
        (True, {"type": "bool"}, "06 00 05 00 01"),
        (True, {"type": "bool", "write": ModbusWrite(fc=16, on=0x0100, off=0x0200)}, "10 00 05 00 01 02 01 00"),
        (False, {"type": "bool", "write": ModbusWrite(fc=16, on=0x0100, off=0x0200)}, "10 00 05 00 01 02 02 00"),
        (258, {}, "06 00 05 01 02"),
        (258, {"order": "little-byte"}, "06 00 05 02 01"),
        (258, {"write": ModbusWrite(fc=16)}, "10 00 05 00 01 02 01 02"),
        (-1, {"type": "int16"}, "06 00 05 ff ff"),
        (23.1, {"type": "int16", "scale": 0.1}, "06 00 05 00 e7"),
        (23.4, {"scale": 0.1, "offset": -100.0}, "06 00 05 04 d2"),
        (1234, {"type": "bcd16"}, "06 00 05 12 34"),
        (1, {"type": "uint32", "order": "little-word"}, "10 00 05 00 02 04 00 01 00 00"),
        (1.0, {"type": "float32"}, "10 00 05 00 02 04 3f 80 00 00"),
        ("ab", {"type": "text:3"}, "10 00 05 00 02 04 61 62 00 00"),
        ("on", {"values": {7: "on"}}, "06 00 05 00 07"),
        (0.65, {"table": "coil", "pulse": ModbusPulse(table="coil", address=0x200, step=0.1)}, "05 02 00 00 07"),
        (True, {"table": "coil", "pulse": ModbusPulse(table="coil", address=0x200, step=0.1)}, "05 00 05 ff 00"),
        (1.0, {"table": "coil", "pulse": ModbusPulse(table="holding", address=3, step=0.5)}, "06 00 03 00 02"),
    ],
)
def test_what_goes_out(value: Value, keys: dict[str, Any], expected: str) -> None:
    assert pdu(value, **keys) == expected


@pytest.mark.parametrize(
    ("value", "keys"),
    [
        (1, {"write": None}),
        (65536, {}),
        (-1, {}),
        (32768, {"type": "int16"}),
        (10000, {"type": "bcd16"}),
        (-1, {"type": "bcd16"}),
        (1 << 64, {"type": "uint64"}),
        (1e39, {"type": "float32"}),
        (float("nan"), {"type": "float32"}),
        (float("inf"), {}),
        (True, {}),
        ("x", {}),
        ("abcd", {"type": "text:3"}),
        (1, {"type": "text:3"}),
        (2, {"table": "coil"}),
        ("on", {"table": "coil"}),
        (5, {"valid": (0.0, 4.0)}),
        (2, {"values": {1: "on"}}),
        (0.0, {"table": "coil", "pulse": ModbusPulse(table="coil", address=0, step=0.1)}),
        (float("nan"), {"table": "coil", "pulse": ModbusPulse(table="coil", address=0, step=0.1)}),
        (6554.0, {"table": "coil", "pulse": ModbusPulse(table="coil", address=0, step=0.1)}),
        (0.5, {"table": "coil"}),
    ],
)
def test_what_does_not_fit_is_refused(value: Value, keys: dict[str, Any]) -> None:
    with pytest.raises(UnfitValueError) as refused:
        pdu(value, **keys)
    assert isinstance(refused.value, ConfigError)
    assert isinstance(refused.value, ValueError)


@given(st.one_of(st.booleans(), st.integers(), st.floats(), st.text()), st.sampled_from(["uint16", "float64", "bcd16"]))
def test_any_value_either_fits_or_is_refused(value: Value, kind: str) -> None:
    point = ModbusPoint(name="p", table="holding", address=0, type=kind, scale=0.1, write=ModbusWrite())
    try:
        words = to_words(point, value)
    except UnfitValueError:
        return
    assert len(words) == 2 * point.count


def test_vendor_frames_come_out_byte_for_byte() -> None:
    def rtu(pdu: bytes, unit: int) -> bytes:
        frame = bytes((unit,)) + pdu
        return frame + crc16(frame)

    odd = ModbusPoint(name="p", table="coil", address=1, write=ModbusWrite(on=0x0100))
    assert encode(1, odd, value=True, seal=rtu).frame == bytes.fromhex("01 05 00 01 01 00 9D 9A")
    flash = ModbusPulse(table="coil", address=0x200, step=0.1)
    relay = ModbusPoint(name="p", table="coil", address=0, write=ModbusWrite(), pulse=flash)
    assert encode(1, relay, 0.7, rtu).frame == bytes.fromhex("01 05 02 00 00 07 8D B0")
    level = ModbusPoint(name="p", table="holding", address=0x1000, write=ModbusWrite(fc=16))
    assert encode(2, level, 3, rtu).frame == bytes.fromhex("02 10 10 00 00 01 02 00 03 E3 60")

from typing import Any

import pytest

from drivers.modbus.line import ModbusPoller
from drivers.modbus.settings import (
    LineSettings,
    ModbusDevice,
    ModbusPoint,
    ModbusPulse,
    ModbusWrite,
    SupervisedWindows,
    problems,
)
from gateway.errors import ConfigError

GOOD: dict[str, Any] = {"name": "p", "table": "holding", "address": 0}
WINDOWS = SupervisedWindows(normal=(1, 2), alarm=(3, 4), open=(5, 6), short=(7, 8))


def line(**keys: Any) -> LineSettings:
    return LineSettings(**({"name": "l", "serial": "/dev/ttyS0"} | keys))


def with_point(**keys: Any) -> LineSettings:
    return line(devices=(ModbusDevice(id="d", points=(ModbusPoint(**(GOOD | keys)),)),))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (line(serial=None), "exactly one"),
        (line(host="h"), "exactly one"),
        (line(serial="socket://h:1"), "not the path"),
        (line(framing="tcp"), "not possible"),
        (line(serial=None, host="h", port=0), "port 0"),
        (line(baudrate=0), "baudrate"),
        (line(parity="mark"), "parity"),
        (line(stopbits=3), "stopbits"),
        (line(in_flight=2), "one request at a time"),
        (line(serial=None, host="h", framing="rtu", in_flight=2), "one request at a time"),
        (line(serial=None, host="h", in_flight=17), "1-16"),
        (line(devices=(ModbusDevice(id="d"), ModbusDevice(id="d"))), "given twice"),
        (line(devices=(ModbusDevice(id="d", unit=0),)), "broadcast"),
        (line(devices=(ModbusDevice(id="d", unit=256),)), "unit 256"),
        (line(devices=(ModbusDevice(id="d", max_registers=126),)), "max_registers"),
        (line(devices=(ModbusDevice(id="d", max_bits=0),)), "max_bits"),
        (line(devices=(ModbusDevice(id="d", fixed_bits=0),)), "fixed_bits"),
        (line(devices=(ModbusDevice(id="d", fixed_bits=9, max_bits=8),)), "fixed_bits"),
        (line(devices=(ModbusDevice(id="d", max_gap=-1),)), "max_gap"),
        (line(devices=(ModbusDevice(id="d", silence=-1.0),)), "silence"),
        (line(devices=(ModbusDevice(id="d", timeout=0.0),)), "timeout"),
        (line(devices=(ModbusDevice(id="d", points=(ModbusPoint(**GOOD), ModbusPoint(**GOOD))),)), "given twice"),
        (
            line(devices=(ModbusDevice(id="d", max_registers=1, points=(ModbusPoint(**GOOD, type="int32"),)),)),
            "takes 2",
        ),
        (with_point(type="int24"), "does not exist"),
        (with_point(type="text:x"), "does not exist"),
        (with_point(type="text:251"), "takes 126"),
        (with_point(type="int16", table="coil"), "is a bool"),
        (with_point(type="int32", address=65535), "beyond 65535"),
        (with_point(bit=16), "0-15"),
        (with_point(bit=1, type="int32"), "0-15"),
        (with_point(every=0.0), "every"),
        (with_point(type="bool", scale=2.0), "no meaning"),
        (with_point(scale=0.0), "scale 0.0"),
        (with_point(scale=float("nan")), "scale nan"),
        (with_point(offset=float("inf")), "offset inf"),
        (with_point(valid=(2, 1)), "lower end first"),
        (with_point(type="text:4", valid=(1, 2)), "valid has no meaning"),
        (with_point(invert=True), "invert has no meaning"),
        (with_point(type="int32", supervised=WINDOWS), "supervised needs"),
        (with_point(table="coil", invalid=(1,)), "invalid has no meaning"),
        (with_point(table="input", write=ModbusWrite()), "cannot be written"),
        (with_point(bit=1, write=ModbusWrite()), "one bit"),
        (with_point(supervised=WINDOWS, write=ModbusWrite()), "supervised contact"),
        (with_point(type="int32", write=ModbusWrite(fc=6)), "function 6 does not fit"),
        (with_point(table="coil", write=ModbusWrite(fc=16)), "function 16 does not fit"),
        (with_point(write=ModbusWrite(on=1)), "on and off"),
        (with_point(table="coil", write=ModbusWrite(on=0x10000)), "on and off"),
        (with_point(table="coil", pulse=ModbusPulse(table="coil", address=1, step=0.1)), "only for a writable"),
        (with_point(table="coil", write=ModbusWrite(), pulse=ModbusPulse(table="coil", address=1, step=0.0)), "step"),
    ],
)
def test_wrong_settings_are_named(settings: LineSettings, said: str) -> None:
    assert any(said in text for text in problems(settings)), problems(settings)
    with pytest.raises(ConfigError, match=said.replace("(", ".")):
        ModbusPoller(settings)


def test_good_settings_have_no_problems() -> None:
    points = (
        ModbusPoint(**GOOD),
        ModbusPoint(name="b", table="holding", address=3, bit=15, invert=True),
        ModbusPoint(name="t", table="holding", address=10, type="text:9"),
        ModbusPoint(name="s", table="input", address=0, supervised=WINDOWS, invalid=(0xFFFF,)),
        ModbusPoint(
            name="c",
            table="coil",
            address=0,
            write=ModbusWrite(on=0x0100),
            pulse=ModbusPulse(table="coil", address=9, step=0.1),
        ),
        ModbusPoint(name="f", table="holding", address=65534, type="float32", scale=0.1, offset=-100.0, valid=(0, 1)),
    )
    assert problems(line(devices=(ModbusDevice(id="d", unit=255, points=points),))) == []


def test_all_problems_are_told_at_once() -> None:
    assert len(problems(line(baudrate=1, in_flight=0, devices=(ModbusDevice(id="d", unit=0, timeout=99.0),)))) == 4

"""A healthy device raises no alarm."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.points import Point
from gateway.model import Value
from simulators.registers import decode, encode
from simulators.resting import raises, resting


def _point(**keys: Any) -> Point:
    return Point.model_validate({"at": "holding 0", **keys})


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({}, 0),
        ({"values": {"0": "normal", "1": "alarm"}, "alarms": {"fire": {"equals": 1}}}, 0),
        ({"values": {"0": "alarm", "1": "normal"}, "alarms": {"fire": {"equals": "alarm"}}}, 1),
        ({"values": {"7": "on", "9": "off"}}, 7),
        ({"type": "int16", "scale": 0.1, "valid": [-40, 125]}, 42.5),
        ({"type": "int16", "scale": 0.1, "valid": [-40, 125], "alarms": {"hot": {"above": 30}}}, 0),
        ({"scale": 0.01, "alarms": {"low": {"below": 0.1}, "high": {"above": 0.7}}}, 0.4),
        ({"scale": 0.01, "alarms": {"low": {"below": 5, "clear": 6}}}, 7.5),
        ({"type": "uint16", "alarms": {"off": {"differs": 3}}}, 3),
        ({"at": "discrete 0", "alarms": {"open": {"kind": "tamper", "equals": False}}}, True),
        ({"at": "discrete 0", "invert": True}, False),
        ({"invalid": [0]}, 1),
        (
            {"supervised": {"normal": [1800, 2200], "alarm": [3000, 4000], "open": [0, 200], "short": [4001, 4095]}},
            "normal",
        ),
        ({"type": "text:4"}, "SIM"),
    ],
)
def test_resting_values(keys: dict[str, Any], expected: Value) -> None:
    value = resting(_point(**keys))

    assert value == (expected if isinstance(expected, str) else pytest.approx(expected))


def test_what_a_round_expects_comes_first() -> None:
    point = _point(scale=0.01, valid=[0, 100])

    assert resting(point, between=(0.10, 0.60)) == pytest.approx(0.35)
    assert resting(point, equals=1) == 1


@given(
    st.one_of(st.none(), st.integers(-100, 100)),
    st.one_of(st.none(), st.integers(-100, 100)),
    st.integers(1, 50),
    st.sampled_from((1.0, 0.1, 5.0)),
)
def test_no_alarm_stands_whatever_the_limits(below: int | None, above: int | None, room: int, scale: float) -> None:
    alarms: dict[str, Any] = {}
    if below is not None:
        alarms["low"] = {"below": below}
    if above is not None:
        alarms["high"] = {"above": above if below is None else below + room * scale}
    point = _point(type="int32", scale=scale, alarms=alarms)

    value = decode(point, encode(point, resting(point)))

    assert value is not None
    assert not any(raises(alarm, point, value) for alarm in point.alarms.values())

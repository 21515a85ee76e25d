"""What a point of a healthy device reads: in range, and no alarm. Pure."""

from collections.abc import Iterator, Mapping
from typing import Final

from gateway.config.points import Alarm, Point
from gateway.model import Value
from simulators.registers import decode, encode

_TYPICAL: Final[Mapping[str, float]] = {
    "MPa": 0.35, "kPa": 350.0, "bar": 3.5, "°C": 24.0, "%RH": 55.0, "%LEL": 0.0, "m": 2.5, "mm": 2500.0,
    "V": 229.0, "A": 3.2, "mA": 38.0, "W": 640.0, "kW": 0.64, "VA": 670.0, "kVA": 0.67, "var": 90.0, "kvar": 0.09,
    "Hz": 50.0, "kWh": 1843.5,
}  # fmt: skip
"""What stands on such a meter in a residential compound on a quiet day, by unit."""


def resting(point: Point, between: tuple[float, float] | None = None, equals: Value | None = None) -> Value:
    """The value of a point while nothing is wrong.

    `between` and `equals` are what a round of the site expects of the point. The first of these is taken that the
    registers can carry, that is valid and raises no alarm: what the round expects, the middle of the supervised
    window, what is usual for the unit, a word of `values`, the middle of `valid` or of the alarm limits, zero, one,
    beyond a limit.
    """
    for value in _candidates(point, between, equals):
        read = _read(point, value)
        if read is not None and not any(raises(alarm, point, read) for alarm in point.alarms.values()):
            return value
    return "" if point.type.startswith("text:") else 0


def raises(alarm: Alarm, point: Point, value: Value) -> bool:
    """True if the alarm's condition holds for `value` (before any delay or confirmation)."""
    if alarm.equals is not None and _same(point, value, alarm.equals):
        return True
    if alarm.differs is not None and not _same(point, value, alarm.differs):
        return True
    if isinstance(value, str):
        return False
    return (alarm.above is not None and value > alarm.above) or (alarm.below is not None and value < alarm.below)


def _same(point: Point, value: Value, wanted: Value) -> bool:
    if isinstance(value, int) and point.values and isinstance(wanted, str):
        return point.values.get(value) == wanted
    return value == wanted


def _read(point: Point, value: Value) -> Value | None:
    """What is read after `value` was set; None if it cannot be set or is no valid value."""
    try:
        read = decode(point, encode(point, value))
    except ValueError:
        return None
    if read is None or isinstance(read, str) or point.valid is None or point.supervised is not None:
        return read
    return read if point.valid[0] <= read <= point.valid[1] else None


def _candidates(point: Point, between: tuple[float, float] | None, equals: Value | None) -> Iterator[Value]:
    if equals is not None:
        yield equals
    if between is not None:
        yield (between[0] + between[1]) / 2
    if point.supervised is not None:
        yield "normal"
    if point.type == "bool":
        yield from (False, True)
    elif point.type.startswith("text:"):
        yield from ("SIM"[: int(point.type[5:])], "")
    else:
        if not point.values and (usual := _TYPICAL.get(point.unit or "")) is not None:
            yield usual
        yield from _numbers(point)


def _numbers(point: Point) -> Iterator[Value]:
    yield from point.values or ()
    for alarm in point.alarms.values():
        if alarm.differs is not None:
            yield alarm.differs
    for limits in (point.valid, _limits(point)):
        if limits is not None:
            yield (limits[0] + limits[1]) / 2
    yield from (0, 1, point.scale)
    for alarm in point.alarms.values():
        for limit in (alarm.above, alarm.below, alarm.equals):
            if isinstance(limit, int | float):
                step = max(1.0, abs(limit) / 2, point.scale)
                yield from (limit - step, limit + step)


def _limits(point: Point) -> tuple[float, float] | None:
    """The widest room between the alarms below and the alarms above."""
    alarms = point.alarms.values()
    lows = [alarm.below if alarm.clear is None else alarm.clear for alarm in alarms if alarm.below is not None]
    highs = [alarm.above if alarm.clear is None else alarm.clear for alarm in alarms if alarm.above is not None]
    return (max(lows), min(highs)) if lows and highs else None

"""Checks what a person may write: points that no gate, linkage or annunciator uses, and values that fit. Pure."""

from collections.abc import Mapping
from math import isfinite
from typing import Any

from gateway.config.point_owners import uses
from gateway.config.points import Point
from gateway.config.site import SiteFile
from gateway.errors import ConfigError
from gateway.model import Value

_RAW = {
    "int16": (-0x8000, 0x7FFF),
    "uint16": (0, 0xFFFF),
    "int32": (-(1 << 31), (1 << 31) - 1),
    "uint32": (0, (1 << 32) - 1),
    "int64": (-(1 << 63), (1 << 63) - 1),
    "uint64": (0, (1 << 64) - 1),
    "float32": (-3.4e38, 3.4e38),
    "float64": (-1.7e308, 1.7e308),
    "bcd16": (0, 9999),
}


class Interlocked(ConfigError):
    """The site itself writes this point; it must not be written by hand."""


def writable_point(file: SiteFile, device: str, point: str) -> Point:
    """Find the point. Raises ConfigError if it does not exist or has no `write`, Interlocked if the site uses it."""
    owner = file.devices.get(device)
    if owner is None:
        raise ConfigError(f"there is no device {device!r}; there are: {' '.join(file.devices)}")
    found = owner.points.get(point)
    if found is None:
        raise ConfigError(f"{device} has no point {point!r}; it has: {' '.join(owner.points)}")
    if not found.writable:
        outputs = " ".join(name for name, one in owner.points.items() if one.writable) or "none"
        raise ConfigError(f"{device}.{point} has no `write`; of {device} may be written: {outputs}")
    user = next((user for ref, user in uses(file) if ref == f"{device}.{point}"), None)
    if user is not None:
        raise Interlocked(f"interlocked: {device}.{point} belongs to {user}")
    return found


def must_fit(point: Point, value: Value) -> None:
    """Raise ConfigError for a value that the point's registers cannot hold or its file does not allow."""
    if point.type.startswith("text:"):
        if not isinstance(value, str) or len(value.encode()) > int(point.type[5:]):
            raise ConfigError(f"found {value!r}; a text of at most {point.type[5:]} bytes")
        return
    if point.type == "bool":
        if not isinstance(value, bool):
            raise ConfigError(f"found {value!r}; true or false")
        return
    if isinstance(value, bool | str) or not isfinite(value):
        raise ConfigError(f"found {value!r}; a number")
    if point.values is not None and value not in point.values:
        raise ConfigError(f"found {value}; {' | '.join(map(str, point.values))}")
    if point.valid is not None and not point.valid[0] <= value <= point.valid[1]:
        raise ConfigError(f"found {value}; {point.valid[0]} to {point.valid[1]}, the point's `valid`")
    low, high = _RAW[point.type]
    raw = (value - point.offset) / point.scale
    if not low <= (raw if point.type.startswith("float") else round(raw)) <= high:
        raise ConfigError(f"found {value}; it does not fit {point.type}")


def parse(point: Point, text: str) -> Value:
    """Parse the value in `text` for this point. Raises ConfigError."""
    if point.type.startswith("text:"):
        return text
    for number, word in (point.values or {}).items():
        if word == text:
            return number
    if point.type == "bool":
        if text in ("true", "false"):
            return text == "true"
        raise ConfigError(f"found {text!r}; true or false")
    try:
        value = int(text, 16) if text.lower().startswith("0x") else float(text)
    except ValueError as error:
        words = "".join(f" | {word}" for word in (point.values or {}).values())
        raise ConfigError(f"found {text!r}; a number{words}") from error
    if not isfinite(value):
        raise ConfigError(f"found {text!r}; a finite number")
    return int(value) if value == int(value) else value


def agrees(point: Point, value: Value, reading: Mapping[str, Any]) -> bool:
    """True if the value read back is the written one, within the precision of the register."""
    read = reading["value"]
    if isinstance(read, bool) or isinstance(value, str) or not isinstance(read, int | float):
        return bool(read == value)
    return abs(read - value) <= max(abs(point.scale) / 2, abs(value) * 1e-6) + 1e-9

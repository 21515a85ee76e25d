"""Write a point once and read it back: through the running daemon if it runs, else directly."""

import asyncio
from math import isfinite
from typing import Any, cast

from gateway.clock import Clock
from gateway.cloud import events
from gateway.config.points import Point
from gateway.config.site import SiteFile
from gateway.errors import ConfigError
from gateway.local.control import Daemon
from gateway.model import Lane, Reading, Value
from gateway.settings import build
from gateway.technician.taken import must_be_free
from gateway.technician.write_guard import must_fit, writable_point


def write_once(file: SiteFile, what: str, text: str) -> tuple[Value, dict[str, Any]]:
    """What was written to `DEVICE.POINT`, and the reading after it.

    Raises ConfigError, LineTaken (nothing was sent), DeviceError, LineDown.
    """
    device, _, point = what.partition(".")
    settings = writable_point(file, device, point)
    value = parse(settings, text)
    must_fit(settings, value)
    request = {"ask": "write", "device": device, "point": point, "value": value}
    try:
        readings = Daemon(file.store.path).ask(request)
    except ConnectionError:
        must_be_free(file, file.devices[device].line)
        readings = asyncio.run(_directly(file, device, point, value))
    return value, cast("dict[str, dict[str, Any]]", readings)[point]


def parse(point: Point, text: str) -> Value:
    """The value that `text` means for this point. Raises ConfigError."""
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


def agrees(point: Point, value: Value, reading: dict[str, Any]) -> bool:
    """True if what was read back is what was written, as exactly as the register can hold it."""
    read = reading["value"]
    if isinstance(read, bool) or isinstance(value, str) or not isinstance(read, int | float):
        return bool(read == value)
    return abs(read - value) <= max(abs(point.scale) / 2, abs(value) * 1e-6) + 1e-9


async def _directly(file: SiteFile, device: str, point: str, value: Value) -> Any:
    clock = Clock()
    readings: dict[str, Reading] = {}
    async with build.poller(file, file.devices[device].line) as line:
        patience = line.timing(device).ceiling
        await line.write(device, point, value, patience)
        for block in line.block_for(device, [point], Lane.NORMAL):
            raw = await line.read(block, patience)
            at = clock.now()
            readings |= {name: Reading(*decoded, at) for name, decoded in line.decode(block, raw).items()}
    return events.readings_data(readings)

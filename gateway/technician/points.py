"""Reads or writes points once: through the running daemon or, without one, directly on the line."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, cast

from gateway.clock import Clock
from gateway.cloud import events
from gateway.config.site import SiteFile
from gateway.driver import Poller
from gateway.errors import ConfigError, DeviceRefused
from gateway.local.control import Daemon
from gateway.model import Json, Lane, Quality, Reading, Reason, Value
from gateway.settings import build
from gateway.technician.taken import must_be_free
from gateway.technician.write_guard import must_fit, parse, writable_point

Readings = Mapping[str, Mapping[str, Any]]
"""Point -> reading, as in the daemon's answers and in events."""


def read_once(file: SiteFile, what: str) -> Readings:
    """Fresh readings of `DEVICE` or `DEVICE.POINT`. Raises ConfigError, LineTaken, DeviceError, LineDown."""
    device, _, point = what.partition(".")
    if device not in file.devices:
        raise ConfigError(f"there is no device {device!r}; there are: {' '.join(file.devices)}")
    known = file.devices[device].points
    if point and point not in known:
        raise ConfigError(f"{device} has no point {point!r}; it has: {' '.join(known)}")
    if file.devices[device].line not in build.modbus_lines(file):
        raise ConfigError(f"{device} is on a line that is not asked")
    return read_points(file, device, [point] if point else None)


def write_once(file: SiteFile, what: str, text: str) -> tuple[Value, Mapping[str, Any]]:
    """Write to `DEVICE.POINT`; returns the written value and the reading after it.

    Raises ConfigError, LineTaken (nothing was sent), DeviceError, LineDown.
    """
    device, _, point = what.partition(".")
    settings = writable_point(file, device, point)
    value = parse(settings, text)
    must_fit(settings, value)
    request: dict[str, Json] = {"ask": "write", "device": device, "point": point, "value": value}
    return value, _asked(file, device, [point], request, value)[point]


def read_points(file: SiteFile, device: str, points: Sequence[str] | None) -> Readings:
    """Fresh readings of these points of a device; None: of all in the file. Raises as `read_once`."""
    return _asked(file, device, points, {"ask": "read", "device": device, "points": points})


def free_line(file: SiteFile, name: str) -> Poller:
    """A line of the file for direct requests, not opened yet. Raises LineTaken, ConfigError."""
    must_be_free(file, name)
    return build.poller(file, name)


def _asked(
    file: SiteFile, device: str, points: Sequence[str] | None, request: Mapping[str, Json], value: Value | None = None
) -> Readings:
    try:
        return cast("Readings", Daemon(file.store.path).ask(request))
    except ConnectionError:
        line = free_line(file, file.devices[device].line)
        return asyncio.run(_directly(line, device, points or [*file.devices[device].points], value))


async def _directly(line: Poller, device: str, points: Sequence[str], value: Value | None) -> Readings:
    """If there is a value, write it to the only point; then read."""
    clock = Clock()
    readings: dict[str, Reading] = {}
    async with line:
        patience = line.timing(device).ceiling
        if value is not None:
            await line.write(device, points[0], value, patience)
        for block in line.block_for(device, points, Lane.NORMAL):
            try:
                raw = await line.read(block, patience)
            except DeviceRefused:
                bad = Reading(None, None, None, Quality.BAD, Reason.REFUSED, clock.now())
                readings |= dict.fromkeys(block.points, bad)
                continue
            at = clock.now()
            readings |= {name: Reading(*decoded, at) for name, decoded in line.decode(block, raw).items()}
    return cast("Readings", events.readings_data(readings))

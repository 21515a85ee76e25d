"""Read a device once from the wire: through the running daemon if it runs, else directly."""

import asyncio
from typing import Any, cast

from gateway.clock import Clock
from gateway.cloud import events
from gateway.config.site import SiteFile
from gateway.errors import ConfigError, DeviceRefused
from gateway.local.control import Daemon
from gateway.model import Lane, Quality, Reading, Reason
from gateway.settings import build
from gateway.technician.taken import must_be_free

Readings = dict[str, dict[str, Any]]


def read_once(file: SiteFile, what: str) -> Readings:
    """Fresh readings of `DEVICE` or `DEVICE.POINT` as JSON. Raises ConfigError, LineTaken, DeviceError, LineDown."""
    device, _, point = what.partition(".")
    _check(file, device, point)
    points = [point] if point else None
    try:
        answer = Daemon(file.store.path).ask({"ask": "read", "device": device, "points": points})
    except ConnectionError:
        must_be_free(file, file.devices[device].line)
        return asyncio.run(_directly(file, device, points))
    return cast("Readings", answer)


def _check(file: SiteFile, device: str, point: str) -> None:
    if device not in file.devices:
        raise ConfigError(f"there is no device {device!r}; there are: {' '.join(file.devices)}")
    known = file.devices[device].points
    if point and point not in known:
        raise ConfigError(f"{device} has no point {point!r}; it has: {' '.join(known)}")
    if file.devices[device].line not in build.modbus_lines(file):
        raise ConfigError(f"{device} is on a line that is not asked")


async def _directly(file: SiteFile, device: str, points: list[str] | None) -> Readings:
    clock = Clock()
    readings: dict[str, Reading] = {}
    async with build.poller(file, file.devices[device].line) as line:
        timing = line.timing(device)
        for block in line.block_for(device, points or [*file.devices[device].points], Lane.NORMAL):
            try:
                raw = await line.read(block, timing.ceiling)
            except DeviceRefused:
                at = clock.now()
                bad = Reading(None, None, None, Quality.BAD, Reason.REFUSED, at)
                readings |= dict.fromkeys(block.points, bad)
                continue
            at = clock.now()
            readings |= {name: Reading(*value, at) for name, value in line.decode(block, raw).items()}
    return cast("Readings", events.readings_data(readings))

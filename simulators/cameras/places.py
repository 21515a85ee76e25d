"""The cameras of a site file as virtual ones: a loopback address and secrets of its own for each."""

import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from gateway.config.cameras import CameraEntry
from gateway.config.site import SiteFile
from simulators.cameras.model import CameraSetup

_FIRST = 2
"""127.0.0.1 is the gateway's."""


def setups(site: SiteFile) -> dict[str, CameraSetup]:
    """By name. Passwords and tokens are new ones, where the file has any; the true ones are never read."""
    east = datetime.now(UTC).astimezone(ZoneInfo(site.site.timezone)).utcoffset()
    zone = 0.0 if east is None else east.total_seconds()
    return {
        name: _setup(name, camera, _address(number), zone) for number, (name, camera) in enumerate(site.cameras.items())
    }


def secrets_of(setup: CameraSetup) -> Mapping[str, str]:
    """What the written site file needs to know: `password`, `token`."""
    known = {"password": setup.password, "token": setup.token}
    return {key: secret for key, secret in known.items() if secret is not None}


def _setup(name: str, camera: CameraEntry, address: str, zone: float) -> CameraSetup:
    return CameraSetup(
        name,
        camera.driver,
        address,
        mode=camera.mode,
        username=camera.username,
        password=None if camera.password is None else secrets.token_urlsafe(12),
        token=None if camera.token is None else secrets.token_urlsafe(24),
        utc_offset=zone if camera.utc_offset is None else _east(camera.utc_offset),
        snapshot=None if camera.snapshot is None else urlsplit(camera.snapshot).path or "/",
    )


def _address(number: int) -> str:
    number += _FIRST
    return f"127.0.{number // 250}.{number % 250 + (1 if number >= 250 else 0)}"


def _east(written: str) -> float:
    """Seconds of `+08:00`."""
    hours, _, minutes = written[1:].partition(":")
    return (int(hours) * 3600.0 + int(minutes) * 60.0) * (-1 if written[0] == "-" else 1)

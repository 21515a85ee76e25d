"""Parses times of cameras: with, without and with impossible zones. Pure."""

import re
from datetime import UTC, datetime, timedelta

from drivers.anpr.capture import Seen

_ISO = re.compile(
    r"(\d{4})[-/](\d{1,2})[-/](\d{1,2})[T ]+(\d{1,2}):(\d{1,2}):(\d{1,2})(?:[.,:](\d{1,9}))?\s*(.*)", re.ASCII
)
_DIGITS = re.compile(r"(\d{4})(\d\d)(\d\d)T?(\d\d)(\d\d)(\d\d)[.]?(\d{0,9})\s*(.*)", re.ASCII)
_ZONE = re.compile(r"([+-])(\d\d):?(\d\d)?(?::?00)?", re.ASCII)
_FARTHEST_S = 14 * 3600.0
_FIRST_S = 946_684_800.0
_LAST_S = 4_102_444_800.0


def seen(value: str, utc_offset: float | None) -> Seen | None:
    """Parse a time: ISO 8601 and variants, `yyyymmddhhmmss[SSS]`. Without a zone `utc_offset` is used.

    None: no time, an impossible one, or an ambiguous one (neither zone nor `utc_offset`).
    """
    found = (_ISO if value[4:5] in ("-", "/") else _DIGITS).match(value) if value[:4].isdigit() else None
    if found is None:
        return None
    *fields, fraction, rest = found.groups()
    zone = offset_of(rest)
    if zone is None and utc_offset is None:
        return None
    east = zone if zone is not None else utc_offset
    wall = _wall([int(one) for one in fields], east or 0.0)
    if wall is None:
        return None
    return Seen(wall + float(f"0.{fraction or 0}"), "camera" if zone is not None else "setting")


def local(fields: list[int | None], utc_offset: float) -> float | None:
    """Wall seconds of year, month, day, hour, minute, second on a clock `utc_offset` seconds east of UTC."""
    known = [one for one in fields if one is not None]
    return _wall(known, utc_offset) if len(known) == 6 else None


def epoch(value: float | None, fraction: float = 0.0) -> Seen | None:
    """Parse seconds, milliseconds or microseconds since 1970, which need no zone."""
    if value is None:
        return None
    for _ in range(2):
        if value > _LAST_S:
            value /= 1000.0
    if not _FIRST_S <= value < _LAST_S:
        return None
    return Seen(value + (fraction if 0 <= fraction < 1 else 0.0), "camera")


def offset_of(zone: str) -> float | None:
    """Seconds east of UTC of `Z`, `+08:00`, `+0800`, `+08`; None if missing or impossible (`-8:00`)."""
    zone = zone.strip()
    if zone in ("Z", "z", "UTC", "GMT"):
        return 0.0
    found = _ZONE.fullmatch(zone)
    if found is None:
        return None
    sign, hours, minutes = found.groups()
    east = int(hours) * 3600.0 + int(minutes or 0) * 60.0
    if east > _FARTHEST_S or int(minutes or 0) > 59:
        return None
    return -east if sign == "-" else east


def _wall(fields: list[int], east: float) -> float | None:
    year, month, day, hour, minute, second = fields
    try:
        moment = datetime(year, month, day, hour, minute, min(second, 59), tzinfo=UTC) - timedelta(seconds=east)
    except (ValueError, OverflowError):
        return None
    wall = moment.timestamp()
    return wall if second <= 60 and _FIRST_S <= wall < _LAST_S else None

"""Reads a camera's clock in the maker's own way. Pure."""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone

TARGETS: Mapping[str, str] = {
    "hikvision": "/ISAPI/System/time",
    "dahua": "/cgi-bin/global.cgi?action=getCurrentTime",
}
"""By the `driver` of the site file; other cameras are asked through ONVIF, or not at all."""
_STAMP = re.compile(rb"(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d):(\d\d)(?:\.\d{1,6})?(Z|[+-]\d\d:\d\d)?")


def time_told(answer: bytes, utc_offset: float | None) -> float | None:
    """Parse the answer to seconds since 1970; None: no valid time. `utc_offset`: used if it has no zone."""
    if b"<!DOCTYPE" in answer.upper():
        return None
    found = _STAMP.search(answer[:4096])
    if found is None:
        return None
    zone = found[7]
    if zone is None:
        if utc_offset is None:
            return None
        east = timedelta(seconds=utc_offset)
    else:
        hours, minutes = (0, 0) if zone == b"Z" else (int(zone[1:3]), int(zone[4:6]))
        east = timedelta(hours=hours, minutes=minutes) * (-1 if zone[:1] == b"-" else 1)
    try:
        year, month, day, hour, minute, second = (int(found[at]) for at in range(1, 7))
        return datetime(year, month, day, hour, minute, second, tzinfo=timezone(east)).timestamp()
    except (ValueError, OverflowError):
        return None

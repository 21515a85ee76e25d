"""The state of everything as plain data, for `gateway.health`, the control socket and observers."""

import os
import resource
import shutil
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path

from gateway.cloud.journal.stats import Stats
from gateway.cloud.mqtt.uplink import ConnectionSnapshot
from gateway.field.status import DeviceStatus, LineStatus
from gateway.model import Instant, Json

_DEVICE = tuple(each.name for each in fields(DeviceStatus))
"""They are plain values, and there are many devices: `asdict` would copy each."""


def data(
    lines: Mapping[str, LineStatus], journal: Stats, uplink: ConnectionSnapshot, now: Instant, store: Path
) -> dict[str, Json]:
    """Lines, devices, journal, uplink, clock and machine. Times in seconds, sizes in bytes."""
    return {
        "lines": {name: _line(line, now) for name, line in lines.items()},
        "devices": {
            name: {"line": line.line, **{key: getattr(device, key) for key in _DEVICE}}
            for line in lines.values()
            for name, device in line.devices.items()
        },
        "journal": _journal(journal),
        "uplink": {
            **asdict(uplink),
            "since": now.mono - uplink.since,
            "acknowledged": None if uplink.acknowledged is None else now.mono - uplink.acknowledged,
        },
        "clock": {"synced": now.synced, "time": now.rfc3339()},
        "machine": _machine(store),
    }


def _line(line: LineStatus, now: Instant) -> dict[str, Json]:
    return {
        "up": line.up,
        "detail": line.detail,
        "down_for": None if line.down_since is None else now.mono - line.down_since,
        "losses": line.losses,
        "driver_bugs": line.driver_bugs,
        "busy": line.busy,
        "overruns": line.overruns,
        "open": line.is_open,
        "oddities": None if line.oddities is None else dict(line.oddities),
    }


def _journal(stats: Stats) -> dict[str, Json]:
    streams = {stream.value: one for stream, one in stats.streams.items()}
    plain: dict[str, Json] = {key: value for key, value in asdict(stats).items() if key != "streams"}
    return {
        **plain,
        "waiting": {name: one.waiting for name, one in streams.items()},
        "quarantined": {name: one.quarantined for name, one in streams.items()},
        "oldest": {name: one.oldest for name, one in streams.items()},
    }


def _machine(store: Path) -> dict[str, Json]:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    try:
        disk_free: int | None = shutil.disk_usage(store).free
    except OSError:
        disk_free = None
    return {
        "uptime": float(Path("/proc/uptime").read_text(encoding="ascii").split()[0]),
        "load": [*os.getloadavg()],
        "resident": pages * os.sysconf("SC_PAGE_SIZE"),
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "disk_free": disk_free,
    }

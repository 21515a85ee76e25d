"""The support bundle: data that may leave the site, built from a list of what is allowed, never by removing things.

A field that is not listed here is left out, so new fields stay out until somebody has reviewed them. The list has no
secret, plate, picture, address, place or name of a person, and no free text (the reason why a line is down contains
addresses and paths). Text in an id that looks like a plate is masked.
"""

import hashlib
import io
import platform
import re
import tarfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any, Final

import orjson

from gateway import __version__
from gateway.config.load import Loaded
from gateway.errors import GatewayError
from gateway.local.control import Daemon
from gateway.masks import without_plates

Allowed = Mapping[str, Any]
"""Allowed keys: True for a plain value, a mapping for a tree; `*`: every key, for tables by id."""

_PLAIN: Final = ("bool", "int", "float", "str", "NoneType")


def _named(*names: str) -> dict[str, Any]:
    """Allow plain values of these names."""
    return dict.fromkeys(names, True)


_KEY: Final = re.compile(r"[a-z0-9_<>#-]{0,63}")
"""A key of the site file, an id, or a number of an entry."""
_BY_ID: Final = {"*": True}
_ODDITIES: Final = _named("strange_bytes", "unasked_frames", "floods", "unpaired", "unproved", "reopened")
_LINE: Final = {
    **_named("up", "open", "down_for", "losses", "driver_bugs", "busy", "overruns"),
    "oddities": _ODDITIES,
}
_DEVICE: Final = _named(
    "line", "answering", "misses", "requests", "timeouts", "refused", "overruns", "answer_p50", "answer_p95", "timeout"
)
_JOURNAL: Final = {
    **_named("store", "losses", "commits", "rows", "commit_seconds", "commit_seconds_max", "commit_p50", "commit_p99"),
    **_named("queue_bytes", "ahead_of_commit", "shed", "reserve", "file_bytes"),
    "waiting": _BY_ID,
    "quarantined": _BY_ID,
    "oldest": _BY_ID,
}
_UPLINK: Final = {
    **_named("connected", "since", "reconnects", "in_flight", "latency_p50", "latency_p99", "accepted", "no_listener"),
    **_named("replies_lost", "retained", "speed", "window"),
    "refused": _BY_ID,
    "dropped": _BY_ID,
}
_CAMERA: Final = _named(
    "reachable", "last", "pushes", "received", "passages", "heartbeats", "ignored", "unreadable", "refused",
    "late_answers", "bugs", "scale", "scale_is",
)  # fmt: skip
_HEALTH: Final = {
    "lines": {"*": _LINE},
    "devices": {"*": _DEVICE},
    "journal": _JOURNAL,
    "uplink": _UPLINK,
    "cameras": {"*": _CAMERA},
    "strangers": _BY_ID,
    "clock": _named("synced", "time"),
    "process": _named("reduced", "crashes", "refusals", "untold", "ignored"),
    "machine": _named("uptime", "resident", "cpu_seconds", "disk_free"),
    "gates": {"*": _named("commanded", "actual", "verified")},
}
_ALARM: Final = _named(
    "alarm", "name", "kind", "severity", "class", "state", "active", "acknowledged", "latched", "shelved", "disabled",
    "first_out", "device", "point", "zone", "quality", "raised_at", "acknowledged_at", "cleared_at", "overdue",
)  # fmt: skip
_POINT: Final = _named("type", "order", "bit", "scale", "offset", "unit", "every", "deadband")
_SITE: Final = {
    **_named("version", "simulated"),
    "lines": {"*": _named("driver", "baudrate", "parity", "stopbits", "framing", "in_flight", "strict")},
    "zones": {"*": {}},
    "devices": {"*": {**_named("profile", "kind", "line", "unit", "zone"), "points": {"*": _POINT}}},
    "gates": {"*": _named("kind", "on_loss")},
    "cameras": {"*": _named("driver", "mode", "gate")},
    "linkage": {"*": _named("trigger", "call_point")},
}


@dataclass
class Bundle:
    """Files by name, how many values were left out, and what is missing and why, for the person who makes it."""

    files: dict[str, bytes] = field(default_factory=dict)
    left_out: int = 0
    missing: list[str] = field(default_factory=list)

    def add(self, name: str, value: object) -> None:
        """Add a file as JSON."""
        self.files[name] = orjson.dumps(value, option=orjson.OPT_INDENT_2) + b"\n"

    def take(self, name: str, value: object, allowed: Allowed) -> None:
        """Add the allowed part of a tree."""
        kept, out = allow(value, allowed)
        self.left_out += out
        self.add(name, kept)

    def manifest(self) -> dict[str, Any]:
        """The content, and how much was left out."""
        return {
            "made_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "version": __version__,
            "left_out": self.left_out,
            "files": {
                name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
                for name, data in self.files.items()
            },
        }

    def contents(self) -> dict[str, bytes]:
        """Everything that leaves the site, the manifest first."""
        manifest = orjson.dumps(self.manifest(), option=orjson.OPT_INDENT_2) + b"\n"
        return {"manifest.json": manifest, **self.files}

    def archive(self) -> bytes:
        """A gzipped tar archive."""
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w:gz") as tar:
            for name, data in self.contents().items():
                entry = tarfile.TarInfo(f"support/{name}")
                entry.size, entry.mtime, entry.mode = len(data), int(time.time()), 0o600
                tar.addfile(entry, io.BytesIO(data))
        return out.getvalue()


def allow(value: object, allowed: Allowed) -> tuple[Any, int]:
    """The allowed part of a value, and how many values were left out."""
    if not isinstance(value, Mapping):
        return {}, 1
    kept: dict[str, Any] = {}
    out = 0
    for key, item in value.items():
        rule = allowed.get(str(key), allowed.get("*"))
        if rule is None:
            out += 1
        elif rule is True:
            if type(item).__name__ in _PLAIN:
                kept[without_plates(str(key))] = without_plates(item) if isinstance(item, str) else item
            else:
                out += 1
        else:
            kept[without_plates(str(key))], more = allow(item, rule)
            out += more
    return kept, out


def bundle(loaded: Loaded, daemon: Daemon | None) -> Bundle:
    """Make the bundle of a site file, and of its gateway if that answers. `daemon` None: its place is not known."""
    made = Bundle()
    made.add("machine.json", _machine())
    made.add(
        "check.json", [{"level": one.level, "line": one.line, "key": _without_ids(one.key)} for one in loaded.problems]
    )
    if loaded.site is None:
        made.missing.append("the site file, which is wrong: site-gateway check says where")
    else:
        made.take("site.json", loaded.site.model_dump(mode="json", by_alias=True), _SITE)
    if daemon is None:
        made.add("health.json", {"running": False})
        return made
    try:
        health, standing = daemon.ask({"ask": "status"}), daemon.ask({"ask": "alarms"})
    except (ConnectionError, GatewayError) as error:
        made.add("health.json", {"running": not isinstance(error, ConnectionError), "answers": False})
        made.missing.append(f"health and alarms: {error}")
        return made
    made.take("health.json", health, _HEALTH)
    alarms = [allow(one, _ALARM) for one in standing] if isinstance(standing, list) else []
    made.add("alarms.json", [kept for kept, _ in alarms])
    made.left_out += sum(out for _, out in alarms)
    return made


def _without_ids(key: str) -> str:
    """The path of a problem without names given by people: users, accounts, and keys unknown to the file."""
    parts = [part if _KEY.fullmatch(part) else "*" for part in key.split(".")]
    for number, part in enumerate(parts[:-1]):
        if part in ("users", "people"):
            parts[number + 1] = "*"
    return without_plates(".".join(parts))


def _machine() -> dict[str, Any]:
    packages: dict[str, str | None] = {}
    for name in ("aiohttp", "orjson", "paho-mqtt", "pydantic", "pymodbus", "pyserial", "structlog"):
        try:
            packages[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            packages[name] = None
    return {
        "version": __version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "kernel": platform.release(),
        "packages": packages,
    }

"""Shows the last events of a stream, and new ones, one line each."""

import select
import time
from collections.abc import Iterator, Mapping
from typing import Any, cast

import orjson

from gateway.config.site import SiteFile
from gateway.local.control import Daemon
from gateway.technician.tables import local

_LOOK_S = 0.5
_AWAY_S = 60.0
"""How long the daemon may be away, as in a restart."""
_LEFT_OUT = frozenset({
    "alarm", "name", "kind", "severity", "class", "state", "active", "acknowledged", "latched", "shelved", "disabled",
    "first_out", "device", "point", "zone", "acknowledged_at", "raised_at", "cleared_at", "respond_by", "resolve_by",
    "verify_by", "shelved_until", "overdue", "readings",
})  # fmt: skip
"""Fields that are shown elsewhere in the line, or too long for it."""
_LONGEST = 200


def event_lines(file: SiteFile, stream: str, last: int, *, follow: bool, as_json: bool) -> Iterator[str]:
    """Yield each event as a line. Raises ConnectionError, GatewayError. With `follow` it does not end."""
    daemon = Daemon(file.store.path)
    answer = cast("dict[str, Any]", daemon.ask({"ask": "events", "stream": stream, "last": last}))
    seen = time.monotonic()
    while True:
        for event in answer["events"]:
            yield orjson.dumps(event).decode() if as_json else line(event, file.site.timezone)
        if not follow:
            return
        select.select([], [], [], _LOOK_S)
        try:
            answer = cast("dict[str, Any]", daemon.ask({"ask": "events", "stream": stream, "after": answer["n"]}))
            seen = time.monotonic()
        except ConnectionError:
            if time.monotonic() - seen > _AWAY_S:
                raise
            answer = {**answer, "events": []}


def line(event: Mapping[str, Any], timezone: str) -> str:
    """`2026-12-01 09:12:33  alarm.raised  smoke-3-2f/smoke/fire  critical fire 3号楼 …`."""
    kind = str(event["type"]).removeprefix("sitegateway.").removesuffix(".v1")
    data = event.get("data") or {}
    words = [str(data[key]) for key in ("severity", "kind", "zone", "state") if data.get(key) not in (None, "")]
    words += [f"{key}={_word(value)}" for key, value in data.items() if key not in _LEFT_OUT and value is not None]
    when = local(event["time"], timezone) if event.get("time") else "-"
    return "  ".join([when, f"{kind:18}", str(event.get("subject") or "-"), " ".join(words)[:_LONGEST]])


def _word(value: object) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()

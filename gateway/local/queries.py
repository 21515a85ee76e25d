"""Queries of the control socket: what people may read, or do to a single point."""

import asyncio
from collections.abc import Mapping
from typing import Any, Protocol

import orjson

from gateway.clock import Clock
from gateway.cloud import events
from gateway.cloud.journal.history import History
from gateway.commands import COMMANDS
from gateway.driver import Poller, Traced
from gateway.errors import ConfigError
from gateway.field.lines import Line
from gateway.local.control import Ask
from gateway.masks import shown
from gateway.model import Instant, Json, Reading, Stream, Value
from gateway.settings.types import Settings

LEAST_ROLES = {
    **{ask: COMMANDS[ask].role for ask in ("read", "write", "camera.last")},
    "do": "guard",
    "access.import": "steward",
    "page.code": "technician",
    "restart": "technician",
}
"""The lowest role for a query; every account may look."""

_MOST_EVENTS = 500
_LAST_N = 2**63 - 1
"""The highest number of the journal."""
_SHOWN = [stream.value for stream in Stream if stream is not Stream.PICTURE]


class Watched(Protocol):
    """The state of the daemon and its site."""

    def health(self) -> Mapping[str, Json]:
        """The data of `gateway.health`."""
        ...

    def alarms(self) -> list[Mapping[str, Json]]:
        """The standing alarms, each with subject and severity."""
        ...

    def gates(self) -> Mapping[str, Json]:
        """Gate -> its state."""
        ...


class Asks:
    """Answers from the lines of a gateway, its state and what it has kept."""

    def __init__(
        self,
        settings: Settings,
        lines: Mapping[str, Line],
        pollers: Mapping[str, Poller],
        clock: Clock,
        *,
        watched: Watched,
        history: History,
    ) -> None:
        self._settings = settings
        self._lines = lines
        self._pollers = pollers
        self._clock = clock
        self._watched = watched
        self._history = history

    def table(self) -> dict[str, Ask]:
        """Name of the query -> its answer."""
        return {
            "read": self._read,
            "status": self._status,
            "alarms": self._standing,
            "write": self._write,
            "watch": self._watch,
            "frames": self._frames,
            "lines": self._own_lines,
            "events": self._events,
        }

    async def _read(self, request: Mapping[str, Any]) -> Json:
        """`{device, points}`: fresh readings; without `points`, of all points."""
        device, points = str(request["device"]), request.get("points")
        owner = self._settings.site.devices.get(device)
        if owner is None:
            raise ConfigError(f"there is no device {device}")
        return events.readings_data(await self._lines[owner.line].fetch(device, tuple(points) if points else None))

    async def _status(self, _request: Mapping[str, Any]) -> Json:
        return {**self._watched.health(), "gates": dict(self._watched.gates()), "timezone": self._settings.timezone}

    async def _standing(self, _request: Mapping[str, Any]) -> Json:
        return self._watched.alarms()

    async def _write(self, request: Mapping[str, Any]) -> Json:
        """`{device, point, value}`: written once, then read back; returns the reading."""
        device, point, value = str(request["device"]), str(request["point"]), request["value"]
        if not isinstance(value, bool | int | float | str):
            raise ConfigError("value: true, false, a number or a word")
        owner = self._settings.site.devices.get(device)
        if owner is None:
            raise ConfigError(f"there is no device {device!r}")
        user = self._settings.interlocked.get(f"{device}.{point}")
        if user is not None:
            raise ConfigError(f"interlocked: {device}.{point} belongs to {user}")
        return await self._written(self._lines[owner.line], device, point, value)

    async def _written(self, line: Line, device: str, point: str, value: Value) -> Json:
        await line.order(device, point, value)
        return events.readings_data(await line.fetch(device, (point,)))

    async def _watch(self, _request: Mapping[str, Any]) -> Json:
        """All readings with their age, and each device's cost on the wire.

        `longest_answers`: device -> seconds beyond the wire time.
        """
        now = self._clock.now()
        return {
            **self._watched.health(),
            "gates": dict(self._watched.gates()),
            "timezone": self._settings.timezone,
            "site": self._settings.site_id,
            "gateway": self._settings.gateway_id,
            "alarms": self._watched.alarms(),
            "wire": {device: cost for poller in self._pollers.values() for device, cost in _wire(poller).items()},
            "longest_answers": {
                device: seconds for line in self._lines.values() for device, seconds in line.longest_answers().items()
            },
            "readings": {
                device: {point: _reading(reading, now) for point, reading in readings.items()}
                for line in self._lines.values()
                for device, readings in line.readings().items()
            },
        }

    async def _events(self, request: Mapping[str, Any]) -> Json:
        """`{stream, last}` or `{stream, after}`: kept events in order, without plates; `after` takes the last `n`."""
        stream = Stream(request["stream"])
        if stream is Stream.PICTURE:
            raise ConfigError(f"stream: {' | '.join(_SHOWN)}")
        after = None if request.get("after") is None else min(_LAST_N, max(0, int(request["after"])))
        last = min(_MOST_EVENTS, max(1, int(request.get("last") or _MOST_EVENTS)))
        rows = await self._history.latest(stream, after, last)
        told = await asyncio.to_thread(lambda: [shown(orjson.loads(payload)) for _, payload in rows])
        return {"n": rows[-1][0] if rows else (after or 0), "events": told}

    async def _own_lines(self, _request: Mapping[str, Any]) -> Json:
        """The port of each line: `{line, serial, tcp}`. Another program must not use it at the same time."""
        return [
            {"line": line.name, "serial": line.serial, "tcp": f"{line.host}:{line.port}" if line.host else None}
            for line in self._settings.lines
        ]

    async def _frames(self, request: Mapping[str, Any]) -> Json:
        """`{line, since}`: `[way, monotonic seconds, hex]` of all pieces after that time, and the present time."""
        name, since = str(request["line"]), float(request.get("since") or 0.0)
        poller = self._pollers.get(name)
        if poller is None:
            raise ConfigError(f"there is no line {name!r} that is asked; there are: {' '.join(self._pollers)}")
        if not isinstance(poller, Traced):
            raise ConfigError(f"line {name} keeps no frames")
        now = self._clock.now()
        pieces: list[Json] = [[way, at, data.hex()] for way, at, data in poller.frames if at > since]
        bus = next(line.is_bus for line in self._settings.lines if line.name == name)
        return {"now": now.mono, "wall": now.wall, "bus": bus, "pieces": pieces}


def _reading(reading: Reading, now: Instant) -> dict[str, Json]:
    return {
        "value": reading.value,
        "text": reading.text,
        "unit": reading.unit,
        "quality": reading.quality,
        "reason": reading.reason,
        "age": round(max(0.0, now.mono - reading.at.mono), 3),
    }


def _wire(poller: Poller) -> dict[str, float]:
    """Device -> seconds on the wire of its average request."""
    rates: dict[str, float] = {}
    costs: dict[str, float] = {}
    for block in poller.blocks():
        rates[block.device] = rates.get(block.device, 0.0) + 1 / block.every
        costs[block.device] = costs.get(block.device, 0.0) + block.wire / block.every
    return {device: costs[device] / rates[device] for device in rates}

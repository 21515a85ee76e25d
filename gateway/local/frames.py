"""The traffic of a line in words, shared by all viewers: one line is decoded at a time, with pauses.

Bytes on a wire can be anything, so the cost of decoding is bounded: the newest 128 KiB, in a thread that leaves three
quarters of the time to others.
"""

import asyncio
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeVar

from gateway.clock import Clock
from gateway.driver import Poller, Traced
from gateway.errors import ConfigError
from gateway.field.lines import Line
from gateway.field.status import DeviceStatus
from gateway.local.trace import Piece, TracedExchange, exchanges, question, reply
from gateway.model import Json
from gateway.settings.types import Settings

MOST_BYTES = 128 << 10
_TURN_S = 0.003
_REST_FACTOR = 3
"""The pause after a turn, as a multiple of the turn's length."""
_KEPT_S = 1.0
"""How long a decoded result is reused."""
_WORDS = 200
_BYTES = 64

T = TypeVar("T")


class DecodedWire(NamedTuple):
    """Decoded traffic of a line up to a moment."""

    at: float
    """Monotonic seconds."""
    seconds: float
    """How far back it reaches."""
    exchanges: list[dict[str, Json]]
    """The requests with what came for them, newest last."""


class Frames:
    """Decodes the traffic of all lines."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._kept: dict[str, DecodedWire] = {}

    async def of(
        self, line: str, pieces: Sequence[Piece], units: Mapping[int, str], now: float, seconds: float, *, bus: bool
    ) -> DecodedWire:
        """The decoded traffic of a line. `pieces`: what the line remembers, `units`: its devices."""
        await self._turn.acquire()
        kept = self._kept.get(line)
        if kept is not None and kept.seconds == seconds and now - kept.at < _KEPT_S:
            self._turn.release()
            return kept
        newest = _newest([piece for piece in pieces if piece[1] >= now - seconds])
        decoding = asyncio.get_running_loop().run_in_executor(None, _told, newest, units, bus)
        decoding.add_done_callback(lambda _: self._turn.release())  # even if nobody waits for it any more
        found = DecodedWire(now, seconds, await asyncio.shield(decoding))
        self._kept[line] = found
        return found


class LineFrames:
    """Decodes the traffic of all lines, with each device's cost."""

    def __init__(
        self, settings: Settings, lines: Mapping[str, Line], pollers: Mapping[str, Poller], clock: Clock
    ) -> None:
        self._settings = settings.lines
        self._lines = lines
        self._pollers = pollers
        self._clock = clock
        self._decoded = Frames()

    async def told(self, name: str, seconds: float) -> Json:
        """The recent traffic on a line's wire. Raises ConfigError."""
        poller, line = self._pollers.get(name), self._lines.get(name)
        if poller is None or line is None:
            raise ConfigError("there is no line of that name that is asked")
        if not isinstance(poller, Traced):
            raise ConfigError(f"line {name} keeps no frames")
        settings = next(one for one in self._settings if one.name == name)
        units = {device.unit: device.id for device in settings.devices}
        now = self._clock.now().mono
        told = await self._decoded.of(name, list(poller.frames), units, now, seconds, bus=settings.is_bus)
        devices = {name: _cost(status, told.exchanges, name) for name, status in line.snapshot().devices.items()}
        return {"line": name, "bus": settings.is_bus, "now": told.at, "exchanges": told.exchanges, "devices": devices}


def _cost(status: DeviceStatus, told: Sequence[Mapping[str, Json]], device: str) -> dict[str, Json]:
    return {
        "p50": status.answer_p50,
        "p95": status.answer_p95,
        "requests": status.requests,
        "timeouts": status.timeouts,
        "misses": status.misses,
        "share": round(sum(one.get("device") == device for one in told) / max(1, len(told)), 4),
    }


def _newest(pieces: Sequence[Piece]) -> list[Piece]:
    left = MOST_BYTES
    for start in range(len(pieces) - 1, -1, -1):
        left -= len(pieces[start][2])
        if left < 0:
            return list(pieces[start + 1 :])
    return list(pieces)


def _told(pieces: list[Piece], units: Mapping[int, str], bus: bool) -> list[dict[str, Json]]:
    return [_exchange(one, units) for one in _paced(exchanges(_paced(pieces), bus=bus))]


def _paced(items: Iterable[T]) -> Iterator[T]:
    """The same items with pauses in between, to leave time to other threads."""
    began = time.perf_counter()
    for item in items:
        yield item
        if (took := time.perf_counter() - began) > _TURN_S:
            time.sleep(_REST_FACTOR * took)  # noqa: TID251 - the pause itself, in a worker thread
            began = time.perf_counter()


def _exchange(one: TracedExchange, units: Mapping[int, str]) -> dict[str, Json]:
    said = {} if one.answer is None else {"said": reply(one.pdu, one.answer.pdu)[:_WORDS]}
    took = {} if one.seconds is None else {"took": round(one.seconds, 6)}
    device = {"device": units[one.unit]} if one.unit in units else {}
    return {
        "at": one.sent,
        "unit": one.unit,
        "verdict": one.verdict,
        "asked": question(one.pdu)[:_WORDS],
        "hex": f"{one.request.hex()} {one.received[:_BYTES].hex()}".strip(),
        **took,
        **device,
        **said,
    }

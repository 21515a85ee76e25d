"""What the wire of a line has carried, in words, for however many look on: one is decoded at a time, and never quickly.

Bytes of a wire are nobody's promise, so what they may cost is bounded: the newest 128 KiB, in a thread that leaves the
others three quarters of the time.
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
"""Times as long as a turn took the others have theirs."""
_KEPT_S = 1.0
"""What was decoded is told again so long."""
_WORDS = 200
_BYTES = 64

T = TypeVar("T")


class DecodedWire(NamedTuple):
    """What a line has carried up to a moment."""

    at: float
    """Monotonic seconds."""
    seconds: float
    """So far back."""
    exchanges: list[dict[str, Json]]
    """Each request with what came for it, the newest last."""


class Frames:
    """For all lines of a gateway."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._kept: dict[str, DecodedWire] = {}

    async def of(
        self, line: str, pieces: Sequence[Piece], units: Mapping[int, str], now: float, seconds: float, *, bus: bool
    ) -> DecodedWire:
        """`pieces`: what the line remembers, `units`: its devices."""
        await self._turn.acquire()
        kept = self._kept.get(line)
        if kept is not None and kept.seconds == seconds and now - kept.at < _KEPT_S:
            self._turn.release()
            return kept
        newest = _newest([piece for piece in pieces if piece[1] >= now - seconds])
        decoding = asyncio.get_running_loop().run_in_executor(None, _told, newest, units, bus)
        decoding.add_done_callback(lambda _: self._turn.release())  # also when nobody waits for it any more
        found = DecodedWire(now, seconds, await asyncio.shield(decoding))
        self._kept[line] = found
        return found


class LineFrames:
    """What the lines have carried, and what each device costs there."""

    def __init__(
        self, settings: Settings, lines: Mapping[str, Line], pollers: Mapping[str, Poller], clock: Clock
    ) -> None:
        self._settings = settings.lines
        self._lines = lines
        self._pollers = pollers
        self._clock = clock
        self._decoded = Frames()

    async def told(self, name: str, seconds: float) -> Json:
        """What a line's wire has carried of late. Raises ConfigError."""
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
    """The same, with rests in between. The rests are the point: nothing is waited for."""
    began = time.perf_counter()
    for item in items:
        yield item
        if (took := time.perf_counter() - began) > _TURN_S:
            time.sleep(_REST_FACTOR * took)  # noqa: TID251 - the rest itself, in a worker's thread
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

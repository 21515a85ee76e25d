"""One open connection of a line, and the line's memory of its traffic."""

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

from drivers.modbus.frames import ModbusAnswer
from drivers.modbus.mbap import EXACT, AnswerStyle
from gateway.errors import DeviceSilent, LineDown

Piece = tuple[str, float, bytes]
"""`>` sent (`?`: a side request) or `<` received, monotonic seconds, bytes."""

MOST_BYTES = 2 << 20
"""The most memory of a line's traffic."""
_PIECE_BYTES = 200
"""Memory of a piece in addition to its bytes."""
_MAX_PIECE_BYTES = 8 << 10
"""Longer pieces are cut; a whole window of answers is shorter."""
_FLOOD_BYTES_PER_S, _FLOOD_BYTES = 16 << 10, 64 << 10
"""Unrequested bytes that are tolerated: this many a second continuously, and this many at once."""
_FLOOD_PIECE_BYTES = 64
"""Each piece of them counts as at least this many bytes, because it costs as much."""


class Trace(deque[Piece]):
    """The last pieces of a line's traffic: at most `maxlen`, and at most 2 MiB in all."""

    def __init__(self, maxlen: int) -> None:
        super().__init__(maxlen=maxlen)
        self._bytes = 0

    def append(self, piece: Piece) -> None:
        """Add a piece; the oldest are dropped."""
        size = len(piece[2])
        if size > _MAX_PIECE_BYTES:
            piece, size = (piece[0], piece[1], piece[2][:_MAX_PIECE_BYTES]), _MAX_PIECE_BYTES
        self._bytes += size + _PIECE_BYTES
        while self and (len(self) == self.maxlen or self._bytes > MOST_BYTES):
            self._bytes -= len(self.popleft()[2]) + _PIECE_BYTES
        super().append(piece)


@dataclass(slots=True)
class Oddities:
    """Anomalies of a line since the start. `strange`: bytes of no frame; `unasked`: unrequested frames."""

    strange: int = 0
    unasked: int = 0
    floods: int = 0
    """Connections closed by us because of too much of either."""
    reopened: int = 0
    """Connections that the other side closed and that were reopened at once."""
    refused: int = 0
    """For a line whose device dials in: refused connections to its port."""
    replaced: int = 0
    """… and connections replaced by a newer one."""
    style: AnswerStyle = field(default=EXACT)

    def told(self) -> Mapping[str, int | str | None]:
        """The state for health; `identity`: how devices deviate from the standard in transaction id and unit."""
        number, unit = self.style
        words = [
            *(() if number == 0 else ("transaction id always 0" if number is None else "transaction id one too high",)),
            *(() if unit is None else (f"unit always {unit}",)),
        ]
        return {
            "strange_bytes": self.strange,
            "unasked_frames": self.unasked,
            "floods": self.floods,
            "reopened": self.reopened,
            "refused_callers": self.refused,
            "replaced_callers": self.replaced,
            "identity": ", ".join(words) or None,
        }


class ModbusConnection(asyncio.Protocol, ABC):
    """An asyncio protocol that can be awaited: `opened` and `closed` are futures."""

    def __init__(self, frames: Trace, oddities: Oddities | None = None) -> None:
        self.loop = asyncio.get_running_loop()
        self.frames = frames
        self.opened: asyncio.Future[None] = self.loop.create_future()
        self.closed: asyncio.Future[None] = self.loop.create_future()
        self.latency = 0.0
        """Seconds of the last answer beyond its wire time."""
        self.oddities = oddities if oddities is not None else Oddities()
        self.answered = False
        """A request on this connection was answered."""
        self.given_up = False
        """Closed by us because of what came."""
        self._transport: asyncio.Transport | None = None
        self._down = "not connected"
        self._flood = 0.0
        """Unrequested bytes, less the tolerated amount."""
        self._flood_at = self.loop.time()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is open; close it if nobody waits for it any more."""
        if self.closed.done():
            transport.close()
            return
        self._transport = cast("asyncio.Transport", transport)
        self.opened.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone: everything under way ends with LineDown."""
        if self._transport is not None:
            self._down = f"connection lost: {exc}" if exc else "connection closed by the other side"
            self._transport = None
        self.interrupt(LineDown(self._down))
        if not self.closed.done():
            self.closed.set_result(None)

    @abstractmethod
    def interrupt(self, error: LineDown) -> None:
        """End everything under way with `error`."""

    @property
    def is_lost(self) -> bool:
        """True if it is not open (any more)."""
        return self._transport is None

    def not_asked_for(self, size: int) -> None:
        """Count unrequested bytes; a connection that floods is closed."""
        now = self.loop.time()
        self._flood = max(0.0, self._flood - (now - self._flood_at) * _FLOOD_BYTES_PER_S) + max(
            size, _FLOOD_PIECE_BYTES
        )
        self._flood_at = now
        if self._flood > _FLOOD_BYTES and not self.given_up:
            self.oddities.floods += 1
            self.given_up = True
            self.fail(f"it floods: more than {_FLOOD_BYTES_PER_S >> 10} KiB/s that nobody asked for")

    def writer(self) -> asyncio.Transport:
        """The transport for sending. Raises LineDown once the connection is lost."""
        if self._transport is None:
            raise LineDown(self._down)
        return self._transport

    def fail(self, reason: str) -> None:
        """Close the connection."""
        transport, self._transport = self._transport, None
        self._down = reason
        self.interrupt(LineDown(reason))
        if transport is not None:
            transport.abort()
        # A serial transport closes at once without a callback; a socket calls back in the next turn of the loop.
        if (transport is None or transport.get_extra_info("socket") is None) and not self.closed.done():
            self.closed.set_result(None)

    def expire(self, answer: asyncio.Future[ModbusAnswer], turns: int = 2) -> None:
        """The time for `answer` is over: end it with DeviceSilent, unless it is already in the input buffer.

        After a lag of the loop it may be there unread, so two turns of the loop look first.
        """
        if answer.done():
            return
        if turns:
            self.loop.call_soon(self.expire, answer, turns - 1)
        else:
            answer.set_exception(DeviceSilent("no answer in time"))

"""One open connection of a line, and what the line remembers of the bytes that went over its connections."""

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
"""`>` sent (`?`: only to prove whose answers come) or `<` received, monotonic seconds, bytes."""

MOST_BYTES = 2 << 20
"""Memory that a line remembers at most."""
_PIECE_BYTES = 200
"""What a piece takes besides its bytes."""
_MAX_PIECE_BYTES = 8 << 10
"""Of a longer piece the beginning is kept: a whole window of answers is shorter."""
_FLOOD_BYTES_PER_S, _FLOOD_BYTES = 16 << 10, 64 << 10
"""Bytes that nobody asked for: so many a second are passed over for as long as they come, and so many at once."""
_FLOOD_PIECE_BYTES = 64
"""Each piece of them counts as so many bytes at least: it costs as much."""


class Trace(deque[Piece]):
    """The last pieces that went over a line: at most `maxlen`, and 2 MiB in all whatever their sizes."""

    def __init__(self, maxlen: int) -> None:
        super().__init__(maxlen=maxlen)
        self._bytes = 0

    def append(self, piece: Piece) -> None:
        """The next piece; the oldest ones go."""
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
    """Connections given up because of too much of either."""
    reopened: int = 0
    """Connections that the other side closed, and that were opened again at once."""
    refused: int = 0
    """Of a line whose device dials in: connections to its port that were turned away."""
    replaced: int = 0
    """… and that a newer one took the place of."""
    style: AnswerStyle = field(default=EXACT)

    def told(self) -> Mapping[str, int | str | None]:
        """For health; `identity`: how its devices name what they answer, where that is not as the standard has it."""
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
        """Seconds that the last answer took beyond its wire time."""
        self.oddities = oddities if oddities is not None else Oddities()
        self.answered = False
        """Something that was asked over it was answered."""
        self.given_up = False
        """By us, for what came over it."""
        self._transport: asyncio.Transport | None = None
        self._down = "not connected"
        self._flood = 0.0
        """Bytes that nobody asked for, less what was allowed for since."""
        self._flood_at = self.loop.time()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is open; it is closed again if nobody waits for it any more."""
        if self.closed.done():
            transport.close()
            return
        self._transport = cast("asyncio.Transport", transport)
        self.opened.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone: whatever is under way ends with LineDown."""
        if self._transport is not None:
            self._down = f"connection lost: {exc}" if exc else "connection closed by the other side"
            self._transport = None
        self.interrupt(LineDown(self._down))
        if not self.closed.done():
            self.closed.set_result(None)

    @abstractmethod
    def interrupt(self, error: LineDown) -> None:
        """End whatever is under way with `error`."""

    @property
    def is_lost(self) -> bool:
        """It was open, or never was, and is not."""
        return self._transport is None

    def not_asked_for(self, size: int) -> None:
        """So many bytes came that nobody asked for: one that floods is given up."""
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
        """Where to send. Raises LineDown once the connection is lost."""
        if self._transport is None:
            raise LineDown(self._down)
        return self._transport

    def fail(self, reason: str) -> None:
        """Give the connection up."""
        transport, self._transport = self._transport, None
        self._down = reason
        self.interrupt(LineDown(reason))
        if transport is not None:
            transport.abort()
        # A serial transport closes at once and does not say so; a socket says so in the next turn of the loop.
        if (transport is None or transport.get_extra_info("socket") is None) and not self.closed.done():
            self.closed.set_result(None)

    def expire(self, answer: asyncio.Future[ModbusAnswer], turns: int = 2) -> None:
        """The time for `answer` is over: it ends with DeviceSilent, unless it already lies in the input buffer.

        After a lag of the loop it may lie there unread: two turns of the loop have looked.
        """
        if answer.done():
            return
        if turns:
            self.loop.call_soon(self.expire, answer, turns - 1)
        else:
            answer.set_exception(DeviceSilent("no answer in time"))

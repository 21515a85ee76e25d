"""One open connection, and the conversation over Modbus TCP.

A wire lives from connecting to the loss of its connection. It keeps no schedule and never asks twice on its
own account.
"""

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from typing import cast

from drivers.modbus.frames import Answer, Ask, NotModbusError, frame_end, judge
from gateway.errors import DeviceSilent, LineDown

Frames = deque[tuple[str, float, bytes]]
"""The last bytes that went over a line: `>` sent or `<` received, monotonic seconds, bytes."""


_HOLD = 3.0
"""So long a converter may wait for a unit on its own bus, in seconds: the longest of what they are shipped with."""
_HOLDS = 4.0
"""So long nothing has to be heard at all before nobody is waited for on that account, in seconds."""
_EXCEPTION = 0x80
"""Set in the function of an exception (MODBUS Application Protocol V1.1b3, 7)."""
_DEAD = 2
"""A unit that was given up so many times in a row is not waited for."""


class Connection(asyncio.Protocol, ABC):
    """An asyncio protocol that can be awaited: `opened` and `closed` are futures."""

    def __init__(self, frames: Frames) -> None:
        self.loop = asyncio.get_running_loop()
        self.frames = frames
        self.opened: asyncio.Future[None] = self.loop.create_future()
        self.closed: asyncio.Future[None] = self.loop.create_future()
        self.latency = 0.0
        """Seconds that the last answer took beyond its wire time."""
        self._transport: asyncio.Transport | None = None
        self._down = "not connected"

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

    def expire(self, answer: asyncio.Future[Answer], turns: int = 2) -> None:
        """The time for `answer` is over: it ends with DeviceSilent, unless it already lies in the input buffer.

        After a lag of the loop it may lie there unread: two turns of the loop have looked.
        """
        if answer.done():
            return
        if turns:
            self.loop.call_soon(self.expire, answer, turns - 1)
        else:
            answer.set_exception(DeviceSilent("no answer in time"))


class TcpWire(Connection):
    """Modbus TCP: requests and answers are paired by transaction id, so several may be under way.

    An answer to a request that was given up finds no partner and is passed over.

    A converter to a bus asks one unit after another, and may wait much longer than we for one that is dead. Until
    something is heard again the time of the *other* units does not run out behind such a request: they are well.
    """

    def __init__(self, frames: Frames) -> None:
        super().__init__(frames)
        self._pending: dict[int, tuple[Ask, asyncio.Future[Answer]]] = {}
        self._transaction = 0
        self._rest = b""
        self._last = 0.0
        self._held_until = 0.0
        """A converter may be busy with what was given up until then; 0 once something was heard."""
        self._held_most = 0.0
        self._held_by = 0
        """The unit that was given up last."""
        self._in_vain: dict[int, int] = {}
        """By unit, how many requests in a row were given up."""

    async def ask(self, ask: Ask, timeout: float, silence: float | None) -> Answer:
        """The answer to one request. `silence`: seconds since the last byte that the device wants.

        Raises LineDown, DeviceSilent.
        """
        if silence:
            await asyncio.sleep(self._last + silence - self.loop.time())
        transport = self.writer()
        number = self._transaction = self._transaction % 0xFFFF + 1
        frame = number.to_bytes(2, "big") + ask.frame
        loop = self.loop
        answer: asyncio.Future[Answer] = loop.create_future()
        self._pending[number] = ask, answer
        sent = loop.time()
        held = self._held_until > sent
        timer = loop.call_at(sent + timeout, self._over, ask, timeout, answer)
        transport.write(frame)
        self.frames.append((">", sent, frame))
        try:
            found = await answer
            if not held:  # else nobody knows when its turn came; the last one's stands
                self.latency = loop.time() - sent
            return found
        except DeviceSilent:
            self._hold(ask.unit, sent)
            raise
        finally:
            timer.cancel()
            self._pending.pop(number, None)

    def data_received(self, data: bytes) -> None:
        """Bytes have come: hand the answers in them to those who wait."""
        self._last = self.loop.time()
        self._held_until = 0.0
        self.frames.append(("<", self._last, data))
        if self._rest:
            data = self._rest + data
        start = 0
        try:
            while (end := frame_end(data, start)) is not None:
                self._answered(data, start, end)
                start = end
        except NotModbusError as error:
            self.fail(str(error))
        self._rest = data[start:]

    def interrupt(self, error: LineDown) -> None:
        """End every request under way with `error`."""
        for _, answer in self._pending.values():
            if not answer.done():
                answer.set_exception(error)

    def _over(self, ask: Ask, timeout: float, answer: asyncio.Future[Answer]) -> None:
        """The time of a request is over, unless a converter can hardly have come to it yet.

        Who was asked in vain before is not waited for: several dead units would hold up the living for each other. A
        write is: given up while the converter has it still, it would be done twice.
        """
        may_live = not ask.is_read or self._in_vain.get(ask.unit, 0) < _DEAD
        behind = self._held_until > self.loop.time() and self._held_by != ask.unit
        if behind and may_live and not answer.done():
            self.loop.call_at(self._held_until + timeout, self.expire, answer)
        else:
            self.expire(answer)

    def _hold(self, unit: int, sent: float) -> None:
        """A request was given up: who is asked next may have to wait behind it."""
        self._in_vain[unit] = self._in_vain.get(unit, 0) + 1
        if self._last >= sent:
            return
        if not self._held_until:
            self._held_most = sent + _HOLDS
        self._held_until = min(max(sent, self._held_until) + _HOLD, self._held_most)
        self._held_by = unit

    def _answered(self, data: bytes, start: int, end: int) -> None:
        if data[start + 7] < _EXCEPTION:  # in time or not, the unit lives; an exception may be the converter's
            self._in_vain.pop(data[start + 6], None)
        pending = self._pending.get(data[start] << 8 | data[start + 1])
        if pending is None:
            return
        ask, answer = pending
        found = judge(data, start + 6, end, ask)
        if found is not None and not answer.done():
            answer.set_result(found)

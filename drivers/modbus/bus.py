"""The conversation on an RS-485 bus, near (serial) or behind a converter (RTU frames over TCP).

RTU answers carry no number, so a late one can pass for the answer to a later question. Three things
together prevent that: after a time-out the bus is left alone until the device's longest answer time has
passed; an answer must have the unit, function and length of its question, and its CRC; and where a lost
question was of the same function as the next, another question goes first whose answer is thrown away.

The answer to a question of another master may look the same too: one that was heard before its answer came is
waited for, and an answer that comes while such a question stands beside ours is nobody's.
"""

import asyncio
from collections.abc import Mapping, Sequence

from drivers.modbus.frames import (
    READ_COILS,
    READ_HOLDING,
    WRITE_COIL,
    Answer,
    Ask,
    Found,
    Seal,
    read,
    read_requests,
    recount,
    search,
)
from drivers.modbus.timerfd import TimerFd
from drivers.modbus.wire import Connection, Frames
from drivers.modbus.wiretime import WireTime
from gateway.errors import DeviceSilent, GaveWay, LineDown

_LONGEST_INPUT = 1024
_BABBLE = 0.1
"""How long a bus that is never quiet holds back a request, in seconds."""
_SLACK = 0.02
"""What a USB adapter may hold back of an answer that has begun, in seconds (its latency timer is 16 ms)."""
_OVERHEARD = 256
"""Bytes kept of what others say while nothing is asked."""
_COPIES = 3
"""So many times in a row our question comes back: the adapter has an echo after all."""
_GLITCH = 2
"""Bytes before an answer that are too few to have been an echo."""


class _Doubt:
    """What a unit may still answer though nobody waits for it any more."""

    def __init__(self) -> None:
        self.heads: list[bytes] = []
        self.tries = 0


class BusWire(Connection):
    """RTU: one request at a time.

    `known`: reads that each unit is known to answer. `packed`: a converter hands on whole answers.
    """

    def __init__(
        self, frames: Frames, time: WireTime, known: Mapping[int, Sequence[Ask]], seal: Seal, *, packed: bool
    ) -> None:
        super().__init__(frames)
        self.echoes: bool | None = None
        """Whether the adapter sends back what we send; None: not yet known."""
        self._copies = 0
        self._time = time
        self._known = known
        self._seal = seal
        self._packed = packed
        self._ask: Ask | None = None
        self._answer: asyncio.Future[Answer] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._input = b""
        self._mine = b""
        """What was sent the last time."""
        self._unheard = False
        """There are bytes that were not looked through for questions of others."""
        self._sent = 0.0
        self._last = self.loop.time()
        self._patient = True
        self._reads = self._yields = self._in_haste = False
        """A read is under way. An order waits: nothing more is sent. The wait for an answer was cut short."""
        self._quiet_until = 0.0
        """No read before that: a lost answer may still come."""
        self._late: dict[int, float] = {}
        """The same for each unit that may still answer: no write to it either."""
        self._foreign: dict[bytes, tuple[Ask, float]] = {}
        """Questions of other masters that were heard, and when their answers should have come; by their heads."""
        self._longest = 0.0
        """The longest answer time of a unit, as far as any was asked."""
        self._overdue: Ask | None = None
        self._waker: asyncio.Future[None] | None = None
        self._clock = TimerFd(self.loop)
        self._doubts: dict[int, _Doubt] = {}

    async def ask(self, ask: Ask, timeout: float, silence: float, ceiling: float) -> Answer:
        """The answer to one request.

        `timeout`: seconds from the last byte sent to the first one received. `silence`: what the device wants
        before a request. `ceiling`: its longest answer time. Raises LineDown, DeviceSilent (GaveWay).
        """
        self._reads, self._yields = ask.is_read, False
        if ask.is_read:
            await self._turn(ask, silence)
            await self._dispel(ask, timeout, silence, ceiling)
        elif ask.alike and self.echoes is None:
            await self._learn_echo(ask, timeout, silence, ceiling)
        return await self._exchange(ask, timeout, silence, ceiling)

    def give_way(self, haste: float | None) -> None:
        """An order waits, see Yielding. An answer that has begun is heard to its end: nobody talks into it."""
        self._yields = self._reads or haste is not None
        answer, timer = self._answer, self._timer
        if answer is None or timer is None:
            _wake(self._waker)
        elif haste is not None and self._patient:
            packing = self._time.frame(self._ask.size + 2) if self._packed and self._ask else 0.0
            until = max(self.loop.time(), self._sent + haste + packing)
            if until < timer.when():
                timer.cancel()
                self._in_haste = True
                self._timer = self.loop.call_at(until, self.expire, answer)

    def data_received(self, data: bytes) -> None:
        """Bytes have come: look for the answer in all that came since the request."""
        now = self.loop.time()
        self.frames.append(("<", now, data))
        self._last = max(self._last, now)
        self._unheard = True
        ask = self._ask or self._overdue
        if ask is None:
            self._input = (self._input + data)[-_OVERHEARD:]
            if self._foreign:
                _wake(self._waker)
            return
        self._input = (self._input + data)[-_LONGEST_INPUT:]
        found = search(self._input, ask, self.echoes)
        if found is None:
            return
        if found.start > 0 and ask.is_read and self._is_disputed(ask, found.start):
            return
        self._unheard = found.start > 0 or found.end < len(self._input)
        self._hear(found, ask)
        if self._answer is None:
            self._came_late(ask)
        elif not self._answer.done():
            self._answer.set_result(found.answer)
            self.latency = max(0.0, now - self._sent - self._time.frame(ask.size + 2))

    def _is_disputed(self, ask: Ask, before: int) -> bool:
        """Whether another master asked for something alike: then no answer belongs to us for sure."""
        return any(other.head == ask.head and other.frame != ask.frame for other in read_requests(self._input[:before]))

    def _overhear(self, now: float) -> None:
        """Look for questions of other masters since our last one; one without an answer is lost like ours."""
        for request in read_requests(self._input):
            twin = request.frame == self._mine
            if twin and self.echoes is not False:
                continue
            rest = self._input[self._input.index(request.frame) + len(request.frame) :]
            found = search(rest, request, echoes=False)
            if twin and found is not None:  # the first answer was ours
                found = search(rest[found.end :], request, echoes=False)
            if found is None:
                self._foreign.setdefault(request.head, (request, self._last + self._longest))
            else:
                self._foreign.pop(request.head, None)
        for request, until in tuple(self._foreign.values()):
            if until <= now:
                del self._foreign[request.head]
                self._doubt(request)

    def _doubt(self, ask: Ask) -> None:
        """Its answer may still come."""
        doubt = self._doubts.setdefault(ask.unit, _Doubt())
        doubt.heads = [*(head for head in doubt.heads if head != ask.head), ask.head][-2:]

    def interrupt(self, error: LineDown) -> None:
        """End the request under way with `error`: the connection is gone."""
        self._clock.close()
        _wake(self._waker)
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)

    def expire(self, answer: asyncio.Future[Answer], turns: int = 2) -> None:
        """As for every connection; but an answer that has begun gets the time that the rest needs on the wire."""
        ask = self._ask
        if turns or ask is None or not self._patient or answer.done():
            super().expire(answer, turns)
            return
        self._patient = False
        if len(self._input) > (len(ask.frame) if ask.frame in self._input else 0):
            self._timer = self.loop.call_later(self._time.frame(ask.size + 2) + _SLACK, self.expire, answer)
        else:
            super().expire(answer, 0)

    async def _exchange(self, ask: Ask, timeout: float, silence: float, ceiling: float) -> Answer:
        """Send one request and wait for its answer."""
        self._longest = max(self._longest, ceiling)
        await self._turn(ask, silence)
        transport = self.writer()
        self._input, self._overdue, self._patient, self._in_haste = b"", None, True, False
        self._mine, self._unheard = ask.frame, False
        answer: asyncio.Future[Answer] = self.loop.create_future()
        self._ask, self._answer = ask, answer
        transport.write(ask.frame)
        now = self.loop.time()
        self.frames.append((">", now, ask.frame))
        self._sent = self._last = now + self._time.frame(len(ask.frame))
        packing = self._time.frame(ask.size + 2) if self._packed else 0.0
        self._timer = self.loop.call_at(self._sent + timeout + packing, self.expire, answer)
        try:
            return await answer
        except (DeviceSilent, asyncio.CancelledError):
            if answer.cancelled() or answer.exception() is not None:
                self._missed(ask, ceiling)
                if transport.get_write_buffer_size():  # else it would leave when it is long forgotten
                    self.fail("the port does not take what is sent")
            if self._in_haste and not answer.cancelled() and isinstance(answer.exception(), DeviceSilent):
                raise GaveWay(sent=True) from None
            raise
        finally:
            self._timer.cancel()
            self._ask = self._answer = None

    async def _turn(self, ask: Ask, silence: float) -> None:
        """Wait until the bus may be used: silence since the last byte, and no late answer to be expected.

        A write to another unit does not wait for a late answer. None can pass for its own, which repeats the
        request; at worst the two collide and the write is given again. A fire does not wait for a dead device.
        """
        if self._overdue is not None:
            await asyncio.sleep(0)  # in two turns of the loop, what lies unread is read
            await asyncio.sleep(0)
        gap = max(self._time.silence, silence)
        begin = self.loop.time()
        babble = max(begin, self._quiet_until) + gap + _BABBLE
        while True:
            self.writer()
            if self._yields:
                raise GaveWay(sent=False)
            now = self.loop.time()
            if self._unheard or self._foreign:
                self._unheard = False
                self._overhear(now)
            quiet = self._quiet_until if ask.is_read else self._late.get(ask.unit, 0.0)
            until = max(quiet, min(self._last + gap, babble), self._others_turn(ask))
            if now >= until:
                return
            if now > babble + self._longest:
                raise DeviceSilent("another master never stops asking it")
            await self._sleep(until)

    def _others_turn(self, ask: Ask) -> float:
        """Until when an answer could belong to another master's question, of the same shape as ours."""
        if not ask.is_read or ask.head not in self._foreign:
            return 0.0
        return self._foreign[ask.head][1]

    async def _sleep(self, until: float) -> None:
        """Sleep until then, or until something happens that ends the quiet."""
        waker = self._waker = self.loop.create_future()
        self._clock.start(until, lambda: _wake(waker))
        try:
            await waker
        finally:
            self._clock.stop()

    def _missed(self, ask: Ask, ceiling: float) -> None:
        """Nobody waits for this answer any more; it may still come."""
        self._be_quiet(ask.unit, self._sent + ceiling + self._time.frame(ask.size + 2))
        if not ask.alike:
            self.echoes = ask.frame in self._input or (self.echoes if self._input else bool(self.echoes))
        if ask.is_read:
            self._doubt(ask)
            self._overdue = ask

    def _be_quiet(self, unit: int, until: float) -> None:
        """Until then the unit may still answer."""
        self._quiet_until = max(self._quiet_until, until)
        self._late[unit] = until

    def _came_late(self, ask: Ask) -> None:
        """The answer that was waited for in vain is here: nothing else can come, the bus is free."""
        self._overdue = None
        self._quiet_until = 0.0
        self._late.clear()
        _wake(self._waker)
        doubt = self._doubts.get(ask.unit)
        if doubt is not None and doubt.heads == [ask.head]:
            del self._doubts[ask.unit]

    async def _dispel(self, ask: Ask, timeout: float, silence: float, ceiling: float) -> None:
        """After a lost read of the same unit and function: ask something else first and throw the answer away.

        Units answer in order, so after that nothing old can come. The other question differs in the length
        of its answer; a unit that does not answer it is asked the wanted one twice the next time.
        """
        if ask.unit in self._doubts:
            await self._turn(ask, silence)  # the late answer itself may settle it
        doubt = self._doubts.get(ask.unit)
        if doubt is None or all(head[1] != ask.head[1] for head in doubt.heads):
            return
        doubt.tries += 1
        other = self._other(ask, doubt) if doubt.tries % 2 else ask
        answer = await self._exchange(other, timeout, silence, ceiling)
        if isinstance(answer, int):
            # A refusal does not say what it refuses; the one to this question may be yet to come.
            self._be_quiet(ask.unit, self.loop.time() + ceiling)
        self._doubts.pop(ask.unit, None)

    def _other(self, ask: Ask, doubt: _Doubt) -> Ask:
        avoid = {ask.head, *doubt.heads}
        fit = [other for other in self._known.get(ask.unit, ()) if other.head not in avoid]
        return min(fit, key=lambda other: other.size) if fit else recount(ask, avoid, self._seal) or ask

    async def _learn_echo(self, ask: Ask, timeout: float, silence: float, ceiling: float) -> None:
        """Before the first write: its answer looks like its echo, so a read has to show whether there is one."""
        function = READ_COILS if ask.pdu[0] == WRITE_COIL else READ_HOLDING
        fallback = read(ask.unit, function, int.from_bytes(ask.pdu[1:3], "big"), 1, self._seal)
        try:
            await self._exchange(next(iter(self._known.get(ask.unit, ())), fallback), timeout, silence, ceiling)
        except GaveWay:
            raise
        except DeviceSilent:
            return

    def _hear(self, found: Found, ask: Ask) -> None:
        """Learn whether the adapter has an echo. Where it had none, our own question again is another master's."""
        self._copies = self._copies + 1 if found.echoed else 0
        if found.echoed:
            self.echoes = self.echoes is not False or self._copies >= _COPIES
        elif found.start <= _GLITCH and not ask.alike:
            self.echoes = False


def _wake(waker: asyncio.Future[None] | None) -> None:
    if waker is not None and not waker.done():
        waker.set_result(None)

"""Requests and answers over Modbus TCP.

A wire exists from connecting until its connection is lost. It has no schedule and never repeats a request by itself.
"""

import asyncio
from dataclasses import dataclass, field

from drivers.modbus.connection import ModbusConnection, Oddities, Trace
from drivers.modbus.frames import Ask, ModbusAnswer, count_of, judge, resized
from drivers.modbus.mbap import EXACT, HEADER_BYTES, LONGEST_BYTES, AnswerStyle, Hit, find, frame_end, frames, tail
from gateway.errors import DeviceSilent, LineDown

_HOLD_S = 3.0
"""How long a converter may wait for a unit on its own bus: the longest default of common ones."""
_HOLDS_S = 4.0
"""After this time without a byte no further request waits for a busy converter."""
_EXCEPTION = 0x80
"""Set in the function of an exception (MODBUS Application Protocol V1.1b3, 7)."""
_DEAD = 2
"""Others do not wait for a unit after this many consecutive time-outs."""
_SIFTED_BYTES = 16 << 10
"""The most bytes of one piece that are searched for an answer."""
_LOOKED = 4 * LONGEST_BYTES
"""The most unrequested bytes that are searched for late answers."""
_SEVERAL = 3
"""With a server that closes after fewer answers, a proof is impossible."""
_CHALLENGES, _IN_VAIN = 8, 2
"""The most additional registers (or bytes of bits) of a challenge; after this many unanswered ones no more are sent."""
_UNASKED_QUIET_S = 0.05
"""Quiet time after an unrequested frame, before a request whose answer carries no transaction id."""


def _seal(pdu: bytes, unit: int) -> bytes:
    return b"\0\0" + (len(pdu) + 1).to_bytes(2, "big") + bytes((unit,)) + pdu


@dataclass(slots=True)
class LostRequests:
    """What is remembered of lost requests, also for the next connection. Times are seconds of the loop."""

    number: int = 0
    """The last transaction id."""
    quiet_until: float = 0.0
    """Until then an answer without a transaction id may belong to a lost request."""
    held_until: float = 0.0
    """Until then a converter may be busy with a lost request; 0 once something was received."""
    in_vain: dict[int, int] = field(default_factory=dict)
    """Unit -> consecutive requests that were given up."""
    nameless: bool = False
    """Its answers carry no transaction id."""
    unprovable: bool = False
    """Proofs are impossible: it answers only planned counts, or closes after each answer."""
    unproved: int = 0
    """Consecutive challenges without any answer."""
    asked: dict[bytes, None] = field(default_factory=dict)
    """The shapes of past reads, latest last."""
    _held_most: float = 0.0
    _held_by: int = 0
    """The unit of the last lost request."""

    def challenge(self, ask: Ask) -> Ask | None:
        """The same read with another count and a shape that no kept answer can have; None: there is none."""
        step = 8 if ask.is_bits else 1
        count = (count_of(ask) + step - 1) // step
        counts = [*range(count - 1, 0, -1), *range(count + 1, min(count + _CHALLENGES, 125) + 1)]
        shapes = [resized(ask, step * other, _seal) for other in counts]
        fresh = next((shape for shape in shapes if shape.head not in self.asked), None)
        asked = list(self.asked)
        return fresh or min(shapes, key=lambda shape: asked.index(shape.head), default=None)

    def next_number(self) -> int:
        """A transaction id that was not used recently."""
        self.number = self.number % 0xFFFF + 1
        return self.number

    def lose(self, unit: int, sent: float, late_until: float, *, heard: bool) -> None:
        """Note a request that timed out: its answer may still come, and the next request may have to wait behind it."""
        self.next_number()  # so that an answer with our id plus one is not taken for the next answer
        self.quiet_until = max(self.quiet_until, late_until)
        self.in_vain[unit] = self.in_vain.get(unit, 0) + 1
        if heard:
            return
        if not self.held_until:
            self._held_most = sent + _HOLDS_S
        self.held_until = min(max(sent, self.held_until) + _HOLD_S, self._held_most)
        self._held_by = unit

    def holds_up(self, ask: Ask, now: float) -> bool:
        """True if a converter has probably not come to this request yet.

        Reads do not wait for units that failed before: several dead units would delay the others. A write waits: if it
        were given up while the converter still has it, it would be done twice.
        """
        may_live = not ask.is_read or self.in_vain.get(ask.unit, 0) < _DEAD
        return self.held_until > now and self._held_by != ask.unit and may_live


class TcpWire(ModbusConnection):
    """Modbus TCP: requests and answers are paired by transaction id, so several may be under way.

    An answer to a request that was given up matches nothing and is skipped, as is any other data: an answer is found at
    any position. With one request under way a device may send transaction id 0, or ours plus one, and unit 0 or 255,
    unless the line is `strict`; the style of its first answer holds for the connection. If it always sends 0, its
    answers cannot be matched by id: after a lost read nothing is sent for the longest answer time, and then, as after
    each opening, a read of another length proves that nothing older is left.

    A converter asks the units of its bus one after another, and may wait much longer than we do for a dead one. Until
    something is received, the time-out of *other* units does not run behind such a request, as they are not at fault.
    """

    def __init__(
        self, frames: Trace, oddities: Oddities | None = None, *, strict: bool = False, past: LostRequests | None = None
    ) -> None:
        super().__init__(frames, oddities)
        self.past = past if past is not None else LostRequests()
        """What is remembered from earlier connections."""
        self._strict = strict
        self._style: AnswerStyle | None = None
        """How the device fills transaction id and unit; None: it has not answered yet."""
        self._proved = False
        """For a device without transaction ids: a challenge was answered, or is impossible."""
        self._answers = 0
        self._pending: dict[int, tuple[Ask, asyncio.Future[ModbusAnswer]]] = {}
        self._rest = b""
        self._last = 0.0
        self._heard_at = 0.0
        """When the last valid frame came."""

    async def ask(self, ask: Ask, timeout: float, silence: float | None, ceiling: float) -> ModbusAnswer:
        """Send one request; returns its answer. `silence`: seconds since the last byte that the device needs.

        `ceiling`: its longest answer time, in seconds. Raises LineDown, DeviceSilent.
        """
        if not ask.is_read:
            return await self._exchange(ask, timeout, silence, ceiling)
        if self.past.nameless and not self._proved:
            await self._prove(ask, timeout, silence, ceiling)
        try:
            answer = await self._exchange(ask, timeout, silence, ceiling)
            if self._says_nothing() and not self._proved:  # known only since this answer, which may be an old one
                await self._prove(ask, timeout, silence, ceiling)
                answer = await self._exchange(ask, timeout, silence, ceiling)
        except LineDown:
            self.past.unprovable |= self._proved and self._answers < _SEVERAL
            raise
        except DeviceSilent:
            self._proved = False
            raise
        return answer

    async def _prove(self, ask: Ask, timeout: float, silence: float | None, ceiling: float) -> None:
        """Send a read that no old answer matches: a device that answers in order has none left after it."""
        past = self.past
        question = None if past.unprovable else past.challenge(ask)
        if question is not None:
            unasked = self.oddities.unasked
            try:
                answer = await self._exchange(question, timeout, silence, ceiling)
            except DeviceSilent:
                past.unproved = past.unproved + 1 if self.oddities.unasked == unasked else 0
                past.unprovable = past.unproved >= _IN_VAIN
                raise
            past.unproved = 0
            past.unprovable = isinstance(answer, int)
        self._proved = True

    async def _exchange(self, ask: Ask, timeout: float, silence: float | None, ceiling: float) -> ModbusAnswer:
        """Ask once."""
        loop = self.loop
        if silence:
            await asyncio.sleep(self._last + silence - loop.time())
        if self._says_nothing() and ask.is_read and self._is_in_doubt():
            await asyncio.sleep(self.past.quiet_until - loop.time())
        transport = self.writer()
        if not self._pending and self._rest:
            self._pass_over(self._rest)
            self._rest = b""
        if ask.is_read:
            self.past.asked.pop(ask.head, None)
            self.past.asked[ask.head] = None
        number = self.past.next_number()
        frame = number.to_bytes(2, "big") + ask.frame
        answer: asyncio.Future[ModbusAnswer] = loop.create_future()
        self._pending[number] = ask, answer
        sent = loop.time()
        held = self.past.held_until > sent
        timer = loop.call_at(sent + timeout, self._over, ask, timeout, answer)
        transport.write(frame)
        self.frames.append((">", sent, frame))
        try:
            found = await answer
            if not held:  # otherwise its start on the bus is unknown, so the last value stays
                self.latency = loop.time() - sent
            return found
        except DeviceSilent:
            # The reply to a write cannot pass for an answer to a read, so the point can be read back at once.
            late_until = sent + max(ceiling, timeout) if ask.is_read else 0.0
            self.past.lose(ask.unit, sent, late_until, heard=self._heard_at >= sent)
            raise
        finally:
            timer.cancel()
            self._pending.pop(number, None)

    def data_received(self, data: bytes) -> None:
        """Pass the answers in received bytes to the waiting requests."""
        self._last = self.loop.time()
        self.frames.append(("<", self._last, data))
        if not self._rest and frame_end(data, 0) == len(data):  # the usual case: one complete answer
            pending = self._pending.get(data[0] << 8 | data[1])
            if pending is not None and self._style == EXACT:
                ask, answer = pending
                found = judge(data, HEADER_BYTES, len(data), ask)
                if found is not None and not answer.done():
                    self._heard(data)
                    answer.set_result(found)
                    return
        self._sift(self._rest + data if self._rest else data)

    def interrupt(self, error: LineDown) -> None:
        """End every request under way with `error`."""
        for _, answer in self._pending.values():
            if not answer.done():
                answer.set_exception(error)

    def _sift(self, data: bytes) -> None:
        """Find the answers in received bytes."""
        while (hit := self._next(data[:_SIFTED_BYTES])) is not None:
            found, answer = hit
            self._pass_over(data[: found.start])
            self._heard(data[found.start : found.end])
            self._style = self.oddities.style = found.style
            self.past.nameless = found.style.number is None
            self.answered = True
            self._answers += 1
            answer.set_result(found.answer)
            data = data[found.end :]
        last = data[-_LOOKED:]
        for _, end in frames(last):
            last = data[-_LOOKED:][end:]
        self._rest = tail(last)
        self._pass_over(data[: len(data) - len(self._rest)])

    def _next(self, data: bytes) -> tuple[Hit, asyncio.Future[ModbusAnswer]] | None:
        """The first answer to a request under way."""
        styles = self._styles()
        hits = [
            (hit, answer)
            for number, (ask, answer) in self._pending.items()
            if not answer.done() and (hit := find(data, ask, number, styles)) is not None
        ]
        first = min(hits, key=lambda one: one[0].start, default=None)
        if first is not None and self._style is None and first[0].style.number is None and self._is_in_doubt():
            self._style = first[0].style  # it may answer a lost request, so from now on these are waited for
            return None
        return first

    def _styles(self) -> tuple[int | None, ...] | None:
        """The allowed deviations of the transaction id; None: none."""
        if self._strict or len(self._pending) > 1:
            return None
        if self._style is None:
            return 0, 1, None
        return (0, None) if self._style.number is None else (self._style.number,)

    def _is_in_doubt(self) -> bool:
        """True if the answer to a lost request may still come."""
        return self.past.quiet_until > self.loop.time()

    def _says_nothing(self) -> bool:
        """True if its answers carry no transaction id, so that a late one could pass for another."""
        return self._style is not None and self._style.number is None

    def _heard(self, frame: bytes) -> None:
        """Note a valid frame, in time or not: the unit is alive; an exception may come from the converter."""
        self._heard_at = self._last
        self.past.held_until = 0.0
        if frame[HEADER_BYTES + 1] < _EXCEPTION:
            self.past.in_vain.pop(frame[HEADER_BYTES], None)

    def _pass_over(self, data: bytes) -> None:
        """Count unrequested bytes; too many close the connection."""
        if not data:
            return
        strange, last = len(data), data[-_LOOKED:]
        for start, end in frames(last):
            strange -= end - start
            self.oddities.unasked += 1
            self._heard(last[start:end])
            if self._says_nothing():
                self.past.quiet_until = max(self.past.quiet_until, self.loop.time() + _UNASKED_QUIET_S)
        self.oddities.strange += strange
        self.not_asked_for(len(data))

    def _over(self, ask: Ask, timeout: float, answer: asyncio.Future[ModbusAnswer]) -> None:
        """The time of a request is over, unless a converter has probably not come to it yet."""
        if not answer.done() and self.past.holds_up(ask, self.loop.time()):
            self.loop.call_at(self.past.held_until + timeout, self.expire, answer)
        else:
            self.expire(answer)

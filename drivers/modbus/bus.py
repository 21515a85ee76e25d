"""Requests and answers on an RS-485 bus, local (serial) or behind a converter (RTU frames over TCP).

RTU answers carry no number, so a wrong answer can pass for the right one: a late one, one that a converter kept from a
lost connection, delivers twice or one behind, or one for another master. What prevents this:

* an answer must match unit, function and length of its request, with a valid CRC, and no two requests share these, or
  are repeated with them when it matters (`pairing.py`);
* after a time-out nothing is sent until the device's longest answer time has passed;
* after every opening, after a time-out of a unit that was answering, and after an unrequested frame, the input is
  drained and two requests prove the pairing before any answer is accepted;
* if another master sends a request whose answer would have the same shape, we wait for that answer first, and an answer
  that comes while both requests are open is dropped.
"""

import asyncio
import select
from contextlib import suppress
from typing import NamedTuple

from drivers.modbus.connection import ModbusConnection, Oddities, Trace
from drivers.modbus.frames import (
    READ_COILS,
    READ_HOLDING,
    REFUSED,
    WRITE_COIL,
    Ask,
    FoundAnswer,
    ModbusAnswer,
    Seal,
    read,
    read_request,
    read_requests,
    search,
    trimmed,
    whole_frames,
)
from drivers.modbus.pairing import Pairing
from drivers.modbus.timerfd import TimerFd
from drivers.modbus.wiretime import WireTime
from gateway.errors import DeviceSilent, GaveWay, LineDown

_LONGEST_INPUT = 1024
_BABBLE_S = 0.1
"""The longest delay of a request on a bus that is never quiet."""
_SLACK_S = 0.02
"""How long a USB adapter may hold back the rest of an answer (its latency timer is 16 ms)."""
_OVERHEARD_BYTES = 256
"""Bytes kept of other traffic while we send no request."""
_COPIES = 3
"""After this many consecutive copies of our requests the adapter is known to echo."""
_GLITCH_BYTES = 2
"""This many bytes before an answer are too few to be an echo."""

_MAX_STRAYS_BYTES = 512
"""Bytes that are searched for frames of other masters."""
_PROVED_S = 10.0
"""For this long after a proof an unrequested frame only makes reads wary, so that a converter that delivers everything
twice is tolerated."""
_LONGEST_DRAIN_S = 1.0
"""The longest time that the input is drained after an unrequested frame."""
_QUESTIONS = 6
"""The most requests for one proof: some may be refused, because the device accepts only planned ones."""
_PROOFS = 2
"""The number of right answers that prove the pairing; also the most proofs that a read waits for."""
_NOT_SO = (1, 2, 3)
"""Exceptions that concern the request itself, not a temporary state."""


class Waits(NamedTuple):
    """Times of a request, in seconds."""

    timeout: float
    """From the last byte sent to the first byte received."""
    silence: float
    """Silence that the device needs before a request."""
    ceiling: float
    """Its longest answer time."""


class BusWire(ModbusConnection):
    """RTU: one request at a time.

    `pairing`: of the line, for all its connections. `packed`: a converter delivers complete answers. `drain`: seconds
    in which data kept from an earlier connection may arrive.
    """

    def __init__(
        self,
        frames: Trace,
        oddities: Oddities,
        time: WireTime,
        pairing: Pairing,
        seal: Seal,
        *,
        packed: bool,
        drain: float,
    ) -> None:
        super().__init__(frames, oddities)
        self.echoes: bool | None = None
        """Whether the adapter echoes what we send; None: not known yet."""
        self._copies = 0
        self._time = time
        self._pairing = pairing
        self._seal = seal
        self._packed = packed
        self._ask: Ask | None = None
        self._answer: asyncio.Future[ModbusAnswer] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._input = b""
        self.shape = b""
        """The shape of the last request."""
        self._mine = b""
        """The last sent bytes."""
        self._unheard = False
        """There are bytes not yet searched for frames of other masters."""
        self._sent = 0.0
        self._last = self.loop.time()
        self._patient = True
        self._reads = self._yields = self._in_haste = False
        """A read is under way. A write waits, so no read is sent. The wait for an answer was cut short."""
        self._at_once = False
        """The read under way does not wait for late answers."""
        self._owed: Ask | None = None
        """A write whose reply may still come."""
        self._drain = drain
        self._unread = select.poll()
        self._quiet_until = 0.0
        """No read is sent before this time, because a lost answer may still come."""
        self._late: dict[int, float] = {}
        """The same per unit that may still answer: no write to it either."""
        self._foreign: dict[bytes, tuple[Ask, float]] = {}
        """Head of another master's request -> the request, and when its answer should have come."""
        self._longest = 0.0
        """The longest answer time of the units asked so far."""
        self._overdue: Ask | None = None
        self._waker: asyncio.Future[None] | None = None
        self._clock = TimerFd(self.loop)
        self._proof = _Proof(self, pairing, drain)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is open; data kept from an earlier one may come first."""
        now = self.loop.time()
        self._pairing.opened(now)
        self._quiet_until = now + (0.0 if self._pairing.brief else self._drain)
        found = transport.get_extra_info("fd") or transport.get_extra_info("socket")
        if found is not None:
            self._unread.register(found, select.POLLIN)
        super().connection_made(transport)

    async def ask(
        self, ask: Ask, timeout: float, silence: float, ceiling: float, *, confirm: bool = False
    ) -> ModbusAnswer:
        """Send one request; returns its answer.

        `timeout`: seconds from the last byte sent to the first byte received. `silence`: what the device needs before a
        request. `ceiling`: its longest answer time. `confirm`: a read that must have another shape than the last one of
        the same points. Raises LineDown, DeviceSilent (GaveWay).
        """
        self._reads, self._yields = ask.is_read, False
        waits = Waits(timeout, silence, ceiling)
        self._at_once = False
        if ask.is_read:
            return await self._proof.read(ask, waits, confirm=confirm)
        if ask.alike and self.echoes is None:
            await self._learn_echo(ask, waits)
        return await self.exchange(ask, waits)

    async def read_back(self, ask: Ask, timeout: float, silence: float, ceiling: float) -> ModbusAnswer:
        """As `ask`, after a write with a wrong reply: waits neither for the late reply nor for a proof."""
        self._reads, self._yields = True, False
        self._at_once = True
        try:
            return await self._proof.read_back(ask, Waits(timeout, silence, ceiling))
        finally:
            self._at_once = False

    def now(self) -> float:
        """Monotonic seconds."""
        return self.loop.time()

    def give_way(self, haste: float | None) -> None:
        """An order waits, see Yielding. An answer that has begun is received completely."""
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
        """Search for the answer in all bytes since the request."""
        now = self.loop.time()
        self.frames.append(("<", now, data))
        self._last = max(self._last, now)
        self._unheard = True
        ask = self._ask or self._overdue
        if self._packed:  # a local bus cannot flood: its speed is limited
            over = len(data) if self._ask is None else len(self._input) + len(data) - _LONGEST_INPUT
            if over > 0:
                self.not_asked_for(over)
        data = data[-_LONGEST_INPUT:]
        if ask is None:
            self._input = (self._input + data)[-_OVERHEARD_BYTES:]
            if self._foreign:
                _wake(self._waker)
            return
        self._input = (self._input + data)[-_LONGEST_INPUT:]
        found = search(self._input, ask, self.echoes)
        if found is None:
            return
        if found.start > 0 and ask.is_read and self._is_disputed(ask, found.start):
            return
        self._pairing.accepted(self._input[found.start : found.end])
        self._unheard = found.start > 0 or found.end < len(self._input)
        self._hear(found, ask)
        self._input = self._input[: found.start] + self._input[found.end :]
        if self._answer is None:
            self._came_late(ask)
        elif not self._answer.done():
            self._answer.set_result(found.answer)
            self.latency = max(0.0, now - self._sent - self._time.frame(ask.size + 2))

    def _is_disputed(self, ask: Ask, before: int) -> bool:
        """True if another master sent a similar request, so that no answer certainly belongs to ours."""
        return any(other.head == ask.head and other.frame != ask.frame for other in read_requests(self._input[:before]))

    def _overhear(self, now: float) -> None:
        """Search for frames of other masters since our last request; their unanswered requests count as lost."""
        frames = whole_frames(self._input[-_MAX_STRAYS_BYTES:])
        if frames:
            self._input = self._input[-_MAX_STRAYS_BYTES:][frames[-1][1] :]
        for frame, _ in frames:
            if frame != self._mine or self.echoes is False:
                self._heard_of_others(frame, now)
        for request, until in tuple(self._foreign.values()):
            if until <= now:
                del self._foreign[request.head]
                self._proof.lost(request)

    def _heard_of_others(self, frame: bytes, now: float) -> None:
        """Take an unrequested frame, or a request of another master."""
        owed = self._owed
        if owed is not None and frame[0] == owed.unit and frame[1] & ~REFUSED == owed.pdu[0]:
            self._owed = None  # right or wrong: the value of the point decides
            return
        request = read_request(frame)
        if request is not None:
            self._foreign.setdefault(request.head, (request, self._last + self._longest))
        else:
            heads = [head for head in self._foreign if head[:2] == bytes((frame[0], frame[1] & ~REFUSED))]
            for head in heads:
                if frame[1] & REFUSED or head == frame[:3]:
                    del self._foreign[head]
                    return
        self._pairing.unpaired(frame, now)
        drain = self._proof.stray(self._longest)
        self._quiet_until = max(self._quiet_until, now + drain)

    def interrupt(self, error: LineDown) -> None:
        """End the request under way with `error`: the connection is gone."""
        self._clock.close()
        _wake(self._waker)
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)

    def expire(self, answer: asyncio.Future[ModbusAnswer], turns: int = 2) -> None:
        """As for every connection, but an answer that has begun gets the time for its rest on the wire."""
        ask = self._ask
        if turns or ask is None or not self._patient or answer.done():
            super().expire(answer, turns)
            return
        self._patient = False
        if len(self._input) > (len(ask.frame) if ask.frame in self._input else 0):
            self._timer = self.loop.call_later(self._time.frame(ask.size + 2) + _SLACK_S, self.expire, answer)
        else:
            super().expire(answer, 0)

    async def exchange(self, ask: Ask, waits: Waits, base: Ask | None = None) -> ModbusAnswer:
        """Send one request and wait for its answer. `base`: the original request, if this is another shape of it."""
        timeout, silence, ceiling = waits
        self._longest = max(self._longest, ceiling)
        await self.turn(ask, silence)
        transport = self.writer()
        self._input, self._overdue, self._patient, self._in_haste = b"", None, True, False
        self._mine, self._unheard = ask.frame, False
        answer: asyncio.Future[ModbusAnswer] = self.loop.create_future()
        self._ask, self._answer = ask, answer
        transport.write(ask.frame)
        now = self.loop.time()
        self.shape = ask.head
        self._pairing.sent(ask, now)
        aside = ask.unit == self._pairing.nobody or (base is not None and base.frame != ask.frame)
        self.frames.append(("?" if aside else ">", now, ask.frame))
        self._sent = self._last = now + self._time.frame(len(ask.frame))
        packing = self._time.frame(ask.size + 2) if self._packed else 0.0
        self._timer = self.loop.call_at(self._sent + timeout + packing, self.expire, answer)
        try:
            data = await answer
        except (DeviceSilent, asyncio.CancelledError):
            if answer.cancelled() or answer.exception() is not None:
                self._missed(ask, ceiling, base or ask)
                if transport.get_write_buffer_size():  # or it would be sent long after it was given up
                    self.fail("the port does not take what is sent")
            if self._in_haste and not answer.cancelled() and isinstance(answer.exception(), DeviceSilent):
                raise GaveWay(sent=True) from None
            raise
        finally:
            self._timer.cancel()
            self._ask = self._answer = None
        if self._at_once:  # units work in order, so nothing older comes from this one
            self._late.pop(ask.unit, None)
            self._quiet_until = max(self._late.values(), default=0.0)
        if base is not None and not isinstance(data, int):
            self.answered = True
            self._proof.answered(ask.unit)
            self._pairing.answered(base, ask)
        return data

    async def turn(self, ask: Ask, silence: float) -> None:
        """Wait until the bus may be used: silence since the last byte, and no late answer expected.

        A write to another unit does not wait for a late answer, because a fire must not wait for a dead device. No late
        answer can pass for the write's reply, which repeats the request; at worst both collide and the write is
        repeated.
        """
        if self._overdue is not None:
            await asyncio.sleep(0)  # two turns of the loop read what is waiting in the input
            await asyncio.sleep(0)
        gap = max(self._time.silence, silence)
        begin = self.loop.time()
        looked = False
        while True:
            self.writer()
            if self._yields:
                raise GaveWay(sent=False)
            now = self.loop.time()
            if self._unheard or self._foreign:
                self._unheard = False
                self._overhear(now)
            babble = max(begin, self._quiet_until) + gap + _BABBLE_S
            quiet = self._quiet_until if ask.is_read else self._late.get(ask.unit, 0.0)
            if self._at_once:
                quiet = 0.0
            until = max(quiet, min(self._last + gap, babble), self._others_turn(ask))
            if now >= until and self._unread.poll(0) and not looked:
                looked = True
                await asyncio.sleep(0)  # what is waiting in the input came before the request
                await asyncio.sleep(0)
                continue
            if now >= until:
                return
            if now > babble + self._longest:
                raise DeviceSilent("another master never stops asking it")
            await self._sleep(until)

    def _others_turn(self, ask: Ask) -> float:
        """Until when an answer could belong to another master's request of the same shape."""
        if not ask.is_read or ask.head not in self._foreign:
            return 0.0
        return self._foreign[ask.head][1]

    async def _sleep(self, until: float) -> None:
        """Sleep until then, or until something ends the quiet time."""
        waker = self._waker = self.loop.create_future()
        self._clock.start(until, waker)
        try:
            await waker
        finally:
            self._clock.stop()

    def _missed(self, ask: Ask, ceiling: float, base: Ask) -> None:
        """The request timed out; its answer may still come."""
        self.be_quiet(ask.unit, self._sent + ceiling + self._time.frame(ask.size + 2))
        if not ask.alike:
            self.echoes = ask.frame in self._input or (self.echoes if self._input else bool(self.echoes))
        if not ask.is_read:
            self._owed = ask
            self._overhear(self.loop.time())
            return
        self._overdue = ask
        self._pairing.silent(base, ask)
        unasked = self._pairing.counts["unasked"]
        self._overhear(self.loop.time())
        self._proof.missed(ask, shifted=self._pairing.counts["unasked"] > unasked)

    def be_quiet(self, unit: int, until: float) -> None:
        """Note that the unit may still answer until then."""
        self._quiet_until = max(self._quiet_until, until)
        self._late[unit] = until

    def _came_late(self, ask: Ask) -> None:
        """The late answer has come: no other can follow, and the bus is free."""
        self._overdue = None
        self._quiet_until = 0.0
        self._late.clear()
        _wake(self._waker)
        self._proof.came_late(ask)

    async def _learn_echo(self, ask: Ask, waits: Waits) -> None:
        """Find out by a read whether the adapter echoes, before the first write, whose reply looks like its echo."""
        function = READ_COILS if ask.pdu[0] == WRITE_COIL else READ_HOLDING
        known = self._pairing.known(ask.unit)
        fallback = read(ask.unit, function, int.from_bytes(ask.pdu[1:3], "big"), 1, self._seal)
        try:
            await self.exchange(self._pairing.plain(known[0]) if known else fallback, waits)
        except GaveWay:
            raise
        except DeviceSilent:
            return

    def _hear(self, found: FoundAnswer, ask: Ask) -> None:
        """Learn whether the adapter echoes. If it does not, a copy of our request comes from another master."""
        self._copies = self._copies + 1 if found.echoed else 0
        if found.echoed:
            self.echoes = self.echoes is not False or self._copies >= _COPIES
        elif found.start <= _GLITCH_BYTES and not ask.alike:
            self.echoes = False


class _Proof:
    """Whether answers on one connection can be trusted, and proofs if not.

    `drain`: default seconds for draining the input.
    """

    def __init__(self, bus: "BusWire", pairing: Pairing, drain: float) -> None:
        self._bus = bus
        self._pairing = pairing
        self._drain = drain
        self._doubt = "opened"
        """Why answers on the whole line may not belong to their requests; empty: they do."""
        self._lost: dict[int, set[bytes]] = {}
        """Unit -> shapes of its answers that may still come although nobody waits for them."""
        self._shifted = False
        """An answer seems to be held back until the next request."""
        self._proved = -_PROVED_S
        self._answering: dict[int, None] = {}
        """Units whose last request was answered."""

    # ---- what happened --------------------------------------------------------------------------------

    def answered(self, unit: int) -> None:
        """A request to the unit was answered with data."""
        self._answering[unit] = None

    def lost(self, ask: Ask) -> None:
        """The request was given up, and its answer may still come."""
        self._lost.setdefault(ask.unit, set()).add(ask.head)

    def missed(self, ask: Ask, *, shifted: bool) -> None:
        """The request timed out. `shifted`: something unrequested came instead."""
        self.lost(ask)
        if ask.unit in self._answering:
            del self._answering[ask.unit]
            self._doubt = self._doubt or "time-out"
        self._shifted = self._shifted or shifted

    def came_late(self, ask: Ask) -> None:
        """The late answer has come: nothing else can follow."""
        self._answering[ask.unit] = None
        if self._doubt == "time-out":
            self._doubt = ""
        if self._lost.get(ask.unit) == {ask.head}:
            del self._lost[ask.unit]

    def stray(self, longest: float) -> float:
        """Take an unrequested frame; returns the seconds to drain the input."""
        if self._doubt == "opened" or self._bus.now() - self._proved < _PROVED_S:
            return 0.0
        drain = 0.0 if self._doubt == "stray" else self.drain(longest)
        self._doubt = "stray"
        return drain

    def drain(self, longest: float) -> float:
        """The longest time that data may still be on its way. `longest`: answer time of the units asked, or 0."""
        return min(longest or self._drain, _LONGEST_DRAIN_S)

    # ---- what is asked --------------------------------------------------------------------------------

    async def read_back(self, ask: Ask, waits: Waits) -> ModbusAnswer:
        """Answer a read that may not wait for a proof, with a shape that nothing on its way can have."""
        return await self._read(ask, waits, confirm=True)

    async def read(self, ask: Ask, waits: Waits, *, confirm: bool) -> ModbusAnswer:
        """Answer a read, after a proof if needed. Raises LineDown, DeviceSilent (GaveWay)."""
        for _ in range(0 if self._pairing.brief else _PROOFS):
            await self._bus.turn(ask, waits.silence)
            if not self._doubt and all(head[1] != ask.head[1] for head in self._lost.get(ask.unit, ())):
                break
            refusal = await self._prove(ask, waits)
            if refusal is not None:
                return refusal
        return await self._read(ask, waits, confirm=confirm or self._pairing.brief)

    async def _read(self, ask: Ask, waits: Waits, *, confirm: bool) -> ModbusAnswer:
        """Send the read in a shape of its own, or after a request of another shape."""
        pairing = self._pairing
        shape = pairing.plain(ask)
        changes = confirm or pairing.wary_until > self._bus.now()
        other = pairing.other(ask) if changes or shape.head == self._bus.shape else None
        shape = other or shape
        if other is None and (changes or not pairing.is_own(ask, shape)):
            spacer = pairing.spacer(shape, self._bus.shape, tuple(self._answering))
            if spacer is not None:
                await self._ask_aside(ask, spacer, waits)
        answer = await self._bus.exchange(shape, waits, ask)
        if answer in _NOT_SO and shape.size != ask.size:
            pairing.refused(ask, shape)
            return await self._read(ask, waits, confirm=confirm)
        return answer if isinstance(answer, int) or shape.size == ask.size else trimmed(ask, answer)

    async def _ask_aside(self, ask: Ask, question: Ask, waits: Waits) -> ModbusAnswer:
        """Send a side request. If another unit does not answer it, that does not count as a miss here."""
        try:
            return await self._bus.exchange(question, waits, ask)
        except GaveWay:
            raise
        except DeviceSilent:
            if question.unit != ask.unit:
                raise GaveWay(sent=False) from None
            raise

    async def _prove(self, ask: Ask, waits: Waits) -> int | None:
        """Prove the pairing: two requests with unique answers must be answered correctly one after the other.

        Units and converters work in order, so nothing old comes afterwards. If only the planned request is possible, a
        request that nobody answers flushes what is held back. Returns the code of a refusal that concerns every
        request.
        """
        if self._shifted:
            await self._flush(waits)
        asked: set[bytes] = set()
        proofs = 0
        for _ in range(_QUESTIONS):
            question = self._pairing.challenge(ask, asked, tuple(self._answering))
            if question.head in asked or proofs == _PROOFS:
                break
            asked.add(question.head)
            try:
                answer = await self._challenge(ask, question, waits, alive=proofs > 0)
            except LineDown:
                self._pairing.lost_in_proof(proofs > 0)
                raise
            if isinstance(answer, bytes):
                proofs += 1
            elif answer is not None and not self._is_of_the_question(ask, question, answer, waits):
                return answer
        if proofs < _PROOFS and self._doubt:
            await self._flush(waits)
        self._doubt = ""
        self._proved = self._bus.now()
        self._lost.pop(ask.unit, None)
        return None

    async def _challenge(self, ask: Ask, question: Ask, waits: Waits, *, alive: bool) -> ModbusAnswer | None:
        """Send a side request; None if a unit that is `alive` does not answer, as it accepts only planned ones."""
        try:
            return await self._ask_aside(ask, question, waits)
        except GaveWay:
            raise
        except DeviceSilent:
            if self._shifted:
                self._pairing.unproved(self._bus.now())
            elif alive and question.size != ask.size:
                return None
            raise

    def _is_of_the_question(self, ask: Ask, question: Ask, code: int, waits: Waits) -> bool:
        """True if a refusal may concern the count or a lost request, so that another request may be answered."""
        if ask.unit in self._lost:  # it may answer the lost request, and the answer to this one may still come
            self._bus.be_quiet(ask.unit, self._bus.now() + waits.ceiling)
            del self._lost[ask.unit]
            return True
        if code not in _NOT_SO:
            return False
        self._pairing.refused(ask, question)
        return question.frame != ask.frame

    async def _flush(self, waits: Waits) -> None:
        """Ask a unit that does not exist: this releases an answer that is held back, and gets none itself."""
        nobody = self._pairing.nobodys()
        if not nobody.unit:
            return
        wait = self.drain(waits.ceiling)
        with suppress(DeviceSilent):
            await self._bus.exchange(nobody, Waits(wait, waits.silence, wait))
        self._lost.pop(nobody.unit, None)
        self._shifted = False


def _wake(waker: asyncio.Future[None] | None) -> None:
    if waker is not None and not waker.done():
        waker.set_result(None)

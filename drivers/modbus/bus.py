"""The conversation on an RS-485 bus, near (serial) or behind a converter (RTU frames over TCP).

RTU answers carry no number, so another one can pass for the answer to a question: a late one, one that a converter has
kept from a lost connection, hands out twice or one behind, or that another master has asked for. What prevents it:

* an answer must have the unit, function and length of its question, and its CRC, and no two requests share these, or
  are asked so again when it matters (`pairing.py`);
* after a time-out the bus is left alone until the device's longest answer time has passed;
* after every opening, a time-out of a unit that was answering, and a frame that nobody asked for, the input is drained
  and two questions prove the pairing before anything is believed;
* a question of another master whose answer would have the same shape is waited for, and an answer that comes while
  such a question stands beside ours is nobody's.
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
"""How long a bus that is never quiet holds back a request, in seconds."""
_SLACK_S = 0.02
"""What a USB adapter may hold back of an answer that has begun, in seconds (its latency timer is 16 ms)."""
_OVERHEARD_BYTES = 256
"""Bytes kept of what others say while nothing is asked."""
_COPIES = 3
"""After so many copies of our request in a row the adapter is known to echo."""
_GLITCH_BYTES = 2
"""Bytes before an answer that are too few to have been an echo."""

_MAX_STRAYS_BYTES = 512
"""Bytes that are searched for frames of other masters."""
_PROVED_S = 10.0
"""So long after a proof a frame that nobody asked for makes reads wary, and nothing more: a converter that hands out
everything twice is lived with."""
_LONGEST_DRAIN_S = 1.0
"""The longest that the input is drained after a frame that nobody asked for."""
_QUESTIONS = 6
"""The most that are asked for one proof: some may be refused, because the device knows only what it is planned for."""
_PROOFS = 2
"""So many right answers prove the pairing; and the most proofs that a read waits for."""
_NOT_SO = (1, 2, 3)
"""Exceptions that mean the question and not the moment."""


class Waits(NamedTuple):
    """How long a request may take, in seconds."""

    timeout: float
    """From the last byte sent to the first one received."""
    silence: float
    """What the device wants before a request."""
    ceiling: float
    """Its longest answer time."""


class BusWire(ModbusConnection):
    """RTU: one request at a time.

    `pairing`: the line's, over all its connections. `packed`: a converter hands on whole answers. `drain`: seconds in
    which what was kept from an earlier connection may come.
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
        """Whether the adapter sends back what we send; None: not yet known."""
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
        """The shape of what was asked the last time."""
        self._mine = b""
        """What was sent the last time."""
        self._unheard = False
        """There are bytes that were not yet searched for frames of other masters."""
        self._sent = 0.0
        self._last = self.loop.time()
        self._patient = True
        self._reads = self._yields = self._in_haste = False
        """A read is under way. A write waits: no read is sent. The wait for an answer was cut short."""
        self._at_once = False
        """The read under way waits for nothing that may still come."""
        self._owed: Ask | None = None
        """A write whose reply may still come."""
        self._drain = drain
        self._unread = select.poll()
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
        self._proof = _Proof(self, pairing, drain)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is open; what was kept from an earlier one may come first."""
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
        """The answer to one request.

        `timeout`: seconds from the last byte sent to the first one received. `silence`: what the device wants
        before a request. `ceiling`: its longest answer time. `confirm`: a read that has to have another shape than the
        last one of the same points. Raises LineDown, DeviceSilent (GaveWay).
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
        """As `ask`, after a write whose reply was not right: the late reply is not waited for, nor is a proof."""
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
        """An order waits, see Yielding. An answer that has begun is received to its end."""
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
        if self._packed:  # on a wire of its own noise is no flood: it has its speed
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
        """Whether another master asked for something alike: then no answer belongs to us for sure."""
        return any(other.head == ask.head and other.frame != ask.frame for other in read_requests(self._input[:before]))

    def _overhear(self, now: float) -> None:
        """Look for frames of other masters since our last request; unanswered requests of theirs count as lost."""
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
        """A frame that nobody of us asked for, or a question of another master."""
        owed = self._owed
        if owed is not None and frame[0] == owed.unit and frame[1] & ~REFUSED == owed.pdu[0]:
            self._owed = None  # right or wrong: the point says what it did
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
        """As for every connection; but an answer that has begun gets the time that the rest needs on the wire."""
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
        """Send one request and wait for its answer. `base`: the request that it stands for, in another shape."""
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
                if transport.get_write_buffer_size():  # else it would leave when it is long forgotten
                    self.fail("the port does not take what is sent")
            if self._in_haste and not answer.cancelled() and isinstance(answer.exception(), DeviceSilent):
                raise GaveWay(sent=True) from None
            raise
        finally:
            self._timer.cancel()
            self._ask = self._answer = None
        if self._at_once:  # units work in order: nothing older comes from this one
            self._late.pop(ask.unit, None)
            self._quiet_until = max(self._late.values(), default=0.0)
        if base is not None and not isinstance(data, int):
            self.answered = True
            self._proof.answered(ask.unit)
            self._pairing.answered(base, ask)
        return data

    async def turn(self, ask: Ask, silence: float) -> None:
        """Wait until the bus may be used: silence since the last byte, and no late answer to be expected.

        A write to another unit does not wait for a late answer. None can pass for its own, which repeats the
        request; at worst the two collide and the write is given again. A fire does not wait for a dead device.
        """
        if self._overdue is not None:
            await asyncio.sleep(0)  # in two turns of the loop, what lies unread is read
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
                await asyncio.sleep(0)  # what lies unread came before the question
                await asyncio.sleep(0)
                continue
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
        """Until then the unit may still answer."""
        self._quiet_until = max(self._quiet_until, until)
        self._late[unit] = until

    def _came_late(self, ask: Ask) -> None:
        """The late answer is here: no other can come, the bus is free."""
        self._overdue = None
        self._quiet_until = 0.0
        self._late.clear()
        _wake(self._waker)
        self._proof.came_late(ask)

    async def _learn_echo(self, ask: Ask, waits: Waits) -> None:
        """Before the first write: its answer looks like its echo, so a read has to show whether there is one."""
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
        """Learn whether the adapter has an echo. Where it had none, our own question again is another master's."""
        self._copies = self._copies + 1 if found.echoed else 0
        if found.echoed:
            self.echoes = self.echoes is not False or self._copies >= _COPIES
        elif found.start <= _GLITCH_BYTES and not ask.alike:
            self.echoes = False


class _Proof:
    """What is in doubt on one connection.

    `drain`: seconds that the input is drained where nothing else says how long.
    """

    def __init__(self, bus: "BusWire", pairing: Pairing, drain: float) -> None:
        self._bus = bus
        self._pairing = pairing
        self._drain = drain
        self._doubt = "opened"
        """Why answers may not belong to their questions, on the whole line; empty: they do."""
        self._lost: dict[int, set[bytes]] = {}
        """By unit, the shapes of what it may still answer though nobody waits for it any more."""
        self._shifted = False
        """An answer seems to be held back until the next question."""
        self._proved = -_PROVED_S
        self._answering: dict[int, None] = {}
        """Units whose last question was answered."""

    # ---- what happened --------------------------------------------------------------------------------

    def answered(self, unit: int) -> None:
        """A question to it was answered with data."""
        self._answering[unit] = None

    def lost(self, ask: Ask) -> None:
        """Nobody waits for its answer any more, and it may still come."""
        self._lost.setdefault(ask.unit, set()).add(ask.head)

    def missed(self, ask: Ask, *, shifted: bool) -> None:
        """It had no answer in time. `shifted`: something came instead that was not asked for."""
        self.lost(ask)
        if ask.unit in self._answering:
            del self._answering[ask.unit]
            self._doubt = self._doubt or "time-out"
        self._shifted = self._shifted or shifted

    def came_late(self, ask: Ask) -> None:
        """The answer that was waited for in vain is here: nothing else can come."""
        self._answering[ask.unit] = None
        if self._doubt == "time-out":
            self._doubt = ""
        if self._lost.get(ask.unit) == {ask.head}:
            del self._lost[ask.unit]

    def stray(self, longest: float) -> float:
        """Something came that nobody asked for. Seconds to drain the input from now on."""
        if self._doubt == "opened" or self._bus.now() - self._proved < _PROVED_S:
            return 0.0
        drain = 0.0 if self._doubt == "stray" else self.drain(longest)
        self._doubt = "stray"
        return drain

    def drain(self, longest: float) -> float:
        """The longest that what is on its way may take. `longest`: answer time of the units that were asked, or 0."""
        return min(longest or self._drain, _LONGEST_DRAIN_S)

    # ---- what is asked --------------------------------------------------------------------------------

    async def read_back(self, ask: Ask, waits: Waits) -> ModbusAnswer:
        """The answer to a read that may not wait for a proof: its shape is one that nothing on its way can have."""
        return await self._read(ask, waits, confirm=True)

    async def read(self, ask: Ask, waits: Waits, *, confirm: bool) -> ModbusAnswer:
        """The answer to a read, after a proof where one is needed. Raises LineDown, DeviceSilent (GaveWay)."""
        for _ in range(0 if self._pairing.brief else _PROOFS):
            await self._bus.turn(ask, waits.silence)
            if not self._doubt and all(head[1] != ask.head[1] for head in self._lost.get(ask.unit, ())):
                break
            refusal = await self._prove(ask, waits)
            if refusal is not None:
                return refusal
        return await self._read(ask, waits, confirm=confirm or self._pairing.brief)

    async def _read(self, ask: Ask, waits: Waits, *, confirm: bool) -> ModbusAnswer:
        """Ask in a shape that no other answer has, or behind a question of another shape."""
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
        """Put another question than the wanted one. One to another unit that is not answered is no miss of ours."""
        try:
            return await self._bus.exchange(question, waits, ask)
        except GaveWay:
            raise
        except DeviceSilent:
            if question.unit != ask.unit:
                raise GaveWay(sent=False) from None
            raise

    async def _prove(self, ask: Ask, waits: Waits) -> int | None:
        """Two questions whose answers can be no others', and their right answers behind one another.

        Units and converters work in order, so nothing old comes after these. Where nothing else can be asked than what
        is asked anyway, a question that nobody answers takes out what is held back. Returns the code of a refusal that
        is meant for whatever is asked.
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
        """One question; None if a unit that is `alive` does not answer it, because it knows only what is planned."""
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
        """Whether a refusal may be that of the count, or of a lost question, so that another one may be answered."""
        if ask.unit in self._lost:  # it may be that of the lost question, and the one to this may be yet to come
            self._bus.be_quiet(ask.unit, self._bus.now() + waits.ceiling)
            del self._lost[ask.unit]
            return True
        if code not in _NOT_SO:
            return False
        self._pairing.refused(ask, question)
        return question.frame != ask.frame

    async def _flush(self, waits: Waits) -> None:
        """Ask a unit that is not there: what is held back until the next question comes, and nothing after it."""
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

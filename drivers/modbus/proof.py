"""Reads on a bus whose answers are believed: the doubt of one connection, and what is asked to end it.

`pairing.py` chooses the shapes, `bus.py` sends and waits; here it is decided what goes first.
"""

from contextlib import suppress
from typing import NamedTuple, Protocol

from drivers.modbus.frames import Answer, Ask, trimmed
from drivers.modbus.pairing import Pairing
from gateway.errors import DeviceSilent, GaveWay, LineDown

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


class Exchanges(Protocol):
    """The bus, as much as is needed of it here."""

    shape: bytes
    """Of what was asked the last time."""

    async def turn(self, ask: Ask, silence: float) -> None:
        """Wait until it may be asked. Raises LineDown, DeviceSilent (GaveWay)."""
        ...

    async def exchange(self, ask: Ask, waits: Waits, base: Ask | None = None) -> Answer:
        """Ask, and wait for the answer. `base`: the request that it stands for. Raises LineDown, DeviceSilent."""
        ...

    def be_quiet(self, unit: int, until: float) -> None:
        """Until then the unit may still answer."""
        ...

    def now(self) -> float:
        """Monotonic seconds."""
        ...


class Proof:
    """What is in doubt on one connection.

    `drain`: seconds that the input is drained where nothing else says how long.
    """

    def __init__(self, bus: Exchanges, pairing: Pairing, drain: float) -> None:
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

    async def read_back(self, ask: Ask, waits: Waits) -> Answer:
        """The answer to a read that may not wait for a proof: its shape is one that nothing on its way can have."""
        return await self._read(ask, waits, confirm=True)

    async def read(self, ask: Ask, waits: Waits, *, confirm: bool) -> Answer:
        """The answer to a read, after a proof where one is needed. Raises LineDown, DeviceSilent (GaveWay)."""
        for _ in range(0 if self._pairing.brief else _PROOFS):
            await self._bus.turn(ask, waits.silence)
            if not self._doubt and all(head[1] != ask.head[1] for head in self._lost.get(ask.unit, ())):
                break
            refusal = await self._prove(ask, waits)
            if refusal is not None:
                return refusal
        return await self._read(ask, waits, confirm=confirm or self._pairing.brief)

    async def _read(self, ask: Ask, waits: Waits, *, confirm: bool) -> Answer:
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

    async def _ask_aside(self, ask: Ask, question: Ask, waits: Waits) -> Answer:
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
                self._pairing.brief = proofs > 0
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

    async def _challenge(self, ask: Ask, question: Ask, waits: Waits, *, alive: bool) -> Answer | None:
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

"""What hangs on a line, and a serial bus at the speed of its wire.

A request counts as complete only when its bytes would have passed the wire and 3.5 characters of silence followed;
then the unit takes its latency, and its answer comes in pieces of at most 4 ms, the last byte exactly when it would be
through. Nothing here waits: all is due on the line's agenda.
"""

import asyncio
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Final, NamedTuple

from simulators.device import VirtualDevice
from simulators.faults import Faults, framed, garbled
from simulators.frames import Framing, crc, request_size, rtu
from simulators.timer import Agenda

Send = Callable[[bytes], None]

_PIECE_S: Final = 0.004
_TOLERANCE_S: Final = 0.00005
_LONGEST: Final = 256
LATENCY_S: Final = 0.005
"""Seconds that a unit thinks, if nothing else is said."""


@dataclass(slots=True, eq=False)
class Unit:
    """A device as it hangs on a line: how quick it is and what is wrong with it."""

    device: VirtualDevice
    latency: float = LATENCY_S
    faults: Faults = field(default_factory=Faults)
    busy_until: float = 0.0
    """A slave does one thing after the other: a request that comes earlier is answered after this."""

    def due(self, now: float) -> float:
        """When the answer to a request that is complete now begins."""
        return max(now, self.busy_until) + self.latency + self.faults.delay + self.faults.late

    def reply(self, pdu: bytes, now: float) -> bytes | None:
        """The answer PDU, or None if the unit is silent."""
        if self.faults.silent or self.device.ignores(pdu):
            return None
        if self.faults.exception is not None:
            return bytes((pdu[0] | 0x80, self.faults.exception))
        return self.device.answer(pdu, now)


@dataclass(slots=True)
class BusCounts:
    """What happened on a line since it was opened."""

    requests: int = 0
    """Whole, undamaged requests, whoever they were for."""
    answers: int = 0
    ignored: int = 0
    """Frames that no unit took: wrong checksum, only a part, no silence before or after it."""
    collisions: int = 0
    """Times that the master spoke while a unit did."""
    bytes: int = 0
    """Both ways."""


class _Reply(NamedTuple):
    data: bytes
    send: Send
    starts: float


class Bus:
    """The units of one RTU line. `feed` gets what the master sent, `send` of the same call gets the answer."""

    def __init__(
        self,
        framing: Framing,
        units: Mapping[int, Unit],
        agenda: Agenda,
        *,
        strict_silence: bool = False,
        seed: int = 0,
    ) -> None:
        self.framing = framing
        self.units = units
        self.strict_silence = strict_silence
        self.echo = False
        """The adapter gives every byte back that it sends, whoever it was for."""
        self.heard_at: Callable[[], int | None] = lambda: None
        """The baud rate that the master has set; None: nobody can tell."""
        self.counts = BusCounts()
        self._agenda = agenda
        self._chance = random.Random(seed)  # noqa: S311 - faults are to be repeatable
        self._got = bytearray()
        self._heard = 0.0  # when the last byte of the master is through
        self._quiet_since = 0.0  # when the last frame of anyone was through
        self._legal = True
        self._frame = 0  # counts what the master sent, so that only the silence after the last of it counts
        self._send: Send = _nowhere
        self._answer: _Reply | None = None

    def feed(self, data: bytes, send: Send) -> None:
        """Bytes of the master, as they come."""
        now = asyncio.get_running_loop().time()
        self.counts.bytes += len(data)
        if self._answer is not None:
            self.counts.collisions += 1
            self._heard = max(now, self._heard) + len(data) * self.framing.character
            return
        if self._got and (now > self._heard + self.framing.silence or (self._complete() and not self.strict_silence)):
            self._judge(self._frame)
        if not self._got:
            quiet_since = max(self._quiet_since, self._heard)
            self._legal = max(now, self._heard) - quiet_since >= self.framing.silence - _TOLERANCE_S
        self._got += data
        self._heard = max(now, self._heard) + len(data) * self.framing.character
        self._frame += 1
        self._send = send
        self._agenda.at(self._heard + self.framing.silence, partial(self._judge, self._frame))

    def _complete(self) -> bool:
        size = request_size(self._got)
        return size is not None and len(self._got) >= size

    def _judge(self, which: int) -> None:
        """3.5 characters of silence: a frame has ended, if nothing came after it."""
        if which != self._frame or not self._got:
            return
        frame, send = bytes(self._got), self._send
        self._got.clear()
        if (self.strict_silence and not self._legal) or not _sound(frame):
            self.counts.ignored += 1
            return
        self.counts.requests += 1
        ended = self._heard + self.framing.silence
        if self.echo:
            send(frame)
        if frame[0] == 0:
            for each in self.units.values():
                each.reply(frame[1:-2], ended)
        elif (unit := self.units.get(frame[0])) is not None and unit.faults.baudrate in (None, self.heard_at()):
            self._ask(unit, frame, send, ended)

    def _ask(self, unit: Unit, frame: bytes, send: Send, ended: float) -> None:
        faults = unit.faults
        if faults.echo and not self.echo:
            send(frame)
        pdu = unit.reply(frame[1:-2], ended)
        if pdu is not None:
            data = framed(faults, frame[0], pdu, rtu)
            data = faults.glitch + garbled(faults.garble, data, self._chance, exposed=len(data))
            starts = unit.due(ended)
            unit.busy_until = starts + len(data) * self.framing.character
            self._agenda.at(starts, partial(self._begin, _Reply(data, send, starts)))
        faults.spend()

    def _begin(self, answer: _Reply) -> None:
        if self._answer is not None:  # another unit is speaking: after it
            ends = self._answer.starts + (len(self._answer.data) + 1) * self.framing.character
            self._agenda.at(ends, partial(self._begin, answer._replace(starts=ends)))
            return
        if self._got:  # the master is speaking: its request is lost, the answer is not
            self.counts.collisions += 1
            self._got.clear()
        self._answer = answer
        self._piece(0)

    def _piece(self, sent: int) -> None:
        """Plan the next bytes of the answer for the moment when the last of them is through."""
        answer = self._answer
        if answer is None:
            return
        upto = min(len(answer.data), sent + max(1, int(_PIECE_S / self.framing.character)))
        through = answer.starts + upto * self.framing.character
        self._agenda.at(through, partial(self._deliver, sent, upto))

    def _deliver(self, sent: int, upto: int) -> None:
        answer = self._answer
        if answer is None:
            return
        answer.send(answer.data[sent:upto])
        self.counts.bytes += upto - sent
        if upto < len(answer.data):
            self._piece(upto)
            return
        self.counts.answers += 1
        self._answer = None
        self._quiet_since = answer.starts + upto * self.framing.character

    def reset(self) -> None:
        """The line was closed: nothing that was under way comes any more (the agenda is the line's to empty)."""
        self._got.clear()
        self._answer = None
        self._send = _nowhere
        self._heard = self._quiet_since = 0.0
        for unit in self.units.values():
            unit.busy_until = 0.0


def _sound(frame: bytes) -> bool:
    return 4 <= len(frame) <= _LONGEST and crc(frame[:-2]) == frame[-2:]


def _nowhere(_data: bytes) -> None:
    """Before the first request."""

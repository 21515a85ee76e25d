"""Modbus TCP frames in a stream of bytes, whatever else comes on it. Pure.

MODBUS Messaging on TCP/IP V1.0b, 3.1.3: transaction id, protocol 0, length, then unit and PDU. Between such frames come
heart-beats, banners, the CRC of a careless converter, or a length that is wrong: an answer is found wherever it begins.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from drivers.modbus.frames import Ask, ModbusAnswer

HEADER_BYTES = 6
"""Bytes before the unit."""
LONGEST_BYTES = 260
"""Bytes of the longest frame."""
_MOST, _LEAST = 254, 3
"""What the length in a header can be: unit, function and one byte more at least."""
_FUNCTIONS = frozenset((1, 2, 3, 4, 5, 6, 15, 16))
"""What anybody here asks for."""
_REFUSED = 0x80
_ROOM_BYTES = 4096
"""Bytes up to which an answer without a number of its own is looked for."""
_NOBODY, _ANYBODY = 0, 255
"""Units that a device may echo in place of its own (Messaging on TCP/IP, 4.4.2.1 has 255 for "not used")."""


class AnswerStyle(NamedTuple):
    """How a device names what it answers."""

    number: int | None = 0
    """Its transaction id less ours, 0 or 1; None: it always says 0."""
    unit: int | None = None
    """The unit that it says instead of the one asked; None: that one."""


EXACT = AnswerStyle()
"""As the standard has it."""


class Hit(NamedTuple):
    """An answer in the bytes."""

    start: int
    end: int
    answer: ModbusAnswer
    style: AnswerStyle


def frame_end(data: bytes, start: int) -> int | None:
    """Where the frame that begins at `start` ends, if a sound one does and it is complete."""
    size = _size(data, start)
    end = start + HEADER_BYTES + (size or 0)
    return end if size and end <= len(data) else None


def find(data: bytes, ask: Ask, number: int, styles: Sequence[int | None] | None) -> Hit | None:
    """The answer to `ask`, sent with transaction id `number`, wherever in the bytes it begins.

    `styles`: how far the device may be off in its transaction id (as `AnswerStyle.number`), its unit then too; None: as
    the standard has it.
    """
    loose = styles is not None
    for shift in styles if styles is not None and len(data) <= _ROOM_BYTES else (0,):
        wanted = 0 if shift is None else (number + shift) & 0xFFFF
        mark = wanted.to_bytes(2, "big") + b"\0\0\0"
        at = data.find(mark)
        while at >= 0:
            end = frame_end(data, at)
            if end is not None:
                answer = _judge(data, at + HEADER_BYTES, end, ask, loose=loose)
                if answer is not None:
                    said = data[at + HEADER_BYTES]
                    return Hit(at, end, answer, AnswerStyle(shift, None if said == ask.unit else said))
            at = data.find(mark, at + 1)
    return None


def frames(data: bytes) -> Iterator[tuple[int, int]]:
    """Start and end of each valid frame in the bytes, whichever request it answers."""
    at = data.find(b"\0\0\0", 2) - 2
    while at >= 0:
        end = frame_end(data, at)
        if end is not None:
            yield at, end
        at = data.find(b"\0\0\0", (at + 1 if end is None else end) + 2) - 2


def tail(data: bytes) -> bytes:
    """The end of the bytes in which a frame may have begun: from the first header without its end on."""
    data = data[-(LONGEST_BYTES - 1) :]
    for at in range(len(data)):
        rest = data[at : at + 8]
        if _may_begin(rest):
            return data[at:]
    return b""


def _may_begin(head: bytes) -> bool:
    """Whether these first bytes (up to 8) could be those of a frame."""
    if len(head) < 8:
        return head[2:5] == b"\0\0\0"[: max(0, len(head) - 2)] and (len(head) < 6 or _LEAST <= head[5] <= _MOST)
    return _size(head, 0) is not None


def _size(data: bytes, start: int) -> int | None:
    """The length in the header at `start`, if it can be one."""
    if len(data) - start < HEADER_BYTES + 2 or data[start + 2 : start + 5] != b"\0\0\0":
        return None
    size = data[start + 5]
    is_one = _LEAST <= size <= _MOST and data[start + 7] & ~_REFUSED in _FUNCTIONS
    return size if is_one else None


def _judge(data: bytes, start: int, end: int, ask: Ask, *, loose: bool) -> ModbusAnswer | None:
    """What the unit's bytes data[start:end] answer; None if not to `ask`."""
    if data[start] != ask.unit and not (loose and data[start] in (_NOBODY, _ANYBODY)):
        return None
    if end - start == ask.size and data.startswith(ask.head[1:], start + 1):
        return data[start + 3 : end] if ask.is_read else b""
    if end - start == 3 and data[start + 1] == ask.pdu[0] | _REFUSED:
        return data[start + 2]
    return None

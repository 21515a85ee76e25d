"""Finds Modbus TCP frames in a stream of bytes with other data in between. Pure.

MODBUS Messaging on TCP/IP V1.0b, 3.1.3: transaction id, protocol 0, length, then unit and PDU. In between there may be
heartbeats, banners, a CRC from a faulty converter, or a wrong length, so an answer is found at any position.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from drivers.modbus.frames import Ask, ModbusAnswer

HEADER_BYTES = 6
"""Bytes before the unit."""
LONGEST_BYTES = 260
"""Bytes of the longest frame."""
_MOST, _LEAST = 254, 3
"""The range of the length in a header: at least unit, function and one more byte."""
_FUNCTIONS = frozenset((1, 2, 3, 4, 5, 6, 15, 16))
"""The functions in use here."""
_REFUSED = 0x80
_ROOM_BYTES = 4096
"""The search range in bytes for an answer without a transaction id of its own."""
_NOBODY, _ANYBODY = 0, 255
"""Units that a device may return in place of its own (Messaging on TCP/IP, 4.4.2.1: 255 is "not used")."""


class AnswerStyle(NamedTuple):
    """How a device fills transaction id and unit of its answers."""

    number: int | None = 0
    """The offset of its transaction id from ours, 0 or 1; None: it always sends 0."""
    unit: int | None = None
    """The unit that it sends instead of the requested one; None: the requested one."""


EXACT = AnswerStyle()
"""As in the standard."""


class Hit(NamedTuple):
    """An answer found in the bytes."""

    start: int
    end: int
    answer: ModbusAnswer
    style: AnswerStyle


def frame_end(data: bytes, start: int) -> int | None:
    """The end of the frame that begins at `start`, if it is valid and complete."""
    size = _size(data, start)
    end = start + HEADER_BYTES + (size or 0)
    return end if size and end <= len(data) else None


def find(data: bytes, ask: Ask, number: int, styles: Sequence[int | None] | None) -> Hit | None:
    """Find the answer to `ask`, sent with transaction id `number`, at any position.

    `styles`: allowed deviations of the transaction id (as `AnswerStyle.number`), and then of the unit; None: none, as
    in the standard.
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
    """The end of the bytes, from the first incomplete frame on."""
    data = data[-(LONGEST_BYTES - 1) :]
    for at in range(len(data)):
        rest = data[at : at + 8]
        if _may_begin(rest):
            return data[at:]
    return b""


def _may_begin(head: bytes) -> bool:
    """True if these bytes (up to 8) can be the beginning of a frame."""
    if len(head) < 8:
        return head[2:5] == b"\0\0\0"[: max(0, len(head) - 2)] and (len(head) < 6 or _LEAST <= head[5] <= _MOST)
    return _size(head, 0) is not None


def _size(data: bytes, start: int) -> int | None:
    """The length in the header at `start`, if valid."""
    if len(data) - start < HEADER_BYTES + 2 or data[start + 2 : start + 5] != b"\0\0\0":
        return None
    size = data[start + 5]
    is_one = _LEAST <= size <= _MOST and data[start + 7] & ~_REFUSED in _FUNCTIONS
    return size if is_one else None


def _judge(data: bytes, start: int, end: int, ask: Ask, *, loose: bool) -> ModbusAnswer | None:
    """The answer in data[start:end]; None if it is not to `ask`."""
    if data[start] != ask.unit and not (loose and data[start] in (_NOBODY, _ANYBODY)):
        return None
    if end - start == ask.size and data.startswith(ask.head[1:], start + 1):
        return data[start + 3 : end] if ask.is_read else b""
    if end - start == 3 and data[start + 1] == ask.pdu[0] | _REFUSED:
        return data[start + 2]
    return None

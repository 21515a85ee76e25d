"""Requests, and how their answers are told from everything else on the wire. Pure.

An answer is taken only if unit, function and length are those of the request, and its check holds (CRC-16
on RTU, transaction id on TCP). Nothing else is ever given out, however much it looks like one.
"""

from collections.abc import Callable, Sequence
from struct import Struct
from typing import NamedTuple

Seal = Callable[[bytes, int], bytes]
"""Wraps a PDU for a unit into what goes over the wire (RTU frame, or MBAP frame without transaction id)."""

READ_COILS, READ_DISCRETE, READ_HOLDING, READ_INPUT = 1, 2, 3, 4
WRITE_COIL, WRITE_REGISTER, WRITE_COILS, WRITE_REGISTERS = 5, 6, 15, 16
READS = {"coil": READ_COILS, "discrete": READ_DISCRETE, "holding": READ_HOLDING, "input": READ_INPUT}
"""The function that reads each table."""

_PDU = Struct(">BHH")
_REFUSED = 0x80
_READ_REQUEST = 8


class Ask(NamedTuple):
    """One request, made once and sent often."""

    unit: int
    pdu: bytes
    """Function code and data."""
    frame: bytes
    """What goes over the wire (on TCP without the transaction id in front)."""
    head: bytes
    """How its answer begins: unit, function and byte count for a read, all of it for a write."""
    size: int
    """Length of its answer, from the unit on, without CRC."""
    alike: bool
    """True if its RTU answer may be the same bytes as the request, so that an echo could pass for it."""

    @property
    def is_read(self) -> bool:
        """True for a read: its answer carries data."""
        return self.pdu[0] <= READ_INPUT


Answer = bytes | int
"""The data of an answer (empty for a write), or the exception code of a refusal."""


class Found(NamedTuple):
    """An answer in a buffer of RTU bytes."""

    start: int
    end: int
    answer: Answer
    echoed: bool = False
    """True if our own request came back in front of it."""


def read(unit: int, function: int, address: int, count: int, seal: Seal) -> Ask:
    """FC01-FC04. `count`: 1-2000 bits, 1-125 registers."""
    size = (count + 7) // 8 if function <= READ_DISCRETE else 2 * count
    pdu = _PDU.pack(function, address, count)
    return _ask(unit, pdu, bytes((unit, function, size)), 3 + size, seal)


def write_one(unit: int, function: int, address: int, word: int, seal: Seal) -> Ask:
    """FC05 or FC06: answered by the same PDU."""
    pdu = _PDU.pack(function, address, word)
    return _ask(unit, pdu, bytes((unit,)) + pdu, 6, seal)


def write_coils(unit: int, address: int, bits: Sequence[bool], seal: Seal) -> Ask:
    """FC15: up to 1968 coils, answered by address and count."""
    packed = sum(bit << at for at, bit in enumerate(bits)).to_bytes((len(bits) + 7) // 8, "little")
    head = _PDU.pack(WRITE_COILS, address, len(bits))
    return _ask(unit, head + bytes((len(packed),)) + packed, bytes((unit,)) + head, 6, seal)


def write_registers(unit: int, address: int, words: bytes, seal: Seal) -> Ask:
    """FC16: up to 123 registers (two bytes each), answered by address and count."""
    head = _PDU.pack(WRITE_REGISTERS, address, len(words) // 2)
    return _ask(unit, head + bytes((len(words),)) + words, bytes((unit,)) + head, 6, seal)


def recount(ask: Ask, avoid: set[bytes], seal: Seal) -> Ask | None:
    """The same read with another count, the nearest whose answer begins like none of `avoid`."""
    function, address, count = _PDU.unpack(ask.pdu)
    step, top = (8, 2000) if function <= READ_DISCRETE else (1, 125)
    for away in range(1, 5):
        for other in (count - away * step, count + away * step):
            if 0 < other <= top and address + other <= 0x10000:
                found = read(ask.unit, function, address, other, seal)
                if found.head not in avoid:
                    return found
    return None


def crc16(data: bytes) -> bytes:
    """CRC-16/Modbus as it stands on the wire: low byte first."""
    crc = 0xFFFF
    for byte in data:
        crc = (crc >> 8) ^ _CRC[(crc ^ byte) & 0xFF]
    return crc.to_bytes(2, "little")


def search(buffer: bytes, ask: Ask, echoes: bool | None) -> Found | None:
    """The answer to `ask` among RTU bytes, wherever it begins; None if it is not (yet) there.

    `echoes`: whether the adapter sends back what we send; None: not known. Our own request is passed over.
    Where the answer itself would be the same bytes (FC05, FC06), the first one counts as echo unless the
    adapter is known to have none: then the answer must come a second time.
    """
    at = buffer.find(ask.frame)
    if at >= 0 and not (ask.alike and echoes is False):
        found = _search(buffer, ask, at + len(ask.frame))
        return found and found._replace(echoed=True)
    return _search(buffer, ask, 0)


def read_requests(buffer: bytes) -> list[Ask]:
    """Whole requests for a read among RTU bytes, whoever sent them; to find those of another master."""
    found: list[Ask] = []
    for at in range(len(buffer) - _READ_REQUEST + 1):
        function = buffer[at + 1]
        if READ_COILS <= function <= READ_INPUT:
            end = at + _READ_REQUEST
            count = buffer[at + 4] << 8 | buffer[at + 5]
            most = 2000 if function <= READ_DISCRETE else 125
            if 1 <= count <= most and crc16(buffer[at : end - 2]) == buffer[end - 2 : end]:
                found.append(_read_request(buffer[at:end], count))
    return found


def _read_request(frame: bytes, count: int) -> Ask:
    size = (count + 7) // 8 if frame[1] <= READ_DISCRETE else 2 * count
    return Ask(frame[0], frame[1:-2], frame, bytes((frame[0], frame[1], size)), 3 + size, alike=False)


def judge(data: bytes, start: int, end: int, ask: Ask) -> Answer | None:
    """What the unit's bytes data[start:end] (unit, function, …, no check) answer; None if not to `ask`."""
    if end - start == ask.size and data.startswith(ask.head, start):
        return data[start + 3 : end] if ask.is_read else b""
    if end - start == 3 and data[start] == ask.unit and data[start + 1] == ask.pdu[0] | _REFUSED:
        return data[start + 2]
    return None


def _search(buffer: bytes, ask: Ask, start: int) -> Found | None:
    unit = ask.unit
    at = buffer.find(unit, start)
    while 0 <= at <= len(buffer) - 5:
        size = 3 if buffer[at + 1] == ask.pdu[0] | _REFUSED else ask.size
        end = at + size
        if end + 2 <= len(buffer):
            answer = judge(buffer, at, end, ask)
            if answer is not None and crc16(buffer[at:end]) == buffer[end : end + 2]:
                return Found(at, end + 2, answer)
        at = buffer.find(unit, at + 1)
    return None


def _ask(unit: int, pdu: bytes, head: bytes, size: int, seal: Seal) -> Ask:
    ask = Ask(unit, pdu, seal(pdu, unit), head, size, alike=False)
    return ask._replace(alike=_search(ask.frame, ask, 0) is not None)


def _crc_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = (crc >> 1) ^ 0xA001 if crc & 1 else crc >> 1
        table.append(crc)
    return tuple(table)


_CRC = _crc_table()

"""Requests, and how their answers are distinguished from other data on the wire. Pure.

An answer is accepted only if unit, function and length match the request and its check is valid (CRC-16 on RTU,
transaction id on TCP). Nothing else is ever returned.
"""

from collections.abc import Callable, Sequence
from struct import Struct
from typing import NamedTuple

Seal = Callable[[bytes, int], bytes]
"""Wraps a PDU for a unit into a frame (RTU frame, or MBAP frame without transaction id)."""

READ_COILS, READ_DISCRETE, READ_HOLDING, READ_INPUT = 1, 2, 3, 4
WRITE_COIL, WRITE_REGISTER, WRITE_COILS, WRITE_REGISTERS = 5, 6, 15, 16
READS = {"coil": READ_COILS, "discrete": READ_DISCRETE, "holding": READ_HOLDING, "input": READ_INPUT}
"""The function that reads each table."""

MOST_REGISTERS, MOST_BITS = 125, 2000
"""The limits of one read (MODBUS Application Protocol V1.1b3, 6.1-6.4)."""

_PDU = Struct(">BHH")
REFUSED = 0x80
"""Set in the function of an exception."""
_READ_REQUEST = 8
_SHORTEST_BYTES = 5
"""Length of an exception as an RTU frame, and of an answer without data."""


class Ask(NamedTuple):
    """One request, made once and sent often."""

    unit: int
    pdu: bytes
    """Function code and data."""
    frame: bytes
    """The bytes on the wire (on TCP without the leading transaction id)."""
    head: bytes
    """The beginning of its answer: unit, function and byte count for a read, everything for a write."""
    size: int
    """Length of its answer, from the unit on, without CRC."""
    alike: bool
    """True if its RTU answer may equal the request, so that an echo could pass for it."""

    @property
    def is_read(self) -> bool:
        """True for a read: its answer carries data."""
        return self.pdu[0] <= READ_INPUT

    @property
    def is_bits(self) -> bool:
        """True for a read of coils or discrete inputs."""
        return self.pdu[0] <= READ_DISCRETE

    @property
    def address(self) -> int:
        """Of the first register or bit."""
        return self.pdu[1] << 8 | self.pdu[2]


ModbusAnswer = bytes | int
"""The data of an answer (empty for a write), or the exception code of a refusal."""


class FoundAnswer(NamedTuple):
    """An answer found in a buffer of RTU bytes."""

    start: int
    end: int
    answer: ModbusAnswer
    echoed: bool = False
    """True if an echo of our request precedes it."""


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


def count_of(ask: Ask) -> int:
    """How many registers or bits a read asks for."""
    return ask.pdu[3] << 8 | ask.pdu[4]


def resized(ask: Ask, count: int, seal: Seal) -> Ask:
    """The same read with another count."""
    return read(ask.unit, ask.pdu[0], ask.address, count, seal)


def trimmed(ask: Ask, data: bytes) -> bytes:
    """The part of a longer answer's data that `ask` wants."""
    wanted = data[: ask.size - 3]
    over = count_of(ask) % 8 if ask.is_bits else 0
    return wanted[:-1] + bytes((wanted[-1] & (1 << over) - 1,)) if over else wanted


def crc16(data: bytes) -> bytes:
    """CRC-16/Modbus in wire order: low byte first."""
    crc = 0xFFFF
    for byte in data:
        crc = (crc >> 8) ^ _CRC[(crc ^ byte) & 0xFF]
    return crc.to_bytes(2, "little")


def search(buffer: bytes, ask: Ask, echoes: bool | None) -> FoundAnswer | None:
    """Find the answer to `ask` in RTU bytes, at any position; None if it is not (yet) there.

    `echoes`: whether the adapter echoes what we send; None: not known. An echo of our request is skipped. If the
    answer would be the same bytes (FC05, FC06), the first copy counts as the echo and the answer must come a second
    time, unless the adapter is known not to echo.
    """
    at = buffer.find(ask.frame)
    if at >= 0 and not (ask.alike and echoes is False):
        found = _search(buffer, ask, at + len(ask.frame))
        return found and found._replace(echoed=True)
    return _search(buffer, ask, 0)


def read_requests(buffer: bytes) -> list[Ask]:
    """Complete read requests in RTU bytes, to find those of another master."""
    found = (read_request(buffer[at : at + _READ_REQUEST]) for at in range(len(buffer) - _READ_REQUEST + 1))
    return [request for request in found if request is not None]


def read_request(frame: bytes) -> Ask | None:
    """Parse a read request; None if the bytes are not one, or the CRC is wrong."""
    if len(frame) != _READ_REQUEST or not READ_COILS <= frame[1] <= READ_INPUT:
        return None
    count = frame[4] << 8 | frame[5]
    most = MOST_BITS if frame[1] <= READ_DISCRETE else MOST_REGISTERS
    if not 1 <= count <= most or crc16(frame[:-2]) != frame[-2:]:
        return None
    size = (count + 7) // 8 if frame[1] <= READ_DISCRETE else 2 * count
    return Ask(frame[0], frame[1:-2], frame, bytes((frame[0], frame[1], size)), 3 + size, alike=False)


def whole_frames(buffer: bytes) -> list[tuple[bytes, int]]:
    """The requests and answers with a valid CRC in RTU bytes, and where each ends."""
    found: list[tuple[bytes, int]] = []
    at = 0
    while at <= len(buffer) - _SHORTEST_BYTES:
        for size in _sizes(buffer, at):
            end = at + size
            if end <= len(buffer) and crc16(buffer[at : end - 2]) == buffer[end - 2 : end]:
                found.append((buffer[at:end], end))
                at = end
                break
        else:
            at += 1
    return found


def _sizes(buffer: bytes, at: int) -> tuple[int, ...]:
    """The possible lengths of a frame that begins there: as an answer, as a request."""
    function, after = buffer[at + 1], buffer[at + 2]
    if READ_COILS <= function <= READ_INPUT:
        return (_SHORTEST_BYTES + after, _READ_REQUEST) if after else (_READ_REQUEST,)
    if function in (WRITE_COIL, WRITE_REGISTER):
        return (_READ_REQUEST,)
    if function in (WRITE_COILS, WRITE_REGISTERS):
        return (_READ_REQUEST, 9 + buffer[at + 6]) if at + 6 < len(buffer) else ()
    return (_SHORTEST_BYTES,) if function & REFUSED else ()


def judge(data: bytes, start: int, end: int, ask: Ask) -> ModbusAnswer | None:
    """The answer in data[start:end] (unit, function, …, no check); None if it is not to `ask`."""
    if end - start == ask.size and data.startswith(ask.head, start):
        return data[start + 3 : end] if ask.is_read else b""
    if end - start == 3 and data[start] == ask.unit and data[start + 1] == ask.pdu[0] | REFUSED:
        return data[start + 2]
    return None


def _search(buffer: bytes, ask: Ask, start: int) -> FoundAnswer | None:
    unit = ask.unit
    at = buffer.find(unit, start)
    while 0 <= at <= len(buffer) - 5:
        size = 3 if buffer[at + 1] == ask.pdu[0] | REFUSED else ask.size
        end = at + size
        if end + 2 <= len(buffer):
            answer = judge(buffer, at, end, ask)
            if answer is not None and crc16(buffer[at:end]) == buffer[end : end + 2]:
                return FoundAnswer(at, end + 2, answer)
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

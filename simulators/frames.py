"""Modbus frames and how long they take on a serial wire. Pure.

After MODBUS over Serial Line V1.02 (2.5.1.1 silences, 2.5.1.2 and appendix B checksum) and MODBUS Messaging on TCP/IP
V1.0b (3.1.3 header).
"""

import struct
from typing import Final, NamedTuple

MBAP_SIZE: Final = 7
_FIXED: Final = {1: 8, 2: 8, 3: 8, 4: 8, 5: 8, 6: 8, 7: 4, 8: 8, 11: 4, 12: 4, 17: 4, 22: 10, 24: 6}
_COUNTED: Final = {15: 6, 16: 6, 20: 2, 21: 2, 23: 10}
_FAST_BAUD: Final = 19200
_FAST_SILENCE_S: Final = 0.00175


class Framing(NamedTuple):
    """The settings of a serial wire that decide how long a byte takes."""

    baudrate: int = 9600
    parity: bool = False
    stopbits: int = 1

    @property
    def character(self) -> float:
        """Seconds that one byte takes: start bit, 8 data bits, parity, stop bits."""
        return (9 + self.parity + self.stopbits) / self.baudrate

    @property
    def silence(self) -> float:
        """Seconds of silence that end a frame: 3.5 characters, 1.75 ms above 19200 baud."""
        return _FAST_SILENCE_S if self.baudrate > _FAST_BAUD else 3.5 * self.character


def crc(data: bytes) -> bytes:
    """The two checksum bytes of an RTU frame, low byte first."""
    value = 0xFFFF
    for byte in data:
        value = value >> 8 ^ _CRC[(value ^ byte) & 0xFF]
    return struct.pack("<H", value)


def rtu(unit: int, pdu: bytes) -> bytes:
    """An RTU frame."""
    body = bytes((unit,)) + pdu
    return body + crc(body)


def mbap(transaction: int, unit: int, pdu: bytes) -> bytes:
    """A Modbus TCP frame."""
    return struct.pack(">HHHB", transaction, 0, len(pdu) + 1, unit) + pdu


def request_size(frame: bytes | bytearray) -> int | None:
    """How many bytes the RTU request that begins like this has, checksum included.

    None: not yet known (more bytes are needed) or not knowable (an unknown function: only silence ends it).
    """
    if len(frame) < 2:
        return None
    if frame[1] in _FIXED:
        return _FIXED[frame[1]]
    count_at = _COUNTED.get(frame[1])
    if count_at is None or len(frame) <= count_at:
        return None
    return count_at + 1 + frame[count_at] + 2


def _crc_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = value >> 1 ^ (0xA001 if value & 1 else 0)
        table.append(value)
    return tuple(table)


_CRC: Final = _crc_table()

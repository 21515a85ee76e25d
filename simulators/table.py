"""The four tables of a slave's memory. Pure."""

import struct
from collections.abc import Iterable, Sequence


class Table:
    """One table (coils, discrete inputs, input or holding registers) over the span that the device's points use.

    Addresses between two points answer 0; `max_gap` bounds how many of them in a row one request may read through
    (None: any number, 0: every hole is refused). Outside the span nothing answers.
    """

    def __init__(self, spans: Iterable[tuple[int, int]], *, bits: bool, max_gap: int | None) -> None:
        spans = list(spans)
        self.bits = bits
        self.first = min((start for start, _ in spans), default=0)
        self._end = max((start + count for start, count in spans), default=0)
        self._size = 1 if bits else 2
        self._cells = bytearray((self._end - self.first) * self._size)
        self._max_gap = max_gap
        self._mapped = bytearray(self._end - self.first)
        for start, count in spans:
            self._mapped[start - self.first : start - self.first + count] = b"\1" * count
        self._known: dict[tuple[int, int], bool] = {}

    def answers(self, start: int, count: int) -> bool:
        """True if one request may read these addresses."""
        if start < self.first or start + count > self._end:
            return False
        if self._max_gap is None:
            return True
        known = self._known.get((start, count))
        if known is None:
            if len(self._known) >= 4096:
                self._known.clear()
            holes = self._mapped[start - self.first : start - self.first + count].split(b"\1")
            known = self._known[start, count] = max(map(len, holes)) <= self._max_gap
        return known

    def raw(self, start: int, count: int) -> bytes:
        """The data bytes of a read answer: registers high byte first, bits packed low bit first."""
        at = (start - self.first) * self._size
        cells = bytes(self._cells[at : at + count * self._size])
        return pack_bits(cells) if self.bits else cells

    def get(self, start: int, count: int) -> tuple[int, ...]:
        """Registers, or bits as 0 and 1."""
        at = (start - self.first) * self._size
        cells = self._cells[at : at + count * self._size]
        return tuple(cells) if self.bits else struct.unpack(f">{count}H", cells)

    def put(self, start: int, values: Sequence[int]) -> None:
        """Set registers, or bits by 0 and 1. Raises ValueError outside the span."""
        if start < self.first or start + len(values) > self._end:
            raise ValueError(f"{start}…{start + len(values) - 1} is outside {self.first}…{self._end - 1}")
        at = (start - self.first) * self._size
        cells = bytes(map(bool, values)) if self.bits else struct.pack(f">{len(values)}H", *values)
        self._cells[at : at + len(cells)] = cells


def pack_bits(bits: Sequence[int]) -> bytes:
    """Bits (0 or 1) into bytes, the first bit lowest (MODBUS Application Protocol V1.1b3, 6.1)."""
    number = 0
    for bit in reversed(bits):
        number = number << 1 | bit
    return number.to_bytes((len(bits) + 7) // 8, "little")


def unpack_bits(data: bytes, count: int) -> tuple[int, ...]:
    """The first `count` bits of packed bytes."""
    number = int.from_bytes(data, "little")
    return tuple(number >> at & 1 for at in range(count))

"""Wire times of frames. Pure; all times in seconds.

MODBUS over Serial Line V1.02, 2.5.1.1: frames are separated by 3.5 characters of silence, above 19200 baud by a fixed
1.75 ms. A character is counted as sent: 1 start + 8 data + parity + stop bits, so 10 bits for 8N1 (the standard's 11
bits hold for lines with parity or a second stop bit). Devices that need more silence have it in their profile.
"""

from typing import NamedTuple, Self

from drivers.modbus.settings import LineSettings

READ_REQUEST_BYTES = 8
"""Bytes of a read request as an RTU frame."""
_ETHERNET_S = 0.0002
_BYTE_S = 0.08e-6


class WireTime(NamedTuple):
    """The wire times of one line."""

    character: float
    """One character; 0 on TCP."""
    silence: float
    """t3.5, the least silence before a frame; 0 on TCP."""
    bus: bool

    @classmethod
    def of(cls, line: LineSettings) -> Self:
        """The times of a line. A bus behind TCP is computed with its configured baud rate."""
        if not line.is_bus:
            return cls(0.0, 0.0, bus=False)
        bits = 1 + 8 + (line.parity != "none") + line.stopbits
        character = bits / line.baudrate
        return cls(character, 0.00175 if line.baudrate > 19200 else 3.5 * character, bus=True)

    def frame(self, size: int) -> float:
        """A frame of `size` bytes, without silences."""
        return size * self.character

    def read(self, count: int, *, bits: bool, silence: float | None = None) -> float:
        """A complete read: request, answer and both silences, without the device's own time."""
        answer = answer_size(count, bits=bits)
        if not self.bus:
            return _ETHERNET_S + (12 + answer + 4) * _BYTE_S + (silence or 0.0)
        before = max(self.silence, silence or 0.0)
        return (READ_REQUEST_BYTES + answer) * self.character + before + self.silence

    def cost(self, count: int, *, bits: bool, silence: float | None = None) -> float:
        """The cost of a read for comparing plans: wire time on a bus.

        On TCP a request costs a round trip (assumed 1 ms) and a byte almost nothing: fewer requests win, then fewer
        bytes.
        """
        if self.bus:
            return self.read(count, bits=bits, silence=silence)
        return 0.001 + answer_size(count, bits=bits) * 1e-12


def answer_size(count: int, *, bits: bool) -> int:
    """Bytes of the answer to a read as an RTU frame: unit, function, byte count, data, CRC."""
    return 5 + ((count + 7) // 8 if bits else 2 * count)

"""What can be wrong with a unit, and what that makes of its answers. Pure: chance comes in as a seeded generator."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

Garble = Literal["noise", "flip", "cut"]


class Chance(Protocol):
    """What is used of `random.Random`."""

    def randrange(self, start: int, stop: int, /) -> int:
        """An integer from `start` up to, not including, `stop`."""
        ...

    def randbytes(self, n: int, /) -> bytes:
        """That many bytes."""
        ...


@dataclass(slots=True)
class Faults:
    """The knobs of one unit; they may be turned at any time and work from the next request on."""

    silent: bool = False
    """It does not answer (and does not act)."""
    delay: float = 0.0
    """Seconds on top of its latency, each time."""
    late: float = 0.0
    """Seconds on top, for the next answer only: longer than the master's time-out makes a late answer."""
    garble: Garble | None = None
    """Random bytes instead of the answer, a few bits turned round, or only its beginning."""
    wrong_unit: bool = False
    """It answers in the name of the next unit."""
    wrong_function: bool = False
    """It answers with another function code (3 instead of 4 and so on)."""
    echo: bool = False
    """The adapter sends the request back before the answer."""
    glitch: bytes = b""
    """Bytes that the transceiver makes when it turns round, just before the answer."""
    exception: int | None = None
    """It answers every request with this exception code (and does not act)."""
    baudrate: int | None = None
    """It is set to this baud rate: it hears only a master of the same one."""
    times: int | None = None
    """After this many requests all knobs go back to rest; None: they stay."""

    def spend(self) -> None:
        """One request has been seen."""
        self.late = 0.0
        if self.times is not None:
            self.times -= 1
            if self.times <= 0:
                self.clear()

    def clear(self) -> None:
        """Back to a healthy unit."""
        healthy = Faults()
        for name in self.__slots__:
            setattr(self, name, getattr(healthy, name))


def framed(faults: Faults, unit: int, pdu: bytes, wrap: Callable[[int, bytes], bytes]) -> bytes:
    """The bytes that really come back; `wrap` makes a frame (checksum or header) of a unit and a PDU."""
    if faults.wrong_unit:
        unit = unit % 247 + 1
    if faults.wrong_function:
        pdu = bytes((pdu[0] & 0x80 | (pdu[0] & 0x7F) % 4 + 1,)) + pdu[1:]
    return wrap(unit, pdu)


def garbled(garble: Garble | None, frame: bytes, chance: Chance, *, exposed: int) -> bytes:
    """The frame after the wire had its way with it; `flip` turns three bits within the first `exposed` bytes.

    On RTU the whole frame is exposed, and the checksum shows it. Over TCP only the header and the function code are:
    the transport has a checksum of its own, so a change of the data could not happen and could not be noticed.
    """
    if garble == "noise":
        return chance.randbytes(len(frame))
    if garble == "cut":
        return frame[: chance.randrange(1, len(frame))]
    if garble == "flip":
        turned = bytearray(frame)
        for _ in range(3):
            turned[chance.randrange(0, min(exposed, len(turned)))] ^= 1 << chance.randrange(0, 8)
        return bytes(turned)
    return frame

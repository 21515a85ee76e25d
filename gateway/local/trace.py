"""Turns the bytes of a line into requests and answers, for people and the diagnosis of wiring. Pure.

The input is what a line remembers: `>` sent or `<` received, monotonic seconds, bytes. Received bytes come in pieces;
on a bus all pieces after a request belong to it, on Modbus TCP the transaction id decides.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from struct import unpack
from typing import Literal, NamedTuple

Piece = tuple[str, float, bytes]
Verdict = Literal["answered", "exception", "garbled", "nothing"]

EXCEPTIONS = {
    1: "illegal function",
    2: "illegal address",
    3: "illegal value",
    4: "device failure",
    5: "acknowledge",
    6: "busy",
    8: "memory parity error",
    10: "gateway path unavailable",
    11: "gateway target failed to respond",
}
"""MODBUS Application Protocol V1.1b3, 7."""
NOBODY = frozenset((10, 11))
"""Exceptions of a converter for a unit that does not answer."""
FUNCTIONS = {
    1: "read coil",
    2: "read discrete",
    3: "read holding",
    4: "read input",
    5: "write coil",
    6: "write holding",
    15: "write coil",
    16: "write holding",
}
_READS_BITS = (1, 2)
_READS = (1, 2, 3, 4)
_MANY = (15, 16)
_REFUSED = 0x80
_MBAP = 6
_MAX_HELD_BYTES, _MAX_STRANGE_BYTES = 520, 512
"""Bytes that are searched for the start of a frame; bytes kept of what fits nothing."""
_MAX_HEARD_BYTES = 1024
"""The last bytes after a request on a bus that are searched for its answer: four of the longest frames."""
_IN_FLIGHT = 16


class Frame(NamedTuple):
    """A valid frame of some unit."""

    start: int
    end: int
    unit: int
    pdu: bytes

    @property
    def exception(self) -> int | None:
        """The exception code of a refusal."""
        return self.pdu[1] if self.pdu[0] & _REFUSED else None


@dataclass(frozen=True, slots=True)
class TracedExchange:
    """A request and what came after it."""

    sent: float
    """Monotonic seconds."""
    unit: int
    pdu: bytes
    request: bytes
    """As sent."""
    received: bytes
    heard: float | None
    """When the last byte came (monotonic seconds)."""
    answer: Frame | None
    """The answer of the requested unit and function."""
    stray: tuple[Frame, ...]
    """Valid answers of other units, that is, late ones."""
    echoed: bool
    """Our own request came back as an echo."""
    aside: bool = False
    """A side request that only proves which unit answers, and may be refused."""

    @property
    def verdict(self) -> Verdict:
        """The result of the request."""
        if self.answer is not None:
            return "answered" if self.answer.exception is None else "exception"
        rest = len(self.received) - (len(self.request) if self.echoed else 0)
        return "garbled" if rest > 0 and not self.stray else "nothing"

    @property
    def strange(self) -> bytes:
        """Bytes that came for it but are not its answer."""
        return self.glitch if self.answer is not None else self.received

    @property
    def glitch(self) -> bytes:
        """Bytes before a good answer that are not part of it."""
        if self.answer is None:
            return b""
        before = self.received[: self.answer.start]
        return before.replace(self.request, b"", 1) if self.echoed else before

    @property
    def seconds(self) -> float | None:
        """Seconds from sending the request to the answer's last byte."""
        return None if self.heard is None or self.answer is None else self.heard - self.sent


def exchanges(pieces: Iterable[Piece], *, bus: bool) -> list[TracedExchange]:
    """The exchanges in order of the requests; what came before the first request is left out."""
    return list(_on_bus(pieces) if bus else _on_tcp(pieces))


def crc16(data: bytes) -> int:
    """CRC-16/Modbus (MODBUS over Serial Line V1.02, 6.2.2)."""
    crc = 0xFFFF
    for byte in data:
        crc = crc >> 8 ^ _CRC[(crc ^ byte) & 0xFF]
    return crc


def _crc_of(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ 0xA001 if byte & 1 else byte >> 1
    return byte


_CRC = tuple(_crc_of(byte) for byte in range(256))


def is_sound(frame: bytes) -> bool:
    """True if the last two bytes are the checksum of the others."""
    return len(frame) >= 4 and crc16(frame[:-2]) == int.from_bytes(frame[-2:], "little")


def answers(data: bytes) -> Iterator[Frame]:
    """The valid RTU answers in the bytes, of any unit."""
    at = 0
    while at <= len(data) - 5:
        size = _answer_size(data, at)
        if size is not None and at + size <= len(data) and is_sound(data[at : at + size]):
            yield Frame(at, at + size, data[at], data[at + 1 : at + size - 2])
            at += size
        else:
            at += 1


def question(pdu: bytes) -> str:
    """A request in words: `read holding 3 x 2`, `write coil 0 = 0xff00`."""
    name = FUNCTIONS.get(pdu[0])
    if name is None or len(pdu) < 5:
        return f"function {pdu[0]} {pdu[1:].hex(' ')}".rstrip()
    address, word = unpack(">HH", pdu[1:5])
    if pdu[0] in _READS:
        return f"{name} {address} x {word}"
    if pdu[0] in _MANY:
        return f"{name} {address} x {word} = {pdu[6:].hex(' ')}"
    return f"{name} {address} = 0x{word:04x}"


def reply(asked: bytes, pdu: bytes) -> str:
    """An answer in words: registers as numbers, bits as 0 and 1, the name of an exception."""
    if pdu[0] & _REFUSED:
        return f"exception {pdu[1]}, {EXCEPTIONS.get(pdu[1], 'unknown')}"
    if pdu[0] not in _READS:
        return "done"
    data = pdu[2:]
    if pdu[0] in _READS_BITS:
        count = int.from_bytes(asked[3:5], "big")
        return "".join(str(data[at // 8] >> at % 8 & 1) for at in range(min(count, 8 * len(data))))
    return " ".join(str(word) for word in unpack(f">{len(data) // 2}H", data[: len(data) & ~1]))


def _on_bus(pieces: Iterable[Piece]) -> Iterator[TracedExchange]:
    asked: Piece | None = None
    received, heard = b"", None
    for piece in pieces:
        way, at, data = piece
        if way == "<":
            received, heard = (received + data)[-_MAX_HEARD_BYTES:], at
            continue
        if asked is not None:
            yield _heard(asked, received, heard)
        asked, received, heard = piece, b"", None
    if asked is not None:
        yield _heard(asked, received, heard)


def _heard(asked: Piece, received: bytes, heard: float | None) -> TracedExchange:
    way, sent, request = asked
    unit, pdu = request[0], request[1:-2]
    echo = received.find(request)
    rest = received if echo < 0 else received[:echo] + bytes(len(request)) + received[echo + len(request) :]
    answer = _wanted(rest, unit, pdu)
    stray = tuple(frame for frame in answers(rest) if frame.unit != unit and frame.unit)
    if answer is None and echo >= 0 and pdu[0] not in _READS and received.count(request) > 1:
        at = received.rfind(request)  # the answer to a single write has the same bytes as its echo
        answer = Frame(at, at + len(request), unit, pdu)
    elif answer is None and echo >= 0 and pdu[0] in (5, 6):
        answer, echo = Frame(echo, echo + len(request), unit, pdu), -1
    return TracedExchange(sent, unit, pdu, request, received, heard, answer, stray, echo >= 0, way == "?")


def _wanted(data: bytes, unit: int, pdu: bytes) -> Frame | None:
    """The answer of this unit to this request, at any position."""
    function = pdu[0]
    sizes = {function: _size_for(pdu), function | _REFUSED: 5}
    for at in range(len(data) - 4):
        size = sizes.get(data[at + 1]) if data[at] == unit else None
        if size is not None and at + size <= len(data) and is_sound(data[at : at + size]):
            return Frame(at, at + size, unit, data[at + 1 : at + size - 2])
    return None


def _size_for(pdu: bytes) -> int:
    """The length of the RTU answer to this request."""
    if pdu[0] not in _READS:
        return 8
    count = int.from_bytes(pdu[3:5], "big")
    return 5 + ((count + 7) // 8 if pdu[0] in _READS_BITS else 2 * count)


def _answer_size(data: bytes, at: int) -> int | None:
    """The length of the RTU answer that would begin here."""
    function = data[at + 1]
    if function & _REFUSED:
        return 5
    if function in _READS:
        return 5 + data[at + 2]
    return 8 if function in FUNCTIONS else None


def _on_tcp(pieces: Iterable[Piece]) -> Iterator[TracedExchange]:
    """Match answers by transaction id; what fits nothing belongs to the request before it."""
    asked: list[_Asked] = []
    held = b""
    for way, at, data in pieces:
        if way == ">":
            if asked and held:
                asked[-1].is_followed_by(held)
            held = b""
            asked.append(_Asked(at, data))
            continue
        held += data
        start = 0
        for begin, end in _mbap_frames(held):
            _give(asked, held[start:begin], held[begin:end], at)
            start = end
        held = held[start:][-_MAX_HELD_BYTES:]
    if asked and held:
        asked[-1].is_followed_by(held)
    for one in asked:
        yield one.exchange()


class _Asked:
    """A request over Modbus TCP and what came for it."""

    def __init__(self, sent: float, request: bytes) -> None:
        self.sent = sent
        self.request = request
        self.strange = b""
        self.reply = b""
        self.heard: float | None = None

    @property
    def number(self) -> int:
        return int.from_bytes(self.request[:2], "big")

    def is_followed_by(self, strange: bytes) -> None:
        """Add bytes that fit nothing."""
        self.strange = (self.strange + strange)[:_MAX_STRANGE_BYTES]

    def fits(self, frame: bytes, *, alone: bool) -> bool:
        """True if this frame answers it; a frame with odd ids only if no other request is open."""
        number = int.from_bytes(frame[:2], "big")
        own = number == self.number and frame[_MBAP] == self.request[_MBAP]
        odd = number in (0, self.number, self.number + 1) and frame[_MBAP] in (0, 255, self.request[_MBAP])
        return not self.reply and frame[_MBAP + 1] & 0x7F == self.request[_MBAP + 1] and (own or (alone and odd))

    def exchange(self) -> TracedExchange:
        """The exchange."""
        unit, pdu = self.request[_MBAP], self.request[_MBAP + 1 :]
        received = self.strange + self.reply
        start = len(received) - len(self.reply)
        answer = Frame(start, len(received), unit, self.reply[_MBAP + 1 :]) if self.reply else None
        return TracedExchange(self.sent, unit, pdu, self.request, received, self.heard, answer, (), echoed=False)


def _give(asked: list[_Asked], before: bytes, frame: bytes, at: float) -> None:
    """Take a frame and the strange bytes before it."""
    if not asked:
        return
    waiting = [one for one in asked[-_IN_FLIGHT:] if not one.reply]
    match = next((one for one in waiting if one.fits(frame, alone=False)), None)
    if match is None and waiting and waiting[-1].fits(frame, alone=True):
        match = waiting[-1]
    owner = match or asked[-1]
    owner.is_followed_by(before)
    if match is not None:
        match.reply, match.heard = frame, at
    elif not owner.reply:
        owner.is_followed_by(frame)


def _mbap_frames(data: bytes) -> Iterator[tuple[int, int]]:
    """Start and end of the valid Modbus TCP frames in the bytes."""
    at = data.find(b"\0\0\0", 2) - 2
    while at >= 0:
        end = at + _MBAP + data[at + 5] if len(data) - at > _MBAP + 1 else 0
        sound = end >= at + _MBAP + 3 and end <= len(data) and data[at + _MBAP + 1] & 0x7F in FUNCTIONS
        if sound:
            yield at, end
        at = data.find(b"\0\0\0", (end if sound else at + 1) + 2) - 2

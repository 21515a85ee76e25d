"""Parses what a broker sends by MQTT 3.1.1 and 5, QoS 0 and 1. Pure.

The input is untrusted: anybody with the broker's login can put anything into a message. So `Parser` takes time in
proportion to the bytes received, keeps a bounded number of them, and reads only what is used of a message: topic,
message id, Response Topic, Correlation Data, payload. Unused text is not validated.

Section numbers refer to the MQTT 5 specification.
"""

from typing import Final, NamedTuple

MAX_PACKET_BYTES: Final = 256 << 10
"""The largest PUBLISH that is kept (announced in CONNECT), bytes. Of a larger one only the size is reported."""

V5: Final = 5
CONNECTED, BAD_VERSION_3, NOT_SUPPORTED = 0x00, 0x01, 0x84
PACKET_TOO_LARGE, RETAIN_NOT_SUPPORTED, SESSION_TAKEN_OVER = 0x95, 0x9A, 0x8E
FAILURE: Final = 0x80
"""Reason codes from here on are refusals."""
NO_LISTENER, NOT_AUTHORIZED, TOPIC_INVALID, FORMAT_INVALID = 0x10, 0x87, 0x90, 0x99
STOPPING: Final = frozenset((NOT_AUTHORIZED, TOPIC_INVALID, FORMAT_INVALID))
"""Refusals that a person has to fix."""

_CONNACK, _PUBLISH, _PUBACK, _SUBACK, _PINGRESP, _DISCONNECT = 2, 3, 4, 9, 13, 14
_KEPT = {_CONNACK: 16 << 10, _PUBACK: 3, _SUBACK: 16 << 10, _PINGRESP: 0, _DISCONNECT: 1}
"""Bytes of a packet's body that are read; the rest is skipped."""
_HEAD_BYTES = 2 + 0xFFFF + 2
"""The most bytes of topic and message id of a PUBLISH."""
_NUMBERS = {
    **dict.fromkeys((0x01, 0x17, 0x19, 0x24, 0x25, 0x28, 0x29, 0x2A), 1),
    **dict.fromkeys((0x13, 0x21, 0x22, 0x23), 2),
    **dict.fromkeys((0x02, 0x11, 0x18, 0x27), 4),
}
_TEXTS = frozenset((0x03, 0x08, 0x09, 0x12, 0x15, 0x16, 0x1A, 0x1C, 0x1F))
_PAIR, _VARIABLE = 0x26, 0x0B
_RECEIVE_MAXIMUM, _PACKET_LIMIT, _RESPONSE_TOPIC, _CORRELATION = 0x21, 0x27, 0x08, 0x09
_SERVER_KEEPALIVE, _MAXIMUM_QOS, _RETAIN_AVAILABLE = 0x13, 0x24, 0x25
_PROPERTIES = 256
"""Properties of one packet that are read."""

_REASONS: Final = {
    0x00: "normal disconnection",
    0x80: "unspecified error",
    0x81: "malformed packet",
    0x82: "protocol error",
    0x83: "implementation specific error",
    0x84: "unsupported protocol version",
    0x85: "client identifier not valid",
    0x86: "bad user name or password",
    0x87: "not authorized",
    0x88: "server unavailable",
    0x89: "server busy",
    0x8A: "banned",
    0x8B: "server shutting down",
    0x8C: "bad authentication method",
    0x8D: "keep alive timeout",
    0x8E: "session taken over",
    0x8F: "topic filter invalid",
    0x90: "topic name invalid",
    0x93: "receive maximum exceeded",
    0x94: "topic alias invalid",
    0x95: "packet too large",
    0x96: "message rate too high",
    0x97: "quota exceeded",
    0x98: "administrative action",
    0x99: "payload format invalid",
    0x9A: "retain not supported",
    0x9B: "QoS not supported",
    0x9C: "use another server",
    0x9D: "server moved",
    0x9F: "connection rate exceeded",
    0xA0: "maximum connect time",
}
_OLD_REASONS: Final = {1: NOT_SUPPORTED, 2: 0x85, 3: 0x88, 4: 0x86, 5: 0x87}
"""The return codes of MQTT 3.1.1 (3.2.2.3 there) as reason codes of MQTT 5."""


def reason(code: int) -> str:
    """The meaning of a reason code (2.4), with the code."""
    return f"{_REASONS.get(code, 'unknown reason')} (0x{code:02x})"


class Malformed(Exception):
    """The input is not MQTT, or not allowed for this client: the connection must be closed."""


class Connack(NamedTuple):
    """The answer to CONNECT (3.2)."""

    code: int
    present: bool = False
    receive_maximum: int = 65535
    packet_limit: int | None = None
    retain: bool = True
    qos: int = 2
    keepalive: int | None = None
    """Seconds; None: the client's own."""


class Publish(NamedTuple):
    """A message (3.3)."""

    topic: str | None
    """None: it is not UTF-8."""
    payload: bytes
    """Empty if the packet is larger than MAX_PACKET_BYTES."""
    size: int
    """Bytes of the payload as sent; for a packet over MAX_PACKET_BYTES somewhat more."""
    qos: int = 0
    retain: bool = False
    mid: int = 0
    response_topic: str | None = None
    correlation: bytes | None = None


class Puback(NamedTuple):
    """The answer to a PUBLISH (3.4)."""

    mid: int
    code: int


class Suback(NamedTuple):
    """The answer to a SUBSCRIBE of one filter (3.9)."""

    mid: int
    code: int


class Pong(NamedTuple):
    """The answer to a ping (3.13)."""


class Disconnect(NamedTuple):
    """The broker says why it ends the connection (3.14)."""

    code: int


Packet = Connack | Publish | Puback | Suback | Pong | Disconnect


class Parser:
    """Bytes in, packets out; the first is a CONNACK. Must not be used after Malformed."""

    def __init__(self, version: int) -> None:
        self._version = version
        self._begun = False
        self._held = bytearray()
        self._at = 0
        self._skip = 0
        """Bytes of a packet that still arrive and are skipped."""
        self._ready: Packet | None = None
        """The packet whose remaining bytes are skipped."""

    def feed(self, data: bytes) -> None:
        """Add received bytes. Call when `next` has returned None, so that no more than one packet is held."""
        if self._skip:
            over = min(self._skip, len(data))
            self._skip -= over
            data = data[over:]
        if self._at:
            del self._held[: self._at]
            self._at = 0
        self._held += data

    def next(self) -> Packet | None:
        """The next packet; None: more bytes are needed. Raises Malformed."""
        if self._ready is not None:
            if self._skip:
                return None
            packet, self._ready = self._ready, None
            return packet
        header = self._header()
        if header is None:
            return None
        first, begin, size = header
        kind = first >> 4
        kept = _kept(kind, size)
        self._begun = True
        if len(self._held) - begin < kept:
            return None
        body = bytes(memoryview(self._held)[begin : begin + kept])
        packet = self._packet(kind, first & 0x0F, body, size)
        end = begin + size
        if end > len(self._held):
            self._skip = end - len(self._held)
            self._at = len(self._held)
            self._ready = packet
            return None
        self._at = end
        return packet

    def _header(self) -> tuple[int, int, int] | None:
        """The first byte, the start of the body, its size (2.1)."""
        held, at, size = self._held, self._at, 0
        if not self._begun and held and held[0] >> 4 != _CONNACK:
            raise Malformed("it does not begin with an answer to CONNECT")
        for place in range(1, 5):
            if at + place >= len(held):
                return None
            byte = held[at + place]
            size |= (byte & 0x7F) << 7 * (place - 1)
            if byte < 0x80:
                return held[at], at + place + 1, size
        raise Malformed("a length of more than four bytes")

    def _packet(self, kind: int, flags: int, body: bytes, size: int) -> Packet:
        if kind == _PUBACK and size >= 2:
            return Puback(body[0] << 8 | body[1], body[2] if size > 2 else 0)
        if kind == _PUBLISH:
            return _publish(flags, body, size, self._version)
        if kind == _CONNACK and size >= 2:
            return _connack(body, self._version)
        if kind == _SUBACK and size >= 3:
            return _suback(body, size, self._version)
        if kind == _PINGRESP:
            return Pong()
        if kind == _DISCONNECT and self._version == V5:
            return Disconnect(body[0] if size else 0)
        raise Malformed(f"a packet of kind {kind} with {size} bytes, which no broker sends to us")


def _kept(kind: int, size: int) -> int:
    if kind == _PUBLISH:
        # Including the fixed header of up to five bytes.
        return size if size <= MAX_PACKET_BYTES - 5 else _HEAD_BYTES
    limit = _KEPT.get(kind, 0)
    if size > limit and kind in (_CONNACK, _SUBACK):
        raise Malformed(f"an answer of {size} bytes")
    return min(size, limit)


def _publish(flags: int, body: bytes, size: int, version: int) -> Publish:
    qos, end = flags >> 1 & 3, 2 + int.from_bytes(body[:2], "big")
    if qos > 1:
        raise Malformed(f"a message of QoS {qos}, which was never subscribed")
    after = end + 2 * qos
    mid = int.from_bytes(body[end:after], "big") if qos else 0
    if len(body) < after or (qos and not mid):
        raise Malformed("a message without topic or message id")
    try:
        topic: str | None = body[2:end].decode()
    except UnicodeDecodeError:
        topic = None
    retain = bool(flags & 1)
    if len(body) < size:
        return Publish(topic, b"", max(size - after, MAX_PACKET_BYTES + 1), qos, retain, mid)
    texts: dict[int, bytes] = {}
    if version == V5:
        begin, after = _extent(body, after)
        _walk(body, begin, after, texts=texts)
    response = texts.get(_RESPONSE_TOPIC)
    return Publish(
        topic,
        body[after:],
        size - after,
        qos,
        retain,
        mid,
        None if response is None else response.decode(errors="replace"),
        texts.get(_CORRELATION),
    )


def _extent(body: bytes, at: int) -> tuple[int, int]:
    """Where properties begin and end (2.2.2), cut at the end of the packet."""
    size = 0
    for place in range(4):
        if at >= len(body):
            break
        byte, at = body[at], at + 1
        size |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            break
    return at, min(at + size, len(body))


def _walk(
    body: bytes, at: int, end: int, *, numbers: dict[int, int] | None = None, texts: dict[int, bytes] | None = None
) -> None:
    """Collect the first properties between `at` and `end`; stops at an invalid one."""
    for _ in range(_PROPERTIES):
        if at >= end:
            return
        name, at = body[at], at + 1
        if size := _NUMBERS.get(name):
            if numbers is not None and at + size <= end:
                numbers[name] = int.from_bytes(body[at : at + size], "big")
            at += size
        elif name in _TEXTS:
            size = int.from_bytes(body[at : at + 2], "big")
            if texts is not None and at + 2 + size <= end:
                texts.setdefault(name, body[at + 2 : at + 2 + size])
            at += 2 + size
        elif name == _PAIR:
            at += 2 + int.from_bytes(body[at : at + 2], "big")
            at += 2 + int.from_bytes(body[at : at + 2], "big")
        elif name == _VARIABLE:
            while at < end and body[at] >= 0x80:
                at += 1
            at += 1
        else:
            return


def _connack(body: bytes, version: int) -> Connack:
    code, present = body[1], bool(body[0] & 1)
    if version != V5:
        return Connack(_OLD_REASONS.get(code, code | FAILURE) if code else CONNECTED, present)
    if len(body) == 2:
        # The answer of MQTT 3.1.1 has no properties: this broker does not speak MQTT 5.
        return Connack(NOT_SUPPORTED if code < FAILURE else code)
    numbers: dict[int, int] = {}
    begin, end = _extent(body, 2)
    _walk(body, begin, end, numbers=numbers)
    return Connack(
        _OLD_REASONS.get(code, code | FAILURE) if 0 < code < FAILURE else code,
        present,
        max(1, numbers.get(_RECEIVE_MAXIMUM, 65535)),
        numbers.get(_PACKET_LIMIT) or None,
        bool(numbers.get(_RETAIN_AVAILABLE, 1)),
        numbers.get(_MAXIMUM_QOS, 2),
        numbers.get(_SERVER_KEEPALIVE),
    )


def _suback(body: bytes, size: int, version: int) -> Suback:
    after = _extent(body, 2)[1] if version == V5 else 2
    if after >= size:
        raise Malformed("an answer to SUBSCRIBE without a code")
    return Suback(body[0] << 8 | body[1], max(body[after:]))

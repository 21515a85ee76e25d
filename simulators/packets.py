"""MQTT 3.1.1 and 5 on the wire, as far as a small broker needs it: QoS 0 and 1. Pure.

Section numbers are those of the MQTT 5 specification. Every parser raises `PacketError` on what is not MQTT.
"""

from dataclasses import dataclass
from typing import Final

CONNECT, CONNACK, PUBLISH, PUBACK = 1, 2, 3, 4
SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK = 8, 9, 10, 11
PINGREQ, PINGRESP, DISCONNECT = 12, 13, 14

SESSION_EXPIRY: Final = 0x11
WILL_DELAY: Final = 0x18
RECEIVE_MAXIMUM: Final = 0x21
TOPIC_ALIAS: Final = 0x23
PACKET_LIMIT: Final = 0x27

_NUMBERS: Final = {
    **dict.fromkeys((0x01, 0x17, 0x19, 0x24, 0x25, 0x28, 0x29, 0x2A), 1),
    **dict.fromkeys((0x13, 0x21, 0x22, 0x23), 2),
    **dict.fromkeys((0x02, 0x11, 0x18, 0x27), 4),
}
_TEXTS: Final = frozenset((0x03, 0x08, 0x09, 0x12, 0x15, 0x16, 0x1A, 0x1C, 0x1F))
_PAIR: Final = 0x26
_VARIABLE: Final = 0x0B


class PacketError(Exception):
    """These bytes are not MQTT; `code` is the reason code for the DISCONNECT."""

    def __init__(self, text: str, code: int = 0x81) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True, slots=True)
class PublishPacket:
    """A message (3.3). `properties`: as they came, without their length."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    properties: bytes = b""
    mid: int = 0


@dataclass(frozen=True, slots=True)
class Connect:
    """A CONNECT (3.1)."""

    version: int
    clean: bool
    keepalive: int
    client_id: str
    will: PublishPacket | None = None
    will_delay: int = 0
    username: str | None = None
    password: bytes | None = None
    session_expiry: int = 0
    receive_maximum: int = 65535
    packet_limit: int = 268435455


@dataclass(frozen=True, slots=True)
class SubscribedFilter:
    """One filter of a SUBSCRIBE (3.8.3)."""

    filter: str
    qos: int
    no_local: bool = False
    as_published: bool = False
    retain_handling: int = 0


@dataclass(slots=True)
class Reader:
    """Takes fields off the front of a packet's body."""

    body: bytes
    at: int = 0

    def take(self, size: int) -> bytes:
        """The next `size` bytes."""
        piece = self.body[self.at : self.at + size]
        if len(piece) < size:
            raise PacketError("a packet that ends early")
        self.at += size
        return piece

    def number(self, size: int) -> int:
        """A big-endian number."""
        return int.from_bytes(self.take(size), "big")

    def variable(self) -> int:
        """A variable byte integer (1.5.5)."""
        value = 0
        for place in range(4):
            byte = self.number(1)
            value |= (byte & 0x7F) << 7 * place
            if byte < 0x80:
                return value
        raise PacketError("a length of more than four bytes")

    def binary(self) -> bytes:
        """Bytes with a length before them."""
        return self.take(self.number(2))

    def text(self) -> str:
        """UTF-8 with a length before it."""
        try:
            text = self.binary().decode()
        except UnicodeDecodeError as error:
            raise PacketError("text that is not UTF-8") from error
        if "\0" in text:
            raise PacketError("text with a zero in it")
        return text

    def rest(self) -> bytes:
        """All that is left."""
        return self.take(len(self.body) - self.at)

    def properties(self) -> tuple[bytes, dict[int, int]]:
        """The properties as they are, and the numbers among them."""
        raw = self.take(self.variable())
        inner, numbers = Reader(raw), dict[int, int]()
        while inner.at < len(raw):
            name = inner.number(1)
            if size := _NUMBERS.get(name):
                numbers[name] = inner.number(size)
            elif name in _TEXTS:
                inner.binary()
            elif name == _PAIR:
                inner.binary()
                inner.binary()
            elif name == _VARIABLE:
                inner.variable()
            else:
                raise PacketError(f"no property has the number {name}")
        return raw, numbers


def split(buffer: bytes | bytearray, limit: int) -> tuple[int, bytes, int] | None:
    """First byte, body and whole length of the packet at the front; None: more is needed."""
    size = 0
    for place in range(1, 5):
        if place >= len(buffer):
            return None
        size |= (buffer[place] & 0x7F) << 7 * (place - 1)
        if buffer[place] < 0x80:
            whole = 1 + place + size
            if whole > limit:
                raise PacketError("a packet over the limit", 0x95)
            return (buffer[0], bytes(buffer[1 + place : whole]), whole) if len(buffer) >= whole else None
    raise PacketError("a length of more than four bytes")


def parse_connect(body: bytes) -> Connect:
    """A CONNECT (3.1)."""
    reader = Reader(body)
    if reader.binary() != b"MQTT" or (version := reader.number(1)) not in (4, 5):
        raise PacketError("neither MQTT 3.1.1 nor 5", 0x84)
    flags, keepalive = reader.number(1), reader.number(2)
    numbers = reader.properties()[1] if version == 5 else {}
    client_id = reader.text()
    will, delay = None, 0
    if flags & 0x04:
        raw, about = reader.properties() if version == 5 else (b"", dict[int, int]())
        delay = about.get(WILL_DELAY, 0)
        if delay:  # 3.3.2.3: a Will Delay is no property of a PUBLISH
            raw = raw.replace(bytes((WILL_DELAY,)) + delay.to_bytes(4, "big"), b"", 1)
        will = PublishPacket(reader.text(), reader.binary(), min(1, flags >> 3 & 3), bool(flags & 0x20), raw)
    username = reader.text() if flags & 0x80 else None
    password = reader.binary() if flags & 0x40 else None
    clean = bool(flags & 0x02)
    lasting = 0xFFFFFFFF if version == 4 and not clean else 0
    return Connect(
        version,
        clean,
        keepalive,
        client_id,
        will,
        delay,
        username,
        password,
        numbers.get(SESSION_EXPIRY, lasting),
        numbers.get(RECEIVE_MAXIMUM, 65535),
        numbers.get(PACKET_LIMIT, 268435455),
    )


def parse_publish(flags: int, body: bytes, version: int) -> PublishPacket:
    """A PUBLISH (3.3). QoS 2 is refused."""
    reader = Reader(body)
    qos = flags >> 1 & 3
    topic = reader.text()
    mid = reader.number(2) if qos else 0
    if qos > 1:
        raise PacketError("QoS 2 is not offered", 0x9B)
    if not topic or "+" in topic or "#" in topic:
        raise PacketError("no topic to publish on", 0x90)
    properties, numbers = reader.properties() if version == 5 else (b"", dict[int, int]())
    if TOPIC_ALIAS in numbers:
        raise PacketError("topic aliases are not offered", 0x94)
    return PublishPacket(topic, reader.rest(), qos, bool(flags & 1), properties, mid)


def parse_subscribe(body: bytes, version: int) -> tuple[int, list[SubscribedFilter]]:
    """Message id and filters of a SUBSCRIBE (3.8)."""
    reader = Reader(body)
    mid = reader.number(2)
    if version == 5:
        reader.properties()
    wanted = []
    while reader.at < len(body):
        name, options = reader.text(), reader.number(1)
        wanted.append(
            SubscribedFilter(name, min(1, options & 3), bool(options & 4), bool(options & 8), options >> 4 & 3)
        )
    return mid, wanted


def parse_unsubscribe(body: bytes, version: int) -> tuple[int, list[str]]:
    """Message id and filters of an UNSUBSCRIBE (3.10)."""
    reader = Reader(body)
    mid = reader.number(2)
    if version == 5:
        reader.properties()
    filters = []
    while reader.at < len(body):
        filters.append(reader.text())
    return mid, filters


def packet(kind: int, body: bytes, flags: int = 0) -> bytes:
    """A packet with its fixed header (2.1)."""
    return bytes((kind << 4 | flags,)) + variable(len(body)) + body


def variable(value: int) -> bytes:
    """A variable byte integer (1.5.5)."""
    encoded = bytearray()
    while True:
        value, byte = value >> 7, value & 0x7F
        encoded.append(byte | 0x80 if value else byte)
        if not value:
            return bytes(encoded)


def connack(version: int, code: int, *, present: bool = False, **numbers: int | None) -> bytes:
    """A CONNACK (3.2). `numbers`: `receive_maximum`, `packet_limit`."""
    body = bytes((present, code if version == 5 or code == 0 else 5))
    if version == 5:
        properties = b""
        if (receive_maximum := numbers.get("receive_maximum")) is not None:
            properties += bytes((RECEIVE_MAXIMUM,)) + receive_maximum.to_bytes(2, "big")
        if (packet_limit := numbers.get("packet_limit")) is not None:
            properties += bytes((PACKET_LIMIT,)) + packet_limit.to_bytes(4, "big")
        body += variable(len(properties)) + properties
    return packet(CONNACK, body)


def publish(message: PublishPacket, version: int) -> bytes:
    """A PUBLISH (3.3)."""
    topic = message.topic.encode()
    body = len(topic).to_bytes(2, "big") + topic
    if message.qos:
        body += message.mid.to_bytes(2, "big")
    if version == 5:
        body += variable(len(message.properties)) + message.properties
    return packet(PUBLISH, body + message.payload, message.qos << 1 | message.retain)


def puback(version: int, mid: int, code: int) -> bytes:
    """A PUBACK (3.4); MQTT 3.1.1 has no word for a refusal."""
    return packet(PUBACK, mid.to_bytes(2, "big") + (bytes((code,)) if version == 5 and code else b""))


def suback(version: int, mid: int, codes: list[int]) -> bytes:
    """A SUBACK (3.9)."""
    return packet(SUBACK, mid.to_bytes(2, "big") + (b"\0" if version == 5 else b"") + bytes(codes))


def unsuback(version: int, mid: int, count: int) -> bytes:
    """An UNSUBACK (3.11)."""
    return packet(UNSUBACK, mid.to_bytes(2, "big") + (bytes(1 + count) if version == 5 else b""))


def matches(pattern: str, topic: str) -> bool:
    """A topic filter and a topic (4.7)."""
    if topic.startswith("$") and pattern[:1] in "+#":
        return False
    levels, given = pattern.split("/"), topic.split("/")
    for n, level in enumerate(levels):
        if level == "#":
            return True
        if n >= len(given) or level not in ("+", given[n]):
            return False
    return len(levels) == len(given)


def valid_filter(pattern: str) -> bool:
    """A filter that a client may subscribe to (4.7.1)."""
    levels = pattern.split("/")
    return bool(pattern) and all(
        (level in ("+", "#") or not set(level) & set("+#")) and (level != "#" or n == len(levels) - 1)
        for n, level in enumerate(levels)
    )

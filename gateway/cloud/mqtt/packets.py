"""The packets that we send: MQTT 3.1.1 and 5, QoS 1. Pure. Section numbers are those of the MQTT 5 specification."""

from collections.abc import Iterable
from typing import Final, NamedTuple

from gateway.cloud.mqtt.codec import MAX_PACKET, V5

CONTENT_TYPE: Final = "application/cloudevents+json"
PING: Final = b"\xc0\x00"
GOODBYE: Final = b"\xe0\x00"

_EXPIRY, _RECEIVE_MAXIMUM, _PACKET_LIMIT, _WILL_DELAY = 0x11, 0x21, 0x27, 0x18
_CONTENT_TYPE, _CORRELATION, _PAIR = 0x03, 0x09, 0x26
_SIZES = {_EXPIRY: 4, _RECEIVE_MAXIMUM: 2, _PACKET_LIMIT: 4, _WILL_DELAY: 4}


class Will(NamedTuple):
    """What the broker publishes when we are gone."""

    topic: str
    payload: bytes
    content_type: str = ""
    """MQTT 5 only, as the delay."""
    retain: bool = True
    delay: int = 0
    """Seconds."""


class Greeting(NamedTuple):
    """What a CONNECT says beside version and Will."""

    client_id: str
    keepalive: int
    """Seconds."""
    clean: bool = False
    username: str | None = None
    password: str | None = None
    session_expiry: int = 0
    """Seconds; MQTT 5 only, as the next."""
    receive_maximum: int = 65535


def connect(version: int, greeting: Greeting, will: Will | None) -> bytes:
    """A CONNECT (3.1); in MQTT 5 it announces MAX_PACKET."""
    logins = [word for word in (greeting.username, greeting.password) if word is not None]
    flags = 2 * greeting.clean | 0x80 * (greeting.username is not None) | 0x40 * (greeting.password is not None)
    payload = [_text(greeting.client_id)]
    if will is not None:
        flags |= 0x04 | 0x08 | 0x20 * will.retain
        if version == V5:
            delay = _number(_WILL_DELAY, will.delay) if will.delay else b""
            payload.append(_with_length(delay + bytes((_CONTENT_TYPE,)) + _text(will.content_type)))
        payload += [_text(will.topic), len(will.payload).to_bytes(2, "big"), will.payload]
    payload += map(_text, logins)
    properties = b""
    if version == V5:
        pairs = (
            (_EXPIRY, greeting.session_expiry),
            (_RECEIVE_MAXIMUM, greeting.receive_maximum),
            (_PACKET_LIMIT, MAX_PACKET),
        )
        properties = _with_length(b"".join(_number(name, value) for name, value in pairs))
    head = (b"\x00\x04MQTT", bytes((version, flags)), greeting.keepalive.to_bytes(2, "big"), properties)
    return _packet(0x10, (*head, *payload))


def properties(content_type: str, *, correlation: bytes | None = None, user: tuple[str, str] | None = None) -> bytes:
    """The properties of a PUBLISH of ours, with their length; empty in MQTT 3.1.1."""
    packed = bytes((_CONTENT_TYPE,)) + _text(content_type)
    if correlation is not None:
        packed += bytes((_CORRELATION,)) + len(correlation).to_bytes(2, "big") + correlation
    if user is not None:
        packed += bytes((_PAIR,)) + _text(user[0]) + _text(user[1])
    return _with_length(packed)


def publish(topic: str, payload: bytes, mid: int, *, retain: bool, properties: bytes) -> bytes:
    """A PUBLISH of QoS 1 (3.3)."""
    return _packet(0x32 | retain, (_text(topic), mid.to_bytes(2, "big"), properties, payload))


COMMANDS, ONCE, NO_MORE = 0x09, 0x00, 0x24
"""Options of a SUBSCRIBE (3.8.3.1). COMMANDS: QoS 1, retained messages marked as such. ONCE: QoS 0, only what is
retained now comes marked. NO_MORE: neither what is retained nor what we publish ourselves (MQTT 5)."""


def subscribe(version: int, topic: str, mid: int, options: int = COMMANDS) -> bytes:
    """A SUBSCRIBE (3.8); MQTT 3.1.1 knows only the QoS."""
    if version == V5:
        return _packet(0x82, (mid.to_bytes(2, "big"), b"\x00", _text(topic), bytes((options,))))
    return _packet(0x82, (mid.to_bytes(2, "big"), _text(topic), bytes((options & 0x03,))))


def puback(mid: int) -> bytes:
    """A PUBACK that accepts (3.4)."""
    return b"\x40\x02" + mid.to_bytes(2, "big")


def _packet(first: int, parts: Iterable[bytes]) -> bytes:
    body = b"".join(parts)
    return bytes((first,)) + _length(len(body)) + body


def _text(text: str) -> bytes:
    encoded = text.encode()
    return len(encoded).to_bytes(2, "big") + encoded


def _number(name: int, value: int) -> bytes:
    return bytes((name,)) + value.to_bytes(_SIZES[name], "big")


def _with_length(packed: bytes) -> bytes:
    return _length(len(packed)) + packed


def _length(value: int) -> bytes:
    """A variable byte integer (1.5.5)."""
    encoded = bytearray()
    while True:
        value, byte = value >> 7, value & 0x7F
        encoded.append(byte | 0x80 if value else byte)
        if not value:
            return bytes(encoded)

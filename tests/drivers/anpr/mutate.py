"""Payloads that no camera should send: spoilt golden cases. The same number gives the same payload."""

import random
import tracemalloc
from collections.abc import Iterator
from typing import NamedTuple

from drivers.anpr import dahua, hikvision
from drivers.anpr.capture import CameraSettings, Report, Unreadable
from drivers.anpr.makers import PARSERS, parse
from drivers.anpr.multipart import FormPart, boundary_of
from drivers.anpr.stream import PartStream
from tests.drivers.anpr.case import Case

LIMIT = 20_000
"""Bytes of a mutated payload: what grows is grown by the tests of bounds."""
TOKENS = (
    b"<!DOCTYPE x [", b"<!ENTITY a 'b'>", b"&a;", b"&amp;", b"]]>", b"<![CDATA[", b"\xff\xfe", b"\x00", b"\r\n\r\n",
    b"\n\n", b"--", b"Content-Length: 99999999\r\n", b"Content-Length: -1\r\n", b"boundary=", b"NaN", b"1e999", b"-0",
    b"\\ud800", b"[" * 40, b"{" * 40, b'{"a":', b"null", b"true", b'"', b"\\", b"9" * 400, b"</ANPR>", b"<ANPR>",
    b"Events[0].", b"Events[99].", b"=", b";data={", b"Heartbeat", b"\xe9\x84\x82", b"\x81\x30", b"-8:00", b"0.5",
    b"2026-02-30T25:61:61+99:99", b"\xff\xd8\xff\xd9",
)  # fmt: skip


class Spoilt(NamedTuple):
    """One payload for one parser."""

    driver: str
    payload: bytes
    content_type: str
    path: str
    stream: bool


def spoil(cases: list[Case], number: int) -> Spoilt:
    """The payload of this number."""
    chance = random.Random(number)  # noqa: S311 - repeatable on purpose
    case = chance.choice(cases)
    payload = bytearray(case.payload[:LIMIT])
    for _ in range(chance.choice((0, 1, 1, 2, 3, 5, 9))):
        _spoil(chance, payload, cases)
    driver = case.driver if chance.random() < 0.9 else chance.choice(list(PARSERS))
    content_type = case.content_type if chance.random() < 0.8 else chance.choice(cases).content_type
    path = case.path if chance.random() < 0.9 else chance.choice(cases).path
    return Spoilt(driver, bytes(payload[:LIMIT]), content_type, path, case.stream and driver in ("hikvision", "dahua"))


def _spoil(chance: random.Random, payload: bytearray, cases: list[Case]) -> None:
    at = chance.randrange(len(payload) + 1)
    until = min(len(payload), at + chance.choice((1, 1, 2, 8, 40, 400)))
    match chance.randrange(8):
        case 0:
            payload[at:until] = b""
        case 1:
            payload[at:at] = chance.choice(TOKENS)
        case 2:
            payload[at:until] = chance.randbytes(until - at)
        case 3:
            payload[at:at] = payload[at:until] * chance.choice((1, 2, 20))
        case 4:
            del payload[at:]
        case 5:
            other = chance.choice(cases).payload
            start = chance.randrange(len(other) + 1)
            payload[at:until] = other[start : start + 200]
        case 6 if at < len(payload):
            payload[at] ^= 1 << chance.randrange(8)
        case _:
            payload[at:until] = chance.choice(TOKENS)


def read(one: Spoilt) -> list[Report]:
    """What the parsers make of it; a refusal is no report."""
    settings = CameraSettings(28800.0)
    if not one.stream:
        try:
            return [parse(one.driver, one.payload, one.content_type, one.path, settings)]
        except Unreadable:
            return []
    found = []
    for part in _parts(one):
        try:
            found.append((hikvision if one.driver == "hikvision" else dahua).part(part, settings))
        except Unreadable:
            continue
    return found


def _parts(one: Spoilt) -> Iterator[FormPart]:
    stream = PartStream(boundary_of(one.content_type))
    for at in range(0, len(one.payload), 1400):
        try:
            yield from stream.feed(one.payload[at : at + 1400])
        except Unreadable:
            return


def peak(one: Spoilt) -> int:
    """Bytes that reading it takes at most."""
    tracemalloc.start()
    try:
        read(one)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

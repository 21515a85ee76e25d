"""What strangers send without end, by bare sockets: MQTT publishes full of user properties, cars at a camera port."""

import asyncio
import base64
import json
import os
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from itertools import count

_PROPERTIES = 32 << 10
_USER_PROPERTY = 0x26
_PIECE = 64 << 10
_BLANKS = b" " * _PIECE


def _varint(number: int) -> bytes:
    """MQTT 5, 1.5.5."""
    parts = bytearray()
    while True:
        number, digit = divmod(number, 128)
        parts.append(digit | (0x80 if number else 0))
        if not number:
            return bytes(parts)


def _text(value: bytes) -> bytes:
    return struct.pack(">H", len(value)) + value


def _packet(kind: int, body: bytes) -> bytes:
    return bytes([kind]) + _varint(len(body)) + body


def publish(topic: str, properties: int = _PROPERTIES, payload: bytes = b"not signed") -> bytes:
    """A PUBLISH of QoS 0 with so many bytes of the smallest user properties."""
    one = bytes([_USER_PROPERTY]) + _text(b"") + _text(b"")
    many = one * (properties // len(one))
    return _packet(0x30, _text(topic.encode()) + _varint(len(many)) + many + payload)


@asynccontextmanager
async def publishing(port: int, topic: str, per_second: float, properties: int = _PROPERTIES) -> AsyncIterator[None]:
    """Somebody with the broker's login publishes to our commands meanwhile; comes back when the broker does."""
    message = publish(topic, properties)

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(_packet(0x10, _text(b"MQTT") + b"\x05\x02\x00\x00\x00" + _text(b"stranger")))
        await reader.read(64)
        while True:
            writer.write(message)
            await writer.drain()
            await asyncio.sleep(1.0 / per_second)

    async with _again_and_again(port, flood):
        yield


@asynccontextmanager
async def cars(port: int, path: str, per_second: float) -> AsyncIterator[None]:
    """A camera pushes another car each time, and does not wait for an answer."""
    numbers = count()

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            number = next(numbers)
            plate = f"\u6caaB{number % 100_000:05d}"
            body = json.dumps({"plate": plate, "confidence": 99, "id": f"c-{number}"}).encode()
            head = f"POST {path} HTTP/1.1\r\nHost: g\r\nContent-Type: application/json\r\n"
            writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            await writer.drain()
            if not await reader.read(4096):
                return
            await asyncio.sleep(1.0 / per_second)

    async with _again_and_again(port, flood):
        yield


@asynccontextmanager
async def hanging(port: int, path: str, size: int) -> AsyncIterator[None]:
    """A camera sends all of a push but its last byte, and waits for the answer."""
    head = f"POST {path} HTTP/1.1\r\nHost: g\r\nContent-Type: application/json\r\nContent-Length: {size}\r\n\r\n"

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(head.encode())
        for _ in range(size // _PIECE - 1):
            writer.write(_BLANKS)
            await writer.drain()
        writer.write(_BLANKS[1:])
        await reader.read(4096)

    async with _again_and_again(port, flood):
        yield


@asynccontextmanager
async def pictured(port: int, path: str, size: int) -> AsyncIterator[None]:
    """A camera pushes car after car, each with a picture of so many bytes."""
    numbers = count()
    picture = base64.b64encode(b"\xff\xd8\xff" + os.urandom(size))

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            number = next(numbers)
            told = json.dumps({"plate": f"\u6caaC{number % 100_000:05d}", "confidence": 99, "id": f"p-{number}"})
            body = told[:-1].encode() + b', "scene_picture": "' + picture + b'"}'
            head = f"POST {path} HTTP/1.1\r\nHost: g\r\nContent-Type: application/json\r\n"
            writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode())
            for at in range(0, len(body), _PIECE):
                writer.write(body[at : at + _PIECE])
                await writer.drain()
            if not await reader.read(4096):
                return
            await asyncio.sleep(0.1)

    async with _again_and_again(port, flood):
        yield


@asynccontextmanager
async def _again_and_again(
    port: int, flood: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
) -> AsyncIterator[None]:
    async def run() -> None:
        while True:
            with suppress(OSError, asyncio.IncompleteReadError):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                try:
                    await flood(reader, writer)
                finally:
                    writer.close()
            await asyncio.sleep(0.2)

    async with asyncio.TaskGroup() as group:
        task = group.create_task(run(), name=f"flood {port}")
        yield
        task.cancel()

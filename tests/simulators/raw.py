"""Masters made of nothing but bytes: frames by hand, a socket or a terminal, and the time of every byte."""

import asyncio
import os
import socket
import struct
import tty
from types import TracebackType
from typing import Self


def checksum(data: bytes) -> bytes:
    """CRC-16/MODBUS, bit by bit."""
    value = 0xFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = (value >> 1) ^ 0xA001 if value & 1 else value >> 1
    return struct.pack("<H", value)


def frame(text: str) -> bytes:
    """An RTU frame of hex digits."""
    body = bytes.fromhex(text)
    return body + checksum(body)


def tcp_frame(transaction: int, text: str) -> bytes:
    """A Modbus TCP frame of hex digits: unit, then PDU."""
    body = bytes.fromhex(text)
    return struct.pack(">HHH", transaction, 0, len(body)) + body


class RawPort:
    """A serial port (here: a terminal), read as bytes come; `times` has the moment of each byte."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.got = bytearray()
        self.times: list[float] = []
        self.gone = False
        self._fd = -1
        self._news = asyncio.Event()

    async def __aenter__(self) -> Self:
        """Open it."""
        self._fd = os.open(self.path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        tty.setraw(self._fd)
        asyncio.get_running_loop().add_reader(self._fd, self._readable)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        asyncio.get_running_loop().remove_reader(self._fd)
        os.close(self._fd)

    def send(self, data: bytes) -> float:
        """Send at once; gives the time."""
        os.write(self._fd, data)
        return asyncio.get_running_loop().time()

    async def receive(self, count: int, within: float = 2.0) -> bytes:
        """Wait for that many bytes. Raises TimeoutError."""
        async with asyncio.timeout(within):
            while len(self.got) < count:
                self._news.clear()
                await self._news.wait()
        data = bytes(self.got[:count])
        del self.got[:count]
        return data

    async def ask(self, request: bytes, count: int, within: float = 2.0) -> tuple[bytes, float]:
        """One request and its answer of `count` bytes, with the seconds from sending to the last byte."""
        self.times.clear()
        sent = self.send(request)
        answer = await self.receive(count, within)
        return answer, self.times[count - 1] - sent

    async def nothing(self, during: float) -> None:
        """Fail if anything comes in this time."""
        try:
            data = await self.receive(len(self.got) + 1, during)
        except TimeoutError:
            return
        raise AssertionError(f"unasked bytes: {data.hex(' ')}")

    def _readable(self) -> None:
        try:
            data = os.read(self._fd, 4096)
        except OSError:
            data = b""
        if not data:
            self.gone = True
            asyncio.get_running_loop().remove_reader(self._fd)
        now = asyncio.get_running_loop().time()
        self.times.extend([now] * len(data))
        self.got += data
        self._news.set()


class RawSocket(RawPort):
    """The same over TCP: `path` is `HOST:PORT`."""

    async def __aenter__(self) -> Self:
        """Connect. Raises ConnectionRefusedError."""
        host, _, port = self.path.rpartition(":")
        self._socket = socket.socket()
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            await asyncio.get_running_loop().sock_connect(self._socket, (host, int(port)))
        except OSError:
            self._socket.close()
            raise
        self._fd = self._socket.fileno()
        asyncio.get_running_loop().add_reader(self._fd, self._readable)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        asyncio.get_running_loop().remove_reader(self._fd)
        self._socket.close()

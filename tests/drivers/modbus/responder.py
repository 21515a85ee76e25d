"""A Modbus unit on a pty or a TCP port that misbehaves on demand."""

import asyncio
import os
import tty
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager

from drivers.modbus.frames import crc16

Knob = Callable[[bytes, bytes], Iterable[tuple[float, bytes]]]
"""(request, right answer) -> what is sent instead: (seconds after the request, bytes)."""
Send = Callable[[bytes], None]


def normal(_: bytes, answer: bytes) -> Iterable[tuple[float, bytes]]:
    return [(0.0, answer)]


def silent(_: bytes, __: bytes) -> Iterable[tuple[float, bytes]]:
    return []


def late(seconds: float) -> Knob:
    return lambda _, answer: [(seconds, answer)]


def instead(data: bytes) -> Knob:
    return lambda _, __: [(0.0, data)]


def echo(request: bytes, answer: bytes) -> Iterable[tuple[float, bytes]]:
    """An adapter with local echo and a unit that answers."""
    return [(0.0, request), (0.01, answer)]


def only_echo(request: bytes, _: bytes) -> Iterable[tuple[float, bytes]]:
    """An adapter with local echo and a dead unit."""
    return [(0.0, request)]


class Responder:
    """Register n of a unit holds n (coil n: odd n are set) until it is written.

    On a bus requests are worked off one after another, as a unit does.
    """

    def __init__(self, *, rtu: bool, units: Iterable[int] = (1,)) -> None:
        self.rtu = rtu
        self.units = set(units)
        self.asked: list[tuple[float, bytes]] = []
        self.knobs: deque[Knob] = deque()
        """For the next requests, one each."""
        self.usual: Knob = normal
        self.registers: dict[int, int] = {}
        self.coils: dict[int, bool] = {}
        self._busy_until = 0.0

    def received(self, buffer: bytes, send: Send) -> bytes:
        """Answer the requests in `buffer`; returns the rest."""
        while len(buffer) >= 8 and (size := self._size(buffer)) <= len(buffer):
            request, buffer = buffer[:size], buffer[size:]
            loop = asyncio.get_running_loop()
            self.asked.append((loop.time(), request))
            knob = self.knobs.popleft() if self.knobs else self.usual
            start = max(loop.time(), self._busy_until) if self.rtu else loop.time()
            for delay, data in knob(request, self._answer(request)):
                loop.call_at(start + delay, send, data)
                self._busy_until = start + delay
        return buffer

    def pdus(self) -> list[bytes]:
        """The PDUs asked so far."""
        return [frame[1:-2] if self.rtu else frame[7:] for _, frame in self.asked]

    def _size(self, buffer: bytes) -> int:
        if not self.rtu:
            return 6 + int.from_bytes(buffer[4:6], "big")
        return 8 if buffer[1] <= 6 else 9 + buffer[6]

    def _answer(self, request: bytes) -> bytes:
        unit, pdu = (request[0], request[1:-2]) if self.rtu else (request[6], request[7:])
        if unit not in self.units:
            return b""
        adu = bytes((unit,)) + self._pdu(pdu)
        return adu + crc16(adu) if self.rtu else request[:4] + len(adu).to_bytes(2, "big") + adu

    def _pdu(self, pdu: bytes) -> bytes:
        function, address, second = pdu[0], int.from_bytes(pdu[1:3], "big"), int.from_bytes(pdu[3:5], "big")
        if function in (1, 2):
            number = sum(self.coils.get(address + i, bool((address + i) & 1)) << i for i in range(second))
            data = number.to_bytes((second + 7) // 8, "little")
            return bytes((function, len(data))) + data
        if function in (3, 4):
            words = (self.registers.get(at, at) for at in range(address, address + second))
            return bytes((function, 2 * second)) + b"".join(word.to_bytes(2, "big") for word in words)
        if function == 5:
            self.coils[address] = second == 0xFF00
        if function == 6:
            self.registers[address] = second
        if function == 16:
            for i in range(second):
                self.registers[address + i] = int.from_bytes(pdu[6 + 2 * i : 8 + 2 * i], "big")
        return pdu[:5]


class PtyPort:
    """One end of a pty, answered by a responder; `path` is the other end."""

    def __init__(self, responder: Responder) -> None:
        self.master, self._slave = os.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self.master, False)
        self.path = os.ttyname(self._slave)
        self._responder = responder
        self._buffer = b""
        asyncio.get_running_loop().add_reader(self.master, self._readable)

    def unplug(self) -> None:
        """The adapter is pulled out."""
        if self.master >= 0:
            asyncio.get_running_loop().remove_reader(self.master)
            os.close(self.master)
            os.close(self._slave)
            self.master = -1

    def send(self, data: bytes) -> None:
        """Put bytes on the wire towards the driver."""
        if self.master >= 0:
            os.write(self.master, data)

    def _readable(self) -> None:
        self._buffer = self._responder.received(self._buffer + os.read(self.master, 1024), self.send)


@contextmanager
def pty_port(responder: Responder) -> Iterator[PtyPort]:
    port = PtyPort(responder)
    try:
        yield port
    finally:
        port.unplug()


class _Served(asyncio.Protocol):
    def __init__(self, responder: Responder, connections: list[asyncio.Transport]) -> None:
        self._responder = responder
        self._connections = connections
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._connections.append(transport)

    def data_received(self, data: bytes) -> None:
        self._buffer = self._responder.received(self._buffer + data, self._transport.write)


class TcpPort:
    """A TCP port answered by a responder."""

    def __init__(self, port: int, connections: list[asyncio.Transport]) -> None:
        self.port = port
        self.connections = connections


@asynccontextmanager
async def tcp_port(responder: Responder) -> AsyncIterator[TcpPort]:
    connections: list[asyncio.Transport] = []
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Served(responder, connections), "127.0.0.1", 0)
    try:
        yield TcpPort(server.sockets[0].getsockname()[1], connections)
    finally:
        server.close()
        for connection in connections:
            connection.abort()

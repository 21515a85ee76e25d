"""A Modbus TCP server that costs next to nothing: every unit has 25 holding registers.

As a program it serves until its standard input ends: `python -m tests.benchmarks.registers KIND N` prints the ports of
N servers. *still*: no register changes; *moving*: every one with every second, all to the same; *noisy*: each to a
value of its own, that nothing compresses; *whirling*: with every answer.
"""

import asyncio
import hashlib
import struct
import sys
import time
from collections.abc import Callable
from functools import partial
from itertools import count

REGISTERS = 25


class Server(asyncio.Protocol):
    """Answers function 3 with `words(address, count)`, whatever the unit."""

    def __init__(self, words: Callable[[int, int], bytes]) -> None:
        self._words = words
        self._held = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        data = self._held + data
        while len(data) >= 12:
            transaction, _, length, unit, function, address, count = struct.unpack(">HHHBBHH", data[:12])
            data = data[6 + length :]
            words = self._words(address, count)
            head = struct.pack(">HHHBBB", transaction, 0, 3 + len(words), unit, function, len(words))
            self._transport.write(head + words)
        self._held = data


async def listen(words: Callable[[int, int], bytes]) -> asyncio.Server:
    """Serve on a free port of loopback."""
    return await asyncio.get_running_loop().create_server(lambda: Server(words), "127.0.0.1", 0)


def still(_address: int, count: int) -> bytes:
    """Registers that never change."""
    return b"\x00\x07" * count


def moving(_address: int, count: int) -> bytes:
    """Registers that all change each second."""
    return (int(time.monotonic()) & 0xFFFF).to_bytes(2, "big") * count


def noisy(server: int, address: int, count: int) -> bytes:
    """Registers that each take a value of their own with every second."""
    seed = f"{int(time.monotonic())} {server}".encode()
    return hashlib.shake_128(seed).digest(2 * REGISTERS)[2 * address : 2 * (address + count)]


_answers = count()


def whirling(_address: int, many: int) -> bytes:
    """Registers that all change with every answer."""
    return (next(_answers) & 0xFFFF).to_bytes(2, "big") * many


def _words(kind: str, server: int) -> Callable[[int, int], bytes]:
    return partial(noisy, server) if kind == "noisy" else {"still": still, "moving": moving, "whirling": whirling}[kind]


async def _main(kind: str, count: int) -> None:
    servers = [await listen(_words(kind, number)) for number in range(count)]
    sys.stdout.write(" ".join(str(server.sockets[0].getsockname()[1]) for server in servers) + "\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], int(sys.argv[2])))

"""A Modbus TCP server that notes what it really served, and when.

Holding registers of one unit, and coils that are written. `log` has a line for each register of an answer whose value
is not the one that this connection was given before; the first answer of a connection gives a line for each.
"""

import asyncio
import struct
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

_WRITE_COIL, _WRITE_REGISTER = 5, 6
_ON = 0xFF00
_TWO = [0.0, 0.0]


class Served(NamedTuple):
    """One register in one answer."""

    at: float
    """Wall time just before the answer was written to the socket."""
    address: int
    value: int
    connection: int


@dataclass
class Registers:
    """What the registers hold now, and what was served."""

    port: int = 0
    values: dict[int, int] = field(default_factory=dict)
    log: list[Served] = field(default_factory=list)
    asked: dict[int, list[float]] = field(default_factory=dict)
    """Wall times of the requests of each connection: the master was alive then."""
    coils: dict[int, list[tuple[float, bool]]] = field(default_factory=dict)
    """Writes of each coil: wall time and value."""
    shown: dict[int, list[float]] = field(default_factory=dict)
    """Of each register that was set: wall times of the first two answers that had it since."""
    requests: int = 0
    connections: int = 0

    def set(self, address: int, value: int) -> None:
        """In force with the next request."""
        self.values[address] = value
        self.shown[address] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One master, until it goes."""
        self.connections += 1
        mine = self.connections
        given: dict[int, int] = {}
        try:
            while True:
                head = await reader.readexactly(7)
                number, _, length, unit = struct.unpack(">HHHB", head)
                pdu = await reader.readexactly(length - 1)
                function, first, count = struct.unpack(">BHH", pdu[:5])
                if function in (1, 2, 5, 6):
                    writer.write(self._bits(function, first, count, number, unit, pdu))
                    await writer.drain()
                    continue
                words = [self.values.get(address, 0) for address in range(first, first + count)]
                body = struct.pack(">BB", function, 2 * count) + struct.pack(f">{count}H", *words)
                now = time.time()
                writer.write(struct.pack(">HHHB", number, 0, len(body) + 1, unit) + body)
                self.requests += 1
                self.asked.setdefault(mine, []).append(now)
                for address, value in enumerate(words, first):
                    if len(times := self.shown.get(address, _TWO)) < len(_TWO):
                        times.append(now)
                    if given.get(address) != value:
                        given[address] = value
                        self.log.append(Served(now, address, value, mine))
                await writer.drain()
        except (asyncio.IncompleteReadError, OSError):
            pass  # the master is gone, or was killed
        finally:
            writer.close()

    def _bits(self, function: int, first: int, count: int, number: int, unit: int, pdu: bytes) -> bytes:
        """A write of one coil, echoed and noted (a register: echoed), or coils and inputs as they are."""
        if function == _WRITE_COIL:
            self.coils.setdefault(first, []).append((time.time(), count == _ON))
        if function in (_WRITE_COIL, _WRITE_REGISTER):
            return struct.pack(">HHHB", number, 0, len(pdu) + 1, unit) + pdu
        on = [function == 1 and bool(self.coils.get(first + n, [(0.0, False)])[-1][1]) for n in range(count)]
        packed = sum(bit << place for place, bit in enumerate(on)).to_bytes((count + 7) // 8, "little")
        return struct.pack(">HHHBBB", number, 0, len(packed) + 3, unit, function, len(packed)) + packed


@asynccontextmanager
async def registers() -> AsyncIterator[Registers]:
    """Serve on a free port of the loopback until the block ends."""
    it = Registers()
    server = await asyncio.start_server(it.serve, "127.0.0.1", 0)
    it.port = server.sockets[0].getsockname()[1]
    try:
        yield it
    finally:
        server.close()

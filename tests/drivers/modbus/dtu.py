"""A 4G DTU with a Modbus device behind it, as a raw client socket."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from drivers.modbus.frames import crc16
from tests.drivers.modbus.stranger import body, right

AGAIN_S = 0.05


@asynccontextmanager
async def connected(
    port: int, source: str = "127.0.0.1"
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection to a port of this machine, closed at the end whatever became of it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
    try:
        yield reader, writer
    finally:
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


class Dtu:
    """Dials in, again and again. `offset` is added to each register: a value says whose it is."""

    def __init__(self, port: int, says: bytes, *, rtu: bool = True, offset: int = 0, beats: bytes = b"") -> None:
        self.port = port
        self.says = says
        self.rtu = rtu
        self.offset = offset
        self.beats = beats
        self.calls = 0
        self.asked = 0
        self._writer: asyncio.StreamWriter | None = None

    @asynccontextmanager
    async def calling(self) -> AsyncIterator["Dtu"]:
        """Until the end of the block."""
        async with asyncio.TaskGroup() as group:
            task = group.create_task(self._call(), name="dtu")
            try:
                yield self
            finally:
                task.cancel()

    def hang_up(self) -> None:
        """The link is lost."""
        if self._writer is not None:
            self._writer.close()

    async def _call(self) -> None:
        while True:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                async with connected(self.port) as (reader, self._writer):
                    self.calls += 1
                    self._writer.write(self.says)
                    while True:
                        request = await reader.readexactly(8 if self.rtu else 12)
                        self.asked += 1
                        self._writer.write(self.beats + self.answer(request))
            await asyncio.sleep(AGAIN_S)

    def answer(self, request: bytes) -> bytes:
        """What the device says to that."""
        if not self.rtu:
            return self._moved(right(request), 9)
        answer = self._moved(body(b"\0" * 6 + request), 3)
        return answer + crc16(answer)

    def _moved(self, answer: bytes, start: int) -> bytes:
        words = answer[start:]
        moved = (int.from_bytes(words[at : at + 2], "big") + self.offset for at in range(0, len(words), 2))
        return answer[:start] + b"".join(word.to_bytes(2, "big") for word in moved)

"""A Modbus TCP server as they are found: a raw socket whose every byte a test decides."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

Says = float | bytes | None
"""Seconds of waiting, bytes, or the end of the connection."""
Script = Callable[[bytes], Iterable[Says]]
"""Request -> what is said."""


def frame(number: int, body: bytes) -> bytes:
    """An MBAP frame around unit and PDU."""
    return number.to_bytes(2, "big") + b"\0\0" + len(body).to_bytes(2, "big") + body


def body(request: bytes) -> bytes:
    """The right answer to a read of registers: each holds its own address."""
    unit, function = request[6], request[7]
    if function > 4:
        return request[6:12]
    address, count = int.from_bytes(request[8:10], "big"), int.from_bytes(request[10:12], "big")
    words = b"".join((address + at).to_bytes(2, "big") for at in range(count))
    return bytes((unit, function, 2 * count)) + words


def right(request: bytes) -> bytes:
    """The right answer, framed."""
    return frame(int.from_bytes(request[:2], "big"), body(request))


class Stranger:
    """`script` says what each request is answered by, `greeting` what is said at once, `idle` what all the time."""

    def __init__(self, script: Script, *, greeting: Iterable[Says] = (), idle: Iterable[Says] = ()) -> None:
        self.script = script
        self.port = 0
        self.opened = 0
        self.asked: list[bytes] = []
        self._greeting = greeting
        self._idle = idle
        self._tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["Stranger"]:
        """Listen on a free port of loopback."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        try:
            self.port = server.sockets[0].getsockname()[1]
            yield self
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            if self._tasks:
                await asyncio.wait(self._tasks)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.opened += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            async with asyncio.TaskGroup() as group:
                group.create_task(self._say(self._idle, writer), name="idle")
                await self._say(self._greeting, writer)
                while not writer.is_closing():
                    head = await reader.readexactly(6)
                    request = head + await reader.readexactly(head[5])
                    self.asked.append(request)
                    await self._say(self.script(request), writer)
                raise ConnectionAbortedError
        writer.close()

    async def _say(self, what: Iterable[Says], writer: asyncio.StreamWriter) -> None:
        for one in what:
            if one is None:
                writer.close()
                return
            if isinstance(one, float):
                await asyncio.sleep(one)
            elif not writer.is_closing():
                writer.write(one)
                await writer.drain()

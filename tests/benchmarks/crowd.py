"""Those who look at a page, as a process of its own that gives way to others: in truth they are other machines.

    async with crowd(base, streams=32, slow=1, logins=True) as them: before = await them.read()

As a program, `python -m tests.benchmarks.crowd PORT STREAMS SLOW LOGINS`: prints a line once every stream is there,
then, for each line of its standard input, the bytes that all streams have brought so far.
"""

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp

from gateway.local.streams import OF_ONE
from tests.end_to_end.browsing import Browser

_AGAIN_S = 1.0
_SLOW_BUFFER_BYTES = 4096


@dataclass
class PageCrowd:
    """The process, as who started it sees it."""

    process: asyncio.subprocess.Process

    async def read(self) -> int:
        """Bytes that all its streams have brought so far."""
        assert self.process.stdin is not None
        self.process.stdin.write(b"\n")
        return int(await self.line())

    async def line(self) -> bytes:
        """What it says next."""
        assert self.process.stdout is not None
        return await self.process.stdout.readline()


@asynccontextmanager
async def crowd(base: str, streams: int, *, slow: int = 0, logins: bool = False) -> AsyncIterator[PageCrowd]:
    """So many look on as browsers do; `slow`: so many more take a byte a second; `logins`: one after the other."""
    words = (base.rpartition(":")[2], str(streams), str(slow), str(int(logins)))
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.benchmarks.crowd", *words, stdin=pipe, stdout=pipe
    )
    made = PageCrowd(process)
    try:
        assert await made.line(), "the streams did not come"
        yield made
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


class _Streams:
    """The program: streams that count what they bring."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.bytes = 0
        self.missing = 0
        self.all_there = asyncio.Event()

    async def look_on(self, number: int) -> None:
        """One stream, until it ends; whoever is left off by it is no crowd, so then all ends."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, local_addr=(address(number), 0))
        writer.write(b"GET /events HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: gzip\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        if b" 200 " not in head.partition(b"\r\n")[0]:
            raise ConnectionError(head.decode())
        first = True
        while piece := await reader.read(1 << 20):
            self.bytes += len(piece)
            if first:
                first = False
                self.missing -= 1
                if not self.missing:
                    self.all_there.set()
        raise ConnectionError("a stream was closed")

    async def look_slowly(self, number: int) -> None:
        """One that takes a byte a second and comes back when it is closed."""
        while True:
            with socket.socket() as own:
                own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SLOW_BUFFER_BYTES)
                own.bind((address(number), 0))
                own.setblocking(False)
                await asyncio.get_running_loop().sock_connect(own, ("127.0.0.1", self.port))
                reader, writer = await asyncio.open_connection(sock=own.dup(), limit=_SLOW_BUFFER_BYTES)
            writer.write(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            try:
                while await reader.read(1):
                    await asyncio.sleep(_AGAIN_S)
            except ConnectionError:
                await asyncio.sleep(_AGAIN_S)
            finally:
                writer.close()


def address(number: int) -> str:
    """Of a stream: so many share one."""
    return f"127.0.5.{1 + number // OF_ONE}"


async def _log_in(base: str) -> None:
    async with Browser(base) as person:
        while True:
            try:
                status, _ = await person.post("/login", {"name": "wang", "password": "password of wang"})
            except aiohttp.ClientConnectionError:
                status = 0
            if status != 200:
                await asyncio.sleep(_AGAIN_S)


async def _main(port: int, streams: int, slow: int, logins: bool) -> None:
    os.nice(10)
    them = _Streams(port)
    them.missing = streams
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(them.look_on(number), name=f"stream {number}") for number in range(streams)]
        tasks += [
            group.create_task(them.look_slowly(number), name=f"slow stream {number}")
            for number in range(streams, streams + slow)
        ]
        if logins:
            tasks.append(group.create_task(_log_in(f"http://127.0.0.1:{port}"), name="logins"))
        if streams:
            await them.all_there.wait()
        print("there", flush=True)  # noqa: T201
        while await asyncio.to_thread(sys.stdin.readline):
            print(them.bytes, flush=True)  # noqa: T201
        for task in tasks:
            task.cancel()


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), logins=sys.argv[4] == "1"))

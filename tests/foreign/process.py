"""A Modbus server of somebody else in a process of its own, told by lines what its registers hold.

The server writes `ready` (with its port, if it has one) when it listens, takes `set TABLE ADDRESS VALUE…` and
`get TABLE ADDRESS COUNT` (TABLE: coil, discrete, input, holding) on its standard input, and answers each with one line.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

_PATIENCE = 10.0


class Server:
    """A running server."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.greeting = ""
        self._process = process

    async def set(self, table: str, address: int, *values: int) -> None:
        """Put these values from `address` on; in force when it returns."""
        await self._tell(f"set {table} {address} {' '.join(map(str, values))}")

    async def get(self, table: str, address: int, count: int = 1) -> list[int]:
        """What the server holds."""
        return [int(word) for word in (await self._tell(f"get {table} {address} {count}")).split()]

    async def line(self) -> str:
        """The next line that the server writes. Raises TimeoutError; ConnectionError if it has ended."""
        assert self._process.stdout is not None
        async with asyncio.timeout(_PATIENCE):
            line = await self._process.stdout.readline()
        if not line:
            raise ConnectionError(f"the server ended with {await self._process.wait()}")
        return line.decode().strip()

    async def _tell(self, command: str) -> str:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{command}\n".encode())
        await self._process.stdin.drain()
        answer = await self.line()
        if not answer.startswith("ok"):
            raise ValueError(answer)
        return answer.removeprefix("ok")


@asynccontextmanager
async def serving(module: str, *arguments: str) -> AsyncIterator[Server]:
    """Run `python -m MODULE ARGUMENTS…` from the top of the tree until the block ends."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        module,
        *arguments,
        cwd=Path(__file__).parents[2],
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    server = Server(process)
    try:
        server.greeting = await server.line()
        yield server
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def obey(put: Callable[[str, int, list[int]], None], get: Callable[[str, int, int], list[int]]) -> None:
    """In the server's own process: carry out the lines of standard input until it ends."""
    for line in sys.stdin:
        try:
            verb, table, address, *words = line.split()
            numbers = [int(word) for word in words]
            if verb == "set":
                put(table, int(address), numbers)
                say("ok")
            elif verb == "get":
                say("ok " + " ".join(str(int(number)) for number in get(table, int(address), numbers[0])))
            else:
                say(f"no command: {verb}")
        except (ValueError, KeyError, IndexError) as error:
            say(f"wrong: {error!r}")


def say(line: str) -> None:
    """One line to whoever started this process."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()

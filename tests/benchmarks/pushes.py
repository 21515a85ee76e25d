"""Cameras that push without end: `python -m tests.benchmarks.pushes PORT PER_SECOND FILE PATH=SOURCE …`.

Each has one connection from its own address, and posts FILE to its PATH so often; every copy of `@@@@@@` in it
becomes another number. Prints how many were answered when standard input ends.
"""

import asyncio
import sys
from pathlib import Path

PLACE = b"@@@@@@"


def post(path: str, body: bytes, content_type: str = "application/json") -> bytes:
    """One request."""
    head = f"POST {path} HTTP/1.1\r\nHost: g\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def one(port: int, every: float, body: bytes, path: str, source: str, number: int, tally: list[int]) -> None:
    """A camera."""
    loop = asyncio.get_running_loop()
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
    due = loop.time() + every * (number % 7) / 7
    while True:
        await asyncio.sleep(max(0.0, due - loop.time()))
        due = max(due + every, loop.time() - every)
        tally[0] += 1
        writer.write(post(path, body.replace(PLACE, b"%02d%04d" % (number, tally[0] % 10_000))))
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
        await reader.readexactly(length)
        tally[1] += head.startswith(b"HTTP/1.1 200")


async def main(port: int, every: float, body: bytes, cameras: list[str]) -> None:
    """Until nobody listens any more."""
    tally = [0, 0]
    async with asyncio.TaskGroup() as group:
        tasks = []
        for number, camera in enumerate(cameras):
            path, _, source = camera.rpartition("=")
            tasks.append(group.create_task(one(port, every, body, path, source, number, tally), name=camera))
        await asyncio.to_thread(sys.stdin.read)
        for task in tasks:
            task.cancel()
    sys.stdout.write(f"{tally[1]}\n")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), 1.0 / float(sys.argv[2]), Path(sys.argv[3]).read_bytes(), sys.argv[4:]))

"""The floor of the page: aiohttp that writes the same bytes to its readers, and knows nothing.

`python -m tests.benchmarks.bare_page BYTES PER_SECOND` prints its port and serves until its standard input ends.
"""

import asyncio
import sys

from aiohttp import web


async def serve(size: int, rate: float) -> None:
    """Every reader gets so many bytes so often."""
    readers: set[web.StreamResponse] = set()
    data = b"x" * size

    async def events(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        readers.add(response)
        await asyncio.Event().wait()
        return response

    application = web.Application()
    application.router.add_get("/events", events)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(runner.addresses[0][1], flush=True)  # noqa: T201
    ended = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    while not ended.done():
        await asyncio.sleep(1 / rate)
        for reader in [*readers]:
            await reader.write(data)


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), float(sys.argv[2])))

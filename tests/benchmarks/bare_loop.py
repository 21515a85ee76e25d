"""An event loop that does nothing: `python -m tests.benchmarks.bare_loop` prints a line, waits for the end of input."""

import asyncio
import sys


async def _main() -> None:
    print("there", flush=True)  # noqa: T201
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_main())

"""A journal at a steady pace: `python -m tests.benchmarks.steady FOLDER PER_SECOND SECONDS`.

Each event is accepted, taken and acknowledged, as with a broker that answers at once.
"""

import asyncio
import sys
from pathlib import Path

from gateway.clock import Clock
from gateway.cloud.journal.journal import Journal
from gateway.model import Emit, Stream
from tests.benchmarks.backlog import TEXT, journal


async def main(folder: Path, rate: float, seconds: float) -> None:
    """Run for so long."""
    loop = asyncio.get_running_loop()
    async with journal(folder) as store, asyncio.TaskGroup() as group:
        leaving = group.create_task(leave(store), name="leave")
        due = loop.time()
        until = due + seconds
        number = 0
        while due < until:
            await asyncio.sleep(due - loop.time())
            number += 1
            store.append([Emit(Stream.ALARM, "alarm.raised", "d/p/a", {"text": TEXT}, f"id-{number}", Clock().now())])
            due += 1.0 / rate
        leaving.cancel()


async def leave(store: Journal) -> None:
    """Take and acknowledge what there is, until cancelled."""
    while True:
        await store.ready.wait()
        store.ready.clear()
        while (row := store.take(Stream.ALARM)) is not None:
            store.acknowledge(row)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])))

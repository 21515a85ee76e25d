"""A process that is made to be killed: appends steps for ever and says on stdout what was accepted and sent.

`B step`: begun after it; `A step run`: accepted; `S stream sequence id [journal]`: given to the broker, and with its
journal: acknowledged by it.
"""

import asyncio
import os
import sys
import time
from functools import partial
from pathlib import Path

import orjson

from gateway.cloud.journal.journal import Journal
from gateway.model import Emit, Forget, Instant, Remember, Stream


def say(*words: object) -> None:
    """One write for a line: a kill leaves no half ones that look whole."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def now() -> Instant:
    return Instant(time.monotonic(), time.time(), synced=True)


async def main(folder: Path) -> None:
    async with Journal(folder, source="/sites/s/gateways/g", now=now, alarm_reserve=0) as journal:
        value = journal.memory.get("step", 0)
        step = value if isinstance(value, int) else 0
        say("B", step)
        while True:
            step += 1
            run = f"{os.getpid()}-{step}"
            at = now()
            effects: list[Emit | Remember | Forget] = [
                Emit(Stream.ALARM, "alarm.raised", None, {"step": step, "run": run}, f"a-{run}", at),
                Emit(Stream.AUDIT, "command.done", None, {"step": step, "run": run}, f"b-{run}", at),
                Emit(Stream.ALARM, "alarm.cleared", None, {"step": step, "run": run}, f"c-{run}", at),
                Remember("step", step),
                Remember(f"of-{step % 7}", run),
            ]
            journal.append(effects, then=partial(say, "A", step, run))
            journal.telemetry("d", {"step": step}, at)
            for stream in Stream:
                row = journal.take(stream)
                if row is not None:
                    sent = orjson.loads(row.payload)
                    acknowledged = (sent["journal"],) if row.sequence % 3 else ()
                    say("S", stream.value, row.sequence, sent["id"], *acknowledged)
                    if acknowledged:
                        journal.acknowledge(row)
            await asyncio.sleep(0 if step % 5 else 0.002)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))

"""The gateway with a look at its own event loop: `python -m tests.benchmarks.lagging FILE run SITE.yaml`.

A timer of 10 ms runs in the loop; by how much each came late is appended to FILE, a line of seconds each second.
"""

import asyncio
import runpy
import sys
from pathlib import Path

EVERY_S = 0.01


class Watched(asyncio.DefaultEventLoopPolicy):
    """Loops of this process are looked at."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self._file = file

    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        loop = super().new_event_loop()
        late: list[float] = []

        def look(due: float) -> None:
            now = loop.time()
            late.append(now - due)
            if len(late) >= round(1 / EVERY_S):
                with self._file.open("a") as file:
                    file.write(" ".join(f"{one:.5f}" for one in late) + "\n")
                late.clear()
            loop.call_at(now + EVERY_S, look, now + EVERY_S)

        loop.call_soon(look, loop.time())
        return loop


def read(file: Path, since: int = 0) -> list[float]:
    """What was found, from a line on."""
    return [float(one) for line in file.read_text().splitlines()[since:] for one in line.split()]


def lines(file: Path) -> int:
    """How many there are now."""
    return len(file.read_text().splitlines())


def main() -> None:
    """Run the gateway in a loop that is looked at."""
    asyncio.set_event_loop_policy(Watched(Path(sys.argv.pop(1))))
    sys.argv[0] = "gateway"
    runpy.run_module("gateway", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()

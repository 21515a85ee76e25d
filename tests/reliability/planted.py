"""The gateway with a bug planted in its brain: `python -m tests.reliability.planted BUG SITE.yaml`.

`value`    an answer that carries the value 666 cannot be decided
`memory`   a memory that holds `poisonous` cannot be taken up
`start`    nothing can be decided while the memory holds `poisonous`
`callback` a callback of the loop raises
`always`   nothing can be decided
"""

import asyncio
import sys
from collections.abc import Mapping
from pathlib import Path

from gateway import log
from gateway.cloud.events import wall_of
from gateway.model import Answer, Effect, Input, Instant, Json
from gateway.runtime.app import run
from gateway.runtime.prepare import prepare
from gateway.site.site import Site

KEY = "poisonous"


class BugError(Exception):
    """The planted one."""


class OfValue(Site):
    def step(self, item: Input, now: Instant) -> list[Effect]:
        if isinstance(item, Answer) and any(reading.value == 666 for reading in item.readings.values()):
            raise BugError("666")
        return super().step(item, now)


class OfMemory(Site):
    def restore(self, memory: Mapping[str, Json]) -> None:
        super().restore(memory)
        if KEY in memory:
            raise BugError("what was remembered")


class OfStart(Site):
    poisoned = False

    def restore(self, memory: Mapping[str, Json]) -> None:
        super().restore(memory)
        self.poisoned = KEY in memory

    def step(self, item: Input, now: Instant) -> list[Effect]:
        if self.poisoned:
            raise BugError("what was remembered")
        return super().step(item, now)


class OfCallback(Site):
    def step(self, item: Input, now: Instant) -> list[Effect]:
        if isinstance(item, Answer):
            asyncio.get_running_loop().call_soon(wall_of, "no time")
        return super().step(item, now)


class OfEverything(Site):
    def step(self, item: Input, now: Instant) -> list[Effect]:
        del item, now
        raise BugError("always")


BUGS = {"value": OfValue, "memory": OfMemory, "start": OfStart, "callback": OfCallback, "always": OfEverything}


def planted(bug: str) -> tuple[str, ...]:
    """The command of such a gateway."""
    return ("-m", __name__, bug)


def main() -> None:
    log.configure()
    site = prepare(Path(sys.argv[2])).settings
    assert site is not None
    run(site, brain=BUGS[sys.argv[1]])


if __name__ == "__main__":
    main()

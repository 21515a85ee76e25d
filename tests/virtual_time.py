"""An event loop whose time jumps to the next timer, so that hours run in milliseconds.

Sockets still work (they are looked at before each jump); threads do not, their results would come too late.
"""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

from gateway.clock import Clock

_T = TypeVar("_T")

EPOCH = 1_790_000_000.0
"""Wall time at which virtual time begins."""


class _Selector(selectors.DefaultSelector):
    """Never waits: what the loop would have waited for is added to its time."""

    loop: "VirtualTimeLoop"

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        events = super().select(0)
        if not events:
            if timeout is None:
                raise RuntimeError("everybody waits and no timer is set: this would hang for ever")
            self.loop.passed += max(0.0, timeout)
        return events


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Starts at 1000 s."""

    def __init__(self) -> None:
        selector = _Selector()
        selector.loop = self
        self.passed = 0.0
        super().__init__(selector)

    def time(self) -> float:
        return 1000.0 + self.passed


def run(main: Coroutine[Any, Any, _T]) -> _T:
    """Like asyncio.run, in virtual time."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main)


def clock() -> Clock:
    """A synced clock that shows the virtual time of the running loop."""
    loop = asyncio.get_running_loop()
    return Clock(mono=loop.time, wall=lambda: EPOCH + loop.time(), synced=lambda: True)

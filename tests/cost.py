"""What a piece of work costs at best: for tests that a hostile input takes no longer than an honest one."""

import gc
import time
from collections.abc import Callable


def least(work: Callable[[], object], times: int = 3) -> float:
    """CPU seconds of this thread, the best of several runs.

    The garbage collector rests: what it costs depends on all tests before this one.
    """
    gc.disable()
    try:
        return min(_once(work) for _ in range(times))
    finally:
        gc.enable()


def _once(work: Callable[[], object]) -> float:
    begun = time.thread_time()
    work()
    return time.thread_time() - begun

"""The journal's one writer thread."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue

Work = Callable[[], object]
Done = Callable[[object], None]
"""Gets what the work returned, or the exception that it raised."""


class Writer:
    """Does jobs one after the other in a thread of its own and answers on the loop's thread, in the same order.

    The thread is a daemon: a disk that never answers must not keep the process from ending.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: SimpleQueue[tuple[Work, Done] | None] = SimpleQueue()
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Begin; called on the loop's thread."""
        self._loop = asyncio.get_running_loop()
        threading.Thread(target=self._run, args=(self._loop,), name=self._name, daemon=True).start()

    def submit(self, work: Work, done: Done) -> None:
        """Have `work` done in the thread; `done` gets its result on the loop's thread."""
        self._jobs.put((work, done))

    def stop(self) -> None:
        """End the thread after what was submitted."""
        self._jobs.put(None)

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        while (job := self._jobs.get()) is not None:
            work, done = job
            result: object
            try:
                result = work()
            except Exception as error:  # noqa: BLE001 - handed to `done`, which tells expected ones from bugs
                result = error
            with suppress(RuntimeError):  # the loop is closed: nobody waits, but the file is to be closed
                loop.call_soon_threadsafe(done, result)

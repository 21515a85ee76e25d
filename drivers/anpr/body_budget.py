"""A budget of bytes for request bodies that are being received: for all cameras together and for each."""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

PER_CAMERA = 2
"""The most pushes of one camera that are read at once, so that a hanging camera does not block others."""


class Room:
    """The budget. A body that is admitted can be read completely, so two half bodies never wait for each other."""

    def __init__(self, most: int) -> None:
        self._free = most
        self._most = most
        self._inside: Counter[str] = Counter()
        self._waiting: deque[tuple[str, int, asyncio.Future[None]]] = deque()

    @property
    def used(self) -> int:
        """Reserved bytes."""
        return self._most - self._free

    @asynccontextmanager
    async def reserved(self, camera: str, size: int) -> AsyncIterator[None]:
        """Wait for `size` bytes (at most the whole budget); first come, first served, except cameras at their limit."""
        size = min(size, self._most)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((camera, size, turn))
        self._admit()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._leave(camera, size)
            else:
                self._admit()
            raise
        try:
            yield
        finally:
            self._leave(camera, size)

    def _fits(self, camera: str, size: int) -> bool:
        return size <= self._free and self._inside[camera] < PER_CAMERA

    def _enter(self, camera: str, size: int) -> None:
        self._free -= size
        self._inside[camera] += 1

    def _leave(self, camera: str, size: int) -> None:
        self._free += size
        self._inside[camera] -= 1
        if not self._inside[camera]:
            del self._inside[camera]
        self._admit()

    def _admit(self) -> None:
        """Admit those that fit. One that lacks only bytes blocks later ones, or a large body would wait forever."""
        kept: deque[tuple[str, int, asyncio.Future[None]]] = deque()
        while self._waiting:
            one = self._waiting.popleft()
            camera, size, turn = one
            if turn.done():
                continue
            if self._fits(camera, size):
                self._enter(camera, size)
                turn.set_result(None)
                continue
            kept.append(one)
            if self._inside[camera] < PER_CAMERA:
                break
        self._waiting.extendleft(reversed(kept))

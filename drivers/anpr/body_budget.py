"""A budget of bytes for bodies that are being received: for all cameras together and for each."""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

PER_CAMERA = 2
"""Pushes of one camera that are read at once: one camera that hangs does not take the others' room."""


class Room:
    """So many bytes at most. Who gets in can finish, so nobody waits for another half body."""

    def __init__(self, most: int) -> None:
        self._free = most
        self._most = most
        self._inside: Counter[str] = Counter()
        self._waiting: deque[tuple[str, int, asyncio.Future[None]]] = deque()

    @property
    def used(self) -> int:
        """Bytes that are promised."""
        return self._most - self._free

    @asynccontextmanager
    async def reserved(self, camera: str, size: int) -> AsyncIterator[None]:
        """Wait for `size` bytes (at most all of them); first come, first served, but for cameras that have theirs."""
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
        """Let in who fits. The first that only lacks bytes holds up those behind: else a large body waits for ever."""
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

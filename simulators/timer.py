"""What is due when, finer than the event loop's own timers.

The loop rounds its waiting up to whole milliseconds, and one byte at 9600 baud takes one.
Linux only (timerfd_create(2)); the descriptor becomes readable at an absolute time of the monotonic clock.
"""

import asyncio
import ctypes
import heapq
import os
from collections.abc import Callable
from typing import Final

_CLOCK_MONOTONIC: Final = 1
_ABSOLUTE: Final = 1
_NONBLOCKING: Final = os.O_NONBLOCK | os.O_CLOEXEC
_NANOSECONDS: Final = 1_000_000_000


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _TimerSetting(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


_libc: Final = ctypes.CDLL(None, use_errno=True)


class Agenda:
    """Actions and when they are due (seconds of the loop's clock); one per line. `open` and `close` frame its use."""

    def __init__(self) -> None:
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._fd = -1

    def open(self) -> None:
        """Take a descriptor and let the running loop watch it. Raises OSError."""
        fd = _libc.timerfd_create(_CLOCK_MONOTONIC, _NONBLOCKING)
        if fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        self._fd = fd
        asyncio.get_running_loop().add_reader(fd, self._expired)

    def close(self) -> None:
        """Give the descriptor back; nothing that is due is done any more."""
        self._due.clear()
        if self._fd >= 0:
            asyncio.get_running_loop().remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1

    def at(self, when: float, action: Callable[[], None]) -> None:
        """Do `action` at `when`, never before; at one time in the order of asking. A closed agenda forgets it."""
        if self._fd < 0:
            return
        self._count += 1
        heapq.heappush(self._due, (when, self._count, action))
        if self._due[0][1] == self._count:
            self._set(when)

    def _set(self, when: float) -> None:
        nanoseconds = max(1, int(when * _NANOSECONDS) + 1)
        value = _Timespec(nanoseconds // _NANOSECONDS, nanoseconds % _NANOSECONDS)
        setting = _TimerSetting(_Timespec(0, 0), value)
        if _libc.timerfd_settime(self._fd, _ABSOLUTE, ctypes.byref(setting), None) < 0:
            raise OSError(ctypes.get_errno(), "timerfd_settime")

    def _expired(self) -> None:
        try:
            os.read(self._fd, 8)
        except BlockingIOError:
            return  # set anew between the wake-up and this call
        now = asyncio.get_running_loop().time()
        while self._due and self._due[0][0] <= now:
            heapq.heappop(self._due)[2]()
        if self._due:
            self._set(self._due[0][0])

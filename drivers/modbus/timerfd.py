"""A timer with a precision of some ten microseconds: timerfd_create(2).

The event loop rounds timers up to whole milliseconds (epoll). At 19200 baud and above that is a considerable part of
the silence between two frames, and would be lost with every request.
"""

import asyncio
import ctypes
import os

_CLOCK_MONOTONIC = 1
_TFD_TIMER_ABSTIME = 1
_libc = ctypes.CDLL(None, use_errno=True)


class _Itimerspec(ctypes.Structure):
    """struct itimerspec: interval and value, each in seconds and nanoseconds."""

    _fields_ = (
        ("interval_s", ctypes.c_long),
        ("interval_ns", ctypes.c_long),
        ("value_s", ctypes.c_long),
        ("value_ns", ctypes.c_long),
    )


class TimerFd:
    """One timer at a time. Raises OSError if the kernel provides none."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waker: asyncio.Future[None] | None = None
        self._fd: int = _libc.timerfd_create(_CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        loop.add_reader(self._fd, self._expired)

    def start(self, when: float, waker: asyncio.Future[None]) -> None:
        """Call `waker` at `when` (monotonic seconds of the loop), or at once if that has passed."""
        self._waker = waker
        self._set(when)

    def stop(self) -> None:
        """Stop the timer."""
        self._waker = None
        self._set(0.0)

    def close(self) -> None:
        """Close the timer; may be called again."""
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1

    def _set(self, when: float) -> None:
        if self._fd >= 0:
            seconds = int(when)
            value = _Itimerspec(0, 0, seconds, int((when - seconds) * 1e9))
            _libc.timerfd_settime(self._fd, _TFD_TIMER_ABSTIME, ctypes.byref(value), None)

    def _expired(self) -> None:
        try:
            os.read(self._fd, 8)
        except BlockingIOError:  # stopped in the same turn of the loop
            return
        if self._waker is not None and not self._waker.done():
            self._waker.set_result(None)

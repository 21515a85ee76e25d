"""The only place that reads the clocks.

*Synced* = the kernel says that its clock is disciplined (adjtimex(2): state not TIME_ERROR and
STA_UNSYNC clear), or has said so in this boot less than 72 h ago. While it is not, and the clock reads earlier than the
newest trusted time in the journal, the wall time continues from that: a box without a battery-backed clock never goes
back before times that it has already sent. Only times of a synced clock are trusted (see
`gateway.cloud.journal.numbering`), so a hardware clock that once showed 2053 has no lasting effect.
"""

import ctypes
import math
import time
from collections.abc import Callable
from pathlib import Path

from gateway.model import Instant

_TIME_ERROR = 5
_STA_UNSYNC = 0x0040
_TIMESYNCD = Path("/run/systemd/timesync/synchronized")
_KEEPS_FOR_S = 16 / 500e-6
"""Seconds until the kernel declares an undisciplined clock unsynced: its error grows by 500 ppm up to 16 s."""
_TRUSTED_FOR_S = 72 * 3600.0
_ASK_EVERY_S = 10.0


class _Timex(ctypes.Structure):
    """struct timex of adjtimex(2), as far as `status`; the rest is room."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("room", ctypes.c_byte * 256),
    )


def kernel_synced() -> bool:
    """True if the kernel's clock is disciplined; if the kernel may not be asked, systemd-timesyncd is asked."""
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        timex = _Timex()
        state: int = libc.adjtimex(ctypes.byref(timex))
    except (OSError, AttributeError):
        return False
    if state == -1:
        return timesyncd_synced()
    return state != _TIME_ERROR and not timex.status & _STA_UNSYNC


def timesyncd_synced(stamp: Path = _TIMESYNCD) -> bool:
    """True if systemd-timesyncd has set the clock recently: it touches `stamp` each time, and /run is empty at boot.

    For a sandbox that refuses adjtimex(2) as a whole (ProtectClock= of systemd.exec(5)).
    """
    try:
        age = time.time() - stamp.stat().st_mtime
    except OSError:
        return False
    return 0.0 <= age <= _KEEPS_FOR_S


class Clock:
    """Gives out `Instant`s; asks the kernel for its state at most every 10 s."""

    def __init__(
        self,
        *,
        mono: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        synced: Callable[[], bool] = kernel_synced,
    ) -> None:
        self._mono = mono
        self._wall = wall
        self._synced = synced
        self._asked = -math.inf
        self._trusted_until = -math.inf
        self._floor = (0.0, 0.0)

    def now(self) -> Instant:
        """The present time."""
        mono = self._mono()
        if mono - self._asked >= _ASK_EVERY_S:
            self._asked = mono
            if self._synced():
                self._trusted_until = mono + _TRUSTED_FOR_S
        wall = self._wall()
        if mono < self._trusted_until:
            return Instant(mono, wall, synced=True)
        since, floor = self._floor
        return Instant(mono, max(wall, floor + mono - since) if floor else wall, synced=False)

    def not_before(self, wall: float) -> None:
        """Unless the clock is trusted, return no wall time earlier than this (seconds since 1970)."""
        self._floor = (self._mono(), max(self._floor[1], wall))

"""Chattering alarms (ISA-18.2 / IEC 62682, 16.5), which change too often for people: reported once, then summed. Pure.

An alarm chatters after more than 10 changes of its condition within a minute. Its occurrence then stays active
whatever the condition does, and one event a minute says how often the condition changed. After 5 minutes with 10
changes or fewer each, every change is reported again.
"""

from collections import deque
from dataclasses import dataclass, field

MANY = 10
"""Changes a minute that are reported one by one."""
MINUTE_S = 60.0
QUIET_MINUTES = 5


@dataclass(slots=True)
class Chatter:
    """The changes of one alarm. Times are monotonic seconds."""

    on: bool = False
    """True while it chatters."""
    gone_at: str | None = None
    """While it chatters: since when the condition is gone, although the occurrence stays active."""
    _times: deque[float] = field(default_factory=lambda: deque(maxlen=MANY + 1))
    _count: int = 0
    _quiet: int = 0

    def changed(self, now: float) -> bool:
        """Count a change of the condition; True if the alarm begins to chatter with it."""
        self._count += 1
        if self.on:
            return False
        self._times.append(now)
        self.on = len(self._times) > MANY and now - self._times[0] < MINUTE_S
        if self.on:
            self._count, self._quiet = len(self._times), 0
        return self.on

    def take(self) -> int:
        """The number of changes since the last call."""
        count, self._count = self._count, 0
        return count

    def minute(self, count: int) -> bool:
        """End a minute with `count` changes; False if the alarm no longer chatters."""
        self._quiet = self._quiet + 1 if count <= MANY else 0
        if self._quiet >= QUIET_MINUTES:
            self.on = False
            self._times.clear()
        return self.on

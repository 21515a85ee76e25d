"""Alarms that change too often for people (ISA-18.2 / IEC 62682, 16.5: chattering): told once, then summed. Pure.

More than 10 changes of the condition within a minute, and the alarm is chattering: its occurrence stands as active,
whatever the condition does, and one event a minute says how often that changed. After 5 minutes of 10 changes or less
it is told as it is again.
"""

from collections import deque
from dataclasses import dataclass, field

MANY = 10
"""Changes a minute that are told one by one."""
MINUTE_S = 60.0
QUIET_MINUTES = 5


@dataclass(slots=True)
class Chatter:
    """The changes of one alarm. Times are monotonic seconds."""

    on: bool = False
    """It is chattering."""
    gone_at: str | None = None
    """While it is: the condition has been gone since then, though the occurrence stands as active."""
    _times: deque[float] = field(default_factory=lambda: deque(maxlen=MANY + 1))
    _count: int = 0
    _quiet: int = 0

    def changed(self, now: float) -> bool:
        """The condition came or went; True if that makes it a chattering one."""
        self._count += 1
        if self.on:
            return False
        self._times.append(now)
        self.on = len(self._times) > MANY and now - self._times[0] < MINUTE_S
        if self.on:
            self._count, self._quiet = len(self._times), 0
        return self.on

    def take(self) -> int:
        """How often it changed since this was asked for."""
        count, self._count = self._count, 0
        return count

    def minute(self, count: int) -> bool:
        """A minute with so many changes is over; False if it is not chattering any more."""
        self._quiet = self._quiet + 1 if count <= MANY else 0
        if self._quiet >= QUIET_MINUTES:
            self.on = False
            self._times.clear()
        return self.on

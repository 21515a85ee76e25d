"""The time by which commands are judged, and since when executed commands are remembered. Pure.

A recorded token must not run again, whatever the clock shows later, and a forged time server can set a gateway's clock.
So the time that judges commands is never earlier than the newest time in the journal, or than before in this process,
synced or not. A wall clock that jumps ahead by more than a day is followed, but becomes a lower bound only after it has
stayed there for a day; otherwise one wrong answer of a time server would lock everybody out until that date.

With a new store it is not known which commands were carried out before. If the store's birth was read from a clock that
was not set, it is corrected: by steps of that clock, and finally once the clock is synced.
"""

from collections.abc import Mapping
from typing import Protocol

from gateway.model import Instant, Json, Remember

MEMORY = "commands/time"
"""Its key in the journal's memory."""
STEP_S = 30.0
"""A wall clock that moves by more than this relative to the monotonic clock was set."""
JUMP_S = 24 * 3600.0
"""A jump ahead by more than this is trusted after it has stayed for as long."""
SAVE_EVERY_S = 600.0


class BirthRecord(Protocol):
    """What a store knows about its own age."""

    @property
    def born(self) -> float:
        """When the store was made, seconds since 1970; 0: not known."""
        ...


class CommandTime:
    """`record`: the store. `now`: when this process began.

    `newest`: the newest wall time known from before; `kept`: what `changed` returned, from the memory.
    """

    def __init__(self, record: BirthRecord, newest: float, kept: Json, now: Instant) -> None:
        self._record = record
        self._begun = now
        self._recorded = self._born = record.born
        self._certain = True
        self._saved = 0.0
        self._dirty = True
        match kept:
            case {
                "recorded": int() | float() as recorded, "born": int() | float() as wall, "synced": bool() as synced,
                "floor": int() | float() as floor,
            } if recorded == self._recorded:  # fmt: skip
                self._born, self._certain, self._saved, self._dirty = float(wall), synced, float(floor), False
            case _ if not 0.0 < self._recorded < now.wall - STEP_S:
                self._born, self._certain = now.wall, now.synced  # the store was made just now, or cannot be read
        self._floor = max(newest, self._saved, self._born), now.mono
        self._ahead_since: float | None = None

    def floor(self, now: Instant) -> float:
        """The earliest possible wall time at `now`."""
        wall, mono = self._floor
        floor = wall + now.mono - mono
        if now.wall <= floor + JUMP_S:
            self._ahead_since = None
            floor = max(floor, now.wall)
        elif self._ahead_since is None:
            self._ahead_since = now.mono
        elif now.mono - self._ahead_since >= JUMP_S:
            floor = now.wall
        self._floor = floor, now.mono
        return floor

    def born(self, now: Instant) -> float:
        """Wall time before which executed commands are not known."""
        recorded = self._record.born
        if recorded != self._recorded:  # the memory has been set aside
            self._recorded = self._born = recorded
            self._certain, self._dirty = now.synced, True
        if not self._certain:
            start = now.wall - (now.mono - self._begun.mono)
            if now.synced:
                self._born, self._certain, self._dirty = start, True, True
            elif start - self._begun.wall > STEP_S:
                self._born = max(self._born, start)
        return self._born

    def changed(self, now: Instant) -> Remember | None:
        """What to remember, if it has changed enough since the last call."""
        floor, born = self.floor(now), self.born(now)
        if not self._dirty and floor - self._saved < SAVE_EVERY_S:
            return None
        self._dirty, self._saved = False, floor
        kept: Mapping[str, Json] = {
            "recorded": self._recorded, "born": born, "synced": self._certain, "floor": floor,
        }  # fmt: skip
        return Remember(MEMORY, kept)

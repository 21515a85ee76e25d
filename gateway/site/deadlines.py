"""Deadlines that keep their remaining time over a restart.

They count by the age of the site: the monotonic seconds of all its processes, plus the time between them as far as it
is known. Within one boot of the machine the monotonic clock runs on; after a reboot at least the time since the boot
has passed. If the wall clock was trusted when a deadline was set and is trusted now, the whole gap counts.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from gateway.model import Effect, Forget, Instant, Json, Remember, rfc3339
from gateway.site.timers import Timers

PART = "deadline"
_MEMORY = "deadline/"
_AGE = "site/age"
_SAVE_EVERY_S = 300.0
_FRESH_S = 60.0
"""A power cut may prolong a deadline by up to this time."""


@dataclass(frozen=True, slots=True)
class _Due:
    age: float
    wall: float
    synced: bool


class Deadlines:
    """Named deadlines. When one is due, its timer (`PART`, key) fires in `site.py`."""

    def __init__(self, timers: Timers) -> None:
        self._timers = timers
        self._due: dict[str, _Due] = {}
        self._age = 0.0
        self._since: float | None = None
        self._saved: float | None = None
        self._anchors: list[tuple[float, float]] = []
        """Kept ages, each with its monotonic time in this boot or an earlier one."""
        self._trust: bool | None = None

    def __contains__(self, key: str) -> bool:
        return key in self._due

    def restore(self, memory: Mapping[str, Json]) -> None:
        """Load the running deadlines."""
        for key, value in memory.items():
            match value:
                case [int() | float() as age, int() | float() as mono] if key == _AGE:
                    self._anchors.append((float(age), float(mono)))
                case int() | float() as age if key == _AGE:
                    self._age = float(age)
                case [int() | float() as due, int() | float() as wall, bool() as synced, *since] if key.startswith(
                    _MEMORY
                ):
                    self._due[key.removeprefix(_MEMORY)] = _Due(float(due), float(wall), synced)
                    match since:
                        case [int() | float() as age, int() | float() as mono]:
                            self._anchors.append((float(age), float(mono)))
        self._saved = self._age = max(self._age, *(kept for kept, _ in self._anchors), 0.0)

    def start(self, now: Instant) -> None:
        """Start counting time in this process."""
        for age, mono in self._anchors:
            self._age = max(self._age, age + (now.mono - mono if now.mono >= mono else now.mono))
        self._anchors.clear()
        self._since = now.mono
        self._trust = now.synced
        for key in self._due:
            self._wind(key, now)
        if self._due:
            self._timers.set((PART, ""), now.mono + _SAVE_EVERY_S)

    def trust(self, now: Instant) -> None:
        """Called when the wall clock may have become trusted: corrects deadlines that ran over a restart."""
        if self._trust is False and now.synced:
            self._trust = True
            for key in self._due:
                self._wind(key, now)

    def set(self, key: str, seconds: float, now: Instant, *, by_age: bool = False) -> Iterator[Effect]:
        """Set `key` to be due in `seconds`. `by_age`: ignore the wall clock."""
        age = self._now(now)
        due = self._due[key] = _Due(age + seconds, now.wall + seconds, now.synced and not by_age)
        self._timers.set((PART, key), now.mono + seconds)
        yield Remember(_MEMORY + key, [due.age, due.wall, due.synced, age, now.mono])
        if self._saved is None or age - self._saved > _FRESH_S:
            yield from self.save(now)

    def drop(self, key: str) -> Iterator[Effect]:
        """Remove `key`."""
        if self._due.pop(key, None) is not None:
            self._timers.drop((PART, key))
            yield Forget(_MEMORY + key)

    def save(self, now: Instant) -> Iterator[Effect]:
        """Write the age of the site to the memory, while a deadline runs."""
        self._timers.drop((PART, ""))
        if self._due:
            self._saved = self._now(now)
            self._timers.set((PART, ""), now.mono + _SAVE_EVERY_S)
            yield Remember(_AGE, [self._saved, now.mono])

    def left(self, key: str, now: Instant) -> float | None:
        """Seconds until `key` is due, independent of the wall clock; None: it is not set."""
        due = self._timers.get((PART, key))
        return None if due is None else due - now.mono

    def until(self, key: str) -> str | None:
        """The deadline as RFC 3339 text, as computed when it was set; None: there is none."""
        due = self._due.get(key)
        return None if due is None else rfc3339(due.wall)

    def keys(self, prefix: str) -> list[str]:
        """The keys with this prefix, without the prefix."""
        return [key.removeprefix(prefix) for key in self._due if key.startswith(prefix)]

    def _now(self, now: Instant) -> float:
        if self._since is None:
            self._since = now.mono
        return self._age + now.mono - self._since

    def _wind(self, key: str, now: Instant) -> None:
        due = self._due[key]
        left = due.age - self._now(now)
        if due.synced and now.synced:
            left = min(left, due.wall - now.wall)
        self._timers.set((PART, key), now.mono + max(0.0, left))

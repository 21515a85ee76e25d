"""Deadlines that survive a restart with the time that remained.

They are counted on the age of the site: the monotonic seconds that its processes have lived, one after the other,
and what can be known of the time between. Within one boot of the machine the monotonic clock runs on; in another boot
at least the time since that has passed. Where the wall clock was trusted when a deadline was set, and is trusted now,
all the time without a process counts.
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
"""A power cut may give back so many seconds to a deadline."""


@dataclass(frozen=True, slots=True)
class _Due:
    age: float
    wall: float
    synced: bool


class Deadlines:
    """Named deadlines; `site.py` learns by the timer (`PART`, key) that one has come."""

    def __init__(self, timers: Timers) -> None:
        self._timers = timers
        self._due: dict[str, _Due] = {}
        self._age = 0.0
        self._since: float | None = None
        self._saved: float | None = None
        self._anchors: list[tuple[float, float]] = []
        """Ages that were kept, each with its monotonic time, of this boot or of one before."""
        self._trust: bool | None = None

    def __contains__(self, key: str) -> bool:
        return key in self._due

    def restore(self, memory: Mapping[str, Json]) -> None:
        """Take up what ran."""
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
        """The process begins: time runs again."""
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
        """The wall clock may have become trusted: what ran over a restart is judged by it from then on."""
        if self._trust is False and now.synced:
            self._trust = True
            for key in self._due:
                self._wind(key, now)

    def set(self, key: str, seconds: float, now: Instant, *, by_age: bool = False) -> Iterator[Effect]:
        """`key` is due in so many seconds. `by_age`: whatever the wall clock says."""
        age = self._now(now)
        due = self._due[key] = _Due(age + seconds, now.wall + seconds, now.synced and not by_age)
        self._timers.set((PART, key), now.mono + seconds)
        yield Remember(_MEMORY + key, [due.age, due.wall, due.synced, age, now.mono])
        if self._saved is None or age - self._saved > _FRESH_S:
            yield from self.save(now)

    def drop(self, key: str) -> Iterator[Effect]:
        """`key` has come, or is not wanted any more."""
        if self._due.pop(key, None) is not None:
            self._timers.drop((PART, key))
            yield Forget(_MEMORY + key)

    def save(self, now: Instant) -> Iterator[Effect]:
        """Keep how old the site is, while anything depends on it."""
        self._timers.drop((PART, ""))
        if self._due:
            self._saved = self._now(now)
            self._timers.set((PART, ""), now.mono + _SAVE_EVERY_S)
            yield Remember(_AGE, [self._saved, now.mono])

    def left(self, key: str, now: Instant) -> float | None:
        """Seconds until `key` comes, whatever became of the wall clock; None: it is not waited for."""
        due = self._timers.get((PART, key))
        return None if due is None else due - now.mono

    def until(self, key: str) -> str | None:
        """The deadline as RFC 3339 text, as it was when it was set; None: there is none."""
        due = self._due.get(key)
        return None if due is None else rfc3339(due.wall)

    def keys(self, prefix: str) -> list[str]:
        """The names that begin so, without it."""
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

"""Which cars are inside, and how many came and went. Pure."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from gateway.model import Json, Way

MOST = 20_000
"""The most plates inside; beyond it the one that has been inside longest is dropped."""
PREFIX = "inside:"


@dataclass(frozen=True, slots=True)
class Inside:
    """A car on the site."""

    plate: str
    kind: str
    """From its list; `unknown` without one."""
    since: float
    """Wall seconds."""


class Presence:
    """Counts per kind and direction, and the plates inside."""

    def __init__(self) -> None:
        self.passed: Counter[tuple[str, Way]] = Counter()
        """Openings since the start, by kind and direction, including cars without a plate."""
        self._inside: dict[str, Inside] = {}

    def restore(self, memory: Mapping[str, Json]) -> None:
        """Load the memory of the previous process."""
        found = []
        for name, value in memory.items():
            if name.startswith(PREFIX) and isinstance(value, list) and len(value) == 2:
                kind, since = value
                if isinstance(kind, str) and isinstance(since, int | float):
                    found.append(Inside(name.removeprefix(PREFIX), kind, float(since)))
        self._inside = {one.plate: one for one in sorted(found, key=lambda one: one.since)[-MOST:]}

    def moved(self, plate: str | None, direction: Way | None, kind: str | None, wall: float) -> Mapping[str, Json]:
        """Take a passage. Returns the memory to write: key -> value; None: to be removed."""
        if direction is None:
            return {}
        kind = kind or "unknown"
        self.passed[kind, direction] += 1
        if not plate:
            return {}
        known = self._inside.get(plate)
        if known is not None and known.since > wall:
            return {}
        return self._enter(plate, kind, wall) if direction == "in" else self._leave(plate)

    def correct(self, plate: str, wall: float, *, inside: bool) -> Mapping[str, Json]:
        """Correct whether a car is inside, as a person says (`access.presence`)."""
        if not inside:
            return self._leave(plate)
        known = self._inside.get(plate)
        return {} if known is not None else self._enter(plate, "unknown", wall)

    def forget(self, plate: str) -> Mapping[str, Json]:
        """Erase a plate."""
        return self._leave(plate)

    def find(self, plate: str) -> Inside | None:
        """The car of that plate, if it is inside."""
        return self._inside.get(plate)

    def inside(self) -> tuple[Inside, ...]:
        """The plates inside; the caller checks the role."""
        return tuple(self._inside.values())

    def counts(self) -> Mapping[str, int]:
        """The number of cars inside, by kind."""
        return Counter(one.kind for one in self._inside.values())

    def _enter(self, plate: str, kind: str, wall: float) -> Mapping[str, Json]:
        changes: dict[str, Json] = {PREFIX + plate: [kind, wall]}
        self._inside.pop(plate, None)
        self._inside[plate] = Inside(plate, kind, wall)
        while len(self._inside) > MOST:
            changes.update(self._leave(next(iter(self._inside))))
        return changes

    def _leave(self, plate: str) -> Mapping[str, Json]:
        return {} if self._inside.pop(plate, None) is None else {PREFIX + plate: None}

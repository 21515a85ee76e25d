"""Whether the alarm points of a device that answers have values: a device that refuses them shows no fire. Pure."""

from collections.abc import Collection, Mapping
from math import inf

from gateway.model import Instant, Lane, Quality, Reading, Reason

BLIND_AFTER_S = 99.0
"""Seconds without a value after which an alarm point is told blind: within 100 s, as every fault."""
_NO_VALUE = frozenset({Reason.INVALID, Reason.OUT_OF_RANGE})
"""The answer has no usable value: a point of the alarm lane (fire, gas) counts as blind then, others do not."""


class PointSight:
    """The alarm points of one device, and since when each has no value.

    Time counts only while the device answers or refuses: a silent device and a line that is down have alarms of their
    own. A point told blind stays so until it has a value again.
    """

    __slots__ = ("_alive_from", "_dark", "_urgent", "_watched", "told")

    def __init__(self, lanes: Mapping[str, Lane], watched: Collection[str]) -> None:
        self._watched = tuple(point for point in lanes if point in watched)
        self._urgent = frozenset(point for point, lane in lanes.items() if lane is Lane.ALARM)
        self._dark: dict[str, float] = {}
        self._alive_from = 0.0
        self.told: bool | None = None
        """What the site was told last; None: nothing yet."""

    def look(self, readings: Mapping[str, Reading], now: Instant, *, alive: bool) -> bool | None:
        """What the site must be told now: True for blind, False for all seen again; None: nothing new."""
        if not self._watched:
            return None
        dark = {point for point in self._watched if self._is_dark(point, readings[point])}
        if not alive:
            self._alive_from = now.mono
        known = self._dark if alive else {}
        self._dark = {point: known.get(point, max(self._alive_from, readings[point].at.mono)) for point in sorted(dark)}
        if not dark:
            return self._tell(blind=False)
        return self._tell(blind=True) if alive and self.due() <= now.mono else None

    def due(self) -> float:
        """When the next point will be blind if it stays as it is (monotonic seconds)."""
        return inf if self.told else min(self._dark.values(), default=inf) + BLIND_AFTER_S

    def detail(self, readings: Mapping[str, Reading], code: int | None) -> str:
        """In words. `code`: the last exception of the device."""
        points = ", ".join(f"{point} ({readings[point].reason})" for point in self._dark)
        refused = "" if code is None else f"; its last refusal: exception {code}"
        return f"no value for {BLIND_AFTER_S:.0f} s: {points}{refused}"

    def _is_dark(self, point: str, reading: Reading) -> bool:
        return reading.quality is Quality.BAD and (point in self._urgent or reading.reason not in _NO_VALUE)

    def _tell(self, *, blind: bool) -> bool | None:
        if self.told is blind:
            return None
        self.told = blind
        return blind

"""Detects alarm points without a value on a device that answers, because such a device shows no fire. Pure."""

from collections.abc import Collection, Mapping
from math import inf

from gateway.model import Instant, Lane, Quality, Reading, Reason

BLIND_AFTER_S = 99.0
"""An alarm point without a value for this time is reported blind: within 100 s, like every fault."""
_NO_VALUE = frozenset({Reason.INVALID, Reason.OUT_OF_RANGE})
"""Reasons for an answer without a usable value; then only points of the alarm lane (fire, gas) count as blind."""


class PointSight:
    """The alarm points of one device, and since when each has had no value.

    Time counts only while the device answers or refuses, because a silent device and a lost line have their own alarms.
    A point reported blind stays so until it has a value again.
    """

    __slots__ = ("_alive_from", "_dark", "_urgent", "_watched", "told")

    def __init__(self, lanes: Mapping[str, Lane], watched: Collection[str]) -> None:
        self._watched = tuple(point for point in lanes if point in watched)
        self._urgent = frozenset(point for point, lane in lanes.items() if lane is Lane.ALARM)
        self._dark: dict[str, float] = {}
        self._alive_from = 0.0
        self.told: bool | None = None
        """The last report to the site; None: none yet."""

    def look(self, readings: Mapping[str, Reading], now: Instant, *, alive: bool) -> bool | None:
        """What to report to the site now: True for blind, False for all points have values again; None: no change."""
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
        """When the next point becomes blind unless it gets a value (monotonic seconds)."""
        return inf if self.told else min(self._dark.values(), default=inf) + BLIND_AFTER_S

    def detail(self, readings: Mapping[str, Reading], code: int | None) -> str:
        """A text for people. `code`: the last exception of the device."""
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

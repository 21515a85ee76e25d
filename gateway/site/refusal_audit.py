"""Refused commands in the audit: singly up to 60 a minute and, over long, 240 a day; the rest is summed.

A sum comes once a minute, and from the sixtieth in a row on once an hour: whoever sends nonsense for a year must not
fill the store with the record of it.
"""

from collections import Counter
from collections.abc import Iterator, Mapping

from gateway.model import HOUR_S, Effect, Emit, Instant, Json, Stream
from gateway.site.ids import Ids
from gateway.site.timers import Timers

PART = "refusals"
_SINGLY = 60
_SPARE = 1000
"""Single ones that may be told in a row, beyond what a day allows."""
_SINGLE_EVERY_S = 86400.0 / 240
_MINUTE_S = 60.0
_MINUTELY = 60
"""Sums in a row that come once a minute."""


class Refusals:
    """Tells them; a flood costs one event per code and minute."""

    def __init__(self, ids: Ids, timers: Timers) -> None:
        self._ids = ids
        self._timers = timers
        self._told = 0
        self._spare = float(_SPARE)
        self._spare_at: float | None = None
        self._sums = 0
        """Minutes or hours in a row that were summed up."""
        self._since = 0.0
        self._summed: Counter[str] = Counter()

    def tell(self, data: Mapping[str, Json], code: str, now: Instant) -> Iterator[Effect]:
        """One refusal, or one more of many."""
        if self._spare_at is not None and now.mono - self._spare_at >= HOUR_S:
            self._sums = 0
        if self._timers.get((PART, "")) is None:
            self._since = now.mono
            self._timers.set((PART, ""), now.mono + (_MINUTE_S if self._sums < _MINUTELY else HOUR_S))
        earned = 0.0 if self._spare_at is None else (now.mono - self._spare_at) / _SINGLE_EVERY_S
        self._spare, self._spare_at = min(_SPARE, self._spare + earned), now.mono
        if self._told < _SINGLY and self._spare >= 1.0:
            self._told += 1
            self._spare -= 1.0
            yield Emit(Stream.AUDIT, "command.refused", None, data, self._ids.new(now), now)
        else:
            self._summed[code] += 1

    def sum_up(self, now: Instant) -> Iterator[Effect]:
        """The minute is over, or the process."""
        self._timers.drop((PART, ""))
        self._sums = self._sums + 1 if self._summed else 0
        within = "a minute" if now.mono - self._since < 2 * _MINUTE_S else "an hour"
        for code, count in sorted(self._summed.items()):
            data: dict[str, Json] = {
                **dict.fromkeys(("jti", "iss", "sub", "kid", "cmd", "args")),
                "ok": False,
                "error": {"code": code, "message": f"{count} more within {within}"},
                "count": count,
            }
            yield Emit(Stream.AUDIT, "command.refused", None, data, self._ids.new(now), now)
        self._told = 0
        self._summed.clear()

"""Refused commands in the audit: singly up to 60 a minute and, in the long run, 240 a day; the rest is summed.

A sum is emitted once a minute, and from the sixtieth in a row on once an hour, so that a year of invalid commands does
not fill the store.
"""

from collections import Counter
from collections.abc import Iterator, Mapping

from gateway.model import HOUR_S, Effect, Emit, Instant, Json, Stream
from gateway.site.ids import Ids
from gateway.site.timers import Timers

PART = "refusals"
_SINGLY = 60
_SPARE = 1000
"""How many may be reported singly in a row beyond the daily number."""
_SINGLE_EVERY_S = 86400.0 / 240
_MINUTE_S = 60.0
_MINUTELY = 60
"""How many sums in a row come once a minute."""


class Refusals:
    """Emits the audit events; a flood makes one event per code and minute."""

    def __init__(self, ids: Ids, timers: Timers) -> None:
        self._ids = ids
        self._timers = timers
        self._told = 0
        self._spare = float(_SPARE)
        self._spare_at: float | None = None
        self._sums = 0
        """Consecutive minutes or hours with a sum."""
        self._since = 0.0
        self._summed: Counter[str] = Counter()

    def tell(self, data: Mapping[str, Json], code: str, now: Instant) -> Iterator[Effect]:
        """Report a refusal, or count it."""
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
        """Emit the sums at the end of a minute or of the process."""
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

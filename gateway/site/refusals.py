"""Refused commands in the audit: singly up to 60 a minute, then summed."""

from collections import Counter
from collections.abc import Iterator, Mapping

from gateway.model import Effect, Emit, Instant, Json, Stream
from gateway.site.ids import Ids
from gateway.site.timers import Timers

PART = "refusals"
_SINGLY = 60
_MINUTE = 60.0


class Refusals:
    """Tells them; a flood costs one event per code and minute."""

    def __init__(self, ids: Ids, timers: Timers) -> None:
        self._ids = ids
        self._timers = timers
        self._told = 0
        self._summed: Counter[str] = Counter()

    def tell(self, data: Mapping[str, Json], code: str, now: Instant) -> Iterator[Effect]:
        """One refusal, or one more of many."""
        if self._timers.get((PART, "")) is None:
            self._timers.set((PART, ""), now.mono + _MINUTE)
        if self._told < _SINGLY:
            self._told += 1
            yield Emit(Stream.AUDIT, "command.refused", None, data, self._ids.new(now), now)
        else:
            self._summed[code] += 1

    def sum_up(self, now: Instant) -> Iterator[Effect]:
        """The minute is over, or the process."""
        self._timers.drop((PART, ""))
        for code, count in sorted(self._summed.items()):
            data: dict[str, Json] = {
                **dict.fromkeys(("jti", "iss", "sub", "kid", "cmd", "args")),
                "ok": False,
                "error": {"code": code, "message": f"{count} more within a minute"},
                "count": count,
            }
            yield Emit(Stream.AUDIT, "command.refused", None, data, self._ids.new(now), now)
        self._told = 0
        self._summed.clear()

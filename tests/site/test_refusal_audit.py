"""The record of refused commands, however many come and however long."""

from collections.abc import Iterable

from gateway.model import Effect, Emit, Instant
from gateway.site.ids import Ids
from gateway.site.refusal_audit import PART, Refusals
from gateway.site.timers import Timers

MINUTE = 60.0
DAY_MINUTES = 1440


class Record:
    """Refusals under a clock that the test moves; what is emitted is counted."""

    def __init__(self) -> None:
        self.timers = Timers()
        self.refusals = Refusals(Ids(bytes(16)), self.timers)
        self.events = 0
        self.counted = 0
        self.mono = 0.0

    def refuse(self, a_minute: int, minutes: int) -> int:
        """So many a minute for so long; how many events that made."""
        before = self.events
        for _ in range(minutes):
            for number in range(a_minute):
                self.mono += MINUTE / a_minute
                now = Instant(self.mono, self.mono, synced=True)
                while self.timers.take(now.mono) is not None:
                    self.take(self.refusals.sum_up(now))
                data = {"jti": str(number), "error": {"code": "bad-signature", "message": ""}, "count": None}
                self.take(self.refusals.tell(data, "bad-signature", now))
        return self.events - before

    def take(self, effects: Iterable[Effect]) -> None:
        """Count what was told."""
        for effect in effects:
            assert isinstance(effect, Emit)
            self.events += 1
            count = effect.data["count"]
            self.counted += count if isinstance(count, int) else 1


def test_sixty_one_a_minute_for_days_cost_a_few_hundred_events_a_day_and_none_goes_uncounted() -> None:
    record = Record()
    first = record.refuse(61, DAY_MINUTES)
    third = [record.refuse(61, DAY_MINUTES) for _ in range(2)][-1]
    assert first < 1000 + 240 + 60 + 24 + 1
    assert third <= 240 + 24 + 1, "a year of them has 100,000 events"
    now = Instant(record.mono, record.mono, synced=True)
    record.take(record.refusals.sum_up(now))
    assert record.counted == 3 * DAY_MINUTES * 61


def test_after_a_quiet_time_they_are_told_singly_again() -> None:
    record = Record()
    record.refuse(61, 300)
    assert record.timers.get((PART, "")) is not None
    record.mono += 5 * 86400.0
    assert record.refuse(60, 10) >= 600

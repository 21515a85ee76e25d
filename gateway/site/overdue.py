"""The property company's service clocks: respond, resolve, verify a fire. Each is reported once when it runs out."""

from collections.abc import Iterator
from itertools import pairwise

from gateway.model import Effect, Instant
from gateway.site.alarms import Alarms, Change
from gateway.site.deadlines import Deadlines
from gateway.site.settings import AlarmRule, ServiceClock

CLOCK = "clock/"
"""`clock/WHICH/ALARM`: the deadline of the next clock to run out."""


class Overdue:
    """One deadline per occurrence: that of its next clock."""

    def __init__(self, service: ServiceClock, alarms: Alarms, deadlines: Deadlines) -> None:
        self._service = service
        self._alarms = alarms
        self._deadlines = deadlines

    def changed(self, change: Change, now: Instant) -> Iterator[Effect]:
        """Take a change of an alarm."""
        alarm = str(change.data["alarm"])
        if change.type == "alarm.raised":
            seconds, which = self._clocks(change.watch.rule)[0]
            yield from self._deadlines.set(f"{CLOCK}{which}/{alarm}", seconds, now)
        elif change.watch.standing is None:
            yield from self.stop(alarm)

    def stop(self, alarm: str) -> Iterator[Effect]:
        """Stop the clocks of an ended occurrence whose rule is no longer known."""
        for which in ("respond", "resolve", "verify"):
            yield from self._deadlines.drop(f"{CLOCK}{which}/{alarm}")

    def due(self, name: str, now: Instant) -> Iterator[Effect]:
        """Report a clock that has run out."""
        which, _, alarm = name.partition("/")
        watch = self._alarms.find(alarm)
        if watch is None or watch.standing is None:
            return
        data = watch.standing
        done = {"respond": data["acknowledged"], "verify": data["verified_as"] is not None}.get(which, False)
        for (seconds, one), (later, following) in pairwise(self._clocks(watch.rule)):
            if one == which:
                yield from self._deadlines.set(f"{CLOCK}{following}/{alarm}", later - seconds, now)
        if not done:
            yield from self._alarms.tell(watch, "alarm.overdue", {"overdue": True}, now)

    def _clocks(self, rule: AlarmRule) -> list[tuple[float, str]]:
        service = self._service
        if rule.kind == "fire":
            return [(service.fire_verify, "verify")]
        return sorted([(service.respond, "respond"), (service.resolve(rule.service_class), "resolve")])

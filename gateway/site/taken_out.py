"""What people have taken out of service for a limited time: shelved alarms, disabled devices, zones under test."""

from collections.abc import Iterator

from gateway.model import Effect, Instant
from gateway.site.deadlines import Deadlines
from gateway.site.settings import AlarmRule, DeviceSettings

SHELF = "shelf/"
DISABLED = "disabled/"
TEST = "test/"
"""Prefixes of the names of their deadlines."""


class TakenOut:
    """Looks up what is out of service; the deadlines end it."""

    def __init__(self, deadlines: Deadlines) -> None:
        self._deadlines = deadlines

    def shelf(self, rule: AlarmRule) -> str | None:
        """The shelf that an alarm is on: `device`, `device.point` or `device.point.alarm`; for a fire only the last."""
        for target in self._deadlines.keys(SHELF):
            if covers(target, rule):
                return target
        return None

    def shelved_until(self, rule: AlarmRule) -> str | None:
        """When the shelf of an alarm ends, as text; None: it is on none."""
        target = self.shelf(rule)
        return None if target is None else self._deadlines.until(SHELF + target)

    def disabled(self, device: str) -> bool:
        """True while the device is out of linkage."""
        return DISABLED + device in self._deadlines

    def tested(self, zone: str | None) -> bool:
        """True while the zone is under test (None: the zone `site`)."""
        return TEST + (zone or "site") in self._deadlines

    def under_test(self) -> dict[str, str]:
        """Zone under test (`site`: devices without a zone) -> when its test ends by itself."""
        return {zone: until for zone in self._deadlines.keys(TEST) if (until := self.until(TEST + zone)) is not None}

    def tests(self, rule: AlarmRule, device: DeviceSettings | None) -> bool:
        """True if an alarm of this rule would belong to a test. A call point never does: it ends the test."""
        zone = rule.zone or (device.zone if device else None)
        by_hand = rule.counts == "alone" or (device is not None and device.kind == "call-point")
        return not (rule.kind == "fire" and by_hand) and self.tested(zone)

    def put(self, name: str, seconds: float, now: Instant) -> Iterator[Effect]:
        """Take something out of service; `name` begins with SHELF, DISABLED or TEST."""
        yield from self._deadlines.set(name, seconds, now)

    def back(self, name: str) -> Iterator[Effect]:
        """Return it to service."""
        yield from self._deadlines.drop(name)

    def until(self, name: str) -> str | None:
        """When it returns to service by itself."""
        return self._deadlines.until(name)


def covers(target: str, rule: AlarmRule) -> bool:
    """True if the shelf `target` includes alarms of this rule."""
    full = rule.subject.replace("/", ".")
    if target == full:
        return True
    return rule.kind != "fire" and full.startswith(target + ".")

"""The life of alarms after ISA-18.2 / IEC 62682, as the MQTT contract defines it.

    normal ──raise──▶ unack ──acknowledge──▶ ack            not latched: both end with `alarm.cleared`
                        │                     │
    latched:          clear                 clear           the occurrence stays until `alarm.reset`;
                        ▼                     ▼             a return before that is `alarm.updated` and
                  latched-unack         latched-ack         takes the acknowledgement back

BAD quality neither raises nor clears. An occurrence keeps its id from raise to end, also over restarts.
Every alarm is recorded, however many come at once. An alarm that changes too often is summed up (see `chatter`),
except fire, gas and what people do.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from gateway.model import Effect, Emit, Forget, Instant, Json, Reading, ReadNow, Remember, Stream
from gateway.site import occurrence
from gateway.site.chatter import MINUTE_S, Chatter
from gateway.site.ids import Ids
from gateway.site.settings import AlarmRule, DeviceSettings, ServiceClock
from gateway.site.taken_out import TakenOut
from gateway.site.timers import Timers

PART = "alarm"
MEMORY = "alarm/"
"""Memory keys of standing alarms: `alarm/SUBJECT` -> the data of the occurrence's last event."""
CHATTER = "chatter"
"""Timer of a chattering alarm."""
_STAND_ON = ("fire", "gas")
_NEVER_FOLDED = (*_STAND_ON, "disabled")
_TESTED = "tested/"
"""Memory keys of occurrences that belong to a test."""


@dataclass(slots=True)
class Watch:
    """The state of one rule. Times are monotonic seconds."""

    rule: AlarmRule
    standing: dict[str, Json] | None = None
    """Data of the standing occurrence (also while it is latched and its condition is gone)."""
    test: bool = False
    """The occurrence belongs to a test: it triggers nothing."""
    since: float | None = None
    """Since when the condition holds while it is not yet raised."""
    seen: int = 0
    """Consecutive readings that showed the condition."""
    gone: float | None = None
    """Since when the condition is gone while it is not yet cleared."""
    good: bool = False
    """The last reading could be judged."""
    reading: Reading | None = None
    """The last reading that could be judged."""
    left: bool = False
    """Its rule is no longer in the site file: nothing is read for it, and a person on site ends it."""
    chatter: Chatter = field(default_factory=Chatter)

    @property
    def active(self) -> bool:
        """True if the condition holds according to the events so far."""
        return self.standing is not None and bool(self.standing["active"])

    @property
    def holds(self) -> bool:
        """True if the condition holds, whether an event said so or not."""
        return self.active and self.chatter.gone_at is None


class Change(NamedTuple):
    """A transition, for the parts that act on it."""

    type: str
    watch: Watch
    data: Mapping[str, Json]
    anew: bool
    """The condition began to hold with this transition."""


@dataclass(slots=True)
class Alarms:
    """All alarms of the site: those of points, by rule, and the built-in ones, raised by name."""

    devices: Mapping[str, DeviceSettings]
    service: ServiceClock
    ids: Ids
    out: TakenOut
    timers: Timers
    _changes: list[Change] = field(default_factory=list)
    """Transitions that are not handled yet."""
    _watches: dict[str, Watch] = field(default_factory=dict)
    _by_point: dict[tuple[str, str], list[Watch]] = field(default_factory=dict)
    _by_id: dict[str, Watch] = field(default_factory=dict)
    _in_zone: dict[str, int] = field(default_factory=dict)
    """Standing alarms, by zone."""

    def watch(self, rule: AlarmRule) -> None:
        """Begin to watch a rule."""
        watch = self._watches[rule.subject] = Watch(rule)
        if rule.point:
            self._by_point.setdefault((rule.device, rule.point), []).append(watch)

    def standing(self, subject: str) -> bool:
        """True while an occurrence stands under this subject, unless it stands only because it chatters."""
        watch = self._watches.get(subject)
        return watch is not None and watch.standing is not None and watch.chatter.gone_at is None

    def find(self, alarm: str) -> Watch | None:
        """The standing occurrence with this id or subject (`smoke-3-2f/smoke/fire`)."""
        watch = self._by_id.get(alarm) or self._watches.get(alarm)
        return watch if watch is not None and watch.standing is not None else None

    def all_standing(self) -> Iterable[Watch]:
        """Every standing occurrence."""
        return tuple(self._by_id.values())

    def take_changes(self) -> list[Change]:
        """Take the transitions since the last call."""
        changes, self._changes = self._changes, []
        return changes

    def restore(self, memory: Mapping[str, Json]) -> list[dict[str, Any]]:
        """Load the standing occurrences; returns those that end because their rule is no longer in the file.

        Occurrences of kind fire and gas do not end so, because editing the file ends no fire (`Watch.left`).
        """
        orphans = []
        for key, value in memory.items():
            if not key.startswith(MEMORY) or not isinstance(value, Mapping):
                continue
            subject = key.removeprefix(MEMORY)
            if subject not in self._watches and value.get("kind") in _STAND_ON:
                self._watches[subject] = Watch(occurrence.rule_of(subject, value), left=True)
            if watch := self._watches.get(subject):
                watch.test = bool(memory.get(_TESTED + subject))
                watch.chatter.on = bool(value.get("chattering"))
                self._keep(watch, dict(value))
            else:
                orphans.append({"subject": subject, **value})
        return orphans

    def start(self, now: Instant) -> Iterator[Effect]:
        """Give standing occurrences the severity and place that the file has now."""
        for watch in self.all_standing():
            device = self._device(watch)
            if watch.chatter.on:
                self.timers.set((CHATTER, watch.rule.subject), now.mono + MINUTE_S)
            if watch.left and watch.active and not self.out.tests(watch.rule, device):
                yield from self.make_real(watch, now)
            if watch.standing is None or device is None or not watch.rule.point:
                continue
            said: dict[str, Json] = {"severity": watch.rule.severity, "place": device.place}
            if any(watch.standing[key] != value for key, value in said.items()):
                yield from self.tell(watch, "alarm.updated", said, now)

    def unseen(self, zone: str | None) -> set[str]:
        """Devices of this zone with an alarm whose state is not known now: never read, or BAD."""
        return {
            watch.rule.device
            for watches in self._by_point.values()
            for watch in watches
            if not watch.good and occurrence.zone_of(watch.rule, self._device(watch)) == zone
        }

    @property
    def all_seen(self) -> bool:
        """Of every alarm point it is known whether its alarms stand."""
        return all(watch.good for watches in self._by_point.values() for watch in watches)

    def unseen_of(self, device: str) -> set[str]:
        """Kinds of a device's alarms of which nobody knows now whether they stand."""
        return {
            watch.rule.kind
            for (name, _), watches in self._by_point.items()
            for watch in watches
            if name == device and not watch.good
        }

    def known(self, target: str) -> bool:
        """True if `device`, `device.point` or `device.point.alarm` names an alarm, or something that has an alarm."""
        names = (subject.replace("/", ".") for subject in self._watches)
        return any(name == target or name.startswith(f"{target}.") for name in names)

    def read(self, device: str, readings: Mapping[str, Reading], now: Instant) -> Iterator[Effect]:
        """Judge an answer. Yields events, memory and confirm reads."""
        again: list[str] = []
        for point, reading in readings.items():
            for watch in self._by_point.get((device, point), ()):
                yield from self._judge(watch, reading, now)
                if watch.since is not None and watch.seen < watch.rule.confirm and watch.good:
                    again.append(point)
        if again:
            yield ReadNow(device, tuple(dict.fromkeys(again)))

    def tick(self, subject: str, now: Instant) -> Iterator[Effect]:
        """A delay has run out."""
        yield from self._settle(self._watches[subject], now)

    def begin(self, rule: AlarmRule, text: str, now: Instant) -> Iterator[Effect]:
        """Raise a built-in alarm; does nothing if it stands already."""
        watch = self._watches.setdefault(rule.subject, Watch(rule))
        if watch.standing is None:
            watch.rule = rule
            yield from self._raise(watch, now, text)
        elif not watch.holds:
            yield from self._change(watch, "alarm.updated", {**watch.standing, **occurrence.returned(None)}, now)

    def note(self, subject: str, text: str, now: Instant) -> Iterator[Effect]:
        """Update the text of a standing built-in alarm."""
        watch = self._watches.get(subject)
        if watch is not None and watch.standing is not None and watch.standing["text"] != text:
            yield from self._tell(watch, "alarm.updated", {**watch.standing, "text": text}, now)

    def end(self, subject: str, now: Instant) -> Iterator[Effect]:
        """Clear a built-in alarm if it stands."""
        watch = self._watches.get(subject)
        if watch is not None and watch.holds:
            yield from self._clear(watch, now)

    def sum_up(self, subject: str, now: Instant) -> Iterator[Effect]:
        """Report the sum of a chattering alarm's past minute."""
        watch = self._watches[subject]
        count = watch.chatter.take()
        if watch.chatter.minute(count):
            self.timers.set((CHATTER, subject), now.mono + MINUTE_S)
            if count and watch.standing is not None:
                shown = occurrence.measured(watch.reading) if watch.reading else {}
                yield from self._keep_told(watch, "alarm.updated", {**watch.standing, **shown, "count": count}, now)
        elif watch.standing is not None:
            gone_at, watch.chatter.gone_at = watch.chatter.gone_at, None
            data = {**watch.standing, "chattering": False, "count": None}
            if gone_at is None:
                yield from self._keep_told(watch, "alarm.updated", data, now)
            else:
                data = {**occurrence.gone(data, watch.reading, now), "cleared_at": gone_at}
                yield from self._tell(watch, "alarm.cleared", data, now)

    def tell(self, watch: Watch, type_: str, changes: Mapping[str, Json], now: Instant) -> Iterator[Effect]:
        """Report a change of a standing occurrence."""
        if watch.standing is not None:
            yield from self._tell(watch, type_, {**watch.standing, **changes}, now)

    def worsen(self, subject: str, severity: str, now: Instant) -> Iterator[Effect]:
        """Raise the severity of a standing alarm."""
        watch = self._watches.get(subject)
        if watch is not None and watch.standing is not None and watch.standing["severity"] != severity:
            yield from self.tell(watch, "alarm.updated", {"severity": severity}, now)

    def acknowledge(self, watch: Watch, by: str, now: Instant) -> Iterator[Effect]:
        """Acknowledge an occurrence; does nothing if that was done already."""
        if watch.standing is not None and not watch.standing["acknowledged"]:
            yield from self._tell(watch, "alarm.acknowledged", occurrence.seen(watch.standing, by, now), now)

    def reset(self, watch: Watch, by: str, now: Instant) -> Iterator[Effect]:
        """End a latched occurrence."""
        if watch.standing is not None:
            yield from self._tell(watch, "alarm.reset", occurrence.reset(watch.standing, by, now), now)

    def make_real(self, watch: Watch, now: Instant) -> Iterator[Effect]:
        """Turn a test alarm into a real one, because the condition still holds after the test's end."""
        if watch.test and watch.standing is not None:
            watch.test = False
            yield Forget(_TESTED + watch.rule.subject)
            data = {**watch.standing, "state": "unack", "acknowledged": False}
            yield from self._tell(watch, "alarm.updated", data, now)

    def retire(self, orphan: Mapping[str, Json], now: Instant) -> Iterator[Effect]:
        """End an occurrence whose device, point or alarm is no longer in the site file."""
        data = dict(orphan)
        subject = str(data.pop("subject"))
        yield self._ended(subject, data, "no longer in the site file", now)
        yield Forget(MEMORY + subject)

    def disown(self, alarm: Mapping[str, Json], now: Instant) -> Iterator[Effect]:
        """End an occurrence that the cloud still shows but the store has lost."""
        if str(alarm["alarm"]) not in self._by_id:
            data = dict(alarm)
            subject = str(data.pop("subject", None) or occurrence.subject_of(alarm))
            yield self._ended(subject, data, "unknown to the gateway: its store went back in time", now)

    def _ended(self, subject: str, alarm: Mapping[str, Json], why: str, now: Instant) -> Emit:
        data = {**alarm, "active": False, "state": "normal", "text": why, "value": None}
        data["cleared_at"] = data.get("cleared_at") or now.rfc3339()
        kind = "alarm.reset" if data.get("latched") else "alarm.cleared"
        return Emit(Stream.ALARM, kind, subject, data, self.ids.new(now), now)

    # ---- one rule -------------------------------------------------------------------------------

    def _judge(self, watch: Watch, reading: Reading, now: Instant) -> Iterator[Effect]:
        newer = watch.reading is None or reading.at.mono > watch.reading.at.mono
        watch.good = watch.rule.condition.judges(reading)
        if not watch.good:
            return
        watch.reading = reading
        if watch.rule.condition.holds(reading, standing=watch.holds):
            watch.gone = None
            if watch.since is None:
                watch.since, watch.seen = reading.at.mono, 0
            watch.seen += newer
            proven = watch.test and watch.active and watch.seen >= watch.rule.confirm
            if proven and not self.out.tests(watch.rule, self._device(watch)):
                yield from self.make_real(watch, now)
        else:
            watch.since, watch.seen = None, 0
            if watch.gone is None:
                watch.gone = reading.at.mono
        yield from self._settle(watch, now)

    def _settle(self, watch: Watch, now: Instant) -> Iterator[Effect]:
        """Raise or clear if it is due, else set the timer."""
        rule = watch.rule
        key = PART, rule.subject
        self.timers.drop(key)
        if not watch.good:
            return
        if watch.since is not None and not watch.holds and watch.seen >= rule.confirm:
            due = watch.since + rule.delay
            if due > now.mono:
                self.timers.set(key, due)
            elif watch.standing is None:
                yield from self._raise(watch, now)
            else:
                if watch.test and not self.out.tests(rule, self._device(watch)):
                    watch.test = False
                    yield Forget(_TESTED + rule.subject)
                data = {**watch.standing, **occurrence.returned(watch.reading)}
                yield from self._change(watch, "alarm.updated", data, now)
        elif watch.gone is not None and watch.holds:
            due = watch.gone + rule.clear_delay
            if due > now.mono:
                self.timers.set(key, due)
            else:
                yield from self._clear(watch, now)

    def _raise(self, watch: Watch, now: Instant, text: str | None = None) -> Iterator[Effect]:
        rule = watch.rule
        device = self._device(watch)
        zone = occurrence.zone_of(rule, device)
        watch.test = self.out.tests(rule, device)
        if watch.test:
            yield Remember(_TESTED + rule.subject, True)
        data = occurrence.born(
            self.ids.new(now),
            rule,
            device,
            now,
            self.service,
            measured=occurrence.measured(watch.reading, text),
            first_out=zone is not None and not self._in_zone.get(zone),
            shelved_until=self.out.shelved_until(rule),
            disabled=rule.name != "disabled" and self.out.disabled(rule.device),
        )
        yield from self._change(watch, "alarm.raised", data, now)

    def _clear(self, watch: Watch, now: Instant) -> Iterator[Effect]:
        if watch.standing is not None:
            yield from self._change(watch, "alarm.cleared", occurrence.gone(watch.standing, watch.reading, now), now)

    def _change(self, watch: Watch, type_: str, data: dict[str, Json], now: Instant) -> Iterator[Effect]:
        """Report that the condition came or went, or only count it."""
        chatter, subject = watch.chatter, watch.rule.subject
        if watch.rule.kind in _NEVER_FOLDED:
            yield from self._tell(watch, type_, data, now)
            return
        begins = chatter.changed(now.mono)
        if not chatter.on:
            yield from self._tell(watch, type_, data, now)
            return
        watch.since, watch.seen, watch.gone = None, 0, None
        chatter.gone_at = None if data["active"] else now.rfc3339()
        if begins:
            self.timers.set((CHATTER, subject), now.mono + MINUTE_S)
        elif watch.standing is not None:
            return
        if not data["active"] and watch.standing is not None:
            type_, data = "alarm.updated", dict(watch.standing)
        yield from self._tell(watch, type_, {**data, "chattering": True, "count": chatter.take()}, now)

    def _tell(self, watch: Watch, type_: str, data: dict[str, Json], now: Instant) -> Iterator[Effect]:
        turned = data["active"] is not watch.active
        if turned:
            watch.since, watch.seen, watch.gone = None, 0, None
        yield from self._keep_told(watch, type_, data, now)
        self._changes.append(Change(type_, watch, data, turned and bool(data["active"])))

    def _keep_told(self, watch: Watch, type_: str, data: dict[str, Json], now: Instant) -> Iterator[Effect]:
        """Emit the event and write the memory, without a `Change`."""
        subject = watch.rule.subject
        test = watch.test
        yield Emit(Stream.ALARM, type_, subject, data, self.ids.new(now), now, test)
        if data["state"] == "normal":
            self._drop(watch)
            yield Forget(MEMORY + subject)
            if test:
                yield Forget(_TESTED + subject)
        else:
            self._keep(watch, data)
            yield Remember(MEMORY + subject, data)

    def _keep(self, watch: Watch, data: dict[str, Json]) -> None:
        if watch.standing is None:
            zone = str(data["zone"] or "")
            self._in_zone[zone] = self._in_zone.get(zone, 0) + 1
        watch.standing = data
        self._by_id[str(data["alarm"])] = watch

    def _drop(self, watch: Watch) -> None:
        if watch.standing is not None:
            self._in_zone[str(watch.standing["zone"] or "")] -= 1
            self._by_id.pop(str(watch.standing["alarm"]), None)
        watch.standing, watch.test, watch.chatter.gone_at = None, False, None

    def _device(self, watch: Watch) -> DeviceSettings | None:
        return self.devices.get(watch.rule.device)

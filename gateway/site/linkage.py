"""Linkage: what a fire switches (GB 55036-2022, 12.0.11: two independent devices of one zone, or a person).

A triggered linkage stands until the last fire in its zones is reset. Then its sounders and lamps go off, and its gates
stay open until a person releases each of them.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from gateway.model import Effect, Forget, Instant, Json, Quality, Reading, ReadNow, Remember
from gateway.site import gate as gate_
from gateway.site.alarms import Alarms, Change, Watch
from gateway.site.gates import Gates
from gateway.site.outputs import Outputs
from gateway.site.settings import AlarmRule, DeviceSettings, LinkageSettings, Ref, SiteSettings, built_in
from gateway.site.taken_out import TEST, TakenOut

_MEMORY = "linkage/"
_BUTTON_READS = 2
SITE = "site"
"""The zone of devices without one."""


@dataclass(slots=True)
class _Rule:
    settings: LinkageSettings
    active: dict[str, Json] | None = None
    """`cause`, `by`, `alarm` of the trigger."""
    pressed: int = 0
    """Consecutive readings that showed the button pressed."""
    reading: Reading | None = None
    """The last reading of the button in this process."""

    def covers(self, zone: str) -> bool:
        return self.settings.zones is None or zone in self.settings.zones


class Linkage:
    """All linkages of the site."""

    def __init__(self, settings: SiteSettings, alarms: Alarms, gates: Gates, outputs: Outputs, out: TakenOut) -> None:
        self._devices = settings.devices
        self._zones = settings.zones
        self._rules = {one.id: _Rule(one) for one in settings.linkages}
        self._alarms = alarms
        self._gates = gates
        self._outputs = outputs
        self._out = out
        self._fires: dict[str, Watch] = {}
        self._gone: set[str] = set()
        """Devices that do not answer."""
        self._initiating: dict[str, list[DeviceSettings]] = {}
        for device in settings.devices.values():
            if device.initiates:
                self._initiating.setdefault(device.zone or SITE, []).append(device)
        self._buttons = {one.button: self._rules[one.id] for one in settings.linkages if one.button is not None}
        self._unknown: list[str] = []
        """Linkages that stood and are no longer in the file."""
        self.stale = False
        """Something has changed since the last `evaluate`."""

    def built_in(self) -> Iterator[AlarmRule]:
        """The alarms that are raised here, among them fires confirmed by a person in any zone."""
        for zone in dict.fromkeys((*self._zones, *self._initiating, SITE)):
            yield self._confirmed(zone)
            yield built_in(f"{zone}/linkage-degraded", "supervisory", zone=_named(zone))
        for rule in self._rules.values():
            yield built_in(f"{rule.settings.id}/button", "fire")

    def restore(self, memory: Mapping[str, Json]) -> None:
        """Load the standing linkages and fires."""
        for rule in self._rules.values():
            value = memory.get(_MEMORY + rule.settings.id)
            rule.active = dict(value) if isinstance(value, Mapping) else None
        names = [key.removeprefix(_MEMORY) for key in memory if key.startswith(_MEMORY)]
        self._unknown = [name for name in names if name not in self._rules]
        for watch in self._alarms.all_standing():
            if watch.rule.kind == "fire":
                self._fires[watch.rule.subject] = watch
        self.stale = True

    def start(self, now: Instant) -> Iterator[Effect]:
        """Continue the standing linkages."""
        for rule in self._rules.values():
            if rule.active is not None:
                yield from self._move(rule, now)
            if rule.settings.button is not None:
                yield ReadNow(rule.settings.button.device, (rule.settings.button.point,))
        yield from self._left_over(now)

    def look_again(self) -> None:
        """Evaluate again, because a device was taken out of service or returned."""
        self.stale = True

    def changed(self, change: Change) -> None:
        """Take a change of an alarm."""
        watch = change.watch
        if watch.rule.kind == "fire":
            self.stale = True
            if watch.standing is None:
                self._fires.pop(watch.rule.subject, None)
            else:
                self._fires[watch.rule.subject] = watch

    def health(self, devices: Iterable[str], *, answering: bool) -> None:
        """Take devices that fell silent or answer again."""
        for device in devices:
            self.stale = True
            (self._gone.discard if answering else self._gone.add)(device)

    def standing(self, zone: str) -> bool:
        """True while a fire that counts for linkage stands in the zone."""
        return any(_zone(watch) == zone and self._counts(watch) for watch in self._fires.values())

    def in_fire(self, device: str) -> bool:
        """True while a fire of the device stands; a fire of a test only while its condition holds."""
        return any(watch.rule.device == device and (watch.active or not watch.test) for watch in self._fires.values())

    def silent(self, device: str) -> bool:
        """True while the device does not answer."""
        return device in self._gone

    @property
    def any_fire(self) -> bool:
        """True while any fire that counts for linkage stands."""
        return any(map(self._counts, self._fires.values()))

    def pressed(self, subject: str) -> bool:
        """True if the alarm belongs to a button that is still pressed, or was not read since the start."""
        rule = self._rule_of_button(subject)
        if rule is None or self.unreadable(subject):
            return False
        return rule.reading is None or rule.pressed > 0 or bool(rule.reading.value)

    def unreadable(self, subject: str) -> bool:
        """True if the alarm belongs to a button whose input is silent or cannot be read."""
        rule = self._rule_of_button(subject)
        if rule is None or rule.settings.button is None:
            return False
        bad = rule.reading is not None and rule.reading.quality is not Quality.GOOD
        return bad or self.silent(rule.settings.button.device)

    def confirm(self, zone: str, who: Mapping[str, Json], now: Instant) -> Iterator[Effect]:
        """Start linkage because a person has seen a fire. If no fire stands in the zone, one is raised."""
        yield from self.end_test(zone, now)
        if not self.standing(zone):
            yield from self._alarms.begin(self._confirmed(zone), f"seen by {who.get('by')}", now)
        for rule in self._rules.values():
            if rule.covers(zone):
                yield from self._trigger(rule, who, now)

    def end_test(self, zone: str, now: Instant) -> Iterator[Effect]:
        """End the test of a zone; conditions that still hold show in the next readings."""
        if self._out.tested(zone):
            yield from self._out.back(TEST + zone)
        for watch in tuple(self._fires.values()):
            if watch.test and watch.active and _zone(watch) == zone:
                if watch.left:
                    yield from self._alarms.make_real(watch, now)
                elif watch.rule.point:
                    yield ReadNow(watch.rule.device, (watch.rule.point,))

    def read(self, ref: Ref, reading: Reading, now: Instant) -> Iterator[Effect]:
        """Take a reading of a button: two pressed ones in a row confirm a fire."""
        rule = self._buttons.get(ref)
        if rule is None:
            return
        rule.reading = reading
        if reading.quality is not Quality.GOOD:
            return
        if not reading.value:
            rule.pressed = 0
            yield from self._alarms.end(f"{rule.settings.id}/button", now)
            return
        rule.pressed += 1
        if rule.pressed < _BUTTON_READS:
            yield ReadNow(ref.device, (ref.point,))
        elif rule.pressed == _BUTTON_READS:
            subject = f"{rule.settings.id}/button"
            yield from self._alarms.begin(built_in(subject, "fire"), "pressed", now)
            yield from self._trigger(rule, {"cause": "button", "by": None}, now)

    def evaluate(self, now: Instant) -> Iterator[Effect]:
        """Trigger and end linkages after changes."""
        self.stale = False
        for watch in tuple(self._fires.values()):
            zone = _zone(watch)
            if watch.test is False and self._out.tested(zone) and self._by_hand(watch):
                yield from self.end_test(zone, now)
        for rule in self._rules.values():
            if rule.active is None:
                trigger = self._triggered(rule)
                if trigger is not None:
                    alarm = None if trigger.standing is None else trigger.standing["alarm"]
                    yield from self._trigger(rule, {"cause": "fire", "by": None, "alarm": alarm}, now)
            elif not any(self._stands_for(rule, watch) for watch in self._fires.values()):
                yield from self._ended(rule, now)
        yield from self._tell_degraded(now)

    def _left_over(self, now: Instant) -> Iterator[Effect]:
        """Leave gates to a person's release if their linkage left the file or no longer holds them."""
        for name in self._unknown:
            yield Forget(_MEMORY + name)
        self._unknown = []
        standing = [one for one in self._rules.values() if one.active is not None]
        owned = {(name, gate_.fire(one.settings.id)) for one in standing for name in one.settings.hold}
        for name, key in self._gates.fires():
            if (name, key) not in owned:
                yield from self._gates.after_fire(name, key, None, now)

    # ---- one linkage ----------------------------------------------------------------------------

    def _trigger(self, rule: _Rule, who: Mapping[str, Json], now: Instant) -> Iterator[Effect]:
        if rule.active is None:
            rule.active = dict(who)
            yield from self._move(rule, now)
            yield Remember(_MEMORY + rule.settings.id, dict(who))

    def _move(self, rule: _Rule, now: Instant) -> Iterator[Effect]:
        who = rule.active or {}
        for name in rule.settings.hold:
            yield from self._gates.hold(name, gate_.fire(rule.settings.id), who, now)
        for ref in rule.settings.set:
            yield from self._outputs.hold(ref, now, urgent=True, remember=True)

    def _ended(self, rule: _Rule, now: Instant) -> Iterator[Effect]:
        """End a linkage after its last fire was reset."""
        rule.active = None
        yield Forget(_MEMORY + rule.settings.id)
        for name in rule.settings.hold:
            yield from self._gates.after_fire(name, gate_.fire(rule.settings.id), None, now)
        wanted = {ref for other in self._rules.values() if other.active is not None for ref in other.settings.set}
        for ref in rule.settings.set:
            if ref not in wanted:
                yield from self._outputs.release(ref, now)

    def _triggered(self, rule: _Rule) -> Watch | None:
        """The fire that triggers a linkage, if any."""
        zones: dict[str, dict[str, Watch]] = {}
        for watch in self._fires.values():
            zone = _zone(watch)
            if not self._in_scope(rule, watch) or not self._counts(watch):
                continue
            if rule.settings.trigger == "any" or self._alone(rule, watch):
                return watch
            if watch.rule.counts == "device":
                zones.setdefault(zone, {})[self._source(watch)] = watch
        for zone, sources in zones.items():
            if len(sources) >= 2 or self._degraded(zone):
                return next(iter(sources.values()))
        return None

    def _stands_for(self, rule: _Rule, watch: Watch) -> bool:
        return self._in_scope(rule, watch) and self._counts(watch)

    def _in_scope(self, rule: _Rule, watch: Watch) -> bool:
        if not watch.rule.point and watch.rule.name == "button":
            return watch.rule.device == rule.settings.id
        return rule.covers(_zone(watch))

    def _counts(self, watch: Watch) -> bool:
        """True if an alarm counts for linkage: also when shelved, but not when disabled or part of a test."""
        return watch.standing is not None and not watch.test and not self._out.disabled(watch.rule.device)

    def _by_hand(self, watch: Watch) -> bool:
        device = self._devices.get(watch.rule.device)
        return watch.rule.counts == "alone" or (device is not None and device.kind == "call-point")

    def _alone(self, rule: _Rule, watch: Watch) -> bool:
        device = self._devices.get(watch.rule.device)
        if watch.rule.counts == "alone" or (device is not None and device.kind == "panel-output"):
            return True
        return device is not None and device.kind == "call-point" and rule.settings.call_point == "alone"

    def _source(self, watch: Watch) -> str:
        """What counts as one source: a device with all its alarms; in a panel, each component."""
        rule = watch.rule
        device = self._devices.get(rule.device)
        return f"{rule.device}/{rule.point}" if device is not None and device.kind == "panel" else rule.device

    # ---- degraded zones -------------------------------------------------------------------------

    def _degraded(self, zone: str) -> bool:
        """True if fewer than two initiating devices of the zone are alive and enabled; one in fire counts anyway."""
        alive = 0
        for device in self._initiating.get(zone, ()):
            if self._out.disabled(device.id):
                continue
            if device.id not in self._gone or any(
                watch.rule.device == device.id and self._counts(watch) for watch in self._fires.values()
            ):
                alive += 2 if device.kind == "panel" else 1
        return alive < 2

    def _tell_degraded(self, now: Instant) -> Iterator[Effect]:
        for zone, devices in self._initiating.items():
            rules = [one for one in self._rules.values() if one.covers(zone) and one.settings.trigger == "two-devices"]
            if all(device.kind == "call-point" for device in devices):
                rules = [one for one in rules if one.settings.call_point != "alone"]
            subject = f"{zone}/linkage-degraded"
            if rules and self._degraded(zone):
                text = "fewer than two initiating devices are alive and enabled: one is enough"
                yield from self._alarms.begin(built_in(subject, "supervisory", zone=_named(zone)), text, now)
            else:
                yield from self._alarms.end(subject, now)

    def _rule_of_button(self, subject: str) -> _Rule | None:
        owner, _, name = subject.partition("/")
        rule = self._rules.get(owner)
        return rule if name == "button" and rule is not None and rule.settings.button is not None else None

    def _confirmed(self, zone: str) -> AlarmRule:
        return built_in(f"{zone}/confirmed", "fire", zone=_named(zone))


def _zone(watch: Watch) -> str:
    data = watch.standing
    return str(data["zone"] or SITE) if data is not None else SITE


def _named(zone: str) -> str | None:
    return None if zone == SITE else zone

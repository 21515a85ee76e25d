"""The site: one writer, one pure function.

    Site.step(input, now) -> [effects]      Site.deadline() -> when it wants a Tick      Site.restore(memory)

No clock, no I/O, no randomness: the same inputs give the same effects, to the byte.
"""

from collections.abc import Iterator, Mapping

from gateway.model import (
    Answer,
    Command,
    DeviceBlind,
    DeviceHealth,
    Effect,
    Emit,
    Input,
    Instant,
    Json,
    LineHealth,
    ListReady,
    Outcome,
    OwnHealth,
    Passage,
    Performed,
    Person,
    Quality,
    Reading,
    Refused,
    SetAside,
    Started,
    StoodStill,
    Stopping,
    Stream,
    WentBack,
    rfc3339,
)
from gateway.site import (
    alarm_reset,
    alarms,
    commands,
    deadlines,
    gates,
    outputs,
    overdue,
    refusal_audit,
    repeats,
    round_settings,
    taken_out,
)
from gateway.site.composition import Parts
from gateway.site.ids import Ids
from gateway.site.settings import CONFUSED, ON_LOSS, Ref, SiteSettings, built_in


class Site:
    """Decides everything. `seed`: 16 bytes that make the ids of this process unique; recorded for a replay."""

    def __init__(self, settings: SiteSettings, seed: bytes) -> None:
        self._settings = settings
        self._ids = Ids(seed)
        self._parts = Parts(settings, self._ids)
        self._down: set[str] = set()
        self._silent: set[str] = set()
        self._blind: set[str] = set()
        """Devices with an unreadable alarm point: they do not count as alive."""
        self._of_line: dict[str, list[str]] = {}
        for device in settings.devices.values():
            self._of_line.setdefault(device.line, []).append(device.id)
        refs = settings.outputs() | settings.inputs()
        self._moving = {device: {ref.point for ref in refs if ref.device == device} for device, _ in refs}
        """The points of gates, linkage and annunciator, by device."""
        self._orphans: list[Mapping[str, Json]] = []

    def restore(self, memory: Mapping[str, Json]) -> None:
        """Load the memory. Call once, before the first step, which is `Started`."""
        parts = self._parts
        parts.deadlines.restore(memory)
        self._orphans = [*parts.alarms.restore(memory)]
        parts.outputs.restore(memory)
        parts.gates.restore(memory)
        self._silent = {device for device in self._settings.devices if parts.alarms.standing(f"{device}/silent")}
        self._down = {line for line in self._settings.lines if parts.alarms.standing(f"{line}/down")}
        self._blind = {device for device in self._settings.devices if parts.alarms.standing(f"{device}/blind")}
        unseen = self._silent | self._blind
        lost = [*unseen, *(device for line in self._down for device in self._of_line.get(line, ()))]
        parts.linkage.health(lost, answering=False)
        parts.linkage.restore(memory)
        parts.annunciator.restore(memory)
        parts.resetting.restore(memory)
        parts.commands.restore(memory)
        if parts.passages is not None:
            parts.passages.restore(memory)
        if parts.rounds is None and any(map(round_settings.is_left_behind, memory)):
            parts.take_up_rounds(self._settings, self._ids)
        if parts.rounds is not None:
            parts.rounds.restore(memory)

    def deadline(self) -> float | None:
        """Monotonic time at which a Tick is wanted; None while no timer runs."""
        return self._parts.timers.first()

    def interlocked(self) -> str | None:
        """Why the configuration may not be changed now (a fire stands, a gate is held); None: it may."""
        return self._parts.acts.interlocked()

    def scales(self) -> Mapping[str, Mapping[str, Json]]:
        """Camera -> its confidence scale, and how it is known."""
        return {} if self._parts.passages is None else self._parts.passages.access.scales()

    def passed(self) -> Mapping[str, Json]:
        """For metrics and page, without plates: cars inside by kind; passages since the start by kind and direction."""
        passages = self._parts.passages
        if passages is None:
            return {"inside": {}, "passed": []}
        counted: list[Json] = [
            {"kind": kind, "direction": way, "count": count}
            for (kind, way), count in sorted(passages.presence.passed.items())
        ]
        return {"inside": dict(passages.presence.counts()), "passed": counted}

    def step(self, item: Input, now: Instant) -> list[Effect]:
        """Take one input; returns its effects in order. Events and memory of one step belong in one commit."""
        parts = self._parts
        effects: list[Effect] = []
        if not isinstance(item, Started):
            parts.deadlines.trust(now)
            while (key := parts.timers.take(now.mono)) is not None:
                effects += self._due(*key, now)
        effects += self._take(item, now)
        effects += self._settle(now)
        return effects

    def rounds(self) -> Mapping[str, Json]:
        """The runs under way and the open findings, for observers."""
        return {} if self._parts.rounds is None else self._parts.rounds.progress()

    def tested(self) -> frozenset[str]:
        """Subjects of standing alarms that belong to a test."""
        return frozenset(watch.rule.subject for watch in self._parts.alarms.all_standing() if watch.test)

    def under_test(self) -> dict[str, str]:
        """Tested zone -> when its test ends, for observers."""
        return self._parts.out.under_test()

    def gates(self, now: Instant) -> dict[str, Json]:
        """Gate -> `commanded`, `actual`, `verified` and `causes`, for observers."""
        gates = self._parts.gates
        return {
            name: {**gates.status(name, now), "causes": sorted(gates.get(name).causes)} for name in self._settings.gates
        }

    # ---- inputs -----------------------------------------------------------------------------------

    def _take(self, item: Input, now: Instant) -> Iterator[Effect]:
        match item:
            case Answer():
                yield from self._answer(item, now)
            case DeviceHealth() | DeviceBlind() | LineHealth() | OwnHealth():
                if isinstance(item, LineHealth) and self._parts.rounds is not None:
                    self._parts.rounds.line(item.line, up=item.up)
                yield from self._health(item, now)
            case Outcome():
                yield from self._outcome(item, now)
            case Command():
                yield from self._parts.commands.take(item, now)
            case Person():
                yield from self._parts.commands.ask(item, now)
            case Refused():
                yield from self._parts.commands.refuse(item, now)
            case Performed():
                yield from self._performed(item, now)
            case Passage() if self._parts.passages is not None:
                yield from self._parts.passages.take(item, now)
            case ListReady() if self._parts.passages is not None:
                yield from self._parts.passages.list_ready(item, now)
            case Started() | StoodStill() | Stopping() | SetAside() | WentBack():
                yield from self._own(item, now)

    def _answer(self, item: Answer, now: Instant) -> Iterator[Effect]:
        parts = self._parts
        yield from parts.alarms.read(item.device, item.readings, now)
        moving = self._moving.get(item.device)
        if moving is not None:
            for point, reading in item.readings.items():
                if point in moving:
                    yield from self._moved(Ref(item.device, point), reading, now)
        yield from parts.resetting.read(item.device, item.readings, now)
        if parts.commands.waits_for:
            for point, reading in item.readings.items():
                yield from parts.commands.read(Ref(item.device, point), reading, now)

        if parts.rounds is not None:
            yield from parts.rounds.read(item.device, item.readings, now)

    def _performed(self, item: Performed, now: Instant) -> Iterator[Effect]:
        """Take the result of a `Perform` for a round, a command, or both."""
        rounds = self._parts.rounds
        left = item if rounds is None else (yield from rounds.performed(item, now))
        if left is not None:
            yield from self._parts.commands.performed(left, now)

    def _moved(self, ref: Ref, reading: Reading, now: Instant) -> Iterator[Effect]:
        parts = self._parts
        if ref == self._settings.own.mains and reading.quality is Quality.GOOD:
            parts.gates.powered(on=bool(reading.value))
        # The gates first: an output that is found on at start has no owner yet.
        yield from parts.gates.read(ref, reading, now)
        yield from parts.outputs.read(ref, reading, now)
        yield from parts.linkage.read(ref, reading, now)
        yield from parts.annunciator.read(ref, reading)

    def _outcome(self, item: Outcome, now: Instant) -> Iterator[Effect]:
        parts = self._parts
        ref = parts.outputs.ref_of(item.order)
        yield from parts.outputs.outcome(item, now)
        if ref is not None:
            yield from parts.gates.outcome(ref, item, now)
        else:
            yield from parts.resetting.outcome(item.order, ok=item.ok, now=now)
            yield from parts.commands.outcome(item, now)

    def _health(self, item: DeviceHealth | DeviceBlind | LineHealth | OwnHealth, now: Instant) -> Iterator[Effect]:
        known = self._parts.alarms
        match item:
            case OwnHealth(alarm, True):
                yield from known.end(alarm, now)
            case OwnHealth(alarm, False, detail):
                kind = "fault" if alarm.endswith((f"/{ON_LOSS}", f"/{CONFUSED}")) else "gateway"
                yield from known.begin(built_in(alarm, kind), detail, now)
            case DeviceHealth(device, True):
                self._silent.discard(device)
                yield from known.end(f"{device}/silent", now)
                yield from self._reach([device], now)
            case DeviceHealth(device, False, detail):
                self._silent.add(device)
                if self._settings.devices[device].line not in self._down:
                    yield from known.begin(built_in(f"{device}/silent"), detail, now)
                yield from self._reach([device], now)
            case DeviceBlind(device, True, detail):
                self._blind.add(device)
                yield from known.begin(built_in(f"{device}/blind"), detail, now)
                yield from self._reach([device], now)
            case DeviceBlind(device, False):
                self._blind.discard(device)
                yield from known.end(f"{device}/blind", now)
                yield from self._reach([device], now)
            case LineHealth(line, True, detail):
                self._down.discard(line)
                yield from known.note(f"{line}/down", detail, now) if detail else known.end(f"{line}/down", now)
                for device in (one for one in self._of_line.get(line, ()) if one in self._silent):
                    yield from known.begin(built_in(f"{device}/silent"), "no answer since the line is back", now)
                yield from self._reach(self._of_line.get(line, []), now)
            case LineHealth(line, False, detail):
                self._down.add(line)
                yield from known.begin(built_in(f"{line}/down"), detail, now)
                yield from self._reach(self._of_line.get(line, []), now)

    def _reach(self, devices: list[str], now: Instant) -> Iterator[Effect]:
        """Take devices that are lost or can be reached again; what waits for the latter is written at once."""
        for device in devices:
            well = device not in self._silent and self._settings.devices[device].line not in self._down
            self._parts.linkage.health([device], answering=well and device not in self._blind)
            if well:
                yield from self._parts.outputs.kick(device, now)

    def _own(self, item: Started | StoodStill | Stopping | SetAside | WentBack, now: Instant) -> Iterator[Effect]:
        match item:
            case Started():
                yield from self._started(item, now)
            case StoodStill(_, version, blind_from):
                if self._parts.rounds is not None:
                    self._parts.rounds.stood_still(now)
                yield self._watched_from(version, blind_from, now, reason="stood still")
            case Stopping():
                yield from self._parts.commands.sum_up(now)
                yield from self._parts.deadlines.save(now)
                yield self._audit("gateway.stopping", {"reason": item.reason}, now)
            case SetAside(file):
                yield self._audit("store.quarantined", {"file": file}, now)
            case WentBack(told, alarms):
                if told is not None:
                    yield self._audit("store.rolled-back", told, now)
                for alarm in alarms:
                    yield from self._parts.alarms.disown(alarm, now)

    def _watched_from(self, version: str, blind_from: float | None, now: Instant, reason: str | None = None) -> Effect:
        data: dict[str, Json] = {
            "version": version,
            "blind_from": None if blind_from is None else rfc3339(blind_from),
            "blind_until": now.rfc3339(),
        }
        return self._audit("gateway.started", data if reason is None else {**data, "reason": reason}, now)

    def _started(self, item: Started, now: Instant) -> Iterator[Effect]:
        parts = self._parts
        parts.deadlines.start(now)
        yield from parts.gates.start(now)
        yield from parts.linkage.start(now)
        yield from parts.annunciator.settle(now)
        yield from parts.outputs.start(now)
        yield from parts.resetting.start(now)
        yield self._watched_from(item.version, item.blind_from, now)
        if item.quarantined is not None:
            yield self._audit("store.quarantined", {"file": item.quarantined}, now)
        for orphan in self._orphans:
            yield from parts.alarms.retire(orphan, now)
            yield from parts.overdue.stop(str(orphan.get("alarm")))
        self._orphans = []
        yield from parts.alarms.start(now)
        yield from parts.commands.start(now)
        if parts.passages is not None:
            yield from parts.passages.start(now)
        if parts.rounds is not None:
            yield from parts.rounds.start(item.blind_from, now)
            if self._settings.inspection is None:
                parts.leave_rounds()

    # ---- what follows -----------------------------------------------------------------------------

    def _due(self, part: str, name: str, now: Instant) -> Iterator[Effect]:
        """Handle a timer or deadline that is due."""
        parts = self._parts
        match part:
            case alarms.PART:
                yield from parts.alarms.tick(name, now)
            case alarms.CHATTER:
                yield from parts.alarms.sum_up(name, now)
            case outputs.PART:
                yield from parts.outputs.tick(name, now)
            case gates.PART:
                yield from parts.gates.tick(name, now)
            case alarm_reset.PART:
                yield from parts.resetting.tick(name, now)
            case commands.PART:
                yield from parts.commands.tick(name, now)
            case refusal_audit.PART:
                yield from parts.commands.sum_up(now)
            case round_settings.ROUND if parts.rounds is not None:
                yield from parts.rounds.tick(name, now)
            case deadlines.PART:
                yield from self._deadline(name, now)

    def _deadline(self, name: str, now: Instant) -> Iterator[Effect]:
        parts = self._parts
        if not name:
            yield from parts.deadlines.save(now)
            return
        yield from parts.deadlines.drop(name)
        if name.startswith(overdue.CLOCK):
            yield from parts.overdue.due(name.removeprefix(overdue.CLOCK), now)
        elif name.startswith(gates.HOLD):
            yield from parts.gates.hold_died(name.removeprefix(gates.HOLD), now)
        elif name.startswith(repeats.JTI):
            yield from parts.commands.forget(name.removeprefix(repeats.JTI))
        elif name.startswith((taken_out.SHELF, taken_out.DISABLED, taken_out.TEST)):
            yield from parts.acts.due(name, now)
        elif parts.rounds is not None and name.startswith(round_settings.ROUND_DUE):
            yield from parts.rounds.due(name.removeprefix(round_settings.ROUND_DUE), now)
        elif parts.rounds is not None and name.startswith(round_settings.FINDING_CLOCK):
            yield from parts.rounds.findings.due(name.removeprefix(round_settings.FINDING_CLOCK), now)

    def _settle(self, now: Instant) -> Iterator[Effect]:
        """Apply consequences until none is left."""
        parts = self._parts
        while True:
            if changes := parts.alarms.take_changes():
                for change in changes:
                    parts.linkage.changed(change)
                    yield from parts.annunciator.changed(change)
                    yield from parts.overdue.changed(change, now)
                    if parts.rounds is not None:
                        yield from parts.rounds.changed(change, now)
            elif parts.linkage.stale:
                yield from parts.linkage.evaluate(now)
            elif settled := parts.gates.take_settled():
                for one in settled:
                    if parts.passages is not None:
                        yield from parts.passages.settled(one, now)
                    yield from parts.commands.settled(one, now)
            elif ended := parts.resetting.take_ended():
                for end in ended:
                    yield from parts.commands.ended(end, now)
            elif parts.annunciator.stale:
                yield from parts.annunciator.settle(now)
            else:
                return

    def _audit(self, kind: str, data: Mapping[str, Json], now: Instant) -> Emit:
        return Emit(Stream.AUDIT, kind, None, data, self._ids.new(now), now)

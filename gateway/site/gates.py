"""Gates: openings, holds and their causes, and whether the arm follows.

There is no close. A release only ends the hold; the barrier lowers under its own safety devices.
"""

from collections.abc import Generator, Iterable, Iterator, Mapping
from typing import NamedTuple

from gateway.model import Effect, Emit, Forget, Instant, Json, Outcome, Quality, Reading, ReadNow, Remember, Stream
from gateway.site.alarms import Alarms
from gateway.site.deadlines import Deadlines
from gateway.site.gate import AFTER, COMMAND, JOINS_S, UNKNOWN, Cause, Gate, by_command, unwritten
from gateway.site.ids import Ids
from gateway.site.outputs import Outputs
from gateway.site.settings import GateSettings, Ref, built_in
from gateway.site.timers import Timers

PART = "gate"
HOLD = "hold/"
"""Deadline of a hold by command that is not written yet."""
_MEMORY = "gate/"
_LOOK_EVERY_S = 0.5
_CLEAR_S = 3.0
_CLEAR_LOOK_EVERY_S = 1.0
_HOLDERS = 32
"""The most requests that may wait for one hold to be written."""


class Settled(NamedTuple):
    """The answer to a request that waited for its order."""

    token: str
    ok: bool
    detail: str
    gate: str


class Opening(NamedTuple):
    """The result of an opening: `ordered`, `joined`, `held-open` or `rate-limited`; `later`: a `Settled` follows."""

    decision: str
    later: bool = False


class Gates:
    """All gates by their ids."""

    def __init__(
        self,
        settings: Iterable[GateSettings],
        alarms: Alarms,
        outputs: Outputs,
        deadlines: Deadlines,
        ids: Ids,
        timers: Timers,
    ) -> None:
        self._gates = {gate.id: Gate(gate) for gate in settings}
        self._alarms = alarms
        self._outputs = outputs
        self._deadlines = deadlines
        self._ids = ids
        self._timers = timers
        self._by_ref: dict[Ref, list[Gate]] = {}
        self._power = True
        """The box has mains power."""
        self._settled: list[Settled] = []
        """Collected by `site.py`."""
        for gate in self._gates.values():
            one = gate.settings
            for ref in dict.fromkeys((one.open, one.hold, one.arm, one.clear)):
                if ref is not None:
                    self._by_ref.setdefault(ref, []).append(gate)

    def __contains__(self, name: object) -> bool:
        return name in self._gates

    @property
    def any_held(self) -> bool:
        """True while any gate is held open."""
        return any(gate.is_held for gate in self._gates.values())

    def fires(self) -> list[tuple[str, str]]:
        """Gate -> its causes that come from a linkage."""
        return [(gate.id, key) for gate in self._gates.values() for key in gate.fires()]

    def get(self, name: str) -> Gate:
        """The state of one gate, to read only."""
        return self._gates[name]

    def status(self, name: str, now: Instant) -> dict[str, Json]:
        """`commanded`, `actual` and `verified`, as in the events."""
        return self._gates[name].status(now, power=self._power)

    def take_settled(self) -> list[Settled]:
        """Take the answers to requests since the last call."""
        settled, self._settled = self._settled, []
        return settled

    def powered(self, *, on: bool) -> None:
        """Set whether there is mains power."""
        self._power = on

    def restore(self, memory: Mapping[str, Json]) -> None:
        """Load the known holds."""
        for gate in self._gates.values():
            gate.restore(memory.get(_MEMORY + gate.id))

    def start(self, now: Instant) -> Iterator[Effect]:
        """Apply the known holds first, then read every output."""
        for gate in self._gates.values():
            if gate.is_held:
                yield from self._apply(gate, now)
                if not gate.causes:
                    yield from self._wait_for_clear(gate, now)
        for gate in self._gates.values():
            refs: list[Ref | None] = [gate.settings.held, gate.settings.open] if gate.settings.readable else []
            for ref in dict.fromkeys((*refs, gate.settings.arm, gate.settings.clear)):
                if ref is not None:
                    yield ReadNow(ref.device, (ref.point,))

    # ---- what is asked of a gate ----------------------------------------------------------------

    def open_once(
        self, name: str, who: Cause, now: Instant, *, expires: float | None, token: str, limited: bool = True
    ) -> Generator[Effect, None, Opening]:
        """Open once. `limited`: apply the limit of 20 pulses a minute, which holds for commands and plates."""
        gate = self._gates[name]
        if gate.is_held:
            return Opening("held-open")
        if gate.pulsing:
            gate.waiting.append(token)
            return Opening("joined", later=True)
        if now.mono < gate.pulse_until + JOINS_S:
            return Opening("joined")
        if gate.limited(now) and limited:
            return Opening("rate-limited")
        gate.pulses.append(now.mono)
        gate.pulsing, gate.opener = True, who
        gate.waiting.append(token)
        gate.rises_until = max(now.mono, expires or now.mono) + gate.settings.pulse + gate.settings.opens_within
        yield from self._outputs.pulse(gate.settings.open, expires, now)
        return Opening("ordered", later=True)

    def hold(
        self, name: str, key: str, who: Cause, now: Instant, *, token: str | None = None, life: float | None = None
    ) -> Iterator[Effect]:
        """Add a cause of holding. `life`: seconds after which it is dropped unless it was written."""
        gate = self._gates[name]
        if key in gate.causes:
            if token is not None and self._outputs.is_on(gate.settings.held):
                self._settled.append(Settled(token, True, "", name))
            elif token is not None:
                gate.holders[token] = key
                if len(gate.holders) > _HOLDERS:
                    gate.holders.pop(oldest := next(iter(gate.holders)))
                    self._settled.append(Settled(oldest, False, "silent", name))
            return
        on = gate.is_held and self._outputs.taken(gate.settings.held)
        lowered = gate.is_held and not gate.by_fire and gate.arm is False
        gate.causes[key] = dict(who)
        gate.releasing = False
        self._timers.drop((PART, f"{name}/clear"))
        if life is not None:
            yield from self._deadlines.set(HOLD + unwritten(name, key), life, now)
        if token is not None:
            gate.holders[token] = key
        self._absorb(gate)
        yield from self._apply(gate, now)
        if lowered and gate.by_fire:
            yield from self._open_again(gate, now)
        yield Remember(_MEMORY + name, gate.memory())
        yield self._event("gate.held", gate, who, now)
        yield from self._is_on(gate) if on else ()

    def release(self, name: str, key: str, by: Cause, now: Instant) -> Iterator[Effect]:
        """Remove one cause of holding. When none is left and the way is clear, the gate is released."""
        gate = self._gates[name]
        cause = gate.causes.pop(key, None)
        if cause is None:
            return
        if key == UNKNOWN:
            yield from self._alarms.end(f"{name}/held-unknown", now)
        yield from self._deadlines.drop(HOLD + unwritten(name, key)) if by_command(key) else ()
        gate.releasing, gate.clear_since = not gate.causes, None
        if gate.causes:
            yield Remember(_MEMORY + name, gate.memory())
            yield from self._apply(gate, now)
        elif gate.settings.clear is None:
            yield from self._let_go(gate, now)
        else:
            yield Remember(_MEMORY + name, gate.memory())
            yield from self._wait_for_clear(gate, now)
        yield self._event("gate.released", gate, {**cause, "by": by.get("by")}, now)

    def after_fire(self, name: str, key: str, by: str | None, now: Instant) -> Iterator[Effect]:
        """Called when the last fire of a linkage was reset: the gate stays open until a person releases it."""
        gate = self._gates[name]
        cause = gate.causes.get(key)
        if cause is not None:
            gate.causes.setdefault(AFTER, cause)
            del gate.causes[key]
            yield Remember(_MEMORY + name, gate.memory())
            yield self._event("gate.released", gate, {**cause, "by": by}, now)

    def hold_died(self, name: str, now: Instant) -> Iterator[Effect]:
        """Drop a hold by command that the device did not take within its life; `name` is GATE/KID."""
        gate = self._gates.get(name.partition("/")[0])
        if gate is not None:
            key = COMMAND + name.removeprefix(gate.id)
            self._tell_holders(gate, "expired", key)
            yield from self.release(gate.id, key, {"by": None}, now)

    # ---- what comes back ------------------------------------------------------------------------

    def outcome(self, ref: Ref, item: Outcome, now: Instant) -> Iterator[Effect]:
        """Take the outcome of an order for an output of a gate."""
        for gate in self._by_ref.get(ref, ()):
            if gate.pulsing and ref == gate.settings.open:
                yield from self._pulsed(gate, item, now)
            elif gate.is_held and ref in gate.held_refs():
                yield from self._held(gate, item, now)

    def read(self, ref: Ref, reading: Reading, now: Instant) -> Iterator[Effect]:
        """Take a reading of an input or output of a gate."""
        for gate in self._by_ref.get(ref, ()):
            good = reading.quality is Quality.GOOD
            if ref == gate.settings.arm:
                yield from self._arm(gate, bool(reading.value) if good else None, now)
            elif ref == gate.settings.clear:
                yield from self._clear(gate, good and bool(reading.value), reading.at.mono, now)
            elif good and ref not in gate.judged:
                gate.judged.add(ref)
                if reading.value and not gate.is_held and not self._outputs.touched(ref):
                    yield from self._adopt(gate, ref, now)

    def tick(self, name: str, now: Instant) -> Iterator[Effect]:
        """A timer has fired: read an arm, check the clear way, or check whether the gate opened in time."""
        gate = self._gates[name.partition("/")[0]]
        match name.partition("/")[2]:
            case "look":
                yield from self._look(gate, now)
            case "clear":
                yield from self._wait_for_clear(gate, now)
            case _:
                yield from self._judge(gate, now)

    # ---- one gate -------------------------------------------------------------------------------

    def _apply(self, gate: Gate, now: Instant) -> Iterator[Effect]:
        """Switch on the output that holds the gate."""
        for ref in gate.held_refs():
            yield from self._outputs.hold(ref, now, urgent=gate.by_fire)
        if gate.arm is not True:
            gate.rises_until = max(gate.rises_until, now.mono + gate.settings.opens_within)
            self._timers.set((PART, f"{gate.id}/opens"), now.mono + gate.settings.opens_within)
        yield from self._look(gate, now)

    def _absorb(self, gate: Gate) -> None:
        """Settle the openings under way, because the gate is held open now."""
        self._settled += (Settled(token, True, "held-open", gate.id) for token in gate.waiting)
        gate.waiting.clear()
        if gate.pulsing:
            gate.pulsing, gate.opener = False, None

    def _pulsed(self, gate: Gate, item: Outcome, now: Instant) -> Iterator[Effect]:
        gate.pulsing = False
        self._settled += (Settled(token, item.ok, item.detail, gate.id) for token in gate.waiting)
        gate.waiting.clear()
        if not item.ok:
            gate.opener, gate.rises_until = None, now.mono + gate.settings.opens_within
            return
        gate.pulse_until = now.mono + gate.settings.pulse
        gate.rises_until = now.mono + gate.settings.pulse + gate.settings.opens_within
        if gate.settings.arm is None or gate.arm:
            yield from self._opened(gate, now)
        else:
            self._timers.set((PART, f"{gate.id}/opens"), now.mono + gate.settings.opens_within)
            yield from self._look(gate, now)

    def _opened(self, gate: Gate, now: Instant) -> Iterator[Effect]:
        who, gate.opener = gate.opener, None
        if who is not None:
            yield self._event("gate.opened", gate, who, now)

    def _held(self, gate: Gate, item: Outcome, now: Instant) -> Iterator[Effect]:
        if item.ok:
            yield from self._is_on(gate)
        elif item.detail == "refused":
            self._tell_holders(gate, item.detail)
            for key in self._unwritten(gate):
                yield from self.release(gate.id, key, {"by": None}, now)

    def _is_on(self, gate: Gate) -> Iterator[Effect]:
        """Settle the requests that wait for the hold, because its output is on."""
        self._tell_holders(gate, "", ok=True)
        for key in self._unwritten(gate):
            yield from self._deadlines.drop(HOLD + unwritten(gate.id, key))

    def _unwritten(self, gate: Gate) -> list[str]:
        return [key for key in gate.causes if by_command(key) and HOLD + unwritten(gate.id, key) in self._deadlines]

    def _tell_holders(self, gate: Gate, detail: str, key: str | None = None, *, ok: bool = False) -> None:
        self._settled += (Settled(token, ok, detail, gate.id) for token in gate.take_holders(key))

    def _adopt(self, gate: Gate, ref: Ref, now: Instant) -> Iterator[Effect]:
        """Hold the gate whose output was found on at start for an unknown reason."""
        who = {"cause": "unknown", "by": None, "open": ref != gate.settings.held}
        gate.causes[UNKNOWN] = who
        self._outputs.adopt(ref, now)
        yield Remember(_MEMORY + gate.id, gate.memory())
        yield self._event("gate.held", gate, who, now)
        text = f"{ref} was found on; nobody knows why"
        yield from self._alarms.begin(built_in(f"{gate.id}/held-unknown", "gate"), text, now)

    def _arm(self, gate: Gate, up: bool | None, now: Instant) -> Iterator[Effect]:
        was, gate.arm = gate.arm, up
        if up:
            self._timers.drop((PART, f"{gate.id}/opens"))
            if was is False and not gate.is_held and now.mono > gate.rises_until:
                yield self._event("gate.moved", gate, {"cause": "other"}, now)
            yield from self._opened(gate, now) if not gate.pulsing else ()
            yield from self._alarms.end(f"{gate.id}/gate-stuck", now)
        elif up is False and was and gate.is_held:
            yield self._event("gate.moved", gate, {"cause": "other"}, now)
            if gate.by_fire:
                yield from self._stuck(gate, now)
                yield from self._open_again(gate, now)

    def _look(self, gate: Gate, now: Instant) -> Iterator[Effect]:
        """Schedule frequent reads of the arm while a fire holds the gate and while it is expected to rise."""
        arm = gate.settings.arm
        if arm is not None and (gate.by_fire or (gate.opener is not None and not gate.arm)):
            self._timers.set((PART, f"{gate.id}/look"), now.mono + _LOOK_EVERY_S)
            yield ReadNow(arm.device, (arm.point,))

    def _judge(self, gate: Gate, now: Instant) -> Iterator[Effect]:
        """Judge whether the gate is open at the end of its opening time."""
        one = gate.settings
        if one.arm is not None:
            well = gate.arm is True
        else:
            well = not gate.is_held or all(self._outputs.is_on(ref) is True for ref in gate.held_refs())
        if well or (not gate.is_held and gate.opener is None):
            yield from self._alarms.end(f"{gate.id}/gate-stuck", now)
            return
        gate.rises_until = now.mono
        yield from self._stuck(gate, now)
        gate.opener = None
        if gate.is_held:
            self._timers.set((PART, f"{gate.id}/opens"), now.mono + one.opens_within)
            if gate.by_fire and gate.arm is False:
                yield from self._open_again(gate, now)

    def _stuck(self, gate: Gate, now: Instant) -> Iterator[Effect]:
        subject = f"{gate.id}/gate-stuck"
        severity = "critical" if gate.by_fire else "high"
        if not self._alarms.standing(subject):
            who = gate.opener or next(iter(gate.causes.values()), {"cause": "other"})
            yield self._event("gate.stuck", gate, who, now)
            told = gate.commanded(now) if gate.is_held else "told to open"
            text = f"{told}, but {gate.actual(now, power=self._power)}"
            yield from self._alarms.begin(built_in(subject, "gate", severity=severity), text, now)
        elif gate.by_fire:
            yield from self._alarms.worsen(subject, severity, now)

    def _open_again(self, gate: Gate, now: Instant) -> Iterator[Effect]:
        """Write the hold again: the arm lowers, or has not risen, in a fire."""
        gate.rises_until = now.mono + gate.settings.opens_within
        self._timers.set((PART, f"{gate.id}/opens"), now.mono + gate.settings.opens_within)
        for ref in gate.held_refs():
            yield from self._outputs.again(ref, now)
        if gate.settings.open not in gate.held_refs():
            yield from self._outputs.pulse(gate.settings.open, None, now, urgent=True)

    def _clear(self, gate: Gate, clear: bool, at: float, now: Instant) -> Iterator[Effect]:
        if not clear:
            gate.clear_since = None
        elif gate.clear_since is None:
            gate.clear_since = at
        elif gate.releasing and at - gate.clear_since >= _CLEAR_S:
            yield from self._let_go(gate, now)

    def _wait_for_clear(self, gate: Gate, now: Instant) -> Iterator[Effect]:
        """Release the gate once the way under it has been clear for 3 s."""
        clear = gate.settings.clear
        if clear is None:
            yield from self._let_go(gate, now)
        else:
            self._timers.set((PART, f"{gate.id}/clear"), now.mono + _CLEAR_LOOK_EVERY_S)
            yield ReadNow(clear.device, (clear.point,))

    def _let_go(self, gate: Gate, now: Instant) -> Iterator[Effect]:
        refs = gate.held_refs()
        gate.releasing, gate.clear_since = False, None
        for name in ("clear", "opens", "look"):
            self._timers.drop((PART, f"{gate.id}/{name}"))
        self._tell_holders(gate, "silent")
        yield Forget(_MEMORY + gate.id)
        for ref in dict.fromkeys((*refs, gate.settings.open)):
            if self._outputs.held(ref) or self._outputs.is_on(ref):
                yield from self._outputs.release(ref, now)
        yield from self._alarms.end(f"{gate.id}/gate-stuck", now)

    def _event(self, type_: str, gate: Gate, who: Cause, now: Instant) -> Emit:
        why = {name: who.get(name) for name in ("cause", "by", "passage", "alarm")}
        data: dict[str, Json] = {"gate": gate.id, **why, **self.status(gate.id, now)}
        return Emit(Stream.ACCESS, type_, gate.id, data, self._ids.new(now), now)

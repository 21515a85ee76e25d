"""Passages: turns the decision about a plate into an opening, an event, and the state of who is inside. Pure.

A passage's event is emitted once, when the outcome of the order is known, in one commit with the gate's own event.
After a crash the next process emits it as `opened` with `opened_at` null, because nobody knows whether the order was
carried out. A failed order makes a denial, `silent` or `refused`. The passage's key is remembered in the ordering step.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from gateway.kinds import PassageReason
from gateway.masks import without_plates
from gateway.model import (
    HOUR_S,
    Effect,
    Emit,
    Forget,
    Instant,
    Json,
    KeepPictures,
    ListReady,
    Passage,
    Remember,
    Stream,
    rfc3339,
)
from gateway.site.access import PREFIX, STATE, Access, Decision, PlateSeen, decide
from gateway.site.alarms import Alarms
from gateway.site.deadlines import Deadlines
from gateway.site.gates import Gates, Settled
from gateway.site.ids import Ids
from gateway.site.lists import PlateList
from gateway.site.plates import LONGEST, classify, normalise
from gateway.site.presence import PREFIX as INSIDE
from gateway.site.presence import Presence
from gateway.site.settings import AccessSettings, built_in

ORDER_LIFE_S = 5.0
"""An order expires this long after the plate arrived if the device stays silent."""
WAITING = 256
"""The most passages whose orders are under way at once; beyond it the gate counts as rate-limited."""
DENIED = 64
"""How many denied cars a guard may still let in with one press."""
STORE = "store"
"""`by` of a list that was loaded from the store unchanged."""
BY_KIND_AN_HOUR = 6
"""The most openings of a gate in an hour for the kind of a plate alone (`special`); then a person has to decide."""
_BY_KIND = "by-kind/"
"""`by-kind/GATE/PASSAGE`: the deadline after which such an opening no longer counts."""
_MEMORY = "passing/"
_TOKEN = "passage/"  # noqa: S105 - names a request
_LATEST_S = 4_102_444_800.0
"""The year 2100; a later camera time is ignored."""
_WORDS = 500

_ROLES: Mapping[str, tuple[str, ...]] = {"plate": ("plate",), "scene": ("plate", "scene"), "none": ()}
"""The roles of pictures that are kept of every passage."""

Change = Mapping[str, Json]


@dataclass(slots=True)
class _Passing:
    """A passage whose order is under way."""

    data: dict[str, Json]
    car: "_Car"
    at: Instant
    by_kind: bool
    """Only the kind of its plate admits it."""


@dataclass(frozen=True, slots=True)
class _Car:
    """What presence needs to know of a car."""

    gate: str | None
    plate: str | None
    direction: str | None
    kind: str | None


class Passages:
    """Takes passages and plate lists. `access.lists` are the lists in force."""

    def __init__(self, settings: AccessSettings, gates: Gates, ids: Ids, alarms: Alarms, deadlines: Deadlines) -> None:
        self.access = Access(settings)
        self.presence = Presence()
        self._settings = settings
        self._gates = gates
        self._ids = ids
        self._alarms = alarms
        self._deadlines = deadlines
        self._memory: Change = {}
        self._passing: dict[str, _Passing] = {}
        self._denied: dict[str, _Car] = {}
        self._by_hand: dict[str, str] = {}

    def restore(self, memory: Change) -> None:
        """Load the memory; it takes effect with `start`."""
        mine = (PREFIX, STATE, INSIDE, _MEMORY)
        self._memory = {key: value for key, value in memory.items() if key.startswith(mine)}

    def start(self, now: Instant) -> Iterator[Effect]:
        """Report what was under way when the previous process ended; nothing of it is ordered again."""
        memory, self._memory = self._memory, {}
        self.access.restore(memory, now)
        self.presence.restore(memory)
        for key, data in memory.items():
            if key.startswith(_MEMORY):
                yield Forget(key)
                if isinstance(data, Mapping):
                    yield self._event(data, now, now)

    def take(self, item: Passage, now: Instant) -> Iterator[Effect]:
        """Take a passage of a plate camera."""
        gate = self._settings.cameras.get(item.camera)
        by_fire = gate is not None and self._gates.get(gate).by_fire
        taken = self.access.take(item, now.wall, held_by_fire=by_fire)
        yield from _kept(taken.remember)
        yield from self._told(item.camera, taken.told, now)
        item = taken.passage or item
        decision = taken.decision
        if decision is None:
            if item.pictures:
                yield KeepPictures("", item.camera, (), item.at, tuple(one.id for one in item.pictures))
            return
        too_late = now.mono >= item.at.mono + ORDER_LIFE_S
        if decision.decision == "opened" and (too_late or self._needs_person(decision, gate)):
            decision = replace(decision, decision="denied", reason="too-late" if too_late else "needs-person")
            self.access.opened_nothing(item.camera, _car(item, gate, decision).plate)
        passage = self._ids.new(now)
        pictures = self._pictures(item, decision)
        if item.pictures:
            dropped = tuple(one.id for one in item.pictures if one.id not in pictures)
            yield KeepPictures(passage, item.camera, pictures, item.at, dropped)
        data = _data(passage, item, gate, decision, pictures)
        car = _car(item, gate, decision)
        if decision.decision == "opened" and gate is not None:
            yield from self._open(_Passing(data, car, item.at, decision.by_kind), gate, now, decision.is_emergency)
            return
        if decision.decision == "denied":
            self._refused(passage, car)
        elif not decision.late:
            yield from self._moved(car, now)
        yield self._event(data, item.at, now)

    def _told(self, camera: str, told: Mapping[str, str], now: Instant) -> Iterator[Effect]:
        """Raise, update or clear the camera's alarms: of its clock and its confidence scale."""
        for name, why in told.items():
            alarm = f"{camera}/{name}"
            if why:
                yield from self._alarms.begin(built_in(alarm, "gateway"), why, now)
            else:
                yield from self._alarms.end(alarm, now)

    # ---- its order ------------------------------------------------------------------------------

    def _needs_person(self, decision: Decision, gate: str | None) -> bool:
        """True if the limit for special kinds is reached: a picture of such a plate would open the gate as well."""
        if gate is None or not decision.by_kind or self._gates.get(gate).is_held:
            return False
        return len(self._deadlines.keys(f"{_BY_KIND}{gate}/")) >= BY_KIND_AN_HOUR

    def _open(self, one: _Passing, gate: str, now: Instant, is_emergency: bool) -> Iterator[Effect]:
        data = one.data
        token = f"{_TOKEN}{data['passage']}"
        who: Change = {"cause": "passage", "by": None, "passage": data["passage"]}
        if len(self._passing) >= WAITING and not self._gates.get(gate).is_held:
            data["decision"] = "rate-limited"
            self._shut(one)
            yield self._event(data, one.at, now)
            return
        opening = yield from self._gates.open_once(
            gate, who, now, expires=one.at.mono + ORDER_LIFE_S, token=token, limited=not is_emergency
        )
        if opening.decision in ("ordered", "joined"):
            data["ordered_at"] = now.rfc3339()
            if one.by_kind and opening.decision == "ordered":
                yield from self._deadlines.set(f"{_BY_KIND}{gate}/{data['passage']}", HOUR_S, now, by_age=True)
        else:
            data["decision"] = opening.decision
        if opening.later:
            self._passing[token] = one
            yield Remember(f"{_MEMORY}{data['passage']}", dict(data))
            return
        if opening.decision == "joined":
            data["opened_at"] = now.rfc3339()
        if opening.decision == "rate-limited":
            self._shut(one)
        else:
            yield from self._moved(one.car, now)
        yield self._event(data, one.at, now)

    def settled(self, item: Settled, now: Instant) -> Iterator[Effect]:
        """Take the result of a gate's order, which may belong to a passage or to a guard's opening for a denied car."""
        by_hand = self._denied.pop(self._by_hand.pop(item.token, ""), None) if item.ok else None
        self._by_hand.pop(item.token, None)
        if by_hand is not None:
            yield from self._moved(by_hand, now)
        one = self._passing.pop(item.token, None)
        if one is None:
            return
        yield Forget(f"{_MEMORY}{one.data['passage']}")
        if item.ok and item.detail == "held-open":
            one.data["decision"] = "held-open"
        elif item.ok:
            one.data["opened_at"] = now.rfc3339()
        if item.ok:
            yield from self._moved(one.car, now)
        else:
            why: PassageReason = "refused" if item.detail == "refused" else "silent"
            one.data |= {"decision": "denied", "reason": why}
            self._shut(one)
        yield self._event(one.data, one.at, now)

    def by_hand(self, passage: str, gate: str, token: str) -> str | None:
        """Note that a person on site opens for this passage by the request `token`. Returns why not; None: allowed."""
        car = self._denied.get(passage)
        if car is None:
            return None if len(passage) <= 64 and passage.isascii() else "passage: no such passage"
        if car.gate != gate:
            return f"passage: it was at {car.gate}"
        self._by_hand[token] = passage
        if len(self._by_hand) > DENIED:
            del self._by_hand[next(iter(self._by_hand))]
        return None

    # ---- lists ----------------------------------------------------------------------------------

    def list_ready(self, item: ListReady, now: Instant) -> Iterator[Effect]:
        """Put a list into force, or report that it could not be made.

        It gets an audit event unless a command asked for it, which has its own, or it is the unchanged stored one.
        """
        ready = item.list if isinstance(item.list, PlateList) else None
        if ready is not None:
            self.access.put_in_force(ready)
        if item.order or (item.by == STORE and ready is not None and not item.detail):
            return
        args: dict[str, Json] = {"list": item.name, "version": None if ready is None else ready.version}
        if ready is not None:
            args |= {"lines": len(ready)}
        data: dict[str, Json] = {
            "jti": None, "iss": "on-site", "sub": item.by, "kid": None, "cmd": "access.update", "args": args,
            "ok": ready is not None, "error": None, "count": None,
        }  # fmt: skip
        if item.detail:
            code = "bad-args" if ready is None else "interlocked"
            data["error"] = {"code": code, "message": without_plates(item.detail[:_WORDS])}
        kind = "command.refused" if ready is None else "command.done"
        yield Emit(Stream.AUDIT, kind, None, data, self._ids.new(now), now)

    # ---- one plate ------------------------------------------------------------------------------

    def kept(self, plate: str) -> dict[str, Json]:
        """What this part keeps of a plate, apart from events."""
        inside = self.presence.find(plate)
        return {
            "plate": plate,
            "lists": [
                {
                    "list": name,
                    "kind": line.kind,
                    "from": rfc3339(line.since) if line.since else None,
                    "until": rfc3339(line.until) if line.ends else None,
                    "gates": sorted(line.gates),
                    "note": line.note or None,
                }
                for name, line in self.access.lists.find(plate)
            ],
            "inside": None if inside is None else {"kind": inside.kind, "since": rfc3339(inside.since)},
            "recent": self.access.known(plate),
        }

    def would(self, plate: str, gate: str | None, now: Instant) -> list[Json]:
        """The decision that a well-read plate would get now, by direction, at one gate or at all gates."""
        seen = classify(plate)
        gates = [gate] if gate is not None else sorted({one for one in self._settings.cameras.values() if one})
        told: list[Json] = []
        for one in gates:
            for way in ("in", "out"):
                sight = PlateSeen(seen, 100.0, "in" if way == "in" else "out", one, now.wall)
                found = decide(sight, self.access.lists, self._settings, held_by_fire=self._gates.get(one).by_fire)
                about: dict[str, Json] = {"gate": one, "direction": way, "decision": found.decision}
                told.append({**about, "reason": found.reason, "list": found.list, "listed": found.listed})
        return told

    def forget(self, plate: str) -> Iterator[Effect]:
        """Erase a plate everywhere except in lists and events, which are handled outside the site."""
        yield from _kept(self.access.forget(plate))
        yield from _kept(self.presence.forget(plate))
        for passage, car in self._denied.items():
            if car.plate == plate:
                self._denied[passage] = replace(car, plate=None)
        for one in self._passing.values():
            if one.car.plate == plate:
                one.car = replace(one.car, plate=None)
                one.data |= {"plate": None, "plate_raw": None}
                yield Remember(f"{_MEMORY}{one.data['passage']}", dict(one.data))

    def correct(self, plate: str, now: Instant, *, inside: bool) -> Iterator[Effect]:
        """A person corrects whether a car is inside."""
        yield from _kept(self.presence.correct(plate, now.wall, inside=inside))

    def plate(self, said: Json) -> str:
        """The compared form of a plate as people type it; empty: it is not a plate."""
        found = normalise(said) if isinstance(said, str) else ""
        return found if len(found) <= LONGEST else ""

    # ---- what follows ---------------------------------------------------------------------------

    def _pictures(self, item: Passage, decision: Decision) -> tuple[str, ...]:
        """The pictures to keep, by `access.pictures`; denied and emergency passages also keep the scene."""
        wanted = set(_ROLES[self._settings.pictures])
        if decision.decision == "denied" or decision.is_emergency:
            wanted.add("scene")
        return tuple(one.id for one in item.pictures if one.role in wanted)

    def _shut(self, one: _Passing) -> None:
        """Handle a failed order: the car still stands at the gate."""
        self._refused(str(one.data["passage"]), one.car)
        self.access.opened_nothing(str(one.data["camera"]), one.car.plate)

    def _refused(self, passage: str, car: _Car) -> None:
        self._denied[passage] = car
        if len(self._denied) > DENIED:
            del self._denied[next(iter(self._denied))]

    def _moved(self, car: _Car, now: Instant) -> Iterator[Effect]:
        way = car.direction
        if way is not None:
            yield from _kept(self.presence.moved(car.plate, "in" if way == "in" else "out", car.kind, now.wall))

    def _event(self, data: Change, at: Instant, now: Instant) -> Emit:
        kind = "access.denied" if data["decision"] in ("denied", "rate-limited") else "access.passage"
        return Emit(Stream.ACCESS, kind, str(data["camera"]), data, self._ids.new(now), at)


def _kept(changes: Change) -> Iterator[Effect]:
    for key, value in changes.items():
        yield Forget(key) if value is None else Remember(key, value)


def _car(item: Passage, gate: str | None, decision: Decision) -> _Car:
    seen = decision.plate
    plate = decision.listed or (seen.text if seen is not None and seen.whole else None)
    return _Car(gate, plate, item.direction, decision.list_kind)


def _data(
    passage: str, item: Passage, gate: str | None, decision: Decision, pictures: tuple[str, ...]
) -> dict[str, Json]:
    plate = decision.plate
    return {
        "passage": passage,
        "camera": item.camera,
        "gate": gate,
        "direction": item.direction,
        # The listed plate that it was taken for; the misread one is in `plate_raw`.
        "plate": None if plate is None else decision.listed or plate.text,
        "plate_raw": None if item.plate_raw is None else item.plate_raw[: 4 * LONGEST],
        "plate_kind": None if plate is None else plate.kind,
        "colour": item.colour if plate is None else plate.colour,
        "confidence": item.confidence,
        "list_kind": decision.list_kind,
        "decision": decision.decision,
        "reason": decision.reason,
        "seen_at": rfc3339(item.seen) if item.seen is not None and 0.0 <= item.seen < _LATEST_S else None,
        "ordered_at": None,
        "opened_at": None,
        "pictures": list(pictures),
        "late": decision.late,
    }

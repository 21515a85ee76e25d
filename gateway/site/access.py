"""Who may pass: the decision about one passage, and which passages are no new ones. Pure.

The order is: held open by fire, emergency and other special kinds, blocked, listed and valid now at this gate, one
confusable character away from exactly one listed plate, the rule for the unknown. `Decision.reason` names the rule.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

from gateway.kinds import PassageReason
from gateway.model import Instant, Json, Passage, Way
from gateway.site.camera_clock import OLD_S, CameraClock
from gateway.site.confidence import Scale
from gateway.site.lists import ListEntry, Lists, PlateList
from gateway.site.plates import PROVINCES, UNREAD, Plate, classify
from gateway.site.settings import CLOCK, SCALE, AccessSettings, Verdict

_LONGEST_PLATE = 8
KEPT = 256
"""Passages of one camera that are remembered, so that no sending of them is taken for a new one."""
PREFIX = "passage:"
STATE = "camera:"
"""Key of what is remembered of each camera: its clock and its scale of confidence."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided about a passage, and by which rule."""

    decision: Literal["opened", "denied", "held-open", "no-gate"]
    reason: PassageReason
    plate: Plate | None = None
    """As it was read."""
    listed: str | None = None
    """The plate of the list that it is, or was taken for."""
    list: str | None = None
    list_kind: str | None = None
    late: bool = False
    by_kind: bool = False
    """Its kind alone opens (`special`): neither a list nor the rule for the unknown would."""

    @property
    def is_emergency(self) -> bool:
        """No limit of openings binds it."""
        return self.reason == "special" and self.plate is not None and self.plate.kind == "emergency"


@dataclass(frozen=True, slots=True)
class PlateSeen:
    """A plate before a gate, now."""

    plate: Plate | None
    confidence: float | None
    direction: Way | None
    gate: str | None
    wall: float
    """Seconds; windows are judged by it. Never earlier than what has been seen before."""


def decide(sight: PlateSeen, lists: Lists, settings: AccessSettings, *, held_by_fire: bool = False) -> Decision:
    """The decision. The same for the same arguments, and nothing is remembered."""
    verdict, judged = _judge(sight, lists, settings)
    if sight.gate is None:
        return replace(judged, decision="no-gate")
    if held_by_fire:
        return replace(judged, decision="held-open", reason="fire")
    return replace(judged, decision="opened" if verdict == "open" else "denied")


def _judge(sight: PlateSeen, lists: Lists, settings: AccessSettings) -> tuple[Verdict, Decision]:
    plate, way = sight.plate, sight.direction
    if plate is None or UNREAD in plate.text:
        return settings.no_plate.of(way), _because(_why_none(plate), plate)
    lines = lists.find(plate.text)
    blocked = next((line for line in lines if line[1].kind == "blocked" and _counts(line[1], sight)), None)
    if sight.confidence is not None and sight.confidence < settings.min_confidence:
        if blocked is not None and settings.blocked.of(way) == "deny":
            return "deny", _because("blocked", plate, blocked)
        return settings.no_plate.of(way), _because("low-confidence", plate)
    known = sight.confidence is not None and plate.sure and plate.whole
    special = settings.special_verdict(plate.kind) if known else None
    if special == "open":
        alone = _judge_listed(sight, plate, lists, settings)[0] != "open"
        return special, replace(_because("special", plate, next(iter(lines), None)), by_kind=alone)
    if special == "deny" and way != "out":
        return special, _because("special", plate, next(iter(lines), None))
    return _judge_listed(sight, plate, lists, settings)


def _judge_listed(sight: PlateSeen, plate: Plate, lists: Lists, settings: AccessSettings) -> tuple[Verdict, Decision]:
    """By the lists, and by the rule for the unknown."""
    way = sight.direction
    lines = lists.find(plate.text)
    blocked = next((line for line in lines if line[1].kind == "blocked" and _counts(line[1], sight)), None)
    if blocked is not None:
        return settings.blocked.of(way), _because("blocked", plate, blocked)
    listed = next((line for line in lines if line[1].kind != "blocked" and _counts(line[1], sight)), None)
    if listed is not None:
        return "open", _because("listed", plate, listed)
    if not lines and (near := _near(sight, plate, lists)) is not None:
        return "open", _because("near-miss", plate, near)
    return _unknown(sight, plate, lines, settings)


def _why_none(plate: Plate | None) -> PassageReason:
    """No plate, one that was read in part, or words out of the picture."""
    if plate is None:
        return "no-plate"
    is_words = len(plate.text) > _LONGEST_PLATE and plate.text[0] not in PROVINCES + UNREAD
    return "other-kind" if is_words else "unread"


def _near(sight: PlateSeen, plate: Plate, lists: Lists) -> tuple[str, ListEntry] | None:
    """The one line that a single confusable character leads to: valid now at this gate, and not of a blocked plate."""
    if sight.confidence is None or plate.kind == "other" or not plate.whole:
        return None
    candidates = lists.near(plate.text)
    if len(candidates) != 1:
        return None
    lines = lists.find(candidates[0])
    if any(entry.kind == "blocked" for _, entry in lines):
        return None
    return next((line for line in lines if _counts(line[1], sight)), None)


def _unknown(
    sight: PlateSeen, plate: Plate, lines: list[tuple[str, ListEntry]], settings: AccessSettings
) -> tuple[Verdict, Decision]:
    """Nothing speaks for this plate."""
    way = sight.direction
    known = next((line for line in lines if line[1].kind != "blocked"), None)
    if known is not None:
        return settings.unknown.of(way), _because(_why_not([entry for _, entry in lines], sight), plate, known)
    if sight.confidence is None:
        return settings.no_plate.of(way), _because("no-confidence", plate)
    if plate.kind == "other":
        return settings.no_plate.of(way), _because("other-kind", plate)
    return settings.unknown.of(way), _because("unknown", plate)


def _why_not(entries: list[ListEntry], sight: PlateSeen) -> PassageReason:
    """Why a listed plate is not let in."""
    mine = [entry for entry in entries if entry.kind != "blocked"]
    if any(entry.holds(sight.wall) for entry in mine):
        return "other-gate"
    return "not-yet" if any(sight.wall < entry.since for entry in mine) else "expired"


def _counts(entry: ListEntry, sight: PlateSeen) -> bool:
    return entry.holds(sight.wall) and entry.opens(sight.gate)


def _because(reason: PassageReason, plate: Plate | None, line: tuple[str, ListEntry] | None = None) -> Decision:
    if line is None:
        return Decision("denied", reason, plate)
    return Decision("denied", reason, plate, line[1].plate, line[0], line[1].kind)


class _Sending(NamedTuple):
    """One sending. `plate` is empty where none was read, None for a repeat."""

    key: str
    plate: str | None
    mono: float
    wall: float
    seen: float | None
    late: bool
    number: int
    """Counts the sendings of a camera; its place in the ring follows from it."""


@dataclass(slots=True)
class _Camera:
    """What is remembered of one camera. `mono` are monotonic seconds, `seen` the camera's own time."""

    kept: dict[int, "_Sending"] = field(default_factory=dict)
    """By place in the ring."""
    keys: dict[str, int] = field(default_factory=dict)
    last: dict[str, float] = field(default_factory=dict)
    """When a plate last made a live passage (mono)."""
    shut: set[str] = field(default_factory=set)
    """Plates whose last passage opened nothing; not known after a restart."""
    next: int = 0
    clock: CameraClock = field(default_factory=CameraClock)
    scale: Scale = field(default_factory=Scale)
    state: Json = None
    """As it was last remembered."""
    well: dict[str, bool] = field(default_factory=dict)
    """What its alarms said last, by name."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What a passage came to."""

    decision: Decision | None
    """None: it is a retry or a repeat, and there is nothing to tell."""
    remember: Mapping[str, Json] = field(default_factory=dict)
    """To be kept in the commit of the step."""
    ignored: Literal["retry", "repeat"] | None = None
    passage: Passage | None = None
    """As it was judged: its confidence in percent, without a time that is not used."""
    told: Mapping[str, str] = field(default_factory=dict)
    """The camera's alarms that change, by name, with why; empty: all is well again."""


class Access:
    """Tells new passages from retries, repeats and late records, and decides about the new ones."""

    def __init__(self, settings: AccessSettings, lists: Lists | None = None) -> None:
        self.lists = lists or Lists()
        self._settings = settings
        self._cameras: dict[str, _Camera] = {}

    def put_in_force(self, new: PlateList) -> None:
        """In place of the one of its name, if there is one."""
        self.lists = self.lists.replaced(new)

    def restore(self, memory: Mapping[str, Json], now: Instant) -> None:
        """What was remembered before the process ended."""
        for name in memory:
            if name.startswith(STATE):
                self._camera(name.removeprefix(STATE))
        for name, value in memory.items():
            camera, _, place = name.removeprefix(PREFIX).rpartition(":")
            if not name.startswith(PREFIX) or not place.isdigit() or not isinstance(value, list) or len(value) != 6:
                continue
            key, plate, wall, seen, late, number = value
            if not isinstance(number, int) or number < 0:
                continue
            if isinstance(key, str) and isinstance(plate, str | None) and isinstance(wall, int | float):
                mono = now.mono - max(0.0, now.wall - wall)
                when = float(seen) if isinstance(seen, int | float) else None
                known = self._camera(camera)
                _keep(known, int(place) % KEPT, _Sending(key, plate, mono, float(wall), when, bool(late), number))
        for name, known in self._cameras.items():
            self._restore_state(known, memory.get(STATE + name))
            # Counted, not told by the time: a clock that was set back must not make an old one the newest.
            known.next = max((one.number for one in known.kept.values()), default=-1) + 1

    def _restore_state(self, known: _Camera, value: Json) -> None:
        """Its clock and scale; of a memory without them what the newest live passage shows."""
        known.state = value
        if isinstance(value, list) and len(value) == 2:
            known.clock.restore(value[0])
            known.scale.restore(value[1])
            return
        timed = [one for one in known.kept.values() if one.seen is not None and not one.late]
        newest = max(timed, key=lambda one: one.number, default=None)
        if newest is not None and newest.seen is not None and abs(newest.wall - newest.seen) <= OLD_S:
            known.clock.found_right()

    def take(self, passage: Passage, wall: float, *, held_by_fire: bool = False) -> Taken:
        """A passage. `wall`: the time by which windows are judged; `held_by_fire`: its gate is."""
        camera = self._camera(passage.camera)
        if passage.key and passage.key in camera.keys:
            return Taken(None, ignored="retry")
        late = passage.history or camera.clock.late(passage.seen if passage.seen_firm else None, passage.at)
        passage = replace(passage, confidence=camera.scale.percent(passage.confidence))
        if not late and camera.clock.is_wrong:
            passage = replace(passage, seen=None)
        state = self._state(passage.camera, camera)
        taken = self._judged(camera, passage, wall, late=late, held_by_fire=held_by_fire)
        why = {CLOCK: camera.clock.why(synced=passage.at.synced), SCALE: camera.scale.why()}
        told = {name: said for name, said in why.items() if camera.well.get(name) != (said == "")}
        camera.well |= {name: said == "" for name, said in told.items()}
        return replace(taken, remember={**taken.remember, **state}, passage=passage, told=told)

    def scales(self) -> dict[str, Mapping[str, Json]]:
        """By camera its scale of confidence and how that is known, for health."""
        return {name: dict(self._camera(name).scale.told()) for name in self._settings.cameras}

    def _camera(self, name: str) -> _Camera:
        known = self._cameras.get(name)
        if known is None:
            known = self._cameras[name] = _Camera(scale=Scale(self._settings.scales.get(name)))
        return known

    def _state(self, name: str, camera: _Camera) -> Mapping[str, Json]:
        """What is to be kept of it, if it changed."""
        state: Json = [camera.clock.told(), camera.scale.state()]
        if state == camera.state:
            return {}
        camera.state = state
        return {STATE + name: state}

    def _judged(self, camera: _Camera, passage: Passage, wall: float, *, late: bool, held_by_fire: bool) -> Taken:
        decision = self._decide(passage, wall, held_by_fire=held_by_fire)
        plate = decision.plate
        name = plate.text if plate is not None and plate.whole else ""
        known = decision.listed or name
        if self._is_repeat(camera, name, passage, decision, late=late) or (
            not late and known != name and self._is_repeat(camera, known, passage, decision, late=False)
        ):
            return Taken(None, self._remember(camera, passage, None, late=late), "repeat")
        if late:
            decision = replace(decision, decision="no-gate", reason="late", late=True)
        remember = self._remember(camera, passage, known, late=late)
        if not late:
            (camera.shut.add if decision.decision == "denied" else camera.shut.discard)(known)
        return Taken(decision, remember)

    def _decide(self, passage: Passage, wall: float, *, held_by_fire: bool) -> Decision:
        """Of a car with several plates each is tried: one that is blocked counts first, then one that opens."""
        plates = [classify(one, blanks=passage.blanks) for one in passage.also] or [
            classify(passage.plate_raw, passage.colour, passage.kind, blanks=passage.blanks)
        ]
        gate = self._settings.cameras.get(passage.camera)
        found = [
            decide(
                PlateSeen(plate, passage.confidence, passage.direction, gate, wall),
                self.lists, self._settings, held_by_fire=held_by_fire,
            )
            for plate in plates
            if plate is not None or len(plates) == 1
        ]  # fmt: skip
        if not found:
            return self._decide(replace(passage, plate_raw=None, also=()), wall, held_by_fire=held_by_fire)
        blocked = next((one for one in found if one.list_kind == "blocked"), None)
        return blocked or next((one for one in found if one.decision != "denied"), found[0])

    def opened_nothing(self, camera: str, plate: str | None) -> None:
        """The opening for this plate came to nothing: the same plate may try again at once."""
        known = self._cameras.get(camera)
        if known is not None and (plate or "") in known.last:
            known.shut.add(plate or "")

    def forget(self, plate: str) -> Mapping[str, Json]:
        """Erase a plate: what is to be kept instead. The key stays, so that no sending again is a new passage."""
        kept: dict[str, Json] = {}
        for name, known in self._cameras.items():
            known.last.pop(plate, None)
            known.shut.discard(plate)
            for place, one in list(known.kept.items()):
                if one.plate == plate:
                    known.kept[place] = one._replace(plate=None, seen=None)
                    kept[f"{PREFIX}{name}:{place}"] = [one.key, None, one.wall, None, one.late, one.number]
        return kept

    def known(self, plate: str) -> list[Json]:
        """What is remembered of a plate: camera, moment (wall seconds), late."""
        return [
            {"camera": name, "at": one.wall, "late": one.late}
            for name, camera in self._cameras.items()
            for one in camera.kept.values()
            if one.plate == plate
        ]

    def _is_repeat(self, camera: _Camera, plate: str, passage: Passage, decision: Decision, *, late: bool) -> bool:
        """The same plate before the same camera within `dedup`; of a late record by the camera's own times.

        Whoever was not let in may try again: it is a repeat only as long as it would be denied again. A car whose
        plate was not read, or not all of it, is never the repeat of another.
        """
        if not plate:
            return False
        window = self._settings.dedup
        if not late:
            again = passage.at.mono - camera.last.get(plate, float("-inf")) < window
            return again and (plate not in camera.shut or decision.decision == "denied")
        if passage.seen is None:
            return False
        return any(
            kept.plate == plate and kept.seen is not None and abs(kept.seen - passage.seen) < window
            for kept in camera.kept.values()
        )

    def _remember(self, camera: _Camera, passage: Passage, plate: str | None, *, late: bool) -> Mapping[str, Json]:
        """Keep it in the ring. Of a repeat no plate is kept: the time of the first one stands."""
        number = camera.next
        camera.next, place = number + 1, number % KEPT
        _keep(camera, place, _Sending(passage.key, plate, passage.at.mono, passage.at.wall, passage.seen, late, number))
        return {f"{PREFIX}{passage.camera}:{place}": [passage.key, plate, passage.at.wall, passage.seen, late, number]}


def _keep(camera: _Camera, place: int, new: _Sending) -> None:
    """Put it in its place; what stood there is forgotten."""
    old = camera.kept.get(place)
    if old is not None:
        if camera.keys.get(old.key) == place:
            del camera.keys[old.key]
        if old.plate is not None and camera.last.get(old.plate) == old.mono:
            del camera.last[old.plate]
            camera.shut.discard(old.plate)
    camera.kept[place] = new
    if new.key:
        camera.keys[new.key] = place
    if new.plate is not None and not new.late:
        camera.last[new.plate] = max(new.mono, camera.last.get(new.plate, new.mono))

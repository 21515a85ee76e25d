"""Who may pass: decides about one passage, and recognises retries, repeats and late records. Pure.

Rules are tried in this order: gate held open by fire; emergency and other special kinds; blocked; listed and valid
now at this gate; one confusable character away from exactly one listed plate; the rule for unknown plates.
`Decision.reason` names the rule that decided.
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
"""How many passages of a camera are remembered, so that a camera sending one again does not make a new passage."""
PREFIX = "passage:"
STATE = "camera:"
"""Prefix of the memory key of each camera's state: its clock and its confidence scale."""


@dataclass(frozen=True, slots=True)
class Decision:
    """The decision about a passage, and the rule that made it."""

    decision: Literal["opened", "denied", "held-open", "no-gate"]
    reason: PassageReason
    plate: Plate | None = None
    """As it was read."""
    listed: str | None = None
    """The listed plate that it equals, or was taken for."""
    list: str | None = None
    list_kind: str | None = None
    late: bool = False
    by_kind: bool = False
    """Only its kind admits it (`special`): neither a list nor the rule for unknown plates would."""

    @property
    def is_emergency(self) -> bool:
        """True if no limit on openings applies."""
        return self.reason == "special" and self.plate is not None and self.plate.kind == "emergency"


@dataclass(frozen=True, slots=True)
class PlateSeen:
    """A plate seen at a gate now."""

    plate: Plate | None
    confidence: float | None
    direction: Way | None
    gate: str | None
    wall: float
    """Seconds; validity windows are checked against it. It never goes backwards."""


def decide(sight: PlateSeen, lists: Lists, settings: AccessSettings, *, held_by_fire: bool = False) -> Decision:
    """Decide. Depends on the arguments only and keeps no state."""
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
    """Decide by the lists and the rule for unknown plates."""
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
    """Tell apart: no plate, a plate read in part, or other text in the picture."""
    if plate is None:
        return "no-plate"
    is_words = len(plate.text) > _LONGEST_PLATE and plate.text[0] not in PROVINCES + UNREAD
    return "other-kind" if is_words else "unread"


def _near(sight: PlateSeen, plate: Plate, lists: Lists) -> tuple[str, ListEntry] | None:
    """The only listed plate that differs by one confusable character, if valid now at this gate and not blocked."""
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
    """The decision about a plate that no list admits."""
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
    """The reason why a listed plate is not admitted."""
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
    """One passage as a camera sent it. `plate` is empty if none was read, None for a repeat."""

    key: str
    plate: str | None
    mono: float
    wall: float
    seen: float | None
    late: bool
    number: int
    """Counts the passages of a camera; gives the place in the ring."""


@dataclass(slots=True)
class _Camera:
    """The state of one camera. `mono` is in monotonic seconds, `seen` is the camera's own time."""

    kept: dict[int, "_Sending"] = field(default_factory=dict)
    """By place in the ring."""
    keys: dict[str, int] = field(default_factory=dict)
    last: dict[str, float] = field(default_factory=dict)
    """Plate -> its last live passage (mono)."""
    shut: set[str] = field(default_factory=set)
    """Plates whose last passage opened nothing; not known after a restart."""
    next: int = 0
    clock: CameraClock = field(default_factory=CameraClock)
    scale: Scale = field(default_factory=Scale)
    state: Json = None
    """The state as last written to the memory."""
    well: dict[str, bool] = field(default_factory=dict)
    """The last state of its alarms, by name."""


@dataclass(frozen=True, slots=True)
class Taken:
    """The result of a passage."""

    decision: Decision | None
    """None: it is a retry or a repeat, and makes no event."""
    remember: Mapping[str, Json] = field(default_factory=dict)
    """Memory to write in the commit of this step."""
    ignored: Literal["retry", "repeat"] | None = None
    passage: Passage | None = None
    """The passage as it was judged: confidence in percent; no time if the camera's time is not used."""
    told: Mapping[str, str] = field(default_factory=dict)
    """The camera's alarms that change: name -> reason; an empty reason clears the alarm."""


class Access:
    """Separates new passages from retries, repeats and late records, and decides about the new ones."""

    def __init__(self, settings: AccessSettings, lists: Lists | None = None) -> None:
        self.lists = lists or Lists()
        self._settings = settings
        self._cameras: dict[str, _Camera] = {}

    def put_in_force(self, new: PlateList) -> None:
        """In place of the one of its name, if there is one."""
        self.lists = self.lists.replaced(new)

    def restore(self, memory: Mapping[str, Json], now: Instant) -> None:
        """Load the memory of the previous process."""
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
            # By number, not by time: a clock that was set back must not make an old one the newest.
            known.next = max((one.number for one in known.kept.values()), default=-1) + 1

    def _restore_state(self, known: _Camera, value: Json) -> None:
        """Load clock and scale; if the memory has none, derive the clock from the newest live passage."""
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
        """Judge a passage. `wall`: time for the validity windows; `held_by_fire`: a fire holds its gate."""
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
        """Camera -> its confidence scale and how it is known, for health."""
        return {name: dict(self._camera(name).scale.told()) for name in self._settings.cameras}

    def _camera(self, name: str) -> _Camera:
        known = self._cameras.get(name)
        if known is None:
            known = self._cameras[name] = _Camera(scale=Scale(self._settings.scales.get(name)))
        return known

    def _state(self, name: str, camera: _Camera) -> Mapping[str, Json]:
        """The memory to write for it, if it changed."""
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
        """Try each plate of a car with several: a blocked one decides first, then one that is admitted."""
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
        """The opening for this plate failed: the same plate may try again at once."""
        known = self._cameras.get(camera)
        if known is not None and (plate or "") in known.last:
            known.shut.add(plate or "")

    def forget(self, plate: str) -> Mapping[str, Json]:
        """Erase a plate; returns the memory to write instead. The key stays, so that a retry makes no new passage."""
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
        """What is remembered of a plate: camera, time (wall seconds), late."""
        return [
            {"camera": name, "at": one.wall, "late": one.late}
            for name, camera in self._cameras.items()
            for one in camera.kept.values()
            if one.plate == plate
        ]

    def _is_repeat(self, camera: _Camera, plate: str, passage: Passage, decision: Decision, *, late: bool) -> bool:
        """True if this camera saw the same plate within `dedup`. Late records are compared by the camera's own time.

        A denied car may try again: its next passage is a repeat only if it would be denied again. A car whose plate was
        not read, or only in part, is never a repeat.
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
        """Put it in the ring. A repeat is kept without its plate, so the time of the first passage stays in force."""
        number = camera.next
        camera.next, place = number + 1, number % KEPT
        _keep(camera, place, _Sending(passage.key, plate, passage.at.mono, passage.at.wall, passage.seen, late, number))
        return {f"{PREFIX}{passage.camera}:{place}": [passage.key, plate, passage.at.wall, passage.seen, late, number]}


def _keep(camera: _Camera, place: int, new: _Sending) -> None:
    """Put it in its place of the ring, replacing what is there."""
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

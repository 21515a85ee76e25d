"""One run of a round, and the queue of its questions to lines, cameras and panels. Pure."""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from gateway.model import Effect, Instant, Json, Perform, Reading, Value, rfc3339
from gateway.site.ids import Ids
from gateway.site.items import Answered, takes, wanted_text
from gateway.site.looks import CHANGED, LOOK, asked
from gateway.site.round_settings import (
    DeviceRule,
    DutyRule,
    Item,
    PersonRule,
    PictureRule,
    PointRule,
    Round,
)
from gateway.site.settings import DeviceSettings, Ref

READ = "round.read"
"""`Perform.cmd`: read points of one device, in the normal lane; at once, or a bus would rest while the disk writes."""
ANSWER = "round.answer"
"""`Perform.cmd`: look at the photo and the tag of a person's answer."""
DUTY = "panel.duty"
_ITEMS_A_READ = 16
"""This many items are judged in one step; with all their trends that takes 15 ms at most."""
_CAMERAS = "cameras"
_CAMERAS_AT_ONCE = 2


@dataclass(slots=True)
class Run:
    """A run under way."""

    round: Round
    id: str
    trigger: str
    started_at: str
    planned: float | None
    """The planned minute, seconds since 1970; None: somebody asked for the run."""
    since: float
    """Monotonic seconds of this process; a reading that arrived later is fresh."""
    results: dict[str, dict[str, Json]] = field(default_factory=dict)
    """Item -> its result, as in `inspection.finished`."""
    answers: dict[str, tuple[Answered, float]] = field(default_factory=dict)
    """Answers whose watched points have not shown their value yet, with their monotonic time."""
    order: tuple[str, ...] = ()
    """The items as in the file when the run began."""
    waiting: dict[str, Item] = field(init=False)
    """The items that have not ended, in the order of the file."""

    def __post_init__(self) -> None:
        mine = frozenset(self.order)
        self.waiting = {item.id: item for item in self.round.items if item.id in mine}

    def end(self, item: str, result: dict[str, Json]) -> None:
        """It has ended so."""
        self.results[item] = result
        self.waiting.pop(item, None)

    @property
    def planned_at(self) -> str | None:
        """The planned minute as text."""
        return None if self.planned is None else rfc3339(self.planned)

    def memory(self) -> dict[str, Json]:
        """What must survive a restart, without the results."""
        return {
            "run": self.id, "trigger": self.trigger, "started_at": self.started_at, "planned": self.planned,
            "order": list(self.order),
        }  # fmt: skip


def run_of(round_: Round, value: Json, now: Instant) -> Run | None:
    """The run from its remembered form."""
    match value:
        case {
            "run": str() as id_,
            "trigger": str() as trigger,
            "started_at": str() as started,
            "planned": planned,
            "order": [*order],
        }:
            when = float(planned) if isinstance(planned, int | float) else None
            return Run(round_, id_, trigger, started, when, now.mono, order=tuple(map(str, order)))
    return None


class LastRun(NamedTuple):
    """The previous run of a round."""

    digest: str | None = None
    unseen: frozenset[str] = frozenset()
    pictures: Mapping[str, str] = {}
    changed: Mapping[str, int] = {}
    """Item -> consecutive runs in which its picture had changed; a run that could not judge it does not reset this."""

    def after(self, digest: str, results: Sequence[Mapping[str, Json]]) -> "LastRun":
        """The state after the run that ends now."""
        changed = {
            str(one["item"]): self.changed.get(str(one["item"]), 0) + (one.get("reason") == CHANGED)
            for one in results
            if one["outcome"] == "not-checkable"
        }
        return LastRun(
            digest,
            frozenset(str(one["item"]) for one in results if one["outcome"] == "not-checkable"),
            {str(one["item"]): str(ids[0]) for one in results if isinstance(ids := one.get("pictures"), list)},
            {item: runs for item, runs in changed.items() if runs},
        )

    def memory(self) -> dict[str, Json]:
        """What must survive a restart."""
        return {
            "digest": self.digest, "unseen": sorted(self.unseen), "pictures": dict(self.pictures),
            "changed": dict(self.changed),
        }  # fmt: skip


def last_of(value: Json) -> LastRun:
    """The previous run, from the memory."""
    match value:
        case {"digest": str() as digest, "unseen": [*names], "pictures": {**pictures}, **more}:
            changed = more.get("changed")  # earlier versions did not keep it
            return LastRun(
                digest, frozenset(map(str, names)), {str(item): str(one) for item, one in pictures.items()},
                _counts(changed) if isinstance(changed, Mapping) else {},
            )  # fmt: skip
    return LastRun()


def people_in_order(items: Iterable[Item]) -> list[Item]:
    """The items that ask a person, in the order of the file, grouped by place."""
    mine = [item for item in items if isinstance(item.rule, PersonRule)]
    places = list(dict.fromkeys(item.place for item in mine))
    return sorted(mine, key=lambda item: places.index(item.place))


@dataclass(frozen=True, slots=True)
class Question:
    """A question that is answered outside the site, for these items of a run."""

    run: str
    lane: str
    """A line, the cameras or a panel; limits how many questions run at once."""
    target: str
    cmd: str
    args: Mapping[str, Json]
    items: tuple[str, ...]


def questions(run: Run, devices: Mapping[str, DeviceSettings], pictures: Mapping[str, str]) -> Iterator[Question]:
    """The questions of a run; one for all points of a device. `pictures`: item -> picture of the previous run."""
    by_device: dict[str, list[Item]] = {}
    for item in run.waiting.values():
        match item.rule:
            case PointRule(ref):
                by_device.setdefault(ref.device, []).append(item)
            case DeviceRule(device):
                by_device.setdefault(device, []).append(item)
            case PictureRule() as rule:
                args = asked(rule, run.round.id, item.id, pictures.get(item.id))
                yield Question(run.id, _CAMERAS, rule.camera, LOOK, args, (item.id,))
            case DutyRule(device, within):
                duty: dict[str, Json] = {"device": device, "within": f"{within:g}s"}
                yield Question(run.id, f"duty/{device}", device, DUTY, duty, (item.id,))
    pieces = (
        (device, items[first : first + _ITEMS_A_READ])
        for device, items in by_device.items()
        for first in range(0, len(items), _ITEMS_A_READ)
    )
    for device, items in pieces:
        settings = devices[device]
        points = sorted({item.rule.ref.point for item in items if isinstance(item.rule, PointRule)})
        alive = any(isinstance(item.rule, DeviceRule) for item in items)
        args = {
            "device": device, "points": points or sorted(settings.points)[:1],
            "since": None if alive else run.since,
        }  # fmt: skip
        yield Question(run.id, f"line/{settings.line}", device, READ, args, tuple(item.id for item in items))


class Asking:
    """The questions of all runs: one read per line and two cameras at a time, and no camera twice at once."""

    def __init__(self, ids: Ids) -> None:
        self._ids = ids
        self._lanes: dict[str, deque[Question]] = {}
        self._under_way: dict[str, Question] = {}

    def add(self, question: Question) -> None:
        """Queue a question."""
        self._lanes.setdefault(question.lane, deque()).append(question)

    def drop(self, run: str) -> None:
        """Drop the queued questions of a run; those under way continue."""
        for lane, queue in list(self._lanes.items()):
            self._lanes[lane] = deque(one for one in queue if one.run != run)

    def next(self) -> Iterator[Effect]:
        """The questions that may be asked now."""
        for lane, queue in list(self._lanes.items()):
            most = _CAMERAS_AT_ONCE if lane == _CAMERAS else 1
            while (question := self._next_of(lane, queue, most)) is not None:
                queue.remove(question)
                order = self._ids.order()
                self._under_way[order] = question
                yield Perform(order, question.cmd, question.args, "round", at_once=question.cmd == READ)
            if not queue:
                del self._lanes[lane]

    def _next_of(self, lane: str, queue: deque[Question], most: int) -> Question | None:
        busy = [one.target for one in self._under_way.values() if one.lane == lane]
        if len(busy) >= most:
            return None
        return next((one for one in queue if lane != _CAMERAS or one.target not in busy), None)

    def done(self, order: str) -> Question | None:
        """Remove and return the question of an order; None: the order is not a round's."""
        return self._under_way.pop(order, None)

    def targets(self, run: str) -> list[str]:
        """What is being asked for a run now."""
        return sorted(question.target for question in self._under_way.values() if question.run == run)


class Watching:
    """The points watched by person items: when each last had its wanted value."""

    def __init__(self, rules: list[PersonRule]) -> None:
        self.refs = frozenset(ref for rule in rules for ref, _ in rule.watch)
        self._wanted = {watched for rule in rules for watched in rule.watch}
        self._readings: dict[Ref, Reading] = {}
        self._took: dict[tuple[Ref, Value | tuple[float, float]], float] = {}
        self.since = float("-inf")
        """Monotonic seconds since when the points are watched."""

    def begin(self, now: Instant) -> None:
        """Note that nothing was watched before now."""
        self.since = now.mono

    def read(self, ref: Ref, reading: Reading, now: Instant) -> None:
        """Take a reading of a watched point, or its loss."""
        for watched in self._wanted:
            if watched[0] == ref and (self._has(watched) or _has(watched[1], reading)):
                self._took[watched] = now.mono
        self._readings[ref] = reading

    def missing(self, rule: PersonRule, answered: float) -> tuple[list[str], list[str]]:
        """Watched points without their value in the rule's time before `answered`, and unreadable ones."""
        missing: list[str] = []
        unread: list[str] = []
        for watched in rule.watch:
            if self._has(watched) or self._took.get(watched, float("-inf")) >= answered - rule.within:
                continue
            reading = self._readings.get(watched[0])
            lost = reading is None or reading.value is None
            (unread if lost else missing).append(wanted_text(*watched))
        return missing, unread

    def _has(self, watched: tuple[Ref, Value | tuple[float, float]]) -> bool:
        reading = self._readings.get(watched[0])
        return reading is not None and _has(watched[1], reading)


def _has(wanted: Value | tuple[float, float], reading: Reading) -> bool:
    return reading.value is not None and takes(wanted, reading.value, reading.text)


def _counts(value: Mapping[str, Json]) -> dict[str, int]:
    return {item: runs for item, runs in value.items() if isinstance(runs, int)}

"""Findings: what a round found wrong, open until a later run finds it normal.

Each item of a round has at most one open finding. It opens with an *abnormal*, or with the second *not-checkable* in a
row; a later *normal* closes it, *not-checkable* never does. Each of its service clocks is reported once, at its end.
"""

from collections.abc import Iterator, Mapping

from gateway.model import Effect, Emit, Forget, Instant, Json, Remember, Stream, rfc3339
from gateway.site.deadlines import Deadlines
from gateway.site.ids import Ids
from gateway.site.items import Judged
from gateway.site.round_settings import FINDING_CLOCK, Item
from gateway.site.settings import ServiceClock

MEMORY = "finding/"
"""`finding/ROUND/ITEM` -> the data of its last event."""
GONE = "no longer in the site file"
_CLOCKS = ("respond", "resolve")

Key = tuple[str, str]
"""Round and item."""


class Findings:
    """All open findings of the site."""

    def __init__(self, service: ServiceClock, deadlines: Deadlines, ids: Ids) -> None:
        self._service = service
        self._deadlines = deadlines
        self._ids = ids
        self._open: dict[Key, dict[str, Json]] = {}
        self._opened: dict[Key, float] = {}

    def restore(self, memory: Mapping[str, Json]) -> None:
        """Load the open findings."""
        for key, value in memory.items():
            round_, _, item = key.removeprefix(MEMORY).partition("/")
            if key.startswith(MEMORY) and isinstance(value, Mapping):
                data = dict(value)
                opened = data.pop("opened_wall", 0.0)
                self._open[round_, item] = data
                self._opened[round_, item] = float(opened) if isinstance(opened, int | float) else 0.0

    def standing(self) -> list[dict[str, Json]]:
        """Data of all open findings, oldest first."""
        return [self._open[key] for key in sorted(self._open, key=self._opened.__getitem__)]

    def is_open(self, round_: str, item: str) -> bool:
        """True while one is open."""
        return (round_, item) in self._open

    def judged(self, round_: str, item: Item, found: Judged, now: Instant, *, again: bool) -> Iterator[Effect]:
        """Take the result of an item. `again`: it was not checkable in the previous run either."""
        key = round_, item.id
        if found.normal:
            if key in self._open:
                yield from self._cure(key, None, found.pictures, now)
        elif key not in self._open and (found.outcome == "abnormal" or again):
            yield from self._begin(key, item, found, now)

    def leave(self, known: Mapping[str, frozenset[str]], now: Instant) -> Iterator[Effect]:
        """Close the findings of items that left the file (`known`: items by round), with that reason."""
        for key in list(self._open):
            if key[1] not in known.get(key[0], frozenset()):
                yield from self._cure(key, GONE, (), now)

    def acknowledge(self, finding: str, service_class: str | None, by: str, now: Instant) -> Iterator[Effect]:
        """Acknowledge a finding; the person may set its service class."""
        key = self.find(finding)
        if key is None:
            return
        data = self._open[key]
        if service_class is not None and service_class != data["class"]:
            left = self._service.resolve(service_class) - self._age(key, now)
            data["resolve_by"] = rfc3339(now.wall + left)
            data["class"] = service_class
            yield from self._deadlines.set(self._clock("resolve", data), max(0.0, left), now)
        if data["acknowledged_at"] is None:
            data["acknowledged_at"], data["acknowledged_by"] = now.rfc3339(), by
            yield from self._deadlines.drop(self._clock("respond", data))
        yield from self._tell("finding.acknowledged", key, data, now)
        yield self._keep(key)

    def find(self, finding: str) -> Key | None:
        """The key of an open finding by its id, or by `ROUND/ITEM`."""
        round_, _, item = finding.partition("/")
        if (round_, item) in self._open:
            return round_, item
        return next((key for key, data in self._open.items() if data["finding"] == finding), None)

    def due(self, name: str, now: Instant) -> Iterator[Effect]:
        """Report a service clock that has run out."""
        _, _, finding = name.partition("/")
        key = self.find(finding)
        if key is not None:
            data = self._open[key]
            data["overdue"] = True
            yield from self._tell("finding.overdue", key, data, now)
            yield self._keep(key)

    # ---- one finding ------------------------------------------------------------------------------

    def _age(self, key: Key, now: Instant) -> float:
        """Seconds since it was opened, from the running service clock, because the wall clock may have been set."""
        data = self._open[key]
        whole = self._service.resolve(str(data["class"]))
        left = self._deadlines.left(self._clock("resolve", data), now)
        return max(whole, now.wall - self._opened[key]) if left is None else whole - left

    def _begin(self, key: Key, item: Item, found: Judged, now: Instant) -> Iterator[Effect]:
        clocks = {"respond": self._service.respond, "resolve": self._service.resolve(item.service_class)}
        data: dict[str, Json] = {
            "finding": self._ids.new(now), "round": key[0], "item": key[1],
            "opened_at": now.rfc3339(), "cured_at": None,
            "respond_by": rfc3339(now.wall + clocks["respond"]), "resolve_by": rfc3339(now.wall + clocks["resolve"]),
            "class": item.service_class, "reason": found.reason,
            "before": list(found.pictures) or None, "after": None,
            "acknowledged_at": None, "acknowledged_by": None, "overdue": False,
        }  # fmt: skip
        self._open[key], self._opened[key] = data, now.wall
        yield from self._tell("finding.opened", key, data, now)
        for which, seconds in clocks.items():
            yield from self._deadlines.set(self._clock(which, data), seconds, now)
        yield self._keep(key)

    def _cure(self, key: Key, reason: str | None, pictures: tuple[str, ...], now: Instant) -> Iterator[Effect]:
        data = self._open.pop(key)
        del self._opened[key]
        data = {**data, "cured_at": now.rfc3339(), "after": list(pictures) or None}
        if reason is not None:
            data["reason"] = reason
        yield from self._tell("finding.cured", key, data, now)
        for which in _CLOCKS:
            yield from self._deadlines.drop(self._clock(which, data))
        yield Forget(MEMORY + "/".join(key))

    def _keep(self, key: Key) -> Remember:
        return Remember(MEMORY + "/".join(key), {**self._open[key], "opened_wall": self._opened[key]})

    def _tell(self, type_: str, key: Key, data: Mapping[str, Json], now: Instant) -> Iterator[Effect]:
        yield Emit(Stream.INSPECTION, type_, "/".join(key), dict(data), self._ids.new(now), now)

    def _clock(self, which: str, data: Mapping[str, Json]) -> str:
        return f"{FINDING_CLOCK}{which}/{data['finding']}"

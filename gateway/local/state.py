"""The state of the site for the page, as one tree without nulls, plates and names of persons. Pure.

Unchanged parts stay the same objects, so that `feed` need not compare them.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache

from gateway.local.feed import Tree, difference
from gateway.masks import without_plates
from gateway.model import Json, Reading, rfc3339
from gateway.settings.types import PageFacts

PASSAGES = 32
"""How many recent passages the tree has."""
_ALARM = (
    "alarm", "name", "kind", "severity", "class", "state", "active", "acknowledged", "latched", "shelved", "disabled",
    "first_out", "device", "point", "zone", "place", "value", "unit", "quality", "raised_at", "acknowledged_at",
    "verified_as", "cleared_at", "respond_by", "resolve_by", "verify_by", "shelved_until", "overdue", "chattering",
    "count", "test",
)  # fmt: skip
"""No key with a person's name. `text` only of points: that of other alarms may contain what a person said."""
_PASSAGE = (
    "camera", "gate", "direction", "decision", "reason", "list_kind", "plate_kind", "colour", "confidence", "seen_at",
    "ordered_at", "opened_at", "late",
)  # fmt: skip
_JOURNAL = (
    "store", "losses", "commit_p50", "commit_p99", "queue_bytes", "shed", "reserve", "file_bytes", "waiting",
    "quarantined", "oldest",
)  # fmt: skip
_UPLINK = (
    "connected", "since", "reconnects", "in_flight", "error", "latency_p50", "latency_p99", "accepted", "no_listener",
    "refused", "commands", "acknowledged",
)  # fmt: skip
_PROCESS = ("reduced", "crashes", "refused", "untold")
_RUN = ("run", "trigger", "started_at", "planned_at", "due_at", "done", "of", "looking_at", "asked")
_ITEM = ("outcome", "reason", "value", "unit")
"""Without evidence, which names who answered and contains what was said."""
_FINDING = (
    "round", "item", "class", "reason", "opened_at", "respond_by", "resolve_by", "acknowledged_at", "overdue", "before",
)  # fmt: skip
_CAMERA = ("reachable", "last", "passages", "unreadable", "refused", "scale")


class _Device:
    """The last part of one device."""

    def __init__(self, facts: Mapping[str, Json], every: Mapping[str, float]) -> None:
        self._facts = facts
        self._every = every
        self._seen: Mapping[str, Reading] = {}
        self._points: dict[str, Tree] = {}
        self._answering: bool | None = None
        self.tree: Tree = dict(facts)

    def look(self, readings: Mapping[str, Reading], answering: bool | None) -> Tree:
        """Look again: the merge patch of the device's part of the tree (`tree`)."""
        seen, points, before = self._seen, self._points, self.tree
        if readings == seen and answering is self._answering:
            return {}
        told: dict[str, Tree] = {}
        patch: Tree = {}
        at, since = None, ""
        for point, reading in readings.items():
            was = seen.get(point)
            if was is reading:
                told[point] = points[point]
            elif was and was[1:5] == reading[1:5] and type(was[0]) is type(reading[0]) and was[0] != reading[0]:
                # The hot path, a thousand a second: only value and time are others. An answer gives all one time.
                if at is not reading[5]:
                    at = reading[5]
                    since = _second(int(at.wall))
                patch[point] = news = {"value": reading[0], "since": since}
                told[point] = {**points[point], **news}
            else:
                told[point] = one = self._reading(point, reading)
                if inner := difference(points.get(point, {}), one):
                    patch[point] = inner
        is_old_shape = answering is self._answering and seen.keys() == readings.keys()
        self._seen, self._points, self._answering = dict(readings), told, answering
        self.tree = {**self._facts, **_there(answering=answering), "points": self._points}
        if is_old_shape:
            return {"points": patch} if patch else {}
        return difference(before, self.tree)

    def _reading(self, point: str, reading: Reading) -> Tree:
        # The hot path: a thousand a second.
        value, text, unit, quality, reason, at = reading
        told: Tree = {"quality": quality.value, "since": _second(int(at.wall))}
        if value is not None:
            told["value"] = value
        if text is not None:
            told["text"] = text
        if unit is not None:
            told["unit"] = unit
        if reason is not None:
            told["reason"] = reason.value
        if (every := self._every.get(point)) is not None:
            told["every"] = every
        return told


class SiteView:
    """Builds the parts of the tree from their sources.

    `lines`: the port of each; `every`: seconds between two reads, by device and point; `page`: the hash of the page's
    own files, by which a page that was loaded before an upgrade knows that it is outdated.
    """

    def __init__(
        self,
        facts: PageFacts,
        lines: Mapping[str, Mapping[str, Json]],
        every: Mapping[str, Mapping[str, float]],
        page: str = "",
    ) -> None:
        self._page = page
        self._facts = facts
        self._lines = lines
        self._devices = {name: _Device(device, every.get(name, {})) for name, device in facts.devices.items()}
        self._alarms: dict[str, tuple[Mapping[str, Json], Tree]] = {}
        self._passages: dict[str, Tree] = {}
        self._ended: dict[tuple[str, str], Tree] = {}
        """Items of the runs under way that have ended, by run and item: they change no more."""
        self._under_test: Mapping[str, str] = {}
        self._zones: Tree = {}

    def fixed(self) -> Tree:
        """Parts that change only with the site file."""
        places: Tree = {"places": dict(self._facts.places)} if self._facts.rounds else {}
        return {"page": self._page, **places}

    def zones(self, under_test: Mapping[str, str]) -> Tree:
        """The site and its zones, with the end of a test if tested. `under_test`: by zone."""
        if self._under_test != under_test or not self._zones:
            self._under_test = dict(under_test)
            self._zones = {
                "site": {**self._facts.site, **_there(test_until=under_test.get("site"))},
                "zones": {
                    name: {**facts, **_there(test_until=under_test.get(name))}
                    for name, facts in self._facts.zones.items()
                },
            }
        return self._zones

    def alarms(self, standing: Mapping[str, Mapping[str, Json]]) -> Tree:
        """The alarms. `standing`: by subject, each replaced when it changes."""
        told: dict[str, tuple[Mapping[str, Json], Tree]] = {}
        for subject, alarm in standing.items():
            known = self._alarms.get(subject)
            told[subject] = known if known is not None and known[0] is alarm else (alarm, _alarm(alarm))
        self._alarms = told
        return {subject: tree for subject, (_, tree) in told.items()}

    def gates(self, gates: Mapping[str, Json]) -> Tree:
        """The gates. `gates`: as from `Site.gates`."""
        told: Tree = {}
        for name, gate in gates.items():
            live = gate if isinstance(gate, Mapping) else {}
            told[name] = {**self._facts.gates.get(name, {}), **_there(**live)}
        return told

    def devices(
        self, readings: Mapping[str, Mapping[str, Reading]], answering: Mapping[str, bool | None]
    ) -> tuple[Tree, Tree]:
        """The devices, and the merge patch since the last time. `readings`: each is replaced when it changes."""
        patch: Tree = {}
        for name, device in self._devices.items():
            if inner := device.look(readings.get(name, {}), answering.get(name)):
                patch[name] = inner
        return {name: device.tree for name, device in self._devices.items()}, patch

    def lines(self, health: Mapping[str, Mapping[str, Json]]) -> Tree:
        """The lines. `health`: the lines of `gateway.health`."""
        told: Tree = {}
        for name, line in health.items():
            busy = line.get("busy")
            told[name] = {
                **self._lines.get(name, {}),
                **_there(up=line.get("up"), detail=line.get("detail") or None, losses=line.get("losses")),
                "busy": round(busy, 2) if isinstance(busy, float) else 0.0,
            }
        return told

    def cameras(self, health: Json) -> Tree:
        """The cameras. `health`: the cameras of `gateway.health`, if there are any."""
        live = health if isinstance(health, Mapping) else {}
        return {name: {**facts, **_some(live.get(name), _CAMERA)} for name, facts in self._facts.cameras.items()}

    def rounds(self, progress: Mapping[str, Json]) -> Tree:
        """The rounds. `progress`: as from `Site.rounds`. Empty if the site file has no rounds."""
        if not self._facts.rounds:
            return {}
        running, planned, findings = (progress.get(name) for name in ("running", "next", "findings"))
        runs = running if isinstance(running, Mapping) else {}
        known, self._ended = self._ended, {}
        told: Tree = {
            name: {
                **facts,
                **_there(next_at=planned.get(name) if isinstance(planned, Mapping) else None),
                **self._run(runs.get(name), known),
            }
            for name, facts in self._facts.rounds.items()
        }
        standing = findings if isinstance(findings, list | tuple) else []
        return {
            "rounds": told,
            "findings": {str(one["finding"]): _some(one, _FINDING) for one in standing if isinstance(one, Mapping)},
        }

    def _run(self, run: Json, known: Mapping[tuple[str, str], Tree]) -> Tree:
        """The run of a round that is under way, if one is. `known`: as `_ended`, of the look before."""
        if not isinstance(run, Mapping):
            return {}
        ended = run.get("items")
        items: Tree = {}
        for one in ended if isinstance(ended, list | tuple) else ():
            if isinstance(one, Mapping):
                key = str(run.get("run")), str(one["item"])
                items[key[1]] = self._ended[key] = known.get(key) or _some(one, _ITEM)
        return {"run": {**_some(run, _RUN), "items": items}}

    def box(self, health: Mapping[str, Json]) -> Tree:
        """The state of the box, from `gateway.health` and what the page adds."""
        clock = health.get("clock")
        return {
            "clock": {"synced": isinstance(clock, Mapping) and clock.get("synced") is True},
            "uplink": _some(health.get("uplink"), _UPLINK),
            "journal": _some(health.get("journal"), _JOURNAL),
            "machine": _some(health.get("machine"), ("uptime", "load", "resident", "cpu_seconds", "disk_free")),
            "process": _some(health.get("process"), _PROCESS),
            "config": _some(health.get("config"), ("digest", "trial")),
            **_there(well=health.get("well")),
        }

    def passed(self, passages: Iterable[Mapping[str, Json]]) -> None:
        """Add passages: data of `access.passage` and `access.denied`, oldest first."""
        for data in passages:
            id_ = str(data.get("passage"))
            self._passages = {key: one for key, one in self._passages.items() if key != id_}
            self._passages[id_] = _passage(data)
        while len(self._passages) > PASSAGES:
            self._passages.pop(next(iter(self._passages)))

    def passages(self) -> Tree:
        """The recent passages."""
        return dict(self._passages)


@lru_cache(maxsize=64)
def _second(wall: int) -> str:
    return f"{rfc3339(wall)[:19]}Z"


def _alarm(alarm: Mapping[str, Json]) -> Tree:
    told = _some(alarm, _ALARM)
    if told.get("point") and isinstance(text := alarm.get("text"), str):
        told["text"] = without_plates(text)
    return told


def _passage(data: Mapping[str, Json]) -> Tree:
    pictures = data.get("pictures")
    return {**_some(data, _PASSAGE), "pictures": list(pictures) if isinstance(pictures, list | tuple) else []}


def _some(value: Json, keys: Iterable[str]) -> Tree:
    """These keys, if present."""
    return _there(**{key: value.get(key) for key in keys}) if isinstance(value, Mapping) else {}


def _there(**values: Json) -> Tree:
    """The value without nulls, at any depth."""
    return {key: _plain(value) for key, value in values.items() if value is not None}


def _plain(value: Json) -> Json:
    if isinstance(value, Mapping):
        return _there(**value)
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value

"""The result of a round's item: one pure judgement per kind.

*normal*, *abnormal* with a reason, or *not-checkable* with a reason. Nothing is normal that was not looked at in this
run. Each result has the form of an item in the contract, with its `evidence`.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace

from gateway.model import DAY_S, Instant, Json, Quality, Value, rfc3339
from gateway.site.looks import CHANGED, Look, Outcome, verdict
from gateway.site.round_settings import (
    DeviceRule,
    DutyRule,
    Item,
    PanelRule,
    PersonRule,
    PointRule,
    TestedRule,
    ZoneRule,
)
from gateway.site.settings import Ref
from gateway.site.trends import Sample, trend

INTERRUPTED, FIRE, CANCELLED, NOBODY = "interrupted", "fire", "cancelled", "nobody answered"
"""Why an item was not looked at."""
_ASKS_A_PERSON = 3
"""After this many consecutive runs with a changed picture the result asks for a person."""
MOST_BYTES = 224 << 10
"""Limit for the items of a run as JSON: many brokers accept no message over 256 KiB."""
_SHORT = 80
"""Characters of a text that had to be cut."""
_NAMED = 12
"""This many alarms, devices or points are named; the rest is counted."""


@dataclass(frozen=True, slots=True)
class Judged:
    """The result of an item. Absent = None."""

    outcome: Outcome
    reason: str | None = None
    value: Value | None = None
    unit: str | None = None
    pictures: tuple[str, ...] = ()
    at: str | None = None
    """When it was looked at; None: not at all."""
    evidence: Mapping[str, Json] = field(default_factory=dict)

    @property
    def normal(self) -> bool:
        """It was looked at and is in order."""
        return self.outcome == "normal"


def unseen(reason: str, **evidence: Json) -> Judged:
    """It could not be looked at."""
    return Judged("not-checkable", reason, evidence=evidence)


def told(item: Item, found: Judged) -> dict[str, Json]:
    """The result as an item of `inspection.finished`; absent fields are left out."""
    data: dict[str, Json] = {
        "item": item.id, "kind": item.kind, "outcome": found.outcome, "value": found.value, "unit": found.unit,
        "rule": rule_text(item), "reason": found.reason, "pictures": list(found.pictures) or None, "at": found.at,
        "evidence": {name: value for name, value in found.evidence.items() if value is not None} or None,
    }  # fmt: skip
    return {name: value for name, value in data.items() if value is not None}


def rule_text(item: Item) -> str:
    """The requirement of an item, in the words of the site file."""
    rule = item.rule
    text = "a good picture"
    if isinstance(rule, PointRule):
        text = f"equals {_shown(rule.equals)}" if rule.between is None else _wanted(rule.between)
    elif isinstance(rule, DeviceRule):
        text = "answers"
    elif isinstance(rule, ZoneRule):
        text = "no alarm"
    elif isinstance(rule, PanelRule):
        asked = (("faults", rule.faults), ("disabled", rule.disabled))
        text = ", ".join(f"{name} {most} at most" for name, most in asked if most is not None)
    elif isinstance(rule, DutyRule):
        text = f"answered within {_span(rule.within)}"
    elif isinstance(rule, TestedRule):
        text = f"each shown within {_span(rule.within)}"
    elif isinstance(rule, PersonRule):
        wanted = "; ".join(wanted_text(ref, value) for ref, value in rule.watch)
        text = f"{rule.text} ({wanted})" if wanted else rule.text
    return text


def left_the_file(item: str, reason: str) -> dict[str, Json]:
    """An item of a run that had not ended when the file changed; all that is left of it is its id."""
    return {"item": item, "kind": item.partition(":")[0], "outcome": "not-checkable", "reason": reason}


def fitting(results: Sequence[Mapping[str, Json]]) -> list[dict[str, Json]]:
    """Items of the end of a run, which has to fit into one message: what is least missed goes first."""
    told = [dict(one) for one in results]
    for shorter in (_without_good_figures, _with_short_text, _without_evidence):
        if len(json.dumps(told, ensure_ascii=False).encode()) <= MOST_BYTES:
            break
        told = [shorter(one) for one in told]
    return told


def _without_good_figures(one: dict[str, Json]) -> dict[str, Json]:
    return one if one["outcome"] != "normal" else _with_evidence(one, figures=None)


def _with_short_text(one: dict[str, Json]) -> dict[str, Json]:
    evidence = one.get("evidence")
    text = evidence.get("text") if isinstance(evidence, Mapping) else None
    return one if not isinstance(text, str) else _with_evidence(one, text=text[:_SHORT] + "…" * (len(text) > _SHORT))


def _without_evidence(one: dict[str, Json]) -> dict[str, Json]:
    return {name: value for name, value in one.items() if name not in ("evidence", "rule")}


def _with_evidence(one: dict[str, Json], **more: Json) -> dict[str, Json]:
    evidence = one.get("evidence")
    kept = {**(evidence if isinstance(evidence, Mapping) else {}), **more}
    told: dict[str, Json] = {name: value for name, value in kept.items() if value is not None}
    return {**one, "evidence": told} if told else {name: value for name, value in one.items() if name != "evidence"}


# ---- one judgement per kind -------------------------------------------------------------------------


def point(rule: PointRule, answer: Mapping[str, Json], samples: Sequence[Sample]) -> Judged:
    """Judge a fresh reading of a point. `samples`: its recent values, ending with this one."""
    reading = _reading(answer, rule.ref.point)
    if reading is None:
        return unseen(str(answer.get("failed") or "never-read"))
    evidence: dict[str, Json] = {
        "raw": _registers(answer).get(rule.ref.point), "text": reading.get("text"),
        "answer_ms": answer.get("answer_ms"), "clock": answer.get("clock"),
    }  # fmt: skip
    if reading.get("quality") != Quality.GOOD:
        return unseen(str(reading.get("reason") or "bad"), **evidence)
    value, unit, at = reading.get("value"), reading.get("unit"), reading.get("at")
    shown = value if isinstance(value, bool | int | float | str) else None
    reason = _against(rule, shown, reading.get("text"))
    if reason is None and rule.between is not None and rule.trend:
        reason, figures = _trend(rule, rule.between, samples)
        if figures:
            evidence["figures"] = figures
    return Judged(
        "normal" if reason is None else "abnormal", reason, shown, _text(unit), at=_text(at), evidence=evidence
    )  # fmt: skip


def good_value(answer: Mapping[str, Json], name: str) -> float | None:
    """The number that a fresh reading adds to the recent values; None: it adds none."""
    reading = _reading(answer, name)
    value = None if reading is None or reading.get("quality") != Quality.GOOD else reading.get("value")
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def device(answer: Mapping[str, Json], now: Instant) -> Judged:
    """Judge whether a device answered within its time-out, and how fast."""
    failed = answer.get("failed")
    if failed == "silent":
        return Judged("abnormal", "silent", at=now.rfc3339(), evidence=_when(now))
    if failed is not None:
        return unseen(str(failed))
    took = answer.get("answer_ms")
    raw = _listed([f"{point} {registers}" for point, registers in _registers(answer).items()]) or None
    evidence = {"raw": raw, "answer_ms": took, **_when(now)}
    value = took if isinstance(took, int | float) else None
    return Judged("normal", None, value, None if value is None else "ms", at=now.rfc3339(), evidence=evidence)


def zone(standing: Mapping[str, bool], lost: Sequence[str] | None, now: Instant) -> Judged:
    """Judge the standing alarms of a zone, shelved or not, and whether they belong to a test.

    `lost`: devices of the zone whose state is not known; None: the zone has no device.
    """
    real = sorted(subject for subject, test in standing.items() if not test)
    if real:
        evidence = {"text": _listed(real), **_when(now)}
        return Judged("abnormal", "alarms stand", len(real), at=now.rfc3339(), evidence=evidence)
    if standing:
        return unseen("under test", text=_listed(sorted(standing)), **_when(now))
    if lost is None or lost:
        return unseen("not seen", text=_listed(lost or ["no device"]), **_when(now))
    return Judged("normal", None, 0, at=now.rfc3339(), evidence=_when(now))


def panel(rule: PanelRule, faults: Sequence[str], disabled: Sequence[str], lost: str | None, now: Instant) -> Judged:
    """Judge how many faults and disabled components a panel reports. `lost`: why it cannot be asked."""
    if lost is not None:
        return unseen(lost)
    figures: dict[str, Json] = {"faults": len(faults), "disabled": len(disabled)}
    over = [
        name
        for name, most, there in (("faults", rule.faults, faults), ("disabled", rule.disabled, disabled))
        if most is not None and len(there) > most
    ]
    text = _listed([*faults, *disabled]) if over else None
    evidence = {"text": text, "figures": figures, **_when(now)}
    return Judged(
        "abnormal" if over else "normal", " and ".join(over) or None, at=now.rfc3339(), evidence=evidence
    )  # fmt: skip


def duty(answer: Mapping[str, Json], now: Instant) -> Judged:
    """Judge whether the person at the panel answered."""
    failed = answer.get("failed")
    if failed == "silent":
        return Judged("abnormal", "not answered", at=now.rfc3339(), evidence=_when(now))
    if failed is not None:
        return unseen(str(failed))
    evidence = {"answer_ms": answer.get("answer_ms"), "by": answer.get("by"), **_when(now)}
    return Judged("normal", at=now.rfc3339(), evidence=evidence)


def tested(rule: TestedRule, proven: Mapping[str, float], undated: Collection[str], now: Instant) -> Judged:
    """Judge whether each initiating device of the zone showed a fire within the time; names those that did not.

    While the clock is not synced, nobody knows how long ago a fire was. `undated`: devices that showed one since then.
    """
    late = [
        name
        for name in rule.devices
        if name not in undated
        and (name not in proven or (now.synced and not 0.0 <= now.wall - proven[name] <= rule.within))
    ]
    figures: dict[str, Json] = {
        name: rfc3339(proven[name]) if name in proven else None for name in rule.devices[:_NAMED]
    }
    evidence = {"text": _listed(late) or None, "figures": figures, **_when(now)}
    if not late and not now.synced:
        return unseen("unsynced", **evidence)
    value = len(rule.devices) - len(late)
    return Judged(
        "abnormal" if late else "normal", "not proven" if late else None, value, at=now.rfc3339(), evidence=evidence
    )  # fmt: skip


def picture(result: Json, changed: int) -> Judged:
    """Judge a camera's picture. `changed`: in how many consecutive runs before this one it had changed."""
    look = verdict(result)
    runs = changed + 1
    if look.reason == CHANGED and runs >= _ASKS_A_PERSON:
        so_long = f"so for {runs} runs: a person has to look, and to take a new reference"
        look = replace(look, detail=f"{look.detail}; {so_long}" if look.detail else so_long)
    return _looked(look)


def _looked(look: Look) -> Judged:
    evidence: dict[str, Json] = {
        "text": look.detail, "figures": look.figures, "compared_with": look.compared_with,
        "sha256": look.sha256, "clock": look.clock,
    }  # fmt: skip
    if look.kept_sha256 is not None:
        evidence["figures"] = {**(look.figures or {}), "kept_sha256": look.kept_sha256}
    pictures = () if look.picture is None else (look.picture,)
    return Judged(look.outcome, look.reason, pictures=pictures, at=look.at, evidence=evidence)


@dataclass(frozen=True, slots=True)
class Answered:
    """A person's answer. `photo`, `sha256`: of the picture; `presence`: how being there was proven."""

    ok: bool
    by: str
    note: str | None = None
    photo: str | None = None
    sha256: str | None = None
    presence: str | None = None

    def memory(self) -> dict[str, Json]:
        """What must survive a restart while the watched points are pending."""
        return {one.name: getattr(self, one.name) for one in fields(self)}


def answered_of(said: Mapping[str, Json]) -> Answered:
    """The answer from its remembered form."""
    note, photo, sha256, presence = (_text(said.get(name)) for name in ("note", "photo", "sha256", "presence"))
    return Answered(said.get("ok") is True, str(said.get("by")), note, photo, sha256, presence)


def person(answer: Answered, missing: Sequence[str], unread: Sequence[str], now: Instant, *, unwatched: bool) -> Judged:
    """Judge a person's answer. `missing`: watched points without their value in time; `unread`: unreadable ones.

    `unwatched`: during a part of that time nothing was read, so a missing value may have been there.
    """
    evidence: dict[str, Json] = {
        "text": answer.note, "by": answer.by, "presence": answer.presence or "none", "sha256": answer.sha256,
        **_when(now),
    }  # fmt: skip
    pictures = () if answer.photo is None else (answer.photo,)
    if not answer.ok:
        return Judged("abnormal", "answered no", False, pictures=pictures, at=now.rfc3339(), evidence=evidence)
    if missing and unwatched:
        return Judged("not-checkable", INTERRUPTED, True, pictures=pictures, at=now.rfc3339(), evidence=evidence)
    if missing:
        reason = f"not seen: {_listed(missing)}"
        return Judged("abnormal", reason, True, pictures=pictures, at=now.rfc3339(), evidence=evidence)
    if unread:
        reason = f"not read: {_listed(unread)}"
        return Judged("not-checkable", reason, True, pictures=pictures, at=now.rfc3339(), evidence=evidence)
    return Judged("normal", None, True, pictures=pictures, at=now.rfc3339(), evidence=evidence)


def takes(wanted: Value | tuple[float, float], value: Json, text: Json) -> bool:
    """True if a watched point has its wanted value."""
    if isinstance(wanted, tuple):
        return isinstance(value, int | float) and not isinstance(value, bool) and wanted[0] <= value <= wanted[1]
    return value == wanted or (isinstance(wanted, str) and text == wanted)


def wanted_text(ref: Ref, wanted: Value | tuple[float, float]) -> str:
    """The wanted value of a watched point, as text."""
    return f"{ref} {_wanted(wanted)}"


# ---- pieces -----------------------------------------------------------------------------------------


def _against(rule: PointRule, value: Value | None, text: Json) -> str | None:
    if rule.between is None:
        return None if rule.equals is not None and takes(rule.equals, value, text) else "differs"
    if isinstance(value, str) or value is None:
        return "no number"
    low, high = rule.between
    return "below" if value < low else "above" if value > high else None


def _trend(
    rule: PointRule, between: tuple[float, float], samples: Sequence[Sample]
) -> tuple[str | None, dict[str, Json]]:
    low, high = between
    way = trend(samples, "rising", high, rule.trend) if rule.rising else trend(samples, "sinking", low, rule.trend)
    if way is None:
        return None, {}
    figures: dict[str, Json] = {
        "slope_per_day": _rounded(way.slope), "slow": _rounded(way.slow), "fast": _rounded(way.fast), "n": way.n,
        "reaches_from": rfc3339(way.first), "reaches_until": rfc3339(way.last),
    }  # fmt: skip
    return way.reason, figures


def _reading(answer: Mapping[str, Json], name: str) -> Mapping[str, Json] | None:
    readings = answer.get("readings")
    reading = readings.get(name) if isinstance(readings, Mapping) else None
    return reading if isinstance(reading, Mapping) else None


def _registers(answer: Mapping[str, Json]) -> Mapping[str, Json]:
    """The registers of each point in the device's answer, before decoding."""
    registers = answer.get("registers")
    return registers if isinstance(registers, Mapping) else {}


def _when(now: Instant) -> dict[str, Json]:
    return {"clock": "synced" if now.synced else "unsynced"}


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _span(seconds: float) -> str:
    for unit, length in (("d", DAY_S), ("h", 3600.0), ("m", 60.0)):
        if seconds >= length:
            return f"{seconds / length:g}{unit}"
    return f"{seconds:g}s"


def _wanted(value: Value | tuple[float, float]) -> str:
    return f"between {value[0]:g} and {value[1]:g}" if isinstance(value, tuple) else f"= {_shown(value)}"


def _shown(value: Value | None) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:g}" if isinstance(value, int | float) else str(value)


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")


def _text(value: Json) -> str | None:
    return value if isinstance(value, str) else None

"""The question of a round to a camera and its answer, as data of `Perform` and `Performed`. Pure.

The site never sees a picture: it sends `LOOK` with the arguments of `asked`, and reads the result with `verdict`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Literal

from gateway.model import Json
from gateway.site.round_settings import PictureRule

LOOK = "round.look"
"""`Perform.cmd`: judge a camera's picture by a rule. Two cameras at a time at most, and no camera twice at once."""

Outcome = Literal["normal", "abnormal", "not-checkable"]

ABNORMAL = frozenset({
    "no-picture", "damaged", "small", "dark", "bright", "flat", "covered", "blurred", "moved", "frozen", "clock",
})  # fmt: skip
CHANGED = "changed"
NOT_CHECKABLE = frozenset({
    "glare", "poor-sight", CHANGED, "weak-reference", "no-reference", "unreachable", "refused",
})  # fmt: skip
"""Reasons why a picture cannot be judged; with `ABNORMAL` they are all the reasons there are."""


@dataclass(frozen=True, slots=True)
class Look:
    """The verdict about a camera's picture. Absent = None."""

    outcome: Outcome
    reason: str | None = None
    """One of `ABNORMAL` or `NOT_CHECKABLE`; None if normal."""
    detail: str | None = None
    """Details for people: which limit, which error."""
    figures: Mapping[str, Json] | None = None
    """Measured values by name: `grey`, `sharpness`, …"""
    picture: str | None = None
    """`id` of the `picture.taken` with the picture."""
    sha256: str | None = None
    """Of the picture as the camera sent it, hex."""
    kept_sha256: str | None = None
    """Of the picture as it is kept."""
    at: str | None = None
    """When it was taken, RFC 3339."""
    clock: str | None = None
    """Whether that time is trusted: `synced`, `unsynced`."""
    compared_with: str | None = None
    """The name of the reference picture it was compared with; the name says when it was taken and by whom."""

    def result(self) -> dict[str, Json]:
        """As `Performed.result`."""
        return {one.name: getattr(self, one.name) for one in fields(self)}


def asked(rule: PictureRule, round_: str, item: str, last: str | None) -> dict[str, Json]:
    """`Perform.args` of `LOOK`. `last`: id of this item's picture in the previous run, to detect `frozen`."""
    limits: dict[str, Json] = {
        name: getattr(rule, name)
        for name in ("dark_below", "bright_above", "flat_below", "blur_below", "max_drift", "max_clock")
    }
    return {
        "camera": rule.camera, "round": round_, "item": item, "last": last,
        "rule": limits, "written": sorted(rule.written),
    }  # fmt: skip


def rule_of(args: Mapping[str, Json]) -> PictureRule:
    """The rule from `Perform.args`."""
    rule, written = args["rule"], args["written"]
    if not isinstance(rule, Mapping) or not isinstance(written, list | tuple):
        raise TypeError("no arguments of a look")
    limits = {name: float(value) for name, value in rule.items() if isinstance(value, int | float)}
    return PictureRule(str(args["camera"]), **limits, written=frozenset(map(str, written)))


def verdict(result: Json) -> Look:
    """Read the result. Anything that is not a valid verdict becomes *not-checkable*, never normal."""
    if isinstance(result, Mapping) and result.get("outcome") in ("normal", "abnormal", "not-checkable"):
        names = {one.name for one in fields(Look)}
        look = Look(**{name: value for name, value in result.items() if name in names})  # type: ignore[arg-type]
        if look.outcome == "normal" or look.reason:
            return look
    return Look("not-checkable", "refused", detail="no verdict came back")

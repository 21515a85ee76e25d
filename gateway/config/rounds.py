"""Rounds: when they run and what they look at; the places that people go to on them. Pure."""

import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, WithJsonSchema, model_validator

from gateway.config.points import Scalar, ServiceClass, Window
from gateway.config.units import Duration, Id, Many, Period, Ref, Secret, Strict, Text, by_shape, wrong
from gateway.site.round_settings import LONGEST_DUE_S

_FIELDS = (("minute", 0, 59), ("hour", 0, 23), ("day", 1, 31), ("month", 1, 12), ("weekday", 0, 7))
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_PART = re.compile(r"(\*|[0-9a-z]{1,3})(?:-([0-9a-z]{1,3}))?(?:/([0-9]{1,2}))?")


def _number(word: str, name: str) -> int:
    names = {"month": _MONTHS, "weekday": _DAYS}.get(name, ())
    if word in names:
        return names.index(word) + (name == "month")
    return int(word) if word.isdigit() else -1


def _good_part(part: str, name: str, low: int, high: int) -> bool:
    match = _PART.fullmatch(part.lower())
    if not match:
        return False
    first, last, step = match.groups()
    if step is not None and not 0 < int(step) <= high:
        return False
    if first == "*":
        return last is None
    start = _number(first, name)
    end = start if last is None else _number(last, name)
    return low <= start <= end <= high


def cron(value: object) -> str:
    """A cron expression of five fields (minute hour day month weekday). Raises ValueError."""
    fields = value.split() if isinstance(value, str) and len(value) <= 200 else []
    if len(fields) != len(_FIELDS):
        raise ValueError('five fields, minute hour day month weekday, such as "0 2 * * *"')
    for field, (name, low, high) in zip(fields, _FIELDS, strict=True):
        if not all(_good_part(part, name, low, high) for part in field.split(",")):
            raise ValueError(f'{name} {low}-{high}, *, lists, ranges and steps, such as "0 2 * * *"')
    from gateway.site.calendar import comes  # noqa: PLC0415 - only a file with a planned round needs it

    expression = " ".join(fields)
    if not comes(expression):
        raise ValueError("a day that comes, such as 28 for the end of February")
    return expression


def _due(value: float) -> float:
    if not 0 < value <= LONGEST_DUE_S:
        raise ValueError("more than nothing, 24h at most")
    return value


MOST_ITEMS = 300
"""Of one round."""
Cron = Annotated[str, BeforeValidator(cron), WithJsonSchema({"type": "string", "pattern": r"^\S+( +\S+){4}$"})]
Grey = Annotated[float, Field(ge=0, le=255)]


class _Item(Strict):
    """What every item may say: the class of its finding, the place where it is."""

    service_class: ServiceClass = Field("ordinary", alias="class")
    place: Id | None = None


class PointItem(_Item):
    """A point's fresh value lies between two numbers, or is this one."""

    point: Ref
    between: Window | None = None
    equals: Scalar | None = None
    trend: Duration | None = None
    """How far ahead its trend is followed, in seconds; 0: not at all; None: 30 days where it has `between`."""

    @model_validator(mode="after")
    def _one_rule(self) -> Self:
        if (self.between is None) == (self.equals is None):
            found = "found neither between nor equals" if self.between is None else "found between and equals"
            raise wrong(found, "exactly one of between, equals")
        if self.trend and self.between is None:
            raise wrong("found trend beside equals", "trend needs between", "trend")
        return self


class DeviceItem(_Item):
    """A device answers."""

    device: Id
    answers: Literal[True] = True


class QuietItem(_Item):
    """No alarm stands in a zone."""

    no_alarm: Id


class PanelItem(_Item):
    """A panel has at most this many faults and disabled components."""

    panel: Id
    faults: int | None = Field(None, ge=0)
    disabled: int | None = Field(None, ge=0)

    @model_validator(mode="after")
    def _one_rule(self) -> Self:
        if self.faults is None and self.disabled is None:
            raise wrong("found neither faults nor disabled", "faults: 0, disabled: 0, or both")
        return self


class DutyItem(_Item):
    """A person at the panel answers the duty check (查岗) in time."""

    duty_check: Id
    within: Period = 600.0


class TestedItem(_Item):
    """Every initiating device of a zone has shown a fire within the time, real or in a test."""

    tested: Id
    within: Period = 365 * 86400.0


class PictureRuleEntry(Strict):
    """Limits of a picture: grey values (0-255), sharpness and structure against its reference, the camera's clock."""

    dark_below: Grey = 30.0
    bright_above: Grey = 220.0
    flat_below: Grey = 10.0
    blur_below: float = Field(65.0, ge=0)
    max_drift: float = Field(0.5, ge=0, le=1)
    max_clock: Period = 30.0


class CameraItem(_Item):
    """A picture taken now is good."""

    camera: Id
    picture: PictureRuleEntry = PictureRuleEntry.model_construct()


class PersonItem(_Item):
    """A person is asked, on the page or by the cloud."""

    person: Text
    photo: bool = False
    watch: dict[
        Ref,
        Annotated[
            Annotated[Scalar, Tag("<word>")] | Annotated[Window, Tag("<list>")] | Annotated[Scalar, Tag("<mapping>")],
            Discriminator(by_shape),
        ],
    ] = Field(default_factory=dict)
    """What points must show while the person acts: a value, or two numbers that it lies between."""
    within: Period = 1800.0
    """So many seconds before the answer it may have been."""

    @model_validator(mode="after")
    def _within_what(self) -> Self:
        if "within" in self.model_fields_set and not self.watch:
            raise wrong("found within without watch", "watch: {DEVICE.POINT: VALUE}", "within")
        return self


ITEMS: dict[str, type[Strict]] = {
    "point": PointItem, "device": DeviceItem, "no_alarm": QuietItem, "panel": PanelItem, "duty_check": DutyItem,
    "tested": TestedItem, "camera": CameraItem, "person": PersonItem,
}  # fmt: skip
"""The key that makes an item what it is."""


def _item(value: Any) -> Any:
    if isinstance(value, tuple(ITEMS.values())):
        return value
    found = [key for key in ITEMS if key in value] if isinstance(value, dict) else []
    if len(found) != 1:
        raise wrong("found " + (" and ".join(found) or "none of them"), "exactly one of " + ", ".join(ITEMS))
    return value


def _item_kind(value: Any) -> str:
    if isinstance(value, dict):
        return next((f"<{key}>" for key in ITEMS if key in value), "<point>")
    return next((f"<{key}>" for key, item in ITEMS.items() if type(value) is item), "<point>")


Item = Annotated[
    Annotated[PointItem, Tag("<point>")]
    | Annotated[DeviceItem, Tag("<device>")]
    | Annotated[QuietItem, Tag("<no_alarm>")]
    | Annotated[PanelItem, Tag("<panel>")]
    | Annotated[DutyItem, Tag("<duty_check>")]
    | Annotated[TestedItem, Tag("<tested>")]
    | Annotated[CameraItem, Tag("<camera>")]
    | Annotated[PersonItem, Tag("<person>")],
    Discriminator(_item_kind),
    BeforeValidator(_item),
]


class RoundEntry(Strict):
    """A planned round (cron, in the site's time zone) or one on demand."""

    title: Text | None = None
    cron: Cron | None = None
    due: Annotated[Period, AfterValidator(_due)] | None = None
    """How long people have to answer, in seconds; None: until its next run, at most 24 h."""
    items: Annotated[Many[Item], Field(json_schema_extra={"minItems": 1})]


class PlaceTagEntry(Strict):
    """How a place proves that somebody was there. The secret is the printed code, or the tag's key (NTAG 424 DNA)."""

    printed: Secret | None = None
    ntag424: Secret | None = None

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        if (self.printed is None) == (self.ntag424 is None):
            found = "found neither printed nor ntag424" if self.printed is None else "found printed and ntag424"
            raise wrong(found, "exactly one of printed, ntag424")
        return self


class PlaceEntry(Strict):
    """Where people go on a round."""

    name: Text
    zone: Id | None = None
    tag: PlaceTagEntry | None = None

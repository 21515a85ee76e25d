"""Rounds: when they run and what they look at."""

import re
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Discriminator, Field, Tag, WithJsonSchema, model_validator

from gateway.config.points import Scalar, Window
from gateway.config.units import Id, Many, Period, Ref, Strict, Text, wrong

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
    return " ".join(fields)


Cron = Annotated[str, BeforeValidator(cron), WithJsonSchema({"type": "string", "pattern": r"^\S+( +\S+){4}$"})]
Grey = Annotated[float, Field(ge=0, le=255)]


class PointItem(Strict):
    """A point's fresh value lies between two numbers, or is this one."""

    point: Ref
    between: Window | None = None
    equals: Scalar | None = None

    @model_validator(mode="after")
    def _one_rule(self) -> Self:
        if (self.between is None) == (self.equals is None):
            found = "found neither between nor equals" if self.between is None else "found between and equals"
            raise wrong(found, "exactly one of between, equals")
        return self


class DeviceItem(Strict):
    """A device answers."""

    device: Id
    answers: Literal[True] = True


class QuietItem(Strict):
    """No alarm stands in a zone."""

    no_alarm: Id


class PanelItem(Strict):
    """A panel has at most this many faults and disabled components."""

    panel: Id
    faults: int | None = Field(None, ge=0)
    disabled: int | None = Field(None, ge=0)

    @model_validator(mode="after")
    def _one_rule(self) -> Self:
        if self.faults is None and self.disabled is None:
            raise wrong("found neither faults nor disabled", "faults: 0, disabled: 0, or both")
        return self


class DutyItem(Strict):
    """A person at the panel answers the duty check (查岗) in time."""

    duty_check: Id
    within: Period = 600.0


class PictureRule(Strict):
    """Limits of a picture's grey values (0-255), sharpness and drift (share of the frame)."""

    dark_below: Grey | None = None
    bright_above: Grey | None = None
    flat_below: Grey | None = None
    blur_below: float | None = Field(None, ge=0)
    max_drift: float | None = Field(None, ge=0, le=1)


class CameraItem(Strict):
    """A picture taken now is good."""

    camera: Id
    picture: PictureRule = PictureRule.model_construct()


class PersonItem(Strict):
    """A person is asked, on the page or by the cloud."""

    person: Text
    photo: bool = False


ITEMS: dict[str, type[Strict]] = {
    "point": PointItem, "device": DeviceItem, "no_alarm": QuietItem, "panel": PanelItem, "duty_check": DutyItem,
    "camera": CameraItem, "person": PersonItem,
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
    | Annotated[CameraItem, Tag("<camera>")]
    | Annotated[PersonItem, Tag("<person>")],
    Discriminator(_item_kind),
    BeforeValidator(_item),
]


class Round(Strict):
    """A planned round (cron, in the site's time zone) or one on demand."""

    cron: Cron | None = None
    items: Annotated[Many[Item], Field(min_length=1)]

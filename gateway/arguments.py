"""The kinds of arguments of commands: values with limits and checks. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

from gateway.model import DAY_S, HOUR_S

MAX_SITE_FILE_BYTES: Final = 128 << 10
MAX_NAME: Final = 200
MAX_NOTE: Final = 1000
MAX_PLATE: Final = 32
"""Characters."""
MAX_ITEM: Final = 300
"""Characters of an item of a round, or of a finding."""
MAX_PHOTO_BYTES: Final = (96 << 10) * 4 // 3 + 4
"""Of a photo in base64."""
MAX_ENTRIES: Final = 2000
MAX_PARTS: Final = 10_000
MAX_INTEGER: Final = (1 << 63) - 1

DURATION: Final = r"[0-9]{1,9}(\.[0-9]{1,9})?(ms|s|m|h|d)"
_UNITS_S: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": HOUR_S, "d": DAY_S}


def duration(text: object) -> float:
    """Seconds of `250ms`, `2s`, `5m`, `12h`, `7d`, as in the site file. Raises ValueError."""
    if isinstance(text, str) and (match := re.fullmatch(DURATION, text, re.ASCII)):
        return float(text.removesuffix(match[2])) * _UNITS_S[match[2]]
    raise ValueError("a duration with its unit: 250ms, 2s, 5m, 12h, 7d")


def number(value: object) -> int:
    """A sequence number, also as the 20 digits of an event. Raises ValueError."""
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,20}", value, re.ASCII):
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MAX_INTEGER:
        return value
    raise ValueError("a sequence number from 1 on, as a number or as text of at most 20 digits")


# ---- kinds of values ------------------------------------------------------------------------------


class Kind(Protocol):
    """The kind of a field's value."""

    def check(self, value: object) -> None:
        """Raises ValueError with what is allowed."""
        ...


@dataclass(frozen=True, slots=True)
class Text:
    """Text with limits of its length."""

    most: int = MAX_NAME
    least: int = 1

    def check(self, value: object) -> None:
        """Raises ValueError."""
        if not isinstance(value, str) or not self.least <= len(value) <= self.most:
            raise ValueError(f"text of {self.least}-{self.most} characters")


@dataclass(frozen=True, slots=True)
class Name(Text):
    """The name of a thing. `of`: the part of the site file that defines it; empty: defined elsewhere."""

    of: str = ""


@dataclass(frozen=True, slots=True)
class Words:
    """One of these."""

    words: tuple[str, ...]

    def check(self, value: object) -> None:
        """Raises ValueError."""
        if not isinstance(value, str) or value not in self.words:
            raise ValueError(f"one of {', '.join(self.words)}")


@dataclass(frozen=True, slots=True)
class Duration:
    """Text such as `90s`, between `least_s` and `most_s`; `limits`: the limits as text."""

    least_s: float
    most_s: float
    limits: str

    def check(self, value: object) -> None:
        """Raises ValueError."""
        if not self.least_s <= duration(value) <= self.most_s:
            raise ValueError(self.limits)


@dataclass(frozen=True, slots=True)
class Flag:
    """True or false."""

    def check(self, value: object) -> None:
        """Raises ValueError."""
        if not isinstance(value, bool):
            raise ValueError("true or false")  # noqa: TRY004 - a wrong argument, not a wrong call


@dataclass(frozen=True, slots=True)
class Count:
    """A whole number."""

    most: int = MAX_INTEGER
    least: int = 0

    def check(self, value: object) -> None:
        """Raises ValueError."""
        if not isinstance(value, int) or isinstance(value, bool) or not self.least <= value <= self.most:
            raise ValueError(f"a whole number, {self.least}-{self.most}")


@dataclass(frozen=True, slots=True)
class Sequence:
    """The number of an event, as number or text."""

    def check(self, value: object) -> None:
        """Raises ValueError."""
        number(value)


@dataclass(frozen=True, slots=True)
class Version:
    """The version of a list: a number or text, as its owner counts."""

    def check(self, value: object) -> None:
        """Raises ValueError."""
        if isinstance(value, str) and 1 <= len(value) <= MAX_NAME:
            return
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_INTEGER:
            raise ValueError("a whole number, or text")


@dataclass(frozen=True, slots=True)
class PointValue:
    """A value for a point: JSON has no NaN, and the journal no number beyond 64 bits."""

    def check(self, value: object) -> None:
        """Raises ValueError."""
        if isinstance(value, str) and len(value) <= MAX_NAME:
            return
        if not isinstance(value, bool | int | float) or not abs(value) <= MAX_INTEGER:
            raise ValueError("true, false, a number of 64 bits, or a word")


@dataclass(frozen=True, slots=True)
class FileText:
    """The text of a site file."""

    def check(self, value: object) -> None:
        """Raises ValueError."""
        if not isinstance(value, str) or not value or len(value.encode()) > MAX_SITE_FILE_BYTES:
            raise ValueError("the text of a site file, 128 KiB at most")


@dataclass(frozen=True, slots=True)
class Many:
    """A list, `MAX_ENTRIES` long at most."""

    item: Kind

    def check(self, value: object) -> None:
        """Raises ValueError."""
        self.check_length(value)
        for place, item in enumerate(value if isinstance(value, list) else ()):
            try:
                self.item.check(item)
            except ValueError as error:
                raise ValueError(f"[{place}] {error}") from error

    def check_length(self, value: object) -> None:
        """Check the list without its entries: checking two thousand entries takes too long for a step of the site."""
        if not isinstance(value, list) or len(value) > MAX_ENTRIES:
            raise ValueError(f"a list of at most {MAX_ENTRIES}")


@dataclass(frozen=True, slots=True)
class Like:
    """In results: the same as a field of this family's events (`alarm`, `gate`)."""

    family: str
    name: str

    def check(self, value: object) -> None:
        """Accept everything."""


@dataclass(frozen=True, slots=True)
class Anything:
    """In results: an unlimited value. `form`: its kind."""

    form: Literal["moment", "number", "object", "objects", "readings", "text", "texts", "value", "version"]

    def check(self, value: object) -> None:
        """Accept everything."""


@dataclass(frozen=True, slots=True)
class Field:
    """An argument, or a field of a result."""

    kind: Kind
    zh: str = ""
    """Its label for people on site."""
    says: str = ""
    """For the schemas."""
    needed: bool = True
    """If false, it may be left out or null."""
    on_site: bool = False
    """Only people on site may give it."""


Fields = Mapping[str, Field]


@dataclass(frozen=True, slots=True)
class Record:
    """An object with exactly these fields."""

    fields: Fields

    def check(self, value: object) -> None:
        """Raises ValueError."""
        if not isinstance(value, dict):
            raise ValueError(", ".join(self.fields))  # noqa: TRY004 - a wrong argument, not a wrong call
        check_fields(value, self.fields)


def check_fields(values: Mapping[str, object], fields: Fields, *, entries: bool = True) -> None:
    """Check that there are exactly these fields; without `entries`, only the length of lists. Raises ValueError."""
    for name in values:
        if name not in fields:
            raise ValueError(f"{name[:60]!r}: found an argument that is not known; {', '.join(fields) or 'none'}")
    for name, one in fields.items():
        value = values.get(name)
        if value is None:
            if one.needed:
                raise ValueError(f"{name}: is missing")
            continue
        try:
            if isinstance(one.kind, Many) and not entries:
                one.kind.check_length(value)
            else:
                one.kind.check(value)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error


Args = Mapping[str, Any]


def maybe(kind: Kind, zh: str = "", says: str = "", *, on_site: bool = False) -> Field:
    """A field that may be left out or null."""
    return Field(kind, zh, says, needed=False, on_site=on_site)

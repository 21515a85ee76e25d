"""Settings of rounds for the brain, checked and complete. Times in seconds."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from gateway.model import Value
from gateway.site.settings import Ref

ServiceClass = Literal["ordinary", "complex", "major"]
Tag = Literal["printed", "ntag424"]
"""How a person proves to be at a place."""

ROUND = "round"
"""Timers of rounds."""
ROUND_DUE = "round-due/"
"""`round-due/ROUND`: the deadline for people's answers."""
FINDING_CLOCK = "finding-clock/"
"""`finding-clock/WHICH/FINDING`: the deadline of a finding's service clock."""

TAG_COUNTER = "round/tag/"
"""`round/tag/UID` -> counter, in the memory: a tag's last reading is known whatever becomes of rounds."""


def is_left_behind(key: str) -> bool:
    """True for memory of rounds that a file without any has still to put in order: to cure what is open, and forget."""
    return key.startswith(("finding/", "round/")) and not key.startswith(TAG_COUNTER)


TREND_S = 30 * 86400.0
LONGEST_DUE_S = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class PointRule:
    """A fresh value of a point must lie between two numbers, or equal one.

    `trend`: how far to look ahead whether it will sink below the lower number or, if `rising`, above the upper.
    """

    ref: Ref
    between: tuple[float, float] | None = None
    equals: Value | None = None
    trend: float = 0.0
    rising: bool = False
    """Watch for a rise, as with a residual current."""


@dataclass(frozen=True, slots=True)
class DeviceRule:
    """A device must answer."""

    device: str


@dataclass(frozen=True, slots=True)
class ZoneRule:
    """No alarm may stand in a zone."""

    zone: str


@dataclass(frozen=True, slots=True)
class PanelRule:
    """The most faults and disabled components that a panel may have; None: not checked."""

    device: str
    faults: int | None = None
    disabled: int | None = None

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds of alarms that are counted."""
        asked = (("fault", self.faults), ("disabled", self.disabled))
        return frozenset(kind for kind, most in asked if most is not None)


@dataclass(frozen=True, slots=True)
class DutyRule:
    """The person at a panel must answer a duty check (查岗)."""

    device: str
    within: float = 600.0


@dataclass(frozen=True, slots=True)
class TestedRule:
    """Each of these devices of the zone must have shown a fire, real or in a test."""

    zone: str
    devices: tuple[str, ...]
    within: float = 365 * 86400.0


@dataclass(frozen=True, slots=True)
class PictureRule:
    """A camera's picture must be good.

    `written`: the limits named in the file. Without a reference, only named ones of those that need one are judged.
    """

    camera: str
    dark_below: float = 30.0
    bright_above: float = 220.0
    flat_below: float = 10.0
    blur_below: float = 65.0
    max_drift: float = 0.5
    max_clock: float = 30.0
    written: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class PersonRule:
    """A person must look. `watch`: values that points must show within some seconds before the answer."""

    text: str
    photo: bool = False
    watch: tuple[tuple[Ref, Value | tuple[float, float]], ...] = ()
    within: float = 1800.0


Rule = PointRule | DeviceRule | ZoneRule | PanelRule | DutyRule | TestedRule | PictureRule | PersonRule


@dataclass(frozen=True, slots=True)
class Item:
    """One thing to look at. `id`: kind and target, `#2` for a second one, so that the order in the file is free."""

    id: str
    kind: str
    """The key that says its kind: `point`, `device`, `no_alarm`, …"""
    rule: Rule
    service_class: ServiceClass = "ordinary"
    place: str | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """A place where people go. `tag`: how being there is proven."""

    id: str
    name: str
    zone: str | None = None
    tag: Tag | None = None


@dataclass(frozen=True, slots=True)
class Round:
    """One round of the file. `cron` None: only on demand; `due` None: until its next run, at most 24 h."""

    id: str
    items: tuple[Item, ...]
    title: str | None = None
    cron: str | None = None
    due: float | None = None


@dataclass(frozen=True, slots=True)
class RoundSettings:
    """`inspection` and `places` of the site file."""

    timezone: str = "UTC"
    rounds: Mapping[str, Round] = field(default_factory=dict)
    places: Mapping[str, Place] = field(default_factory=dict)

    def watched(self) -> frozenset[Ref]:
        """The points watched by person items, which the site needs to read."""
        rules = [item.rule for one in self.rounds.values() for item in one.items]
        return frozenset(ref for rule in rules if isinstance(rule, PersonRule) for ref, _ in rule.watch)

    @property
    def looks_at_cameras(self) -> bool:
        """True if any item judges a camera's picture."""
        return any(isinstance(item.rule, PictureRule) for one in self.rounds.values() for item in one.items)

    @property
    def asks_people(self) -> bool:
        """True if any item asks a person."""
        return any(isinstance(item.rule, PersonRule) for one in self.rounds.values() for item in one.items)

"""What the brain must know of rounds, already checked and complete. Times in seconds."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from gateway.model import Value
from gateway.site.settings import Ref

ServiceClass = Literal["ordinary", "complex", "major"]
Tag = Literal["printed", "ntag424"]
"""How being at a place is shown."""

ROUND = "round"
"""Timers of rounds."""
ROUND_DUE = "round-due/"
"""`round-due/ROUND`, a deadline: people have answered until then, or nobody has."""
FINDING_CLOCK = "finding-clock/"
"""`finding-clock/WHICH/FINDING`, a deadline: a service clock of a finding."""

LEFT_BEHIND = ("finding/", "round/")
"""Memory of rounds: also a file without any has still to cure what is open, and to forget the rest."""

TREND_S = 30 * 86400.0
LONGEST_DUE_S = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class PointRule:
    """A fresh value of a point lies between two numbers, or is this one.

    `trend`: so far ahead it is looked whether it will sink below the lower, or, if `rising`, above the upper.
    """

    ref: Ref
    between: tuple[float, float] | None = None
    equals: Value | None = None
    trend: float = 0.0
    rising: bool = False
    """A residual current: what it may do is rise."""


@dataclass(frozen=True, slots=True)
class DeviceRule:
    """A device answers."""

    device: str


@dataclass(frozen=True, slots=True)
class ZoneRule:
    """Nothing stands in a zone."""

    zone: str


@dataclass(frozen=True, slots=True)
class PanelRule:
    """A panel has at most so many faults and disabled components; None: not asked."""

    device: str
    faults: int | None = None
    disabled: int | None = None


@dataclass(frozen=True, slots=True)
class DutyRule:
    """The person at a panel answers a duty check (查岗)."""

    device: str
    within: float = 600.0


@dataclass(frozen=True, slots=True)
class TestedRule:
    """Each of these devices of the zone has shown a fire, real or in a test."""

    zone: str
    devices: tuple[str, ...]
    within: float = 365 * 86400.0


@dataclass(frozen=True, slots=True)
class PictureRule:
    """A camera's picture is good.

    `written`: the limits that the file names; of those that need a reference only they are judged without one.
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
    """A person looks. `watch`: what points must show within so many seconds before the answer."""

    text: str
    photo: bool = False
    watch: tuple[tuple[Ref, Value | tuple[float, float]], ...] = ()
    within: float = 1800.0


Rule = PointRule | DeviceRule | ZoneRule | PanelRule | DutyRule | TestedRule | PictureRule | PersonRule


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that is looked at. `id`: its kind and target, `#2` for a second one: the order of the file is free."""

    id: str
    kind: str
    """The key that makes it what it is: `point`, `device`, `no_alarm`, …"""
    rule: Rule
    service_class: ServiceClass = "ordinary"
    place: str | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where people go. `tag`: how being there is shown."""

    id: str
    name: str
    zone: str | None = None
    tag: Tag | None = None


@dataclass(frozen=True, slots=True)
class Round:
    """One round of the file. `cron` None: on demand only; `due` None: until its next run, 24 h at most."""

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
        """The points that persons' items watch: the site wants to see them."""
        rules = [item.rule for one in self.rounds.values() for item in one.items]
        return frozenset(ref for rule in rules if isinstance(rule, PersonRule) for ref, _ in rule.watch)

    @property
    def looks_at_cameras(self) -> bool:
        """True if a camera's picture is judged."""
        return any(isinstance(item.rule, PictureRule) for one in self.rounds.values() for item in one.items)

    @property
    def asks_people(self) -> bool:
        """True if a person is asked anything."""
        return any(isinstance(item.rule, PersonRule) for one in self.rounds.values() for item in one.items)

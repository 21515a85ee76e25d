"""What the running gateway knows of the site file: plain values, room by room, nothing to check any more.

`build.py` makes it, in a process of its own (`prepare.py`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from drivers.modbus.settings import LineSettings
from gateway.cloud.mqtt.types import Broker
from gateway.driver import SecretSource
from gateway.model import Json, Stream, Value, Way
from gateway.site.settings import Ref, SiteSettings

if TYPE_CHECKING:
    from gateway.cloud.commands.claims import KeyFile


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """Where the journal lies, and how much it may keep for how long (bytes, seconds)."""

    path: Path
    max_size: int
    alarm_reserve: int
    keep: Mapping[Stream, float]


class Listen(NamedTuple):
    """Where a listener listens, and with which certificate."""

    host: str
    port: int
    tls: tuple[Path, Path] | None
    """Certificate and key."""


@dataclass(frozen=True, slots=True)
class CameraUse:
    """A camera of the site file."""

    id: str
    driver: str
    address: str
    mode: Literal["push", "pull"] | None = None
    """None: it gives pictures only."""
    way: Way | None = None
    """Where its cars go; None: by what it says, see `ways`."""
    ways: Mapping[Literal["forward", "reverse"], Way] = field(default_factory=dict)
    utc_offset: float | None = None
    """Seconds east of UTC."""
    username: str | None = None
    password: SecretSource | None = None
    token: SecretSource | None = None
    snapshot: str | None = None
    relay: tuple[int, float] | None = None
    """`io` and length of the pulse in seconds, if its own relay is a gate's `open`."""
    channel: int | None = None
    """Of the recorder at its address."""


class ListSettings(NamedTuple):
    """Where lists lie and how they are read. `csv`: those of the site file, named by their stems."""

    folder: Path
    csv: tuple[Path, ...]
    zone: tzinfo
    gates: frozenset[str]


class PlaceProof(NamedTuple):
    """How being at a place is proven: the printed code, or the key of its NTAG 424 (32 hex digits)."""

    how: Literal["printed", "ntag424"]
    secret: SecretSource


class OnLoss(NamedTuple):
    """A gate's output, and what its module is told."""

    gate: str
    output: Ref
    safe: Value
    """What `safe_name` holds: on."""
    watchdog: Value
    """What `watchdog_name` holds while the watchdog runs."""
    after: float
    """Seconds of our silence."""


def safe_name(point: str) -> str:
    """The setting that says what this output does when we fall silent. No point of a site file has such a name."""
    return f"{point}/safe"


def watchdog_name(point: str) -> str:
    """The setting that says after what time it does so."""
    return f"{point}/watchdog"


class PageUser(NamedTuple):
    """Who may log in on the page."""

    role: str
    secret: SecretSource
    """Hashed or plain."""


class PageFacts(NamedTuple):
    """What the site file says and the page shows: plain trees by id, without nulls."""

    site: Mapping[str, Json]
    zones: Mapping[str, Mapping[str, Json]]
    gates: Mapping[str, Mapping[str, Json]]
    devices: Mapping[str, Mapping[str, Json]]
    cameras: Mapping[str, Mapping[str, Json]]
    rounds: Mapping[str, Mapping[str, Json]]
    places: Mapping[str, Mapping[str, Json]]
    tables: Mapping[str, Mapping[str, Json]]
    """By device where each point is, and whether anybody has compared that with the device."""


@dataclass(frozen=True, slots=True)
class PageSettings:
    """The page for people on site."""

    listen: Listen
    read_only: bool
    """Off loopback without TLS."""
    users: Mapping[str, PageUser]
    names: frozenset[str]
    """What this box is called beside its address: the names in the certificate."""
    facts: PageFacts


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that `app.py` wires."""

    site_id: str
    gateway_id: str
    site: SiteSettings
    lines: tuple[LineSettings, ...]
    deadbands: Mapping[str, Mapping[str, float]]
    """The smallest change worth telling, by device and point."""
    broker: Broker
    topics: str
    """`T`: what every topic begins with."""
    source: str
    """The CloudEvents source of this gateway."""
    telemetry_every: float
    store: StoreSettings
    interlocked: Mapping[str, str]
    """Writable points that are not written by hand, and what uses them."""
    urgent: Mapping[str, frozenset[str]]
    """The points of the alarm lane, by device."""
    keys: "tuple[KeyFile, ...]" = ()
    """Who may send commands; none: nobody."""
    alive_timed: bool = False
    """The relay `self.alive` has a timed pulse of the module's own."""
    losses: tuple[OnLoss, ...] = ()
    """Outputs whose module is told to open when this gateway falls silent."""
    cameras: tuple[CameraUse, ...] = ()
    camera_listen: Listen | None = None
    """Where cameras push to."""
    camera_max_body: int = 4 << 20
    """Bytes of one push."""
    lists: ListSettings | None = None
    """Of plates; None: no camera tells of any."""
    page: PageSettings | None = None
    """Where people and machines look on."""
    timezone: str = "UTC"
    """Of the people on site."""
    people: Mapping[str, str] = field(default_factory=dict)
    """The roles of accounts and `@groups` of this machine."""
    place_tags: Mapping[str, PlaceProof] = field(default_factory=dict)
    """Of the places that people go to on rounds."""
    simulated: bool = False

"""What the running gateway knows of the site file: plain values, room by room, nothing to check any more.

`build.py` makes it, in a process of its own (`prepare.py`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from drivers.modbus.settings import LineSettings
from gateway.cloud.link import Broker
from gateway.model import Stream
from gateway.site.settings import SiteSettings

if TYPE_CHECKING:
    from gateway.cameras import CameraUse
    from gateway.cloud.claims import KeyFile
    from gateway.lists import ListSettings
    from gateway.loss import OnLoss


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
    losses: "tuple[OnLoss, ...]" = ()
    """Outputs whose module is told to open when this gateway falls silent."""
    cameras: "tuple[CameraUse, ...]" = ()
    camera_listen: Listen | None = None
    """Where cameras push to."""
    camera_max_body: int = 4 << 20
    """Bytes of one push."""
    lists: "ListSettings | None" = None
    """Of plates; None: no camera tells of any."""
    status: Listen | None = None
    """Where people and machines look on."""
    simulated: bool = False

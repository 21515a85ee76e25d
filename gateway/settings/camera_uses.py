"""`cameras` and `access` of the site file as the gatehouse and the site want them."""

from pathlib import Path
from zoneinfo import ZoneInfo

from gateway.config.access import AccessEntry
from gateway.config.cameras import CameraEntry, Direction
from gateway.config.gates import CameraRelay
from gateway.config.site import SiteFile
from gateway.settings.types import CameraUse, ListSettings
from gateway.site.confidence import SCALES
from gateway.site.settings import AccessSettings, Rule

_OF_MAKERS = {"platerecognizer": "0-1", "vzenith": "0-100", "gat1400": "0-100"}
"""Scales that a maker's text or the standard (GA/T 1400.3, PlateReliability) lays down."""


def camera_uses(file: SiteFile) -> tuple[CameraUse, ...]:
    """Every camera, with the relay that a gate opens by."""
    relays = {
        gate.open.camera: (gate.open.io, gate.pulse)
        for gate in file.gates.values()
        if isinstance(gate.open, CameraRelay)
    }
    return tuple(_use(name, camera, relays.get(name)) for name, camera in file.cameras.items())


def access_settings(file: SiteFile) -> AccessSettings:
    """For `SiteSettings.access`. Without plate cameras (`cameras` is empty) the site knows no plates."""
    said = file.access or AccessEntry()
    return AccessSettings(
        min_confidence=said.min_confidence,
        dedup=said.dedup,
        unknown=Rule(said.unknown.in_, said.unknown.out),
        no_plate=Rule(said.no_plate.in_, said.no_plate.out),
        blocked=Rule(said.blocked.in_, said.blocked.out),
        special=dict(said.special),
        pictures=said.pictures,
        cameras={name: camera.gate for name, camera in file.cameras.items() if camera.mode is not None},
        scales={name: scale for name, camera in file.cameras.items() if (scale := _scale(camera)) is not None},
    )


def list_settings(file: SiteFile) -> ListSettings:
    """Where the lists lie and how they are read."""
    named = file.access.lists if file.access else ()
    return ListSettings(
        Path(file.store.path) / "lists",
        tuple(Path(str(path)) for path in named),
        ZoneInfo(file.site.timezone),
        frozenset(file.gates),
    )


def _scale(camera: CameraEntry) -> float | None:
    """The top of its confidence; None: learnt."""
    if camera.confidence is not None:
        return SCALES[camera.confidence]
    word = _OF_MAKERS.get(camera.driver)
    return None if word is None else SCALES[word]


def _use(name: str, camera: CameraEntry, relay: tuple[int, float] | None) -> CameraUse:
    said = camera.direction
    told = said.by_camera if isinstance(said, Direction) else None
    return CameraUse(
        id=name,
        driver=camera.driver,
        address=camera.address,
        mode=camera.mode,
        way=None if isinstance(said, Direction) else said,
        ways={} if told is None else {"forward": told.forward, "reverse": told.reverse},
        utc_offset=_seconds(camera.utc_offset),
        username=camera.username,
        password=None if camera.password is None else camera.password.place(),
        token=None if camera.token is None else camera.token.place(),
        snapshot=camera.snapshot,
        relay=relay,
        channel=camera.channel,
    )


def _seconds(offset: str | None) -> float | None:
    """Seconds east of UTC of `+08:00`."""
    if offset is None:
        return None
    hours, _, minutes = offset[1:].partition(":")
    return (-1.0 if offset[0] == "-" else 1.0) * (int(hours) * 3600 + int(minutes) * 60)

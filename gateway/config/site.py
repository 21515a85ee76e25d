"""The whole site file (page "site file"), as frozen settings. Defaults are those of the page. Pure."""

from typing import Annotated, Literal
from zoneinfo import ZoneInfo, available_timezones

from pydantic import BeforeValidator, Field, StrictBool, StringConstraints, WithJsonSchema

from gateway.config.access import AccessEntry, CameraListener, Http, InOut, StatusPage
from gateway.config.cameras import CameraEntry
from gateway.config.device import Device, ProfileOverride
from gateway.config.gates import CameraRelay, GateEntry
from gateway.config.lines import Line, ModbusLine, PanelLine
from gateway.config.linkage import AnnunciatorEntry, LinkageEntry, Own
from gateway.config.problems import near
from gateway.config.rounds import PlaceEntry, RoundEntry
from gateway.config.store import FireCentre, Keep, Service, StoreEntry
from gateway.config.units import Id, Secret, Strict, Text
from gateway.config.uplink import CommandKey, CommandsEntry, Telemetry, Tls, UplinkEntry
from gateway.kinds import Role

__all__ = [
    "AccessEntry", "AnnunciatorEntry", "CameraEntry", "CameraListener", "CameraRelay", "CommandKey", "CommandsEntry",
    "Device", "FireCentre", "GateEntry", "Http", "InOut", "Keep", "Line", "LinkageEntry", "ModbusLine", "Own",
    "PanelLine", "PlaceEntry", "RoundEntry", "Secret", "Service", "SiteEntry", "SiteFile", "StatusPage", "StoreEntry",
    "Telemetry", "Tls", "UplinkEntry", "Zone",
]  # fmt: skip


def _timezone(value: object) -> str:
    if isinstance(value, str) and len(value) <= 64:
        try:
            ZoneInfo(value)
        except (OSError, ValueError):  # ZoneInfoNotFoundError is a KeyError where no data is installed at all
            pass
        except KeyError:
            pass
        else:
            return value
    known = available_timezones()
    capital = _CAPITALS.get(str(value).strip().casefold())
    hint = f"; for all of China it is '{capital}'" if capital else near(value, sorted(known))
    raise ValueError("a time zone of the IANA database, such as Asia/Shanghai or UTC" + hint)


_CHINA = "Asia/Shanghai"
_CAPITALS = dict.fromkeys(
    (
        "asia/beijing", "asia/peking", "beijing", "peking", "china", "asia/china", "shanghai", "cst", "china/beijing",
        "utc+8", "utc+08:00", "gmt+8", "gmt+08:00", "+8", "+08:00", "8", "asia/shenzhen", "asia/guangzhou",
        "asia/tianjin", "asia/hangzhou", "asia/nanjing", "北京", "北京时间", "上海", "中国", "中国标准时间",
    ),
    _CHINA,
)  # fmt: skip
"""What people write for the one time zone of China, which is named after Shanghai."""


TimeZone = Annotated[str, BeforeValidator(_timezone), WithJsonSchema({"type": "string"})]


class SiteEntry(Strict):
    """Which compound this is."""

    id: Id
    name: Text | None = None
    timezone: TimeZone = "UTC"


class Zone(Strict):
    """A part of the compound that alarms and linkage speak of."""

    name: Text | None = None


AccountName = Annotated[str, StringConstraints(pattern=r"^@?[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}$")]
"""An account of the machine, or `@` and a group of it."""


class SiteFile(Strict):
    """The site file."""

    version: Literal[1]
    site: SiteEntry
    gateway: Id
    simulated: StrictBool = False
    """Written by `simulate --out`: every event says so."""
    uplink: UplinkEntry
    commands: CommandsEntry | None = None
    lines: dict[Id, Line] = Field(json_schema_extra={"minProperties": 1})
    zones: dict[Id, Zone] = Field(default_factory=dict)
    profiles: dict[Id, ProfileOverride] = Field(default_factory=dict)
    devices: dict[Id, Device] = Field(json_schema_extra={"minProperties": 1})
    gates: dict[Id, GateEntry] = Field(default_factory=dict)
    cameras: dict[Id, CameraEntry] = Field(default_factory=dict)
    http: Http | None = None
    people: dict[AccountName, Role] = Field(default_factory=dict)
    """Who of the machine's accounts may do what by the command line: `{zhang: guard, "@property": steward}`."""
    access: AccessEntry | None = None
    linkage: dict[Id, LinkageEntry] = Field(default_factory=dict)
    annunciator: AnnunciatorEntry | None = None
    self_: Own | None = Field(None, alias="self")
    inspection: dict[Id, RoundEntry] = Field(default_factory=dict)
    places: dict[Id, PlaceEntry] = Field(default_factory=dict)
    service: Service = Service.model_construct()
    store: StoreEntry = StoreEntry.model_construct()
    fire_centre: FireCentre | None = None

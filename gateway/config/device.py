"""Devices and their profiles: everything a technician can say about one device (page "site file"). Pure.

A model that was built is complete: `Point.type`, `Point.every` and all of `Alarm` carry the value that
holds, written or not. Nothing downstream fills in a default again.
"""

from typing import Annotated, Any, Literal, NamedTuple, Self, get_args

from pydantic import BeforeValidator, Discriminator, Field, Tag, WithJsonSchema, model_validator

from gateway.config.points import Point
from gateway.config.units import Duration, FilePath, Id, Period, Ref, Strict, Text, UnitAddress

Kind = Literal[
    "smoke-detector", "heat-detector", "flame-detector", "call-point", "gas-detector", "pressure", "level",
    "electrical-fire", "temperature-humidity", "relay", "inputs", "meter", "barrier", "pump", "panel",
    "panel-output", "power", "other",
]  # fmt: skip
KINDS: tuple[str, ...] = get_args(Kind)
DETECTORS = frozenset({"smoke-detector", "heat-detector", "flame-detector", "call-point", "gas-detector"})
"""Kinds that must raise a fire (a gas detector: gas) and count as initiating devices."""
READ_ONLY = DETECTORS | {"pump", "panel", "electrical-fire"}
"""Kinds whose points are never written (a detector's reset excepted)."""

BAUDRATES = (
    300, 600, 1200, 2400, 4800, 9600, 14400, 19200, 28800, 38400, 57600, 76800, 115200, 128000, 230400, 250000,
    256000, 460800, 500000, 576000, 921600, 1000000,
)  # fmt: skip


def _baudrate(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value in BAUDRATES:
        return value
    raise ValueError("a speed of serial ports: " + " ".join(map(str, BAUDRATES)))


Baudrate = Annotated[int, BeforeValidator(_baudrate), WithJsonSchema({"type": "integer", "enum": list(BAUDRATES)})]
Parity = Literal["none", "even", "odd"]


class LimitsEntry(Strict):
    """What one request to the device may ask for, and how long the device may take."""

    max_registers: int = Field(125, ge=1, le=125)
    max_bits: int = Field(2000, ge=1, le=2000)
    fixed_bits: int | None = Field(None, ge=1, le=2000)
    """Bits are read by exactly so many at once, for devices that answer no other count; None: by need."""
    max_gap: int | None = Field(None, ge=0, le=125)
    """Unused registers that may be read through; None: 125 on TCP, by wire time on a bus."""
    silence: Duration | None = None
    """Seconds of silence between frames; None: by the baud rate."""
    timeout: Period = 1.0
    """Longest answer time in seconds."""

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if self.timeout > 60:
            raise ValueError("a timeout of at most 60s")
        if self.fixed_bits is not None and self.fixed_bits > self.max_bits:
            raise ValueError("fixed_bits of at most max_bits")
        return self


class ProfileLine(Strict):
    """The serial settings as shipped."""

    baudrate: Baudrate
    parity: Parity = "none"
    stopbits: Literal[1, 2] = 1


class ProfileSource(Strict):
    """Where the register table comes from."""

    text: Text
    status: Literal["verified", "unverified"]


class ResetPoint(Strict):
    """The device is reset by writing a point."""

    point: Id
    value: bool | int | float


class ResetPower(Strict):
    """The device is reset by taking its supply away for a while."""

    power: Ref
    off: Period


def _reset_form(value: Any) -> str:
    power = "power" in value if isinstance(value, dict) else isinstance(value, ResetPower)
    return "<power>" if power else "<point>"


Reset = Annotated[
    Annotated[ResetPoint, Tag("<point>")] | Annotated[ResetPower, Tag("<power>")], Discriminator(_reset_form)
]


class DeviceKeys(Strict):
    """The keys that a profile and a device share."""

    kind: Kind = "other"
    title: Text | None = None
    source: ProfileSource | None = None
    certified: Text | None = None
    """The standard it is certified to, `none`, or `unknown`."""
    limits: LimitsEntry = LimitsEntry.model_construct()
    reset: Reset | None = None
    points: dict[Id, Point] = Field(default_factory=dict)

    @property
    def is_certified(self) -> bool:
        """False unless the profile names the standard."""
        return self.certified not in (None, "none", "unknown")


class Profile(DeviceKeys):
    """A device model: `config/profiles/<maker>-<model>.yaml`."""

    profile: Id
    kind: Kind
    line: ProfileLine | None = None


class ProfileOverride(DeviceKeys):
    """What a site lays over a profile, by key, for each of its devices that has this profile."""

    line: ProfileLine | None = None


class Component(NamedTuple):
    """A row of a panel's CSV: where one component is."""

    component: str
    zone: str | None
    place: str | None


class Device(DeviceKeys):
    """One device of the site, with its profile merged in."""

    profile: Id | None = None
    line: Id
    unit: int = Field(1, ge=0, le=255)
    zone: Id | None = None
    place: Text | None = None
    address: UnitAddress | None = None
    """Source address of a transmission unit; None: whatever comes on its line."""
    components: FilePath | None = Field(None, exclude=True)
    """Of a transmission unit: a CSV file `component,zone,place` (written as `points: FILE`)."""

    @model_validator(mode="before")
    @classmethod
    def _file_of_points(cls, value: Any) -> Any:
        if isinstance(value, dict):
            if "components" in value:
                raise ValueError("`points: FILE` for the components of a transmission unit")
            if isinstance(value.get("points"), str):
                return {**value, "points": {}, "components": value["points"]}
        return value

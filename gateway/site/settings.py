"""The settings of the site for the brain, checked and complete."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

from gateway.kinds import ALARM_KINDS, RETAINED
from gateway.model import Quality, Reading, Stream, Value, Way

if TYPE_CHECKING:
    from gateway.site.round_settings import RoundSettings

OWN_ALARMS = (
    *(
        f"gateway/{name}"
        for name in (
            "clock",
            "commands-dropped",
            "commands-refused",
            "crashes",
            "lists",
            "not-delivered",
            "poison",
            "store",
        )
    ),
    *(f"{name}/refused" for name in (*Stream, *RETAINED)),
)
"""Subjects of the built-in alarms about the gateway itself, kind gateway; `OwnHealth` raises and clears them."""

CLOCK, SCALE = "camera-clock", "camera-scale"
CAMERA_ALARMS = ("camera-unreadable", "camera-token", CLOCK, SCALE)
"""Names of a plate camera's alarms, kind gateway."""

ON_LOSS = "on-loss"
"""Name of a gate's alarm, kind fault: its module has no setting for what to do when the gateway falls silent."""

CONFUSED = "bus-confused"
"""Name of a line's alarm, kind fault: unrequested answers came on the line."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One comparison of a point's value; exactly one of `equals`, `differs`, `above`, `below`, `words` is set.

    `above` and `below` are strict. `clear` is the value that ends the condition (hysteresis): the
    condition stays until the value is at or below it (`above`), at or above it (`below`).
    """

    equals: Value | None = None
    differs: Value | None = None
    above: float | None = None
    below: float | None = None
    clear: float | None = None
    words: frozenset[str] = frozenset()
    """The condition holds if the reading's text is one of these."""
    blind: frozenset[str] = frozenset()
    """With one of these texts the reading cannot be judged (a contact behind a broken wire)."""

    def judges(self, reading: Reading) -> bool:
        """False if the reading cannot be judged: it then neither raises nor clears."""
        return reading.quality is Quality.GOOD and reading.text not in self.blind

    def holds(self, reading: Reading, *, standing: bool) -> bool:
        """True if the reading meets the condition (`standing`: it did so before)."""
        value = reading.value
        if self.words:
            return reading.text in self.words
        if self.equals is not None:
            return _same(self.equals, reading)
        if self.differs is not None:
            return not _same(self.differs, reading)
        if isinstance(value, str) or value is None:
            return False
        if self.above is not None:
            limit = self.clear if standing and self.clear is not None else self.above
            return value > limit
        if self.below is not None:
            limit = self.clear if standing and self.clear is not None else self.below
            return value < limit
        return False


def _same(wanted: Value, reading: Reading) -> bool:
    """True if equal as a value; a word is also compared with the reading's text."""
    return reading.value == wanted or (isinstance(wanted, str) and reading.text == wanted)


@dataclass(frozen=True, slots=True)
class AlarmRule:
    """One alarm of one point. Delays in seconds, `confirm` in consecutive readings."""

    device: str
    point: str
    name: str
    kind: str
    severity: str
    service_class: str
    latch: bool
    condition: Condition
    delay: float = 0.0
    clear_delay: float = 0.0
    confirm: int = 1
    zone: str | None = None
    """Zone of a built-in alarm without a device, or of a component of a panel."""
    counts: Literal["device", "status", "alone"] = "device"
    """How linkage counts it: as a device, as a panel's common status, or alone (manual alarm, panel's own output)."""

    @property
    def subject(self) -> str:
        """`device/point/name`; built-in alarms have no point."""
        return f"{self.device}/{self.point}/{self.name}" if self.point else f"{self.device}/{self.name}"


class Ref(NamedTuple):
    """A point of a device."""

    device: str
    point: str

    def __str__(self) -> str:
        return f"{self.device}.{self.point}"


@dataclass(frozen=True, slots=True)
class DeviceReset:
    """How a device itself is reset: `value` is written to `at`. `off`: seconds for which its supply is switched off."""

    at: Ref
    value: Value = False
    off: float | None = None


@dataclass(frozen=True, slots=True)
class DeviceSettings:
    """Settings of a device."""

    id: str
    line: str
    zone: str | None = None
    place: str | None = None
    rules: tuple[AlarmRule, ...] = ()
    kind: str = "other"
    timeout: float = 1.0
    """The longest answer time in seconds."""
    reset: DeviceReset | None = None
    points: frozenset[str] = frozenset()
    """All its readable points."""

    @property
    def initiates(self) -> bool:
        """True for an initiating device, that is, one with a fire alarm."""
        return self.kind == "panel" or any(rule.kind == "fire" for rule in self.rules)


@dataclass(frozen=True, slots=True)
class GateSettings:
    """Settings of a gate: outputs that open and hold it, inputs that show its state. Times in seconds."""

    id: str
    open: Ref
    pulse: float = 0.5
    timed: bool = False
    """The module itself times the pulse of `open`."""
    hold: Ref | None = None
    """Maintained output for holding; None: `open` is kept on."""
    hold_timed: bool = False
    repeat: float | None = None
    """Interval of pulses for a board that reacts only to an edge; None: it takes a level."""
    arm: Ref | None = None
    """True = up."""
    clear: Ref | None = None
    """True = nobody under it."""
    opens_within: float = 5.0
    on_loss: Literal["keep", "open"] | None = None
    """What the module itself does when the gateway dies; shown to people only."""
    readable: bool = True
    """False for the relay of a camera: `open.device` is the camera, and nothing can be read back."""

    @property
    def held(self) -> Ref:
        """The output that holds it open."""
        return self.hold or self.open


@dataclass(frozen=True, slots=True)
class LinkageSettings:
    """Settings of a linkage: what a fire switches."""

    id: str
    zones: frozenset[str] | None = None
    """None: any."""
    trigger: Literal["two-devices", "any"] = "two-devices"
    call_point: Literal["alone", "counts-as-one"] = "alone"
    button: Ref | None = None
    hold: tuple[str, ...] = ()
    """Gates."""
    set: tuple[Ref, ...] = ()
    """Sounders and lamps."""


@dataclass(frozen=True, slots=True)
class AnnunciatorSettings:
    """Settings of the sound in the guard room."""

    fire: Ref | None = None
    fault: Ref | None = None
    silence: Ref | None = None


@dataclass(frozen=True, slots=True)
class OwnSettings:
    """The box's own signals. `alive` belongs to the app; `mains` and `battery` are true in the normal state."""

    alive: Ref | None = None
    mains: Ref | None = None
    battery: Ref | None = None


@dataclass(frozen=True, slots=True)
class ServiceClock:
    """The property company's service times in seconds (page "product")."""

    respond: float = 20 * 60.0
    ordinary: float = 30 * 60.0
    complex: float = 4 * 3600.0
    major: float = 24 * 3600.0
    fire_verify: float = 3 * 60.0

    def resolve(self, service_class: str) -> float:
        """Seconds until an alarm of this class must be solved."""
        return {"ordinary": self.ordinary, "complex": self.complex, "major": self.major}[service_class]


Verdict = Literal["open", "deny"]


@dataclass(frozen=True, slots=True)
class Rule:
    """The verdict by direction. An unknown direction counts as `in`."""

    into: Verdict = "deny"
    out: Verdict = "open"

    def of(self, direction: Way | None) -> Verdict:
        """The verdict."""
        return self.out if direction == "out" else self.into


@dataclass(frozen=True, slots=True)
class AccessSettings:
    """`access` of the site file. `dedup` in seconds."""

    min_confidence: float = 80.0
    dedup: float = 10.0
    unknown: Rule = Rule()
    no_plate: Rule = Rule()
    blocked: Rule = Rule()
    special: Mapping[str, Verdict] = field(
        default_factory=lambda: {"emergency": "open", "police": "open", "military": "open"}
    )
    pictures: Literal["plate", "scene", "none"] = "plate"
    cameras: Mapping[str, str | None] = field(default_factory=dict)
    """The gate of each plate camera; None: the camera only observes."""
    scales: Mapping[str, float] = field(default_factory=dict)
    """The top of a camera's confidence scale, if set; otherwise it is learnt."""

    def special_verdict(self, kind: str) -> Verdict | None:
        """The verdict for a kind of plate without lists. Emergency vehicles pass unless the file denies them."""
        return self.special.get(kind, "open" if kind == "emergency" else None)


@dataclass(frozen=True, slots=True)
class SiteSettings:
    """Settings of the whole site."""

    devices: Mapping[str, DeviceSettings]
    lines: tuple[str, ...]
    service: ServiceClock = ServiceClock()
    zones: tuple[str, ...] = ()
    gates: Mapping[str, GateSettings] = field(default_factory=dict)
    linkages: tuple[LinkageSettings, ...] = ()
    annunciator: AnnunciatorSettings = AnnunciatorSettings()
    own: OwnSettings = OwnSettings()
    access: AccessSettings = AccessSettings()
    inspection: "RoundSettings | None" = None
    """None: the file has no rounds."""
    writable: frozenset[Ref] = frozenset()
    """Points with `write: true`."""
    performed: frozenset[str] = frozenset()
    """Commands that are carried out outside the site; a command neither here nor of the site itself is `unknown`."""

    def watched(self) -> Mapping[str, frozenset[str]]:
        """The points that the brain needs to read, by device."""
        points: dict[str, set[str]] = {}
        for device in self.devices.values():
            for rule in device.rules:
                points.setdefault(device.id, set()).add(rule.point)
        watched = frozenset() if self.inspection is None else self.inspection.watched()
        for ref in (*self.outputs(), *self.inputs(), *watched):
            if ref.device in self.devices:
                points.setdefault(ref.device, set()).add(ref.point)
        return {device: frozenset(names) for device, names in points.items()}

    def outputs(self) -> frozenset[Ref]:
        """The outputs of gates, linkage, annunciator and device resets; the command `write` cannot reach them."""
        annunciator = self.annunciator
        refs = [annunciator.fire, annunciator.fault, self.own.alive]
        for gate in self.gates.values():
            refs += [gate.open, gate.hold]
        for linkage in self.linkages:
            refs += linkage.set
        refs += [device.reset.at for device in self.devices.values() if device.reset and device.reset.off is not None]
        return frozenset(ref for ref in refs if ref is not None)

    def inputs(self) -> frozenset[Ref]:
        """The inputs of gates, linkage, annunciator and the box itself."""
        refs = [self.annunciator.silence, self.own.mains, self.own.battery]
        for gate in self.gates.values():
            refs += [gate.arm, gate.clear]
        refs += [linkage.button for linkage in self.linkages]
        return frozenset(ref for ref in refs if ref is not None)


def built_in(subject: str, kind: str = "fault", *, zone: str | None = None, severity: str | None = None) -> AlarmRule:
    """The rule of an alarm without a point: `DEVICE/silent`, `LINE/down`, `ZONE/confirmed`."""
    owner, _, name = subject.rpartition("/")
    usual, service_class, latch = ALARM_KINDS[kind]
    counts: Literal["device", "alone"] = "alone" if kind == "fire" else "device"
    return AlarmRule(
        owner, "", name, kind, severity or usual, service_class, latch, Condition(), zone=zone, counts=counts
    )

"""The points of a device: where a value lies, how it is decoded, when it is an alarm, how it is written. Pure."""

import re
from itertools import pairwise
from typing import Annotated, Any, Literal, NamedTuple, Self, get_args

from pydantic import BeforeValidator, Discriminator, Field, StringConstraints, Tag, WithJsonSchema, model_validator

from gateway.config.problems import near
from gateway.config.units import Duration, Id, Many, Period, Strict, by_shape, wrong
from gateway.kinds import ALARM_KINDS, AlarmKind

Severity = Literal["critical", "high", "medium", "low"]
ServiceClass = Literal["major", "complex", "ordinary"]
Table = Literal["coil", "discrete", "input", "holding"]
Order = Literal["big", "little-word", "little-byte", "little"]
TABLES: tuple[str, ...] = get_args(Table)
BIT_TABLES = frozenset({"coil", "discrete"})
WIDTHS = {
    "bool": 1, "int16": 1, "uint16": 1, "bcd16": 1, "int32": 2, "uint32": 2, "float32": 2, "int64": 4, "uint64": 4,
    "float64": 4,
}  # fmt: skip
"""Registers of each type (`text:N`: see `width`)."""

_AT = re.compile(r"(coil|discrete|input|holding) ([0-9]{1,5})")
_TEXT = re.compile(r"text:([1-9][0-9]{0,2})")
_LONGEST_TEXT = 250
_UNEVEN = 1e-6
_TYPES = " ".join(WIDTHS) + " text:N"
URGENT = frozenset({"fire", "gas"})


class At(NamedTuple):
    """A protocol address: `holding 3` (0-based, as in the PDU)."""

    table: Table
    address: int

    def __str__(self) -> str:
        return f"{self.table} {self.address}"


def _at(value: Any) -> At:
    if isinstance(value, At):
        return value
    if isinstance(value, str) and (match := _AT.fullmatch(value)) and int(match[2]) <= 0xFFFF:
        return At(next(table for table in get_args(Table) if table == match[1]), int(match[2]))
    raise ValueError("coil | discrete | input | holding and an address 0-65535, such as 'holding 3'" + _near_at(value))


def _near_at(value: Any) -> str:
    table, blank, address = str(value)[:40].partition(" ")
    close = near(table, TABLES) if blank and address.isdigit() else ""
    return "" if table in TABLES else close.replace("'?", f" {address}'?")


AtField = Annotated[
    At,
    BeforeValidator(_at),
    WithJsonSchema({"type": "string", "pattern": r"^(coil|discrete|input|holding) \d{1,5}$"}),
]


def width(kind: str) -> int:
    """Registers (of a bit table: bits) that a value of this type takes; text has two characters in each."""
    match = _TEXT.fullmatch(kind)
    return (int(match[1]) + 1) // 2 if match else WIDTHS[kind]


def _type(value: Any) -> str:
    if isinstance(value, str):
        if value in WIDTHS:
            return value
        match = _TEXT.fullmatch(value)
        if match and int(match[1]) <= _LONGEST_TEXT:
            return value
    raise ValueError(_TYPES + f" (N characters, 1-{_LONGEST_TEXT})" + near(value, WIDTHS))


def _scalar(value: Any) -> Any:
    if isinstance(value, bool | int | float | str):
        return value
    raise ValueError("one value: true, false, a number or a word")


def _window(value: Any) -> tuple[float, float]:
    if isinstance(value, list | tuple) and len(value) == 2:
        low, high = value
        if all(isinstance(end, int | float) and not isinstance(end, bool) for end in value) and low <= high:
            return low, high
    raise ValueError("two numbers, the lower first, such as [0, 200]")


def _words(value: Any) -> Any:
    """The keys of a mapping are text in YAML; here they are the raw numbers, decimal or 0x."""
    if not isinstance(value, dict):
        return value
    words: dict[int, Any] = {}
    for key, word in value.items():
        if not re.fullmatch(r"-?[0-9]{1,19}|0x[0-9A-Fa-f]{1,16}", str(key)):
            raise wrong(f"found the key {str(key)[:40]!r}", "numbers as keys, such as {0: normal, 1: alarm}")
        number = int(str(key), 16 if str(key).startswith("0x") else 10)
        if number in words:
            raise wrong(f"found the number {number} twice", "each number once")
        words[number] = word
    return words


def _kind(value: Any) -> Any:
    """Waterflow counts as fire (page "site file")."""
    return "fire" if value == "waterflow" else value


Scalar = Annotated[
    bool | int | float | str,
    BeforeValidator(_scalar),
    WithJsonSchema({"type": ["boolean", "integer", "number", "string"]}),
]
PointType = Annotated[
    str,
    BeforeValidator(_type),
    WithJsonSchema({"type": "string", "pattern": f"^({'|'.join(WIDTHS)}|text:[1-9][0-9]{{0,2}})$"}),
]
_PAIR = {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}
Window = Annotated[tuple[float, float], BeforeValidator(_window), WithJsonSchema(_PAIR)]
Words = Annotated[dict[int, Annotated[str, StringConstraints(min_length=1, max_length=100)]], BeforeValidator(_words)]
RawWord = Annotated[int, Field(ge=0, le=0xFFFF_FFFF_FFFF_FFFF)]


class Alarm(Strict):
    """One alarm condition of a point: exactly one of `equals`, `differs`, `above`, `below`.

    Unwritten: `kind` is the alarm's own name if that names a kind, else `supervisory`; severity, class and
    latching come with the kind; `confirm` is 2 for a fire, else 1; `lane` is `alarm` for fire and gas.
    """

    kind: Annotated[
        AlarmKind,
        BeforeValidator(_kind),
        WithJsonSchema({"type": "string", "enum": [*get_args(AlarmKind), "waterflow"]}),
    ] = "supervisory"
    equals: Scalar | None = None
    differs: Scalar | None = None
    above: float | None = None
    below: float | None = None
    clear: float | None = None
    for_: Duration = Field(0.0, alias="for")
    clear_for: Duration = 0.0
    severity: Severity = "high"
    service_class: ServiceClass = Field("complex", alias="class")
    latch: bool = False
    confirm: int = Field(1, ge=1, le=10)
    lane: Literal["alarm", "normal"] = "normal"

    @model_validator(mode="after")
    def _one_condition(self) -> Self:
        names = ("equals", "differs", "above", "below")
        written = [name for name in names if getattr(self, name) is not None]
        if len(written) != 1:
            raise wrong(
                "found " + (" and ".join(written) or "no condition"), "exactly one of equals, differs, above, below"
            )
        if self.clear is not None:
            limit = self.above if self.above is not None else self.below
            if limit is None:
                raise wrong(f"found clear beside {written[0]}", "clear goes with above or below", "clear")
            if (self.clear > limit) if self.above is not None else (self.clear < limit):
                side = "at most" if self.above is not None else "at least"
                raise wrong(f"found {self.clear:g}", f"{side} {limit:g}, the value of {written[0]}", "clear")
        return self

    def fill(self, name: str) -> None:
        """Put in what the kind brings along; once, by the point that owns this alarm."""
        written = self.model_fields_set
        kind = self.kind
        if "kind" not in written:
            kind = _kind(name) if name in ALARM_KINDS or name == "waterflow" else "supervisory"
        severity, service_class, latch = ALARM_KINDS[kind]
        filled = {
            "kind": kind, "severity": severity, "service_class": service_class, "latch": latch,
            "confirm": 2 if kind == "fire" else 1, "lane": "alarm" if kind in URGENT else "normal",
        }  # fmt: skip
        for key, value in filled.items():
            if key not in written:
                object.__setattr__(self, key, value)


class Supervised(Strict):
    """Raw windows of a supervised contact; `open` and `short` are a fault of its wire."""

    normal: Window
    alarm: Window
    open: Window
    short: Window

    @model_validator(mode="after")
    def _apart(self) -> Self:
        windows = sorted((getattr(self, name), name) for name in ("normal", "alarm", "open", "short"))
        for (low, one), (high, other) in pairwise(windows):
            if high[0] <= low[1]:
                raise wrong(f"found overlapping windows {one} and {other}", "windows apart from each other", other)
        return self


class Pulse(Strict):
    """The module's own timed pulse: a register or coil that takes the time in steps."""

    at: AtField
    step: Period


class LossEntry(Strict):
    """How the module is told what to do when the gateway falls silent.

    A register `watchdog` takes `after` as a number of `tick`s; a coil only switches on a watchdog whose time was set
    by the maker's tool, and `after` says to what.
    """

    watchdog: AtField
    safe: AtField
    after: Period = 30.0
    """Seconds without a request of ours after which the output goes to its safe value."""
    tick: Period = 1.0
    """Seconds that one unit of the register `watchdog` means."""
    on: int | None = Field(None, ge=0, le=0xFFFF)
    """What `safe` holds if the output is to be on; None: what an order to switch it on writes."""

    @property
    def armed(self) -> int:
        """What `watchdog` holds while it is set: ticks, for a coil 1."""
        return 1 if self.watchdog.table == "coil" else round(self.after / self.tick)

    @model_validator(mode="after")
    def _possible(self) -> Self:
        for key in ("watchdog", "safe"):
            if (at := getattr(self, key)).table in ("discrete", "input"):
                raise wrong(f"found {at}", "a coil or a holding register, the others cannot be written", key)
        if self.watchdog == self.safe:
            raise wrong(f"found {self.safe} for both", "an address of its own", "safe")
        if self.safe.table == "coil" and (self.on or 0) > 1:
            raise wrong(f"found {self.on}", "0 or 1 in a coil", "on")
        if self.watchdog.table == "coil":
            if "tick" in self.model_fields_set:
                raise wrong(
                    "found tick beside a coil", "none: a coil switches the watchdog on and takes no time", "tick"
                )
        elif not 1 <= self.armed <= 0xFFFF or abs(self.after / self.tick - self.armed) > _UNEVEN:
            key = "after" if "after" in self.model_fields_set else "tick"
            raise wrong(f"found {self.after:g}s in ticks of {self.tick:g}s", "1-65535 whole ticks", key)
        return self


class Write(Strict):
    """An output that is not written in the usual way."""

    fc: Literal[5, 6, 15, 16] | None = None
    on: int | None = Field(None, ge=0, le=0xFFFF)
    off: int | None = Field(None, ge=0, le=0xFFFF)


class Point(Strict):
    """One value of a device. `value = raw * scale + offset`."""

    at: AtField
    type: PointType = "uint16"
    order: Order = "big"
    bit: int | None = Field(None, ge=0, le=15)
    invert: bool = False
    scale: float = 1.0
    offset: float = 0.0
    unit: Annotated[str, StringConstraints(max_length=20)] | None = None
    values: Words | None = None
    valid: Window | None = None
    invalid: Many[RawWord] = ()
    every: Period = 10.0
    """Wanted seconds between two readings."""
    deadband: float = Field(0.0, ge=0)
    alarms: dict[Id, Alarm] = Field(default_factory=dict)
    supervised: Supervised | None = None
    write: Annotated[
        Annotated[bool, Tag("<word>")] | Annotated[Write, Tag("<mapping>")] | Annotated[bool, Tag("<list>")],
        Discriminator(by_shape),
    ] = False
    pulse: Pulse | None = None
    loss: LossEntry | None = None

    @property
    def writable(self) -> bool:
        """True if the gateway may write it."""
        return self.write is not False

    @property
    def safe_on(self) -> int:
        """What `loss.safe` holds if this output is to be on when the gateway falls silent."""
        if self.loss is None or self.loss.on is not None:
            return 0 if self.loss is None else self.loss.on or 0
        odd = (
            self.write if isinstance(self.write, Write) and self.loss.safe.table == self.at.table == "holding" else None
        )
        word = None if odd is None else odd.off if self.invert else odd.on
        return int(not self.invert) if word is None else word

    @property
    def span(self) -> tuple[Table, int, int]:
        """Table, first address and number of registers or bits."""
        return (*self.at, 1 if self.bit is not None else width(self.type))

    @model_validator(mode="after")
    def _complete(self) -> Self:
        written = self.model_fields_set
        is_bit = self.at.table in BIT_TABLES
        if "type" not in written and (is_bit or self.bit is not None):
            object.__setattr__(self, "type", "bool")
        if "every" not in written and (self.alarms or self.supervised):
            object.__setattr__(self, "every", 1.0)
        self._check_place(is_bit=is_bit)
        self._check_value()
        self._check_output()
        for name, alarm in self.alarms.items():
            alarm.fill(name)
            self._check_alarm(name, alarm)
        return self

    def _check_place(self, *, is_bit: bool) -> None:
        if is_bit and self.type != "bool":
            raise wrong(f"found {self.type} on {self.at}", f"a {self.at.table} is one bit: bool", "type")
        if self.bit is not None and (is_bit or self.type != "bool"):
            raise wrong(f"found a bit of {self.at} as {self.type}", "one bit of a register, as bool", "bit")
        table, address, count = self.span
        if address + count > 0x10000:
            raise wrong(f"found {self.type} at {self.at}", f"{count} registers end at 65535", "at")
        if self.supervised and (is_bit or self.type not in ("uint16", "int16")):
            raise wrong(f"found windows on {self.type} at {table}", "a register of 16 bits", "supervised")

    def _check_value(self) -> None:
        if self.invert and self.type != "bool":
            raise wrong(f"found invert on {self.type}", "invert turns a bool round", "invert")
        if self.type == "bool" or self.type.startswith("text:"):
            for key in ("scale", "offset", "valid", "deadband"):
                if key in self.model_fields_set:
                    raise wrong(f"found {key} on {self.type}", f"{key} belongs to a number", key)
        if self.scale == 0:
            raise wrong("found 0", "a scale other than 0", "scale")

    def _check_output(self) -> None:
        if self.writable and self.at.table in ("discrete", "input"):
            raise wrong(f"found an output at {self.at}", "only a coil or a holding register can be written", "write")
        if isinstance(self.write, Write) and self.write.fc is not None:
            codes = (5, 15) if self.at.table == "coil" else (6, 16)
            if self.write.fc not in codes:
                raise wrong(f"found function code {self.write.fc}", f"{codes[0]} or {codes[1]} at {self.at}", "write")
        for key in ("pulse", "loss"):
            if getattr(self, key) is not None and not self.writable:
                raise wrong(f"found {key} without write", "an output: write: true", key)
        if self.loss is not None and self.type != "bool":
            raise wrong(f"found loss on {self.type}", "an output that is on or off: bool", "loss")
        if self.loss is not None and self.at in (self.loss.safe, self.loss.watchdog):
            raise wrong(f"found {self.at}, the output itself", "the addresses of its settings", "loss")

    def _check_alarm(self, name: str, alarm: Alarm) -> None:
        names = ("equals", "differs", "above", "below")
        key = f"alarms.{name}." + next(one for one in names if getattr(alarm, one) is not None)
        if (alarm.above is not None or alarm.below is not None) and not self._is_number:
            raise wrong(f"found a limit on {self.type}", "equals or differs", key)
        wanted = alarm.equals if alarm.equals is not None else alarm.differs
        if wanted is None:
            return
        if isinstance(wanted, str):
            words = set(self.values.values()) if self.values else {"normal", "alarm"} if self.supervised else set()
            if words and wanted not in words:
                raise wrong(f"found {wanted[:40]!r}", "a word of `values`: " + " | ".join(sorted(words))[:200], key)
            if not words and not self.type.startswith("text:"):
                raise wrong(f"found {wanted[:40]!r}", f"a {self.type} (a word needs `values`)", key)
        elif self.values is not None and wanted not in self.values:
            raise wrong(f"found {wanted}", "a number of `values`, another one is never GOOD", key)
        elif self.type == "bool" and wanted not in (0, 1):
            raise wrong(f"found {wanted}", "true or false", key)

    @property
    def _is_number(self) -> bool:
        return self.type != "bool" and not self.type.startswith("text:")

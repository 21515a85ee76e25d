"""Settings of a Modbus line: plain values, checked before any I/O. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Literal

from gateway.model import Lane

ModbusTable = Literal["coil", "discrete", "input", "holding"]
ByteOrder = Literal["big", "little-word", "little-byte", "little"]
"""Byte orders ABCD, CDAB, BADC, DCBA (for 64 bits likewise over four words)."""

REGISTERS: Mapping[str, int] = {
    "bool": 1, "int16": 1, "uint16": 1, "bcd16": 1, "int32": 2, "uint32": 2, "float32": 2,
    "int64": 4, "uint64": 4, "float64": 4,
}  # fmt: skip
"""The number of registers of each type (`text:N`: one for two characters)."""

MAX_REGISTERS = 125
MAX_BITS = 2000
_TOP = 0x10000
_LARGEST = 1e12


@dataclass(frozen=True, slots=True, kw_only=True)
class SupervisedWindows:
    """Raw windows, both ends included, of a supervised contact."""

    normal: tuple[float, float]
    alarm: tuple[float, float]
    open: tuple[float, float]
    short: tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModbusWrite:
    """How a point is written; None means the default: FC05 for a coil, FC06 for one register, FC16 for more."""

    fc: Literal[5, 6, 15, 16] | None = None
    on: int | None = None
    """The word for true (usually 0xFF00 for a coil)."""
    off: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModbusPulse:
    """The module's own timed pulse: the duration is written to `address` as a number of `step`s (seconds)."""

    table: ModbusTable
    address: int
    step: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ModbusPoint:
    """One value of a device. `type` None means uint16, or bool for coil and discrete."""

    name: str
    table: ModbusTable
    address: int
    type: str | None = None
    order: ByteOrder = "big"
    bit: int | None = None
    invert: bool = False
    scale: float = 1.0
    offset: float = 0.0
    unit: str | None = None
    values: Mapping[int, str] | None = None
    valid: tuple[float, float] | None = None
    invalid: tuple[int, ...] = ()
    """Raw contents that mean "no value", as an unsigned (or signed) number of the type's full width."""
    every: float = 10.0
    lane: Lane = Lane.NORMAL
    supervised: SupervisedWindows | None = None
    write: ModbusWrite | None = None
    pulse: ModbusPulse | None = None

    @property
    def is_bit(self) -> bool:
        """True if the point is in a table of bits."""
        return self.table in ("coil", "discrete")

    @property
    def kind(self) -> str:
        """The type with its default filled in; `text` for `text:N`."""
        if self.type is None:
            return "bool" if self.is_bit or self.bit is not None else "uint16"
        return "text" if self.type.startswith("text:") else "bool" if self.bit is not None else self.type

    @property
    def count(self) -> int:
        """The number of registers (or bits) of the value; 0 for an unknown type."""
        if self.type is None:
            return 1
        if self.type.startswith("text:"):
            return (self.characters + 1) // 2
        return 1 if self.is_bit else REGISTERS.get(self.kind, 0)

    @property
    def characters(self) -> int:
        """N of `text:N`; 0 if it is not a number."""
        digits = (self.type or "").partition(":")[2]
        return int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= 3 else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ModbusDevice:
    """One unit on the line, and the limits of requests to it."""

    id: str
    unit: int = 1
    points: tuple[ModbusPoint, ...] = ()
    settings: tuple[ModbusPoint, ...] = ()
    """Points that are only read or written on request."""
    max_registers: int = MAX_REGISTERS
    max_bits: int = MAX_BITS
    fixed_bits: int | None = None
    """Bits are read exactly this many at once, from the first one with a point on; None: as many as needed."""
    max_gap: int | None = None
    """The most unused registers (or bits) that are read through; None: 125 on TCP, by wire time on a bus."""
    silence: float | None = None
    """Seconds of silence that this device needs before a request; None: by baud rate."""
    timeout: float = 1.0
    """The longest answer time, in seconds beyond the wire time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LineSettings:
    """A serial bus (`serial`), a TCP device (`host`, framing tcp) or a bus behind TCP (`host`, framing rtu).

    With `listens` the device dials in at our `host` and `port`.
    """

    name: str
    serial: str | None = None
    host: str | None = None
    port: int = 502
    framing: Literal["rtu", "tcp"] | None = None
    """None: rtu on a serial line, tcp on TCP."""
    baudrate: int = 9600
    parity: Literal["none", "even", "odd"] = "none"
    stopbits: Literal[1, 2] = 1
    in_flight: int = 1
    listens: bool = False
    allow: tuple[str, ...] = ()
    """Addresses or networks from which the device may dial in; empty: only this machine."""
    register: tuple[bytes, ...] = ()
    """The registration that it sends first, in one of these forms; empty: any device that dials in."""
    heartbeat: bytes = b""
    strict: bool = False
    """On TCP: accept only answers with the transaction id and unit of their request."""
    devices: tuple[ModbusDevice, ...] = field(default=())

    @property
    def is_bus(self) -> bool:
        """True for RTU frames: a serial line, local or behind a converter."""
        return self.serial is not None or self.framing == "rtu"


def problems(settings: LineSettings) -> list[str]:
    """Everything that is wrong with the settings, as texts; empty if they can be used."""
    found = [f"line {settings.name}: {text}" for text in _line(settings)]
    seen: set[str] = set()
    for device in settings.devices:
        if device.id in seen:
            found.append(f"device {device.id}: given twice")
        seen.add(device.id)
        found += [f"device {device.id}: {text}" for text in _device(device, is_bus=settings.is_bus)]
        names: set[str] = set()
        for point in (*device.points, *device.settings):
            if point.name in names:
                found.append(f"point {device.id}.{point.name}: given twice")
            names.add(point.name)
            found += [f"point {device.id}.{point.name}: {text}" for text in _point(point, device)]
    return found


def _line(line: LineSettings) -> Iterator[str]:
    if (line.serial is None) == (line.host is None):
        yield "exactly one of serial and tcp is needed"
    if line.serial is not None:
        if "://" in line.serial or not line.serial:
            yield f"serial: {line.serial!r} is not the path of a serial port"
        if line.framing == "tcp":
            yield "framing tcp is not possible on a serial port"
    elif not (0 if line.listens else 1) <= line.port < _TOP:
        yield f"port {line.port}: 1-65535"
    if line.listens and line.host is None:
        yield "listens: an own address is needed"
    if not 50 <= line.baudrate <= 4_000_000:
        yield f"baudrate {line.baudrate}: 50-4000000"
    if line.parity not in ("none", "even", "odd"):
        yield f"parity {line.parity}: none, even or odd"
    if line.stopbits not in (1, 2):
        yield f"stopbits {line.stopbits}: 1 or 2"
    if not 1 <= line.in_flight <= 16:
        yield f"in_flight {line.in_flight}: 1-16"
    elif line.is_bus and line.in_flight > 1:
        yield f"in_flight {line.in_flight}: a bus carries one request at a time"


def _device(device: ModbusDevice, *, is_bus: bool) -> Iterator[str]:
    if not 0 <= device.unit <= 255:
        yield f"unit {device.unit}: 0-255"
    elif is_bus and device.unit == 0:
        yield "unit 0: 1-255 on a bus (0 is the broadcast, which nobody may answer)"
    if not 1 <= device.max_registers <= MAX_REGISTERS:
        yield f"max_registers {device.max_registers}: 1-{MAX_REGISTERS}"
    if not 1 <= device.max_bits <= MAX_BITS:
        yield f"max_bits {device.max_bits}: 1-{MAX_BITS}"
    if device.fixed_bits is not None and not 1 <= device.fixed_bits <= device.max_bits:
        yield f"fixed_bits {device.fixed_bits}: 1-{device.max_bits}, no more than max_bits"
    if device.max_gap is not None and device.max_gap < 0:
        yield f"max_gap {device.max_gap}: 0 or more"
    if device.silence is not None and not 0 <= device.silence <= 10:
        yield f"silence {device.silence}: 0-10 seconds"
    if not 0 < device.timeout <= 60:
        yield f"timeout {device.timeout}: up to 60 seconds"


def _point(point: ModbusPoint, device: ModbusDevice) -> Iterator[str]:
    if point.count == 0:
        yield f"type {point.type!r} does not exist; allowed: {', '.join(REGISTERS)}, text:N (N up to 250)"
        return
    if point.is_bit and point.kind != "bool":
        yield f"type {point.type!r}: a {point.table} is a bool"
    if point.count > (device.max_bits if point.is_bit else device.max_registers):
        yield f"takes {point.count} registers, more than max_registers {device.max_registers}"
    if not 0 <= point.address <= _TOP - point.count:
        yield f"address {point.address}: ends beyond 65535"
    single = not point.is_bit and point.type in (None, "bool", "uint16", "int16")
    if point.bit is not None and not (single and 0 <= point.bit <= 15):
        yield f"bit {point.bit}: 0-15 of one register"
    if point.every <= 0:
        yield f"every {point.every}: more than 0"
    yield from _number(point)
    yield from _writable(point)


def _number(point: ModbusPoint) -> Iterator[str]:
    numeric = point.kind not in ("bool", "text")
    if (point.scale, point.offset) != (1.0, 0.0) and not numeric:
        yield f"scale and offset have no meaning for {point.kind}"
    if not isfinite(point.scale) or not 1 / _LARGEST <= abs(point.scale) <= _LARGEST:
        yield f"scale {point.scale}: 1e-12 to 1e12"
    if not isfinite(point.offset) or (point.offset and not 1 / _LARGEST <= abs(point.offset) <= _LARGEST):
        yield f"offset {point.offset}: 0 or 1e-12 to 1e12"
    if point.valid is not None and not point.valid[0] <= point.valid[1]:
        yield f"valid {list(point.valid)}: the lower end first"
    if point.valid is not None and not numeric:
        yield f"valid has no meaning for {point.kind}"
    if point.invert and point.kind != "bool":
        yield f"invert has no meaning for {point.kind}"
    if point.supervised is not None and (
        point.kind not in ("uint16", "int16") or point.values is not None or (point.scale, point.offset) != (1.0, 0.0)
    ):
        yield "supervised needs one plain register, without values, scale and offset"
    if point.invalid and (point.is_bit or point.kind == "text"):
        yield "invalid has no meaning for bits and text"


def _writable(point: ModbusPoint) -> Iterator[str]:
    if point.pulse is not None:
        if point.pulse.table not in ("coil", "holding") or not 0 <= point.pulse.address < _TOP or point.pulse.step <= 0:
            yield "pulse: a coil or holding register 0-65535, and a step of more than 0 seconds"
        if point.write is None or point.kind != "bool":
            yield "pulse: only for a writable bool"
    if point.write is None:
        return
    if point.table not in ("coil", "holding"):
        yield f"write: a {point.table} cannot be written"
        return
    if point.bit is not None:
        yield "write: one bit of a register cannot be written alone"
    if point.supervised is not None:
        yield "write: a supervised contact cannot be written"
    fitting = (5, 15) if point.table == "coil" else (6, 16) if point.count == 1 else (16,)
    if point.write.fc is not None and point.write.fc not in fitting:
        yield f"write: function {point.write.fc} does not fit; allowed: {', '.join(map(str, fitting))}"
    for word in (point.write.on, point.write.off):
        if word is not None and (not 0 <= word < _TOP or point.kind != "bool"):
            yield f"write: on and off are words 0-0xFFFF of a bool, not {word}"

"""Lines that stand in no site file: what `scan` and `doctor` open to listen to a wire. Reads only, never unit 0."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from gateway import build
from gateway.config.device import Device, Limits
from gateway.config.lines import ModbusLine
from gateway.config.points import At, Point
from gateway.config.site import SiteFile
from gateway.driver import Poller

LINE = "scan"
TABLES = ("holding", "input", "coil", "discrete")
"""In the order in which they are tried; address 0 of each."""
_LIMITS = Limits.model_construct(timeout=0.001, max_gap=0)
"""The time-out is given with each read: a longest one of the device's own would keep the bus quiet that much longer."""
_FIRST = {table: Point(at=At(cast("Any", table), 0)) for table in TABLES}


@dataclass(frozen=True, slots=True)
class Setting:
    """How a line is spoken to. `framing` None: a serial port."""

    baudrate: int = 9600
    parity: Literal["none", "even", "odd"] = "none"
    stopbits: Literal[1, 2] = 1
    framing: Literal["rtu", "tcp"] | None = None

    def __str__(self) -> str:
        if self.framing is not None:
            return "Modbus TCP" if self.framing == "tcp" else "RTU over TCP"
        return f"{self.baudrate} 8{self.parity[0].upper()}{self.stopbits}"

    @property
    def is_bus(self) -> bool:
        """True if the frames are RTU frames."""
        return self.framing != "tcp"


@dataclass(frozen=True, slots=True)
class Target:
    """A serial port, or `tcp` HOST:PORT."""

    serial: str | None = None
    tcp: str | None = None

    def line(self, setting: Setting) -> dict[str, Any]:
        """The line as a site file has it."""
        if self.serial is None:
            rtu = {"framing": "rtu"} if setting.framing == "rtu" else {}
            return {"driver": "modbus", "tcp": self.tcp, **rtu}
        serial = {"baudrate": setting.baudrate, "parity": setting.parity, "stopbits": setting.stopbits}
        return {"driver": "modbus", "serial": self.serial, **serial}


def first_words(target: Target, setting: Setting, units: Iterable[int]) -> Poller:
    """Address 0 of every table of these units: device `UNIT`, points named after the tables."""
    return open_line(target, setting, {str(unit): _device(unit, _FIRST) for unit in units})


def profiles_at(target: Target, setting: Setting, unit: int, points: Mapping[str, Mapping[str, Point]]) -> Poller:
    """The same unit as each of these profiles describes it: device = the profile's name."""
    return open_line(target, setting, {name: _device(unit, each) for name, each in points.items()})


def open_line(target: Target, setting: Setting, devices: Mapping[str, Device]) -> Poller:
    """A line with these devices, not opened yet. Raises ConfigError."""
    line = ModbusLine.model_validate(target.line(setting))
    parts: dict[str, Any] = {"lines": {LINE: line}, "devices": dict(devices)}
    return build.poller(SiteFile.model_construct(**parts), LINE)


def _device(unit: int, points: Mapping[str, Point]) -> Device:
    return Device.model_construct(line=LINE, unit=unit, points=dict(points), limits=_LIMITS)

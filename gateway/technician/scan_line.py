"""Lines without a site file, which `scan` and `doctor` open. Only reads, and never from unit 0."""

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Self, cast

from gateway.config.device import Device, LimitsEntry
from gateway.config.lines import ModbusLine
from gateway.config.points import At, Point
from gateway.config.site import SiteFile
from gateway.config.units import endpoint
from gateway.driver import Poller
from gateway.errors import LineDown
from gateway.settings import build

LINE = "scan"
TABLES = ("holding", "input", "coil", "discrete")
"""The tables in the order of trying; address 0 of each."""
_LIMITS = LimitsEntry.model_construct(timeout=0.001, max_gap=0)
"""The time-out is given with each read; a longer one of the device would keep the bus quiet that much longer."""
_FIRST = {table: Point(at=At(cast("Any", table), 0)) for table in TABLES}


@dataclass(frozen=True, slots=True)
class Setting:
    """Communication settings of a line. `framing` None: a serial port."""

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
        """True for RTU frames."""
        return self.framing != "tcp"


class DialsIn(NamedTuple):
    """Where a device dials in, and what it sends first."""

    listen: str | None
    register: str | None


_ANYBODY = ["0.0.0.0/0", "::/0"]
NOBODY_DIALS_IN = DialsIn(None, None)


@dataclass(slots=True)
class Target:
    """A serial port, or `tcp` HOST:PORT, or a port where a device dials in."""

    serial: str | None = None
    tcp: str | None = None
    dials_in: DialsIn = NOBODY_DIALS_IN
    _calls: Any = None

    def checked(self) -> Self:
        """Check it; returns itself. Raises ValueError if a device cannot dial in like this."""
        ModbusLine.model_validate(self.line(Setting(framing="rtu")), by_alias=True, by_name=False)
        return self

    @asynccontextmanager
    async def reachable(self) -> AsyncIterator[None]:
        """Keep listening where a device dials in, as it does not dial in again for each setting. Raises LineDown."""
        if self.dials_in.listen is None:
            yield
            return
        self._calls = build.dial_in(*endpoint(self.dials_in.listen))
        try:
            async with self._calls:
                yield
        except OSError as error:
            raise LineDown(f"{self.dials_in.listen}: {error}") from error

    @property
    def calls(self) -> Any:
        """The listener, while it listens; for `build.poller`."""
        return self._calls

    def line(self, setting: Setting) -> dict[str, Any]:
        """The line as in a site file."""
        if self.serial is None:
            rtu = {"framing": "rtu"} if setting.framing == "rtu" else {}
            if self.tcp is not None:
                return {"driver": "modbus", "tcp": self.tcp, **rtu}
            listen, register = self.dials_in
            known = {} if register is None else {"register": register}
            allow = sorted(self._calls.heard) if self._calls is not None else []
            return {"driver": "modbus", "listen": listen, "allow": allow or _ANYBODY, **known, **rtu}
        serial = {"baudrate": setting.baudrate, "parity": setting.parity, "stopbits": setting.stopbits}
        return {"driver": "modbus", "serial": self.serial, **serial}


def first_words(target: Target, setting: Setting, units: Iterable[int]) -> Poller:
    """Devices for address 0 of every table of these units: device `UNIT`, points named after the tables."""
    return open_line(target, setting, {str(unit): _device(unit, _FIRST) for unit in units})


def profiles_at(target: Target, setting: Setting, unit: int, points: Mapping[str, Mapping[str, Point]]) -> Poller:
    """The unit once for each of these profiles: device = the profile's name."""
    return open_line(target, setting, {name: _device(unit, each) for name, each in points.items()})


def open_line(target: Target, setting: Setting, devices: Mapping[str, Device]) -> Poller:
    """Make a line with these devices, not opened yet. Raises ConfigError."""
    line = ModbusLine.model_validate(target.line(setting), by_alias=True, by_name=False)
    parts: dict[str, Any] = {"lines": {LINE: line}, "devices": dict(devices)}
    return build.poller(SiteFile.model_construct(**parts), LINE, target.calls)


def _device(unit: int, points: Mapping[str, Point]) -> Device:
    return Device.model_construct(line=LINE, unit=unit, points=dict(points), limits=_LIMITS)

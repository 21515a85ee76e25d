"""The requests to the devices of one line. Pure: needs no wire and no library.

`check` and `plan` use only this part of a line.
"""

from collections.abc import Callable, Sequence
from math import inf

from drivers.modbus.blocks import Span, narrow, plan
from drivers.modbus.frames import READS, Ask, Seal, count_of, read
from drivers.modbus.pairing import Pairing, UnitLimits
from drivers.modbus.settings import LineSettings, ModbusDevice, ModbusPoint, problems
from drivers.modbus.wiretime import WireTime
from gateway.driver import Block, Decoded, Timing
from gateway.errors import ConfigError
from gateway.model import Lane

_FLOOR_BUS_S, _FLOOR_TCP_S = 0.05, 0.2
_LONGEST_NORMAL_S = 0.2
"""The longest read of the normal lane on a bus that also carries alarms or orders."""
_ASIDE = 4
"""The usual most registers of a side request."""
_CONFIRM_MORE = 2
"""Additional registers (or bytes of bits) of a confirm read, so that its shape differs each time."""


class Request:
    """The request of a block."""

    __slots__ = ("ask", "decoders", "device", "span")

    def __init__(self, device: ModbusDevice, span: Span, ask: Ask) -> None:
        self.device = device
        self.span = span
        self.ask = ask
        self.decoders: Sequence[tuple[str, Callable[[bytes], Decoded]]] | None = None
        """Each point's name and decoder; set with the first answer."""


def unsealed(pdu: bytes, unit: int) -> bytes:
    """A `Seal` for requests that are never sent."""
    return bytes((unit,)) + pdu


def _limits(devices: Sequence[ModbusDevice]) -> dict[int, UnitLimits]:
    """Unit -> limits of its requests."""
    limits: dict[int, UnitLimits] = {}
    for device in devices:
        before = limits.get(device.unit, UnitLimits())
        limits[device.unit] = UnitLimits(
            min(before.registers, device.max_registers),
            min(before.bits, device.max_bits),
            before.fixed or device.fixed_bits is not None,
        )
    return limits


class Requests:
    """The requests of one line. Raises ConfigError if the settings cannot be used."""

    def __init__(self, settings: LineSettings, seal: Seal = unsealed) -> None:
        found = problems(settings)
        if found:
            raise ConfigError("; ".join(found))
        self.in_flight = settings.in_flight
        self.time = WireTime.of(settings)
        self.aside = self.time.read(_ASIDE, bits=False) if self.time.bus else 0.0
        """Wire time of a side request that proves which unit answers; 0 on TCP, which does not need it."""
        self._name = settings.name
        self._seal = seal
        self._floor = _FLOOR_BUS_S if settings.serial else _FLOOR_TCP_S
        self._devices = {device.id: device for device in settings.devices}
        self._points = {
            (device.id, point.name): point
            for device in settings.devices
            for point in (*device.points, *device.settings)
        }
        self.pairing = Pairing(seal, _limits(settings.devices))
        """The shapes of the requests on a bus."""
        urgent = any(point.lane < Lane.NORMAL or point.write for point in self._points.values())
        self._longest = _LONGEST_NORMAL_S if urgent else inf
        self._blocks = tuple(
            self._block(device, span)
            for device in settings.devices
            for span in plan(device, device.points, self.time, self._longest)
        )
        if settings.is_bus:
            for block in self._blocks:
                if isinstance(block.request, Request):
                    self.pairing.know(block.request.ask)

    def blocks(self) -> Sequence[Block]:
        """All requests that read every point of every device."""
        return self._blocks

    def timing(self, device: str) -> Timing:
        """Limits of the adaptive time-out, beyond the wire time."""
        ceiling = self._devices[device].timeout
        return Timing(min(ceiling, self._floor), ceiling)

    def block_for(self, device: str, points: Sequence[str], lane: Lane) -> Sequence[Block]:
        """Requests that read just these points. Raises ConfigError for a point that does not exist."""
        wanted = [self.point(device, name) for name in points]
        found = self._devices[device]
        return [self._block(found, span, lane) for span in plan(found, wanted, self.time, self._longest)]

    def narrow(self, request: Request) -> Sequence[Block]:
        """Two smaller blocks for the same points; empty if it cannot be split."""
        return [self._block(request.device, span) for span in narrow(request.device, request.span)]

    def point(self, device: str, name: str) -> ModbusPoint:
        """One point. Raises ConfigError if it does not exist."""
        point = self._points.get((device, name))
        if point is None:
            raise ConfigError(f"line {self._name} has no point {device}.{name}")
        return point

    def device(self, name: str) -> ModbusDevice:
        """A device of the line."""
        return self._devices[name]

    def _block(self, device: ModbusDevice, span: Span, lane: Lane | None = None) -> Block:
        ask = read(device.unit, READS[span.table], span.start, span.length, self._seal)
        names = tuple(point.name for point in span.points)
        length = count_of(self.pairing.plain(ask)) if self.time.bus else span.length
        if self.time.bus and lane is Lane.ORDER:
            length += _CONFIRM_MORE * (8 if ask.is_bits else 1)
        wire = self.time.read(length, bits=ask.is_bits, silence=device.silence)
        request = Request(device, span, ask)
        return Block(device.id, names, span.lane if lane is None else lane, span.every, wire, request)

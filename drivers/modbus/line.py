"""A Modbus line that the gateway polls. The only importer of pymodbus.

pymodbus supplies the frames (MBAP, RTU with CRC) and the asyncio transport of a serial port, opened exclusively. Its
transactions are not used, because they take a late RTU answer for the next one, and an echo for the reply to a write.
"""

import asyncio
import logging
import os
import secrets
import socket
import termios
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import NamedTuple, Self

from pymodbus.framer import FramerRTU, FramerSocket
from pymodbus.pdu import DecodePDU
from pymodbus.transport.serialtransport import SerialTransport

from drivers.modbus.bus import BusWire
from drivers.modbus.connection import Oddities, Trace
from drivers.modbus.decode import compile_point, registers_of
from drivers.modbus.dialin import DialIn
from drivers.modbus.encode import encode
from drivers.modbus.frames import Ask, ModbusAnswer
from drivers.modbus.requests import Request, Requests
from drivers.modbus.settings import LineSettings, ModbusDevice
from drivers.modbus.tcp import LostRequests, TcpWire
from gateway.driver import Block, Decoded, Timing
from gateway.errors import DeviceRefused, DeviceSilent, LineDown
from gateway.model import Lane, Value

_CONNECT_TIMEOUT_S = 3.0
_KEPT_BUS, _KEPT_TCP = 1000, 200
_CALL_PATIENCE_S = 90.0
"""How long a read by hand waits for a device to dial in: many devices try once a minute."""
_DRAIN_SERIAL_S, _DRAIN_TCP_S = 0.1, 1.0
"""For this long after opening, a converter may deliver what it has kept (over TCP: unless a device may take longer)."""
_PARITY = {"none": "N", "even": "E", "odd": "O"}

# A temporary exception is not a refusal of a write, which is repeated later (MODBUS Application Protocol V1.1b3, 7):
# 5 acknowledge, 6 busy, 10 gateway path unavailable, 11 gateway target failed to respond.
_NOT_NOW = frozenset((5, 6, 10, 11))
_NOBODY = frozenset((10, 11))

_RTU = FramerRTU(DecodePDU(is_server=False))
_MBAP = FramerSocket(DecodePDU(is_server=False))
logging.getLogger("pymodbus.logging").setLevel(logging.CRITICAL)  # we log everything relevant ourselves


class _KeepAlive(NamedTuple):
    """When a peer that sends nothing counts as gone."""

    idle_s: int
    probe_s: int
    unanswered_ms: int


_WIRED, _MOBILE = _KeepAlive(10, 5, 10_000), _KeepAlive(60, 15, 40_000)


class ModbusPoller:
    """One line: a serial bus, a Modbus TCP device, or a bus behind a converter that passes RTU frames.

    Raises ConfigError if the settings cannot be used. One reader at a time on a bus, `in_flight` on TCP. `calls`: the
    running listener where the line's device dials in; without one the line itself listens while it is open.
    """

    def __init__(self, settings: LineSettings, calls: DialIn | None = None) -> None:
        self._seal = _seal_rtu if settings.is_bus else _seal_tcp
        self._requests = Requests(settings, self._seal)
        self.in_flight = settings.in_flight
        self.aside = self._requests.aside
        self.latency = 0.0
        """Seconds of the last answer beyond its wire time, without any wait before the request.

        Right after `read` has returned it belongs to that read, even with several in flight.
        """
        self.frames = Trace(_KEPT_BUS if settings.is_bus else _KEPT_TCP)
        self._oddities = Oddities()
        self._settings = settings
        self._wire: TcpWire | BusWire | None = None
        self._past = LostRequests(secrets.randbelow(0xFFFF))
        """Kept over all connections, with a random start, because a converter may deliver an answer that it has
        kept."""
        self._opening = asyncio.Lock()
        self._calls = calls
        self._own_calls = DialIn(settings.host or "", settings.port) if settings.listens and calls is None else None
        for port in (calls, self._own_calls):
            if port is not None:
                port.expect(settings, self._oddities)

    @property
    def echoes(self) -> bool | None:
        """Whether the adapter echoes; None: not known (yet)."""
        return self._wire.echoes if isinstance(self._wire, BusWire) else None

    @property
    def oddities(self) -> Mapping[str, int | str | None]:
        """Irregularities tolerated since the start, for health."""
        paired = self._requests.pairing.told(time.monotonic()) if self._settings.is_bus else {}
        return {**self._oddities.told(), **paired}

    def blocks(self) -> Sequence[Block]:
        """All requests that read every point of every device."""
        return self._requests.blocks()

    def timing(self, device: str) -> Timing:
        """Limits of the adaptive time-out, beyond the wire time."""
        return self._requests.timing(device)

    async def __aenter__(self) -> Self:
        """Connect. Raises LineDown."""
        try:
            if self._own_calls is not None:
                await self._own_calls.__aenter__()
            self._wire = await self._opened()
        except OSError as error:
            raise LineDown(f"{self._settings.name}: {error}") from error
        finally:
            if self._wire is None and self._own_calls is not None:
                await self._own_calls.__aexit__(None, None, None)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close; everything under way ends with LineDown."""
        wire, self._wire = self._wire, None
        if wire is not None and self._calls is not None and error is None and not wire.is_lost:
            self._calls.give_back(self._settings.name)  # the device cannot be called back
        elif wire is not None:
            wire.fail("closed")
            await wire.closed
        if self._own_calls is not None:
            await self._own_calls.__aexit__(None, None, None)

    async def read(self, block: Block, timeout: float) -> bytes:
        """Ask once; returns the data of the answer, without its byte count.

        `timeout`: seconds from the last byte sent to the first one received (beyond the wire time).
        Exceptions 10 and 11, with which a converter reports a missing answer, become DeviceSilent, others
        DeviceRefused.
        """
        request = block.request
        if not isinstance(request, Request):
            raise TypeError("a block of another line's driver")
        confirm = block.lane is Lane.ORDER
        answer = await self._ask(request.ask, request.device, timeout, confirm=confirm)
        if isinstance(answer, int):
            raise DeviceSilent(f"exception {answer}", answer) if answer in _NOBODY else DeviceRefused(answer)
        return answer

    async def read_back(self, block: Block, timeout: float) -> bytes:
        """As `read`, right after a write with a wrong reply; on a bus without waiting."""
        request, wire = block.request, self._wire
        if not isinstance(request, Request) or not isinstance(wire, BusWire):
            return await self.read(block, timeout)
        device = request.device
        answer = await wire.read_back(request.ask, timeout, device.silence or 0.0, max(timeout, device.timeout))
        if isinstance(answer, int):
            raise DeviceRefused(answer)
        return answer

    def decode(self, block: Block, raw: bytes) -> Mapping[str, Decoded]:
        """Decode the readings of the block's points from `raw`."""
        request = block.request
        if not isinstance(request, Request):
            raise TypeError("a block of another line's driver")
        if request.decoders is None:
            start = request.span.start
            request.decoders = [(point.name, compile_point(point, start)) for point in request.span.points]
        return {name: decode(raw) for name, decode in request.decoders}

    def registers(self, block: Block, raw: bytes) -> Mapping[str, int | str]:
        """The raw content of each point of the block, before decoding."""
        request = block.request
        if not isinstance(request, Request):
            raise TypeError("a block of another line's driver")
        span = request.span
        return {point.name: registers_of(point, span.start, raw) for point in span.points}

    def narrow(self, block: Block) -> Sequence[Block]:
        """Two smaller blocks for the same points; empty if it cannot be split."""
        request = block.request
        if not isinstance(request, Request):
            raise TypeError("a block of another line's driver")
        return self._requests.narrow(request)

    def block_for(self, device: str, points: Sequence[str], lane: Lane) -> Sequence[Block]:
        """Requests that read just these points. Raises ConfigError for a point that does not exist."""
        return self._requests.block_for(device, points, lane)

    async def write(self, device: str, point: str, value: Value, timeout: float) -> None:
        """Write one point once; a float to a point with `pulse` is the length of its timed pulse in seconds.

        Raises ConfigError (nothing was sent) if the value cannot be written.
        """
        wanted = self._requests.point(device, point)
        found = self._requests.device(device)
        answer = await self._ask(encode(found.unit, wanted, value, self._seal), found, timeout)
        if isinstance(answer, int):
            raise _refusal(answer)

    def give_way(self, haste: float | None) -> None:
        """An order waits, see Yielding. On TCP nothing is cut short."""
        if isinstance(self._wire, BusWire):
            self._wire.give_way(haste)

    async def _ask(self, ask: Ask, device: ModbusDevice, timeout: float, *, confirm: bool = False) -> ModbusAnswer:
        """Ask once, and once more if the other side has closed the connection, as some do after each answer."""
        while True:
            wire = self._wire
            if wire is None:
                raise LineDown("not connected")
            if wire.is_lost:
                wire = await self._reopened(wire)
            try:
                if isinstance(wire, TcpWire):
                    answer = await wire.ask(ask, timeout, device.silence, device.timeout)
                else:
                    ceiling = max(timeout, device.timeout)
                    answer = await wire.ask(ask, timeout, device.silence or 0.0, ceiling, confirm=confirm)
            except LineDown:
                if self._wire is not wire or not self._may_reopen(wire):
                    raise
                continue
            self.latency = wire.latency
            wire.answered = True
            return answer

    def _may_reopen(self, wire: TcpWire | BusWire) -> bool:
        """True if the connection was useful and closed by the other side, or if there is another one already."""
        calls = self._calls or self._own_calls
        is_called = calls is not None and calls.has_called(self._settings.name)
        return self._settings.serial is None and (wire.answered or is_called) and not wire.given_up

    async def _reopened(self, lost: TcpWire | BusWire) -> TcpWire | BusWire:
        """Replace a lost connection. Raises LineDown."""
        async with self._opening:
            if self._wire is None or (self._wire is lost and not self._may_reopen(lost)):
                lost.writer()  # raises with the reason
                raise LineDown("not connected")
            if self._wire is lost:
                wire = await self._opened()
                self._oddities.reopened += 1
                self._wire = wire
            return self._wire

    async def _opened(self) -> TcpWire | BusWire:
        """A new connection. Raises LineDown, OSError."""
        wire = self._new_wire()
        try:
            if self._settings.serial is None:
                await self._connect(wire)
            else:
                await self._open(wire, self._settings.serial)
        except BaseException:  # even a cancelled connect must leave no open port
            wire.fail("not connected")
            raise
        return wire

    def _new_wire(self) -> TcpWire | BusWire:
        if not self._settings.is_bus:
            strict = self._settings.strict or self._settings.in_flight > 1
            return TcpWire(self.frames, self._oddities, strict=strict, past=self._past)
        drain = _DRAIN_SERIAL_S
        if self._settings.serial is None:
            drain = min(_DRAIN_TCP_S, max((device.timeout for device in self._settings.devices), default=_DRAIN_TCP_S))
        packed = self._settings.serial is None
        return BusWire(
            self.frames,
            self._oddities,
            self._requests.time,
            self._requests.pairing,
            self._seal,
            packed=packed,
            drain=drain,
        )

    async def _connect(self, wire: TcpWire | BusWire) -> None:
        host, port = self._settings.host or "", self._settings.port
        if calls := self._calls or self._own_calls:
            patience = _CONNECT_TIMEOUT_S if self._calls is not None else _CALL_PATIENCE_S
            await calls.take(self._settings.name, wire, patience)
            _tune(wire.writer().get_extra_info("socket"), _MOBILE)
            return
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                transport, _ = await wire.loop.create_connection(lambda: wire, host, port)
            _tune(transport.get_extra_info("socket"), _WIRED)
        except (OSError, UnicodeError) as error:
            raise LineDown(f"{host}:{port}: {str(error) or f'no answer within {_CONNECT_TIMEOUT_S:.0f} s'}") from error

    async def _open(self, wire: TcpWire | BusWire, path: str) -> None:
        line = self._settings
        try:
            port = _Port(wire.loop, wire, path, line.baudrate, 8, _PARITY[line.parity], line.stopbits, 0)
            port.setup()
        except (OSError, ValueError, termios.error) as error:
            raise LineDown(f"{path}: {_reason(error, line)}") from error
        await wire.opened


def lines(settings: Iterable[LineSettings]) -> tuple[dict[str, ModbusPoller], list[DialIn]]:
    """Every line by name, and the listeners for devices that dial in, to be run beside the lines."""
    ports: dict[tuple[str, int], DialIn] = {}
    found: dict[str, ModbusPoller] = {}
    for line in settings:
        calls = None
        if line.listens and line.host is not None:
            place = line.host, line.port
            calls = ports.setdefault(place, DialIn(*place))
        found[line.name] = ModbusPoller(line, calls)
    return found, list(ports.values())


class _Port(SerialTransport):
    """A serial port that sends at once: a turn of the loop later the silence within a frame could be too long."""

    def get_extra_info(self, name: str, default: object = None) -> object:
        """`fd`: the port's file descriptor."""
        return self.sync_serial.fileno() if name == "fd" else super().get_extra_info(name, default)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send at once; the loop sends what the port does not take now, and reports errors.

        Bypasses pyserial, whose non-blocking write returns only when the port has taken everything.
        """
        sent = 0
        if not self.intern_write_buffer:
            with suppress(OSError):
                sent = os.write(self.sync_serial.fileno(), data)
        if sent < len(data):
            super().write(data[sent:])

    def intern_write_ready(self) -> None:
        """The port is writable again."""
        data = b"".join(self.intern_write_buffer)
        try:
            sent = os.write(self.sync_serial.fileno(), data)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self.close(exc=error)
            return
        if sent < len(data):
            self.intern_write_buffer = [data[sent:]]
        else:
            self.flush()


def _tune(connection: socket.socket, link: _KeepAlive) -> None:
    """Send small requests at once, and notice a dead peer, idle or not."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, link.idle_s)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, link.probe_s)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, link.unanswered_ms)


def _reason(error: Exception, line: LineSettings) -> str:
    if isinstance(error, termios.error):
        return f"the port refuses {line.baudrate} baud, parity {line.parity}, {line.stopbits} stop bits ({error})"
    if isinstance(error, BlockingIOError) or getattr(error, "errno", None) == 11:
        return f"another program has the port ({error})"
    return str(error)


def _refusal(code: int) -> DeviceSilent | DeviceRefused:
    return DeviceSilent(f"not now: exception {code}") if code in _NOT_NOW else DeviceRefused(code)


def _seal_rtu(pdu: bytes, unit: int) -> bytes:
    return _RTU.encode(pdu, unit, 0)


def _seal_tcp(pdu: bytes, unit: int) -> bytes:
    return _MBAP.encode(pdu, unit, 0)[2:]

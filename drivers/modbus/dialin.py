"""Modbus devices that dial in, such as 4G DTUs, which connect to the gateway's address.

One listener per port, shared by its lines. A device must connect from an allowed address and register within ten
seconds; it then waits until its line takes the connection. A newer connection replaces an older one. Heartbeats and
repeated registrations do not reach the line.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import IPv6Address, ip_address, ip_network
from types import TracebackType
from typing import Self, cast

from drivers.modbus.connection import ModbusConnection, Oddities
from drivers.modbus.settings import LineSettings
from gateway.errors import LineDown

REGISTER_WITHIN_S = 10.0
_MAX_REGISTRATION_BYTES = 256
"""The most bytes that a device may send before it is identified."""
_STRANGERS, _STRANGERS_EACH = 32, 4
"""The most unregistered connections: of all addresses, and of one."""
_BACKLOG = 16
_AGAIN_S = 5.0
"""The wait before a port in use is tried again."""
_KEPT = 16


@dataclass(slots=True)
class _Expected:
    """A line, and the device that should dial in for it."""

    line: str
    allow: tuple[str, ...]
    registrations: tuple[bytes, ...]
    heartbeat: bytes
    oddities: Oddities
    came: asyncio.Event = field(default_factory=asyncio.Event)
    waiting: "_Caller | None" = None
    """A connection that the line has not taken yet."""
    taken: "_Caller | None" = None

    def allows(self, address: str) -> bool:
        """True if it may dial in from there; without a list only from this machine."""
        ip = ip_address(address)
        ip = (ip.ipv4_mapped or ip) if isinstance(ip, IPv6Address) else ip
        return any(ip in ip_network(one, strict=False) for one in self.allow) if self.allow else ip.is_loopback


class DialIn:
    """The listener of one port. Use `run()` beside the lines that share it, or `async with`."""

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port
        self.turned_away: deque[str] = deque(maxlen=_KEPT)
        """The last refused connections, as text."""
        self.heard: set[str] = set()
        """Addresses from which an expected device has dialled in."""
        self._expected: dict[str, _Expected] = {}
        self._callers: set[_Caller] = set()
        self._strangers: Counter[str] = Counter()
        self._server: asyncio.Server | None = None
        self._trouble = "it does not listen yet"

    def expect(self, line: LineSettings, oddities: Oddities) -> None:
        """Register a line whose device dials in here. A connection that waits for a line of that name keeps waiting."""
        earlier = self._expected.get(line.name)
        expected = _Expected(line.name, line.allow, line.register, line.heartbeat, oddities)
        self._expected[line.name] = expected
        caller = earlier.waiting if earlier is not None else None
        if caller is not None:
            caller.expected = expected
            self._wait(expected, caller)

    async def take(self, line: str, wire: ModbusConnection, timeout: float) -> None:
        """Give the connection for this line to `wire`. Raises LineDown."""
        expected = self._expected[line]
        try:
            async with asyncio.timeout(timeout):
                while expected.waiting is None:
                    expected.came.clear()
                    await expected.came.wait()
        except TimeoutError:
            raise LineDown(self._nobody()) from None
        caller, expected.waiting = expected.waiting, None
        expected.taken = caller
        caller.hand_over(wire)

    def has_called(self, line: str) -> bool:
        """True if a connection waits for this line."""
        return self._expected[line].waiting is not None

    async def run(self) -> None:
        """Listen until cancelled; retry if the port cannot be opened."""
        while True:
            try:
                async with self:
                    await asyncio.get_running_loop().create_future()
            except OSError as error:
                self._trouble = str(error)
            await asyncio.sleep(_AGAIN_S)

    async def __aenter__(self) -> Self:
        """Listen. Raises OSError."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Caller(self), self.host, self.port, backlog=_BACKLOG)
        self.port = self._server.sockets[0].getsockname()[1]
        self._trouble = ""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop listening and close every connection."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for caller in tuple(self._callers):
            caller.hang_up()

    def give_back(self, line: str) -> None:
        """Return a line's connection, which stays open for the next use."""
        expected = self._expected[line]
        caller, expected.taken = expected.taken, None
        if caller is not None and caller.detach():
            self._wait(expected, caller)

    # ---- what the callers ask -------------------------------------------------------------------------

    def greet(self, caller: "_Caller") -> bool:
        """True if a new connection is allowed."""
        self._callers.add(caller)
        if not any(one.allows(caller.address) for one in self._expected.values()):
            return self.refuse(caller, "its address is not allowed")
        alone = self._only(caller.address)
        if alone is not None:
            self.register(caller, alone)
            return True
        if self._strangers[caller.address] >= _STRANGERS_EACH or self._strangers.total() >= _STRANGERS:
            return self.refuse(caller, "too many connections that do not say who they are")
        self._strangers[caller.address] += 1
        caller.is_stranger = True
        return True

    def whose(self, caller: "_Caller", said: bytes) -> tuple[_Expected | None, bool]:
        """Match a registration; also whether further bytes could complete one. Heartbeats may come first."""
        mine = [one for one in self._expected.values() if one.allows(caller.address)]
        fillers = {one.heartbeat for one in mine}
        for text in (said, _without(said, fillers).lstrip(b"\r\n")):
            found = next((one for one in mine if text.startswith(one.registrations)), None)
            if found is not None or any(form.startswith(text) for one in mine for form in one.registrations):
                return found, True
        return None, False

    def register(self, caller: "_Caller", expected: _Expected) -> None:
        """Assign an identified connection to its line, replacing an older one."""
        self._settle(caller)
        self.heard.add(caller.address)
        caller.expected = expected
        older = expected.taken or expected.waiting
        if older is not None:
            expected.oddities.replaced += 1
            expected.taken = expected.waiting = None
            older.hang_up("dialled in anew")
        self._wait(expected, caller)

    def refuse(self, caller: "_Caller", why: str, said: bytes = b"") -> bool:
        """Refuse a connection, and remember that."""
        shown = f", it said {said[:24].hex(' ')} ({said[:24].decode('ascii', 'replace')!r})" if said else ""
        self.turned_away.append(f"{caller.address}: {why}{shown}")
        for one in self._expected.values():
            one.oddities.refused += 1
        caller.hang_up()
        return False

    def lost(self, caller: "_Caller") -> None:
        """Remove a closed connection."""
        self._callers.discard(caller)
        self._settle(caller)
        expected = caller.expected
        if expected is not None:
            expected.waiting = None if expected.waiting is caller else expected.waiting
            expected.taken = None if expected.taken is caller else expected.taken

    def _settle(self, caller: "_Caller") -> None:
        if caller.is_stranger:
            caller.is_stranger = False
            self._strangers[caller.address] -= 1
            self._strangers += Counter()  # drops addresses with a count of zero

    def _wait(self, expected: _Expected, caller: "_Caller") -> None:
        expected.waiting = caller
        expected.came.set()

    def _only(self, address: str) -> _Expected | None:
        """The line of this port, if it is the only one and needs no registration."""
        one = next(iter(self._expected.values())) if len(self._expected) == 1 else None
        return one if one is not None and not one.registrations and one.allows(address) else None

    def _nobody(self) -> str:
        """Why no device is connected, as text."""
        if self._trouble:
            return f"{self.host}:{self.port}: {self._trouble}"
        last = f"; turned away last: {self.turned_away[-1]}" if self.turned_away else ""
        return f"nobody has dialled in at {self.host}:{self.port}{last}"


class _Caller(asyncio.Protocol):
    """One incoming connection, before and after it is identified."""

    def __init__(self, port: DialIn) -> None:
        self.address = ""
        self.is_stranger = False
        self.expected: _Expected | None = None
        self._port = port
        self._said = b""
        self._wire: ModbusConnection | None = None
        self._transport: asyncio.Transport | None = None
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A connection was made."""
        self._transport = cast("asyncio.Transport", transport)
        self.address = str(transport.get_extra_info("peername")[0]).partition("%")[0]
        if self._port.greet(self) and self.expected is None:
            loop = asyncio.get_running_loop()
            self._deadline = loop.call_later(REGISTER_WITHIN_S, self._too_late)
        elif self.expected is not None:
            self._transport.pause_reading()

    def data_received(self, data: bytes) -> None:
        """Take bytes: a registration, or data for the line."""
        if self.expected is None:
            self._listen(self._said + data)
        elif self._wire is not None and not _is_filled_by(
            data, (self.expected.heartbeat, *self.expected.registrations)
        ):
            # A heartbeat next to an answer is not removed: the line finds an answer at any position, and an answer may
            # begin or end like a heartbeat.
            self._wire.data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection was closed."""
        self._transport = None
        if self._deadline is not None:
            self._deadline.cancel()
        self._port.lost(self)
        if self._wire is not None:
            self._wire.connection_lost(exc)

    def hand_over(self, wire: ModbusConnection) -> None:
        """Give the connection to the line, with the bytes received meanwhile."""
        transport, self._wire = self._transport, wire
        if transport is None:
            wire.connection_lost(None)
            return
        wire.connection_made(transport)
        transport.resume_reading()

    def detach(self) -> bool:
        """Take the connection back from the line; True if it is still open."""
        self._wire = None
        if self._transport is None or self._transport.is_closing():
            return False
        self._transport.pause_reading()
        return True

    def hang_up(self, why: str = "") -> None:
        """Close it; `why`: for the line that uses it."""
        if self._wire is not None and why:
            self._wire.fail(why)
        if self._transport is not None:
            self._transport.abort()

    def _listen(self, said: bytes) -> None:
        """Identify the connection by its registration."""
        expected, could = self._port.whose(self, said)
        if expected is not None and self._transport is not None:
            if self._deadline is not None:
                self._deadline.cancel()
            self._transport.pause_reading()
            self._port.register(self, expected)
        elif not could or len(said) > _MAX_REGISTRATION_BYTES:
            self._port.refuse(self, "that is no registration that is expected here", said)
        else:
            self._said = said

    def _too_late(self) -> None:
        self._port.refuse(self, f"no registration within {REGISTER_WITHIN_S:.0f} s", self._said)


def _without(data: bytes, fillers: Iterable[bytes]) -> bytes:
    """The bytes without leading heartbeats and registrations."""
    for filler in fillers:
        while filler and data.startswith(filler):
            data = data[len(filler) :]
    return data


def _is_filled_by(data: bytes, fillers: Iterable[bytes]) -> bool:
    """True if they are only heartbeats and registrations."""
    for filler in sorted(fillers, key=len, reverse=True):
        data = data.replace(filler, b"") if filler else data
    return not data

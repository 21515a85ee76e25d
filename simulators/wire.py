"""The lines themselves: a pseudo terminal for each serial bus, a port on loopback for each TCP device or serial server.

All is done by callbacks of the running loop; no call waits. A line can be pulled out and put back:

    serial   `unplug` (the adapter and its name are gone), `dangle` (the name stays and leads nowhere)
    TCP      `refuse` (nothing listens), `close` and `reset` (connections end, new ones are taken),
             `black-hole` (connections are taken, nothing is ever answered)
"""

import asyncio
import os
import socket
import struct
import termios
import tty
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from random import Random
from typing import Final, Literal

from gateway.config.device import BAUDRATES
from simulators.bus import Bus, BusCounts, Send, Unit
from simulators.faults import framed, garbled
from simulators.frames import MBAP_SIZE, mbap
from simulators.timer import Agenda

Outage = Literal["unplug", "dangle", "refuse", "close", "reset", "black-hole"]
"""How a line is lost."""

_CHUNK: Final = 4096
_BACKLOG: Final = 64
_ROOM_BYTES: Final = 1 << 16
_LONGEST_MBAP: Final = 254
_HEADER_AND_FUNCTION: Final = 8
LOOPBACK: Final = "127.0.0.1"

_RATES: Final = {getattr(termios, f"B{rate}"): rate for rate in BAUDRATES if hasattr(termios, f"B{rate}")}


class SerialLine:
    """A bus on a pseudo terminal that is found under `link`; pulled out and put back it is another terminal."""

    def __init__(self, link: Path, bus: Bus, agenda: Agenda) -> None:
        self.link = link
        self.bus = bus
        self._agenda = agenda
        self._master = -1
        self._slave = -1
        bus.heard_at = self._rate

    @property
    def address(self) -> str:
        """What stands as `serial` in the site file."""
        return str(self.link)

    @property
    def counts(self) -> BusCounts:
        """What happened on the wire."""
        return self.bus.counts

    def open(self) -> None:
        """Make the terminal and its name. Raises OSError."""
        self._agenda.open()
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        fresh = self.link.with_name(self.link.name + ".new")
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(os.ttyname(self._slave))
        fresh.replace(self.link)
        asyncio.get_running_loop().add_reader(self._master, self._readable)

    def close(self) -> None:
        """Take the terminal and its name away."""
        self._drop()
        self.link.unlink(missing_ok=True)

    def down(self, how: Outage | None = None) -> None:
        """Pull it out: `unplug` (default) or `dangle`. Raises ValueError for another way."""
        if how not in (None, "unplug", "dangle"):
            raise ValueError(f"a serial line is lost by unplug or dangle, not by {how}")
        self._drop()
        if how != "dangle":
            self.link.unlink(missing_ok=True)

    def up(self) -> None:
        """Put it back. Raises OSError."""
        if self._master < 0:
            self.open()

    def _drop(self) -> None:
        self._agenda.close()
        self.bus.reset()
        if self._master >= 0:
            asyncio.get_running_loop().remove_reader(self._master)
            os.close(self._master)
            os.close(self._slave)
            self._master = self._slave = -1

    def _rate(self) -> int | None:
        """What the master has set on the terminal."""
        return _RATES.get(termios.tcgetattr(self._slave)[5])

    def _readable(self) -> None:
        try:
            data = os.read(self._master, _CHUNK)
        except BlockingIOError:
            return
        self.bus.feed(data, self._send)

    def _send(self, data: bytes) -> None:
        if self._master < 0:
            return
        try:
            os.write(self._master, data)
        except BlockingIOError:
            self.counts.ignored += 1  # nobody reads: the terminal's buffer is full, as a real one would be


class TcpLine:
    """A port on loopback that takes many connections; what they say goes to `talk`, made anew for each of them."""

    def __init__(
        self, talk: "Callable[[Connection], Send]", agenda: Agenda, counts: BusCounts, bus: Bus | None = None
    ) -> None:
        self.counts = counts
        self.bus = bus
        self.port = 0
        self._talk = talk
        self._agenda = agenda
        self._listener: socket.socket | None = None
        self._connections: set[Connection] = set()
        self._deaf = False

    @property
    def address(self) -> str:
        """What stands as `tcp` in the site file."""
        return f"{LOOPBACK}:{self.port}"

    def open(self) -> None:
        """Listen: on a free port at first, on the same one after that. Raises OSError."""
        self._agenda.open()
        self._listen()

    def close(self) -> None:
        """Stop listening and end every connection."""
        self._unlisten()
        self._end(abort=True)
        self._agenda.close()

    def down(self, how: Outage | None = None) -> None:
        """Lose it: `refuse` (default), `close`, `reset` or `black-hole`. Raises ValueError for another way."""
        if how in ("unplug", "dangle"):
            raise ValueError(f"a TCP line is lost by refuse, close, reset or black-hole, not by {how}")
        if how == "black-hole":
            self._deaf = True
            return
        if how in (None, "refuse"):
            self._unlisten()
        self._end(abort=how != "close")

    def up(self) -> None:
        """Put it back. Raises OSError if another program took the port meanwhile."""
        self._deaf = False
        if self._listener is None:
            self._listen()

    def _listen(self) -> None:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setblocking(False)
        listener.bind((LOOPBACK, self.port))
        listener.listen(_BACKLOG)
        self.port = listener.getsockname()[1]
        self._listener = listener
        asyncio.get_running_loop().add_reader(listener, self._accept)

    def _unlisten(self) -> None:
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._listener.close()
            self._listener = None

    def _end(self, *, abort: bool) -> None:
        for connection in list(self._connections):
            connection.close(abort=abort)
        if self.bus is not None:
            self.bus.reset()

    def _accept(self) -> None:
        if self._listener is None:
            return
        try:
            it, _ = self._listener.accept()
        except (BlockingIOError, ConnectionError):
            return
        it.setblocking(False)
        it.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        it.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _ROOM_BYTES)
        connection = Connection(it, self._connections.discard, lambda: self._deaf)
        self._connections.add(connection)
        connection.open(self._talk(connection))


class Connection:
    """One master's connection. A master that does not read what it asked for is cut off."""

    def __init__(self, it: socket.socket, ended: "Callable[[Connection], None]", deaf: Callable[[], bool]) -> None:
        self._socket = it
        self._ended = ended
        self._deaf = deaf
        self._hear: Send | None = None

    def open(self, hear: Send) -> None:
        """Give `hear` what comes."""
        self._hear = hear
        asyncio.get_running_loop().add_reader(self._socket, self._readable)

    def send(self, data: bytes) -> None:
        """Send at once, or not at all if it is closed."""
        if self._hear is None or self._deaf():
            return
        try:
            complete = self._socket.send(data) == len(data)
        except OSError:
            complete = False
        if not complete:
            self.close(abort=True)

    def close(self, *, abort: bool = False) -> None:
        """End it; with `abort` by a reset."""
        if self._hear is None:
            return
        self._hear = None
        asyncio.get_running_loop().remove_reader(self._socket)
        if abort:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()
        self._ended(self)

    def _readable(self) -> None:
        try:
            data = self._socket.recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
        elif self._hear is not None and not self._deaf():
            self._hear(data)


class MbapServer:
    """Modbus TCP: every request is answered by its transaction id when its unit is ready; unknown units say nothing."""

    def __init__(self, units: Mapping[int, Unit], agenda: Agenda, *, seed: int = 0) -> None:
        self.counts = BusCounts()
        self._units = units
        self._agenda = agenda
        self._chance = Random(seed)  # noqa: S311 - faults are to be repeatable

    def talk(self, connection: Connection) -> Send:
        """What one connection's bytes are given to."""
        return partial(self._hear, connection, bytearray())

    def _hear(self, connection: Connection, got: bytearray, data: bytes) -> None:
        got += data
        self.counts.bytes += len(data)
        while len(got) >= MBAP_SIZE:
            transaction, protocol, length, unit = struct.unpack_from(">HHHB", got)
            if protocol != 0 or not 2 <= length <= _LONGEST_MBAP:
                self.counts.ignored += 1
                connection.close()
                return
            if len(got) < MBAP_SIZE - 1 + length:
                return
            pdu = bytes(got[MBAP_SIZE : MBAP_SIZE - 1 + length])
            del got[: MBAP_SIZE - 1 + length]
            self._ask(connection, transaction, unit, pdu)

    def _ask(self, connection: Connection, transaction: int, number: int, pdu: bytes) -> None:
        self.counts.requests += 1
        unit = self._units.get(number)
        if unit is None:
            return
        now = asyncio.get_running_loop().time()
        faults = unit.faults
        if faults.echo:
            connection.send(mbap(transaction, number, pdu))
        answer = unit.reply(pdu, now)
        if answer is not None:
            frame = framed(faults, number, answer, partial(mbap, transaction))
            frame = faults.glitch + garbled(faults.garble, frame, self._chance, exposed=_HEADER_AND_FUNCTION)
            self._plan(unit.due(now), now, partial(self._answer, connection, frame))
        faults.spend()

    def _plan(self, due: float, now: float, answer: Callable[[], None]) -> None:
        if due > now:
            self._agenda.at(due, answer)
        else:
            answer()

    def _answer(self, connection: Connection, frame: bytes) -> None:
        self.counts.answers += 1
        self.counts.bytes += len(frame)
        connection.send(frame)

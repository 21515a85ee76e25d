"""A 4G DTU: it dials in at the gateway, says its registration, and then answers as any Modbus device.

All is done by callbacks of the running loop; no call waits. The link can be lost and put back:

    `refuse` (default), `close`, `reset`   it is gone, and the DTU does not dial in until `up`
    `black-hole`                           the connection stays, nothing is ever answered
"""

import asyncio
import socket
from collections.abc import Callable
from typing import Final

from simulators.bus import Bus, BusCounts, Send
from simulators.timer import Agenda
from simulators.wire import Connection, Outage

AGAIN_S: Final = 1.0
"""A real one waits for five seconds to a minute."""
BEAT_S: Final = 10.0


class DialledLine:
    """The DTU of one line. `registration` and `heartbeat`: what it says first, and now and then."""

    def __init__(
        self,
        address: str,
        registration: bytes,
        heartbeat: bytes,
        talk: Callable[[Connection], Send],
        agenda: Agenda,
        counts: BusCounts,
        bus: Bus | None = None,
    ) -> None:
        self.address = address
        """Where it dials in: `listen` of the site file."""
        self.counts = counts
        self.bus = bus
        self._registration = registration
        self._heartbeat = heartbeat
        self._talk = talk
        self._agenda = agenda
        self._connection: Connection | None = None
        self._calling: socket.socket | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._wanted = False
        self._deaf = False

    def open(self) -> None:
        """Begin to dial in."""
        self._agenda.open()
        self.up()

    def close(self) -> None:
        """Hang up for good."""
        self._end(abort=True)
        self._agenda.close()

    def down(self, how: Outage | None = None) -> None:
        """Lose the link. Raises ValueError for a way in which none is lost."""
        if how in ("unplug", "dangle"):
            raise ValueError(f"a DTU is lost by refuse, close, reset or black-hole, not by {how}")
        if how == "black-hole":
            self._deaf = True
        else:
            self._end(abort=how != "close")

    def up(self) -> None:
        """Put it back."""
        self._deaf = False
        if not self._wanted:
            self._wanted = True
            self._call()

    def _call(self) -> None:
        if not self._wanted or self._connection is not None:
            return
        host, _, port = self.address.rpartition(":")
        it = self._calling = socket.socket()
        it.setblocking(False)
        it.connect_ex((host, int(port)))
        asyncio.get_running_loop().add_writer(it, self._called, it)

    def _called(self, it: socket.socket) -> None:
        self._calling = None
        asyncio.get_running_loop().remove_writer(it)
        if it.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            it.close()
            self._later(AGAIN_S, self._call)
            return
        it.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = self._connection = Connection(it, self._lost, lambda: self._deaf)
        connection.open(self._talk(connection))
        if self._registration:
            connection.send(self._registration)
        self._beat()

    def _beat(self) -> None:
        if self._connection is not None and self._heartbeat:
            self._later(BEAT_S, self._beat)
            self._connection.send(self._heartbeat)

    def _lost(self, connection: Connection) -> None:
        if connection is self._connection:
            self._connection = None
            if self.bus is not None:
                self.bus.reset()
            if self._wanted:
                self._later(AGAIN_S, self._call)

    def _later(self, seconds: float, what: Callable[[], None]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, what)

    def _end(self, *, abort: bool) -> None:
        self._wanted = False
        if self._timer is not None:
            self._timer.cancel()
        if self._calling is not None:
            asyncio.get_running_loop().remove_writer(self._calling)
            self._calling.close()
            self._calling = None
        if self._connection is not None:
            self._connection.close(abort=abort)

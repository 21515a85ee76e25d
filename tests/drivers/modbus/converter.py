"""A serial server and the bus behind it, with the vices of real ones; on TCP and on a pseudo terminal.

Register 100 n of a unit says which one it is, the next one which of all the answers this is. So each value that comes
out of the driver tells whose it is, and to which question it was given.
"""

import asyncio
import os
import random
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Literal

from drivers.modbus.frames import crc16

Send = Callable[[bytes], None]
Vice = Literal["", "double", "double-later", "double-next", "shift", "drop", "late"]
PLAIN, STRICT, MUTE = 1, 2, 3
"""Units: one that answers any count, one that refuses all but the planned, one that ignores these."""
PLANNED = 2


def sealed(adu: bytes) -> bytes:
    return adu + crc16(adu)


def named(unit: int, function: int, address: int) -> int:
    """What register 100 n holds."""
    return unit << 12 | function << 8 | address // 100


class Converter:
    """One client at a time; what it asks is answered at once."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.vice: Vice = ""
        self.given = 0
        """Answers so far, modulo 65536."""
        self.kept: list[bytes] = []
        """Handed out with the next question, or at the next connection."""
        self.kept_instead = False
        """What is kept comes instead of the answer to the question that calls it up."""
        self.keeps = False
        """Answers of a connection that is lost go to the next one."""
        self.asked: list[tuple[int, bytes]] = []
        """Each request, and the number of the answer to it."""
        self.latest = 0.0
        """How late a late answer may be, in seconds."""
        self._queue: list[bytes] = []
        self._got = b""
        self._send: Send | None = None

    def connected(self, send: Send) -> None:
        """A client is there; what was kept may be handed to it at once, slowly, or when it asks."""
        self._send, self._got = send, b""
        if self.kept and self.rng.random() < 0.5:
            kept, self.kept = self.kept, []
            delay = self.rng.choice((0.0, 0.002, 0.008))
            for frame in kept:
                self.later(delay, frame)

    def lost(self) -> None:
        """The client is gone."""
        self._send = None

    def later(self, seconds: float, data: bytes) -> None:
        """Send it then, to whoever is connected; never after what is sent later."""
        self._queue.append(data)
        asyncio.get_running_loop().call_later(seconds, self._pass, data)

    def _pass(self, data: bytes) -> None:
        while data in self._queue:
            self._hand_out(self._queue.pop(0))

    def send(self, data: bytes) -> None:
        """Send it now, if somebody is there."""
        while self._queue:
            self._hand_out(self._queue.pop(0))
        self._hand_out(data)

    def _hand_out(self, data: bytes) -> None:
        if self._send is not None:
            self._send(data)

    def feed(self, data: bytes) -> None:
        """Bytes of the client: requests for reads."""
        self._got += data
        while len(self._got) >= 8:
            request, self._got = self._got[:8], self._got[8:]
            self._asked(request)

    def foreign(self, function: int, address: int) -> bytes:
        """The answer to a question of another client: as ours are, of another place."""
        self.given = (self.given + 1) % 0x10000
        words = (named(PLAIN, function, address) | 0x80, self.given)
        return sealed(bytes((PLAIN, function, 4)) + b"".join(word.to_bytes(2, "big") for word in words))

    def _asked(self, request: bytes) -> None:
        self.given = (self.given + 1) % 0x10000
        self.asked.append((self.given, request))
        del self.asked[:-400]
        answer = self._answer(request)
        kept, self.kept = self.kept, []
        for frame in kept:
            self.send(frame)
        if answer is None or self.vice == "drop":
            return
        if self.vice == "shift" or (kept and self.kept_instead) or (self.keeps and self.rng.random() < 0.5):
            self.kept = [answer]
            return
        if self.vice == "late":
            self.later(self.rng.uniform(0.0, self.latest), answer)
            return
        self.send(answer)
        if self.vice == "double":
            self.send(answer)
        elif self.vice == "double-later":
            self.later(self.rng.uniform(0.0, 0.01), answer)
        elif self.vice == "double-next":
            self.kept = [answer]

    def _answer(self, request: bytes) -> bytes | None:
        unit, function = request[:2]
        address, count = int.from_bytes(request[2:4], "big"), int.from_bytes(request[4:6], "big")
        if unit not in (PLAIN, STRICT, MUTE):
            return None
        if count != PLANNED and unit == MUTE:
            return None
        if count != PLANNED and unit == STRICT:
            return sealed(bytes((unit, function | 0x80, 2)))
        return self.answer_to(unit, function, address, count, self.given)

    def answer_to(self, unit: int, function: int, address: int, count: int, given: int) -> bytes:
        """The right answer, as the `given`-th."""
        words = [0xEEEE] * count
        for at in range(count):
            if (address + at) % 100 == 0:
                words[at] = named(unit, function, address + at)
            elif (address + at) % 100 == 1:
                words[at] = given
        return sealed(bytes((unit, function, 2 * count)) + b"".join(word.to_bytes(2, "big") for word in words))


class Client(asyncio.Protocol):
    """The TCP side."""

    def __init__(self, converter: Converter) -> None:
        self._converter = converter

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.data_received = self._converter.feed  # type: ignore[method-assign]
        self._converter.connected(transport.write)

    def connection_lost(self, _: Exception | None) -> None:
        self._converter.lost()


@contextmanager
def on_terminal(converter: Converter) -> Iterator[str]:
    """The same behind the driver of a virtual serial port."""
    far, near = os.openpty()
    tty.setraw(near)
    os.set_blocking(far, False)

    def send(data: bytes) -> None:
        with suppress(BlockingIOError):
            os.write(far, data)

    asyncio.get_running_loop().add_reader(far, lambda: converter.feed(os.read(far, 4096)))
    converter.connected(send)
    try:
        yield os.ttyname(near)
    finally:
        asyncio.get_running_loop().remove_reader(far)
        converter.lost()
        os.close(far)
        os.close(near)

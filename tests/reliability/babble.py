"""Who says anything at all on each socket of the gateway: arbitrary bytes, and right ones that were spoilt."""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import orjson

from drivers.modbus.frames import crc16
from simulators import packets
from tests.cloud.raw_broker import Raw, message
from tests.drivers.anpr.case import Case
from tests.drivers.anpr.mutate import spoil

IMEI = b"866123456789012"
STATUS = (
    b"GET /metrics HTTP/1.1\r\nHost: here\r\nAccept: text/html\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: here\r\nAuthorization: Basic eDp5\r\nCookie: session=1\r\n\r\n",
    b'POST /do HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\nContent-Length: 15\r\n\r\n{"cmd": "read"}',
)
ASKED = tuple(
    orjson.dumps(one) + b"\n"
    for one in (
        {"ask": "status"},
        {"ask": "alarms"},
        {"ask": "watch", "device": "relay"},
        {"ask": "read", "device": "relay", "points": ["do1"]},
        {"ask": "do", "cmd": "alarm.acknowledge", "args": {"alarm": "x"}, "by": "zhang", "role": "guard"},
        {"ask": "do", "cmd": "alarm.shelve", "args": {"device": "x", "for": "1h"}, "by": "zhang", "role": "guard"},
        {"ask": "events", "stream": "audit", "last": 5},
    )
)
TOPIC = b"site-gateway/v1/xima-xincun/xmxc-01/command"
_MUTE_S = 0.2
"""How long an answer is waited for."""
_ASKED_WITHIN_S = 2.0
"""A device that dials in waits for its first question: the line rests after a loss."""
_PAUSE_S = 0.01


class Babble:
    """`said`: how often something was said on each socket; the same seed says the same."""

    def __init__(self, seed: int, cases: list[Case]) -> None:
        self.said: Counter[str] = Counter()
        self._chance = random.Random(seed)  # noqa: S311 - repeatable on purpose
        self._cases = cases

    def spoilt(self, good: bytes) -> bytes:
        """Right bytes, mostly with something wrong in them; now and then any bytes."""
        chance = self._chance
        if chance.random() < 0.2:
            return chance.randbytes(chance.choice((0, 1, 7, 8, 64, 300, 5000)))
        data = bytearray(good)
        for _ in range(chance.choice((0, 1, 1, 2, 4))):
            at = chance.randrange(len(data) + 1)
            until = min(len(data), at + chance.choice((1, 1, 2, 8, 40)))
            match chance.randrange(5):
                case 0:
                    data[at:until] = b""
                case 1:
                    data[at:until] = chance.randbytes(until - at)
                case 2:
                    data[at:at] = data[at:until] * chance.choice((1, 3, 50))
                case 3:
                    data[at:until] = chance.choice((b"\0", b"\xff", b"\x7f")) * (until - at)
                case _:
                    data[at:at] = chance.choice((b"\r\n", b'"', b"{", b"\xff\xff\xff\xff", b"\xed\xa0\x80", b"9" * 400))
        return bytes(data)

    # ---- servers that the gateway asks ----------------------------------------------------------

    async def modbus_tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A device, or what is taken for one."""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                asked = await reader.readexactly(12)
                body = asked[6:8] + self._registers(asked[10:12])
                good = asked[:4] + len(body).to_bytes(2, "big") + body
                writer.write(good if self._chance.random() < 0.7 else self.spoilt(good))
                await writer.drain()
                self.said["modbus"] += 1
        writer.close()

    async def broker(self, raw: Raw) -> None:
        """A broker that answers as a good one, and says more besides."""
        if raw.connects:
            raw.send(self._packet(raw))
            self.said["broker"] += 1

    def _packet(self, raw: Raw) -> bytes:
        chance = self._chance
        if chance.random() < 0.97:  # a packet that is one, with anything in it
            topic = TOPIC if chance.random() < 0.97 else self.spoilt(TOPIC)[:60_000]
            properties = None if raw.version != 5 else chance.choice((b"", self.spoilt(b"\x26\0\x01a\0\x01b")[:100]))
            return message(
                topic, self.spoilt(b"eyJhbGciOiJFZERTQSJ9.e30." + b"A" * 86), properties, chance.randrange(65536)
            )
        return self.spoilt(packets.puback(raw.version, chance.randrange(65536), 0))

    # ---- clients of the gateway ------------------------------------------------------------------

    async def dial_in(self, port: int) -> None:
        """Devices that dial in: registered, hardly, or not at all."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(IMEI if self._chance.random() < 0.7 else self.spoilt(IMEI))
            self.said["dial-in"] += 1
            for _ in range(100):
                async with asyncio.timeout(_ASKED_WITHIN_S):
                    asked = await reader.read(8)
                if not asked:
                    break
                frame = asked[:2] + self._registers(asked[4:6])
                good = frame + crc16(frame)
                writer.write(good if self._chance.random() < 0.7 else self.spoilt(good))
                self.said["dial-in"] += 1
        finally:
            writer.close()

    async def camera(self, port: int) -> None:
        """A camera, with its token mostly."""
        case = spoil(self._cases, self._chance.randrange(1 << 30))
        path = f"/cameras/lpr?token={'token' if self._chance.random() < 0.8 else 'x'}"
        told = f"Content-Type: {case.content_type}\r\nContent-Length: {len(case.payload)}"
        head = f"POST {path} HTTP/1.1\r\nHost: h\r\n{told}\r\n\r\n"
        whole = head.encode("latin-1", "replace") + case.payload
        await self._say("camera", await asyncio.open_connection("127.0.0.1", port), self._mostly(whole))

    async def status(self, port: int) -> None:
        """A browser."""
        await self._say(
            "status", await asyncio.open_connection("127.0.0.1", port), self._mostly(self._chance.choice(STATUS))
        )

    async def control(self, path: Path) -> None:
        """A program on the machine."""
        await self._say("control", await asyncio.open_unix_connection(path), self.spoilt(self._chance.choice(ASKED)))

    def _registers(self, number: bytes) -> bytes:
        """Registers as they were asked for, with any values."""
        octets = 2 * min(int.from_bytes(number, "big"), 125)
        return bytes([octets]) + self._chance.randbytes(octets)

    def _mostly(self, good: bytes) -> bytes:
        return good if self._chance.random() < 0.4 else self.spoilt(good)

    async def _say(self, who: str, opened: tuple[asyncio.StreamReader, asyncio.StreamWriter], data: bytes) -> None:
        reader, writer = opened
        try:
            writer.write(data)
            self.said[who] += 1
            async with asyncio.timeout(_MUTE_S):
                await reader.read(1 << 16)
        finally:
            writer.close()


async def again_and_again(say: Callable[[], Awaitable[None]]) -> None:
    """Until cancelled, whatever becomes of it."""
    while True:
        with contextlib.suppress(OSError, TimeoutError):
            await say()
        await asyncio.sleep(_PAUSE_S)

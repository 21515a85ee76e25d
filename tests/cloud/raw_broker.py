"""A broker that says whatever it is told to, byte by byte: what a real one would never let pass."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from simulators import packets
from simulators.packets import Connect, PublishPacket

Hook = Callable[["Raw", int, int, bytes], None]


class Raw:
    """Takes the CONNECT of each connection, then does what `on_packet` says; the last connection is written to."""

    def __init__(self) -> None:
        self.port = 0
        self.connects: list[Connect] = []
        self.published: list[PublishPacket] = []
        self.acknowledged: list[int] = []
        """Message ids of PUBACKs that came."""
        self.subscribed: list[str] = []
        self.connack: bytes | None = None
        """What is answered to CONNECT instead of an acceptance."""
        self.on_packet: Hook = answer
        self.writer: asyncio.StreamWriter | None = None

    @property
    def version(self) -> int:
        return self.connects[-1].version

    def send(self, data: bytes) -> None:
        """To the client that connected last."""
        if self.writer is not None:
            self.writer.write(data)

    def hang_up(self) -> None:
        """End the connection without a word."""
        if self.writer is not None:
            self.writer.close()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held = bytearray()
        try:
            while data := await reader.read(1 << 16):
                held += data
                while (found := packets.split(held, 1 << 24)) is not None:
                    first, body, whole = found
                    del held[:whole]
                    if first >> 4 == packets.CONNECT:
                        self.writer = writer
                        self.connects.append(packets.parse_connect(body))
                        self.send(self.connack or packets.connack(self.version, 0))
                    else:
                        self.on_packet(self, first >> 4, first & 15, body)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()


def answer(raw: Raw, kind: int, flags: int, body: bytes) -> None:
    """What a good broker does."""
    if kind == packets.PUBLISH:
        message = packets.parse_publish(flags, body, raw.version)
        raw.published.append(message)
        raw.send(packets.puback(raw.version, message.mid, 0))
    elif kind == packets.PUBACK:
        raw.acknowledged.append(int.from_bytes(body[:2], "big"))
    elif kind == packets.SUBSCRIBE:
        mid, wanted = packets.parse_subscribe(body, raw.version)
        raw.subscribed += [one.filter for one in wanted]
        raw.send(packets.suback(raw.version, mid, [1]))
    elif kind == packets.PINGREQ:
        raw.send(packets.packet(packets.PINGRESP, b""))


@asynccontextmanager
async def raw_broker() -> AsyncIterator[Raw]:
    raw = Raw()
    server = await asyncio.start_server(raw.serve, "127.0.0.1", 0)
    raw.port = server.sockets[0].getsockname()[1]
    try:
        yield raw
    finally:
        server.close()
        raw.hang_up()
        await server.wait_closed()


def message(topic: bytes, payload: bytes, properties: bytes | None, mid: int = 1, qos: int = 1) -> bytes:
    """A PUBLISH of any bytes; `properties` None: MQTT 3.1.1."""
    body = len(topic).to_bytes(2, "big") + topic + (mid.to_bytes(2, "big") if qos else b"")
    if properties is not None:
        body += packets.variable(len(properties)) + properties
    return packets.packet(packets.PUBLISH, body + payload, qos << 1)


def pair(name: bytes, value: bytes) -> bytes:
    """A user property."""
    return b"\x26" + len(name).to_bytes(2, "big") + name + len(value).to_bytes(2, "big") + value

"""A small MQTT broker (3.1.1 and 5; QoS 0 and 1) that misbehaves on demand.

    async with Broker() as broker:
        broker.port
        broker.faults.verdict = by_topic({"site/+/alarm": 0x97})        # from simulators.broker_faults
        broker.hang_up(0x8B)

Retained messages, wills with their delay, wildcards, sessions that outlive a connection. Whatever comes
in is bounded: packets, connections, sessions, subscriptions, queues, retained messages.
"""

import asyncio
from collections import OrderedDict, deque
from dataclasses import dataclass, field, replace
from typing import Self

from simulators import packets
from simulators.broker_faults import WITHHELD, BrokerFaults
from simulators.packets import Connect, PacketError, PublishPacket, Reader, SubscribedFilter

MAX_PACKET_BYTES = 1 << 20
_CONNECTIONS = 256
_SESSIONS = 1024
_SUBSCRIPTIONS = 256
_QUEUE = 1000
_RETAINED = 10_000
_UNSENT_BYTES = 8 << 20
_KEPT = 100_000
_TURNS = 8
_CONNECT_WITHIN_S = 10.0
_NO_SUBSCRIBER = 0x10
_TAKEN_OVER = 0x8E
_WINDOW_EXCEEDED = 0x93
_KEEPALIVE_OVER = 0x8D


@dataclass(eq=False, slots=True)
class _Session:
    """What is kept of a client over its connections."""

    client_id: str
    subscriptions: dict[str, SubscribedFilter] = field(default_factory=dict)
    queue: deque[PublishPacket] = field(default_factory=lambda: deque(maxlen=_QUEUE))
    unanswered: OrderedDict[int, PublishPacket] = field(default_factory=OrderedDict)
    last_mid: int = 0
    expiry: int = 0
    connection: "_Connection | None" = None
    will: asyncio.TimerHandle | None = None
    end: asyncio.TimerHandle | None = None


class LocalBroker:
    """`async with` starts and stops it; `stop` and `start` in between keep the port."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self.host = host
        self.port = port
        self.faults = BrokerFaults()
        self.received: deque[PublishPacket] = deque(maxlen=_KEPT)
        """Everything that was published and taken, wills too."""
        self.connects: deque[Connect] = deque(maxlen=_KEPT)
        """Every CONNECT that was read."""
        self._server: asyncio.Server | None = None
        self._open = False
        self._sessions: dict[str, _Session] = {}
        self._retained: dict[str, PublishPacket] = {}
        self._connections: set[_Connection] = set()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()
        for session in self._sessions.values():
            _cancel(session)

    @property
    def clients(self) -> list[str]:
        """Who is connected."""
        return [name for name, session in self._sessions.items() if session.connection is not None]

    def retained(self, topic: str) -> bytes | None:
        """The retained payload of a topic."""
        kept = self._retained.get(topic)
        return None if kept is None else kept.payload

    async def start(self) -> None:
        """Listen; on the same port as before, if it was stopped."""
        loop = asyncio.get_running_loop()
        self._open = True
        self._server = await loop.create_server(lambda: _Connection(self), self.host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening and drop every connection; sessions and retained messages stay."""
        self._open = False
        if self._server is not None:
            self._server.close()
            self.reset()
            await self._server.wait_closed()
            self._server = None
            # What was accepted a moment ago shows itself within a few turns of the loop, and is turned away.
            for _ in range(_TURNS):
                await asyncio.sleep(0)

    def hang_up(self, code: int) -> None:
        """End every connection with a DISCONNECT of this code (3.1.1: without)."""
        for connection in list(self._connections):
            connection.hang_up(code)

    def reset(self, beginning: bytes = b"") -> None:
        """Reset every connection, after the `beginning` of a packet."""
        for connection in list(self._connections):
            connection.reset(beginning)

    def publish(self, message: PublishPacket) -> int:
        """Pass a message on to its subscribers, as a client's would be; how many there are."""
        self.received.append(message)
        if message.retain:
            self._retain(message)
        heard = 0
        for session in self._sessions.values():
            fitting = [s for s in session.subscriptions.values() if packets.matches(s.filter, message.topic)]
            if fitting:
                heard += 1
                best = max(fitting, key=lambda subscription: subscription.qos)
                retain = message.retain and best.as_published
                _queue(session, replace(message, qos=min(message.qos, best.qos), retain=retain, mid=0))
        return heard

    def _retain(self, message: PublishPacket) -> None:
        if not message.payload:
            self._retained.pop(message.topic, None)
        elif message.topic in self._retained or len(self._retained) < _RETAINED:
            self._retained[message.topic] = message

    # ---- what connections ask of it

    def admit(self, connection: "_Connection") -> bool:
        """Take up a connection, if the broker is not stopped and has room."""
        if not self._open or len(self._connections) >= _CONNECTIONS:
            return False
        self._connections.add(connection)
        return True

    def dismiss(self, connection: "_Connection") -> None:
        """Forget a connection."""
        self._connections.discard(connection)

    def judge(self, connect: Connect) -> int:
        """The reason code for a CONNECT."""
        self.connects.append(connect)
        if self.faults.refuse is not None:
            return self.faults.refuse
        if self.faults.authorise is not None:
            return self.faults.authorise(connect)
        return 0x97 if len(self._sessions) >= _SESSIONS and connect.client_id not in self._sessions else 0

    def attach(self, connection: "_Connection", connect: Connect) -> tuple[_Session, bool]:
        """The client's session and whether it was there before; an older connection of the client is ended."""
        session = self._sessions.get(connect.client_id)
        if session is not None:
            if session.connection is not None:
                session.connection.hang_up(_TAKEN_OVER)
            _cancel(session)
        present = session is not None and not connect.clean
        if session is None or connect.clean:
            session = self._sessions[connect.client_id] = _Session(connect.client_id)
        session.expiry = connect.session_expiry
        session.connection = connection
        return session, present

    def detach(self, session: _Session, will: PublishPacket | None, delay: int) -> None:
        """A connection ended; its will and its session's end are due later."""
        session.connection = None
        loop = asyncio.get_running_loop()
        if will is not None:
            if delay and session.expiry:
                session.will = loop.call_later(min(delay, session.expiry), self.publish, will)
            else:
                self.publish(will)
        if session.expiry != 0xFFFFFFFF:
            session.end = loop.call_later(session.expiry, self._forget, session)

    def _forget(self, session: _Session) -> None:
        if self._sessions.get(session.client_id) is session and session.connection is None:
            del self._sessions[session.client_id]

    def subscribe(self, session: _Session, wanted: SubscribedFilter) -> int:
        """Take a subscription and send the retained messages it asks for; its reason code."""
        new = wanted.filter not in session.subscriptions
        if not packets.valid_filter(wanted.filter):
            return 0x8F
        if new and len(session.subscriptions) >= _SUBSCRIPTIONS:
            return 0x97
        session.subscriptions[wanted.filter] = wanted
        if wanted.retain_handling == 0 or (wanted.retain_handling == 1 and new):
            for message in self._retained.values():
                if packets.matches(wanted.filter, message.topic):
                    _queue(session, replace(message, qos=min(message.qos, wanted.qos), retain=True, mid=0))
        return wanted.qos


class _Connection(asyncio.Protocol):
    """One client on its socket."""

    def __init__(self, broker: LocalBroker) -> None:
        self._broker = broker
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._connect: Connect | None = None
        self._session: _Session | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._will: PublishPacket | None = None
        self._unacknowledged = 0
        self._ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.Transport):
            self._transport = transport
            if not self._broker.admit(self):
                transport.abort()
            self._wait(_CONNECT_WITHIN_S)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._broker.dismiss(self)
        self._over()

    def data_received(self, data: bytes) -> None:
        if self._broker.faults.mute or self._transport is None:
            return
        self._buffer += data
        limit = self._broker.faults.packet_limit or MAX_PACKET_BYTES
        try:
            while found := packets.split(self._buffer, limit):
                first, body, whole = found
                del self._buffer[:whole]
                self._handle(first >> 4, first & 0x0F, body)
                if self._ended:
                    return
        except PacketError as error:
            self.hang_up(error.code)

    def deliver(self) -> None:
        """Send what waits in the session, as far as the client's Receive Maximum goes."""
        session, connect = self._session, self._connect
        if session is None or connect is None or self._transport is None or self._broker.faults.mute:
            return
        while session.queue and self._transport.get_write_buffer_size() < _UNSENT_BYTES:
            if session.queue[0].qos and len(session.unanswered) >= connect.receive_maximum:
                return
            message = session.queue.popleft()
            if message.qos:
                session.last_mid = session.last_mid % 65535 + 1
                message = session.unanswered[session.last_mid] = replace(message, mid=session.last_mid)
            self._send_message(message)

    def hang_up(self, code: int) -> None:
        """Say why and close."""
        if self._connect is not None and self._connect.version == 5:
            self._send(packets.packet(packets.DISCONNECT, bytes((code, 0))))
        self._close()

    def reset(self, beginning: bytes) -> None:
        """Break off, after some bytes."""
        if self._transport is not None:
            self._transport.write(beginning)
            self._transport.abort()
        self._over()

    def _handle(self, kind: int, flags: int, body: bytes) -> None:
        if self._connect is None or self._session is None:
            if kind != packets.CONNECT:
                raise PacketError("something before CONNECT")
            self._greet(packets.parse_connect(body))
            return
        self._wait(self._connect.keepalive * 1.5)
        if kind == packets.PUBLISH:
            self._take(packets.parse_publish(flags, body, self._connect.version))
        elif kind == packets.PUBACK:
            self._session.unanswered.pop(Reader(body).number(2), None)
            self.deliver()
        elif kind == packets.SUBSCRIBE:
            mid, wanted = packets.parse_subscribe(body, self._connect.version)
            codes = [self._broker.subscribe(self._session, subscription) for subscription in wanted]
            self._send(packets.suback(self._connect.version, mid, codes))
            self.deliver()
        elif kind == packets.UNSUBSCRIBE:
            mid, filters = packets.parse_unsubscribe(body, self._connect.version)
            for name in filters:
                self._session.subscriptions.pop(name, None)
            self._send(packets.unsuback(self._connect.version, mid, len(filters)))
        elif kind == packets.PINGREQ:
            self._send(packets.packet(packets.PINGRESP, b""))
        elif kind == packets.DISCONNECT:
            if body[:1] != b"\x04":  # 3.14.2.1: disconnect with the will
                self._will = None
            self._close()
        else:
            raise PacketError("nothing that a client sends", 0x82)

    def _greet(self, connect: Connect) -> None:
        code = self._broker.judge(connect)
        if code:
            self._send(packets.connack(connect.version, code))
            self._close()
            return
        self._connect, self._will = connect, connect.will
        self._session, present = self._broker.attach(self, connect)
        faults = self._broker.faults
        limits = {"receive_maximum": faults.receive_maximum, "packet_limit": faults.packet_limit}
        self._send(packets.connack(connect.version, 0, present=present, **limits))
        self._wait(connect.keepalive * 1.5)
        for message in list(self._session.unanswered.values()):
            self._send_message(message)
        self.deliver()

    def _take(self, message: PublishPacket) -> None:
        faults = self._broker.faults
        if message.qos:
            self._unacknowledged += 1
            if self._unacknowledged > (faults.receive_maximum or 65535):
                raise PacketError("more in flight than allowed", _WINDOW_EXCEEDED)
        code = faults.verdict(message) if faults.verdict is not None else None
        if code == WITHHELD:
            return
        if code is None or code < 0x80:
            heard = self._broker.publish(message)
            code = (0 if heard else _NO_SUBSCRIBER) if code is None else code
        if not message.qos:
            return
        if faults.puback_delay:
            asyncio.get_running_loop().call_later(faults.puback_delay, self._acknowledge, message.mid, code)
        else:
            self._acknowledge(message.mid, code)

    def _acknowledge(self, mid: int, code: int) -> None:
        self._unacknowledged -= 1
        if self._connect is not None:
            self._send(packets.puback(self._connect.version, mid, code))

    def _send_message(self, message: PublishPacket) -> None:
        if self._connect is None:
            return
        whole = packets.publish(message, self._connect.version)
        if len(whole) <= self._connect.packet_limit or self._broker.faults.oversize:
            self._send(whole)
        elif self._session is not None:  # 3.1.2.11.4: as if it had been sent
            self._session.unanswered.pop(message.mid, None)

    def _send(self, data: bytes) -> None:
        if self._transport is not None and not self._broker.faults.mute:
            self._transport.write(data)

    def _wait(self, seconds: float) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        if seconds:
            self._deadline = asyncio.get_running_loop().call_later(seconds, self._fell_silent)

    def _close(self) -> None:
        if self._transport is not None:
            self._transport.close()
        self._over()

    def _fell_silent(self) -> None:
        if not self._broker.faults.mute:
            self.hang_up(_KEEPALIVE_OVER)

    def _over(self) -> None:
        self._wait(0)
        self._ended = True
        self._transport = None
        session, self._session = self._session, None
        if session is not None and session.connection is self and self._connect is not None:
            self._broker.detach(session, self._will, self._connect.will_delay)


def _queue(session: _Session, message: PublishPacket) -> None:
    if message.qos or session.connection is not None:
        session.queue.append(message)
    if session.connection is not None:
        session.connection.deliver()


def _cancel(session: _Session) -> None:
    for timer in (session.will, session.end):
        if timer is not None:
            timer.cancel()
    session.will = session.end = None

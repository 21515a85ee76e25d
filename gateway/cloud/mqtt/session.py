"""One MQTT connection, from dialling to its end; never reused. The only importer of paho.

paho frames everything that we send. It does not read: a broker's bytes are untrusted and paho takes quadratic time for
some of them, so our own `Parser` reads, and paho is told which of its messages are acknowledged. paho's thread, queue
and reconnection are not used.

A worker thread dials (name, TCP, TLS, reading of files), then the event loop owns the socket. So no message wakes a
second thread, and a message's id is known before its PUBACK can be read. One turn of the loop reads a bounded number
of bytes and packets, whatever the broker sends. Invalid MQTT ends the connection and nothing else.
"""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from gateway.cloud.events import CONTENT_TYPE
from gateway.cloud.mqtt import codec
from gateway.cloud.mqtt.codec import MAX_PACKET_BYTES, Connack, Disconnect, Malformed, Parser, Puback, Publish, Suback
from gateway.cloud.mqtt.transport import Wire, connect, not_yet_valid
from gateway.cloud.mqtt.types import MAX_COMMAND_BYTES, Broker, Ending, MessageEnvelope, SessionOwner, Terms, Will
from gateway.errors import GatewayError, UplinkDown

_SESSION_EXPIRY_S = 3600
_COMMANDS_AT_ONCE = 16
_READS = 8
"""Reads of at most 64 KiB from the socket in one turn of the loop."""
_PACKETS = 256
"""Packets processed in one turn."""
_MAX_TEXT_BYTES = 0xFFFF
"""The longest text in MQTT (1.5.4)."""
_LEAST_PACKET_BYTES = 2000
"""Bytes of an alarm with its names; with a broker that takes less, every fire would be set aside as too large."""
_UNSENT_ACKS = 16384
"""The most PUBACKs in our buffer; a broker that respects our Receive Maximum (MQTT 5, 3.3.4) causes 16 at most."""
_TOO_SHORT_S = 0.02
"""A CONNACK within this time says nothing about the speed of the link."""


def _properties(packet: int, **values: object) -> Properties:
    properties = Properties(packet)  # type: ignore[no-untyped-call]
    for name, value in values.items():
        setattr(properties, name, value)
    return properties


class _Packed(Properties):
    """The properties of a PUBLISH, packed once; paho would pack them anew for each message."""

    def __init__(self, **values: object) -> None:
        super().__init__(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        for name, value in {"ContentType": CONTENT_TYPE, **values}.items():
            setattr(self, name, value)
        # paho's own `__setattr__` refuses names that are not properties.
        object.__setattr__(self, "_bytes", super().pack())  # type: ignore[no-untyped-call]

    def pack(self) -> bytes:
        packed: bytes = self.__dict__["_bytes"]
        return packed


_CLOUD_EVENT = _Packed()
_REPLAYED = _Packed(UserProperty=("replay", "1"))

_COMMANDS = SubscribeOptions(qos=1, retainAsPublished=True)
_ONCE = SubscribeOptions(qos=0)
_NO_MORE = SubscribeOptions(qos=0, noLocal=True, retainHandling=SubscribeOptions.RETAIN_DO_NOT_SEND)


OVERHEAD_BYTES = 1 + 4 + 2 + 2 + len(_CLOUD_EVENT.pack())
"""What a PUBLISH takes at most beside its topic and payload (MQTT 5, 3.3; a length field of 4 bytes)."""


class _Outlet:
    """The object that paho uses as its socket: it queues frames on the wire. Only the session closes the wire."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def send(self, data: bytes | bytearray, /) -> int:
        self._wire.send(data)
        return len(data)

    def recv(self, _size: int, /) -> bytes:
        raise BlockingIOError

    def fileno(self) -> int:
        return self._wire.fileno()

    def setblocking(self, _flag: bool, /) -> None:
        pass

    def close(self) -> None:
        pass


class _Client(Client):
    """paho's client, for what we send on one connection."""

    def __init__(self, broker: Broker, will: Will | None, *, clean: bool) -> None:
        five = broker.protocol == codec.V5
        super().__init__(
            CallbackAPIVersion.VERSION2,
            client_id=broker.client_id,
            clean_session=None if five else clean,
            protocol=MQTTProtocolVersion(broker.protocol),
            reconnect_on_failure=False,
            manual_ack=True,
        )
        # 0: paho holds no message back. We manage the window ourselves.
        self.max_inflight_messages_set(0)
        self._five = five
        self._broker = broker
        self._clean = clean
        self._outlet: _Outlet | None = None
        self.asked: dict[int, str] = {}
        """Topics of the SUBSCRIBEs that have no answer yet, by message id."""
        if will is not None:
            delay = {"WillDelayInterval": will.delay} if will.delay else {}
            about = _properties(PacketTypes.WILLMESSAGE, ContentType=will.content_type, **delay)
            self.will_set(will.topic, will.payload, qos=1, retain=will.retain, properties=about if five else None)

    @property
    def unanswered(self) -> int:
        """The number of messages without a PUBACK."""
        return len(self._out_messages)

    def greet(self, wire: Wire, password: str | None) -> int:
        """Send a CONNECT; returns its size in bytes."""
        broker = self._broker
        if password is not None:
            # paho sends a password only together with a user name, which may be empty.
            self.username_pw_set(broker.username or "", password)
        else:
            self.username_pw_set(broker.username)
        about = _properties(
            PacketTypes.CONNECT,
            SessionExpiryInterval=_SESSION_EXPIRY_S,
            ReceiveMaximum=_COMMANDS_AT_ONCE,
            MaximumPacketSize=MAX_PACKET_BYTES,
        )
        terms: dict[str, Any] = {"clean_start": self._clean, "properties": about} if self._five else {}
        self._outlet = _Outlet(wire)
        self.connect(broker.host, broker.port, _keepalive(broker), **terms)
        before = wire.waiting
        self.loop_write()
        return wire.waiting - before

    def ask(self, topic: str, options: SubscribeOptions) -> None:
        """Send a SUBSCRIBE; only the answer to the last one for a topic is reported. MQTT 3.1.1 has only a QoS."""
        _, mid = self.subscribe(topic, options=options) if self._five else self.subscribe(topic, options.QoS)
        if mid is not None:
            self.asked = {earlier: other for earlier, other in self.asked.items() if other != topic}
            self.asked[mid] = topic

    def acknowledged(self, mid: int) -> bool:
        """Take a PUBACK, so that paho forgets the message; False: there is no such message."""
        return self._out_messages.pop(mid, None) is not None

    def ping(self) -> None:
        """Send a PINGREQ. Not with `loop_misc`, which does not know what has arrived since the ping."""
        self._send_pingreq()

    def _create_socket(self) -> _Outlet:
        if self._outlet is None:
            raise ConnectionError("not dialled")
        return self._outlet

    def _mid_generate(self) -> int:
        # paho refuses to send with an id in use, but does not know the ids of SUBSCRIBEs.
        mid = super()._mid_generate()
        while mid in self._out_messages or mid in self.asked:
            mid = super()._mid_generate()
        return mid


class Session:
    """One connection: `open`, then `publish` until `ended` is done; `abort` or `close` ends it from our side."""

    def __init__(self, broker: Broker, will: Will | None, owner: SessionOwner, *, clean: bool = False) -> None:
        self._broker = broker
        self._owner = owner
        self._loop = asyncio.get_running_loop()
        self._parser = Parser(broker.protocol)
        self._wire: Wire | None = None
        self._client = _Client(broker, will, clean=clean)
        self._client.on_socket_register_write = self._something_to_write
        self._keepalive = float(_keepalive(broker))
        self._sent_at = self._heard_at = self._loop.time()
        self._greeting, self._greeted_at = 0, 0.0
        self._pinged_at: float | None = None
        self._reading_on = False
        """The next turn of the loop continues with bytes that have arrived already."""
        self._flushing = False
        self._writing = False
        self._unsent_acks = 0
        """PUBACKs written since the buffer was last empty."""
        self._opened: asyncio.Future[Terms] = self._loop.create_future()
        self.ended: asyncio.Future[Ending] = self._loop.create_future()
        """Done when the connection has ended; an exception in it is a bug of the program."""

    def open(self) -> asyncio.Future[Terms]:
        """Begin to dial. The terms follow when the broker has accepted us, `ended` if not."""
        threading.Thread(target=self._dial, name="uplink-dial", daemon=True).start()
        return self._opened

    def publish(
        self, topic: str, payload: bytes, *, retain: bool = False, correlation: bytes | None = None, again: bool = False
    ) -> int | None:
        """Send one message at QoS 1; returns its message id, or None if the connection has ended. `again`: a replay."""
        if self._client.socket() is None or self.ended.done():
            return None
        properties: Properties | None = _REPLAYED if again else _CLOUD_EVENT
        if self._broker.protocol != codec.V5:
            properties = None
        elif correlation is not None:
            properties = _Packed(CorrelationData=correlation)
        sent = self._client.publish(topic, payload, 1, retain, properties)
        if sent.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
            raise RuntimeError(f"paho did not take a message: {sent.rc.name}")
        return sent.mid

    def subscribe(self, topic: str) -> None:
        """Subscribe to `topic` at QoS 1, with retained messages marked as such."""
        self._client.ask(topic, _COMMANDS)

    def read(self, topic: str) -> None:
        """Ask for what is retained on `topic`. It arrives marked as retained."""
        self._client.ask(topic, _ONCE)

    def read_no_more(self, topic: str) -> None:
        """Stop messages on `topic`. In MQTT 3.1.1 our own messages there continue to arrive."""
        if self._broker.protocol == codec.V5:
            self._client.ask(topic, _NO_MORE)

    def check(self) -> float | None:
        """Keep the connection alive. Returns after how many seconds to call again; None: the connection has ended."""
        if self._wire is None or self.ended.done():
            return None
        now, keepalive = self._loop.time(), self._keepalive
        if not self._opened.done() or not keepalive:
            return 1.0
        if self._pinged_at is not None:
            left = max(self._pinged_at, self._heard_at) + keepalive - now
            if left > 0:
                return left
            if not self._client.unanswered:
                self._finish(Ending("no answer to a ping"))
                return None
            return 1.0  # the owner decides whether unanswered publishes take too long
        left = min(self._sent_at, self._heard_at) + 0.75 * keepalive - now
        if left <= 0:
            self._pinged_at = now
            self._client.ping()
        return max(left, 0.1)

    def close(self) -> None:
        """Send DISCONNECT, which drops the Will, and end when the broker hangs up; call `abort` after a while."""
        if self._wire is None or self.ended.done():
            self.abort("closed")
            return
        self._client.disconnect()
        self._flush()
        if not self._writing and not self.ended.done():
            self._wire.half_close()

    def round_trip(self) -> float:
        """The shortest round trip that the kernel has measured, without the broker's work; seconds."""
        return 0.0 if self._wire is None else self._wire.round_trip()

    def abort(self, why: str, *, goodbye: bool = False, dead: bool = False) -> None:
        """End at once. `goodbye`: send DISCONNECT, so that the broker drops the Will. `dead`: it does not answer."""
        if goodbye and self._wire is not None and not self.ended.done():
            self._client.disconnect()
            self._client.loop_write()
            self._wire.flush()
        self._finish(Ending(why, dead=dead))

    # ---- in the worker thread

    def _dial(self) -> None:
        broker = self._broker
        outcome: tuple[Wire, str | None] | Ending | Exception
        wire: Wire | None = None
        try:
            password = None if broker.password is None else broker.password.read()
            if password is not None and len(password.encode()) > _MAX_TEXT_BYTES:
                raise ValueError("longer than MQTT allows")  # noqa: TRY301  # told as one that cannot be read
            silence = 2 * broker.keepalive
            wire = connect(broker.host, broker.port, timeout=broker.connect_timeout, silence=silence, tls=broker.tls)
            outcome = (wire, password)
        except UplinkDown as error:
            outcome = Ending(str(error), early=not_yet_valid(error))
        except (OSError, ValueError, GatewayError) as error:
            outcome = Ending(f"password: {error}")
        except Exception as error:  # noqa: BLE001  # a bug: it must end the uplink's task, not this thread alone
            outcome = error
        try:
            self._loop.call_soon_threadsafe(self._dialled, outcome)
        except RuntimeError:  # the loop is closed: nobody waits any more
            if wire is not None:
                wire.shut()

    # ---- on the loop

    def _dialled(self, outcome: tuple[Wire, str | None] | Ending | Exception) -> None:
        if isinstance(outcome, Exception):
            self._fail(outcome)
            return
        if isinstance(outcome, Ending):
            self._finish(outcome)
            return
        wire, password = outcome
        if self.ended.done():
            wire.shut()
            return
        self._wire = wire
        self._loop.add_reader(wire.fileno(), self._readable)
        self._loop.call_later(self._broker.connect_timeout, self._too_late)
        self._guarded(self._greet, wire, password)

    def _guarded(self, work: Callable[..., None], *arguments: object) -> None:
        """A fault of the program in a callback of the loop must reach the task that runs the uplink."""
        try:
            work(*arguments)
        except Exception as error:  # noqa: BLE001  # handed on whole
            self._fail(error)

    def _too_late(self) -> None:
        if not self._opened.done():
            self._finish(Ending("connected, but the broker does not answer"))

    def _greet(self, wire: Wire, password: str | None) -> None:
        self._greeted_at = self._loop.time()
        self._greeting = self._client.greet(wire, password)
        self._flush()

    def _readable(self) -> None:
        if not self._reading_on:
            self._guarded(self._take_in)

    def _read_on(self) -> None:
        self._reading_on = False
        self._guarded(self._take_in)

    def _writable(self) -> None:
        self._guarded(self._flush)

    def _take_in(self) -> None:
        """Read and process as much as one turn of the loop may."""
        wire = self._wire
        if wire is None or self.ended.done():
            return
        acks: list[tuple[int, int]] = []
        ending: Ending | None = None
        left = _PACKETS
        reads = _READS
        try:
            while left and not self.ended.done():
                packet = self._parser.next()
                if packet is not None:
                    left -= 1
                    ending = self._understand(packet, acks)
                elif reads and (chunk := wire.read()):
                    reads -= 1
                    self._heard_at = self._loop.time()
                    self._parser.feed(chunk)
                else:
                    break
                if ending is not None:
                    break
        except Malformed as error:
            ending = Ending(f"what the broker sent is not MQTT: {error}", garbled=True)
        if acks:
            self._owner.acknowledged(acks)
        if ending is None and left and wire.ended is not None:
            ending = Ending(self._hung_up(wire.ended), hung_up=True)
        if ending is not None:
            self._finish(ending)
        elif (not left or wire.decrypted) and not self._reading_on:
            self._reading_on = True
            self._loop.call_soon(self._read_on)

    def _understand(self, packet: codec.Packet, acks: list[tuple[int, int]]) -> Ending | None:
        """Act on one packet; returns an Ending if it is the last."""
        if isinstance(packet, Connack):
            return self._greeted(packet)
        if isinstance(packet, Disconnect):
            return self._dismissed(packet.code)
        if isinstance(packet, Puback):
            if self._client.acknowledged(packet.mid):
                acks.append(packet)
        elif isinstance(packet, Publish):
            self._deliver(packet)
        elif isinstance(packet, Suback):
            topic = self._client.asked.pop(packet.mid, None)
            if topic is not None:
                self._owner.subscribed(topic, packet.code)
        else:
            self._pinged_at = None
        return None

    def _greeted(self, answer: Connack) -> Ending | None:
        if self._opened.done():
            raise Malformed("a second answer to CONNECT")
        broker = self._broker
        if answer.code == codec.NOT_SUPPORTED:
            mine, other = ("5", "3.1.1") if broker.protocol == codec.V5 else ("3.1.1", "5")
            text = f"the broker refused us: it does not speak MQTT {mine}: try `protocol: {other}` in `uplink`"
            return Ending(text, refused=True, code=answer.code)
        if answer.code:
            return Ending(f"the broker refused us: {codec.reason(answer.code)}", refused=True, code=answer.code)
        if answer.qos < 1:
            return Ending("the broker takes no QoS 1", refused=True)
        if (answer.packet_limit or _LEAST_PACKET_BYTES) < _LEAST_PACKET_BYTES:
            text = f"the broker takes packets of {answer.packet_limit} bytes; a fire needs {_LEAST_PACKET_BYTES}"
            return Ending(text, refused=True)
        if answer.keepalive is not None:
            self._keepalive = float(answer.keepalive)
        took = self._heard_at - self._greeted_at - self.round_trip()
        speed = self._greeting / took if took > _TOO_SHORT_S else None
        self._opened.set_result(Terms(answer.receive_maximum, answer.packet_limit, answer.retain, speed))
        return None

    def _dismissed(self, code: int) -> Ending:
        taken = code == codec.SESSION_TAKEN_OVER
        text = f"the broker hung up: {codec.reason(code)}"
        if taken:
            text += ": another client uses this id"
        return Ending(text, refused=taken, hung_up=not taken, code=code)

    def _hung_up(self, how: str) -> str:
        """The other side ended the connection. Before CONNACK the reason can only be guessed."""
        if self._opened.done():
            return how
        mine = "5" if self._broker.protocol == codec.V5 else "3.1.1"
        return f"{how} instead of an answer to CONNECT: client id, user or password, or MQTT {mine} (see `protocol:`)"

    def _deliver(self, message: Publish) -> None:
        def acknowledge() -> None:
            if message.qos and self._client.socket() is not None and not self.ended.done():
                self._unsent_acks += 1
                self._client.ack(message.mid, message.qos)
                if self._unsent_acks > _UNSENT_ACKS:
                    self._finish(Ending("the broker sends messages and takes no acknowledgement", garbled=True))

        payload = message.payload if message.size <= MAX_COMMAND_BYTES else b""
        envelope = MessageEnvelope(
            message.size, message.retain, message.response_topic, acknowledge, message.correlation
        )
        self._owner.arrived(message.topic, payload, envelope)

    def _something_to_write(self, _client: Client, _data: object, _socket: object) -> None:
        """Flush once per turn of the loop, so that everything leaves together."""
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._writable)

    def _flush(self) -> None:
        self._flushing = False
        if self._wire is None or self.ended.done():
            return
        if self._client.want_write():
            self._sent_at = self._loop.time()
            self._client.loop_write()
        rest = not self._wire.flush()
        if rest and not self._writing:
            self._loop.add_writer(self._wire.fileno(), self._writable)
        elif self._writing and not rest:
            self._loop.remove_writer(self._wire.fileno())
        if not rest:
            self._unsent_acks = 0
        self._writing = rest
        if self._wire.ended is not None:
            # Read first what the broker sent before it hung up: it may contain the reason.
            self._take_in()
            self._finish(Ending(self._hung_up(self._wire.ended), hung_up=True))

    def _finish(self, ending: Ending) -> None:
        if self.ended.done():
            return
        self.ended.set_result(ending)
        self._release()

    def _fail(self, error: Exception) -> None:
        if not self.ended.done():
            self.ended.set_exception(error)
            self._release()

    def _release(self) -> None:
        if self._wire is not None:
            self._loop.remove_reader(self._wire.fileno())
            self._loop.remove_writer(self._wire.fileno())
            self._wire.shut()


def _keepalive(broker: Broker) -> int:
    """The keep-alive of the site file, in whole seconds (3.1.2.10)."""
    return max(1, round(broker.keepalive))

"""One MQTT connection, from the dialling to its end; never used twice. The only importer of paho.

paho frames and parses; it has no thread, no queue and no reconnection here. A worker thread dials (name, TCP,
TLS, reading of files), then the event loop owns the socket: nothing wakes a second thread for each message,
and a message's id is known before its PUBACK can be looked at. paho's callbacks only note what came; what
they noted is told when the burst has been read, so that no code of ours runs inside paho's locks.
"""

import asyncio
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.exception import MQTTException
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from gateway.cloud.link import MAX_COMMAND, Broker, Delivery, Ending, Events, Terms
from gateway.cloud.wire import MAX_PACKET, Wire, connect, not_yet_valid
from gateway.errors import GatewayError, UplinkDown

CONTENT_TYPE = "application/cloudevents+json"
_SESSION_EXPIRY = 3600
_COMMANDS_AT_ONCE = 16
_MAX_WINDOW = 65535
_GARBAGE = (MQTTException, ValueError, LookupError, struct.error, OSError)
"""What paho raises on bytes that are no MQTT."""

SESSION_TAKEN_OVER = 0x8E


class _Client(Client):
    """paho's client on a wire that is connected already."""

    wire: Wire | None = None
    answered: list[tuple[int, int]]
    """PUBACKs that came: message id and reason code."""

    def _create_socket(self) -> Wire:
        if self.wire is None:
            raise ConnectionError("not dialled")
        return self.wire

    def _handle_pubackcomp(self, cmd: str) -> MQTTErrorCode:
        # paho builds tables of all properties and reason codes for each PUBACK: more work than all the rest.
        packet = self._in_packet["packet"]
        if cmd != "PUBACK" or len(packet) < 2:
            return MQTTErrorCode.MQTT_ERR_PROTOCOL
        mid = packet[0] << 8 | packet[1]
        with self._out_message_mutex:
            if self._out_messages.pop(mid, None) is not None:
                self.answered.append((mid, packet[2] if len(packet) > 2 else 0))
        return MQTTErrorCode.MQTT_ERR_SUCCESS

    def _send_pubrec(self, mid: int) -> MQTTErrorCode:
        # QoS 2 was never subscribed; paho would keep such messages without a bound.
        del mid
        return MQTTErrorCode.MQTT_ERR_PROTOCOL


def _properties(packet: int, **values: object) -> Properties:
    properties = Properties(packet)  # type: ignore[no-untyped-call]
    for name, value in values.items():
        setattr(properties, name, value)
    return properties


_PACKED: bytes = _properties(PacketTypes.PUBLISH, ContentType=CONTENT_TYPE).pack()  # type: ignore[no-untyped-call]


class _CloudEvent(Properties):
    """The properties that every PUBLISH of ours carries; paho would pack them anew for each."""

    def pack(self) -> bytes:
        return _PACKED


_CLOUD_EVENT = _CloudEvent(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
_REPLAYED = _properties(PacketTypes.PUBLISH, ContentType=CONTENT_TYPE, UserProperty=[("replay", "1")])


def overhead(topic: str) -> int:
    """Bytes that a PUBLISH takes at most beside its payload (MQTT 5, 3.3; a length field of 4 bytes)."""
    return 1 + 4 + 2 + len(topic.encode()) + 2 + len(_PACKED)


@dataclass(slots=True)
class _Noted:
    """What paho's callbacks noted since the last report."""

    terms: Terms | None = None
    refusal: Ending | None = None
    granted: int | None = None
    arrivals: list[MQTTMessage] = field(default_factory=list)


class Session:
    """One connection. `open`, then `publish` … until `ended` is done; `abort` or `close` ends it from our side."""

    def __init__(self, broker: Broker, will: tuple[str, bytes], events: Events) -> None:
        self._broker = broker
        self._will = will
        self._events = events
        self._loop = asyncio.get_running_loop()
        self._client = self._make_client()
        self._wire: Wire | None = None
        self._noted = _Noted()
        self._flushing = False
        self._writing = False
        self._opened: asyncio.Future[Terms] = self._loop.create_future()
        self.ended: asyncio.Future[Ending] = self._loop.create_future()
        """Done when the connection is over; an exception in it is a fault of the program."""

    def open(self) -> asyncio.Future[Terms]:
        """Begin to dial; the terms come when the broker has accepted us, `ended` if not."""
        threading.Thread(target=self._dial, name="uplink-dial", daemon=True).start()
        return self._opened

    def publish(
        self, topic: str, payload: bytes, *, retain: bool = False, correlation: bytes | None = None, again: bool = False
    ) -> int | None:
        """Send one message at QoS 1; its message id, or None if the connection is over. `again`: it is a replay."""
        properties: Properties | None = _REPLAYED if again else _CLOUD_EVENT
        if self._broker.protocol != MQTTProtocolVersion.MQTTv5:
            properties = None
        elif correlation is not None:
            properties = _properties(PacketTypes.PUBLISH, ContentType=CONTENT_TYPE, CorrelationData=correlation)
        info = self._client.publish(topic, payload, 1, retain, properties)
        if info.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
            self._finish(Ending(f"a message could not be sent: {info.rc.name}"))
            return None
        return info.mid

    def subscribe(self, topic: str) -> None:
        """Ask for `topic` at QoS 1, retained messages marked as such."""
        if self._broker.protocol == MQTTProtocolVersion.MQTTv5:
            self._client.subscribe(topic, options=SubscribeOptions(qos=1, retainAsPublished=True))
        else:
            self._client.subscribe(topic, qos=1)

    def check(self) -> None:
        """To be called about once a second: keep-alive."""
        if self._wire is not None and not self.ended.done():
            self._client.loop_misc()
            if self._client.socket() is None:
                self._finish(Ending("no answer to a ping"))

    def close(self) -> None:
        """Say goodbye (the Will is dropped) and end when the broker hangs up; `abort` after a while."""
        if self._wire is None or self.ended.done():
            self.abort("closed")
            return
        self._client.disconnect()
        self._flush()
        if not self._writing:
            self._wire.half_close()

    def abort(self, why: str) -> None:
        """End at once."""
        self._finish(Ending(why))

    def guarded(self, work: Callable[..., None], *arguments: object) -> None:
        """A fault of the program in a callback of the loop must reach the task that runs the uplink."""
        try:
            work(*arguments)
        except Exception as error:  # noqa: BLE001  # handed on whole
            self._fail(error)

    def _make_client(self) -> _Client:
        broker = self._broker
        five = broker.protocol == MQTTProtocolVersion.MQTTv5
        client = _Client(
            CallbackAPIVersion.VERSION2,
            client_id=broker.client_id,
            clean_session=None if five else False,
            protocol=MQTTProtocolVersion(broker.protocol),
            reconnect_on_failure=False,
            manual_ack=True,
        )
        client.answered = []
        # 0: paho keeps no queue and does not look through all messages at each PUBACK. The window is ours.
        client.max_inflight_messages_set(0)
        client.max_queued_messages_set(_MAX_WINDOW)
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        client.on_disconnect = self._on_disconnect
        client.on_socket_register_write = self._on_something_to_write
        about = _properties(PacketTypes.WILLMESSAGE, WillDelayInterval=broker.will_delay, ContentType=CONTENT_TYPE)
        topic, payload = self._will
        client.will_set(topic, payload, qos=1, retain=True, properties=about if five else None)
        return client

    # ---- in the worker thread

    def _dial(self) -> None:
        broker = self._broker
        outcome: tuple[Wire, str | None] | Ending
        wire: Wire | None = None
        try:
            password = None if broker.password is None else broker.password()
            silence = 2 * broker.keepalive
            wire = connect(broker.host, broker.port, timeout=broker.connect_timeout, silence=silence, tls=broker.tls)
            outcome = (wire, password)
        except UplinkDown as error:
            outcome = Ending(str(error), early=not_yet_valid(error))
        except (OSError, ValueError, GatewayError) as error:
            outcome = Ending(f"password: {error}")
        except Exception as error:  # noqa: BLE001  # a bug: it must end the uplink's task, not this thread alone
            self._hand_over(self._fail, error)
            return
        if not self._hand_over(self._dialled, outcome) and wire is not None:
            wire.shut()

    def _hand_over(self, call: Callable[[Any], None], value: object) -> bool:
        try:
            self._loop.call_soon_threadsafe(call, value)
        except RuntimeError:  # the loop is closed: nobody waits any more
            return False
        return True

    # ---- on the loop

    def _dialled(self, outcome: tuple[Wire, str | None] | Ending) -> None:
        if isinstance(outcome, Ending):
            self._finish(outcome)
            return
        wire, password = outcome
        if self.ended.done():
            wire.shut()
            return
        self._wire = self._client.wire = wire
        self._loop.add_reader(wire.fileno(), self._readable)
        self._loop.call_later(self._broker.connect_timeout, self._too_late)
        self.guarded(self._greet, password)

    def _too_late(self) -> None:
        if not self._opened.done():
            self._finish(Ending("connected, but the broker does not answer"))

    def _greet(self, password: str | None) -> None:
        broker = self._broker
        if broker.username is not None or password is not None:
            self._client.username_pw_set(broker.username, password)
        # A ping waits for its answer as long as for its turn; the owner looks once a second.
        keepalive = max(1, int(broker.keepalive) - 1)
        if broker.protocol == MQTTProtocolVersion.MQTTv5:
            properties = _properties(
                PacketTypes.CONNECT,
                SessionExpiryInterval=_SESSION_EXPIRY,
                ReceiveMaximum=_COMMANDS_AT_ONCE,
                MaximumPacketSize=MAX_PACKET,
            )
            self._client.connect(broker.host, broker.port, keepalive, clean_start=False, properties=properties)
        else:
            self._client.connect(broker.host, broker.port, keepalive)

    def _readable(self) -> None:
        self.guarded(self._take_in)

    def _writable(self) -> None:
        self.guarded(self._flush)

    def _take_in(self) -> None:
        if self._wire is None or self.ended.done():
            return
        wire = self._wire
        wire.fill()
        why = ""
        try:
            while (wire.held or wire.ended is not None) and self._client.socket() is not None:
                if self._client.loop_read() != MQTTErrorCode.MQTT_ERR_SUCCESS:
                    break
        except _GARBAGE as error:
            why = f"what the broker sent is not MQTT: {error}"
        self._report()
        if why or self._noted.refusal is not None or self._client.socket() is None:
            self._finish(
                self._noted.refusal or Ending(why or wire.ended or "the broker broke the protocol", hung_up=not why)
            )
        elif wire.decrypted:
            self._loop.call_soon(self._readable)

    def _report(self) -> None:
        noted = self._noted
        if noted.terms is not None:
            if not self._opened.done():
                self._opened.set_result(noted.terms)
            noted.terms = None
        if noted.granted is not None:
            granted, noted.granted = noted.granted, None
            self._events.subscribed(granted)
        for message in noted.arrivals:
            self._deliver(message)
        noted.arrivals.clear()
        if self._client.answered:
            acks, self._client.answered = self._client.answered, []
            self._events.acknowledged(acks)

    def _deliver(self, message: MQTTMessage) -> None:
        def acknowledge() -> None:
            if not self.ended.done() and message.qos:
                self._client.ack(message.mid, message.qos)

        size = len(message.payload)
        payload = bytes(message.payload) if size <= MAX_COMMAND else b""
        response = getattr(message.properties, "ResponseTopic", None)
        correlation = getattr(message.properties, "CorrelationData", None)
        delivery = Delivery(size, message.retain, response, acknowledge, correlation)
        self._events.arrived(message.topic, payload, delivery)

    def _on_something_to_write(self, _client: Client, _data: object, _sock: object) -> None:
        # All that is published in this turn of the loop leaves together.
        if not self._flushing and not self._writing:
            self._flushing = True
            self._loop.call_soon(self._writable)

    def _flush(self) -> None:
        self._flushing = False
        if self._wire is None or self.ended.done():
            return
        if self._client.socket() is not None:
            self._client.loop_write()
        rest = not self._wire.flush()
        if rest and not self._writing:
            self._loop.add_writer(self._wire.fileno(), self._writable)
        elif self._writing and not rest:
            self._loop.remove_writer(self._wire.fileno())
        self._writing = rest
        if self._wire.ended is not None:
            self._finish(Ending(self._wire.ended, hung_up=True))

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

    # ---- paho's callbacks: they only note

    def _on_connect(
        self, _client: Client, _data: object, _flags: ConnectFlags, reason: ReasonCode, properties: Properties | None
    ) -> None:
        if reason.is_failure:
            self._noted.refusal = Ending(f"the broker refused us: {reason}", refused=True)
            return
        if getattr(properties, "MaximumQoS", 1) < 1:
            self._noted.refusal = Ending("the broker takes no QoS 1", refused=True)
            return
        receive_maximum = getattr(properties, "ReceiveMaximum", _MAX_WINDOW)
        self._noted.terms = Terms(
            receive_maximum,
            getattr(properties, "MaximumPacketSize", None),
            bool(getattr(properties, "RetainAvailable", 1)),
        )

    def _on_subscribe(
        self, _client: Client, _data: object, _mid: int, reasons: list[ReasonCode], _properties: Properties
    ) -> None:
        self._noted.granted = max((reason.value for reason in reasons), default=0)

    def _on_message(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        self._noted.arrivals.append(message)

    def _on_disconnect(
        self, _client: Client, _data: object, flags: DisconnectFlags, reason: ReasonCode, _properties: Properties | None
    ) -> None:
        if flags.is_disconnect_packet_from_server and self._noted.refusal is None:
            taken = reason.value == SESSION_TAKEN_OVER
            self._noted.refusal = Ending(
                f"the broker hung up: {reason} (0x{reason.value:02x})", refused=taken, hung_up=not taken
            )

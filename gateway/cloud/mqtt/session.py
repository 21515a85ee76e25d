"""One MQTT connection, from the dialling to its end; never used twice.

A worker thread dials (name, TCP, TLS, reading of files), then the event loop owns the socket: nothing wakes a second
thread for each message, and a message's id is known before its PUBACK can be looked at. A turn of the loop takes in a
bounded number of bytes and packets, whatever the broker sends. What is no MQTT ends the connection and nothing else.
"""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

from gateway.cloud.mqtt import codec as mqtt
from gateway.cloud.mqtt import packets
from gateway.cloud.mqtt.codec import Connack, Disconnect, Malformed, Parser, Puback, Publish, Suback
from gateway.cloud.mqtt.packets import CONTENT_TYPE, Will
from gateway.cloud.mqtt.transport import Wire, connect, not_yet_valid
from gateway.cloud.mqtt.types import MAX_COMMAND, Broker, Delivery, Ending, Events, Terms
from gateway.errors import GatewayError, UplinkDown

_SESSION_EXPIRY_S = 3600
_COMMANDS_AT_ONCE = 16
_READS = 8
"""Pieces of at most 64 KiB that one turn of the loop takes from the socket."""
_PACKETS = 256
"""Packets that one turn takes in."""
_LONGEST = 0xFFFF
"""Bytes that a text may have in MQTT (1.5.4)."""
_MIDS = 0xFFFF
_UNSENT_ACKS = 16384
"""PUBACKs that wait in our buffer; a broker that keeps to our Receive Maximum (MQTT 5, 3.3.4) leaves 16 at most."""
_TOO_SHORT_S = 0.02
"""A broker that greets within this time says nothing about the speed of the link."""

_CLOUD_EVENT = packets.properties(CONTENT_TYPE)
_REPLAYED = packets.properties(CONTENT_TYPE, user=("replay", "1"))


def overhead(topic: str) -> int:
    """Bytes that a PUBLISH takes at most beside its payload (MQTT 5, 3.3; a length field of 4 bytes)."""
    return 1 + 4 + 2 + len(topic.encode()) + 2 + len(_CLOUD_EVENT)


class Session:
    """One connection. `open`, then `publish` … until `ended` is done; `abort` or `close` ends it from our side."""

    def __init__(self, broker: Broker, will: Will | None, events: Events, *, clean: bool = False) -> None:
        self._broker = broker
        self._will = will
        self._events = events
        self._clean = clean
        self._loop = asyncio.get_running_loop()
        self._parser = Parser(broker.protocol)
        self._wire: Wire | None = None
        self._mid = 0
        self._unanswered: set[int] = set()
        self._subscribing: int | None = None
        """Message id of the SUBSCRIBE that has no answer yet."""
        self._reading: int | None = None
        """The same for a retained message."""
        self._keepalive = float(_keepalive(broker))
        self._sent_at = self._heard_at = self._loop.time()
        self._greeting, self._greeted_at = 0, 0.0
        self._pinged_at: float | None = None
        self._reading_on = False
        """The next turn of the loop goes on with what has come already."""
        self._flushing = False
        self._writing = False
        self._unsent_acks = 0
        """PUBACKs that were written since the buffer was last empty."""
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
        if self.ended.done():
            return None
        if self._broker.protocol != mqtt.V5:
            properties = b""
        elif correlation is not None:
            properties = packets.properties(CONTENT_TYPE, correlation=correlation)
        else:
            properties = _REPLAYED if again else _CLOUD_EVENT
        mid = self._next_mid()
        self._send(packets.publish(topic, payload, mid, retain=retain, properties=properties))
        return mid

    def subscribe(self, topic: str) -> None:
        """Ask for `topic` at QoS 1, retained messages marked as such."""
        if not self.ended.done():
            self._subscribing = self._next_mid()
            self._unanswered.discard(self._subscribing)
            self._send(packets.subscribe(self._broker.protocol, topic, self._subscribing))

    def read(self, topic: str) -> None:
        """Ask for what is retained on `topic`; it arrives marked as retained, `Events.read` is told the SUBACK."""
        if not self.ended.done():
            self._reading = self._next_mid()
            self._unanswered.discard(self._reading)
            self._send(packets.subscribe(self._broker.protocol, topic, self._reading, packets.ONCE))

    def read_no_more(self, topic: str) -> None:
        """Nothing is to come on `topic` any more. In MQTT 3.1.1 what we publish there ourselves goes on to come."""
        if not self.ended.done() and self._broker.protocol == mqtt.V5:
            mid = self._next_mid()
            self._unanswered.discard(mid)
            self._send(packets.subscribe(self._broker.protocol, topic, mid, packets.NO_MORE))

    def check(self) -> float | None:
        """Keep alive; to be called again in so many seconds (None: the connection is over)."""
        if self._wire is None or self.ended.done():
            return None
        now, keepalive = self._loop.time(), self._keepalive
        if not self._opened.done() or not keepalive:
            return 1.0
        if self._pinged_at is not None:
            left = max(self._pinged_at, self._heard_at) + keepalive - now
            if left > 0:
                return left
            if not self._unanswered:
                self._finish(Ending("no answer to a ping"))
                return None
            return 1.0  # whether what is under way takes too long is the owner's to say
        left = min(self._sent_at, self._heard_at) + 0.75 * keepalive - now
        if left <= 0:
            self._pinged_at = now
            self._send(packets.PING)
        return max(left, 0.1)

    def close(self) -> None:
        """Say goodbye (the Will is dropped) and end when the broker hangs up; `abort` after a while."""
        if self._wire is None or self.ended.done():
            self.abort("closed")
            return
        self._send(packets.GOODBYE)
        self._flush()
        if not self._writing and not self.ended.done():
            self._wire.half_close()

    def round_trip(self) -> float:
        """The shortest round trip of the link that the kernel has seen, without what the broker takes; seconds."""
        return 0.0 if self._wire is None else self._wire.round_trip()

    def abort(self, why: str, *, goodbye: bool = False, dead: bool = False) -> None:
        """End at once; with a `goodbye` the broker drops the Will, if it still hears us. `dead`: it answers nothing."""
        if goodbye and self._wire is not None and not self.ended.done():
            self._wire.send(packets.GOODBYE)
            self._wire.flush()
        self._finish(Ending(why, dead=dead))

    def guarded(self, work: Callable[..., None], *arguments: object) -> None:
        """A fault of the program in a callback of the loop must reach the task that runs the uplink."""
        try:
            work(*arguments)
        except Exception as error:  # noqa: BLE001  # handed on whole
            self._fail(error)

    # ---- in the worker thread

    def _dial(self) -> None:
        broker = self._broker
        outcome: tuple[Wire, str | None] | Ending
        wire: Wire | None = None
        try:
            password = None if broker.password is None else broker.password()
            if password is not None and len(password.encode()) > _LONGEST:
                raise ValueError("longer than MQTT allows")  # noqa: TRY301  # told as one that cannot be read
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
        self._wire = wire
        self._loop.add_reader(wire.fileno(), self._readable)
        self._loop.call_later(self._broker.connect_timeout, self._too_late)
        self.guarded(self._greet, password)

    def _too_late(self) -> None:
        if not self._opened.done():
            self._finish(Ending("connected, but the broker does not answer"))

    def _greet(self, password: str | None) -> None:
        broker = self._broker
        greeting = packets.Greeting(
            broker.client_id,
            _keepalive(broker),
            self._clean,
            broker.username,
            password,
            _SESSION_EXPIRY_S,
            _COMMANDS_AT_ONCE,
        )
        packet = packets.connect(broker.protocol, greeting, self._will)
        self._greeting, self._greeted_at = len(packet), self._loop.time()
        self._send(packet)

    def _next_mid(self) -> int:
        self._mid = self._mid % _MIDS + 1
        while self._mid in self._unanswered or self._mid in (self._subscribing, self._reading):
            self._mid = self._mid % _MIDS + 1
        self._unanswered.add(self._mid)
        return self._mid

    def _readable(self) -> None:
        if not self._reading_on:
            self.guarded(self._take_in)

    def _read_on(self) -> None:
        self._reading_on = False
        self.guarded(self._take_in)

    def _writable(self) -> None:
        self.guarded(self._flush)

    def _take_in(self) -> None:
        """Read and understand as much as one turn of the loop may."""
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
            self._events.acknowledged(acks)
        if ending is None and left and wire.ended is not None:
            ending = Ending(self._hung_up(wire.ended), hung_up=True)
        if ending is not None:
            self._finish(ending)
        elif (not left or wire.decrypted) and not self._reading_on:
            self._reading_on = True
            self._loop.call_soon(self._read_on)

    def _understand(self, packet: mqtt.Packet, acks: list[tuple[int, int]]) -> Ending | None:
        """Act on one packet; an Ending if it is the last."""
        if isinstance(packet, Connack):
            return self._greeted(packet)
        if isinstance(packet, Disconnect):
            return self._dismissed(packet.code)
        if isinstance(packet, Puback):
            if packet.mid in self._unanswered:
                self._unanswered.discard(packet.mid)
                acks.append(packet)
        elif isinstance(packet, Publish):
            self._deliver(packet)
        elif isinstance(packet, Suback):
            if packet.mid == self._subscribing:
                self._subscribing = None
                self._events.subscribed(packet.code)
            elif packet.mid == self._reading:
                self._reading = None
                self._events.read(packet.code)
        else:
            self._pinged_at = None
        return None

    def _greeted(self, answer: Connack) -> Ending | None:
        if self._opened.done():
            raise Malformed("a second answer to CONNECT")
        broker = self._broker
        if answer.code == mqtt.NOT_SUPPORTED:
            mine, other = ("5", "3.1.1") if broker.protocol == mqtt.V5 else ("3.1.1", "5")
            text = f"the broker refused us: it does not speak MQTT {mine}: try `protocol: {other}` in `uplink`"
            return Ending(text, refused=True, code=answer.code)
        if answer.code:
            return Ending(f"the broker refused us: {mqtt.reason(answer.code)}", refused=True, code=answer.code)
        if answer.qos < 1:
            return Ending("the broker takes no QoS 1", refused=True)
        if answer.keepalive is not None:
            self._keepalive = float(answer.keepalive)
        took = self._heard_at - self._greeted_at - self.round_trip()
        speed = self._greeting / took if took > _TOO_SHORT_S else None
        self._opened.set_result(Terms(answer.receive_maximum, answer.packet_limit, answer.retain, speed))
        return None

    def _dismissed(self, code: int) -> Ending:
        taken = code == mqtt.SESSION_TAKEN_OVER
        text = f"the broker hung up: {mqtt.reason(code)}"
        if taken:
            text += ": another client uses this id"
        return Ending(text, refused=taken, hung_up=not taken, code=code)

    def _hung_up(self, how: str) -> str:
        """The other side ended it; before it has answered CONNECT the reason can only be guessed."""
        if self._opened.done():
            return how
        mine = "5" if self._broker.protocol == mqtt.V5 else "3.1.1"
        return f"{how} instead of an answer to CONNECT: client id, user or password, or MQTT {mine} (see `protocol:`)"

    def _deliver(self, message: Publish) -> None:
        def acknowledge() -> None:
            if not self.ended.done() and message.qos:
                self._unsent_acks += 1
                self._send(packets.puback(message.mid))
                if self._unsent_acks > _UNSENT_ACKS:
                    self._finish(Ending("the broker sends messages and takes no acknowledgement", garbled=True))

        payload = message.payload if message.size <= MAX_COMMAND else b""
        delivery = Delivery(message.size, message.retain, message.response_topic, acknowledge, message.correlation)
        self._events.arrived(message.topic, payload, delivery)

    def _send(self, data: bytes) -> None:
        """All that is sent in this turn of the loop leaves together."""
        if self._wire is None:
            return
        self._wire.send(data)
        self._sent_at = self._loop.time()
        if not self._flushing and not self._writing:
            self._flushing = True
            self._loop.call_soon(self._writable)

    def _flush(self) -> None:
        self._flushing = False
        if self._wire is None or self.ended.done():
            return
        rest = not self._wire.flush()
        if rest and not self._writing:
            self._loop.add_writer(self._wire.fileno(), self._writable)
        elif self._writing and not rest:
            self._loop.remove_writer(self._wire.fileno())
        if not rest:
            self._unsent_acks = 0
        self._writing = rest
        if self._wire.ended is not None:
            # What the broker said before it hung up is read first: it may be the reason.
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
    """As the site file has it, in whole seconds (3.1.2.10)."""
    return max(1, round(broker.keepalive))

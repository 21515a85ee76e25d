"""Types shared by the uplink, its owner and its connections."""

from asyncio import Event, Future
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

from gateway.cloud.outbox import Row
from gateway.driver import SecretSource
from gateway.model import Stream

MAX_COMMAND_BYTES = 256 << 10
"""A payload over this many bytes is reported but not passed on (nor is any in a packet over `mqtt.MAX_PACKET`)."""

HUNG_UP = 0x00
"""Used where the broker ends the connection each time instead of refusing a message."""


class Again(NamedTuple):
    """An event that is sent again on request, with its original bytes."""

    stream: Stream
    payload: bytes


class Limits(NamedTuple):
    """How much may be in flight, and how long to wait for it (seconds)."""

    packet: int = 256 << 10
    """The largest packet to send, bytes; the broker's Maximum Packet Size if that is less."""
    rate: float | None = None
    """The most messages a second; None: no limit."""
    window: int = 64
    """The most publishes without a PUBACK; the broker's Receive Maximum if that is less."""
    answer: float = 9.0
    """Time for a PUBACK, plus one and a half times what its message takes on this link; then the link is dead."""
    retry_first: float = 0.5
    """After a refused publish; doubles …"""
    retry_quick: float = 10.0
    """… up to this, if the broker may take it soon (0x80, 0x83, 0x97), …"""
    retry_last: float = 60.0
    """… or up to this, if a person must fix something (0x87, 0x90, 0x99)."""


class TlsFiles(NamedTuple):
    """PEM files of the TLS connection; None: the system's authorities, no client certificate."""

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    strict: bool | None = None
    """Refuse certificates that RFC 5280 does not allow; None: Python's default (refuse since 3.13)."""


@dataclass(frozen=True, slots=True)
class Broker:
    """Address of the broker, and our identity there."""

    host: str
    port: int = 1883
    client_id: str = ""
    protocol: int = 5
    """5, or 4 for MQTT 3.1.1 (which cannot report a refusal)."""
    tls: TlsFiles | None = None
    username: str | None = None
    password: SecretSource | None = None
    """Read for each connection, in a worker thread."""
    keepalive: float = 30.0
    will: bool = True
    """The broker publishes that we are offline when we are gone (Will)."""
    will_delay: int = 10
    """Seconds that it waits for us before it does so."""
    retain: bool = True
    """Retain messages of which only the latest counts, if the broker can."""
    max_packet: int = 256 << 10
    """The largest packet to send, bytes; the broker's limit if that is less."""
    rate: float | None = None
    """The most messages a second; None: no limit."""
    connect_timeout: float = 10.0


class Will(NamedTuple):
    """The message that the broker publishes when we are gone."""

    topic: str
    payload: bytes
    content_type: str = ""
    """MQTT 5 only, as the delay."""
    retain: bool = True
    delay: int = 0
    """Seconds."""


class Ending(NamedTuple):
    """Why a connection ended or could not be made."""

    text: str
    refused: bool = False
    """The broker refused us (CONNACK, take-over): retrying soon would not help."""
    early: bool = False
    """Its certificate begins in the future by our clock."""
    hung_up: bool = False
    """The other side ended the connection."""
    garbled: bool = False
    """The broker's bytes could not be parsed."""
    code: int = 0
    """The broker's reason code; 0: none."""
    dead: bool = False
    """The broker did not answer in time."""


class Terms(NamedTuple):
    """The broker's terms for this connection."""

    receive_maximum: int
    """The most unacknowledged publishes."""
    packet_limit: int | None
    """Largest packet it takes, bytes."""
    retain: bool
    """The broker keeps retained messages."""
    speed: float | None = None
    """Bytes a second at which CONNECT was answered."""


class MessageEnvelope(NamedTuple):
    """What comes with a message."""

    size: int
    """Bytes of the payload as sent; over MAX_COMMAND_BYTES the payload is not passed on."""
    retain: bool
    response_topic: str | None
    acknowledge: Callable[[], None]
    """Acknowledge the message to the broker; without this it comes again on the next connection.

    A function, because it belongs to the connection of the message, which the receiver does not know.
    """
    correlation: bytes | None = None
    """Correlation Data of MQTT 5, by which the requester recognises the reply."""


class SessionOwner(Protocol):
    """Receives what arrives on a session, on the loop's thread."""

    def acknowledged(self, acks: list[tuple[int, int]]) -> None:
        """PUBACKs of one burst have come: (message id, reason code)."""
        ...

    def subscribed(self, topic: str, code: int) -> None:
        """The last SUBSCRIBE to this topic was answered with this reason code."""
        ...

    def arrived(self, topic: str | None, payload: bytes, envelope: MessageEnvelope) -> None:
        """A message has come. `topic` is None if it is not valid text."""
        ...


COMMANDS_REFUSED, COMMANDS_DROPPED = "commands-refused", "commands-dropped"


@dataclass(frozen=True, slots=True)
class UplinkSettings:
    """Settings of the uplink."""

    broker: Broker
    root: str
    """`T`: the prefix of every topic."""
    source: str
    """The CloudEvents source of this gateway."""
    boot: str
    version: str
    simulated: bool = False
    commands: bool = True
    """There are command keys; otherwise nothing is subscribed."""
    limits: Limits = field(default_factory=Limits)


class Observer(Protocol):
    """Gets reports of the uplink; called on the loop's thread, must not block."""

    def refused(self, stream: str, code: int | None) -> None:
        """A stream, or `alarm/active`, `status` or `health`, is refused with this reason code.

        The code is 0x87, 0x90 or 0x99; 0: the broker hangs up at it. None: it is accepted again.
        """
        ...

    def heard(self, row: Row) -> None:
        """The broker accepted the row and did not report missing subscribers."""
        ...

    def unheard(self, row: Row) -> None:
        """The broker accepted the row, but nobody is subscribed (0x10)."""
        ...

    def link(self, up: bool, why: str) -> None:
        """The link is connected, or lost, and why."""
        ...

    def trouble(self, name: str, text: str) -> None:
        """COMMANDS_REFUSED or COMMANDS_DROPPED, with what is wrong; empty: it has ended."""
        ...


class Unobserved:
    """An observer that does nothing."""

    def refused(self, stream: str, code: int | None) -> None:
        """Nothing."""

    def heard(self, row: Row) -> None:
        """Nothing."""

    def unheard(self, row: Row) -> None:
        """Nothing."""

    def link(self, up: bool, why: str) -> None:
        """Nothing."""

    def trouble(self, name: str, text: str) -> None:
        """Nothing."""


class CommandDesk(Protocol):
    """Receives commands."""

    def arrived(self, topic: str, payload: bytes, envelope: MessageEnvelope) -> bool:
        """Take a command; `payload` is empty if it is larger than a command may be (see `MessageEnvelope.size`).

        False: there was no room; the uplink then acknowledges and counts it.
        """
        ...


class Replayed(Protocol):
    """Supplies events that are sent again."""

    def take(self) -> Again | None:
        """The next one, if one is ready; called when nothing else has to be sent."""
        ...

    @property
    def ready(self) -> Event:
        """Set when `take` may have something new; the one who waits for it clears it."""
        ...


class RecallJudge(Protocol):
    """Judges the retained `alarm/active` before the process first sends anything."""

    def recalled(self, payload: bytes | None) -> Future[None] | None:
        """Judge the message; `payload` None: it could not be read.

        All sending waits until the returned future is done; None: nothing to wait for.
        """
        ...


@dataclass(frozen=True, slots=True)
class ConnectionSnapshot:
    """The state of the uplink for health and metrics. Times in seconds, `since` monotonic."""

    connected: bool
    since: float
    reconnects: int
    in_flight: int
    error: str | None
    """Why the last connection or attempt ended, if it did."""
    latency_p50: float | None
    latency_p99: float | None
    """From publish to PUBACK, over the last 512."""
    acknowledged: float | None
    """When the last PUBACK came, monotonic."""
    accepted: int
    no_listener: int
    replies_lost: int
    refused: Mapping[str, int] = field(default_factory=dict)
    """Stopped streams and refused retained topics -> reason code."""
    retained: bool = True
    """The broker keeps the latest of `alarm/active`, `status` and `health`."""
    found_limit: int | None = None
    """The largest packet that the broker takes, inferred from its hang-ups, bytes."""
    speed: float | None = None
    """Measured speed of the link, bytes a second."""
    window: int = 0
    """Messages that may be in flight now, in addition to alarms."""
    commands: str | None = None
    """What is wrong with the subscription to commands."""
    dropped: Mapping[str, int] = field(default_factory=dict)
    """Dropped messages from the broker, by reason."""

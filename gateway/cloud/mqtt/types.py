"""What the uplink and its owner, and the uplink and one of its connections, say to each other."""

from asyncio import Future
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

from gateway.cloud.outbox import Row
from gateway.driver import SecretSource
from gateway.model import Stream

MAX_COMMAND_BYTES = 256 << 10
"""A payload over this many bytes is reported, but not handed on (nor is any in a packet over `mqtt.MAX_PACKET`)."""

HUNG_UP = 0x00
"""No code of the broker's: instead of refusing a message it ends the connection, each time."""


class Again(NamedTuple):
    """An event that is sent again because somebody asked for it, with the bytes that it always had."""

    stream: Stream
    payload: bytes


class Limits(NamedTuple):
    """How much may be under way, and how long is waited for it (seconds)."""

    packet: int = 256 << 10
    """Bytes of the largest packet that is sent; the broker's Maximum Packet Size, if that is less."""
    rate: float | None = None
    """Messages a second that are sent at most; None: no limit."""
    window: int = 64
    """Publishes without an answer; the broker's Receive Maximum, if that is less."""
    answer: float = 9.0
    """For a PUBACK, plus one and a half times what its message takes on this link; then the link is dead."""
    retry_first: float = 0.5
    """After a refused publish; doubles …"""
    retry_quick: float = 10.0
    """… up to this, if the broker may take it soon (0x80, 0x83, 0x97), …"""
    retry_last: float = 60.0
    """… or up to this, if a person must mend something (0x87, 0x90, 0x99)."""


class TlsFiles(NamedTuple):
    """PEM files of the TLS connection; None: the system's authorities, no client certificate."""

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    strict: bool | None = None
    """Refuse certificates that RFC 5280 does not allow; None: as this Python does (since 3.13 it does)."""


@dataclass(frozen=True, slots=True)
class Broker:
    """Where the broker is and who we are to it."""

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
    """The broker is to say that we are offline when we are gone."""
    will_delay: int = 10
    """Seconds that it waits for us before it says so; 0: it says so at once."""
    retain: bool = True
    """Messages of which only the latest counts are retained, if the broker can."""
    max_packet: int = 256 << 10
    """Bytes of the largest packet that is sent; the broker's word, if that is less."""
    rate: float | None = None
    """Messages a second that are sent at most; None: no limit."""
    connect_timeout: float = 10.0


class Will(NamedTuple):
    """What the broker publishes when we are gone."""

    topic: str
    payload: bytes
    content_type: str = ""
    """MQTT 5 only, as the delay."""
    retain: bool = True
    delay: int = 0
    """Seconds."""


class Ending(NamedTuple):
    """Why a connection is over, or never was."""

    text: str
    refused: bool = False
    """The broker turned us away (CONNACK, take-over): trying again soon would not help."""
    early: bool = False
    """Its certificate begins later than our clock says it is."""
    hung_up: bool = False
    """The other side ended it."""
    garbled: bool = False
    """What the broker sent could not be understood."""
    code: int = 0
    """The broker's reason code; 0: it gave none."""
    dead: bool = False
    """Nothing was answered in time."""


class Terms(NamedTuple):
    """What the broker grants on this connection."""

    receive_maximum: int
    """Publishes that may be unacknowledged at once."""
    packet_limit: int | None
    """Largest packet it takes, bytes."""
    retain: bool
    """It keeps retained messages."""
    speed: float | None = None
    """Bytes a second at which CONNECT was answered."""


class Delivery(NamedTuple):
    """What came along with a message."""

    size: int
    """Bytes of the payload as it was sent; over MAX_COMMAND_BYTES the payload is not handed on."""
    retain: bool
    response_topic: str | None
    acknowledge: Callable[[], None]
    """Tell the broker that it was accepted; without this it comes again on the next connection."""
    correlation: bytes | None = None
    """Of MQTT 5: whoever asks knows the answer by it."""


class Events(NamedTuple):
    """What the owner of a session is told, all on the loop's thread."""

    acknowledged: Callable[[list[tuple[int, int]]], None]
    """PUBACKs of one burst: (message id, reason code)."""
    subscribed: Callable[[int], None]
    """SUBACK with its reason code."""
    arrived: Callable[[str | None, bytes, Delivery], None]
    read: Callable[[int], None] = lambda _code: None
    """SUBACK to the question for a retained message, with its reason code."""


COMMANDS_REFUSED, COMMANDS_DROPPED = "commands-refused", "commands-dropped"


@dataclass(frozen=True, slots=True)
class Settings:
    """Where to send and as whom."""

    broker: Broker
    root: str
    """`T`: what every topic begins with."""
    source: str
    """The CloudEvents source of this gateway."""
    boot: str
    version: str
    simulated: bool = False
    commands: bool = True
    """Somebody may command: without, nothing is subscribed."""
    limits: Limits = field(default_factory=Limits)


class Observer(Protocol):
    """Who is told how the uplink fares; all on the loop's thread, and none may wait."""

    def refused(self, stream: str, code: int | None) -> None:
        """A stream stands still, or `alarm/active`, `status` or `health` is not taken, because of this reason code.

        0x87, 0x90, 0x99; 0: the broker hangs up at it. None: it flows again.
        """
        ...

    def heard(self, row: Row) -> None:
        """The broker took the row, and did not say that nobody is subscribed."""
        ...

    def unheard(self, row: Row) -> None:
        """The broker took the row, but nobody is subscribed (0x10)."""
        ...

    def link(self, up: bool, why: str) -> None:
        """Connected, or lost and why."""
        ...

    def trouble(self, name: str, text: str) -> None:
        """COMMANDS_REFUSED or COMMANDS_DROPPED, and what is wrong; empty: it is over."""
        ...


class Unobserved:
    """Nobody is told."""

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
    """Who takes commands."""

    def arrived(self, topic: str, payload: bytes, delivery: Delivery) -> bool:
        """One came; empty if it is larger than a command may be (see `Delivery.size`).

        False: it was not taken for lack of room; then it is acknowledged and counted by the uplink.
        """
        ...


class Replayed(Protocol):
    """Events that are to be sent again."""

    def take(self) -> Again | None:
        """The next one, if one is at hand; asked when nothing else is to be sent."""
        ...

    def notify(self, ready: Callable[[], None]) -> None:
        """Call `ready` on the loop whenever `take` may give something that it did not give before."""
        ...


class RecallJudge(Protocol):
    """Who judges what stood on `alarm/active` before the first sending of this life."""

    def recalled(self, payload: bytes | None) -> Future[None] | None:
        """What it was; None: it could not be read.

        What is given back holds up all sending until it is done; None: nothing follows.
        """
        ...


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state of the uplink for health and metrics. Times in seconds, `since` monotonic."""

    connected: bool
    since: float
    reconnects: int
    in_flight: int
    error: str | None
    """Why the last connection or attempt ended."""
    latency_p50: float | None
    latency_p99: float | None
    """Publish to PUBACK, over the last 512."""
    acknowledged: float | None
    """When the last PUBACK came, monotonic."""
    accepted: int
    no_listener: int
    replies_lost: int
    refused: Mapping[str, int] = field(default_factory=dict)
    """Streams that stand still, and retained topics that are not taken, with the reason code."""
    retained: bool = True
    """The broker keeps the latest of `alarm/active`, `status` and `health`."""
    found_limit: int | None = None
    """The largest packet that the broker takes as found out by its hanging up, bytes."""
    speed: float | None = None
    """Bytes a second that the link was seen to carry."""
    window: int = 0
    """Messages that may be in flight at present, beside alarms."""
    commands: str | None = None
    """What is wrong with the subscription to commands."""
    dropped: Mapping[str, int] = field(default_factory=dict)
    """Messages from the broker that were not taken, by reason."""

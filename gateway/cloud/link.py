"""What the uplink and one of its connections say to each other."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

MAX_COMMAND = 256 << 10
"""A command over this many bytes is reported, but not handed on."""


class TlsFiles(NamedTuple):
    """PEM files of the TLS connection; None: the system's authorities, no client certificate."""

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None


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
    password: Callable[[], str] | None = None
    """Called for each connection, in a worker thread; raises OSError or GatewayError."""
    keepalive: float = 30.0
    will_delay: int = 10
    """Seconds that the broker waits for us before it says that we are offline."""
    connect_timeout: float = 10.0


class Ending(NamedTuple):
    """Why a connection is over, or never was."""

    text: str
    refused: bool = False
    """The broker turned us away (CONNACK, take-over): trying again soon would not help."""
    early: bool = False
    """Its certificate begins later than our clock says it is."""
    hung_up: bool = False
    """The other side ended it."""


class Terms(NamedTuple):
    """What the broker grants on this connection."""

    receive_maximum: int
    """Publishes that may be unacknowledged at once."""
    packet_limit: int | None
    """Largest packet it takes, bytes."""
    retain: bool
    """It keeps retained messages."""


class Delivery(NamedTuple):
    """What came along with a message."""

    size: int
    """Bytes of the payload as it was sent; over MAX_COMMAND the payload is not handed on."""
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
    arrived: Callable[[str, bytes, Delivery], None]

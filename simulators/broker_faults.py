"""What can be wrong with the broker."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from simulators.packets import Connect, PublishPacket, matches

WITHHELD = -1
"""A verdict: no PUBACK at all (the message is not passed on)."""

Verdict = Callable[[PublishPacket], int | None]
"""The reason code for a message; None: judge it as always."""


def by_topic(codes: Mapping[str, int]) -> Verdict:
    """A verdict by topic filter."""
    return lambda message: next((code for name, code in codes.items() if matches(name, message.topic)), None)


@dataclass(slots=True)
class BrokerFaults:
    """What is wrong with the broker; may be changed at any time."""

    verdict: Verdict | None = None
    puback_delay: float = 0.0
    """Seconds from a PUBLISH to its PUBACK."""
    receive_maximum: int | None = None
    """Announced in CONNACK; a client that exceeds it is hung up on (0x93)."""
    packet_limit: int | None = None
    """Announced in CONNACK; a larger packet ends the connection (0x95)."""
    mute: bool = False
    """Accept connections, read, answer nothing."""
    refuse: int | None = None
    """Answer CONNECT with this reason code."""
    authorise: Callable[[Connect], int] | None = None
    """Reason code for a CONNECT."""
    oversize: bool = False
    """Send packets over the client's Maximum Packet Size too."""

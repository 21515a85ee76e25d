"""What is published, how much of it at once, and what is counted of it. Pure."""

from typing import NamedTuple

from gateway.cloud.mqtt.retained import Slot
from gateway.cloud.mqtt.stream import Lane
from gateway.cloud.outbox import Row
from gateway.model import Stream


class Message(NamedTuple):
    """One publish. Exactly one of `lane` (with `row`) and `slot` is set, or none for a reply or a replay."""

    topic: str
    payload: bytes
    retain: bool = False
    lane: Lane | None = None
    row: Row | None = None
    slot: Slot | None = None
    correlation: bytes | None = None
    again: bool = False


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


class Counts:
    """What was counted since the start."""

    __slots__ = ("accepted", "no_listener", "refused", "replies_lost")

    def __init__(self) -> None:
        self.accepted = 0
        self.no_listener = 0
        self.refused = 0
        self.replies_lost = 0

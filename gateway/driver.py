"""What a driver promises to the field. Pure.

A `Poller` is a line that the gateway asks. Its factory checks the settings and does no I/O (raises `ConfigError`);
entering it connects (raises `LineDown`); leaving closes; it can be entered again. A driver never sleeps for a schedule,
never retries, never logs an expected failure, and knows nothing of topics, rules or storage. It keeps the silences that
its protocol needs on the wire.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal, NamedTuple, Protocol, Self, runtime_checkable

from gateway.model import Input, Lane, Passage, Quality, Reason, Value


class Decoded(NamedTuple):
    """One point's value from an answer, before the field adds the time."""

    value: Value | None
    text: str | None
    unit: str | None
    quality: Quality
    reason: Reason | None


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """One request that reads some points of one device. The field schedules it, the driver interprets it.

    Blocks compare by identity: a line keeps the blocks it got from its poller.
    """

    device: str
    points: tuple[str, ...]
    lane: Lane
    every: float
    """Wanted period in seconds."""
    wire: float
    """Seconds that request, answer and silences take on the wire, without the device's own latency."""
    request: object = field(repr=False)
    """The driver's own description of the request."""


@dataclass(frozen=True, slots=True)
class Timing:
    """How long one device may take to answer, in seconds beyond the wire time."""

    floor: float
    ceiling: float


class Poller(Protocol):
    """A line that the gateway asks."""

    in_flight: int
    """Requests that may be under way at once (1 on every bus)."""
    latency: float
    """Seconds that the last answer took beyond its wire time, from the last byte of the request on.

    Right after `read` has returned it belongs to that read, even with several in flight.
    """

    def blocks(self) -> Sequence[Block]:
        """All requests that read every readable point of every device of this line."""
        ...

    def timing(self, device: str) -> Timing:
        """Limits of the adaptive time-out of one device."""
        ...

    async def __aenter__(self) -> Self:
        """Connect. Raises LineDown."""
        ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close; never raises."""
        ...

    async def read(self, block: Block, timeout: float) -> bytes:
        """Ask once. `timeout`: seconds from the last byte sent. Raises LineDown, DeviceSilent, DeviceRefused."""
        ...

    def decode(self, block: Block, raw: bytes) -> Mapping[str, Decoded]:
        """Decode each point of the block from `raw` (from `read`); pure."""
        ...

    def narrow(self, block: Block) -> Sequence[Block]:
        """Smaller blocks for the same points after a refusal; empty when it cannot be split further."""
        ...

    def block_for(self, device: str, points: Sequence[str], lane: Lane) -> Sequence[Block]:
        """Requests that read just these points at once (confirm reads, `read` commands)."""
        ...

    async def write(self, device: str, point: str, value: Value, timeout: float) -> None:
        """Write one point once. Raises LineDown, DeviceSilent, DeviceRefused."""
        ...


@runtime_checkable
class Proving(Protocol):
    """A poller whose answers carry no number, so that it may wait or send a side request before a read."""

    async def read_back(self, block: Block, timeout: float) -> bytes:
        """As `read`, right after a write with a wrong reply: at once, and in a shape that no old answer has."""
        ...


@runtime_checkable
class Yielding(Protocol):
    """A poller with one request at a time, whose reads can be cut short for an order to another device."""

    def give_way(self, haste: float | None) -> None:
        """An order waits: the read under way ends with GaveWay if it has not been sent yet.

        `haste`: a request that has been sent (also a write) ends too, unless its answer has begun within that many
        seconds after the last byte sent; None: its answer is waited for as usual. Does nothing when nothing is under
        way.
        """
        ...


@runtime_checkable
class Traced(Protocol):
    """A poller that keeps the last traffic of its line, for fault finding."""

    frames: Iterable[tuple[str, float, bytes]]
    """`>` sent (`?`: a side request) or `<` received, monotonic seconds, bytes; oldest first."""


@runtime_checkable
class Showing(Protocol):
    """A poller that can show the content of an answer before decoding, as evidence."""

    def registers(self, block: Block, raw: bytes) -> Mapping[str, int | str]:
        """The raw content of each point: a bit or one register as a number, more registers as words in hex; pure."""
        ...


@runtime_checkable
class Tolerant(Protocol):
    """A poller that counts anomalies on its line."""

    @property
    def oddities(self) -> Mapping[str, int | str | None]:
        """For health: strange bytes, unrequested answers, deviating identities of its devices."""
        ...


@dataclass(frozen=True, slots=True)
class CapturedPicture:
    """A picture as a camera sent it, not decoded."""

    role: Literal["plate", "scene"]
    data: bytes = field(repr=False)
    content_type: str = "image/jpeg"


class Push(NamedTuple):
    """A camera's report of one car. The passage has no picture ids yet; the pictures are in the order of sending."""

    passage: Passage
    snapshots: tuple[CapturedPicture, ...] = ()


class SecretSource(Protocol):
    """The place of a password or token. It is read each time it is needed and never stored."""

    def read(self) -> str:
        """The present secret. Raises ConfigError."""
        ...


class InputInbox(Protocol):
    """The part of the inbox for inputs that may have to wait."""

    async def put(self, item: Input) -> None:
        """Add an input; waits while there is no room."""
        ...


class PassageInbox(Protocol):
    """The part of the inbox for passages."""

    async def hand_in(self, passage: Passage) -> None:
        """Add a passage; returns once its step is committed and its effects were begun."""
        ...


class ReminderInbox(Protocol):
    """The part of the inbox for inputs that never wait."""

    def remind(self, item: Input) -> None:
        """Add an input that never waits: an outcome, a tick, the gateway's own health."""
        ...


class SiteInbox(InputInbox, PassageInbox, ReminderInbox, Protocol):
    """The whole inbox of the site."""


class PushTaker(Protocol):
    """Takes the reports of cameras."""

    async def take(self, push: Push) -> None:
        """Take a push; returns once it is *accepted* (committed, or taken while the store is lost).

        May be cancelled when the camera cannot wait any longer; the push is still taken.
        """
        ...

    async def opens(self, push: Push) -> bool:
        """True if the answer to this push opens the camera's relay. Called once the push is accepted."""
        ...

    def tell(self, who: str, well: bool, why: str) -> None:
        """Log that a camera or the port is down, or back."""
        ...

    def alarm(self, name: str, well: bool, why: str) -> None:
        """Raise or clear `CAMERA/camera-unreadable` or `CAMERA/camera-token`."""
        ...


class Listener(Protocol):
    """A source that sends by itself: a port that cameras push to, or a camera's event stream."""

    async def run(self) -> None:
        """Run until cancelled. Retries a port in use or an absent camera by itself."""
        ...

    def snapshot(self) -> Mapping[str, Mapping[str, int | float | str | bool | None]]:
        """For health, by camera: `reachable`, `last` (wall seconds of its last message), counters of refusals."""
        ...

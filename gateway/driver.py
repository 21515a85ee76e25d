"""What a driver promises to the field. Pure.

A `Poller` is a line that the gateway asks. Its factory checks the settings and does no I/O (raises
`ConfigError`); entering it connects (raises `LineDown`); leaving closes; it can be entered again.
A driver never sleeps for a schedule, never retries, never logs an expected failure, and knows nothing
of topics, rules or storage. Protocol silences on the wire are its own affair.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal, NamedTuple, Protocol, Self, runtime_checkable

from gateway.model import Input, Lane, Passage, Quality, Reason, Value


class Decoded(NamedTuple):
    """One point's value out of an answer, before the field stamps the time on it."""

    value: Value | None
    text: str | None
    unit: str | None
    quality: Quality
    reason: Reason | None


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """One request that reads some points of one device. The field schedules it, the driver understands it.

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

    Right after `read` has returned it is that read's, also with several in flight.
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
        """What `raw` (from `read`) says about each point of the block; pure."""
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
    """A poller on whose line answers carry no number, so that before a read it may wait, or ask something else."""

    async def read_back(self, block: Block, timeout: float) -> bytes:
        """As `read`, right after a write whose reply was not right: at once, and in a shape that no old answer has."""
        ...


@runtime_checkable
class Yielding(Protocol):
    """A poller of one request at a time whose reads can be ended for an order to another device."""

    def give_way(self, haste: float | None) -> None:
        """An order waits: the read under way ends with GaveWay if it has not been sent yet.

        `haste`: what has been sent (a write too) ends so as well, unless the answer has begun that many seconds after
        the last byte sent; None: it is waited for as ever. Does nothing when nothing is under way.
        """
        ...


@runtime_checkable
class Traced(Protocol):
    """A poller that keeps the last bytes of its line, for fault finding."""

    frames: Iterable[tuple[str, float, bytes]]
    """`>` sent (`?`: only to prove whose answers come) or `<` received, monotonic seconds, bytes; the oldest first."""


@runtime_checkable
class Showing(Protocol):
    """A poller that can show what an answer held before it was decoded, as evidence."""

    def registers(self, block: Block, raw: bytes) -> Mapping[str, int | str]:
        """Of each point: a bit or one register as a number, more registers as words in hex; pure."""
        ...


@runtime_checkable
class Tolerant(Protocol):
    """A poller that counts anomalies on its line."""

    @property
    def oddities(self) -> Mapping[str, int | str | None]:
        """For health: strange bytes, answers that nobody asked for, how its devices name themselves."""
        ...


@dataclass(frozen=True, slots=True)
class CapturedPicture:
    """A picture as a camera sent it: bytes that nobody has decoded yet."""

    role: Literal["plate", "scene"]
    data: bytes = field(repr=False)
    content_type: str = "image/jpeg"


class Push(NamedTuple):
    """What a camera says of one car. The passage names no pictures yet; they are here, in the order of sending."""

    passage: Passage
    snapshots: tuple[CapturedPicture, ...] = ()


class SecretSource(Protocol):
    """Where a password or a token lies. It is read each time it is needed and kept nowhere."""

    def read(self) -> str:
        """The secret as it is now. Raises ConfigError."""
        ...


class InputInbox(Protocol):
    """The way into the site for what may have to wait there."""

    async def put(self, item: Input) -> None:
        """Hand in; waits while there is no room for what may wait."""
        ...


class PassageInbox(Protocol):
    """The way into the site for passages."""

    async def hand_in(self, passage: Passage) -> None:
        """Hand in a passage; returns once its step is committed and what it wants done was begun."""
        ...


class ReminderInbox(Protocol):
    """The way into the site for what waits for nothing."""

    def remind(self, item: Input) -> None:
        """Hand in what waits for nothing: an outcome, a tick, the gateway's own health."""
        ...


class SiteInbox(InputInbox, PassageInbox, ReminderInbox, Protocol):
    """The way into the site."""


class PushTaker(Protocol):
    """Who takes what cameras say."""

    async def take(self, push: Push) -> None:
        """Hand one push in; returns once it is *accepted* (committed, or taken while the store is lost).

        May be cancelled when the camera cannot wait any longer: the push is taken all the same.
        """
        ...

    async def opens(self, push: Push) -> bool:
        """The answer to this push opens the camera's own relay. Asked once the push is accepted."""
        ...

    def tell(self, who: str, well: bool, why: str) -> None:
        """A camera or the port went down, or is back: a line of the log."""
        ...

    def alarm(self, name: str, well: bool, why: str) -> None:
        """`CAMERA/camera-unreadable` or `CAMERA/camera-token` begins, or ends."""
        ...


class Listener(Protocol):
    """What speaks by itself: a port that cameras push to, or a camera that is listened to."""

    async def run(self) -> None:
        """Until cancelled. A port that is taken, a camera that is away: tried again by itself."""
        ...

    def snapshot(self) -> Mapping[str, Mapping[str, int | float | str | bool | None]]:
        """For health, by camera: `reachable`, `last` (wall seconds of the last word), counters of what was refused."""
        ...

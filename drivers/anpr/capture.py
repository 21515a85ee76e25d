"""What a camera reports about a car, and the answer that it expects. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple, TypeVar

from gateway.errors import GatewayError
from gateway.model import Instant, Passage, PictureRef, Way

Role = Literal["plate", "scene"]
Turn = Literal["forward", "reverse"]
"""`forward`: towards the camera; `reverse`: away from it."""
ReportKind = Literal["captures", "heartbeat", "registration", "test", "pictures", "other"]
EVENTS = 16
"""Events of one push that are read; the others are counted (`Report.cut`)."""
NAMED = 12
"""Names of refused parts that a report carries; the rest is only counted."""

T = TypeVar("T")


class Unreadable(GatewayError):
    """The payload is not what this maker sends. The only error that a parser raises; its text names no plate."""


@dataclass(frozen=True, slots=True)
class CameraSettings:
    """What a parser must know of one camera."""

    utc_offset: float | None = None
    """Seconds east of UTC, used where the camera names no zone, or an impossible one."""
    way: Way | None = None
    """Where its cars go, whatever it says; None: its own word counts, by `ways`."""
    ways: Mapping[Turn, Way] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture as it came: bytes that nobody has decoded yet."""

    role: Role
    data: bytes = field(repr=False)
    content_type: str = "image/jpeg"
    name: str = ""


class Seen(NamedTuple):
    """The camera's own time of the passage."""

    wall: float
    """Seconds since 1970."""
    zone: Literal["camera", "setting"]
    """Who said how far it is from UTC."""
    firm: bool = True
    """False: the camera contradicted itself; no judgement may rest on it."""


@dataclass(frozen=True, slots=True)
class Capture:
    """One car before one camera."""

    plate_raw: str | None
    """As sent, at most 64 characters; None: the camera says that it read none."""
    key: str
    """The same for every sending of the same capture, live or from the camera's memory; empty: nothing tells it."""
    confidence: float | None = None
    """On the camera's own scale."""
    colour: str | None = None
    """Of the plate: blue, yellow, white, black, green, yellow-green."""
    kind: str | None = None
    """The plate's kind in the words of the site, as far as the camera tells."""
    turn: Turn | None = None
    turn_raw: str | None = None
    seen: Seen | None = None
    history: bool = False
    """The maker's mark of a record from the camera's memory."""
    trigger: str | None = None
    lane: str | None = None
    pictures: tuple[Picture, ...] = ()
    blanks: str = ""
    """What this maker writes within a plate for a character that was not read."""
    also: tuple[str, ...] = ()
    """All plates of a car that carries several (those of three regions), as sent; empty: it has the one."""
    channel: int | None = None
    """Of a recorder, counted from 1; None: it does not say."""
    by_platform: bool = False
    """The channel is a platform's own number: it counts only for a camera whose entry has a channel."""
    url: str | None = None
    """Where the camera keeps the scene, as it says. Never fetched from anywhere but its configured address."""

    def is_of(self, channel: int | None) -> bool:
        """It belongs to a camera with this channel in the file; without channels that is the first of its device."""
        if self.channel is None or (channel is None and self.by_platform):
            return True
        return self.channel <= 1 if channel is None else self.channel == channel

    def way(self, settings: CameraSettings) -> Way | None:
        """Into the site or out of it; None: not known."""
        if settings.way is not None:
            return settings.way
        return settings.ways.get(self.turn) if self.turn is not None else None


@dataclass(frozen=True, slots=True)
class PushReply:
    """What the camera wants to hear."""

    body: bytes = b""
    content_type: str = "text/plain"
    status: int = 200


OK = PushReply()
JSON_TYPE = "application/json"


@dataclass(frozen=True, slots=True)
class Report:
    """What one payload says."""

    kind: ReportKind
    reply: PushReply = OK
    captures: tuple[Capture, ...] = ()
    pictures: tuple[Picture, ...] = ()
    """That belong to no capture (a picture that was asked for)."""
    refused: int = 0
    """Parts that were not taken: pictures of faces, parts over a limit."""
    names: tuple[str, ...] = ()
    """Of refused parts, at most twelve."""
    cut: int = 0
    """Events that were not read: beyond `EVENTS`, or unreadable beside others that are not."""
    device: str | None = None
    """The serial number or id that the camera calls itself by; never a proof of anything."""
    record: int | None = None
    """The number that the answer has to name (VZenith)."""
    events: tuple[str, ...] = ()
    """Kinds of events that are not captures (`videoloss`, `VMD`, …)."""


def merged(reports: Sequence[Report]) -> Report:
    """Several events of one push as one report. `reports` is not empty; the first with cars gives the answer."""
    main = next((one for one in reports if one.kind == "captures"), reports[0])
    if len(reports) == 1:
        return main
    return replace(
        main,
        captures=tuple(car for one in reports for car in one.captures),
        refused=sum(one.refused for one in reports),
        cut=sum(one.cut for one in reports),
        names=tuple(name for one in reports for name in one.names)[:NAMED],
        events=tuple(event for one in reports for event in one.events),
    )


def over(many: Sequence[object]) -> int:
    """How many of so many events are too many."""
    return max(0, len(many) - EVENTS)


def read_each(many: Sequence[T], read: Callable[[T], Report]) -> Report:
    """The events of one push as one report, which counts what is too much or cannot be read.

    Raises Unreadable: none can be read.
    """
    reports: list[Report] = []
    unread = 0
    why = Unreadable("nothing in it")
    for one in many[:EVENTS]:
        try:
            reports.append(read(one))
        except Unreadable as error:
            why = error
            unread += 1
    if not reports:
        raise why
    report = merged(reports)
    return replace(report, cut=report.cut + unread + over(many))


def passage(
    capture: Capture, camera: str, settings: CameraSettings, at: Instant, pictures: tuple[PictureRef, ...] = ()
) -> Passage:
    """The capture as the site's input; `pictures` are the ids under which the pictures were kept."""
    seen = capture.seen
    return Passage(
        camera=camera,
        plate_raw=capture.plate_raw,
        at=at,
        key=capture.key,
        direction=capture.way(settings),
        confidence=capture.confidence,
        colour=capture.colour,
        kind=capture.kind,
        seen=None if seen is None else seen.wall,
        seen_firm=seen is not None and seen.firm,
        history=capture.history,
        trigger=capture.trigger,
        pictures=pictures,
        blanks=capture.blanks,
        also=capture.also,
    )

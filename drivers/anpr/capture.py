"""A camera's report about a car, and the answer that it expects. Pure."""

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
"""The most events of one push that are read; others are counted (`Report.cut`)."""
NAMED = 12
"""The most names of refused parts in a report; the rest is only counted."""

T = TypeVar("T")


class Unreadable(GatewayError):
    """The payload is not in this maker's format. The only error of parsers; its text contains no plate."""


@dataclass(frozen=True, slots=True)
class CameraSettings:
    """Settings of one camera for a parser."""

    utc_offset: float | None = None
    """Seconds east of UTC, used if the camera sends no zone or an impossible one."""
    way: Way | None = None
    """The direction of its cars, whatever it sends; None: its own direction is used, through `ways`."""
    ways: Mapping[Turn, Way] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Picture:
    """A received picture, not decoded."""

    role: Role
    data: bytes = field(repr=False)
    content_type: str = "image/jpeg"
    name: str = ""


class Seen(NamedTuple):
    """The camera's own time of the passage."""

    wall: float
    """Seconds since 1970."""
    zone: Literal["camera", "setting"]
    """Where the UTC offset comes from."""
    firm: bool = True
    """False: the camera contradicted itself, and nothing may be judged by this time."""


@dataclass(frozen=True, slots=True)
class Capture:
    """One car at one camera."""

    plate_raw: str | None
    """As sent, at most 64 characters; None: the camera reports that it read none."""
    key: str
    """Identifies the capture in every transmission, live or from the camera's memory; empty: unknown."""
    confidence: float | None = None
    """On the camera's own scale."""
    colour: str | None = None
    """The plate's colour: blue, yellow, white, black, green, yellow-green."""
    kind: str | None = None
    """The plate's kind in the site's terms, if the camera reports it."""
    turn: Turn | None = None
    turn_raw: str | None = None
    seen: Seen | None = None
    history: bool = False
    """Marked by the camera as a record from its memory."""
    trigger: str | None = None
    lane: str | None = None
    pictures: tuple[Picture, ...] = ()
    blanks: str = ""
    """What this maker writes in a plate for an unread character."""
    also: tuple[str, ...] = ()
    """All plates of a car with several (of several regions), as sent; empty: it has one."""
    channel: int | None = None
    """The recorder's channel, counted from 1; None: not reported."""
    by_platform: bool = False
    """The channel is a platform's own number, used only for cameras with a `channel` in the file."""
    url: str | None = None
    """The camera's URL of the scene. Only fetched from the camera's configured address."""

    def is_of(self, channel: int | None) -> bool:
        """True if it belongs to a camera with this channel in the file; without channels, to its device's first."""
        if self.channel is None or (channel is None and self.by_platform):
            return True
        return self.channel <= 1 if channel is None else self.channel == channel

    def way(self, settings: CameraSettings) -> Way | None:
        """In or out of the site; None: not known."""
        if settings.way is not None:
            return settings.way
        return settings.ways.get(self.turn) if self.turn is not None else None


@dataclass(frozen=True, slots=True)
class PushReply:
    """The reply that the camera expects."""

    body: bytes = b""
    content_type: str = "text/plain"
    status: int = 200


OK = PushReply()
JSON_TYPE = "application/json"


@dataclass(frozen=True, slots=True)
class Report:
    """The content of one payload."""

    kind: ReportKind
    reply: PushReply = OK
    captures: tuple[Capture, ...] = ()
    pictures: tuple[Picture, ...] = ()
    """Pictures that belong to no capture (a requested picture)."""
    refused: int = 0
    """Refused parts: pictures of faces, parts over a limit."""
    names: tuple[str, ...] = ()
    """Names of refused parts, at most twelve."""
    cut: int = 0
    """Events that were not read: beyond `EVENTS`, or unreadable beside readable ones."""
    device: str | None = None
    """The serial number or id that the camera sends; proves nothing."""
    record: int | None = None
    """The number that the answer must contain (VZenith)."""
    events: tuple[str, ...] = ()
    """Kinds of events that are not captures (`videoloss`, `VMD`, …)."""


def merged(reports: Sequence[Report]) -> Report:
    """Merge the events of one push into one report. `reports` is not empty; the first with cars gives the answer."""
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
    """How many of `many` events are over the limit."""
    return max(0, len(many) - EVENTS)


def read_each(many: Sequence[T], read: Callable[[T], Report]) -> Report:
    """Read the events of one push into one report, counting those over the limit or unreadable.

    Raises Unreadable if none is readable.
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
    """The capture as the site's input; `pictures` are the ids of its pictures."""
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

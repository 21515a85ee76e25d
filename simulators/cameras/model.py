"""The vocabulary of the simulated cameras: what one is, what it saw, what it sent, what it heard."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Literal

Turn = Literal["forward", "reverse"]
"""`forward`: towards the camera; `reverse`: away from it."""
Mode = Literal["push", "pull"]
What = Literal["plate", "heartbeat", "registration"]
_MARKS = {
    "应急": "emergency", "警": "police", "学": "learner", "挂": "trailer", "领": "consulate", "使": "embassy",
    "港": "hong-kong", "澳": "macau",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class CameraSetup:
    """How a camera is set up. Times are seconds; what is None is as the maker ships it."""

    name: str
    driver: str
    """The maker, as in the site file."""
    address: str = "127.0.0.2"
    """On loopback, of this camera alone: it pushes from here, and its web server is here."""
    port: int = 0
    """Of its web server; 0: any free one."""
    mode: Mode | None = "push"
    """None: it gives pictures only."""
    username: str | None = None
    password: str | None = None
    """Of its web server, and for whoever asks for digest when it pushes; None: it asks nobody."""
    token: str | None = None
    """In the URL that it pushes to."""
    variant: str = ""
    """Of the payload where a maker has several: hikvision `multipart` (as shipped) `xml` `json`."""
    utc_offset: float = 8 * 3600.0
    """Of its own clock, seconds east of UTC."""
    picture_bytes: int = 120_000
    """Of the scene; the plate has a tenth."""
    timeout: float | None = None
    """How long it waits for an answer."""
    retry: float | None = None
    """Between an answer that was not right and the next sending."""
    retries: int | None = None
    """Sendings after the first until it gives up and keeps the capture in its memory."""
    heartbeat: float | None = None
    memory: int | None = None
    """Captures that it keeps while it is cut off; the oldest goes first."""
    forgets: bool = False
    """It has no memory: what was not taken is lost."""
    white_list: frozenset[str] = frozenset()
    """Plates that it lets in by itself when no right answer comes in time."""
    wrong_logins: int = 5
    """So many within half an hour lock the address out."""
    lockout: float = 1800.0
    snapshot: str | None = None
    """A path for its picture besides the maker's own."""
    clock_off: float = 0.0
    """Seconds that its clock is ahead of the true time."""
    onvif_host: str | None = None
    """Where it says by ONVIF that its services are; None: where they are."""


@dataclass(frozen=True, slots=True)
class CarSight:
    """A car before the camera."""

    number: int
    """Of the camera's own records, from 1."""
    plate: str | None
    """None: none was read."""
    confidence: float
    """0-100."""
    direction: Turn
    colour: str | None
    """Of the plate, in the words of the site."""
    at: float
    """Seconds since 1970, true."""
    plate_picture: bytes = field(repr=False)
    scene_picture: bytes = field(repr=False)

    @property
    def kind(self) -> str | None:
        """Of the plate, as far as a camera tells; None: no plate."""
        if self.plate is None:
            return None
        for mark, kind in _MARKS.items():
            if self.plate.endswith(mark) or (mark == "使" and self.plate.startswith(mark)):
                return kind
        if self.plate.startswith("WJ"):
            return "wj"
        return "new-energy" if len(self.plate) == 8 else "ordinary"

    @property
    def percent(self) -> int | float:
        """The confidence as cameras write it: a whole number without a point."""
        return int(self.confidence) if self.confidence.is_integer() else self.confidence

    def local(self, utc_offset: float) -> datetime:
        """Its time on a clock that is so many seconds east of UTC."""
        return datetime.fromtimestamp(self.at, timezone(timedelta(seconds=utc_offset)))


@dataclass(frozen=True, slots=True)
class Post:
    """One HTTP request of the camera."""

    what: What
    path: str
    """As the maker's firmware has it."""
    content_type: str
    body: bytes = field(repr=False)
    sight: CarSight | None = None
    history: bool = False
    """Sent out of the camera's memory."""


@dataclass(frozen=True, slots=True)
class PushAnswer:
    """What came back."""

    post: Post
    status: int | None
    """None: nothing came in time, or the connection failed."""
    body: bytes
    seconds: float
    """From the first byte sent to the last one heard."""
    right: bool
    """It is what this maker waits for."""
    error: str = ""


@dataclass(frozen=True, slots=True)
class RelayOrder:
    """An answer told the camera to move its own relay."""

    io: int
    value: int
    """0 off, 1 on, 2 a pulse."""
    delay: float
    """Of the pulse, seconds."""


@dataclass(frozen=True, slots=True)
class OpenedItself:
    """The camera opened by its own white list, because no right answer had come."""

    sight: CarSight
    after: float
    """Seconds since it saw the car."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request to the camera's own web server."""

    remote: str
    method: str
    path: str
    """With the query."""
    status: int

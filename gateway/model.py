"""The vocabulary: inputs and effects of a site. Pure.

Every type is immutable, and the module imports no other module of ours. Times are `Instant`s, durations seconds
(float), ids text. `Site.step` takes an *input* (`Answer`, `LineHealth`, …) and returns *effects* (`Emit`, …).
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum, StrEnum
from typing import Literal, NamedTuple

Value = bool | int | float | str
"""A decoded value; `None` stands for "no value" and never for zero."""

Way = Literal["in", "out"]
"""Into the site or out of it."""

HOUR_S = 3600.0
DAY_S = 24 * HOUR_S
LAST_WALL_S = 253402300799.0
"""The last second that RFC 3339 can write, 9999-12-31T23:59:59Z, in seconds since 1970."""

Json = None | bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"]


def uuid7(wall: float, entropy: int) -> str:
    """A UUIDv7 (RFC 9562, 5.7) from the time and the low 74 bits of `entropy`; the 12 highest order one millisecond."""
    milliseconds = int(max(wall, 0.0) * 1000.0) & 0xFFFF_FFFF_FFFF
    value = milliseconds << 80 | 0x7 << 76 | (entropy >> 62 & 0xFFF) << 64 | 0x2 << 62 | entropy & (1 << 62) - 1
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def rfc3339(wall: float) -> str:
    """Seconds since 1970 as RFC 3339 text: UTC, microseconds, `Z`; limited to 1970-9999."""
    held = min(max(wall, 0.0), LAST_WALL_S)
    return datetime.fromtimestamp(held, UTC).isoformat(timespec="microseconds")[:-6] + "Z"


class Instant(NamedTuple):
    """A point in time: monotonic time for intervals, wall time for labels, and whether the wall time is trusted."""

    mono: float
    """Seconds of the monotonic clock, comparable within one boot only."""
    wall: float
    """Seconds since 1970-01-01T00:00:00Z."""
    synced: bool
    """True if the wall time is trusted (the kernel says that it is disciplined)."""

    def rfc3339(self) -> str:
        """The wall time as RFC 3339 text: UTC, microseconds, `Z`."""
        return rfc3339(self.wall)


class Quality(StrEnum):
    """Whether a reading can be trusted."""

    GOOD = "GOOD"
    SUSPECT = "SUSPECT"
    BAD = "BAD"


class Reason(StrEnum):
    """Why a reading is BAD."""

    SILENT = "silent"
    LINE_DOWN = "line-down"
    REFUSED = "refused"
    OUT_OF_RANGE = "out-of-range"
    INVALID = "invalid"
    NEVER_READ = "never-read"


class Reading(NamedTuple):
    """One point's value from an answer. BAD has no value: never zero, never the last one, never NaN."""

    value: Value | None
    text: str | None
    unit: str | None
    quality: Quality
    reason: Reason | None
    at: Instant
    """When the answer arrived (not when it was decoded or sent)."""


class Lane(IntEnum):
    """The priority of requests on a line, strictly in this order."""

    ORDER = 0
    ALARM = 1
    NORMAL = 2
    PROBE = 3


class Stream(StrEnum):
    """The ordered streams of events, in the order of their priority towards the broker."""

    ALARM = "alarm"
    ACCESS = "access"
    AUDIT = "audit"
    INSPECTION = "inspection"
    TELEMETRY = "telemetry"
    PICTURE = "picture"


# ---- inputs ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Started:
    """The process is up; `blind_from`…`at` was not watched (wall seconds, None on a new store)."""

    at: Instant
    version: str
    blind_from: float | None
    quarantined: str | None = None
    """A damaged store was set aside under this name."""


@dataclass(frozen=True, slots=True)
class StoodStill:
    """The process or the machine was stopped for a while: `blind_from`…`at` was not watched (wall seconds)."""

    at: Instant
    version: str
    blind_from: float


@dataclass(frozen=True, slots=True)
class Stopping:
    """The process has been asked to end."""

    at: Instant
    reason: str


@dataclass(frozen=True, slots=True)
class Answer:
    """Changed readings of points that the site watches, or the readings for `ReadNow`; BAD if the device is lost."""

    device: str
    readings: Mapping[str, Reading]
    at: Instant


@dataclass(frozen=True, slots=True)
class LineHealth:
    """A line went down, or answers (again). A `detail` while it is up means that it flaps, and its alarm stays."""

    line: str
    up: bool
    detail: str
    at: Instant


@dataclass(frozen=True, slots=True)
class DeviceHealth:
    """A device fell silent (after three misses in a row) or answered again."""

    device: str
    answering: bool
    detail: str
    at: Instant


@dataclass(frozen=True, slots=True)
class DeviceBlind:
    """Alarm points of a device had no value for 100 s although it is alive (`DEVICE/blind`); or all have one again."""

    device: str
    blind: bool
    detail: str
    at: Instant


@dataclass(frozen=True, slots=True)
class OwnHealth:
    """A part of the gateway itself has a fault, or works again: raises or clears its built-in alarm.

    `alarm` is the alarm's subject: `gateway/store`, `gateway/clock`, `STREAM/refused`, `GATE/on-loss`, …
    """

    alarm: str
    well: bool
    detail: str
    at: Instant


@dataclass(frozen=True, slots=True)
class SetAside:
    """A damaged store, or an unusable memory, was set aside as `file`."""

    file: str
    at: Instant


@dataclass(frozen=True, slots=True)
class WentBack:
    """The store lost committed steps (`told`: data of `store.rolled-back`), or the cloud shows more than it knows."""

    told: Mapping[str, Json] | None
    alarms: Sequence[Mapping[str, Json]]
    """Data of occurrences that the cloud shows as standing; unknown ones are ended."""
    at: Instant


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed: sent when `Site.deadline()` is reached."""

    at: Instant


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of an `Operate`. Every order gets exactly one, unless the process ends first."""

    order: str
    ok: bool
    detail: str
    """`silent`, `refused`, `expired`, `withdrawn` (a later order for the same point came first); empty if `ok`."""
    value: Value | None
    """Read back after the write, if the line did so."""
    at: Instant
    sent: float | None = None
    """When the write was sent (monotonic seconds), possibly long before the outcome was known; None: not known."""


@dataclass(frozen=True, slots=True)
class Command:
    """A command with verified signature, audience, times and nonce; nothing else is verified."""

    jti: str
    iss: str
    sub: str
    kid: str
    allow: frozenset[str]  # what the key may ask for: names of commands, `fire.reset`, `fire.release`
    cmd: str
    args: Mapping[str, Json]
    exp: float
    """Wall seconds. While the clock is not synced: the time of arrival plus the command's own life."""
    reply_to: str | None  # the response topic; None: only `T/reply`
    at: Instant
    signed_exp: float | None = None  # as it was signed
    fresh: bool = False  # a nonce of this process proves that it is not a recorded one


@dataclass(frozen=True, slots=True)
class Refused:
    """A command that failed verification, with the contract's code and as much as could be read."""

    code: str
    message: str
    at: Instant
    jti: str | None = None
    iss: str | None = None
    sub: str | None = None
    kid: str | None = None
    cmd: str | None = None
    signed: bool = False
    """The signature was valid: then it gets a reply."""
    reply_to: str | None = None
    args: Mapping[str, Json] | None = None


@dataclass(frozen=True, slots=True)
class Person:
    """A request of a person on site. `by`: claimed name, `account`: of the machine; `ask` names the reply."""

    ask: str
    by: str
    role: str
    """`guard`, `steward` or `technician`."""
    cmd: str
    args: Mapping[str, Json]
    at: Instant
    account: str = ""


class PictureRef(NamedTuple):
    """A picture that came with a passage; its bytes wait outside the site under this id."""

    id: str
    role: Literal["plate", "scene"]


@dataclass(frozen=True, slots=True)
class Passage:
    """A plate camera saw a car. Its pictures are elsewhere, under their ids."""

    camera: str
    plate_raw: str | None
    """As the camera sent it; None: it reports that it read none. `at`: when the last byte arrived."""
    at: Instant
    key: str
    """Identifies the capture in every transmission; empty: the camera sends nothing for that."""
    direction: Way | None = None
    confidence: float | None = None
    """On the camera's own scale; None: it sends none."""
    colour: str | None = None
    kind: str | None = None
    """The plate's kind, if the camera reports it."""
    seen: float | None = None
    """The camera's own time, wall seconds."""
    seen_firm: bool = False
    """The camera did not contradict itself about `seen`."""
    history: bool = False
    """Marked by the camera as a record from its memory."""
    trigger: str | None = None
    pictures: tuple[PictureRef, ...] = ()
    blanks: str = ""  # what the maker writes for an unread character
    also: tuple[str, ...] = ()  # all plates of a car with several, as sent


@dataclass(frozen=True, slots=True)
class ListReady:
    """A plate list was parsed, indexed and saved by a worker, or that failed; it takes effect with this step."""

    name: str
    list: object
    """The `PlateList`; None: the worker failed, and `detail` says why."""
    by: str
    """Who asked: `sub` of the command, `file` for the CSV of the site file."""
    order: str
    """Of the `Perform` that asked for it; empty for a file."""
    detail: str
    at: Instant


@dataclass(frozen=True, slots=True)
class Performed:
    """The result of a `Perform`. Each gets exactly one; `code` is a code of the contract if not `ok`."""

    order: str
    ok: bool
    result: Json
    code: str
    message: str
    at: Instant


Input = (
    Started | StoodStill | Stopping | Answer | LineHealth | DeviceHealth | DeviceBlind | OwnHealth | SetAside | WentBack
    | Tick | Outcome | Command | Refused | Person | Passage | ListReady | Performed
)  # fmt: skip


# ---- effects --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Emit:
    """An event for a stream. `type` is the short name of page 4 (`alarm.raised`); `id` never changes."""

    stream: Stream
    type: str
    subject: str | None
    data: Mapping[str, Json]
    id: str
    at: Instant
    test: bool = False


@dataclass(frozen=True, slots=True)
class Remember:
    """Store `value` under `key` in the memory, in the same commit as the events of the step."""

    key: str
    value: Json


@dataclass(frozen=True, slots=True)
class Forget:
    """Delete `key` from the memory, in the same commit as the events of the step."""

    key: str


@dataclass(frozen=True, slots=True)
class ReadNow:
    """Read these points of a device again at once (ahead of every other read) and answer even if unchanged."""

    device: str
    points: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Operate:
    """Write one point ahead of all reads, and answer with an `Outcome`; an earlier one for it is withdrawn unless sent.

    A float for a point with `pulse` is the length of the module's own pulse in seconds.
    """

    order: str
    device: str
    point: str
    value: Value
    expires: float | None
    """Monotonic seconds: tried again until then while the device is silent. None: tried once."""
    at_once: bool = False
    """Sent before the commit of its step: holds by fire and releases of pulses."""


@dataclass(frozen=True, slots=True)
class Perform:
    """Something done outside the site (a fresh read, a replay), after the commit of its step."""

    order: str
    cmd: str
    args: Mapping[str, Json]
    by: str
    at_once: bool = False
    """Begun before the commit of its step: it only reads, so doing it twice after a kill does no harm."""


@dataclass(frozen=True, slots=True)
class KeepPictures:
    """These pictures of an event's `passage` become `picture.taken` events after the commit; its others are dropped."""

    passage: str
    camera: str
    ids: tuple[str, ...]
    """Also the events' ids; empty: drop them all."""
    at: Instant
    drop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to a command: `data` of `command.reply`; to people on site where `local`."""

    jti: str
    """Of the command; of a person: `ask`."""
    reply_to: str | None
    data: Mapping[str, Json]
    local: bool = False


Effect = Emit | Remember | Forget | ReadNow | Operate | Perform | KeepPictures | Reply


Errand = Callable[[Perform], Awaitable[Json]]
"""Carries out a `Perform`; returns the result. Raises NotDone, LineDown, DeviceError, ConfigError."""

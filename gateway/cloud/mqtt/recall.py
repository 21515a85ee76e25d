"""Our own retained `alarm/active` from an earlier process: it shows how far the journal had come. Pure.

It is read once per process, on the first connection and before anything is sent, because until then events can still
be renumbered. Anybody with the broker's login can write it, so its effect is limited: it may begin a new journal, once,
and end occurrences that are unknown here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol, cast

import orjson

from gateway.cloud.journal.batch import Shed
from gateway.cloud.journal.witness import REASON, Loss
from gateway.model import Json, Stream

WITNESS = "alarm/active"

_TYPE = "sitegateway.alarm.active.v1"
_MOST_ALARMS = 1000
_MOST_CHARACTERS = 1000
_ABOVE_ALL_NUMBERS = 1 << 62
_TEXTS = ("alarm", "name", "kind", "severity", "class", "state", "raised_at")
_FLAGS = ("active", "acknowledged", "latched", "shelved", "disabled", "first_out", "overdue")
_OTHERS = (
    "subject", "device", "point", "zone", "place", "value", "text", "unit", "quality", "acknowledged_at",
    "acknowledged_by",
    "verified_as", "cleared_at", "respond_by", "resolve_by", "verify_by", "shelved_until",
)  # fmt: skip


class RecalledNumbers(NamedTuple):
    """How far the journal has come, according to `alarm/active`."""

    journal: str
    given: Mapping[Stream, int]
    """The last committed number of each stream."""
    stored: bool
    """False: the store cannot be written, so numbers are given that it does not know."""


class Numbered(Protocol):
    """What this module needs of a journal."""

    @property
    def numbers(self) -> RecalledNumbers | None:
        """How far the journal has come; None: it has no numbers."""
        ...


@dataclass(frozen=True, slots=True)
class Recalled:
    """The content of the message."""

    numbers: RecalledNumbers
    alarms: tuple[Mapping[str, Json], ...]


def recalled(payload: bytes, source: str) -> Recalled | None:
    """Read the message; None if it is not ours, or of a version that does not name its journal."""
    try:
        event = orjson.loads(payload)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(event, dict) or event.get("source") != source or event.get("type") != _TYPE:
        return None
    data = event.get("data")
    if not isinstance(data, dict) or not _is_text(data.get("journal")):
        return None
    given, alarms = data.get("given"), data.get("alarms")
    numbers = {stream: _number(given.get(stream.value)) if isinstance(given, dict) else 0 for stream in Stream}
    numbers[Stream.ALARM] = max(numbers[Stream.ALARM], _number(data.get("upto")))
    listed = alarms[:_MOST_ALARMS] if isinstance(alarms, list) else []
    found = tuple(alarm for one in listed if (alarm := _alarm(one)) is not None)
    return Recalled(RecalledNumbers(data["journal"], numbers, data.get("stored") is not False), found)


def loss(said: RecalledNumbers, stands: Mapping[Stream, int]) -> Loss:
    """What a journal that has come to `stands` has lost according to the message."""
    missing = tuple(
        Shed(stream, stands.get(stream, 0) + 1, last, last - stands.get(stream, 0), REASON)
        for stream, last in said.given.items()
        if last > stands.get(stream, 0)
    )
    return Loss(said.journal, said.given, stands, missing, WITNESS)


def _number(value: object) -> int:
    if isinstance(value, str) and len(value) == 20 and value.isascii() and value.isdigit():
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _ABOVE_ALL_NUMBERS else 0


def _alarm(one: object) -> Mapping[str, Json] | None:
    """The data of an occurrence, if it looks like one of ours."""
    if not isinstance(one, dict):
        return None
    if not all(_is_text(one.get(key)) for key in _TEXTS) or not all(isinstance(one.get(key), bool) for key in _FLAGS):
        return None
    others = {key: one.get(key) for key in _OTHERS}
    if any(isinstance(value, list | dict) or len(str(value)) > _MOST_CHARACTERS for value in others.values()):
        return None
    return cast("Mapping[str, Json]", {key: one[key] for key in (*_TEXTS, *_FLAGS)} | others)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _MOST_CHARACTERS


class ReadBack:
    """Decides when to ask for the message, and how long sending waits for it. `wanted`: ask for it at all."""

    def __init__(self, *, wanted: bool) -> None:
        self._done = not wanted
        self.asked = False
        """The message was asked for and has not come yet."""
        self._judging = False

    @property
    def holding(self) -> bool:
        """True while nothing may be sent."""
        return self.asked or self._judging

    def connected(self) -> bool:
        """A new connection has begun. True: ask for the message."""
        self.asked = not self._done and not self._judging
        return self.asked

    def answered(self) -> None:
        """The message has come, or will not come: judging begins."""
        self.asked, self._judging, self._done = False, True, True

    def judged(self) -> None:
        """Judging has ended: sending may begin."""
        self.asked, self._judging, self._done = False, False, True

    def ended(self, *, hung_up: bool) -> None:
        """The connection has ended. A broker that hangs up at the question is not asked again."""
        self._done = self._done or (self.asked and hung_up)
        self.asked = False

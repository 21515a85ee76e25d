"""Messages of which only the latest counts: standing alarms, health, status. Pure.

A slot drops content that is replaced before it could be sent. Sent content is sent again on a new connection, with the
same bytes and the same id.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Final

from gateway.backoff import BackOff
from gateway.cloud.events import encode
from gateway.cloud.mqtt.codec import FAILURE, STOPPING
from gateway.cloud.mqtt.recall import RecalledNumbers
from gateway.cloud.mqtt.types import HUNG_UP
from gateway.model import Json, Stream

ACTIVE_BYTES: Final = 128 << 10
"""The largest `alarm.active`, bytes; beyond it the least severe alarms are left out."""

_ENVELOPE_BYTES = 1024
_SEVERITIES: Final = {name: rank for rank, name in enumerate(("critical", "high", "medium", "low"))}

Build = Callable[[int], bytes]
"""Makes the message when it is first sent, no larger than the bytes given if it can; each topic has its own."""


class Slot:
    """One retained topic. Times are monotonic seconds."""

    def __init__(self, topic: str, name: str, *, every: float = 0.0) -> None:
        self.topic = topic
        self.name = name
        """Its name for people."""
        self._every = every
        self._build: Build | None = None
        self._frozen: bytes | None = None
        self.pending = False
        """True if there is something to send, now or later."""
        self._not_before = float("-inf")
        self._held_until = float("-inf")
        self.too_large = 0
        """How often the content did not fit into the broker's largest packet."""
        self.urgent = False
        """Send the content as soon as `every` allows, whatever share of the link it takes."""
        self._built_for = 0
        self._sent_at = float("-inf")
        self.code: int | None = None
        """The reason code with which the broker refuses it."""
        self._told = False

    def put(self, build: Build, *, urgent: bool = False) -> None:
        """Replace the content; it is built when it is first sent."""
        if urgent:
            self.urgent = True
            if self.code is None:
                self._not_before = min(self._not_before, self._sent_at + self._every)
        self._build = build
        self._frozen = None
        self.pending = True

    def clear(self) -> None:
        """Send nothing until the next `put`."""
        self._build = self._frozen = None
        self.pending = False

    def connected(self) -> None:
        """A new connection has begun: send the content again at once."""
        self.pending = self._build is not None
        self._not_before = self._held_until

    def due(self) -> float | None:
        """When it may be sent; None: nothing to send."""
        return self._not_before if self.pending else None

    def grow(self, limit: int) -> None:
        """The link has become much faster: build cut content anew."""
        frozen = self._frozen
        if frozen is not None and limit >= 2 * self._built_for and 2 * len(frozen) > self._built_for:
            self._frozen = None
            self.pending = True

    def take(self, now: float, limit: int, spacing_per_byte: float = 0.0) -> bytes | None:
        """What to send now, at most `limit` bytes; it then counts as sent. None: nothing, or not yet.

        `spacing_per_byte`: the next message waits so many seconds for each byte of this one.
        """
        if not self.pending or now < self._not_before or self._build is None:
            return None
        if self._frozen is None or len(self._frozen) > limit:
            self._frozen, self._built_for = self._build(limit), limit
        self.pending = self.urgent = False
        self._sent_at = now
        self._not_before = now + max(self._every, spacing_per_byte * len(self._frozen))
        if len(self._frozen) > limit:
            self.too_large += 1
            return None
        return self._frozen

    def answered(self, code: int, now: float, retry: BackOff) -> bool:
        """Take the broker's PUBACK. True: `code` has changed in a way to report."""
        if code < FAILURE:
            retry.reset()
            was_told, self.code, self._told = self._told, None, False
            return was_told
        again, self.code = self.code is not None, code
        self._later(now + retry.next())
        return self._tells(again and code in STOPPING)

    def hung_up(self, now: float, wait: float) -> bool:
        """The broker ends the connection at it, so a new connection must not retry at once. Returns as `answered`."""
        self.code = HUNG_UP
        self._later(now + wait)
        self._held_until = self._not_before
        return self._tells(True)

    def _later(self, at: float) -> None:
        self.pending = True
        self._not_before = at

    def _tells(self, worth: bool) -> bool:
        told, self._told = self._told, self._told or worth
        return self._told and not told


def active_data(
    standing: Collection[Mapping[str, Json]], upto: int, limit: int, numbers: RecalledNumbers | None = None
) -> bytes:
    """Data of `alarm.active`: the most severe first, then the oldest; `more` counts what does not fit.

    `standing`: data of alarms as in `alarm.raised`; `upto`: sequence of the last alarm event included;
    `limit`: bytes of the whole message; `numbers`: how far the journal has come.
    """
    left = min(limit, ACTIVE_BYTES) - _ENVELOPE_BYTES
    fitting = []
    for alarm in sorted(standing, key=_rank):
        encoded = encode(alarm)
        left -= len(encoded) + 1
        if left < 0:
            break
        fitting.append(encoded)
    more = len(standing) - len(fitting)
    return b'{%b"upto":"%020d","alarms":[%b],"more":%d}' % (_numbers(numbers), upto, b",".join(fitting), more)


def _numbers(numbers: RecalledNumbers | None) -> bytes:
    if numbers is None:
        return b""
    told: dict[str, Json] = {
        "journal": numbers.journal,
        "given": {stream.value: numbers.given.get(stream, 0) for stream in Stream},
    }
    if not numbers.stored:
        told["stored"] = False
    return encode(told)[1:-1] + b","


def _rank(alarm: Mapping[str, Json]) -> tuple[int, str]:
    severity = alarm.get("severity")
    rank = _SEVERITIES.get(severity, len(_SEVERITIES)) if isinstance(severity, str) else len(_SEVERITIES)
    return rank, str(alarm.get("raised_at") or "")

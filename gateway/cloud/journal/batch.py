"""The content of one commit of the journal. Filled on the loop's thread, written on the writer's. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum

from gateway.cloud.outbox import Row
from gateway.model import Json, Stream

ENTRY_BYTES = 1024
"""The memory of an event beside its bytes: its objects and its entries in the queue and the outbox.

Rounded up; tests/cloud/journal/test_commits.py measures it.
"""
KEY_BYTES = 256
"""The same for a remembered key."""


class State(IntEnum):
    """The state of a row in the outbox."""

    WAITING = 0
    ASIDE = 1
    """Quarantined: kept, offered again at each connection."""


class Worth(IntEnum):
    """The order in which events are dropped when neither disk nor broker takes anything and the memory is full."""

    DELIVERED_BULK = 0
    """Pictures and telemetry that the broker has."""
    DELIVERED = 1
    PICTURE = 2
    TELEMETRY = 3
    TRANSITION = 4
    """Changes of alarms other than fire and gas, movements of a gate: the last one of each point stays."""
    FIRE = 5
    """The same for fire and gas."""
    FIRM = 6
    """Never dropped: passages, commands, what people did. Requests that would make more of these wait."""


_COMES_AND_GOES = frozenset((
    "alarm.raised", "alarm.updated", "alarm.cleared", "alarm.overdue", "gate.moved", "gate.stuck", "stream.shed",
    "panel.operation", "panel.unknown",
))  # fmt: skip


def worth_of(stream: Stream, type_: str, data: Mapping[str, Json] | bytes | None) -> Worth:
    """The worth of an undelivered event."""
    if stream is Stream.PICTURE:
        return Worth.PICTURE
    if stream is Stream.TELEMETRY:
        return Worth.TELEMETRY
    if type_ not in _COMES_AND_GOES:
        return Worth.FIRM
    grave = stream is Stream.ALARM and isinstance(data, Mapping) and data.get("kind") in ("fire", "gas")
    return Worth.FIRE if grave else Worth.TRANSITION


@dataclass(slots=True)
class Entry:
    """One event on its way into the store."""

    row: Row
    journal: str
    at: float
    """Wall time, seconds since 1970."""
    mono: float | None
    """Monotonic time of an event with an unsynced wall time that may still be corrected; else None."""
    state: State = State.WAITING
    reason: str | None = None
    offered: bool = False
    """`take` may return it, or has returned it, before its commit."""
    acked: bool = False
    """The broker has it already: it goes straight to history."""
    worth: Worth = Worth.FIRM
    about: str = ""
    """The point, gate or stream that it is about."""

    @property
    def size(self) -> int:
        """Bytes of memory."""
        return self.row.size + ENTRY_BYTES


@dataclass(frozen=True, slots=True)
class Shed:
    """Numbers of a stream that will never be sent. `count`: how many of first..last."""

    stream: Stream
    first: int
    last: int
    count: int
    reason: str

    def and_(self, other: "Shed") -> "Shed":
        """Merge with another gap of the same stream and reason."""
        first, last = min(self.first, other.first), max(self.last, other.last)
        return Shed(self.stream, first, last, self.count + other.count, self.reason)


@dataclass(frozen=True, slots=True)
class Marks:
    """How far the numbering has come when a batch is handed to the writer."""

    journal: str
    newest: float | None
    """The newest wall time that is trusted."""
    streams: Mapping[Stream, tuple[int, int]]
    """The last number given, and up to where numbers are reserved."""
    told: float | None = None
    """Wall time of the last event."""
    lived: float = 0.0
    """Seconds that the box has run, over all processes."""
    top: int = 0
    """The highest `n` given."""
    renews: bool = False
    """The reservation grows by a block of numbers, which must be durable before they are used."""

    def after(self, earlier: "Marks | None") -> "Marks":
        """These marks, plus the streams that only `earlier` has."""
        if earlier is None or earlier.journal != self.journal:
            return self
        return replace(self, streams={**earlier.streams, **self.streams})


@dataclass(slots=True)
class Batch:
    """Everything for one transaction, in order of arrival."""

    entries: dict[int, Entry] = field(default_factory=dict)
    memory: dict[str, bytes | None] = field(default_factory=dict)
    """None: forget the key."""
    acks: list[tuple[Stream, State, int]] = field(default_factory=list)
    aside: list[tuple[Stream, int, str]] = field(default_factory=list)
    frozen: list[tuple[Stream, int]] = field(default_factory=list)
    """Rows whose content must not change any more because they are about to be sent."""
    sheds: list[Shed] = field(default_factory=list)
    named: list[tuple[Stream, int]] = field(default_factory=list)
    """Gaps up to this number are reported by an event of this batch."""
    thens: list[Callable[[], None]] = field(default_factory=list)
    size: int = 0
    """Bytes of memory of events and remembered keys."""
    firm: int = 0
    """The part of it that is never dropped."""
    marks: Marks | None = None
    steps: int = 0
    """How many commits in it wrote events or memory."""

    @property
    def urgent(self) -> bool:
        """True if a power cut must not undo it: more than acknowledgements and telemetry that the broker has."""
        return self.presses(max(self.entries, default=0))

    def presses(self, upto: int) -> bool:
        """The same, but ignoring telemetry after `n` = `upto`, which may be on its way to the broker."""
        return bool(
            self.memory
            or self.aside
            or self.frozen
            or self.sheds
            or self.named
            or (self.marks is not None and self.marks.renews)
            or any(
                one.row.stream is not Stream.TELEMETRY or (n <= upto and not one.acked)
                for n, one in self.entries.items()
            )
        )

    def __bool__(self) -> bool:
        return bool(
            self.entries or self.memory or self.acks or self.aside or self.frozen or self.sheds or self.named
        )  # fmt: skip

    def add(self, entry: Entry) -> None:
        """Add an event."""
        self.entries[entry.row.n] = entry
        self.size += entry.size
        if entry.worth is Worth.FIRM:
            self.firm += entry.size

    def remember(self, key: str, value: bytes | None) -> None:
        """Add a key of the memory; the last value wins."""
        self.size -= self._held(key)
        self.memory[key] = value
        self.size += self._held(key)

    def remove(self, n: int) -> None:
        """Remove an event that need not be written any more."""
        entry = self.entries.pop(n)
        self.size -= entry.size
        if entry.worth is Worth.FIRM:
            self.firm -= entry.size

    def shed(self, shed: Shed) -> None:
        """Add a gap, merging it with others of its kind."""
        for place, other in enumerate(self.sheds):
            if (other.stream, other.reason) == (shed.stream, shed.reason):
                self.sheds[place] = other.and_(shed)
                return
        self.sheds.append(shed)

    def absorb(self, later: "Batch") -> None:
        """Append a later batch, so that both go into one transaction."""
        self.entries.update(later.entries)
        self.size += later.size
        self.firm += later.firm
        for key, value in later.memory.items():
            self.size -= self._held(key)
            self.memory[key] = value
        self.acks += later.acks
        self.aside += later.aside
        self.frozen += later.frozen
        for shed in later.sheds:
            self.shed(shed)
        self.named += later.named
        self.thens += later.thens

    def follow(self, later: "Batch", forgotten: frozenset[Stream]) -> None:
        """Apply a batch that was committed after this one, including its changes to this one's events.

        `later` is not changed. `forgotten`: streams of which no history is kept.
        """
        for n, entry in later.entries.items():
            if n in self.entries:
                self.remove(n)
            if not (entry.acked and entry.row.stream in forgotten):
                self.add(replace(entry))
        for key, value in later.memory.items():
            self.remember(key, value)
        for stream, _, n in later.acks:
            if n in self.entries and stream in forgotten:
                self.remove(n)
            elif n in self.entries:
                self.entries[n].acked = True
        for _, n, reason in later.aside:
            if n in self.entries:
                self.entries[n].state, self.entries[n].reason = State.ASIDE, reason
        for _, n in later.frozen:
            if n in self.entries:
                self.entries[n].mono = None
        self._follow_others(later)

    def _follow_others(self, later: "Batch") -> None:
        """Add a later batch's changes to events that are not in this one."""
        self.acks += [one for one in later.acks if one[2] not in self.entries]
        self.aside += [one for one in later.aside if one[1] not in self.entries]
        self.frozen += [one for one in later.frozen if one[1] not in self.entries]
        self.sheds += later.sheds
        self.named += later.named
        self.steps += later.steps
        if later.marks is not None:
            self.marks = later.marks.after(self.marks)

    def _held(self, key: str) -> int:
        if key not in self.memory:
            return 0
        return len(key) + len(self.memory[key] or b"") + KEY_BYTES

"""What one commit of the journal holds. Filled on the loop's thread, written by the writer's. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum

from gateway.cloud.outbox import Row
from gateway.model import Json, Stream

ENTRY_BYTES = 1024
"""What an event takes up in memory beside its bytes: its objects and its places in the queue and the outbox.

Rounded up; tests/cloud/journal/test_commits.py measures it.
"""
KEY_BYTES = 256
"""The same of a remembered key."""


class State(IntEnum):
    """Where a row of the outbox stands."""

    WAITING = 0
    ASIDE = 1
    """Quarantined: kept, offered again at each connection."""


class Worth(IntEnum):
    """What goes first when neither the disk nor the broker takes anything and the memory is full."""

    DELIVERED_BULK = 0
    """Pictures and telemetry that the broker has."""
    DELIVERED = 1
    PICTURE = 2
    TELEMETRY = 3
    TRANSITION = 4
    """Alarms below fire and gas that come and go, movements of a gate: of each point the last one stays."""
    FIRE = 5
    """The same of fire and gas."""
    FIRM = 6
    """Never goes: passages, commands, what people did. Who asks for more of it waits at the door."""


_COMES_AND_GOES = frozenset((
    "alarm.raised", "alarm.updated", "alarm.cleared", "alarm.overdue", "gate.moved", "gate.stuck", "stream.shed",
    "panel.operation", "panel.unknown",
))  # fmt: skip


def worth_of(stream: Stream, type_: str, data: Mapping[str, Json] | bytes | None) -> Worth:
    """What an event that was not delivered is worth."""
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
    """Monotonic birth of an event born unsynced whose time may still be corrected; else None."""
    state: State = State.WAITING
    reason: str | None = None
    offered: bool = False
    """`take` may give it, or gave it, before its commit."""
    acked: bool = False
    """The broker has it already: it goes straight to history."""
    worth: Worth = Worth.FIRM
    about: str = ""
    """The point, the gate or the stream that it is about."""

    @property
    def size(self) -> int:
        """Bytes of memory that it takes up."""
        return self.row.size + ENTRY_BYTES


@dataclass(frozen=True, slots=True)
class Shed:
    """Numbers of a stream that will never arrive. `count`: how many of first..last."""

    stream: Stream
    first: int
    last: int
    count: int
    reason: str

    def and_(self, other: "Shed") -> "Shed":
        """Both in one; of the same stream and reason."""
        first, last = min(self.first, other.first), max(self.last, other.last)
        return Shed(self.stream, first, last, self.count + other.count, self.reason)


@dataclass(frozen=True, slots=True)
class Marks:
    """Where the numbering stands when a batch is handed to the writer."""

    journal: str
    newest: float | None
    """The newest wall time that is believed."""
    streams: Mapping[Stream, tuple[int, int]]
    """The last number given, and up to where numbers are reserved."""
    told: float | None = None
    """Wall time of the last event."""
    lived: float = 0.0
    """Seconds that the box has lived through."""
    top: int = 0
    """The highest `n` given."""
    renews: bool = False
    """What is reserved changes by more than one number at a time: that must be durable before it is used."""

    def after(self, earlier: "Marks | None") -> "Marks":
        """These, with the streams that only `earlier` names."""
        if earlier is None or earlier.journal != self.journal:
            return self
        return replace(self, streams={**earlier.streams, **self.streams})


@dataclass(slots=True)
class Batch:
    """Everything that goes into one transaction, in the order of its arrival."""

    entries: dict[int, Entry] = field(default_factory=dict)
    memory: dict[str, bytes | None] = field(default_factory=dict)
    """None: forget the key."""
    acks: list[tuple[Stream, State, int]] = field(default_factory=list)
    aside: list[tuple[Stream, int, str]] = field(default_factory=list)
    frozen: list[tuple[Stream, int]] = field(default_factory=list)
    """Rows whose content must not change any more, because they are about to be sent."""
    sheds: list[Shed] = field(default_factory=list)
    named: list[tuple[Stream, int]] = field(default_factory=list)
    """Gaps up to this number are told by an event of this batch."""
    thens: list[Callable[[], None]] = field(default_factory=list)
    size: int = 0
    """Bytes of memory that events and remembered keys take up."""
    firm: int = 0
    """The part of it that never goes."""
    marks: Marks | None = None
    steps: int = 0
    """How many commits in it wrote events or memory."""

    @property
    def urgent(self) -> bool:
        """A power cut must not undo it: more than acknowledgements and telemetry that the broker has."""
        return self.presses(max(self.entries, default=0))

    def presses(self, upto: int) -> bool:
        """The same, but for telemetry after `n` = `upto`, which is perhaps on its way to the broker."""
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
        """Take in one event."""
        self.entries[entry.row.n] = entry
        self.size += entry.size
        if entry.worth is Worth.FIRM:
            self.firm += entry.size

    def remember(self, key: str, value: bytes | None) -> None:
        """Take in one key of the memory; the last value wins."""
        self.size -= self._held(key)
        self.memory[key] = value
        self.size += self._held(key)

    def remove(self, n: int) -> None:
        """Let go of an event that need not be written any more."""
        entry = self.entries.pop(n)
        self.size -= entry.size
        if entry.worth is Worth.FIRM:
            self.firm -= entry.size

    def shed(self, shed: Shed) -> None:
        """Note a gap, together with others of its kind."""
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
        """Take in a batch that was committed after this one: what it says of events of this one is done at once.

        `later` stays as it is. `forgotten`: streams that leave no history.
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
        """What a later batch says of events that are not in this one."""
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

"""What one commit of the journal holds. Filled on the loop's thread, written by the writer's."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from gateway.cloud.outbox import Row
from gateway.model import Stream


class State(IntEnum):
    """Where a row of the outbox stands."""

    WAITING = 0
    ASIDE = 1
    """Quarantined: kept, offered again at each connection."""


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


@dataclass(frozen=True, slots=True)
class Shed:
    """Numbers of a stream that will never arrive. `count`: how many of first..last."""

    stream: Stream
    first: int
    last: int
    count: int
    reason: str


@dataclass(frozen=True, slots=True)
class Marks:
    """Where the numbering stands when a batch is handed to the writer."""

    journal: str
    newest: float | None
    streams: Mapping[Stream, tuple[int, int]]
    """The last number given, and up to where numbers are reserved."""


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
    """Bytes of events and memory."""
    marks: Marks | None = None

    def __bool__(self) -> bool:
        return bool(
            self.entries or self.memory or self.acks or self.aside or self.frozen or self.sheds or self.named
        )  # fmt: skip

    def add(self, entry: Entry) -> None:
        """Take in one event."""
        self.entries[entry.row.n] = entry
        self.size += entry.row.size

    def remember(self, key: str, value: bytes | None) -> None:
        """Take in one key of the memory; the last value wins."""
        self.size += len(key) + len(value or b"") - self._held(key)
        self.memory[key] = value

    def remove(self, n: int) -> None:
        """Let go of an event that need not be written any more."""
        self.size -= self.entries.pop(n).row.size

    def absorb(self, later: "Batch") -> None:
        """Append a later batch, so that both go into one transaction."""
        self.entries.update(later.entries)
        self.size += later.size
        for key, value in later.memory.items():
            self.size -= self._held(key)
            self.memory[key] = value
        self.acks += later.acks
        self.aside += later.aside
        self.frozen += later.frozen
        self.sheds += later.sheds
        self.named += later.named
        self.thens += later.thens

    def _held(self, key: str) -> int:
        if key not in self.memory:
            return 0
        return len(key) + len(self.memory[key] or b"")

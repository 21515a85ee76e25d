"""Numbers, times and bytes of events: an event is rendered once, when it gets its number. Pure but for its random ids.

Which wall time is trusted: a forged time server may set the clock, and a hardware clock may show anything. So a time is
trusted only if it was synced. If it differs by more than a day from the trusted time, extrapolated by the monotonic
clock, it is trusted only after it has stayed there for a day; until then the extrapolated time is used.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import orjson

from gateway.cloud import events
from gateway.cloud.journal.batch import Entry, Marks, worth_of
from gateway.cloud.outbox import Row
from gateway.model import Instant, Json, Stream, uuid7

BLOCK = 1024
"""How many numbers of telemetry are reserved beyond the last one committed."""
DAY_S = 86400.0
_SAME_S = 3600.0
"""Clock readings that differ by less than this, after monotonic correction, count as the same time."""


class Believed:
    """The trusted time. `value`: wall seconds; None: no synced time yet. `mono`: monotonic seconds of that moment."""

    def __init__(self, value: float | None, mono: float) -> None:
        self.value = value
        self._anchor = value, mono
        self._claim: tuple[float, float] | None = None
        self._followed = False

    @property
    def doubted(self) -> bool:
        """True if the clock was set by more than a day while we ran, or set back before, and is not trusted yet.

        A clock that is ahead at start is not doubted, because the box may have been off for long.
        """
        start, since = self._anchor
        if self._claim is None or start is None:
            return False
        return self._followed or self._claim[0] < start - since

    def see(self, wall: float, mono: float, *, synced: bool) -> None:
        """Take a reading of the clock: `wall` at `mono`."""
        start, since = self._anchor
        if self.value is None or start is None:
            if synced:
                self._follow(wall, mono)
            return
        expected = start + mono - since
        if abs(wall - expected) <= DAY_S:
            self._claim = None
            if synced:
                self._follow(max(wall, self.value), mono, anchor=wall)
                return
        elif synced and self._has_stayed(wall, mono):
            self._claim = None
            self._follow(wall, mono)
            return
        self.value = max(self.value, min(wall, expected))

    def _follow(self, value: float, mono: float, *, anchor: float | None = None) -> None:
        self.value = value
        self._anchor = value if anchor is None else anchor, mono
        self._followed = True

    def _has_stayed(self, wall: float, mono: float) -> bool:
        offset = wall - mono
        if self._claim is None or abs(offset - self._claim[0]) > _SAME_S:
            self._claim = offset, mono
        return mono - self._claim[1] >= DAY_S


class Draft(NamedTuple):
    """An event that has no number yet."""

    stream: Stream
    type: str
    subject: str | None
    data: Mapping[str, Json] | bytes | None
    """None: a picture."""
    id: str
    at: Instant
    test: bool = False
    attributes: Mapping[str, str] | None = None
    jpeg: bytes | None = None


@dataclass(frozen=True, slots=True)
class Move:
    """Moves what this process has numbered in `old` to the journal `fresh`: numbers become lower by `base`."""

    old: str
    fresh: str
    base: Mapping[Stream, int]
    """The last numbers at the start."""
    after: int
    """The highest `n` at the start."""
    born: float
    """Wall seconds."""

    def row(self, row: Row) -> Row:
        """The row under its new number; a row from before this process stays as it is."""
        if row.n <= self.after:
            return row
        event = orjson.loads(row.payload)
        if event["journal"] != self.old:
            return row
        sequence = row.sequence - self.base.get(row.stream, 0)
        event["sequence"], event["journal"] = f"{sequence:020d}", self.fresh
        if event["type"] == events.type_name("stream.shed"):
            self._gap(event["data"])
        return row._replace(sequence=sequence, payload=orjson.dumps(event))

    def entry(self, entry: Entry) -> None:
        """The same for an uncommitted event."""
        row = self.row(entry.row)
        if row is not entry.row:
            entry.row, entry.journal = row, self.fresh

    def _gap(self, data: dict[str, Json]) -> None:
        """Split a gap: numbers from before this process stay in the old journal, those of this process move along."""
        base = self.base.get(Stream(str(data["stream"])), 0)
        first, last = int(str(data["first"])), int(str(data["last"]))
        if first > base:
            data["first"], data["last"] = first - base, last - base
        else:
            data["reason"] = f"{data['reason']} (journal {self.old})"


class Numbering:
    """Counts each stream from 1 within one journal."""

    def __init__(self, source: str, boot: str, *, simulated: bool) -> None:
        self._source = source
        self._boot = boot
        self._simulated = simulated
        self.journal = ""
        self.believed = Believed(None, 0.0)
        """The newest wall time that later lives may rely on."""
        self.told: float | None = None
        """The wall time of the last event."""
        self._lived = 0.0, 0.0
        self.n = 0
        self.last: dict[Stream, int] = dict.fromkeys(Stream, 0)
        self.since = 0
        """Rows with a higher `n` were numbered in this journal."""
        self.delivered = 0
        """The broker has all telemetry of this process up to this number."""
        self.reserved = 0
        """Telemetry numbers up to this one may be sent before their commit."""
        self._moved: set[Stream] = set()
        self.durable: dict[Stream, int] = {}
        """The last number of each stream that is committed."""
        self.sync: Instant | None = None
        """When the clock last became trusted."""
        self.unsynced = False
        """Events with an untrusted time were made since then."""
        self._seed = secrets.randbits(62)
        self._count = 0

    @property
    def low(self) -> bool:
        """True if the reservation should be renewed."""
        return self.reserved - self.last[Stream.TELEMETRY] < BLOCK // 2

    def live_on(self, lived: float, newest: float | None, mono: float) -> None:
        """Set the seconds that the box had run and the trusted time, as read when the store was opened."""
        self._lived = lived, mono
        self.believed = Believed(newest, mono)

    def lived(self, mono: float) -> float:
        """Seconds that the box has run since its store was made: monotonic time summed over all processes."""
        lived, since = self._lived
        return lived + mono - since

    def begin(
        self,
        journal: str,
        last: Mapping[Stream, int],
        reserved: int,
        *,
        top: int | None = None,
        told: float | None = None,
    ) -> None:
        """Continue a journal's numbers, or begin one. `top`: the highest `n`; `told`: wall time of the last event."""
        self.n = self.since = self.n if top is None else top
        self.told = told or self.told
        self.journal = journal
        self.last = {stream: last.get(stream, 0) for stream in Stream}
        self.reserved = reserved
        self.delivered = 0
        self.durable = dict(self.last)
        self._moved.clear()

    def move(self, move: Move) -> None:
        """Continue counting in another journal."""
        last = {stream: number - move.base.get(stream, 0) for stream, number in self.last.items()}
        self.begin(move.fresh, last, 0)
        self.since = move.after
        self.durable = {}
        self._moved = set(Stream)

    def entry(self, draft: Draft, *, final: bool) -> Entry:
        """Number the event and render it. `final`: it is sent at once, so its time is never corrected."""
        stream, name, subject, data, id_, at, test, attributes, jpeg = draft
        clock, wall, mono = self._label(at)
        if attributes is not None:
            attributes = {**attributes, "takenat": events.timestamp(wall)}
        sequence = self.last[stream] + 1
        payload = events.envelope(
            id_=id_,
            source=self._source,
            type_=events.type_name(name),
            subject=subject,
            time=events.timestamp(wall),
            clock=clock,
            boot=self._boot,
            data=data,
            attributes=attributes,
            stream=stream._value_,
            sequence=sequence,
            journal=self.journal,
            simulated=self._simulated,
            test=test,
        )
        self.last[stream] = sequence
        self._moved.add(stream)
        self.n += 1
        self.told = wall
        if clock is not events.CORRECTED:
            self.believed.see(wall, at.mono, synced=at.synced)
        return Entry(
            Row(self.n, stream, sequence, payload, jpeg),
            self.journal,
            wall,
            None if final else mono,
            worth=worth_of(stream, name, data),
            about=subject or "",
        )

    @property
    def given(self) -> tuple[int, Mapping[Stream, int]]:
        """The last `n` and the last number of each stream."""
        return self.n, dict(self.last)

    def take_back(self, given: tuple[int, Mapping[Stream, int]]) -> None:
        """Take back the numbers given since, which nobody has seen."""
        self.n, self.last = given[0], dict(given[1])

    def deliver(self, n: int, sequence: int) -> bool:
        """Note that the broker has all telemetry up to this number; False: `n` is from an earlier journal."""
        if n <= self.since:
            return False
        self.delivered = sequence
        return True

    def synced(self, now: Instant) -> None:
        """The clock is trusted from now on."""
        self.sync = now
        self.unsynced = False

    def new_id(self, wall: float) -> str:
        """An id for an event that does not come from the site."""
        self._count += 1
        return uuid7(wall, (self._count & 0xFFF) << 62 | (self._seed + self._count) & (1 << 62) - 1)

    def marks(self, mono: float, *, whole: bool, release: bool = False) -> Marks:
        """How far the numbering has come at `mono`. `whole`: for all streams; `release`: keep nothing reserved."""
        streams = set(Stream) if whole else self._moved
        if self.low and not release:
            streams.add(Stream.TELEMETRY)
        self._moved = set()
        ahead = 0 if release else BLOCK
        return Marks(
            self.journal,
            self.believed.value,
            {
                stream: (self.last[stream], self.last[stream] + (ahead if stream is Stream.TELEMETRY else 0))
                for stream in streams
            },
            told=self.told,
            lived=self.lived(mono),
            top=self.n,
            renews=self.low or whole or release,
        )

    def committed(self, marks: Marks) -> None:
        """The marks are on disk: the numbers that they reserve may be used."""
        if marks.journal != self.journal:
            return
        self.durable = self.durable | {stream: last for stream, (last, _) in marks.streams.items()}
        if Stream.TELEMETRY in marks.streams:
            self.reserved = marks.streams[Stream.TELEMETRY][1]

    def _label(self, at: Instant) -> tuple[str, float, float | None]:
        """The clock label, the wall time, and the monotonic time if the wall time may still be corrected."""
        if at.synced:
            return events.SYNCED, at.wall, None
        if self.sync is not None and at.mono <= self.sync.mono:
            return events.CORRECTED, self.sync.wall - (self.sync.mono - at.mono), None
        self.unsynced = True
        return events.UNSYNCED, at.wall, at.mono

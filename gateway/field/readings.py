"""The last readings of one device. Pure.

A block with unchanged bytes costs one comparison: only its time is updated. An old value never gets a new time: a point
that was BAD because of a missing answer comes back as a change, with the time of its answer.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from math import inf
from typing import NamedTuple

from gateway.driver import Block, Decoded
from gateway.model import Instant, Quality, Reading, Reason

STALE_AFTER_PERIODS = 3.0
"""A point that is not refreshed for this many periods becomes BAD."""

_UNANSWERED = frozenset({Reason.SILENT, Reason.LINE_DOWN, Reason.REFUSED, Reason.NEVER_READ})
"""Reasons of a missing answer: such a reading keeps the time at which it became BAD."""

Changed = Mapping[str, Reading]
_NOTHING: Changed = {}


class Fetched(NamedTuple):
    """Readings for a caller, and the registers behind them; see `Showing`."""

    readings: dict[str, Reading]
    registers: dict[str, int | str]


class _Read:
    """The last answer to one block."""

    __slots__ = ("at", "block", "raw", "tried")

    def __init__(self, block: Block) -> None:
        self.block = block
        self.raw: bytes | None = None
        self.at: Instant | None = None
        """When it last answered; None while it does not."""
        self.tried = False


class ReadingTable:
    """All points of one device. Methods that return `Changed` return the points that have changed."""

    def __init__(self, blocks: Iterable[Block], at: Instant) -> None:
        self._reads = {block: _Read(block) for block in blocks}
        never = Reading(None, None, None, Quality.BAD, Reason.NEVER_READ, at)
        self._readings = {point: never for block in self._reads for point in block.points}
        self.untried = len(self._reads)
        """Blocks that have neither answered nor failed yet."""

    def same(self, block: Block, raw: bytes, at: Instant) -> bool:
        """True if the block answered with the same bytes as before; then updates its time."""
        read = self._reads.get(block)
        if read is None or read.raw != raw:
            return False
        read.at = at
        return True

    def answered(self, block: Block, raw: bytes, decoded: Mapping[str, Decoded], at: Instant) -> Changed:
        """Take an answer to a periodic read with changed bytes."""
        read = self._reads.get(block)
        if read is not None:
            read.raw = raw
            read.at = at
            self._tried(read)
        return self._take(decoded, at)

    def answered_once(self, decoded: Mapping[str, Decoded], at: Instant) -> Changed:
        """Take points that were read by a separate request; the blocks that carry them are decoded anew next time.

        A point that no block carries is a setting of the device and not kept here.
        """
        changed = self._take({point: new for point, new in decoded.items() if point in self._readings}, at)
        if changed:
            for read in self._reads.values():
                if not changed.keys().isdisjoint(read.block.points):
                    read.raw = None
                    read.at = read.at or at
        return changed

    def missed(self, block: Block) -> None:
        """The block had no answer; its points keep their readings until these are too old."""
        if (read := self._reads.get(block)) is not None:
            self._tried(read)

    def failed(self, block: Block, reason: Reason, at: Instant) -> Changed:
        """Set the points of this block BAD."""
        if (read := self._reads.get(block)) is not None:
            self._tried(read)
            read.raw = read.at = None
        return self._bad(block.points, reason, at)

    def lost(self, reason: Reason, at: Instant) -> Changed:
        """Set every point of the device BAD."""
        for read in self._reads.values():
            self._tried(read)
            read.raw = read.at = None
        return self._bad(self._readings, reason, at)

    def stale(self, now: Instant) -> Changed:
        """Set points BAD that were not refreshed within 3 periods."""
        changed: dict[str, Reading] = {}
        for read in self._reads.values():
            if read.at is not None and now.mono >= read.at.mono + STALE_AFTER_PERIODS * read.block.every:
                read.raw = read.at = None
                changed.update(self._bad(read.block.points, Reason.SILENT, now))
        return changed

    def stale_at(self) -> float:
        """The earliest time at which `stale` may find something (monotonic seconds)."""
        return min(
            (
                read.at.mono + STALE_AFTER_PERIODS * read.block.every
                for read in self._reads.values()
                if read.at is not None
            ),
            default=inf,
        )

    def replace(self, block: Block, blocks: Sequence[Block]) -> None:
        """Replace a block by others."""
        old = self._reads.pop(block)
        if not old.tried:
            self.untried -= 1
        self._reads.update((part, _Read(part)) for part in blocks)
        self.untried += len(blocks)

    def renew(self, blocks: Iterable[Block]) -> None:
        """Replace all blocks; the points stay the same."""
        self._reads = {block: _Read(block) for block in blocks}
        self.untried = len(self._reads)

    @property
    def readings(self) -> Mapping[str, Reading]:
        """All points as last reported."""
        return self._readings

    def answers(self, block: Block) -> bool:
        """True if the last read of the block was answered."""
        read = self._reads.get(block)
        return read is not None and read.at is not None

    def answers_since(self, points: Collection[str], since: float) -> dict[Block, bytes] | None:
        """The answers that carried these points, if all came since then (monotonic seconds); else None."""
        found: dict[Block, bytes] = {}
        left = set(points)
        for read in self._reads.values():
            mine = left.intersection(read.block.points)
            if not mine:
                continue
            if read.raw is None or read.at is None or read.at.mono < since:
                return None
            found[read.block] = read.raw
            left -= mine
        return None if left else found

    def picture(self) -> dict[str, Reading]:
        """All points, each with the time of the last answer that carried it."""
        picture = dict(self._readings)
        for read in self._reads.values():
            at = read.at
            if at is None:
                continue
            for point in read.block.points:
                reading = picture[point]
                if reading.at.mono < at.mono and reading.reason not in _UNANSWERED:
                    picture[point] = reading._replace(at=at)
        return picture

    def unit(self, point: str) -> str | None:
        """The unit of a point, if known."""
        reading = self._readings.get(point)
        return None if reading is None else reading.unit

    def _tried(self, read: _Read) -> None:
        if not read.tried:
            read.tried = True
            self.untried -= 1

    def _take(self, decoded: Mapping[str, Decoded], at: Instant) -> Changed:
        # The hot path: `Decoded` and `at` are joined without a call for each point.
        readings = self._readings
        make, stamp = tuple.__new__, (at,)
        changed = {
            point: make(Reading, new + stamp)
            for point, new in decoded.items()
            if (old := readings.get(point)) is None or old[0] != new[0] or old[:5] != new
        }
        readings.update(changed)
        return changed

    def _bad(self, points: Iterable[str], reason: Reason, at: Instant) -> Changed:
        changed: dict[str, Reading] = {}
        for point in points:
            old = self._readings[point]
            if old.quality is not Quality.BAD or old.reason is not reason:
                changed[point] = Reading(None, None, old.unit, Quality.BAD, reason, at)
        self._readings.update(changed)
        return changed

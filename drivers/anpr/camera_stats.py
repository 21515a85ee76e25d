"""Counts the result of each push of a camera, once each. Pure."""

import re
from collections import Counter
from dataclasses import dataclass, field

from drivers.anpr.capture import Report
from gateway.driver import PushTaker

SILENT_AFTER_S = 300.0
"""A camera that sends heartbeats counts as unreachable after this time without one."""
UNREADABLE = 3
"""Consecutive unreadable pushes that raise an alarm."""
UNREAD = "camera-unreadable"
"""Name of that alarm."""
LAST_BYTES = 64 << 10
"""Bytes of the last unreadable push that are kept for people."""
_ENDS = ("passage", "heartbeat", "ignored", "unreadable", "refused")
_KINDS = 16
"""The most kinds and reasons with their own count; the rest is `more`."""
_ODD = re.compile(r"[^A-Za-z0-9]+")


@dataclass(frozen=True, slots=True)
class Last:
    """The last unreadable push."""

    wall: float
    why: str
    path: str
    content_type: str
    size: int
    body: bytes = field(repr=False)
    """Its first `LAST_BYTES` bytes."""


@dataclass(slots=True)
class Tally:
    """Counters since the start; `last` in wall seconds.

    Every push counts as one of `passage`, `heartbeat`, `ignored`, `unreadable`, `refused`; `pushes` is their sum.
    Every event in readable pushes is a passage or cut.
    """

    last: float | None = None
    unreadable: Last | None = None
    in_a_row: int = 0
    """Consecutive unreadable pushes."""
    told_well: bool | None = None
    """The last report of its alarm; None: none yet."""
    counts: Counter[str] = field(default_factory=Counter)
    ends: dict[str, Counter[str]] = field(default_factory=lambda: {name: Counter() for name in _ENDS})
    """The results of pushes, by kind or reason."""

    def heard(self, report: Report, wall: float) -> None:
        """Count a readable push."""
        self.last = wall
        self.in_a_row = 0
        self.counts["passages"] += len(report.captures)
        self.counts["cut"] += report.cut
        self.counts["faces"] += report.refused
        match report.kind:
            case "captures":
                self._end("passage", "passage")
            case "heartbeat":
                self._end("heartbeat", "heartbeat")
            case "other":
                self._end("ignored", report.events[0] if report.events else "other")
            case kind:
                self._end("ignored", kind)

    def unread(self, why: str, wall: float, payload: bytes = b"", path: str = "", content_type: str = "") -> None:
        """Count an unreadable push."""
        self.last = wall
        self.in_a_row += 1
        self.unreadable = Last(wall, why, path, content_type[:200], len(payload), payload[:LAST_BYTES])
        self._end("unreadable", why)

    def forget(self) -> None:
        """Keep no push that could not be read: it may name anybody."""
        self.unreadable = None

    def news(self) -> bool | None:
        """True or False if it has changed whether its pushes are readable; None: no change.

        True is also reported once after the start, to clear an alarm from before.
        """
        well = self.in_a_row < UNREADABLE
        if self.told_well is well or (well and self.in_a_row):
            return None
        self.told_well = well
        return well

    def say(self, camera: str, taker: PushTaker) -> None:
        """Raise or clear its alarm, if that changes it."""
        well = self.news()
        if well is not None:
            why = "" if self.unreadable is None else self.unreadable.why
            taker.alarm(f"{camera}/{UNREAD}", well, "" if well else f"{UNREADABLE} pushes could not be read: {why}")

    def refused(self, why: str) -> None:
        """Count a request that was refused or not read to its end."""
        self._end("refused", why)

    def _end(self, end: str, word: str) -> None:
        found = self.ends[end]
        word = _ODD.sub("_", word).strip("_").lower()[:32] or "other"
        found[word if word in found or len(found) < _KINDS else "more"] += 1

    def told(self, wall: float) -> dict[str, int | float | str | bool | None]:
        """The counts for health. `reachable` is None if the camera sends no heartbeats, so silence means nothing."""
        sums = {end: found.total() for end, found in self.ends.items()}
        reachable: bool | None = None
        if self.last is not None:
            is_late = wall - self.last > SILENT_AFTER_S
            reachable = True if not is_late else (False if sums["heartbeat"] else None)
        counts = self.counts
        words = {
            f"{end}_{word}": count
            for end in ("ignored", "unreadable", "refused")
            for word, count in sorted(self.ends[end].items())
        }
        return {
            "reachable": reachable,
            "last": self.last,
            "pushes": sum(sums.values()),
            "received": sums["passage"] + sums["heartbeat"] + sums["ignored"],
            "passage_pushes": sums["passage"],
            "passages": counts["passages"],
            "passages_cut": counts["cut"],
            "heartbeats": sums["heartbeat"],
            "ignored": sums["ignored"],
            "unreadable": sums["unreadable"],
            "refused": sums["refused"],
            "pictures_refused": counts["faces"],
            "late_answers": counts["late"],
            "bugs": counts["bugs"],
            **words,
        }

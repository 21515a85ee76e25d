"""What is counted of one camera. Pure."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from drivers.anpr.capture import Report

Tell = Callable[[str, bool, str], None]
"""(who, well, why): something went down, or is back; for a log line and an alarm."""
SILENT_AFTER = 300.0
"""Seconds: a camera that used to send heart-beats and has not for so long is not reachable."""


@dataclass(slots=True)
class Tally:
    """Counters since the start; `last` in wall seconds."""

    last: float | None = None
    counts: Counter[str] = field(default_factory=Counter)

    def heard(self, report: Report, wall: float) -> None:
        """A word of the camera that was understood."""
        self.last = wall
        self.counts[report.kind] += 1
        self.counts["passages"] += len(report.captures)
        self.counts["faces"] += report.refused

    def told(self, wall: float) -> dict[str, int | float | str | bool | None]:
        """For health. `reachable` is None where silence means nothing: the camera sends no heart-beats."""
        reachable: bool | None = None
        if self.last is not None:
            is_late = wall - self.last > SILENT_AFTER
            reachable = True if not is_late else (False if self.counts["heartbeat"] else None)
        counts = self.counts
        refused = {f"refused_{name[1:]}": count for name, count in sorted(counts.items()) if name.startswith("!")}
        return {
            "reachable": reachable,
            "last": self.last,
            "received": sum(counts[kind] for kind in _KINDS),
            "passages": counts["passages"],
            "heartbeats": counts["heartbeat"],
            "unreadable": counts["unreadable"],
            "pictures_refused": counts["faces"],
            "late_answers": counts["late"],
            "bugs": counts["bugs"],
            **refused,
        }


_KINDS = ("captures", "heartbeat", "registration", "test", "pictures", "other")

"""Decides which changes of a device go into its next message, and when. Pure: `telemetry.py` has the timers.

The first change is sent at once, later ones at most every 200 ms. A number counts as changed when it leaves the dead
band around the last *sent* value; a change of quality or text always counts.
"""

from collections.abc import Mapping

from gateway.model import Reading

WINDOW_S = 0.2
"""Seconds between two messages of one device."""


class TelemetryChanges:
    """Changes of one device that wait for their message. At most one per point."""

    __slots__ = ("_deadbands", "_next", "_sent", "_started", "waiting")

    def __init__(self, deadbands: Mapping[str, float]) -> None:
        self._deadbands = deadbands
        self._sent: dict[str, Reading] = {}
        self._next = float("-inf")
        self._started = False
        self.waiting: dict[str, Reading] = {}
        """The content of the next message."""

    def offer(self, changed: Mapping[str, Reading]) -> bool:
        """Add changed readings; True if something waits to be sent.

        Before the first full picture nothing is added, because that contains everything.
        """
        if not self._started:
            return False
        if self._deadbands:
            waiting, sent = self.waiting, self._sent
            for point, reading in changed.items():
                if point in waiting or not self._within(point, reading, sent.get(point)):
                    waiting[point] = reading
        else:
            self.waiting.update(changed)
        return bool(self.waiting)

    def due(self) -> float:
        """When the waiting changes may be sent (monotonic seconds)."""
        return self._next

    def take(self, now: float) -> Mapping[str, Reading]:
        """The next message; it counts as sent."""
        message = self.waiting
        self.waiting = {}
        if self._deadbands:
            self._sent.update(message)
        self._next = now + WINDOW_S
        return message

    def full(self, picture: Mapping[str, Reading], now: float) -> Mapping[str, Reading]:
        """The waiting changes are part of a message with all points; they count as sent."""
        self._started = True
        self.waiting = {}
        if self._deadbands:
            self._sent.update(picture)
        self._next = now + WINDOW_S
        return picture

    @property
    def started(self) -> bool:
        """True once the first full picture was taken."""
        return self._started

    def _within(self, point: str, new: Reading, old: Reading | None) -> bool:
        """True if the point has a dead band and `new` lies in it, seen from `old`."""
        band = self._deadbands.get(point)
        if not band or old is None or new[1:5] != old[1:5]:
            return False
        now, then = new.value, old.value
        if not isinstance(now, int | float) or not isinstance(then, int | float):
            return False
        if isinstance(now, bool) or isinstance(then, bool):
            return False
        return abs(now - then) <= band

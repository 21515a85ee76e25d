"""A camera's clock: whether a passage is a record from its memory, or its clock is wrong. Pure.

A record that waited has an old time, and the next one another delay: it arrived when it could. A wrong clock is off by
the same time push after push. So a time that is old is late, until it is old by the same time again and again.
"""

from dataclasses import dataclass

from gateway.model import Instant, Json

OLD_S = 60.0
"""Seconds: a time older than this may be a record from the camera's memory; so far off, a clock is wrong."""
EPOCH_S = 1_577_836_800.0
"""2020: a camera whose clock stands before it has lost it; such a time says nothing."""
SAME_S = 3.0
"""Two delays that differ by less are the same: times have whole seconds, and a camera takes a moment."""
PAIR_S, THREE_S = 10.0, 4.0
"""Two pushes that are so far apart, or three, show a wrong clock: a queue is sent faster than cars pass a gate."""
_MOVED_S = 30.0


@dataclass(slots=True)
class _Doubt:
    """A delay that is not the known one."""

    delay: float
    mono: float
    pushes: int = 1


@dataclass(slots=True)
class CameraClock:
    """Of one camera. Delays are seconds from the camera's own time to the arrival."""

    delay: float | None = None
    """As it was when the camera was last live; None: never known."""
    lost: bool = False
    """It told a time before 2020."""
    _anchor: tuple[float, float] | None = None
    """mono and wall of the last live push: a step of our own clock makes nothing late."""
    _doubt: _Doubt | None = None
    _is_met: bool = False

    @property
    def is_wrong(self) -> bool:
        """Its time is not used."""
        return self.lost or (self.delay is not None and abs(self.delay) > OLD_S)

    def why(self, *, synced: bool) -> str:
        """For the alarm; empty: the clock is right. `synced`: ours is trusted."""
        if not self.is_wrong:
            return ""
        if self.lost or self.delay is None:
            return "the camera has lost its time; it is not used"
        way = "behind" if self.delay > 0 else "ahead of"
        ours = "ours" if synced else "ours, which is not synchronised"
        return f"the camera's clock is {abs(self.delay):.0f} s {way} {ours}; its time is not used"

    def late(self, seen: float | None, at: Instant) -> bool:
        """Judge a time that the camera stands by (None: there is none, which says nothing); True: it is a record."""
        if seen is None:
            return False
        if seen < EPOCH_S:
            self.lost = True
            return False
        arrival = at.wall if self._anchor is None else self._anchor[1] + at.mono - self._anchor[0]
        delay = arrival - seen
        known = self.delay
        is_first, self._is_met = not self._is_met, True
        if abs(delay) <= OLD_S or (known is not None and abs(delay - known) <= OLD_S) or self._is_sure(delay, at.mono):
            ours = at.wall - seen
            self.delay = ours if abs(ours) > OLD_S else 0.0
            self._anchor, self._doubt, self.lost = (at.mono, at.wall), None, False
            return False
        if known is None:  # nobody knows this camera yet: its first word counts
            return not is_first and delay > OLD_S
        return delay > known

    def _is_sure(self, delay: float, mono: float) -> bool:
        """Pushes follow each other in real time, all with this delay."""
        one = self._doubt
        if one is None or abs(delay - one.delay) > SAME_S:
            self._doubt = _Doubt(delay, mono)
            return False
        one.pushes += 1
        return mono - one.mono >= (PAIR_S if one.pushes == 2 else THREE_S)

    def told(self) -> Json:
        """What has to survive a restart; the same as long as nothing changes that matters."""
        if self.delay is None:
            return [None, self.lost] if self.lost else None
        return [round(self.delay / _MOVED_S) * _MOVED_S, self.lost]

    def found_right(self) -> None:
        """Its time was ours."""
        self.delay = 0.0

    def restore(self, value: Json) -> None:
        """Take it up."""
        if isinstance(value, list) and len(value) == 2:
            self.delay = float(value[0]) if isinstance(value[0], int | float) else None
            self.lost = value[1] is True

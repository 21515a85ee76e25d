"""A camera's clock: tells a late record from its memory apart from a wrong clock. Pure.

Late records have old times with varying delays. A wrong clock is off by the same amount push after push. So an old
time means a late record, until several pushes in a row are old by the same amount.
"""

from dataclasses import dataclass

from gateway.model import Instant, Json

OLD_S = 60.0
"""A time older than this may be a late record; a clock that is off by this much is wrong."""
EPOCH_S = 1_577_836_800.0
"""The year 2020. A camera with an earlier time has lost its clock, and the time is ignored."""
SAME_S = 3.0
"""Delays that differ by less count as equal: times have whole seconds, and cameras take a moment to send."""
PAIR_S, THREE_S = 10.0, 4.0
"""Two or three pushes this far apart with equal delay show a wrong clock: a queue is sent faster than cars pass."""
_MOVED_S = 30.0


@dataclass(slots=True)
class _Doubt:
    """A delay that differs from the known one."""

    delay: float
    mono: float
    pushes: int = 1


@dataclass(slots=True)
class CameraClock:
    """The clock of one camera. Delays are seconds from the camera's own time to the arrival."""

    delay: float | None = None
    """The delay when the camera was last live; None: never known."""
    lost: bool = False
    """The camera sent a time before 2020."""
    _anchor: tuple[float, float] | None = None
    """Monotonic and wall time of the last live push, so that a step of our own clock makes nothing late."""
    _doubt: _Doubt | None = None
    _is_met: bool = False

    @property
    def is_wrong(self) -> bool:
        """True if the camera's time must not be used."""
        return self.lost or (self.delay is not None and abs(self.delay) > OLD_S)

    def why(self, *, synced: bool) -> str:
        """The text of the alarm; empty: the clock is right. `synced`: our own clock is trusted."""
        if not self.is_wrong:
            return ""
        if self.lost or self.delay is None:
            return "the camera has lost its time; it is not used"
        way = "behind" if self.delay > 0 else "ahead of"
        ours = "ours" if synced else "ours, which is not synchronised"
        return f"the camera's clock is {abs(self.delay):.0f} s {way} {ours}; its time is not used"

    def late(self, seen: float | None, at: Instant) -> bool:
        """Judge the camera's time (None: it sent none). True: the passage is a late record."""
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
        if known is None:  # the first time that this camera sends is believed
            return not is_first and delay > OLD_S
        return delay > known

    def _is_sure(self, delay: float, mono: float) -> bool:
        """True if live pushes follow each other, all with this delay."""
        one = self._doubt
        if one is None or abs(delay - one.delay) > SAME_S:
            self._doubt = _Doubt(delay, mono)
            return False
        one.pushes += 1
        return mono - one.mono >= (PAIR_S if one.pushes == 2 else THREE_S)

    def told(self) -> Json:
        """What must survive a restart; unchanged as long as nothing relevant changes."""
        if self.delay is None:
            return [None, self.lost] if self.lost else None
        return [round(self.delay / _MOVED_S) * _MOVED_S, self.lost]

    def found_right(self) -> None:
        """Its time was ours."""
        self.delay = 0.0

    def restore(self, value: Json) -> None:
        """Load what `told` returned."""
        if isinstance(value, list) and len(value) == 2:
            self.delay = float(value[0]) if isinstance(value[0], int | float) else None
            self.lost = value[1] is True

"""A camera's confidence scale: set in the file, or learnt from its values. Pure.

A value above the top of the known scale means that the scale is larger, or that the camera sent nonsense. Either way
the larger scale is used from then on: it makes confidences lower, and a lower confidence never opens a gate. Values
that all fit a smaller scale lead back to it: a few if the larger one rests on fewer than `SURE` values, else many.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.model import Json

SCALES: Mapping[str, float] = {"0-1": 1.0, "0-100": 100.0, "0-255": 255.0}
"""The top of each scale, by its name in the site file."""
_TOPS = tuple(SCALES.values())
_USUAL_TOP = 100.0
SURE = 3
"""A scale is no longer doubted after this many values that fit no smaller scale."""
BACK_DOUBTED, BACK_SURE = 5, 20
"""Consecutive values that fit a smaller scale until it is used again. A working camera mostly sends over 80 %."""


@dataclass(slots=True)
class Scale:
    """The scale of one camera, set in the file or learnt."""

    fixed: float | None = None
    learnt: float | None = None
    above: int = 0
    """Values that fit no smaller scale, counted up to `SURE`."""
    below: int = 0
    """Consecutive values that fit a smaller scale."""
    differs: bool = False
    """The last values contradict the scale."""

    def percent(self, value: float | None) -> float | None:
        """Convert to 0-100 and learn from the value; None: there is no confidence, or it fits no scale."""
        if value is None or not 0 <= value <= _TOPS[-1]:
            return None
        if self.fixed is not None and value > self.fixed:
            return None
        if self.fixed is None:
            self._learn(value)
        return round(min(100.0, value / self.top * 100.0), 2)

    def _learn(self, value: float) -> None:
        least = next(top for top in _TOPS if value <= top)
        on_all = least == 1.0 and value.is_integer()
        known = self.learnt
        if known is None or least > known:
            self.differs = self.above > 0
            self.learnt, self.above, self.below = least, 0 if on_all else 1, 0
        elif on_all:
            return
        elif least == known:
            self.above, self.below = min(SURE, self.above + 1), 0
            self.differs = self.differs and self.above < SURE
        else:
            self.below += 1
            self.differs = self.differs or self.above < SURE or self.below >= BACK_DOUBTED
            if self.below >= (BACK_DOUBTED if self.above < SURE else BACK_SURE):
                self.learnt, self.above, self.below, self.differs = _TOPS[_TOPS.index(known) - 1], 1, 0, False

    def why(self) -> str:
        """The text of the alarm; empty: the values agree with the scale."""
        if not self.differs:
            return ""
        name = _name(self.top)
        return f"confidences of several scales; judged by {name}, which opens least; write confidence: in its entry"

    def told(self) -> dict[str, str]:
        """For health: the scale, and whether it is `set`, `learnt`, `doubted`, or `assumed` before the first value."""
        known = "learnt" if not self.differs else "doubted"
        return {"scale": _name(self.top), "scale_is": "set" if self.fixed else known if self.learnt else "assumed"}

    def state(self) -> Json:
        """What must survive a restart."""
        return None if self.learnt is None else [self.learnt, self.above, self.below, self.differs]

    def restore(self, value: Json) -> None:
        """Load what `state` returned. Older versions kept a bare number."""
        if isinstance(value, int | float) and value in _TOPS:
            self.learnt, self.above = float(value), SURE
        elif isinstance(value, list) and len(value) == 4 and value[0] in _TOPS:
            top, above, below, differs = value
            self.learnt = float(top)
            self.above, self.below = (one if isinstance(one, int) else 0 for one in (above, below))
            self.differs = differs is True

    @property
    def top(self) -> float:
        """The value that means 100 %."""
        return self.fixed or self.learnt or _USUAL_TOP


def _name(top: float) -> str:
    return next(name for name, one in SCALES.items() if one == top)

"""A camera's scale of confidence: of the file, or learnt from what it sends. Pure.

A value over the top of the known scale shows that the scale is larger, or that the camera sent nonsense. Either way
the larger scale counts from then on: by it confidences are lower, and a lower confidence never opens a gate. Values
that only fit a smaller scale lead back to it: a few, if the larger one rests on less than `SURE` values, else many.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.model import Json

SCALES: Mapping[str, float] = {"0-1": 1.0, "0-100": 100.0, "0-255": 255.0}
"""The top of each, by its name in the site file."""
_TOPS = tuple(SCALES.values())
_USUAL_TOP = 100.0
SURE = 3
"""Values that no smaller scale holds, then a scale is no longer doubted."""
BACK_DOUBTED, BACK_SURE = 5, 20
"""Values in a row that a smaller scale holds, until it counts again. Of a camera that reads, most are over 80 %."""


@dataclass(slots=True)
class Scale:
    """Of one camera: the scale of the file, or the one that is learnt."""

    fixed: float | None = None
    learnt: float | None = None
    above: int = 0
    """Values that only this scale holds, as far as they are counted: up to `SURE`."""
    below: int = 0
    """Values in a row that a smaller scale holds."""
    differs: bool = False
    """The last values disagree about the scale."""

    def percent(self, value: float | None) -> float | None:
        """0-100; None: it gives no confidence, or one that is on no scale. Learns."""
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
        """For the alarm; empty: the values agree about the scale."""
        if not self.differs:
            return ""
        name = _name(self.top)
        return f"confidences of several scales; judged by {name}, which opens least; write confidence: in its entry"

    def told(self) -> dict[str, str]:
        """For health: the scale, and whether it is `set`, `learnt`, `doubted`, or `assumed` as long as nothing came."""
        known = "learnt" if not self.differs else "doubted"
        return {"scale": _name(self.top), "scale_is": "set" if self.fixed else known if self.learnt else "assumed"}

    def state(self) -> Json:
        """What has to survive a restart."""
        return None if self.learnt is None else [self.learnt, self.above, self.below, self.differs]

    def restore(self, value: Json) -> None:
        """Take it up; a bare number is what older versions kept, by one value or by many."""
        if isinstance(value, int | float) and value in _TOPS:
            self.learnt, self.above = float(value), SURE
        elif isinstance(value, list) and len(value) == 4 and value[0] in _TOPS:
            top, above, below, differs = value
            self.learnt = float(top)
            self.above, self.below = (one if isinstance(one, int) else 0 for one in (above, below))
            self.differs = differs is True

    @property
    def top(self) -> float:
        """What stands for certainty."""
        return self.fixed or self.learnt or _USUAL_TOP


def _name(top: float) -> str:
    return next(name for name, one in SCALES.items() if one == top)

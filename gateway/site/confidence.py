"""A camera's scale of confidence: of the file, or learnt from what it sends. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

SCALES: Mapping[str, float] = {"0-1": 1.0, "0-100": 100.0, "0-255": 255.0}
"""The top of each, by its name in the site file."""
_USUAL = 100.0


@dataclass(slots=True)
class Scale:
    """Of one camera: the smallest scale that holds all that it ever sent, or the one of the file."""

    fixed: float | None = None
    learnt: float | None = None

    def percent(self, value: float | None) -> float | None:
        """0-100; None: it gives no confidence, or one that is on no scale. Learns."""
        if value is None or not 0 <= value <= SCALES["0-255"]:
            return None
        if self.fixed is not None and value > self.fixed:
            return None
        if self.fixed is None:
            least = next(top for top in SCALES.values() if value <= top)
            self.learnt = max(self.learnt or 0.0, least)
        return round(min(100.0, value / self.top * 100.0), 2)

    def told(self) -> dict[str, str]:
        """For health: the scale, and whether it is `set`, `learnt`, or `assumed` because nothing was sent yet."""
        name = next(name for name, top in SCALES.items() if top == self.top)
        return {"scale": name, "scale_is": "set" if self.fixed else "learnt" if self.learnt else "assumed"}

    @property
    def top(self) -> float:
        """What stands for certainty."""
        return self.fixed or self.learnt or _USUAL

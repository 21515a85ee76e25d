"""One gate: why it is held, what it was told, what it does."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.model import Instant, Json
from gateway.site.settings import GateSettings, Ref

AFTER = "after"
"""The cause that stays when the last fire was reset; a person ends it."""
UNKNOWN = "unknown"
"""The output was found on, and nobody knows why; a person ends it."""
_FIRE = "fire:"

PULSES = 20
MINUTE = 60.0
JOINS = 1.0
"""An opening within so many seconds of a pulse's end joins it."""

Cause = Mapping[str, Json]
"""`cause`, `by`, `alarm` of the events; `open`: of an unknown one, the output is `open`; `sure`: it was written."""


def fire(linkage: str) -> str:
    """The name of the cause by a linkage."""
    return _FIRE + linkage


@dataclass(slots=True)
class Gate:
    """What is known of one gate. Times are monotonic seconds."""

    settings: GateSettings
    causes: dict[str, Cause] = field(default_factory=dict)
    releasing: bool = False
    """No cause is left; the way under it must be clear for 3 s first."""
    opener: Cause | None = None
    """Who asked for the opening whose order is under way, or whose arm is waited for."""
    pulsing: bool = False
    """The order of a pulse is under way."""
    pulse_until: float = float("-inf")
    rises_until: float = float("-inf")
    """Until then a rising arm is our doing."""
    pulses: deque[float] = field(default_factory=deque)
    waiting: list[str] = field(default_factory=list)
    """Requests that wait for the pulse."""
    holders: list[str] = field(default_factory=list)
    """Requests that wait for the hold to be written."""
    arm: bool | None = None
    """True: up; None: not known."""
    clear_since: float | None = None
    judged: set[Ref] = field(default_factory=set)
    """Outputs whose first reading since the start has been looked at."""

    @property
    def id(self) -> str:
        """Its name in the site file."""
        return self.settings.id

    @property
    def is_held(self) -> bool:
        """Nothing may write false to what holds it."""
        return bool(self.causes) or self.releasing

    @property
    def by_fire(self) -> bool:
        """A fire holds it, or did and nobody has released it yet."""
        return any(key == AFTER or key.startswith(_FIRE) for key in self.causes)

    def held_refs(self) -> list[Ref]:
        """The outputs that hold it now."""
        refs = []
        unknown = self.causes.get(UNKNOWN)
        by_open = unknown is not None and bool(unknown.get("open"))
        if by_open:
            refs.append(self.settings.open)
        if self.releasing or len(self.causes) > by_open:
            refs.append(self.settings.held)
        return list(dict.fromkeys(refs))

    def commanded(self, now: Instant) -> str:
        """`idle`, `opening`, `held` or `held-after-fire`."""
        if self.causes.keys() == {AFTER}:
            return "held-after-fire"
        if self.is_held:
            return "held"
        return "opening" if self.pulsing or now.mono < self.pulse_until else "idle"

    def actual(self, now: Instant, *, power: bool) -> str:
        """`up`, `down`, `moving`, `power-lost` or `unknown`; without `arm` never more than unknown."""
        if self.arm is None:
            return "unknown" if power or self.settings.arm is None else "power-lost"
        if self.arm:
            return "up"
        return "moving" if now.mono < self.rises_until else "down"

    def limited(self, now: Instant) -> bool:
        """True if there were as many pulses in the last minute as there may be."""
        while self.pulses and self.pulses[0] <= now.mono - MINUTE:
            self.pulses.popleft()
        return len(self.pulses) >= PULSES

    def memory(self) -> Json:
        """What must survive."""
        return {"causes": {key: dict(cause) for key, cause in self.causes.items()}, "releasing": self.releasing}

    def restore(self, value: Json) -> None:
        """Take up what survived."""
        if isinstance(value, Mapping):
            causes = value.get("causes")
            if isinstance(causes, Mapping):
                self.causes = {key: dict(cause) for key, cause in causes.items() if isinstance(cause, Mapping)}
            self.releasing = bool(value.get("releasing")) and not self.causes

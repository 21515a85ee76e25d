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
COMMAND = "command"
"""Begins the causes by a command, one for each key: `command/KID`; alone, of an older store, any key may end it."""
_FIRE = "fire:"

PULSES = 20
MINUTE_S = 60.0
JOINS_S = 1.0
"""An opening within so many seconds of a pulse's end joins it."""

Cause = Mapping[str, Json]
"""`cause`, `by`, `alarm` of the events; `open`: of an unknown one, the output is `open`; `sure`: it was written."""


def fire(linkage: str) -> str:
    """The name of the cause by a linkage."""
    return _FIRE + linkage


def by_command(cause: str, kid: str | None = None) -> bool:
    """True for a cause by a command: of any key, or of this one."""
    if kid is not None:
        return cause in (COMMAND, f"{COMMAND}/{kid}")
    return cause.partition("/")[0] == COMMAND


def unwritten(gate: str, cause: str) -> str:
    """The name of the time that a hold by command may wait to be written: `GATE/KID`."""
    return gate + cause.removeprefix(COMMAND)


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
    holders: dict[str, str] = field(default_factory=dict)
    """Requests that wait for the hold to be written, and their causes."""
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
        return AFTER in self.causes or bool(self.fires())

    def fires(self) -> list[str]:
        """Its causes by a linkage."""
        return [key for key in self.causes if key.startswith(_FIRE)]

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

    def status(self, now: Instant, *, power: bool) -> dict[str, Json]:
        """`commanded`, `actual` and `verified`, as in the events."""
        return {
            "commanded": self.commanded(now),
            "actual": self.actual(now, power=power),
            "verified": None if self.settings.arm is None else self.arm is True,
        }

    def limited(self, now: Instant) -> bool:
        """True if there were as many pulses in the last minute as there may be."""
        while self.pulses and self.pulses[0] <= now.mono - MINUTE_S:
            self.pulses.popleft()
        return len(self.pulses) >= PULSES

    def take_holders(self, cause: str | None = None) -> list[str]:
        """Take away the requests that wait for a hold, of one cause or of all."""
        taken = [token for token, one in self.holders.items() if cause in (None, one)]
        for token in taken:
            del self.holders[token]
        return taken

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

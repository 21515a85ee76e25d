"""The state of one gate: why it is held, what was ordered, what the arm does."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.model import Instant, Json
from gateway.site.settings import GateSettings, Ref

AFTER = "after"
"""The cause that remains after the last fire was reset; a person ends it."""
UNKNOWN = "unknown"
"""The output was found on at start for an unknown reason; a person ends it."""
COMMAND = "command"
"""Prefix of causes by command, one per key: `command/KID`. Without a key (from an older store), any key may end it."""
_FIRE = "fire:"

PULSES = 20
MINUTE_S = 60.0
JOINS_S = 1.0
"""An opening this soon after the end of a pulse joins that pulse."""

Cause = Mapping[str, Json]
"""`cause`, `by`, `alarm` as in the events. `open`: the output of an unknown cause is `open`; `sure`: it was written."""


def fire(linkage: str) -> str:
    """The name of the cause of a linkage."""
    return _FIRE + linkage


def by_command(cause: str, kid: str | None = None) -> bool:
    """True if the cause is a command: of any key, or of this one."""
    if kid is not None:
        return cause in (COMMAND, f"{COMMAND}/{kid}")
    return cause.partition("/")[0] == COMMAND


def unwritten(gate: str, cause: str) -> str:
    """The name of the deadline by which a hold by command must be written: `GATE/KID`."""
    return gate + cause.removeprefix(COMMAND)


@dataclass(slots=True)
class Gate:
    """The state of one gate. Times are monotonic seconds."""

    settings: GateSettings
    causes: dict[str, Cause] = field(default_factory=dict)
    releasing: bool = False
    """No cause is left; the gate waits until the way under it has been clear for 3 s."""
    opener: Cause | None = None
    """Who asked for the opening whose order is under way or whose arm has yet to rise."""
    pulsing: bool = False
    """The order for a pulse is under way."""
    pulse_until: float = float("-inf")
    rises_until: float = float("-inf")
    """Until then a rising arm is explained by our order."""
    pulses: deque[float] = field(default_factory=deque)
    waiting: list[str] = field(default_factory=list)
    """Requests that wait for the pulse."""
    holders: dict[str, str] = field(default_factory=dict)
    """Requests that wait until the hold is written -> their causes."""
    arm: bool | None = None
    """True: up; None: not known."""
    clear_since: float | None = None
    judged: set[Ref] = field(default_factory=set)
    """Outputs whose first reading since the start has been judged."""

    @property
    def id(self) -> str:
        """Its name in the site file."""
        return self.settings.id

    @property
    def is_held(self) -> bool:
        """True while it is held: nothing may write false to the output that holds it."""
        return bool(self.causes) or self.releasing

    @property
    def by_fire(self) -> bool:
        """True if a fire holds it, or held it and nobody has released it yet."""
        return AFTER in self.causes or bool(self.fires())

    def fires(self) -> list[str]:
        """Its causes that come from a linkage."""
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
        """`up`, `down`, `moving`, `power-lost` or `unknown`; always `unknown` without an `arm` input."""
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
        """True if the limit of pulses per minute is reached."""
        while self.pulses and self.pulses[0] <= now.mono - MINUTE_S:
            self.pulses.popleft()
        return len(self.pulses) >= PULSES

    def take_holders(self, cause: str | None = None) -> list[str]:
        """Remove and return the requests that wait for a hold, for one cause or for all."""
        taken = [token for token, one in self.holders.items() if cause in (None, one)]
        for token in taken:
            del self.holders[token]
        return taken

    def memory(self) -> Json:
        """What must survive."""
        return {"causes": {key: dict(cause) for key, cause in self.causes.items()}, "releasing": self.releasing}

    def restore(self, value: Json) -> None:
        """Load what `memory` returned."""
        if isinstance(value, Mapping):
            causes = value.get("causes")
            if isinstance(causes, Mapping):
                self.causes = {key: dict(cause) for key, cause in causes.items() if isinstance(cause, Mapping)}
            self.releasing = bool(value.get("releasing")) and not self.causes

"""A small site and a hand for its brain: feeds inputs, applies effects to a memory."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.kinds import ALARM_KINDS
from gateway.model import (
    Answer,
    DeviceHealth,
    Effect,
    Emit,
    Forget,
    Input,
    Instant,
    Json,
    LineHealth,
    Quality,
    Reading,
    ReadNow,
    Reason,
    Remember,
    Started,
    Tick,
    Value,
)
from gateway.site.settings import AlarmRule, Condition, DeviceSettings, SiteSettings
from gateway.site.site import Site

EPOCH = 1_795_000_000.0
SEED = bytes(range(16))


def rule(device: str, point: str, name: str, kind: str, condition: Condition, **more: Any) -> AlarmRule:
    """An alarm rule with the defaults of its kind."""
    severity, service_class, latch = ALARM_KINDS[kind]
    return AlarmRule(
        device, point, name, kind, severity, service_class, **{"latch": latch, "condition": condition, **more}
    )


def settings() -> SiteSettings:
    """Two detectors of one zone on one line, and a pressure gauge with hysteresis and delays on another."""
    fire = Condition(equals=1)
    low = Condition(below=0.10, clear=0.12)
    return SiteSettings(
        {
            "smoke-1": DeviceSettings(
                "smoke-1", "loop", "b3", "2F", (rule("smoke-1", "smoke", "fire", "fire", fire, confirm=2),)
            ),
            "smoke-2": DeviceSettings(
                "smoke-2", "loop", "b3", "3F", (rule("smoke-2", "smoke", "fire", "fire", fire, confirm=2),)
            ),
            "gauge": DeviceSettings(
                "gauge",
                "bus",
                None,
                None,
                (rule("gauge", "pressure", "low", "water", low, delay=5.0, clear_delay=3.0),),
            ),
        },
        ("loop", "bus"),
    )


@dataclass
class World:
    """One life of a site after another over one memory, as the journal would keep it."""

    now: float = 0.0
    memory: dict[str, Json] = field(default_factory=dict)
    events: list[Emit] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)
    asked: list[ReadNow] = field(default_factory=list)
    lives: int = 0
    plan: SiteSettings = field(default_factory=settings)

    def __post_init__(self) -> None:
        self.restart()

    def instant(self) -> Instant:
        return Instant(self.now, EPOCH + self.now, synced=True)

    def restart(self) -> None:
        """A new process: only the memory survives."""
        self.lives += 1
        self.site = Site(self.plan, SEED[:-1] + bytes([self.lives]))
        self.site.restore(self.memory)
        self.feed(Started(self.instant(), "test", None))

    def feed(self, item: Input) -> list[Effect]:
        effects = self.site.step(item, self.instant())
        self.effects += effects
        for effect in effects:
            match effect:
                case Emit():
                    self.events.append(effect)
                case Remember():
                    self.memory[effect.key] = effect.value
                case Forget():
                    self.memory.pop(effect.key, None)
                case ReadNow():
                    self.asked.append(effect)
        return effects

    def wait(self, seconds: float) -> None:
        """Let time pass; ticks come when the site wants them."""
        until = self.now + seconds
        while (due := self.site.deadline()) is not None and due <= until:
            self.now = max(self.now, due)
            self.feed(Tick(self.instant()))
        self.now = until

    def read(self, device: str, point: str, value: Value | None, after: float = 1.0) -> list[Effect]:
        """The device answers; None is a BAD reading."""
        self.wait(after)
        quality, reason = (Quality.BAD, Reason.SILENT) if value is None else (Quality.GOOD, None)
        reading = Reading(value, None, None, quality, reason, self.instant())
        return self.feed(Answer(device, {point: reading}, self.instant()))

    def health(self, device: str, *, answering: bool) -> None:
        self.wait(0.5)
        self.feed(DeviceHealth(device, answering, "3 misses", self.instant()))

    def line(self, name: str, *, up: bool) -> None:
        self.wait(0.5)
        self.feed(LineHealth(name, up, "" if up else "port is gone", self.instant()))

    def told(self) -> list[tuple[str, str | None]]:
        """(type, subject) of the alarm events so far."""
        return [(event.type, event.subject) for event in self.events if event.type.startswith("alarm.")]

    def last(self) -> Mapping[str, Json]:
        return self.events[-1].data

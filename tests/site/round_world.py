"""A site with rounds under a virtual clock, and what lies outside of it: devices, cameras, a panel's guard, people."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.model import (
    Effect,
    Forget,
    Input,
    Instant,
    Json,
    Perform,
    Performed,
    Person,
    Remember,
    Reply,
    Started,
)
from gateway.site.looks import LOOK, Look
from gateway.site.round_run import ANSWER, DUTY, READ
from gateway.site.round_settings import (
    DeviceRule,
    DutyRule,
    Item,
    PanelRule,
    PersonRule,
    PictureRule,
    Place,
    PointRule,
    Round,
    RoundSettings,
    TestedRule,
    ZoneRule,
)
from gateway.site.settings import Condition, DeviceSettings, Ref, SiteSettings
from gateway.site.site import Site
from tests.site.world import EPOCH, SEED, World, rule

HYDRANT = Item(
    "point:hydrant.pressure", "point", PointRule(Ref("hydrant", "pressure"), (0.10, 0.60), trend=30 * 86400.0)
)
MODE = Item("point:pump.mode", "point", PointRule(Ref("pump", "mode"), equals=1), "major")
ALIVE = Item("device:smoke-1", "device", DeviceRule("smoke-1"))
QUIET = Item("no_alarm:b3", "no_alarm", ZoneRule("b3"))
PANEL = Item("panel:panel", "panel", PanelRule("panel", 0, 0))
DUTY_ITEM = Item("duty_check:panel", "duty_check", DutyRule("panel"))
TESTED = Item("tested:b3", "tested", TestedRule("b3", ("smoke-1", "smoke-2"), 365 * 86400.0))
YARD = Item("camera:yard", "camera", PictureRule("yard"))
PERSON = Item("person:look", "person", PersonRule("look"))
PHOTO = Item("person:photo", "person", PersonRule("photo", photo=True), place="pump-room")
RUN_PUMP = Item("person:run", "person", PersonRule("run", watch=((Ref("pump", "running"), 1),), within=600.0))
MACHINES = (HYDRANT, MODE, ALIVE, QUIET, PANEL, DUTY_ITEM, TESTED, YARD)


def site_of(*items: Item, cron: str | None = "0 2 * * *", due: float | None = None) -> SiteSettings:
    """Two detectors of a zone, a hydrant, a pump, a panel; one round `nightly`."""
    fire = Condition(equals=1)
    smoke = [
        DeviceSettings(
            name, "loop", "b3", None, (rule(name, "smoke", "fire", "fire", fire, confirm=1, latch=False),),
            "smoke-detector", points=frozenset({"smoke"}),
        )
        for name in ("smoke-1", "smoke-2")
    ]  # fmt: skip
    others = [
        DeviceSettings("hydrant", "bus", points=frozenset({"pressure"})),
        DeviceSettings("pump", "bus", kind="pump", points=frozenset({"mode", "running"})),
        DeviceSettings("panel", "panel-line", "lobby", kind="panel"),
    ]
    places = {"pump-room": Place("pump-room", "泵房", tag="ntag424"), "roof": Place("roof", "屋顶")}
    inspection = RoundSettings("Asia/Shanghai", {"nightly": Round("nightly", items, "夜间", cron, due)}, places)
    devices = {device.id: device for device in (*smoke, *others)}
    return SiteSettings(devices, ("loop", "bus", "panel-line"), zones=("b3", "lobby"), inspection=inspection)


def answered(value: Json, **more: Json) -> dict[str, Json]:
    return {"value": value, "text": None, "unit": "MPa", "quality": "GOOD", "reason": None, "at": "t", **more}


@dataclass
class Night(World):
    """`outside`: what each order gets, by its target; a Performed's result, or (code, message)."""

    plan: SiteSettings = field(default_factory=lambda: site_of(*MACHINES))
    outside: dict[str, Any] = field(
        default_factory=lambda: {
            "hydrant": {"pressure": answered(0.35)},
            "pump": {"mode": answered(1, text="auto")},
            "smoke-1": {"smoke": answered(0)},
            "panel": {},
            "yard": Look("normal", picture="pic-1", sha256="ab", at="t", clock="synced"),
        }
    )
    asked_outside: list[Perform] = field(default_factory=list)
    hold: bool = False
    """Nothing comes back until `come`."""
    replies: list[Mapping[str, Any]] = field(default_factory=list)
    blind_from: float | None = None
    synced: bool = True
    step_of_clock: float = 0.0

    def instant(self) -> Instant:
        return Instant(self.now, EPOCH + self.now + self.step_of_clock, self.synced)

    def restart(self, off: float = 0.0) -> None:
        self.asked_outside.clear()
        blind_from = None if not self.lives else self.instant().wall
        self.now += off
        self.lives += 1
        self.site = Site(self.plan, SEED[:-1] + bytes([self.lives % 256]))
        self.site.restore(self.memory)
        self.feed(Started(self.instant(), "test", blind_from))
        if not self.hold:
            self.come()

    def feed(self, item: Input) -> list[Effect]:
        effects = super().feed(item)
        self.asked_outside += [effect for effect in effects if isinstance(effect, Perform)]
        self.replies += [effect.data for effect in effects if isinstance(effect, Reply)]
        if not self.hold and not isinstance(item, Started):
            self.come()
        return effects

    def come(self) -> None:
        """Everything that was asked outside gets its answer."""
        while self.asked_outside:
            self.come_one(self.asked_outside.pop(0))

    def come_one(self, act: Perform) -> None:
        code, message, result = "", "", None
        match act.cmd:
            case _ if act.cmd == READ:
                result = self.outside[str(act.args["device"])]
                if isinstance(result, dict):
                    is_whole = "failed" in result or "readings" in result
                    result = result if is_whole else {"readings": result, "answer_ms": 20.0, "clock": "synced"}
            case _ if act.cmd == LOOK:
                result = self.outside[str(act.args["camera"])]
                result = result.result() if isinstance(result, Look) else result
            case _ if act.cmd == DUTY:
                result = self.outside["panel"]
            case _ if act.cmd == ANSWER:
                result = self.outside.get(
                    "answer", {"picture": "photo-1", "sha256": "cd", "mark": "m", "presence": "none"}
                )
        if isinstance(result, tuple):
            code, message, result = result[0], result[1], None
        held, self.hold = self.hold, True
        self.feed(Performed(act.order, not code, result, code, message, self.instant()))
        self.hold = held

    def do(self, cmd: str, role: str = "technician", **args: Json) -> Mapping[str, Any]:
        """A person on site asks; the reply."""
        self.feed(Person(f"ask-{len(self.replies)}-{self.now}", "li", role, cmd, args, self.instant(), "li"))
        return self.replies[-1]

    def run(self) -> Mapping[str, Any]:
        """The round, now; the data of its end, or of its beginning if it has not ended."""
        self.wait(1.0)
        reply = self.do("inspection.run", round="nightly")
        assert reply["ok"], reply
        data: Mapping[str, Any] = self.inspection()[-1].data
        return data

    def inspection(self, type_: str | None = None) -> list[Any]:
        return [
            one for one in self.events
            if one.type.startswith(("inspection.", "finding.")) and type_ in (None, one.type)
        ]  # fmt: skip

    def item(self, id_: str) -> Mapping[str, Any]:
        """How an item ended in the last finished run."""
        data = self.inspection("inspection.finished")[-1].data
        items: Any = data["items"]
        return next(one for one in items if one["item"] == id_)

    def told_of(self, type_: str) -> list[str | None]:
        return [one.subject for one in self.inspection(type_)]


__all__ = [
    "ALIVE", "DUTY_ITEM", "HYDRANT", "MACHINES", "MODE", "PANEL", "PERSON", "PHOTO", "QUIET", "RUN_PUMP", "TESTED",
    "YARD", "Effect", "Forget", "Night", "Remember", "answered", "site_of",
]  # fmt: skip

"""A compound under a virtual clock: the brain, its memory, and devices that do what they are told, or do not.

Plays the part of the program round the brain: commits, orders and their outcomes, reads, ticks. An order that
waits for its commit leaves with it; a later order for the same point withdraws it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from heapq import heappop, heappush
from typing import Any

from gateway.model import (
    Answer,
    Command,
    DeviceHealth,
    Effect,
    Emit,
    Forget,
    Input,
    Instant,
    Json,
    KeepPictures,
    LineHealth,
    ListReady,
    Operate,
    Outcome,
    Passage,
    Perform,
    Person,
    Quality,
    Reading,
    ReadNow,
    Reason,
    Remember,
    Reply,
    Started,
    Stopping,
    Tick,
    Value,
)
from gateway.site.lists import ListEntry, make
from gateway.site.settings import (
    AccessSettings,
    AnnunciatorSettings,
    Condition,
    DeviceReset,
    DeviceSettings,
    GateSettings,
    LinkageSettings,
    Ref,
    SiteSettings,
)
from gateway.site.site import Site
from tests.site.world import EPOCH, SEED, rule

WIRE = 0.02
"""Seconds from an order to its outcome, from a question to its answer."""
TIMEOUT = 0.3
RISES = 2.0

DEFAULT_ALLOW = frozenset({
    "gate.open", "gate.hold", "gate.release", "fire.confirm", "alarm.acknowledge", "alarm.verify", "alarm.reset",
    "alarm.shelve", "read", "events.replay", "config.get",
})  # fmt: skip
ALL = DEFAULT_ALLOW | {
    "device.disable", "device.enable", "zone.test", "write", "config.apply", "fire.reset", "fire.release",
}  # fmt: skip


CAMERAS = {"lpr-north": "north", "lpr-south": "south", "lpr-exit": "south", "lpr-yard": None}


def detector(name: str, zone: str | None = "b3", kind: str = "smoke-detector", **more: Any) -> DeviceSettings:
    fire = rule(name, "fire", "fire", "fire", Condition(equals=1), confirm=2)
    return DeviceSettings(name, "loop", zone, f"at {name}", (fire,), kind, points=frozenset({"fire"}), **more)


def yard(**more: Any) -> SiteSettings:
    """Three detectors and a call point in building 3, one detector elsewhere, two gates on a relay board."""
    devices = [
        detector("smoke-1"),
        detector("smoke-2"),
        detector("smoke-3"),
        detector("call-1", kind="call-point"),
        detector("heat-9", zone="garage", kind="heat-detector"),
        detector("heat-8", zone="garage", kind="heat-detector"),
        detector("free-1", zone=None),
        detector("free-2", zone=None),
        DeviceSettings(
            "gauge", "loop", "b3", None,
            (rule("gauge", "level", "low", "water", Condition(below=1.0, clear=1.2), latch=True),),
            "level", points=frozenset({"level"}),
        ),
        DeviceSettings(
            "tank", "loop", None, None, (rule("tank", "level", "low", "fault", Condition(below=1.0)),), "level",
            points=frozenset({"level"}),
        ),
        DeviceSettings("board", "io", kind="relay", points=frozenset({f"do{n}" for n in range(1, 9)})),
        DeviceSettings("inputs", "io", kind="inputs", points=frozenset({f"di{n}" for n in range(1, 9)})),
    ]  # fmt: skip
    gates = [
        GateSettings(
            "north", Ref("board", "do1"), hold=Ref("board", "do2"), arm=Ref("inputs", "di1"),
            clear=Ref("inputs", "di2"), on_loss="keep",
        ),
        GateSettings("south", Ref("board", "do3"), on_loss="keep"),
        GateSettings("back", Ref("board", "do8")),
    ]  # fmt: skip
    settings: dict[str, Any] = {
        "devices": {device.id: device for device in devices},
        "lines": ("loop", "io"),
        "zones": ("b3", "garage", "pumps"),
        "gates": {gate.id: gate for gate in gates},
        "linkages": (
            LinkageSettings(
                "evacuation", button=Ref("inputs", "di7"), hold=("north", "south"), set=(Ref("board", "do4"),)
            ),
        ),
        "annunciator": AnnunciatorSettings(Ref("board", "do5"), Ref("board", "do6"), Ref("inputs", "di4")),
        "access": AccessSettings(cameras=CAMERAS),
        "writable": frozenset({Ref("board", f"do{n}") for n in range(1, 9)}),
        "performed": frozenset({"read", "events.replay", "config.get", "config.apply"}),
    }
    return SiteSettings(**settings | more)


def with_reset(how: DeviceReset) -> SiteSettings:
    """The yard, with a first detector that is reset in this way."""
    plan = yard()
    return yard(devices={**plan.devices, "smoke-1": detector("smoke-1", reset=how)})


@dataclass(slots=True)
class Sent:
    """An order on its way."""

    operate: Operate
    done: bool = False


@dataclass
class Compound:
    """One life of the site after another over one memory."""

    plan: SiteSettings = field(default_factory=yard)
    now: float = 0.0
    shift: float = 0.0
    """What the wall clock is off by."""
    synced: bool = True
    memory: dict[str, Json] = field(default_factory=dict)
    """As committed."""
    points: dict[Ref, Value] = field(default_factory=dict)
    """What the devices hold."""
    silent: set[str] = field(default_factory=set)
    stuck: set[Ref] = field(default_factory=set)
    """Outputs that take an order and do nothing."""
    refusing: set[Ref] = field(default_factory=set)
    commits: bool = True
    """False: the store is slow, steps wait."""
    deaf: bool = False
    """Orders get lost, answer and all."""
    events: list[Emit] = field(default_factory=list)
    """As committed."""
    replies: list[Reply] = field(default_factory=list)
    performs: list[Perform] = field(default_factory=list)
    pictures: list[KeepPictures] = field(default_factory=list)
    wire: list[tuple[float, str, Value]] = field(default_factory=list)
    """Every write that a device took: when, what, value."""
    asked: int = 0
    lives: int = 0
    steps: int = 0
    on_write: Callable[[Ref, Value], None] | None = None
    known_after: float = 0.0
    """Seconds after which it is known what became of a write."""
    trace: list[list[Effect]] | None = None
    arms: bool = True
    """The barriers rise and lower as they should."""
    heap: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    count: int = 0
    uncommitted: list[list[Effect]] = field(default_factory=list)
    sent: dict[Ref, Sent] = field(default_factory=dict)
    """The last order of each point."""
    orders: dict[str, Sent] = field(default_factory=dict)
    """Those that wait for their commit."""

    def __post_init__(self) -> None:
        for device in self.plan.devices.values():
            for point in device.points:
                self.points.setdefault(Ref(device.id, point), 5.0 if point == "level" else 0)
        self.points[Ref("inputs", "di2")] = 1
        self.start()

    # ---- the process ----------------------------------------------------------------------------

    def instant(self) -> Instant:
        return Instant(self.now, EPOCH + self.now + self.shift, self.synced)

    def start(self) -> None:
        self.lives += 1
        self.site = Site(self.plan, SEED[:-2] + self.lives.to_bytes(2, "big"))
        self.site.restore(self.memory)
        self.feed(Started(self.instant(), "test", None))

    def crash(self, *, lose: bool = True) -> None:
        """Kill the process and start it anew; what was not committed is lost, what was under way too."""
        if not lose:
            self.commit()
        self.uncommitted.clear()
        self.heap.clear()
        self.sent.clear()
        self.orders.clear()
        self.start()

    def stop(self) -> None:
        """A clean stop and a new start."""
        self.feed(Stopping(self.instant(), "asked to"))
        self.crash(lose=False)

    def feed(self, item: Input) -> list[Effect]:
        self.steps += 1
        effects = self.site.step(item, self.instant())
        if self.trace is not None:
            self.trace.append(effects)
        for effect in effects:
            match effect:
                case Operate():
                    self.issue(effect)
                case ReadNow(device, points):
                    self.after(WIRE, lambda device=device, points=points: self.answer(device, points))  # type: ignore[misc]
        self.uncommitted.append(effects)
        if self.commits:
            self.commit()
        return effects

    def commit(self) -> None:
        steps, self.uncommitted = self.uncommitted, []
        for effects in steps:
            for effect in effects:
                match effect:
                    case Emit():
                        self.events.append(effect)
                    case Remember(key, value):
                        self.memory[key] = value
                    case Forget(key):
                        self.memory.pop(key, None)
                    case Reply():
                        self.replies.append(effect)
                    case Perform():
                        self.performs.append(effect)
                    case KeepPictures():
                        self.pictures.append(effect)
                    case Operate(at_once=False):
                        self.leave(self.orders.pop(effect.order))

    def after(self, seconds: float, what: Callable[[], None]) -> None:
        self.count += 1
        heappush(self.heap, (self.now + seconds, self.count, what))

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        until = self.now + seconds
        while True:
            due = self.site.deadline()
            first = self.heap[0][0] if self.heap else None
            if due is not None and due <= until and (first is None or due <= first):
                self.now = max(self.now, due)
                self.feed(Tick(self.instant()))
            elif first is not None and first <= until:
                self.now = max(self.now, first)
                heappop(self.heap)[2]()
            else:
                break
        self.now = until

    # ---- the field ------------------------------------------------------------------------------

    def issue(self, operate: Operate) -> None:
        """An order: an earlier one for the same point is withdrawn unless it is on the wire; it may have to wait."""
        ref = Ref(operate.device, operate.point)
        before = self.sent.get(ref)
        if before is not None and not before.done:
            before.done = True
            self.end(before.operate, "withdrawn")
        self.sent[ref] = self.orders[operate.order] = Sent(operate)
        if operate.at_once:
            self.leave(self.orders.pop(operate.order))

    def leave(self, sent: Sent) -> None:
        ref = Ref(sent.operate.device, sent.operate.point)
        self.after(WIRE, lambda: self.write(ref, sent))

    def write(self, ref: Ref, sent: Sent) -> None:
        operate = sent.operate
        if sent.done or self.deaf:
            return
        if operate.expires is not None and self.now >= operate.expires:
            sent.done = True
            self.end(operate, "expired")
        elif ref.device in self.silent:
            if operate.expires is not None and self.now + TIMEOUT < operate.expires:
                self.after(TIMEOUT, lambda: self.write(ref, sent))
            else:
                sent.done = True
                self.after(TIMEOUT, lambda: self.end(operate, "silent"))
        elif ref in self.refusing:
            sent.done = True
            self.end(operate, "refused")
        else:
            sent.done = True
            self.put(ref, operate.value)
            if self.known_after:
                self.after(self.known_after, partial(self.done, operate, self.now))
            else:
                self.feed(Outcome(operate.order, True, "", None, self.instant()))

    def done(self, operate: Operate, sent: float) -> None:
        """What became of a write is known, later than it went out."""
        self.feed(Outcome(operate.order, True, "", None, self.instant(), sent))

    def end(self, operate: Operate, detail: str) -> None:
        self.after(0.0, lambda: self.fail(operate, detail))

    def fail(self, operate: Operate, detail: str) -> None:
        self.feed(Outcome(operate.order, False, detail, None, self.instant()))

    def put(self, ref: Ref, value: Value) -> None:
        """A device takes a write."""
        self.wire.append((round(self.now, 3), str(ref), value))
        if self.on_write is not None:
            self.on_write(ref, value)
        if ref in self.stuck:
            return
        timed = isinstance(value, float)
        self.points[ref] = bool(value) if isinstance(value, bool) or timed else value
        if timed:
            self.after(float(value), lambda: self.points.__setitem__(ref, False))
        for gate in self.plan.gates.values():
            if ref in (gate.open, gate.hold) and gate.arm is not None and self.arms and value:
                arm = gate.arm
                self.after(RISES, lambda arm=arm: self.input(str(arm), 1))  # type: ignore[misc]

    def answer(self, device: str, points: tuple[str, ...]) -> None:
        self.asked += 1
        if device not in self.silent:
            at = self.instant()
            readings = {
                point: Reading(self.points[Ref(device, point)], None, None, Quality.GOOD, None, at) for point in points
            }
            self.feed(Answer(device, readings, at))

    def input(self, name: str, value: Value) -> None:
        """An input changes, and the line sees it."""
        device, _, point = name.partition(".")
        if self.points.get(Ref(device, point)) != value:
            self.points[Ref(device, point)] = value
            self.answer(device, (point,))

    def fall_silent(self, device: str) -> None:
        self.silent.add(device)
        at = self.instant()
        bad = Reading(None, None, None, Quality.BAD, Reason.SILENT, at)
        readings = dict.fromkeys(self.plan.watched().get(device, ()), bad)
        self.feed(DeviceHealth(device, False, "3 misses", at))
        self.feed(Answer(device, readings, at))

    def come_back(self, device: str) -> None:
        self.silent.discard(device)
        self.feed(DeviceHealth(device, True, "", self.instant()))
        self.answer(device, tuple(sorted(self.plan.watched().get(device, ()))))

    def line(self, name: str, *, up: bool) -> None:
        self.feed(LineHealth(name, up, "" if up else "gone", self.instant()))

    # ---- people ---------------------------------------------------------------------------------

    def burn(self, *devices: str) -> None:
        """Detectors see a fire, and it is confirmed."""
        for device in devices:
            self.input(f"{device}.fire", 1)
            self.wait(0.1)

    def command(
        self, cmd: str, jti: str = "", allow: frozenset[str] = ALL, life: float = 60.0, kid: str = "k1", **args: Json
    ) -> dict[str, Any]:
        """A verified command; the reply, after as much time as that may take."""
        self.count += 1
        jti = jti or f"j{self.count}"
        wall = self.instant().wall
        self.feed(Command(jti, "cloud", "li", kid, allow, cmd, _args(args), wall + life, None, self.instant()))
        return self._answered(lambda reply: not reply.local and reply.jti == jti)

    def person(self, cmd: str, role: str = "guard", **args: Json) -> dict[str, Any]:
        """Somebody on site asks."""
        self.count += 1
        ask = f"a{self.count}"
        self.feed(Person(ask, "wang", role, cmd, _args(args), self.instant()))
        return self._answered(lambda reply: reply.local and reply.jti == ask)

    def see(self, camera: str, plate: str | None, key: str = "", confidence: float | None = 95.0, **more: Any) -> None:
        """A camera reports a car; `lpr-exit` looks at those who leave."""
        self.count += 1
        direction = "out" if camera == "lpr-exit" else "in"
        at = self.instant()
        told = {"direction": direction, "confidence": confidence, "seen": at.wall - 0.3, "seen_firm": True, **more}
        self.feed(Passage(camera, plate, at, key or f"k{self.count}", **told))

    def listed(self, *entries: ListEntry, version: int = 1, by: str = "store") -> None:
        """The list `residents` comes into force."""
        self.feed(ListReady("residents", make("residents", version, entries), by, "", "", self.instant()))

    def _answered(self, wanted: Callable[[Reply], bool]) -> dict[str, Any]:
        known = len(self.replies)
        for _ in range(300):
            for reply in self.replies[max(0, known - 20) :]:
                if wanted(reply):
                    return dict(reply.data)
            self.wait(0.1)
        return {}

    # ---- what is seen ---------------------------------------------------------------------------

    def on(self, name: str) -> bool:
        """The output holds true."""
        device, _, point = name.partition(".")
        return bool(self.points[Ref(device, point)])

    def writes(self, name: str) -> list[Value]:
        """What the output was told, in order."""
        return [value for _, ref, value in self.wire if ref == name]

    def told(self, *types: str) -> list[Emit]:
        """Committed events of these types."""
        return [event for event in self.events if event.type in types]

    def alarm(self, subject: str) -> Mapping[str, Any]:
        """The data of a standing alarm; empty: none stands."""
        value = self.memory.get(f"alarm/{subject}")
        return value if isinstance(value, Mapping) else {}

    def gate(self, name: str) -> Mapping[str, Any]:
        """The last event of a gate."""
        return next((event.data for event in reversed(self.events) if event.data.get("gate") == name), {})

    def causes(self, name: str) -> set[str]:
        """The names of what holds a gate, as committed."""
        value = self.memory.get(f"gate/{name}")
        causes = value.get("causes") if isinstance(value, Mapping) else None
        return set(causes) if isinstance(causes, Mapping) else set()


def _args(args: Mapping[str, Json]) -> dict[str, Json]:
    """`for_` is `for`."""
    return {name.removesuffix("_"): value for name, value in args.items()}

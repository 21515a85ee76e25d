"""The site under a virtual clock: chance drives it, a small model of our own judges it.

Random readings, commands, restarts at any commit, steps of the clock, lost orders, slow stores. What must hold
whatever comes: see `Judge`.
"""

from collections import Counter
from dataclasses import replace
from itertools import count
from typing import Any, ClassVar

import orjson
import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule, run_state_machine_as_test

from gateway.model import Command, Emit, Input, Instant, Json, Operate, Passage, Person, Refused, Remember, Value
from gateway.site.lists import ListEntry
from gateway.site.round_settings import RoundSettings
from gateway.site.settings import Ref
from gateway.site.site import Site
from tests.site.compound import ALL, CAMERAS, DEFAULT_ALLOW, Compound, yard
from tests.site.round_rules import PLANNED, RoundRules

HOURS = 10_000
MOST_STEPS = 60
"""In 10 min of a site that is at rest."""
LIVES = 300
"""Compounds at least."""
DETECTORS = ("smoke-1", "smoke-2", "smoke-3", "heat-9", "heat-8")
ZONE = {"smoke-1": "b3", "smoke-2": "b3", "smoke-3": "b3", "heat-9": "garage", "heat-8": "garage"}
GATES = {"north": ("board.do1", "board.do2"), "south": ("board.do3", "board.do3"), "back": ("board.do8", "board.do8")}
SOUND = ("release/board.do5", "release/board.do6")
LINKED = ("north", "south")
LISTS = (
    (ListEntry("沪A10001", "resident"), ListEntry("沪A10002", "visitor", gates=frozenset({"south"}))),
    (ListEntry("沪A10001", "blocked"), ListEntry("沪A10002", "resident")),
    (),
)
PLATES = ("沪A10001", "沪A10002", "沪A1000Z", "沪A10003", "沪A1234应急", None)


class Judge:
    """Knows of the site only what leaves it: its events, and what arrives on the wires."""

    def __init__(self, site: Compound) -> None:
        self.site = site
        self.asked: dict[str, Counter[str]] = {gate: Counter() for gate in GATES}
        """Openings that were asked for, by gate and by who asked."""
        self.pulses: Counter[str] = Counter()
        site.on_write = self.written

    def causes(self, gate: str) -> set[str]:
        """What holds a gate, by what was told of it."""
        causes: set[str] = set()
        for event in self.told():
            if event.subject != gate or event.type not in ("gate.held", "gate.released"):
                continue
            cause = "fire" if event.data["cause"] == "button" else str(event.data["cause"])
            if event.type == "gate.held":
                causes.add(cause)
            elif cause == "fire" and event.data["by"] is None:
                causes ^= {"fire", "after"} if "after" not in causes else {"fire"}
            else:
                causes.discard("after" if cause == "fire" else cause)
        return causes

    def told(self) -> list[Emit]:
        """Committed, and what waits for its commit."""
        waiting = [effect for step in self.site.uncommitted for effect in step if isinstance(effect, Emit)]
        return [*self.site.events, *waiting]

    def fires(self) -> set[str]:
        """Detectors whose fire stands and counts, by the alarms that were told."""
        standing: dict[str, bool] = {}
        for event in self.told():
            if event.type.startswith("alarm.") and event.data["kind"] == "fire" and event.data["device"] in ZONE:
                counts = not event.test and not event.data["disabled"]
                standing[str(event.data["device"])] = counts and event.data["state"] != "normal"
        return {device for device, stands in standing.items() if stands}

    def burns(self) -> bool:
        """Two detectors of one zone stand in fire."""
        return max(Counter(ZONE[device] for device in self.fires()).values(), default=0) >= 2

    def written(self, ref: Ref, value: Value) -> None:
        name = str(ref)
        for gate, (opens, holds) in GATES.items():
            if name == holds and not value:
                assert not self.causes(gate), f"{gate} was let go while a cause stood"
                assert not (self.burns() and gate in LINKED), f"{gate} was let go in a fire"
            if name == opens and value and not self.causes(gate):
                self.pulses[gate] += 1
                asked = len(self.asked[gate])
                assert self.pulses[gate] <= asked, f"{gate} opened {self.pulses[gate]} times for {asked} that asked"
            elif name == holds and value and holds != opens:
                # Also while it waits for a clear way, with its causes gone.
                why = [event for event in self.told() if event.type == "gate.held" and event.subject == gate]
                assert why, f"{gate} was held and nobody had said why"

    def lives_of_alarms(self) -> None:
        lives: dict[str, list[str]] = {}
        for event in self.site.events:
            if event.type.startswith("alarm."):
                lives.setdefault(str(event.data["alarm"]), []).append(
                    "end" if event.data["state"] == "normal" else event.type
                )
        passages = [event.data["passage"] for event in self.site.events if event.type in TOLD]
        assert len(passages) == len(set(passages)), "a passage was told twice"
        for alarm, told in lives.items():
            assert told[0] == "alarm.raised", (alarm, told)
            assert told.count("alarm.raised") == 1, (alarm, told)
            assert "end" not in told[:-1], (alarm, told)
        ids = [event.id for event in self.site.events]
        assert len(ids) == len(set(ids))


TOLD = ("access.passage", "access.denied")
ROUND_EVENTS = ("inspection.started", "inspection.finished", "finding.opened", "finding.cured", "inspection.missed")


class Recorder(Compound):
    """Keeps what every process was fed, to feed it to another one."""

    def start(self) -> None:
        self.tape: list[tuple[Input, Instant]] = []
        self.heard: list[bytes] = []
        self.begin = orjson.loads(orjson.dumps(self.memory))
        super().start()

    def feed(self, item: Input) -> Any:
        at = self.instant()
        effects = super().feed(item)
        self.tape.append((item, at))
        self.heard.append(orjson.dumps(effects, default=_plain))
        return effects

    def replay(self) -> None:
        """The same inputs give the same bytes."""
        twin = Site(self.plan, self.site._ids._seed)  # noqa: SLF001 - the seed is recorded
        twin.restore(self.begin)
        told = [orjson.dumps(twin.step(item, at), default=_plain) for item, at in self.tape]
        assert told == self.heard


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else repr(value)


class Machine(RoundRules):
    """What may happen to a compound."""

    hours = 0.0
    lives = 0
    longest_night_h = 240.0

    def __init__(self) -> None:
        super().__init__()
        self.site: Recorder = Recorder(plan=replace(yard(), inspection=RoundSettings("Asia/Shanghai", self.rounds)))
        self.judge = Judge(self.site)
        self.commands: list[Command] = []
        self.pushes: list[Passage] = []
        self.lists = 0
        self.number = 0

    # ---- readings -------------------------------------------------------------------------------

    @rule(device=st.sampled_from(DETECTORS), value=st.sampled_from([0, 1, 1, 7]))
    def detector(self, device: str, value: int) -> None:
        self.site.input(f"{device}.fire", value)
        self.site.wait(0.3)

    @rule(
        devices=st.sampled_from([("smoke-1", "smoke-2"), ("heat-9", "heat-8")]), lag=st.sampled_from([0.0, 0.03, 5.0])
    )
    def fire(self, devices: tuple[str, str], lag: float) -> None:
        self.site.input(f"{devices[0]}.fire", 1)
        self.site.wait(lag)
        self.site.input(f"{devices[1]}.fire", 1)
        self.site.wait(0.05)

    @rule(name=st.sampled_from(["inputs.di1", "inputs.di2", "inputs.di4", "inputs.di7"]), value=st.sampled_from([0, 1]))
    def input(self, name: str, value: int) -> None:
        self.site.input(name, value)
        self.site.wait(0.3)

    @rule(level=st.sampled_from([0.5, 1.1, 5.0]))
    def level(self, level: float) -> None:
        self.site.input("gauge.level", level)

    @rule(device=st.sampled_from(["board", "inputs", "smoke-1", "heat-9"]))
    def silence(self, device: str) -> None:
        if device in self.site.silent:
            self.site.come_back(device)
        else:
            self.site.fall_silent(device)

    @rule(name=st.sampled_from(["loop", "io"]), up=st.booleans())
    def line(self, name: str, up: bool) -> None:
        self.site.line(name, up=up)

    @rule(name=st.sampled_from(["do2", "do3"]))
    def output_drops(self, name: str) -> None:
        self.site.points[Ref("board", name)] = 0

    # ---- commands -------------------------------------------------------------------------------

    @rule(
        cmd=st.sampled_from(["gate.open", "gate.open", "gate.hold", "gate.release"]),
        gate=st.sampled_from(sorted(GATES)),
        life=st.sampled_from([1.0, 5.0, 60.0]),
        allow=st.sampled_from([DEFAULT_ALLOW, ALL]),
    )
    def gate_command(self, cmd: str, gate: str, life: float, allow: frozenset[str]) -> None:
        self._send(cmd, {"gate": gate}, life, allow)

    @rule(
        cmd=st.sampled_from(
            [
                ("fire.confirm", {"zone": "b3"}),
                ("zone.test", {"zone": "b3", "for": "1h"}),
                ("zone.test", {"zone": "b3", "for": "0s"}),
                ("device.disable", {"device": "smoke-3", "for": "1h", "reason": "x"}),
                ("device.enable", {"device": "smoke-3"}),
                ("alarm.shelve", {"device": "gauge", "for": "1h"}),
                ("write", {"point": "board.do3", "value": False}),
                ("write", {"point": "board.do2", "value": False}),
                ("nonsense", {"x": [1]}),
            ]
        )
    )
    def other_command(self, cmd: tuple[str, dict[str, Json]]) -> None:
        self._send(cmd[0], cmd[1], 60.0, ALL)

    @precondition(lambda self: self.commands)
    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        one = data.draw(st.sampled_from(self.commands))
        wall = self.site.instant().wall
        if one.at.wall - 30 <= wall <= one.exp + 30:  # what the verification lets pass
            known = f"command/{one.kid}/{one.jti}" in self.site.memory
            effects = self.site.feed(one)
            if known and one.cmd == "gate.open":
                opens = GATES[str(one.args["gate"])][0]
                moved = [e for e in effects if isinstance(e, Operate) and f"{e.device}.{e.point}" == opens and e.value]
                assert not moved or self.judge.causes(str(one.args["gate"])), f"{one.jti} opened twice"

    @rule(code=st.sampled_from(["bad-signature", "expired", "retained"]))
    def forged(self, code: str) -> None:
        self.site.feed(Refused(code, "forged", self.site.instant(), cmd="gate.open"))

    @rule(cmd=st.sampled_from(["gate.open", "gate.hold", "gate.release"]), gate=st.sampled_from(sorted(GATES)))
    def person(self, cmd: str, gate: str) -> None:
        self.number += 1
        if cmd == "gate.open":
            self.judge.asked[gate][f"p{self.number}"] += 1
        self.site.feed(Person(f"p{self.number}", "wang", "guard", cmd, {"gate": gate}, self.site.instant()))
        self.site.wait(0.2)

    # ---- plates ---------------------------------------------------------------------------------

    @rule(
        camera=st.sampled_from(sorted(CAMERAS)),
        plate=st.sampled_from(PLATES),
        confidence=st.sampled_from([95.0, 95.0, 40.0, None]),
        age=st.sampled_from([0.2, 0.2, 90.0]),
        waited=st.sampled_from([0.0, 0.0, 4.0, 6.0]),
    )
    def passage(self, camera: str, plate: str | None, confidence: float | None, age: float, waited: float) -> None:
        self.number += 1
        now = self.site.instant()
        at = now._replace(mono=now.mono - waited, wall=now.wall - waited)
        way = "out" if camera == "lpr-exit" else "in"
        one = Passage(camera, plate, at, f"k{self.number}", way, confidence, seen=at.wall - age, seen_firm=True)  # type: ignore[arg-type]
        self.pushes.append(one)
        self._push(one)

    @precondition(lambda self: self.pushes)
    @rule(data=st.data(), camera_clock=st.booleans())
    def push_again(self, data: st.DataObject, camera_clock: bool) -> None:
        """A camera repeats what it sent before: with its bytes, and with a new arrival."""
        one = data.draw(st.sampled_from(self.pushes[-200:]))
        self._push(replace(one, at=self.site.instant(), history=camera_clock and one.history))

    @rule(seconds=st.sampled_from([0.0, 0.01, 0.3, 3.0]), lose=st.booleans())
    def push_and_crash(self, seconds: float, lose: bool) -> None:
        """A camera repeats what was not answered, as soon as somebody listens again."""
        self.number += 1
        one = Passage("lpr-exit", f"沪B{10000 + self.number}", self.site.instant(), f"k{self.number}", "out", 95.0)
        self.pushes.append(one)
        self._push(one)
        self.site.wait(seconds)
        self.crash(lose=lose)
        self._push(replace(one, at=self.site.instant()))

    @rule(number=st.integers(0, len(LISTS) - 1))
    def new_list(self, number: int) -> None:
        self.lists += 1
        self.site.listed(*LISTS[number], version=self.lists, by="file")

    def _push(self, one: Passage) -> None:
        gate = CAMERAS[one.camera]
        before = len(self.judge.told())
        effects = self.site.feed(one)
        if gate is not None:
            moved = [e for e in effects if isinstance(e, Operate) and f"{e.device}.{e.point}" == GATES[gate][0]]
            told = [e for e in effects if isinstance(e, Emit) and e.type in TOLD]
            waits = [e for e in effects if isinstance(e, Remember) and e.key.startswith("passing/")]
            if moved:
                assert waits, "a gate moves for a passage that nobody would hear of"
                assert one.key not in self.judge.asked[gate], f"{one.key} moves the gate a second time"
                assert self.site.instant().mono - one.at.mono < 5, "it opens for a car that has gone"
            if moved or any(e.data["decision"] == "opened" for e in told):
                self.judge.asked[gate][one.key] += 1
            if told and self.judge.burns() and gate in LINKED:
                assert {e.data["decision"] for e in told} <= {"held-open", "no-gate"}, "a fire holds it open"
        assert len(self.judge.told()) >= before
        self.site.wait(0.05)

    @rule(data=st.data(), on_site=st.booleans())
    def reset(self, data: st.DataObject, on_site: bool) -> None:
        alarms = sorted(key for key in self.site.memory if key.startswith("alarm/"))
        if alarms:
            alarm = self.site.alarm(data.draw(st.sampled_from(alarms)).removeprefix("alarm/"))["alarm"]
            if on_site:
                self.number += 1
                args = {"alarm": alarm, "note": "seen"}
                self.site.feed(Person(f"p{self.number}", "wang", "guard", "alarm.reset", args, self.site.instant()))
            else:
                self._send("alarm.reset", {"alarm": alarm}, 60.0, ALL)
            self.site.wait(1)

    def _send(self, cmd: str, args: dict[str, Json], life: float, allow: frozenset[str]) -> None:
        self.number += 1
        jti = f"j{self.number}"
        wall = self.site.instant().wall
        one = Command(jti, "cloud", "li", "k", allow, cmd, args, wall + life, None, self.site.instant())
        self.commands.append(one)
        if cmd == "gate.open":
            self.judge.asked[str(args["gate"])][jti] += 1
        self.site.feed(one)
        self.site.wait(0.05)

    # ---- time and ill luck ----------------------------------------------------------------------

    @rule(seconds=st.floats(0.001, 8.0))
    def wait(self, seconds: float) -> None:
        self.site.wait(seconds)

    @rule(hours=st.floats(1.0, 240.0))
    def night(self, hours: float) -> None:
        """It ends where something is read or written all the time: of that some minutes show as much as a night."""
        left = min(hours, self.longest_night_h) * 3600.0
        while left > 0.0 and not self.site.uncommitted:
            before, piece = self.site.steps, min(left, 600.0)
            self.site.wait(piece)
            left -= piece
            if self.site.steps - before > MOST_STEPS:
                break

    @rule()
    def all_is_well(self) -> None:
        """Somebody comes and puts everything right."""
        self.heal()
        self.people_end_it()

    @rule(lose=st.booleans())
    def crash(self, lose: bool) -> None:
        self.finish_life()
        self.site.crash(lose=lose)
        kept = {str(value[0]) for key, value in self.site.memory.items() if key.startswith("passage:")}  # type: ignore[index]
        for asked in self.judge.asked.values():
            for one in [one for one in asked if one.startswith("k") and one not in kept]:
                del asked[one]  # lost before it was accepted: nothing has moved for it, and a retry is new

    @rule()
    def clean_restart(self) -> None:
        self.finish_life()
        self.site.stop()

    @rule(commits=st.booleans())
    def store(self, commits: bool) -> None:
        self.site.commits = commits
        if commits:
            self.site.commit()

    @rule(deaf=st.booleans())
    def lose_orders(self, deaf: bool) -> None:
        self.site.deaf = deaf

    @rule(shift=st.sampled_from([-3600.0, 3600.0, -3e8, 3e8, 0.0]), synced=st.booleans())
    def clock(self, shift: float, synced: bool) -> None:
        self.site.shift, self.site.synced = shift, synced

    # ---- what must hold -------------------------------------------------------------------------

    @invariant()
    def alarms_live_once(self) -> None:
        if self.number % 5 == 0:
            self.judge.lives_of_alarms()

    def finish_life(self) -> None:
        """What is asked outside dies with the process."""
        self.site.replay()
        self.judge_rounds()
        self.site.performs.clear()

    def heal(self) -> None:
        site = self.site
        site.deaf = False
        site.commits = True
        site.commit()
        for name in ("loop", "io"):
            site.line(name, up=True)
        for device in sorted(site.silent):
            site.come_back(device)
        site.input("inputs.di2", 1)
        site.wait(45)

    def people_end_it(self) -> None:
        site = self.site
        for device in DETECTORS:
            site.input(f"{device}.fire", 0)
        for name in ("inputs.di7", "inputs.di4"):
            site.input(name, 0)
        site.input("gauge.level", 5.0)
        site.wait(2)
        for _ in range(3):
            for key in sorted(key for key in site.memory if key.startswith("alarm/")):
                alarm = site.alarm(key.removeprefix("alarm/"))
                if alarm and alarm["latched"]:
                    site.person("alarm.reset", alarm=alarm["alarm"], note="over")
        for gate in GATES:
            site.person("gate.release", gate=gate)
            site.person("gate.release", gate=gate, cause="command")
        site.wait(40)

    def teardown(self) -> None:
        site, judge = self.site, self.judge
        self.heal()
        site.wait(10)
        for gate, (_, holds) in GATES.items():
            held = bool(judge.causes(gate))
            assert site.on(holds) is held, f"{gate}: {holds} is {site.on(holds)}, held: {held}"
        if judge.burns():
            assert all(site.on(GATES[gate][1]) for gate in LINKED)
        self.people_end_it()
        for gate, outputs in GATES.items():
            assert not judge.causes(gate), gate
            assert not any(map(site.on, outputs)), gate
        assert not [
            key
            for key in site.memory
            if key.startswith(("gate/", "release/", "linkage/", "passing/")) and key not in SOUND
        ]
        judge.lives_of_alarms()
        audited = {event.data["jti"] for event in site.events if event.type.startswith("command.")}
        moved = {
            one.jti for one in self.commands if one.cmd.startswith("gate.") and f"command/k/{one.jti}" in site.memory
        }
        assert moved <= audited, "every command that was remembered stands in the audit"
        self.finish_life()
        Machine.hours += site.now / 3600
        Machine.lives += 1
        type(self).told.update(
            event.type for event in site.events if event.type.startswith(("inspection.", "finding."))
        )


class PlannedMachine(Machine):
    """The same with rounds by the calendar, which is looked at every half a minute: the nights are shorter."""

    rounds = PLANNED
    told: ClassVar[Counter[str]] = Counter()
    longest_night_h = 3.0


@pytest.mark.timeout(170)
def test_ten_thousand_hours() -> None:
    Machine.hours, Machine.lives = 0.0, 0
    for number in count():
        if Machine.hours >= HOURS and Machine.lives >= LIVES:
            break
        # The same lives each time, and others in each round.
        run_state_machine_as_test(
            seed(number)(Machine),
            settings=settings(
                derandomize=False,
                max_examples=60,
                stateful_step_count=30,
                deadline=None,
                suppress_health_check=list(HealthCheck),
                phases=[Phase.generate],  # a failure is told at once; `make soak` makes it small
                database=None,
            ),
        )
    for type_ in ROUND_EVENTS[:3]:
        assert Machine.told[type_] > 2, Machine.told


def test_planned_rounds_between_all_the_rest() -> None:
    run_state_machine_as_test(
        seed(20261201)(PlannedMachine),
        settings=settings(
            max_examples=25, stateful_step_count=50, deadline=None, database=None, phases=(Phase.generate,),
            suppress_health_check=list(HealthCheck),
        ),
    )  # fmt: skip
    for type_ in ROUND_EVENTS:
        assert PlannedMachine.told[type_] > 0, PlannedMachine.told


@pytest.mark.soak
@pytest.mark.parametrize("machine", [Machine, PlannedMachine])
def test_many_more_hours(machine: type[Machine]) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=3000, stateful_step_count=60, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


def test_the_wire_is_judged() -> None:
    """The judge sees what it is there for."""
    site = Compound()
    judge = Judge(site)
    with pytest.raises(AssertionError, match="for 0 that asked"):
        site.put(Ref("board", "do1"), True)
    site.burn("smoke-1", "smoke-2")
    site.wait(3)
    assert judge.burns()
    with pytest.raises(AssertionError, match="while a cause stood"):
        site.put(Ref("board", "do2"), False)
    assert Operate("o", "board", "do2", True, None).at_once is False

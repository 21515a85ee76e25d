"""Rounds under chance: restarts, lost commits, late answers, fires, steps of the clock; and the same bytes again."""

from collections import Counter
from dataclasses import replace
from typing import Any, ClassVar

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from gateway.model import Json, Perform, Performed, Person
from gateway.site import round_settings
from gateway.site.looks import LOOK
from gateway.site.round_run import READ
from gateway.site.round_settings import (
    DeviceRule,
    Item,
    PersonRule,
    PictureRule,
    PointRule,
    Round,
    RoundSettings,
    ZoneRule,
)
from gateway.site.rounds import digest
from gateway.site.settings import Ref
from tests.site.compound import yard
from tests.site.test_machine import Recorder

ITEMS = (
    Item("point:gauge.level", "point", PointRule(Ref("gauge", "level"), (1.0, 6.0), trend=30 * 86400.0)),
    Item("device:smoke-1", "device", DeviceRule("smoke-1")),
    Item("no_alarm:b3", "no_alarm", ZoneRule("b3")),
    Item("tested:b3", "tested", round_settings.TestedRule("b3", ("smoke-1", "smoke-2"))),
    Item("camera:yard", "camera", PictureRule("yard")),
    Item("person:look", "person", PersonRule("look", watch=((Ref("inputs", "di1"), 1),), within=60.0)),
)
ROUNDS = {
    "hourly": Round("hourly", ITEMS, None, "0 * * * *"),
    "often": Round("often", ITEMS[:3], None, "*/10 * * * *"),
    "asked": Round("asked", ITEMS[1:], due=900.0),
}
VALUES = [0.5, 2.0, 5.0]


class RoundMachine(RuleBasedStateMachine):
    """What may happen to rounds."""

    told: ClassVar[Counter[str]] = Counter()
    """Events of all lives, by type."""

    def __init__(self) -> None:
        super().__init__()
        self.site = Recorder(plan=replace(yard(), inspection=RoundSettings("Asia/Shanghai", ROUNDS)))
        self.number = 0

    @rule(
        name=st.sampled_from(sorted(ROUNDS)),
        cmd=st.sampled_from(["inspection.run", "inspection.run", "inspection.cancel"]),
    )
    def person(self, name: str, cmd: str) -> None:
        self.site.feed(self.ask(cmd, round=name))

    def ask(self, cmd: str, **args: Json) -> Person:
        self.number += 1
        return Person(f"r{self.number}", "li", "technician", cmd, args, self.site.instant())

    @rule(ok=st.booleans())
    def answer(self, ok: bool) -> None:
        running: Any = self.site.site.rounds()["running"]
        for run in running.values():
            for one in run["asked"]:
                self.site.person("inspection.answer", run=run["run"], item=one["item"], ok=ok)

    @precondition(lambda self: self.site.performs)
    @rule(
        last=st.booleans(), value=st.sampled_from(VALUES),
        how=st.sampled_from(["good", "good", "good", "failed", "refused", "nonsense"]),
    )  # fmt: skip
    def come(self, last: bool, value: float, how: str) -> None:
        """Something that was asked outside comes back, in any order, or twice."""
        act = self.site.performs.pop(-1 if last else 0)
        self.site.feed(_answer(act, value, how, self.site.instant()))
        if how == "refused":
            self.site.feed(_answer(act, value, "good", self.site.instant()))

    @precondition(lambda self: self.site.performs)
    @rule(value=st.sampled_from(VALUES))
    def all_come(self, value: float) -> None:
        self.site.commits = True
        self.site.commit()
        while self.site.performs:
            act = self.site.performs.pop(0)
            self.site.feed(_answer(act, value, "good", self.site.instant()))

    @rule(device=st.sampled_from(["smoke-1", "smoke-2", "heat-9"]), seconds=st.sampled_from([1.0, 700.0]))
    def fire(self, device: str, seconds: float) -> None:
        """It burns for a while, and then somebody resets it."""
        self.site.input(f"{device}.fire", 1)
        self.site.wait(seconds)
        self.site.input(f"{device}.fire", 0)
        self.site.wait(2.5)
        alarm = f"{device}/fire/fire"
        self.site.feed(self.ask("alarm.reset", alarm=alarm, note="over"))
        self.site.wait(2.5)

    @rule(value=st.sampled_from([0, 1]))
    def watched(self, value: int) -> None:
        self.site.input("inputs.di1", value)
        self.site.wait(0.3)

    @rule(seconds=st.floats(0.1, 1200.0))
    def wait(self, seconds: float) -> None:
        self.site.wait(seconds if not any(key.startswith(("gate/", "linkage/")) for key in self.site.memory) else 5.0)

    @rule(commits=st.booleans())
    def store(self, commits: bool) -> None:
        self.site.commits = commits
        if commits:
            self.site.commit()

    @rule(lose=st.booleans())
    def crash(self, lose: bool) -> None:
        self.site.replay()
        self.site.performs.clear()
        self.site.crash(lose=lose)

    @rule(shift=st.sampled_from([-3600.0, 3600.0, -86400.0, 0.0]), synced=st.booleans())
    def clock(self, shift: float, synced: bool) -> None:
        self.site.shift, self.site.synced = shift, synced

    @invariant()
    def each_run_begins_and_ends_once(self) -> None:
        told = [one for one in self.site.events if one.type.startswith("inspection.")]
        ends = Counter(str(one.data["run"]) for one in told if one.type == "inspection.finished")
        begins = Counter(str(one.data["run"]) for one in told if one.type == "inspection.started")
        assert max(ends.values(), default=1) == max(begins.values(), default=1) == 1
        assert ends.keys() <= begins.keys()
        keys = Counter((one.data["round"], one.data["planned_at"]) for one in told if one.type == "inspection.started")
        assert all(count == 1 for (_, planned), count in keys.items() if planned is not None), (
            "a planned minute ran twice"
        )
        running: Any = self.site.site.rounds()["running"]
        assert {run["run"] for run in running.values()}.isdisjoint(ends)

    @invariant()
    def digests_chain(self) -> None:
        before: dict[str, Any] = {}
        for one in self.site.events:
            if one.type == "inspection.finished":
                name = str(one.data["round"])
                assert one.data["previous"] == before.get(name)
                assert one.data["digest"] == digest(one.data)
                before[name] = one.data["digest"]

    @invariant()
    def a_finding_is_open_once(self) -> None:
        standing: dict[str | None, Json] = {}
        for one in self.site.events:
            if one.type == "finding.opened":
                assert one.subject not in standing
                standing[one.subject] = one.data["finding"]
            elif one.type.startswith("finding."):
                assert standing.get(one.subject) == one.data["finding"]
                if one.type == "finding.cured":
                    del standing[one.subject]

    def teardown(self) -> None:
        self.site.replay()
        type(self).told.update(event.type for event in self.site.events)


def _answer(act: Perform, value: float, how: str, now: Any) -> Performed:
    if how == "refused":
        return Performed(act.order, False, None, "refused-by-device", "no", now)
    result: Json = {"nothing": True}
    if how == "failed":
        result = {"failed": "silent"}
    elif how == "good" and act.cmd == READ:
        reading: Json = {
            "value": value,
            "text": None,
            "unit": "m",
            "quality": "GOOD",
            "reason": None,
            "at": now.rfc3339(),
        }
        result = {"readings": {"level": reading}, "answer_ms": 5.0, "clock": "synced"}
    elif how == "good" and act.cmd == LOOK:
        result = {"outcome": "normal" if value > 1 else "abnormal", "reason": None if value > 1 else "dark"}
    return Performed(act.order, True, result, "", "", now)


def test_rounds_by_chance() -> None:
    run_state_machine_as_test(
        seed(20261201)(RoundMachine),
        settings=settings(
            max_examples=12, stateful_step_count=60, deadline=None, database=None, phases=(Phase.generate,),
            suppress_health_check=list(HealthCheck),
        ),
    )  # fmt: skip
    for type_ in ("inspection.finished", "inspection.missed", "finding.opened", "finding.cured"):
        assert RoundMachine.told[type_] > 2, RoundMachine.told

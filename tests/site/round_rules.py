"""Rounds in the state machine of the site: they are begun, answered, cancelled and cut off between all the rest.

`RoundRules` is a part of `test_machine.Machine`: runs meet fires, gates, plates, restarts and steps of the clock.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

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
    ZoneRule,
)
from gateway.site.rounds import digest
from gateway.site.settings import Ref
from tests.site.compound import Compound

ITEMS = (
    Item("point:gauge.level", "point", PointRule(Ref("gauge", "level"), (1.0, 6.0), trend=30 * 86400.0)),
    Item("device:smoke-1", "device", DeviceRule("smoke-1")),
    Item("no_alarm:b3", "no_alarm", ZoneRule("b3")),
    Item("tested:b3", "tested", round_settings.TestedRule("b3", ("smoke-1", "smoke-2"))),
    Item("camera:yard", "camera", PictureRule("yard")),
    Item("person:look", "person", PersonRule("look", watch=((Ref("inputs", "di1"), 1),), within=60.0)),
)
ASKED_FOR = {
    "all": Round("all", ITEMS, due=3600.0),
    "asked": Round("asked", ITEMS[1:], due=900.0),
}
PLANNED = {
    "hourly": Round("hourly", ITEMS, None, "0 * * * *"),
    "often": Round("often", ITEMS[:3], None, "*/10 * * * *"),
    "asked": Round("asked", ITEMS[1:], due=900.0),
}
VALUES = [0.5, 2.0, 5.0]


class RoundRules(RuleBasedStateMachine):
    """What may happen to rounds, and what must hold."""

    rounds: ClassVar[Mapping[str, Round]] = ASKED_FOR
    told: ClassVar[Counter[str]] = Counter()
    """Events of rounds of all lives, by type."""
    site: Compound
    number: int

    @rule(data=st.data(), cmd=st.sampled_from(["inspection.run", "inspection.run", "inspection.cancel"]))
    def round_command(self, data: st.DataObject, cmd: str) -> None:
        name = data.draw(st.sampled_from(sorted(self.rounds)))
        self.number += 1
        args = {"round": name}
        self.site.feed(Person(f"r{self.number}", "li", "technician", cmd, args, self.site.instant()))

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
        while self.site.performs:
            act = self.site.performs.pop(0)
            self.site.feed(_answer(act, value, "good", self.site.instant()))

    # ---- what must hold -------------------------------------------------------------------------

    def judge_rounds(self) -> None:
        self.each_run_begins_and_ends_once()
        self.digests_chain()
        self.a_finding_is_open_once()

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

    def digests_chain(self) -> None:
        before: dict[str, Any] = {}
        for one in self.site.events:
            if one.type == "inspection.finished":
                name = str(one.data["round"])
                assert one.data["previous"] == before.get(name)
                assert one.data["digest"] == digest(one.data)
                before[name] = one.data["digest"]

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

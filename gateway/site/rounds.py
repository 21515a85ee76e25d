"""Rounds: when they run, the result of each item, how they end.

    planned or asked for ─▶ started ─▶ each item ends on its own and updates its finding ─▶ finished, with its digest

A round never writes to a device. Each item's result is remembered in the step that makes it, so a restart within an
hour continues with the rest. A fire stops every run.
"""

import hashlib
import json
from collections.abc import Generator, Iterator, Mapping

from gateway.model import (
    Effect,
    Emit,
    Forget,
    Instant,
    Json,
    Perform,
    Performed,
    Quality,
    Reading,
    Remember,
    Stream,
    rfc3339,
)
from gateway.site import items
from gateway.site.alarms import Alarms, Change
from gateway.site.calendar import Calendar, Missed, Plan
from gateway.site.deadlines import Deadlines
from gateway.site.findings import GONE, Findings
from gateway.site.ids import Ids
from gateway.site.items import CANCELLED, FIRE, INTERRUPTED, NOBODY, Answered, Judged, unseen
from gateway.site.linkage import SITE, Linkage
from gateway.site.proofs import Proofs
from gateway.site.round_run import ANSWER, Asking, LastRun, Run, Watching, last_of, people_in_order, questions, run_of
from gateway.site.round_settings import (
    LONGEST_DUE_S,
    ROUND,
    ROUND_DUE,
    DeviceRule,
    DutyRule,
    Item,
    PanelRule,
    PersonRule,
    PictureRule,
    PointRule,
    Round,
    RoundSettings,
    TestedRule,
    ZoneRule,
)
from gateway.site.settings import DeviceSettings, Ref, ServiceClock
from gateway.site.timers import Timers
from gateway.site.trends import KEPT, Sample

_RUN, _ITEM, _LAST, _PLAN = "round/run/", "round/item/", "round/last/", "round/plan/"
_ANSWER = "round/answer/"
_TREND, _PROVEN = "round/trend/", "round/proven/"
_UNDATED = "round/undated/"
"""`round/undated/DEVICE` -> monotonic seconds of a fire that was seen while the clock was not synced."""
_LOOK_S = 30.0
"""The calendar is checked at this interval, so that a step of the clock neither skips nor doubles a run."""
_RESUMES_WITHIN_S = 3600.0
_SETTLES_WITHIN_S = 30.0
"""Of a process that has just begun: until all is read nothing is planned to run, for it would find no zone well."""
_SAMPLE_EVERY_S = 20 * 3600.0
"""Trends are over days: runs within this time add one value only, or they would displace the values of earlier days."""
_NO_ANSWER = {"silent": "silent", "refused-by-device": "refused"}


class Rounds:
    """All rounds of a site."""

    def __init__(
        self,
        settings: RoundSettings,
        devices: Mapping[str, DeviceSettings],
        service: ServiceClock,
        alarms: Alarms,
        linkage: Linkage,
        deadlines: Deadlines,
        ids: Ids,
        timers: Timers,
    ) -> None:
        self.settings = settings
        self._devices = devices
        self._alarms = alarms
        self._linkage = linkage
        self._deadlines = deadlines
        self._ids = ids
        self._timers = timers
        self.findings = Findings(service, deadlines, ids)
        self.runs: dict[str, Run] = {}
        """By round."""
        people = [item.rule for one in settings.rounds.values() for item in one.items]
        self.watching = Watching([rule for rule in people if isinstance(rule, PersonRule)])
        self._asking = Asking(ids)
        self._plans = {
            name: Plan(Calendar(one.cron, settings.timezone))
            for name, one in settings.rounds.items()
            if one.cron is not None
        }
        self._next: dict[str, str] = {}
        """Round -> when it runs next."""
        self._held: dict[str, tuple[float, str]] = {}
        """Round -> the planned minute that may not run yet, and why."""
        self._was_off = True
        self._lines_up: set[str] = set()
        self._lines_told: set[str] = set()
        """That are up or down, in this life."""
        self._settles_at = 0.0
        self._last: dict[str, LastRun] = {}
        self._samples: dict[str, list[Sample]] = {}
        self._proven: dict[str, float] = {}
        self._undated: dict[str, float] = {}
        self._memory: Mapping[str, Json] = {}
        self._answers: dict[str, tuple[str, str, Answered]] = {}
        """Token of the asker -> run, item and answer, while photo and tag are checked."""
        self._proofs = Proofs()

    # ---- over a restart ---------------------------------------------------------------------------

    def restore(self, memory: Mapping[str, Json]) -> None:
        """Load the memory."""
        self.findings.restore(memory)
        self._proofs.restore(memory)
        self._memory = {key: value for key, value in memory.items() if key.startswith("round/")}
        for key, value in self._memory.items():
            match value:
                case _ if key.startswith(_LAST):
                    self._last[key.removeprefix(_LAST)] = last_of(value)
                case {**_plan} if key.startswith(_PLAN):
                    plan = self._plans.get(key.removeprefix(_PLAN))
                    if plan is not None:
                        plan.restore(value)
                case [*samples] if key.startswith(_TREND):
                    self._samples[key.removeprefix(_TREND)] = [sample for one in samples for sample in _sample(one)]
                case int() | float() if key.startswith(_PROVEN):
                    self._proven[key.removeprefix(_PROVEN)] = float(value)
                case int() | float() if key.startswith(_UNDATED):
                    self._undated[key.removeprefix(_UNDATED)] = float(value)

    def start(self, blind_from: float | None, now: Instant) -> Iterator[Effect]:
        """Start: continue or close the runs of the previous process, and forget what left the file."""
        self.watching.begin(now)
        self._settles_at = now.mono + _SETTLES_WITHIN_S
        known = {name: frozenset(item.id for item in one.items) for name, one in self.settings.rounds.items()}
        yield from self.findings.leave(known, now)
        memory, self._memory = self._memory, {}
        off = 0.0 if blind_from is None else now.wall - blind_from
        for key, value in memory.items():
            if key.startswith(_RUN):
                yield from self._resume(key.removeprefix(_RUN), value, memory, off, now)
        yield from self._proofs.leave(memory, known)
        proving = self._devices if known else {}
        yield from (Forget(key) for key in memory if _left(key, known, proving))
        self._undated = {device: at for device, at in self._undated.items() if device in proving}
        for device, at in self._undated.items():
            if at > now.mono:  # from an earlier boot
                self._undated[device] = 0.0
                yield Remember(_UNDATED + device, 0.0)
        yield from self._plan(now)

    def _resume(self, name: str, value: Json, memory: Mapping[str, Json], off: float, now: Instant) -> Iterator[Effect]:
        run = run_of(self.settings.rounds.get(name, Round(name, ())), value, now)
        if run is None:
            yield Forget(_RUN + name)
            yield from (Forget(key) for key in memory if key.startswith((f"{_ITEM}{name}/", f"{_ANSWER}{name}/")))
            return
        for key, result in memory.items():
            if key.startswith(f"{_ITEM}{name}/") and isinstance(result, Mapping):
                run.end(key.removeprefix(f"{_ITEM}{name}/"), dict(result))
        for key, said in memory.items():
            item = key.removeprefix(f"{_ANSWER}{name}/")
            if key.startswith(f"{_ANSWER}{name}/") and isinstance(said, Mapping) and item not in run.results:
                run.answers[item] = items.answered_of(said), now.mono
        self.runs[name] = run
        if off > _RESUMES_WITHIN_S:
            yield from self.stop(name, INTERRUPTED, now)
        elif self._linkage.any_fire:
            yield from self.stop(name, FIRE, now)
        else:
            yield from self._go(run, now)
            if self._is_due(run):  # checks under way were lost with the process
                yield from self.due(name, now, INTERRUPTED)
        if name not in self.settings.rounds:
            yield from (Forget(key) for key in memory if key.startswith(f"{_ANSWER}{name}/"))
            yield Forget(_LAST + name)

    def stood_still(self, now: Instant) -> None:
        """Note that the process did not watch for a while."""
        self._was_off = True
        self.watching.begin(now)

    # ---- when -------------------------------------------------------------------------------------

    def _plan(self, now: Instant) -> Iterator[Effect]:
        """Begin what is due, report what was missed, and check again after 30 s at most."""
        yield from self._date(now)
        soonest = _LOOK_S
        for name, plan in self._plans.items():
            due, missed, leapt = plan.look(now)
            if missed.until is not None:
                yield from self._missed(name, missed, leapt, now)
                plan.handled(missed.until, now, ran=False, leapt=leapt)
                yield Remember(_PLAN + name, plan.memory())
            if due is not None and self._is_settled(now):
                yield from self._due(name, due, leapt, now)
            elif due is not None:
                soonest = 1.0
            if plan.is_new:
                plan.is_new = False
                yield Remember(_PLAN + name, plan.memory())
            planned = plan.next(now.wall)
            self._next.pop(name, None)
            if planned is not None:
                soonest = min(soonest, planned - now.wall)
                self._next[name] = rfc3339(planned)
        self._was_off = False
        if self._plans or self._undated:
            self._timers.set((ROUND, ""), now.mono + max(0.001, soonest))

    def _is_settled(self, now: Instant) -> bool:
        """All that the site knows of its zones was read since the start, or does not come."""
        told = {device.line for device in self._devices.values()} <= self._lines_told
        return (told and self._alarms.all_seen) or now.mono >= self._settles_at

    def _due(self, name: str, planned: float, leapt: bool, now: Instant) -> Iterator[Effect]:
        why = FIRE if self._linkage.any_fire else "the one before still runs" if name in self.runs else None
        if why is not None:
            self._held[name] = planned, why
            return
        self._held.pop(name, None)
        plan = self._plans[name]
        plan.handled(planned, now, ran=True, leapt=leapt)
        yield Remember(_PLAN + name, plan.memory())
        yield from self._begin(name, "cron", planned, now)

    def _missed(self, name: str, missed: Missed, leapt: bool, now: Instant) -> Iterator[Effect]:
        held, why = self._held.pop(name, (None, "off"))
        usual = "off" if self._was_off else "clock" if leapt else why
        for planned in missed.singly:
            yield self._miss(name, planned, why if planned == held else usual, None, now)
        if missed.others:
            more = " or more" if missed.full else ""
            text = f"{usual}: {missed.others}{more}, until {rfc3339(missed.last_other)}"
            yield self._miss(name, missed.first_other, text, missed.others, now)

    def _miss(self, name: str, planned: float, why: str, count: int | None, now: Instant) -> Emit:
        item: dict[str, Json] = {"item": "round", "kind": "round", "outcome": "not-checkable", "reason": why}
        if count is not None:
            item["value"] = count
        data: dict[str, Json] = {
            "round": name, "run": self._ids.new(now), "trigger": "cron", "planned_at": rfc3339(planned),
            "items": [item],
        }  # fmt: skip
        return Emit(Stream.INSPECTION, "inspection.missed", name, data, self._ids.new(now), now)

    # ---- a run ------------------------------------------------------------------------------------

    def begin(self, name: str, trigger: str, now: Instant) -> Generator[Effect, None, str]:
        """Begin a round; returns the id of the run. Call `may_begin` first."""
        return (yield from self._begin(name, trigger, None, now))

    def may_begin(self, name: str) -> str | None:
        """Why a round cannot begin now; None: it can."""
        if self._linkage.any_fire:
            return "a fire stands"
        return "it runs already" if name in self.runs else None

    def _begin(self, name: str, trigger: str, planned: float | None, now: Instant) -> Generator[Effect, None, str]:
        round_ = self.settings.rounds[name]
        order = tuple(item.id for item in round_.items)
        run = Run(round_, self._ids.new(now), trigger, now.rfc3339(), planned, now.mono, order=order)
        self.runs[name] = run
        yield Remember(_RUN + name, run.memory())
        data: dict[str, Json] = {
            "round": name, "run": run.id, "trigger": trigger, "started_at": run.started_at,
            "planned_at": run.planned_at,
        }  # fmt: skip
        yield Emit(Stream.INSPECTION, "inspection.started", name, data, self._ids.new(now), now)
        if any(isinstance(item.rule, PersonRule) for item in round_.items):
            yield from self._deadlines.set(ROUND_DUE + name, self._time_for_people(round_, planned, now), now)
        yield from self._go(run, now)
        return run.id

    def _time_for_people(self, round_: Round, planned: float | None, now: Instant) -> float:
        if round_.due is not None:
            return round_.due
        plan = self._plans.get(round_.id)
        following = None if plan is None else plan.next(max(now.wall, planned or 0.0))
        return LONGEST_DUE_S if following is None else max(1.0, min(LONGEST_DUE_S, following - now.wall))

    def _go(self, run: Run, now: Instant) -> Iterator[Effect]:
        """Judge what the site itself knows, and ask for the rest."""
        yield from self._date(now)
        for item in [*run.waiting.values()]:
            found = self._own(item, now)
            if found is not None:
                yield from self._ended(run, item, found, now)
            elif item.id in run.answers:
                yield from self._judge_answer(run, item, now, last=False)
        for question in questions(run, self._devices, self._last.get(run.round.id, LastRun()).pictures):
            self._asking.add(question)
        yield from self._asking.next()
        yield from self._finish_if_done(run, now)

    def _own(self, item: Item, now: Instant) -> Judged | None:
        match item.rule:
            case ZoneRule(zone):
                stands = {
                    watch.rule.subject: watch.test
                    for watch in self._alarms.all_standing()
                    if watch.standing is not None and (watch.standing["zone"] or SITE) == zone
                }
                return items.zone(stands, self._unseen_of(zone), now)
            case PanelRule(device) as rule:
                lost = self._lost(device) or ("not seen" if rule.kinds & self._alarms.unseen_of(device) else None)
                return items.panel(rule, self._of_panel(device, "fault"), self._of_panel(device, "disabled"), lost, now)
            case TestedRule() as rule:
                return items.tested(rule, self._proven, self._undated, now)
        return None

    def _unseen_of(self, zone: str) -> list[str] | None:
        """Devices of a zone whose state is not known now; None: the zone has no device."""
        here = {name for name, device in self._devices.items() if _in(zone, device)}
        blind = self._alarms.unseen(None if zone == SITE else zone)
        lost = blind | {name for name in here if self._lost(name) is not None}
        return sorted(lost) if here else None

    def _of_panel(self, device: str, kind: str) -> list[str]:
        return sorted(
            watch.rule.subject
            for watch in self._alarms.all_standing()
            if watch.rule.device == device and watch.rule.kind == kind and watch.active
        )

    def _lost(self, device: str) -> str | None:
        """Why the state of a device is not known now."""
        if self._linkage.silent(device):
            return "silent"
        return None if self._devices[device].line in self._lines_up else "never-read"

    def _ended(self, run: Run, item: Item, found: Judged, now: Instant) -> Iterator[Effect]:
        """End an item: remember its result, and open or close its finding."""
        name = run.round.id
        run.end(item.id, items.told(item, found))
        if run.answers.pop(item.id, None) is not None:
            self._timers.drop((ROUND, f"{name}/{item.id}"))
            yield Forget(f"{_ANSWER}{name}/{item.id}")
        yield Remember(f"{_ITEM}{name}/{item.id}", run.results[item.id])
        again = found.outcome == "not-checkable" and item.id in self._last.get(name, LastRun()).unseen
        yield from self.findings.judged(name, item, found, now, again=again)

    def _finish_if_done(self, run: Run, now: Instant) -> Iterator[Effect]:
        if self.runs.get(run.round.id) is run and not run.waiting:
            yield from self._finish(run, now)

    def _finish(self, run: Run, now: Instant) -> Iterator[Effect]:
        name = run.round.id
        del self.runs[name]
        self._asking.drop(run.id)
        results = [run.results.get(item) or items.left_the_file(item, GONE) for item in run.order]
        data: dict[str, Json] = {
            "round": name, "run": run.id, "trigger": run.trigger, "planned_at": run.planned_at,
            "started_at": run.started_at, "finished_at": now.rfc3339(), "items": items.fitting(results),
            "previous": self._last.get(name, LastRun()).digest,
        }  # fmt: skip
        data["digest"] = digest(data)
        yield Emit(Stream.INSPECTION, "inspection.finished", name, data, self._ids.new(now), now)
        last = self._last[name] = self._last.get(name, LastRun()).after(str(data["digest"]), results)
        yield Remember(_LAST + name, last.memory())
        yield Forget(_RUN + name)
        yield from (Forget(f"{_ITEM}{name}/{item}") for item in run.results)
        yield from self._deadlines.drop(ROUND_DUE + name)
        if name in self._held:
            yield from self._plan(now)

    def stop(self, name: str, why: str, now: Instant) -> Iterator[Effect]:
        """Stop a run; its remaining items are not looked at."""
        run = self.runs.get(name)
        if run is None:
            return
        self._asking.drop(run.id)
        for item in [*run.waiting.values()]:
            yield from self._ended(run, item, unseen(why), now)
        yield from self._finish_if_done(run, now)

    def cancel(self, name: str, now: Instant) -> Iterator[Effect]:
        """Cancel the run of a round."""
        yield from self.stop(name, CANCELLED, now)

    # ---- what comes in ----------------------------------------------------------------------------

    def changed(self, change: Change, now: Instant) -> Iterator[Effect]:
        """Take a change of an alarm. A fire counts as a test of its device and stops every run."""
        rule = change.watch.rule
        if rule.kind != "fire" or not change.data["active"]:
            return
        if change.anew and rule.device in self._devices and rule.point:
            self._undated[rule.device] = now.mono
            if not now.synced:
                yield Remember(_UNDATED + rule.device, now.mono)
                if not self._plans:
                    self._timers.set((ROUND, ""), now.mono + _LOOK_S)
            yield from self._date(now)
        if self._linkage.any_fire:
            for name in list(self.runs):
                yield from self.stop(name, FIRE, now)

    def _date(self, now: Instant) -> Iterator[Effect]:
        """Date the undated fires once the clock is synced."""
        if not now.synced:
            return
        for device, at in self._undated.items():
            self._proven[device] = now.wall - (now.mono - at)
            yield Remember(_PROVEN + device, self._proven[device])
            yield Forget(_UNDATED + device)
        self._undated.clear()

    def line(self, line: str, *, up: bool) -> None:
        """Take the state of a line: it answers, or cannot be used."""
        self._lines_told.add(line)
        (self._lines_up.add if up else self._lines_up.discard)(line)

    def read(self, device: str, readings: Mapping[str, Reading], now: Instant) -> Iterator[Effect]:
        """Take readings, which may show what person items watch."""
        seen = False
        for point, reading in readings.items():
            ref = Ref(device, point)
            if ref in self.watching.refs:
                self.watching.read(ref, reading if reading.quality is Quality.GOOD else _lost(reading), now)
                seen = True
        if seen:
            for run in list(self.runs.values()):
                for item in [item for item in run.waiting.values() if item.id in run.answers]:
                    yield from self._judge_answer(run, item, now, last=False)
                yield from self._finish_if_done(run, now)

    def tick(self, name: str, now: Instant) -> Iterator[Effect]:
        """A timer has fired: check the calendar, or give up waiting for a watched point."""
        if not name:
            yield from self._plan(now)
            return
        round_, _, item_id = name.partition("/")
        run = self.runs.get(round_)
        item = None if run is None else run.waiting.get(item_id)
        if run is not None and item is not None and item.id in run.answers:
            yield from self._judge_answer(run, item, now, last=True)
            yield from self._finish_if_done(run, now)

    def due(self, name: str, now: Instant, why: str = NOBODY) -> Iterator[Effect]:
        """The time for people's answers is over; an answer that is being checked may still finish."""
        run = self.runs.get(name)
        if run is None:
            return
        looked_at = self._looked_at(run)
        for item in people_in_order(run.waiting.values()):
            if item.id in run.answers:
                yield from self._judge_answer(run, item, now, last=True)
            elif item.id not in looked_at:
                yield from self._ended(run, item, unseen(why), now)
        yield from self._finish_if_done(run, now)

    def performed(self, item: Performed, now: Instant) -> Generator[Effect, None, Performed | None]:
        """Take the result of a question. Returns the answer to the command that asked, or None."""
        answer = self._answers.pop(item.order, None)
        if answer is not None:
            return (yield from self._looked_through(item, *answer, now))
        question = self._asking.done(item.order)
        if question is None:
            return item
        run = self._run(question.run)
        if run is not None:
            for name in question.items:
                if (asked := run.waiting.get(name)) is not None:
                    yield from self._judge(run, asked, item, now)
            yield from self._finish_if_done(run, now)
        yield from self._asking.next()
        return None

    def _judge(self, run: Run, item: Item, done: Performed, now: Instant) -> Iterator[Effect]:
        answer: dict[str, Json] = {"failed": _NO_ANSWER.get(done.code, done.message or done.code)}
        if done.ok and isinstance(done.result, Mapping):
            answer = dict(done.result)
        key = f"{run.round.id}/{item.id}"
        match item.rule:
            case PointRule() as rule:
                value = items.good_value(answer, rule.ref.point)
                last = self._samples.get(key, [])[-1:]
                often = any(abs(now.wall - at) < _SAMPLE_EVERY_S for at, _ in last)
                if value is not None and rule.between is not None and not often:
                    kept = self._samples[key] = [*self._samples.get(key, []), (now.wall, value)][-KEPT:]
                    yield Remember(_TREND + key, [list(sample) for sample in kept])
                found = items.point(rule, answer, self._samples.get(key, []))
            case DeviceRule():
                found = items.device(answer, now)
            case DutyRule():
                found = items.duty({"failed": "no driver"} if done.code == "unknown" else answer, now)
            case PictureRule() if "failed" in answer:
                why = "unreachable" if done.code == "silent" else "refused"
                found = unseen(why, text=done.message or None)
            case _:
                found = items.picture(answer, self._last.get(run.round.id, LastRun()).changed.get(item.id, 0))
        yield from self._ended(run, item, found, now)

    # ---- what people answer -----------------------------------------------------------------------

    def asked_of(self, run_id: str, item_id: str) -> tuple[Run, Item] | None:
        """The person item that still waits for its answer."""
        run = self._run(run_id)
        if run is None:
            return None
        item = run.waiting.get(item_id)
        if item is None or not isinstance(item.rule, PersonRule):
            return None
        return None if item_id in run.answers or item_id in self._looked_at(run) else (run, item)

    def look_through(self, run: Run, item: Item, said: Answered, args: Mapping[str, Json], token: str) -> Perform:
        """Have photo and tag of an answer checked outside the site."""
        key = f"{run.round.id}/{item.id}"
        self._answers[token] = run.id, item.id, said
        more: dict[str, Json] = {"item": key, "known": self._proofs.photos(key)}
        return Perform(token, ANSWER, {**args, **more}, said.by)

    def _run(self, id_: str) -> Run | None:
        return next((one for one in self.runs.values() if one.id == id_), None)

    def _is_due(self, run: Run) -> bool:
        """True if the time for people's answers is over."""
        return ROUND_DUE + run.round.id not in self._deadlines

    def _looked_at(self, run: Run) -> set[str]:
        """Items whose answer has come and whose photo or tag is being checked."""
        return {item for id_, item, _ in self._answers.values() if id_ == run.id}

    def _looked_through(
        self, done: Performed, run_id: str, item_id: str, said: Answered, now: Instant
    ) -> Generator[Effect, None, Performed]:
        run = self._run(run_id)
        item = None if run is None else run.waiting.get(item_id)
        if run is None or item is None:
            return _no(done, "the run is over") if done.ok else done
        told = yield from self._weighed(done, run, item, said, now)
        if self._is_due(run):
            yield from self.due(run.round.id, now)
        return told

    def _weighed(
        self, done: Performed, run: Run, item: Item, said: Answered, now: Instant
    ) -> Generator[Effect, None, Performed]:
        """Accept or refuse an answer by the check of its photo and tag."""
        if not done.ok or not isinstance(done.result, Mapping):
            return done
        result = done.result
        tag, counter, mark = result.get("uid"), result.get("counter"), result.get("mark")
        if isinstance(mark, str) and (other := self._proofs.given_for(mark)) is not None:  # looked at at the same time
            return _no(done, f"photo: it was given for {other} too; each item wants a new one of its own")
        if isinstance(tag, str) and isinstance(counter, int):
            if not self._proofs.is_newer(tag, counter):
                return _no(done, "tag: its counter did not go forward")
            yield from self._proofs.add_tag(tag, counter)
        if isinstance(mark, str):
            yield from self._proofs.add_photo(f"{run.round.id}/{item.id}", mark)
        photo, sha256, presence = (result.get(name) for name in ("picture", "sha256", "presence"))
        full = Answered(said.ok, said.by, said.note, *map(_text, (photo, sha256, presence)))
        told = yield from self.answered(run, item, full, now)
        return Performed(done.order, True, told, "", "", done.at)

    def answered(self, run: Run, item: Item, said: Answered, now: Instant) -> Generator[Effect, None, Json]:
        """Take a person's answer; returns the reply to that person."""
        run.answers[item.id] = said, now.mono
        yield from self._judge_answer(run, item, now, last=self._is_due(run))
        result = run.results.get(item.id)
        yield from self._finish_if_done(run, now)
        return {"outcome": None if result is None else result["outcome"]}

    def _judge_answer(self, run: Run, item: Item, now: Instant, *, last: bool) -> Iterator[Effect]:
        """Judge a person's answer. `last`: stop waiting for watched points."""
        said, at = run.answers[item.id]
        if not isinstance(item.rule, PersonRule):
            return
        missing, unread = self.watching.missing(item.rule, at)
        unwatched = self.watching.since > at - item.rule.within
        if said.ok and (missing or unread) and not last:
            self._timers.set((ROUND, f"{run.round.id}/{item.id}"), at + item.rule.within)
            yield Remember(f"{_ANSWER}{run.round.id}/{item.id}", said.memory())
            return
        yield from self._ended(run, item, items.person(said, missing, unread, now, unwatched=unwatched), now)

    # ---- for who looks on -------------------------------------------------------------------------

    def progress(self) -> dict[str, Json]:
        """The runs under way, the next planned run of each round, and the open findings."""
        return {
            "running": {name: self._shown(run) for name, run in self.runs.items()},
            "next": dict(self._next),
            "findings": list(self.findings.standing()),
        }

    def _shown(self, run: Run) -> dict[str, Json]:
        people = people_in_order(item for item in run.waiting.values() if item.id not in run.answers)
        places = list(dict.fromkeys(item.place for item in people if item.place is not None))
        named = [self.settings.places[place].name for place in places]
        asked: list[Json] = [
            {"item": item.id, "text": item.rule.text, "photo": item.rule.photo, "place": item.place}
            for item in people
            if isinstance(item.rule, PersonRule)
        ]
        return {
            "run": run.id, "title": run.round.title, "trigger": run.trigger, "started_at": run.started_at,
            "planned_at": run.planned_at, "due_at": self._deadlines.until(ROUND_DUE + run.round.id),
            "done": len(run.results), "of": len(run.order), "looking_at": list(self._asking.targets(run.id)),
            "asked": asked, "place": named[0] if named else None, "next_place": named[1] if len(named) > 1 else None,
            "items": list(run.results.values()),
        }  # fmt: skip


def digest(data: Mapping[str, Json]) -> str:
    """SHA-256 of a run's canonical JSON: data without `digest`, keys sorted, no blanks, UTF-8."""
    plain = {name: value for name, value in data.items() if name != "digest"}
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _in(zone: str, device: DeviceSettings) -> bool:
    """True if the device is in the zone, or has alarms in it, as a panel does."""
    return (device.zone or SITE) == zone or any(rule.zone == zone for rule in device.rules)


def _no(done: Performed, message: str) -> Performed:
    return Performed(done.order, False, None, "bad-args", message, done.at)


def _text(value: Json) -> str | None:
    return value if isinstance(value, str) else None


def _sample(value: Json) -> Iterator[Sample]:
    match value:
        case [int() | float() as at, int() | float() as number]:
            yield float(at), float(number)


def _lost(reading: Reading) -> Reading:
    return reading._replace(value=None)


def _left(key: str, known: Mapping[str, frozenset[str]], devices: Mapping[str, object]) -> bool:
    """True for what is remembered of a round, an item or a device that left the file."""
    for prefix, names in ((_LAST, known), (_PLAN, known), (_PROVEN, devices), (_UNDATED, devices)):
        if key.startswith(prefix):
            return key.removeprefix(prefix) not in names
    round_, _, item = key.removeprefix(_TREND).partition("/")
    return key.startswith(_TREND) and item not in known.get(round_, frozenset())

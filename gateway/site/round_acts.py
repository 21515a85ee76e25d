"""The acts about rounds: begin and cancel a round, answer an item, acknowledge a finding. Pure."""

from collections.abc import Callable, Generator
from dataclasses import dataclass

from gateway.arguments import Args
from gateway.model import Effect, Instant, Json
from gateway.site.answers import Answer, Asker, Done, Later, No
from gateway.site.items import Answered
from gateway.site.round_settings import PersonRule
from gateway.site.rounds import Rounds

Act = Generator[Effect, None, Answer]


@dataclass(slots=True)
class RoundActs:
    """The acts about rounds, by the name of their command."""

    rounds: Rounds

    def table(self) -> dict[str, Callable[[Args, Asker, Instant], Act]]:
        """Command -> act."""
        return {
            "inspection.run": self._run,
            "inspection.cancel": self._cancel,
            "inspection.answer": self._answer,
            "finding.acknowledge": self._acknowledge,
        }

    def _run(self, args: Args, asker: Asker, now: Instant) -> Act:
        name = str(args["round"])
        if name not in self.rounds.settings.rounds:
            return No("bad-args", f"there is no round {name}")
        why = self.rounds.may_begin(name)
        if why is not None:
            return No("interlocked", why)
        run = yield from self.rounds.begin(name, asker.cause, now)
        return Done({"run": run})

    def _cancel(self, args: Args, _asker: Asker, now: Instant) -> Act:
        name = str(args["round"])
        if name not in self.rounds.runs:
            return No("bad-args", f"round {name} does not run")
        yield from self.rounds.cancel(name, now)
        return Done()

    def _answer(self, args: Args, asker: Asker, now: Instant) -> Act:
        asked = self.rounds.asked_of(str(args["run"]), str(args["item"]))
        if asked is None:
            return No("bad-args", "nobody is asked that: the run is over, or it was answered")
        run, item = asked
        photo, place, tag = args.get("photo"), args.get("place"), args.get("tag")
        refusal = self._may_not(item.rule, item.place, photo, place, tag)
        if refusal is not None:
            return refusal
        note = args.get("note")
        said = Answered(args["ok"] is True, asker.by, None if note is None else str(note))
        if photo is None and tag is None:
            return Done((yield from self.rounds.answered(run, item, said, now)))
        evidence: dict[str, Json] = {"photo": photo, "place": item.place, "tag": tag}
        yield self.rounds.look_through(run, item, said, evidence, asker.token)
        return Later()

    def _may_not(self, rule: object, here: str | None, photo: Json, place: Json, tag: Json) -> No | None:
        if isinstance(rule, PersonRule) and rule.photo and photo is None:
            return No("bad-args", "photo: is missing; this item wants one")
        if place is not None and place != here:
            return No("bad-args", f"place: this item is at {here or 'no place'}")
        known = None if here is None else self.rounds.settings.places[here].tag
        return No("bad-args", "tag: this place has none") if tag is not None and known is None else None

    def _acknowledge(self, args: Args, asker: Asker, now: Instant) -> Act:
        findings = self.rounds.findings
        finding, service_class = str(args["finding"]), args.get("class")
        if findings.find(finding) is None:
            return No("bad-args", "no such finding is open")
        wanted = service_class if isinstance(service_class, str) else None
        yield from findings.acknowledge(finding, wanted, asker.by, now)
        return Done()

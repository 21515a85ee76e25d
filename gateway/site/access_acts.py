"""The acts about plates: lists, cars inside, what is kept of a plate. Pure.

Looking at a plate or at the cars inside makes an audit event (`person.viewed`). Work on lists and events takes time,
so it is done outside the site.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass

from gateway.arguments import Args
from gateway.model import Effect, Emit, Instant, Json, Perform
from gateway.site.answers import Answer, Asker, Done, Later, No, viewed
from gateway.site.gates import Gates, Opening, Settled
from gateway.site.ids import Ids
from gateway.site.passages import Passages

Act = Generator[Effect, None, Answer]

_NO_PLATE = No("bad-args", "plate: found no plate")
_SHOWN = 2000
"""The most cars in one answer; the rest is only counted."""


@dataclass(slots=True)
class AccessActs:
    """The acts about plates, by the name of their command; some are only for people on site."""

    passages: Passages
    gates: Gates
    ids: Ids

    def table(self) -> dict[str, Callable[[Args, Asker, Instant], Act]]:
        """Command -> act."""
        return {
            "access.update": self._update,
            "access.forget": self._forget,
            "access.export": self._export,
            "access.presence": self._presence,
            "access.show": self._show,
            "access.who": self._who,
            "camera.last": self._last,
        }

    def by_hand(self, args: Args, asker: Asker) -> No | None:
        """Open for a denied car (`passage`). Returns why not, or None."""
        passage = args.get("passage")
        if passage is None:
            return None
        wrong = self.passages.by_hand(str(passage), str(args["gate"]), asker.token)
        return None if wrong is None else No("bad-args", wrong)

    def opened(self, opening: Opening, gate: str, asker: Asker, now: Instant) -> Generator[Effect, None, None]:
        """Report an opening that needed no order of its own."""
        if not opening.later and opening.decision != "rate-limited":
            yield from self.passages.settled(Settled(asker.token, True, opening.decision, gate), now)

    def _update(self, args: Args, asker: Asker, _now: Instant) -> Act:
        yield Perform(asker.token, "access.update", args, asker.by)
        return Later()

    def _forget(self, args: Args, asker: Asker, _now: Instant) -> Act:
        plate = self.passages.plate(args["plate"])
        if not plate:
            return _NO_PLATE
        yield from self.passages.forget(plate)
        yield Perform(asker.token, "access.forget", {"plate": plate}, asker.by)
        return Later()

    def _export(self, args: Args, asker: Asker, now: Instant) -> Act:
        plate = self.passages.plate(args["plate"])
        if not plate:
            return _NO_PLATE
        yield self._viewed("plate", asker, now)
        yield Perform(asker.token, "access.export", {"plate": plate, "kept": self.passages.kept(plate)}, asker.by)
        return Later()

    def _show(self, args: Args, asker: Asker, now: Instant) -> Act:
        """Show what is kept of a plate, and the decision it would get now."""
        plate, gate = self.passages.plate(args["plate"]), args.get("gate")
        if not plate:
            return _NO_PLATE
        if gate is not None and gate not in self.gates:
            return No("bad-args", f"there is no gate {gate}")
        yield self._viewed("plate", asker, now)
        kept = self.passages.kept(plate)
        kept["gates"] = self.passages.would(plate, None if gate is None else str(gate), now)
        yield Perform(asker.token, "access.export", {"plate": plate, "kept": kept}, asker.by)
        return Later()

    def _presence(self, args: Args, _asker: Asker, now: Instant) -> Act:
        plate, inside = self.passages.plate(args["plate"]), args["inside"] is True
        if not plate:
            return _NO_PLATE
        yield from self.passages.correct(plate, now, inside=inside)
        return Done({"inside": inside})

    def _who(self, _args: Args, asker: Asker, now: Instant) -> Act:
        """List the cars inside, newest first."""
        yield self._viewed("presence", asker, now)
        cars = [*reversed(self.passages.presence.inside())]
        counts: dict[str, Json] = dict(self.passages.presence.counts())
        shown: list[Json] = [{"plate": car.plate, "kind": car.kind, "since": car.since} for car in cars[:_SHOWN]]
        return Done({"inside": shown, "more": len(cars) - len(shown), "counts": counts})

    def _last(self, _args: Args, asker: Asker, now: Instant) -> Act:
        """Record that somebody looks at an unreadable push, which may contain a plate."""
        yield self._viewed("push", asker, now)
        return Done({})

    def _viewed(self, what: str, asker: Asker, now: Instant) -> Emit:
        return viewed(self.ids.new(now), what, asker, now)

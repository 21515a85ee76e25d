"""Commands: each runs once, gets a reply and an audit event.

The request is remembered in the same step that moves something, so a repeat moves nothing, even after a crash.
The audit reports a command once, when its result is known.
"""

from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass

from gateway.arguments import MAX_NOTE, MAX_PLATE
from gateway.commands import COMMANDS
from gateway.masks import masked, without_plates
from gateway.model import (
    Command,
    Effect,
    Emit,
    Instant,
    Json,
    Outcome,
    Perform,
    Performed,
    Person,
    Quality,
    Reading,
    Refused,
    Reply,
    Stream,
)
from gateway.site.acts import Act, Acts
from gateway.site.alarm_reset import Ended
from gateway.site.answers import Answer, Asker, Done, Later, No, reply
from gateway.site.deadlines import Deadlines
from gateway.site.gates import Settled
from gateway.site.ids import Ids
from gateway.site.refusal_audit import Refusals
from gateway.site.repeats import Repeats
from gateway.site.settings import Ref
from gateway.site.timers import Timers

PART = "reply"
_LONGEST_RESULT = 4096
_LONGEST_REFUSED = 4096
_READ_BACK_S = 2.0
_COMMIT_S = 0.25
"""The longest time for the commit of a step. The order leaves after it, and the device's time-out starts then."""
_STALE_S = 15.0
"""A request of a person on site that is older than this moves nothing: the situation that the person saw has passed."""

_CODES = {"refused": "refused-by-device", "withdrawn": "interlocked"}


@dataclass(slots=True)
class _Pending:
    """A request whose result is not known yet."""

    who: Command | Person
    asker: Asker
    replied: bool = False
    written: Ref | None = None
    """The written point, while its new value is read back."""
    value: Json = None
    since: float = 0.0


class Commands:
    """Takes commands and requests of people, and answers each."""

    def __init__(
        self,
        acts: Acts,
        deadlines: Deadlines,
        ids: Ids,
        timers: Timers,
        *,
        performed: frozenset[str],
    ) -> None:
        self._acts = acts
        self._table = acts.table()
        self._repeats = Repeats(deadlines)
        self._ids = ids
        self._timers = timers
        self._performed = performed
        self._refusals = Refusals(ids, timers)
        self._pending: dict[str, _Pending] = {}

    def restore(self, memory: Mapping[str, Json]) -> None:
        """Load the requests of the previous process."""
        self._repeats.restore(memory)

    def start(self, now: Instant) -> Iterator[Effect]:
        """Report what was under way when the previous process ended; nothing of it is done again."""
        for kid, jti, value in self._repeats.all():
            audit = value.get("audit")
            if isinstance(audit, Mapping):
                answer = No("silent", "the gateway ended before it was known what became of it")
                error: dict[str, Json] = {"code": answer.code, "message": answer.message}
                data: dict[str, Json] = {**audit, "ok": False, "error": error, "count": None}
                yield Emit(Stream.AUDIT, "command.refused", None, data, self._ids.new(now), now)
                said = value.get("reply") or reply(str(audit.get("jti")), str(audit.get("cmd")), answer)
                yield from self._repeats.keep(kid, jti, {"reply": said, "audit": None})

    def take(self, item: Command, now: Instant) -> Iterator[Effect]:
        """Take a verified command."""
        known = self._repeats.find(item.kid, item.jti)
        if known is not None:
            audit = self._audit(_Pending(item, Asker("", item.sub, False)))
            yield from self._repeated(item.jti, item.reply_to, known, audit, now)
            return
        left = item.exp - now.wall
        asker = Asker(self._ids.order(), item.sub, False, item.allow, now.mono + left, kid=item.kid)
        refusal = self._too_late(item, left)
        if refusal is None and self._repeats.is_full(item):
            text = "too many commands of this key are remembered; until they expire it gets no more"
            refusal = No("interlocked", text)
        if refusal is not None:
            yield from self._answer(_Pending(item, asker), refusal, now)
            return
        yield from self._repeats.begin(item, now)
        allowed = item.cmd in item.allow
        yield from self._do(_Pending(item, asker), "" if allowed else f"the key may not ask for {item.cmd[:40]}", now)

    def ask(self, item: Person, now: Instant) -> Iterator[Effect]:
        """Take a request of a person on site."""
        declared = COMMANDS.get(item.cmd)
        allowed = declared is not None and declared.may_on_site(item.role)
        asker = Asker(self._ids.order(), item.by, True, role=item.role)
        # A fire that a person saw is confirmed however late.
        if (
            declared is not None
            and declared.moves
            and item.cmd != "fire.confirm"
            and now.mono - item.at.mono > _STALE_S
        ):
            late = No("expired", f"it waited for more than {_STALE_S:.0f} s; nothing was done, ask again")
            yield from self._answer(_Pending(item, asker), late, now)
            return
        yield from self._do(_Pending(item, asker), "" if allowed else f"a {item.role} may not do that", now)

    def refuse(self, item: Refused, now: Instant) -> Iterator[Effect]:
        """Take a command that failed verification. One that was taken before is a repeat, whatever its `exp` says."""
        args = None if item.args is None or _hides_args(item.cmd) else _brief(item.args)
        known = self._repeats.find(item.kid, item.jti) if item.signed and item.code == "expired" else None
        if known is not None and item.jti is not None:
            audit: dict[str, Json] = {
                "jti": item.jti, "iss": item.iss, "sub": item.sub, "kid": item.kid, "cmd": item.cmd, "args": args,
            }  # fmt: skip
            yield from self._repeated(item.jti, item.reply_to, known, audit, now)
            return
        error: dict[str, Json] = {"code": item.code, "message": item.message}
        data: dict[str, Json] = {
            "jti": item.jti, "iss": item.iss, "sub": item.sub, "kid": item.kid, "cmd": item.cmd, "args": args,
            "ok": False, "error": error, "count": None,
        }  # fmt: skip
        yield from self._refusals.tell(data, item.code, now)
        if item.signed and item.jti is not None:
            yield Reply(item.jti, item.reply_to, reply(item.jti, item.cmd or "", No(item.code, item.message)))

    def forget(self, key: str) -> Iterator[Effect]:
        """Forget a command that has expired."""
        yield from self._repeats.forget(key)

    def _too_late(self, item: Command, left: float) -> No | None:
        if left <= 0:
            return No("expired", "it expired on its way")
        if self._repeats.may_be_one(item):
            return No("expired", "its time was over before: the clock here, or where it was signed, was set back")
        return None

    # ---- what comes back ------------------------------------------------------------------------

    def settled(self, item: Settled, now: Instant) -> Iterator[Effect]:
        """Take the result of a gate's order for a request."""
        if item.ok:
            held = item.detail == "held-open" or self._acts.gates.get(item.gate).is_held
            decision = "held-open" if held else "opened"
            status = self._acts.gates.status(item.gate, now)
            yield from self._ended(item.token, Done({"gate": item.gate, "decision": decision, **status}), now)
        else:
            yield from self._ended(item.token, _no(item.detail), now)

    def ended(self, item: Ended, now: Instant) -> Iterator[Effect]:
        """Take the result of a reset."""
        yield from self._ended(item.token, Done() if item.ok else No("interlocked", item.message), now)

    def performed(self, item: Performed, now: Instant) -> Iterator[Effect]:
        """Take the result of what was done outside the site."""
        answer: Done | No = Done(item.result) if item.ok else No(item.code, item.message)
        yield from self._ended(item.order, answer, now)

    def outcome(self, item: Outcome, now: Instant) -> Iterator[Effect]:
        """Take the outcome of writing a point."""
        pending = self._pending.get(item.order)
        if pending is None:
            return
        if not item.ok:
            yield from self._ended(item.order, _no(item.detail), now)
            return
        device, _, point = str(pending.who.args["point"]).partition(".")
        pending.written, pending.since = Ref(device, point), item.at.mono
        if item.value is not None:
            yield from self._read_back(item.order, pending, item.value, now)
        else:
            self._timers.set((PART, f"{item.order}/back"), now.mono + _READ_BACK_S)
            yield self._acts.look(pending.written)

    def read(self, ref: Ref, reading: Reading, now: Instant) -> Iterator[Effect]:
        """Take a reading, which may show a written value."""
        for token, pending in tuple(self._pending.items()):
            if pending.written == ref and reading.at.mono >= pending.since and reading.quality is Quality.GOOD:
                yield from self._read_back(token, pending, reading.value, now)

    @property
    def waits_for(self) -> bool:
        """True while a written value has to be read back."""
        return any(pending.written is not None for pending in self._pending.values())

    def tick(self, name: str, now: Instant) -> Iterator[Effect]:
        """Answer a request whose time-out has passed."""
        token, _, what = name.partition("/")
        pending = self._pending.get(token)
        if pending is None:
            return
        if what == "back":
            yield from self._ended(token, No("silent", "written, but it could not be read back"), now)
        elif not pending.replied:
            message = "no answer yet; the order dies when the command expires"
            yield from self._reply(pending, No("silent", message), last=False)

    def sum_up(self, now: Instant) -> Iterator[Effect]:
        """Report the sum of refusals at the end of a minute or of the process."""
        yield from self._refusals.sum_up(now)

    # ---- one request ----------------------------------------------------------------------------

    def _do(self, pending: _Pending, forbidden: str, now: Instant) -> Iterator[Effect]:
        who = pending.who
        answer = yield from self._try(pending, forbidden, now)
        if not isinstance(answer, Later):
            yield from self._answer(pending, answer, now)
            return
        token = pending.asker.token
        self._pending[token] = pending
        if isinstance(who, Command):
            yield from self._repeats.keep(who.kid, who.jti, {"reply": None, "audit": self._audit(pending)})
        if answer.within is not None:
            self._timers.set((PART, f"{token}/"), now.mono + answer.within + self._commit(who))

    def _commit(self, who: Command | Person) -> float:
        """Extra time for a device, so that a slow disk does not make it look `silent`."""
        gate = str(who.args.get("gate"))
        if gate in self._acts.gates:
            device = self._acts.gates.get(gate).settings.held.device
        else:
            device = str(who.args.get("device", who.args.get("point"))).partition(".")[0]
        return 0.0 if self._acts.linkage.silent(device) else _COMMIT_S

    def _try(self, pending: _Pending, forbidden: str, now: Instant) -> Generator[Effect, None, Answer]:
        who = pending.who
        act: Callable[..., Act] | None = self._table.get(who.cmd)
        declared = COMMANDS.get(who.cmd)
        if declared is None or (act is None and who.cmd not in self._performed):
            text = "there is no command" if declared is None else "this version does not do, or this site has no,"
            return No("unknown", f"{text} {who.cmd[:40]}")
        if forbidden:
            return No("not-allowed", forbidden)
        held = self._acts.interlocked() if declared.needs_quiet else None
        if held is not None:
            return No("interlocked", held)
        try:
            declared.check(who.args, on_site=pending.asker.on_site, entries=False)
        except ValueError as error:
            return No("bad-args", str(error))
        if act is None:
            yield Perform(pending.asker.token, who.cmd, who.args, pending.asker.by)
            return Later()
        return (yield from act(who.args, pending.asker, now))

    def _repeated(
        self, jti: str, reply_to: str | None, known: Mapping[str, Json], audit: Mapping[str, Json], now: Instant
    ) -> Iterator[Effect]:
        first = known.get("reply")
        error: dict[str, Json] = {"code": "repeated", "message": "it was carried out, or refused, before"}
        yield from self._refusals.tell({**audit, "ok": False, "error": error, "count": None}, "repeated", now)
        if isinstance(first, Mapping):
            yield Reply(jti, reply_to, first)

    def _ended(self, token: str, answer: Done | No, now: Instant) -> Iterator[Effect]:
        pending = self._pending.pop(token, None)
        if pending is not None:
            self._timers.drop((PART, f"{token}/"))
            self._timers.drop((PART, f"{token}/back"))
            yield from self._answer(pending, answer, now)

    def _answer(self, pending: _Pending, answer: Done | No, now: Instant) -> Iterator[Effect]:
        data = self._audit(pending) | {"ok": isinstance(answer, Done), "error": None, "count": None}
        if isinstance(answer, No):
            data["error"] = {"code": answer.code, "message": answer.message}
            yield from self._refusals.tell(data, answer.code, now)
        else:
            yield Emit(Stream.AUDIT, "command.done", None, data, self._ids.new(now), now)
        if not pending.replied:
            yield from self._reply(pending, answer)
        elif isinstance(pending.who, Command):
            kid, jti = pending.who.kid, pending.who.jti
            yield from self._repeats.keep(kid, jti, {**(self._repeats.find(kid, jti) or {}), "audit": None})

    def _reply(self, pending: _Pending, answer: Done | No, *, last: bool = True) -> Iterator[Effect]:
        """Answer, and keep the answer for repeats. `last` false: the audit event with the result is still to come."""
        pending.replied = True
        who = pending.who
        if isinstance(who, Person):
            yield Reply(who.ask, None, reply(who.ask, who.cmd, answer), local=True)
            return
        yield from self._keep(who, answer, None if last else self._audit(pending))
        yield Reply(who.jti, who.reply_to, reply(who.jti, who.cmd, answer))

    def _keep(self, who: Command, answer: Done | No, audit: Mapping[str, Json] | None) -> Iterator[Effect]:
        """Keep the reply, for repeats."""
        kept = reply(who.jti, who.cmd, answer)
        if isinstance(answer, Done) and (_tells_once(who.cmd) or len(repr(kept)) > _LONGEST_RESULT):
            kept = reply(who.jti, who.cmd, Done())
        yield from self._repeats.keep(who.kid, who.jti, {"reply": kept, "audit": audit})

    def _read_back(self, token: str, pending: _Pending, value: Json, now: Instant) -> Iterator[Effect]:
        wanted = pending.who.args["value"]
        if isinstance(wanted, bool) and bool(value) is not wanted:
            yield from self._ended(token, No("refused-by-device", f"written, but it reads {value}"), now)
        else:
            yield from self._ended(token, Done({"point": str(pending.written), "value": value}), now)

    def _audit(self, pending: _Pending) -> dict[str, Json]:
        who = pending.who
        args = brief({} if _hides_args(who.cmd) else who.args)
        if isinstance(who, Person):
            told: dict[str, Json] = {"jti": None, "iss": "on-site", "sub": who.by, "account": who.account or None}
            return {**told, "kid": None, "cmd": who.cmd[:64], "args": args}
        return {"jti": who.jti, "iss": who.iss, "sub": who.sub, "kid": who.kid, "cmd": who.cmd[:64], "args": args}


def _hides_args(cmd: str | None) -> bool:
    return cmd is not None and cmd in COMMANDS and COMMANDS[cmd].hides_args


def _tells_once(cmd: str) -> bool:
    return cmd in COMMANDS and COMMANDS[cmd].tells_once


def brief(args: Mapping[str, Json]) -> dict[str, Json]:
    """The arguments as the audit keeps them: long ones cut, plates masked, files and lists left out.

    Plates are masked because the audit is kept for longer than a plate may be.
    """
    kept: dict[str, Json] = {}
    for name, value in list(args.items())[:32]:
        if name == "plate":
            kept[name] = masked(value[:MAX_PLATE] if isinstance(value, str) else None)
        elif isinstance(value, str):
            value = without_plates(value)  # noqa: PLW2901 - the same, as it may be kept
            kept[name[:64]] = value if len(value) <= MAX_NOTE else f"{value[:100]}… ({len(value)} characters)"
        elif value is None or isinstance(value, bool | int | float):
            kept[name[:64]] = value
        else:
            kept[name[:64]] = f"({len(value)} entries)"
    return kept


def _brief(args: Mapping[str, Json]) -> dict[str, Json]:
    """Shorten arguments of any form; their names come from outside too and cannot be trusted."""
    kept = {without_plates(name): value for name, value in brief(args).items()}
    if len(repr(kept)) > _LONGEST_REFUSED:
        return {name: f"({len(str(value))} characters)" for name, value in kept.items()}
    return kept


def _no(detail: str) -> No:
    message = {
        "silent": "the device did not answer",
        "expired": "the device did not answer before the command expired",
        "refused": "the device refused it",
        "withdrawn": "something else was ordered meanwhile",
    }.get(detail, detail)
    return No(_CODES.get(detail, "silent"), message)

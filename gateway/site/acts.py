"""The acts of people and commands on the site. Each act returns `Done`, `No` or `Later`."""

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.arguments import Args, duration
from gateway.model import Effect, Emit, Instant, Json, Operate, Perform, ReadNow, Stream
from gateway.site.alarm_reset import Resetting
from gateway.site.alarms import Alarms, Watch
from gateway.site.annunciator import Annunciator
from gateway.site.answers import Answer, Asker, Done, Later, No, viewed
from gateway.site.gate import AFTER, UNKNOWN, by_command
from gateway.site.gates import Gates
from gateway.site.ids import Ids
from gateway.site.linkage import SITE, Linkage
from gateway.site.settings import Ref, SiteSettings, built_in
from gateway.site.taken_out import DISABLED, SHELF, TEST, TakenOut, covers

if TYPE_CHECKING:
    from gateway.site.access_acts import AccessActs
    from gateway.site.round_acts import RoundActs

Act = Generator[Effect, None, Answer]

_ON_SITE_LIFE_S = 5.0
"""An order of a person on site expires after this time if the device stays silent."""
_MAY_TAKE_S = 1.0
_LIMITED = No("interlocked", "rate-limited: 20 openings in the last minute")
_HALF_DAY_S = 12 * 3600.0


@dataclass(slots=True)
class Acts:
    """The acts of the contract, by the name of their command."""

    settings: SiteSettings
    alarms: Alarms
    gates: Gates
    linkage: Linkage
    annunciator: Annunciator
    resetting: Resetting
    out: TakenOut
    ids: Ids
    access: "AccessActs | None"
    """None: the site has no plate cameras."""
    rounds: "RoundActs | None"
    """None: the site has no rounds."""

    def interlocked(self) -> str | None:
        """Why the configuration may not be changed now; None: it may."""
        if self.linkage.any_fire:
            return "a fire stands"
        return "a gate is held open" if self.gates.any_held else None

    def table(self) -> dict[str, Callable[[Args, Asker, Instant], Act]]:
        """Command -> act."""
        return {
            "gate.open": self._open,
            "gate.hold": self._hold,
            "gate.release": self._release,
            "fire.confirm": self._confirm,
            "alarm.acknowledge": self._acknowledge,
            "alarm.verify": self._verify,
            "alarm.reset": self._reset,
            "alarm.shelve": self._shelve,
            "device.disable": self._disable,
            "device.enable": self._enable,
            "zone.test": self._test,
            "read": self._read,
            "write": self._write,
            "silence": self._silence,
            "alarm.silence": self._silence,
            "access.viewed": self._looked_at,
            "page.code": self._logged_in,
            **({} if self.access is None else self.access.table()),
            **({} if self.rounds is None else self.rounds.table()),
        }

    def due(self, name: str, now: Instant) -> Iterator[Effect]:
        """End what was taken out of service for a limited time."""
        if name.startswith(SHELF):
            yield from self._unshelve(name.removeprefix(SHELF), now)
        elif name.startswith(DISABLED):
            yield from self._back(name.removeprefix(DISABLED), None, "the time is over", now)
        elif name.startswith(TEST):
            yield from self.linkage.end_test(name.removeprefix(TEST), now)

    # ---- gates ----------------------------------------------------------------------------------

    def _open(self, args: Args, asker: Asker, now: Instant) -> Act:
        name = str(args["gate"])
        if name not in self.gates:
            return No("bad-args", f"there is no gate {name}")
        refusal = None if self.access is None else self.access.by_hand(args, asker)
        if refusal is not None:
            return refusal
        who: dict[str, Json] = {"cause": asker.cause, "by": asker.by, "passage": args.get("passage")}
        opening = yield from self.gates.open_once(
            name, who, now, expires=_expires(asker, now), token=asker.token, limited=not asker.on_site
        )
        if self.access is not None:
            yield from self.access.opened(opening, name, asker, now)
        if opening.later:
            return self._wait_for(self.gates.get(name).settings.open.device)
        if opening.decision == "rate-limited":
            return _LIMITED
        return Done({"gate": name, "decision": opening.decision, **self.gates.status(name, now)})

    def _hold(self, args: Args, asker: Asker, now: Instant) -> Act:
        name = str(args["gate"])
        if name not in self.gates:
            return No("bad-args", f"there is no gate {name}")
        gate = self.gates.get(name)
        if not asker.on_site and not gate.is_held:
            if gate.limited(now):
                return _LIMITED
            gate.pulses.append(now.mono)  # it moves the barrier, so it counts as an opening
        who: dict[str, Json] = {"cause": asker.cause, "by": asker.by}
        life = None if asker.on_site else _expires(asker, now) - now.mono
        yield from self.gates.hold(name, asker.key, who, now, token=asker.token, life=life)
        return self._wait_for(self.gates.get(name).settings.held.device)

    def _release(self, args: Args, asker: Asker, now: Instant) -> Act:
        name = str(args["gate"])
        if name not in self.gates:
            return No("bad-args", f"there is no gate {name}")
        gate = self.gates.get(name)
        named = args.get("cause")
        mine = [key for key in gate.causes if _may_end(key, asker, named)]
        if gate.causes and not mine:
            held = ", ".join(sorted({str(cause.get("cause")) for cause in gate.causes.values()}))
            return No("interlocked", f"held open, not by this: {held}")
        for key in mine:
            yield from self.gates.release(name, key, {"by": asker.by}, now)
        return Done({"gate": name, **self.gates.status(name, now)})

    def _confirm(self, args: Args, asker: Asker, now: Instant) -> Act:
        zone = str(args["zone"])
        if zone != SITE and zone not in self.settings.zones:
            return No("bad-args", f"there is no zone {zone}")
        yield from self.linkage.confirm(zone, {"cause": "fire", "by": asker.by}, now)
        return Done({"zone": zone})

    def _looked_at(self, args: Args, asker: Asker, now: Instant) -> Act:
        """Record that somebody looks at a kept plate or picture of a passage or a round."""
        what, passage, picture = str(args["what"]), args.get("passage"), args.get("picture")
        yield viewed(self.ids.new(now), what, asker, now, passage, picture)
        return Done({})

    def _logged_in(self, _args: Args, _asker: Asker, _now: Instant) -> Act:
        """Do nothing: the command only has to appear in the audit."""
        yield from ()
        return Done()

    def _silence(self, _args: Args, _asker: Asker, _now: Instant) -> Act:
        yield from self.annunciator.silence()
        return Done()

    # ---- alarms ---------------------------------------------------------------------------------

    def _acknowledge(self, args: Args, asker: Asker, now: Instant) -> Act:
        watch = self.alarms.find(str(args["alarm"]))
        if watch is None:
            return No("bad-args", "no such alarm stands")
        yield from self.alarms.acknowledge(watch, asker.by, now)
        return Done(_standing(watch))

    def _verify(self, args: Args, _asker: Asker, now: Instant) -> Act:
        watch = self.alarms.find(str(args["alarm"]))
        if watch is None:
            return No("bad-args", "no such alarm stands")
        yield from self.alarms.tell(watch, "alarm.verified", {"verified_as": args["result"]}, now)
        return Done(_standing(watch))

    def _reset(self, args: Args, asker: Asker, now: Instant) -> Act:
        watch = self.alarms.find(str(args["alarm"]))
        if watch is None or watch.standing is None:
            return No("bad-args", "no such alarm stands")
        rule = watch.rule
        refusal = self._may_not_reset(watch, asker)
        if refusal is not None:
            return refusal
        blind = self._blind(watch)
        if blind is not None and not (asker.on_site and args.get("note")):
            return No("interlocked", f"{blind}: reset on site only, with a note")
        if blind is not None or not rule.point or rule.device not in self.settings.devices:
            yield from self.alarms.reset(watch, asker.by, now)
            if blind is None or watch.left or not rule.point:
                return Done()
            yield from self._take_out(rule.device, _HALF_DAY_S, asker.by, str(args["note"]), now)
            return Done({"disabled": rule.device})
        yield from self.resetting.begin(watch, asker.token, asker.by, now)
        return Later()

    def _blind(self, watch: Watch) -> str | None:
        """Why no reading can show that the condition is gone; None: a reading can, or none is needed."""
        rule = watch.rule
        if watch.left:
            return "it is no longer in the site file"
        if self.linkage.unreadable(rule.subject):
            return "the button cannot be read"
        if rule.point and rule.kind == "fire" and self.linkage.silent(rule.device):
            return "the device is silent"
        return None

    def _may_not_reset(self, watch: Watch, asker: Asker) -> No | None:
        rule = watch.rule
        if rule.kind == "fire" and not asker.may("fire.reset"):
            return No("not-allowed", "a fire is reset on site, or by a key that names fire.reset")
        if watch.standing is None or not (watch.standing["latched"] or watch.left):
            return No("interlocked", "it is not latched: it ends by itself")
        if rule.subject in self.resetting:
            return No("interlocked", "a reset is under way")
        if self.linkage.pressed(rule.subject):
            return No("interlocked", "the button is still pressed, or was not read yet")
        return None

    def _shelve(self, args: Args, _asker: Asker, now: Instant) -> Act:
        target = str(args["device"]).replace("/", ".")
        if target.partition(".")[0] not in self.settings.devices or not self.alarms.known(target):
            return No("bad-args", f"there is no {target}, or it has no alarm")
        span = duration(args["for"])
        if span == 0:
            yield from self._unshelve(target, now)
            return Done()
        yield from self.out.put(SHELF + target, span, now)
        until = self.out.until(SHELF + target)
        count = 0
        for watch in self.alarms.all_standing():
            if covers(target, watch.rule):
                count += 1
                yield from self.alarms.tell(watch, "alarm.shelved", {"shelved": True, "shelved_until": until}, now)
        return Done({"until": until, "alarms": count})

    def _unshelve(self, target: str, now: Instant) -> Iterator[Effect]:
        yield from self.out.back(SHELF + target)
        for watch in self.alarms.all_standing():
            if watch.standing is not None and watch.standing["shelved"] and covers(target, watch.rule):
                until = self.out.shelved_until(watch.rule)
                if until is None:
                    changes: dict[str, Json] = {"shelved": False, "shelved_until": None}
                    yield from self.alarms.tell(watch, "alarm.unshelved", changes, now)

    # ---- devices and zones ----------------------------------------------------------------------

    def _disable(self, args: Args, asker: Asker, now: Instant) -> Act:
        device = str(args["device"])
        if device not in self.settings.devices:
            return No("bad-args", f"there is no device {device}")
        if self.linkage.in_fire(device):
            return No("interlocked", "the device is in fire")
        yield from self._take_out(device, duration(args["for"]), asker.by, args.get("reason"), now)
        return Done({"until": self.out.until(DISABLED + device)})

    def _take_out(self, device: str, span: float, by: str, reason: Json, now: Instant) -> Iterator[Effect]:
        yield from self.out.put(DISABLED + device, span, now)
        yield self._device("device.disabled", device, by, reason, now)
        text = f"out of linkage: {reason or 'no reason given'}"
        yield from self.alarms.begin(built_in(f"{device}/disabled", "disabled"), text, now)
        yield from self._mark(device, now)

    def _enable(self, args: Args, asker: Asker, now: Instant) -> Act:
        device = str(args["device"])
        if device not in self.settings.devices:
            return No("bad-args", f"there is no device {device}")
        if self.out.disabled(device):
            yield from self._back(device, asker.by, args.get("reason"), now)
        return Done()

    def _back(self, device: str, by: str | None, reason: Json, now: Instant) -> Iterator[Effect]:
        yield self._device("device.enabled", device, by, reason, now)
        yield from self.out.back(DISABLED + device)
        yield from self.alarms.end(f"{device}/disabled", now)
        yield from self._mark(device, now)

    def _mark(self, device: str, now: Instant) -> Iterator[Effect]:
        """Update the `disabled` mark of its standing alarms."""
        self.linkage.look_again()
        disabled = self.out.disabled(device)
        for watch in self.alarms.all_standing():
            own = watch.rule.device == device and watch.rule.name != "disabled"
            if own and watch.standing is not None and watch.standing["disabled"] is not disabled:
                yield from self.alarms.tell(watch, "alarm.updated", {"disabled": disabled}, now)

    def _device(self, type_: str, device: str, by: str | None, reason: Json, now: Instant) -> Emit:
        data: dict[str, Json] = {
            "device": device,
            "zone": self.settings.devices[device].zone if device in self.settings.devices else None,
            "reason": reason,
            "by": by,
            "until": self.out.until(DISABLED + device) if type_ == "device.disabled" else None,
        }
        return Emit(Stream.ALARM, type_, device, data, self.ids.new(now), now)

    def _test(self, args: Args, _asker: Asker, now: Instant) -> Act:
        zone = str(args["zone"])
        if zone != SITE and zone not in self.settings.zones:
            return No("bad-args", f"there is no zone {zone}")
        span = duration(args["for"])
        if span == 0:
            yield from self.linkage.end_test(zone, now)
            return Done()
        if self.linkage.standing(zone):
            return No("interlocked", "a fire stands in the zone")
        yield from self.out.put(TEST + zone, span, now)
        return Done({"until": self.out.until(TEST + zone)})

    # ---- points ---------------------------------------------------------------------------------

    def _read(self, args: Args, asker: Asker, _now: Instant) -> Act:
        device, _, point = str(args["device"]).partition(".")
        point = point or str(args.get("point") or "")
        settings = self.settings.devices.get(device)
        if settings is None or (point and point not in settings.points):
            return No("bad-args", f"there is no {args['device']}{' ' + point if point else ''}")
        yield Perform(asker.token, "read", {"device": device, "point": point or None}, asker.by)
        return Later(max(_MAY_TAKE_S, settings.timeout))

    def _write(self, args: Args, asker: Asker, now: Instant) -> Act:
        device, _, point = str(args["point"]).partition(".")
        ref, value = Ref(device, point), args["value"]
        if ref not in self.settings.writable or not isinstance(value, bool | int | float | str):
            return No("bad-args", f"there is no writable point {ref}")
        if ref in self.settings.outputs():
            return No("interlocked", f"{ref} belongs to a gate, a linkage or the annunciator")
        yield Operate(asker.token, device, point, value, _expires(asker, now))
        return self._wait_for(device)

    def look(self, ref: Ref) -> ReadNow:
        """Read back what was written."""
        return ReadNow(ref.device, (ref.point,))

    def _wait_for(self, device: str) -> Later:
        settings = self.settings.devices.get(device)
        return Later(max(_MAY_TAKE_S, settings.timeout if settings else 0.0))


def _may_end(cause: str, asker: Asker, named: Json) -> bool:
    """True if the asker may remove this cause of holding a gate; `named`: by a person on site."""
    if not asker.on_site and by_command(cause, asker.kid):
        return True
    if asker.on_site and named == "command":
        return by_command(cause)
    if asker.on_site and cause == asker.key:
        return True
    return named is None and cause in (AFTER, UNKNOWN) and asker.may("fire.release")


def _expires(asker: Asker, now: Instant) -> float:
    return asker.expires if asker.expires is not None else now.mono + _ON_SITE_LIFE_S


def _standing(watch: Watch) -> Json:
    data = watch.standing
    return None if data is None else {"alarm": data["alarm"], "state": data["state"]}

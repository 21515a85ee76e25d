"""Builds the parts of the brain from the settings and connects them."""

from typing import TYPE_CHECKING

from gateway.kinds import ALARM_KINDS
from gateway.model import Value
from gateway.site.acts import Acts
from gateway.site.alarm_reset import Resetting
from gateway.site.alarms import Alarms
from gateway.site.annunciator import Annunciator
from gateway.site.commands import Commands
from gateway.site.deadlines import Deadlines
from gateway.site.gates import Gates
from gateway.site.ids import Ids
from gateway.site.linkage import Linkage
from gateway.site.outputs import Outputs, Wiring
from gateway.site.overdue import Overdue
from gateway.site.settings import (
    CAMERA_ALARMS,
    CONFUSED,
    ON_LOSS,
    OWN_ALARMS,
    AlarmRule,
    Condition,
    Ref,
    SiteSettings,
    built_in,
)
from gateway.site.taken_out import TakenOut
from gateway.site.timers import Timers

if TYPE_CHECKING:
    from gateway.site.access_acts import AccessActs
    from gateway.site.passages import Passages
    from gateway.site.round_acts import RoundActs
    from gateway.site.round_settings import RoundSettings
    from gateway.site.rounds import Rounds


class Parts:
    """The parts. Each uses only those above it."""

    def __init__(self, settings: SiteSettings, ids: Ids) -> None:
        self.timers = Timers()
        self.deadlines = Deadlines(self.timers)
        self.out = TakenOut(self.deadlines)
        self.alarms = Alarms(settings.devices, settings.service, ids, self.out, self.timers)
        wirings = _wirings(settings)
        self.outputs = Outputs(ids, self.timers, wirings, settings.writable)
        self.gates = Gates(settings.gates.values(), self.alarms, self.outputs, self.deadlines, ids, self.timers)
        self.linkage = Linkage(settings, self.alarms, self.gates, self.outputs, self.out)
        self.annunciator = Annunciator(settings.annunciator, self.alarms, self.outputs)
        self.overdue = Overdue(settings.service, self.alarms, self.deadlines)
        self.resetting = Resetting(settings.devices, self.alarms, ids, self.timers, taken=frozenset(wirings))
        self.passages = self._build_passages(settings, ids) if settings.access.cameras else None
        self.rounds = None if settings.inspection is None else self._build_rounds(settings, settings.inspection, ids)
        self.acts = Acts(
            settings, self.alarms, self.gates, self.linkage, self.annunciator, self.resetting, self.out, ids,
            access=None if self.passages is None else _access_acts(self.passages, self.gates, ids),
            rounds=None if self.rounds is None else _round_acts(self.rounds),
        )  # fmt: skip
        self.commands = Commands(self.acts, self.deadlines, ids, self.timers, performed=settings.performed)
        for rule in _rules(settings):
            self.alarms.watch(rule)
        for rule in self.linkage.built_in():
            self.alarms.watch(rule)

    def _build_passages(self, settings: SiteSettings, ids: Ids) -> "Passages":
        """Imported here because only a site with plate cameras needs it; saves memory."""
        from gateway.site.passages import Passages  # noqa: PLC0415

        return Passages(settings.access, self.gates, ids, self.alarms, self.deadlines)

    def _build_rounds(self, settings: SiteSettings, inspection: "RoundSettings", ids: Ids) -> "Rounds":
        """Imported here because only a site with rounds needs it; saves memory and the cron library."""
        from gateway.site.rounds import Rounds  # noqa: PLC0415

        return Rounds(
            inspection, settings.devices, settings.service, self.alarms, self.linkage, self.deadlines, ids, self.timers
        )

    def take_up_rounds(self, settings: SiteSettings, ids: Ids) -> None:
        """Load the rounds of a file that has none any more, so that their memory is cleared up."""
        from gateway.site.round_settings import RoundSettings  # noqa: PLC0415

        self.rounds = self._build_rounds(settings, RoundSettings(), ids)

    def leave_rounds(self) -> None:
        """Their memory is cleared up."""
        self.rounds = None


def _access_acts(passages: "Passages", gates: Gates, ids: Ids) -> "AccessActs":
    from gateway.site.access_acts import AccessActs  # noqa: PLC0415 - as above

    return AccessActs(passages, gates, ids)


def _round_acts(rounds: "Rounds") -> "RoundActs":
    from gateway.site.round_acts import RoundActs  # noqa: PLC0415 - as above

    return RoundActs(rounds)


def _wirings(settings: SiteSettings) -> dict[Ref, Wiring]:
    """Every output that the site writes."""
    plain = [settings.annunciator.fire, settings.annunciator.fault, *(r for one in settings.linkages for r in one.set)]
    wirings = {ref: Wiring() for ref in plain if ref is not None}
    for gate in settings.gates.values():
        repeat = gate.repeat if gate.hold is None else None
        wirings[gate.open] = Wiring(gate.pulse, gate.timed, repeat, gate.readable)
        if gate.hold is not None:
            wirings[gate.hold] = Wiring(gate.pulse, gate.hold_timed, gate.repeat)
    return wirings


def _rules(settings: SiteSettings) -> list[AlarmRule]:
    rules = [rule for device in settings.devices.values() for rule in device.rules]
    for device in settings.devices:
        rules += [built_in(f"{device}/{name}") for name in ("silent", "blind")]
        rules.append(built_in(f"{device}/disabled", "disabled"))
    rules += [built_in(f"{line}/{name}") for line in settings.lines for name in ("down", CONFUSED)]
    for gate in settings.gates:
        rules += [built_in(f"{gate}/{name}", "gate") for name in ("gate-stuck", "held-unknown")]
    rules += [built_in(f"{gate.id}/{ON_LOSS}") for gate in settings.gates.values() if gate.on_loss == "open"]
    rules += [built_in(subject, "gateway") for subject in OWN_ALARMS]
    rules += [built_in(f"{camera}/{name}", "gateway") for camera in settings.access.cameras for name in CAMERA_ALARMS]
    for ref, name, kind in ((settings.own.mains, "mains", "power"), (settings.own.battery, "battery", "battery")):
        if ref is not None:
            severity, service_class, latch = ALARM_KINDS[kind]
            lost: Value = False
            condition = Condition(equals=lost)
            rules.append(AlarmRule(*ref, name, kind, severity, service_class, latch, condition))
    return rules

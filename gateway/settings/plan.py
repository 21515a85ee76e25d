"""What a site file asks of its lines, and how late its alarms can be: before anybody leaves the office.

No hardware is touched: the driver plans its requests, `field/response_time.py` reckons.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from types import MappingProxyType

from gateway.config.load import Loaded, load
from gateway.config.points import URGENT, Point
from gateway.config.problems import Finding
from gateway.config.site import ModbusLine, SiteFile
from gateway.errors import ConfigError
from gateway.field.response_time import HOST_S, LATENCY_S, AlarmBound, LineBound, LineLoad, analyse, load_of
from gateway.settings import build
from gateway.settings.loss_uses import losses

URGENT_WITHIN_S = 10.0
"""Seconds in which a fire or gas alarm must be told, with a dead device on its line (page "product", promise 2)."""
FAULT_WITHIN_S = 100.0
"""The same for a fault, the silence of a device included."""
_FAULTS = frozenset({"fault", "wire"})
_FASTER = (9600, 19200, 38400, 57600, 115200)
_COMFORTABLE_SHARE = 0.9
"""The share of a line's time that a proposal leaves in use at most."""


@dataclass(frozen=True, slots=True)
class LinePlan:
    """One line: what is asked of it, and what that leads to."""

    load: LineLoad
    bound: LineBound

    @property
    def line(self) -> str:
        """Its name."""
        return self.bound.line

    @property
    def round(self) -> float:
        """Seconds that all its requests take, each once."""
        return sum(block.wire + self.load.devices[block.device].latency + self.load.turn for block in self.load.blocks)

    @property
    def wire_round(self) -> float:
        """The same without the devices' own time and this machine's."""
        return sum(block.wire for block in self.load.blocks)


def load_timed(site: Path, beside: Path | None = None, *, contents: bool = False) -> Loaded:
    """The site file with every problem in it, also those of its lines' time. `beside` and `contents` as in `load`."""
    loaded = load(site, beside, contents=contents)
    return loaded if loaded.site is None else loaded.with_findings(findings(loaded.site))


def plan_lines(
    file: SiteFile, latency: float = LATENCY_S, measured: Mapping[str, float] = MappingProxyType({})
) -> list[LinePlan]:
    """Every Modbus line. Raises ConfigError.

    `measured`: the longest time that each device took to answer; `latency`: what is taken for the others.
    """
    return [_plan(file, name, latency, measured) for name in build.modbus_lines(file)]


def findings(file: SiteFile) -> Iterator[Finding]:
    """What cannot be kept, as `check` tells it: errors where people would be told too late, else warnings."""
    for name in build.modbus_lines(file):
        try:
            plan = _plan(file, name, LATENCY_S)
        except ConfigError as error:
            yield Finding(("lines", name), f"cannot be asked: {error}", at_key=True)
            continue
        advice: list[str] = []
        for alarm in plan.bound.alarms:
            yield from _too_late(file, plan, alarm, advice)
        for device, told in plan.bound.silent_told.items():
            if told > FAULT_WITHIN_S:
                text = f"its silence would be told after {seconds(told)}; {seconds(FAULT_WITHIN_S)} at most"
                yield Finding(("devices", device), f"{text}{_cure(file, plan, advice)}", at_key=True)
        yield from _too_silent(file, plan, advice)
        if plan.bound.late:
            wanted = f"{plan.bound.utilisation:.0%} of the time"
            count = f"{len(plan.bound.late)} of {len(plan.load.blocks)} requests"
            text = f"found requests for {wanted}: {count} cannot be made as often as `every` wants"
            yield Finding(("lines", name), f"{text}{_cure(file, plan, advice)}", "warning", at_key=True)


def as_json(plans: list[LinePlan]) -> dict[str, list[dict[str, object]]]:
    """The answer of `plan --json`; null for a time without a bound."""
    return {
        "lines": [
            {
                "line": plan.line,
                "utilisation": round(plan.bound.utilisation, 4),
                "requests_per_s": round(plan.bound.requests_per_s, 3),
            }
            for plan in plans
        ],
        "alarms": [
            {"point": alarm.point, "worst_ms": _ms(alarm.worst), "worst_one_dead_ms": _ms(alarm.worst_one_dead)}
            for plan in plans
            for alarm in plan.bound.alarms
        ],
    }


def cure(file: SiteFile, plan: LinePlan) -> str:
    """What would help a line that is asked for too much: a faster baud rate if that is enough."""
    line = file.lines[plan.line]
    devices = len(plan.load.devices)
    if not isinstance(line, ModbusLine) or not line.is_bus:
        return f"one round of {devices} devices takes {seconds(plan.round)}; a longer `every`, or fewer on this line"
    need = f"at {line.baudrate} baud one round of {devices} devices needs {_round(plan)}"
    for baudrate in _FASTER:
        if baudrate <= line.baudrate:
            continue
        faster = line.model_copy(update={"baudrate": baudrate})
        other = _plan(file.model_copy(update={"lines": {**file.lines, plan.line: faster}}), plan.line, LATENCY_S)
        if other.bound.utilisation <= _COMFORTABLE_SHARE and not any(
            _limit_missed(file, one) for one in other.bound.alarms
        ):
            return f"{need}; {baudrate} gives {_round(other)}"
    return f"{need}; a longer `every`, or a second line for some of them"


def assumptions(latency: float = LATENCY_S, measured: int = 0) -> str:
    """What the figures rest on. `measured`: of how many devices the answer time is known."""
    devices = "each device answers"
    if measured:
        devices = f"{measured} devices answer within the longest that the running gateway has seen of late, the others"
    return (
        f"Assumed: {HOST_S * 1000:.0f} ms for this machine at each answer; {devices} within {latency * 1000:.0f} ms; "
        "no answer is damaged; one other alarm is confirmed at the same time; the dead device uses up its longest "
        "time-out."
    )


def seconds(value: float) -> str:
    """A time for people: `1.47 s`, `never`."""
    return f"{value:.3g} s" if isfinite(value) else "never"


def _plan(file: SiteFile, name: str, latency: float, measured: Mapping[str, float] = MappingProxyType({})) -> LinePlan:
    confirm: dict[str, int] = {}
    slow: dict[str, float] = {}
    for key, device in file.devices.items():
        if device.line == name:
            slow[key] = min(measured.get(key, latency), device.limits.timeout)
            confirm |= {f"{key}.{one}": _confirm(point) for one, point in device.points.items() if _is_alarm(point)}
    load = load_of(name, build.requests(file, name), confirm, slow)
    return LinePlan(load, analyse(load))


def _is_alarm(point: Point) -> bool:
    return bool(point.alarms) or point.supervised is not None


def _confirm(point: Point) -> int:
    return max((alarm.confirm for alarm in point.alarms.values()), default=1)


def _too_late(file: SiteFile, plan: LinePlan, alarm: AlarmBound, advice: list[str]) -> Iterator[Finding]:
    missed = _limit_missed(file, alarm)
    if missed is None:
        return
    kind, told, limit = missed
    device, _, point = alarm.point.partition(".")
    text = f"{point}: the alarm of kind {kind} would be told after {seconds(told)} with a dead device on line"
    allowed = f"{seconds(limit)} at most"
    yield Finding(("devices", device), f"{text} {plan.line}; {allowed}{_cure(file, plan, advice)}", at_key=True)


def _too_silent(file: SiteFile, plan: LinePlan, advice: list[str]) -> Iterator[Finding]:
    """A module's watchdog must outlast three requests that do not reach it, or it opens a gate while we live."""
    for one in losses(file):
        asked = plan.bound.silent_told.get(one.output.device)
        if asked is not None and asked > one.after:
            text = f"found open, and three requests to {one.output.device} may take {seconds(asked)}"
            wait = f"its watchdog waits {seconds(one.after)}; a longer `after` in its `loss`"
            yield Finding(("gates", one.gate, "on_loss"), f"{text} while {wait}{_cure(file, plan, advice)}")


def _limit_missed(file: SiteFile, alarm: AlarmBound) -> tuple[str, float, float] | None:
    """Kind, time and limit of the first alarm of this point that comes too late."""
    device, _, name = alarm.point.partition(".")
    point = file.devices[device].points[name]
    rules: Mapping[str, float] = {one.kind: one.for_ for one in point.alarms.values()}
    if point.supervised is not None:
        rules = {**rules, "wire": 0.0}
    for kind, delay in rules.items():
        limit = URGENT_WITHIN_S if kind in URGENT else FAULT_WITHIN_S if kind in _FAULTS else None
        if limit is not None and alarm.worst_one_dead + delay > limit:
            return kind, alarm.worst_one_dead + delay, limit
    return None


def _cure(file: SiteFile, plan: LinePlan, advice: list[str]) -> str:
    """The cure, reckoned once a line."""
    if not advice:
        advice.append(cure(file, plan))
    return f"; {advice[0]}"


def _round(plan: LinePlan) -> str:
    return f"{seconds(plan.round)} ({seconds(plan.wire_round)} on the wire)"


def _ms(value: float) -> float | None:
    return round(value * 1000, 1) if isfinite(value) else None

"""What the tables of `plan` and `watch` say. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from gateway.technician.plan import LinePlan, seconds
from gateway.technician.screen import Sheet


def plan_sheets(plans: Sequence[LinePlan]) -> list[Sheet]:
    """The lines, then the alarm points."""
    lines = [
        (
            plan.line,
            str(len(plan.load.devices)),
            str(len(plan.load.blocks)),
            f"{plan.bound.requests_per_s:.2f}",
            seconds(plan.round),
            f"{plan.bound.wire:.1%}",
            f"{plan.bound.utilisation:.1%}",
        )
        for plan in plans
    ]
    alarms = [
        (plan.line, alarm.point, seconds(alarm.worst), seconds(alarm.worst_one_dead))
        for plan in plans
        for alarm in plan.bound.alarms
    ]
    heads = ("line", ">devices", ">requests", ">requests/s", ">one round", ">wire time", ">utilisation")
    return [
        Sheet("Lines", heads, lines),
        Sheet("Alarm points: worst case to the confirmed answer", ("line", "point", ">worst", ">one dead"), alarms),
    ]


def watch_sheets(state: Mapping[str, Any]) -> list[Sheet]:
    """One picture of the running daemon; what is wrong comes first."""
    return [_alarms(state), _lines(state), _devices(state), _readings(state)]


def shares(state: Mapping[str, Any]) -> dict[str, float]:
    """How much of its line's time each device has used since the daemon started, 0-1 of all that was used there."""
    used = {name: _used(device, state["wire"].get(name, 0.0)) for name, device in state["devices"].items()}
    totals: dict[str, float] = {}
    for name, device in state["devices"].items():
        totals[device["line"]] = totals.get(device["line"], 0.0) + used[name]
    return {
        name: used[name] / totals[device["line"]] if totals[device["line"]] else 0.0
        for name, device in state["devices"].items()
    }


def _used(device: Mapping[str, Any], wire: float) -> float:
    answered: int = device["requests"] - device["timeouts"]
    return float(answered * (wire + device["answer_p50"]) + device["timeouts"] * (wire + device["timeout"]))


def _alarms(state: Mapping[str, Any]) -> Sheet:
    rows = [
        (
            str(alarm["severity"]),
            str(alarm["kind"]),
            " ".join(str(alarm[key]) for key in ("zone", "place", "device", "point") if alarm[key]),
            str(alarm["state"]),
            str(alarm["raised_at"]),
        )
        for alarm in state["alarms"]
    ]
    uplink = "connected" if state["uplink"]["connected"] else "NOT connected"
    title = f"{state['site']} / {state['gateway']}   {state['clock']['time']}   uplink {uplink}"
    return Sheet(f"{title}   {len(rows)} alarms", ("severity", "kind", "where", "state", "since"), rows)


def _lines(state: Mapping[str, Any]) -> Sheet:
    eaters = shares(state)
    rows = []
    for name, line in state["lines"].items():
        mine = sorted(
            (one for one in state["devices"] if state["devices"][one]["line"] == name), key=eaters.__getitem__
        )
        eats = ", ".join(f"{one} {eaters[one]:.0%}" for one in mine[:-4:-1] if eaters[one])
        up = "up" if line["up"] else f"DOWN {_age(line['down_for'])}: {line['detail']}"
        rows.append((name, up, f"{line['busy']:.0%}", str(line["overruns"]), eats))
    return Sheet("Lines", ("line", "state", ">busy", ">skipped", "who takes the time"), rows)


def _devices(state: Mapping[str, Any]) -> Sheet:
    eaters = shares(state)
    rows = [
        (
            name,
            device["line"],
            {True: "answers", False: "SILENT", None: "waiting"}[device["answering"]],
            f"{device['answer_p50'] * 1000:.0f}/{device['answer_p95'] * 1000:.0f}",
            str(device["requests"]),
            str(device["timeouts"]),
            str(device["refused"]),
            f"{eaters[name]:.0%}",
        )
        for name, device in sorted(state["devices"].items(), key=lambda item: item[1]["answering"] is not False)
    ]
    heads = ("device", "line", "state", ">p50/p95 ms", ">requests", ">misses", ">refused", ">share")
    return Sheet("Devices", heads, rows)


def _readings(state: Mapping[str, Any]) -> Sheet:
    rows = [
        (f"{device}.{point}", _value(reading), str(reading["quality"]), _age(reading["age"]))
        for device, readings in state["readings"].items()
        for point, reading in readings.items()
    ]
    return Sheet("Values", ("point", "value", "quality", ">age"), rows)


def _value(reading: Mapping[str, Any]) -> str:
    value = reading["value"]
    if value is None:
        return str(reading["reason"])
    shown = (
        f"{value:.6g}" if isinstance(value, float) else str(value).lower() if isinstance(value, bool) else str(value)
    )
    return " ".join(word for word in (shown, reading["unit"], reading["text"]) if word)


def _age(value: float | None) -> str:
    return "" if value is None else f"{value:.1f} s" if value < 100 else f"{value / 60:.0f} min"

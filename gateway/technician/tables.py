"""The content of the tables of `plan` and `watch`. Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from gateway.settings.plan import LinePlan, seconds
from gateway.technician.layout import PrintedTable, width

_SEVERITIES = {name: rank for rank, name in enumerate(("critical", "high", "medium", "low"))}


def plan_sheets(plans: Sequence[LinePlan]) -> list[PrintedTable]:
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
        PrintedTable("Lines", heads, lines),
        PrintedTable(
            "Alarm points: worst case to the confirmed answer", ("line", "point", ">worst", ">one dead"), alarms
        ),
    ]


def watch_sheets(state: Mapping[str, Any]) -> list[PrintedTable]:
    """The state of the running daemon as tables; what is wrong comes first."""
    sheets = [_alarms(state), _gates(state), _lines(state), _devices(state), _cameras(state), _readings(state)]
    return [sheet for number, sheet in enumerate(sheets) if sheet.rows or number == 0]


def shares(state: Mapping[str, Any]) -> dict[str, float]:
    """Device -> its share of the line's used time since the daemon started, 0-1."""
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


def sorted_alarms(alarms: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Alarms, most severe first, then newest first."""
    newest = sorted(alarms, key=lambda alarm: str(alarm["raised_at"]), reverse=True)
    return sorted(newest, key=lambda alarm: _SEVERITIES.get(alarm["severity"], len(_SEVERITIES)))


def local(at: str, timezone: str) -> str:
    """A time in local time, to the second."""
    return datetime.fromisoformat(at).astimezone(ZoneInfo(timezone)).strftime("%Y-%m-%d %H:%M:%S")


def standing(alarm: Mapping[str, Any]) -> str:
    """The state of an alarm in words: `unack`, and whether it is shelved, disabled or a test."""
    marks = [word for word in ("shelved", "disabled", "chattering") if alarm.get(word)]
    return " ".join([str(alarm["state"]), *marks])


def title(state: Mapping[str, Any]) -> str:
    """One line with the overall state."""
    uplink = "connected" if state["uplink"]["connected"] else "NOT connected"
    clock = state["clock"]
    now = local(clock["time"], state["timezone"]) + ("" if clock["synced"] else " unsynced")
    count = len(state["alarms"])
    alarms = f"{count} alarms" if count else "nothing stands"
    return f"{state['site']} / {state['gateway']}   {now}   uplink {uplink}   {alarms}"


def alarm_lines(alarms: Sequence[Mapping[str, Any]], timezone: str) -> list[str]:
    """A line for each standing alarm."""
    shown = [
        (
            local(alarm["raised_at"], timezone),
            str(alarm["severity"]),
            str(alarm["subject"]),
            str(alarm["kind"]),
            standing(alarm),
            " ".join(str(alarm[key]) for key in ("zone", "place", "text") if alarm[key]),
        )
        for alarm in sorted_alarms(alarms)
    ]
    widest = [max(map(width, column)) for column in zip(*shown, strict=True)]
    return [
        "  ".join(cell + " " * (columns - width(cell)) for cell, columns in zip(row, widest, strict=True)).rstrip()
        for row in shown
    ] or ["nothing stands"]


def status_lines(state: Mapping[str, Any]) -> list[str]:
    """The state of the daemon, one line per subject."""
    clock, uplink = state["clock"], state["uplink"]
    trust = "synchronised" if clock["synced"] else "NOT synchronised"
    waiting = ", ".join(f"{name} {count}" for name, count in state["journal"]["waiting"].items())
    said = [f"clock: {local(clock['time'], state['timezone'])} ({state['timezone']}), {trust}"]
    said.append(f"version: {state['process']['version']}")
    if state["process"]["reduced"]:
        said.append("REDUCED after crashes: cameras, page and commands are off")
    said += [f"line {name}: {'up' if line['up'] else 'DOWN'}" for name, line in state["lines"].items()]
    states = {True: "answers", False: "SILENT", None: "not asked yet"}
    said += [f"device {name}: {states[device['answering']]}" for name, device in state["devices"].items()]
    for name, gate in state["gates"].items():
        held = f", held by {', '.join(gate['causes'])}" if gate["causes"] else ""
        said.append(f"gate {name}: {gate['commanded']}, arm {gate['actual']}{held}")
    for name, camera in (state.get("cameras") or {}).items():
        gone = "SILENT, " if camera.get("reachable") is False else ""
        said.append(f"camera {name}: {gone}{_counts(camera) or 'nothing yet'}")
    why = f": {uplink['error']}" if uplink["error"] and not uplink["connected"] else ""
    said.append(f"uplink: {'connected' if uplink['connected'] else 'NOT connected'}{why}")
    if uplink["refused"]:
        codes = (f"{name} ({f'0x{code:02x}' if code else 'hangs up'})" for name, code in uplink["refused"].items())
        said.append(f"refused by the broker: {', '.join(codes)}")
    if uplink.get("commands"):
        said.append(f"commands: {uplink['commands']}")
    said.append(f"store: {state['journal']['store']}")
    return [*said, f"waiting: {waiting}"]


def _counts(camera: Mapping[str, Any]) -> str:
    said = [f"{key} {value}" for key, value in camera.items() if _is_count(value) and value]
    if said and "scale" in camera:
        said.append(f"confidence {camera['scale']} ({camera['scale_is']})")
    return ", ".join(said)


def _alarms(state: Mapping[str, Any]) -> PrintedTable:
    rows = [
        (
            str(alarm["severity"]),
            str(alarm["kind"]),
            str(alarm["subject"]),
            " ".join(str(alarm[key]) for key in ("zone", "place") if alarm[key]),
            standing(alarm),
            local(alarm["raised_at"], state["timezone"])[5:],
        )
        for alarm in sorted_alarms(state["alarms"])
    ]
    return PrintedTable(title(state), ("severity", "kind", "alarm", "where", "state", "since"), rows)


def _gates(state: Mapping[str, Any]) -> PrintedTable:
    rows = [
        (name, str(gate["commanded"]), str(gate["actual"]), ", ".join(gate["causes"]))
        for name, gate in state["gates"].items()
    ]
    return PrintedTable("Gates", ("gate", "commanded", "actual", "held by"), rows)


def _cameras(state: Mapping[str, Any]) -> PrintedTable:
    rows = [(name, _counts(camera)) for name, camera in (state.get("cameras") or {}).items()]
    return PrintedTable("Cameras", ("camera", "so far"), rows)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _lines(state: Mapping[str, Any]) -> PrintedTable:
    eaters = shares(state)
    rows = []
    for name, line in state["lines"].items():
        mine = sorted(
            (one for one in state["devices"] if state["devices"][one]["line"] == name), key=eaters.__getitem__
        )
        eats = ", ".join(f"{one} {eaters[one]:.0%}" for one in mine[:-4:-1] if eaters[one])
        up = "up" if line["up"] else f"DOWN {_age(line['down_for'])}: {line['detail']}"
        rows.append((name, up, f"{line['busy']:.0%}", str(line["overruns"]), eats))
    return PrintedTable("Lines", ("line", "state", ">busy", ">skipped", "who takes the time"), rows)


def _devices(state: Mapping[str, Any]) -> PrintedTable:
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
    return PrintedTable("Devices", heads, rows)


def _readings(state: Mapping[str, Any]) -> PrintedTable:
    rows = [
        (f"{device}.{point}", _value(reading), str(reading["quality"]), _age(reading["age"]))
        for device, readings in state["readings"].items()
        for point, reading in readings.items()
    ]
    return PrintedTable("Values", ("point", "value", "quality", ">age"), rows)


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

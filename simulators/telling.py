"""What the broker delivers as a line for people, in the local time of the site, in Chinese and English. Pure."""

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from gateway.printable import harmless

_BOLD_RED, _RED, _GREEN, _BLUE, _PLAIN = "1;38;5;160", "38;5;160", "38;5;28", "38;5;31", ""
"""Of the 256 colours those that are read on a dark and on a light ground; plain green and cyan are lost on white."""
KINDS: Final = {
    "fire": "火警", "gas": "燃气", "pre-alarm": "预警", "heat-rise": "温升", "overtemperature": "超温",
    "water": "水位水压", "electrical": "电气", "power": "电源", "gate": "道闸", "supervisory": "监管",
    "disabled": "屏蔽", "fault": "故障", "wire": "断线", "battery": "电池", "dirty": "污染", "tamper": "防拆",
    "access": "通行", "inspection": "巡检", "gateway": "网关",
}  # fmt: skip
_ALARM: Final = {
    "raised": ("报警", "ALARM"), "updated": ("更新", "changed"), "cleared": ("恢复", "clear"),
    "acknowledged": ("已确认", "seen"), "verified": ("已核实", "verified"), "reset": ("已复位", "reset"),
    "shelved": ("已搁置", "shelved"), "unshelved": ("取消搁置", "unshelved"), "overdue": ("超时", "overdue"),
}  # fmt: skip
_GATE: Final = {
    "opened": ("开闸", "opened"), "held": ("常开", "held open"), "released": ("释放", "released"),
    "stuck": ("卡住", "stuck"), "moved": ("异动", "moved by others"),
}  # fmt: skip
_DECISIONS: Final = {
    "opened": ("放行", "let through"), "denied": ("拒绝", "stays outside"),
    "held-open": ("常开放行", "through the open gate"), "no-gate": ("记录", "noted"),
    "rate-limited": ("限流", "too often"),
}  # fmt: skip
_OUTCOMES: Final = {"normal": "正常 normal", "abnormal": "异常 abnormal", "not-checkable": "未能检查 not checkable"}
_OWN: Final = {
    "gateway.started": ("网关启动", "the gateway has started"), "gateway.stopping": ("网关停止", "the gateway stops"),
    "command.done": ("命令完成", "done"), "command.refused": ("命令被拒", "refused"),
}  # fmt: skip


class Teller:
    """One for a demo. `colour`: the reader is a terminal that wants it."""

    def __init__(self, timezone: str, *, colour: bool) -> None:
        self._zone = ZoneInfo(timezone)
        self._colour = colour
        self._shown: set[str] = set()
        """Devices whose values were told once."""

    def line(self, event: Mapping[str, Any]) -> str | None:
        """The event in one line; None: not worth one."""
        kind = str(event["type"]).removeprefix("sitegateway.").removesuffix(".v1")
        told = self._told(kind, event.get("data") or {}, str(event.get("subject") or ""))
        if told is None:
            return None
        style, chinese, english, what = told
        at = event.get("time")
        clock = "--:--:--" if at is None else f"{datetime.fromisoformat(at).astimezone(self._zone):%H:%M:%S}"
        text = harmless(f"{clock}  {chinese} {english}: {what}")
        return f"\x1b[{style}m{text}\x1b[0m" if self._colour and style else text

    def _told(self, kind: str, data: Mapping[str, Any], subject: str) -> tuple[str, str, str, str] | None:
        family, _, name = kind.partition(".")
        if family == "alarm" and name in _ALARM:
            return _alarm(name, data, subject)
        if family == "gate":
            chinese, english = _GATE.get(name, ("道闸", name))
            by = f", {data['by']}" if data.get("by") else ""
            arm = "" if data.get("actual") in (None, "unknown") else f", 杆 arm {data['actual']}"
            return _GREEN, f"道闸{chinese}", f"gate {english}", f"{data.get('gate')} ({data.get('cause')}{by}{arm})"
        if kind in ("access.passage", "access.denied"):
            chinese, english = _DECISIONS.get(str(data["decision"]), ("通行", str(data["decision"])))
            way = {"in": "入 in", "out": "出 out"}.get(str(data.get("direction")), "")
            plate = data["plate"] or "无牌 no plate"
            words = (plate, way, data["gate"], f"({data['reason']})")
            return _BLUE, f"车辆{chinese}", f"car {english}", " ".join(str(word) for word in words if word)
        if kind in ("inspection.finished", "finding.opened", "finding.cured"):
            return _round(kind, data, subject)
        if kind in _OWN:
            chinese, english = _OWN[kind]
            return _PLAIN, chinese, english, str(data.get("cmd") or data.get("version") or data.get("reason") or "")
        if kind == "telemetry.readings":
            return self._values(data)
        return None

    def _values(self, data: Mapping[str, Any]) -> tuple[str, str, str, str] | None:
        if not data["full"] or data["device"] in self._shown:
            return None
        self._shown.add(data["device"])
        values = ", ".join(f"{point} {_value(reading)}" for point, reading in list(data["readings"].items())[:4])
        return _PLAIN, "读数", "values", f"{data['device']}: {values}"


def _alarm(name: str, data: Mapping[str, Any], subject: str) -> tuple[str, str, str, str]:
    chinese, english = _ALARM[name]
    kind = str(data["kind"])
    where = " ".join(str(data[key]) for key in ("place", "text") if data.get(key))
    burning = kind == "fire" and name == "raised"
    style = _BOLD_RED if burning else _RED if name == "raised" else _PLAIN
    title = "FIRE" if burning else f"{kind} {english}"
    return style, f"{KINDS.get(kind, kind)}{'' if burning else chinese}", title, f"{subject} {where}".rstrip()


def _round(kind: str, data: Mapping[str, Any], subject: str) -> tuple[str, str, str, str]:
    if kind == "finding.opened":
        return _RED, "巡检发现问题", "finding", f"{subject} ({data.get('reason')})"
    if kind == "finding.cured":
        return _GREEN, "问题已恢复", "cured", subject
    counts = Counter(str(item["outcome"]) for item in data.get("items") or ())
    told = ", ".join(f"{words} {counts[outcome]}" for outcome, words in _OUTCOMES.items())
    return _BLUE, "巡检结束", "round", f"{data.get('round')}: {told}"


def _value(reading: Mapping[str, Any]) -> str:
    if reading["value"] is None:
        return str(reading["reason"])
    value = f"{reading['value']:g}" if isinstance(reading["value"], float) else str(reading["value"]).lower()
    return " ".join(part for part in (value, reading["unit"], reading["text"]) if part)

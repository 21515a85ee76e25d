"""Weekly reports of rounds, for the responsible person: reads a week from events, and makes the sheet. Pure.

The sheet is one HTML file for A4, in Chinese and English, with all pictures included: items by day, missed runs,
findings with their clocks, trends, untested detectors, digests, and space to sign.
"""

import base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, tzinfo
from html import escape
from typing import Any, NamedTuple

from gateway.site.rounds import digest

Data = Mapping[str, Any]

NOTICE = (
    "本表由网关远程巡检生成，仅供辅助，不替代法定的防火巡查、检查和消防设施检测。",
    "Made by remote rounds of the gateway. They aid, and do not replace, the statutory patrols, inspections and tests.",
)
_MOMENT = timedelta.resolution
_MARKS = {
    "normal": ("✓", "正常 normal"),
    "abnormal": ("✗", "异常 abnormal"),
    "not-checkable": ("?", "未能检查 not checkable"),
}
KINDS = {
    "point": "测点", "device": "设备", "no_alarm": "区域报警", "panel": "控制器", "duty_check": "查岗",
    "tested": "探测器验证", "camera": "画面", "person": "人工",
}  # fmt: skip
_REASONS = {
    "below": "低于下限", "above": "高于上限", "differs": "与要求不符", "silent": "无应答", "line-down": "线路中断",
    "refused": "设备拒绝", "never-read": "尚未读到", "alarms stand": "有报警", "not seen": "看不到",
    "not proven": "未验证", "answered no": "人工判为异常", "nobody answered": "无人应答", "interrupted": "中断",
    "fire": "火警", "cancelled": "已取消", "sinking": "持续下降", "rising": "持续上升", "off": "网关停机",
    "clock": "时钟调整", "faults": "有故障", "disabled": "有屏蔽", "the one before still runs": "上一次未结束",
    "no-picture": "无画面", "damaged": "画面损坏", "small": "画面过小", "dark": "过暗", "bright": "过亮",
    "flat": "无内容", "covered": "遮挡", "blurred": "模糊", "moved": "移位", "frozen": "画面冻结", "glare": "强光",
    "poor-sight": "能见度低", "changed": "场景改变", "weak-reference": "参考图不足", "no-reference": "无参考图",
    "unreachable": "连接不上", "unsynced": "时钟未同步", "no longer in the site file": "已从配置中移除",
    "not-asked": "未能及时读取", "under test": "测试中", "not read": "读不到", "not answered": "未应答",
    "no number": "不是数值", "out-of-range": "超出量程", "invalid": "读数无效", "no driver": "本版本不支持",
}  # fmt: skip
_CLASSES = {"ordinary": "一般 ordinary", "complex": "较复杂 complex", "major": "重大 major"}
_COUNTS = {"no_alarm": "条报警 alarms", "tested": "个已验证 proven"}
"""What the value of these kinds of items counts."""
_PLACE_TAGS = {None: "无 none", "printed": "印刷码 printed code", "ntag424": "NTAG 424 芯片"}
_PICTURES = {"before": "当时 then", "after": "现在 now"}


@dataclass(slots=True)
class Week:
    """The rounds between two times, from the store."""

    first: datetime
    last: datetime
    """Exclusive."""
    runs: list[Data] = field(default_factory=list)
    missed: list[Data] = field(default_factory=list)
    findings: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Finding id -> its last state."""
    kept_from: datetime | None = None
    """Time of the oldest event that is kept; None: no event is kept."""

    @property
    def is_whole(self) -> bool:
        """The records reach back to its beginning."""
        return self.kept_from is not None and self.kept_from <= self.first

    def pictures(self) -> Iterator[str]:
        """The ids of the pictures of its findings."""
        for one in self.findings.values():
            for key in _PICTURES:
                yield from one.get(key) or ()

    @property
    def days(self) -> list[date]:
        """The local days of the week."""
        return [self.first.date() + timedelta(number) for number in range((self.last - self.first).days)]


def week_of(name: str | None, zone: tzinfo, now: datetime) -> tuple[datetime, datetime]:
    """Start and end of an ISO week (`2026-W48`), or of the present one. Raises ValueError."""
    if name is None:
        day = now.astimezone(zone).date()
        monday = day - timedelta(day.weekday())
    else:
        monday = datetime.strptime(f"{name}-1", "%G-W%V-%u").date()  # noqa: DTZ007 - a day of the site's own calendar
    try:
        end = monday + timedelta(7)
    except OverflowError as error:
        raise ValueError("the calendar ends within that week") from error
    return datetime.combine(monday, datetime.min.time(), zone), datetime.combine(end, datetime.min.time(), zone)


def sort_events(events: Iterable[Data], first: datetime, last: datetime, standing: Iterable[Data] = ()) -> Week:
    """Sort all events of the inspection stream that are kept, oldest first.

    Runs count by when they were due, however late they ended or were reported. Findings are shown as they were at the
    end of the week, if need be derived from later events or from `standing`, the findings that are open now.
    """
    week = Week(first, last)
    later: dict[str, Data] = {}
    oldest: tuple[bool, datetime] | None = None
    for event in events:
        kind, data = str(event["type"]).split(".", 1)[1], event["data"]
        told = _moment(event["time"])
        is_guess = event.get("clock") == "unsynced"
        oldest = min((is_guess, told), oldest or (is_guess, told))
        if kind.startswith("finding."):
            id_ = str(data["finding"])
            if told < last:
                week.findings[id_] = {**week.findings.get(id_, {}), **data}
            else:
                later.setdefault(id_, data)
        elif first <= _moment(data.get("planned_at") or data.get("started_at") or event["time"]) < last:
            if kind == "inspection.finished.v1":
                week.runs.append(data)
            elif kind == "inspection.missed.v1":
                week.missed.append(data)
    week.kept_from = None if oldest is None else oldest[1]
    for one in standing:
        later.setdefault(str(one["finding"]), one)
    before = {id_: _as_of(one, last) for id_, one in later.items() if id_ not in week.findings}
    week.findings = {id_: one for id_, one in (week.findings | before).items() if stood(one, first, last)}
    return week


def _as_of(finding: Data, last: datetime) -> dict[str, Any]:
    """The state of a finding at `last`, derived from a later event."""
    data = dict(finding)
    for key, with_it in (("cured_at", "after"), ("acknowledged_at", "acknowledged_by")):
        if data.get(key) and _moment(data[key]) >= last:
            data[key] = data[with_it] = None
    clocks = [data[key] for key in ("respond_by", "resolve_by") if data.get(key)]
    data["overdue"] = bool(data.get("overdue")) and any(_moment(clock) < last for clock in clocks)
    return data


def add_notes(week: Week, audit: Iterable[Data]) -> None:
    """Add the notes written when a finding was acknowledged; only the audit has them."""
    for event in audit:
        data = event["data"]
        args, told = data.get("args") or {}, _moment(event["time"])
        if data.get("cmd") != "finding.acknowledge" or not data.get("ok") or not args.get("note") or told >= week.last:
            continue
        note = {"at": event["time"], "by": data.get("sub", data.get("by")), "note": args["note"]}
        for id_, one in week.findings.items():
            named = args.get("finding")
            if named == id_ or (named == f"{one['round']}/{one['item']}" and stood(one, told, told + _MOMENT)):
                one["notes"] = [*one.get("notes", ()), note]


def stood(finding: Data, first: datetime, last: datetime) -> bool:
    """True if it was open at some time in between."""
    cured = finding.get("cured_at")
    return _moment(finding["opened_at"]) < last and (cured is None or _moment(cured) >= first)


def of_run(week: Week, run: Data) -> Week:
    """Reduce the week of a run to that run, and the findings of its round that were open while it ran."""
    begun, ended = _moment(run["started_at"]), _moment(run["finished_at"]) + _MOMENT
    findings = week.findings.items()
    mine = {id_: one for id_, one in findings if one["round"] == run["round"] and stood(one, begun, ended)}
    return Week(week.first, week.last, [run], [], mine, week.kept_from)


def links(runs: Sequence[Data]) -> list[bool | None]:
    """For each run: whether its digest matches its data, and its `previous` matches the run before.

    None: the run before is not included, so `previous` cannot be checked.
    """
    found: list[bool | None] = []
    before: dict[str, object] = {}
    for run in runs:
        name = str(run["round"])
        known = before.get(name)
        is_own = digest(run) == run.get("digest")
        found.append(None if is_own and known is None else is_own and run.get("previous") == known)
        before[name] = run.get("digest")
    return found


# ---- the sheet --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Heading:
    """The heading of the sheet. `names`: round -> its title."""

    site: str
    made: str
    names: Mapping[str, str]


def sheet(week: Week, heading: Heading, pictures: Mapping[str, bytes], trends: Mapping[str, Any]) -> str:
    """The sheet as HTML. `pictures`: id -> kept JPEG; `trends`: ROUND/ITEM -> recent values."""
    zone, days = week.first.tzinfo, week.days
    begin = (
        f"<h1>巡检周报 <small>Week of rounds</small></h1><p>{_e(heading.site)} · {days[0]} – {days[-1]}"
        f" · 生成 made {_e(heading.made)}</p><p class=notice>{_e(NOTICE[0])}<br>{_e(NOTICE[1])}</p>{_kept(week)}"
    )
    parts = [begin, *(_round(week, name, title, zone) for name, title in heading.names.items())]
    parts += [_missed(week, heading.names, zone), _findings(week, heading.names, pictures, zone)]
    parts += [_trends(trends, heading.names, week.last), _unproven(week), _digests(week), _SIGN]
    return page(f"巡检周报 {heading.site} {days[0]}", "".join(parts))


def page(title: str, body: str, style: str = "") -> str:
    """A complete HTML document without external resources."""
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    return (
        f"<!doctype html><html lang=zh><meta charset=utf-8><title>{_e(title)}</title>"
        f'<meta http-equiv=Content-Security-Policy content="{policy}">'
        f"<style>{_STYLE}{style}</style><body>{body}</body></html>\n"
    )


def _kept(week: Week) -> str:
    """What is not kept was not found well."""
    if week.is_whole:
        return ""
    since = None if week.kept_from is None else f"{week.kept_from.astimezone(week.first.tzinfo):%Y-%m-%d %H:%M}"
    told = f"仅保存 {since} 以后的记录 records are kept from {since} on" if since else "没有保存记录 no record is kept"
    return f"<p class=notice>{told}</p>"


def _round(week: Week, name: str, title: str, zone: tzinfo | None) -> str:
    runs = [run for run in week.runs if run["round"] == name]
    order = list(dict.fromkeys(str(item["item"]) for run in runs for item in run["items"]))
    by_day: dict[tuple[str, date], list[Data]] = {}
    for run in runs:
        day = _local(run.get("planned_at") or run["started_at"], zone).date()
        for item in run["items"]:
            by_day.setdefault((str(item["item"]), day), []).append(item)
    heads = "".join(f"<th class=day>{day:%m-%d}<br>{'一二三四五六日'[day.weekday()]}</th>" for day in week.days)
    lost = {_local(one["planned_at"], zone).date() for one in week.missed if one["round"] == name}
    rows = []
    for item in order:
        cells = "".join(_cell(by_day.get((item, day), []), missed=day in lost) for day in week.days)
        last = next(one for run in reversed(runs) for one in run["items"] if one["item"] == item)
        rows.append(f"<tr><td>{_what(last)}</td>{cells}<td>{_how(last)}</td><td>{_dealt(week, name, item)}</td></tr>")
    empty = "" if rows else f"<tr><td colspan={len(week.days) + 3}>本周没有完成的巡检 no finished run</td></tr>"
    return (
        f"<h2>{_e(title)} <small>{_e(name)}</small></h2><table><tr><th>巡查内容<br><small>item</small></th>{heads}"
        f"<th>巡查情况<br><small>found</small></th><th>处置情况<br><small>dealt with</small></th></tr>"
        f"{''.join(rows)}{empty}</table>"
    )


def _cell(items: Sequence[Data], *, missed: bool) -> str:
    """The results of all runs of a day, so that a good run hides neither an earlier bad one nor a missed one."""
    if not items:
        return '<td class=missed title="漏检 missed">漏</td>' if missed else "<td class=none>–</td>"
    marks = [_MARKS[str(item["outcome"])] for item in items]
    outcomes = {str(item["outcome"]) for item in items}
    worst = next(one for one in ("abnormal", "not-checkable", "normal") if one in outcomes)
    shown = [*(("漏", "漏检 missed"),) * missed, *marks]
    words = ", ".join(said for _, said in shown)
    return f'<td class="{worst}" title="{_e(words)}">{"".join(mark for mark, _ in shown)}</td>'


def _what(item: Data) -> str:
    _, _, target = str(item["item"]).partition(":")
    rule = f"<br><small>{_e(item['rule'])}</small>" if item.get("rule") and item["rule"] != target else ""
    return _named(item["item"]) + rule


def _named(id_: object) -> str:
    """The text of an item: its kind and target."""
    kind, _, target = str(id_).partition(":")
    return f"{_e(KINDS.get(kind, kind))} {_e(target)}"


def _how(item: Data) -> str:
    words = [_MARKS[str(item["outcome"])][1]]
    value = item.get("value")
    if value is not None and not isinstance(value, bool):  # a person's answer is the outcome itself
        words.append(f"{value} {item.get('unit') or _COUNTS.get(str(item.get('kind')), '')}".strip())
    if item.get("reason"):
        words.append(_reason(item["reason"]))
    evidence = item.get("evidence") or {}
    figures = evidence.get("figures") or {}
    if figures.get("reaches_from"):
        words.append(f"预计到限 reaches the limit {figures['reaches_from'][:10]} – {figures['reaches_until'][:10]}")
    if evidence.get("text"):
        words.append(str(evidence["text"]))
    if evidence.get("by"):
        words.append(f"{evidence['by']} · 到场 {_PLACE_TAGS.get(evidence.get('presence'), '无 none')}")
    return "<br>".join(map(_e, words))


def _dealt(week: Week, name: str, item: str) -> str:
    mine = [one for one in week.findings.values() if (one["round"], one["item"]) == (name, item)]
    return "<br>".join(_state(one, week.first.tzinfo) for one in mine) or "–"


def _state(finding: Data, zone: tzinfo | None) -> str:
    words = "已确认 acknowledged" if finding.get("acknowledged_at") else "未确认 open"
    words += " <b>超时 overdue</b>" if finding.get("overdue") else ""
    notes = [f"{_when(one['at'], zone)} {_e(one['by'])}: {_e(one['note'])}" for one in finding.get("notes") or ()]
    return "<br>".join(["已处置 cured" if finding.get("cured_at") else words, *notes])


def _missed(week: Week, names: Mapping[str, str], zone: tzinfo | None) -> str:
    rows = [
        f"<tr><td>{_e(names.get(str(one['round']), one['round']))}</td><td>{_when(one.get('planned_at'), zone)}</td>"
        f"<td>{_e('; '.join(_reason(item.get('reason')) for item in one.get('items') or ()))}</td></tr>"
        for one in week.missed
    ]
    if not rows:
        return "<h2>漏检 <small>missed runs</small></h2><p>无 none</p>"
    return (
        "<h2>漏检 <small>missed runs</small></h2><table><tr><th>巡检 round</th><th>计划时间 planned</th>"
        f"<th>原因 why</th></tr>{''.join(rows)}</table>"
    )


def _findings(week: Week, names: Mapping[str, str], pictures: Mapping[str, bytes], zone: tzinfo | None) -> str:
    if not week.findings:
        return "<h2>问题 <small>findings</small></h2><p>无 none</p>"
    rows = [
        f"<tr><td>{_e(names.get(str(one['round']), one['round']))}<br>{_named(one['item'])}</td>"
        f"<td>{_e(_reason(one.get('reason')))}<br>{_e(_CLASSES.get(str(one.get('class')), one.get('class')))}</td>"
        f"<td class=clocks>{_clocks(one, zone)}</td><td>{_state(one, zone)}</td>"
        f"<td>{_pictures(one, pictures) or '–'}</td></tr>"
        for one in week.findings.values()
    ]
    return (
        "<h2>问题 <small>findings</small></h2><table><tr><th>项目 item</th><th>原因 reason</th><th>时限 clocks</th>"
        f"<th>处置情况 state</th><th>图片 pictures</th></tr>{''.join(rows)}</table>"
    )


def _clocks(finding: Data, zone: tzinfo | None) -> str:
    told = (
        ("发现 opened", "opened_at"), ("响应 respond by", "respond_by"), ("解决 resolve by", "resolve_by"),
        (f"确认 {_e(finding.get('acknowledged_by'))}", "acknowledged_at"), ("恢复 cured", "cured_at"),
    )  # fmt: skip
    return "<br>".join(f"{words} {_when(finding[key], zone)}" for words, key in told if finding.get(key))


def _pictures(finding: Data, pictures: Mapping[str, bytes]) -> str:
    return "".join(
        f"<figure>{_image(pictures.get(id_))}<figcaption>{words}</figcaption></figure>"
        for key, words in _PICTURES.items()
        for id_ in finding.get(key) or ()
    )


def _image(jpeg: bytes | None) -> str:
    if jpeg is None:
        return "<em>不再保存 not kept any more</em>"
    return f'<img alt="" src="data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}">'


def _trends(trends: Mapping[str, Any], names: Mapping[str, str], last: datetime) -> str:
    until = last.timestamp()
    lines = [(key, [float(value) for at, value in values if at < until]) for key, values in trends.items()]
    figures = "".join(
        f"<figure>{_line(values)}<figcaption>{_trend_of(key, names)} {values[-1]:g}</figcaption></figure>"
        for key, values in lines
        if len(values) > 1
    )
    if not figures:
        return ""
    return f"<h2>趋势 <small>trends</small></h2>{figures}"


def _trend_of(key: str, names: Mapping[str, str]) -> str:
    round_, _, item = key.partition("/")
    return f"{_e(names.get(round_, round_))} · {_named(item)}"


def _line(values: Sequence[float]) -> str:
    low, high = min(values), max(values)
    span = (high - low) or 1.0
    step = 160 / (len(values) - 1)
    places = " ".join(
        f"{number * step:.1f},{44 - (value - low) * 40 / span:.1f}" for number, value in enumerate(values)
    )
    return (
        f'<svg viewBox="0 0 200 48"><polyline points="{places}" fill="none" stroke="#234"/>'
        f"<text x=163 y=10>{high:g}</text><text x=163 y=46>{low:g}</text></svg>"
    )


def _unproven(week: Week) -> str:
    last = {
        str(item["item"]): item for run in week.runs for item in run["items"] if item.get("kind") == "tested"
    }  # fmt: skip
    rows = [
        f"<li>{_e(item.partition(':')[2])}: {_e((data.get('evidence') or {}).get('text') or '–')}</li>"
        for item, data in last.items()
        if data["outcome"] != "normal"
    ]
    return f"<h2>未验证的探测器 <small>detectors not proven</small></h2><ul>{''.join(rows)}</ul>" if rows else ""


def _digests(week: Week) -> str:
    marks = {True: "✓", False: "断开 broken", None: "–"}
    rows = "".join(
        f"<tr><td>{_e(run['round'])}</td><td>{_e(run['run'])}</td><td><code>{_e(run.get('digest'))}</code></td>"
        f"<td>{marks[link]}</td></tr>"
        for run, link in zip(week.runs, links(week.runs), strict=True)
    )
    return (
        "<h2>校验 <small>digests</small></h2><table><tr><th>巡检</th><th>编号 run</th>"
        f"<th>SHA-256</th><th>链 chain</th></tr>{rows}</table><p><small>–：上一次巡检不在本表中，无法核对 "
        "the run before is not on this sheet, so it was not compared</small></p>"
    )


def _reason(reason: object) -> str:
    text = str(reason or "–")
    head = text.partition(":")[0]
    return f"{_REASONS[head]} {text}" if head in _REASONS else text


def _moment(text: object) -> datetime:
    return datetime.fromisoformat(str(text))


def _local(text: str, zone: tzinfo | None) -> datetime:
    return datetime.strptime(text[:19], "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC).astimezone(zone)


def _when(text: str | None, zone: tzinfo | None) -> str:
    return "–" if not text else f"{_local(text, zone):%m-%d %H:%M}"


def _e(text: object) -> str:
    return escape(str(text if text is not None else "–"))


_STYLE = (
    "@page{size:A4;margin:14mm}body{font:11px/1.4 'Noto Sans CJK SC','Microsoft YaHei',sans-serif;color:#111}"
    "h1{font-size:18px}h2{font-size:14px;margin:14px 0 4px;break-after:avoid}small{color:#555;font-weight:normal}"
    "table{border-collapse:collapse;width:100%}th,td{border:1px solid #888;padding:2px 4px;vertical-align:top;"
    "text-align:left;overflow-wrap:anywhere}tr{break-inside:avoid}td.normal{color:#060;text-align:center}"
    "td.abnormal{background:#fdd;text-align:center;font-weight:bold}td.not-checkable{background:#ffd;text-align:center}"
    "td.none,td.missed{text-align:center;color:#888}.notice{border:1px solid #888;padding:4px}"
    "td.clocks,th.day{white-space:nowrap}figure{display:inline-block;margin:4px}"
    "img{max-width:44mm;max-height:33mm}svg{width:60mm;height:14mm}svg text{font-size:9px}code{font-size:9px}"
    ".sign{margin-top:8mm}.sign td{height:16mm;width:34%}.sign td:nth-child(even){width:16%}"
)
_SIGN = (
    "<table class=sign><tr><td>巡查人员 <small>patrolled by</small></td><td>日期 <small>date</small></td>"
    "<td>主管人员 <small>responsible</small></td><td>日期 <small>date</small></td></tr></table>"
)


class Card(NamedTuple):
    """The card at a place."""

    id: str
    name: str
    tag: str | None
    """How being there is proven: `printed`, `ntag424`."""
    code: str | None
    """The printed code."""
    asked: Sequence[str]


# ---- places -----------------------------------------------------------------------------------------


def places_sheet(places: Sequence[Card], site: str) -> str:
    """A card for each place, to hang there."""
    from gateway.technician.page_link import as_svg

    cards = "".join(
        f"<section><h1>{_e(name)}</h1><p>{_e(site)} · {_e(id_)}</p><p>到场凭证 presence: {_PLACE_TAGS[tag]}</p>"
        + (f"<div class=code>{as_svg(code)}<p>{_e(code)}</p></div>" if code else "")
        + f"<ol>{''.join(f'<li>{_e(text)}</li>' for text in asked)}</ol></section>"
        for id_, name, tag, code, asked in places
    )
    style = (
        "section{break-after:page;border:2px solid #111;padding:10mm}.code{font:20px monospace}"
        ".code svg{width:50mm;height:50mm}"
    )
    return page(f"巡检地点 {site}", cards, style)

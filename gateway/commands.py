"""Every command, declared once: arguments, who may ask, its life, its result. Pure.

The verification of signed commands, the check of arguments, the site's dispatch, `site-gateway do`, the values of a
key's `allow`, the schemas of the MQTT contract and the tables of docs/mqtt.md are derived from here. A new command
needs an entry in `COMMANDS` and its behaviour: in the site (`gateway/site`) or, with `outside=True`, in the daemon
(`gateway/runtime/effects.py`). Only the form of arguments is checked here; the site checks whether a gate or an alarm
of that name exists. Checked arguments are flat, limited in size and can be written as JSON again.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from gateway.arguments import (
    MAX_ENTRIES,
    MAX_ITEM,
    MAX_NOTE,
    MAX_PARTS,
    MAX_PHOTO_BYTES,
    MAX_PLATE,
    Anything,
    Args,
    Count,
    Duration,
    Field,
    Fields,
    FileText,
    Flag,
    Kind,
    Like,
    Many,
    Name,
    PointValue,
    Record,
    Sequence,
    Text,
    Version,
    Words,
    check_fields,
    maybe,
    number,
)
from gateway.kinds import ROLES, Role
from gateway.model import DAY_S, HOUR_S, Stream

GRANTS: Final = ("fire.reset", "fire.release")
"""Not commands: further values of a key's `allow`, which extend `alarm.reset` and `gate.release` to fires."""

LIFE_MOVING_S: Final = 120.0
TRIAL_S: Final = 300.0
"""The trial of `config.apply` without `trial`."""


def _nothing(_args: Any) -> None:
    """The default: no rule for several arguments together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandType:
    """The declaration of one command."""

    zh: str
    """Its name for people on site."""
    does: str
    """Its effect in one line, for docs/mqtt.md and for lists of commands."""
    notes: str = ""
    """Notes about its arguments in docs/mqtt.md."""
    args: Fields = field(default_factory=dict)
    result: Fields = field(default_factory=dict)
    result_notes: str = ""
    from_afar: bool = True
    """A signed command may ask for it; if false, only people on site."""
    by_default: bool = False
    """A key without `allow` may ask for it."""
    role: Role = "technician"
    """The lowest role that may ask for it on site."""
    offered: bool = True
    """It is shown to people on site; if false, it is another name, or a part of something else."""
    moves: bool = False
    """It is short-lived, and needs a nonce while the clock is unsynced."""
    urgent: bool = False
    """It has its own share of remembered commands, so that other commands of the same key never block it."""
    remembered_for_a_day: bool = False
    """Remembered even after it has expired; if false, until `exp` plus the leeway."""
    outside: bool = False
    """It is carried out outside the site; if false, the site itself carries it out."""
    needs_cameras: bool = False
    """A site without cameras does not know it."""
    needs_quiet: bool = False
    """It is refused while a fire stands or a gate is held."""
    tells_once: bool = False
    """A repeat gets `ok` without the result, so that the result is not stored."""
    hides_args: bool = False
    """The audit keeps no argument."""
    other_forms: Callable[[dict[str, Any]], None] = _nothing
    """Renames, in place, alternative forms of arguments in signed commands."""
    together: Callable[[Args], None] = _nothing
    """Rules of several arguments. Raises ValueError."""

    @property
    def life_s(self) -> float:
        """Seconds that `exp` may lie after `iat`."""
        return LIFE_MOVING_S if self.moves else HOUR_S

    def arguments(self, *, on_site: bool) -> Fields:
        """The arguments for people on site, or for signed commands."""
        return {name: one for name, one in self.args.items() if on_site or not one.on_site}

    def check(self, args: Args, *, on_site: bool = False, entries: bool = True) -> None:
        """Check arguments; without `entries`, only the length of lists. Raises ValueError, saying which one and why."""
        check_fields(args, self.arguments(on_site=on_site), entries=entries)
        self.together(args)

    def plain(self, args: Args) -> dict[str, Any]:
        """The arguments with alternative forms renamed; everything else unchanged."""
        made = {name: value for name, value in args.items() if value is not None}
        self.other_forms(made)
        return made

    def may_on_site(self, role: str) -> bool:
        """True if people of this role may ask for it."""
        return role in ROLES and ROLES.index(role) >= ROLES.index(self.role)


def _first_before_last(args: Args) -> None:
    if number(args["first"]) > number(args["last"]):
        raise ValueError("first: found a number after `last`; first <= last")


def _parts_fit(args: Args) -> None:
    put, drop, part, parts = (args.get(name) for name in ("put", "drop", "part", "parts"))
    if sum(len(entries) for entries in (put, drop) if isinstance(entries, list)) > MAX_ENTRIES:
        text = f"found more than {MAX_ENTRIES} entries; so many a command, the rest in further parts"
        raise ValueError(f"put, drop: {text}")
    if (part is None) != (parts is None) or (isinstance(part, int) and isinstance(parts, int) and part > parts):
        raise ValueError("part, parts: both or neither, part <= parts")


def _point_in_one(args: dict[str, Any]) -> None:
    if isinstance(device := args.get("device"), str):
        point = args.get("point")
        if point is None or isinstance(point, str):
            del args["device"]
            args["point"] = device if point is None else f"{device}.{point}"


def _note_as_cause(args: dict[str, Any]) -> None:
    if "cause" not in args and "note" in args:
        args["cause"] = args.pop("note")


def _text_as_file(args: dict[str, Any]) -> None:
    named = [name for name in ("text", "site") if name in args]
    if "file" not in args and len(named) == 1:
        args["file"] = args.pop(named[0])


def _full_as_put(args: dict[str, Any]) -> None:
    if isinstance(args.get("full"), list) and "put" not in args:
        args["put"], args["full"] = args["full"], True
    if isinstance(put := args.get("put"), list):
        args["put"] = [_with_gates_apart(entry) for entry in put[: MAX_ENTRIES + 1]]


def _with_gates_apart(entry: object) -> object:
    """Gates as in a CSV file: names with blanks between."""
    if isinstance(entry, dict) and isinstance(gates := entry.get("gates"), str) and gates.strip():
        return {**entry, "gates": gates.split()}
    return entry


# ---- the table ------------------------------------------------------------------------------------

_NOTE = Text(MAX_NOTE, 0)
_A_NOTE = maybe(_NOTE, "备注")
_REASON = maybe(_NOTE, "原因")
_GATE = Field(Name(of="gates"), "道闸")
_ZONE = Field(Name(of="zones"), "区域")
_DEVICE = Field(Name(of="devices"), "设备")
_CAMERA = Field(Name(of="cameras"), "摄像机")
_ROUND = Field(Name(of="inspection"), "巡检")
_PLATE = Field(Text(MAX_PLATE), "车牌")
_ALARM = Field(Name(), "报警", "The occurrence; or its subject, such as `smoke-3-2f/smoke/fire`, while it stands")
_STREAM = Words(tuple(stream.value for stream in Stream))
_SAID = Anything("text")
_OF_GATE = {"gate": Field(_SAID)}
_MOVED = {name: Field(Like("gate", name)) for name in ("commanded", "actual", "verified")}
_UNTIL = {"until": Field(Anything("moment"), says="When it ends by itself; `for: 0s`: no result")}
_STANDS = {"alarm": Field(_SAID, says="The occurrence"), "state": Field(Like("alarm", "state"))}
_OUTCOME = Words(("normal", "abnormal", "not-checkable"))
_ENTRY = Record(
    {
        "plate": Field(Text(MAX_PLATE)),
        "kind": Field(Words(("resident", "visitor", "staff", "service", "blocked"))),
        "from": maybe(Text(40), says="A local date, or RFC 3339"),
        "until": maybe(Text(40), says="A local date (its end), or RFC 3339"),
        "gates": maybe(Many(Name()), says="null: every gate"),
        "note": maybe(_NOTE),
    }
)
_OBJECTS = Anything("objects")

COMMANDS: Final[Mapping[str, CommandType]] = {
    "gate.open": CommandType(
        zh="开闸一次",
        does="one opening",
        args={"gate": _GATE, "reason": _REASON, "passage": maybe(Name(), "通行记录", on_site=True)},
        result={**_OF_GATE, "decision": Field(Words(("opened", "joined", "held-open"))), **_MOVED},
        result_notes="; `decision`: `opened`, `joined` (an opening under way), `held-open`",
        by_default=True,
        role="guard",
        moves=True,
        urgent=True,
        remembered_for_a_day=True,
    ),
    "gate.hold": CommandType(
        zh="保持开启",
        does="holds the gate open for this key",
        args={"gate": _GATE, "reason": _REASON},
        result={**_OF_GATE, "decision": Field(Words(("opened", "held-open"))), **_MOVED},
        by_default=True,
        role="guard",
        moves=True,
        urgent=True,
        remembered_for_a_day=True,
    ),
    "gate.release": CommandType(
        zh="结束保持开启",
        does="ends what this key holds, never what another or a fire holds",
        args={
            "gate": _GATE,
            "reason": _REASON,
            "cause": maybe(Words(("command", "page")), "保持开启的来源", on_site=True),
        },
        result={**_OF_GATE, **_MOVED},
        by_default=True,
        role="guard",
        moves=True,
        urgent=True,
        remembered_for_a_day=True,
    ),
    "fire.confirm": CommandType(
        zh="确认火警",
        does="a person has seen the fire: linkage starts",
        args={"zone": _ZONE, "note": _A_NOTE},
        result={"zone": Field(_SAID)},
        by_default=True,
        role="guard",
        moves=True,
        urgent=True,
        remembered_for_a_day=True,
    ),
    "alarm.acknowledge": CommandType(
        zh="知晓报警",
        does="somebody has seen the alarm",
        args={"alarm": _ALARM, "note": _A_NOTE},
        result=_STANDS,
        by_default=True,
        role="guard",
    ),
    "alarm.verify": CommandType(
        zh="核实报警",
        does="says what the alarm turned out to be",
        notes="`result` is real, false, test or unknown; also `note` for `cause`",
        args={
            "alarm": _ALARM,
            "result": Field(Words(("real", "false", "test", "unknown")), "核实结果"),
            "cause": maybe(_NOTE, "原因"),
        },
        result=_STANDS,
        by_default=True,
        role="guard",
        other_forms=_note_as_cause,
    ),
    "alarm.reset": CommandType(
        zh="复位报警",
        does="ends a latched alarm whose condition is gone",
        args={"alarm": _ALARM, "note": _A_NOTE},
        result={"disabled": maybe(_SAID, says="The device, which was silent: reset on site with a note")},
        result_notes=": a silent device, taken out of linkage for 12h",
        by_default=True,
        role="guard",
    ),
    "alarm.shelve": CommandType(
        zh="暂不提醒",
        does="stops reminding people for a while, nothing else",
        notes="`device` is `device`, `device.point` or `device.point.alarm`; `for` at most 24h, `0s` ends it",
        args={
            "device": Field(Name(of="devices"), "设备", "`device`, `device.point` or `device.point.alarm`"),
            "for": Field(Duration(0.0, DAY_S, "24h at most; 0s ends it"), "时长", "At most 24h; 0s ends it"),
            "note": _A_NOTE,
        },
        result={**_UNTIL, "alarms": Field(Count(), says="So many that stand")},
        by_default=True,
        role="guard",
        remembered_for_a_day=True,
    ),
    "device.disable": CommandType(
        zh="停用设备",
        does="takes the device out of linkage",
        notes="`for` at most 12h",
        args={
            "device": _DEVICE,
            "for": Field(Duration(0.001, 12 * HOUR_S, "more than nothing, 12h at most"), "时长", "At most 12h"),
            "reason": _REASON,
        },
        result=_UNTIL,
        remembered_for_a_day=True,
    ),
    "device.enable": CommandType(
        zh="恢复设备",
        does="ends what `device.disable` began",
        args={
            "device": _DEVICE,
            "for": maybe(Duration(0.0, 12 * HOUR_S, "12h at most"), "时长"),
            "reason": _REASON,
        },
    ),
    "zone.test": CommandType(
        zh="区域测试",
        does="alarms of the zone carry `test: true` and trigger nothing",
        notes="`for` at most 4h; `0s` ends it",
        args={
            "zone": _ZONE,
            "for": Field(Duration(0.0, 4 * HOUR_S, "4h at most; 0s ends it"), "时长", "At most 4h; 0s ends it"),
            "note": _A_NOTE,
        },
        result=_UNTIL,
        remembered_for_a_day=True,
    ),
    "read": CommandType(
        zh="读取设备",
        does="reads the device now",
        notes="also `device: d.point`",
        args={"device": Field(Name(of="devices"), "设备", "`device` or `device.point`"), "point": maybe(Name(), "点")},
        result={"device": Field(_SAID), "readings": Field(Anything("readings"), says="By point")},
        result_notes=": as in telemetry, by point",
        by_default=True,
        role="guard",
    ),
    "write": CommandType(
        zh="写入",
        does="writes a point that nothing of the site uses, and reads it back",
        notes="`point` is `d.point`; also `device: d.point`, or `device` and `point` apart",
        args={"point": Field(Name(), "点", "`device.point`"), "value": Field(PointValue(), "值")},
        result={"point": Field(_SAID), "value": Field(Anything("value"), says="Read back")},
        moves=True,
        remembered_for_a_day=True,
        other_forms=_point_in_one,
    ),
    "picture": CommandType(
        zh="抓拍",
        does="takes a picture",
        args={"camera": _CAMERA},
        result={"picture": Field(_SAID, says="The `id` of the `picture.taken` that comes")},
        result_notes=": the `id` of the `picture.taken` that comes",
        by_default=True,
        outside=True,
        needs_cameras=True,
    ),
    "inspection.run": CommandType(
        zh="立即巡检",
        does="begins the round now",
        notes="`interlocked` while a fire stands or it runs already",
        args={"round": _ROUND},
        result={"run": Field(_SAID, says="The run that began")},
        by_default=True,
        role="steward",
    ),
    "inspection.cancel": CommandType(
        zh="取消巡检",
        does="ends the round that runs",
        notes="items that were not looked at are *not-checkable, cancelled*",
        args={"round": _ROUND},
        by_default=True,
        role="steward",
    ),
    "inspection.answer": CommandType(
        zh="巡检应答",
        does="answers an item that asks a person, once",
        notes="`photo`: JPEG, base64, 96 KiB of picture at most; needed where the item wants one",
        args={
            "run": Field(Name(), "巡检编号", "`run` of `inspection.started`"),
            "item": Field(Text(MAX_ITEM), "项目", "Such as `person:…`"),
            "ok": Field(Flag(), "正常", "It is as it should be"),
            "note": _A_NOTE,
            "photo": maybe(Text(MAX_PHOTO_BYTES), "照片", "JPEG, base64"),
            "place": maybe(Name(of="places"), "地点", "Where it was answered"),
            "tag": maybe(Text(MAX_NOTE), "标签", "What the place's tag gave: a printed code, the URL of an NTAG 424"),
        },
        result={"outcome": maybe(_OUTCOME, says="null: a watched point has not shown its value yet")},
        result_notes=": null while a watched point has not shown its value yet",
        by_default=True,
        role="guard",
    ),
    "finding.acknowledge": CommandType(
        zh="确认问题",
        does="says that a person has seen a finding, and how severe it is",
        notes="`finding`: its id, or `ROUND/ITEM` while it is open; `class` is ordinary, complex or major",
        args={
            "finding": Field(Text(MAX_ITEM), "问题"),
            "class": maybe(Words(("ordinary", "complex", "major")), "分类"),
            "note": _A_NOTE,
        },
        by_default=True,
        role="guard",
    ),
    "access.update": CommandType(
        zh="更新名单",
        does="changes a list of plates; in force once its last part is there",
        notes="`put`: entries `plate`, `kind`, `from`, `until`, `gates`, `note`; `gates` is a list, or names with"
        " blanks between. `full: true` makes `put` the whole list; also `full: [entries]`",
        args={
            "list": Field(Name(), "名单"),
            "base": maybe(Version(), "原版本", "The version that this changes"),
            "version": Field(Version(), "版本"),
            "put": maybe(Many(_ENTRY), "新增"),
            "drop": maybe(Many(Text(MAX_PLATE)), "删除"),
            "full": maybe(Flag(), "完整名单", "The parts are the whole list"),
            "part": maybe(Count(MAX_PARTS, 1), "第几部分"),
            "parts": maybe(Count(MAX_PARTS, 1), "共几部分"),
        },
        result={
            "list": Field(_SAID),
            "version": Field(Anything("version")),
            "lines": maybe(Count(), says="In the list that is now in force"),
            "missing": maybe(Count(least=1), says="Parts that have still to come; nothing has changed yet"),
        },
        result_notes=": `lines` of the list in force, or how many parts are `missing`",
        by_default=True,
        other_forms=_full_as_put,
        together=_parts_fit,
    ),
    "access.forget": CommandType(
        zh="删除车牌的全部记录",
        does="erases the plate from lists, events and pictures",
        args={"plate": _PLATE},
        result={
            "lists": Field(Anything("texts"), says="From which it was taken"),
            "csv": Field(Anything("texts"), says="Files of people that still contain it"),
            "events": Field(Count(), says="In which it was blanked"),
            "pictures": Field(Count(), says="That were erased"),
        },
        result_notes="; `csv`: files of people that still contain it",
        hides_args=True,
    ),
    "access.export": CommandType(
        zh="导出车牌的全部记录",
        does="all that is kept of the plate; a repeat does not get it again",
        args={"plate": _PLATE},
        result={
            "plate": Field(_SAID),
            "lists": Field(_OBJECTS, says="Its line in each list"),
            "inside": maybe(Anything("object"), says="`kind`, `since`"),
            "recent": Field(_OBJECTS, says="`camera`, `at` (seconds since 1970), `late`"),
            "events": Field(_OBJECTS, says="`type`, `time`, `data` of the kept events that name it"),
            "more": Field(Count(), says="Events left out, the oldest"),
        },
        role="steward",
        tells_once=True,
    ),
    "access.presence": CommandType(
        zh="更正在场状态",
        does="corrects whether a car is inside",
        notes="`inside` is true or false",
        args={"plate": _PLATE, "inside": Field(Flag(), "在场")},
        result={"inside": Field(Flag())},
        by_default=True,
        role="steward",
    ),
    "panel.duty": CommandType(
        zh="查岗",
        does="asks whether somebody is at the panel",
        notes="answered `unknown`: this version does not do it; `within` at most 24h",
        args={
            "device": _DEVICE,
            "within": Field(Duration(0.001, DAY_S, "more than nothing, 24h at most"), "应答时限"),
        },
        by_default=True,
    ),
    "events.replay": CommandType(
        zh="重发事件",
        does="sends kept events once more",
        notes="`first` and `last` are sequence numbers, as numbers or text",
        args={
            "stream": Field(_STREAM, "事件流"),
            "first": Field(Sequence(), "起始序号"),
            "last": Field(Sequence(), "结束序号"),
        },
        result={
            "stream": Field(_STREAM),
            "first": Field(Count()),
            "last": Field(Count(), says="What is kept of it"),
        },
        result_notes=": what is kept of it; it follows in its stream",
        by_default=True,
        outside=True,
        together=_first_before_last,
    ),
    "config.get": CommandType(
        zh="读取配置",
        does="the site file in force",
        result={
            "file": Field(_SAID, says="The site file's text"),
            "digest": Field(_SAID, says="Of it, SHA-256"),
        },
        by_default=True,
        outside=True,
    ),
    "config.apply": CommandType(
        zh="更换配置",
        does="runs another site file, on trial first",
        notes="`file` is the text of the site file, 128 KiB at most; also as `text` or `site`; `trial` 10s-1h, 5m"
        " if left out. `not-allowed` where `site.id`, `gateway`, `simulated`, `uplink`, `commands`, `http`, `people`,"
        " `store`, any file or secret that is named, or the host, port, URL, user or driver of an entry with a secret"
        " would change",
        args={
            "file": Field(FileText(), "配置文件", "The site file's text, at most 128 KiB"),
            "trial": maybe(Duration(10.0, HOUR_S, "10s to 1h"), "试运行时长"),
        },
        result={
            "digest": Field(_SAID, says="Of the new site file"),
            "previous": maybe(_SAID, says="Of the previous file"),
            "changed": Field(Flag(), says="false: this file runs already"),
            "trial": maybe(Anything("number"), says="Seconds after which the previous file comes back"),
        },
        result_notes=": seconds until the previous file comes back",
        outside=True,
        needs_quiet=True,
        other_forms=_text_as_file,
    ),
    "alarm.silence": CommandType(
        zh="消音", does="stops the sound, nothing else", from_afar=False, role="guard"
    ),
    "silence": CommandType(
        zh="消音", does="as `alarm.silence`", from_afar=False, offered=False, role="guard"
    ),
    "access.show": CommandType(
        zh="查询车牌",
        does="what is kept of a plate, and the decision it would get now",
        args={"plate": _PLATE, "gate": maybe(Name(of="gates"), "道闸")},
        from_afar=False,
        role="steward",
    ),
    "access.who": CommandType(
        zh="在场车辆", does="the cars inside, newest first", from_afar=False, role="steward"
    ),
    "page.code": CommandType(
        zh="凭码登录本地页面",
        does="logs somebody in on the page by a code of the box",
        from_afar=False,
        offered=False,
        role="technician",
    ),
    "access.viewed": CommandType(
        zh="查看通行记录",
        does="somebody looks at a plate or a picture on the page",
        args={
            "what": Field(Words(("plate", "picture")), "内容"),
            "passage": maybe(Name(), "通行记录"),
            "picture": maybe(Name(), "图片"),
        },
        from_afar=False,
        offered=False,
        role="guard",
    ),
    "camera.last": CommandType(
        zh="查看无法识别的推送",
        does="the last push of a camera that could not be read is looked at",
        args={"camera": _CAMERA},
        from_afar=False,
        offered=False,
    ),
}  # fmt: skip
"""By name, in the order of docs/mqtt.md."""

FROM_AFAR: Final[Mapping[str, CommandType]] = {name: one for name, one in COMMANDS.items() if one.from_afar}
"""What a signed command can ask for."""
OFFERED: Final = tuple(sorted(name for name, one in COMMANDS.items() if one.offered))
"""What `site-gateway do` names."""


def usage(name: str) -> str:
    """How people on site ask for it: `gate.open gate=NAME [reason=TEXT]`."""
    words = [name]
    for key, one in COMMANDS[name].arguments(on_site=False).items():
        shown = f"{key}={_placeholder(one.kind)}"
        words.append(shown if one.needed else f"[{shown}]")
    return " ".join(words)


def _placeholder(kind: Kind) -> str:
    match kind:
        case Words(words):
            return "|".join(words)
        case Duration():
            return "30m"
        case Flag():
            return "true|false"
        case Text(most) if most == MAX_NOTE:
            return "TEXT"
        case FileText():
            return "TEXT"
    return "NAME"

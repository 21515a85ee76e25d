"""What each command may be given: names, kinds and limits of its arguments (page "MQTT contract"). Pure.

Only the form is looked at here; whether a gate, zone or alarm of that name exists the site knows. What has
passed is flat, bounded and can be said in JSON again.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from gateway.model import Stream

MAX_SITE_FILE = 128 << 10
"""Bytes of a site file that comes as a command."""
TRIAL = 300.0
"""Seconds of `config.apply` without `trial`."""

_HOUR = 3600.0
_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": _HOUR, "d": 86400.0}
_NAME = 200
_NOTE = 1000
_PLATE = 32
_ENTRIES = 2000
_PARTS = 10_000
_LARGEST = (1 << 63) - 1

Check = Callable[[object], None]
"""Raises ValueError with what is allowed."""


class _Argument(NamedTuple):
    check: Check
    needed: bool = True


_Shape = Mapping[str, _Argument]


def check(cmd: str, args: Mapping[str, object]) -> None:
    """Check the arguments of a known command. Raises ValueError: which one, and what is allowed."""
    _record(args, SHAPES[cmd])
    if cmd == "events.replay" and number(args["first"]) > number(args["last"]):
        raise ValueError("first: found a number after `last`; first <= last")
    if cmd == "access.update":
        _check_parts(args)


def plain(cmd: str, args: Mapping[str, object]) -> dict[str, Any]:
    """The arguments under the names of the table, where another form says the same; anything else as it is."""
    made: dict[str, Any] = {name: value for name, value in args.items() if value is not None}
    if cmd == "write" and isinstance(device := made.get("device"), str):
        point = made.get("point")
        if point is None or isinstance(point, str):
            del made["device"]
            made["point"] = device if point is None else f"{device}.{point}"
    elif cmd == "config.apply" and "file" not in made:
        named = [name for name in ("text", "site") if name in made]
        if len(named) == 1:
            made["file"] = made.pop(named[0])
    elif cmd == "alarm.verify" and "cause" not in made and "note" in made:
        made["cause"] = made.pop("note")
    elif cmd == "access.update":
        if isinstance(made.get("full"), list) and "put" not in made:
            made["put"], made["full"] = made["full"], True
        if isinstance(put := made.get("put"), list):
            made["put"] = [_plain_entry(entry) for entry in put[: _ENTRIES + 1]]
    return made


def _plain_entry(entry: object) -> object:
    """Gates as in a CSV file: names with blanks between."""
    if isinstance(entry, dict) and isinstance(gates := entry.get("gates"), str) and gates.strip():
        return {**entry, "gates": gates.split()}
    return entry


def seconds(text: object) -> float:
    """Seconds of `250ms`, `2s`, `5m`, `12h`, `7d`, as in the site file. Raises ValueError."""
    if isinstance(text, str) and (match := _DURATION.fullmatch(text)):
        return float(match[1]) * _SECONDS[match[2]]
    raise ValueError("a duration with its unit: 250ms, 2s, 5m, 12h, 7d")


def number(value: object) -> int:
    """A sequence number, also as the 20 digits of an event. Raises ValueError."""
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,20}", value, re.ASCII):
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= _LARGEST:
        return value
    raise ValueError("a sequence number from 1 on, as a number or as text of at most 20 digits")


def _record(args: Mapping[str, object], shape: _Shape) -> None:
    """Exactly these keys; one that is not needed may be left out or null."""
    for name in args:
        if name not in shape:
            raise ValueError(f"{name[:60]!r}: found an argument that is not known; {', '.join(shape) or 'none'}")
    for name, (rule, needed) in shape.items():
        value = args.get(name)
        if value is None:
            if needed:
                raise ValueError(f"{name}: is missing")
            continue
        try:
            rule(value)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error


# ---- kinds of values ------------------------------------------------------------------------------


def _text(longest: int, shortest: int = 1) -> Check:
    def rule(value: object) -> None:
        if not isinstance(value, str) or not shortest <= len(value) <= longest:
            raise ValueError(f"text of {shortest}-{longest} characters")

    return rule


def _word(*words: str) -> Check:
    def rule(value: object) -> None:
        if not isinstance(value, str) or value not in words:
            raise ValueError(f"one of {', '.join(words)}")

    return rule


def _duration(least: float, most: float, words: str) -> Check:
    def rule(value: object) -> None:
        if not least <= seconds(value) <= most:
            raise ValueError(words)

    return rule


def _sequence(value: object) -> None:
    number(value)


def _flag(value: object) -> None:
    if not isinstance(value, bool):
        raise ValueError("true or false")  # noqa: TRY004 - a wrong argument, not a wrong call


def _count(most: int) -> Check:
    def rule(value: object) -> None:
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
            raise ValueError(f"a whole number, 1-{most}")

    return rule


def _version(value: object) -> None:
    if isinstance(value, str) and 1 <= len(value) <= _NAME:
        return
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _LARGEST:
        raise ValueError("a whole number, or text")


def _value(value: object) -> None:
    """What a point can be given: JSON has no NaN, a journal no number beyond 64 bits."""
    if isinstance(value, str) and len(value) <= _NAME:
        return
    if not isinstance(value, bool | int | float) or not abs(value) <= _LARGEST:
        raise ValueError("true, false, a number of 64 bits, or a word")


def _site_file(value: object) -> None:
    if not isinstance(value, str) or not value or len(value.encode()) > MAX_SITE_FILE:
        raise ValueError("the text of a site file, 128 KiB at most")


def _many(rule: Check) -> Check:
    def check_each(value: object) -> None:
        if not isinstance(value, list) or len(value) > _ENTRIES:
            raise ValueError(f"a list of at most {_ENTRIES}")
        for place, item in enumerate(value):
            try:
                rule(item)
            except ValueError as error:
                raise ValueError(f"[{place}] {error}") from error

    return check_each


def _entry(value: object) -> None:
    if not isinstance(value, dict):
        raise ValueError("plate, kind, from, until, gates, note")  # noqa: TRY004 - as above
    _record(value, _ENTRY)


def _check_parts(args: Mapping[str, object]) -> None:
    put, drop, part, parts = (args.get(name) for name in ("put", "drop", "part", "parts"))
    if sum(len(one) for one in (put, drop) if isinstance(one, list)) > _ENTRIES:
        raise ValueError(f"put, drop: found more than {_ENTRIES} entries; so many a command, the rest in further parts")
    if (part is None) != (parts is None) or (isinstance(part, int) and isinstance(parts, int) and part > parts):
        raise ValueError("part, parts: both or neither, part <= parts")


# ---- the table ------------------------------------------------------------------------------------

_NAMED = _Argument(_text(_NAME))
_SAID = _Argument(_text(_NOTE, 0), needed=False)
_GATE = {"gate": _NAMED, "reason": _SAID}
_DEVICE = {"device": _NAMED, "reason": _SAID}
_ALARM = {"alarm": _NAMED, "note": _SAID}
_OUTAGE = _duration(0.001, 12 * _HOUR, "more than nothing, 12h at most")

_ENTRY: _Shape = {
    "plate": _Argument(_text(_PLATE)),
    "kind": _Argument(_word("resident", "visitor", "staff", "service", "blocked")),
    "from": _Argument(_text(40), needed=False),
    "until": _Argument(_text(40), needed=False),
    "gates": _Argument(_many(_text(_NAME)), needed=False),
    "note": _SAID,
}

SHAPES: Mapping[str, _Shape] = {
    "gate.open": _GATE,
    "gate.hold": _GATE,
    "gate.release": _GATE,
    "fire.confirm": {"zone": _NAMED, "note": _SAID},
    "alarm.acknowledge": _ALARM,
    "alarm.verify": {
        "alarm": _NAMED,
        "result": _Argument(_word("real", "false", "test", "unknown")),
        "cause": _SAID,
    },
    "alarm.reset": _ALARM,
    "alarm.shelve": {
        "device": _NAMED,
        "for": _Argument(_duration(0.0, 24 * _HOUR, "24h at most; 0s ends it")),
        "note": _SAID,
    },
    "device.disable": {**_DEVICE, "for": _Argument(_OUTAGE)},
    "device.enable": {**_DEVICE, "for": _Argument(_duration(0.0, 12 * _HOUR, "12h at most"), needed=False)},
    "zone.test": {
        "zone": _NAMED,
        "for": _Argument(_duration(0.0, 4 * _HOUR, "4h at most; 0s ends it")),
        "note": _SAID,
    },
    "read": {"device": _NAMED, "point": _Argument(_text(_NAME), needed=False)},
    "write": {"point": _NAMED, "value": _Argument(_value)},
    "picture": {"camera": _NAMED},
    "inspection.run": {"round": _NAMED},
    "inspection.cancel": {"round": _NAMED},
    "access.update": {
        "list": _NAMED,
        "base": _Argument(_version, needed=False),
        "version": _Argument(_version),
        "put": _Argument(_many(_entry), needed=False),
        "drop": _Argument(_many(_text(_PLATE)), needed=False),
        "full": _Argument(_flag, needed=False),
        "part": _Argument(_count(_PARTS), needed=False),
        "parts": _Argument(_count(_PARTS), needed=False),
    },
    "access.forget": {"plate": _Argument(_text(_PLATE))},
    "access.export": {"plate": _Argument(_text(_PLATE))},
    "access.presence": {"plate": _Argument(_text(_PLATE)), "inside": _Argument(_flag)},
    "panel.duty": {
        "device": _NAMED,
        "within": _Argument(_duration(0.001, 24 * _HOUR, "more than nothing, 24h at most")),
    },
    "events.replay": {
        "stream": _Argument(_word(*(stream.value for stream in Stream))),
        "first": _Argument(_sequence),
        "last": _Argument(_sequence),
    },
    "config.get": {},
    "config.apply": {
        "file": _Argument(_site_file),
        "trial": _Argument(_duration(10.0, _HOUR, "10s to 1h"), needed=False),
    },
}
"""Every command with its arguments."""

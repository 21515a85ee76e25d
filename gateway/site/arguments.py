"""The arguments of the commands that the site carries out; every one is hostile until it was looked at here."""

import math
import re
from collections.abc import Callable, Mapping

from gateway.masks import masked, without_plates
from gateway.model import Json

Args = Mapping[str, Json]

_LONGEST_NAME = 200
_LONGEST_NOTE = 2000
_LONGEST_PLATE = 32
_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ms|s|m|h|d)", re.ASCII)
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_HOUR = 3600.0


def _name(value: Json) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _LONGEST_NAME


def _note(value: Json) -> bool:
    return value is None or (isinstance(value, str) and len(value) <= _LONGEST_NOTE)


def _value(value: Json) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, bool | int) or (isinstance(value, str) and len(value) <= _LONGEST_NAME)


def _span(longest: float, *, zero: bool) -> Callable[[Json], bool]:
    def check(value: Json) -> bool:
        length = seconds(value)
        return length is not None and length <= longest and (zero or length > 0)

    return check


def _maybe(check: Callable[[Json], bool]) -> Callable[[Json], bool]:
    return lambda value: value is None or check(value)


def _words(*words: str) -> Callable[[Json], bool]:
    return lambda value: value in words


def _flag(value: Json) -> bool:
    return isinstance(value, bool)


def _any(_value: Json) -> bool:
    """Whoever carries it out looks at it."""
    return True


_GATE = {"gate": _name, "reason": _note}
_PLATE = {"plate": _name}
_SPEC: Mapping[str, Mapping[str, Callable[[Json], bool]]] = {
    "gate.open": {**_GATE, "passage": _maybe(_name)},
    "gate.hold": _GATE,
    "gate.release": {**_GATE, "cause": _maybe(_words("command", "page"))},
    "fire.confirm": {"zone": _name, "note": _note},
    "alarm.acknowledge": {"alarm": _name, "note": _note},
    "alarm.verify": {"alarm": _name, "result": _words("real", "false", "test", "unknown"), "cause": _note},
    "alarm.reset": {"alarm": _name, "note": _note},
    "alarm.shelve": {"device": _name, "for": _span(24 * _HOUR, zero=True), "note": _note},
    "device.disable": {"device": _name, "for": _span(12 * _HOUR, zero=False), "reason": _note},
    "device.enable": {"device": _name, "for": _maybe(_span(12 * _HOUR, zero=True)), "reason": _note},
    "zone.test": {"zone": _name, "for": _span(4 * _HOUR, zero=True), "note": _note},
    "read": {"device": _name, "point": _maybe(_name)},
    "write": {"point": _name, "value": _value},
    "silence": {},
    "alarm.silence": {},
    "access.update": {
        "list": _name,
        **dict.fromkeys(("base", "version", "put", "drop", "full", "part", "parts"), _any),
    },
    "access.forget": _PLATE,
    "access.export": _PLATE,
    "access.presence": {**_PLATE, "inside": _flag},
    "access.show": {**_PLATE, "gate": _maybe(_name)},
    "access.who": {},
    "camera.last": {"camera": _name},
}


def known(cmd: str) -> bool:
    """True for a command that the site carries out itself."""
    return cmd in _SPEC


def seconds(value: Json) -> float | None:
    """The seconds of a duration as in the site file (`90s`, `12h`); None: it is none."""
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    return None if match is None else float(match[1]) * _UNITS[match[2]]


def wrong(cmd: str, args: Args) -> str | None:
    """What is wrong with the arguments of a known command; None: nothing."""
    spec = _SPEC[cmd]
    for name in args:
        if name not in spec:
            return f"unknown argument {name[:40]!r}"
    for name, check in spec.items():
        if not check(args.get(name)):
            return f"{name}: missing, or not what it has to be" if name not in args else f"{name}: not allowed"
    return None


def brief(args: Args) -> dict[str, Json]:
    """The arguments as the audit keeps them: long ones cut, plates masked, whole files and lists not at all.

    The audit is kept for longer than any plate may be.
    """
    kept: dict[str, Json] = {}
    for name, value in list(args.items())[:32]:
        if name == "plate":
            kept[name] = masked(value[:_LONGEST_PLATE] if isinstance(value, str) else None)
        elif isinstance(value, str):
            value = without_plates(value)  # noqa: PLW2901 - the same, as it may be kept
            kept[name[:64]] = value if len(value) <= _LONGEST_NOTE else f"{value[:100]}… ({len(value)} characters)"
        elif value is None or isinstance(value, bool | int | float):
            kept[name[:64]] = value
        else:
            kept[name[:64]] = f"({len(value)} entries)"
    return kept

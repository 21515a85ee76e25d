"""The gateway's own JSON, for cameras and programs without their own module. Pure.

`{"plate": "京A12345", "confidence": 97, "time": "2026-11-22T08:00:00+08:00", "direction": "forward", "colour": "blue",
"id": "…", "history": false, "plate_picture": "base64", "scene_picture": "base64"}`; several as `{"passages": […]}`;
`{"heartbeat": true}`. Only `plate` is needed (null: none was read). The answer is `{"ok": true}`.
`time` may also be seconds since 1970; `direction` is forward (towards the camera) or reverse; `kind` as in page events.
Or a form (multipart) with the fields `json`, `plate_picture`, `scene_picture`.
Also reads other makers' JSON and forms: the plate at any place, under one of the names in `_PLATE`.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from drivers.anpr import times
from drivers.anpr.capture import (
    EVENTS,
    JSON_TYPE,
    CameraSettings,
    Capture,
    Picture,
    PushReply,
    Report,
    Seen,
    Turn,
    Unreadable,
    over,
    read_each,
)
from drivers.anpr.fields import certainty, colour, first, image, is_image, is_yes, key, number, picture, text
from drivers.anpr.jsontree import decode, objects
from drivers.anpr.jsontree import parse as parse_json
from drivers.anpr.multipart import is_multipart, parts
from drivers.anpr.part_sorting import chosen, named, sort

ACCEPTED = PushReply(b'{"ok":true}', JSON_TYPE)
TURNS: Mapping[str, Turn] = {
    "forward": "forward", "reverse": "reverse", "approach": "forward", "leave": "reverse", "away": "reverse",
    "in": "forward", "out": "reverse", "enter": "forward", "exit": "reverse",
}  # fmt: skip
_PLATE = (
    "plate", "platenumber", "plateno", "platenum", "platetext", "platestr", "platestring", "platecode",
    "platelicense", "plateresult", "license", "licenseplate", "licenceplate", "licenseplatenumber",
    "licenseplateno", "licenseplateid", "licenseno", "licensenumber", "carplate", "carplateno", "carplatenumber",
    "carno", "carnumber", "carnum", "carlicense", "vehicleplate", "vehicleplateno", "vehicleplatenumber",
    "numberplate", "registrationnumber", "lpn", "hphm", "车牌", "车牌号", "车牌号码", "号牌", "号牌号码",
)  # fmt: skip
"""Names are compared in lower case and without `_`, `-`, `.` and blanks."""
_SEVERAL = ("plates", "licenseplates", "platenumbers")
_INNER = ("text", "value", "number", "code", "name", "content")
"""Names within an object that is itself the plate."""
_TIME = ("time", "timestamp", "seenat", "datetime", "capturetime", "passtime", "starttime", "created", "createdat")
_CONFIDENCE = ("confidence", "score", "plateconfidence", "confidencelevel", "platescore", "reliability")
_COLOUR = ("platecolor", "platecolour", "colour", "color")
_SMALL = ("platepicture", "plateimage", "closeuppic", "platecrop", "smallimage")
_SCENE = ("scenepicture", "sceneimage", "fullimage", "vehicleimage", "image", "picture", "snapshot", "largeimage")
_HISTORY = ("history", "ishistory", "isoffline", "offline")
_ALIVE = frozenset({"heartbeat", "keepalive", "alive", "ping"})
_SAYS = ("type", "event", "eventtype", "cmd", "msgtype", "action")
_BETWEEN = re.compile(r"[\s_.\-]+")
_FORM = re.compile(rb"\s*[A-Za-z_][\w.\-]{0,63}=")
_ESCAPED = re.compile(rb"%([0-9A-Fa-f]{2})")
_WEB = str.maketrans("-_.", "+/=")
"""Forms may contain base64 in its URL-safe alphabet."""
_FIELDS = 200
_ESCAPES = 50_000
_SHORTEST = 16
_EPOCH_DIGITS = 14


def parse(payload: bytes, content_type: str, _path: str, settings: CameraSettings) -> Report:
    """Parse a push. Raises Unreadable."""
    if not payload.strip():
        return Report("test", ACCEPTED)
    if not is_multipart(content_type, payload):
        if _FORM.match(payload):
            return _call(_form(payload), settings)
        return _call(parse_json(payload), settings)
    pieces = sort(parts(payload, content_type))
    if not pieces.documents:
        fields = {name: decode(value) for name, value in pieces.fields.items()}
        if not fields:
            raise Unreadable("no JSON part")
        report = _call(fields, settings)
    else:
        report = read_each(pieces.documents, lambda one: _call(parse_json(one), settings))
    captures = report.captures
    if captures:
        shown = chosen((*captures[0].pictures, *pieces.pictures))
        captures = (replace(captures[0], pictures=shown), *captures[1:])
    return replace(report, captures=captures, refused=len(pieces.refused), names=named(pieces.refused))


def _form(payload: bytes) -> dict[str, str]:
    """The fields of a form, percent-encoded in UTF-8 or GBK. Raises Unreadable."""
    pairs = payload.strip().split(b"&", _FIELDS)
    if len(pairs) > _FIELDS or payload.count(b"%") > _ESCAPES:
        raise Unreadable("a form with too many fields or escapes")
    cut = (pair.partition(b"=") for pair in pairs)
    return {_plain(name): _plain(value) for name, _, value in cut}


def _plain(said: bytes) -> str:
    return decode(_ESCAPED.sub(lambda found: bytes((int(found[1], 16),)), said.replace(b"+", b" ")))


def _call(root: object, settings: CameraSettings) -> Report:
    if not isinstance(root, dict | list):
        raise Unreadable("JSON, but no object")
    root = _squeezed(root)
    top = root if isinstance(root, dict) else {}
    found, cut = _cars(top)
    if not found:
        for one in objects(root, *_PLATE, *_SEVERAL):
            cars, more = _cars(one)
            found, cut = [*found, *cars], cut + more
            found, cut = found[:EVENTS], cut + over(found)
    captures = tuple(_capture(one, top, settings) for one in found)
    if captures:
        return Report("captures", ACCEPTED, captures, cut=cut)
    words = [_BETWEEN.sub("", text(top.get(name)).lower()) for name in _SAYS]
    if _ALIVE.intersection(top) or _ALIVE.intersection(words):
        return Report("heartbeat", ACCEPTED)
    kind = next((word for word in words if word), "")
    if not kind:
        raise Unreadable("no plate and no heart-beat in it")
    return Report("other", ACCEPTED, events=(kind,))


def _squeezed(value: Any) -> Any:
    """The same with all names in lower case and without separators."""
    if isinstance(value, dict):
        return {_BETWEEN.sub("", name.lower()): _squeezed(one) for name, one in value.items()}
    return [_squeezed(one) for one in value] if isinstance(value, list) else value


def _cars(one: Mapping[str, Any]) -> tuple[list[Mapping[str, Any]], int]:
    """The object once per plate that it contains itself, or once if it reports no plate; and the number over the limit.

    Nested objects with plates of their own are read separately.
    """
    for name in (*_PLATE, *_SEVERAL):
        said = one.get(name, one)
        if isinstance(said, list) and said and all(isinstance(each, str) for each in said):
            return [{**one, "plate": each} for each in said[:EVENTS]], over(said)
        if isinstance(said, dict) and said is not one and not any(inner in said for inner in _PLATE):
            inner = text(first(said, *_INNER))
            if inner:
                return [{**one, **said, "plate": inner}], 0
        elif not isinstance(said, dict | list) and name in _PLATE:
            return [one], 0
    return [], 0


def _capture(one: Mapping[str, Any], top: Mapping[str, Any], settings: CameraSettings) -> Capture:
    """Make a capture from the object with the plate; fields for the whole push may be at its top level."""
    raw = text(one.get("plate")) or next((found for name in _PLATE if (found := text(one.get(name)))), "")
    when = first(one, *_TIME)
    when = first(top, *_TIME) if when is None else when
    which = text(first(one, "id", "uuid", "eventid"))
    said = text(first(one, "direction", "vdctype") or first(top, "direction", "vdctype"))
    shown = chosen((*_pictures(one), *(_pictures(top) if top is not one else ())))
    return Capture(
        plate_raw=raw or None,
        key=key("generic", raw, which, text(when)) if which or when is not None else "",
        confidence=certainty(first(one, *_CONFIDENCE)),
        colour=colour(first(one, *_COLOUR)),
        kind=text(one.get("kind")) or None,
        turn=TURNS.get(said.lower()),
        turn_raw=said or None,
        seen=_seen(when, settings),
        history=any(is_yes(each.get(name)) for each in (one, top) for name in _HISTORY),
        trigger=text(one.get("trigger")) or None,
        lane=text(one.get("lane")) or None,
        pictures=shown,
    )


def _pictures(one: Mapping[str, Any]) -> Iterable[Picture]:
    for role, names in (("plate", _SMALL), ("scene", _SCENE)):
        for name in names:
            said = one.get(name)
            if not isinstance(said, str) or len(said) < _SHORTEST:
                continue
            data = image(said)
            if not is_image(data):
                data = image(said.translate(_WEB))
            if is_image(data) or (name.endswith("picture") and name != "picture"):
                yield from picture("plate" if role == "plate" else "scene", data, name)


def _seen(when: object, settings: CameraSettings) -> Seen | None:
    if isinstance(when, str) and number(when) is not None and len(when) < _EPOCH_DIGITS:
        when = number(when)
    if isinstance(when, str):
        return times.seen(text(when), settings.utc_offset)
    return times.epoch(float(when)) if isinstance(when, int | float) and abs(when) < 2**63 else None

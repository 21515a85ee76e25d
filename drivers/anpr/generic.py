"""The gateway's own JSON for cameras and programs that no other module knows. Pure.

`{"plate": "京A12345", "confidence": 97, "time": "2026-11-22T08:00:00+08:00", "direction": "forward", "colour": "blue",
"id": "…", "history": false, "plate_picture": "base64", "scene_picture": "base64"}`; several as `{"passages": […]}`;
`{"heartbeat": true}`. Only `plate` is needed (null: none was read). The answer is `{"ok": true}`.
`time` may also be seconds since 1970; `direction` is forward (towards the camera) or reverse; `kind` as in page events.
Or a form (multipart) with the fields `json`, `plate_picture`, `scene_picture`.
Beside it what other makers and programs send, forms too: the plate wherever it stands, by one of the names of `_PLATE`.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import islice
from typing import Any

from drivers.anpr import times
from drivers.anpr.capture import JSON_TYPE, CameraSettings, Capture, Picture, Reply, Report, Seen, Turn, Unreadable
from drivers.anpr.jsontree import decode, objects, small
from drivers.anpr.jsontree import parse as parse_json
from drivers.anpr.multipart import is_multipart, parts
from drivers.anpr.pieces import chosen, named, sort
from drivers.anpr.texts import certainty, colour, first, image, is_image, key, number, picture, text

ACCEPTED = Reply(b'{"ok":true}', JSON_TYPE)
TURNS: Mapping[str, Turn] = {
    "forward": "forward", "reverse": "reverse", "approach": "forward", "leave": "reverse", "away": "reverse",
    "in": "forward", "out": "reverse", "enter": "forward", "exit": "reverse",
}  # fmt: skip
_PLATE = (
    "plate", "platenumber", "plate_number", "plateno", "plate_no", "license", "licenseplate", "license_plate",
    "license_plate_number", "license_plate_id", "plate_num", "platenum", "plate_text", "platetext", "car_plate",
    "number_plate", "numberplate", "plate_license", "platelicense", "car_number", "carno",
)  # fmt: skip
_TIME = ("time", "timestamp", "seen_at", "datetime", "capture_time", "start_time", "created", "created_at")
_CONFIDENCE = ("confidence", "score", "plate_confidence", "confidence_level", "confidencelevel")
_COLOUR = ("plate_color", "platecolor", "plate_colour", "colour", "color")
_SMALL = ("plate_picture", "plate_image", "plateimage", "closeup_pic", "plate_crop", "small_image")
_SCENE = ("scene_picture", "scene_image", "full_image", "fullimage", "vehicle_image", "vehicleimage", "image",
          "picture", "snapshot", "large_image")  # fmt: skip
_ALIVE = frozenset({"heartbeat", "heart_beat", "heart-beat", "keepalive", "keep_alive", "keep-alive", "alive", "ping"})
_SAYS = ("type", "event", "event_type", "eventtype", "cmd", "msg_type", "action")
_FORM = re.compile(rb"\s*[A-Za-z_][\w.\-]{0,63}=")
_ESCAPED = re.compile(rb"%([0-9A-Fa-f]{2})")
_WEB = str.maketrans("-_.", "+/=")
"""Forms carry base64 in signs that need no escape."""
_MOST = 16
_FIELDS = 200
_ESCAPES = 50_000
_SHORTEST = 16
_EPOCH_DIGITS = 14


def parse(payload: bytes, content_type: str, _path: str, settings: CameraSettings) -> Report:
    """What a push says. Raises Unreadable."""
    if not payload.strip():
        return Report("test", ACCEPTED)
    if not is_multipart(content_type, payload):
        if _FORM.match(payload):
            return _call(_form(payload), settings)
        return _call(small(parse_json(payload)), settings)
    pieces = sort(parts(payload, content_type))
    if not pieces.documents:
        fields = {name: decode(value) for name, value in pieces.fields.items()}
        if not fields:
            raise Unreadable("no JSON part")
        report = _call(fields, settings)
    else:
        report = _call(small(parse_json(pieces.documents[0])), settings)
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
    return {_plain(name).lower(): _plain(value) for name, _, value in cut}


def _plain(said: bytes) -> str:
    return decode(_ESCAPED.sub(lambda found: bytes((int(found[1], 16),)), said.replace(b"+", b" ")))


def _call(root: object, settings: CameraSettings) -> Report:
    if not isinstance(root, dict | list):
        raise Unreadable("JSON, but no object")
    top = root if isinstance(root, dict) else {}
    found = [top] if _has_plate(top) else list(islice(filter(_has_plate, objects(root, *_PLATE)), _MOST))
    captures = tuple(_capture(one, top, settings) for one in found)
    if captures:
        return Report("captures", ACCEPTED, captures)
    words = [text(top.get(name)).lower() for name in _SAYS]
    if _ALIVE.intersection(top) or _ALIVE.intersection(words):
        return Report("heartbeat", ACCEPTED)
    kind = next((word for word in words if word), "")
    if not kind:
        raise Unreadable("no plate and no heart-beat in it")
    return Report("other", ACCEPTED, events=(kind,))


def _has_plate(one: Mapping[str, Any]) -> bool:
    """A plate, or the word that there is none. A list or an object of that name is looked into by itself."""
    return any(name in one and not isinstance(one[name], dict | list) for name in _PLATE)


def _capture(one: Mapping[str, Any], top: Mapping[str, Any], settings: CameraSettings) -> Capture:
    """Out of the object with the plate; what holds for the whole push may stand at its top."""
    raw = next((found for name in _PLATE if (found := text(one.get(name)))), "")
    when = first(one, *_TIME)
    when = first(top, *_TIME) if when is None else when
    which = text(first(one, "id", "uuid", "event_id"))
    said = text(first(one, "direction", "vdc_type") or first(top, "direction", "vdc_type"))
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
        history=one.get("history") is True,
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
            if is_image(data) or name.endswith("_picture"):
                yield from picture("plate" if role == "plate" else "scene", data, name)


def _seen(when: object, settings: CameraSettings) -> Seen | None:
    if isinstance(when, str) and number(when) is not None and len(when) < _EPOCH_DIGITS:
        when = number(when)
    if isinstance(when, str):
        return times.seen(text(when), settings.utc_offset)
    return times.epoch(float(when)) if isinstance(when, int | float) and abs(when) < 2**63 else None

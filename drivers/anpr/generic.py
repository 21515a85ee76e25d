"""The gateway's own JSON for cameras and programs that no other module knows. Pure.

`{"plate": "京A12345", "confidence": 97, "time": "2026-11-22T08:00:00+08:00", "direction": "forward", "colour": "blue",
"id": "…", "history": false, "plate_picture": "base64", "scene_picture": "base64"}`; several as `{"passages": […]}`;
`{"heartbeat": true}`. Only `plate` is needed (null: none was read). The answer is `{"ok": true}`.
`time` may also be seconds since 1970; `direction` is forward (towards the camera) or reverse; `kind` as in page events.
Or a form (multipart) with the fields `json`, `plate_picture`, `scene_picture`.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from drivers.anpr import times
from drivers.anpr.capture import JSON_TYPE, CameraSettings, Capture, Reply, Report, Seen, Turn, Unreadable
from drivers.anpr.jsontree import parse as parse_json
from drivers.anpr.jsontree import small
from drivers.anpr.multipart import is_multipart, parts
from drivers.anpr.pieces import chosen, named, sort
from drivers.anpr.texts import certainty, colour, first, image, items, key, picture, text

ACCEPTED = Reply(b'{"ok":true}', JSON_TYPE)
TURNS: Mapping[str, Turn] = {"forward": "forward", "reverse": "reverse", "approach": "forward", "leave": "reverse"}
_PLATE = ("plate", "platenumber", "plate_number", "plateno", "plate_no", "license", "licenseplate", "license_plate")
_MOST = 16


def parse(payload: bytes, content_type: str, _path: str, settings: CameraSettings) -> Report:
    """What a push says. Raises Unreadable."""
    if not payload.strip():
        return Report("test", ACCEPTED)
    if not is_multipart(content_type, payload):
        return _call(small(parse_json(payload)), settings)
    pieces = sort(parts(payload, content_type))
    if not pieces.documents:
        raise Unreadable("no JSON part")
    report = _call(small(parse_json(pieces.documents[0])), settings)
    captures = report.captures
    if captures:
        shown = chosen((*captures[0].pictures, *pieces.pictures))
        captures = (replace(captures[0], pictures=shown), *captures[1:])
    return replace(report, captures=captures, refused=len(pieces.refused), names=named(pieces.refused))


def _call(root: object, settings: CameraSettings) -> Report:
    if isinstance(root, dict) and "passages" in root:
        found = [one for one in items(root["passages"], _MOST) if isinstance(one, dict)]
    elif isinstance(root, list):
        found = [one for one in root[:_MOST] if isinstance(one, dict)]
    elif isinstance(root, dict):
        found = [root]
    else:
        raise Unreadable("JSON, but no object")
    captures = tuple(_capture(one, settings) for one in found if any(name in one for name in _PLATE))
    if captures:
        return Report("captures", ACCEPTED, captures)
    return Report("heartbeat" if any("heartbeat" in one for one in found) else "other", ACCEPTED)


def _capture(one: Mapping[str, Any], settings: CameraSettings) -> Capture:
    raw = text(first(one, *_PLATE))
    when = first(one, "time", "timestamp", "seen_at")
    which = text(one.get("id"))
    said = text(one.get("direction"))
    shown = (
        *picture("plate", image(one.get("plate_picture")), "plate"),
        *picture("scene", image(one.get("scene_picture")), "scene"),
    )
    return Capture(
        plate_raw=raw or None,
        key=key("generic", raw, which, text(when)) if which or when is not None else "",
        confidence=certainty(one.get("confidence")),
        colour=colour(first(one, "colour", "color")),
        kind=text(one.get("kind")) or None,
        turn=TURNS.get(said.lower()),
        turn_raw=said or None,
        seen=_seen(when, settings),
        history=one.get("history") is True,
        trigger=text(one.get("trigger")) or None,
        lane=text(one.get("lane")) or None,
        pictures=shown,
    )


def _seen(when: object, settings: CameraSettings) -> Seen | None:
    if isinstance(when, str):
        return times.seen(text(when), settings.utc_offset)
    return times.epoch(float(when)) if isinstance(when, int | float) and abs(when) < 2**63 else None

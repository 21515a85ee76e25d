"""Plate Recognizer Stream: its webhook, JSON or a form with `json` and `upload`. It accepts any 2xx. Pure."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from drivers.anpr import times
from drivers.anpr.capture import EVENTS, OK, CameraSettings, Capture, Report, Turn, Unreadable, over, read_each
from drivers.anpr.fields import at, certainty, first, items, key, mapping, number, text
from drivers.anpr.jsontree import MEMBERS, parse_objects
from drivers.anpr.multipart import is_multipart, parts
from drivers.anpr.part_sorting import chosen, named, sort

ACCEPTED = OK
_TOWARDS_DEGREES = (225.0, 315.0)
_AWAY_DEGREES = (45.0, 135.0)
"""Degrees in the picture: 90 is up (away from the camera), 270 is down (towards it)."""


def parse(payload: bytes, content_type: str, _path: str, settings: CameraSettings) -> Report:
    """Parse a call; several cars in one picture are several captures. Raises Unreadable."""
    if not payload.strip():
        return Report("test")
    if not is_multipart(content_type, payload):
        return _calls(payload, settings)
    pieces = sort(parts(payload, content_type))
    if not pieces.documents:
        raise Unreadable("no JSON part")
    report = read_each(pieces.documents, lambda one: _calls(one, settings))
    captures = report.captures
    if captures:
        captures = (replace(captures[0], pictures=chosen(pieces.pictures)), *captures[1:])
    return replace(report, captures=captures, refused=len(pieces.refused), names=named(pieces.refused))


def _calls(document: bytes, settings: CameraSettings) -> Report:
    """One call, or an array of them. Raises Unreadable."""
    return read_each(parse_objects(document), lambda one: _call(one, settings))


def _call(root: Mapping[str, Any], settings: CameraSettings) -> Report:
    data = mapping(root.get("data")) or root
    event = text(at(root, "hook", "event"))
    device = text(first(data, "camera_id", "camera")) or None
    results = [one for one in items(data.get("results"), MEMBERS) if isinstance(one, dict)]
    if not results:
        alive = event in ("", "recognition", "status", "heartbeat")
        return Report("heartbeat" if alive else "other", device=device, events=() if alive else (event,))
    written = text(first(data, "timestamp", "timestamp_local"))
    name = text(data.get("filename"), 256)
    captures = tuple(_capture(one, written, name, device or "", settings) for one in results[:EVENTS])
    return Report("captures", captures=captures, cut=over(results), device=device)


def _capture(result: Mapping[str, Any], written: str, name: str, device: str, settings: CameraSettings) -> Capture:
    raw, score = _plate(result)
    said = result.get("direction")
    return Capture(
        plate_raw=raw or None,
        key=key("platerecognizer", device, name, raw, written) if name or written else "",
        confidence=certainty(score),
        turn=_turn(result),
        turn_raw=text(said) or None,
        seen=times.seen(written, settings.utc_offset),
    )


def _plate(result: Mapping[str, Any]) -> tuple[str, object]:
    """The plate and its score; newer versions have them below `plate.props.plate`."""
    plate = result.get("plate")
    if not isinstance(plate, dict):
        return text(plate), result.get("score")
    ranked = at(plate, "props", "plate")
    best = mapping(next(iter(items(ranked)), None))
    return text(first(best, "value", "plate")), first(best, "score") or first(plate, "score")


def _turn(result: Mapping[str, Any]) -> Turn | None:
    angle = number(result.get("direction"))
    if angle is not None:
        if _TOWARDS_DEGREES[0] <= angle % 360 <= _TOWARDS_DEGREES[1]:
            return "forward"
        return "reverse" if _AWAY_DEGREES[0] <= angle % 360 <= _AWAY_DEGREES[1] else None
    facing = mapping(next(iter(items(result.get("orientation"))), None))
    word = text(first(facing, "orientation", "value")).lower()
    return {"front": "forward", "rear": "reverse"}.get(word)  # type: ignore[return-value]

"""VZenith (臻识): HTTP pushes, the register form, the expected answers; also the MQTT envelope. Pure.

An answer may open the camera's relay: only `reply` with a `RelayOpening` does. `info: ok` is never sent, because it
opens by the camera's own rule. After being off-line the camera sends its records; the next one only after
`ContinuePushOffline` names the last.
"""

import binascii
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import orjson

from drivers.anpr import times
from drivers.anpr.capture import (
    JSON_TYPE,
    CameraSettings,
    Capture,
    PushReply,
    Report,
    Seen,
    Turn,
    Unreadable,
    read_each,
)
from drivers.anpr.fields import (
    at,
    certainty,
    colour,
    first,
    image,
    is_yes,
    items,
    key,
    mapping,
    number,
    picture,
    text,
    whole,
)
from drivers.anpr.jsontree import MEMBERS, decode, parse_objects
from drivers.anpr.multipart import is_multipart, parts
from drivers.anpr.part_sorting import chosen, named, sort

ALIVE = PushReply(b'{"status":"ok"}', JSON_TYPE)
ACCEPTED = PushReply(b'{"Response_AlarmInfoPlate":{}}', JSON_TYPE)
COLOURS: Mapping[int, str] = {1: "blue", 2: "yellow", 3: "white", 4: "black", 5: "green", 6: "yellow-green"}
KINDS: Mapping[int, str] = {
    1: "ordinary", 2: "ordinary", 3: "ordinary", 4: "ordinary", 5: "police", 6: "wj", 8: "military", 9: "military",
    10: "embassy", 11: "hong-kong", 13: "learner", 14: "macau", 15: "wj", 16: "wj", 17: "wj", 18: "civil-aviation",
    19: "new-energy", 20: "new-energy", 21: "emergency", 22: "consulate", 25: "civil-aviation", 29: "fake",
    30: "fake", 31: "none",
}  # fmt: skip
TURNS: Mapping[int, Turn] = {3: "reverse", 4: "forward"}
"""Directions in the picture: up is away, down is towards; left and right are neither."""
TRIGGERS: Mapping[int, str] = {1: "automatic", 2: "input", 4: "software", 8: "virtual-loop"}
STAYS: Mapping[int, str] = {64: "car-stays", 65: "car-gone", 66: "car-turned-back"}
"""Triggers about a car that was reported before: not passages."""
_BASE64 = re.compile(r"[A-Za-z0-9+/]{4,64}={0,2}")
_FORM = re.compile(r"(?:^|&)([a-z_]{1,32})=([^&]{0,128})")
_QUARTER = 900


class RelayOpening(NamedTuple):
    """The camera's own relay as a gate's `open`."""

    io: int
    pulse: float | None = 0.5
    """Seconds; None: it stays on."""


def parse(payload: bytes, content_type: str, _path: str, settings: CameraSettings) -> Report:
    """Parse a push. The heartbeat's user and password are never read. Raises Unreadable."""
    if not payload.strip():
        return Report("test", ALIVE)
    if is_multipart(content_type, payload):
        pieces = sort(parts(payload, content_type))
        if not pieces.documents:
            device = text(decode(pieces.fields.get("serialno", b"")))
            return Report(
                "heartbeat", ALIVE, refused=len(pieces.refused), names=named(pieces.refused), device=device or None
            )
        return read_each(pieces.documents, lambda one: _object(one, settings))
    if payload.lstrip()[:1] not in (b"{", b"[") and b"serialno=" in payload[:2048]:
        form = dict(_FORM.findall(decode(payload[:2048])))
        return Report("heartbeat", ALIVE, device=text(form.get("serialno")) or None)
    return _object(payload, settings)


def _object(payload: bytes, settings: CameraSettings) -> Report:
    """Parse JSON of one or several events. Raises Unreadable."""
    return read_each(parse_objects(payload), lambda one: _push(one, settings))


def reply(plate_id: int | None, opening: RelayOpening | None = None) -> PushReply:
    """The answer to a plate: confirms the record, so that the next may come, and opens this relay, if any."""
    said: dict[str, Any] = {}
    if plate_id is not None:
        said["ContinuePushOffline"] = {"plateid": plate_id, "continue": 1}
    if opening is not None:
        said["ivs_ioctrl"] = relay(opening)
    return PushReply(orjson.dumps({"Response_AlarmInfoPlate": said}), JSON_TYPE)


def relay(opening: RelayOpening) -> Mapping[str, int]:
    """`ivs_ioctrl`: 2 is a pulse in ms, 1 stays on."""
    if opening.pulse is None:
        return {"io": opening.io, "value": 1, "delay": 0}
    return {"io": opening.io, "value": 2, "delay": max(1, min(600_000, round(opening.pulse * 1000)))}


def release(io: int) -> PushReply:
    """The answer that switches a relay off."""
    return PushReply(
        orjson.dumps({"Response_AlarmInfoPlate": {"ivs_ioctrl": {"io": io, "value": 0, "delay": 0}}}), JSON_TYPE
    )


def _push(root: Mapping[str, Any], settings: CameraSettings) -> Report:
    root = mapping(root.get("payload")) if "alarminfoplate" not in root and "payload" in root else root
    alarm = mapping(root.get("alarminfoplate"))
    device = text(
        first(alarm, "serialno")
        or first(root, "serialno", "sn")
        or at(root, "serialdata", "serialno")
        or at(root, "alarmgioin", "serialno")
    )
    results = _results(root)
    if results:
        result = results[0]
        number_ = _plate_id(result)
        trigger = whole(result.get("triggertype"))
        if trigger is not None and trigger in STAYS:
            return Report("other", reply(number_), device=device or None, events=(STAYS[trigger],))
        capture = _capture(result, device, settings)
        capture = replace(
            capture, history=capture.history or any(is_yes(one.get("isoffline")) for one in (alarm, root))
        )
        hidden = ("encrypted",) if whole(first(result, "enable_encrypt") or alarm.get("enable_encrypt")) == 1 else ()
        return Report(
            "captures", reply(number_), captures=(capture,), cut=len(results) - 1,
            device=device or None, record=number_, events=hidden,
        )  # fmt: skip
    shown = mapping(root.get("triggerimage"))
    if shown:
        return Report(
            "pictures", ALIVE, pictures=picture("scene", image(shown.get("imagefile"))), device=device or None
        )
    if "device_name" in root or "keep_alive" in root or text(root.get("name")) == "keep_alive":
        return Report("heartbeat", ALIVE, device=device or None)
    name = next((text(one) for one in root if isinstance(root[one], dict)), "")
    if not name:
        raise Unreadable("nothing of this maker in it")
    return Report("other", ALIVE, device=device or None, events=(name,))


def _results(root: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The result in the payload: only one, because the answer can name only one."""
    root = mapping(root.get("payload")) if "alarminfoplate" not in root and "payload" in root else root
    for path in (("result", "plateresult"), ("plateresult",)):
        found = [one for one in items(at(root, "alarminfoplate", *path), MEMBERS) if isinstance(one, dict) and one]
        if found:
            return found
    return []


def _plate_id(result: Mapping[str, Any]) -> int | None:
    return whole(result.get("plateid"))


def _capture(result: Mapping[str, Any], device: str, settings: CameraSettings) -> Capture:
    hidden = whole(result.get("enable_encrypt")) == 1
    raw = "" if hidden else _license(text(first(result, "license", "plate")))
    kind = whole(result.get("type"))
    stamp = mapping(at(result, "timestamp", "timeval"))
    number_ = _plate_id(result)
    which = (text(number_), text(stamp.get("sec")), text(stamp.get("usec")))
    sure = certainty(result.get("confidence"))  # 1-100; with a plate, 0 means that the field is not filled
    said = whole(result.get("direction"))
    shade = first(result, "colortype", "color")
    fake = whole(result.get("is_fake_plate")) == 1
    scene = image(first(result, "imagefile", "full_image_content"))
    small = image(first(result, "imagefragmentfile", "small_image_content"))
    return Capture(
        plate_raw=raw or None,
        key=key("vzenith", device, raw, *which) if any(which) else "",
        confidence=None if sure == 0 and any(one.isascii() and one.isalnum() for one in raw) else sure,
        colour=COLOURS.get(whole(shade) or 0) or colour(shade),
        kind="fake" if fake else KINDS.get(kind or 0),
        turn=TURNS.get(said or 0),
        turn_raw=text(said) or None,
        seen=_seen(stamp, settings),
        history=is_yes(result.get("isoffline")),
        trigger=TRIGGERS.get(whole(result.get("triggertype")) or 0) or (text(result.get("triggertype")) or None),
        pictures=chosen((*picture("plate", small, "plate"), *picture("scene", scene, "scene"))),
        url=text(result.get("imagepath"), 256) or None,
        also=tuple(one.strip() for one in raw.split("|")[:4] if one.strip()) if "|" in raw else (),
    )


def _license(said: str) -> str:
    """Over MQTT, and over HTTP with some firmware, the plate is base64; no plate has lower-case letters or `=`."""
    if _BASE64.fullmatch(said) is None or len(said) % 4 or (said.upper() == said and "=" not in said):
        return said
    try:
        plain = decode(binascii.a2b_base64(said))
    except (binascii.Error, ValueError):
        return said
    return text(plain) if plain.isprintable() and "\ufffd" not in plain and 2 < len(plain) < 16 else said


def _seen(stamp: Mapping[str, Any], settings: CameraSettings) -> Seen | None:
    """`sec` is UTC, the `dec…` fields are local. If they do not differ by a time zone, one of them is wrong."""
    micro = number(stamp.get("usec")) or 0.0
    true = times.epoch(number(stamp.get("sec")), micro / 1e6)
    fields = [whole(stamp.get(f"dec{name}")) for name in ("year", "mon", "day", "hour", "min", "sec")]
    local = times.local(fields, 0.0)
    if local is None:
        return true
    if true is None:
        return None if settings.utc_offset is None else Seen(local - settings.utc_offset, "setting")
    east = local - int(true.wall)
    nearest = round(east / _QUARTER) * _QUARTER
    if abs(east - nearest) <= 2 and abs(nearest) <= 14 * 3600 and not (nearest == 0 and settings.utc_offset):
        return true
    if settings.utc_offset is None:
        return true._replace(firm=False)
    return Seen(local - settings.utc_offset, "setting", firm=False)

"""Dahua: ITSAPI pushes, parts of eventManager and snapManager. Pure.

ITSAPI expects `{"Result": true}` and repeats until it gets it. eventManager sends `Code=…;action=…;index=…;data={…}`,
snapManager lines `Events[0].TrafficCar.PlateNumber=…`, then pictures.
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
from drivers.anpr.fields import (
    at,
    certainty,
    colour,
    first,
    image,
    is_no,
    is_yes,
    items,
    key,
    mapping,
    number,
    picture,
    text,
    whole,
)
from drivers.anpr.jsontree import MEMBERS, decode, objects, parse_object, parse_objects, small
from drivers.anpr.multipart import FormPart, is_multipart, parts
from drivers.anpr.part_sorting import chosen, is_person, named, sort
from drivers.anpr.plate_codes import by_word

ACCEPTED = PushReply(b'{"Result": true, "Message": "success"}', JSON_TYPE)
SNAP_MANAGER = (
    "/cgi-bin/snapManager.cgi?action=attachFileProc&channel={channel}&heartbeat=5"
    "&Flags[0]=Event&Events=[TrafficJunction]"
)
"""For one channel, counted from 1; EVENT_MANAGER is for all channels, with the channel in each event."""
EVENT_MANAGER = "/cgi-bin/eventManager.cgi?action=attach&codes=[TrafficJunction]&heartbeat=5"
TURNS: Mapping[str, Turn] = {
    "approach": "forward", "obverse": "forward", "head": "forward",
    "leave": "reverse", "reverse": "reverse", "tail": "reverse",
}  # fmt: skip
_EVENT = re.compile(
    r"Code=([^;]{1,64});\s*action=([^;]{1,32});\s*index=([^;]{0,16})(?:;\s*data=(.*))?", re.DOTALL | re.IGNORECASE
)
_CODES = re.compile(r"^(?=Code=[^;]{1,64};)", re.MULTILINE | re.IGNORECASE)
_LINE = re.compile(r"(?:Return)?Events\[(\d{1,2})\]\.([^=]{1,200})=(.*)")
_STEPS = re.compile(r"([^.\[\]]+)|\[(\d{1,3})\]")
_LINES = 4_000
_HISTORY = ("isoffline", "ishistory", "offline")
_ON_FOOT = frozenset(
    {"nonmotor", "non-motor", "human", "person", "pedestrian", "bicycle", "electricbicycle", "tricycle"}
)
_HOURS = (
    0, 1, 2, 3, 3.5, 4, 4.5, 5, 5.5, 5.75, 6, 6.5, 7, 8, 9, 9.5, 10, 11, 12, 13,
    -1, -2, -3, -3.5, -4, -5, -6, -7, -8, -9, -10, -11, -12,
)  # fmt: skip
"""Hours east of UTC by the maker's time zone number."""


def parse(payload: bytes, content_type: str, path: str, settings: CameraSettings) -> Report:
    """Parse an ITSAPI push. Raises Unreadable."""
    where = path.lower()
    if not payload.strip():
        return Report("heartbeat" if "keepalive" in where else "test", ACCEPTED)
    if is_multipart(content_type, payload):
        pieces = sort(parts(payload, content_type))
        documents = (*pieces.documents, *pieces.fields.values())
        if not documents:
            raise Unreadable("no part with an event")
        report = read_each(documents, lambda one: _push(one, where, settings))
        captures = report.captures
        if len(captures) == 1:
            captures = (replace(captures[0], pictures=chosen((*captures[0].pictures, *pieces.pictures))),)
        refused = report.refused + len(pieces.refused)
        return replace(report, captures=captures, refused=refused, names=named(pieces.refused))
    return _push(payload, where, settings)


def part(piece: FormPart, settings: CameraSettings) -> Report:
    """Parse one part of eventManager or snapManager; pictures follow as separate parts. Raises Unreadable."""
    pieces = sort((piece,))
    if pieces.pictures or pieces.refused:
        found = tuple(one for whole in pieces.pictures for one in _unglued(whole))
        return Report("pictures", pictures=found, refused=len(pieces.refused), names=named(pieces.refused))
    return _words(decode(piece.body).strip("\x00\r\n\t "), settings)


def _words(body: str, settings: CameraSettings) -> Report:
    """Parse the text of a stream's part. Raises Unreadable."""
    if body.lower() == "heartbeat" or not body:
        return Report("heartbeat")
    if body.startswith(("Events[", "ReturnEvents[")):
        return _events([(text(first_code(one)), one) for one in _nested(body)], settings)
    found = [event for one in _CODES.split(body) if (event := _EVENT.match(one)) is not None]
    if not found:
        raise Unreadable("no event in the part")
    return read_each(found, lambda event: _worded(event, settings))


def _worded(event: re.Match[str], settings: CameraSettings) -> Report:
    """Parse one `Code=…;action=…;index=…;data={…}`. Raises Unreadable."""
    code, action, index, data = event.groups()
    if action.strip().lower() == "stop" or not data:
        return Report("other", events=(text(code),))
    return _events([(text(code), _indexed(parse_object(data.encode("utf-8", "replace")), index))], settings)


def _indexed(event: Mapping[str, Any], index: object) -> Mapping[str, Any]:
    """The event with the index of its channel, which is given beside it."""
    return event if index in (None, "") else {**event, "index": index}


def first_code(event: Mapping[str, Any]) -> object:
    """The name of the event."""
    return first(event, "code") or at(event, "eventbaseinfo", "code")


def _events(found: list[tuple[str, Mapping[str, Any]]], settings: CameraSettings) -> Report:
    cut, found = over(found), found[:EVENTS]
    cars = [one for one in found if one[0].casefold().startswith("traffic") and _is_car(one[1])]
    captures = tuple(_traffic(event, settings) for _, event in cars)
    others = tuple(one[0] or "unknown" for one in found if one not in cars)
    return Report("captures" if captures else "other", captures=captures, cut=cut, events=others)


def _is_car(event: Mapping[str, Any]) -> bool:
    """True for a car, not for bicycles (with or without a plate) and pedestrians, for which no gate opens."""
    seen = (
        at(event, "comminfo", "snapcategory"),
        at(event, "object", "objecttype"),
        at(event, "object", "category"),
        at(event, "vehicle", "objecttype"),
        at(event, "vehicle", "category"),
        at(event, "trafficcar", "vehiclecategory"),
    )
    return not _ON_FOOT.intersection(text(one).lower() for one in seen)


def _traffic(event: Mapping[str, Any], settings: CameraSettings) -> Capture:
    """Parse an event of eventManager or snapManager. An object's text is a plate only if marked as one."""
    car, thing = mapping(event.get("trafficcar")), mapping(event.get("object"))
    is_plate = text(thing.get("objecttype")).lower() == "plate"
    raw = text(first(car, "platenumber") or (thing.get("text") if is_plate else "") or at(event, "plate", "text"))
    said = text(next(iter(items(car.get("drivingdirection"))), "")) or text(
        first(event, "junctiondirection", "vehicledirection")
    )
    which = [text(first(event, name)) for name in ("groupid", "eventid", "utc", "utcms", "pts")]
    return Capture(
        plate_raw=raw or None,
        key=key("dahua", raw, *which) if any(which) else "",
        confidence=_certainty(event, thing if is_plate else car),
        colour=colour(car.get("platecolor")),
        kind=by_word(text(car.get("platetype"))),
        turn=TURNS.get(said.lower()),
        turn_raw=said or None,
        seen=_utc(event, settings),
        history=any(is_yes(event.get(name)) for name in _HISTORY),
        channel=_channel(event),
        trigger=text(event.get("triggertype")) or None,
        lane=text(first(car, "lane") or event.get("lane")) or None,
    )


def _channel(event: Mapping[str, Any]) -> int | None:
    """The recorder's channel; the maker's index counts from 0."""
    index = whole(first(event, "index") if "index" in event else at(event, "eventbaseinfo", "index"))
    return None if index is None or index < 0 else index + 1


def _certainty(event: Mapping[str, Any], near: Mapping[str, Any]) -> float | None:
    """The plate's confidence, beside its text or in the plate's own object."""
    found = certainty(near.get("confidence"))
    return certainty(at(event, "plate", "confidence")) if found is None else found


def _utc(event: Mapping[str, Any], settings: CameraSettings) -> Seen | None:
    """`RealUTC`, else `UTC`; some firmware writes that in local time, which `LocaleTime` reveals."""
    real = whole(event.get("realutc"))
    fraction = (number(event.get("utcms")) or 0.0) / 1000.0
    found = times.epoch(real or whole(event.get("utc")), fraction)
    if found is None or real:
        return found
    local = times.seen(text(event.get("localetime")), 0.0)
    if local is None or abs(local.wall - found.wall) > 2 or settings.utc_offset == 0:
        return found
    if settings.utc_offset is None:
        return found._replace(firm=False)
    return Seen(found.wall - settings.utc_offset, "setting")


def _push(payload: bytes, where: str, settings: CameraSettings) -> Report:
    start = payload.lstrip(b"\xef\xbb\xbf\x00 \r\n\t")
    if start[:1] not in (b"{", b"["):
        return replace(_words(decode(start).strip("\x00\r\n\t "), settings), reply=ACCEPTED)
    return read_each(parse_objects(payload), lambda one: _said(one, where, settings))


def _said(root: Mapping[str, Any], where: str, settings: CameraSettings) -> Report:
    """Parse one object of a push. Raises Unreadable."""
    if "events" in root or {"code", "data"} <= root.keys():
        listed = items(root.get("events"), MEMBERS) if "events" in root else (root,)
        found = [
            (text(one.get("code")), _indexed(data, one.get("index")))
            for one in listed if isinstance(one, dict) and text(one.get("action")).lower() != "stop"
            for data in ([each for each in items(one.get("data"), MEMBERS) if isinstance(each, dict) and each] or [one])
        ]  # fmt: skip
        report = _events(found, settings)
        return replace(report, reply=ACCEPTED, events=report.events or ("stop",))
    device = text(first(root, "deviceid", "device_id")) or None
    if "keepalive" in where or text(root.get("active")).lower() == "keepalive":
        return Report("heartbeat", ACCEPTED, device=device)
    if "deviceinfo" in where or "devicename" in root:
        return Report("registration", ACCEPTED, device=device)
    holders = [one for one in items(root.get("picture"), MEMBERS) if isinstance(one, dict)] or list(
        objects(root, "plate", "platenumber")
    )[:1]
    if not holders:
        if isinstance(root.get("trafficcar"), dict):
            return replace(_events([("Traffic", root)], settings), reply=ACCEPTED)
        if not where.startswith("/notificationinfo/"):
            raise Unreadable("no event in it")
        return Report("other", ACCEPTED, device=device, events=(where.rpartition("/")[2][:64] or "unknown",))
    captures = tuple(_tollgate(root, one, settings) for one in holders[:EVENTS])
    refused = tuple(name for one in holders for name in one if is_person(name) and _bytes(one, name))
    device = device or text(at(holders[0], "snapinfo", "deviceid")) or None
    return Report(
        "captures", ACCEPTED, captures, refused=len(refused), names=named(refused), cut=over(holders), device=device
    )


def _tollgate(root: Mapping[str, Any], holder: Mapping[str, Any], settings: CameraSettings) -> Capture:
    """Parse one `Picture` of /NotificationInfo/TollgateInfo."""
    plate = holder.get("plate")
    plate = plate if isinstance(plate, dict) else {**holder, "platenumber": first(holder, "platenumber", "plate")}
    snap = mapping(holder.get("snapinfo")) or root
    raw = text(plate.get("platenumber")) if not is_no(plate.get("isexist")) else ""
    taken = text(first(snap, "accuratetime", "snaptime"))
    name = text(first(root, "picname") or at(holder, "normalpic", "picname"))
    said = text(snap.get("direction"))
    return Capture(
        plate_raw=raw or None,
        key=key("dahua", raw, name, taken) if name or taken else "",
        confidence=certainty(plate.get("confidence")),
        colour=colour(plate.get("platecolor")),
        kind=by_word(text(plate.get("platetype"))),
        turn=TURNS.get(said.lower()),
        turn_raw=said or None,
        seen=times.seen(taken, settings.utc_offset) or _numbered(times.seen(taken, _zone(snap))),
        history=any(is_yes(one.get(name)) for one in (snap, holder, root) for name in _HISTORY),
        trigger=text(snap.get("triggersource")) or None,
        lane=text(first(snap, "lanno", "laneno", "lane")) or None,
        pictures=_pictures(holder),
    )


def _numbered(found: Seen | None) -> Seen | None:
    """Mark that the camera itself gave the zone."""
    return None if found is None else found._replace(zone="camera")


def _zone(snap: Mapping[str, Any]) -> float | None:
    """Seconds east of UTC by the maker's zone number, used only if no `utc_offset` is set."""
    code = whole(snap.get("timezone"))
    if code is None or not 0 <= code < len(_HOURS):
        return None
    return _HOURS[code] * 3600.0


def _bytes(holder: Mapping[str, Any], name: str) -> bytes:
    content = holder.get(name)
    return image(content.get("content")) if isinstance(content, dict) else b""


def _pictures(holder: Mapping[str, Any]) -> tuple[Picture, ...]:
    found: list[Picture] = []
    for name, role in (("cutoutpic", "plate"), ("platepic", "plate"), ("normalpic", "scene"), ("vehiclepic", "scene")):
        data = _bytes(holder, name)
        for one in picture("plate" if role == "plate" else "scene", data, name):
            found += _unglued(one)
    return chosen(found)


def _unglued(glued: Picture) -> Iterable[Picture]:
    """Split two consecutive JPEGs: the car and its plate."""
    cut = glued.data.find(b"\xff\xd9\xff\xd8\xff", 2)
    if cut < 0:
        return (glued,)
    return (
        replace(glued, role="scene", data=glued.data[: cut + 2]),
        replace(glued, role="plate", data=glued.data[cut + 2 :]),
    )


def _nested(body: str) -> list[Mapping[str, Any]]:
    """Parse `Events[0].A.B[1]=x` lines into nested objects, one per event."""
    events: dict[int, dict[str, Any]] = {}
    for line in body.split("\n", _LINES)[:_LINES]:
        found = _LINE.match(line.strip())
        if found is None:
            continue
        target: Any = events.setdefault(int(found[1]), {})
        steps = [name or number for name, number in _STEPS.findall(found[2])][:12]
        if not steps:
            continue
        for step in steps[:-1]:
            inner = target.get(step)
            if not isinstance(inner, dict):
                inner = target[step] = {}
            target = inner
        target[steps[-1]] = found[3].strip()
    return [small(_listed(event)) for _, event in sorted(events.items())]


def _listed(value: Any) -> Any:
    """Turn objects with the keys 0, 1, 2 … into lists."""
    if not isinstance(value, dict):
        return value
    if value and all(name.isascii() and name.isdigit() for name in value):
        return [_listed(one) for _, one in sorted(value.items(), key=lambda pair: int(pair[0]))]
    return {name: _listed(one) for name, one in value.items()}

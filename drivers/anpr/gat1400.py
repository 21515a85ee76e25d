"""GA/T 1400 (视图库): register, keep-alive, MotorVehicles and SubscribeNotifications of a camera or platform. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import orjson

from drivers.anpr import times
from drivers.anpr.capture import EVENTS, CameraSettings, Capture, Picture, PushReply, Report, Unreadable, read_each
from drivers.anpr.fields import certainty, first, image, is_no, items, key, mapping, picture, text, weakest, whole
from drivers.anpr.jsontree import MEMBERS, objects, parse_object, parse_objects, small
from drivers.anpr.part_sorting import chosen, named
from drivers.anpr.plate_codes import GAT, GAT_COLOURS

TYPE = "application/VIID+JSON"
_SCENES = frozenset({1, 8, 9, 14})
_PLATES = frozenset({2, 3})
_PEOPLE = frozenset({4, 5, 10, 11})
"""GA/T 1400.3, ImageType: pictures of the driver, of persons, of faces."""
_PEOPLE_LISTS = ("faceobject", "personobject")
_MOST = 64


def accepted(path: str, which: str = "") -> PushReply:
    """The status of a whole request (GA/T 1400.4)."""
    return PushReply(orjson.dumps({"ResponseStatusObject": _status(_url(path), which)}), TYPE)


def accepted_each(path: str, ids: Iterable[str]) -> PushReply:
    """A status for each object that was sent."""
    many = [_status(_url(path), one) for one in ids]
    return PushReply(orjson.dumps({"ResponseStatusListObject": {"ResponseStatusObject": many}}), TYPE)


def _url(path: str) -> str:
    return text(path.partition("?")[0], 256)


def _status(url: str, which: str) -> Mapping[str, str]:
    return {"RequestURL": url, "StatusCode": "0", "StatusString": "OK", "Id": which}


def parse(payload: bytes, _content_type: str, path: str, settings: CameraSettings) -> Report:
    """Parse a request. Raises Unreadable."""
    where = path.partition("?")[0].rstrip("/").lower()
    if not payload.strip():
        return Report("test", accepted(path))
    roots = parse_objects(payload)
    report = read_each(roots, lambda one: _object(one, where, path, settings))
    if len(roots) == 1 or report.kind != "captures":
        return report
    ids = [text(one.get("motorvehicleid")) for root in roots[:EVENTS] for one in list(_vehicles(root))[:_MOST]]
    return replace(report, reply=accepted_each(path, ids))


def _object(root: Mapping[str, Any], where: str, path: str, settings: CameraSettings) -> Report:
    """Parse one object of a request."""
    for word, name in (
        ("keepalive", "keepaliveobject"),
        ("register", "registerobject"),
        ("unregister", "unregisterobject"),
    ):
        if where.endswith(f"/{word}") or name in root:
            device = text(mapping(root.get(name)).get("deviceid")) or None
            return Report(
                "heartbeat" if word == "keepalive" else "registration", accepted(path, device or ""), device=device
            )
    vehicles = list(_vehicles(root))
    cut, vehicles = max(0, len(vehicles) - _MOST), vehicles[:_MOST]
    people = tuple(name for name in _PEOPLE_LISTS for holder in objects(root, name) for _ in items(holder[name]))
    if not vehicles:
        kind = next(iter(root), "unknown")
        return Report("other", accepted(path), refused=len(people), names=named(people), events=(text(kind),))
    ids = [text(one.get("motorvehicleid")) for one in vehicles]
    found = [_capture(one, settings) for one in vehicles]
    refused = (*people, *(name for _, names in found for name in names))
    device = text(vehicles[0].get("deviceid")) or None
    captures = tuple(capture for capture, _ in found)
    return Report("captures", accepted_each(path, ids), captures, (), len(refused), named(refused), cut, device)


def _vehicles(root: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    """Every motor vehicle, including those in notifications of a subscription."""
    for name in ("motorvehicleobject", "motorvehiclelistobject"):
        for holder in objects(root, name):
            listed = items(holder[name], MEMBERS)
            yield from (one for one in listed if isinstance(one, dict) and "motorvehicleobject" not in one)
    if "plateno" in root:
        yield root


def _capture(vehicle: Mapping[str, Any], settings: CameraSettings) -> tuple[Capture, list[str]]:
    """A vehicle, and the names of its refused pictures."""
    raw = text(vehicle.get("plateno"))
    if is_no(vehicle.get("hasplate")) or whole(vehicle.get("hasplate")) == 2:
        raw = ""
    taken = text(first(vehicle, "passtime", "appeartime", "marktime"))
    which = text(vehicle.get("motorvehicleid"))
    confidence = certainty(vehicle.get("platereliability"))
    if confidence is None:
        characters = text(vehicle.get("platecharreliability"), 256).replace("，", ",").split(",")
        confidence = weakest(one.rpartition("-")[2] for one in characters)
    pictures, refused = _pictures(vehicle.get("subimagelist"))
    capture = Capture(
        plate_raw=raw or None,
        key=key("gat1400", raw, which, taken) if which or taken else "",
        confidence=confidence,
        colour=GAT_COLOURS.get(whole(vehicle.get("platecolor")) or 0),
        kind=GAT.get(whole(vehicle.get("plateclass")) or 0),
        turn_raw=text(vehicle.get("direction")) or None,
        seen=times.seen(taken, settings.utc_offset),
        lane=text(vehicle.get("laneno")) or None,
        blanks="-",
        pictures=pictures,
    )
    return capture, refused


def _pictures(listed: object) -> tuple[tuple[Picture, ...], list[str]]:
    """`SubImageList`, which some platforms send as text within the JSON."""
    if isinstance(listed, str):
        try:
            listed = parse_object(listed.encode("utf-8", "replace")) if listed.strip() else {}
        except Unreadable:
            listed = {}
    found: list[Picture] = []
    refused: list[str] = []
    for entry in items(mapping(small(listed)).get("subimageinfoobject")):
        one = mapping(entry)
        kind = whole(one.get("type"))
        data = image(one.get("data"))
        if kind in _PEOPLE and data:
            refused.append(f"type {kind}")
        elif kind in _PLATES:
            found += picture("plate", data, text(one.get("imageid")))
        elif kind in _SCENES or kind is None:
            found += picture("scene", data, text(one.get("imageid")))
    return chosen(found), refused

"""UniView (宇视, LAPI): notifications that the camera pushes after a subscription. Pure.

Vehicles are in `StructureInfo.ObjInfo.VehicleInfoList`, their pictures in `ImageInfoList` by index. LAPI's numbers for
colours and kinds differ between its documents, so only words are used.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import orjson

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
    Unreadable,
    over,
    read_each,
)
from drivers.anpr.fields import at, certainty, colour, first, image, items, key, mapping, number, picture, text, whole
from drivers.anpr.jsontree import MEMBERS, objects, parse_objects
from drivers.anpr.multipart import is_multipart, parts
from drivers.anpr.part_sorting import chosen, named, sort
from drivers.anpr.plate_codes import by_word

_FACES = ("faceinfolist", "personinfolist")
_PLATE = ("plateno", "platenumber", "licenseplate", "platetext")


def accepted(path: str) -> PushReply:
    """LAPI's answer for success."""
    said = {
        "ResponseURL": text(path, 256), "ResponseCode": 0, "SubResponseCode": 0, "ResponseString": "Succeed",
        "StatusCode": 0, "StatusString": "Succeed", "Data": "null",
    }  # fmt: skip
    return PushReply(orjson.dumps({"Response": said}), JSON_TYPE)


def parse(payload: bytes, content_type: str, path: str, settings: CameraSettings) -> Report:
    """Parse a push. Raises Unreadable."""
    reply = accepted(path)
    if not payload.strip():
        return Report("test", reply)
    if not is_multipart(content_type, payload):
        return _pushes(payload, reply, settings)
    pieces = sort(parts(payload, content_type))
    if not pieces.documents:
        raise Unreadable("no JSON part")
    report = read_each(pieces.documents, lambda one: _pushes(one, reply, settings))
    captures = report.captures
    if len(captures) == 1:
        captures = (replace(captures[0], pictures=chosen((*captures[0].pictures, *pieces.pictures))),)
    refused = report.refused + len(pieces.refused)
    return replace(report, captures=captures, refused=refused, names=(*report.names, *named(pieces.refused))[:12])


def _pushes(document: bytes, reply: PushReply, settings: CameraSettings) -> Report:
    """One notification, or an array of them. Raises Unreadable."""
    return read_each(parse_objects(document), lambda one: _push(one, reply, settings))


def _push(root: Mapping[str, Any], reply: PushReply, settings: CameraSettings) -> Report:
    device = text(first(root, "deviceid", "devicecode", "serialnumber")) or None
    structure = mapping(root.get("structureinfo")) or root
    vehicles = list(_vehicles(structure, root))
    images = {whole(one.get("index")): one for one in objects(structure.get("imageinfolist"), "index")}
    faces = _face_images(structure)
    captures = tuple(_capture(one, root, images, faces, settings) for one in vehicles[:EVENTS])
    if captures:
        refused = tuple("face" for index in faces if index in images and images[index].get("data"))
        return Report(
            "captures", reply, captures, refused=len(refused), names=named(refused), cut=over(vehicles), device=device
        )
    if any(one in root for one in ("heartbeat", "keepalive", "heartbeatinfo")):
        return Report("heartbeat", reply, device=device)
    alarm = mapping(root.get("alarminfo"))
    event = text(first(alarm, "alarmtype", "alarmtypestr")) or ("structure" if "structureinfo" in root else "")
    if not event:
        raise Unreadable("no event in it")
    return Report("other", reply, device=device, events=(event,))


def _vehicles(structure: Mapping[str, Any], root: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    """The vehicles, at any of the places that firmware uses."""
    listed = at(structure, "objinfo", "vehicleinfolist")
    if listed is not None:
        return [one for one in items(listed, MEMBERS) if isinstance(one, dict)]
    holders = list(objects(root, "plateattributeinfo", "plateinfo"))
    return holders or list(objects(root, *_PLATE))


def _face_images(structure: Mapping[str, Any]) -> frozenset[int]:
    """The indexes of pictures of people."""
    found: set[int] = set()
    for name in _FACES:
        for face in objects(
            at(structure, "objinfo", name), "largepicattachindex", "smallpicattachindex", "picattachindex"
        ):
            index = whole(first(face, "smallpicattachindex", "picattachindex"))
            if index is not None:
                found.add(index)
    return frozenset(found)


def _capture(
    vehicle: Mapping[str, Any], root: Mapping[str, Any], images: Mapping[int | None, Any], faces: frozenset[int],
    settings: CameraSettings,
) -> Capture:  # fmt: skip
    plate = mapping(first(vehicle, "plateattributeinfo", "plateinfo")) or vehicle
    raw = text(first(plate, *_PLATE))
    written = text(first(vehicle, "passtime", "capturetime") or first(root, "passtime"))
    which = (text(first(root, "relatedid", "seq")), text(root.get("timestamp")), text(vehicle.get("id")), written)
    head = whole(at(vehicle, "vehiclefaceinfo", "isvehiclehead"))
    return Capture(
        plate_raw=raw or None,
        key=key("uniview", raw, *which) if which[1] or written else "",
        confidence=certainty(first(plate, "plateconfidence", "confidence", "platereliability")),
        colour=colour(first(plate, "color", "platecolor")),
        kind=by_word(text(first(plate, "type", "platetype"))),
        turn="forward" if head == 1 else None,
        turn_raw=text(at(vehicle, "laneinfo", "direction")) or None,
        seen=_seen(written, root, settings),
        trigger=text(vehicle.get("triggertype")) or None,
        lane=text(at(vehicle, "laneinfo", "id") or first(vehicle, "laneid", "laneno")) or None,
        pictures=_pictures(vehicle, plate, images, faces),
    )


def _seen(written: str, root: Mapping[str, Any], settings: CameraSettings) -> Seen | None:
    """`PassTime` is local time; `TimeStamp` of the whole message counts from 1970."""
    return times.seen(written, settings.utc_offset) or times.epoch(number(root.get("timestamp")))


def _pictures(
    vehicle: Mapping[str, Any], plate: Mapping[str, Any], images: Mapping[int | None, Any], faces: frozenset[int]
) -> tuple[Picture, ...]:
    found: list[Picture] = []
    small = whole(first(plate, "platepicattachindex") or vehicle.get("platepicattachindex"))
    large = whole(vehicle.get("largepicattachindex"))
    if small is not None and small in images and small not in faces:
        found += picture("plate", image(images[small].get("data")), f"image {small}")
    if large is not None and large in images and large not in faces and large != small:
        found += picture("scene", image(images[large].get("data")), f"image {large}")
    return chosen(found)

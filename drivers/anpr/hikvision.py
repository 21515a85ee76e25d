"""Hikvision (ISAPI): pushes of the listening host, parts of the alertStream, answers to the plate query. Pure.

Multipart, bare XML or bare JSON; any namespace or prefix. The camera accepts any 200 as an answer.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from drivers.anpr import times
from drivers.anpr.capture import EVENTS, OK, CameraSettings, Capture, Report, Seen, Turn, Unreadable, over, read_each
from drivers.anpr.fields import certainty, colour, is_image, is_yes, key, mapping, picture, text, weakest, whole
from drivers.anpr.jsontree import objects, parse_objects
from drivers.anpr.multipart import FormPart, is_multipart, parts
from drivers.anpr.part_sorting import Pieces, chosen, named, sort
from drivers.anpr.plate_codes import GAT, by_word
from drivers.anpr.xmltree import Node
from drivers.anpr.xmltree import parse as parse_xml

ACCEPTED = OK
ALERT_STREAM = "/ISAPI/Event/notification/alertStream"
PLATES = "/ISAPI/Traffic/channels/{channel}/vehicleDetect/plates"
"""For one channel, counted from 1; ALERT_STREAM is for all channels, with the channel in each event."""
TURNS: Mapping[str, Turn] = {"forward": "forward", "reverse": "reverse", "approach": "forward", "away": "reverse"}
_PLATE = ("licenseplate", "plate", "platenumber", "plateno", "originallicenseplate", "platelicense", "vehicleplate")
_ALIVE = frozenset({"heartbeat", "videoloss"})
_RECORDS = 256
"""The most records of one answer to a plate query."""
Fields = Mapping[str, str]


def parse(payload: bytes, content_type: str, _path: str, settings: CameraSettings) -> Report:
    """Parse a push. Raises Unreadable."""
    if not payload.strip():
        return Report("test")
    if is_multipart(content_type, payload):
        return _pieces(sort(parts(payload, content_type)), settings)
    if is_image(payload):
        return Report("pictures", pictures=picture("scene", payload))
    return _document(payload, settings)


def part(piece: FormPart, settings: CameraSettings) -> Report:
    """Parse one part of the alertStream. Its pictures follow as separate parts. Raises Unreadable."""
    return _pieces(sort((piece,)), settings)


def query(after: str) -> bytes:
    """The body of a plate query (`POST` to PLATES) for everything after a time, in the camera's format."""
    safe = "".join(one for one in after if one.isalnum() or one in "+-:.")[:40]
    return f"<AfterTime><picTime>{safe}</picTime></AfterTime>".encode()


def _pieces(pieces: Pieces, settings: CameraSettings) -> Report:
    pictures = chosen(pieces.pictures)
    refused, names = len(pieces.refused), named(pieces.refused)
    if not pieces.documents:
        return Report("pictures" if pictures or refused else "test", pictures=pictures, refused=refused, names=names)
    said = read_each(pieces.documents, lambda one: _document(one, settings))
    captures = said.captures
    if len(captures) == 1:
        captures, pictures = (replace(captures[0], pictures=chosen((*pictures, *captures[0].pictures))),), ()
    return replace(said, captures=captures, pictures=pictures, refused=refused + said.refused, names=names)


def _document(data: bytes, settings: CameraSettings) -> Report:
    start = data.lstrip(b"\xef\xbb\xbf\x00 \r\n\t")[:1]
    if start in (b"{", b"["):
        return _json(data, settings)
    root = parse_xml(data)
    if root.name.lower() == "plates":
        found = tuple(_record(one.texts(), settings) for one in root.children if one.name.lower() == "plate")
        return Report("captures" if found else "other", captures=found[:_RECORDS], cut=max(0, len(found) - _RECORDS))
    alerts = list(root.named("EventNotificationAlert")) or [root]
    return read_each(alerts, lambda one: _alert(one, settings))


def _alert(alert: Node, settings: CameraSettings) -> Report:
    """Parse one event in XML."""
    event = alert.texts()
    if _is_over(event):
        return Report("other", device=_device(event), events=("inactive",))
    cars = list(alert.named("ANPR"))
    if not cars:
        return _vehicles(event, [dict(one) for one in _properties(alert)], settings) or _other(event)
    return read_each(cars, lambda one: _car(event, one, alert if len(cars) == 1 else one, settings))


def _car(event: Fields, anpr: Node, near: Node, settings: CameraSettings) -> Report:
    """Parse one `ANPR` of an event; `near`: the element with the car's properties and its picture's time."""
    inner = anpr.texts()
    if (walker := _on_foot(inner)) is not None:
        return Report("other", device=_device(event), events=(walker,))
    gat = next(near.named("VehicleGATInfo"), None)
    stamp = next((one.text for one in near.named("absTime") if one.text), "")
    found = _capture(event, inner, {} if gat is None else gat.texts(), stamp, settings)
    return Report("captures", captures=(found,), device=_device(event))


def _properties(alert: Node) -> Iterable[Fields]:
    """The properties beside a plate of `CaptureResult` (mixedTargetDetection), flattened to one level."""
    for holder in alert.named("Vehicle", "PlateInfo", "Property"):
        texts = holder.texts()
        listed = {one["description"].lower(): one["value"] for one in (child.texts() for child in holder.children)
                  if "description" in one and "value" in one}  # fmt: skip
        yield {**texts, **listed}


def _json(data: bytes, settings: CameraSettings) -> Report:
    """Parse events in JSON, bare or within `EventNotificationAlert`; one event or an array."""
    events: list[tuple[Mapping[str, object], Mapping[str, object]]] = []
    for root in parse_objects(data):
        body = root.get("eventnotificationalert")
        if isinstance(body, list):
            events += [(one, one) for one in body if isinstance(one, dict)]
        else:
            events.append((root, mapping(body) or root))
    return read_each(events, lambda one: _event(*one, settings))


def _event(root: Mapping[str, object], body: Mapping[str, object], settings: CameraSettings) -> Report:
    """Parse one event in JSON. Fields beside an `ANPR` take precedence over those in `body`."""
    event = _flat(body)
    if _is_over(event):
        return Report("other", device=_device(event), events=("inactive",))
    cars, is_over = [], False
    for holder in objects(root, "anpr"):
        mine = {**event, **_flat(holder)}
        if _is_over(mine):
            is_over = True
            continue
        many = holder["anpr"] if isinstance(holder["anpr"], list) else [holder["anpr"]]
        cars += [(mine, holder, one) for one in many if isinstance(one, dict) and _on_foot(_flat(one)) is None]
    if cars:
        found = tuple(_of_anpr(*one, settings) for one in cars[:EVENTS])
        return Report("captures", captures=found, cut=over(cars), device=_device(event))
    if is_over:
        return Report("other", device=_device(event), events=("inactive",))
    return _vehicles(event, list(_targets(root)), settings) or _other(event)


def _of_anpr(
    event: Fields, holder: Mapping[str, object], anpr: Mapping[str, object], settings: CameraSettings
) -> Capture:
    """Make a capture from an `ANPR` and the fields beside it."""
    gat = next((_flat(one) for one in objects(holder, "paltetypebygat", "platetypebygat")), {})
    stamp = next((text(one["abstime"]) for one in objects(anpr, "abstime")), "")
    return _capture(event, _flat(anpr), gat, stamp, settings)


def _targets(root: Mapping[str, object]) -> Iterable[Fields]:
    """The vehicles of platforms and of mixedTargetDetection: bare values, `{value, confidence}`, or lists."""
    for one in objects(root, *_PLATE, "property"):
        listed = one.get("property")
        if isinstance(listed, list):
            pairs = (_flat(pair) for pair in listed[:64] if isinstance(pair, dict))
            flat = {
                pair["description"].lower(): pair["value"] for pair in pairs if {"description", "value"} <= pair.keys()
            }
        else:
            flat = {}
        for name, value in one.items():
            if isinstance(value, dict):
                inner = _flat(value)
                flat.setdefault(name, inner.get("value", ""))
                if name in _PLATE and inner.get("confidence"):
                    flat["confidencelevel"] = inner["confidence"]
        yield {**flat, **_flat(one)}


def _vehicles(event: Fields, targets: Iterable[Fields], settings: CameraSettings) -> Report | None:
    """Vehicles without `ANPR`; None: there is none with a plate."""
    told = [one for one in targets if any(one.get(name) for name in _PLATE) and _on_foot(one) is None]
    unlike = {next(one[name] for name in _PLATE if one.get(name)): one for one in reversed(told)}
    many = list(reversed(list(unlike.values())))
    found = tuple(_capture(event, one, {}, "", settings) for one in many[:EVENTS])
    return Report("captures", captures=found, cut=over(many), device=_device(event)) if found else None


def _is_over(event: Fields) -> bool:
    """True for the end of an event, which has no car; the end of a video loss is the heartbeat."""
    return event.get("eventstate", "").lower() == "inactive" and event.get("eventtype", "").lower() not in _ALIVE


def _flat(value: Mapping[str, object]) -> dict[str, str]:
    """The texts of an object, without lists and objects."""
    return {
        name: "1" if one is True else text(one, 256)
        for name, one in value.items()
        if one is not None and not isinstance(one, dict | list)
    }


def _on_foot(anpr: Fields) -> str | None:
    """True for a pedestrian or a vehicle other than a car without a plate, for which no gate opens."""
    kind = text(anpr.get("vehicletype"))
    if kind.lower() not in ("pedestrian", "twowheelvehicle", "threewheelvehicle", "nonmotor"):
        return None
    return kind if all(anpr.get(name, "").lower() in ("", "unknown", "车牌", "无车牌") for name in _PLATE) else None


def _capture(event: Fields, anpr: Fields, gat: Fields, stamp: str, settings: CameraSettings) -> Capture:
    """Make a capture from the texts of the event, its `ANPR`, `VehicleGATInfo` and the picture's time."""
    raw = next((text(anpr[name]) for name in _PLATE if anpr.get(name)), "")
    written = event.get("datetime", "") or anpr.get("datetime", "")
    confidence = certainty(anpr.get("confidencelevel") or anpr.get("plateconfidence"))
    is_empty = confidence == 0 and bool(raw)  # with a plate, 0 means that the field is not filled
    if confidence is None or is_empty:
        confidence = weakest(text(anpr.get("platecharbelieve"), 256).split(","))
        confidence = None if is_empty and not confidence else confidence
    said = anpr.get("direction", "").strip().lower()
    code = whole(gat.get("paltetypebygat") or gat.get("platetypebygat"))
    uuid = text(event.get("uuid"))
    return Capture(
        plate_raw=raw or None,
        key=key("hikvision", raw, uuid, written or stamp) if uuid or written or stamp else "",
        confidence=confidence,
        colour=colour(anpr.get("platecolor")),
        kind=by_word(anpr.get("platetype", "")) or (GAT.get(code) if code is not None else None),
        turn=TURNS.get(said),
        turn_raw=text(said) or None,
        seen=_seen(written, stamp, settings),
        history=any(is_yes(one.get(name)) for one in (event, anpr) for name in ("alarmdatatype", "ishistory")),
        channel=whole(event.get("channelid") or event.get("dynchannelid")),
        by_platform="vehiclealarm" in (event.get("datatype", "") + event.get("eventtype", "")).lower(),
        lane=text(anpr.get("line") or anpr.get("laneno")) or None,
    )


def _seen(written: str, stamp: str, settings: CameraSettings) -> Seen | None:
    """`dateTime`, else the picture's `absTime` (local)."""
    return times.seen(text(written), settings.utc_offset) or times.seen(text(stamp), settings.utc_offset)


def _record(plate: Fields, settings: CameraSettings) -> Capture:
    """Parse a record of the plate query, which comes from the camera's memory."""
    raw = next((text(plate[name]) for name in ("platenumber", *_PLATE) if plate.get(name)), "")
    written = text(plate.get("capturetime"))
    name = text(plate.get("picname"))
    said = plate.get("direction", "").strip().lower()
    return Capture(
        plate_raw=raw or None,
        key=key("hikvision", raw, name, written) if name or written else "",
        confidence=certainty(plate.get("confidencelevel")),
        turn=TURNS.get(said),
        turn_raw=text(said) or None,
        seen=times.seen(written, settings.utc_offset),
        history=True,
        lane=text(plate.get("laneno")) or None,
    )


def _other(event: Fields) -> Report:
    """A heartbeat (`heartBeat`, or inactive `videoloss`), or an event of another kind."""
    kind = text(event.get("eventtype"))
    if kind.lower() in _ALIVE and (kind.lower() != "videoloss" or event.get("eventstate", "").lower() != "active"):
        return Report("heartbeat", device=_device(event))
    if not kind:
        raise Unreadable("no event in it")
    return Report("other", device=_device(event), events=(kind,))


def _device(event: Fields) -> str | None:
    return next((text(event[name]) for name in ("deviceuuid", "deviceid", "macaddress") if event.get(name)), None)

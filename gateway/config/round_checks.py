"""Cross checks of rounds and places. Pure."""

from collections.abc import Iterator, Mapping

from gateway.config.checked_parts import Facts
from gateway.config.device import DETECTORS, Device
from gateway.config.lines import ModbusLine, PanelLine
from gateway.config.problems import Finding, Path
from gateway.config.rounds import (
    MOST_ITEMS,
    CameraItem,
    DeviceItem,
    DutyItem,
    Item,
    PanelItem,
    PersonItem,
    PointItem,
    QuietItem,
    TestedItem,
)

SITE = "site"
"""The zone of what has none."""
_GIVE_PICTURES = frozenset({"hikvision", "dahua", "uniview", "onvif"})
"""Makers whose cameras are known to keep a picture of this moment at a path of their own."""


def check_rounds(facts: Facts) -> Iterator[Finding]:
    """What is wrong between rounds, places and the rest of the file."""
    held: dict[str, str] = {}
    for name, place in facts.places.items():
        if (tag := place.tag) is not None:
            other = held.setdefault(repr(tag.printed or tag.ntag424), name)
            if other != name:
                text = f"found the secret of places.{other}, whose tag would prove this place too; one of its own"
                yield Finding(("places", name, "tag"), text)
        if place.zone is not None and place.zone != SITE:
            yield from facts.named("zones", place.zone, ("places", name, "zone"))
    for name, one in facts.inspection.items():
        path: Path = ("inspection", name, "items")
        if not one.items:
            yield Finding(path, "found no item; one at least", at_key=True)
        if len(one.items) > MOST_ITEMS:
            text = f"found {len(one.items)} items; {MOST_ITEMS} at most, the rest in another round"
            yield Finding(path, text, at_key=True)
        seen: dict[str, int] = {}
        for number, item in enumerate(one.items[:MOST_ITEMS]):
            first = seen.setdefault(f"{type(item).__name__} {item!r}", number)
            if first != number:
                yield Finding((*path, number), f"found the same as items.{first}; each item once")
            if item.place is not None:
                yield from facts.named("places", item.place, (*path, number, "place"))
            yield from _item(facts, item, (*path, number))


def _item(facts: Facts, item: Item, path: Path) -> Iterator[Finding]:
    match item:
        case PointItem():
            yield from facts.refers(item.point, (*path, "point"))
        case DeviceItem():
            yield from facts.named("devices", item.device, (*path, "device"))
        case QuietItem():
            yield from _quiet(facts, item.no_alarm, (*path, "no_alarm"))
        case PanelItem():
            yield from _panel(facts, item.panel, (*path, "panel"), asks_guard=False)
            yield from _told(facts, item, path)
        case DutyItem():
            yield from _panel(facts, item.duty_check, (*path, "duty_check"), asks_guard=True)
        case TestedItem():
            yield from _tested(facts, item.tested, (*path, "tested"))
        case CameraItem():
            yield from _camera(facts, item.camera, (*path, "camera"))
        case PersonItem():
            for ref in item.watch:
                yield from facts.refers(ref, (*path, "watch", ref))


def _zone(facts: Facts, zone: str, path: Path) -> Iterator[Finding]:
    if zone != SITE:
        yield from facts.named("zones", zone, path)


def _quiet(facts: Facts, zone: str, path: Path) -> Iterator[Finding]:
    unknown = list(_zone(facts, zone, path))
    yield from unknown
    if len(facts.devices) < len(facts.written.get("devices", ())):
        return  # one that is wrong itself may be of the zone
    devices = facts.devices.values()
    if not unknown and not any((one.zone or SITE) == zone or one.components is not None for one in devices):
        text = f"found '{zone}', in which there is no device: the item ends not-checkable in every run"
        yield Finding(path, text, "warning")


def _panel(facts: Facts, name: str, path: Path, *, asks_guard: bool) -> Iterator[Finding]:
    yield from facts.named("devices", name, path)
    device = facts.devices.get(name)
    if device is None:
        return
    if device.kind != "panel":
        yield Finding(path, f"found '{name}', a {device.kind}; a panel")
    elif asks_guard or isinstance(facts.lines.get(device.line), PanelLine):
        text = "this version has no driver for panels and their duty check: the item ends not-checkable in every run"
        yield Finding(path, text, "warning")


def _told(facts: Facts, item: PanelItem, path: Path) -> Iterator[Finding]:
    """What a panel on a Modbus line never tells would always be found well."""
    device = facts.devices.get(item.panel)
    if device is None or device.kind != "panel" or not isinstance(facts.lines.get(device.line), ModbusLine):
        return
    kinds = {alarm.kind for point in device.points.values() for alarm in point.alarms.values()}
    for key, kind, most in (("faults", "fault", item.faults), ("disabled", "disabled", item.disabled)):
        if most is not None and kind not in kinds:
            text = f"found {most}, and '{item.panel}' has no alarm of kind {kind}, so none would ever be seen"
            yield Finding((*path, key), text)


def _tested(facts: Facts, zone: str, path: Path) -> Iterator[Finding]:
    unknown = list(_zone(facts, zone, path))
    yield from unknown
    if not unknown and not initiating(facts.devices, zone):
        yield Finding(path, f"found '{zone}', in which no device can call a fire; a zone with a detector")


def initiating(devices: Mapping[str, Device], zone: str) -> tuple[str, ...]:
    """The devices of a zone that can call a fire, in the order of the file."""
    return tuple(
        name
        for name, device in devices.items()
        if (device.zone or SITE) == zone and (device.kind in DETECTORS - {"gas-detector"} or device.kind == "panel")
    )


def _camera(facts: Facts, name: str, path: Path) -> Iterator[Finding]:
    yield from facts.named("cameras", name, path)
    camera = facts.cameras.get(name)
    if camera is not None and camera.snapshot is None and camera.driver not in _GIVE_PICTURES:
        text = f"found '{name}', and where a camera of {camera.driver} keeps its picture is not known"
        yield Finding(path, f"{text}; one with snapshot: http://HOST/PATH")

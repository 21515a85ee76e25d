"""`inspection` and `places` of the site file as the site wants them, and where the secrets of places lie."""

from collections import Counter
from collections.abc import Iterator, Mapping

from gateway.config import rounds as written
from gateway.config.round_checks import initiating
from gateway.config.site import SiteFile
from gateway.settings.types import PlaceProof
from gateway.site import round_settings as made
from gateway.site.settings import Ref


def round_settings(file: SiteFile) -> made.RoundSettings | None:
    """What the brain wants to know; None: the file has no rounds."""
    if not file.inspection:
        return None
    rounds = {
        name: made.Round(name, tuple(_items(file, one)), one.title, one.cron, one.due)
        for name, one in file.inspection.items()
    }
    places = {
        name: made.Place(name, place.name, place.zone, None if place.tag is None else _how(place.tag))
        for name, place in file.places.items()
    }
    return made.RoundSettings(file.site.timezone, rounds, places)


def place_tags(file: SiteFile) -> Mapping[str, PlaceProof]:
    """How being at a place is proven, by place; the secret is read when it is needed."""
    tags: dict[str, PlaceProof] = {}
    for name, place in file.places.items():
        if place.tag is not None:
            secret = place.tag.printed or place.tag.ntag424
            if secret is not None:
                tags[name] = PlaceProof(_how(place.tag), secret.place())
    return tags


def _how(tag: written.PlaceTagEntry) -> "made.Tag":
    return "printed" if tag.printed is not None else "ntag424"


def _items(file: SiteFile, one: written.RoundEntry) -> Iterator[made.Item]:
    """Items of one kind and target are numbered by what they ask, so that the order of the file is free."""
    names = [(kind, target, item) for item in one.items for kind, target in [_named(item)]]
    alike = sorted(
        ((kind, target, repr(item)) for kind, target, item in names),
        key=lambda named: named[2],
    )
    counted: Counter[tuple[str, str]] = Counter()
    numbers: dict[tuple[str, str, str], int] = {}
    for named in alike:
        counted[named[:2]] += 1
        numbers[named] = counted[named[:2]]
    for kind, target, item in names:
        number = numbers[kind, target, repr(item)]
        id_ = f"{kind}:{target}" + (f"#{number}" if number > 1 else "")
        yield made.Item(id_, kind, _rule(file, item), item.service_class, item.place)


def _named(item: written.Item) -> tuple[str, str]:
    kind = next(key for key, of in written.ITEMS.items() if type(item) is of)
    return kind, str(getattr(item, kind))


def _rule(file: SiteFile, item: written.Item) -> made.Rule:
    match item:
        case written.PointItem():
            ref = _ref(item.point)
            rising = file.devices[ref.device].kind == "electrical-fire"
            usual = made.TREND_S if item.between is not None else 0.0
            ahead = usual if item.trend is None else item.trend
            return made.PointRule(ref, item.between, item.equals, ahead, rising)
        case written.DeviceItem():
            return made.DeviceRule(item.device)
        case written.QuietItem():
            return made.ZoneRule(item.no_alarm)
        case written.PanelItem():
            return made.PanelRule(item.panel, item.faults, item.disabled)
        case written.DutyItem():
            return made.DutyRule(item.duty_check, item.within)
        case written.TestedItem():
            return made.TestedRule(item.tested, initiating(file.devices, item.tested), item.within)
        case written.CameraItem():
            limits = item.picture.model_dump()
            return made.PictureRule(item.camera, **limits, written=frozenset(item.picture.model_fields_set))
        case written.PersonItem():
            watch = tuple((_ref(ref), value) for ref, value in item.watch.items())
            return made.PersonRule(item.person, item.photo, watch, item.within)


def _ref(text: str) -> Ref:
    device, _, point = text.partition(".")
    return Ref(device, point)

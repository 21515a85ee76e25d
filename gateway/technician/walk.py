"""The walk test of a zone: each initiating device is triggered on site, and ticked off when its fire arrives.

The input is the running daemon's standing alarms. The record is for the acceptance files: who walked, when, each device
with its times of fire and clear, and what was not tested.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from gateway import __version__
from gateway.config.site import SiteFile
from gateway.printable import harmless

Alarm = Mapping[str, Any]
"""Data of a standing alarm."""

_SITE = "site"
_NOTICE = (
    "This record says what reached site-gateway. It is not a fire alarm control unit and replaces no test of one.",
    "本记录仅说明信号到达网关的情况；本产品不是火灾报警控制器，不替代法定消防设施的检测。",
)


@dataclass(slots=True)
class Walked:
    """One initiating device of the zone. Times are RFC 3339 in UTC; None: it has not happened."""

    device: str
    kind: str
    place: str | None
    alarm: str | None = None
    """The occurrence of its fire."""
    fire: str | None = None
    clear: str | None = None
    reset: bool = False
    """The walk has reset the occurrence."""

    @property
    def by_hand(self) -> bool:
        """True for a call point: it ends the test and counts as a real fire."""
        return self.kind == "call-point"

    @property
    def result(self) -> str:
        """`passed`, `fire stands` or `not tested`."""
        if self.fire is None:
            return "not tested"
        return "fire stands" if self.clear is None else "passed"


class Walk:
    """The progress of a walk. `before`: occurrences that stood when the test began and do not belong to it."""

    def __init__(self, devices: Iterable[Walked], before: Collection[str]) -> None:
        self.devices = {one.device: one for one in devices}
        self._before = frozenset(before)

    def see(self, standing: Iterable[Alarm]) -> list[Walked]:
        """Take the standing alarms; returns the devices with news."""
        news = []
        fires = {str(one["alarm"]): one for one in standing if one["kind"] == "fire"}
        for alarm, data in fires.items():
            device = self.devices.get(str(data["device"]))
            if device is not None and device.fire is None and alarm not in self._before:
                device.alarm, device.fire = alarm, str(data["raised_at"])
                news.append(device)
        for device in self.devices.values():
            shown = fires.get(device.alarm or "")
            if device.clear is None and shown is not None and not shown["active"]:
                device.clear = str(shown["cleared_at"])
                news.append(device)
        return [one for number, one in enumerate(news) if one not in news[:number]]

    def ended(self, device: Walked, at: str) -> None:
        """Note that its occurrence was reset, so its condition is gone."""
        device.reset, device.clear = True, device.clear or at

    @property
    def to_reset(self) -> list[Walked]:
        """Devices whose fire has ended and whose occurrence still stands; not call points, which a person resets."""
        return [one for one in self.devices.values() if one.clear is not None and not one.reset and not one.by_hand]

    @property
    def burning(self) -> list[Walked]:
        """Devices that still show fire, which the end of the test would turn into a real one."""
        return [one for one in self.devices.values() if one.result == "fire stands"]

    @property
    def is_real(self) -> bool:
        """True if a call point was pressed, which ends the test."""
        return any(one.by_hand and one.fire is not None for one in self.devices.values())

    @property
    def is_tested(self) -> bool:
        """True if everything except call points was tested."""
        return all(one.result == "passed" for one in self.devices.values() if not one.by_hand)

    @property
    def is_done(self) -> bool:
        """True if every device has reported and shows no fire any more."""
        passed = all(one.result == "passed" for one in self.devices.values())
        return passed and not self.to_reset


def initiating(file: SiteFile, zone: str) -> list[Walked]:
    """The initiating devices of a zone, call points last, because one ends the test."""
    found = [
        Walked(name, device.kind, device.place)
        for name, device in file.devices.items()
        if (device.zone or _SITE) == zone
        and any(alarm.kind == "fire" for point in device.points.values() for alarm in point.alarms.values())
    ]
    return sorted(found, key=lambda one: one.by_hand)


def record(walk: Walk, file: SiteFile, zone: str, **about: str) -> dict[str, Any]:
    """The acceptance record, in local time with its offset. `about`: by, begun, ended, why."""

    def here(key: str, value: Any) -> Any:
        return offset(value, file.site.timezone) if key in ("fire", "clear", "begun", "ended") and value else value

    about = {key: here(key, value) for key, value in about.items()}
    devices = [
        {key: here(key, value) for key, value in asdict(one).items() if key != "alarm"} | {"result": one.result}
        for one in walk.devices.values()
    ]
    known = file.zones.get(zone)
    return {
        "record": "walk",
        "site": file.site.id,
        "site_name": file.site.name,
        "gateway": file.gateway,
        "version": __version__,
        "zone": zone,
        "zone_name": None if known is None else known.name,
        **about,
        "devices": devices,
        "passed": sum(one["result"] == "passed" for one in devices),
        "not_tested": [one["device"] for one in devices if one["result"] == "not tested"],
        "notice": [*_NOTICE],
    }


def as_text(record: Mapping[str, Any], timezone: str) -> str:
    """The record as text, to be printed and signed; names in it are free of terminal control characters."""
    place = f"{record['site_name'] or record['site']}, {record['zone_name'] or record['zone']}"
    lines = [
        f"Walk through zone {record['zone']}: {place}",
        f"Gateway {record['gateway']}, version {record['version']}",
        f"By {record['by']}, {local(record['begun'], timezone)} to {local(record['ended'], timezone)} ({timezone})",
        f"Ended: {record['why']}",
        "",
        f"{'device':24} {'fire':8} {'clear':8} {'result':12} place",
    ]
    for one in record["devices"]:
        fire, clear = (local(one[key], timezone)[11:] for key in ("fire", "clear"))
        lines.append(f"{one['device']:24} {fire:8} {clear:8} {one['result']:12} {one['place'] or ''}".rstrip())
    lines += ["", f"{record['passed']} of {len(record['devices'])} passed.", *record["notice"], "", "Signed:", ""]
    return "\n".join(map(harmless, lines))


def local(at: str | None, timezone: str) -> str:
    """A time in the site's local time, to the second; `-` for none."""
    if at is None:
        return f"{'':11}-"
    return datetime.fromisoformat(at).astimezone(ZoneInfo(timezone)).strftime("%Y-%m-%d %H:%M:%S")


def offset(at: str, timezone: str) -> str:
    """The same moment as RFC 3339 with the offset of the site."""
    return datetime.fromisoformat(at).astimezone(ZoneInfo(timezone)).isoformat(timespec="seconds")

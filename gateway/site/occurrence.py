"""The data of one occurrence of an alarm, as the MQTT contract names it."""

from collections.abc import Mapping

from gateway.model import Instant, Json, Reading, rfc3339
from gateway.site.settings import AlarmRule, Condition, DeviceSettings, ServiceClock

Data = dict[str, Json]


def born(  # noqa: PLR0913 - all fields of an occurrence
    alarm: str,
    rule: AlarmRule,
    device: DeviceSettings | None,
    now: Instant,
    service: ServiceClock,
    *,
    measured: Data,
    first_out: bool,
    shelved_until: str | None,
    disabled: bool,
) -> Data:
    """A new occurrence, not acknowledged yet."""
    fire = rule.kind == "fire"
    return {
        "alarm": alarm,
        "name": rule.name,
        "kind": rule.kind,
        "severity": rule.severity,
        "class": rule.service_class,
        "state": "unack",
        "active": True,
        "acknowledged": False,
        "latched": rule.latch,
        "shelved": shelved_until is not None,
        "disabled": disabled,
        "first_out": first_out,
        "device": rule.device if device else None,
        "point": rule.point or None,
        "zone": zone_of(rule, device),
        "place": device.place if device else None,
        **measured,
        "raised_at": now.rfc3339(),
        "acknowledged_at": None,
        "acknowledged_by": None,
        "verified_as": None,
        "cleared_at": None,
        "respond_by": None if fire else rfc3339(now.wall + service.respond),
        "resolve_by": None if fire else rfc3339(now.wall + service.resolve(rule.service_class)),
        "verify_by": rfc3339(now.wall + service.fire_verify) if fire else None,
        "shelved_until": shelved_until,
        "overdue": False,
    }


def rule_of(subject: str, data: Mapping[str, Json]) -> AlarmRule:
    """Rebuild the rule of an occurrence that is no longer in the site file, as far as its data allows."""
    name, point = str(data["name"]), str(data["point"] or "")
    device = subject.removesuffix(f"/{name}").removesuffix(f"/{point}" if point else "")
    zone = data["zone"]
    return AlarmRule(
        device, point, name, str(data["kind"]), str(data["severity"]), str(data["class"]), bool(data["latched"]),
        Condition(), zone=None if zone is None else str(zone), counts="device" if point else "alone",
    )  # fmt: skip


def subject_of(data: Mapping[str, Json]) -> str:
    """The subject of an occurrence, from its data alone; the data of a line's alarm does not name the line."""
    return "/".join(str(part) for part in (data.get("device") or "gateway", data.get("point"), data["name"]) if part)


def zone_of(rule: AlarmRule, device: DeviceSettings | None) -> str | None:
    """The zone that an alarm belongs to."""
    return rule.zone or (device.zone if device else None)


def measured(reading: Reading | None, text: str | None = None) -> Data:
    """The measured fields; a built-in alarm has only a text."""
    if reading is None:
        return {"value": None, "text": text, "unit": None, "quality": None}
    return {
        "value": reading.value,
        "text": reading.text,
        "unit": reading.unit,
        "quality": reading.quality.value,
    }


def returned(reading: Reading | None) -> Data:
    """The condition of a latched occurrence is back: it has to be acknowledged again."""
    return {
        "state": "unack",
        "active": True,
        "acknowledged": False,
        "acknowledged_at": None,
        "acknowledged_by": None,
        "cleared_at": None,
        **measured(reading),
    }


def seen(data: Data, by: str, now: Instant) -> Data:
    """A person acknowledges it."""
    return {
        **data,
        "state": "ack" if data["active"] else "latched-ack",
        "acknowledged": True,
        "acknowledged_at": now.rfc3339(),
        "acknowledged_by": by,
    }


def gone(data: Data, reading: Reading | None, now: Instant) -> Data:
    """The condition is gone; not latched: the occurrence ends."""
    state = "normal"
    if data["latched"]:
        state = "latched-ack" if data["acknowledged"] else "latched-unack"
    shown = measured(reading) if reading else {}
    return {**data, **shown, "state": state, "active": False, "cleared_at": now.rfc3339()}


def reset(data: Data, by: str, now: Instant) -> Data:
    """A person ends it, which also acknowledges it."""
    known = {} if data["acknowledged"] else {"acknowledged_at": now.rfc3339(), "acknowledged_by": by}
    told = {name: value for name, value in data.items() if name not in ("chattering", "count")}
    return {
        **told,
        **known,
        "acknowledged": True,
        "state": "normal",
        "active": False,
        "cleared_at": data["cleared_at"] or now.rfc3339(),
    }

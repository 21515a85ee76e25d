"""From the site file to what each room wants to know: one translation a room, nothing else.

A room is imported where it is asked for: `check` and `plan` need none of those that talk.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.cloud.link import Broker
from gateway.cloud.wire import TlsFiles
from gateway.config.device import Device as DeviceFile
from gateway.config.points import Alarm, Point, Write
from gateway.config.site import ModbusLine, SiteFile
from gateway.config.units import endpoint
from gateway.config.uses import uses
from gateway.model import ALARM_KINDS, Lane, Stream
from gateway.secret import SecretPlace
from gateway.settings import Listen, Settings, StoreSettings
from gateway.site.settings import (
    AlarmRule,
    Condition,
    DeviceSettings,
    ServiceClock,
    SiteSettings,
)

if TYPE_CHECKING:
    from drivers.modbus import settings as modbus
    from gateway.driver import Poller

_BROKEN = frozenset({"open", "short"})
"""What a supervised contact reads when its wire is broken: the contact itself is not seen."""


def site(file: SiteFile) -> SiteSettings:
    """What the brain wants to know."""
    service = file.service
    return SiteSettings(
        devices={name: _device(name, device) for name, device in file.devices.items()},
        lines=tuple(file.lines),
        service=ServiceClock(service.respond, service.ordinary, service.complex, service.major, service.fire_verify),
        zones=tuple(file.zones),
    )


def settings(file: SiteFile) -> Settings:
    """Everything that `app.py` wires."""
    store = file.store
    return Settings(
        site_id=file.site.id,
        gateway_id=file.gateway,
        site=site(file),
        lines=tuple(modbus_line(file, name) for name in modbus_lines(file)),
        deadbands=deadbands(file),
        broker=broker(file),
        topics=topics(file),
        source=f"/sites/{file.site.id}/gateways/{file.gateway}",
        telemetry_every=file.uplink.telemetry.every,
        store=StoreSettings(
            path=Path(store.path),
            max_size=store.max_size,
            alarm_reserve=store.alarm_reserve,
            keep={stream: getattr(store.keep, stream.value) for stream in Stream},
        ),
        interlocked=dict(uses(file)),
        urgent=urgent(file),
        status=_status(file),
        simulated=file.simulated,
    )


def topics(file: SiteFile) -> str:
    """`T`: what every topic of this gateway begins with."""
    return f"{file.uplink.topic_root}/{file.site.id}/{file.gateway}"


def broker(file: SiteFile) -> Broker:
    """The broker and who we are to it."""
    uplink = file.uplink
    tls, secret = uplink.tls, uplink.password
    files = TlsFiles(*map(_path, (tls.ca, tls.cert, tls.key))) if tls else TlsFiles()
    return Broker(
        host=uplink.endpoint.host,
        port=uplink.endpoint.port,
        client_id=uplink.client_id,
        protocol=5 if uplink.protocol == 5 else 4,
        tls=files if uplink.is_secure else None,
        username=uplink.username,
        password=None if secret is None else SecretPlace(_path(secret.file), secret.credential, secret.env).read,
        keepalive=uplink.keepalive,
    )


def _status(file: SiteFile) -> Listen | None:
    page = file.http.status if file.http else None
    if page is None:
        return None
    at, tls = endpoint(page.listen), page.tls
    return Listen(at.host, at.port, (Path(tls.cert), Path(tls.key)) if tls else None)


def _path(part: object) -> Path | None:
    return None if part is None else Path(str(part))


def modbus_lines(file: SiteFile) -> list[str]:
    """The lines that the gateway asks."""
    return [name for name, line in file.lines.items() if isinstance(line, ModbusLine)]


def deadbands(file: SiteFile) -> Mapping[str, Mapping[str, float]]:
    """The smallest change worth telling, by device and point."""
    return {
        name: {point: settings.deadband for point, settings in device.points.items() if settings.deadband}
        for name, device in file.devices.items()
    }


def urgent(file: SiteFile) -> Mapping[str, frozenset[str]]:
    """The points of the alarm lane, by device."""
    lanes = {
        name: frozenset(point for point, settings in device.points.items() if _lane(settings) is Lane.ALARM)
        for name, device in file.devices.items()
    }
    return {name: points for name, points in lanes.items() if points}


def poller(file: SiteFile, name: str) -> "Poller":
    """The driver of one line. Raises ConfigError."""
    from drivers.modbus.line import ModbusLine as Driver

    return Driver(modbus_line(file, name))


def modbus_line(file: SiteFile, name: str) -> "modbus.LineSettings":
    """What the Modbus driver wants to know of one line."""
    from drivers.modbus import settings as modbus

    line = file.lines[name]
    if not isinstance(line, ModbusLine):
        raise TypeError(f"line {name} is no Modbus line")
    endpoint = line.endpoint
    return modbus.LineSettings(
        name=name,
        serial=line.serial,
        host=endpoint.host if endpoint else None,
        port=endpoint.port if endpoint else 502,
        framing=line.framing,
        baudrate=line.baudrate,
        parity=line.parity,
        stopbits=line.stopbits,
        in_flight=line.in_flight,
        devices=tuple(_modbus_device(key, device) for key, device in file.devices.items() if device.line == name),
    )


def _device(name: str, device: DeviceFile) -> DeviceSettings:
    rules = []
    for point, settings in device.points.items():
        rules += [_rule(name, point, key, alarm, settings) for key, alarm in settings.alarms.items()]
        if settings.supervised is not None:
            severity, service_class, latch = ALARM_KINDS["fault"]
            rules.append(
                AlarmRule(name, point, "wire", "fault", severity, service_class, latch, Condition(words=_BROKEN))
            )
    return DeviceSettings(
        id=name,
        line=device.line,
        zone=device.zone,
        place=device.place,
        rules=tuple(rules),
        kind=device.kind,
        timeout=device.limits.timeout,
        points=frozenset(device.points),
    )


def _rule(device: str, point: str, name: str, alarm: Alarm, settings: Point) -> AlarmRule:
    condition = Condition(alarm.equals, alarm.differs, alarm.above, alarm.below, alarm.clear)
    if settings.supervised is not None:
        word = alarm.equals if isinstance(alarm.equals, str) else "alarm"
        condition = Condition(words=frozenset({word}), blind=_BROKEN)
    return AlarmRule(
        device,
        point,
        name,
        alarm.kind,
        alarm.severity,
        alarm.service_class,
        alarm.latch,
        condition,
        alarm.for_,
        alarm.clear_for,
        alarm.confirm,
    )


def _lane(point: Point) -> Lane:
    return Lane.ALARM if any(alarm.lane == "alarm" for alarm in point.alarms.values()) else Lane.NORMAL


def _modbus_device(name: str, device: DeviceFile) -> "modbus.Device":
    from drivers.modbus import settings as modbus

    limits = device.limits
    return modbus.Device(
        id=name,
        unit=device.unit,
        points=tuple(_modbus_point(key, point) for key, point in device.points.items()),
        max_registers=limits.max_registers,
        max_bits=limits.max_bits,
        fixed_bits=limits.fixed_bits,
        max_gap=limits.max_gap,
        silence=limits.silence,
        timeout=limits.timeout,
    )


def _modbus_point(name: str, point: Point) -> "modbus.Point":
    from drivers.modbus import settings as modbus

    supervised, pulse, write = point.supervised, point.pulse, point.write
    return modbus.Point(
        name=name,
        table=point.at.table,
        address=point.at.address,
        type=point.type,
        order=point.order,
        bit=point.bit,
        invert=point.invert,
        scale=point.scale,
        offset=point.offset,
        unit=point.unit,
        values=point.values,
        valid=point.valid,
        invalid=point.invalid,
        every=point.every,
        lane=_lane(point),
        supervised=None
        if supervised is None
        else modbus.Supervised(
            normal=supervised.normal, alarm=supervised.alarm, open=supervised.open, short=supervised.short
        ),
        write=None
        if write is False
        else modbus.Write(fc=write.fc, on=write.on, off=write.off)
        if isinstance(write, Write)
        else modbus.Write(),
        pulse=None if pulse is None else modbus.Pulse(table=pulse.at.table, address=pulse.at.address, step=pulse.step),
    )

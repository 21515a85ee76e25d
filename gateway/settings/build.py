"""From the site file to what each room wants to know: one translation a room, nothing else.

A room is imported where it is asked for: `check` and `plan` need none of those that talk.
"""

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.cloud.commands.claims import KeyFile
from gateway.cloud.mqtt.types import Broker, TlsFiles
from gateway.commands import COMMANDS
from gateway.config.device import Device as DeviceFile
from gateway.config.device import ResetPoint
from gateway.config.gates import GateEntry, Repeat
from gateway.config.point_owners import OFTEN_S, uses
from gateway.config.points import Alarm, At, Point, Write
from gateway.config.site import ModbusLine, SiteFile
from gateway.config.units import endpoint
from gateway.kinds import ALARM_KINDS
from gateway.model import Lane, Stream
from gateway.settings.camera_uses import access_settings, camera_uses, list_settings
from gateway.settings.loss_uses import losses, settings_of, settings_used
from gateway.settings.page import page_settings
from gateway.settings.round_uses import place_tags, round_settings
from gateway.settings.types import Listen, Settings, StoreSettings
from gateway.site.settings import (
    AlarmRule,
    AnnunciatorSettings,
    Condition,
    DeviceReset,
    DeviceSettings,
    GateSettings,
    LinkageSettings,
    OwnSettings,
    Ref,
    ServiceClock,
    SiteSettings,
)

if TYPE_CHECKING:
    from drivers.modbus import settings as modbus
    from drivers.modbus.dialin import DialIn
    from drivers.modbus.requests import Requests
    from gateway.driver import Poller

_BROKEN = frozenset({"open", "short"})
"""What a supervised contact reads when its wire is broken: the contact itself is not seen."""
_WILL_DELAY_S = 10


def site(file: SiteFile) -> SiteSettings:
    """What the brain wants to know."""
    service = file.service
    return SiteSettings(
        devices={name: _device(name, device) for name, device in file.devices.items()},
        lines=tuple(file.lines),
        service=ServiceClock(service.respond, service.ordinary, service.complex, service.major, service.fire_verify),
        zones=tuple(file.zones),
        gates={name: _gate(file, name, gate) for name, gate in file.gates.items()},
        linkages=tuple(_linkages(file)),
        annunciator=_annunciator(file),
        own=_own(file),
        writable=frozenset(
            Ref(name, key)
            for name, device in file.devices.items()
            for key, point in device.points.items()
            if point.write
        ),
        performed=frozenset(
            name for name, one in COMMANDS.items() if one.outside and (file.cameras or not one.needs_cameras)
        ),
        access=access_settings(file),
        inspection=round_settings(file),
    )


def settings(file: SiteFile) -> Settings:
    """Everything that `app.py` wires."""
    store = file.store
    pushed_to = file.http.cameras if file.http else None
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
        interlocked=dict(uses(file)) | settings_used(file),
        urgent=urgent(file),
        keys=_keys(file),
        alive_timed=_is_timed(file, _own(file).alive),
        losses=tuple(losses(file)),
        cameras=camera_uses(file),
        camera_listen=Listen(*endpoint(pushed_to.listen), None) if pushed_to else None,
        camera_max_body=pushed_to.max_body if pushed_to else 0,
        lists=list_settings(file) if any(camera.mode for camera in file.cameras.values()) else None,
        page=page_settings(file),
        timezone=file.site.timezone,
        people=dict(file.people),
        place_tags=place_tags(file),
        simulated=file.simulated,
    )


def topics(file: SiteFile) -> str:
    """`T`: what every topic of this gateway begins with."""
    return f"{file.uplink.topic_root}/{file.site.id}/{file.gateway}"


def broker(file: SiteFile) -> Broker:
    """The broker and who we are to it."""
    uplink = file.uplink
    tls = uplink.tls
    files = TlsFiles(_path(tls.ca), _path(tls.cert), _path(tls.key), tls.strict) if tls else TlsFiles()
    return Broker(
        host=uplink.endpoint.host,
        port=uplink.endpoint.port,
        client_id=uplink.client_id,
        protocol=5 if uplink.protocol == 5 else 4,
        tls=files if uplink.is_secure else None,
        username=uplink.username,
        password=None if uplink.password is None else uplink.password.place(),
        keepalive=uplink.keepalive,
        will=uplink.will != "off",
        will_delay=_WILL_DELAY_S if uplink.will == "delayed" else 0,
        retain=uplink.retain,
        max_packet=uplink.max_packet,
        rate=uplink.rate,
    )


def _keys(file: SiteFile) -> tuple[KeyFile, ...]:
    keys = file.commands.keys if file.commands else ()
    return tuple(
        KeyFile(key.id, Path(key.ed25519), None if key.allow is None else frozenset(key.allow)) for key in keys
    )


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
    used = _used(file)
    lanes = {
        name: frozenset(
            point
            for point, settings in device.points.items()
            if _pace(settings, Ref(name, point), used)[0] is Lane.ALARM
        )
        for name, device in file.devices.items()
    }
    return {name: points for name, points in lanes.items() if points}


def poller(file: SiteFile, name: str, calls: "DialIn | None" = None) -> "Poller":
    """The driver of one line. `calls`: where its device dials in, if that listens already. Raises ConfigError."""
    from drivers.modbus.line import ModbusPoller as Driver

    return Driver(modbus_line(file, name), calls)


def dial_in(host: str, port: int) -> "DialIn":
    """What listens where devices dial in."""
    from drivers.modbus.dialin import DialIn as Port

    return Port(host, port)


def requests(file: SiteFile, name: str) -> "Requests":
    """What is asked of one line: the part of its driver that needs no wire. Raises ConfigError."""
    from drivers.modbus.requests import Requests

    return Requests(modbus_line(file, name))


def modbus_line(file: SiteFile, name: str) -> "modbus.LineSettings":
    """What the Modbus driver wants to know of one line."""
    from drivers.modbus import settings as modbus

    line = file.lines[name]
    if not isinstance(line, ModbusLine):
        raise TypeError(f"line {name} is no Modbus line")
    used = _used(file)
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
        strict=line.strict,
        listens=line.listen is not None,
        allow=line.allow,
        register=line.registrations,
        heartbeat=bytes.fromhex((line.heartbeat or "").removeprefix("0x")),
        devices=tuple(_modbus_device(key, device, used) for key, device in file.devices.items() if device.line == name),
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
        reset=_reset(name, device),
        points=frozenset(device.points),
    )


def _reset(name: str, device: DeviceFile) -> DeviceReset | None:
    how = device.reset
    if how is None:
        return None
    if isinstance(how, ResetPoint):
        return DeviceReset(Ref(name, how.point), how.value)
    return DeviceReset(_ref(how.power), off=how.off)


def _gate(file: SiteFile, name: str, gate: GateEntry) -> GateSettings:
    relay = None if isinstance(gate.open, str) else gate.open
    opens = _ref(gate.open) if isinstance(gate.open, str) else Ref(gate.open.camera, f"io{gate.open.io}")
    return GateSettings(
        id=name,
        open=opens,
        pulse=gate.pulse,
        timed=relay is not None or _is_timed(file, opens),
        hold=_maybe(gate.hold),
        hold_timed=_is_timed(file, _maybe(gate.hold)),
        repeat=gate.hold_by.repeat if isinstance(gate.hold_by, Repeat) else None,
        arm=_maybe(gate.arm),
        clear=_maybe(gate.clear),
        opens_within=gate.opens_within,
        on_loss=gate.on_loss,
        readable=relay is None,
    )


def _is_timed(file: SiteFile, ref: Ref | None) -> bool:
    """True if the module ends a pulse of this output by itself."""
    device = None if ref is None else file.devices.get(ref.device)
    return ref is not None and device is not None and device.points[ref.point].pulse is not None


def _linkages(file: SiteFile) -> Iterator[LinkageSettings]:
    for name, rule in file.linkage.items():
        yield LinkageSettings(
            id=name,
            zones=None if isinstance(rule.zones, str) else frozenset(rule.zones),
            trigger=rule.trigger,
            call_point=rule.call_point,
            button=_maybe(rule.button),
            hold=rule.hold,
            set=tuple(map(_ref, rule.set)),
        )


def _annunciator(file: SiteFile) -> AnnunciatorSettings:
    sound = file.annunciator
    return (
        AnnunciatorSettings(*map(_maybe, (sound.fire, sound.fault, sound.silence))) if sound else AnnunciatorSettings()
    )


def _own(file: SiteFile) -> OwnSettings:
    own = file.self_
    return OwnSettings() if own is None else OwnSettings(_maybe(own.alive), _maybe(own.mains), _maybe(own.battery))


def _ref(text: str) -> Ref:
    device, _, point = text.partition(".")
    return Ref(device, point)


def _maybe(text: str | None) -> Ref | None:
    return None if text is None else _ref(text)


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


def _used(file: SiteFile) -> Collection[Ref]:
    """The points that the site moves or listens to by itself."""
    return {_ref(ref) for ref, _ in uses(file)}


def _pace(point: Point, ref: Ref, used: Collection[Ref]) -> tuple[Lane, float]:
    """In which lane a point is read, and how often (seconds): the one place that knows."""
    if ref in used:
        return Lane.ALARM, min(point.every, OFTEN_S)
    urgent = any(alarm.lane == "alarm" for alarm in point.alarms.values())
    return Lane.ALARM if urgent else Lane.NORMAL, point.every


def _modbus_device(name: str, device: DeviceFile, used: Collection[Ref]) -> "modbus.ModbusDevice":
    from drivers.modbus import settings as modbus

    limits = device.limits
    return modbus.ModbusDevice(
        id=name,
        unit=device.unit,
        points=tuple(_modbus_point(Ref(name, key), point, used) for key, point in device.points.items()),
        settings=tuple(
            _setting(key, at, point) for name, point in device.points.items() for key, at in settings_of(name, point)
        ),
        max_registers=limits.max_registers,
        max_bits=limits.max_bits,
        fixed_bits=limits.fixed_bits,
        max_gap=limits.max_gap,
        silence=limits.silence,
        timeout=limits.timeout,
    )


def _setting(name: str, at: At, output: Point) -> "modbus.ModbusPoint":
    from drivers.modbus import settings as modbus

    odd = output.write if isinstance(output.write, Write) and at.table == output.at.table else Write()
    write = modbus.ModbusWrite(fc=odd.fc)
    return modbus.ModbusPoint(name=name, table=at.table, address=at.address, order=output.order, write=write)


def _modbus_point(ref: Ref, point: Point, used: Collection[Ref]) -> "modbus.ModbusPoint":
    from drivers.modbus import settings as modbus

    lane, every = _pace(point, ref, used)
    supervised, pulse, write = point.supervised, point.pulse, point.write
    return modbus.ModbusPoint(
        name=ref.point,
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
        every=every,
        lane=lane,
        supervised=None
        if supervised is None
        else modbus.SupervisedWindows(
            normal=supervised.normal, alarm=supervised.alarm, open=supervised.open, short=supervised.short
        ),
        write=None
        if write is False
        else modbus.ModbusWrite(fc=write.fc, on=write.on, off=write.off)
        if isinstance(write, Write)
        else modbus.ModbusWrite(),
        pulse=None
        if pulse is None
        else modbus.ModbusPulse(table=pulse.at.table, address=pulse.at.address, step=pulse.step),
    )

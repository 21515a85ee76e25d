"""Cross checks of lines and devices: what no single entry can know. Pure."""

import posixpath
from collections.abc import Iterator
from ipaddress import IPv6Address, ip_address

from gateway.config.checked_parts import Facts
from gateway.config.device import DETECTORS, READ_ONLY, Device, ResetPoint, ResetPower
from gateway.config.lines import ModbusLine, PanelLine
from gateway.config.points import At, Point
from gateway.config.problems import Finding, Path
from gateway.config.units import endpoint, is_loopback

_SLOWEST = {"fire": 10.0, "gas": 10.0, "fault": 100.0, "wire": 100.0}
"""Seconds between two looks at a point that can raise this kind (page "product", promise 2)."""
_UNSTABLE = ("/dev/ttyUSB", "/dev/ttyACM")


def check_lines(facts: Facts) -> Iterator[Finding]:
    """Ports and listeners that two lines share; settings that are odd."""
    ports: dict[str, str] = {}
    used = {device.line for device in facts.devices.values()}
    for name, line in facts.lines.items():
        path: Path = ("lines", name)
        if isinstance(line, ModbusLine):
            key = "serial" if line.serial is not None else "tcp"
            port = line.serial or str(line.tcp)
            owner = name if line.listen is not None else ports.setdefault(_same(line), name)
            if owner != name:
                yield Finding((*path, key), f"found {port}, which is also line {owner}'s; one line for one port")
            if port.startswith(_UNSTABLE):
                text = (
                    f"found {port}, which changes when adapters are plugged in otherwise; a name of /dev/serial/by-id"
                )
                yield Finding((*path, key), text, "warning")
            if line.parity != "none" and line.stopbits == 2:
                text = f"found 2 stop bits with parity {line.parity}; 1 makes the 11 bits of a Modbus character"
                yield Finding((*path, "stopbits"), text, "warning")
        if name not in used and 0 < len(facts.written.get("devices", ())) == len(facts.devices):
            yield Finding(path, "has no device", "warning", at_key=True)
    yield from _listeners(facts)
    yield from _callers(facts)


def _callers(facts: Facts) -> Iterator[Finding]:
    """Lines whose devices dial in at one port are told apart by what those say first."""
    lines = [(name, line) for name, line in facts.lines.items() if isinstance(line, ModbusLine) and line.listen]
    for number, (name, line) in enumerate(lines):
        for other, earlier in lines[:number]:
            if line.endpoint != earlier.endpoint:
                continue
            path: Path = ("lines", name)
            if line.registration is None or earlier.registration is None:
                lacks, at = (name, path) if line.registration is None else (other, ("lines", other))
                text = f"found no register, and {other if lacks == name else name} listens at {line.listen} too"
                yield Finding((*at, "listen"), f"{text}; `register`, by which the two are told apart")
                break
            elif any(a.startswith(b) or b.startswith(a) for a in line.registrations for b in earlier.registrations):
                text = f"found a registration that begins as that of line {other}; one of its own"
                yield Finding((*path, "register"), text)


def _same(line: ModbusLine) -> str:
    """One text for every spelling of a port: a board under two names would have two owners."""
    if line.serial is not None:
        return posixpath.normpath(line.serial)
    host, port = endpoint(str(line.tcp))
    try:
        ip = ip_address(host)
        host = str((ip.ipv4_mapped or ip) if isinstance(ip, IPv6Address) else ip)
    except ValueError:
        host = host.lower()
    own = is_loopback(host) and host in {"localhost", "127.0.0.1", "::1"}
    return f"{'localhost' if own else host} {port}"


def _listeners(facts: Facts) -> Iterator[Finding]:
    places: list[tuple[Path, str]] = [
        (("lines", name, "listen"), line.listen) for name, line in facts.lines.items() if line.listen is not None
    ]
    if facts.http is not None:
        if facts.http.cameras is not None:
            places.append((("http", "cameras", "listen"), facts.http.cameras.listen))
        if facts.http.status is not None:
            places.append((("http", "status", "listen"), facts.http.status.listen))
    calls = {("lines", name, "listen") for name, line in facts.lines.items() if isinstance(line, ModbusLine)}
    """Several lines whose devices dial in may share a port."""
    for number, (path, text) in enumerate(places):
        here = endpoint(text)
        for other, taken in places[:number]:
            there = endpoint(taken)
            anywhere = {"0.0.0.0", "::"} & {here.host, there.host}  # noqa: S104 (compared, not bound)
            if here.port != there.port or not (here.host == there.host or anywhere):
                continue
            if not (here == there and path in calls and other in calls):
                yield Finding(path, f"found {text}, which {'.'.join(map(str, other))} listens on; another port")


def check_devices(facts: Facts) -> Iterator[Finding]:
    """References, unit ids, addresses, and the rules for fire devices."""
    units: dict[tuple[str, int], str] = {}
    panels: dict[tuple[str, str | None], str] = {}
    unverified: set[str] = set()
    for name, device in facts.devices.items():
        path: Path = ("devices", name)
        yield from facts.named("lines", device.line, (*path, "line"))
        if device.zone is not None:
            yield from facts.named("zones", device.zone, (*path, "zone"))
        line = facts.lines.get(device.line)
        if isinstance(line, ModbusLine):
            yield from _modbus_device(facts, device, line, path, units)
        elif isinstance(line, PanelLine):
            yield from _panel_device(device, path, panels)
        yield from _overlaps(device, path)
        yield from _twins(device, path)
        yield from _outputs(facts, device, path)
        yield from _fire_device(device, path)
        if device.profile not in unverified and device.source is not None and device.source.status == "unverified":
            unverified.add(device.profile or name)
            text = f"the register table is unverified ({device.source.text}); compare it with the device's manual"
            yield Finding((*path, "profile") if device.profile else (*path, "source"), text, "warning")
    yield from _shipped_otherwise(facts)


def _same_unit(facts: Facts, device: Device, owner: str, at_unit: Path) -> Finding:
    """Two devices of a line with one unit id: often because none was written."""
    if "unit" not in device.model_fields_set:
        text = f"is missing; without it unit 1 is meant, which is also {owner}'s on line {device.line}; unit: 1-247"
        return Finding(at_unit, text, at_key=True)
    other = facts.devices.get(owner)
    implied = other is not None and "unit" not in other.model_fields_set
    remark = f" ({owner} has no `unit`: 1 is meant)" if implied else ""
    text = f"found unit {device.unit} on line {device.line}, which is also {owner}'s{remark}; a unit id of its own"
    return Finding(at_unit, text)


def _shipped_otherwise(facts: Facts) -> Iterator[Finding]:
    """Devices shipped with another speed or parity than their line has; once for each profile and line."""
    told: set[tuple[str, str | None]] = set()
    for name, device in facts.devices.items():
        line, shipped = facts.lines.get(device.line), facts.shipped.get(name)
        if shipped is None or not isinstance(line, ModbusLine) or not line.is_bus:
            continue
        if (device.line, device.profile) in told:
            continue
        told.add((device.line, device.profile))
        has = f"{line.baudrate} baud, parity {line.parity}, stop bits {line.stopbits}"
        leaves = f"{shipped.baudrate} baud, parity {shipped.parity}, stop bits {shipped.stopbits}"
        if has != leaves:
            text = f"is shipped with {leaves}, and line {device.line} has {has}; set the device, or the line"
            yield Finding(("devices", name, "profile"), text, "warning")


def _modbus_device(
    facts: Facts, device: Device, line: ModbusLine, path: Path, units: dict[tuple[str, int], str]
) -> Iterator[Finding]:
    at_unit = (*path, "unit")
    owner = units.setdefault((device.line, device.unit), str(path[1]))
    if owner != path[1]:
        yield _same_unit(facts, device, owner, at_unit)
    if line.is_bus and device.unit == 0:
        yield Finding(at_unit, "found 0, which every device of a bus obeys; 1-247")
    elif line.is_bus and device.unit > 247:
        yield Finding(at_unit, f"found {device.unit}, a reserved id; 1-247 if the device can be set", "warning")
    for key in ("address", "components"):
        if getattr(device, key) is not None:
            written = "points" if key == "components" else key
            yield Finding((*path, written), f"found {written} of a panel on a modbus line; a gb26875 line has panels")
    if not device.points and device.components is None:
        yield Finding(path, "has no points; nothing is read from it", "warning", at_key=True)


def _panel_device(device: Device, path: Path, panels: dict[tuple[str, str | None], str]) -> Iterator[Finding]:
    owner = panels.setdefault((device.line, device.address), str(path[1]))
    if owner != path[1]:
        text = f"found the same address on line {device.line} as {owner} has; an address of its own"
        yield Finding((*path, "address"), text)
    if device.kind != "panel":
        yield Finding((*path, "kind"), f"found {device.kind} on a gb26875 line; panel")
    if device.points:
        yield Finding((*path, "points"), "found points on a gb26875 line; a file, points: FILE.csv, or nothing")
    if "unit" in device.model_fields_set:
        yield Finding((*path, "unit"), f"found {device.unit} on a gb26875 line; address, or nothing")


def _overlaps(device: Device, path: Path) -> Iterator[Finding]:
    """Two points that read the same registers differently (several bits of one register are no such thing)."""
    taken: list[tuple[str, int, int, str, Point]] = sorted(
        (*point.span, name, point) for name, point in device.points.items()
    )
    order = list(device.points)
    for number, (table, first, count, name, point) in enumerate(taken):
        for other_table, other_first, _, other_name, other in taken[number + 1 :]:
            if other_table != table or other_first >= first + count:
                break
            if point.bit is not None or other.bit is not None or (first, point.type) == (other_first, other.type):
                continue
            later, earlier = sorted((name, other_name), key=order.index, reverse=True)
            one = device.points[later]
            text = f"found {one.at} as {one.type}, over '{earlier}' ({_where(device.points[earlier])})"
            yield Finding((*path, "points", later, "at"), f"{text}; addresses that do not overlap, or the same type")


def _twins(device: Device, path: Path) -> Iterator[Finding]:
    """Outputs under two names: what keeps other hands off a gate's output looks at its name."""
    outputs = [(name, point) for name, point in device.points.items() if point.writable]
    for number, (name, point) in enumerate(outputs):
        for other_name, other in outputs[:number]:
            at = _common(point, other)
            if at is not None:
                text = f"found an output at {at}, which '{other_name}' writes too; one name for one output"
                yield Finding((*path, "points", name, "at"), text)
                break


def _common(one: Point, other: Point) -> At | None:
    """What both write; several bits of one register are no such thing, nor is a watchdog of both."""
    if one.at == other.at:
        return one.at if one.bit is None or other.bit is None or one.bit == other.bit else None
    mine, theirs = {one.at, *_pulsed(one)}, {other.at, *_pulsed(other)}
    both = mine & (theirs | _told(other)) | theirs & _told(one)
    return min(both, default=None)


def _pulsed(point: Point) -> set[At]:
    return set() if point.pulse is None else {point.pulse.at}


def _told(point: Point) -> set[At]:
    return set() if point.loss is None else {point.loss.safe, point.loss.watchdog}


def _where(point: Point) -> str:
    _, first, count = point.span
    end = f"-{first + count - 1}" if count > 1 else ""
    return f"{point.type} at {point.at}{end}"


def _outputs(facts: Facts, device: Device, path: Path) -> Iterator[Finding]:
    resets = {device.reset.point} if isinstance(device.reset, ResetPoint) and device.kind in DETECTORS else set()
    for name, point in device.points.items():
        if point.writable and device.kind in READ_ONLY and name not in resets:
            text = f"found an output of a {device.kind}; no write (a detector's reset point alone may have it)"
            yield Finding((*path, "points", name, "write"), text)
    if isinstance(device.reset, ResetPoint):
        yield from facts.refers(f"{path[1]}.{device.reset.point}", (*path, "reset", "point"), output=True)
    elif isinstance(device.reset, ResetPower):
        yield from facts.refers(device.reset.power, (*path, "reset", "power"), output=True)


def _fire_device(device: Device, path: Path) -> Iterator[Finding]:
    kinds = set()
    for name, point in device.points.items():
        for alarm_name, alarm in point.alarms.items():
            kinds.add(alarm.kind)
            slowest = _SLOWEST.get(alarm.kind)
            if slowest is not None and point.every > slowest:
                text = f"found {point.every:g}s with the alarm {alarm_name} of kind {alarm.kind}; at most {slowest:g}s"
                yield Finding((*path, "points", name, "every"), text)
    if device.kind not in DETECTORS:
        return
    wanted = "gas" if device.kind == "gas-detector" else "fire"
    if wanted not in kinds:
        text = f"found a {device.kind} without an alarm of kind {wanted}; one at least, or it can never tell"
        yield Finding(path, text, at_key=True)
    if not device.is_certified:
        text = f"is no certified fire detector (certified: {device.certified or 'not written'})"
        yield Finding(path, text, "warning", at_key=True)

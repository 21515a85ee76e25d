"""Cross checks of a whole site file: references, safety rules, doubts. Pure."""

from collections import Counter
from collections.abc import Iterator

from gateway.config.checked_parts import Facts
from gateway.config.device import DETECTORS, ResetPower
from gateway.config.device_checks import check_devices, check_lines
from gateway.config.gates import CameraRelay, GateEntry
from gateway.config.linkage import LinkageEntry
from gateway.config.points import At, LossEntry
from gateway.config.problems import Finding, Path
from gateway.config.round_checks import check_rounds

NOT_BUILT = frozenset({"fire_centre", "gb26875"})
"""Parts of the file that this version reads and checks but does not act on yet."""
_RESTART_S = 10.0
"""Seconds that a restart of the gateway may take on a small box."""


def check(facts: Facts, top: tuple[str, ...]) -> Iterator[Finding]:
    """Everything that is wrong or doubtful between the parts. `top`: the top-level keys of the file."""
    yield from _not_built(facts, top)
    yield from _uplink(facts, top)
    yield from check_lines(facts)
    yield from check_devices(facts)
    yield from _gates(facts)
    yield from _settings(facts)
    yield from _cameras(facts)
    for name, rule in facts.linkage.items():
        yield from _linkage(facts, rule, ("linkage", name))
    yield from _signals(facts)
    yield from _shared(facts)
    yield from check_rounds(facts)


def _not_built(facts: Facts, top: tuple[str, ...]) -> Iterator[Finding]:
    text = "is configured but this version does not act on it yet"
    for key in top:
        if key in NOT_BUILT:
            yield Finding((key,), text, "warning", at_key=True)
        for part in facts.written.get(key, ()):
            if f"{key}.{part}" in NOT_BUILT:
                yield Finding((key, part), text, "warning", at_key=True)
    for name, line in facts.lines.items():
        if line.driver in NOT_BUILT:
            yield Finding(("lines", name), f"driver {line.driver} {text}", "warning", at_key=True)
    for section in ("lines", "devices"):
        if section in top and not facts.written.get(section, ("?",)):
            yield Finding((section,), f"found no {section.removesuffix('s')}; one at least", at_key=True)


_SLOW_PER_S = 2.0
"""Messages a second; below, a fire waits noticeably."""


def _uplink(facts: Facts, top: tuple[str, ...]) -> Iterator[Finding]:
    uplink = facts.uplink
    if uplink is None:
        return
    if not uplink.is_secure and not uplink.is_local:
        personal = "cameras" in top or "access" in top
        text = f"found {uplink.url}, which anybody on the way can read; mqtts://"
        yield Finding(("uplink", "url"), text, "error" if personal else "warning")
    if uplink.protocol != 5:
        text = "found 3.1.1, with which a refusal by the broker cannot be seen; 5 if the broker can"
        yield Finding(("uplink", "protocol"), text, "warning")
    if not uplink.retain:
        text = "found false: who subscribes later is not told what stands; true if the broker can"
        yield Finding(("uplink", "retain"), text, "warning")
    if uplink.will == "off":
        text = "found off: nobody is told that the gateway is gone; plain, or delayed"
        yield Finding(("uplink", "will"), text, "warning")
    if uplink.rate is not None and uplink.rate < _SLOW_PER_S:
        wait = f"an alarm may wait {1 / uplink.rate:.0f} s for its turn"
        text = f"found {uplink.rate:g}/s: {wait}; {_SLOW_PER_S:g}/s or more"
        yield Finding(("uplink", "rate"), text, "warning")


def _gates(facts: Facts) -> Iterator[Finding]:
    owners: dict[str, str] = {}
    for name, gate in facts.gates.items():
        path: Path = ("gates", name)
        for key, ref in gate.refs().items():
            output = key in ("open", "hold")
            yield from facts.refers(ref, (*path, key), output=output)
            if output:
                owner = owners.setdefault(ref, f"{name}.{key}")
                if owner != f"{name}.{key}":
                    yield Finding((*path, key), f"found '{ref}', which is also {owner}; an output of its own")
        if isinstance(gate.open, CameraRelay):
            yield from facts.named("cameras", gate.open.camera, (*path, "open", "camera"))
            text = (
                "found a camera's relay: it opens in the answer to a plate only, not for a command, a person or a fire"
            )
            yield Finding((*path, "open"), text, "warning", at_key=True)
        if gate.zone is not None:
            yield from facts.named("zones", gate.zone, (*path, "zone"))
        if gate.on_loss == "open":
            yield from _on_loss(facts, gate, path)


def _on_loss(facts: Facts, gate: GateEntry, path: Path) -> Iterator[Finding]:
    held = gate.hold or gate.open
    point = facts.point(held) if isinstance(held, str) else None
    where = held if isinstance(held, str) else "a camera's relay"
    if isinstance(held, CameraRelay) or (point is not None and point.loss is None):
        text = f"found open, but {where} has no `loss`; keep, or a module whose profile says how it is told"
        yield Finding((*path, "on_loss"), text)
    elif point is not None and point.loss is not None and point.loss.after < _RESTART_S:
        text = f"found open, and the watchdog of {where} waits {point.loss.after:g}s: a restart of the gateway opens it"
        yield Finding((*path, "on_loss"), f"{text}; {_RESTART_S:g}s or more", "warning")


def _settings(facts: Facts) -> Iterator[Finding]:
    """One watchdog, or one safe value, for two gates that want different things of it."""
    told: dict[tuple[str, At], tuple[int, str]] = {}
    keeps: list[tuple[str, str, LossEntry]] = []
    for name, gate in facts.gates.items():
        held = gate.hold or gate.open
        point = facts.point(held) if isinstance(held, str) else None
        if point is None or point.loss is None:
            continue
        loss, device = point.loss, str(held).partition(".")[0]
        if gate.on_loss == "keep":
            keeps.append((name, device, loss))
        if gate.on_loss != "open":
            continue
        for at, word in ((loss.safe, point.safe_on), (loss.watchdog, loss.armed)):
            known, other = told.setdefault((device, at), (word, name))
            if known != word:
                text = f"found open, which needs {word} in {at} of {device}; gate {other} needs {known} there"
                yield Finding(("gates", name, "on_loss"), f"{text}: the same `loss` for both, or another module")
    for name, device, loss in keeps:
        if (device, loss.watchdog) in told:
            other = told[device, loss.watchdog][1]
            text = f"found keep, and the watchdog that opens gate {other} moves this output of {device} too"
            yield Finding(("gates", name, "on_loss"), f"{text}; open, or another module")


def _cameras(facts: Facts) -> Iterator[Finding]:
    for name, camera in facts.cameras.items():
        path: Path = ("cameras", name)
        if camera.gate is not None:
            yield from facts.named("gates", camera.gate, (*path, "gate"))
            if camera.token is None:
                text = "found no token; whoever can send from its address can open the gate"
                yield Finding((*path, "token"), text, "warning")
        if camera.mode == "push" and (facts.http is None or facts.http.cameras is None):
            text = "found a camera that pushes, and nothing listens; http: {cameras: {listen: HOST:PORT}}"
            yield Finding((*path, "mode"), text)
    status = facts.http.status if facts.http is not None else None
    if status is not None and status.read_only:
        text = f"found {status.listen} without tls; the page is read-only there"
        yield Finding(("http", "status", "listen"), text, "warning")


def _linkage(facts: Facts, rule: LinkageEntry, path: Path) -> Iterator[Finding]:
    for number, zone in enumerate(rule.zones if isinstance(rule.zones, tuple) else ()):
        if zone != "site":
            yield from facts.named("zones", zone, (*path, "zones", number))
    if rule.button is not None:
        yield from facts.refers(rule.button, (*path, "button"))
    for number, name in enumerate(rule.hold):
        yield from facts.named("gates", name, (*path, "hold", number))
        gate = facts.gates.get(name)
        if gate is not None and gate.hold is None and isinstance(gate.open, CameraRelay):
            yield Finding(
                (*path, "hold", number),
                f"found '{name}', which only a camera's relay opens; a gate with an output of a device",
            )
        if gate is not None and gate.on_loss is None:
            text = f"is missing; keep | open, because linkage {path[1]} holds this gate"
            yield Finding(("gates", name, "on_loss"), text, at_key=True)
    moving = {ref: name for name, gate in facts.gates.items() for ref in gate.refs().values()}
    for number, ref in enumerate(rule.set):
        where = (*path, "set", number)
        yield from facts.refers(ref, where, output=True)
        if ref in moving:
            yield Finding(where, f"found '{ref}', a point of gate {moving[ref]}; a sounder or a lamp, gates go to hold")
    if rule.trigger == "two-devices":
        yield from _lonely(facts, rule, path)


def _lonely(facts: Facts, rule: LinkageEntry, path: Path) -> Iterator[Finding]:
    """Zones with exactly one device that can call a fire: two can never agree there."""
    initiating = {name: device for name, device in facts.devices.items() if device.kind in DETECTORS}
    counted = Counter(device.zone or "site" for device in initiating.values())
    panels = {device.zone or "site" for device in facts.devices.values() if device.kind == "panel"}
    for zone, count in counted.items():
        if count != 1 or zone in panels or (rule.zones != "any" and zone not in rule.zones):
            continue
        name, device = next((name, one) for name, one in initiating.items() if (one.zone or "site") == zone)
        if device.kind == "call-point" and rule.call_point == "alone":
            continue
        text = f"found one initiating device only ({name}) under linkage {path[1]}, which wants two; another one"
        yield Finding(("zones", zone) if device.zone else (*path, "zones"), text, "warning", at_key=True)


def _signals(facts: Facts) -> Iterator[Finding]:
    if facts.annunciator is not None:
        for key in ("fire", "fault", "silence"):
            ref = getattr(facts.annunciator, key)
            if ref is not None:
                yield from facts.refers(ref, ("annunciator", key), output=key != "silence")
    if facts.own is not None:
        for key in ("alive", "mains", "battery"):
            ref = getattr(facts.own, key)
            if ref is not None:
                yield from facts.refers(ref, ("self", key), output=key == "alive")
    yield from _alive(facts)


def _alive(facts: Facts) -> Iterator[Finding]:
    """A relay that shows that the gateway lives should fall by itself when it does not."""
    ref = facts.own.alive if facts.own is not None else None
    point = facts.point(ref) if ref is not None else None
    if point is not None and point.writable and point.pulse is None:
        text = f"found '{ref}', an output without `pulse`: it stays as it is when the gateway dies"
        yield Finding(("self", "alive"), f"{text}; one of a module with a timed pulse", "warning")


def _shared(facts: Facts) -> Iterator[Finding]:
    """An output has one owner: what ends a sound must not let a gate go."""
    owners: dict[str, str] = {}
    for name, gate in facts.gates.items():
        owners |= {ref: f"gates.{name}.{key}" for key, ref in gate.refs().items() if key in ("open", "hold")}
    for name, rule in facts.linkage.items():
        owners |= dict.fromkeys(rule.set, f"linkage.{name}.set")
    yield from _resets(facts, owners)
    signals: list[tuple[Path, str | None]] = []
    if facts.annunciator is not None:
        signals += [(("annunciator", key), getattr(facts.annunciator, key)) for key in ("fire", "fault")]
    if facts.own is not None:
        signals.append((("self", "alive"), facts.own.alive))
    for path, ref in signals:
        if ref is None:
            continue
        owner = owners.setdefault(ref, ".".join(map(str, path)))
        if owner != ".".join(map(str, path)):
            yield Finding(path, f"found '{ref}', which is also {owner}; an output of its own")


def _resets(facts: Facts, owners: dict[str, str]) -> Iterator[Finding]:
    """What resets a device: several may hang on one supply, and nothing else. Adds to `owners`."""
    resets: dict[str, str] = {}
    for name, device in facts.devices.items():
        how = device.reset
        if how is None:
            continue
        key = "power" if isinstance(how, ResetPower) else "point"
        ref = how.power if isinstance(how, ResetPower) else f"{name}.{how.point}"
        if ref in owners:
            text = f"found '{ref}', which is also {owners[ref]}; an output of its own"
            yield Finding(("devices", name, "reset", key), text)
        resets.setdefault(ref, f"devices.{name}.reset.{key}")
    for ref, owner in resets.items():
        owners.setdefault(ref, owner)

"""Diagnoses a site, from the ports to the cameras. Moves nothing, writes nothing to a device."""

import asyncio
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from gateway.clock import Clock, kernel_synced
from gateway.config.site import ModbusLine, SiteFile
from gateway.driver import Poller, Tolerant, Traced
from gateway.errors import DeviceError, GatewayError, LineDown, LineTaken, NotAnswering
from gateway.local.control import Daemon
from gateway.local.trace import TracedExchange, exchanges
from gateway.safe_write import as_owner
from gateway.settings import build
from gateway.technician import ports
from gateway.technician.broker import reach
from gateway.technician.cameras import cameras
from gateway.technician.on_loss import outputs
from gateway.technician.points import free_line
from gateway.technician.runs_as import UnixUser, name_of, refusal, service_user
from gateway.technician.watch import heard, state
from gateway.technician.wiring_faults import LOADS, Sign, diagnose, oddities

_LEAST_ROUNDS, _MOST_ROUNDS = 3, 6
_ENOUGH_S, _LONGEST_S = 3.0, 15.0
"""Limits of asking a line directly: after the first time no new round begins, after the second no request."""
_MUTE = 2
_LEAST_FREE_BYTES = 64 << 20
_MISSES_SHARE = 0.02


def examine(file: SiteFile) -> list[Sign]:
    """All findings of lines, store, clock and broker, through the running daemon if there is one."""
    path = Daemon(file.store.path)
    user = service_user(file)
    daemon: Mapping[str, Any] | None = None
    try:
        daemon = state(path)
        signs = [Sign("gateway", "good", "runs; asking it")]
    except NotAnswering as error:
        todo = "the lines are not asked directly meanwhile"
        return [Sign("gateway", "doubt", f"runs, but cannot be asked: {error}", todo), *_apart(file, None, user)]
    except (ConnectionError, GatewayError):
        signs = [Sign("gateway", "good", "does not run; asking the lines directly")]
    dead = set()
    for name in build.modbus_lines(file):
        found = [*_line(file, name, daemon, path, user)]
        signs += found
        if any(sign.level == "wrong" and sign.of_all for sign in found):
            dead.add(name)
    return [*signs, *_apart(file, daemon, user), *outputs(file, runs=daemon is not None, dead=dead)]


def _apart(file: SiteFile, daemon: Mapping[str, Any] | None, user: UnixUser | None) -> Iterator[Sign]:
    """Findings that do not concern a line."""
    if user is not None and user.uid != os.geteuid():
        me = name_of(os.geteuid())
        yield Sign("doctor", "good", f"runs as {me}, the gateway as {user.name}: rights are judged for {user.name}")
    yield from _store(file, daemon, user)
    yield from _clock(file, daemon)
    yield from _broker(file, daemon)
    yield from cameras(file, Clock())


def _line(
    file: SiteFile, name: str, daemon: Mapping[str, Any] | None, path: Daemon, user: UnixUser | None
) -> Iterator[Sign]:
    line = file.lines[name]
    if not isinstance(line, ModbusLine):
        return
    about = f"line {name}"
    devices = {device.unit: key for key, device in file.devices.items() if device.line == name}
    if line.is_bus and len(devices) > LOADS:
        what = f"{len(devices)} devices on one bus, more than {LOADS} unit loads"
        yield Sign(
            about, "doubt", what, "a repeater, or a second line, unless their data sheets say less than one load"
        )
    if line.serial is not None:
        yield from _adapter(about, line.serial)
        if user is not None and (refused := refusal(line.serial, user)):
            yield Sign(about, "wrong", refused, f"usermod -aG dialout {user.name}, then restart the gateway")
    if daemon is not None:
        yield from _running(name, about, daemon, devices, path, bus=line.is_bus)
        return
    trouble = ports.trouble(line.serial) if line.serial is not None else None
    if trouble is not None:
        yield Sign(about, "wrong", *trouble, of_all=True)
        return
    try:
        poller = free_line(file, name)
        talk = asyncio.run(_talk(poller, bus=line.is_bus))
    except LineTaken as error:
        yield Sign(about, "doubt", f"is not asked: {error}")
        return
    except LineDown as error:
        todo = "check the cable, the address and the port of the device or converter"
        yield Sign(about, "wrong", str(error), todo, of_all=True)
        return
    yield from diagnose(name, devices, talk, bus=line.is_bus)
    yield from oddities(name, poller.oddities if isinstance(poller, Tolerant) else None)


def _adapter(about: str, port: str) -> Iterator[Sign]:
    steady = ports.steady_name(port)
    if steady != port:
        yield Sign(about, "doubt", f"{port} changes when adapters are plugged in otherwise", f"serial: {steady}")
    timer = ports.latency_timer(port)
    if timer is not None and timer > ports.SLOW_TIMER_MS:
        name = Path(os.path.realpath(port)).name
        yield Sign(
            about,
            "wrong",
            f"the adapter holds answers back for {timer} ms (latency timer)",
            f"echo 1 > /sys/bus/usb-serial/devices/{name}/latency_timer; systemd/70-rs485.rules does it at each start",
        )


def _running(
    name: str, about: str, daemon: Mapping[str, Any], devices: Mapping[int, str], path: Daemon, *, bus: bool
) -> Iterator[Sign]:
    """Findings about a line from the daemon."""
    line = daemon["lines"].get(name)
    if line is None:
        yield Sign(about, "doubt", "the running gateway does not know this line", "restart it with this file")
        return
    if not (line["up"] or line["open"]):
        what = f"is down: {line['detail']}"
        yield Sign(about, "wrong", what, "check the adapter, the cable, the address", of_all=True)
        return
    talk = heard(path, name).exchanges
    mine = [known for known in daemon["devices"].values() if known["line"] == name]
    is_dead = bool(mine) and all(known["answering"] is False for known in mine)
    signs = diagnose(name, devices, _since_it_died(talk) if is_dead else talk, bus=bus)
    if is_dead and not any(sign.of_all for sign in signs):
        what = f"none of its {len(mine)} devices answers any more"
        todo = "check their supply, that A and B lead to this port, and the baud rate (site-gateway scan)"
        signs = [Sign(about, "wrong", what, todo, of_all=True)]
    yield from signs
    yield from oddities(name, line.get("oddities"))
    if any(sign.of_all for sign in signs):
        return  # that covers every device
    for device, known in daemon["devices"].items():
        if known["line"] != name:
            continue
        if known["answering"] is False and not any(f"{device} (" in sign.what for sign in signs):
            what = f"{device} fell silent: {known['misses']} requests in a row without an answer"
            yield Sign(about, "wrong", what, "check its supply and its branch of the bus")
        elif known["answering"] and known["timeouts"] > _MISSES_SHARE * known["requests"]:
            what = f"{device} left {known['timeouts']} of {known['requests']} requests without an answer"
            yield Sign(about, "doubt", what, "look at its branch and supply; watch the line (site-gateway watch)")


def _since_it_died(talk: list[TracedExchange]) -> list[TracedExchange]:
    """The exchanges after the last answer; earlier ones say nothing about why the line died."""
    last = max((at for at, one in enumerate(talk) if one.answer is not None), default=-1)
    return talk[last + 1 :]


async def _talk(poller: Poller, *, bus: bool) -> list[TracedExchange]:
    """Ask for every block several times; returns the exchanges. Raises LineDown.

    A device that sent no byte for two requests is not asked again, in favour of others.
    """
    loop = asyncio.get_running_loop()
    started = loop.time()
    talk: list[TracedExchange] = []
    mute: Counter[str] = Counter()
    async with poller:
        for number in range(_MOST_ROUNDS):
            if number >= _LEAST_ROUNDS and loop.time() - started > _ENOUGH_S:
                break
            for block in poller.blocks():
                began = loop.time()
                if mute[block.device] >= _MUTE or began - started > _LONGEST_S:
                    continue
                with suppress(DeviceError):  # the frames tell more
                    await poller.read(block, poller.timing(block.device).ceiling)
                if isinstance(poller, Traced):
                    said = exchanges([piece for piece in poller.frames if piece[1] >= began], bus=bus)
                    mute[block.device] += not any(one.received for one in said)
                    talk += said
    return talk


def _store(file: SiteFile, daemon: Mapping[str, Any] | None, user: UnixUser | None) -> Iterator[Sign]:
    path = Path(file.store.path)
    try:
        with as_owner(path):
            there = next(folder for folder in (path, *path.parents) if folder.is_dir())
            free = shutil.disk_usage(there).free
            if daemon is None:
                with tempfile.TemporaryFile(dir=there):
                    pass
    except OSError as error:
        if daemon is None and user is not None and os.geteuid() not in (0, user.uid):
            yield Sign("store", "doubt", f"{path} is not for this user to look at", "run site-gateway doctor with sudo")
            return
        if daemon is None:
            yield Sign("store", "wrong", f"{path}: {error.strerror}", "give the gateway's user this folder")
            return
        free = int(daemon["machine"]["disk_free"] or 0)
    if daemon is not None and daemon["journal"]["store"] != "ok":
        what = f"{path}: the running gateway says: {daemon['journal']['store']}"
        yield Sign("store", "wrong", what, "free some space; look at its log: journalctl -u site-gateway")
        return
    wanted = file.store.max_size + file.store.alarm_reserve
    if free < _LEAST_FREE_BYTES:
        yield Sign("store", "wrong", f"{free >> 20} MiB free", "free some space: events are kept in memory only")
    elif free < wanted:
        what = f"{free >> 20} MiB free, `store` may take {wanted >> 20} MiB"
        yield Sign("store", "doubt", what, "free some space, or a smaller `max_size`")
    else:
        yield Sign("store", "good", f"{path} can be written, {free >> 20} MiB free")


def _clock(file: SiteFile, daemon: Mapping[str, Any] | None) -> Iterator[Sign]:
    told = datetime.now(UTC) if daemon is None else datetime.fromisoformat(daemon["clock"]["time"])
    synced = kernel_synced() if daemon is None else bool(daemon["clock"]["synced"])
    now = f"{told.astimezone(ZoneInfo(file.site.timezone)):%Y-%m-%d %H:%M:%S} ({file.site.timezone})"
    if synced:
        yield Sign("clock", "good", f"{now}, synchronised")
    else:
        what = f"{now}; nobody keeps it right: events leave as unsynced, gate commands need the nonce"
        yield Sign("clock", "doubt", what, "timedatectl set-ntp true, and let UDP port 123 out; or chrony")


def _broker(file: SiteFile, daemon: Mapping[str, Any] | None) -> Iterator[Sign]:
    broker = build.broker(file)
    where = file.uplink.url
    why = asyncio.run(reach(broker, f"{build.topics(file)}/doctor"))
    if why is not None:
        todo = "check address, port, certificates, user and password; the broker's log says more"
        yield Sign("broker", "wrong", f"{where}: {why} (asked as {broker.client_id}-doctor)", todo)
    else:
        yield Sign("broker", "good", f"{where} lets us in")
        if daemon is not None and not daemon["uplink"]["connected"]:
            what = "the running gateway is not connected"
            yield Sign("broker", "wrong", what, "see its log: journalctl -u site-gateway")

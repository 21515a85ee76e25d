"""A whole site on loopback, built from its own site file: a virtual device for each device, a wire for each line.

Cameras too, each at a loopback address of its own.
"""

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from gateway.config.lines import ModbusLine, PanelLine
from gateway.config.profiles import shipped
from gateway.config.rounds import PointItem
from gateway.config.site import SiteFile
from gateway.errors import ConfigError
from gateway.model import Value
from simulators.arms import Arms
from simulators.bus import LATENCY_S, Bus, BusCounts, Send, Unit
from simulators.cameras.camera import VirtualCamera
from simulators.cameras.places import secrets_of, setups
from simulators.device import Expected, VirtualDevice, Written
from simulators.dial import DialledLine
from simulators.faults import Faults, Garble
from simulators.frames import Framing
from simulators.rewrite import Virtual, free_address, rewritten
from simulators.timer import Agenda
from simulators.wire import Connection, MbapServer, Outage, SerialLine, TcpLine

Talk = Callable[[Connection], Send]
Wire = SerialLine | TcpLine | DialledLine
"""The wire of a line, whichever way it leads."""


class VirtualSite:
    """`async with VirtualSite(site) as virtual:` serves every Modbus line and camera, steered by the calls below.

    `latency` is how long each device thinks (seconds; `unit(name).latency` for one). With `strict_silence` a bus
    ignores requests without 3.5 characters of silence before them, with `strict_gaps` devices refuse addresses
    without a point.
    `folder` is where the terminals get their names; absent, a temporary one. Unknown names raise KeyError.
    Not for use from another thread.
    """

    def __init__(
        self,
        site: SiteFile,
        *,
        folder: Path | None = None,
        latency: float = LATENCY_S,
        strict_silence: bool = False,
        strict_gaps: bool = False,
        seed: int = 0,
    ) -> None:
        self.site = site
        self._folder = folder
        self._own_folder: tempfile.TemporaryDirectory[str] | None = None
        self._strict_silence = strict_silence
        self._seed = seed
        self._units = _units(site, latency, strict_gaps=strict_gaps)
        self._lines: dict[str, Wire] = {}
        self._listeners: dict[str, str] = {}
        self._dialled: dict[str, str] = {}
        """Where devices dial in instead of at each listener of the site file."""
        self._cameras: dict[str, VirtualCamera] = {}
        self._stack = contextlib.AsyncExitStack()
        self._arms = Arms(self)
        self.camera_listener = ""
        """`HOST:PORT` where the cameras look for the gateway."""

    async def __aenter__(self) -> Self:
        """Open every line. Raises OSError if the machine gives no port or terminal."""
        if self._folder is None:
            self._own_folder = tempfile.TemporaryDirectory(prefix="virtual-site-")
            self._folder = Path(self._own_folder.name)
        try:
            for number, (name, line) in enumerate(self.site.lines.items()):
                if isinstance(line, PanelLine):
                    self._listeners[name] = free_address()
                else:
                    self._lines[name] = self._line(name, line, self._folder, self._seed + number)
                    self._lines[name].open()
            self.camera_listener = free_address()
            for name, setup in setups(self.site).items():
                camera = VirtualCamera(setup, f"http://{self.camera_listener}")
                self._cameras[name] = await self._stack.enter_async_context(camera)
        except OSError:
            await self._close()
            raise
        self._arms.begin()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close every line and camera and take the names away."""
        await self._close()

    # ---- what the world does ----

    def set(self, point: str, value: Value) -> float:
        """Make `device.point` read `value`; gives the time of it (seconds of the loop's clock).

        `value` is in the point's unit, or a word of `values`, or the name of a `supervised` window. Raises ValueError
        for a value that the registers cannot carry.
        """
        device, _, key = point.partition(".")
        self.device(device).set(key, value)
        return asyncio.get_running_loop().time()

    def value(self, point: str) -> Value | None:
        """What `device.point` reads now; None: its registers mean "no value"."""
        device, _, key = point.partition(".")
        return self.device(device).get(key, asyncio.get_running_loop().time())

    def silence(self, device: str) -> None:
        """The device answers nothing any more."""
        self.unit(device).faults.silent = True

    def delay(self, device: str, seconds: float) -> None:
        """The device takes this much longer for each answer."""
        self.unit(device).faults.delay = seconds

    def garble(self, device: str, how: Garble = "flip") -> None:
        """The device's answers are damaged on the way: `flip`, `noise`, `cut`."""
        self.unit(device).faults.garble = how

    def wrong_baud(self, device: str, baudrate: int) -> None:
        """The device is set to this baud rate, and hears on a serial line only who speaks at it."""
        self.unit(device).faults.baudrate = baudrate

    def restore(self, device: str) -> None:
        """The device is healthy again (its values stay as they are)."""
        self.unit(device).faults.clear()

    def stick(self, ref: str) -> None:
        """The contact of an output (`device.point`) sticks: it takes writes and does not move."""
        device, _, point = ref.partition(".")
        self.device(device).stick(point)

    def free(self, ref: str) -> None:
        """The contact moves again."""
        device, _, point = ref.partition(".")
        self.device(device).free(point)

    def line_down(self, line: str, how: Outage | None = None) -> None:
        """Lose the line: the adapter is pulled out, the TCP port refuses; for other ways see `wire`."""
        self._lines[line].down(how)

    def line_up(self, line: str) -> None:
        """The line is back, a serial one on another terminal under the same name."""
        self._lines[line].up()

    def camera_offline(self, camera: str) -> None:
        """The camera's network cable is pulled; it sees cars all the same."""
        self.camera(camera).offline()

    def camera_online(self, camera: str) -> None:
        """The cable is back: the camera sends what it kept."""
        self.camera(camera).online()

    # ---- what there is, and what happened ----

    def camera(self, name: str) -> VirtualCamera:
        """The camera: `see` makes a car pass."""
        return self._cameras[name]

    @property
    def cameras(self) -> Mapping[str, VirtualCamera]:
        """All of them."""
        return self._cameras

    def device(self, name: str) -> VirtualDevice:
        """The slave itself."""
        return self.unit(name).device

    def unit(self, name: str) -> Unit:
        """The device as it hangs on its line: `latency` and `faults` may be changed at any time."""
        for units in self._units.values():
            for unit in units.values():
                if unit.device.name == name:
                    return unit
        raise KeyError(name)

    def faults(self, device: str) -> Faults:
        """The device's knobs."""
        return self.unit(device).faults

    def line(self, name: str) -> Wire:
        """The wire of a Modbus line."""
        return self._lines[name]

    def counts(self, line: str) -> BusCounts:
        """What happened on a Modbus line."""
        return self._lines[line].counts

    @property
    def addresses(self) -> Mapping[str, str]:
        """Where each line is: a terminal's name, `127.0.0.1:PORT`; of a panel line where the gateway is to listen."""
        return {name: line.address for name, line in self._lines.items()} | self._listeners

    @property
    def writes(self) -> list[Written]:
        """Every write that was carried out, in the order of time."""
        units = (unit for units in self._units.values() for unit in units.values())
        return sorted((written for unit in units for written in unit.device.writes), key=lambda it: it.mono)

    def write_site(self, source: Path, path: Path, *, broker_url: str, store_path: Path) -> None:
        """Write to `path` the site file `source` (the one this site was built from) with everything on loopback.

        Replaced are the addresses of lines, cameras and the fire centre, all listeners, `store.path`, the cameras'
        passwords and tokens (by files beside `path`) and the uplink's `url` (its user, password and TLS files are left
        out); a bus with parity gets two stop bits instead, which take
        as long, because terminals know no parity. `simulated: true` marks the file, and so every event. Profiles that
        lie beside `source` are copied beside `path`. Raises OSError.
        """
        cameras = {name: self._virtual(camera, path) for name, camera in self._cameras.items()}
        text = rewritten(
            source, self.addresses, cameras, self.camera_listener, broker_url=broker_url, store_path=store_path
        )
        path.write_text(text, encoding="utf-8")
        own = source.parent / "profiles"
        if own.resolve() in (shipped().resolve(), (path.parent / "profiles").resolve()):
            return
        for name in {device.profile for device in self.site.devices.values()}:
            if name is not None and (own / f"{name}.yaml").is_file():
                (path.parent / "profiles").mkdir(exist_ok=True)
                shutil.copyfile(own / f"{name}.yaml", path.parent / "profiles" / f"{name}.yaml")

    def _virtual(self, camera: VirtualCamera, path: Path) -> Virtual:
        """Where it is; its secrets are written beside `path`."""
        files: dict[str, Path] = {}
        for key, secret in secrets_of(camera.setup).items():
            file = files[key] = path.absolute().with_name(f"{path.stem}.{camera.setup.name}.{key}")
            file.touch(mode=0o600)
            file.write_text(f"{secret}\n", encoding="utf-8")
        return Virtual(camera.address, files)

    def _line(self, name: str, line: ModbusLine, folder: Path, seed: int) -> Wire:
        agenda = Agenda()
        units = self._units.get(name, {})
        if not line.is_bus:
            server = MbapServer(units, agenda, seed=seed)
            return self._networked(line, server.talk, agenda, server.counts)
        framing = Framing(line.baudrate, line.parity != "none", line.stopbits)
        bus = Bus(framing, units, agenda, strict_silence=self._strict_silence, seed=seed)
        if line.serial is not None:
            return SerialLine(folder / name, bus, agenda)

        def talk(connection: Connection) -> Send:
            return lambda data: bus.feed(data, connection.send)

        return self._networked(line, talk, agenda, bus.counts, bus)

    def _networked(
        self, line: ModbusLine, talk: Talk, agenda: Agenda, counts: BusCounts, bus: Bus | None = None
    ) -> TcpLine | DialledLine:
        """A port that takes connections; or a DTU that dials in where the gateway will listen."""
        if line.listen is None:
            return TcpLine(talk, agenda, counts, bus)
        address = self._dialled.setdefault(line.listen, free_address())
        registration, heartbeat = line.registrations[:1], line.heartbeat or ""
        beat = bytes.fromhex(heartbeat.removeprefix("0x"))
        return DialledLine(address, b"".join(registration), beat, talk, agenda, counts, bus)

    async def _close(self) -> None:
        self._arms.end()
        await self._stack.aclose()
        self._cameras.clear()
        for line in self._lines.values():
            line.close()
        self._lines.clear()
        if self._own_folder is not None:
            self._own_folder.cleanup()
            self._own_folder = self._folder = None


def _units(site: SiteFile, latency: float, *, strict_gaps: bool) -> dict[str, dict[int, Unit]]:
    units: dict[str, dict[int, Unit]] = {}
    for name, device in site.devices.items():
        if not isinstance(site.lines.get(device.line), ModbusLine):
            continue
        there = units.setdefault(device.line, {})
        if device.unit in there:
            other = there[device.unit].device.name
            raise ConfigError(f"{name} and {other} are both unit {device.unit} of {device.line}")
        virtual = VirtualDevice(name, device, expected=_expected(site, name), strict=strict_gaps)
        there[device.unit] = Unit(virtual, latency)
    return units


def _expected(site: SiteFile, name: str) -> dict[str, Expected]:
    """What the rounds of the site look for in this device's points."""
    wishes: dict[str, Expected] = {}
    for item in (item for each in site.inspection.values() for item in each.items):
        if isinstance(item, PointItem):
            device, _, point = item.point.partition(".")
            if device == name:
                wishes.setdefault(point, Expected(item.between, item.equals))
    return wishes

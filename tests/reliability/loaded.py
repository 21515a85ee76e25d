"""A site under load: points that chatter, zones with detectors, a gate for each; the gateway is a process.

    async with registers() as wire:
        site = Loaded(folder, wire, zones=8)
        path = site.write(broker_port)
        async with running(path) as gateway, site.chatter():
            late = await site.fire(0)

What is measured is between two bytes on the wire: the answer that showed the last of a zone's fires, and the hold.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.end_to_end.process import GatewayProcess
from tests.mosquitto import free_port
from tests.reliability.served import Registers

CHATTER = 60
TOKEN = "a-token-that-only-the-camera-knows"
_FIRST = 100
_HEAD = """\
version: 1
site: {{id: xima-xincun}}
gateway: xmxc-01
uplink: {{url: "mqtt://127.0.0.1:{broker}"}}
lines: {{loop: {{driver: modbus, tcp: "127.0.0.1:{modbus}"}}}}
store: {{path: {store}, max_size: {size}, alarm_reserve: 1MiB}}
"""
_DETECTOR = """\
  smoke-{zone}-{which}: {{line: loop, unit: {unit}, kind: smoke-detector, zone: z{zone}, points: {{smoke: {{
    at: holding {address}, every: {every}, alarms: {{fire: {{kind: fire, equals: 1}}}}}}}}}}
"""
_CAMERA = "  {name}: {{gate: g0, direction: in, address: 127.0.0.1, driver: generic, token: {{file: camera.token}}}}\n"
_CAMERAS = """\
http: {{cameras: {{listen: "127.0.0.1:{port}"}}}}
access: {{lists: [residents.csv]}}
cameras:
"""


@dataclass
class Loaded:
    """`kind`: of the alarms that chatter; `cameras`: how many push to `camera_port`; see `camera_path`."""

    folder: Path
    wire: Registers
    zones: int = 1
    kind: str = "gas"
    every: str = "100ms"
    size: str = "64MiB"
    cameras: int = 0
    camera_port: int = 0
    begun: float = 0.0
    """Wall time since when the present life is ready."""

    def write(self, broker: int) -> Path:
        """The site file."""
        path = self.folder / "site.yaml"
        head = _HEAD.format(broker=broker, modbus=self.wire.port, store=self.folder / "store", size=self.size)
        parts = [head, "zones:\n", *(f"  z{zone}: {{}}\n" for zone in range(self.zones)), "devices:\n"]
        for zone in range(self.zones):
            parts += [
                _DETECTOR.format(zone=zone, which=which, unit=10 + 2 * zone + which, address=address, every=self.every)
                for which, address in enumerate(self._fires(zone))
            ]
        parts += ["  relay:\n    line: loop\n    unit: 9\n    kind: relay\n    points:\n"]
        parts += [f"      do{n}: {{at: coil {n}, write: true}}\n" for n in range(2 * self.zones)]
        parts += ["  cellar:\n    line: loop\n    kind: panel\n    points:\n"]
        alarm = f"{{a-long-name: {{kind: {self.kind}, equals: 1}}}}"
        parts += [f"      p{n}: {{at: holding {n}, every: 100ms, alarms: {alarm}}}\n" for n in range(CHATTER)]
        gate = "  g{z}: {{open: relay.do{a}, hold: relay.do{b}, on_loss: keep}}\n"
        parts += ["gates:\n", *(gate.format(z=zone, a=2 * zone, b=2 * zone + 1) for zone in range(self.zones))]
        parts += ["linkage:\n", *(f"  l{zone}: {{zones: [z{zone}], hold: [g{zone}]}}\n" for zone in range(self.zones))]
        if self.cameras:
            self.camera_port = self.camera_port or free_port()
            (self.folder / "camera.token").write_text(TOKEN)
            (self.folder / "camera.token").chmod(0o600)
            (self.folder / "residents.csv").write_text("plate,kind,from,until,gates,note\n\u6caaA12345,resident,,,,\n")
            parts.append(_CAMERAS.format(port=self.camera_port))
            parts += [_CAMERA.format(name=f"camera-{number}") for number in range(self.cameras)]
        path.write_text("".join(parts))
        return path

    @asynccontextmanager
    async def chatter(self, every: float = 0.1) -> AsyncIterator[None]:
        """All points of the cellar change each `every` seconds meanwhile."""

        async def flip() -> None:
            value = 0
            while True:
                value = 1 - value
                for address in range(CHATTER):
                    self.wire.set(address, value)
                await asyncio.sleep(every)

        async with asyncio.TaskGroup() as group:
            task = group.create_task(flip(), name="chatter")
            yield
            task.cancel()

    async def fire(self, zone: int, within: float = 10.0) -> float:
        """Both detectors of a zone: seconds from the answer that showed the second to the hold on the wire."""
        coil = 2 * zone + 1
        for address in self._fires(zone):
            self.wire.set(address, 1)
        async with asyncio.timeout(within):
            while not self.wire.coils.get(coil):
                await asyncio.sleep(0.01)
        at, value = self.wire.coils[coil][0]
        assert value, "a hold, and no release"
        # A life that was killed had seen it, too: the last one counts, which acted on it.
        shown = [
            max(one.at for one in self.wire.log if (one.address, one.value) == (address, 1) and one.at <= at)
            for address in self._fires(zone)
        ]
        return at - max(*shown, self.begun)

    @staticmethod
    def camera_path(number: int = 0) -> str:
        """Where this camera pushes to."""
        return f"/cameras/camera-{number}?token={TOKEN}"

    def _fires(self, zone: int) -> tuple[int, int]:
        return _FIRST + 2 * zone, _FIRST + 2 * zone + 1


def resident(gateway: GatewayProcess) -> int:
    """Bytes of memory that the process holds."""
    return int(Path(f"/proc/{gateway.pid}/statm").read_text(encoding="ascii").split()[1]) * 4096


def most_resident(gateway: GatewayProcess) -> int:
    """The most that it ever held, bytes (`VmHWM` of proc(5))."""
    status = Path(f"/proc/{gateway.pid}/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) << 10


async def until_shed(gateway: GatewayProcess, stream: str, within: float = 90.0) -> None:
    """Wait until it says that events of the stream had to go. Raises TimeoutError."""
    async with asyncio.timeout(within):
        while not any(
            "events were shed" in line and f'"{stream}"' in line for line in gateway.log.read_text().splitlines()
        ):
            await asyncio.sleep(0.2)

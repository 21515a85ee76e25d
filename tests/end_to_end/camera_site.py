"""A compound with plate cameras: each before a gate of its own on one Modbus relay, and a list of residents."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simulators.cameras.camera import VirtualCamera
from simulators.cameras.model import PushAnswer
from simulators.cloud import Event
from tests.drivers.anpr.pushing import connected, push
from tests.end_to_end.compound import HEAD, SMOKE, Compound, compound

LISTED = "沪A12345"
UNLISTED = "沪C99988"
BLOCKED = "沪B66666"
KEYS = """\
commands:
  keys:
    - {id: cloud, ed25519: cloud.pub.pem}
    - {id: all, ed25519: cloud.pub.pem, allow: [gate.open, access.update, access.forget, access.export,
                                                access.presence, picture]}
"""
_HEAD = HEAD[: HEAD.index("commands:")] + KEYS + HEAD[HEAD.index("store:") :]
PLATES = f"plate,kind,from,until,gates,note\n{LISTED},resident,,,,3-502\n{BLOCKED},blocked,,,,\n"


def site_text(cameras: Mapping[str, str], access: str = "", fire: bool = False, own: Sequence[str] = ()) -> str:
    """Cameras by name, each with what stands in the file of it; `own`: those whose gate is the camera's own relay."""
    gates = "".join(
        f"  g-{name}: {{open: {{camera: {name}, io: 0}}, pulse: 500ms}}\n"
        if name in own
        else f"  g-{name}: {{open: relay.do{number}, pulse: 200ms, on_loss: keep}}\n"
        for number, name in enumerate(cameras)
    )
    points = "".join(f"      do{number}: {{at: coil {number}, write: true}}\n" for number in range(len(cameras)))
    seeing = "".join(
        f"  {name}: {{gate: g-{name}, direction: in, address: 192.0.2.1, {more}}}\n" for name, more in cameras.items()
    )
    smoke = f"  smoke: {{line: io, unit: 2, {SMOKE}}}\n" if fire else ""
    holds = f"linkage: {{evacuation: {{trigger: any, hold: [g-{next(iter(cameras))}]}}}}\n" if fire else ""
    return (
        f"{_HEAD}lines: {{io: {{driver: modbus, tcp: '127.0.0.1:1'}}}}\n"
        f"zones: {{b3: {{}}}}\n"
        f"devices:\n{smoke}  relay:\n    line: io\n    unit: 1\n    kind: relay\n    points:\n{points}"
        f"gates:\n{gates}cameras:\n{seeing}"
        f"http: {{cameras: {{listen: '127.0.0.1:1'}}}}\n"
        f"access: {{lists: [residents.csv], {access}}}\n{holds}"
    )


@dataclass
class CameraSite:
    """A compound, seen from its cameras."""

    it: Compound
    coils: dict[str, str]
    """The relay's point of each camera's gate."""

    @property
    def port(self) -> int:
        """Where cameras push to."""
        return int(self.it.virtual.camera_listener.rpartition(":")[2])

    def camera(self, name: str) -> VirtualCamera:
        """The camera of this name."""
        return self.it.virtual.camera(name)

    def moved(self, name: str) -> list[object]:
        """What was written to the relay of a camera's gate."""
        return [one.value for one in self.it.written("relay", self.coils[name])]

    async def ready(self) -> None:
        """Wait until the cloud and every camera have found the gateway."""
        await self.it.online()
        for camera in self.it.virtual.cameras.values():
            if camera.setup.mode == "pull":
                await camera.until(lambda one: one.attached > 0)
            elif camera.setup.driver != "platerecognizer":  # says nothing while no car comes
                await camera.until(lambda one: any(beat.right for beat in one.heartbeats) and not one.is_cut_off)

    async def until_listening(self) -> None:
        """Wait until the gateway takes pushes."""
        async with asyncio.timeout(10):
            while True:
                try:
                    async with connected(self.port, "127.0.0.98"):
                        return
                except ConnectionRefusedError:
                    await asyncio.sleep(0.02)

    async def until_moved(self, name: str, times: int = 1) -> None:
        """Wait until the gate of a camera was pulsed so often."""
        try:
            await self.it.until(lambda: self.moved(name) == [True, False] * times)
        except TimeoutError as error:
            heard = [event["data"] for event in self.it.cloud.of("access")]
            raise AssertionError(f"{name}: {self.moved(name)}, {heard}") from error

    async def sees(self, name: str, plate: str | None, **more: Any) -> PushAnswer:
        """A car before a camera, and the answer that the camera was waiting for."""
        return await self.camera(name).sees(plate, **more)

    async def raw(self, name: str, body: bytes, path: str | None = None, **more: str) -> int:
        """A push that no camera of ours makes, from the camera's address: the status."""
        source = more.pop("source", self.camera(name).setup.address)
        token = self.camera(name).setup.token
        where = path or f"/cameras/{name}" + (f"?token={token}" if token else "")
        said = await push(self.port, where, body, "application/json", source=source, **more)
        return said.status

    async def passages(self, count: int, within: float = 20.0) -> list[Event]:
        """The first passages that the cloud heard of, once there are so many."""
        await self.it.cloud.until(lambda seen: len(seen.of("access")) >= count, within)
        return [event["data"] for event in self.it.cloud.of("access")]


@asynccontextmanager
async def camera_site(folder: Path, text: str, plates: str = PLATES, **options: object) -> AsyncIterator[CameraSite]:
    """Everything but the gateway itself."""
    (folder / "residents.csv").write_text(plates, encoding="utf-8")
    for name in ("camera.pass", "camera.token"):
        (folder / name).write_text("a secret of the real camera\n")
        (folder / name).chmod(0o600)
    kept = {"persistence": "true", "persistence_location": f"{folder}/", **options}
    async with compound(folder, text, **kept) as it:
        names = list(it.virtual.cameras)
        yield CameraSite(it, {name: f"do{number}" for number, name in enumerate(names)})

"""The example site, simulated, with its page: lines, cameras and broker are real, the gateway is a process of its own.

python -m tests.browser.site     serves it until Ctrl-C, for whoever works on the screens
"""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from simulators.proxy import Proxy
from simulators.site import VirtualSite
from tests.end_to_end.browsing import listening
from tests.end_to_end.compound import Compound, compound
from tests.end_to_end.process import GatewayProcess
from tests.end_to_end.test_page import page_of, with_page

EXAMPLE = Path(__file__).parent.parent.parent / "config"
_HTTP = "http:\n  "
_SERIAL = "serial: /dev/rs485-fire"
_NETWORKED = 'tcp: "127.0.0.1:1", framing: rtu'
"""The same bus behind a serial server: terminals of a machine with many tests are held by who had them before."""
CODE = "pump-room-42"
"""Printed at the pump room."""
_PLACE = "zone: pump-house}\n\ninspection"
_TAGGED = "zone: pump-house, tag: {printed: {file: pump-room.code}}}\n\ninspection"
_QUIET: dict[str, float] = {
    "smoke-3-2f.smoke": 0, "smoke-3-3f.smoke": 0, "heat-garage.heat": 0, "hydrant-1.pressure": 0.35,
    "leakage-garage.leakage": 10, "pump-1.running": 0,
}  # fmt: skip
_COMMANDS = "commands: {keys: [{id: cloud, ed25519: cloud.pub.pem}]}\n"
_CAMERAS = f'{_HTTP}cameras: {{listen: "0.0.0.0:8080"}}'


@dataclass
class PageSite:
    """What the tests of the page have at hand."""

    it: Compound
    gateway: GatewayProcess
    base: str
    """Where the page is."""
    way: Proxy
    """A way to the page that can be cut."""

    @property
    def virtual(self) -> VirtualSite:
        """What hangs on the wires."""
        return self.it.virtual

    @property
    def cuttable(self) -> str:
        """Where the page is behind the proxy."""
        return f"http://127.0.0.1:{self.way.port}"

    def opened(self, point: str = "relay-north.do1") -> int:
        """How often an output was switched on."""
        device, _, name = point.partition(".")
        return sum(1 for one in self.it.written(device, name) if one.value)

    async def calm(self) -> None:
        """Nothing burns, is held, tested or looked at any more. Raises TimeoutError."""
        self.way.restore()
        for point, value in _QUIET.items():
            self.virtual.set(point, value)
        async with asyncio.timeout(90):
            for name in (await self.it.asked("rounds"))["running"]:
                await self.it.person("inspection.cancel", role="steward", round=name)
            for zone in ("building-3", "garage", "pump-house"):
                await self.it.person("zone.test", role="technician", zone=zone, **{"for": "0s"})
            while latched := [one["alarm"] for one in await self.it.asked("alarms") if one["latched"]]:
                for alarm in latched:
                    await self.it.person("alarm.reset", alarm=alarm)
            while held := await self._held():
                for gate, cause in held:
                    await self.it.person("gate.release", gate=gate, **cause)

    async def _held(self) -> list[tuple[str, dict[str, str]]]:
        """Gates that are held, and what a release has to say of it."""
        gates = (await self.it.asked("status"))["gates"]
        return [
            (name, {"cause": "page"} if cause == "page" else {"cause": "command"} if "command" in cause else {})
            for name, gate in gates.items()
            for cause in gate["causes"]
        ]


@asynccontextmanager
async def page_site(folder: Path) -> AsyncIterator[PageSite]:
    """All of it."""
    shutil.copy(EXAMPLE / "residents.csv", folder)
    text = (EXAMPLE / "example.yaml").read_text(encoding="utf-8")
    (folder / "pump-room.code").write_text(CODE)
    (folder / "pump-room.code").chmod(0o600)
    text = (
        text.replace(_PLACE, _TAGGED)
        .replace(_SERIAL, _NETWORKED)
        .replace(_CAMERAS, f"http: {{{_CAMERAS.removeprefix(_HTTP)}}}")
    )
    async with compound(folder, with_page(text, folder) + _COMMANDS) as it:
        gateway = GatewayProcess(it.site, it.site.with_suffix(".log"))
        base = page_of(it.site)
        await gateway.start()
        try:
            await listening(base)
            await it.until_well("smoke-3-2f")
            await it.until_well("relay-north")
            async with Proxy(int(base.rpartition(":")[2])) as way:
                yield PageSite(it, gateway, base, way)
        finally:
            if gateway.running:
                await gateway.kill()


async def _serve() -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with page_site(Path(folder)) as site:
            print(site.base, "zhang, li, wang: password of NAME", flush=True)  # noqa: T201
            await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve())

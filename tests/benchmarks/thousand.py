"""A site of 1,000 points, 40 devices x 25, each with another value every second, and its page.

async with a_thousand_points(folder) as site, site.gateway("one") as (gateway, base): ...
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.measure import program
from tests.benchmarks.test_site_of_forty import site
from tests.end_to_end.browsing import listening
from tests.end_to_end.process import GatewayProcess, running
from tests.end_to_end.test_page import page_of, with_page
from tests.mosquitto import free_port, mosquitto


@dataclass(frozen=True)
class Thousand:
    """Its wires and its broker; any number of gateways may look at them at once."""

    folder: Path
    broker: int
    ports: list[str]

    @asynccontextmanager
    async def gateway(
        self, name: str, *, page: bool = True, lines: str = "", devices: str = "", more: str = ""
    ) -> AsyncIterator[tuple[GatewayProcess, str]]:
        """One of this name, and where its page is; `lines`, `devices`, `more`: what the site file has beside the 40."""
        folder = self.folder / name
        folder.mkdir()
        text = site(self.broker, self.ports, folder / "store").replace("gateway: g\n", f"gateway: {name}\n")
        text = text.replace("devices:\n", f"{lines}devices:\n") + devices + more
        path = folder / "site.yaml"
        base = ""
        if page:
            text = with_page(text, folder).replace("127.0.0.1:2'", f"127.0.0.1:{free_port()}'")
        path.write_text(text)
        async with running(path) as process:
            if page:
                base = page_of(path)
                await listening(base)
            yield process, base


@asynccontextmanager
async def a_thousand_points(folder: Path) -> AsyncIterator[Thousand]:
    """The wires and the broker."""
    async with (
        mosquitto(folder) as broker,
        program("tests.benchmarks.registers", "noisy", 40, reads=True) as (_, ports),
    ):
        yield Thousand(folder, broker.port, ports.split())

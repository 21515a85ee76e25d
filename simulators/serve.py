"""`site-gateway simulate`: the lines and cameras of a site file served as virtual ones until it is asked to end."""

import asyncio
import signal
from pathlib import Path

from gateway.config.load import Loaded
from gateway.config.site import SiteFile
from gateway.errors import ConfigError
from gateway.printable import harmless_lines
from gateway.safe_write import as_owner
from simulators import scenario as scenarios
from simulators.site import VirtualSite


def simulate(loaded: Loaded, file: SiteFile, scenario: Path | None, out: Path | None, broker: str) -> None:
    """Serve until SIGTERM or SIGINT. Raises ConfigError (the scenario is wrong), OSError."""
    out = None if out is None else out.absolute()
    asyncio.run(_simulate(loaded, file, scenario, out, broker))


async def _simulate(loaded: Loaded, file: SiteFile, scenario: Path | None, out: Path | None, broker: str) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in endings():
        loop.add_signal_handler(number, stop.set)
    steps = None if scenario is None else scenarios.load(scenario)
    async with VirtualSite(file) as site:
        if steps is not None and (wrong := scenarios.misfits(site, steps)):
            raise ConfigError("\n".join(wrong))
        if out is not None:
            store = out.with_suffix(".store")
            with as_owner(out):
                site.write_site(loaded.path, out, broker_url=broker, store_path=store)
        for name, address in site.addresses.items():
            say(f"line {name}: {address}")
        for name, camera in site.cameras.items():
            pushes = f", pushes to http://{site.camera_listener}" if camera.setup.mode == "push" else ""
            say(f"camera {name}: {camera.address}{pushes}")
        if out is not None:
            say(f"run it with: site-gateway run {out}")
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(scenarios.play(site, steps), name="scenario")] if steps else []
            await stop.wait()
            for task in tasks:
                task.cancel()


def endings() -> list[signal.Signals]:
    """Signals that end it: also a terminal that is closed, unless it was started to outlive that (nohup)."""
    survives = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return [signal.SIGTERM, signal.SIGINT, *(() if survives else (signal.SIGHUP,))]


def say(text: str) -> None:
    """A line for the person at the terminal."""
    print(harmless_lines(text), flush=True)  # noqa: T201 - this is what the command is for

"""`site-gateway run SITE.yaml` on a machine whose kernel says, or does not say, that the clock is right."""

import asyncio
import signal
import sys
from pathlib import Path

from gateway import log
from gateway.app import serve
from gateway.clock import Clock
from gateway.prepare import prepare
from gateway.reconfigure import Reconfiguration

SYNCED = (__file__, "synced")
UNSYNCED = (__file__, "unsynced")


async def main(site: Path, *, synced: bool) -> None:
    """Until SIGTERM."""
    file = Reconfiguration(site)
    file.begin()
    settings = prepare(site).settings
    assert settings is not None
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await serve(settings, stop, clock=Clock(synced=lambda: synced), file=file)


if __name__ == "__main__":
    log.configure()
    asyncio.run(main(Path(sys.argv[2]), synced=sys.argv[1] == "synced"))

"""`site-gateway run SITE.yaml` for which each SIGUSR1 is ten minutes of waiting."""

import asyncio
import signal
import sys
import time
from pathlib import Path

from gateway import log
from gateway.clock import Clock
from gateway.runtime.app import serve
from gateway.runtime.prepare import prepare
from gateway.runtime.reconfigure import Reconfiguration, reexecute

PATIENT = (__file__,)
WAITED = signal.SIGUSR1
TEN_MINUTES_S = 600.0


async def main(site: Path) -> bool:
    """Until SIGTERM; True: to be executed anew."""
    file = Reconfiguration(site)
    file.begin()
    settings = prepare(site).settings
    assert settings is not None
    stop = asyncio.Event()
    waited: list[float] = []
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(WAITED, lambda: waited.append(TEN_MINUTES_S))
    clock = Clock(mono=lambda: time.monotonic() + sum(waited), synced=lambda: True)
    return await serve(settings, stop, clock=clock, file=file)


if __name__ == "__main__":
    log.configure()
    if asyncio.run(main(Path(sys.argv[1]))):
        reexecute()

"""`site-gateway run SITE.yaml` on a machine whose kernel says, or does not say, that the clock is right.

python at_a_time.py synced|unsynced [SECONDS] SITE.yaml      SECONDS: what the clock is off by
"""

import asyncio
import signal
import sys
import time
from pathlib import Path

from gateway import log
from gateway.clock import Clock
from gateway.runtime.app import serve
from gateway.runtime.prepare import prepare
from gateway.runtime.reconfigure import Reconfiguration

SYNCED = (__file__, "synced")
UNSYNCED = (__file__, "unsynced")


def off_by(seconds: float) -> tuple[str, ...]:
    """A machine whose clock is wrong, though its time server says that it is right."""
    return (__file__, "synced", str(seconds))


async def main(site: Path, off_by: float, *, synced: bool) -> None:
    """Until SIGTERM."""
    file = Reconfiguration(site)
    file.begin()
    settings = prepare(site).settings
    assert settings is not None
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await serve(settings, stop, clock=Clock(wall=lambda: time.time() + off_by, synced=lambda: synced), file=file)


if __name__ == "__main__":
    log.configure()
    _, state, *shift, path = sys.argv
    asyncio.run(main(Path(path), float(shift[0]) if shift else 0.0, synced=state == "synced"))

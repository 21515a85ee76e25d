"""`site-gateway run SITE.yaml` that logs everything: `json|journal SITE.yaml`."""

import asyncio
import signal
import sys
from pathlib import Path

from gateway import log
from gateway.runtime.app import serve
from gateway.runtime.prepare import prepare
from gateway.runtime.reconfigure import Reconfiguration

COMMAND = {style.value: (__file__, style.value) for style in (log.Style.JSON, log.Style.JOURNAL)}


async def main(site: Path) -> None:
    """Until SIGTERM."""
    file = Reconfiguration(site)
    file.begin()
    prepared = prepare(site)
    for level, text in prepared.problems:
        (log.logger("gateway").error if level == "error" else log.logger("gateway").warning)(text)
    assert prepared.settings is not None
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await serve(prepared.settings, stop, file=file)


if __name__ == "__main__":
    log.configure("debug", style=log.Style(sys.argv[1]))
    asyncio.run(main(Path(sys.argv[2])), debug=True)

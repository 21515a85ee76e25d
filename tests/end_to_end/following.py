"""`site-gateway run SITE.yaml` that writes down which of its functions run, in their order: `CALLS.json SITE.yaml`.

SIGUSR1 begins anew; the record is written at the end. The gateway itself knows nothing of it.
"""

import asyncio
import signal
import sys
import threading
from pathlib import Path
from types import CodeType, FrameType

import orjson

from gateway import log
from gateway.runtime.app import serve
from gateway.runtime.prepare import prepare
from gateway.runtime.reconfigure import Reconfiguration

ROOT = Path(__file__).parents[2]
COMMAND = (__file__,)
MOST = 2_000_000


class Record:
    """Calls and resumptions of our functions, of all threads."""

    def __init__(self) -> None:
        self._calls: list[CodeType] = []

    def begin_anew(self) -> None:
        self._calls.clear()

    def watch(self, frame: FrameType, event: str, _: object) -> None:
        if event == "call" and len(self._calls) < MOST:
            self._calls.append(frame.f_code)

    def steps(self) -> list[str]:
        """`FILE NAME` of each call within the program."""
        names: dict[CodeType, str | None] = {}
        for code in self._calls:
            if code not in names:
                path = Path(code.co_filename)
                ours = path.is_relative_to(ROOT / "gateway") or path.is_relative_to(ROOT / "drivers")
                names[code] = f"{path.relative_to(ROOT)} {code.co_name}" if ours else None
        return [name for code in self._calls if (name := names[code]) is not None]


async def main(site: Path, calls: Path) -> None:
    """Until SIGTERM."""
    file = Reconfiguration(site)
    file.begin()
    settings = prepare(site).settings
    assert settings is not None
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    record = Record()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGUSR1, record.begin_anew)
    threading.setprofile(record.watch)
    sys.setprofile(record.watch)
    await serve(settings, stop, file=file)
    sys.setprofile(None)
    calls.write_bytes(orjson.dumps(record.steps()))


if __name__ == "__main__":
    log.configure()
    asyncio.run(main(Path(sys.argv[2]), Path(sys.argv[1])))

"""The command line as the real process that a technician starts, and a bus on a terminal that knows its baud rate."""

import asyncio
import os
import signal
import sys
import termios
from pathlib import Path
from typing import NamedTuple

from simulators.bus import Bus
from simulators.timer import Agenda
from simulators.wire import SerialLine

_PATIENCE = 50.0


class Ended(NamedTuple):
    """What a command came to."""

    status: int
    out: str
    err: str


async def site_gateway(*words: str | Path, interrupt_at: str | None = None) -> Ended:
    """Run `site-gateway WORDS`; with `interrupt_at` press Ctrl-C when that text stands on standard error."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "gateway", *map(str, words)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    seen = b""
    try:
        async with asyncio.timeout(_PATIENCE):
            if interrupt_at is not None and process.stderr is not None:
                while interrupt_at.encode() not in seen:
                    line = await process.stderr.readline()
                    assert line, f"it ended without saying {interrupt_at!r}: {seen!r}"
                    seen += line
                process.send_signal(signal.SIGINT)
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return Ended(process.returncode or 0, out.decode(), (seen + err).decode())


class DeafLine(SerialLine):
    """A bus whose devices understand only their own baud rate: a terminal knows what was set on it."""

    def __init__(self, link: Path, bus: Bus, agenda: Agenda) -> None:
        super().__init__(link, bus, agenda)
        self.heard: list[int] = []
        """The baud rates at which something was sent, each once in a row."""

    def _readable(self) -> None:
        rate = _RATES[termios.tcgetattr(self._slave)[5]]
        if self.heard[-1:] != [rate]:
            self.heard.append(rate)
        if rate == self.bus.framing.baudrate:
            super()._readable()
        else:
            os.read(self._master, 4096)


_RATES = {
    getattr(termios, f"B{rate}"): rate for rate in (1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200)
}  # fmt: skip

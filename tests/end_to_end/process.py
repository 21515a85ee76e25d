"""The gateway as the real process that a service manager starts."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from tests.end_to_end.loaded import LATE, LOADED

RUN = LOADED


class GatewayProcess:
    """One life of `site-gateway run`; notified through a real sd_notify socket; logs kept in a file."""

    def __init__(self, site: Path, log: Path, command: Sequence[str] = RUN) -> None:
        self.site = site
        self.log = log
        self._command = command
        self.started_at = 0.0

    async def start(self, ready_within: float = 20.0) -> None:
        """Start it and wait for READY=1."""
        notify = self.site.with_suffix(".notify")
        notify.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener, self.log.open("ab") as log:
            listener.bind(str(notify))
            listener.setblocking(False)
            self.started_at = time.monotonic()
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                *(*self._command, str(self.site)),
                env={**os.environ, "NOTIFY_SOCKET": str(notify)},
                stderr=log,
                stdout=log,
            )
            loop = asyncio.get_running_loop()
            async with asyncio.timeout(ready_within):
                while b"READY=1" not in await loop.sock_recv(listener, 4096):
                    pass
        notify.unlink()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.returncode is None

    async def wait(self, within: float = 20.0) -> int:
        """Wait until it has ended by itself: its exit status."""
        async with asyncio.timeout(within):
            return await self._process.wait()

    async def kill(self) -> None:
        """End it as `kill -9` does."""
        self._process.kill()
        await self._process.wait()

    async def stop(self, sign: signal.Signals = signal.SIGTERM) -> tuple[int, float]:
        """Ask it to end: (exit status, seconds it took)."""
        began = time.monotonic()
        self._process.send_signal(sign)
        async with asyncio.timeout(30):
            status = await self._process.wait()
        return status, time.monotonic() - began


@contextlib.asynccontextmanager
async def running(site: Path, command: Sequence[str] = RUN) -> AsyncIterator[GatewayProcess]:
    """The gateway on this site file; ended at the end whatever happened, its log shown if the test failed."""
    process = GatewayProcess(site, site.with_suffix(".log"), command)
    await process.start()
    try:
        yield process
        late = [line for line in process.log.read_text(errors="replace").splitlines() if line.startswith(LATE)]
        assert late == [], "an upgrade takes the files away beneath the process: all is loaded before READY"
    except BaseException:  # a failed assertion and a time-out alike: shown, then raised on
        sys.stderr.write(process.log.read_text(errors="replace"))
        raise
    finally:
        if process.running:
            await process.kill()

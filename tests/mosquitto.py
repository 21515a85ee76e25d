"""A real mosquitto on a free port, for tests.

async with mosquitto(tmp_path, max_packet_size=4096) as broker:
    broker.port; await broker.stop(); await broker.start()
"""

import asyncio
import getpass
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

_STARTS_WITHIN = 10.0
_STOPS_WITHIN = 5.0

PROGRAM = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin") or "mosquitto"


class Mosquitto:
    """One broker process. `stop` and `start` keep the port and, with persistence, what it knows."""

    def __init__(self, folder: Path, port: int, options: dict[str, object]) -> None:
        self.port = port
        self._folder = folder
        self._options = options
        self._process: asyncio.subprocess.Process | None = None

    @property
    def log(self) -> str:
        """What it has said so far."""
        return (self._folder / "mosquitto.log").read_text()

    async def start(self) -> None:
        """Start it and wait until it accepts connections."""
        (self._folder / "mosquitto.conf").write_text(self._configuration())
        with (self._folder / "mosquitto.log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                PROGRAM, "-c", str(self._folder / "mosquitto.conf"), "-v", stdout=log, stderr=log
            )
        async with asyncio.timeout(_STARTS_WITHIN):
            while not await self._answers():
                if self._process.returncode is not None:
                    raise RuntimeError(f"mosquitto ended: {self.log}")
                await asyncio.sleep(0.02)

    async def stop(self, *, kill: bool = False) -> None:
        """End it, by SIGTERM or SIGKILL."""
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            process.kill() if kill else process.terminate()
            async with asyncio.timeout(_STOPS_WITHIN):
                await process.wait()

    def reload(self, **options: object) -> None:
        """Change options and files that are read again on SIGHUP (the ACL among them)."""
        self._options |= options
        (self._folder / "mosquitto.conf").write_text(self._configuration())
        if self._process is not None:
            self._process.send_signal(1)

    async def _answers(self) -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return False
        writer.close()
        await writer.wait_closed()
        return True

    def _configuration(self) -> str:
        # Started by root it would give up the right to read the test's files.
        options = {"user": getpass.getuser(), "allow_anonymous": "true", "persistence": "false"} | self._options
        lines = [f"listener {self.port} 127.0.0.1", *(f"{name} {value}" for name, value in options.items())]
        return "\n".join(lines) + "\n"


@asynccontextmanager
async def mosquitto(folder: Path, **options: object) -> AsyncIterator[Mosquitto]:
    """Start a broker in `folder` with these lines of mosquitto.conf; it is ended at the end."""
    broker = Mosquitto(folder, free_port(), options)
    await broker.start()
    try:
        yield broker
    finally:
        await broker.stop()


def free_port() -> int:
    """A TCP port of the loopback that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
    return port

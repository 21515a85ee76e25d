"""Foreign brokers as processes on free ports of the loopback: RabbitMQ with its MQTT plugin, nats-server, mosquitto.

async with BROKERS["rabbitmq"](folder) as port: ...
"""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from tests.mosquitto import free_port, mosquitto

_PATH = os.pathsep.join(("/usr/lib/rabbitmq/bin", "/usr/local/bin", "/usr/bin", "/usr/sbin"))
_STARTS_WITHIN_S = 120.0
"""RabbitMQ takes 10 s where it has a core for itself."""
_STOPS_WITHIN_S = 20.0


async def _answers(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


@asynccontextmanager
async def _process(folder: Path, name: str, *words: object, env: dict[str, str] | None = None) -> AsyncIterator[None]:
    program = shutil.which(name, path=_PATH)
    assert program is not None, f"{name} is not installed: .ci/setup dev"
    with (folder / f"{name}.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            program, *map(str, words), stdout=log, stderr=log, env={**os.environ, **(env or {})}
        )
    try:
        yield
    finally:
        if process.returncode is None:
            process.terminate()
            async with asyncio.timeout(_STOPS_WITHIN_S):
                await process.wait()


async def _until_up(port: int) -> None:
    async with asyncio.timeout(_STARTS_WITHIN_S):
        while not await _answers(port):
            await asyncio.sleep(0.05)


@asynccontextmanager
async def rabbitmq(folder: Path) -> AsyncIterator[int]:
    """A node with nothing but the MQTT plugin, and an epmd of its own, so that none is left behind."""
    port, names, node = free_port(), free_port(), free_port()
    (folder / "enabled_plugins").write_text("[rabbitmq_mqtt].\n")
    (folder / "rabbitmq.conf").write_text(
        f"listeners.tcp = none\nmqtt.listeners.tcp.1 = 127.0.0.1:{port}\nmqtt.allow_anonymous = true\n"
        "log.console = true\nlog.file = false\n"
    )
    places = {
        "HOME": folder,
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "ERL_EPMD_PORT": names,
        "RABBITMQ_NODENAME": f"site{node}@localhost",
        "RABBITMQ_DIST_PORT": node,
        "RABBITMQ_CONFIG_FILE": folder / "rabbitmq.conf",
        "RABBITMQ_ENABLED_PLUGINS_FILE": folder / "enabled_plugins",
        "RABBITMQ_MNESIA_BASE": folder,
        "RABBITMQ_LOG_BASE": folder,
        "RABBITMQ_PID_FILE": folder / "pid",
    }
    env = {name: str(value) for name, value in places.items()}
    async with _process(folder, "epmd", "-port", names, "-address", "127.0.0.1"):
        await _until_up(names)
        async with _process(folder, "rabbitmq-server", env=env):
            await _until_up(port)
            yield port


@asynccontextmanager
async def nats(folder: Path) -> AsyncIterator[int]:
    """A server with JetStream, without which it does not speak MQTT."""
    port = free_port()
    (folder / "nats.conf").write_text(
        f'listen: "127.0.0.1:{free_port()}"\nserver_name: site\njetstream {{store_dir: "{folder}/jetstream"}}\n'
        f'mqtt {{listen: "127.0.0.1:{port}"}}\n'
    )
    async with _process(folder, "nats-server", "-c", folder / "nats.conf"):
        await _until_up(port)
        yield port


@asynccontextmanager
async def ours(folder: Path) -> AsyncIterator[int]:
    """Mosquitto."""
    async with mosquitto(folder) as broker:
        yield broker.port


PROTOCOLS = {"mosquitto": 5, "rabbitmq": 4, "nats": 4}
"""5, or 4 for MQTT 3.1.1: what Debian's RabbitMQ and nats-server speak."""
BROKERS: dict[str, Callable[[Path], AbstractAsyncContextManager[int]]] = {
    "mosquitto": ours,
    "rabbitmq": rabbitmq,
    "nats": nats,
}

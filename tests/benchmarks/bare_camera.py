"""The floor of a push: aiohttp's handler and pymodbus' client alone. `python -m tests.benchmarks.bare_camera MODBUS`.

Reads the body, writes one coil, answers. Nothing is understood, decided or stored. Prints its port.
"""

import asyncio
import sys

from aiohttp import web
from pymodbus.client import AsyncModbusTcpClient


async def main(modbus: int) -> None:
    """Until standard input ends."""
    client = AsyncModbusTcpClient("127.0.0.1", port=modbus)
    await client.connect()

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        await request.read()
        await client.write_coil(int(request.path.rpartition("/")[2]), False, device_id=1)
        return web.Response()

    server = web.Server(handle)
    port = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    sys.stdout.write(f"{port.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)
    port.close()
    client.close()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))

"""pyModbusTCP's server in a process of its own.

async with foreign_tcp() as server:
    await server.set("holding", 3, 1)    # and ask 127.0.0.1:server.port
"""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from pyModbusTCP.server import DataBank, ModbusServer  # type: ignore[import-untyped]

from tests.foreign.process import Server, obey, say, serving

_LOOPBACK = "127.0.0.1"
_TRIES = 5


@dataclass(frozen=True)
class TcpServer:
    """A server on loopback that answers every unit id alike and has all 65536 addresses of each table."""

    port: int
    _server: Server

    async def set(self, table: str, address: int, *values: int) -> None:
        """Put these values from `address` on (TABLE: coil, discrete, input, holding)."""
        await self._server.set(table, address, *values)

    async def get(self, table: str, address: int, count: int = 1) -> list[int]:
        """What it holds."""
        return await self._server.get(table, address, count)


@asynccontextmanager
async def foreign_tcp() -> AsyncIterator[TcpServer]:
    """Start one on a free port."""
    async with serving("tests.foreign.tcp_server") as server:
        yield TcpServer(int(server.greeting.removeprefix("ready ")), server)


def main() -> None:
    """Serve until standard input ends."""
    bank = DataBank()
    put = {
        "coil": bank.set_coils,
        "discrete": bank.set_discrete_inputs,
        "input": bank.set_input_registers,
        "holding": bank.set_holding_registers,
    }
    get = {
        "coil": bank.get_coils,
        "discrete": bank.get_discrete_inputs,
        "input": bank.get_input_registers,
        "holding": bank.get_holding_registers,
    }
    server, port = _started(bank)
    say(f"ready {port}")
    obey(
        lambda table, address, values: put[table](address, values),
        lambda table, address, count: get[table](address, count),
    )
    server.stop()


def _started(bank: DataBank) -> tuple[ModbusServer, int]:
    """The library wants to be told its port; another program may be quicker to take it."""
    for attempt in range(_TRIES):
        with socket.socket() as probe:
            probe.bind((_LOOPBACK, 0))
            port: int = probe.getsockname()[1]
        server = ModbusServer(_LOOPBACK, port, no_block=True, data_bank=bank)
        try:
            server.start()
        except ModbusServer.NetworkError:
            if attempt == _TRIES - 1:
                raise
        else:
            break
    return server, port


if __name__ == "__main__":
    main()

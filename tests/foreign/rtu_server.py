"""libmodbus serving one unit on a terminal, in a process of its own.

async with foreign_rtu(unit=7) as server:
    await server.set("holding", 3, 1)    # and open server.port

The library is Debian's libmodbus5, called by ctypes; socat joins its terminal to the test's. After a request to another
unit it takes the next frame for that unit's answer, whoever it is for: ask it alone, or answer for the others.
"""

import ctypes
import errno
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from tests.foreign.process import Server, obey, say, serving
from tests.foreign.ptys import joined

_LIBRARY = "libmodbus.so.5"
_SIZE = 4096
_TABLES = ("coil", "discrete", "input", "holding")
_LONGEST = 256


class _Mapping(ctypes.Structure):
    """modbus_mapping_t of modbus.h: four tables with their sizes and first addresses."""

    _fields_ = (
        *((f"{what}_{table}", ctypes.c_int) for table in _TABLES for what in ("size", "start")),
        ("coil", ctypes.POINTER(ctypes.c_uint8)),
        ("discrete", ctypes.POINTER(ctypes.c_uint8)),
        ("input", ctypes.POINTER(ctypes.c_uint16)),
        ("holding", ctypes.POINTER(ctypes.c_uint16)),
    )


@dataclass(frozen=True)
class RtuServer:
    """One unit behind a terminal with the addresses 0-4095 of each table."""

    port: str
    """The terminal for the master."""
    _server: Server

    async def set(self, table: str, address: int, *values: int) -> None:
        """Put these values from `address` on (TABLE: coil, discrete, input, holding)."""
        await self._server.set(table, address, *values)

    async def get(self, table: str, address: int, count: int = 1) -> list[int]:
        """What it holds."""
        return await self._server.get(table, address, count)


@asynccontextmanager
async def foreign_rtu(unit: int = 1, baudrate: int = 9600) -> AsyncIterator[RtuServer]:
    """Start one on a terminal of its own."""
    async with joined() as pair, serving("tests.foreign.rtu_server", pair.far, str(unit), str(baudrate)) as server:
        yield RtuServer(pair.near, server)


def main(port: str, unit: int, baudrate: int) -> None:
    """Serve until standard input ends."""
    library = _library()
    context = library.modbus_new_rtu(port.encode(), baudrate, b"N", 8, 1)
    mapping = library.modbus_mapping_new(_SIZE, _SIZE, _SIZE, _SIZE)
    if not context or not mapping or library.modbus_set_slave(context, unit) or library.modbus_connect(context):
        sys.exit(f"libmodbus: {library.modbus_strerror(ctypes.get_errno()).decode()}")
    threading.Thread(target=_serve, args=(library, context, mapping), daemon=True).start()
    say("ready")

    def put(table: str, address: int, values: list[int]) -> None:
        for at, value in enumerate(values, _checked(address, len(values))):
            getattr(mapping.contents, table)[at] = value

    def get(table: str, address: int, count: int) -> list[int]:
        start = _checked(address, count)
        return [int(getattr(mapping.contents, table)[at]) for at in range(start, start + count)]

    obey(put, get)


def _checked(address: int, count: int) -> int:
    if not 0 <= address <= address + count <= _SIZE:
        raise ValueError(f"{address}…{address + count - 1} is outside 0…{_SIZE - 1}")
    return address


def _library() -> ctypes.CDLL:
    library = ctypes.CDLL(_LIBRARY, use_errno=True)
    library.modbus_new_rtu.restype = ctypes.c_void_p
    library.modbus_new_rtu.argtypes = (ctypes.c_char_p, ctypes.c_int, ctypes.c_char, ctypes.c_int, ctypes.c_int)
    library.modbus_mapping_new.restype = ctypes.POINTER(_Mapping)
    library.modbus_set_slave.argtypes = (ctypes.c_void_p, ctypes.c_int)
    library.modbus_connect.argtypes = (ctypes.c_void_p,)
    library.modbus_receive.argtypes = (ctypes.c_void_p, ctypes.c_char_p)
    library.modbus_reply.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.POINTER(_Mapping))
    library.modbus_strerror.restype = ctypes.c_char_p
    return library


def _serve(library: ctypes.CDLL, context: int, mapping: object) -> None:
    """Answer for ever; what libmodbus cannot read (noise, a wrong checksum) it drops."""
    query = ctypes.create_string_buffer(_LONGEST)
    while True:
        count = library.modbus_receive(context, query)
        if count > 0:
            library.modbus_reply(context, query, count, mapping)
        elif count < 0 and ctypes.get_errno() in (errno.EIO, errno.EBADF, errno.ENODEV, errno.ECONNRESET):
            return  # the terminal is gone


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))

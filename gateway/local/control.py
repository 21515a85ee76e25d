"""The control socket: how the command line asks the running daemon.

A Unix socket (mode 0660) that takes one JSON object a line, `{"ask": NAME, …}`, and answers each with one
line: `{"ok": true, "result": …}` or `{"ok": false, "error": TEXT}`.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import orjson

from gateway.errors import GatewayError
from gateway.log import logger
from gateway.model import Json

_log = logger(__name__)

NAME = "control.sock"
_LINE = 64 * 1024
_CLIENTS = 8
_PATIENCE = 30.0
_AGAIN = 10.0

Ask = Callable[[Mapping[str, Any]], Awaitable[Json]]


class Control:
    """Serves `asks` on the socket until cancelled; at most 8 clients, 64 KiB a line, 30 s of silence."""

    def __init__(self, path: Path, asks: Mapping[str, Ask]) -> None:
        self._path = path
        self._asks = asks
        self._clients = 0
        self.tried = asyncio.Event()
        """It listens, or could not be made to."""

    async def run(self) -> None:
        """Listen until cancelled; where the socket cannot be made (the store is gone), try again now and then."""
        told = False
        while True:
            try:
                await self._serve()
            except OSError as error:
                if not told:
                    _log.warning("no control socket", path=str(self._path), why=str(error))
                    told = True
                self.tried.set()
                await asyncio.sleep(_AGAIN)

    async def _serve(self) -> None:
        """Listen until cancelled. A socket file that a dead process left is replaced. Raises OSError."""
        self._path.unlink(missing_ok=True)
        mask = os.umask(0o117)
        try:
            server = await asyncio.start_unix_server(self._client, self._path, limit=_LINE)
        finally:
            os.umask(mask)
        self.tried.set()
        try:
            async with server:
                await server.serve_forever()
        finally:
            with contextlib.suppress(OSError):
                self._path.unlink()

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._clients += 1
        try:
            while self._clients <= _CLIENTS:
                async with asyncio.timeout(_PATIENCE):
                    line = await reader.readline()
                if not line:
                    break
                writer.write(orjson.dumps(await self._answer(line)) + b"\n")
                await writer.drain()
        except (TimeoutError, ValueError, OSError):
            pass  # too slow, too long a line, gone: closing is the answer
        finally:
            self._clients -= 1
            writer.close()

    async def _answer(self, line: bytes) -> Mapping[str, Json]:
        try:
            request = orjson.loads(line)
            ask = self._asks[request["ask"]]
        except (orjson.JSONDecodeError, KeyError, TypeError):
            return {"ok": False, "error": f"an object with ask: {' | '.join(self._asks)}"}
        try:
            return {"ok": True, "result": await ask(request)}
        except GatewayError as error:
            return {"ok": False, "error": str(error)}
        except (KeyError, TypeError, ValueError) as error:
            return {"ok": False, "error": f"bad request: {error}"}


def ask(path: Path, request: Mapping[str, Json], timeout: float = 15.0) -> Json:
    """Ask the daemon that listens at `path`. Raises ConnectionError (none runs), GatewayError (it said no)."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(timeout)
        try:
            client.connect(str(path))
            client.sendall(orjson.dumps(request) + b"\n")
            with client.makefile("rb") as stream:
                line = stream.readline()
        except OSError as error:
            raise ConnectionError(f"no daemon answers at {path}: {error}") from error
    if not line:
        raise ConnectionError(f"the daemon at {path} closed the connection")
    answer = orjson.loads(line)
    if not answer["ok"]:
        raise GatewayError(answer["error"])
    result: Json = answer["result"]
    return result

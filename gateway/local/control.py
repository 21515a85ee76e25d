"""The control socket, by which the command line asks the running daemon.

A Unix socket (mode 0660) that takes one JSON object a line, `{"ask": NAME, …}`, and answers each with one
line: `{"ok": true, "result": …}` or `{"ok": false, "error": TEXT}`.

It is in the folder of the service manager (`RUNTIME_DIRECTORY`), so that it works with a full or read-only disk, or
else in the store. The asking account comes from the kernel (see `accounts`), never from the request. Every question has
a least role, and a claimed role must not be above that of the account.
"""

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from gateway.errors import GatewayError, NotAnswering
from gateway.kinds import ROLES
from gateway.local.accounts import Account, account_of
from gateway.log import logger
from gateway.model import Json

_log = logger(__name__)

NAME = "control.sock"
SERVICE_FOLDER = Path("/run/site-gateway")
"""`RuntimeDirectory=` of the unit."""
_LINE_BYTES = 160 * 1024
"""The longest question: room for a photo of 96 KiB in base64."""
_CLIENTS = 16
_CLIENTS_OF_ONE = 6
_QUIET_S = 10.0
"""Time for a complete question to arrive."""
_TAKE_S = 5.0
"""Time for an answer to be taken."""
_RETRY_S = 10.0
_PACE_S = 0.05
"""Time between two questions of an account below technician, so that viewers do not take the loop from the site."""

Ask = Callable[[Mapping[str, Any]], Awaitable[Json]]


def places(store: Path) -> list[Path]:
    """Possible paths of the socket of the gateway with this store, in order of preference."""
    folders = [folder for folder in os.environ.get("RUNTIME_DIRECTORY", "").split(":") if folder]
    return [*(Path(folder) / NAME for folder in folders[:1]), store / NAME]


@dataclass(eq=False, slots=True)
class _Asker:
    writer: asyncio.StreamWriter
    account: Account
    busy: bool = False
    """Its question is being answered; otherwise it is idle."""
    since: float = field(default_factory=time.monotonic)


class Control:
    """Serves `asks` on the first of `sockets` that can be made, until cancelled.

    Bounded: 16 clients, 6 of one account, 160 KiB a question, 10 s for it to arrive, 5 s for the answer to be taken,
    20 questions a second of an account that is no technician.
    If there is no room, the client of the same account that has been idle longest is closed, so that idle connections
    block nobody; root always finds room.

    `least`: the lowest role for a question; others may be asked without a role. `people`: the roles of accounts and
    `@groups`. `store`: a question for another store is refused.
    """

    def __init__(
        self,
        sockets: Sequence[Path],
        asks: Mapping[str, Ask],
        *,
        least: Mapping[str, str] | None = None,
        people: Mapping[str, str] | None = None,
        store: Path | None = None,
    ) -> None:
        self._sockets = sockets
        self._asks = asks
        self._least = least or {}
        self._people = people or {}
        self._store = None if store is None else str(Path(store).resolve())
        self._clients: list[_Asker] = []
        self._bugs: set[tuple[str, type[Exception]]] = set()
        """Bugs that were logged, once each."""
        self._turns: dict[int, float] = {}
        """Account -> when its next question may be answered (monotonic seconds)."""
        self.tried = asyncio.Event()
        """Set when it listens or listening has failed."""

    async def run(self) -> None:
        """Listen until cancelled; if no socket can be made (the disk is full), retry from time to time."""
        told = False
        while True:
            for path in self._sockets:
                try:
                    await self._serve(path)
                except OSError as error:
                    if not told:
                        _log.warning("no control socket", path=str(path), why=str(error))
            told = True
            self.tried.set()
            await asyncio.sleep(_RETRY_S)

    async def _serve(self, path: Path) -> None:
        """Listen until cancelled. A socket file left by a dead process is replaced. Raises OSError."""
        _remove(path)
        mask = os.umask(0o117)
        try:
            server = await asyncio.start_unix_server(self._client, path, limit=_LINE_BYTES)
        finally:
            os.umask(mask)
        self.tried.set()
        try:
            async with server:
                await server.serve_forever()
        finally:
            with contextlib.suppress(OSError):
                _remove(path)

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.set_write_buffer_limits(0)  # `drain` waits until all is taken
        try:
            account = await account_of(writer.get_extra_info("socket"), self._people)
        except OSError:
            writer.transport.abort()
            return
        client = _Asker(writer, account)
        try:
            if self._admit(client):
                await self._converse(reader, client)
        except (TimeoutError, ValueError, OSError):
            pass  # too slow, line too long, or gone: close it
        finally:
            if client in self._clients:
                self._clients.remove(client)
            writer.transport.abort()

    def _admit(self, client: _Asker) -> bool:
        """Make room for it, closing an idle client if needed; False: there is none."""
        mine = [one for one in self._clients if one.account.uid == client.account.uid]
        if len(mine) >= _CLIENTS_OF_ONE or len(self._clients) >= _CLIENTS:
            yielding = [one for one in mine if not one.busy]
            if client.account.uid == 0:
                yielding = yielding or mine or self._clients
            if not yielding:
                return False
            oldest = min(yielding, key=lambda one: one.since)
            self._clients.remove(oldest)
            oldest.writer.transport.abort()
        self._clients.append(client)
        return True

    async def _converse(self, reader: asyncio.StreamReader, client: _Asker) -> None:
        while True:
            async with asyncio.timeout(_QUIET_S):
                line = await reader.readline()
            if not line:
                return
            await self._pace(client.account)
            client.busy = True
            answer = await self._answer(line, client.account)
            client.busy, client.since = False, time.monotonic()
            client.writer.write(orjson.dumps(answer) + b"\n")
            async with asyncio.timeout(_TAKE_S):
                await client.writer.drain()

    async def _pace(self, account: Account) -> None:
        """Wait for the account's turn, over all its connections."""
        if account.may(ROLES[-1]):
            return
        now = time.monotonic()
        turn = max(now, self._turns.get(account.uid, 0.0))
        self._turns = {uid: at for uid, at in self._turns.items() if at > now} | {account.uid: turn + _PACE_S}
        await asyncio.sleep(turn - now)

    async def _answer(self, line: bytes, account: Account) -> Mapping[str, Json]:
        try:
            request = orjson.loads(line)
            name = request["ask"]
            ask = self._asks[name]
            refusal = self._refusal(name, request, account)
        except (orjson.JSONDecodeError, KeyError, TypeError):
            return {"ok": False, "error": f"an object with ask: {' | '.join(self._asks)}"}
        if refusal:
            return {"ok": False, **refusal}
        role = request.get("role") or account.role
        try:
            return {"ok": True, "result": await ask({**request, "role": role, "account": account.name})}
        except GatewayError as error:
            return {"ok": False, "error": str(error)}
        except (KeyError, TypeError, ValueError, ArithmeticError) as error:
            return {"ok": False, "error": f"bad request: {error}"}
        except Exception as bug:  # noqa: BLE001  # whoever asked is told, and the next question is answered
            if (name, type(bug)) not in self._bugs:
                self._bugs.add((name, type(bug)))
                _log.error("error of our own in an answer", ask=name, exc_info=bug)
            return {"ok": False, "error": f"error of the gateway's own: {type(bug).__name__}"}

    def _refusal(self, name: str, request: Mapping[str, Any], account: Account) -> Mapping[str, Json]:
        wanted = request.get("store")
        if self._store is not None and wanted not in (None, self._store):
            return {"error": f"this gateway has its store in {self._store}", "elsewhere": True}
        least = self._least.get(name)
        if least is not None and not account.may(least):
            has = f"has the role {account.role}" if account.role else "has no role in `people` of the site file"
            return {"error": f"not-allowed: {name} needs the role {least}; the account {account.name} {has}"}
        claimed = request.get("role")
        if claimed in ROLES and not account.may(claimed):
            has = account.role or "no role"
            return {"error": f"not-allowed: the account {account.name} is {has} here, not {claimed}"}
        return {}


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)


# ---- who asks ---------------------------------------------------------------------------------------


class Daemon:
    """The running gateway of a store, or the one at `socket`."""

    def __init__(self, store: str | Path, socket: Path | None = None) -> None:
        self._store = str(Path(store).resolve())
        self._sockets = [socket] if socket is not None else _where(Path(store))
        self._said = {} if socket is not None else {"store": self._store}

    def ask(self, request: Mapping[str, Json], timeout: float = 15.0) -> Json:
        """Ask it. Raises ConnectionError (it does not run), NotAnswering (it runs), GatewayError (it refused)."""
        none: ConnectionError | None = None
        for path in self._sockets:
            try:
                return ask(path, {**request, **self._said}, timeout)
            except _Elsewhere:
                continue
            except ConnectionError as error:
                none = error
        raise none or ConnectionError(f"no daemon answers for the store {self._store}")


def _where(store: Path) -> Iterable[Path]:
    return list(dict.fromkeys([*places(store)[:-1], SERVICE_FOLDER / NAME, store / NAME]))


class _Elsewhere(GatewayError):
    """The socket belongs to the gateway of another store."""


def ask(path: Path, request: Mapping[str, Json], timeout: float = 15.0) -> Json:
    """Ask the daemon that listens at `path`. Raises as `Daemon.ask`."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(timeout)
        try:
            client.connect(str(path))
            client.sendall(orjson.dumps(request) + b"\n")
            with client.makefile("rb") as stream:
                line = stream.readline()
        except PermissionError as error:
            todo = "run it with sudo, or as a member of the group that the socket belongs to"
            raise NotAnswering(f"{path}: this account may not ask the gateway; {todo}") from error
        except (TimeoutError, BlockingIOError) as error:
            raise NotAnswering(f"the daemon at {path} does not answer within {timeout:g} s") from error
        except OSError as error:
            raise ConnectionError(f"no daemon answers at {path}: {error}") from error
    if not line:
        raise ConnectionError(f"the daemon at {path} closed the connection")
    answer = orjson.loads(line)
    if answer.get("elsewhere"):
        raise _Elsewhere(answer["error"])
    if not answer["ok"]:
        raise GatewayError(answer["error"])
    result: Json = answer["result"]
    return result

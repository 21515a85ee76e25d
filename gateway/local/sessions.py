"""Sessions of the page. Only the SHA-256 of a session's token is kept, in memory and in the store.

A session ends 12 h after its last request and at most 24 h after the login, by monotonic time; over a restart by the
wall clock, if it was trusted before and after. So a restart during a fire logs nobody out.
"""

import asyncio
import base64
import hashlib
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import orjson

from gateway.clock import Clock
from gateway.log import logger
from gateway.safe_write import replace_file

_log = logger(__name__)

LIFE_S = 24 * 3600.0
IDLE_S = 12 * 3600.0
MOST = 64
"""The most sessions; beyond it the least recently used one ends."""
MOST_OF_ONE = 8
"""The most sessions of one name, so that nobody can log others out by logging in."""
_TOKEN_BYTES = 32
_KEPT_EVERY_S = 600.0
"""How precisely the last request is known after a restart; spares the card."""
_PATIENCE_S = 1.0
_MAX_FILE_BYTES = 64 << 10


@dataclass(slots=True)
class PageSession:
    """The session of one browser."""

    name: str
    role: str
    ends: float
    """The latest end, monotonic seconds."""
    idle_until: float
    by_code: bool = False
    """Opened with a technician's code: its name is not a user of the file."""
    account: str = ""
    """If opened with a code: the account of the machine that made it."""
    mark: str = ""
    """The mark of the password that it was opened with."""
    address: str = ""
    """The address of its last use; not stored."""

    def left(self, now: float) -> float:
        """Seconds until it ends without further requests."""
        return min(self.ends, self.idle_until) - now


class SessionStreams(Protocol):
    """The streams of logged-in people."""

    def end(self, session: PageSession) -> None:
        """End the streams of an ended session."""
        ...


class Sessions:
    """All sessions. `roles`: the users of the site file. `path`: the file of sessions, in an existing folder."""

    def __init__(self, path: Path, roles: Mapping[str, str], streams: SessionStreams, clock: Clock) -> None:
        self._path = path
        self._roles = roles
        self._streams = streams
        self._clock = clock
        self._sessions: dict[str, PageSession] = {}
        """Sessions by the SHA-256 of their token."""
        self._changed = asyncio.Event()
        self._wait_for_it: list[asyncio.Future[None]] = []

    def open(
        self, name: str, role: str, *, by_code: bool = False, account: str = "", mark: str = ""
    ) -> tuple[str, PageSession]:
        """Open a session; returns its token too. `account`: the maker of its code; `mark`: of the password."""
        self._expire()
        now = self._clock.now().mono
        token = base64.urlsafe_b64encode(os.urandom(_TOKEN_BYTES)).decode().rstrip("=")
        session = PageSession(name, role, now + LIFE_S, now + IDLE_S, by_code, account, mark)
        self._sessions[_digest(token)] = session
        own = [key for key, one in self._sessions.items() if (one.name, one.by_code) == (name, by_code)]
        for keys, most in ((own, MOST_OF_ONE), (list(self._sessions), MOST)):
            if len(keys) > most:
                self._end(min(keys, key=lambda key: self._sessions[key].idle_until))
        self._changed.set()
        return token, session

    def has_one_at(self, address: str) -> bool:
        """True if a session was last used from there."""
        now = self._clock.now().mono
        return any(one.address == address and one.left(now) > 0.0 for one in self._sessions.values())

    def find(self, token: str | None, address: str = "") -> PageSession | None:
        """The session of this token, which counts as used now from this address."""
        if not token or len(token) > 2 * _TOKEN_BYTES:
            return None
        session = self._sessions.get(_digest(token))
        now = self._clock.now().mono
        if session is None or session.left(now) <= 0.0:
            return None
        session.idle_until, session.address = now + IDLE_S, address
        return session

    def close(self, token: str | None) -> None:
        """Log out."""
        key = _digest(token or "")
        if key in self._sessions:
            self._end(key)
            self._changed.set()

    def check(self, marks: Mapping[str, str]) -> None:
        """End the sessions of a changed password. `marks`: by user; a missing user is not checked."""
        for key, one in tuple(self._sessions.items()):
            mark = None if one.by_code else marks.get(one.name)
            if mark is not None and not one.mark:
                one.mark = mark  # from a version that did not store it
            elif mark is not None and one.mark != mark:
                self._end(key)
                self._changed.set()

    async def kept(self) -> None:
        """Wait until changes are on disk, 1 s at most: a disk that does not answer must not keep anybody out."""
        done = asyncio.get_running_loop().create_future()
        self._wait_for_it.append(done)
        self._changed.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE_S):
                await done

    async def run(self) -> None:
        """Store changes and end expired sessions until cancelled."""
        loop, writer = asyncio.get_running_loop(), ThreadPoolExecutor(1, "page sessions")
        try:
            while True:
                try:
                    async with asyncio.timeout(_KEPT_EVERY_S):
                        await self._changed.wait()
                except TimeoutError:
                    pass
                self._changed.clear()
                self._expire()
                waiting, self._wait_for_it = self._wait_for_it, []
                await loop.run_in_executor(writer, self._keep, self._told())
                for one in waiting:
                    if not one.done():
                        one.set_result(None)
        finally:
            writer.submit(self._keep, self._told())  # after the write under way
            writer.shutdown()

    def load(self) -> None:
        """Load the sessions of the previous process. What cannot be read is dropped."""
        try:
            with self._path.open("rb") as stream:
                kept: Any = orjson.loads(stream.read(_MAX_FILE_BYTES))
            now = self._clock.now()
            passed = max(0.0, now.wall - float(kept["at"])) if now.synced and kept["synced"] else 0.0
            for digest, one in list(kept["sessions"].items())[:MOST]:
                self._take_up(str(digest), one, passed, now.mono)
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            _log.warning("nobody stays logged in: the sessions cannot be read", error=str(error))

    def _take_up(self, digest: str, one: Mapping[str, Any], passed: float, now: float) -> None:
        name, by_code = str(one["name"]), bool(one["by_code"])
        role = str(one["role"]) if by_code else self._roles.get(name)
        ends, idle = float(one["ends"]) - passed, float(one["idle"]) - passed
        if role is not None and 0.0 < ends <= LIFE_S and 0.0 < idle <= IDLE_S:
            account, mark = str(one.get("account", "")), str(one.get("mark", ""))
            self._sessions[digest] = PageSession(name, role, now + ends, now + idle, by_code, account, mark)

    def _told(self) -> bytes:
        now = self._clock.now()
        sessions = {
            digest: {
                "name": one.name,
                "role": one.role,
                "by_code": one.by_code,
                "account": one.account,
                "mark": one.mark,
                "ends": one.ends - now.mono,
                "idle": one.idle_until - now.mono,
            }
            for digest, one in self._sessions.items()
        }
        return orjson.dumps({"at": now.wall, "synced": now.synced, "sessions": sessions})

    def _keep(self, data: bytes) -> None:
        try:
            replace_file(self._path, data)
        except OSError as error:
            _log.warning("a restart will log everybody out", error=str(error))

    def _expire(self) -> None:
        now = self._clock.now().mono
        for key in [key for key, one in self._sessions.items() if one.left(now) <= 0.0]:
            self._end(key)

    def _end(self, key: str) -> None:
        self._streams.end(self._sessions.pop(key))


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


class Codes:
    """Login codes of technicians, each valid once within five minutes."""

    LIFE_S = 300.0
    _MOST = 8

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._codes: dict[str, tuple[str, str, float]] = {}
        """SHA-256 of a code -> its name, the account that made it, and when it expires."""

    def make(self, name: str, account: str) -> str:
        """Make a code for this name, by this account of the machine; beyond the limit the oldest expires."""
        code = base64.urlsafe_b64encode(os.urandom(_TOKEN_BYTES)).decode().rstrip("=")
        self._codes[_digest(code)] = (name, account, self._clock.now().mono + self.LIFE_S)
        while len(self._codes) > self._MOST:
            del self._codes[next(iter(self._codes))]
        return code

    def use(self, code: str) -> tuple[str, str] | None:
        """Use a code; returns its name and maker; None: it is invalid, used or expired."""
        name, account, ends = self._codes.pop(_digest(code), ("", "", 0.0))
        return (name, account) if name and self._clock.now().mono < ends else None

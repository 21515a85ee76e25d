"""One camera's HTTP account: requests go only to its own address. The only importer of aiohttp's client.

Cameras lock an account after five wrong logins, so a login that was refused twice is not tried again until the password
has changed. The password is sent in clear (Basic) only for makers without anything better, and never after the camera
asked for a digest.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Protocol

from aiohttp import ClientError, ClientResponse, ClientSession, ClientTimeout, DummyCookieJar, hdrs
from yarl import URL

from drivers.pictures.digest import Challenge, authorization, challenge
from gateway.driver import SecretSource
from gateway.errors import ConfigError, DeviceRefused, DeviceSilent

REFUSALS = 2
"""After this many consecutive wrong logins no more are tried."""
_CONNECT_S = 5.0
_REDIRECTS = 2
_DRAIN_BYTES = 64 << 10


@dataclass(frozen=True, slots=True)
class Login:
    """Address and account of a camera."""

    id: str
    address: str
    """`HOST` or `HOST:PORT`."""
    username: str | None = None
    password: SecretSource | None = field(default=None, repr=False)
    basic: bool = False
    """The maker's cameras may require the password in clear."""


class CameraAnswer(Protocol):
    """The camera's answer, piece by piece."""

    content_type: str
    """The complete header with parameters."""

    async def read(self) -> bytes:
        """The next received bytes; empty at the end. Raises DeviceSilent if the connection is lost."""
        ...


class CameraSession:
    """Sends requests to one camera; the caller limits the time. Raises ConfigError if the address is invalid."""

    def __init__(self, login: Login) -> None:
        self._login = login
        self._origin = origin_of(login)
        self._challenge: Challenge | None = None
        self._count = 0
        self._refusals = 0
        self._refused = ""
        """The refused password."""
        self._basic = login.basic

    @property
    def locked(self) -> bool:
        """True if the camera refused the login, which is not tried again with this password."""
        if self._refusals >= REFUSALS:
            try:
                if self.secret() != self._refused:
                    self._refusals = 0
            except ConfigError:
                return True
        return self._refusals >= REFUSALS

    @property
    def origin(self) -> str:
        """`http://HOST[:PORT]`."""
        return str(self._origin)

    @property
    def username(self) -> str | None:
        """The user name."""
        return self._login.username

    def secret(self) -> str:
        """The present password. Raises ConfigError."""
        return self._login.password.read() if self._login.password is not None else ""

    def check(self, target: str) -> None:
        """Raise ConfigError if `target` leads to another host."""
        self._url(target)

    @asynccontextmanager
    async def ask(
        self, target: str, *, method: str = "GET", body: bytes = b"", content_type: str = ""
    ) -> AsyncIterator[CameraAnswer]:
        """Ask for `target`: a path with its query, or a URL of this camera. Only a 200 counts as an answer.

        Raises DeviceSilent: it cannot be reached; DeviceRefused (`code` is the status): it refuses; ConfigError: the
        password cannot be read, or the URL leads to another host.
        """
        session = ClientSession(
            timeout=ClientTimeout(total=None, sock_connect=_CONNECT_S), auto_decompress=False, trust_env=False,
            cookie_jar=DummyCookieJar(), max_line_size=4096, max_field_size=8192,
        )  # fmt: skip
        async with session:
            try:
                headers = {str(hdrs.CONTENT_TYPE): content_type} if content_type else {}
                response = await self._answer(session, self._url(target), method, body, headers)
            except (ClientError, OSError, TimeoutError, ValueError) as error:
                raise DeviceSilent(f"camera {self._login.id}: {_why(error)}") from error
            try:
                yield _StreamedAnswer(self._login.id, response)
            finally:
                response.close()

    def _url(self, target: str) -> URL:
        """The URL of a target. Raises ConfigError if it leads to another host."""
        try:
            url = URL(target, encoded=True)
            if not url.absolute:
                return self._origin.join(url)
        except ValueError as error:
            raise ConfigError(f"camera {self._login.id}: no path: {target}") from error
        if not is_same_host(url, self._origin):
            raise ConfigError(f"camera {self._login.id}: {url.host} is not its address")
        return url

    async def _answer(
        self, session: ClientSession, url: URL, method: str, body: bytes, headers: Mapping[str, str]
    ) -> ClientResponse:
        for _ in range(_REDIRECTS + 1):
            response = await self._authorized(session, url, method, body, headers)
            if response.status == 200:
                return response
            response.close()
            there = response.headers.get(hdrs.LOCATION, "")
            if not 300 <= response.status < 400 or not there:
                raise DeviceRefused(response.status, f"camera {self._login.id}: HTTP {response.status}")
            further = url.join(URL(there, encoded=True))
            if further.origin() != url.origin():
                raise DeviceRefused(response.status, f"camera {self._login.id}: leads to another address")
            url = further
        raise DeviceRefused(310, f"camera {self._login.id}: leads in a circle")

    async def _authorized(
        self, session: ClientSession, url: URL, method: str, body: bytes, more: Mapping[str, str]
    ) -> ClientResponse:
        """Send a request with the authentication that the camera asks for. Never returns a 401."""
        for attempt in range(3):
            if self.locked:
                raise DeviceRefused(401, f"camera {self._login.id}: refused the login; not tried again")
            offered = self._challenge
            headers = {**more}
            if offered is not None:
                headers[hdrs.AUTHORIZATION] = self._proof(offered, method, url)
            response = await session.request(method, url, data=body or None, headers=headers, allow_redirects=False)
            if response.status != 401:
                if response.status < 400:
                    self._refusals = 0
                return response
            asked = challenge(response.headers.getall(hdrs.WWW_AUTHENTICATE, []))
            await _drained(response)
            # An old nonce may be rejected because of its age, and few cameras report that.
            was_fresh = offered is not None and (attempt > 0 or offered.scheme == "basic")
            if was_fresh and not (asked is not None and asked.stale):
                break
            self._challenge, self._count = asked, 0
            if asked is not None and asked.scheme == "basic" and not self._basic:
                self._challenge = None
                raise DeviceRefused(401, f"camera {self._login.id}: wants the password in clear, and does not get it")
            self._basic = self._basic and (asked is None or asked.scheme == "basic")
            if asked is None or self._login.username is None or self._login.password is None:
                self._challenge = None
                raise DeviceRefused(401, f"camera {self._login.id}: wants a login that it cannot be given")
        self._refusals += 1
        self._refused = self.secret()
        self._challenge = None
        raise DeviceRefused(401, f"camera {self._login.id}: refused the login")

    def _proof(self, asked: Challenge, method: str, url: URL) -> str:
        self._count += 1
        return authorization(
            asked, self._login.username or "", self.secret(), method, url.raw_path_qs, cnonce=os.urandom(8).hex(),
            count=self._count,
        )  # fmt: skip


class _StreamedAnswer:
    """An answer whose body is read while it arrives."""

    def __init__(self, camera: str, response: ClientResponse) -> None:
        self.content_type = response.headers.get(hdrs.CONTENT_TYPE, "")
        self._camera = camera
        self._content = response.content

    async def read(self) -> bytes:
        try:
            return await self._content.readany()
        except (ClientError, OSError) as error:
            raise DeviceSilent(f"camera {self._camera}: {_why(error)}") from error


def origin_of(login: Login) -> URL:
    """`http://ADDRESS`. Raises ConfigError."""
    address = login.address
    if address.count(":") > 1 and not address.startswith("["):
        address = f"[{address}]"
    try:
        return URL(f"http://{address}").origin()
    except ValueError as error:
        raise ConfigError(f"camera {login.id}: no address: {login.address}") from error


def is_same_host(url: URL, origin: URL) -> bool:
    """True for the same host, with any port."""
    return url.scheme in ("http", "https") and url.user is None and url.host == origin.host


async def _drained(response: ClientResponse) -> None:
    """Read the short body of a 401, so that the connection can be reused."""
    try:
        async with asyncio.timeout(1.0):
            size = 0
            while (piece := await response.content.readany()) and size < _DRAIN_BYTES:
                size += len(piece)
    except TimeoutError:
        response.close()
    response.release()


def _why(error: BaseException) -> str:
    """What went wrong, without any text of the camera."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"no usable answer ({type(error).__name__})"

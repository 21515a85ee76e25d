"""Passwords of the page: hashed with scrypt (RFC 7914), verified one at a time, and protected against guessing.

`$scrypt$ln=14,r=8,p=5$SALT$HASH` in a secret file (written by `site-gateway passwd`); a plain one is accepted with a
warning. One verification takes 16 MiB while it runs, in a thread.

After failures the next try must wait 1, 2, 4 … 60 s, per address and per name at that address, so failures at other
addresses delay nobody. All strangers together get one verification a second. Of the waiting logins, those known at
their address go first, then those with the fewest failures there.
"""

import asyncio
import base64
import binascii
import hashlib
import hmac
import os
import re
from collections.abc import Hashable, Mapping
from contextlib import suppress
from typing import NamedTuple

from gateway.backoff import doubled
from gateway.clock import Clock
from gateway.errors import ConfigError, GatewayError
from gateway.local.places import Budget
from gateway.log import logger
from gateway.settings.types import PageUser

_log = logger(__name__)

PREFIX = "$scrypt$"
LONGEST = 256
"""The longest password in characters; a longer one is rejected unread."""
_LN, _R, _P = 14, 8, 5
_BYTES = 32
_SALT = 16
_MEMORY_BYTES = 64 << 20
_FORM = re.compile(
    r"\$scrypt\$ln=([0-9]{1,2}),r=([0-9]{1,2}),p=([0-9]{1,2})\$([A-Za-z0-9+/]{8,64})\$([A-Za-z0-9+/]{43})"
)
_MOST_LN, _MOST_R, _MOST_P = 15, 8, 8
"""The highest cost parameters that a secret file may have."""
_WAITING, _WAITING_OF_ONE = 8, 2
"""The most logins that may wait, in all and from one address."""
_AT_ONCE, _PER_S = 8, 1.0
"""Verifications for all strangers together."""
_LONGEST_WAIT_S = 60.0
_KEYS = 1024
"""How many addresses and names are remembered with their failures."""
_FORGET_S = 3600.0


class Busy(GatewayError):
    """Too many logins are waiting."""


class TooEarly(GatewayError):
    """After failures the next try must wait `seconds`."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"wait {seconds:.0f} s")
        self.seconds = seconds


def hashed(password: str, salt: bytes | None = None) -> str:
    """The content of a secret file. Takes 16 MiB and about a quarter of a second."""
    salt = os.urandom(_SALT) if salt is None else salt
    found = _scrypt(password, salt, _LN, _R, _P)
    return f"{PREFIX}ln={_LN},r={_R},p={_P}${_text(salt)}${_text(found)}"


def is_text(password: str) -> bool:
    """True if it can be encoded as UTF-8, that is, without lone surrogates."""
    try:
        password.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_hashed(secret: str) -> bool:
    """True if the secret has the form that `hashed` writes."""
    return secret.startswith(PREFIX)


def fits(password: str, secret: str) -> bool:
    """True if this is the password. Raises ConfigError if the secret cannot be one; takes as long as `hashed`."""
    if not is_hashed(secret):
        hashed(password)  # so that timing does not reveal whether it is hashed
        return hmac.compare_digest(password.encode(), secret.encode())
    found = _FORM.fullmatch(secret)
    if found is None:
        raise ConfigError("a $scrypt$ secret of a form that is not known; write it anew with site-gateway passwd")
    ln, r, p = (int(found[number]) for number in (1, 2, 3))
    if not (1 <= ln <= _MOST_LN and 1 <= r <= _MOST_R and 1 <= p <= _MOST_P):
        raise ConfigError("a $scrypt$ secret that costs too much; write it anew with site-gateway passwd")
    try:
        salt, wanted = _bytes(found[4]), _bytes(found[5])
    except binascii.Error as error:
        raise ConfigError("a $scrypt$ secret that is damaged; write it anew with site-gateway passwd") from error
    return hmac.compare_digest(_scrypt(password, salt, ln, r, p), wanted)


def _scrypt(password: str, salt: bytes, ln: int, r: int, p: int) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=1 << ln, r=r, p=p, maxmem=_MEMORY_BYTES, dklen=_BYTES)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode().rstrip("=")


def _bytes(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)


class Delays:
    """How long the next try must wait: 1, 2, 4 … 60 s after failures, by key. Times in monotonic seconds."""

    def __init__(self) -> None:
        self._failures: dict[Hashable, tuple[int, float]] = {}
        """Consecutive failures and the time of the last one; ordered by that time."""

    def left(self, key: Hashable, now: float) -> float:
        """Seconds left to wait."""
        if not (count := self.count(key, now)):
            return 0.0
        return max(0.0, self._failures[key][1] + doubled(1.0, count - 1, _LONGEST_WAIT_S) - now)

    def count(self, key: Hashable, now: float) -> int:
        """Consecutive failures that are not forgotten yet."""
        count, at = self._failures.get(key, (0, now))
        return 0 if now - at > _FORGET_S else count

    def failed(self, key: Hashable, now: float) -> None:
        """Count a failure."""
        count = self.count(key, now)
        self._failures.pop(key, None)
        self._failures[key] = (count + 1, now)
        if len(self._failures) > _KEYS:
            del self._failures[next(iter(self._failures))]

    def forget(self, key: Hashable) -> None:
        """Clear the failures of a key."""
        self._failures.pop(key, None)


class _Try(NamedTuple):
    """A waiting login."""

    name: str
    key: str
    """The name; empty for every unknown name."""
    password: str
    address: str
    answer: asyncio.Future[str | None]

    def refuse(self, error: Exception) -> None:
        """Answer with an error, if somebody still waits."""
        if not self.answer.done():
            self.answer.set_exception(error)


class Passwords:
    """The users of the site file."""

    def __init__(self, users: Mapping[str, PageUser], clock: Clock) -> None:
        self._users = users
        self._clock = clock
        self._addresses = Delays()
        self._names = Delays()
        """Failures by name and address."""
        self._budget = Budget(_AT_ONCE, _PER_S)
        self._known: dict[tuple[str, str], None] = {}
        """Names and addresses with a successful login: these wait only for failures of the same name and address."""
        self._marks: dict[str, tuple[str, str]] = {}
        """Name -> SHA-256 of the secret as last read, and its mark."""
        self._tries: list[_Try] = []
        """Waiting logins in order of arrival."""
        self._came = asyncio.Event()

    async def tell_plain(self) -> None:
        """Log once whose password is not hashed or cannot be read."""
        for name, user in self._users.items():
            try:
                secret = await asyncio.to_thread(user.secret.read)
            except ConfigError as error:
                _log.warning("a user of the page cannot log in", user=name, error=str(error))
                continue
            if not is_hashed(secret):
                _log.warning("the password of a user of the page lies there in plain text", user=name,
                             todo="site-gateway passwd")  # fmt: skip

    async def run(self) -> None:
        """Verify the logins of `role_of`, one at a time, until cancelled.

        A caller may be cancelled when its connection drops; a verification that was begun is still finished and
        counted.
        """
        while True:
            asked = await self._next()
            try:
                await self._verify(asked)
            except (GatewayError, ValueError, OSError, MemoryError) as error:  # concerns that login only
                asked.refuse(error)

    async def _next(self) -> "_Try":
        """Wait for the next login."""
        while True:
            self._came.clear()
            self._tries = [one for one in self._tries if not one.answer.cancelled()]
            wait = None
            if self._tries:
                first = min(self._tries, key=self._rank)
                early = self._left(first.key, first.address)
                wait = self._budget.take("", self._clock.now().mono) if not early and self._rank(first)[0] else 0.0
                if not wait:
                    self._tries.remove(first)
                    if not early:
                        return first
                    first.refuse(TooEarly(early))
                    continue
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._came.wait()

    def _rank(self, one: "_Try") -> tuple[bool, int]:
        """The lowest goes first: known at the address, then fewest failures there."""
        return (one.key, one.address) not in self._known, self._addresses.count(one.address, self._clock.now().mono)

    def mark(self, name: str) -> str:
        """Identifies a user's secret, as last read, without revealing it."""
        return self._marks.get(name, ("", ""))[1]

    def marks(self) -> dict[str, str]:
        """The marks of all users, read anew in a thread. Unreadable ones are missing."""
        found = {}
        for name, user in self._users.items():
            with suppress(ConfigError):
                self._note(name, user.secret.read())
                found[name] = self.mark(name)
        return found

    def _note(self, name: str, secret: str) -> None:
        digest = hashlib.sha256(secret.encode()).hexdigest()
        if self._marks.get(name, ("", ""))[0] != digest:
            self._marks[name] = (digest, _mark(name, secret))

    async def role_of(self, name: str, password: str, address: str) -> str | None:
        """The role of the user; None: the login is wrong. Raises TooEarly, Busy. Needs `run`."""
        asked = _Try(name, self._key(name), password, address, asyncio.get_running_loop().create_future())
        if (left := self._left(asked.key, address)) > 0.0:
            raise TooEarly(left)
        self._make_room(asked)
        self._tries.append(asked)
        self._came.set()
        return await asked.answer

    def _make_room(self, asked: "_Try") -> None:
        """Refuse the waiting login with the most failures. Raises Busy if that is this one."""
        busy = Busy("too many are logging in")
        if sum(one.address == asked.address for one in self._tries) >= _WAITING_OF_ONE:
            raise busy
        if len(self._tries) >= _WAITING:
            last = max(self._tries, key=self._rank)
            if self._rank(asked) >= self._rank(last):
                raise busy
            self._tries.remove(last)
            last.refuse(busy)

    async def _verify(self, asked: _Try) -> None:
        name, address, answer, pair = asked.name, asked.address, asked.answer, (asked.key, asked.address)
        user = self._users.get(name)
        right = await asyncio.to_thread(self._is_right, name, user, asked.password)
        if user is None or not right:
            self._addresses.failed(address, self._clock.now().mono)
            self._names.failed(pair, self._clock.now().mono)
        else:
            self._addresses.forget(address)
            self._names.forget(pair)
            self._known[pair] = None
            if len(self._known) > _KEYS:
                del self._known[next(iter(self._known))]
        if not answer.done():
            answer.set_result(user.role if user is not None and right else None)

    def _key(self, name: str) -> str:
        return name if name in self._users else ""  # all unknown names count as one

    def _left(self, key: str, address: str) -> float:
        """Seconds until the next try is allowed."""
        pair, now = (key, address), self._clock.now().mono
        of_address = 0.0 if pair in self._known else self._addresses.left(address, now)
        return max(of_address, self._names.left(pair, now))

    def _is_right(self, name: str, user: PageUser | None, password: str) -> bool:
        """Verify in a thread; takes as long for an unknown name."""
        try:
            secret = user.secret.read() if user is not None else ""
            right = fits(password, secret)
        except ConfigError as error:
            _log.error("a user of the page cannot log in", user=name, error=str(error))
            return False
        if right and user is not None:
            self._note(name, secret)
        return right


def _mark(name: str, secret: str) -> str:
    """The mark of a secret. A plain secret is hashed slowly, because the mark is kept in the store."""
    slow = secret if is_hashed(secret) else hashed(secret, hashlib.sha256(name.encode()).digest()[:_SALT])
    return hashlib.sha256(slow.encode()).hexdigest()

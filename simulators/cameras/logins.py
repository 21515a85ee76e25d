"""Logins at a camera's web server: digest (RFC 7616, MD5 and qop auth), and the lock-out after wrong ones."""

import hashlib
import re
import secrets
from collections import OrderedDict
from typing import Final, Literal

Verdict = Literal["in", "challenge", "stale", "wrong", "locked"]
_PAIRS: Final = re.compile(r'(\w+)=(?:"([^"]*)"|([^,\s]+))')
_WITHIN_S: Final = 1800.0
"""Seconds in which wrong logins are counted."""
_NONCES: Final = 64


class Logins:
    """Who may come in. Times are the caller's, in seconds; without a password everybody may."""

    def __init__(self, username: str | None, password: str | None, *, wrong: int, lockout: float) -> None:
        self.realm = "IP Camera"
        self.wrong: list[str] = []
        """The address of every wrong login, in the order of time."""
        self._username = username or "admin"
        self._password = password
        self._most = wrong
        self._lockout = lockout
        self._nonces: OrderedDict[str, None] = OrderedDict()
        self._tries: dict[str, list[float]] = {}
        self._locked: dict[str, float] = {}

    def locked_for(self, remote: str, now: float) -> float:
        """For how long this address is still locked out."""
        return max(0.0, self._locked.get(remote, 0.0) - now)

    def judge(self, remote: str, method: str, target: str, header: str, now: float) -> Verdict:
        """What becomes of a request with this `Authorization` header; `target` is path and query."""
        if self._password is None:
            return "in"
        if self.locked_for(remote, now):
            return "locked"
        if not header:
            return "challenge"
        said = {name: quoted or bare for name, quoted, bare in _PAIRS.findall(header)}
        digest = header[:7].lower() == "digest "
        if digest and said.get("nonce") not in self._nonces:
            return "stale"
        if digest and self._fits(method, target, said):
            self._tries.pop(remote, None)
            return "in"
        self.wrong.append(remote)
        tries = [one for one in self._tries.get(remote, []) if now - one < _WITHIN_S]
        self._tries[remote] = [*tries, now]
        if len(tries) + 1 >= self._most:
            self._tries.pop(remote)
            self._locked[remote] = now + self._lockout
            return "locked"
        return "wrong"

    def challenge(self, *, stale: bool = False) -> str:
        """A `WWW-Authenticate` header with a new nonce."""
        nonce = secrets.token_hex(16)
        self._nonces[nonce] = None
        if len(self._nonces) > _NONCES:
            self._nonces.popitem(last=False)
        more = ", stale=true" if stale else ""
        return f'Digest realm="{self.realm}", qop="auth", algorithm=MD5, nonce="{nonce}", opaque="0"{more}'

    def _fits(self, method: str, target: str, said: dict[str, str]) -> bool:
        if said.get("username") != self._username or said.get("uri") != target or said.get("realm") != self.realm:
            return False
        mine = _md5(f"{self._username}:{self.realm}:{self._password}")
        rest = (said.get("nonce"), said.get("nc"), said.get("cnonce"), said.get("qop"))
        return said.get("response") == _md5(f"{mine}:{':'.join(map(str, rest))}:{_md5(f'{method}:{target}')}")


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()

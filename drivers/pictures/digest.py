"""HTTP authentication for cameras: Digest (RFC 7616, and RFC 2069 without qop), Basic (RFC 7617). Pure."""

import base64
import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Literal

_HASHES: Mapping[str, Callable[[bytes], "hashlib._Hash"]] = {
    "MD5": hashlib.md5,
    "SHA-256": hashlib.sha256,
    "SHA256": hashlib.sha256,
}
_ORDER = ("SHA-256", "SHA256", "MD5")
_SCHEME = re.compile(r"(?:^|,)\s*(Digest|Basic)(?:\s+|$)", re.IGNORECASE)
_PAIR = re.compile(r"""([A-Za-z]{1,32})\s*=\s*(?:"((?:[^"\\]|\\.){0,1024})"|([^\s,"]{1,1024}))""")
_LONGEST = 4096
_HEADERS = 8
"""The most headers that are read; a camera that offers everything sends four."""


@dataclass(frozen=True, slots=True)
class Challenge:
    """The challenge of a 401."""

    scheme: Literal["digest", "basic"]
    realm: str = ""
    nonce: str = ""
    opaque: str | None = None
    algorithm: str | None = None
    """As the camera sends it; None: it sends none, which means MD5."""
    qop: bool = False
    """`auth` is offered; without it the old form without a counter is used."""
    stale: bool = False
    """The password was right, but the nonce is too old."""


def challenge(headers: Iterable[str]) -> Challenge | None:
    """The best of the `WWW-Authenticate` headers: Digest before Basic, SHA-256 before MD5; None: nothing usable."""
    offered = [one for header in islice(headers, _HEADERS) for one in _offers(header[:_LONGEST])]
    digests = [one for one in offered if one.scheme == "digest"]
    if digests:
        return min(digests, key=lambda one: _ORDER.index(_hash_name(one)))
    return next(iter(offered), None)


def authorization(
    asked: Challenge, username: str, password: str, method: str, target: str, *, cnonce: str, count: int
) -> str:
    """The `Authorization` header. `target`: path and query as sent; `count`: how often this nonce was used."""
    if asked.scheme == "basic":
        return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()
    name = _hash_name(asked)

    def digest(*parts: str) -> str:
        return _HASHES[name](":".join(parts).encode()).hexdigest()

    secret = digest(username, asked.realm, password)
    if (asked.algorithm or "").upper().endswith("-SESS"):
        secret = digest(secret, asked.nonce, cnonce)
    wanted = digest(method, target)
    counter = f"{count:08x}"
    if asked.qop:
        response = digest(secret, asked.nonce, counter, cnonce, "auth", wanted)
    else:
        response = digest(secret, asked.nonce, wanted)
    said = [
        f'username="{_quoted(username)}"',
        f'realm="{_quoted(asked.realm)}"',
        f'nonce="{_quoted(asked.nonce)}"',
        f'uri="{target}"',
        f'response="{response}"',
    ]
    if asked.algorithm is not None:
        said.append(f"algorithm={asked.algorithm}")
    if asked.opaque is not None:
        said.append(f'opaque="{_quoted(asked.opaque)}"')
    if asked.qop:
        said += ["qop=auth", f"nc={counter}", f'cnonce="{cnonce}"']
    return "Digest " + ", ".join(said)


def _offers(header: str) -> Iterable[Challenge]:
    """The challenges in one header, which may be several."""
    starts = [*_SCHEME.finditer(header)]
    ends = [*(one.start() for one in starts[1:]), len(header)] if starts else []
    for found, end in zip(starts, ends, strict=True):
        pairs = {
            key.lower(): re.sub(r"\\(.)", r"\1", quoted) or bare
            for key, quoted, bare in _PAIR.findall(header[found.end() : end])
        }
        if found[1].lower() == "basic":
            yield Challenge("basic", pairs.get("realm", ""))
            continue
        qops = [one.strip().lower() for one in pairs.get("qop", "").split(",") if one.strip()]
        algorithm = pairs.get("algorithm")
        if "nonce" not in pairs or (algorithm or "MD5").upper().removesuffix("-SESS") not in _HASHES:
            continue
        if qops and "auth" not in qops:
            continue
        yield Challenge(
            "digest",
            pairs.get("realm", ""),
            pairs["nonce"],
            pairs.get("opaque"),
            algorithm,
            bool(qops),
            pairs.get("stale", "").lower() == "true",
        )


def _hash_name(asked: Challenge) -> str:
    return (asked.algorithm or "MD5").upper().removesuffix("-SESS")


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')

"""Signed commands: turns a JWT (JWS compact, EdDSA with Ed25519) into a `Command` or a refusal.

The only importer of cryptography, and only imported if the site file has `commands`. Nothing in a payload is trusted,
and nothing is answered, before the signature by a listed key is verified. There is one algorithm and keys are always
Ed25519 keys, so `alg` decides nothing. The form is strict: lenient base64 would accept other texts than the signed one.
No more of the JOSE formats is needed. PyJWT reads each byte of a payload in Python before the signature, so a forged
command of 256 KiB would cost 20 ms of the loop instead of 3 (the tests compare both).
"""

import json
import re
from base64 import urlsafe_b64decode
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Protocol

import orjson
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from gateway.cloud.commands.claims import DEFAULT_ALLOW, KeyFile, Rejection, Said, judge, said
from gateway.cloud.mqtt.types import MAX_COMMAND_BYTES
from gateway.errors import ConfigError
from gateway.model import Command, Instant, Refused

ALGORITHM = "EdDSA"

_COMPACT = re.compile(rb"([A-Za-z0-9_-]{4,1024})\.([A-Za-z0-9_-]*)\.([A-Za-z0-9_-]{85}[AQgw])")
"""RFC 7515, 7.1, with a signature of 64 bytes whose last character has no unused bits set (RFC 4648, 3.5)."""
_NAMELESS = "?"
"""The `cmd` in the reply to a signed command that names none."""
_MAX_PEM_BYTES = 16 << 10
_TOLD_UNSIGNED_BYTES = 8 << 10
"""The most characters of unsigned claims that are read, only to report what they say."""


class Key(NamedTuple):
    """A key that may sign commands."""

    id: str
    public: Ed25519PublicKey
    allow: frozenset[str]


def read_key(place: KeyFile) -> Key:
    """The public key of a PEM file (SubjectPublicKeyInfo). Raises ConfigError."""
    try:
        with place.path.open("rb") as stream:
            public = load_pem_public_key(stream.read(_MAX_PEM_BYTES))
    except OSError as error:
        raise ConfigError(f"commands: key {place.id}: {place.path} cannot be read: {error.strerror}") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ConfigError(f"commands: key {place.id}: {place.path} is no public key in PEM") from error
    if not isinstance(public, Ed25519PublicKey):
        raise ConfigError(f"commands: key {place.id}: {place.path} is no Ed25519 key")
    return Key(place.id, public, DEFAULT_ALLOW if place.allow is None else place.allow)


def read_keys(places: Iterable[KeyFile]) -> tuple[list[Key], list[str]]:
    """The readable keys, and what is wrong with the others. A bad file stops neither the other keys nor the gateway."""
    keys, wrong = [], []
    for place in places:
        try:
            keys.append(read_key(place))
        except ConfigError as error:
            wrong.append(str(error))
    return keys, wrong


class Now(Protocol):
    """A clock."""

    def now(self) -> Instant:
        """Now."""
        ...


class Fresh(Protocol):
    """Supplies the texts that prove a command to be fresh."""

    @property
    def good(self) -> tuple[str, ...]:
        """The nonces that are valid now."""
        ...


class Bounds(Protocol):
    """Bounds of the true time (`CommandTime`)."""

    def born(self, now: Instant) -> float:
        """When the memory of commands begins, wall seconds."""
        ...

    def floor(self, now: Instant) -> float:
        """The earliest possible wall time, whatever the clock shows."""
        ...


class Verifier:
    """Judges payloads. `audience`: our CloudEvents source."""

    def __init__(
        self,
        keys: Sequence[Key],
        audience: str,
        clock: Now,
        nonces: Fresh,
        bounds: Bounds,
    ) -> None:
        self._keys = {key.id: key for key in keys}
        self._audience = audience
        self._clock = clock
        self._nonces = nonces
        self._bounds = bounds

    def verify(
        self, payload: bytes, *, size: int | None = None, retained: bool = False, reply_to: str | None = None
    ) -> Command | Refused:
        """Judge a payload. Never raises. `size`: bytes as sent, if the payload was too large to be passed on."""
        at = self._clock.now()
        if max(len(payload), size or 0) > MAX_COMMAND_BYTES:
            return Refused("bad-args", f"{max(len(payload), size or 0)} bytes; {MAX_COMMAND_BYTES} at most", at)
        kid, known, signed, claims = None, Said(), False, {}
        try:
            header, body, signature = _parts(payload)
            known = _said_unsigned(body)
            kid = _kid(header)
            key = self._key(kid)
            _verify(payload[: len(header) + 1 + len(body)], signature, key)
            content = _decoded(body)
            claims = _claims(content)
            known, signed = said(claims), True
            known = known._replace(cmd=known.cmd or _NAMELESS)
            _refuse_twins(content)
            granted = judge(
                claims,
                audience=self._audience,
                allow=key.allow,
                now=at,
                nonces=self._nonces.good,
                born=self._bounds.born(at),
                retained=retained,
                floor=self._bounds.floor(at),
            )
        except Rejection as no:
            return Refused(
                no.code, no.message, at, known.jti, known.iss, known.sub, kid, known.cmd, signed,
                reply_to if signed else None, _args_or_none(claims),
            )  # fmt: skip
        jti, iss, sub, cmd, args, exp, signed_exp, fresh = granted
        return Command(jti, iss, sub, key.id, key.allow, cmd, args, exp, reply_to, at, signed_exp, fresh)

    def _key(self, kid: str | None) -> Key:
        key = None if kid is None else self._keys.get(kid)
        if key is None:
            raise Rejection("bad-signature", "kid: names no key of the site file")
        return key


def _parts(payload: bytes) -> tuple[bytes, bytes, bytes]:
    """Header, claims and signature, still encoded. Raises Rejection."""
    match = _COMPACT.fullmatch(payload)
    if match is None:
        raise Rejection("bad-signature", "no JWS of three parts with a signature of 64 bytes")
    return match[1], match[2], match[3]


def _verify(signed: bytes, signature: bytes, key: Key) -> None:
    """RFC 8037, 3.1. Raises Rejection."""
    try:
        key.public.verify(_decoded(signature), signed)
    except InvalidSignature as error:
        raise Rejection("bad-signature", f"this is not signed by the key {key.id}") from error


def _kid(segment: bytes) -> str | None:
    """The key that a header names. Raises Rejection unless it is a flat object of texts with our algorithm.

    That also rejects `crit`, `b64`, `jwk` and `x5c`, which would change the meaning of the token.
    """
    header = _read(segment)
    if header is not None and (why := _twins(_decoded(segment))):
        raise Rejection("bad-signature", f"the header: {why}")
    if not isinstance(header, dict) or not all(isinstance(value, str) for value in header.values()):
        raise Rejection("bad-signature", "the header is no flat JSON object of texts")
    if header.get("alg") != ALGORITHM:
        raise Rejection("bad-signature", f"alg: only {ALGORITHM}")
    if "cty" in header or "zip" in header:
        raise Rejection("bad-signature", "cty, zip: neither nested nor packed")
    kid = header.get("kid")
    return kid if isinstance(kid, str) and 0 < len(kid) <= 64 else None


def _said_unsigned(segment: bytes) -> Said:
    """What claims say before their signature is verified."""
    return said(_read(segment)) if len(segment) <= _TOLD_UNSIGNED_BYTES else Said()


def _read(segment: bytes) -> object:
    """The JSON of a part of the token; None if it is not JSON."""
    try:
        return orjson.loads(_decoded(segment))
    except (Rejection, orjson.JSONDecodeError):
        return None


def _decoded(segment: bytes) -> bytes:
    """Decode base64. Raises Rejection if its length is impossible."""
    try:
        return urlsafe_b64decode(segment + b"=" * (-len(segment) % 4))
    except ValueError as error:
        raise Rejection("bad-signature", "no base64url") from error


def _claims(content: bytes) -> dict[str, Any]:
    """Read the claims, one JSON object in UTF-8 (RFC 7519, 7.2). Raises Rejection."""
    try:
        claims = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise Rejection("bad-signature", "no JWT: the payload is no JSON in UTF-8") from error
    if not isinstance(claims, dict):
        raise Rejection("bad-signature", "no JWT: the payload is no JSON object")
    return claims


def _args_or_none(claims: dict[str, Any]) -> dict[str, Any] | None:
    args = claims.get("args")
    return args if isinstance(args, dict) else None


def _refuse_twins(content: bytes) -> None:
    """Raises Rejection."""
    if why := _twins(content):
        raise Rejection("bad-args", why)


def _twins(content: bytes) -> str:
    """Find a duplicate name at any depth; parsers differ about which one counts (RFC 7519, 4; RFC 7515, 4)."""
    found: list[str] = []

    def unique(pairs: list[tuple[str, object]]) -> None:
        if len({name for name, _ in pairs}) != len(pairs):
            found.append("a name comes twice in one object")

    try:
        json.loads(content, object_pairs_hook=unique)
    except (ValueError, RecursionError):
        return "too deep, or a number too long"
    return found[0] if found else ""

"""What the tests of commands share: keys, tokens, a verifier with a clock that is set by hand."""

import base64
import itertools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gateway.cloud.commands.claims import DEFAULT_ALLOW, KeyFile
from gateway.cloud.commands.verify import Key, Verifier
from gateway.model import Command, Instant, Refused
from tests.cloud.journaling import WALL, Hands

SOURCE = "/sites/s/gateways/g"
NONCES = ("present", "previous")
CLOUD = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
DISTRICT = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
STRANGER = Ed25519PrivateKey.from_private_bytes(bytes(range(2, 34)))
KEYS = (
    Key("cloud", CLOUD.public_key(), DEFAULT_ALLOW),
    Key("district", DISTRICT.public_key(), frozenset({"gate.open", "write", "config.apply"})),
)
_ids = itertools.count(1)


@dataclass
class Nonces:
    """Those that a command may name."""

    good: tuple[str, ...] = NONCES


class Known:
    """What is known of the time: when the memory was begun, and before when it cannot be."""

    def __init__(self, born: float = 0.0, floor: float = 0.0) -> None:
        self._born = born
        self._floor = floor

    def born(self, now: Instant) -> float:
        del now
        return self._born

    def floor(self, now: Instant) -> float:
        del now
        return self._floor


def verifier(hands: Hands | None = None, *, born: float = WALL - 1000.0) -> Verifier:
    return Verifier(KEYS, SOURCE, hands or Hands(), Nonces(), Known(born))


def claims(**changes: Any) -> dict[str, Any]:
    """Claims of a good command now; `None` leaves one out."""
    good = {
        "iss": "cloud.example",
        "sub": "operator 7",
        "aud": SOURCE,
        "iat": int(WALL),
        "exp": int(WALL) + 60,
        "jti": f"jti-{next(_ids)}",
        "cmd": "gate.open",
        "args": {"gate": "north", "reason": "visitor"},
    } | changes
    return {name: value for name, value in good.items() if value is not None}


def sign(
    what: dict[str, Any] | bytes, key: Ed25519PrivateKey = CLOUD, kid: str | None = "cloud", **header: Any
) -> bytes:
    """A token over these claims, or over these bytes, whatever they are."""
    names = {"alg": "EdDSA", "typ": "JWT", "kid": kid} | header
    content = what if isinstance(what, bytes) else json.dumps(what).encode()
    first = b".".join(
        (encoded(json.dumps({k: v for k, v in names.items() if v is not None}).encode()), encoded(content))
    )
    return first + b"." + encoded(key.sign(first))


def encoded(content: bytes) -> bytes:
    return base64.urlsafe_b64encode(content).rstrip(b"=")


def pem(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def key_file(folder: Path, key: Ed25519PrivateKey = CLOUD, name: str = "cloud") -> KeyFile:
    path = folder / f"{name}.pub.pem"
    path.write_bytes(pem(key))
    return KeyFile(name, path, None)


def refused(result: Command | Refused) -> str:
    """The code."""
    assert isinstance(result, Refused), result
    return result.code


def taken(result: Command | Refused) -> Command:
    assert isinstance(result, Command), result
    return result


def by_the_book(what: dict[str, Any]) -> bytes:
    """As any other program with a JWT library makes it."""
    return jwt.encode(what, CLOUD, "EdDSA", headers={"kid": "cloud"}).encode()

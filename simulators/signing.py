"""Signs commands, as a cloud does: a JWT (JWS compact, EdDSA) with the claims of the MQTT contract."""

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from gateway.errors import ConfigError

LIFE_S = 60.0
"""Seconds that a command is good for; gate commands may have 120."""


def make_keys() -> tuple[bytes, bytes]:
    """A new Ed25519 key pair: the secret one (PKCS #8) and the public one, both PEM."""
    key = Ed25519PrivateKey.generate()
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return secret, key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def read_secret_key(path: Path) -> Ed25519PrivateKey:
    """The secret key of a PEM file. Raises ConfigError."""
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigError(f"{path}: no secret key in PEM without a password") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(f"{path}: no Ed25519 key")
    return key


@dataclass(frozen=True, slots=True)
class Signer:
    """A key and whose it is."""

    key: Ed25519PrivateKey
    kid: str
    """Its id in the site file."""
    audience: str
    """The gateway's CloudEvents source."""
    iss: str = "cloud"
    sub: str = "operator"

    def claims(self, cmd: str, args: Mapping[str, Any], *, life: float = LIFE_S, **more: Any) -> dict[str, Any]:
        """The claims of a command from now on. `more`: `nonce`, `jti`, or others instead of these; None: without."""
        now = time.time()
        claims = {
            "iss": self.iss,
            "sub": self.sub,
            "aud": self.audience,
            "iat": int(now),
            "exp": int(now) + life,
            "jti": uuid.uuid4().hex,
            "cmd": cmd,
            "args": dict(args),
            **more,
        }
        return {name: value for name, value in claims.items() if value is not None}

    def sign(self, claims: Mapping[str, Any]) -> str:
        """The token that is published."""
        return jwt.encode(dict(claims), self.key, "EdDSA", headers={"kid": self.kid})

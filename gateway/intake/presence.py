"""Checks that somebody was at a place: by its printed code, or its NTAG 424 DNA (NXP AN12196, "SUN": AES-CMAC).

A photo of a printed code works anywhere. A tag signs each reading with an increasing counter: that proves that the tag
was read, but not by whom, nor that it is still where it was mounted.
"""

import hmac
import re
from typing import NamedTuple

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES128
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.cmac import CMAC

from gateway.errors import NotDone

_PICC = re.compile(r"(?:^|[^0-9A-Fa-f])([0-9A-Fa-f]{32})(?:[^0-9A-Fa-f]|$)")
_MAC = re.compile(r"(?:^|[^0-9A-Fa-f])([0-9A-Fa-f]{16})(?:[^0-9A-Fa-f]|$)")
_UID_AND_COUNTER = 0xC7
_UID_BYTES = 7
_SESSION = bytes.fromhex("3cc300010080")
"""SV2, for the session key of the MAC of the mirrored data."""
_KEY = re.compile(r"[0-9A-Fa-f]{32}")


class TagReading(NamedTuple):
    """The content of a genuine tag."""

    uid: bytes
    counter: int


def is_code(tag: str, secret: str) -> bool:
    """True if this is the code printed at the place."""
    return hmac.compare_digest(tag.strip().encode(), secret.strip().encode())


def read_tag(tag: str, key: str) -> TagReading:
    """Read a tag's mirrored text: a URL with PICC data and MAC, or both in hex. Raises NotDone if not genuine."""
    picc, mac = _PICC.search(tag), _MAC.search(tag)
    if _KEY.fullmatch(key.strip()) is None:
        raise NotDone("bad-args", "tag: the key of this place is not 32 hex digits")
    if picc is None or mac is None:
        raise NotDone("bad-args", "tag: found no PICC data (32 hex digits) and MAC (16)")
    secret = bytes.fromhex(key.strip())
    plain = Cipher(AES128(secret), CBC(bytes(16))).decryptor().update(bytes.fromhex(picc[1]))
    uid, counter = plain[1 : 1 + _UID_BYTES], plain[1 + _UID_BYTES : 4 + _UID_BYTES]
    session = _cmac(secret, _SESSION + uid + counter)
    expected = _cmac(session, b"")[1::2]
    if plain[0] != _UID_AND_COUNTER or not hmac.compare_digest(expected, bytes.fromhex(mac[1])):
        raise NotDone("bad-args", "tag: it is not the one of this place")
    return TagReading(uid, int.from_bytes(counter, "little"))


def _cmac(key: bytes, message: bytes) -> bytes:
    mac = CMAC(AES128(key))
    mac.update(message)
    return mac.finalize()

"""Key and self-signed certificate for the local page, made on the box for its addresses and names."""

import ipaddress
import itertools
import re
import socket
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_YEARS = 10
_BEGINS = datetime(2026, 1, 1, tzinfo=UTC)
"""Fixed, because the clock of the box or the phone may be wrong."""
_FIB = Path("/proc/net/fib_trie")
_IPV6 = Path("/proc/net/if_inet6")
_LABEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_LONGEST_NAME = 253
_LINK_LOCAL = "20"
"""Scope in if_inet6: such an address is useless without its interface."""


class Made(NamedTuple):
    """PEM texts, and the fingerprint to compare."""

    certificate: bytes
    key: bytes
    fingerprint: str
    """SHA-256 of the certificate, as browsers show it."""


def make(names: list[str]) -> Made:
    """Make key and certificate for these addresses and names."""
    key = ec.generate_private_key(ec.SECP256R1())
    owner = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "site-gateway")])
    now = max(datetime.now(UTC), _BEGINS)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(owner)
        .issuer_name(owner)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_BEGINS)
        .not_valid_after(now + timedelta(days=365 * _YEARS))
        .add_extension(x509.SubjectAlternativeName([_general(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Made(
        certificate.public_bytes(Encoding.PEM),
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        certificate.fingerprint(hashes.SHA256()).hex(":").upper(),
    )


def is_name(text: str) -> bool:
    """True for an address or a DNS name (RFC 1123, 2.1); names in other scripts need their `xn--` form."""
    with suppress(ValueError):
        return bool(ipaddress.ip_address(text))
    return len(text) <= _LONGEST_NAME and all(map(_LABEL.fullmatch, text.split(".")))


def own_names() -> list[str]:
    """The addresses of this machine, reachable ones first, and its name."""
    found = [*_ipv4(), *_ipv6()]
    outward = [one for one in found if not ipaddress.ip_address(one).is_loopback]
    return [*outward, socket.gethostname(), "localhost", *(one for one in found if one not in outward)]


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _ipv4() -> list[str]:
    """Local addresses, from the kernel's table of routes (`/32 host LOCAL` behind each)."""
    try:
        lines = _FIB.read_text(encoding="ascii").splitlines()
    except OSError:
        return ["127.0.0.1"]
    found = [before.split()[-1] for before, line in itertools.pairwise(lines) if line.strip() == "/32 host LOCAL"]
    return list(dict.fromkeys(found))


def _ipv6() -> list[str]:
    try:
        lines = _IPV6.read_text(encoding="ascii").splitlines()
    except OSError:
        return []
    rows = [line.split() for line in lines]
    return [str(ipaddress.IPv6Address(int(row[0], 16))) for row in rows if row[3] != _LINK_LOCAL]

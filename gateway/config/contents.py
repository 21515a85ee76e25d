"""What stands in the files that a site file names: lists of plates, keys that may command, certificates, tags' secrets.

Looked at by `check` alone: the daemon says the same of each file when it uses it.
"""

import re
import stat
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from gateway.config.access import AccessEntry, Http
from gateway.config.problems import Finding, Problem
from gateway.config.problems import Path as Where
from gateway.config.rounds import PlaceEntry
from gateway.config.uplink import CommandsEntry, UplinkEntry

_LARGEST_KEY_BYTES = 64 << 10
_LARGEST_LIST_BYTES = 64 << 20
_EXPIRES_SOON = timedelta(days=30)
_BUILT = datetime(2026, 1, 1, tzinfo=UTC)
"""A clock that reads earlier is not set: no certificate is judged by it."""


def look_into(parts: Mapping[str, Any]) -> tuple[list[Finding], list[Problem]]:
    """What is wrong with keys and certificates, in places of the site file; and with lists, in places of their own.

    `parts`: the good parts of the site file, by the name of the model's field.
    """
    findings: list[Finding] = []
    commands, uplink, http, access = (parts.get(key) for key in ("commands", "uplink", "http", "access"))
    if isinstance(commands, CommandsEntry):
        for number, key in enumerate(commands.keys):
            findings += _command_key(key.ed25519, ("commands", "keys", number, "ed25519"))
    if isinstance(uplink, UplinkEntry) and uplink.tls is not None:
        findings += _tls(uplink.tls, ("uplink", "tls"))
    if isinstance(http, Http) and http.status is not None and http.status.tls is not None:
        findings += _tls(http.status.tls, ("http", "status", "tls"))
    places = parts.get("places")
    if isinstance(places, dict):
        findings += _tags(places)
    problems: list[Problem] = []
    if isinstance(access, AccessEntry):
        site = parts.get("site")
        zone = ZoneInfo(site.timezone if site is not None else "UTC")
        for path in access.lists:
            problems += _list(path, zone, tuple(parts.get("gates", ())))
    return findings, problems


def _bytes(file: Path, most: int) -> bytes | None:
    """The file's bytes; None if it is missing (said elsewhere), no regular file or larger."""
    try:
        if not stat.S_ISREG(file.stat().st_mode) or file.stat().st_size > most:
            return None
        return file.read_bytes()
    except (OSError, ValueError):
        return None


# ---- places ---------------------------------------------------------------------------------------


def _tags(places: Mapping[str, PlaceEntry]) -> Iterator[Finding]:
    """Each place has a code or key of its own, whatever files they lie in; and a key is one."""
    held: dict[tuple[str, str], tuple[str, Path]] = {}
    for name, place in places.items():
        if place.tag is None:
            continue
        kind = "printed" if place.tag.printed is not None else "ntag424"
        secret = place.tag.printed or place.tag.ntag424
        data = None if secret is None or secret.file is None else _bytes(secret.file, _LARGEST_KEY_BYTES)
        if secret is None or secret.file is None or data is None:
            continue
        path: Where = ("places", name, "tag", kind)
        text = data.decode(errors="replace").strip()
        if kind == "ntag424" and re.fullmatch(r"[0-9A-Fa-f]{32}", text) is None:
            yield Finding(path, f"found no key of a tag in {secret.file.name}; 32 hex digits")
            continue
        key = kind, text.lower() if kind == "ntag424" else text
        other, file = held.setdefault(key, (name, secret.file))
        if file != secret.file:  # one file for two places is said without a look into it
            what = f"found in {secret.file.name} the same as for places.{other}, whose tag would prove this place too"
            yield Finding(path, f"{what}; one of its own")


# ---- lists ----------------------------------------------------------------------------------------


def _list(file: Path, zone: ZoneInfo, gates: tuple[str, ...]) -> Iterator[Problem]:
    from gateway.site.list_csv import read  # noqa: PLC0415 - only where a site has lists

    data = _bytes(file, _LARGEST_LIST_BYTES)
    if data is None:
        return
    reading = read(file.stem, data, zone, gates, doubts=True)
    for one in reading.problems:
        yield Problem(str(file), max(1, one.line), 1, one.key, "warning" if one.warning else "error", one.text)
    if reading.list is not None and not len(reading.list):
        yield Problem(str(file), 1, 1, "", "warning", "has no plate: nobody is let in by this list")


# ---- keys and certificates ------------------------------------------------------------------------


def _command_key(file: Path, path: Where) -> Iterator[Finding]:
    from gateway.cloud.commands.claims import KeyFile  # noqa: PLC0415 - as the next
    from gateway.cloud.commands.verify import read_keys  # noqa: PLC0415 - loads the library for signatures

    data = _bytes(file, _LARGEST_KEY_BYTES)
    if data is None:
        return
    if b"PRIVATE KEY-----" in data:
        text = (
            f"found a PRIVATE key in {file.name}: who has this file opens the gates; take it off this machine,"
            " make a new pair, and put the public half here"
        )
        yield Finding(path, text)
        return
    _, wrong = read_keys([KeyFile("this", file, None)])
    if wrong:
        yield Finding(path, f"found no public key of Ed25519 in {file.name}; a PEM file, -----BEGIN PUBLIC KEY-----")


def _tls(tls: Any, path: Where) -> Iterator[Finding]:
    """`ca`, `cert` and `key` of one connection or listener."""
    from cryptography import x509  # noqa: PLC0415 - only where the file names certificates

    chains: dict[str, list[Any]] = {}
    for name in ("ca", "cert"):
        file = getattr(tls, name, None)
        data = None if file is None else _bytes(file, _LARGEST_KEY_BYTES * 16)
        if file is None or data is None:
            continue
        try:
            chains[name] = x509.load_pem_x509_certificates(data)
        except ValueError:
            yield Finding(
                (*path, name), f"found no certificate in {file.name}; a PEM file, -----BEGIN CERTIFICATE-----"
            )
            continue
        judged = chains[name] if name == "ca" else chains[name][:1]
        for certificate in judged:
            yield from _dates(certificate, file, (*path, name))
    if tls.key is not None:
        yield from _private_key(tls.key, chains.get("cert", [None])[0], (*path, "key"))


def names_in(file: Path) -> frozenset[str]:
    """What the first certificate of a PEM file calls its owner, in small letters; nothing if it cannot be read."""
    from cryptography import x509  # noqa: PLC0415 - only where the file names certificates

    data = _bytes(file, _LARGEST_KEY_BYTES * 16)
    try:
        certificate = x509.load_pem_x509_certificates(data or b"")[0]
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, IndexError, x509.ExtensionNotFound):
        return frozenset()
    told = [*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))]
    return frozenset(name.lower() for name in told)


def _dates(certificate: Any, file: Path, path: Where) -> Iterator[Finding]:
    now = datetime.now(UTC)
    if now < _BUILT:
        return
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if ends < now:
        yield Finding(path, f"found a certificate in {file.name} that ended on {ends:%Y-%m-%d}; a new one")
    elif ends < now + _EXPIRES_SOON:
        yield Finding(
            path, f"found a certificate in {file.name} that ends on {ends:%Y-%m-%d}; a new one soon", "warning"
        )
    if begins > now:
        text = f"found a certificate in {file.name} that begins on {begins:%Y-%m-%d}; look at the clock of this machine"
        yield Finding(path, text, "warning")


def _private_key(file: Path, certificate: Any, path: Where) -> Iterator[Finding]:
    from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415 - only where the file names a key
        Encoding,
        PublicFormat,
        load_pem_private_key,
    )

    data = _bytes(file, _LARGEST_KEY_BYTES)
    if data is None:
        return
    try:
        key = load_pem_private_key(data, None)
    except TypeError:
        yield Finding(
            path, f"found a key in {file.name} that a password protects; one without, readable by the service only"
        )
        return
    except Exception:  # noqa: BLE001 - the library names half a dozen kinds of what is no key
        yield Finding(path, f"found no private key in {file.name}; a PEM file, -----BEGIN PRIVATE KEY-----")
        return
    if certificate is None:
        return
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if key.public_key().public_bytes(*form) != certificate.public_key().public_bytes(*form):
        yield Finding(path, f"found a key in {file.name} that does not belong to the certificate in cert; its own key")

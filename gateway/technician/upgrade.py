"""Upgrade from a file after all possible checks: signature, machine, store, the new version's own check.

Also the roll-back on request. Both need root. dpkg handles the packages themselves.
"""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from gateway.errors import ConfigError, GatewayError
from gateway.local.control import NAME, SERVICE_FOLDER, ask
from gateway.package import BACK, TREE, Package, schema_of
from gateway.safe_write import as_owner, replace_file

KEY = "release.pem"
_MOST_BYTES = 256 << 20
_CHECK_S = 120.0
_DPKG_S = 1800.0


def upgrade(place: Package, file: Path, site: Path) -> Iterator[str]:
    """Install a package that is signed, fits this machine and its store, and reads its site file; reports each step.

    Raises GatewayError (nothing was changed, or dpkg has reported why), OSError.
    """
    content = _signed(place, file)
    yield "the signature is that of the release key"
    with tempfile.TemporaryDirectory(prefix="site-gateway-upgrade-") as scratch:
        package = Path(scratch) / "site-gateway.deb"  # from here on nobody can change the verified file
        package.write_bytes(content)
        version = _fits(package)
        beside = Path(scratch) / "beside"
        _do("dpkg-deb", "--extract", str(package), str(beside))
        _reads_store(place, beside)
        if site.exists():
            told = _do(str(beside / "usr/bin/site-gateway"), "check", str(site), within=_CHECK_S)
            yield f"{version} reads {site}: {told.splitlines()[-1]}"
        yield f"{version} is installed; it is on trial for 5 minutes"
        _do("dpkg", "--install", str(package), within=_DPKG_S)


def undo(place: Package) -> str:
    """Return to the previous version; returns its name. Raises GatewayError if that is impossible, OSError."""
    kept = place.kept()
    if place.is_previous:
        raise ConfigError("the version before runs already")
    if kept is None:
        raise ConfigError("no version before was kept")
    state = place.state()
    if schema_of(kept) < int(state.get("schema") or 0):
        raise ConfigError(f"the store has a schema since that {kept.name} cannot read: there is no way back")
    with suppress(ConnectionError):
        said = ask(SERVICE_FOLDER / NAME, {"ask": "interlock"})
        if isinstance(said, dict) and said["interlocked"]:
            raise ConfigError(f"not now: {said['interlocked']}")
    back = {"version": place.installed, "upgrade": place.upgrade(), "phase": BACK, "starts": 0}
    back |= {"reason": "on request", "id": os.urandom(8).hex()}
    with as_owner(place.state_file):
        replace_file(place.state_file, orjson.dumps({**state, **back}), 0o640)
    _do("systemctl", "try-restart", "site-gateway.service")
    return kept.name


def _signed(place: Package, file: Path) -> bytes:
    """The content of the file after verifying its signature, independent of the clock."""
    try:
        key = load_pem_public_key((place.running / KEY).read_bytes())
    except FileNotFoundError:
        raise ConfigError("this package has no release key: nothing can be proved; dpkg --install takes any") from None
    except ValueError as error:
        raise ConfigError(f"the release key cannot be read: {error}") from error
    if not isinstance(key, Ed25519PublicKey):
        raise ConfigError("the release key is no Ed25519 key")
    with file.open("rb") as stream:
        content = stream.read(_MOST_BYTES)
    signature = file.with_name(f"{file.name}.sig")
    try:
        key.verify(signature.read_bytes()[:1024], content)
    except FileNotFoundError:
        raise ConfigError(f"{signature} is missing: the package is not signed") from None
    except InvalidSignature:
        raise ConfigError(f"{file}: the signature is not that of the release key, or the file was altered") from None
    return content


def _fits(package: Path) -> str:
    """Check that a package is ours and for this machine; returns its version."""
    name, machine, version = (
        _do("dpkg-deb", "--field", str(package), field).strip() for field in ("Package", "Architecture", "Version")
    )
    here = _do("dpkg", "--print-architecture").strip()
    if name != "site-gateway" or machine != here:
        raise ConfigError(f"the file is {name} for {machine}; needed is site-gateway for {here}")
    return version


def _reads_store(place: Package, beside: Path) -> None:
    schema = int(place.state().get("schema") or schema_of(place.running))
    theirs = schema_of(beside / TREE)
    if theirs < schema:
        raise ConfigError(f"the store has schema {schema}, and that version reads {theirs} at most: it is too old")


def _do(*command: str, within: float = 60.0) -> str:
    """Run a command; returns its output. Raises GatewayError with the output if it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=within)  # noqa: S603 - a fixed command
    except subprocess.TimeoutExpired as error:
        raise GatewayError(f"{command[0]}: not done within {within:g} s") from error
    if done.returncode:
        raise GatewayError(f"{' '.join(command[:2])}: {(done.stdout + done.stderr).strip()}")
    return done.stdout

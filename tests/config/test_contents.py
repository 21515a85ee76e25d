"""What `check` finds in the files that a site file names."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.x509.oid import NameOID

from gateway.config.load import load

SITE = """
version: 1
site: {id: here, timezone: Asia/Shanghai}
gateway: box
uplink: {url: "mqtts://127.0.0.1", tls: {ca: ca.pem, cert: gw.pem, key: gw.key}}
commands: {keys: [{id: a, ed25519: key.pem}]}
lines: {io: {driver: modbus, tcp: "127.0.0.1:502"}}
devices: {relay: {line: io, points: {do1: {at: coil 0, write: true}}}}
gates: {in: {open: relay.do1}}
access: {lists: [residents.csv]}
"""


def private(key: EllipticCurvePrivateKey | Ed25519PrivateKey, lock: KeySerializationEncryption | None = None) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, lock or NoEncryption())


def public(key: EllipticCurvePrivateKey | Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def certificate(key: EllipticCurvePrivateKey, *, begins: timedelta, ends: timedelta) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "here")])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, now + begins, now + ends)
    return made.sign(key, SHA256()).public_bytes(Encoding.PEM)


@pytest.fixture(scope="module")
def key() -> EllipticCurvePrivateKey:
    return generate_private_key(SECP256R1())


@pytest.fixture
def folder(tmp_path: Path, key: EllipticCurvePrivateKey) -> Path:
    """A site whose files are all good."""
    (tmp_path / "site.yaml").write_text(SITE)
    good = certificate(key, begins=timedelta(days=-1), ends=timedelta(days=400))
    (tmp_path / "ca.pem").write_bytes(good)
    (tmp_path / "gw.pem").write_bytes(good)
    (tmp_path / "gw.key").write_bytes(private(key))
    (tmp_path / "key.pem").write_bytes(public(Ed25519PrivateKey.generate()))
    (tmp_path / "residents.csv").write_text("plate,kind\n沪A12345,resident\n")
    return tmp_path


def said(folder: Path) -> list[str]:
    return [str(one).removeprefix(f"{folder}/") for one in load(folder / "site.yaml", contents=True).problems]


def test_good_files_are_silent(folder: Path) -> None:
    assert said(folder) == []


def other_key(key: EllipticCurvePrivateKey) -> bytes:
    del key
    return private(generate_private_key(SECP256R1()))


def private_command_key(key: EllipticCurvePrivateKey) -> bytes:
    del key
    return private(Ed25519PrivateKey.generate())


def locked(key: EllipticCurvePrivateKey) -> bytes:
    return private(key, BestAvailableEncryption(b"hunter2"))


def dated(begins: int, ends: int) -> Callable[[EllipticCurvePrivateKey], bytes]:
    """A certificate whose days are counted from today."""
    return lambda key: certificate(key, begins=timedelta(days=begins), ends=timedelta(days=ends))


@pytest.mark.parametrize(
    ("name", "make", "text"),
    [
        ("key.pem", private_command_key, "found a PRIVATE key in key.pem: who has this file opens the gates"),
        ("key.pem", public, "found no public key of Ed25519 in key.pem"),
        ("key.pem", dated(-1, 99), "found no public key of Ed25519 in key.pem"),
        ("ca.pem", public, "found no certificate in ca.pem"),
        ("gw.pem", dated(-9, -1), "found a certificate in gw.pem that ended on"),
        ("gw.pem", dated(-9, 9), "warning: found a certificate in gw.pem that ends on"),
        ("ca.pem", dated(9, 99), "warning: found a certificate in ca.pem that begins on"),
        ("gw.key", other_key, "does not belong to the certificate in cert"),
        ("gw.key", locked, "that a password protects"),
        ("gw.key", public, "found no private key in gw.key"),
    ],
)
def test_a_file_that_is_wrong_is_named(
    folder: Path, key: EllipticCurvePrivateKey, name: str, make: Callable[[EllipticCurvePrivateKey], bytes], text: str
) -> None:
    (folder / name).write_bytes(make(key))
    (found,) = said(folder)
    assert text in found
    assert found.startswith("site.yaml:")
    # The daemon starts all the same: it says the same when it uses the file.
    assert load(folder / "site.yaml").problems == ()


@pytest.mark.parametrize(
    ("text", "encoding", "expected"),
    [
        ("", "utf-8", "1:1: warning: has no plate: nobody is let in by this list"),
        ("plate,kind\n沪A12345,resident\n", "gbk", "2:1: is not UTF-8; save it as “CSV UTF-8”"),
        ("plate;kind\n沪A12345;resident\n", "utf-8", "1:1: found values separated by ';'; commas"),
        ("plate，kind\n", "utf-8", "1:1: found values separated by '，'; commas"),
        ("plate,kind,gates\n沪A12345,resident,north\n", "utf-8", "2:1: gates: found 'north'; a gate of the site"),
        (
            "plate,kind\n沪A12345,resident\n沪A·12345,visitor\n",
            "utf-8",
            "3:1: plate: warning: stands in line 2 already; both count",
        ),
    ],
)
def test_a_list_is_read(folder: Path, text: str, encoding: str, expected: str) -> None:
    (folder / "residents.csv").write_bytes(text.encode(encoding))
    assert said(folder) == [f"residents.csv:{expected}"]


def test_lists_are_read_beside_other_errors(folder: Path) -> None:
    (folder / "site.yaml").write_text(
        SITE.replace("Asia/Shanghai", "Asia/Beijing").replace("open: relay.do1", "open: relay.do2")
    )
    (folder / "residents.csv").write_bytes(b"plate;kind\n")
    assert [one.partition(":")[0] for one in said(folder)] == ["site.yaml", "site.yaml", "residents.csv"]


TAGS = """
version: 1
site: {id: here}
gateway: box
uplink: {url: "mqtts://127.0.0.1"}
lines: {io: {driver: modbus, tcp: "127.0.0.1:502"}}
devices: {relay: {line: io, points: {do1: {at: coil 0}}}}
places:
  roof: {name: R, tag: {ntag424: {file: roof.key}}}
  pump: {name: P, tag: {ntag424: {file: pump.key}}}
  gate: {name: G, tag: {printed: {file: gate.code}}}
  door: {name: D, tag: {printed: {file: door.code}}}
"""
KEYS = {"roof.key": "00ff" * 8, "pump.key": "01ff" * 8, "gate.code": "gate-7", "door.code": "Gate-7"}


SAME = "{}: found in {} the same as for {}, whose tag would prove this place too; one of its own"
NO_KEY = "places.roof.tag.ntag424: found no key of a tag in roof.key; 32 hex digits"


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({}, None),
        ({"pump.key": "00FF" * 8 + "\n"}, SAME.format("places.pump.tag.ntag424", "pump.key", "places.roof")),
        ({"door.code": "gate-7\r\n"}, SAME.format("places.door.tag.printed", "door.code", "places.gate")),
        ({"gate.code": "00ff" * 8}, None),
        ({"roof.key": "00ff"}, NO_KEY),
        ({"roof.key": "00ff" * 8 + "00"}, NO_KEY),
    ],
)
def test_each_place_has_a_secret_of_its_own(tmp_path: Path, files: dict[str, str], found: str | None) -> None:
    (tmp_path / "site.yaml").write_text(TAGS)
    for name, text in (KEYS | files).items():
        (tmp_path / name).write_text(text)
    told = load(tmp_path / "site.yaml", contents=True).problems
    assert [f"{one.key}: {one.text}" for one in told] == ([] if found is None else [found])
    assert all(text.strip() not in str(told) for text in (KEYS | files).values())
    assert load(tmp_path / "site.yaml").problems == (), "the daemon does not look into them"

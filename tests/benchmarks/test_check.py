"""`check` of a site with a list of 100,000 plates, a key and certificates, beside reading the same list alone."""

import statistics
import subprocess
import sys
import time
from pathlib import Path
from zoneinfo import ZoneInfo

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gateway.site.list_csv import read

ROWS = 100_000
RUNS = 5
MOST_S = 2.0

SITE = """
version: 1
site: {id: here, timezone: Asia/Shanghai}
gateway: box
uplink: {url: "mqtts://127.0.0.1"}
commands: {keys: [{id: a, ed25519: key.pem}]}
lines: {io: {driver: modbus, tcp: "127.0.0.1:502"}}
devices: {relay: {line: io, points: {do1: {at: coil 0, write: true}}}}
gates: {in: {open: relay.do1}}
access: {lists: [residents.csv]}
"""


def timed(folder: Path) -> float:
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "gateway", "check", "site.yaml"], cwd=folder, capture_output=True, text=True, check=True
    )
    assert done.stdout == "0 errors, 0 warnings\n", done.stdout
    return time.monotonic() - begun


def test_check_with_a_list_of_100_000_plates_and_a_key(tmp_path: Path) -> None:
    (tmp_path / "site.yaml").write_text(SITE)
    data = "plate,kind\n" + "".join(f"沪A{number:05d},resident\n" for number in range(ROWS))
    (tmp_path / "residents.csv").write_text(data)
    public = Ed25519PrivateKey.generate().public_key()
    (tmp_path / "key.pem").write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    whole = statistics.median(timed(tmp_path) for _ in range(RUNS))
    begun = time.monotonic()
    reading = read("residents", data.encode(), ZoneInfo("Asia/Shanghai"), ["in"], doubts=True)
    alone = time.monotonic() - begun
    assert reading.list is not None
    print(f"\ncheck with {ROWS} plates and a key: {whole:.2f} s, the list alone {alone:.2f} s")  # noqa: T201
    assert whole < MOST_S

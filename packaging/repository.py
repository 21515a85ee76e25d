"""Turns packages into a static apt repository: dist/repository, for any web server or a USB stick.

    REPOSITORY_KEY=FINGERPRINT python packaging/repository.py [--suite canary] [--suite stable] [FILE.deb ...]

Packages are added to the suites that are named; what a suite has stays. The newest list of each suite lies under its
hash too (`by-hash`), so a box that reads while this writes never mixes two. Signed by gpg, with a key of this account.
"""

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
SUITES = ("canary", "stable")
MACHINES = ("amd64", "arm64")


def main() -> None:
    """Add the packages, write and sign each suite."""
    parser = argparse.ArgumentParser(description="Make an apt repository.")
    parser.add_argument("--suite", action="append", choices=SUITES, help="default: all")
    parser.add_argument("--out", type=Path, default=ROOT / "dist" / "repository")
    parser.add_argument("packages", nargs="*", type=Path, help="default: dist/*.deb")
    asked = parser.parse_args()
    key = os.environ.get("REPOSITORY_KEY")
    packages = asked.packages or sorted((ROOT / "dist").glob("*.deb"))
    if not key or not packages:
        sys.exit("repository: REPOSITORY_KEY, the fingerprint of a gpg key, and packages are needed (make deb)")
    for suite in asked.suite or SUITES:
        pool = asked.out / "pool" / suite
        pool.mkdir(parents=True, exist_ok=True)
        for package in packages:
            shutil.copy2(package, pool / package.name)
        write(asked.out, suite, key)
    (asked.out / "site-gateway.asc").write_bytes(run("gpg", "--batch", "--armor", "--export", key))
    print(asked.out)


def write(repository: Path, suite: str, key: str) -> None:
    """Lists, hashes and signature of one suite; the signature comes last, so a half-written suite is refused."""
    folder = repository / "dists" / suite
    for machine in MACHINES:
        lists = folder / "main" / f"binary-{machine}"
        lists.mkdir(parents=True, exist_ok=True)
        pool = Path("pool") / suite
        (lists / "Packages").write_bytes(run("apt-ftparchive", "--arch", machine, "packages", str(pool), at=repository))
        (lists / "Packages.xz").write_bytes(run("xz", "--keep", "--stdout", str(lists / "Packages")))
        for name in ("Packages", "Packages.xz"):
            digest = run("sha256sum", str(lists / name)).split()[0].decode()
            (lists / "by-hash" / "SHA256").mkdir(parents=True, exist_ok=True)
            shutil.copy2(lists / name, lists / "by-hash" / "SHA256" / digest)
    facts = {
        "Origin": "site-gateway", "Label": "site-gateway", "Suite": suite, "Codename": suite,
        "Architectures": " ".join(MACHINES), "Components": "main", "Acquire-By-Hash": "yes",
    }  # fmt: skip
    options = [word for name, value in facts.items() for word in ("-o", f"APT::FTPArchive::Release::{name}={value}")]
    for old in ("Release", "InRelease", "Release.gpg"):
        (folder / old).unlink(missing_ok=True)
    release = run("apt-ftparchive", *options, "-o", "APT::FTPArchive::DoByHash=false", "release", str(folder))
    (folder / "Release").write_bytes(release)
    sign = ("gpg", "--batch", "--yes", "--local-user", key)
    run(*sign, "--armor", "--detach-sign", "--output", str(folder / "Release.gpg"), str(folder / "Release"))
    run(*sign, "--clearsign", "--output", str(folder / "InRelease"), str(folder / "Release"))


def run(*command: str, at: Path | None = None) -> bytes:
    """What a command prints. Exits if it fails."""
    done = subprocess.run(command, cwd=at, capture_output=True, check=False)
    if done.returncode:
        sys.exit(f"repository: {' '.join(command)}\n{done.stderr.decode(errors='replace')}")
    return done.stdout


if __name__ == "__main__":
    main()

"""The gateway with its store on a disk of its own: `python -m tests.reliability.on_a_small_disk SIZE FOLDER SITE.yaml`.

A tmpfs in a mount namespace of the process; from outside it is found under `/proc/PID/root`.
"""

import os
import sys
from pathlib import Path

_SCRIPT = 'mount -t tmpfs -o size="$0" tmpfs "$1" && shift && exec "$@"'


def fill(path: Path) -> None:
    """Write until there is no room left. Raises OSError."""
    with path.open("wb", buffering=0) as file:
        while True:
            file.write(os.urandom(4096))


def main() -> None:
    size, folder, site = sys.argv[1:]
    gateway = (sys.executable, "-m", "gateway", "run", site)
    os.execvp("unshare", ("unshare", "-rm", "sh", "-c", _SCRIPT, size, folder, *gateway))  # noqa: S606 - ours


if __name__ == "__main__":
    main()

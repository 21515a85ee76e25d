"""A disk that does not answer: whoever syncs waits.

`python -m tests.slow_disk FILE run SITE.yaml` is the gateway on a disk that does not answer while FILE is there.
"""

import os
import runpy
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import FileDescriptorLike

_REAL = os.fdatasync
_NEVER = threading.Event()


@contextmanager
def stalled() -> Iterator[None]:
    """Meanwhile no sync of this process returns."""
    answers = threading.Event()

    def wait(fd: "FileDescriptorLike") -> None:
        answers.wait()
        _REAL(fd)

    os.fdatasync = wait
    try:
        yield
    finally:
        os.fdatasync = _REAL
        answers.set()


def main() -> None:
    """Run the gateway, whose syncs wait for as long as the file is there."""
    file = Path(sys.argv.pop(1))

    def wait(fd: "FileDescriptorLike") -> None:
        while file.exists():
            _NEVER.wait(0.002)
        _REAL(fd)

    os.fdatasync = wait
    sys.argv[0] = "gateway"
    runpy.run_module("gateway", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()

"""The gateway as a root that keeps to permissions: `python -m tests.reliability.without_override SITE.yaml`.

Another user than root keeps to them anyhow.
"""

import ctypes
import os
import sys

_PR_CAPBSET_DROP = 24
_DAC_OVERRIDE, _DAC_READ_SEARCH = 1, 2


def main() -> None:
    if os.geteuid() == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        for capability in (_DAC_OVERRIDE, _DAC_READ_SEARCH):
            if libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0):
                raise OSError(ctypes.get_errno(), "prctl")
    os.execv(sys.executable, (sys.executable, "-m", "gateway", "run", *sys.argv[1:]))  # noqa: S606 - no shell


if __name__ == "__main__":
    main()

"""A process that loads a list of plates twice, from its CSV and as stored: `FOLDER CSV` -> one line of JSON."""

import json
import os
import sys
import time
from pathlib import Path
from zoneinfo import ZoneInfo

from gateway.intake.list_folder import ListFolder
from gateway.intake.lists import Desk
from gateway.settings.types import ListSettings
from tests.benchmarks.measure import resident_mib


def main() -> None:
    """Measure and print: seconds, and MiB that came to be resident and that were so at most."""
    folder, csv = map(Path, sys.argv[1:])
    settings = ListSettings(folder, (csv,), ZoneInfo("Asia/Shanghai"), frozenset({"north"}))
    before = resident_mib(os.getpid())
    begun = time.perf_counter()
    desk = Desk(settings)
    loaded = desk.load("residents").list
    from_csv = time.perf_counter() - begun
    resident = resident_mib(os.getpid()) - before
    most = _peak() - before
    begun = time.perf_counter()
    stored = ListFolder(folder).newest("residents").found
    said = {
        "csv": from_csv,
        "store": time.perf_counter() - begun,
        "resident": resident,
        "most": most,
        "lines": [0 if one is None else len(one) for one in (loaded, stored)],
    }
    print(json.dumps(said))  # noqa: T201


def _peak() -> float:
    """MiB that were resident at most since this program was loaded."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:"))


if __name__ == "__main__":
    main()

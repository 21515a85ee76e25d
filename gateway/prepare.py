"""Reads the site file in a process of its own, while the gateway loads the rest of itself.

What reading takes (YAML, the models of the file, every check) is never needed again: the running gateway does
without those 20 MiB, and starts sooner on a machine with more than one core.
"""

import pickle
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from gateway.settings import Settings


@dataclass(frozen=True, slots=True)
class Prepared:
    """What came of the file: `settings` is None if a problem is an error."""

    settings: Settings | None
    problems: tuple[tuple[str, str], ...]
    """Level (`error`, `warning`) and line of each problem."""


class Preparation:
    """Under way from the moment it is made."""

    def __init__(self, site: Path) -> None:
        command = (sys.executable, "-m", "gateway.prepare", str(site))
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)  # noqa: S603 - ourselves

    def result(self) -> Prepared:
        """Wait for it. Raises OSError if that process failed."""
        output, _ = self._process.communicate()
        if self._process.returncode != 0:
            raise OSError(f"reading the site file failed with status {self._process.returncode}")
        prepared = pickle.loads(output)  # noqa: S301 - written by ourselves
        if not isinstance(prepared, Prepared):
            raise OSError("reading the site file gave something else")
        return prepared


def prepare(site: Path) -> Prepared:
    """Read, check and translate the file, here and now."""
    from gateway import build  # the side that waits never loads this
    from gateway.technician.plan import load_timed

    loaded = load_timed(site)
    problems = tuple((problem.level, str(problem)) for problem in loaded.problems)
    return Prepared(None if loaded.site is None else build.settings(loaded.site), problems)


if __name__ == "__main__":
    # Under its own name, not `__main__`, so that the other side knows the type.
    from gateway import prepare as itself  # noqa: PLW0406

    sys.stdout.buffer.write(pickle.dumps(itself.prepare(Path(sys.argv[1])), pickle.HIGHEST_PROTOCOL))
